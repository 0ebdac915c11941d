"""Resets a checkout after an agent, so that the next task finds it as set-up left it.

First it is cleaned: files of the base get the base's content again, what set-up brought
stays where it is if its stamps show that nothing has touched it, and anything else is
removed. Then it is moved to the next base, with a git directory made anew. A checkout
that cannot be reset so is given up, and the next task gets a new one.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import NamedTuple

from runner.attempt import (
    capture_directory,
    file_stamps,
    setup_inputs,
    trusted_times,
    workspace,
)
from runner.attempt.file_stamps import TOP, Differences, Stamp
from runner.attempt.recorded_files import RecordedFiles, refuse_standing_clock
from runner.attempt.workspace import Workspace
from runner.core.errors import GitFailed
from runner.policy.change import GITLINK
from runner.repo import diff
from runner.repo.command import Git
from runner.repo.origin import Origin

_BRANCH = "fanin/pooled"  # until the next task gives it another


class ReadyCheckout(NamedTuple):
    """A checkout as set-up left it: the stamp of the workspace's folder, and the files."""

    workspace: Workspace
    place: Stamp
    files: RecordedFiles

    @property
    def folder(self) -> Path:
        return self.workspace.folder

    def with_seed_of(self, space: Workspace) -> ReadyCheckout:
        """The same, which borrows where that workspace does."""
        return self._replace(workspace=self.workspace._replace(seed=space.seed))


def record(space: Workspace) -> ReadyCheckout | None:
    """Record a checkout after set-up, before the agent starts; None if it could not be
    reset later.
    """
    changed_gitlink = any(
        GITLINK in _modes(change.old, change.new) for change in space.prepared
    )
    # What is below a repository of its own is not compared file by file.
    if space.submodules or changed_gitlink:
        return None
    try:
        place = file_stamps.stamp(space.folder.lstat())
        return ReadyCheckout(space, place, RecordedFiles.of(space))
    except (GitFailed, OSError):
        return None


def _modes(*entries: tuple[str, str] | None) -> list[str]:
    return [entry[0] for entry in entries if entry is not None]


class CleanCheckout(NamedTuple):
    """A checkout as set-up left it again, still at the base of the task before.

    `brought` is everything that set-up left and git does not know, folders included, and
    those of git's files that it changed. Git restores the others.
    """

    ready: ReadyCheckout
    brought: frozenset[str]

    @property
    def tracked(self) -> frozenset[str]:
        """The paths of the files that git restores."""
        return self.ready.files.tracked

    def borrowing(self, origin: Origin) -> CleanCheckout:
        """The same, which gets its next commit from this origin."""
        space = self.ready.workspace
        space = space._replace(seed=space.seed.borrowing(origin))
        return self._replace(ready=self.ready._replace(workspace=space))


def clean(ready: ReadyCheckout) -> CleanCheckout | None:
    """Undo what the agent did; None if the checkout must be made anew.

    To be called when all that the agent started has ended. Raises GitFailed or OSError
    where the disk or git fails; then too it must be made anew.
    """
    space, files = ready.workspace, ready.files
    if not _is_in_place(ready):
        return None
    workspace.remove_beside(space)
    now = trusted_times.time_in(space.folder)
    if now < space.index_record.time:  # the clock was set back
        return None
    differs = files.others_that_differ(space.checkout)
    brought = _brought(space, files)
    if not can_remove(differs, brought):
        return None
    workspace.remove_paths(space.checkout, differs.present)
    # Those of git's files that had a stamp are as they were, or removed by now.
    space = trusted_times.trust_stamped(space, now)
    git = workspace.renew_git_directory(space, space.base, _BRANCH)
    touched = files.changed_tracked(git)
    # The index has what set-up changed as staged, and the agent's must not.
    if space.prepared:
        ready = _checked_out(ready, git, space.base)
    elif touched:
        ready = ready._replace(workspace=workspace.write_files(space, git, touched))
    ready = _recorded_anew(ready, [*differs.present, *differs.missing, *touched])
    space = trusted_times.trust_stamped(ready.workspace, now)
    ready = ready._replace(workspace=space, files=ready.files.trusting(now))
    return CleanCheckout(ready, brought)


def _brought(space: Workspace, files: RecordedFiles) -> frozenset[str]:
    """What `CleanCheckout.brought` says."""
    prepared = {change.path for change in space.prepared}
    unknown = files.others.keys() - files.tracked - folders_of(files.tracked)
    return frozenset(unknown - {TOP} | prepared)


def moved(
    cleaned: CleanCheckout, base: str, branch: str, script: str, *, exposed: bool
) -> ReadyCheckout | None:
    """Give the checkout the files of commit `base`; None if it must be made anew.
    `script` is set-up's text. `exposed`: an agent has run since it was cleaned, which may
    have written there. Raises as `clean`.
    """
    ready = cleaned.ready
    space = ready.workspace
    if not _is_in_place(ready):
        return None
    git = workspace.renew_git_directory(space, base, branch)
    if exposed and ready.files.are_touched(git):
        return None
    if base == space.base:
        ready = ready._replace(workspace=workspace.keep_files(space))
    else:
        changes = diff.parse_raw(git.run([*diff.INDEX, "-R", base]))
        changed = [change.path for change in changes]
        added = {change.path for change in changes if change.new is not None}
        next_tracked = cleaned.tracked - set(changed) | added
        if must_be_made_anew(cleaned, next_tracked, changed, script):
            return None
        if space.prepared:
            ready = _checked_out(ready, git, base)
        else:
            ready = ready._replace(workspace=workspace.move_files(space, base))
        ready = _recorded_anew(ready, changed, next_tracked)
    space = ready.workspace._replace(is_ready=True)
    return ready._replace(workspace=space)


def must_be_made_anew(
    cleaned: CleanCheckout,
    next_tracked: frozenset[str],
    changed: Sequence[str],
    script: str,
) -> bool:
    """Whether the next base asks for another set-up, or has files in the place of what
    set-up brought. `changed` are the paths that differ between the two.
    """
    brought = cleaned.brought
    if setup_inputs.first_input(changed, script) is not None:
        return True
    for path in changed:
        if path in brought or not brought.isdisjoint(_parents(path)):
            return True
    if next_tracked >= cleaned.tracked:
        return False
    gone = folders_of(cleaned.tracked) - folders_of(next_tracked)
    return any(posixpath.dirname(path) in gone for path in brought)


def can_remove(differs: Differences, brought: Set[str]) -> bool:
    """Whether all that differs is a file that git restores, or nobody's."""
    paths = itertools.chain(differs.present, differs.missing)
    return not any(path == TOP or path in brought for path in paths)


def _is_in_place(ready: ReadyCheckout) -> bool:
    """Whether the workspace's folder is there, and no link is in its place."""
    return file_stamps.stamp(ready.folder.lstat()) == ready.place


def _checked_out(ready: ReadyCheckout, git: Git, base: str) -> ReadyCheckout:
    """Give git's files the content that they have in commit `base`."""
    space = ready.workspace
    aside = _put_aside(space)
    capture_directory.reset_entries(git, space, space.prepared)
    space = workspace.reset_files(space, base)
    _put_back(space, aside)
    return ready._replace(workspace=space)


def _recorded_anew(
    ready: ReadyCheckout,
    written: Collection[str],
    tracked: frozenset[str] | None = None,
) -> ReadyCheckout:
    """Record anew what is at the paths that were written, and the folders above them.
    `tracked` are the files that git restores, None if they are the same.

    Raises GitFailed if time would not tell a later change.
    """
    space = ready.workspace
    paths = {*written, *folders_of(written)}
    if space.prepared:  # Git has moved these, and may have made their folders anew.
        prepared = [change.path for change in space.prepared]
        paths.update(prepared, folders_of(prepared))
    files = ready.files.written(space.checkout, paths, tracked)
    refuse_standing_clock(space.folder, files.others.values())
    return ready._replace(files=files)


def folders_of(paths: Iterable[str]) -> frozenset[str]:
    """All folders above these paths, without the top one."""
    above = {path.rpartition("/")[0] for path in paths}
    folders = {TOP}
    while above := above - folders:
        folders |= above
        above = {path.rpartition("/")[0] for path in above}
    return frozenset(folders - {TOP})


def _parents(path: str) -> list[str]:
    return [str(parent) for parent in Path(path).parents][:-1]


def _put_aside(space: Workspace) -> dict[str, Path]:
    """Move the base's files that set-up changed out of git's way; path → where."""
    aside = {}
    for number, change in enumerate(space.prepared):
        if change.old is not None and change.new is not None:
            aside[change.path] = space.folder / f"aside-{number}"
            (space.checkout / change.path).rename(aside[change.path])
    return aside


def _put_back(space: Workspace, aside: Mapping[str, Path]) -> None:
    """Give the base's files that set-up changed or deleted the state that it left."""
    for path, place in aside.items():
        place.rename(space.checkout / path)
    for change in space.prepared:
        if change.new is None:
            capture_directory.remove_file(space.checkout, change.path)
