"""A fixture of every test in a module that imports it: a checkout is captured as a small
one is and as a large one is, and nothing else may be different.
"""

from __future__ import annotations

import pytest

from runner.attempt import capture


@pytest.fixture(autouse=True, params=["small", "large"])
def capture_way(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    if request.param == "large":
        monkeypatch.setattr(capture, "_MAX_MEASURED_INDEX", 0)
