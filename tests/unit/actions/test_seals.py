"""A result is refused only where GitHub's list of jobs says that another job made it."""

from __future__ import annotations

import sys

import pytest

from runner.actions.seals import Seals, seal_check
from runner.actions.workflow_io import JobIO
from runner.core.errors import EnvironmentBroken
from runner.core.result_folder import accept_any_seal
from runner.github_api.client import Job
from tests.support.builders import entry, task

GOOD, OTHER = "0" * 32, "f" * 32
A, B = entry(task("a")), entry(task("b"), index=1)


def job(name: str, *seals: str, has_ended: bool = True) -> Job:
    steps = [f"Upload result {seal}" for seal in seals]
    return Job(name, has_ended, ("Set up job", *steps, "Upload result "))


def refused(*jobs: Job) -> bool:
    """Whether a's result with the seal GOOD is refused."""
    return Seals.of([A, B], jobs).refusal(A, GOOD) is not None


@pytest.mark.parametrize("name", ["task a", "fanin / task a", "x / round-2 / task a"])
def test_a_result_counts_with_the_seal_of_its_tasks_job(name: str) -> None:
    assert not refused(job(name, GOOD))
    assert refused(job(name, OTHER))


def test_every_run_attempt_and_round_of_a_job_may_have_given_the_seal() -> None:
    assert not refused(job("1 / task a", OTHER), job("2 / task a", GOOD, OTHER))


def test_the_seal_of_another_tasks_job_does_not_count() -> None:
    assert refused(job("task a"), job("task b", GOOD))
    assert refused(job("task a", OTHER), job("task b", GOOD), job("merge", GOOD))


@pytest.mark.parametrize(
    "jobs",
    [
        [],
        # the workflow names no step
        [job("task a"), job("task b")],
        # the jobs have other names
        [job("agents (a)"), job("task b", OTHER)],
        # what GitHub knows of the job is not complete yet
        [job("task a", has_ended=False), job("task b", OTHER)],
    ],
)
def test_without_evidence_a_result_is_taken_as_it_is(jobs: list[Job]) -> None:
    assert not refused(*jobs)


def test_an_id_that_ends_like_another_tasks_job_is_told_from_it() -> None:
    long = entry(task("x / task a"), index=1)
    seals = Seals.of([A, long], [job("task x / task a", GOOD), job("task a", OTHER)])
    assert seals.refusal(A, GOOD) is not None
    assert seals.refusal(long, GOOD) is None


def test_a_list_that_cannot_be_read_refuses_nothing_and_is_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> list[Job]:
        raise EnvironmentBroken("GitHub does not answer")

    assert seal_check([A], fail, JobIO({}, sys.stdout)) is accept_any_seal
    assert "::warning title=fanin::" in capsys.readouterr().out
