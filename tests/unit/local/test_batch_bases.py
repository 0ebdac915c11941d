"""Which work is in a batch's base, and which attempts are ended when it is sent back."""

from __future__ import annotations

from runner.core.manifest import Manifest
from runner.local.batch_bases import BatchBases
from runner.plan.graph import TaskGraph
from tests.support.builders import entry, manifest, task

PLAN = "tasks.yml"
A, B = task("A"), task("B")
C, D = task("C", depends_on=["A"]), task("D", depends_on=["C"])
GRAPH = TaskGraph((A, B, C, D), PLAN)
OF_A, OF_B = manifest(entry(A), round=1), manifest(entry(B), round=2)
OF_C, OF_D = manifest(entry(C), round=3), manifest(entry(D), round=4)


def merge(bases: BatchBases, *batches: Manifest) -> None:
    for batch in batches:
        bases.decide(batch, merged=True)


def test_a_base_has_what_was_merged_before_the_batch_was_chosen() -> None:
    bases = BatchBases()
    bases.add(OF_C)
    merge(bases, OF_A)
    bases.add(OF_D)
    merge(bases, OF_B)
    assert not bases.has_work_of("A", OF_C.batch)
    assert bases.has_work_of("A", OF_D.batch)
    assert not bases.has_work_of("B", OF_D.batch)
    assert not bases.has_work_of("A", "unknown")


def test_a_task_that_was_merged_again_is_in_later_bases_only() -> None:
    bases = BatchBases()
    merge(bases, OF_A)
    bases.add(OF_C)
    merge(bases, OF_A, OF_B)
    bases.add(OF_D)
    assert not bases.has_work_of("A", OF_C.batch)
    assert bases.has_work_of("A", OF_D.batch)


def test_a_task_that_was_sent_back_is_in_later_bases_only() -> None:
    bases = BatchBases()
    bases.decide(OF_A, merged=False)
    bases.add(OF_C)
    assert not bases.has_work_of("A", OF_C.batch)


def test_work_that_is_merged_later_is_in_a_base_that_was_made_of_it() -> None:
    bases = BatchBases()
    bases.add(OF_D, ["A", "B"])
    merge(bases, OF_A)
    bases.send_back(["B"], GRAPH)
    merge(bases, OF_B)  # another attempt's
    assert bases.has_work_of("A", OF_D.batch)
    assert not bases.has_work_of("B", OF_D.batch)


def test_only_attempts_at_tasks_that_need_it_are_ended() -> None:
    bases = BatchBases()
    ends, goes_on = bases.add(OF_C, ["A", "B"]), bases.add(OF_D, ["A", "B"])
    assert ends is not None
    assert goes_on is not None
    assert bases.send_back(["A", "B"], GRAPH) == [("C", "A")]
    assert ends.is_set()
    assert not goes_on.is_set()
    outdated = "it started from work on A that was sent back"
    assert bases.why_outdated(OF_C.batch) == outdated
    assert bases.why_outdated(OF_D.batch) is None
    # once
    assert bases.send_back(["A"], GRAPH) == []
    # Recorded as a commit, it may be merged again on a branch that has moved.
    bases.decide(OF_C, merged=False)
    assert bases.why_outdated(OF_C.batch) == outdated


def test_what_is_decided_or_out_of_the_plan_is_not_ended() -> None:
    bases = BatchBases()
    assert bases.add(OF_B) is None
    undecided = [bases.has_unverified_starts]
    cancel = bases.add(OF_C, ["A"])
    assert cancel is not None
    undecided.append(bases.has_unverified_starts)
    assert bases.send_back(["A"], TaskGraph((), PLAN)) == []
    merge(bases, OF_C)
    undecided.append(bases.has_unverified_starts)
    assert undecided == [False, True, False]
    assert bases.send_back(["A"], GRAPH) == []
    assert not cancel.is_set()
    assert bases.why_outdated(OF_C.batch) is None


def test_nothing_is_kept_of_a_batch_that_is_not_merged_again() -> None:
    bases = BatchBases()
    bases.add(OF_C, ["A"])
    bases.discard(OF_C.batch)
    bases.discard("unknown")
    assert len(bases) == 0
    assert not bases.has_work_of("A", OF_C.batch)
