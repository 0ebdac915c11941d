"""spec-kit's `tasks.md`: `- [ ] T014 [P] [US1] text` items below `## Phase N` headings.

Its order is implicit: a phase begins when the one before is done, inside a phase tasks
follow each other, and a run of `[P]` tasks goes side by side. `(depends on T012)` in a
task and what the Dependencies section says of single tasks are added to that. What that
section says of phases contradicts their order in real plans, so it is not followed,
unless `options: {phases: stories}` lets the phases of user stories run side by side.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from runner.core.task import Plan, Status, Task
from runner.plan.formats.base import Mark, Options, Tree
from runner.plan.formats.diagnostics import (
    MAX_EDGES,
    MAX_TASKS,
    Diagnostics,
    changed,
    sections,
    task,
)
from runner.plan.formats.markdown import Page, heading_text, indent_of, read_page

EXAMPLE = "`- [ ] T001 [P] [US1] What to do in src/file.py`"

_ID = r"T[0-9]{1,9}(?:\.[0-9]{1,4})?[A-Za-z]?"
_ITEM = re.compile(
    r"(?P<indent>[ \t]*)[-*+][ \t]+\[(?P<box>[ xX])\][ \t]+(?:\*\*)?(?P<id>"
    + _ID
    + r")(?:\*\*)?:?(?:\*\*)?"
    r"(?P<labels>(?:[ \t]*\[[^\]]{1,40}\](?!\())*)[ \t]+(?P<text>\S.*)"
)
# A box with another mark, or an id that is glued to its text: a task that must not
# vanish unseen.
_SPOILT = re.compile(
    r"[ \t]*(?:[-*+][ \t]*)?\[[^\]]{0,3}\][ \t]*(?:\*\*)?T?[0-9]{2,}[^/]*"
)
_PHASE = re.compile(r"phase\b", re.IGNORECASE)
_STORY = re.compile(
    r"\b(?:US|User Stor(?:y|ies) )(?P<number>[0-9]{1,4})\b", re.IGNORECASE
)
_DEPENDS = re.compile(
    r"\((?:depends on|depends|after|requires|needs):?\s(?P<ids>[^()]*)\)", re.IGNORECASE
)
_RANGE = re.compile(
    rf"\b(?P<first>{_ID})(?:\s*(?:-|–|—|\.\.|to|through)\s*(?P<last>T?[0-9]{{1,9}}[A-Za-z]?)\b)?"
)
_ARROW = re.compile(r"→|⇒|->|=>")
_RELATION = re.compile(
    r"\b(?P<word>blocks|before|depends on|after|requires)\b", re.IGNORECASE
)
_REVERSED = frozenset({"depends on", "after", "requires"})

_TOKEN = re.compile(r"`(?P<code>[^`\s]+)`|(?P<bare>[^\s`,;()\"'“”]+)")
_FILE = re.compile(
    r"\.{0,2}/?(?:[\w.@+\[\]()*-]+/)*[\w.@+\[\]()*-]*\.[A-Za-z][A-Za-z0-9]{0,9}"
)
_FOLDER = re.compile(r"\.{0,2}/?(?:[\w.@+\[\]()-]+/)+")
_SUFFIXES = re.compile(
    "bash|c|cc|cfg|clj|cpp|cs|css|csv|dart|env|exs?|go|gql|graphql|gradle|h|hpp|hs|html|ini|ipynb|java|jl|[cm]?js|json"
    "|jsonl|jsx|kts?|less|lock|lua|m|mdx?|mod|[cm]?ts|php|pl|prisma|proto|ps1|pyi?|r|rb|rs|sass|scala|scss|sh|sql|svelte"
    "|swift|tex|tf|toml|tsx|txt|vue|xml|ya?ml|zig|zsh"
)

# Files without an ending that build tools look for; prose uses the words too, so alone
# they must stand in backticks.
_BARE = re.compile(
    "(?:GNU)?[Mm]akefile|(?:Docker|Container|Proc|Gem|Rake|Just|Vagrant|Jenkins|Brew|Pip|Tilt|Pod|Fast|Cap)file"
    "|justfile|LICENSE|NOTICE|CODEOWNERS|(?:Docker|Container)file\\.\\w+"
)
_LINK = re.compile(r"\[[^\[\]]*\]\([^()\s]*\)")
# What a feature's tasks are made from: "per plan.md" names what to read, not what to
# change.
_DOCUMENTS = frozenset(
    {
        "plan.md",
        "spec.md",
        "research.md",
        "data-model.md",
        "quickstart.md",
        "tasks.md",
        "contracts/",
        "constitution.md",
    }
)
_LIBRARY = re.compile(
    r"[A-Z][A-Za-z0-9]*\.js|(?:node|next|vue|nuxt|express|react|three|d3|chart|socket)\.js"
)
# Who changes a manifest changes what its tool writes beside it.
_LOCKS = (
    ("package.json", "package-lock.json"),
    ("package.json", "pnpm-lock.yaml"),
    ("package.json", "yarn.lock"),
    ("package.json", "bun.lock*"),
    ("Cargo.toml", "Cargo.lock"),
    ("pyproject.toml", "uv.lock"),
    ("pyproject.toml", "poetry.lock"),
    ("go.mod", "go.sum"),
    ("composer.json", "composer.lock"),
)


@dataclass(frozen=True)
class _Item:
    """A task line with what is indented below it, and where it stands: `phase` counts
    the parts that hold tasks.
    """

    at: int
    id: str
    done: bool
    parallel: bool
    stories: tuple[str, ...]
    text: str
    body: tuple[str, ...]
    phase: int
    headings: tuple[str, ...]


class SpecKit:
    """The `spec-kit` format; see `runner.plan.formats.base.Source` for what each method
    promises.
    """

    name = "spec-kit"
    options: Mapping[str, Sequence[str]] = {
        "phases": ("barriers", "stories"),
        "files": ("text", "any"),
    }

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a `.md` file with a boxed `T001` item outside of fences, and a
        folder with such a `tasks.md`.
        """
        file = _file(path, tree)
        text = tree.read(file) if file.lower().endswith(".md") else None
        if text is None:
            return False
        page = read_page(file, text, _is_item)
        return any(_ITEM.fullmatch(page.lines[at]) for at in page.visible())

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan of this file. InvalidInput for unreadable task lines and
        dependencies on what is not there.
        """
        file = _file(path, tree)
        talk = Diagnostics(path)
        own = file if file != path else None
        page = read_page(file, tree.read(file) or "", _is_item)
        items = list(_items(page))
        _report_spoilt(page, talk, own)
        if not items and not talk.problems:
            talk.problem(0, "no tasks found", f"write tasks as {EXAMPLE}", own)
        waits = _Order(
            page, items, talk, own, stories=options.get("phases") == "stories"
        ).waits_for()
        tasks = [
            _task(item, waits.get(item.id, ()), options, talk, own) for item in items
        ]
        return talk.plan(self.name, [one for one in tasks if one])

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        """The file with the boxes of the named tasks ticked or cleared, in the case the
        file uses.
        """
        file = _file(path, tree)
        text = tree.read(file) or ""
        page = read_page(file, text, _is_item)
        items = list(_items(page))
        boxes = [
            box["box"]
            for item in items
            if (box := _ITEM.fullmatch(page.lines[item.at]))
        ]
        # spec-kit's own instructions write [X]
        tick = "x" if "x" in boxes and "X" not in boxes else "X"
        for item in items:
            mark = marks.get(item.id)
            if mark and item.done != (mark.status is Status.COMPLETED):
                line, box = page.lines[item.at], _ITEM.fullmatch(page.lines[item.at])
                assert box
                page.lines[item.at] = (
                    f"{line[: box.start('box')]}{' ' if item.done else tick}{line[box.end('box') :]}"
                )
        return changed(file, text, page.text())


def _file(path: str, tree: Tree) -> str:
    """The Markdown file of the plan: itself, or the `tasks.md` of a feature's folder."""
    inside = f"{path}/tasks.md"
    return inside if tree.read(path) is None and tree.read(inside) is not None else path


def _is_item(line: str) -> bool:
    item = _ITEM.fullmatch(line)
    return item is not None and not item["indent"]


def _items(page: Page) -> Iterator[_Item]:
    """Every task line outside of fences, in file order. A part begins at a heading of
    the second level, or a phase.
    """
    headings: dict[int, str] = {}
    phase, used = 0, False
    for at in page.visible():
        line = page.lines[at]
        title = heading_text(line)
        if title is not None:
            level = len(line) - len(line.lstrip("#"))
            headings = {
                depth: text for depth, text in headings.items() if depth < level
            } | {level: title}
            if used and (level <= 2 or _PHASE.match(title)):
                phase, used = phase + 1, False
        elif item := _ITEM.fullmatch(line):
            used = True
            labels = re.findall(r"\[([^\]]*)\]", item["labels"])
            yield _Item(
                at=at,
                id=item["id"],
                done=item["box"] != " ",
                parallel="P" in (label.strip().upper() for label in labels),
                stories=tuple(
                    label.strip() for label in labels if label.strip().upper() != "P"
                ),
                text=item["text"].strip(),
                body=tuple(_body(page, at, indent_of(line))),
                phase=phase,
                headings=tuple(
                    text for depth, text in sorted(headings.items()) if depth > 1
                ),
            )


def _body(page: Page, item: int, indent: int) -> Iterator[str]:
    """The lines that are indented deeper than the item and are no tasks themselves."""
    for line in page.lines[item + 1 :]:
        if not line.strip() or indent_of(line) <= indent or _ITEM.fullmatch(line):
            return
        yield line


def _task(
    item: _Item,
    depends_on: Iterable[str],
    options: Options,
    talk: Diagnostics,
    path: str | None,
) -> Task | None:
    wrapped = list(item.body)
    title = item.text
    while wrapped and not re.match(r"[ \t]*(?:[-*+]|[0-9]+[.)])[ \t]", wrapped[0]):
        title = f"{title} {wrapped.pop(0).strip()}"
    context = " › ".join(
        (*item.headings, *(f"story {story}" for story in item.stories))
    )
    return task(
        talk,
        item.at,
        path,
        id=item.id,
        title=title,
        prompt=sections([("", context), ("", "\n".join(wrapped))]),
        files=(read_files(title) or None) if options.get("files") != "any" else None,
        depends_on=tuple(dict.fromkeys(depends_on)),
        source_status=Status.COMPLETED if item.done else Status.PENDING,
    )


# -- Files --


def read_files(text: str) -> tuple[str, ...]:
    """Globs of the paths that a task's text names; () if it names none, which means no
    limit.

    A path has a slash and an ending, or is a file name with an ending that source files
    have, or ends with a slash. `/speck.check` is a command, `e.g.` is prose, `a.ts:264`
    a place in a file, and a Markdown link a thing to read.
    """
    found, bare = list[str](), list[str]()
    for token in _TOKEN.finditer(_LINK.sub(" ", text)):
        word = (
            token["code"] or token["bare"].rstrip(".:!?*").lstrip("*")
        ).removeprefix("./")
        word = re.sub(r":[0-9]+(?:[-:][0-9]+)?$", "", word)
        if word.startswith(("/", "../", "@")) or "//" in word or "<" in word:
            continue
        if word.lower() in _DOCUMENTS or _LIBRARY.fullmatch(word):
            continue
        ending = word.rsplit(".", 1)[-1].lower()
        if _FOLDER.fullmatch(word):
            found.append(f"{word}**")
        elif (
            _FILE.fullmatch(word)
            and (_SUFFIXES.fullmatch(ending) or word.startswith("."))
            and not word.endswith("/")
        ):
            found.append(word)
        elif _BARE.fullmatch(word.rsplit("/", 1)[-1]):
            (found if token["code"] else bare).append(word)
    found += bare if found else []
    found += [
        f"{word.removesuffix(name)}{lock}"
        for word in found
        for name, lock in _LOCKS
        if word.endswith(name)
    ]
    return tuple(dict.fromkeys(glob.replace("[", "\\[") for glob in found))


# -- Order --


@dataclass
class _Order:
    """Who waits for whom, from the order of the file and from what is said of single
    tasks.
    """

    page: Page
    items: Sequence[_Item]
    talk: Diagnostics
    path: str | None
    stories: bool

    @cached_property
    def _keys(self) -> dict[str, tuple[int, int, str]]:
        return {item.id: _sort_key(item.id) for item in self.items}

    def waits_for(self) -> dict[str, list[str]]:
        """Task id → ids it waits for, the implied ones first."""
        if len(self.items) > MAX_TASKS:
            return {}  # the plan is refused for that
        groups = self._groups()
        waits: dict[str, list[str]] = {item.id: [] for item in self.items}
        edges = 0
        for group, before in groups:
            edges += len(group) * sum(map(len, before))
            if edges > MAX_EDGES:
                self.talk.problem(
                    group[0].at,
                    f"more than {MAX_EDGES} dependencies",
                    "split the plan",
                    self.path,
                )
                return waits
            for item in group:
                waits[item.id] += [earlier.id for some in before for earlier in some]
        place = {
            item.id: number
            for number, (group, _) in enumerate(groups)
            for item in group
        }
        for item in self.items:
            waits[item.id] += self._said_in(item)
        for at, earlier, later in self._section():
            # Between groups the order says it already, or says the opposite; then the
            # author must decide.
            if place[earlier] > place[later] or (
                place[earlier] == place[later] and earlier == later
            ):
                what = f"{later} comes before {earlier} in the file, but here it waits for it"
                self.talk.problem(
                    at, what, "move the task, or mend this line", self.path
                )
            elif self.stories or place[earlier] == place[later]:
                waits[later].append(earlier)
        return waits

    def _groups(self) -> list[tuple[list[_Item], list[list[_Item]]]]:
        """Runs of tasks that may go side by side, each with the runs it waits for, in
        file order.
        """
        found: list[tuple[list[_Item], list[list[_Item]]]] = []
        ends: dict[int, list[_Item]] = {}  # phase → its last group
        for item in self.items:
            last = found[-1][0] if found else None
            if (
                last
                and last[-1].phase == item.phase
                and last[-1].parallel
                and item.parallel
            ):
                last.append(item)
                continue
            same = last is not None and last[-1].phase == item.phase
            before = [last] if same and last else self._before(item.phase, ends)
            found.append(([item], before))
            ends[item.phase] = found[-1][0]
        return found

    def _before(self, phase: int, ends: Mapping[int, list[_Item]]) -> list[list[_Item]]:
        """The last groups of the phases that this one waits for: all before it, of
        which only the last ones matter.
        """
        earlier = sorted(ends)
        if not earlier:
            return []
        if not self.stories:
            return [ends[earlier[-1]]]
        mine = self._story_of(phase)
        # everything since the last part that was no story, that part included
        if mine is None:
            since = [number for number in earlier if self._story_of(number) is None][
                -1:
            ]
            return [
                ends[number] for number in earlier if not since or number >= since[0]
            ]
        base = [number for number in earlier if self._story_of(number) is None][-1:]
        named = self._story_needs(mine)
        return [
            ends[number]
            for number in earlier
            if number in base or self._story_of(number) in named
        ]

    def _story_of(self, phase: int) -> str | None:
        """The user story of a part: what its heading says."""
        return self._stories.get(phase)

    @cached_property
    def _stories(self) -> dict[int, str]:
        found: dict[int, str] = {}
        for item in self.items:
            if match := _STORY.search(item.headings[0] if item.headings else ""):
                found.setdefault(item.phase, match["number"])
        return found

    def _story_needs(self, story: str) -> set[str]:
        """Stories that the Dependencies section names beside this one. Any mention
        counts: waiting is the safe side.
        """
        needs: set[str] = set()
        for at in self._section_lines():
            numbers = [
                match["number"] for match in _STORY.finditer(self.page.lines[at])
            ]
            if numbers and numbers[0] == story:
                needs |= set(numbers[1:])
        return needs - {story}

    def _said_in(self, item: _Item) -> Iterator[str]:
        """Ids of `(depends on T012, T013)`. Only parentheses count: real titles are
        about dependencies, too.
        """
        for match in _DEPENDS.finditer(
            " ".join((item.text, *(line.strip() for line in item.body)))
        ):
            yield from self._ids(match["ids"], item.at, f"{item.id} depends on")

    def _section_lines(self) -> Iterator[int]:
        """Lines of the Dependencies section outside of fences."""
        level = 0
        for at in self.page.visible():
            line = self.page.lines[at]
            title = heading_text(line)
            if title is not None:
                depth = len(line) - len(line.lstrip("#"))
                if level and depth <= level:
                    level = 0
                if (
                    not level
                    and re.search(r"\bdependenc", title, re.IGNORECASE)
                    and not self._holds_tasks(at)
                ):
                    level = depth
            elif level:
                yield at

    def _holds_tasks(self, heading: int) -> bool:
        """Whether a task comes before the next heading: `## Phase 1: Setup
        dependencies` is no such section.
        """
        for line in self.page.lines[heading + 1 :]:
            if heading_text(line) is not None:
                return False
            if _ITEM.fullmatch(line):
                return True
        return False

    def _section(self) -> Iterator[tuple[int, str, str]]:
        """What the section says of tasks (`T1 → T2`, `T1 blocks T2`, `T2 depends on
        T1`): line, earlier, later.
        """
        for at in self._section_lines():
            line = self.page.lines[at]
            parts = _ARROW.split(line)
            for one, other in pairwise(parts) if len(parts) > 1 else _related(line):
                for earlier in self._ids(one, at, "this line names"):
                    yield from (
                        (at, earlier, later)
                        for later in self._ids(other, at, "this line names")
                    )

    def _ids(self, text: str, at: int, said: str) -> list[str]:
        """The ids in the text, ranges spelt out by what is in the plan. A problem for
        one that is not in it.
        """
        known = self._keys
        found: list[str] = []
        for match in _RANGE.finditer(text):
            ends = [match["first"], *([match["last"]] if match["last"] else [])]
            ends = [end if end.startswith("T") else f"T{end}" for end in ends]
            missing = [end for end in ends if end not in known]
            if missing:
                what = f"{said} {missing[0]}, which is not in the plan"
                self.talk.problem(at, what, "name a task of this plan", self.path)
                continue
            first, last = known[ends[0]], known[ends[-1]]
            found += [task_id for task_id, key in known.items() if first <= key <= last]
        return list(dict.fromkeys(found))


def _related(line: str) -> Iterator[tuple[str, str]]:
    """(earlier, later) for each relation of the line; `T2 after T1, before T3` has two,
    both of T2.
    """
    relations = list(_RELATION.finditer(line))
    ends = [relation.start() for relation in relations[1:]]
    for relation, end in zip(relations, [*ends, len(line)], strict=False):
        sides = (line[: relations[0].start()], line[relation.end() : end])
        yield sides[::-1] if relation["word"].lower() in _REVERSED else sides


def _sort_key(task_id: str) -> tuple[int, int, str]:
    """`T049a` comes after T049 and before T050."""
    match = re.fullmatch(r"T([0-9]+)(?:\.([0-9]+))?([A-Za-z]?)", task_id)
    assert match
    return int(match[1]), int(match[2] or 0), match[3].lower()


def _report_spoilt(page: Page, talk: Diagnostics, path: str | None) -> None:
    for at in page.visible():
        line = page.lines[at]
        if _SPOILT.fullmatch(line) and not _ITEM.fullmatch(line):
            talk.problem(
                at,
                f"a task line that fanin cannot read: `{line.strip()[:60]}`",
                f"write {EXAMPLE}",
                path,
            )
    for first, last in page.regions.items():
        hidden = sum(_is_item(line) for line in page.lines[first : last + 1])
        if hidden:
            talk.note(
                first,
                f"{hidden} task lines down to line {last + 1} in a code fence or comment: not tasks",
                path,
            )
