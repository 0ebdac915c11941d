"""The dependencies between the tasks of a spec-kit plan.

The order is implicit: a phase begins when the one before is done, inside a phase tasks
follow each other, and a run of `[P]` tasks is parallel. Prose can only add to it:
`(depends on T012)` in a task, and what the Dependencies section says about single
tasks. Prose that contradicts the order, or names unknown tasks, is noted and not
followed: real sections are written once and go out of date. What that section says
about phases contradicts their order in real plans, so it is not read, except that
`options: {phases: stories}` lets the phases of user stories run in parallel.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from runner.plan.formats.diagnostics import MAX_EDGES, MAX_TASKS, Diagnostics
from runner.plan.formats.markdown import Page, heading_level, heading_text
from runner.plan.formats.spec_kit_items import Item, PlanLines, UnreadLine
from runner.plan.formats.spec_kit_mentions import Mentions, ordered_texts

_STORY = re.compile(
    r"\b(?:US|User Stor(?:y|ies) )(?P<number>[0-9]{1,4})\b", re.IGNORECASE
)
_DEPENDS = re.compile(
    r"\((?:depends on|depends|after|requires|needs):?\s(?P<ids>[^()]*)\)", re.IGNORECASE
)
_DEPENDENCIES_HEADING = re.compile(r"\bdependenc", re.IGNORECASE)


@dataclass(eq=False)
class _Group:
    """Tasks of one phase that may run in parallel, and what they wait for.

    `unread`: lines among them that may be open tasks. `waits_for`: the groups right
    before it. `gates_before`: the nearest groups before it that hold anything open. A
    group that is ticked although the ones before it are open is no gate: what comes
    after it waits for those.
    """

    phase: int
    parallel: bool
    waits_for: Sequence[_Group]
    gates_before: Sequence[_Group]
    items: list[Item] = field(default_factory=list)
    unread: list[UnreadLine] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return bool(self.unread) or not all(item.done for item in self.items)

    @property
    def gates(self) -> Sequence[_Group]:
        """Itself if it holds anything open, else the gates before it."""
        return (self,) if self.is_open else self.gates_before


@dataclass(frozen=True)
class _Hint:
    """A line of prose that orders two tasks, by id."""

    line_index: int
    earlier: str
    later: str


@dataclass
class TaskOrder:
    """Derives the dependencies between the tasks of a page.

    `stories_in_parallel`: phases of user stories do not wait for each other.
    """

    page: Page
    plan_lines: PlanLines
    diagnostics: Diagnostics
    stories_in_parallel: bool
    dependencies: dict[str, list[str]] = field(default_factory=dict)
    # Task id → ids of open tasks before those that it depends on.
    open_before: dict[str, list[str]] = field(default_factory=dict)
    # Task id → index of the unread line that it waits for.
    holding_lines: dict[str, int] = field(default_factory=dict)
    _edges: int = 0

    def derive(self) -> None:
        """Fill `dependencies`: task id → ids it waits for, the implicit ones first.

        They do not depend on what is ticked: a tick must not change a task. What only
        ticks out of order make a task wait for is in `open_before`.

        Fill `holding_lines` for the tasks that wait for a line that was not read.
        """
        items = self.plan_lines.items
        if len(items) > MAX_TASKS:
            # The plan is refused for its size, so its order does not matter.
            return
        self.dependencies = {item.task_id: [] for item in items}
        groups = self._groups()
        for group in groups:
            self._add_implicit(group)
        self._hold_later_phases()
        positions: dict[str, int] = {}
        for number, group in enumerate(groups):
            positions.update(dict.fromkeys((i.task_id for i in group.items), number))
        self._add_hints(positions)

    # -- What the order of the file implies --

    def _add_implicit(self, group: _Group) -> None:
        earlier_ids = [
            item.task_id for before in group.waits_for for item in before.items
        ]
        open_ids: list[str] = []
        unread: list[UnreadLine] = []
        for gate in group.gates_before:
            unread += gate.unread
            if gate not in group.waits_for:
                open_ids += [item.task_id for item in gate.items if not item.done]
        for item in group.items:
            self._add(item, earlier_ids)
            if item.done:
                continue
            if open_ids:
                self._count_edges(item, len(open_ids))
                self.open_before[item.task_id] = open_ids
            if unread:
                self.holding_lines[item.task_id] = unread[0].line_index

    def _add(self, item: Item, task_ids: Sequence[str]) -> None:
        """Add dependencies of the item; a problem, and no more, if there are too many."""
        if self._count_edges(item, len(task_ids)):
            self.dependencies[item.task_id] += task_ids

    def _count_edges(self, item: Item, count: int) -> bool:
        """Whether so many more edges are few enough; a problem, once, if not."""
        before = self._edges
        self._edges += count
        if self._edges <= MAX_EDGES:
            return True
        if before <= MAX_EDGES:
            what = f"more than {MAX_EDGES:,} dependencies"
            self.diagnostics.add_problem(item.line_index, what, "split the plan")
        return False

    def _hold_later_phases(self) -> None:
        """Hold every open task of a phase after one with an unread line."""
        unread = [line for line in self.plan_lines.unread if line.gates]
        for item in self.plan_lines.items:
            if item.done or not unread or item.phase <= unread[0].phase:
                continue
            self.holding_lines.setdefault(item.task_id, unread[0].line_index)

    def _groups(self) -> list[_Group]:
        """The groups in the order of the file."""
        groups: list[_Group] = []
        phases = _PhaseOrder(self._stories, self._stories_needed)
        for line in self._tasks_and_unread_lines():
            previous = phases.last_group(line.phase)
            if previous and previous.parallel and line.parallel:
                group = previous
            else:
                waits_for: Sequence[_Group] = (previous,) if previous else ()
                if previous is None and self.stories_in_parallel:
                    waits_for = phases.groups_before(line.phase)
                elif previous is None:
                    waits_for = groups[-1:]
                gates = _gates_of(waits_for)
                group = _Group(line.phase, line.parallel, waits_for, gates)
                groups.append(group)
                phases.add(group)
            if isinstance(line, Item):
                group.items.append(line)
            else:
                group.unread.append(line)
        return groups

    def _tasks_and_unread_lines(self) -> list[Item | UnreadLine]:
        """The parts of the order, in file order."""
        lines: list[Item | UnreadLine] = list(self.plan_lines.items)
        lines += [line for line in self.plan_lines.unread if line.gates]
        return sorted(lines, key=lambda line: line.line_index)

    @cached_property
    def _stories(self) -> dict[int, str]:
        """Phase → number of the user story that its heading names."""
        stories: dict[int, str] = {}
        for item in self.plan_lines.items:
            match = _STORY.search(item.headings[0]) if item.headings else None
            if match:
                stories.setdefault(item.phase, match["number"])
        return stories

    @cached_property
    def _stories_needed(self) -> dict[str, set[str]]:
        """Story → the stories that the Dependencies section names after it on a line.

        Any mention counts, because to wait is safe.
        """
        needed: dict[str, set[str]] = {}
        for index in self._section_lines:
            matches = _STORY.finditer(self.page.lines[index])
            numbers = [match["number"] for match in matches]
            if numbers:
                others = set(numbers[1:]) - {numbers[0]}
                needed.setdefault(numbers[0], set()).update(others)
        return needed

    # -- What prose adds --

    def _add_hints(self, positions: Mapping[str, int]) -> None:
        """Add what prose says, unless it contradicts the order of the file.

        `positions`: task id → number of its group.
        """
        items = {item.task_id: item for item in self.plan_lines.items}
        in_one_group: list[_Hint] = []
        for hint, is_of_task in self._hints():
            earlier, later = hint.earlier, hint.later
            if earlier == later:
                continue
            if positions[earlier] > positions[later]:
                self._note_contradiction(hint)
            elif positions[earlier] == positions[later]:
                in_one_group.append(hint)
            elif is_of_task or self.stories_in_parallel:
                # The order implies what the section says between groups.
                self._add(items[later], [earlier])
        for hint in self._without_cycles(in_one_group):
            self._add(items[hint.later], [hint.earlier])

    def _note_contradiction(self, hint: _Hint) -> None:
        what = (
            f"{hint.later} waits for {hint.earlier} here, but {hint.earlier} does not "
            "come before it in the file: not followed"
        )
        self.diagnostics.add_note(hint.line_index, what)

    def _without_cycles(self, hints: Sequence[_Hint]) -> Iterator[_Hint]:
        """The hints without those that close a cycle inside a group.

        Of a cycle, the hints against the order of the file go.
        """
        order = {
            item.task_id: number for number, item in enumerate(self.plan_lines.items)
        }
        backward = [hint for hint in hints if order[hint.earlier] > order[hint.later]]
        in_cycles = _ids_in_cycles(hints) if backward else set()
        for hint in hints:
            is_backward = order[hint.earlier] > order[hint.later]
            if is_backward and hint.earlier in in_cycles and hint.later in in_cycles:
                self._note_contradiction(hint)
            else:
                yield hint

    def _hints(self) -> Iterator[tuple[_Hint, bool]]:
        """Every pair of tasks that prose orders, and whether a task itself says it."""
        for number, (hint, is_of_task) in enumerate(self._all_hints()):
            if number >= MAX_EDGES:
                what = f"more than {MAX_EDGES:,} dependencies"
                self.diagnostics.add_problem(hint.line_index, what, "split the plan")
                return
            yield hint, is_of_task

    def _all_hints(self) -> Iterator[tuple[_Hint, bool]]:
        mentions = Mentions(self.plan_lines)
        for item in self.plan_lines.items:
            for text in self._dependency_texts(item):
                subject = f"{item.task_id} depends on"
                for earlier in self._ids(mentions, text, item, subject):
                    yield _Hint(item.line_index, earlier, item.task_id), True
        for index in self._section_lines:
            for earlier_text, later_text in ordered_texts(self.page.lines[index]):
                later_ids = self._section_ids(mentions, later_text, index)
                if not later_ids:
                    continue
                for earlier in self._section_ids(mentions, earlier_text, index):
                    for later in later_ids:
                        yield _Hint(index, earlier, later), False

    def _dependency_texts(self, item: Item) -> Iterator[str]:
        """The ids in `(depends on T012, T013)`.

        Only parentheses count: real titles are about dependencies, too.
        """
        text = " ".join([item.text, *(line.strip() for line in item.body)])
        for match in _DEPENDS.finditer(text):
            yield match["ids"]

    def _ids(
        self, mentions: Mentions, text: str, item: Item, subject: str
    ) -> Sequence[str]:
        """The tasks in the text; an unread line that it names holds the item."""
        task_ids, unknown, unread = mentions.read(text)
        for line in unread:
            if not item.done:
                self.holding_lines.setdefault(item.task_id, line.line_index)
        self._note_unknown(unknown, item.line_index, subject)
        return task_ids

    def _section_ids(
        self, mentions: Mentions, text: str, line_index: int
    ) -> Sequence[str]:
        task_ids, unknown, _ = mentions.read(text)
        self._note_unknown(unknown, line_index, "this line names")
        return task_ids

    def _note_unknown(
        self, unknown: Iterable[str], line_index: int, subject: str
    ) -> None:
        for task_id in unknown:
            what = f"{subject} {task_id}, which is not in the plan: not followed"
            self.diagnostics.add_note(line_index, what)

    @cached_property
    def _section_lines(self) -> list[int]:
        """The indices of the visible lines of the Dependencies section.

        `## Phase 1: Setup dependencies` with tasks below is not that section.
        """
        indices: list[int] = []
        section_level = 0  # 0 outside of the section
        for index, line in self.page.visible_lines():
            title = heading_text(line)
            if title is None:
                if section_level:
                    indices.append(index)
                continue
            level = heading_level(line)
            if level <= section_level:
                section_level = 0
            if section_level or not _DEPENDENCIES_HEADING.search(title):
                continue
            if index not in self._headings_of_tasks:
                section_level = level
        return indices

    @cached_property
    def _headings_of_tasks(self) -> set[int]:
        """The indices of the headings that are the nearest above a task."""
        tasks = {item.line_index for item in self.plan_lines.items}
        headings: set[int] = set()
        heading = -1
        for index, line in self.page.visible_lines():
            if heading_text(line) is not None:
                heading = index
            elif index in tasks:
                headings.add(heading)
        return headings


@dataclass
class _PhaseOrder:
    """The phases so far, and which of them a new one waits for.

    With `phases: stories` a story waits for the last phase that is not a story, and for
    the stories that it names. Any other phase waits for the last such phase and for all
    stories since. They wait for the phases before them.
    """

    stories: Mapping[int, str]
    stories_needed: Mapping[str, set[str]]
    _last_groups: dict[int, _Group] = field(default_factory=dict)
    _last_shared: int | None = None
    _since_shared: list[int] = field(default_factory=list)
    _phases_of_story: dict[str, list[int]] = field(default_factory=dict)

    def last_group(self, phase: int) -> _Group | None:
        return self._last_groups.get(phase)

    def add(self, group: _Group) -> None:
        phase = group.phase
        is_new = phase not in self._last_groups
        self._last_groups[phase] = group
        if not is_new:
            return
        story = self.stories.get(phase)
        if story is None:
            self._last_shared = phase
            self._since_shared = []
        else:
            self._since_shared.append(phase)
            self._phases_of_story.setdefault(story, []).append(phase)

    def groups_before(self, phase: int) -> list[_Group]:
        """The groups that end the phases that this new phase waits for."""
        phases: list[int] = []
        if self._last_shared is not None:
            phases.append(self._last_shared)
        story = self.stories.get(phase)
        if story is None:
            phases += self._since_shared
        else:
            for needed in self.stories_needed.get(story, ()):
                phases += self._phases_of_story.get(needed, [])
        return [self._last_groups[number] for number in sorted(set(phases))]


def _gates_of(groups: Sequence[_Group]) -> Sequence[_Group]:
    """The gates of all these groups, each once."""
    if len(groups) == 1:
        return groups[0].gates
    gates: dict[int, _Group] = {}
    for group in groups:
        for gate in group.gates:
            gates[id(gate)] = gate
    return list(gates.values())


def _ids_in_cycles(hints: Sequence[_Hint]) -> set[str]:
    """The ids on cycles, and those between two cycles."""
    remaining = {hint.earlier for hint in hints} | {hint.later for hint in hints}
    forward = [(hint.earlier, hint.later) for hint in hints]
    backward = [(later, earlier) for earlier, later in forward]
    for edges in (forward, backward):
        _remove_free(remaining, edges)
    return remaining


def _remove_free(remaining: set[str], edges: Sequence[tuple[str, str]]) -> None:
    """Remove every id that no cycle leads to."""
    targets: dict[str, list[str]] = {}
    incoming = dict.fromkeys(remaining, 0)
    for source, target in edges:
        if source in remaining and target in remaining:
            targets.setdefault(source, []).append(target)
            incoming[target] += 1
    free = [task_id for task_id, count in incoming.items() if count == 0]
    while free:
        task_id = free.pop()
        remaining.discard(task_id)
        for target in targets.get(task_id, []):
            incoming[target] -= 1
            if incoming[target] == 0:
                free.append(target)
