"""Several plans in one ai-sdlc story: an implementation, and revisions of it.

ai-sdlc writes a revision beside the first plan, mostly above it, with the same ids. Only
one of them is to be done: the revision if headings say which one that is, else the last.
A revision may also continue the numbers of the plan, and stand above it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from runner.core.validation import nearest
from runner.plan.formats.ai_sdlc_fields import ProseError, parse_dependencies
from runner.plan.formats.ai_sdlc_items import Item, split_body
from runner.plan.formats.diagnostics import Diagnostics, count_of
from runner.plan.formats.markdown import Page, heading_level, heading_text

_REVISION = re.compile(
    r"\b(?:revis\w+|review|feedback|rework|fix(?:es)?|address(?:ing|es)?|blockers?"
    r"|follow-?ups?|v[2-9]|round [2-9])\b",
    re.IGNORECASE,
)
# The part of a plan's headings that must speak of a revision.
_REVISION_SHARE = 1 / 3
MAX_NAMED = 20  # headings with the same text


@dataclass(frozen=True)
class _Heading:
    line_index: int
    level: int
    text: str


@dataclass(frozen=True)
class _Section:
    """The tasks of one plan and the lines that belong to it.

    `headings`: those above its tasks, from the outermost, and in no other plan.
    """

    items: list[Item]
    lines: range
    headings: list[_Heading]

    @property
    def name(self) -> str:
        return self.headings[0].text if self.headings else ""

    @property
    def revision_share(self) -> float:
        """The part of its outermost headings that speak of a revision."""
        if not self.headings:
            return 0
        level = min(heading.level for heading in self.headings)
        outermost = [h.text for h in self.headings if h.level == level]
        speaking = [text for text in outermost if _REVISION.search(text)]
        return len(speaking) / len(outermost)


@dataclass(frozen=True)
class ChosenPlan:
    """The tasks that count, and the lines that are about them.

    `name`: the heading that tells it from the other plans of the file, "" if there are
    none.
    """

    items: list[Item]
    lines: range
    name: str = ""


def choose_plan(
    page: Page, items: list[Item], heading: str, diagnostics: Diagnostics
) -> ChosenPlan:
    """The plan below `heading`, or if that is "" the one that counts, with a note."""
    all_lines = range(len(page.lines))
    headings = _headings(page)
    sections = _split(page, items, headings)
    if heading:
        return _named(page, items, headings, sections, heading, diagnostics)
    if len(sections) < 2:
        return ChosenPlan(items, all_lines)
    section = _latest(sections)
    if not section.name:
        # Nothing tells the plans apart, so the ids are simply doubled.
        return ChosenPlan(items, all_lines)
    for other in sections:
        if other is section:
            continue
        line = other.items[0].line_index + 1
        tasks = count_of(len(other.items), "task")
        what = f"the plan `{section.name}` counts, not that on line {line} with {tasks}"
        if other.name:
            choice = f"{diagnostics.plan_path}#{other.name}"
            what += f"; choose that with  --plan '{choice}'"
        diagnostics.add_note(section.items[0].line_index, what)
    return ChosenPlan(section.items, section.lines, section.name)


def _headings(page: Page) -> list[_Heading]:
    headings = []
    for index, line in page.visible_lines():
        text = heading_text(line)
        if text:
            headings.append(_Heading(index, heading_level(line), text))
    return headings


def _named(
    page: Page,
    items: list[Item],
    headings: Sequence[_Heading],
    sections: Sequence[_Section],
    name: str,
    diagnostics: Diagnostics,
) -> ChosenPlan:
    """The plan whose lines hold the heading, or else the tasks of its own section."""
    named = [h for h in headings if _slug(h.text) == _slug(name)][:MAX_NAMED]
    candidates: list[ChosenPlan] = []
    for heading in named:
        lines = _lines_below(page, headings, heading)
        below = [item for item in items if item.line_index in lines]
        holding = [s for s in sections if any(i.line_index in lines for i in s.items)]
        if len(sections) > 1 and len(holding) == 1:
            section = holding[0]
            plan = ChosenPlan(section.items, section.lines, section.name)
        elif len(sections) > 1 or not below:
            continue
        else:
            plan = ChosenPlan(below, lines, heading.text)
        if plan not in candidates:
            candidates.append(plan)
    if len(candidates) == 1:
        return candidates[0]
    line_index = named[0].line_index if named else 0
    choices = [section.name for section in sections if section.name]
    remedy = "name the heading of one plan"
    if len(sections) > 1:
        remedy = f"name one of: {', '.join(choices)}"
    what = f"the heading `{name}` does not name one plan"
    if not named:
        what = f"there is no heading `{name}`"
        if guess := nearest(name, [heading.text for heading in headings]):
            remedy = f"did you mean `{guess}`?"
    diagnostics.add_problem(line_index, what, remedy)
    return ChosenPlan([], range(0))


def _slug(text: str) -> str:
    """A heading's text as links to it are written, so that both forms match."""
    return re.sub(r"[\W_]+", "-", text.casefold()).strip("-")


def _lines_below(page: Page, headings: Sequence[_Heading], heading: _Heading) -> range:
    """From the heading to the next of its level or above."""
    for other in headings:
        if other.line_index > heading.line_index and other.level <= heading.level:
            return range(heading.line_index, other.line_index)
    return range(heading.line_index, len(page.lines))


def _latest(sections: Sequence[_Section]) -> _Section:
    """The plan that its headings call a revision, if there is one, else the last."""
    if _continues(sections[0].items, sections[-1].items):
        return sections[0]
    shares = [section.revision_share for section in sections]
    highest = max(shares)
    if highest >= _REVISION_SHARE and shares.count(highest) == 1:
        return sections[shares.index(highest)]
    return sections[-1]


# -- Splitting --


def _split(
    page: Page, items: Sequence[Item], headings: Sequence[_Heading]
) -> list[_Section]:
    """The plans of the file, in its order; one if it is not clear that there are more."""
    chains = _heading_chains(items, headings)
    starts = _starts(items, chains)
    if len(starts) == 1:
        starts += _continued_start(page, items, chains)
    groups = [
        (start, items[start:end]) for start, end in pairwise([*starts, len(items)])
    ]
    for (_, before), (_, after) in pairwise(groups):
        if not _is_another_plan(before, after) and not _continues(before, after):
            return [_Section(list(items), range(len(page.lines)), [])]
    first_lines = [0]
    for start, _ in groups[1:]:
        chain = chains[start]
        own = [h for h in chain if h not in chains[start - 1]]
        line = own[0].line_index if own else items[start].line_index
        first_lines.append(line)
    first_lines.append(len(page.lines))
    sections = []
    for number, (start, group) in enumerate(groups):
        lines = range(first_lines[number], first_lines[number + 1])
        own_headings: dict[int, _Heading] = {}
        for offset in range(len(group)):
            for heading in chains[start + offset]:
                own_headings.setdefault(heading.line_index, heading)
        sections.append(_Section(list(group), lines, list(own_headings.values())))
    return _without_shared_headings(sections)


def _without_shared_headings(sections: Sequence[_Section]) -> list[_Section]:
    counts: dict[int, int] = {}
    for section in sections:
        for heading in section.headings:
            counts[heading.line_index] = counts.get(heading.line_index, 0) + 1
    result = []
    for section in sections:
        own = [h for h in section.headings if counts[h.line_index] == 1]
        result.append(_Section(section.items, section.lines, own))
    return result


def _heading_chains(
    items: Sequence[Item], headings: Sequence[_Heading]
) -> list[tuple[_Heading, ...]]:
    """For each item the headings above it, from the outermost to the nearest."""
    chains: list[tuple[_Heading, ...]] = []
    open_headings: list[_Heading] = []
    position = 0
    for item in items:
        while (
            position < len(headings) and headings[position].line_index < item.line_index
        ):
            heading = headings[position]
            while open_headings and open_headings[-1].level >= heading.level:
                open_headings.pop()
            open_headings.append(heading)
            position += 1
        chains.append(tuple(open_headings))
    return chains


def _starts(items: Sequence[Item], chains: Sequence[tuple[_Heading, ...]]) -> list[int]:
    """The indices of the items with which a plan may begin: where an id comes again.

    The plan begins with the first task below the same heading.
    """
    starts = [0]
    ids: set[str] = set()
    for index, item in enumerate(items):
        if item.task_id in ids:
            start = _first_below(index, chains, starts[-1])
            starts.append(start)
            ids = {other.task_id for other in items[start:index]}
        ids.add(item.task_id)
    return starts


def _first_below(
    index: int, chains: Sequence[tuple[_Heading, ...]], previous_start: int
) -> int:
    """The first item below the outermost heading of this one that an earlier plan's
    first task is not below; the item itself if there is none.
    """
    own = [h for h in chains[index] if h not in chains[previous_start]]
    if not own:
        return index
    start = index
    while start - 1 > previous_start and own[0] in chains[start - 1]:
        start -= 1
    return start


def _continued_start(
    page: Page, items: Sequence[Item], chains: Sequence[tuple[_Heading, ...]]
) -> list[int]:
    """Where the plan begins whose numbers those above it continue, if there is one.

    Neither of the two may name a task of the other.
    """
    numbers = [_number(item) for item in items]
    first = numbers.index(min(numbers)) if numbers else 0
    before, after = items[:first], items[first:]
    if not before or not _continues(before, after):
        return []
    headings = {chain[-1] for chain in chains[:first] if chain}
    if not chains[first] or chains[first][-1] in headings:
        return []
    names_other = _names(page, before, after) or _names(page, after, before)
    return [] if names_other else [first]


def _continues(before: Sequence[Item], after: Sequence[Item]) -> bool:
    """Whether the first number in `before` is the next one after the last in `after`."""
    first = min(_number(item) for item in before)
    return first == max(_number(item) for item in after) + 1


def _number(item: Item) -> int:
    return int(item.task_id[1:])


def _names(page: Page, items: Sequence[Item], others: Sequence[Item]) -> bool:
    """Whether dependencies of `items` name one of `others`; unreadable ones may."""
    ids = {other.task_id for other in others}
    for item in items:
        fields, _ = split_body(page, item)
        for field in fields:
            if not field.is_dependencies:
                continue
            try:
                named = parse_dependencies(field.value)
            except ProseError:
                return True
            if ids.intersection(named):
                return True
    return False


def _is_another_plan(before: Sequence[Item], after: Sequence[Item]) -> bool:
    """Whether the second group repeats the plan of the first, and not only one id."""
    ids_before = [item.task_id for item in before]
    ids_after = [item.task_id for item in after]
    shared = set(ids_before) & set(ids_after)
    return len(shared) > 1 or ids_before[0] == ids_after[0]
