"""After a cancel job `merge` has five minutes, so it must not wait longer for news."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.actions.batch_choice import ChoiceOptions
from runner.actions.merge_inputs import MergeOptions

_MINUTES_AFTER_A_CANCEL = 5


@pytest.mark.parametrize(
    ("task_result", "verify_result", "cancelled"),
    [
        ("success", "success", False),
        ("failure", "failure", False),
        ("cancelled", "success", True),
        ("success", "cancelled", True),
    ],
)
def test_waiting_for_githubs_api_ends_in_time(
    task_result: str, verify_result: str, cancelled: bool
) -> None:
    options = MergeOptions(
        ChoiceOptions(Path("manifest.json")),
        task_result=task_result,
        verify_result=verify_result,
    )
    assert options.cancelled == cancelled
    ends_in_time = options.api_wait_seconds < _MINUTES_AFTER_A_CANCEL * 60 / 2
    assert ends_in_time == cancelled
