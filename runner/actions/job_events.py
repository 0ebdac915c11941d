"""Writes the events of jobs `verify` and `merge`, which are a part of their artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from runner.core.event_lines import line_of
from runner.core.events import (
    BatchMerged,
    PhaseChanged,
    RunEvent,
)
from runner.core.manifest import Manifest
from runner.fan_in import merge_events
from runner.policy.masking import masked_document
from runner.policy.redaction import NONE, Secrets
from runner.schedule.budget import UsageTotal

if TYPE_CHECKING:
    from collections.abc import Callable

    from runner.actions.merge_report import LandedBatch
    from runner.core.result import Failure
    from runner.fan_in.inputs import VerifyStep


class JobEvents:
    """Appends the events of a batch to `file`, if there is one, with `***` for secrets.

    Events are news: a disk that is full does not end the job.
    """

    def __init__(
        self, file: Path | None, manifest: Manifest, secrets: Secrets = NONE
    ) -> None:
        self._file, self._manifest, self._secrets = file, manifest, secrets

    def verified(
        self, step: VerifyStep, command: str, verify: Callable[[], Failure | None]
    ) -> Failure | None:
        """Run `verify`, which tells what is wrong with a merged tree, between its events."""
        return merge_events.verified(
            self._manifest.batch, step, command, verify, self._write
        )

    def merging(self) -> None:
        """The results of the batch are about to be merged."""
        for entry in self._manifest.entries:
            self._write(
                PhaseChanged(
                    batch=self._manifest.batch,
                    task=entry.task.id,
                    attempt=entry.attempt,
                    phase="merging",
                )
            )

    def landed(self, batch: LandedBatch) -> None:
        """What became of each result, and the commits that landed."""
        manifest, fan_in = self._manifest, batch.fan_in
        events: list[RunEvent] = [*merge_events.results_merged(manifest, fan_in)]
        # The events of an attempt's own artifact know its log.
        events += merge_events.results_refused(
            manifest, fan_in, fan_in.failed, lambda _entry: ""
        )
        commits = merge_events.commits_landed(manifest, fan_in, batch.branch)
        if commits and batch.commit is not None:
            commits[-1] = commits[-1].model_copy(update={"commit": batch.commit})
        usage = UsageTotal().plus(fan_in.results).report
        for event in (
            *events,
            *commits,
            BatchMerged(batch=manifest.batch, usage=usage),
        ):
            self._write(event)

    def _write(self, event: RunEvent) -> None:
        if self._file is None:
            return
        line = line_of(masked_document(event, self._secrets))
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab", buffering=0) as stream:
                stream.write(line)
        except OSError:
            self._file = None
