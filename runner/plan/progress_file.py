"""The progress file: its text, and the progress in it.

The file has one record per line in plan order, with a blank line between records and
the comma in front. So a change of one record changes one line, and git merges branches
that changed different tasks. The last line has the run on GitHub Actions that landed
last, if there was one.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from itertools import compress
from operator import is_not, ne
from typing import Literal, NamedTuple

from pydantic import Field, TypeAdapter, ValidationError

from runner.core import plan_paths
from runner.core.documents import Document
from runner.core.errors import InvalidInput, Problem
from runner.core.task import Owner
from runner.plan.progress import Progress
from runner.plan.records import Record, RunRecord

_BETWEEN = "\n\n"  # two lines
_TASKS, _OTHERS = '"tasks": {', '}, "others": {'


class _Frame(Document):
    """What the file has beside the records of tasks."""

    version: Literal[1]
    plan: str
    run: RunRecord | None = None


class ProgressFile(_Frame):
    """The file. `others`: records of plans that are not the plan now."""

    tasks: dict[str, Record]
    others: dict[str, Record] = Field(default_factory=dict)


class _Section(NamedTuple):
    """Lines of a file that was read, each with the comma in front of it but the first, and
    the record in each, in the same order.
    """

    lines: Sequence[str]
    records: Mapping[str, Record]


class _Written(NamedTuple):
    """What was written: the ids in their order, and for each its record, its owner, which
    is not in the record, and its line without a comma.
    """

    ids: Sequence[str]
    records: Sequence[Record | None]
    owners: Sequence[Owner | None]
    lines: Sequence[str]


def parse(
    path: str,
    text: str | None,
    plan: str,
    *,
    any_section: bool = False,
    folder: str = "",
) -> Progress:
    """The progress in `text`, the content of the file at `path`; None: no file yet.

    `any_section`: that of any plan in the file or folder `plan` will do. `folder`: a
    plan in it may come after another one there, such as the next change of OpenSpec.

    What was recorded for a plan alone counts when it is one of several, and back.

    Raises InvalidInput if it is unreadable or belongs to a plan other than `plan`.
    """
    if text is None:
        return Progress(plan)
    document = _document(path, text)
    is_part = any_section and document.plan.startswith((f"{plan}#", f"{plan}/"))
    if is_part:
        plan = document.plan
    if document.plan != plan and not _may_follow(document, plan, folder):
        what = f"this is the progress of {document.plan}, not of {plan}"
        remedy = "give this plan its own file with the setting progress:"
        raise InvalidInput([Problem(path, 1, what, remedy)])
    progress = Progress(plan, document.tasks, document.model_extra or {}, document.run)
    if plan_paths.is_several(plan):
        return _of_several(progress, document)
    if document.plan == plan and not document.others:
        return progress
    return _of_one(progress, document)


# The last text and what it says: a commit is read again and again.
_last: tuple[str, ProgressFile] | None = None


def _document(path: str, text: str) -> ProgressFile:
    """The document in the text. InvalidInput if it is not a valid one."""
    global _last
    last = _last
    if last is None or last[0] != text:
        _last = last = text, _by_lines(text) or _as_a_whole(path, text)
    return last[1]


def _as_a_whole(path: str, text: str) -> ProgressFile:
    """The document in any text. InvalidInput if it is not a valid one."""
    try:
        document = ProgressFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        what = f"unreadable progress: {key} {first['msg']}"
        remedy = (
            "restore the last good version from git, or delete the file to start over"
        )
        line = _line_of(text, first["loc"])
        raise InvalidInput([Problem(path, line, what, remedy)]) from None
    _refuse_second_records(path, text, len(document.tasks) + len(document.others))
    return document


# The tasks and the others that were read last: most lines are in the next file too.
_NOTHING_READ = _Section([], {})
_read = (_NOTHING_READ, _NOTHING_READ)


def _by_lines(text: str) -> ProgressFile | None:
    """The document in a text as `render` writes it, in which each record has a line; None
    if it may be another one.

    Only lines that have changed since the last file are read. Each stands for itself, so
    that what it says does not depend on the lines around it.
    """
    global _read
    opening, *lines = text.removesuffix("\n").split(_BETWEEN)
    if not lines or not opening.endswith(_TASKS) or not lines[-1].startswith("}"):
        return None
    closing = lines.pop()
    tasks, others, between = lines, list[str](), ""
    if _OTHERS in lines:
        position = lines.index(_OTHERS)
        tasks, others, between = lines[:position], lines[position + 1 :], _OTHERS
    frame_text = opening + between + closing
    # A key that comes twice is for the reader of the whole, who refuses it.
    if frame_text.count('"tasks"') != 1 or frame_text.count('"others"') > bool(between):
        return None
    try:
        # On its own: the opening must not end in the middle of a string.
        json.loads(opening + "}}")
        # The whole file's validator would be built for it, with another one of records.
        frame = _Frame.model_validate_json(frame_text)
        tasks_before, others_before = _read
        sections = _section(tasks, tasks_before), _section(others, others_before)
    except (ValueError, RecursionError):
        return None
    known = dict(frame)
    if known.get("tasks") != {} or known.get("others", {}) != {}:
        return None  # another spelling of a key that comes twice
    _read = sections
    records = {"tasks": sections[0].records, "others": sections[1].records}
    return ProgressFile.model_construct(**{**known, **records})


def _section(lines: Sequence[str], before: _Section) -> _Section:
    """The records of the lines. ValueError if a line is not exactly one record, or if two
    are of one task.
    """
    if len(lines) == len(before.lines):
        records = _with_changed_lines(lines, before)
        if records is not None:
            return _Section(lines, records)
    known = {
        line.removeprefix(","): found
        for line, found in zip(before.lines, before.records.items(), strict=True)
    }
    records = {}
    for line in lines:
        text = _without_comma(line, is_first=not records)
        task_id, record = known.get(text) or _record_in(text)
        records[task_id] = record
    if len(records) != len(lines):
        raise ValueError("two records of one task")
    return _Section(lines, records)


def _with_changed_lines(
    lines: Sequence[str], before: _Section
) -> dict[str, Record] | None:
    """The records of as many lines as before, None if one of them is of another task."""
    changed = list(compress(range(len(lines)), map(ne, lines, before.lines)))
    records = dict(before.records)
    ids = list(records) if changed else []
    for position in changed:
        text = _without_comma(lines[position], is_first=position == 0)
        task_id, record = _record_in(text)
        if task_id != ids[position]:
            return None
        records[task_id] = record
    return records


def _without_comma(line: str, *, is_first: bool) -> str:
    """The line without the comma that is in front of all but the first. ValueError if it
    lacks one; what has one too many is no record.
    """
    if is_first:
        return line
    if not line.startswith(","):
        raise ValueError("a comma is missing")
    return line[1:]


def _record_in(text: str) -> tuple[str, Record]:
    """The only member of the object that the text is the inside of. ValueError if it is
    none, or says twice what its status is.
    """
    if text.count('"status":') != 1:
        raise ValueError("not one status")
    (found,) = _members().validate_json(f"{{{text}}}").items()
    return found


@cache
def _members() -> TypeAdapter[dict[str, Record]]:
    return TypeAdapter(dict[str, Record])


def _may_follow(document: ProgressFile, plan: str, folder: str) -> bool:
    """Whether the plan takes over the progress of another one."""
    was = document.plan
    recorded = {record.plan for record in document.tasks.values() if record.plan}
    if plan_paths.is_several(plan):
        if not plan_paths.is_several(was):
            return plan_paths.covers(plan, was.partition("#")[0])
        shared = set(plan_paths.parts(plan)) & set(plan_paths.parts(was))
        return bool(shared) or any(plan_paths.covers(plan, name) for name in recorded)
    if plan_paths.is_several(was):
        own_path = plan.partition("#")[0]
        return plan in recorded or plan_paths.covers(was, own_path)
    inside = f"{folder}/"
    return bool(folder) and was.startswith(inside) and plan.startswith(inside)


class _Entry(NamedTuple):
    """A record as the file has it, and what that says: whose it is, None if the file names
    no plan, and the record without that.
    """

    in_file: Record
    owner: Owner | None
    record: Record


# The entries of the last file of several plans, or of another plan than the file's, by
# its plan and their ids there: most records are in the next file too.
_last_entries: tuple[str, Mapping[str, _Entry]] = "", {}


def _entries(document: ProgressFile) -> Iterator[tuple[str, Owner | None, Record]]:
    """Each record with its id in the file and its owner; None if the file has none."""
    global _last_entries
    plan, before = _last_entries
    if plan != document.plan:
        before = {}
    after: dict[str, _Entry] = {}
    for task_id, record in [*document.tasks.items(), *document.others.items()]:
        entry = before.get(task_id)
        if entry is None or entry.in_file is not record:
            entry = _entry(document.plan, task_id, record)
        after[task_id] = entry
        yield task_id, entry.owner, entry.record
    _last_entries = document.plan, after


def _entry(file_plan: str, task_id: str, record: Record) -> _Entry:
    plan = record.plan
    if plan is None and not plan_paths.is_several(file_plan):
        plan = file_plan
    owner = Owner(plan, record.own_id or task_id) if plan else None
    plain = record.model_copy(update={"plan": None, "own_id": None})
    return _Entry(record, owner, plain)


def _of_several(progress: Progress, document: ProgressFile) -> Progress:
    """Every record under an id of its own, which is the one of the file if it is free."""
    records: dict[str, Record] = {}
    owners: dict[str, Owner] = {}
    for task_id, owner, record in _entries(document):
        key = task_id
        if key in records and owner is not None:
            key = _full_id(owner)
        records[key] = record
        if owner is not None:
            owners[key] = owner
    return progress._replace(records=records, owners=owners)


def _of_one(progress: Progress, document: ProgressFile) -> Progress:
    """The records of this plan under its own ids; those of the others are kept."""
    records: dict[str, Record] = {}
    others: dict[str, Record] = {}
    for task_id, owner, record in _entries(document):
        if owner is None or owner.plan == progress.plan:
            records[owner.own_id if owner else task_id] = record
            continue
        key = task_id
        if key in others:
            key = _full_id(owner)
        others[key] = _owned(record, key, owner)
    return progress._replace(records=records, others=others)


def _full_id(owner: Owner) -> str:
    name = plan_paths.names([owner.plan])[owner.plan]
    return f"{name}/{owner.own_id}"


def _owned(record: Record, task_id: str, owner: Owner) -> Record:
    own_id = owner.own_id if owner.own_id != task_id else None
    return record.model_copy(update={"plan": owner.plan, "own_id": own_id})


# What `render` wrote last: most lines are written again.
_written = _Written([], [], [], [])


def render(progress: Progress, order: Iterable[str]) -> str:
    """The file's text: the records of `order`, then those of tasks no longer in the plan."""
    head = {"version": 1, "plan": progress.plan, **progress.extra}
    opening = json.dumps(head, ensure_ascii=False).removesuffix("}") + ', "tasks": {'
    parts = [opening, *_with_commas(_task_lines(progress, order))]
    if progress.others:
        others = [_text(task_id, record) for task_id, record in progress.others.items()]
        parts += [_OTHERS, *_with_commas(others)]
    closing = "}}"
    if progress.run is not None:
        closing = f'}}, "run": {_run_json(progress.run)}}}'
    return _BETWEEN.join([*parts, closing]) + "\n"


def _task_lines(progress: Progress, order: Iterable[str]) -> Sequence[str]:
    """The lines of the tasks, without commas. The steps that look at every task run in C:
    they are taken at each landing.
    """
    global _written
    records, before = progress.records, _written
    ids = [*filter(records.__contains__, dict.fromkeys(order))]
    if len(ids) < len(records):
        ids = [*dict.fromkeys([*ids, *records])]
    found = [*map(records.__getitem__, ids)]
    owners = [*map(progress.owners.get, ids)]
    lines, changed = _reusable(ids, found, owners, before)
    for position in changed:
        lines[position] = _owned_text(ids[position], found[position], owners[position])
    # another thread may have replaced it meanwhile, with lines that are as good
    _written = _Written(ids, found, owners, lines)
    return lines


def _reusable(
    ids: Sequence[str],
    records: Sequence[Record],
    owners: Sequence[Owner | None],
    before: _Written,
) -> tuple[list[str], list[int]]:
    """The lines of these tasks as they were written before, and the places of those that
    must be written anew.
    """
    if ids != before.ids:
        before = _in_order(before, ids)
    positions = range(len(ids))
    changed = [*compress(positions, map(is_not, records, before.records))]
    if owners != before.owners:
        changed += compress(positions, map(ne, owners, before.owners))
    return list(before.lines), changed


def _in_order(before: _Written, ids: Sequence[str]) -> _Written:
    """What was written of these tasks, with None as the record of one that was not."""
    positions = {task_id: position for position, task_id in enumerate(before.ids)}
    found = [positions.get(task_id) for task_id in ids]
    return _Written(
        ids,
        [None if position is None else before.records[position] for position in found],
        [None if position is None else before.owners[position] for position in found],
        ["" if position is None else before.lines[position] for position in found],
    )


def _with_commas(lines: Sequence[str]) -> list[str]:
    """The lines as one part of the text, none if there are none."""
    return [f"{_BETWEEN},".join(lines)] if lines else []


def _owned_text(task_id: str, record: Record, owner: Owner | None) -> str:
    if owner is not None:
        record = _owned(record, task_id, owner)
    return _text(task_id, record)


def _text(task_id: str, record: Record) -> str:
    """The record's line without a comma."""
    # Readers may rely on these two, so they are written even if they are the defaults.
    always = {"status": record.status.value, "attempts": record.attempts}
    changed = record.model_dump(mode="json", exclude_defaults=True)
    key = json.dumps(task_id, ensure_ascii=False)
    return f"{key}: {json.dumps(always | changed, ensure_ascii=False)}"


def _run_json(run: RunRecord) -> str:
    document = {"id": run.id, "round": run.round}
    document |= run.model_dump(mode="json", exclude_defaults=True)
    return json.dumps(document, ensure_ascii=False)


def _refuse_second_records(path: str, text: str, count: int) -> None:
    """Raise InvalidInput if a task has two records, as after a merge that kept both.

    JSON itself takes the last of them. `count`: how many tasks have one.
    """
    # Each record has the key once, so that most files need not be read again.
    if text.count('"status":') == count:
        return
    repeated: list[str] = []

    def note_repeated(pairs: list[tuple[str, object]]) -> dict[str, object]:
        seen = dict(pairs)
        if len(seen) != len(pairs):
            keys = [key for key, _ in pairs]
            repeated.extend(key for key in seen if keys.count(key) > 1)
        return seen

    json.loads(text, object_pairs_hook=note_repeated)
    if not repeated:
        return
    key = json.dumps(repeated[0], ensure_ascii=False)
    lines = [number for number, line in enumerate(text.split("\n"), 1) if key in line]
    line = lines[1] if len(lines) > 1 else 1
    what = f"two records of {repeated[0]}; the other one is on line {lines[0]}"
    raise InvalidInput([Problem(path, line, what, "keep one of them")])


def _line_of(text: str, location: tuple[int | str, ...]) -> int:
    """The line, from 1, of pydantic's error location; 1 if it cannot be found."""
    if not location:
        return _syntax_error_line(text)
    if len(location) < 2:
        return 1
    # A record has its own line, which starts with its task id.
    key = json.dumps(str(location[1]), ensure_ascii=False)
    for number, line in enumerate(text.split("\n"), 1):
        if key in line:
            return number
    return 1


def _syntax_error_line(text: str) -> int:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return error.lineno
    except RecursionError:
        pass
    return 1
