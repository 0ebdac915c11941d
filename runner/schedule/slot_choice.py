"""Chooses the task that a free slot takes, and the head that it starts from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from runner.core.task import Task
    from runner.plan.snapshot import Snapshot
    from runner.schedule.ready_queue import ReadyQueue
    from runner.schedule.selection import MayStart


class HeadToStartFrom(NamedTuple):
    """A head, its ready tasks, and the tasks `running` whose work is not in it.

    `exited` are the ids of those of them whose agent uses no slot any more.
    """

    snapshot: Snapshot
    queue: ReadyQueue
    running: Sequence[Task]
    exited: Sequence[str]

    def pick(
        self, slots: int, may_start: MayStart, *, waits_for_merges: bool
    ) -> list[Task]:
        """The task that starts now, as a list of one, or [].

        `waits_for_merges`: a slot waits for a more urgent task that the result of one
        whose agent has exited is about to make ready.
        """
        exited = self.exited
        if not waits_for_merges:
            slots, exited = slots + len(exited), ()
        return self.queue.pick_for_slot(slots, self.running, exited, may_start)


class SlotChoice(NamedTuple):
    """The task that starts, as a list of one or [], and its head."""

    head: HeadToStartFrom
    tasks: list[Task]


def choose(
    heads: Sequence[HeadToStartFrom],
    slots: int,
    may_start: MayStart,
    *,
    waits_for_merges: bool,
    prefers_last: bool = False,
) -> SlotChoice:
    """The most urgent task, and the first of the heads that it can start from, or, if
    that is preferred, the last one.

    Each head has all the work of those before it. The first is verified: the others are
    for tasks that need more.
    """
    choices = [
        SlotChoice(head, head.pick(slots, may_start, waits_for_merges=waits_for_merges))
        for head in heads
    ]
    last = choices[-1]
    if prefers_last:
        return last
    # The last head has all tasks that another one has.
    return next(each for each in choices if each.tasks == last.tasks)
