"""A red tree is confirmed, and a culprit gets the log that shows its fault best."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

from runner.core.result import Failure, FailureKind
from runner.fan_in.inputs import VerifyCommit, VerifyStep
from runner.fan_in.verify_runs import VerifyRuns, failure_of
from runner.repo.quarantine import Quarantine
from tests.support import builders


def red(message: str = "red") -> Failure:
    return Failure(kind=FailureKind.VERIFY, message=message)


class Command:
    """A verify command with these results, which remembers what it was asked."""

    def __init__(self, *results: Failure | None) -> None:
        self.steps: list[VerifyStep] = []
        self._results: Iterator[Failure | None] = iter(results)

    def __call__(self, step: VerifyStep) -> Failure | None:
        self.steps.append(step)
        return next(self._results)


ENDED = Failure(kind=FailureKind.INTERRUPTED, message="no longer needed")


class Trees:
    """Stands in for a quarantine: a commit's tree has the commit's name."""

    folder = Path("objects")

    def write_tree(self, base: str, changes: Mapping[str, None]) -> str:
        return f"{base} without {', '.join(changes)}"


def runs(command: Command, retries: int = 1) -> VerifyRuns:
    manifest = builders.manifest(verify="x", verify_retries=retries)
    return VerifyRuns(command, cast(Quarantine, Trees()), manifest)


def failures_of(verify: VerifyCommit) -> list[Failure | None]:
    """What is said of the trees of A and of A with B, verified at once."""
    manifest = builders.manifest(verify="x", verify_retries=0)
    checked = VerifyRuns(verify, cast(Quarantine, Trees()), manifest)
    steps = [checked.step("c", ids) for ids in (["A"], ["A", "B"])]
    return checked.failures(steps)


def test_a_failure_that_a_repetition_does_not_confirm_is_none() -> None:
    command = Command(red(), None)
    checked = runs(command)
    assert checked.failures([checked.step("c", ["A"])]) == [None]
    assert not checked.red
    assert [(step.number, step.repeated) for step in command.steps] == [
        (1, False),
        (2, True),
    ]


def test_a_confirmed_failure_is_that_of_the_first_run() -> None:
    checked = runs(Command(red("first"), red("second")))
    [failure] = checked.failures([checked.step("c", ["A", "B"])])
    assert failure is not None
    assert failure.message == "first"
    assert checked.red == {("A", "B"): failure}


def test_after_a_red_tree_each_step_bisects() -> None:
    command = Command(red(), None)
    checked = runs(command, retries=0)
    checked.failures([checked.step("c", ["A", "B"])])
    checked.failures([checked.step("d", ["A"])])
    assert [step.bisecting for step in command.steps] == [False, True]


def test_steps_that_run_at_once_have_numbers_of_their_own() -> None:
    command = Command(None, None, None)
    checked = runs(command)
    checked.failures([checked.step(commit, ["A"]) for commit in "cde"])
    assert sorted(step.number for step in command.steps) == [1, 2, 3]


def test_the_branch_alone_is_no_red_tree_of_a_task() -> None:
    checked = runs(Command(red()), retries=0)
    checked.failures([checked.step("c", [])])
    assert not checked.red


def test_the_progress_file_is_no_part_of_the_tree_that_a_verdict_is_about() -> None:
    command = Command(None)
    checked = runs(command)
    checked.failure(checked.step("c", ["A"]))
    assert command.steps[0].tree == "c without .fanin/progress.json"


def test_a_culprit_gets_the_failure_of_the_shortest_red_tree_that_ends_with_it() -> (
    None
):
    trees = {("A", "B", "C"): red("all"), ("A", "B"): red("two"), ("B",): red("B")}
    assert failure_of("B", trees, head_is_red=False).message == "B"
    # seen red only as the rest of a set
    assert failure_of("A", trees, head_is_red=False).message == "all"


def test_where_the_branch_is_red_too_no_task_is_to_blame() -> None:
    failure = failure_of("A", {("A",): red()}, head_is_red=True)
    assert failure.kind is FailureKind.BASE_RED
    assert "the branch is red without this work too" in failure.message


def test_what_is_on_top_of_a_red_tree_ends_at_once() -> None:
    def verify(step: VerifyStep) -> Failure | None:
        if step.tasks == ("A",):
            return red()
        assert step.cancel.wait(30)
        return ENDED

    first, second = failures_of(verify)
    assert first is not None
    assert first.message == "red"
    assert second is ENDED


def test_what_is_below_a_green_tree_ends_at_once() -> None:
    def verify(step: VerifyStep) -> Failure | None:
        if step.tasks == ("A", "B"):
            return None
        assert step.cancel.wait(30)
        return ENDED

    assert failures_of(verify) == [ENDED, None]


def test_a_run_that_was_ended_is_neither_repeated_nor_a_red_tree() -> None:
    command = Command(red(), ENDED)
    checked = runs(command, retries=3)
    assert checked.failures([checked.step("c", ["A"])]) == [ENDED]
    assert not checked.red
    assert len(command.steps) == 2
