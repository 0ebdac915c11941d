"""The pull requests that a run opens."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

from runner.actions.publisher import Publisher
from runner.actions.workflow_io import JobIO


class Pulls:
    """The part of GitHub's client that opens pull requests."""

    def __init__(self) -> None:
        self.opened: list[tuple[str, ...]] = []

    def find_closed_pull(self, head: str, base: str) -> None:
        return None

    def open_pull(self, *texts: str) -> SimpleNamespace:
        self.opened.append(texts)
        return SimpleNamespace(url="https://pulls.example/1")


def test_the_texts_of_a_pull_request_are_no_commands_to_github() -> None:
    pulls: Any = Pulls()
    nothing: Any = None
    publisher = Publisher(
        nothing, nothing, pulls, JobIO({}, io.StringIO()), run="#7", branch="main"
    )
    heads = {"fanin/held/[skip ci] @x.1": "main", "fanin/7": "closes #3"}
    publisher.open_pull_requests(heads)
    (held, switched) = pulls.opened
    assert held[2] == "Fanin batch (skip ci) x.1"
    assert switched[2] == "Fanin run no. 7"
    assert switched[3].startswith("closes no. 3 refuses pushes")
    assert "Approve workflows to run" in held[3]
    assert "Approve workflows to run" in switched[3]
    assert held[:2] == ("fanin/held/[skip ci] @x.1", "main"), (
        "branches stay as they are"
    )
