"""What each issue of beads waits for: other tasks, or what no task of the plan can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from runner.plan.formats.beads_issues import (
    BLOCKS,
    CONDITIONAL,
    CONTAINER_TYPES,
    PARENT,
    WAITS_FOR,
    Issue,
)

# Such a target is in another repository.
EXTERNAL = "external:"
# Words of a `close_reason` by which beads knows a failure.
FAILURE_WORDS = (
    *("failed", "rejected", "wontfix", "won't fix", "cancelled", "canceled"),
    *("abandoned", "blocked", "error", "timeout", "aborted"),
)


class _BlockedBy(NamedTuple):
    """The tasks that an issue waits for, and the reason why it cannot run, or None."""

    task_ids: tuple[str, ...]
    reason: str | None


class Blockers:
    """Answers what an issue waits for, through parents and children."""

    def __init__(self, issues: Mapping[str, Issue]) -> None:
        self._issues = issues
        self._computed: dict[str, _BlockedBy] = {}
        self._entered: set[str] = set()

    @cached_property
    def _children(self) -> Mapping[str, Sequence[Issue]]:
        children: dict[str, list[Issue]] = {}
        for issue in self._issues.values():
            for parent_id in issue.targets.get(PARENT, ()):
                children.setdefault(parent_id, []).append(issue)
        return children

    def of(self, issue: Issue) -> tuple[list[str], str | None]:
        """Ids of the tasks that the issue waits for, and what else holds it up.

        The second is the reason why the issue cannot run at all, or None.
        """
        blockers = self._blockers_of(issue)
        # By its parent, an issue may wait for itself.
        task_ids = [task_id for task_id in blockers.task_ids if task_id != issue.id]
        return task_ids, blockers.reason

    def _blockers_of(self, issue: Issue) -> _BlockedBy:
        """Its own blockers and those of the open issues above it.

        Every issue is computed once, after those above it: plans are deep, too.
        """
        stack = [issue]
        while stack:
            current = stack[-1]
            if current.id in self._computed:
                stack.pop()
                continue
            above = [p for p in self.parents(current) if p.blocks_others]
            missing = [p for p in above if p.id not in self._computed]
            if current.id in self._entered and missing:
                # A circle of parents: each of them is blocked if any is.
                for member in self._with_open_ancestors(current):
                    circle = self._with_open_ancestors(member)
                    self._computed[member.id] = self._combined(circle, [])
                continue
            if missing:
                self._entered.add(current.id)
                stack += missing
                continue
            inherited = [self._computed[parent.id] for parent in above]
            self._computed[current.id] = self._combined([current], inherited)
        return self._computed[issue.id]

    def _combined(
        self, holders: Sequence[Issue], inherited: Sequence[_BlockedBy]
    ) -> _BlockedBy:
        """The blockers of the holders themselves, and those that were inherited."""
        task_ids: dict[str, None] = {}
        reasons: list[str] = []
        for holder in holders:
            for target_id in self._blocking_targets(holder):
                reason = self._reason_besides_a_task(target_id)
                if reason is None:
                    task_ids[target_id] = None
                elif reason:
                    reasons.append(reason)
            reasons += self._unmet_conditions(holder)
        if not task_ids and not reasons and len(inherited) == 1:
            # Most issues add nothing, and share the object.
            return inherited[0]
        for blockers in inherited:
            task_ids.update(dict.fromkeys(blockers.task_ids))
            reasons += [blockers.reason] if blockers.reason else []
        return _BlockedBy(tuple(task_ids), reasons[0] if reasons else None)

    def parents(self, issue: Issue) -> list[Issue]:
        """The issues that it is a child of."""
        ids = issue.targets.get(PARENT, ())
        return [
            self._issues[parent_id] for parent_id in ids if parent_id in self._issues
        ]

    def _with_open_ancestors(self, issue: Issue) -> list[Issue]:
        """The issue and the open issues above it, whose blockers also block it."""
        reached = {issue.id: issue}
        queue = [issue]
        while queue:
            for parent in self.parents(queue.pop()):
                if parent.id not in reached and parent.blocks_others:
                    reached[parent.id] = parent
                    queue.append(parent)
        return list(reached.values())

    def _blocking_targets(self, issue: Issue) -> Iterator[str]:
        """The targets of the issue's own `blocks` and `waits-for` dependencies."""
        yield from issue.targets.get(BLOCKS, ())
        for target_id in issue.targets.get(WAITS_FOR, ()):
            children = self._children.get(target_id, ())
            is_any = target_id in issue.waits_for_any_child
            if is_any and any(child.closed for child in children):
                continue
            for child in children:
                yield child.id

    def _reason_besides_a_task(self, target_id: str) -> str | None:
        """None if the id is a task's to wait for; "" if there is nothing to wait for.

        Otherwise why no task of the plan can satisfy it.
        """
        if target_id.startswith(EXTERNAL):
            return f"it waits for another project: {target_id}"
        target = self._issues.get(target_id)
        if target is None:
            # It is left out, with the nearest id.
            return None
        # A closed task stays a dependency, so that the graph shows it.
        if not target.blocks_others and (target.ignored_as or not target.closed):
            return ""
        if target.ignored_as is None:
            return None
        reason = f"it waits for {target_id} ({target.ignored_as}), which is open"
        if target.issue_type in CONTAINER_TYPES:
            reason += f"; once it is done:  bd close {target_id}"
        return reason

    def _unmet_conditions(self, issue: Issue) -> Iterator[str]:
        """The reasons why `conditional-blocks` hold up the issue."""
        for target_id in issue.targets.get(CONDITIONAL, ()):
            target = self._issues.get(target_id)
            if target is None or not target.closed or not _has_failed(target):
                yield f"it only runs if {target_id} fails"


def _has_failed(issue: Issue) -> bool:
    reason = issue.node.text("close_reason").casefold()
    return any(word in reason for word in FAILURE_WORDS)
