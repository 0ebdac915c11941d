"""The outputs of job `next` are what the workflow builds its other jobs from."""

from __future__ import annotations

import json

import pytest

from runner.actions.next_job import NextOutputs, runner_labels
from runner.actions.round_state import RoundState
from runner.core.errors import UsageProblem


@pytest.mark.parametrize(
    ("runs_on", "labels"),
    [
        ("ubuntu-latest", "ubuntu-latest"),
        (" self-hosted ", "self-hosted"),
        ("", "ubuntu-latest"),
        ('["self-hosted", "linux"]', ["self-hosted", "linux"]),
    ],
)
def test_runs_on_is_a_label_or_a_list_of_labels(
    runs_on: str, labels: str | list[str]
) -> None:
    assert runner_labels(runs_on) == labels


@pytest.mark.parametrize("runs_on", ["[", "[]", "[1]", '["a", null]', '["a"], "b"'])
def test_any_other_runs_on_is_refused_with_an_example(runs_on: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        runner_labels(runs_on)
    assert runs_on in caught.value.message
    assert "ubuntu-latest" in caught.value.advice


def test_without_a_batch_the_matrix_is_empty() -> None:
    outputs = NextOutputs(
        RoundState(run="77", round=2), "main", "c0ffee", 3, "ubuntu-latest", None
    ).as_mapping()
    assert outputs["has-work"] == outputs["verify"] == "false"
    assert json.loads(outputs["matrix"]) == {"include": []}
    assert (outputs["batch"], outputs["max-parallel"]) == ("77.2", "3")
    assert (outputs["branch"], outputs["base-sha"]) == ("main", "c0ffee")
