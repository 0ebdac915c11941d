"""The task files in a folder of Backlog.md: which are read, and the front matter of each."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import yaml

from runner.core import yaml_document
from runner.core.errors import InvalidInput
from runner.core.task import Status
from runner.plan.formats.backlog_md_ids import Ids, canonical_id, sort_key
from runner.plan.formats.base import Tree
from runner.plan.formats.diagnostics import (
    PENDING,
    Diagnostics,
    StatusWord,
    count_of,
    normalize,
)

EXAMPLE = "---\\nid: task-1\\ntitle: What to do\\nstatus: To Do\\n---"
MAX_NAMED_FILES = 5  # a note names no more of them

_FENCE = re.compile(r"---[ \t]*\r?")
# `assignee: @me` and `- @me` are not valid YAML. Backlog.md quotes such names before it
# parses, so fanin does, too.
_MENTION = re.compile(
    r"^(?P<start>[ \t]*(?:[\w-]+[ \t]*:|-)[ \t]+)(?P<name>@[^\s,\[\]{}#]+)(?P<end>[ \t]*\r?)$"
)
_LISTED_MENTION = re.compile(r"(?P<start>[\[,][ \t]*)(?P<name>@[^\s,\[\]{}]+)")


class Field(NamedTuple):
    """A member of the front matter; its line is counted from 0 in the file."""

    line_index: int
    node: yaml.Node


class TaskFile(NamedTuple):
    """A task file. `completed`: whether it is in the `completed/` folder; `has_copies`:
    whether other files have its id.
    """

    path: str
    fields: Mapping[str, Field]
    body: str
    completed: bool
    has_copies: bool = False

    @property
    def id(self) -> str:
        return self.text("id")

    def line_index(self, name: str) -> int:
        """The line of a field, or the first line if there is no such field."""
        return self.fields[name].line_index if name in self.fields else 0

    def text(self, name: str) -> str:
        """A field's value as it is written: YAML would read the id 4.10 as 4.1."""
        if name not in self.fields:
            return ""
        node = self.fields[name].node
        if not isinstance(node, yaml.ScalarNode) or _is_null(node):
            return ""
        return str(node.value).strip()


def _is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def read_files(
    path: str,
    tree: Tree,
    prefix: str,
    words: Mapping[str, StatusWord],
    diagnostics: Diagnostics,
) -> list[TaskFile]:
    """The task files in the order of their ids, one for each id.

    Notes what lies in the folder and is not a task file.
    """
    ignored_folders: Counter[str] = Counter()
    nested: list[str] = []
    unlisted: list[str] = []
    files: list[TaskFile] = []
    for file_path in tree.list(path):
        if not file_path.endswith(".md"):
            continue
        folder, *below = file_path.removeprefix(f"{path}/").split("/")
        if folder not in ("tasks", "completed"):
            ignored_folders[folder] += 1
        elif len(below) > 1:
            nested.append(file_path)
        elif not below or not below[0].startswith(f"{prefix}-"):
            unlisted.append(file_path)
        else:
            text = tree.read(file_path) or ""
            file = read_file(file_path, text, folder == "completed", diagnostics)
            if file is not None:
                files.append(file)
    _note_files(path, nested, "in subfolders", diagnostics)
    _note_files(path, unlisted, f"not named {prefix}-*.md", diagnostics)
    for folder, count in sorted(ignored_folders.items()):
        note = f"{path}/{folder}: ignored, {count_of(count, 'file')}"
        diagnostics.notes.append(note)
    files.sort(key=lambda file: (sort_key(file.id), file.path))
    return _without_duplicates(files, words, diagnostics)


def _note_files(
    path: str, files: Sequence[str], what: str, diagnostics: Diagnostics
) -> None:
    """Note the Markdown files that Backlog.md does not list, and why."""
    if not files:
        return
    names = [file.removeprefix(f"{path}/") for file in files[:MAX_NAMED_FILES]]
    if len(files) > len(names):
        names.append(f"{len(files) - len(names)} more")
    count = count_of(len(files), "file")
    diagnostics.add_plan_note(
        f"{count} {what}, which Backlog.md does not list: {', '.join(names)}"
    )


def read_file(
    path: str, text: str, completed: bool, diagnostics: Diagnostics
) -> TaskFile | None:
    """The task file; None if it is left out."""
    remedy = f"begin it with  {EXAMPLE}"
    end = front_matter_end(text)
    if end is None:
        what = "no front matter, so it has no id"
        diagnostics.leave_out(0, what, remedy, file=path)
        return None
    lines = text.split("\n")
    try:
        fields = _read_fields(path, lines[1:end])
    except InvalidInput as error:
        if end == len(lines):
            what = "its front matter has no end"
            diagnostics.leave_out(0, what, "end it with  ---", file=path)
        else:
            diagnostics.leave_out_problem(error.problems[0])
        return None
    file = TaskFile(path, fields, _body(lines, end), completed)
    if not file.id:
        diagnostics.leave_out(0, "this task file has no id", remedy, file=path)
        return None
    return file


def front_matter_end(text: str) -> int | None:
    """The index of the line that ends the front matter; None if there is none.

    As in Backlog.md, text may follow on that line, and the end of the file is one, too.
    """
    lines = text.removeprefix("\ufeff").split("\n")
    if not _FENCE.fullmatch(lines[0]):
        return None
    for index, line in enumerate(lines[1:], 1):
        if line.startswith("---"):
            return index
    return len(lines)


def _body(lines: Sequence[str], end: int) -> str:
    """The text after the front matter, which ends on that line."""
    if end == len(lines):
        return ""
    return "\n".join([lines[end].lstrip("-"), *lines[end + 1 :]])


def _read_fields(path: str, lines: Sequence[str]) -> dict[str, Field]:
    """The members of the front matter whose lines, without its `---`, these are."""
    quoted_lines = []
    for line in lines:
        line = _MENTION.sub(r'\g<start>"\g<name>"\g<end>', line)
        line = _LISTED_MENTION.sub(r'\g<start>"\g<name>"', line)
        quoted_lines.append(line)
    # An empty line in place of the `---`, so that lines are numbered as in the file.
    root = yaml_document.load(path, "\n".join(["", *quoted_lines])).node
    if not isinstance(root, yaml.MappingNode):
        return {}
    fields = {}
    for key, value in root.value:
        if isinstance(key, yaml.ScalarNode):
            fields[key.value] = Field(key.start_mark.line, value)
    return fields


def _without_duplicates(
    files: Sequence[TaskFile],
    words: Mapping[str, StatusWord],
    diagnostics: Diagnostics,
) -> list[TaskFile]:
    """One file of each id: the first that is not finished, so that nothing starts early.

    Finished copies are harmless.
    """
    files_by_id: dict[tuple[str, ...], list[TaskFile]] = {}
    for file in files:
        files_by_id.setdefault(canonical_id(file.id), []).append(file)
    chosen_files = []
    for same in files_by_id.values():
        unfinished = [file for file in same if not _is_finished(file, words)]
        chosen = (unfinished or same)[0]
        copies = [file for file in same if file is not chosen]
        chosen_files.append(chosen._replace(has_copies=bool(copies)))
        if copies and not unfinished:
            paths = ", ".join(file.path for file in copies)
            diagnostics.add_note(
                0,
                f"{chosen.id} is also in {paths}; only this file is read",
                chosen.path,
            )
            continue
        for file in copies:
            what = f"the id {file.id} is used twice (also in {chosen.path})"
            line_index = file.line_index("id")
            remedy = "give every task its own id"
            diagnostics.leave_out(line_index, what, remedy, file=file.path)
    return chosen_files


def _is_finished(file: TaskFile, words: Mapping[str, StatusWord]) -> bool:
    word = words.get(normalize(file.text("status")), PENDING)
    return file.completed or word.status is Status.COMPLETED


def read_archived_ids(path: str, tree: Tree, prefix: str) -> Ids:
    """The ids of the files in `archive/tasks/`; unreadable ones are not tasks."""
    folder = f"{path}/archive/tasks"
    task_ids: list[str] = []
    for file_path in tree.list(folder):
        name = file_path.removeprefix(f"{folder}/")
        if "/" in name or not name.startswith(f"{prefix}-"):
            continue
        if not name.endswith(".md"):
            continue
        text = tree.read(file_path) or ""
        file = read_file(file_path, text, False, Diagnostics(path))
        if file is not None:
            task_ids.append(file.id)
    return Ids(task_ids)
