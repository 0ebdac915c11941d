from __future__ import annotations

import pytest

from runner.core.rough_time import rough_change, rough_saving, rough_time


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (89.4, "89 s"),
        (89.6, "2 min"),
        (1140, "19 min"),
        (89 * 60, "89 min"),
        (90 * 60, "1 h 30 min"),
        (7200, "2 h"),
        (7199, "2 h"),
        (360_000, "100 h"),
    ],
)
def test_a_duration_has_its_largest_units(seconds: float, text: str) -> None:
    assert rough_time(seconds) == text


@pytest.mark.parametrize(
    ("before", "after", "change", "saving"),
    [
        (2520, 1140, "42 → 19 min", "about 19 min instead of 42"),
        (60, 30, "60 → 30 s", "about 30 s instead of 60"),
        (120, 30, "2 min → 30 s", "about 30 s instead of 2 min"),
        (7200, 5400, "2 h → 1 h 30 min", "about 1 h 30 min instead of 2 h"),
        (2520, 2521, "42 min", "about 42 min instead of 42"),
    ],
)
def test_two_durations_share_a_unit(
    before: float, after: float, change: str, saving: str
) -> None:
    assert rough_change(before, after) == change
    assert rough_saving(before, after) == saving
