"""Records every git process that fanin starts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from runner.repo.command import Completed, Git, Process


@contextmanager
def recorded_git_calls() -> Iterator[list[str]]:
    """The subcommand of each git process that this process starts in the block."""
    calls: list[str] = []
    run_unchecked, start = Git.run_unchecked, Git.start

    def recorded_run(git: Git, argv: Sequence[str], **options: Any) -> Completed:
        calls.append(argv[0])
        return run_unchecked(git, argv, **options)

    def recorded_start(git: Git, argv: Sequence[str]) -> Process:
        calls.append(argv[0])
        return start(git, argv)

    with (
        patch.object(Git, "run_unchecked", recorded_run),
        patch.object(Git, "start", recorded_start),
    ):
        yield calls
