"""What an attempt, or a run of `verify`, is given by the executor that runs it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from runner.agents.stream import UsageSoFar
from runner.attempt.slots import Slots
from runner.attempt.workspace import Workspace
from runner.core import result_folder
from runner.core.events import Phase
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Failure
from runner.core.result_folder import KeepFiles, keeps_no_files
from runner.policy.redaction import NONE, Secrets
from runner.sandbox.walls import NO_WALLS, Walls


def _do_nothing() -> None:
    pass


def _ignore_usage(_usage: UsageSoFar) -> None:
    pass


def _ignore_slot(_slot: int) -> None:
    pass


def _ignore_phase(_phase: Phase) -> None:
    pass


def _may_start() -> Failure | None:
    return None


def _ignore_paths(_: Sequence[str]) -> None:
    pass


def _take_no_notice(_: Workspace) -> None:
    pass


@dataclass(frozen=True, eq=False)
class AttemptContext:
    """The inputs of an attempt from the executor that runs it.

    `environ` is the environment to pass allow-listed variables from, `setup_environ`
    that for set-up if it is another one. `cancel` ends the attempt when it is set.
    `run_attempt` counts the runs of one job on GitHub, and `job` has the ids of run and
    job, as in `Result`. `echo` receives the agent's output as it comes, `on_usage` what
    it says that it has used so far. `secrets` are added to those of the agent's
    settings. `slots` are shared by all that runs at once; `slot` is the number that this
    attempt has of them. `walls` are around each of its programs.

    `on_set_up` gets the files of the base that set-up changed, when it has run.
    `on_start` is called with the slot, `on_phase` when the attempt enters a phase.
    `on_ready` gets the workspace when set-up has ended and the agent is to start.
    `obstacle` says then why it may not start after all, or None.
    `on_agent_exit` is called when the agent has ended without a usage limit and no
    verify command follows, before its work is captured; None: nothing starts before the
    attempt's result. `wait_until_durable` returns when the work that the attempt builds
    on is durable; the result is not written earlier. `keep_files` makes the files of a
    small result durable, with what a reader needs beside them.
    """

    environ: Mapping[str, str] = field(repr=False)
    cancel: threading.Event | None = None
    run_attempt: int = 1
    job: str | None = None
    echo: Callable[[bytes], object] | None = None
    on_usage: Callable[[UsageSoFar], object] = _ignore_usage
    on_start: Callable[[int], object] = _ignore_slot
    on_phase: Callable[[Phase], object] = _ignore_phase
    on_ready: Callable[[Workspace], object] = _take_no_notice
    obstacle: Callable[[], Failure | None] = _may_start
    on_set_up: Callable[[Sequence[str]], object] = _ignore_paths
    on_agent_exit: Callable[[], object] | None = None
    wait_until_durable: Callable[[], object] = _do_nothing
    keep_files: KeepFiles = keeps_no_files
    secrets: Secrets = NONE
    slots: Slots = field(default_factory=Slots)
    slot: int = 0
    setup_environ: Mapping[str, str] | None = field(default=None, repr=False)
    walls: Walls = NO_WALLS

    @property
    def environ_for_setup(self) -> Mapping[str, str]:
        return self.environ if self.setup_environ is None else self.setup_environ


class Attempt(NamedTuple):
    """One attempt in its workspace; `folder` is its result folder."""

    manifest: Manifest
    entry: BatchEntry
    record: result_folder.Attempt
    workspace: Workspace
    folder: Path
    context: AttemptContext
    secrets: Secrets

    def file_name(self, name: str) -> str:
        """Where a person finds this file of the result folder."""
        if self.context.job is None:
            return str(self.folder / name)
        artifact = result_folder.artifact_name(
            self.manifest.batch,
            self.entry.folder,
            self.entry.attempt,
            self.context.run_attempt,
        )
        return f"{name} of the artifact {artifact}"
