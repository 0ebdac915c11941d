"""Durations and costs as people say them: `45 s`, `19 min`, `3 h 20 min`, `$0.75`."""

from __future__ import annotations

_SECONDS_UP_TO = 90  # from here on in minutes
_MINUTES_UP_TO = 90  # from here on in hours
# What is worth a line: a saving of this part of the whole, and of so many seconds.
_MIN_PART, _MIN_SECONDS = 0.1, 30.0


def rough_time(seconds: float) -> str:
    """The duration in its largest units, rounded."""
    number, unit = _in_unit(seconds)
    if unit != "h":
        return f"{number} {unit}"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def cost(cost_usd: float | None) -> str:
    """E.g. `$0.75`; "" if unknown."""
    return "" if cost_usd is None else f"${cost_usd:.2f}"


def rough_change(before: float, after: float) -> str:
    """Two durations with their unit once where they share it: `42 → 19 min`."""
    number, unit = _in_unit(before)
    if rough_time(before) == rough_time(after):
        return rough_time(after)
    if unit != "h" and unit == _in_unit(after)[1]:
        return f"{number} → {rough_time(after)}"
    return f"{rough_time(before)} → {rough_time(after)}"


def rough_saving(before: float, after: float) -> str:
    """The same in words: `about 19 min instead of 42`."""
    number, unit = _in_unit(before)
    if unit != "h" and unit == _in_unit(after)[1]:
        return f"about {rough_time(after)} instead of {number}"
    return f"about {rough_time(after)} instead of {rough_time(before)}"


def is_worth_a_line(saved: float, whole: float) -> bool:
    """Whether a saving of so many seconds is told of what takes `whole` seconds."""
    return saved >= max(_MIN_PART * whole, _MIN_SECONDS)


def _in_unit(seconds: float) -> tuple[int, str]:
    if round(seconds) < _SECONDS_UP_TO:
        return round(seconds), "s"
    minutes = round(round(seconds) / 60)
    if minutes < _MINUTES_UP_TO:
        return minutes, "min"
    return round(minutes / 60), "h"
