"""Which attempts are ended when work is sent back that was in their base."""

from __future__ import annotations

from runner.local.unverified_starts import UnverifiedStarts
from runner.plan.graph import TaskGraph
from tests.support.builders import entry, manifest, task

PLAN = "tasks.yml"
C, D = task("C", depends_on=["A"]), task("D", depends_on=["C"])
GRAPH = TaskGraph((task("A"), task("B"), C, D), PLAN)


def test_only_attempts_at_tasks_that_need_it_are_ended() -> None:
    starts = UnverifiedStarts()
    needs_a = manifest(entry(C), round=2)
    needs_c = manifest(entry(D), round=3)
    ends = starts.add(needs_a)
    goes_on = starts.add(needs_c)
    assert starts.stop_dependents(["A", "B"], GRAPH) == [("C", "A")]
    assert ends.is_set()
    assert not goes_on.is_set()
    assert starts.why_outdated(needs_a.batch) == (
        "it started from work on A that was sent back"
    )
    assert starts.why_outdated(needs_c.batch) is None
    # once
    assert starts.stop_dependents(["A"], GRAPH) == []


def test_what_is_merged_or_out_of_the_plan_is_not_ended() -> None:
    starts = UnverifiedStarts()
    merged = manifest(entry(C))
    starts.discard("unknown")
    end = starts.add(merged)
    assert len(starts) == 1
    assert starts.stop_dependents(["A"], TaskGraph((), PLAN)) == []
    starts.discard(merged.batch)
    assert len(starts) == 0
    assert starts.stop_dependents(["A"], GRAPH) == []
    assert not end.is_set()
    assert starts.why_outdated(merged.batch) is None
