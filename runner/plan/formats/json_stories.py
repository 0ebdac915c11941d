"""Stories in a JSON file, each with `passes` or a status: what the loops that work
through such a file one story at a time have in common.

Agents write these files, so the names of fields vary. A story is an object with a mark:
a boolean such as `passes`, or a status word. The lists that hold them are found by that.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from runner.core import json_document
from runner.core.errors import InvalidInput
from runner.core.json_document import JsonDocument, Node, Number
from runner.core.task import Plan, Reference, Status
from runner.plan.formats.base import Mark, Options, Tree
from runner.plan.formats.box_order import Sequel, in_agreement, wait_in_order
from runner.plan.formats.boxes import slug
from runner.plan.formats.diagnostics import (
    COMPLETED,
    IN_PROGRESS,
    MAX_NAME,
    PENDING,
    REVIEW_WORDS,
    SKIPPED,
    Diagnostics,
    StatusWord,
    UniqueIds,
    build_task_or_leave_out,
    changed_file,
    join_sections,
    normalize,
    only_tasks,
    parse_status_or_leave_out,
    refuse_number,
)
from runner.plan.formats.marked_text import JsonText, NewValue

# Whether a story is done, as a boolean.
MARKS = ("passes", "passed", "passing", "done", "completed", "complete")
STATUS_WORDS: Mapping[str, StatusWord] = {
    **dict.fromkeys(
        [
            "pending", "todo", "to-do", "open", "not-started", "new", "planned",
            "backlog", "ready", "spec-ready", "failing", "failed", "fail", "partial",
            "active", "incomplete",
        ],
        PENDING,
    ),
    **dict.fromkeys(["in-progress", "inprogress", "started", "doing", "wip"], IN_PROGRESS),
    **dict.fromkeys(
        [
            "done", "completed", "complete", "closed", "finished", "passing", "passed",
            "pass", "passes", "verified", "implemented", "shipped",
        ],
        COMPLETED,
    ),
    **dict.fromkeys(
        [
            "blocked", "deferred", "cancelled", "canceled", "skipped", "rejected",
            "removed", "wont-do", "obsolete", "superseded", "deprecated", "on-hold",
        ],
        SKIPPED,
    ),
    **REVIEW_WORDS,
}  # fmt: skip
_LISTS = frozenset(
    {
        "userstories",
        "stories",
        "features",
        "featurelist",
        "tasks",
        "items",
        "requirements",
    }
)
_TITLES = ("title", "name", "summary", "story", "feature", "task", "description")
_DEPENDENCIES = (
    "dependencies", "dependsOn", "depends_on", "blockedBy", "blocked_by", "requires",
)  # fmt: skip
_PRIORITIES = {"critical": 0.0, "highest": 0.0, "high": 1.0, "medium": 2.0, "low": 3.0}
_PRIORITY = re.compile(r"[pP]?(?P<number>[0-9]{1,6}(?:\.[0-9]{1,6})?)")
_MAX_TITLE = 100
# Fields that say how the work went, which are no part of what is asked.
_STATE = re.compile(
    r"evidence|complet|attempt|result|commit|_at$|At$|date|passe|status|verified|session"
    r"|iteration|cost|duration|assign|owner|started|finished|blocker|progress|actual|log$",
    re.IGNORECASE,
)
_FIRST_SECTIONS = ("description", "acceptanceCriteria", "acceptance", "steps")


@dataclass
class Story:
    """A story. `mark` is its boolean, `status` its word; None if it has none."""

    node: Node
    task_id: str
    line_index: int
    mark: Node | None
    status: Node | None


def read_document(file: str, tree: Tree) -> JsonDocument:
    """The file. InvalidInput if it is not JSON."""
    return json_document.load(file, tree.read(file) or "")


def has_stories(file: str, tree: Tree) -> bool:
    """Whether this is a JSON file with a story that has a boolean mark."""
    text = tree.read(file)
    if text is None or not any(f'"{name}"' in text for name in MARKS[:3]):
        return False
    try:
        document = json_document.load(file, text)
    except InvalidInput:
        return False
    return any(
        _mark(node, MARKS[:3]) is not None for node in _story_nodes(document.root)
    )


def plan_file(path: str, names: Sequence[str], tree: Tree) -> str:
    """The file of the plan: `path`, or the first of these that is in it."""
    if tree.read(path) is not None:
        return path
    for name in names:
        inside = posixpath.join(path, name)
        if tree.read(inside) is not None:
            return inside
    return path


# -- Reading --


def read_stories(document: JsonDocument, diagnostics: Diagnostics) -> list[Story]:
    """The stories in the order of the file, each with its own id."""
    stories: list[Story] = []
    nodes = _story_nodes(document.root)
    refuse_number(diagnostics.plan_path, len(nodes))
    ids = UniqueIds(node.text("id").strip() for node in nodes)
    for node in nodes:
        line_index = document.line_index(node)
        name = node.text("id").strip() or slug(_title(node)) or f"line-{line_index + 1}"
        task_id = ids.next(name)
        if task_id != name:
            what = f"a second story {name[:MAX_NAME]}, here called {task_id[:MAX_NAME]}"
            diagnostics.add_note(line_index, what)
        status = node.get("status") or node.get("state")
        if status is not None and not isinstance(status.value, str):
            status = None
        stories.append(Story(node, task_id, line_index, _mark(node, MARKS), status))
    return stories


def _story_nodes(root: Node) -> list[Node]:
    """The stories, in the order of the file.

    Where some have a boolean mark, objects with a status word are something else, such
    as risks. Where none has, those of a list with a name such as `features` are stories.
    """
    groups = list(_groups(root))
    chosen = [group for group in groups if any(_mark(node, MARKS) for node in group[1])]
    chosen = chosen or [group for group in groups if group[0] in _LISTS] or groups
    return [node for _, nodes in chosen for node in nodes]


def _groups(root: Node) -> Iterator[tuple[str, list[Node]]]:
    """Objects that may be stories: the name of what holds them, and all it holds."""
    waiting = [("", root)]
    while waiting:
        name, node = waiting.pop()
        if node.members is not None:
            children = list(node.members.items())
            _name_by_key(node)
        else:
            children = [(name, item) for item in node.items or ()]
        if any(_is_story(child) for _, child in children):
            yield name, [child for _, child in children if _is_like_story(child)]
        inner = [
            (_plain(key), child) for key, child in children if not _is_story(child)
        ]
        waiting += reversed(inner)


def _name_by_key(node: Node) -> None:
    """Give the stories of an object such as `{"F-1": {"passes": false}}` their id."""
    for name, child in (node.members or {}).items():
        if child.members is None or "id" in child.members or not _has_mark(child):
            continue
        if not _holds_stories(child):
            child.members["id"] = Node(child.start, child.start, name)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def _is_story(node: Node) -> bool:
    """Whether the object has a mark or a status and a name, and holds no stories."""
    if node.members is None or _holds_stories(node):
        return False
    return _has_mark(node) and _is_like_story(node)


def _is_like_story(node: Node) -> bool:
    if node.members is None or _holds_stories(node):
        return False
    return bool(node.text("id") or _title(node))


def _has_mark(node: Node) -> bool:
    return _mark(node, MARKS) is not None or bool(node.text("status"))


def _holds_stories(node: Node) -> bool:
    for name, child in (node.members or {}).items():
        key = re.sub(r"[^a-z]", "", name.lower())
        if key in _LISTS and any(
            item.members is not None for item in child.items or ()
        ):
            return True
    return False


def _mark(node: Node, names: Sequence[str]) -> Node | None:
    """The member that says as a boolean whether the story is done."""
    for name in names:
        member = node.get(name)
        if member is None:
            continue
        if isinstance(member.value, bool) or member.is_null:
            return member
        if isinstance(member.value, str) and member.value.lower() in ("true", "false"):
            return member
    return None


def _is_true(node: Node) -> bool:
    return node.value is True or str(node.value).lower() == "true"


def _title(node: Node) -> str:
    for name in _TITLES:
        text = " ".join(node.text(name).split())
        if text:
            return text
    return ""


# -- The plan --


def build_plan(
    source: str,
    document: JsonDocument,
    diagnostics: Diagnostics,
    options: Options,
    context: tuple[Reference, ...],
) -> Plan:
    """The plan of the stories: by priority, one after the other.

    With the option `order: none` only their own dependencies count.
    """
    stories = read_stories(document, diagnostics)
    words = {story.task_id: _status(story, diagnostics) for story in stories}
    named = {story.task_id: _dependencies(story.node) for story in stories}
    ids: list[str] = []
    for story in sorted(stories, key=_priority):
        # The tool takes the next story that it may, so none waits for one that a person
        # has set aside. What cannot be read is another matter.
        is_aside = words[story.task_id].skipped
        if not is_aside or diagnostics.is_left_out(story.task_id):
            ids.append(story.task_id)
    done = {
        task_id for task_id, word in words.items() if word.status is Status.COMPLETED
    }
    sequel = Sequel([[*ids]])
    if options.get("order") != "none":
        sequel = Sequel([[task_id] for task_id in ids])
        sequel, early = in_agreement(sequel, named)
        for story in stories:
            if story.task_id in early:
                what = (
                    f"{story.task_id[:MAX_NAME]} names a later story and waits for it"
                )
                diagnostics.add_note(story.line_index, what)
    waits = wait_in_order(sequel, done)
    tasks = []
    for story in stories:
        word = words[story.task_id]
        before = waits.depends_on.get(story.task_id, [])
        task = build_task_or_leave_out(
            diagnostics,
            story.line_index,
            task_id=story.task_id,
            title=_short_title(story),
            prompt=_prompt(story.node),
            depends_on=[*before, *named[story.task_id]],
            status=word,
            skip_reason=_skip_reason(story, diagnostics),
            context=context,
        )
        open_before = waits.open_before.get(story.task_id, ())
        if task is not None and open_before:
            task = task.model_copy(update={"open_before": tuple(open_before)})
        tasks.append(task)
    plan = diagnostics.build_plan(source, only_tasks(tasks))
    return plan._replace(own_files=(document.path,))


def _status(story: Story, diagnostics: Diagnostics) -> StatusWord:
    """What its marks say. The boolean decides whether it is done."""
    if story.mark is not None and _is_true(story.mark):
        return COMPLETED
    blocked = story.node.get("blocked")
    if blocked is not None and _is_true(blocked):
        return SKIPPED
    if story.status is None or not str(story.status.value).strip():
        return PENDING
    text = str(story.status.value)
    if story.mark is None:
        return parse_status_or_leave_out(
            diagnostics, story.line_index, text, STATUS_WORDS, story.task_id
        )
    word = STATUS_WORDS.get(normalize(text), PENDING)
    return PENDING if word is COMPLETED else word


def _skip_reason(story: Story, diagnostics: Diagnostics) -> str:
    if diagnostics.is_left_out(story.task_id):
        return "left out, see fanin check"
    text = story.node.text("status").strip()
    word = STATUS_WORDS.get(normalize(text))
    return text if word is not None and word.skipped else "blocked"


def _priority(story: Story) -> float:
    """Lower is earlier. A story without a number comes after those that have one."""
    text = story.node.text("priority").strip()
    match = _PRIORITY.fullmatch(text)
    if match:
        return float(match["number"])
    return _PRIORITIES.get(text.lower(), 10.0**6)


def _dependencies(node: Node) -> list[str]:
    ids: list[str] = []
    for name in _DEPENDENCIES:
        member = node.get(name)
        if member is None:
            continue
        if isinstance(member.value, str):
            ids += [word for word in re.split(r"[,;\s]+", member.value) if word]
        for item in member.items or ():
            text = item.value if isinstance(item.value, str) else item.text("id")
            if text.strip():
                ids.append(text.strip())
    none = {"none", "null", "-", "n/a"}
    return list(dict.fromkeys(name for name in ids if name.lower() not in none))


def _short_title(story: Story) -> str:
    title = _title(story.node) or story.task_id
    if len(title) <= _MAX_TITLE:
        return title
    first_sentence = re.split(r"(?<=[.!?。])\s", title, maxsplit=1)[0]
    if len(first_sentence) <= _MAX_TITLE:
        return first_sentence
    return f"{title[: _MAX_TITLE - 1].rstrip()}…"


def _prompt(node: Node) -> str:
    """What the story says, field by field; without how the work on it went."""
    members = node.members or {}
    used = {"id", "priority", *MARKS, *_DEPENDENCIES, "title", "name"}
    names = [name for name in _FIRST_SECTIONS if name in members]
    names += [name for name in members if name not in names]
    sections: list[tuple[str, str | None]] = []
    for name in names:
        if name in used or _STATE.search(name):
            continue
        heading = "" if name == "description" else _words(name)
        sections.append((heading, "\n".join(_lines(members[name]))))
    return join_sections(sections)


def _words(name: str) -> str:
    """`acceptanceCriteria` as `Acceptance criteria`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])|[_-]+", " ", name)
    return " ".join(spaced.split()).capitalize()


def _lines(node: Node, depth: int = 0) -> Iterator[str]:
    """The value as text: lists as list items, objects as `key: value`."""
    if isinstance(node.value, str) and not isinstance(node.value, Number):
        yield node.value
        return
    if isinstance(node.value, Number):
        yield str(node.value)
        return
    if depth > 4:
        return
    for item in node.items or ():
        yield from _item_lines(_lines(item, depth + 1))
    for name, member in (node.members or {}).items():
        if not _STATE.search(name) and name not in MARKS:
            text = "\n  ".join(_lines(member, depth + 1))
            if text:
                yield f"{name}: {text}"


def _item_lines(lines: Iterable[str]) -> Iterator[str]:
    marker = "- "
    for line in "\n".join(lines).split("\n"):
        if line.strip():
            yield f"{marker}{line}"
            marker = "  "


def context_of(
    document: JsonDocument, about: Sequence[str], beside: Sequence[str]
) -> tuple[Reference, ...]:
    """What the prompts of all stories quote: the file's texts of the names `about`, and
    the files `beside` it.
    """
    folder = posixpath.dirname(document.path)
    files = [Reference(posixpath.join(folder, name)) for name in beside]
    overview = _overview(document, about)
    return tuple(files) if overview is None else (overview, *files)


def _overview(document: JsonDocument, names: Sequence[str]) -> Reference | None:
    lines = []
    for name in names:
        text = document.root.text(name)
        if text:
            lines.append(f"{_words(name)}: {text}")
    if not lines:
        return None
    return Reference(f"about {posixpath.basename(document.path)}", "\n".join(lines))


# -- Marks --


class StoryMarker:
    """The `Marker` of a file of stories.

    A story without a mark does not get one: the progress file has its status.
    """

    def __init__(self, file: str, text: str) -> None:
        self.is_current = True
        self._file, self._text = file, JsonText(text)
        self._document = json_document.load(file, text)
        stories = read_stories(self._document, Diagnostics(file))
        self._stories = {story.task_id: story for story in stories}
        # How many stories have each status word.
        self._words = Counter(
            str(story.status.value) for story in stories if story.status is not None
        )

    def write(self, marks: Mapping[str, Mark]) -> Mapping[str, str]:
        """The file with the booleans and status words of the marked stories changed."""
        words = +self._words
        # Of several words, the one that comes first in the file counts.
        if not _are_clear(words):
            words = Counter(
                str(story.status.value)
                for story in self._stories.values()
                if story.status is not None
            )
        done_word, open_word = _words_of(self._document, words)
        changes: list[NewValue] = []
        for task_id, mark in marks.items():
            story = self._stories.get(task_id)
            if story is None:
                continue
            is_done = mark.status is Status.COMPLETED
            if story.mark is not None and _is_true(story.mark) != is_done:
                value: str | bool = is_done
                if isinstance(story.mark.value, str):
                    value = str(is_done).lower()
                changes.append(NewValue(story.mark, value))
            if story.status is not None:
                word = STATUS_WORDS.get(normalize(str(story.status.value)))
                was_done = word is not None and word.status is Status.COMPLETED
                if was_done != is_done:
                    new_word = done_word if is_done else open_word
                    changes.append(NewValue(story.status, new_word))
                    self._count_word(str(story.status.value), new_word)
        before = self._text.text
        self._text.set_values(changes)
        return changed_file(self._file, before, self._text.text)

    def _count_word(self, word: str, new_word: str) -> None:
        # An object in an object has its key as its id only where it has a word.
        if not word:
            self.is_current = False
        self._words.subtract([word])
        self._words.update([new_word])


def _are_clear(words: Iterable[str]) -> bool:
    """Whether at most one of the words means done, and one open."""
    meanings = [STATUS_WORDS.get(normalize(word)) for word in words]
    return meanings.count(COMPLETED) <= 1 and meanings.count(PENDING) <= 1


def _words_of(document: JsonDocument, used: Iterable[str]) -> tuple[str, str]:
    """The words of this file for done and for open; `used` are those of its stories."""
    words = list(used)
    root = document.root
    for rules in (root, *map(root.get, ("rules", "schema", "_schema"))):
        for name in ("valid_status", "validStatus", "status_values", "statuses"):
            member = rules.get(name) if rules is not None else None
            if member is not None:
                words += [str(item.value) for item in member.items or ()]
    done_word = open_word = ""
    for word in words:
        meaning = STATUS_WORDS.get(normalize(word))
        if meaning is COMPLETED:
            done_word = done_word or word
        elif meaning is PENDING:
            open_word = open_word or word
    return done_word or "done", open_word or "pending"
