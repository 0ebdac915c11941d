"""BMAD's `sprint-status.yaml`: the first story that is ready for development is next.

Its workflows (github.com/bmad-code-org/BMAD-METHOD, `4-implementation`) move a story
from `backlog` through `ready-for-dev` (its file is written), `in-progress` and `review`
to `done`. `dev-story` takes the first that is ready, whatever comes before it, and ends
with `review`; a person or another model then says `done`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import yaml

from runner.core import yaml_document
from runner.core.errors import InvalidInput, Problem
from runner.core.task import Plan, Reference, Status, Task
from runner.core.yaml_document import YamlDocument
from runner.plan.formats.base import Mark, Marker, Options, Tree
from runner.plan.formats.diagnostics import (
    COMPLETED,
    IN_PROGRESS,
    PENDING,
    REVIEW_WORDS,
    SKIPPED,
    Diagnostics,
    StatusWord,
    build_task_or_leave_out,
    changed_file,
    count_of,
    join_sections,
    normalize,
    only_tasks,
    parse_status_or_leave_out,
)

_FILES = ("sprint-status.yaml", "sprint-status.yml")
_SECTION = "development_status"
# Not compiled before a plan is of this format: every YAML plan asks it first.
# `1-2-name`; projects also write `22-1a-name`, and `se1-2-name` for an epic of its own.
_STORY = r"(?P<number>[a-z]{0,4}[0-9]{1,4}[a-z]?-[0-9]{1,4}[a-z]?)-(?P<words>.+)"
_OTHER = r"(?:.+-)?epic-.+|.*retrospective"
_TOP_LEVEL = r"[^\s#]"
_LOCATION = r"(?m)^story_location:[ \t]*(?P<path>\S.*)$"
_TITLE = r"(?i)(?:story\b[\s#]*)?[0-9.\-a-z]{0,12}\s*[:.–—-]\s*(?=\S)"
STATUS_WORDS: Mapping[str, StatusWord] = {
    **dict.fromkeys(["ready-for-dev", "ready", "approved"], PENDING),
    "in-progress": IN_PROGRESS,
    **dict.fromkeys(["done", "completed", "complete"], COMPLETED),
    # Their file is not written, or nobody has said that it is ready.
    **dict.fromkeys(["backlog", "drafted", "draft", "contexted"], SKIPPED),
    **dict.fromkeys(
        [
            "blocked",
            "deferred",
            "cancelled",
            "canceled",
            "skipped",
            "optional",
            "on-hold",
            "superseded",
            "cut",
        ],
        SKIPPED,
    ),
    **REVIEW_WORDS,
}
# Parts of a story that say what is asked. The others are in the context.
_PARTS = ("story", "acceptance criteria", "tasks / subtasks", "tasks/subtasks", "tasks")


class _Story(NamedTuple):
    """An entry of the file. `value` is its status, `file` the path of its text or ""."""

    key: str
    line_index: int
    value: yaml.ScalarNode
    file: str = ""


class Bmad:
    """The `bmad` format; see `runner.plan.formats.base.Source`."""

    name = "bmad"
    leaves_out_records = True
    waits_for_left_out = True
    options: Mapping[str, Sequence[str]] = {
        "order": ("file", "none"),
        "finished": ("review", "done"),
    }

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a `sprint-status.yaml`, a folder with one, and what looks like it."""
        file = _plan_file(path, tree)
        text = tree.read(file)
        if text is None or not file.endswith((".yaml", ".yml")):
            return False
        if posixpath.basename(file) in _FILES:
            return True
        return f"\n{_SECTION}:" in f"\n{text}"

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan in this file. InvalidInput if it is not such a file."""
        file = _plan_file(path, tree)
        diagnostics = Diagnostics(path, file)
        text = tree.read(file) or ""
        document = yaml_document.load(file, _section_text(text))
        stories = list(_stories(document, text, tree))
        _note_others(document, stories, diagnostics)
        words = {story.key: _status(story, diagnostics) for story in stories}
        # What waits for a person is passed over, as `dev-story` does. What cannot be
        # read is another matter.
        ids = [
            story.key
            for story in stories
            if not words[story.key].skipped or diagnostics.is_left_out(story.key)
        ]
        done = {key for key, word in words.items() if word.status is Status.COMPLETED}
        if options.get("order") == "none":
            ids = []
        # Late: this module is imported to look at every YAML file.
        from runner.plan.formats.box_order import one_by_one, wait_in_order

        waits = wait_in_order(one_by_one(ids), done)
        tasks: list[Task | None] = []
        unread_ids: set[str] = set()
        for story in stories:
            word = words[story.key]
            before = (
                *waits.depends_on.get(story.key, ()),
                *waits.open_before.get(story.key, ()),
            )
            title, prompt = _text(story, tree)
            reason = normalize(story.value.value)
            if diagnostics.is_left_out(story.key):
                reason = "left out, see fanin check"
            task = build_task_or_leave_out(
                diagnostics,
                story.line_index,
                task_id=story.key,
                title=title,
                prompt=prompt,
                # what waits for an id that cannot be read is left out as well
                depends_on=[each for each in before if each in unread_ids],
                status=word,
                skip_reason=reason,
                context=_context(story, file),
            )
            if task is None:
                unread_ids.add(story.key)
            else:
                # Not in `depends_on`, which is part of what a story is: one that moves to
                # `review` would change those behind it, and their results would be
                # refused.
                known = tuple(each for each in before if each not in unread_ids)
                task = task.model_copy(update={"open_before": known})
            tasks.append(task)
        plan = diagnostics.build_plan(self.name, only_tasks(tasks))
        read = {task.id for task in plan.tasks}
        story_files = {
            story.file: story.key
            for story in stories
            if story.file and story.key in read
        }
        return plan._replace(own_files=(file,), task_files=story_files)

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with the status words of the marked stories moved."""
        return self.marker(path, tree, options).write(marks)

    def marker(self, path: str, tree: Tree, options: Options) -> Marker:
        """See `runner.plan.formats.base.Source`."""
        file = _plan_file(path, tree)
        finished = options.get("finished", "review")
        return _BmadMarker(file, tree.read(file) or "", finished)


class _BmadMarker:
    """The `Marker` of a `sprint-status.yaml`."""

    def __init__(self, file: str, text: str, finished: str) -> None:
        # Late: this module is imported to look at every YAML file.
        from runner.plan.formats.marked_text import MarkedText

        self._file, self._text, self._finished = file, MarkedText(text), finished
        entries = list(_entries(yaml_document.load(file, _section_text(text))))
        self._values = {entry.key: entry.value for entry in entries}
        # An alias would be another word now.
        self.is_current = len({id(entry.value) for entry in entries}) == len(entries)

    def write(self, marks: Mapping[str, Mark]) -> Mapping[str, str]:
        """The file with the status words of the marked stories moved."""
        from runner.plan.formats.marked_text import Span

        edits: list[tuple[Span, str]] = []
        for key, mark in marks.items():
            value = self._values.get(key)
            if value is None:
                continue
            word = _moved(value.value, mark.status, self._finished)
            if word is not None:
                quote = value.style or ""
                span = Span(value.start_mark.index, value.end_mark.index)
                edits.append((span, f"{quote}{word}{quote}"))
                value.value = word
        before = self._text.text
        self._text.replace(edits)
        return changed_file(self._file, before, self._text.text)


def _plan_file(path: str, tree: Tree) -> str:
    if tree.read(path) is not None:
        return path
    for name in _FILES:
        for folder in (path, f"{path}/implementation-artifacts"):
            file = posixpath.join(folder, name)
            if tree.read(file) is not None:
                return file
    return path


def _moved(current: str, status: Status, finished: str) -> str | None:
    """The word that the story's status moves to; None to keep it.

    From finished, a story goes back to `in-progress`, as after a code review.
    """
    word = STATUS_WORDS.get(normalize(current))
    was_finished = word is COMPLETED or normalize(current) in REVIEW_WORDS
    if status is Status.COMPLETED:
        is_done = word is COMPLETED or (was_finished and finished == "review")
        return None if is_done else finished
    return "in-progress" if was_finished else None


# -- Reading --


def _section_text(text: str) -> str:
    """The text with blanks instead of all that is outside of the section.

    BMAD's template writes `story_location: {project-root}/…`, which is not valid YAML.
    """
    lines = []
    is_inside = False
    for line in text.split("\n"):
        if re.match(_TOP_LEVEL, line):
            is_inside = line.startswith(f"{_SECTION}:")
        lines.append(line if is_inside else " " * len(line))
    return "\n".join(lines)


def _stories(document: YamlDocument, text: str, tree: Tree) -> Iterator[_Story]:
    """The stories with their files, as `_entries`."""
    folders = _folders(document.path, text)
    files = [name for folder in folders for name in tree.list(folder)]
    by_name = {posixpath.basename(name): name for name in reversed(files)}
    for entry in _entries(document):
        yield entry._replace(file=by_name.get(f"{entry.key}.md", ""))


def _entries(document: YamlDocument) -> Iterator[_Story]:
    """The stories in the order of the file. InvalidInput without such a section."""
    for key, value in _section(document).value:
        if not isinstance(key, yaml.ScalarNode) or not re.fullmatch(_STORY, key.value):
            continue
        status = _status_node(value)
        if status is not None:
            yield _Story(key.value, key.start_mark.line, status)


def _status_node(value: yaml.Node) -> yaml.ScalarNode | None:
    """The word of `1-2-name: done`, or of `1-2-name: {status: done}`."""
    if isinstance(value, yaml.ScalarNode):
        return value
    if isinstance(value, yaml.MappingNode):
        for key, member in value.value:
            if key.value == "status" and isinstance(member, yaml.ScalarNode):
                return member
    return None


def _section(document: YamlDocument) -> yaml.MappingNode:
    root = document.node
    if isinstance(root, yaml.MappingNode):
        for key, value in root.value:
            if key.value == _SECTION and isinstance(value, yaml.MappingNode):
                return value
    what = f"there is no {_SECTION}"
    remedy = f"write  {_SECTION}: {{1-1-first-story: ready-for-dev}}"
    raise InvalidInput([Problem(document.path, 1, what, remedy)])


def _folders(path: str, text: str) -> list[str]:
    """The folders of the stories' files: beside the plan, and where it says."""
    own = posixpath.dirname(path) or "."
    folders = [own]
    location = re.search(_LOCATION, text)
    if location is not None:
        written = location["path"].partition(" #")[0].strip().strip("\"'")
        relative = written.replace("{project-root}", "").strip("/")
        if relative and ".." not in relative.split("/"):
            folders.append(posixpath.normpath(relative))
    return folders


def _note_others(
    document: YamlDocument, stories: Sequence[_Story], diagnostics: Diagnostics
) -> None:
    """Notes on entries that are neither stories nor epics and retrospectives."""
    keys = {story.key for story in stories}
    others = 0
    for key, _ in _section(document).value:
        if key.value in keys:
            continue
        if re.fullmatch(_OTHER, str(key.value)):
            others += 1
            continue
        what = f"{str(key.value)[:60]} is not read: write  1-2-its-name: STATUS"
        diagnostics.add_note(key.start_mark.line, what)
    if others:
        entries = count_of(others, "entry", "entries")
        what = f"{entries} for epics and retrospectives: not tasks, and not changed"
        diagnostics.add_plan_note(what)


def _status(story: _Story, diagnostics: Diagnostics) -> StatusWord:
    word = parse_status_or_leave_out(
        diagnostics, story.line_index, story.value.value, STATUS_WORDS, story.key
    )
    if word.skipped or word.status is Status.COMPLETED or story.file:
        return word
    what = f"{story.key}: there is no file {story.key}.md with the story"
    remedy = "write it with  create-story, or set its status to backlog"
    diagnostics.leave_out(story.line_index, what, remedy, task_id=story.key)
    return SKIPPED


def _text(story: _Story, tree: Tree) -> tuple[str, str]:
    """The title and the prompt of the story."""
    match = re.fullmatch(_STORY, story.key)
    assert match is not None
    title = match["words"].replace("-", " ")
    text = tree.read(story.file) if story.file else None
    if text is None:
        return title, ""
    parts: list[tuple[str, str | None]] = []
    heading, lines = "", list[str]()
    from runner.plan.formats.markdown import heading_level, heading_text, read_page

    page = read_page(story.file, text, lambda _: False)
    visible = dict(page.visible_lines())
    for index, line in enumerate(page.lines):
        name = heading_text(line) if index in visible else None
        if name is None or heading_level(line) > 2:
            lines.append(line)
            continue
        if heading_level(line) == 1:
            title = re.sub(_TITLE, "", name, count=1) or title
        _add_part(parts, heading, lines)
        heading, lines = name, []
    _add_part(parts, heading, lines)
    return title, join_sections([("", f"The story is in {story.file}."), *parts])


def _add_part(
    parts: list[tuple[str, str | None]], heading: str, lines: Sequence[str]
) -> None:
    if heading.strip().lower() in _PARTS:
        parts.append((heading, "\n".join(lines)))


def _context(story: _Story, file: str) -> tuple[Reference, ...]:
    """The story, and what BMAD's agents read with it."""
    output = posixpath.dirname(posixpath.dirname(file))
    names = [
        story.file,
        posixpath.join(output, "project-context.md"),
        posixpath.join(output, "planning-artifacts/architecture.md"),
    ]
    return tuple(Reference(name) for name in names if name)
