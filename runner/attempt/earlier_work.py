"""Puts a task's earlier work into the checkout of its next attempt: merged onto the base
that this attempt starts from, and only if it may land as it is then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property

from runner.attempt import capture_directory
from runner.attempt.workspace import Start, Workspace
from runner.core.documents import clean
from runner.core.errors import GitFailed
from runner.core.manifest import BatchEntry, Manifest
from runner.core.plurals import some_of
from runner.core.result import KeptWork
from runner.policy import rules
from runner.policy.change import Change
from runner.policy.git_files import is_git_file
from runner.policy.redaction import Secrets
from runner.repo import diff
from runner.repo.answer_cache import AnswerCache
from runner.repo.batch_process import ObjectReader
from runner.repo.configuration import Configuration
from runner.repo.labelled_merge import (
    LabelledMerge,
    Labels,
    Unmarked,
    marker_pattern,
    merge,
)
from runner.repo.object_database import WritableDatabase
from runner.repo.objects import Objects, stored_in

_MAX_PATHS = 30  # that the prompt names
_MAX_SHOWN = 300  # characters of a path or a sentence of git's
_MAX_MARKER = 400  # bytes; an id has at most 200 characters


def carry_on(
    attempt_workspace: Workspace,
    manifest: Manifest,
    entry: BatchEntry,
    work: KeptWork,
    secrets: Secrets,
) -> Start:
    """Put the entry's earlier `work` into the checkout.

    Where it is not there, cannot be merged or may not land, the checkout stays as it
    is, and the prompt and the warning say why. GitFailed if git cannot write the
    checkout.
    """
    with capture_directory.starting(attempt_workspace) as before_agent:
        return _carry_on(before_agent, manifest, entry, work, secrets)


def _carry_on(
    before_agent: Workspace,
    manifest: Manifest,
    entry: BatchEntry,
    work: KeptWork,
    secrets: Secrets,
) -> Start:
    database = _Database(before_agent)
    try:
        merged = _merged(database, before_agent.base, entry, work)
        if isinstance(merged, str):
            return _from_base(work, merged)
        base_tree = before_agent.tree or f"{before_agent.base}^{{tree}}"
        changes = database.changes(base_tree, merged.tree)
        refusal = _refusal(database, changes, manifest, entry, secrets)
        if refusal is not None:
            return _from_base(work, refusal)
        marked = _files_with_markers(database.reader, changes, entry.task.id)
    except GitFailed as error:
        return _from_base(work, f"git cannot merge it: {error}")
    finally:
        database.reader.close()
    capture_directory.put_files(before_agent, changes)
    return Start(_description(work, merged, changes, marked), marked=marked)


def _from_base(work: KeptWork, reason: str) -> Start:
    reason = clean(reason)
    text = (
        f"The work of attempt {work.attempt} is not in the current folder, which is as "
        f"it was before that: {reason}"
    )
    warning = f"starts from the base, without the work of attempt {work.attempt}: "
    return Start(text, warning + reason)


class _Database(WritableDatabase):
    """The objects that git sees in a checkout before its agent starts."""

    def __init__(self, before_agent: Workspace) -> None:
        git = capture_directory.capture_git(before_agent)
        super().__init__(git, ObjectReader(git), AnswerCache(), Configuration(git))
        self._folder = before_agent.objects

    @cached_property
    def _objects(self) -> Objects:
        object_format = self.configuration.object_format
        store = stored_in(self._folder, object_format, self.store_pack)
        return Objects(object_format, self.read, store)

    def objects(self) -> Objects:
        return self._objects


def _merged(
    database: _Database, base: str, entry: BatchEntry, work: KeptWork
) -> LabelledMerge | str:
    """The work merged onto `base`, or why there is none."""
    # its only parent is the commit that it was made on
    names = [f"{work.commit}^{{tree}}", f"{work.commit}^1^{{tree}}", f"{base}^{{tree}}"]
    infos = database.infos(names)
    trees = [info.object_id for info in infos if info is not None]
    if len(trees) < len(names):
        return "it is not in this repository"
    labels = Labels.of(entry.task.id, entry.attempt, work.attempt)
    return merge(database.git, database.objects(), trees[1], trees[2], trees[0], labels)


def _refusal(
    database: _Database,
    changes: Sequence[Change],
    manifest: Manifest,
    entry: BatchEntry,
    secrets: Secrets,
) -> str | None:
    """Why a result with these changes would not land, None if it would."""
    # These were looked into when the work was kept, and are once more when it lands.
    git_file_paths = [each.path for each in changes if is_git_file(each.path)]
    failure = rules.check(
        entry.task,
        changes,
        protected=manifest.protected,
        never=manifest.never,
        limits=manifest.limits,
        harmless=git_file_paths,
        scope=manifest.scope,
    )
    if failure is not None:
        return failure.message
    leak = database.first_secret(changes, secrets)
    if leak is not None:
        return rules.leaked_secret(*leak).message
    return None


def _files_with_markers(
    reader: ObjectReader, changes: Sequence[Change], task_id: str
) -> tuple[str, ...]:
    pattern = marker_pattern(task_id)
    remaining: dict[str, list[str]] = {}
    for change in changes:
        if change.new is not None and change.new[0].startswith("100"):
            remaining.setdefault(change.new[1], []).append(change.path)
    marked: list[str] = []
    names = list(remaining)
    while names:
        match = reader.first_match(names, lambda pieces: _search(pattern, pieces))
        if match is None:
            break
        marked += remaining[match[0]]
        names = names[names.index(match[0]) + 1 :]
    return tuple(marked)


def _search(pattern: re.Pattern[bytes], pieces: Iterator[bytes]) -> bool | None:
    """True if the pattern is in the pieces; None if it is not."""
    window = b"\n"
    for piece in pieces:
        window += piece
        if pattern.search(window):
            return True
        # A marker may be torn across two pieces; what is left begins inside of a line.
        window = window[-_MAX_MARKER:]
    return None


def left_markers(
    attempt_workspace: Workspace, tree: str, task_id: str
) -> tuple[str, ...]:
    """The files of a captured tree that still have a marker of the task's attempts."""
    git = attempt_workspace.git
    argv = [*diff.RAW, f"{attempt_workspace.base}^{{tree}}", tree]
    changes = diff.parse_raw(git.run(argv))
    reader = ObjectReader(git)
    try:
        return _files_with_markers(reader, changes, task_id)
    finally:
        reader.close()


def _description(
    work: KeptWork,
    merged: LabelledMerge,
    changes: Sequence[Change],
    marked: Sequence[str],
) -> str:
    """What the prompt says of the work in the checkout."""
    paths = [change.path for change in changes]
    first = (
        f"The work of attempt {work.attempt} is in the current folder, merged onto the "
        "newest state of the branch and not committed. Go on from it"
    )
    paragraphs = [f"{first}: {_listed(paths)}." if paths else f"{first}."]
    if marked:
        paragraphs.append(
            "Both sides changed the same lines, so conflict markers with `fanin:` in "
            f"them are in: {_listed(marked)}. Keep what both sides want and remove the "
            "markers: a result with one is refused."
        )
    named = [_named(each, work) for each in merged.unmarked if any(each.versions)]
    if named:
        shown = named[:_MAX_PATHS]
        if len(named) > len(shown):
            shown.append(f"- and {len(named) - len(shown)} more")
        intro = "Both sides changed these in ways that no marker can show:"
        paragraphs.append("\n".join([intro, *shown, *_unusual(merged)]))
    return "\n\n".join(paragraphs)


def _listed(paths: Sequence[str]) -> str:
    return some_of([_shown(path) for path in paths[:_MAX_PATHS]], len(paths))


def _shown(path: str) -> str:
    return " ".join(clean(path).split())[:_MAX_SHOWN]


def _named(unmarked: Unmarked, work: KeptWork) -> str:
    """A line with both versions of a path, and the one that is in the folder."""
    base, own = unmarked.versions
    parts = [f"branch: {_version(base)}", f"attempt {work.attempt}: {_version(own)}"]
    present = "neither"
    if unmarked.merged is not None:
        present = "a merge of both"
    if unmarked.merged == base and base is not None:
        present = "the branch's"
    elif unmarked.merged == own and own is not None:
        present = f"that of attempt {work.attempt}"
    return f"- {_shown(unmarked.path)}: {'; '.join(parts)}; in the folder: {present}"


def _version(entry: tuple[str, str] | None) -> str:
    if entry is None:
        return "not there"
    mode, object_id = entry
    return f"mode {mode}, `git cat-file -p {object_id}`"


def _unusual(merged: LabelledMerge) -> list[str]:
    return [f"- git: {_shown(text)}" for text in merged.messages[:_MAX_PATHS]]
