"""The run that the progress file keeps: what goes on with it and what starts nothing.

The jobs are real processes; tests/support/github/scheduling.py decides in which order
GitHub would run them, from the shipped workflow.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.github import workflows
from tests.support.github.scheduling import ScheduledRun, Scheduler, State
from tests.support.jobs import ROOT, Job, Jobs
from tests.support.project import Project

ISSUES = workflows.load((ROOT / "examples/issues.yml").read_bytes())


@pytest.fixture
def jobs(project: Project, tmp_path: Path) -> Jobs:
    (tmp_path / "actions").mkdir()
    return Jobs(project, tmp_path / "actions")


def costing(count: int, usd: float) -> list[dict[str, Any]]:
    report = json.dumps({"cost_usd": usd})
    return [
        {"id": f"T{number}", "do": [f"write f{number}: x", f"report {report}"]}
        for number in range(count)
    ]


def start(jobs: Jobs, tasks: list[dict[str, Any]], **settings: Any) -> None:
    jobs.project.plan(tasks, **settings)
    jobs.publish()


def run_round(
    jobs: Jobs, meanwhile: Callable[[], None] | None = None, **env: str
) -> tuple[Job, Job | None]:
    """Job `next`, and if it has work the other jobs of its round.

    `meanwhile` happens before the batch lands.
    """
    chosen = jobs.next(**env)
    assert chosen.code in (0, 1), chosen.log
    if chosen.outputs["has-work"] != "true":
        return chosen, None
    jobs.tasks(chosen)
    if meanwhile is not None:
        meanwhile()
    merged = jobs.merge(chosen)
    assert merged.code in (0, 1), merged.log
    return chosen, merged


def following(merged: Job) -> str:
    """The state that job `continue` dispatches."""
    state = json.loads(merged.outputs["state"])
    return json.dumps({**state, "round": state["round"] + 1})


def kept_manifest(jobs: Jobs) -> dict[str, str]:
    """The environment of a job that gets the present round's manifest later on."""
    kept = jobs.folder / "kept.json"
    kept.write_bytes((jobs.folder / "manifest.json").read_bytes())
    return {"FANIN_MANIFEST": str(kept), "FANIN_LATER_ROUNDS": "4"}


def spent(jobs: Jobs) -> float:
    """What all attempts on record have cost."""
    records = json.loads(jobs.git("show", "refs/heads/main:.fanin/progress.json"))[
        "tasks"
    ]
    return sum(record.get("cost_usd") or 0.0 for record in records.values())


def recorded(jobs: Jobs) -> dict[str, Any]:
    run: dict[str, Any] = json.loads(
        jobs.git("show", "refs/heads/main:.fanin/progress.json")
    )["run"]
    return run


def test_twenty_label_events_during_a_chain_spend_no_more_than_its_limit(
    jobs: Jobs,
) -> None:
    start(jobs, costing(9, 1.0), max_concurrent=2, limits={"max_cost_usd": 5})
    scheduler = Scheduler()
    # The commit that each run's event was about, and the state it was handed.
    shas: dict[ScheduledRun, str] = {}
    states: dict[ScheduledRun, str] = {}

    def label() -> None:
        payload = {"ref_name": "main", "event": {"action": "labeled"}}
        run = scheduler.happen(ISSUES, "issues", payload)
        assert run
        shas[run] = jobs.git("rev-parse", "refs/heads/main")

    def dispatch(state: str) -> None:
        run = scheduler.happen(
            ISSUES,
            "workflow_dispatch",
            {"ref_name": "main"},
            {"fanin-state": state},
            by_github_token=True,
        )
        assert run
        shas[run] = jobs.git("rev-parse", "refs/heads/main")
        states[run] = state

    def seven_labels() -> None:
        for _ in range(7):
            if len(scheduler.runs) - len(states) < 21:
                label()

    label()
    started = 0
    while scheduler.running:
        (run,) = scheduler.running
        jobs.run_id = str(1000 + run.number)
        chosen, merged = run_round(
            jobs,
            seven_labels,
            GITHUB_SHA=shas[run],
            FANIN_STATE=states.get(run, ""),
        )
        if merged is not None:
            started += len(jobs.matrix(chosen))
            if merged.outputs["again"] == "true":
                dispatch(following(merged))
        scheduler.finish(run)
    assert len(scheduler.runs) - len(states) == 21
    assert {run.state for run in scheduler.runs} == {State.COMPLETED}
    assert (started, spent(jobs)) == (5, 5.0)
    assert recorded(jobs)["id"] == "1001"
    assert "max_cost_usd" in recorded(jobs)["ended"]


def test_a_chain_that_is_gone_is_named_and_gone_on_with(jobs: Jobs) -> None:
    start(jobs, costing(3, 1.0), max_concurrent=1, limits={"max_cost_usd": 2})
    run_round(jobs)
    assert recorded(jobs)["round"] == 1
    jobs.run_id = "5000"  # no state: the next round of run 4711 never came
    chosen, merged = run_round(jobs)
    assert "going on with run 4711, which has not ended" in chosen.log
    assert "evicted, cancelled or failed ($1.00 spent)" in chosen.log
    assert merged
    state = json.loads(merged.outputs["state"])
    assert (state["run"], state["round"], state["spent_usd"]) == ("4711", 2, 2.0)
    assert recorded(jobs)["ended"] == "$2.00 spent, limits.max_cost_usd is $2.00"
    assert recorded(jobs)["inputs"]["max_cost_usd"] == "2.0"


def test_after_the_end_a_new_run_has_limits_of_its_own(jobs: Jobs) -> None:
    start(jobs, costing(2, 1.0), max_concurrent=1, limits={"max_cost_usd": 1})
    before = jobs.git("rev-parse", "refs/heads/main")
    run_round(jobs)
    jobs.run_id = "5000"
    chosen, merged = run_round(jobs, GITHUB_SHA=before)  # asked for before the end
    assert merged is None
    assert "asked for before run 4711 ended" in chosen.log
    assert "$1.00 of $1.00 spent" in chosen.log
    _, merged = run_round(jobs)
    assert merged
    assert json.loads(merged.outputs["state"])["run"] == "5000"
    assert spent(jobs) == 2.0


def test_limits_of_rounds_hold_for_who_goes_on(jobs: Jobs) -> None:
    start(jobs, costing(3, 0.0), max_concurrent=1, limits={"max_rounds": 1})
    before = jobs.git("rev-parse", "refs/heads/main")
    run_round(jobs)
    chosen, merged = run_round(jobs, GITHUB_SHA=before, GITHUB_RUN_ID="5000")
    assert (chosen.code, merged) == (0, None)
    assert "run 4711 has had its limits.max_rounds = 1 rounds" in chosen.log


def test_a_merge_that_is_run_again_knows_what_later_rounds_have_spent(
    jobs: Jobs,
) -> None:
    start(jobs, costing(6, 1.0), max_concurrent=2, limits={"max_cost_usd": 4})
    first = jobs.next()
    jobs.task(first, "T0")  # the job of T1 dies before its agent starts
    env = {**kept_manifest(jobs), "FANIN_TASK_RESULT": "cancelled"}
    merged = jobs.merge(first, **env)
    run_round(jobs, FANIN_STATE=following(merged))
    assert (recorded(jobs)["round"], recorded(jobs)["spent_usd"]) == (2, 3.0)
    jobs.run_attempt = 2
    again = jobs.merge(first, **env)
    state = json.loads(again.outputs["state"])
    # Nothing new has been paid for, and one more attempt may be.
    assert (state["round"], state["spent_usd"]) == (2, 3.0)
    _, last = run_round(jobs, FANIN_STATE=following(again))
    assert last
    assert (recorded(jobs)["round"], recorded(jobs)["spent_usd"]) == (3, 4.0)
    assert "max_cost_usd" in recorded(jobs)["ended"]
    assert spent(jobs) == 4.0


def test_a_result_that_only_a_later_run_attempt_left_is_paid_for_once(
    jobs: Jobs,
) -> None:
    start(jobs, costing(2, 1.0), max_concurrent=2, limits={"max_cost_usd": 9})
    chosen = jobs.next()
    jobs.task(chosen, "T0")
    jobs.merge(chosen, FANIN_TASK_RESULT="cancelled")
    jobs.run_attempt = 2
    jobs.task(chosen, "T1")
    for _ in range(2):
        jobs.merge(chosen)
        assert (recorded(jobs)["round"], recorded(jobs)["spent_usd"]) == (1, 2.0)


def test_an_attempt_that_does_not_count_is_paid_for_once(jobs: Jobs) -> None:
    limited = json.dumps({"status": "rate_limited", "cost_usd": 0.5})
    start(
        jobs,
        [*costing(1, 1.0), {"id": "T1", "do": [f"report {limited}"]}],
        max_concurrent=2,
        limits={"max_cost_usd": 9},
    )
    chosen = jobs.next()
    jobs.tasks(chosen)
    for run_attempt in (1, 2):
        jobs.run_attempt = run_attempt
        merged = jobs.merge(chosen)
        state = json.loads(merged.outputs["state"])
        assert state["spent_usd"] == 1.5
        # One round met the limit, however often it is merged.
        assert (state["slots"], state["limited"]) == (1, 1)
        assert merged.outputs["again"] == "true"
    assert recorded(jobs)["spent_usd"] == 1.5


def test_the_limit_of_rounds_holds_for_a_merge_that_is_run_again(jobs: Jobs) -> None:
    start(jobs, costing(4, 0.0), max_concurrent=1, limits={"max_rounds": 2})
    first = jobs.next()
    jobs.tasks(first)
    env = kept_manifest(jobs)
    merged = jobs.merge(first, **env)
    run_round(jobs, FANIN_STATE=following(merged))
    jobs.run_attempt = 2
    again = jobs.merge(first, **env)
    assert again.outputs["round"] == ""
    # Job `continue` says which limit is reached.
    assert again.outputs["again"] == "true"
    given = {"FANIN_AGAIN": "true", "FANIN_STATE": again.outputs["state"]}
    told = jobs.job("continue", env={**given, "FANIN_MAX_ROUNDS": "2"})
    assert "limits.max_rounds allows 2 rounds" in told.log


def test_a_late_merge_of_a_replaced_run_lands_and_leaves_the_chain_to_the_other(
    jobs: Jobs,
) -> None:
    start(jobs, costing(3, 1.0), max_concurrent=1, limits={"max_cost_usd": 2})
    late = jobs.next()
    jobs.tasks(late)  # and its merge fails before anything lands
    jobs.project.plan(
        [{"id": "N", "do": ["write n: x"]}, *costing(3, 1.0)], max_concurrent=1
    )
    jobs.project.git("push", "-q", str(jobs.origin), "HEAD:main")
    env = kept_manifest(jobs)
    jobs.run_id = "5000"
    run_round(jobs)
    other = recorded(jobs)
    assert other["id"] == "5000"
    jobs.run_id = "4711"
    jobs.run_attempt = 2
    merged = jobs.merge(late, **env)
    assert jobs.states()["T0"] == "completed"
    assert (merged.outputs["again"], merged.outputs["round"]) == ("false", "")
    assert "run 5000 has landed since this round was chosen" in merged.summary
    assert recorded(jobs) == other


@pytest.mark.parametrize("command", ["merge", "continue"])
def test_a_missing_state_stops_and_never_starts_again(jobs: Jobs, command: str) -> None:
    start(jobs, costing(1, 0.0))
    chosen = jobs.next()
    jobs.tasks(chosen)
    head = jobs.git("rev-parse", "refs/heads/main")
    if command == "merge":
        done = jobs.merge(chosen, FANIN_STATE="")
    else:
        done = jobs.job("continue", env={"FANIN_AGAIN": "true", "FANIN_STATE": ""})
    assert done.code == 2
    assert "the state of the run is missing" in done.log
    assert "GitHub drops an output that contains a secret" in done.log
    assert jobs.git("rev-parse", "refs/heads/main") == head


def test_the_state_of_another_round_is_refused(jobs: Jobs) -> None:
    start(jobs, costing(1, 0.0))
    chosen = jobs.next()
    foreign = {**json.loads(chosen.outputs["state"]), "run": "1"}
    done = jobs.merge(chosen, FANIN_STATE=json.dumps(foreign))
    assert done.code == 2
    assert "the state is of round 1 of run 1" in done.log


def test_the_state_of_a_run_that_another_replaced_starts_nothing(jobs: Jobs) -> None:
    start(jobs, costing(3, 0.0), max_concurrent=1)
    _, merged = run_round(jobs)
    assert merged
    state = {**json.loads(following(merged)), "run": "1"}
    done = jobs.next(FANIN_STATE=json.dumps(state))
    assert done.code == 2
    assert "of run 1, but run 4711 has taken over" in done.log


def pull_request(jobs: Jobs, action: str) -> dict[str, str]:
    head = {"ref": "main", "sha": jobs.git("rev-parse", "refs/heads/main")}
    event = {"action": action, "pull_request": {"number": 3, "head": head}}
    file = jobs.folder / f"event-{action}.json"
    file.write_text(json.dumps(event))
    return {
        "GITHUB_EVENT_NAME": "pull_request",
        "GITHUB_EVENT_PATH": str(file),
        "GITHUB_HEAD_REF": "main",
        "GITHUB_REF": "refs/pull/3/merge",
    }


def test_a_push_of_fanins_own_starts_nothing(jobs: Jobs) -> None:
    start(jobs, costing(3, 0.0), max_concurrent=1)
    run_round(jobs)
    chosen, merged = run_round(jobs, None, **pull_request(jobs, "synchronize"))
    assert (chosen.code, merged) == (0, None)
    assert "a push of fanin's own, which starts nothing" in chosen.log
    chosen, merged = run_round(jobs, None, **pull_request(jobs, "labeled"))
    assert merged, chosen.log
    jobs.project.git("pull", "-q", str(jobs.origin), "main")
    jobs.project.write("mine", "x\n")
    jobs.project.commit("by a person")
    jobs.project.git("push", "-q", str(jobs.origin), "main")
    chosen, merged = run_round(jobs, None, **pull_request(jobs, "synchronize"))
    assert merged, chosen.log


def test_a_tag_is_refused_before_anything_is_paid(jobs: Jobs) -> None:
    start(jobs, costing(1, 0.0))
    done = jobs.next(GITHUB_REF="refs/tags/v1", GITHUB_REF_NAME="v1")
    assert done.code == 2
    assert "started on the tag v1, but work lands on a branch" in done.log
    assert "has-work" not in done.outputs


def test_a_tag_with_the_branchs_name_is_not_meant(jobs: Jobs) -> None:
    start(jobs, costing(2, 0.0), max_concurrent=1)
    jobs.git("tag", "main", "main")
    tagged = jobs.git("rev-parse", "refs/tags/main")
    run_round(jobs)
    # The tag stays where it was, and the branch moves on.
    assert jobs.git("log", "--format=%s", "refs/heads/main").startswith("T0:")
    assert jobs.git("rev-parse", "refs/tags/main") == tagged


# -- a run that waits for a usage limit --

SCHEDULE = {"GITHUB_EVENT_NAME": "schedule"}


def as_if_waited(jobs: Jobs) -> None:
    """Let the recorded wait be over, as if time had passed."""
    project = jobs.project
    project.git("pull", "-q", str(jobs.origin), "main")
    path = project.root / ".fanin/progress.json"
    progress = json.loads(path.read_text())
    run = progress["run"]
    run["waits_until"] = "2026-01-01T00:00:00.000Z"
    for limit in run["limits"].values():
        limit["until"] = limit["since"] = "2026-01-01T00:00:00.000+00:00"
    path.write_text(json.dumps(progress))
    project.commit("later")
    project.git("push", "-q", str(jobs.origin), "HEAD:main")


def test_a_run_waits_for_a_usage_limit_and_a_schedule_goes_on_with_it(
    jobs: Jobs,
) -> None:
    limited = [{"id": f"T{number}", "do": ["limit 0"]} for number in (1, 2)]
    start(jobs, [{"id": "T0", "do": ["write a: x"]}, *limited], max_concurrent=3)
    chosen, merged = run_round(jobs)
    assert merged is not None
    assert jobs.states()["T0"] == "completed"
    assert merged.outputs["again"] == "false"
    waiting = merged.outputs["waiting"]
    assert "nothing starts before" in merged.summary
    run = recorded(jobs)
    assert (run["waits_until"], run.get("ended")) == (waiting, None)
    idle = jobs.next(**SCHEDULE)
    assert (idle.code, idle.outputs["has-work"]) == (0, "false")
    assert idle.outputs["waiting"] == waiting
    assert f"a limit holds until {waiting}: nothing to do before" in idle.log
    as_if_waited(jobs)
    jobs.run_id = "5000"
    chosen = jobs.next(**SCHEDULE)
    assert [entry["task"] for entry in jobs.matrix(chosen)] == ["T1"], (
        "one agent asks whether the limit has reset"
    )
    time.sleep(1)  # times are told in seconds
    jobs.tasks(chosen)
    merged = jobs.merge(chosen)
    # It has not. Nothing landed, and the next one knows until when to wait.
    assert merged.outputs["waiting"] > waiting
    assert recorded(jobs)["waits_until"] == merged.outputs["waiting"]
    assert jobs.git("log", "-1", "--format=%s", "main") == "Record a usage limit"
    assert "T1" not in jobs.states() or jobs.states()["T1"] == "pending"


def test_a_schedule_starts_no_run_of_its_own(jobs: Jobs) -> None:
    start(jobs, costing(1, 0.0))
    idle = jobs.next(**SCHEDULE)
    assert (idle.code, idle.outputs["has-work"]) == (0, "false")
    assert "no run waits: nothing to do" in idle.log
    assert idle.outputs["waiting"] == ""
