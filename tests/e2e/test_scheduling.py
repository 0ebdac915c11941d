"""Rules of GitHub's scheduler, which act does not have, and what they do to the shipped
callers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.github import evaluation, workflows
from tests.support.github.scheduling import ScheduledRun, Scheduler, State
from tests.support.github.workflows import Document, WorkflowError

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name: str) -> Document:
    return workflows.load((EXAMPLES / name).read_bytes())


def document(concurrency: object, **on: Any) -> Document:
    return {"on": on or {"push": {}}, "concurrency": concurrency, "jobs": {}}


# -- expressions --


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("'a' && 'b' || 'c'", "b"),
        ("'' && 'b' || 'c'", "c"),
        ("!github.empty", True),
        ("github.name == 'MAIN'", True),
        ("null == 0", True),
        ("'x' != 'y'", True),
        ("fromJSON(github.json).a.b", 1),
        ("fromJSON(github.json).none.b || 'no'", "no"),
        ("contains(github.labels.*.name, 'Fanin')", True),
        ("contains(github.labels.*.name, 'other')", False),
        ("format('{0}-{1}', 'it''s', github.name)", "it's-main"),
        ("startsWith('refs/tags/x', 'refs/tags/')", True),
        ("github['name']", "main"),
    ],
)
def test_expressions_have_githubs_values(expression: str, value: object) -> None:
    github = {
        "name": "main",
        "json": '{"a": {"b": 1}}',
        "labels": [{"name": "fanin"}],
        "empty": "",
    }
    assert evaluation.evaluate(expression, {"github": github}) == value


# -- concurrency groups --


def test_a_run_without_a_group_starts_at_once() -> None:
    scheduler = Scheduler()
    plain: Document = {"on": "push", "jobs": {}}
    for _ in range(3):
        scheduler.happen(plain, "push")
    assert len(scheduler.running) == 3


def states(scheduler: Scheduler) -> list[State]:
    return [run.state for run in scheduler.runs]


def test_a_pending_run_is_replaced_by_the_next_one() -> None:
    scheduler = Scheduler()
    for _ in range(3):
        scheduler.happen(document("g"), "push")
    assert states(scheduler) == [State.RUNNING, State.CANCELLED, State.PENDING]


def test_the_group_is_claimed_before_the_if_of_any_job() -> None:
    scheduler = Scheduler()
    never = document("g")
    never["jobs"] = {"x": {"if": "false", "steps": []}}
    for _ in range(2):
        scheduler.happen(document("g"), "push")
    scheduler.happen(never, "push")
    assert states(scheduler) == [State.RUNNING, State.CANCELLED, State.PENDING]


def test_queue_max_keeps_pending_runs_in_order() -> None:
    scheduler = Scheduler()
    keeping = document({"group": "g", "queue": "max"})
    first, second, third = (scheduler.happen(keeping, "push") for _ in range(3))
    assert states(scheduler) == [State.RUNNING, State.PENDING, State.PENDING]
    assert first
    assert second
    assert third
    scheduler.finish(first)
    assert scheduler.running == [second]
    scheduler.finish(second)
    assert scheduler.running == [third]


def test_a_full_queue_cancels_the_run_that_comes() -> None:
    scheduler = Scheduler()
    keeping = document({"group": "g", "queue": "max"})
    for _ in range(102):
        scheduler.happen(keeping, "push")
    assert states(scheduler).count(State.PENDING) == 100
    assert states(scheduler)[-1] is State.CANCELLED


def test_names_of_groups_have_no_case() -> None:
    scheduler = Scheduler()
    scheduler.happen(document("Prod"), "push")
    scheduler.happen(document("prod"), "push")
    assert states(scheduler) == [State.RUNNING, State.PENDING]


def test_cancel_in_progress_cancels_the_running_one() -> None:
    scheduler = Scheduler()
    cancelling = document({"group": "g", "cancel-in-progress": True})
    scheduler.happen(cancelling, "push")
    scheduler.happen(cancelling, "push")
    assert states(scheduler) == [State.CANCELLED, State.RUNNING]


@pytest.mark.parametrize(
    ("concurrency", "words"),
    [
        ({"group": "g", "queue": "max", "cancel-in-progress": True}, "exclude"),
        ({"group": "g", "queue": "all"}, "Unexpected value 'all'"),
        ("${{ env.X }}", "Unrecognized named-value: 'env'"),
        ("${{ needs.a.outputs.b }}", "Unrecognized named-value: 'needs'"),
    ],
)
def test_a_file_with_such_a_group_is_refused(concurrency: object, words: str) -> None:
    with pytest.raises(WorkflowError, match=words):
        Scheduler().happen(document(concurrency), "push")


# -- events --


@pytest.mark.parametrize(
    ("event", "action", "runs"),
    [
        ("issues", "labeled", True),
        ("issues", "opened", False),
        ("pull_request", "synchronize", True),
        ("pull_request", "labeled", False),
        ("push", None, False),
    ],
)
def test_an_event_makes_a_run_if_its_type_is_listed(
    event: str, action: str | None, runs: bool
) -> None:
    on = {"issues": {"types": ["labeled"]}, "pull_request": None}
    made = Scheduler().happen(document("g", **on), event, {"event": {"action": action}})
    assert (made is not None) is runs


@pytest.mark.parametrize(
    ("event", "action", "state"),
    [
        ("push", None, None),
        ("issues", "labeled", None),
        ("pull_request", "labeled", None),
        ("pull_request", "synchronize", State.APPROVAL),
        ("pull_request", "opened", State.APPROVAL),
        ("workflow_dispatch", None, State.RUNNING),
    ],
)
def test_what_github_token_does_starts_little(
    event: str, action: str | None, state: State | None
) -> None:
    on = {
        "push": None,
        "issues": None,
        "pull_request": {"types": ["opened", "synchronize", "labeled"]},
        "workflow_dispatch": None,
    }
    made = Scheduler().happen(
        document("g", **on), event, {"event": {"action": action}}, by_github_token=True
    )
    assert (made and made.state) == state


def test_an_approved_run_queues_as_any_other() -> None:
    scheduler = Scheduler()
    pushes = document("g", pull_request=None)
    payload = {"event": {"action": "synchronize"}}
    scheduler.happen(pushes, "pull_request", payload)
    waiting = scheduler.happen(pushes, "pull_request", payload, by_github_token=True)
    assert waiting
    scheduler.approve(waiting)
    assert states(scheduler) == [State.RUNNING, State.PENDING]


# -- the shipped callers --


def press(
    scheduler: Scheduler, name: str, inputs: Mapping[str, str] | None = None
) -> ScheduledRun:
    run = scheduler.happen(
        example(name), "workflow_dispatch", {"ref_name": "main"}, inputs
    )
    assert run
    return run


def state_of(**inputs: str) -> str:
    return json.dumps({"run": "1", "round": 6, "inputs": inputs})


def test_labels_do_not_evict_the_next_round_of_issues() -> None:
    scheduler = Scheduler()
    first = press(scheduler, "issues.yml")
    following = press(scheduler, "issues.yml", {"fanin-state": state_of()})
    payload = {"ref_name": "main", "event": {"action": "labeled", "label": {}}}
    for _ in range(20):
        scheduler.happen(example("issues.yml"), "issues", payload)
    scheduler.finish(first)
    assert scheduler.running == [following]
    assert State.CANCELLED not in states(scheduler)


def test_the_next_round_waits_in_the_group_of_its_own_plan() -> None:
    scheduler = Scheduler()
    first = press(scheduler, "dispatch.yml", {"plan": "b.yml"})
    press(scheduler, "dispatch.yml", {"plan": "tasks.yml"})
    following = press(
        scheduler, "dispatch.yml", {"fanin-state": state_of(plan="b.yml")}
    )
    assert states(scheduler) == [State.RUNNING, State.RUNNING, State.PENDING]
    scheduler.finish(first)
    assert following.state is State.RUNNING


def test_callers_of_the_same_plan_on_a_branch_share_a_group() -> None:
    scheduler = Scheduler()
    first = press(scheduler, "dispatch.yml")
    payload = {
        "ref_name": "7/merge",
        "head_ref": "main",
        "event": {"action": "labeled"},
    }
    pull = scheduler.happen(example("pull-request.yml"), "pull_request", payload)
    issues = press(scheduler, "issues.yml")
    assert pull
    assert pull.group == first.group != issues.group
    following = press(scheduler, "pull-request.yml", {"fanin-state": state_of(plan="")})
    assert following.group == first.group
