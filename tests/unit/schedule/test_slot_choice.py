"""Which task a free slot takes, and from which of the heads it starts."""

from __future__ import annotations

from collections.abc import Sequence

from runner.core.task import Status, Task
from runner.plan.snapshot import Snapshot
from runner.schedule import selection
from runner.schedule.ready_queue import ReadyQueue
from runner.schedule.slot_choice import HeadToStartFrom, SlotChoice, choose
from tests.support.builders import task
from tests.support.queue_snapshots import LIMIT, recorded, snapshot


def head(
    snapshot: Snapshot, running: Sequence[Task] = (), exited: Sequence[str] = ()
) -> HeadToStartFrom:
    queue = ReadyQueue(LIMIT)
    queue.sync(snapshot, [each.id for each in running])
    return HeadToStartFrom(snapshot, queue, running, exited)


def heads(*tasks: Task, merged: str) -> list[HeadToStartFrom]:
    """One in which that task runs and its agent has exited, and one with its work."""
    before = snapshot(*tasks)
    after = before._replace(
        progress=recorded(before.progress, merged, Status.COMPLETED)
    )
    return [head(before, [before.graph.tasks[merged]], [merged]), head(after)]


def chosen(
    heads: Sequence[HeadToStartFrom], *, prefers_last: bool = False
) -> SlotChoice:
    return choose(
        heads,
        1,
        selection.any_task,
        waits_for_merges=False,
        prefers_last=prefers_last,
    )


def test_a_task_starts_from_the_first_head_that_has_what_it_needs() -> None:
    both = heads(task("A"), task("B", depends_on=["A"]), merged="A")
    assert chosen(both) == (both[1], [both[1].snapshot.graph.tasks["B"]])
    both = heads(task("A"), task("B"), merged="A")
    assert chosen(both) == (both[0], [both[0].snapshot.graph.tasks["B"]])
    assert chosen(both, prefers_last=True).head is both[1]


def test_the_most_urgent_task_is_chosen_wherever_it_can_start() -> None:
    # B is on the longest chain, and needs A.
    plan = task("A"), task("B", depends_on=["A"]), task("C", depends_on=["B"])
    both = heads(*plan, task("D"), merged="A")
    [first] = chosen(both).tasks
    assert (first.id, chosen(both).head) == ("B", both[1])


def test_what_would_touch_the_same_files_starts_from_the_head_that_has_them() -> None:
    plan = task("A", files=["/same"]), task("B", files=["/same"])
    both = heads(*plan, merged="A")
    assert [each.id for each in chosen(both).tasks] == ["B"]
    assert chosen(both).head is both[1]


def test_nothing_starts_where_nothing_can() -> None:
    both = heads(task("A"), merged="A")
    assert chosen(both).tasks == []
    waiting = head(snapshot(task("A")), [task("A")])
    assert chosen([waiting]).tasks == []


def test_a_slot_waits_for_a_more_urgent_task_only_where_merges_are_fast() -> None:
    urgent = task("B", depends_on=["A"]), task("C", depends_on=["B"])
    one = head(snapshot(task("A"), *urgent, task("D")), [task("A")], ["A"])
    may_start = selection.any_task
    assert choose([one], 1, may_start, waits_for_merges=True).tasks == []
    [started] = choose([one], 1, may_start, waits_for_merges=False).tasks
    assert started.id == "D"
