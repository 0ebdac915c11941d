"""Inputs that an attacker would choose for core.json document take bounded time."""

from __future__ import annotations

import pytest

from runner.core import json_document
from tests.support.builders import problems


def test_too_many_values_are_refused_in_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert json_document.MAX_VALUES == 1_000_000
    monkeypatch.setattr(json_document, "MAX_VALUES", 500_000)
    text = "[" + "1,\n" * 600_000 + "1]"
    (problem,) = problems(lambda: json_document.load("x", text))
    assert problem.startswith("x:500000: more than 500,000 values; split the file")
