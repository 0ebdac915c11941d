"""The end of a run by batches says what the rolling schedule would have saved."""

from __future__ import annotations

from typing import Literal

import pytest
from rich.console import Console

from runner.cli.report import print_time
from runner.core.events import RunStarted
from runner.core.run_view import AttemptState, AttemptView, RunView, TaskRun
from tests.support.builders import task
from tests.support.queue_snapshots import snapshot

MINUTES = {"LONG": 19, "A": 5, "B": 23, "C": 1}


@pytest.mark.parametrize(("schedule", "is_told"), [("batch", True), ("rolling", False)])
def test_the_end_says_what_rolling_would_have_saved(
    schedule: Literal["batch", "rolling"],
    is_told: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    after = snapshot(
        task("LONG"),
        task("A"),
        task("B", depends_on=("A",)),
        task("C", depends_on=("B",)),
    )
    run = RunView()
    run.start = RunStarted(
        time="2026-01-02T03:04:05.000Z",
        run="r",
        branch="main",
        plan="p",
        tasks=4,
        schedule=schedule,
        max_concurrent=2,
    )
    for name, minutes in MINUTES.items():
        attempt = AttemptView(
            name, 1, "b", state=AttemptState.LANDED, seconds=minutes * 60.0
        )
        run.tasks[name] = TaskRun(name, attempts=[attempt])
    print_time(Console(), after, run)
    line = "rolling: about 29 min instead of 43"
    assert (line in capsys.readouterr().out.splitlines()) is is_told
