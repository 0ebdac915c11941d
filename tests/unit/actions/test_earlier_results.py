"""Which artifacts of earlier run attempts a re-run downloads."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from runner.actions import earlier_results
from runner.actions.earlier_results import (
    AT_ONCE,
    STEPS,
    choose_earlier,
    missing_entries,
)
from runner.core import result_folder
from runner.core.result_folder import Checks
from runner.github_api.client import Artifact
from runner.plan.progress import Progress
from runner.repo.repository import Repository
from tests.support.builders import entry, manifest, result

MOST_TASKS = 256


def artifact(name: str, number: int = 1, *, expired: bool = False) -> Artifact:
    return Artifact(number, name, expired)


def test_results_of_earlier_run_attempts_are_chosen_the_newest_first() -> None:
    old, newer, this = (artifact(f"fanin-7.1-000-a1-r{n}", n) for n in (2, 10, 11))
    chosen = choose_earlier([old, this, newer], "7.1", [entry()], 11)
    assert chosen == [newer, old]


def test_results_of_other_tasks_attempts_and_batches_are_not_chosen() -> None:
    others = [
        artifact("fanin-7.1-001-a1-r1"),
        artifact("fanin-7.1-000-a2-r1"),
        artifact("fanin-7.11-000-a1-r1"),
        artifact("fanin-7.1-manifest-r1"),
        artifact("fanin-7.1-000-a1-r1-more"),
        artifact("fanin-7.1-000-a1-r1", expired=True),
    ]
    assert choose_earlier(others, "7.1", [entry()], 2) == []


def test_a_result_that_another_job_uploaded_stands_for_no_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        earlier_results, "read_progress", lambda *_: Progress("tasks.yml")
    )
    one = entry()
    batch = manifest(one)
    name = result_folder.artifact_name(batch.batch, one.folder, one.attempt, 2)
    (tmp_path / name).mkdir()
    result_folder.finish(tmp_path / name, result(batch, one))
    repository = cast("Repository", None)
    forged = Checks(refuse_seal=lambda *_: "another job's", are_artifacts=True)
    assert missing_entries(repository, batch, tmp_path, Checks()) == []
    assert missing_entries(repository, batch, tmp_path, forged) == [one]


def test_the_steps_of_the_action_take_the_results_of_a_whole_batch() -> None:
    assert AT_ONCE < 100
    assert AT_ONCE * STEPS >= MOST_TASKS
