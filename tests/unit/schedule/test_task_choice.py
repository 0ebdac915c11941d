"""Naming the tasks of a run: which may start, and what is refused."""

from __future__ import annotations

import pytest

from runner.core.errors import UsageProblem
from runner.core.result import Failure, FailureKind
from runner.core.task import Standing, Status
from runner.plan.snapshot import Snapshot
from runner.schedule.ready_queue import ReadyQueue
from runner.schedule.task_choice import (
    EVERY_TASK,
    NamedTasks,
    TaskChoice,
    TasksForPerson,
    approval_needed,
)
from tests.support.builders import task
from tests.support.queue_snapshots import LIMIT, recorded, snapshot


def _plan(completed: str = "") -> Snapshot:
    """A → B → C, and D that depends on nothing."""
    head = snapshot(
        task("A"),
        task("B", depends_on=("A",)),
        task("C", depends_on=("B",)),
        task("D"),
    )
    progress = head.progress
    for task_id in completed:
        progress = recorded(progress, task_id, Status.COMPLETED)
    return Snapshot(head.commit, head.plan, head.graph, progress)


@pytest.mark.parametrize(
    ("ids", "until", "completed", "chosen"),
    [
        ("", "", "", None),
        ("D", "", "", {"D"}),
        ("AD", "", "", {"A", "D"}),
        ("AB", "", "", {"A", "B"}),
        ("B", "", "A", {"B"}),
        ("", "B", "", {"A", "B"}),
        ("", "C", "A", {"A", "B", "C"}),
        ("D", "B", "", {"A", "B", "D"}),
        ("A", "", "A", {"A"}),  # nothing to do, and no error
    ],
)
def test_the_named_tasks_may_start(
    ids: str, until: str, completed: str, chosen: set[str] | None
) -> None:
    choice = NamedTasks(tuple(ids), tuple(until)).choice(_plan(completed), LIMIT)
    assert choice.ids == chosen


def test_a_task_whose_dependency_is_open_is_refused_with_the_flag_that_runs_both() -> (
    None
):
    with pytest.raises(UsageProblem) as refused:
        NamedTasks(("C",)).choice(_plan("A"), LIMIT)
    assert refused.value.message == "C depends on B, which is not completed"
    assert refused.value.advice == "to run that too:  fanin run --until C"


def test_an_unknown_id_is_refused_with_the_nearest_one() -> None:
    head = snapshot(task("login"))
    with pytest.raises(UsageProblem, match="there is no task logim"):
        NamedTasks(("logim",)).choice(head, LIMIT)


def test_a_task_that_will_not_run_again_is_refused() -> None:
    head = _plan()
    skipped = head.progress.with_skip(head.graph.tasks["D"], satisfied=False)
    head = Snapshot(head.commit, head.plan, head.graph, skipped)
    with pytest.raises(UsageProblem) as refused:
        NamedTasks(("D",)).choice(head, LIMIT)
    assert refused.value.message == "D failed for good or was skipped"
    assert refused.value.advice == "to grant another attempt:  fanin retry D"


def test_an_open_task_that_was_not_named_counts_as_stuck() -> None:
    choice = NamedTasks(until=("B",)).choice(_plan("A"), LIMIT)
    standings = choice.standings(_plan("A"), LIMIT)
    assert standings == {
        "A": Standing.COMPLETED,
        "B": Standing.OPEN,
        "C": Standing.STUCK,
        "D": Standing.STUCK,
    }


def test_the_ready_queue_holds_chosen_tasks_only() -> None:
    head = _plan()
    queue = ReadyQueue(LIMIT, NamedTasks(until=("B",)).choice(head, LIMIT))
    queue.sync(head, [])
    assert [picked.id for picked in queue.pick(9, [])] == ["A"]
    assert queue.waiting == 2


def test_at_a_gate_nothing_is_chosen_and_the_rest_of_the_graph_goes_on() -> None:
    head = snapshot(
        task("A", gate=True),
        task("B", depends_on=("A",)),
        task("C"),
        task("D", depends_on=("C",), gate=True),
    )
    queue = ReadyQueue(LIMIT)
    queue.sync(head, running=())
    assert [each.id for each in queue.pick_batch(4)] == ["C"]
    assert EVERY_TASK.for_person(head, LIMIT).gated == ("A",)
    assert not TaskChoice(frozenset("BC")).for_person(head, LIMIT)
    done = recorded(head.progress, "C", Status.COMPLETED)
    later = Snapshot(head.commit, head.plan, head.graph, done)
    assert EVERY_TASK.for_person(later, LIMIT).gated == ("A", "D")


def test_a_task_that_asks_waits_and_the_rest_of_the_graph_goes_on() -> None:
    head = snapshot(task("A"), task("B", depends_on=("A",)), task("C"))
    question = Failure(kind=FailureKind.QUESTION, message="Which one?")
    asked = head.progress.after_failure(head.graph.tasks["A"], 1, question, None)
    head = Snapshot(head.commit, head.plan, head.graph, asked)
    queue = ReadyQueue(LIMIT)
    queue.sync(head, running=())
    assert [each.id for each in queue.pick_batch(4)] == ["C"]
    for_person = EVERY_TASK.for_person(head, LIMIT)
    assert (for_person.asking, for_person.gated) == (("A",), ())
    assert for_person.sentences == ('A asks a question; to answer:  fanin reply A "…"',)
    several = TasksForPerson(gated=("G",), asking=("a b", "C"))
    assert several.sentences[0] == (
        "a b, C ask a question; to answer one:  fanin reply 'a b' \"…\""
    )
    assert several.sentences[1].startswith("G waits for approval")


def test_the_sentence_on_gates_has_the_command() -> None:
    assert approval_needed(["a b"]) == (
        "a b waits for approval; to let it start:  fanin approve 'a b'"
    )
    many = approval_needed([f"T{number}" for number in range(7)])
    assert many.startswith("T0, T1, T2, T3, T4 and 2 more wait for approval; to let ")
    assert many.endswith("them start:  fanin approve T0 T1 T2 T3 T4")
