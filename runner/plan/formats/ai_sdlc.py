"""The ai-sdlc Markdown checklist as a plan source: `- [ ] **T1**: title` items and the
`## Task Progress` table.

The format is what patrob/ai-sdlc's stories S-0044 (task items) and S-0046 (progress
table) define, read the way its plans are really written: tasks stand under any heading,
dependencies name ranges, examples sit in code fences. What could make a task start too
early or vanish is a Problem, never a guess; what only widens what it may change is a
note.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from runner.core.errors import InvalidInput
from runner.core.task import Plan, Status, Task
from runner.plan.formats.base import Mark, Options, Tree
from runner.plan.formats.diagnostics import Diagnostics, changed
from runner.plan.formats.markdown import RULE, Page, heading_text, indent_of, read_page

EXAMPLE = "`- [ ] **T1**: what to do`"
MAX_RANGE = 1000
MAX_ERROR = 200

_BULLET = r"(?P<indent>[ \t]*)[-*+][ \t]+"
# Nine digits: int() refuses very long ones, and no plan has a billion tasks.
_ITEM = re.compile(
    _BULLET
    + r"\[(?P<box>[ xX])\][ \t]+\*\*(?P<id>[Tt][0-9]{1,9})\*\*:[ \t]*(?P<title>\S.*?)\s*"
)
# spec-kit's ids have three digits and no colon; some of its plans set them in bold.
_SPEC_KIT = re.compile(r"[ \t]*[-*+][ \t]+\[.?\][ \t]*\*\*T[0-9]{3,}[A-Za-z]?\*\*[ \t]")
_BOXED = re.compile(r"[ \t]*[-*+][ \t]+\[.?\][ \t]*\*\*[Tt][0-9]+\*\*")
# Nearly a task, if no task of that id was read; else it may be a remark on that one,
# such as a closing summary's.
_SPOILT = re.compile(
    r"(?:[-*+]|[0-9]+[.)])?[ \t]*\[.?\][ \t]*\*\*[ \t]*(?P<id>[Tt][0-9]+(?:[.\w]*\w)?)[ \t]*:?\*\*.*"
)
_PLAIN = re.compile(
    r"(?:[-*+]|[0-9]+[.)])[ \t]*(?:\[.?\][ \t]*(?P<id>[Tt][0-9]+):|\*\*(?P<bold>[Tt][0-9]+):?\*\*:?).*"
)
_FIELD = re.compile(
    r"(?P<indent>[ \t]*)(?:[-*+][ \t]+)?[*_]{0,2}(?P<name>files?|dependenc(?:y|ies)|depends(?: on)?)[*_]{0,2}"
    r"[ \t]*:[*_]{0,2}(?P<value>.*)",
    re.IGNORECASE,
)
_TITLE_DEPENDENCY = re.compile(
    r"\((?:depends on|dependencies|dependency|blocked by):?\s*T[0-9]", re.IGNORECASE
)

_ID = r"T(?P<first>[0-9]{1,9})"
_IDS = re.compile(
    _ID + r"(?:\s*(?:-|–|—|\.\.|to|through)\s*T?(?P<last>[0-9]{1,9}))?", re.IGNORECASE
)
_MENTION = re.compile(r"\bT[0-9]{1,9}(?:\s?[-–—]\s?T?[0-9]{1,9})?\b", re.IGNORECASE)
_REMARK = re.compile(r"\s*\([^()]*\)")
# In `Files`, a parenthesis inside a path is a route group (`app/(auth)/x.ts`); only a
# free-standing one is a remark.
_FILE_REMARK = re.compile(r"(?:^|\s+)\([^()]*\)(?=[\s,;.]|$)")
_CODE = re.compile(r"`([^`]+)`")
_NOTHING = re.compile(r"(?:none|n/?a|-|–|—)(?: needed| required)?\.?", re.IGNORECASE)
_VAGUE = frozenset(
    {
        "all",
        "any",
        "everything",
        "multiple",
        "several",
        "tbd",
        "tba",
        "unknown",
        "various",
    }
)

_PIPE = re.compile(r"(?<!\\)\|")
_SEPARATOR = re.compile(r"[\s|:-]*-[\s|:-]*")
_COLUMNS = ("task", "status", "started", "completed")


class AiSdlc:
    """The `ai-sdlc` format; see `runner.plan.formats.base.Source` for what each method
    promises.
    """

    name = "ai-sdlc"
    options: Mapping[str, Sequence[str]] = {}

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a `.md` file with a boxed `**Tn**` item, or a progress table,
        outside of fences.
        """
        text = tree.read(path) if path.lower().endswith(".md") else None
        if text is None:
            return False
        page = read_page(path, text, _is_top_item)
        lines = [
            page.lines[at] for at in page.visible() if _BOXED.match(page.lines[at])
        ]
        if lines and all(_SPEC_KIT.match(line) for line in lines):
            return False
        return bool(lines) or bool(_tables(page))

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan of this file. InvalidInput lists every problem: unreadable tasks,
        dependencies, table rows.
        """
        page = read_page(path, tree.read(path) or "", _is_top_item)
        blocks = _blocks(page)
        talk = Diagnostics(path)
        table = _read_table(page, {block.id for block in blocks}, talk)
        tasks = [_task(page, block, table, talk) for block in blocks]
        _report_duplicates(blocks, talk)
        _report_near_misses(page, blocks, talk)
        _report_strays(page, blocks, talk)
        _report_fences(page, talk)
        if not tasks and not talk.problems:
            talk.problem(0, _no_tasks(page), f"write tasks as {EXAMPLE}")
        if talk.problems:
            raise InvalidInput(talk.problems)
        return Plan(
            path=path, source=self.name, tasks=tuple(tasks), notes=tuple(talk.notes)
        )

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The text with check boxes and progress rows of the named tasks changed, and
        no other byte.

        A task the text no longer has is passed over: it may have been removed since its
        attempt began. Without a progress table one is added that lists every task, as
        S-0046's initialization does.
        """
        text = tree.read(path) or ""
        page = read_page(path, text, _is_top_item)
        blocks = _blocks(page)
        known = {block.id: mark for block in blocks if (mark := marks.get(block.id))}
        if not known:
            return {}
        for block in blocks:
            if block.id in known:
                page.lines[block.at] = _tick(
                    page.lines[block.at], known[block.id].status
                )
        tables = _tables(page)
        if tables:
            _update_table(page, tables[0], known)
        else:
            _add_table(page, blocks, known)
        return changed(path, text, page.text())


class ProseError(Exception):
    """A value that fanin will not guess at: what is wrong, and what to write instead."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def _is_top_item(line: str) -> bool:
    item = _ITEM.fullmatch(line)
    return item is not None and not item["indent"]


# -- The tasks --


@dataclass(frozen=True)
class _Block:
    """A task item: its line, the nearest heading above it, and the lines that are
    indented under it.
    """

    at: int
    id: str
    done: bool
    title: str
    heading: str
    body: tuple[int, ...]
    inside: str | None


def _blocks(page: Page) -> list[_Block]:
    """Every task item outside of fences, in file order, under whatever heading (S-0044
    wants one, no plan has it).
    """
    blocks: list[_Block] = []
    heading = ""
    for at in page.visible():
        title = heading_text(page.lines[at])
        item = _ITEM.fullmatch(page.lines[at])
        if title is not None:
            heading = title
        elif item:
            owner = next((block.id for block in blocks[-1:] if at in block.body), None)
            body = tuple(_body(page, at, indent_of(page.lines[at])))
            done = item["box"] != " "
            blocks.append(
                _Block(
                    at, item["id"].upper(), done, item["title"], heading, body, owner
                )
            )
    return blocks


def _body(page: Page, item: int, indent: int) -> Iterator[int]:
    """Lines below the item up to the first that is not indented deeper; an indented
    fence belongs whole.
    """
    at = item + 1
    while at < len(page.lines):
        line = page.lines[at]
        if line.strip() and indent_of(line) <= indent:
            return
        last = page.regions.get(at, at)
        yield from range(at, last + 1)
        at = last + 1


def _task(
    page: Page, block: _Block, table: Mapping[str, Status], talk: Diagnostics
) -> Task:
    """The task of this block; what cannot be read goes to `talk`."""
    fields, rest = _split_body(page, block)
    files, allow_empty = _task_files(block, fields, talk)
    if block.inside:
        talk.problem(
            block.at,
            f"{block.id} is written inside {block.inside}, so their order is unclear",
            f"unindent it and write `Dependencies: {block.inside}` if it comes after",
        )
    if _TITLE_DEPENDENCY.search(block.title):
        talk.problem(
            block.at,
            f"{block.id} names a dependency in its title, which is not read",
            "write it below the task as `  - Dependencies: T1`",
        )
    boxed = Status.COMPLETED if block.done else Status.PENDING
    status = table.get(block.id, boxed)
    if block.done != (status is Status.COMPLETED):
        talk.note(
            block.at,
            f"{block.id}: the progress table says {status}, the check box does not; the table counts",
        )
    return Task(
        id=block.id,
        title=block.title,
        prompt=_prompt(block.heading, [page.lines[at] for at in rest]),
        files=files,
        depends_on=_task_dependencies(fields, talk),
        allow_empty=allow_empty,
        line=block.at + 1,
        source_status=status,
    )


@dataclass(frozen=True)
class _Field:
    at: int
    name: str
    value: str


def _split_body(page: Page, block: _Block) -> tuple[list[_Field], list[int]]:
    """The block's `Files` and `Dependencies` fields, and its other lines."""
    fields: list[_Field] = []
    rest: list[int] = []
    regions = {
        first: page.regions[first] for first in block.body if first in page.regions
    }
    hidden = {at for first, last in regions.items() for at in range(first, last + 1)}
    body = list(block.body)
    while body:
        at = body.pop(0)
        match = None if at in hidden else _FIELD.fullmatch(page.lines[at])
        if match is None:
            rest.append(at)
            continue
        value = " ".join(match["value"].split())
        while (
            body
            and body[0] not in hidden
            and (more := _continuation(page.lines[body[0]], match, value))
        ):
            value = f"{value} {more}".strip()
            body.pop(0)
        fields.append(_Field(at, match["name"].lower(), value.lstrip(", ")))
    return fields, rest


def _continuation(line: str, match: re.Match[str], value: str) -> str:
    """What this line adds to the field above it: a wrapped line, or a nested item where
    the field is a list.

    A dependency on a second line that is taken for prose would let the task start too
    early.
    """
    if (
        not line.strip()
        or indent_of(line) <= indent_of(match[0])
        or _FIELD.fullmatch(line)
        or _ITEM.fullmatch(line)
    ):
        return ""
    nested = re.match(r"[ \t]*[-*+][ \t]+", line)
    if not nested:
        return line.strip()
    text = line[nested.end() :].strip()
    is_list = (
        not value or value.startswith(", ") or re.match(r"T[0-9]", text, re.IGNORECASE)
    )
    return f", {text}" if is_list and text else ""


def _prompt(heading: str, lines: Sequence[str]) -> str:
    """The heading as context, then the task's other lines without the indentation of
    the first.
    """
    body = list(lines)
    while body and not body[0].strip():
        body.pop(0)
    depth = len(body[0]) - len(body[0].lstrip()) if body else 0
    # A line of code that was set further out keeps what it has, so at most `depth`
    # blanks go.
    text = "\n".join(
        re.sub(rf"^[ \t]{{0,{depth}}}", "", line).rstrip() for line in body
    ).rstrip()
    return "\n\n".join(part for part in (heading, text) if part)


# -- Files --


def _task_files(
    block: _Block, fields: Iterable[_Field], talk: Diagnostics
) -> tuple[tuple[str, ...] | None, bool]:
    """The globs of a task (None: any file) and whether it may change nothing.

    Real plans also write `All test files`. As a glob that would forbid every change, so
    it counts as no limit and the reader is told; the fan-in still finds what clashes.
    """
    found: list[str] = []
    named = [field for field in fields if field.name.startswith("file") and field.value]
    for one in named:
        try:
            found += read_files(one.value)
        except ProseError as error:
            talk.note(
                one.at, f"{block.id} may change any file: {error.what}; {error.remedy}"
            )
            return None, False
    if not named:
        return None, False
    return tuple(dict.fromkeys(found)), not found


def read_files(value: str) -> list[str]:
    """Globs from what follows `Files:`; [] for `None` and `N/A`. ProseError names the
    part that is no path.
    """
    plain = _FILE_REMARK.sub("", value).strip().strip(",").strip()
    if _NOTHING.fullmatch(re.split(r"\s+[-–—]\s+|[,;]", plain)[0]) and "`" not in plain:
        return []
    paths: list[str] = []
    for part in _parts(plain):
        coded = _CODE.findall(part)
        if not coded and (
            re.search(r"\s", part) or part.lower() in _VAGUE or _NOTHING.fullmatch(part)
        ):
            raise ProseError(
                f"`{part}` is not a path",
                "write paths or globs such as `src/**`, or `None`",
            )
        paths += coded or [part]
    return [_as_glob(path) for path in paths]


def _parts(value: str) -> list[str]:
    """Splits at commas and `and`/`or`, but not inside backticks (a path may hold a
    comma).
    """
    shielded = _CODE.sub(
        lambda code: code[0].replace(",", "\0").replace(" ", "\1"), value
    )
    parts = re.split(r"[,;]|\s(?:and|or|&)\s", shielded)
    return [
        text
        for part in parts
        if (text := part.replace("\0", ",").replace("\1", " ").strip())
    ]


def _as_glob(path: str) -> str:
    """S-0044 lists paths, Task.files are gitignore patterns: `./x` would match nothing,
    `[id]` one letter.
    """
    path = path.strip().removeprefix("./")
    return path.replace("\\[", "[").replace("[", "\\[")


# -- Dependencies --


def _task_dependencies(fields: Iterable[_Field], talk: Diagnostics) -> tuple[str, ...]:
    found: list[str] = []
    for one in fields:
        if one.name.startswith("depend"):
            try:
                found += read_dependencies(one.value)
            except ProseError as error:
                talk.problem(one.at, error.what, error.remedy)
    return tuple(dict.fromkeys(found))


def read_dependencies(value: str) -> list[str]:
    """Ids from what follows `Dependencies:`, ranges spelt out; [] for `none`.

    ProseError for prose: half-understood, it would start a task too early. Ids in a
    remark must be in the list too.
    """
    bare = _without_remarks(value)
    split = re.split(r"[,;]|(?:^|\s+)(?:and|&)\s+", re.sub(r"[`*]", "", bare))
    parts = [part.strip().rstrip(".") for part in split if part.strip()]
    nothing = len(parts) == 1 and _NOTHING.fullmatch(parts[0])
    ids = [] if nothing else [name for part in parts for name in _expand(part, value)]
    remarked = [
        name for text in _MENTION.findall(value) for name in _expand(text, value)
    ]
    missing = [name for name in remarked if name not in ids]
    if missing:
        raise ProseError(
            f"`Dependencies: {value}` names {missing[0]} in a remark only",
            _instead(value),
        )
    return ids


def _without_remarks(value: str) -> str:
    """Drops parenthetical remarks, nested ones from the inside out; an unbalanced
    parenthesis stays and is refused.
    """
    shorter = _REMARK.sub("", value)
    while shorter != value:
        value, shorter = shorter, _REMARK.sub("", shorter)
    return value.strip()


def _expand(part: str, value: str) -> list[str]:
    """`T3` → T3; `T1-T3`, `T1-3`, `T1–T3`, `T1 to T3` → T1, T2, T3."""
    match = _IDS.fullmatch(part)
    if not match:
        what = f"`Dependencies: {value}` cannot be read: `{part}` is not a task id or a range of them"
        if re.search(r"\bor\b", part):
            what = (
                f"`Dependencies: {value}` says `or`, but a task waits for all it names"
            )
        raise ProseError(what, _instead(value))
    first, last = match["first"], match["last"] or match["first"]
    if int(last) < int(first):
        raise ProseError(f"the range {part} runs backwards", f"write T{last}-T{first}")
    if int(last) - int(first) >= MAX_RANGE:
        raise ProseError(
            f"the range {part} names more than {MAX_RANGE} tasks", "write a shorter one"
        )
    width = len(first) if first.startswith("0") else 0
    return [f"T{number:0{width}}" for number in range(int(first), int(last) + 1)]


def _instead(value: str) -> str:
    """What to write: the ids that the prose names, since the author can check a list
    faster than compose one.
    """
    ids = ", ".join(dict.fromkeys(_MENTION.findall(value)))
    return f"list every id, such as `Dependencies: {ids or 'T1, T3-T5'}`" + (
        "" if ids else ", or `none`"
    )


# -- What looks like part of a plan and is not --


def _report_duplicates(blocks: Iterable[_Block], talk: Diagnostics) -> None:
    first: dict[str, _Block] = {}
    for block in blocks:
        if block.id in first:
            earlier = first[block.id]
            talk.problem(
                block.at,
                f"{block.id} is already on line {earlier.at + 1}{_under(earlier)}",
                "keep one of the two plans in this file, or give this task another id",
            )
        first.setdefault(block.id, block)


def _under(block: _Block) -> str:
    return f", under `{block.heading}`" if block.heading else ""


def _report_near_misses(
    page: Page, blocks: Iterable[_Block], talk: Diagnostics
) -> None:
    """Unindented lines that were meant as tasks. Indented ones are sub-items and prose
    in real plans.
    """
    known = {block.id: block.at + 1 for block in blocks}
    for at in page.visible():
        line = page.lines[at]
        spoilt = _SPOILT.fullmatch(line)
        plain = _PLAIN.fullmatch(line)
        near = spoilt or plain
        if not near or _ITEM.fullmatch(line):
            continue
        name = next(text for text in near.groups() if text).upper()
        if name not in known:
            talk.problem(
                at,
                f"a task line that fanin cannot read: `{line.strip()[:60]}`",
                f"write {EXAMPLE}",
            )
        elif spoilt:
            talk.note(
                at,
                f"looks like a task but is not written as one; {name} is the task on line {known[name]}",
            )


def _report_strays(page: Page, blocks: Sequence[_Block], talk: Diagnostics) -> None:
    """Dependencies below a task but not indented under it: ai-sdlc ignores them, and
    the task starts too early.

    A heading or a rule ends the reach of a task: story footers write `**Dependencies:**
    S-0047` below one.
    """
    items = {block.at: block for block in blocks}
    inside = {at for block in blocks for at in block.body}
    last: _Block | None = None
    for at in page.visible():
        line = page.lines[at]
        if at in inside or at in items:
            last = items.get(at, last)
            continue
        if heading_text(line) is not None or RULE.fullmatch(line):
            last = None
        match = _FIELD.fullmatch(line)
        if (
            last
            and match
            and match["name"].lower().startswith("depend")
            and _MENTION.search(match["value"])
        ):
            talk.problem(
                at,
                f"this line is not indented under a task, so {last.id} would not wait for it",
                "indent it by two blanks more than its task",
            )


def _report_fences(page: Page, talk: Diagnostics) -> None:
    for at in page.unclosed:
        talk.note(
            at,
            "this code fence is never closed, so it was read as text; close it with a line of its own",
        )
    for first, last in page.regions.items():
        count = sum(_is_top_item(line) for line in page.lines[first : last + 1])
        if count:
            talk.note(
                first,
                f"{_task_lines(count)} down to line {last + 1} in a code fence or comment: not tasks",
            )


def _no_tasks(page: Page) -> str:
    hidden = sum(
        _is_top_item(page.lines[at])
        for first, last in page.regions.items()
        for at in range(first, last + 1)
    )
    return "no tasks found" + (
        f" ({_task_lines(hidden)} only in code fences or comments)" if hidden else ""
    )


def _task_lines(count: int) -> str:
    return f"{count} task line{'' if count == 1 else 's'}"


# -- The progress table (S-0046) --


@dataclass(frozen=True)
class _Table:
    """Where the table is and what its header names; `rows` are line numbers, `last` its
    last line.
    """

    header: int
    columns: Mapping[str, int]
    rows: tuple[int, ...]
    last: int

    def cell(self, line: str, column: str) -> str:
        cells = _cells(line)
        at = self.columns[column]
        return cells[at].strip().strip("`*") if at < len(cells) else ""

    def task(self, line: str) -> str:
        match = re.match(r"T[0-9]{1,9}\b", self.cell(line, "task"), re.IGNORECASE)
        return match[0].upper() if match else ""


def _cells(line: str) -> list[str]:
    """The cells of a row, as written between its pipes; GFM escapes a pipe as `\\|`."""
    parts = _PIPE.split(line)[1:]
    return parts[:-1] if parts and not parts[-1].strip() else parts


def _progress_headings(page: Page) -> list[int]:
    headings = ((at, heading_text(page.lines[at])) for at in page.visible())
    return [
        at
        for at, text in headings
        if text is not None and text.lower() == "task progress"
    ]


def _tables(page: Page) -> list[_Table]:
    """The tables under `Task Progress` headings that have a Task and a Status column."""
    tables = (_table_below(page, at) for at in _progress_headings(page))
    return [table for table in tables if table]


def _table_below(page: Page, heading: int) -> _Table | None:
    visible = set(page.visible())
    at = heading + 1
    while at in visible and not page.lines[at].lstrip().startswith("|"):
        if heading_text(page.lines[at]) is not None:
            return None
        at += 1
    if at not in visible:
        return None
    names = [
        re.sub(r" (?:at|id)$", "", cell.strip(" `*\t").lower())
        for cell in _cells(page.lines[at])
    ]
    columns = {name: number for number, name in reversed(list(enumerate(names)))}
    if not {"task", "status"} <= columns.keys():
        return None
    end = at
    while end + 1 in visible and page.lines[end + 1].lstrip().startswith("|"):
        end += 1
    rows = tuple(
        row
        for row in range(at + 1, end + 1)
        if not _SEPARATOR.fullmatch(page.lines[row])
    )
    return _Table(at, columns, rows, end)


def _read_table(page: Page, known: set[str], talk: Diagnostics) -> dict[str, Status]:
    """Each task's status by the progress table, which wins over its check box: it knows
    more states.
    """
    tables = _tables(page)
    headings = _progress_headings(page)
    for extra in tables[1:]:
        talk.problem(
            extra.header,
            f"a second progress table; the first is on line {tables[0].header + 1}",
            "keep one",
        )
    if headings and not tables:
        talk.note(
            headings[0],
            "no table with the columns `| Task | Status |` below this heading; check boxes count",
        )
    found: dict[str, Status] = {}
    for at in tables[0].rows if tables else ():
        name = tables[0].task(page.lines[at])
        if name not in known:
            talk.note(
                at, f"a progress row for {name or 'no task'}, which is not in the plan"
            )
        elif name in found:
            talk.problem(at, f"a second progress row for {name}", "keep one")
        else:
            found[name] = _status(tables[0].cell(page.lines[at], "status"), at, talk)
    return found


def _status(word: str, at: int, talk: Diagnostics) -> Status:
    try:
        return Status(word.lower())
    except ValueError:
        talk.problem(
            at,
            f"`{word}` is not a status",
            "write pending, in_progress, completed or failed",
        )
        return Status.PENDING


# -- Writing back --


def _tick(line: str, status: Status) -> str:
    """The item with its box ticked or not; an `[X]` that means the same stays."""
    item = _ITEM.fullmatch(line)
    assert item
    done = status is Status.COMPLETED
    if done == (item["box"] != " "):
        return line
    return f"{line[: item.start('box')]}{'x' if done else ' '}{line[item.end('box') :]}"


def _values(name: str, mark: Mark) -> dict[str, str]:
    values = {
        "task": name,
        "status": str(mark.status),
        "started": mark.started,
        "completed": mark.completed,
        "error": mark.error,
    }
    return {column: _cell_text(value) for column, value in values.items()}


def _cell_text(value: str | None) -> str:
    """One line of at most MAX_ERROR characters that cannot end its cell, or a comment
    that is open above it.
    """
    printable = "".join(char if char.isprintable() else " " for char in value or "")
    line = " ".join(printable.split()).replace("-->", "-- >")
    short = line if len(line) <= MAX_ERROR else line[: MAX_ERROR - 1] + "…"
    return short.replace("|", "\\|").strip() or "-"


def _update_table(page: Page, table: _Table, marks: Mapping[str, Mark]) -> None:
    """Changes the rows of the named tasks and adds those that are missing, in plan
    order, at the table's end.
    """
    columns = dict(table.columns)
    widths = _widths(page.lines[table.header])
    if "error" not in columns and any(
        _cell_text(mark.error) != "-" for mark in marks.values()
    ):
        columns["error"] = len(_cells(page.lines[table.header]))
        page.lines[table.header] = _with_cells(
            page.lines[table.header], {columns["error"]: "Error"}
        )
        if table.header + 1 <= table.last and table.header + 1 not in table.rows:
            page.lines[table.header + 1] = _longer_separator(
                page.lines[table.header + 1]
            )
    present = set()
    for at in table.rows:
        name = table.task(page.lines[at])
        if name in marks:
            values = _values(name, marks[name])
            cells = {
                columns[column]: value
                for column, value in values.items()
                if column in columns.keys() - {"task"}
            }
            page.lines[at] = _with_cells(
                page.lines[at], cells, aligned=_widths(page.lines[at]) == widths
            )
            present.add(name)
    new = [
        _row(columns, _values(name, mark))
        for name, mark in marks.items()
        if name not in present
    ]
    _insert(page, table.last, new)


def _longer_separator(line: str) -> str:
    body = line.rstrip()
    return f"{body}{'' if body.endswith('|') else '|'}-------|{line[len(body) :]}"


def _widths(line: str) -> list[int]:
    return [len(cell) for cell in _cells(line)]


def _with_cells(line: str, values: Mapping[int, str], *, aligned: bool = False) -> str:
    """The row with these cells; a cell that says the same already keeps its bytes, an
    aligned one its width.
    """
    start, *cells = _PIPE.split(line)
    closing = cells.pop() if cells and not cells[-1].strip() else None
    for at, value in sorted(values.items()):
        if at >= len(cells) and value != "-":
            cells += [" - "] * (at + 1 - len(cells))
        if at < len(cells) and (cells[at].strip() or "-") != value:
            cells[at] = f" {value} ".ljust(len(cells[at]) if aligned else 0)
    return "|".join([start, *cells] + ([] if closing is None else [closing]))


def _row(columns: Mapping[str, int], values: Mapping[str, str]) -> str:
    names = {number: name for name, number in columns.items()}
    cells = (
        values.get(names.get(number, ""), "-")
        for number in range(max(columns.values()) + 1)
    )
    return f"| {' | '.join(cells)} |"


def _add_table(page: Page, blocks: Iterable[_Block], marks: Mapping[str, Mark]) -> None:
    """A table of all tasks, below an empty `Task Progress` heading or in a section of
    its own at the end.
    """
    names = [
        *_COLUMNS,
        *(
            ["error"]
            if any(_cell_text(mark.error) != "-" for mark in marks.values())
            else []
        ),
    ]
    columns = {name: number for number, name in enumerate(names)}
    boxed = {
        block.id: Mark(Status.COMPLETED if block.done else Status.PENDING)
        for block in blocks
    }
    table = [
        f"| {' | '.join(name.capitalize() for name in names)} |",
        f"|{'|'.join('-' * (len(name) + 2) for name in names)}|",
        *(
            _row(columns, _values(name, mark))
            for name, mark in {**boxed, **marks}.items()
        ),
    ]
    headings = _progress_headings(page)
    if headings:
        after = page.lines[headings[0] + 1 : headings[0] + 2]
        _insert(
            page,
            headings[0],
            ["", *table, *([""] if after and after[0].strip() else [])],
        )
    else:
        gap = [""] if page.lines[-1].strip() else []
        _insert(page, len(page.lines) - 1, [*gap, "## Task Progress", "", *table])


def _insert(page: Page, after: int, lines: Sequence[str]) -> None:
    """Inserts lines with the file's own ending; a missing newline at the end of the
    file stays missing.
    """
    if not lines:
        return
    own = page.ends[after]
    end = own or page.ends[0] or "\n"
    page.ends[after] = end
    page.lines[after + 1 : after + 1] = lines
    page.ends[after + 1 : after + 1] = [end] * (len(lines) - 1) + [own]
