"""A chosen batch is what the workflow builds the jobs of a round from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.actions.batch_choice import Choice, ChoiceOptions, runner_labels
from runner.actions.round_state import RoundState
from runner.core.documents import digest_of
from runner.core.errors import UsageProblem
from runner.core.manifest import Manifest
from runner.core.task import TaskSettings
from tests.support.builders import entry, manifest


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


def choice(batch: Manifest | None, **options: Any) -> Choice:
    return Choice(
        RoundState(run="77", round=2),
        "main",
        "c0ffee",
        3,
        ChoiceOptions(Path("manifest.json"), **options),
        batch,
    )


def test_without_a_batch_there_is_no_round_and_the_matrix_is_empty() -> None:
    empty = choice(None)
    assert empty.round_json() == ""
    assert empty.matrix == {"include": []}
    assert (empty.batch, empty.plain_env) == ("77.2", "")


def test_a_round_names_its_batch_its_limits_and_what_the_jobs_check_out() -> None:
    batch = manifest(entry(), run="77", verify="make", env={"A": "1", "B": "x y"})
    chosen = choice(batch, later_rounds=3, runs_on='["gpu"]', run_attempt=2)
    document = json.loads(chosen.round_json())
    assert document["batch"] == "77.2"
    assert [item["runs-on"] for item in document["matrix"]["include"]] == [["gpu"]]
    assert (document["max-parallel"], document["later-rounds"]) == (3, 3)
    assert (document["base-sha"], document["branch"]) == ("c0ffee", "main")
    assert document["verify"] is True
    assert document["env"] == "A=1\nB=x y"
    assert document["manifest-digest"] == batch.digest
    assert document["manifest-artifact"] == "fanin-77.2-manifest-r2"
    assert RoundState.model_validate_json(document["state"]) == chosen.state


def test_a_batch_chosen_by_a_job_that_was_run_again_has_a_name_of_its_own() -> None:
    first, again = (manifest(entry(), run="77", run_attempt=n) for n in (1, 2))
    assert (first.batch, again.batch) == ("77.2", "77.2.2")
    assert first.digest != again.digest


def test_the_digest_of_a_first_choice_is_as_before_fields_were_added() -> None:
    batch = manifest(entry(), tasks={"T1": TaskSettings(verify="true")})
    document = batch.model_dump(mode="json")
    del document["run_attempt"]
    (chosen,) = document["entries"]
    del chosen["start"], chosen["retry_from"], chosen["task"]["retry_from"]
    del chosen["task"]["gate"]
    del chosen["message"], chosen["questions"]
    every: dict[str, object] = {"allow": [], "files": None, "agent": None}
    every["verify"] = "true"
    document["tasks"]["T1"] = every
    del document["approve"]
    assert batch.digest == digest_of(document)
    approving = batch.model_copy(update={"approve": ("T1",)})
    assert approving.digest != batch.digest


def test_what_the_settings_give_of_a_task_is_known_to_the_next_job() -> None:
    """A field that is not given must not replace the plan's there."""
    batch = manifest(entry(), tasks={"T1": TaskSettings(verify="true")})
    back = Manifest.model_validate_json(batch.model_dump_json())
    assert back.tasks["T1"].given == {"verify": "true"}
    assert back.digest == batch.digest
