"""Which jobs of a run start, by the rules of GitHub that act does not carry out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.github.model import JobEnd, RunModel, evaluate
from tests.support.github.workflows import Document, load

ROOT = Path(__file__).parents[2]
ROUND_JOBS = ("task", "verify", "merge", "verify-again", "merge-again")


def workflow(uses: str) -> Document:
    return load((ROOT / uses.removeprefix("$/")).read_bytes())


class Behaviour:
    """Jobs of a plan that takes `rounds` rounds. `ends` overrides how a job ends."""

    def __init__(
        self,
        rounds: int,
        ends: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        verify: bool = False,
    ) -> None:
        self.rounds = rounds
        self.ends = ends or {}
        self.verify = verify

    def __call__(self, path: str, inputs: Mapping[str, Any]) -> JobEnd:
        override = self.ends.get(path, {})
        if path == "next":
            later = int(inputs["rounds-per-run"]) - 1
            return JobEnd(outputs={"round": self._round(1, later)})
        outputs: dict[str, str] = {}
        if path.endswith(("/merge", "/merge-again")):
            outputs = self._merged(json.loads(inputs["round"]))
        end = {"outputs": outputs, **override}
        return JobEnd(**end)

    def _round(self, number: int, later: int) -> str:
        return json.dumps(
            {"number": number, "later-rounds": later, "verify": self.verify}
        )

    def _merged(self, round_: Mapping[str, Any]) -> dict[str, str]:
        number, later = round_["number"], round_["later-rounds"]
        left = number < self.rounds
        chosen = self._round(number + 1, later - 1) if left and later else ""
        return {
            "round": chosen,
            "again": "true" if left and not chosen else "false",
            "landed": "true",
            "moved": "false",
            "branch": "main",
            "commit": f"commit-{number}",
            "state": f"state-{number}",
        }


def run(behaviour: Behaviour, **inputs: Any) -> RunModel:
    model = RunModel(
        workflow,
        behaviour,
        github={"event_name": "workflow_dispatch", "repository": "o/r"},
    )
    model.run(workflow(".github/workflows/fanin.yml"), inputs)
    return model


def paths(model: RunModel) -> list[str]:
    """The jobs that started, but `report`, which changes nothing."""
    return [path for path in model.paths if path != "report"]


def depth(model: RunModel) -> int:
    """How many of these started one after the other."""
    return max(job.depth for job in model.started if job.path != "report")


def jobs_of(*rounds: int, jobs: tuple[str, ...] = ("task", "merge")) -> list[str]:
    return [f"round-{number}/{job}" for number in rounds for job in jobs]


@pytest.mark.parametrize(
    ("verify", "jobs"),
    [(False, ("task", "merge")), (True, ("task", "verify", "merge"))],
)
def test_a_round_is_two_jobs_in_a_row_and_three_with_verify(
    verify: bool, jobs: tuple[str, ...]
) -> None:
    for rounds in range(1, 6):
        model = run(Behaviour(rounds, verify=verify))
        numbers = range(1, rounds + 1)
        assert paths(model) == ["next", *jobs_of(*numbers, jobs=jobs)]
        assert depth(model) == 1 + len(jobs) * rounds


def test_the_sixth_round_is_in_the_run_that_continue_starts() -> None:
    model = run(Behaviour(6))
    assert paths(model) == ["next", *jobs_of(1, 2, 3, 4, 5), "continue"]
    assert depth(model) == 1 + 2 * 5 + 1


@pytest.mark.parametrize("rounds", [1, 3])
def test_rounds_per_run_limits_the_rounds_of_one_run(rounds: int) -> None:
    model = run(Behaviour(6), **{"rounds-per-run": str(rounds)})
    assert paths(model) == ["next", *jobs_of(*range(1, rounds + 1)), "continue"]


@pytest.mark.parametrize("path", ["round-2/task", "round-2/merge"])
@pytest.mark.parametrize("rounds", [4, 9])
def test_after_a_cancel_no_later_round_starts_and_what_finished_lands(
    path: str, rounds: int
) -> None:
    model = run(Behaviour(rounds, {path: {"cancels": True}}))
    assert paths(model) == ["next", *jobs_of(1, 2)]
    assert model.result("round-2/merge") == "success"


def test_after_a_cancel_nothing_is_verified_and_merge_can_say_so() -> None:
    model = run(Behaviour(4, {"round-1/task": {"cancels": True}}, verify=True))
    assert paths(model) == ["next", "round-1/task", "round-1/merge"]
    assert model.result("round-1/task") == "cancelled"


def test_a_cancel_during_verify_ends_it_and_merge_runs() -> None:
    model = run(Behaviour(4, {"round-1/verify": {"cancels": True}}, verify=True))
    assert model.result("round-1/verify") == "cancelled"
    assert paths(model)[-1] == "round-1/merge"


def test_a_leg_over_its_time_limit_stops_neither_verify_nor_the_rounds() -> None:
    late = {"result": "cancelled"}
    model = run(Behaviour(2, {"round-1/task": late}, verify=True))
    every = ("task", "verify", "merge")
    assert paths(model) == ["next", *jobs_of(1, 2, jobs=every)]


@pytest.mark.parametrize("job", ["task", "verify", "merge"])
def test_a_red_job_that_left_its_outputs_does_not_stop_the_later_rounds(
    job: str,
) -> None:
    behaviour = Behaviour(3, {f"round-1/{job}": {"result": "failure"}}, verify=True)
    assert paths(run(behaviour))[-1] == "round-3/merge"


def test_a_merge_that_left_no_outputs_ends_the_run() -> None:
    broken = {"result": "failure", "outputs": {}}
    model = run(Behaviour(9, {"round-3/merge": broken}))
    assert paths(model) == ["next", *jobs_of(1, 2, 3)]


def test_a_branch_that_moved_is_verified_again_before_the_next_round() -> None:
    moved = {"outputs": {"moved": "true"}}
    model = run(Behaviour(2, {"round-1/merge": moved}, verify=True))
    second = jobs_of(2, jobs=("task", "verify", "merge"))
    assert paths(model) == ["next", *jobs_of(1, jobs=ROUND_JOBS), *second]


def test_the_outputs_are_those_of_the_last_round_that_ran() -> None:
    model = RunModel(workflow, Behaviour(3), github={"event_name": "push"})
    outputs = model.run(workflow(".github/workflows/fanin.yml"), {})
    assert outputs["commit"] == "commit-3"


def test_own_workflows_are_started_once_after_the_last_round() -> None:
    model = run(Behaviour(2), **{"trigger-workflows": "ci.yml"})
    assert paths(model) == ["next", *jobs_of(1, 2), "continue"]


def test_nothing_starts_after_a_job_next_that_chose_nothing() -> None:
    def behaviour(path: str, inputs: Mapping[str, Any]) -> JobEnd:
        return JobEnd(outputs={"round": ""})

    model = RunModel(workflow, behaviour, github={"event_name": "push"})
    model.run(workflow(".github/workflows/fanin.yml"), {})
    assert model.paths == ["next"]


@pytest.mark.parametrize("rounds", [1, 3, 9])
def test_a_report_follows_the_last_round_whether_or_not_it_was_red(rounds: int) -> None:
    red = {"round-1/merge": {"result": "failure"}}
    for ends in ({}, red):
        model = run(Behaviour(rounds, ends))
        (report,) = [job for job in model.started if job.path == "report"]
        assert report.depth == 1 + 2 * min(rounds, 5) + 1


def test_there_is_no_report_of_a_cancelled_run_or_of_nothing() -> None:
    cancelled = run(Behaviour(2, {"round-1/task": {"cancels": True}}))
    assert "report" not in cancelled.paths


# -- "Re-run failed jobs" after a cancel, in both ways to have the jobs --

OWN_JOBS = workflow("examples/own-jobs.yml")
PAIR = ["verify", "merge", "verify-again", "merge-again"]


class CancelledBeforeVerify:
    """One round, cancelled when its task jobs have ended, then run again.

    Job `merge` does what job merge of fanin does: without a verdict it is red, and in a
    re-run that left `verify` out it leaves the batch to the second verification.
    """

    def __init__(self, model: RunModel | None = None) -> None:
        self.before = model

    def __call__(self, path: str, inputs: Mapping[str, Any]) -> JobEnd:
        job = path.rpartition("/")[2]
        if job == "next":
            round_ = json.dumps({"later-rounds": 0, "verify": True})
            chosen = {"has-work": "true", "verify": "true", "round": round_}
            return JobEnd(outputs=chosen)
        if job == "task":
            return JobEnd(then_cancels=self.before is None)
        if job == "merge" and self.before is None:
            return JobEnd("failure", {"again": "false"})
        if job == "merge":
            return JobEnd(outputs={"moved": "true"})
        return JobEnd(outputs={"again": "false", "landed": "true"})


@pytest.mark.parametrize(
    ("document", "prefix"),
    [(workflow(".github/workflows/fanin.yml"), "round-1/"), (OWN_JOBS, "")],
    ids=["called", "own jobs"],
)
def test_a_rerun_after_a_cancel_verifies_what_was_not_verified(
    document: Document, prefix: str
) -> None:
    github = {"event_name": "workflow_dispatch", "repository": "o/r"}
    cancelled = RunModel(workflow, CancelledBeforeVerify(), github)
    cancelled.run(document, {})
    assert paths(cancelled) == ["next", f"{prefix}task", f"{prefix}merge"]
    again = cancelled.rerun_failed(CancelledBeforeVerify(cancelled))
    again.run(document, {})
    # GitHub leaves `verify` out: it was skipped, and all that it needs is green.
    assert paths(again) == [f"{prefix}{job}" for job in PAIR[1:]]


def test_jobs_of_ones_own_continue_after_whichever_merge_was_the_last() -> None:
    def behaviour(path: str, inputs: Mapping[str, Any]) -> JobEnd:
        outputs = {
            "next": {"has-work": "true", "verify": "true"},
            "merge": {"moved": "true"},
            "merge-again": {"again": "true"},
        }
        return JobEnd(outputs=outputs.get(path, {}))

    model = RunModel(workflow, behaviour, {"event_name": "workflow_dispatch"})
    model.run(OWN_JOBS, {})
    assert paths(model) == ["next", "task", *PAIR, "continue"]


# -- the model itself --


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'a' == 'A' && 'yes' || 'no'", "yes"),
        ("!cancelled() && needs.a.outputs.x != ''", True),
        ("needs.b.outputs.x || needs.a.outputs.x", "1"),
        ("fromJSON(needs.a.outputs.json).list[0] || 'none'", "none"),
        ("fromJSON(needs.a.outputs.json).deep.value", 7),
        ("needs.a.outputs.x > 0", True),
        ("github.missing && fromJSON('')", ""),
        ("success()", False),
        ("failure()", True),
        ("contains('abc', 'b')", True),
        ("format('{0}-{1}', 'a', needs.a.outputs.x)", "a-1"),
    ],
)
def test_expressions_have_the_values_that_github_gives_them(
    expression: str, value: object
) -> None:
    context = {
        "github": {},
        "needs": {
            "a": {
                "result": "failure",
                "outputs": {"x": "1", "json": '{"deep": {"value": 7}}'},
            },
            "b": {"result": "skipped", "outputs": {}},
        },
    }
    assert evaluate(expression, context) == value


SKIPPED_CALL = load(
    """
on: {workflow_call: {}}
jobs:
  first: {runs-on: x}
  call: {needs: first, if: "failure()", uses: inner}
  last: {needs: call, runs-on: x}
"""
)
INNER = load("on: {workflow_call: {}}\njobs: {inside: {if: always(), runs-on: x}}")


def test_a_job_inside_a_skipped_call_never_starts_and_what_needs_it_is_skipped() -> (
    None
):
    model = RunModel(lambda uses: INNER, lambda path, inputs: JobEnd())
    model.run(SKIPPED_CALL, {})
    assert paths(model) == ["first"]


CHAIN = {
    "on": {"workflow_dispatch": {}},
    "jobs": {
        "first": {"steps": []},
        "left": {"needs": "first", "if": "${{ !cancelled() }}", "steps": []},
        "red": {"needs": "first", "if": "always()", "steps": []},
        "after": {"needs": "red", "if": "always()", "steps": []},
    },
}


def test_a_rerun_of_failed_jobs_runs_them_and_all_that_need_them_and_no_other() -> None:
    def behaviour(path: str, inputs: Mapping[str, Any]) -> JobEnd:
        result = "failure" if path == "red" else "success"
        return JobEnd(result, then_cancels=path == "first")

    model = RunModel(workflow, behaviour)
    model.run(CHAIN, {})
    assert paths(model) == ["first", "red", "after"]
    again = model.rerun_failed(lambda path, inputs: JobEnd())
    again.run(CHAIN, {})
    assert paths(again) == ["red", "after"]
    assert (again.ended["first"].result, again.ended["left"].result) == (
        "success",
        "skipped",
    )
