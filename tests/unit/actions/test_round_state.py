"""What a round hands on is checked, since anybody who may start the workflow may write
it.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.actions import round_state
from runner.actions.round_state import RoundState
from runner.actions.workflow_io import WorkflowContext
from runner.core.errors import UsageProblem

CONTEXT = WorkflowContext(
    repository="o/r",
    run_id="77",
    run_attempt=1,
    event_name="pull_request",
    ref="refs/heads/topic",
    ref_name="topic",
    head_ref="",
    workflow_ref="",
    server_url="https://github.com",
    api_url="https://api.github.com",
    token="",
    event={"pull_request": {"number": 5}},
)


def test_an_empty_state_starts_a_run() -> None:
    assert round_state.round_state(" \n", CONTEXT) == RoundState(
        run="77", pull_request=5
    )


def test_a_handed_on_state_is_read_back() -> None:
    state = RoundState(run="77", round=3, branch="b", inputs={"plan": "p.yml"})
    assert round_state.round_state(state.model_dump_json(), CONTEXT) == state


@pytest.mark.parametrize(
    ("state", "detail"),
    [
        ("{", "JSON"),
        (json.dumps({"run": "1", "slots": 0}), "greater than or equal to 1"),
        (json.dumps({"run": "1", "inputs": {"commit_via": "api"}}), "commit_via"),
        (json.dumps({"run": "../main"}), "its run is '../main'"),
        (json.dumps({"run": ""}), "its run is ''"),
    ],
)
def test_a_state_that_no_round_writes_is_refused(state: str, detail: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        round_state.round_state(state, CONTEXT)
    assert "fanin-state was not written by a previous round" in caught.value.message
    assert detail in caught.value.message
    assert caught.value.advice == "leave this input empty; fanin fills it in"


def test_later_rounds_keep_the_inputs_of_the_first() -> None:
    environ = {"FANIN_PLAN": "given.yml", "FANIN_VERIFY": "", "FANIN_TOKEN": "t"}
    first = round_state.first_round_inputs(environ, RoundState(run="77"))
    assert first == {"plan": "given.yml"}
    later = RoundState(run="77", inputs={"plan": "first.yml"})
    inputs = round_state.first_round_inputs(environ, later)
    assert inputs == {"plan": "first.yml"}
    assert round_state.with_inputs(environ, inputs)["FANIN_PLAN"] == "first.yml"


def test_a_missing_or_damaged_manifest_is_refused_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    with pytest.raises(UsageProblem, match=r"no batch manifest at .*manifest.json"):
        round_state.read_manifest(path, "")
    path.write_text("{}")
    with pytest.raises(UsageProblem, match=r"manifest.json is not a valid batch"):
        round_state.read_manifest(path, "")


def test_only_the_latest_rounds_are_remembered_as_merged() -> None:
    state = RoundState(run="77")
    for number in range(1, 2 * round_state.MERGED_ROUNDS):
        merged = state.with_merged("77", number, 1)
        state = state.model_copy(update={"merged": merged})
    assert len(state.merged) == round_state.MERGED_ROUNDS
    assert state.merged_by("77", 1) == 0
    oldest, *_, latest = state.merged
    # Merged again, a round is the latest one.
    github_run, round_ = oldest.split(".")
    again = state.with_merged(github_run, int(round_), 2)
    assert list(again)[-2:] == [latest, oldest]
    assert again[oldest] == 2
