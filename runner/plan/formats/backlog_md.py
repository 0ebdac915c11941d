"""Backlog.md's folder: one Markdown file a task in `tasks/`, finished ones moved to
`completed/`, and `config.yml`.

Ids are compared as Backlog.md does (case and leading zeros do not count) and, where
that finds nothing, without their prefix: its own repository renamed `task-` to `BACK-`
and left the dependencies as they were.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml

from runner.core import yaml_document
from runner.core.errors import InvalidInput
from runner.core.plurals import pluralize
from runner.core.task import Plan, Status, Task
from runner.plan.formats.base import Mark, Options, Tree
from runner.plan.formats.diagnostics import (
    COMPLETED,
    IN_PROGRESS,
    PENDING,
    SKIPPED,
    Diagnostics,
    Word,
    changed,
    folded,
    sections,
    status_word,
    target_word,
    task,
)

EXAMPLE = "---\\nid: task-1\\ntitle: What to do\\nstatus: To Do\\n---"
# Backlog.md's default; the last one is the end
STATUSES = ("To Do", "In Progress", "Done")
# outranks the folder's own since March 2026 (MrLesk/Backlog.md#563)
ROOT_CONFIG = "backlog.config.yml"
# Words that are found though no configuration names them; what a configuration names
# comes after these.
WORDS: Mapping[str, Word] = {
    **dict.fromkeys(
        [
            "to-do",
            "todo",
            "open",
            "backlog",
            "pending",
            "ready",
            "not-started",
            "draft",
        ],
        PENDING,
    ),
    **dict.fromkeys(
        ["in-progress", "inprogress", "doing", "started", "wip"], IN_PROGRESS
    ),
    **dict.fromkeys(["done", "completed", "complete", "closed", "finished"], COMPLETED),
    **dict.fromkeys(
        [
            "skipped",
            "won't-do",
            "wont-do",
            "won't-fix",
            "wontfix",
            "cancelled",
            "canceled",
        ],
        SKIPPED,
    ),
    **dict.fromkeys(
        [
            "deferred",
            "blocked",
            "on-hold",
            "abandoned",
            "rejected",
            "duplicate",
            "archived",
        ],
        SKIPPED,
    ),
}
PRIORITIES = {"critical": 2, "high": 1, "medium": 0, "low": -1}

_FENCE = re.compile(r"---[ \t]*\r?")
_STATUS = re.compile(
    r"(?P<key>status[ \t]*:[ \t]*)(?P<quote>[\"']?)(?P<word>[^\"'#\r\n]*?)(?P=quote)(?P<rest>[ \t]*(?:#.*)?\r?)"
)
# `assignee: @me` and `- @me` are no YAML; Backlog.md quotes them before it parses, and
# so do we.
_MENTION = re.compile(
    r"^(?P<start>[ \t]*(?:[\w-]+[ \t]*:|-)[ \t]+)(?P<name>@[^\s,\[\]{}#]+)(?P<end>[ \t]*\r?)$"
)
_LISTED = re.compile(r"(?P<start>[\[,][ \t]*)(?P<name>@[^\s,\[\]{}]+)")
_ID = re.compile(
    r"(?:(?P<prefix>[A-Za-z][\w-]*?)-)?(?P<numbers>[0-9]+[A-Za-z]?(?:\.[0-9]+[A-Za-z]?)*)"
)
_MARKER = re.compile(
    r"^[ \t]*<!-- (?:SECTION|AC|DOD|COMMENTS):?[\w:]*(?:BEGIN|END) -->[ \t]*\r?\n?",
    re.MULTILINE,
)
_COMMENTS = re.compile(
    r"^## Comments[ \t]*\r?\n.*?^<!-- COMMENTS:END -->\s*", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class _File:
    """A task file: its front matter as `name → (line from 0, node)`, its body, and
    whether it is in `completed/`.
    """

    path: str
    fields: Mapping[str, tuple[int, yaml.Node]]
    body: str
    completed: bool

    def at(self, name: str) -> int:
        return self.fields[name][0] if name in self.fields else 0

    def text(self, name: str) -> str:
        """The value as it is written: YAML would make 4.1 of the id 4.10."""
        node = self.fields[name][1] if name in self.fields else None
        return (
            node.value.strip()
            if isinstance(node, yaml.ScalarNode)
            and node.tag != "tag:yaml.org,2002:null"
            else ""
        )

    @property
    def id(self) -> str:
        return self.text("id")


class BacklogMd:
    """The `backlog-md` format; see `runner.plan.formats.base.Source` for what each
    method promises.
    """

    name = "backlog-md"
    options: Mapping[str, Sequence[str]] = {}

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a folder with a `tasks/` folder in which a Markdown file begins with
        front matter.
        """
        files = (
            file
            for file in tree.list(path)
            if file.startswith(f"{path}/tasks/") and file.endswith(".md")
        )
        return any(_front_matter(tree.read(file) or "") is not None for file in files)

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan of this folder. InvalidInput for unreadable files, unknown or
        ambiguous ids, unknown statuses.
        """
        talk = Diagnostics(path)
        words = _words(path, tree, talk)
        files = [file for file in _files(path, tree, talk) if _has_id(file, talk)]
        files = _without_doubles(files, talk)
        ids = _Ids([file.id for file in files])
        tasks = [_task(file, words, ids, talk) for file in files]
        if not files and not talk.problems:
            talk.problem(
                0,
                "no tasks found",
                f"write files that begin  {EXAMPLE}",
                f"{path}/tasks",
            )
        _report_parents(files, ids, talk)
        return talk.plan(self.name, [one for one in tasks if one])

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The `status:` of the named tasks' files, in its own quotes. Moving files to
        `completed/` is Backlog.md's.
        """
        talk = Diagnostics(path)
        words = _words(path, tree, talk)
        statuses = _statuses(path, tree, talk)
        done = next(
            (
                word
                for word in reversed(statuses)
                if words[folded(word)].status is Status.COMPLETED
            ),
            statuses[-1],
        )
        found: dict[str, str] = {}
        for file in _files(path, tree, talk):
            if file.id in marks and not file.completed:
                text = tree.read(file.path) or ""
                found |= changed(
                    file.path,
                    text,
                    _marked(text, marks[file.id].status, words, done, statuses[0]),
                )
        return found


# -- The folder --


def _files(path: str, tree: Tree, talk: Diagnostics) -> Iterator[_File]:
    """The task files in the order of their ids; what else lies in the folder is noted."""
    ignored: dict[str, int] = {}
    found: list[_File] = []
    for file in tree.list(path):
        folder = file.removeprefix(f"{path}/").split("/")[0]
        if not file.endswith(".md") or folder not in ("tasks", "completed"):
            if file.endswith(".md"):
                ignored[folder] = ignored.get(folder, 0) + 1
            continue
        text = tree.read(file) or ""
        matter = _front_matter(text)
        if matter is None:
            talk.note(0, "no front matter, so it is no task", file)
            continue
        try:
            fields = _fields(file, "\n".join(text.split("\n")[1:matter]))
        except InvalidInput as error:
            talk.problems += error.problems
            continue
        found.append(
            _File(
                file,
                fields,
                "\n".join(text.split("\n")[matter + 1 :]),
                folder == "completed",
            )
        )
    for folder, count in sorted(ignored.items()):
        talk.notes.append(f"{path}/{folder}: ignored, {pluralize(count, 'file')}")
    yield from sorted(found, key=lambda file: (_order(file.id), file.path))


def _front_matter(text: str) -> int | None:
    """The line, counted from 0, that ends the front matter; None if there is none."""
    lines = text.removeprefix("\ufeff").split("\n")
    if not _FENCE.fullmatch(lines[0]):
        return None
    return next(
        (at for at, line in enumerate(lines[1:], 1) if _FENCE.fullmatch(line)), None
    )


def _fields(path: str, text: str) -> dict[str, tuple[int, yaml.Node]]:
    """The front matter's members; lines are counted from 0 in the file, whose first one
    is `---`.
    """
    lines = (
        _MENTION.sub(r'\g<start>"\g<name>"\g<end>', line) for line in text.split("\n")
    )
    quoted = "\n".join(_LISTED.sub(r'\g<start>"\g<name>"', line) for line in lines)
    root = yaml_document.load(path, f"\n{quoted}").node
    if not isinstance(root, yaml.MappingNode):
        return {}
    return {
        key.value: (key.start_mark.line, value)
        for key, value in root.value
        if isinstance(key, yaml.ScalarNode)
    }


def _has_id(file: _File, talk: Diagnostics) -> bool:
    if file.id:
        return True
    talk.problem(0, "a task file without an id", f"begin it with  {EXAMPLE}", file.path)
    return False


def _report_parents(files: Sequence[_File], ids: _Ids, talk: Diagnostics) -> None:
    """Backlog.md lets a parent start before its subtasks are done; who expects
    otherwise should know.
    """
    parents = {
        tuple(ids.find(file.text("parent_task_id")))
        for file in files
        if file.text("parent_task_id")
    }
    names = sorted(found[0] for found in parents if len(found) == 1)
    if names:
        few = ", ".join(names[:5])
        talk.remark(
            f"{pluralize(len(names), 'task')} with subtasks wait for them only where dependencies say so: {few}"
        )


def _without_doubles(files: Sequence[_File], talk: Diagnostics) -> list[_File]:
    """The files with one for each id. Finished copies are harmless; with an open one
    nobody knows which counts.
    """
    by_id: dict[tuple[str, ...], list[_File]] = {}
    for file in files:
        by_id.setdefault(_canonical(file.id), []).append(file)
    for group in by_id.values():
        if len(group) > 1 and all(file.completed for file in group):
            talk.note(
                0,
                f"{group[0].id} is also {', '.join(file.path for file in group[1:])}",
                group[0].path,
            )
        elif len(group) > 1:
            for file in group[1:]:
                what = (
                    f"the id {file.id} is used a second time (first in {group[0].path})"
                )
                talk.problem(
                    file.at("id"), what, "give every task an id of its own", file.path
                )
    return [group[0] for group in by_id.values()]


# -- Statuses --


def _statuses(path: str, tree: Tree, talk: Diagnostics) -> list[str]:
    """The configured statuses, in order: the repository's `backlog.config.yml` if it is
    of this folder, or its own.
    """
    for file in (ROOT_CONFIG, f"{path}/config.yml", f"{path}/config.yaml"):
        text = tree.read(file)
        if text is None:
            continue
        try:
            data = yaml_document.load(file, text).data
        except InvalidInput as error:
            talk.problems += error.problems
            break
        if not isinstance(data, dict) or (
            file == ROOT_CONFIG and not _configures(data, path)
        ):
            continue
        listed = data.get("statuses")
        if (
            isinstance(listed, list)
            and listed
            and all(isinstance(word, str) and word.strip() for word in listed)
        ):
            return listed
        if listed is not None:
            talk.problem(
                0,
                "statuses is no list of words",
                f"write  statuses: {list(STATUSES)}",
                file,
            )
    return list(STATUSES)


def _configures(data: Mapping[str, object], path: str) -> bool:
    """Whether the repository's configuration is of the folder at `path`."""
    named = data.get("backlog_directory")
    return (
        posixpath.normpath(named) == path
        if isinstance(named, str) and named
        else path in ("backlog", ".backlog")
    )


def _words(path: str, tree: Tree, talk: Diagnostics) -> dict[str, Word]:
    """What each status word means here: first and last of the configuration are the
    beginning and the end.
    """
    statuses = [folded(word) for word in _statuses(path, tree, talk)]
    configured = dict.fromkeys(statuses, IN_PROGRESS) | {
        statuses[0]: PENDING,
        statuses[-1]: COMPLETED,
    }
    return {**configured, **WORDS}


def _marked(
    text: str, wanted: Status, words: Mapping[str, Word], done: str, todo: str
) -> str:
    """The file with another word after `status:`; where none stands, the progress file
    is the only record.
    """
    lines = text.split("\n")
    for at in range(1, _front_matter(text) or 0):
        if match := _STATUS.fullmatch(lines[at]):
            word = target_word(
                words.get(folded(match["word"]), PENDING), wanted, done=done, todo=todo
            )
            if word is not None:
                lines[at] = (
                    f"{match['key']}{match['quote']}{word}{match['quote']}{match['rest']}"
                )
            break
    return "\n".join(lines)


# -- Ids --


def _canonical(task_id: str) -> tuple[str, ...]:
    """An id as Backlog.md compares it: case and leading zeros do not count. The first
    part is the prefix.
    """
    match = _ID.fullmatch(task_id.strip())
    if not match:
        return (task_id.strip().casefold(),)
    numbers = (
        re.sub(r"^0+(?=[0-9])", "", number.casefold())
        for number in match["numbers"].split(".")
    )
    return ((match["prefix"] or "").casefold(), *numbers)


def _order(task_id: str) -> tuple[object, ...]:
    """Ids as people count: 4.2 before 4.10."""
    prefix, *numbers = _canonical(task_id)
    return (prefix, [(_leading_digits(number), number) for number in numbers])


def _leading_digits(text: str) -> int:
    match = re.match(r"[0-9]{1,9}", text)
    return int(match[0]) if match else 0


class _Ids:
    """The ids of the plan, found by how dependencies spell them."""

    def __init__(self, ids: Sequence[str]) -> None:
        self.ids = ids
        self._exact: dict[tuple[str, ...], list[str]] = {}
        self._bare: dict[tuple[str, ...], list[str]] = {}
        for task_id in ids:
            key = _canonical(task_id)
            self._exact.setdefault(key, []).append(task_id)
            self._bare.setdefault(key[1:] or key, []).append(task_id)

    def find(self, written: str) -> list[str]:
        """The ids that it may mean: the one that is spelt so, else all that differ in
        their prefix only.
        """
        key = _canonical(written)
        return self._exact.get(key) or self._bare.get(key[1:] or key) or []


# -- Tasks --


def _task(
    file: _File, words: Mapping[str, Word], ids: _Ids, talk: Diagnostics
) -> Task | None:
    status = file.text("status")
    word = (
        status_word(talk, file.at("status"), status, words, file.path)
        if status and not file.completed
        else PENDING
    )
    word = COMPLETED if file.completed else word
    done = word.status is Status.COMPLETED
    priority = folded(file.text("priority"))
    return task(
        talk,
        file.at("id"),
        file.path,
        id=file.id,
        title=file.text("title") or file.path.rsplit("/", 1)[-1].removesuffix(".md"),
        prompt=sections([("", _MARKER.sub("", _COMMENTS.sub("", file.body)))]),
        depends_on=tuple(dict.fromkeys(_dependencies(file, ids, talk, done=done))),
        priority=PRIORITIES.get(priority, 0),
        source_status=word.status,
        skipped=word.skipped,
    )


def _dependencies(
    file: _File, ids: _Ids, talk: Diagnostics, *, done: bool
) -> Iterator[str]:
    """The ids of the plan that this file's `dependencies` mean. A finished task waits
    for nothing any more.
    """
    at, node = file.fields.get("dependencies", (0, None))
    if isinstance(node, yaml.SequenceNode):
        items = [item for item in node.value if isinstance(item, yaml.ScalarNode)]
        if len(items) < len(node.value):
            talk.problem(
                at,
                f"{file.id}: its dependencies are no list of ids",
                "write  [task-1, task-2]",
                file.path,
            )
    else:
        items = (
            [node]
            if isinstance(node, yaml.ScalarNode) and file.text("dependencies")
            else []
        )
        if isinstance(node, yaml.MappingNode):
            talk.problem(
                at,
                f"{file.id}: its dependencies are no list of ids",
                "write  [task-1, task-2]",
                file.path,
            )
    for item in items:
        written, line = item.value.strip(), item.start_mark.line
        found = ids.find(written)
        if len(found) == 1:
            yield found[0]
        elif done:
            yield written  # dropped, with a note, by the registry
        elif found:
            what = f"{file.id} depends on {written}, which may be {' or '.join(found)}"
            talk.problem(line, what, "write the whole id", file.path)
        else:
            yield written
