"""The dependencies between the tasks of a spec-kit plan.

The order is implicit: a phase begins when the one before is done, inside a phase tasks
follow each other, and consecutive `[P]` tasks are parallel. `(depends on T012)` in a
task and dependencies between tasks in the Dependencies section are added. In real plans
that section contradicts the order of the phases, so what it says about phases is
ignored. With `options: {phases: stories}` the phases of user stories may run in parallel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from runner.plan.formats.diagnostics import MAX_EDGES, MAX_TASKS, Diagnostics
from runner.plan.formats.markdown import Page, heading_level, heading_text
from runner.plan.formats.spec_kit_items import ITEM, TASK_ID, Item

_STORY = re.compile(
    r"\b(?:US|User Stor(?:y|ies) )(?P<number>[0-9]{1,4})\b", re.IGNORECASE
)
_DEPENDS = re.compile(
    r"\((?:depends on|depends|after|requires|needs):?\s(?P<ids>[^()]*)\)", re.IGNORECASE
)
_ID_RANGE = re.compile(
    rf"\b(?P<first>{TASK_ID})"
    r"(?:\s*(?:-|–|—|\.\.|to|through)\s*(?P<last>T?[0-9]{1,9}[A-Za-z]?)\b)?"
)
_ID_PARTS = re.compile(
    r"T(?P<number>[0-9]+)(?:\.(?P<decimal>[0-9]+))?(?P<letter>[A-Za-z]?)"
)
_ARROW = re.compile(r"→|⇒|->|=>")
_RELATION = re.compile(
    r"\b(?P<word>blocks|before|depends on|after|requires)\b", re.IGNORECASE
)
# Relations in which the task that is named first comes later.
_REVERSED_RELATIONS = frozenset({"depends on", "after", "requires"})
_DEPENDENCIES_HEADING = re.compile(r"\bdependenc", re.IGNORECASE)


@dataclass(frozen=True)
class _Group:
    """Tasks of one phase that may run in parallel, and the groups they wait for."""

    phase: int
    parallel: bool
    items: list[Item]
    waits_for: Sequence[_Group]

    @property
    def edges(self) -> int:
        return len(self.items) * sum(len(group.items) for group in self.waits_for)


@dataclass(frozen=True)
class _Relation:
    """A line of the Dependencies section that orders two tasks, by id."""

    line_index: int
    earlier: str
    later: str


@dataclass
class TaskOrder:
    """Derives the dependencies between the tasks of a page.

    `stories_in_parallel`: phases of user stories do not wait for each other.
    """

    page: Page
    items: Sequence[Item]
    diagnostics: Diagnostics
    stories_in_parallel: bool

    def dependencies(self) -> dict[str, list[str]]:
        """Task id → ids of the tasks it waits for, the implicit ones first."""
        if len(self.items) > MAX_TASKS:
            # The plan is refused for its size, so its order does not matter.
            return {}
        groups = self._groups()
        dependencies: dict[str, list[str]] = {item.task_id: [] for item in self.items}
        if not self._add_implicit(groups, dependencies):
            return dependencies
        for item in self.items:
            dependencies[item.task_id] += self._named_in(item)
        self._add_section(groups, dependencies)
        return dependencies

    def _add_implicit(
        self, groups: Sequence[_Group], dependencies: dict[str, list[str]]
    ) -> bool:
        """Add what the order of the file implies; False if that is too much."""
        edges = 0
        for group in groups:
            edges += group.edges
            if edges > MAX_EDGES:
                what = f"more than {MAX_EDGES} dependencies"
                line_index = group.items[0].line_index
                self.diagnostics.add_problem(line_index, what, "split the plan")
                return False
            earlier_ids = []
            for earlier_group in group.waits_for:
                earlier_ids += [item.task_id for item in earlier_group.items]
            for item in group.items:
                dependencies[item.task_id] += earlier_ids
        return True

    def _add_section(
        self, groups: Sequence[_Group], dependencies: dict[str, list[str]]
    ) -> None:
        """Add what the Dependencies section says about tasks of the same group.

        Between groups the order of the file says it already, or says the opposite; then
        the author must decide.
        """
        group_numbers: dict[str, int] = {}
        for number, group in enumerate(groups):
            for item in group.items:
                group_numbers[item.task_id] = number
        for relation in self._section_relations():
            earlier, later = relation.earlier, relation.later
            same_group = group_numbers[earlier] == group_numbers[later]
            if group_numbers[earlier] > group_numbers[later] or earlier == later:
                what = (
                    f"{later} waits for {earlier} here, "
                    f"but {earlier} does not come before it in the file"
                )
                remedy = f"move {earlier} up, or fix this line"
                self.diagnostics.add_problem(relation.line_index, what, remedy)
            elif self.stories_in_parallel or same_group:
                dependencies[later].append(earlier)

    # -- Groups, in the order of the file --

    def _groups(self) -> list[_Group]:
        groups: list[_Group] = []
        last_groups: dict[int, _Group] = {}  # phase → its last group so far
        for item in self.items:
            previous = last_groups.get(item.phase)
            if previous and previous.parallel and item.parallel:
                previous.items.append(item)
                continue
            waits_for = self._groups_before(item.phase, last_groups)
            group = _Group(item.phase, item.parallel, [item], waits_for)
            groups.append(group)
            last_groups[item.phase] = group
        return groups

    def _groups_before(
        self, phase: int, last_groups: Mapping[int, _Group]
    ) -> list[_Group]:
        """The groups that the next group of this phase waits for.

        That is the last group of the phase so far, or those that end the earlier phases
        it waits for.
        """
        if phase in last_groups:
            return [last_groups[phase]]
        phases = self._phases_before(phase, sorted(last_groups))
        return [last_groups[number] for number in phases]

    def _phases_before(self, phase: int, earlier: Sequence[int]) -> Sequence[int]:
        """The phases that this one waits for; they wait for the others before them.

        A phase that is not a story waits for the last such phase and for all stories
        since.
        """
        if not self.stories_in_parallel:
            return earlier[-1:]
        story = self._stories.get(phase)
        if story is not None:
            return self._phases_needed_by(story, earlier)
        for position in reversed(range(len(earlier))):
            if earlier[position] not in self._stories:
                return earlier[position:]
        return earlier

    def _phases_needed_by(self, story: str, earlier: Sequence[int]) -> Sequence[int]:
        """The last phase that is not a story, and the stories that this story names."""
        shared = [number for number in earlier if number not in self._stories]
        named_stories = self._stories_needed_by(story)
        named = [
            number for number in earlier if self._stories.get(number) in named_stories
        ]
        return sorted(shared[-1:] + named)

    @cached_property
    def _stories(self) -> dict[int, str]:
        """Phase → number of the user story that its heading names."""
        stories: dict[int, str] = {}
        for item in self.items:
            match = _STORY.search(item.headings[0]) if item.headings else None
            if match:
                stories.setdefault(item.phase, match["number"])
        return stories

    def _stories_needed_by(self, story: str) -> set[str]:
        """The stories that the Dependencies section names after this one on a line.

        Any mention counts, because to wait is safe.
        """
        needed: set[str] = set()
        for index in self._section_lines():
            matches = _STORY.finditer(self.page.lines[index])
            numbers = [match["number"] for match in matches]
            if numbers and numbers[0] == story:
                needed.update(numbers[1:])
        return needed - {story}

    # -- Dependencies that the text names --

    def _named_in(self, item: Item) -> Iterator[str]:
        """Ids in `(depends on T012, T013)`.

        Only parentheses count: real titles are about dependencies, too.
        """
        text = " ".join([item.text, *(line.strip() for line in item.body)])
        for match in _DEPENDS.finditer(text):
            subject = f"{item.task_id} depends on"
            yield from self._ids(match["ids"], item.line_index, subject)

    def _section_lines(self) -> Iterator[int]:
        """The visible lines of the Dependencies section."""
        section_level = 0  # 0 outside of the section
        for index, line in self.page.visible_lines():
            title = heading_text(line)
            if title is None:
                if section_level:
                    yield index
                continue
            level = heading_level(line)
            if level <= section_level:
                section_level = 0
            if section_level or not _DEPENDENCIES_HEADING.search(title):
                continue
            if not self._holds_tasks(index):
                section_level = level

    def _holds_tasks(self, heading: int) -> bool:
        """Whether a task comes before the next heading.

        `## Phase 1: Setup dependencies` is not the Dependencies section.
        """
        for index in range(heading + 1, len(self.page.lines)):
            line = self.page.lines[index]
            if heading_text(line) is not None:
                return False
            if ITEM.fullmatch(line):
                return True
        return False

    def _section_relations(self) -> Iterator[_Relation]:
        """What the section says: `T1 → T2`, `T1 blocks T2`, `T2 depends on T1`."""
        for index in self._section_lines():
            for earlier_text, later_text in _ordered_texts(self.page.lines[index]):
                earlier_ids = self._ids(earlier_text, index, "this line names")
                if not earlier_ids:
                    continue
                later_ids = self._ids(later_text, index, "this line names")
                for earlier in earlier_ids:
                    for later in later_ids:
                        yield _Relation(index, earlier, later)

    def _ids(self, text: str, line_index: int, subject: str) -> list[str]:
        """The ids in the text, ranges expanded to the tasks of the plan.

        A problem for each id that is not in the plan; `subject` begins its message.
        """
        task_ids: dict[str, None] = {}
        for match in _ID_RANGE.finditer(text):
            first = match["first"]
            last = match["last"] or first
            if not last.startswith("T"):
                last = f"T{last}"
            missing = [end for end in (first, last) if end not in self._sort_keys]
            if missing:
                what = f"{subject} {missing[0]}, which is not in the plan"
                remedy = "name a task of this plan"
                self.diagnostics.add_problem(line_index, what, remedy)
                continue
            task_ids.update(dict.fromkeys(self._range(first, last)))
        return list(task_ids)

    def _range(self, first: str, last: str) -> Iterator[str]:
        """The ids of the plan from the first to the last, both included."""
        lowest, highest = self._sort_keys[first], self._sort_keys[last]
        for task_id, key in self._sort_keys.items():
            if lowest <= key <= highest:
                yield task_id

    @cached_property
    def _sort_keys(self) -> dict[str, tuple[int, int, str]]:
        return {item.task_id: _sort_key(item.task_id) for item in self.items}


def _ordered_texts(line: str) -> Iterator[tuple[str, str]]:
    """(earlier, later) texts for each arrow of the line, or else for each relation.

    `T2 after T1, before T3` has two relations, both of T2.
    """
    steps = _ARROW.split(line)
    if len(steps) > 1:
        yield from pairwise(steps)
        return
    relations = list(_RELATION.finditer(line))
    ends = [relation.start() for relation in relations[1:]]
    ends.append(len(line))
    # Without a relation, `ends` has one element more than `relations`.
    for relation, end in zip(relations, ends, strict=False):
        subject = line[: relations[0].start()]
        text = line[relation.end() : end]
        if relation["word"].lower() in _REVERSED_RELATIONS:
            yield text, subject
        else:
            yield subject, text


def _sort_key(task_id: str) -> tuple[int, int, str]:
    """`T049a` comes after T049 and before T050."""
    parts = _ID_PARTS.fullmatch(task_id)
    assert parts
    return int(parts["number"]), int(parts["decimal"] or 0), parts["letter"].lower()
