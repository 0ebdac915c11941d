"""The spans of a batch's attempts and verify commands, from the events in their artifacts.

Job `merge` sends them: jobs `task` and `verify` run code that a collector's secret must
not reach.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from runner.core import result_folder
from runner.core.artifact_events import OwnEvent, events_of_attempt, events_of_job
from runner.core.event_lines import NAME
from runner.core.events import AttemptEnded, AttemptStarted, VerifyEnded, VerifyStarted
from runner.core.manifest import BatchEntry, Manifest
from runner.policy.masking import masked_document
from runner.policy.redaction import Secrets
from runner.ui.job_spans import JobSpans


def send_spans_of_results(
    spans: JobSpans,
    manifest: Manifest,
    results: Path,
    verdict: Path | None,
    secrets: Secrets,
) -> None:
    """Send the spans of the attempts below `results` and of the verify commands.

    Those of the commands are beside the file of the verdict. No span has one of the
    `secrets`.
    """
    if not spans.are_sent:
        return
    for entry, record, folder in _records(manifest, results):
        found = events_of_attempt(folder / NAME, record, output=spans.captures_content)
        spans.attempt(
            manifest.batch,
            (masked_document(event, secrets) for event in _once(found, entry)),
        )
    if verdict is not None:
        for started, ended in _verifies(manifest, verdict.with_name(NAME)):
            spans.verify(
                masked_document(started, secrets), masked_document(ended, secrets)
            )


def _records(
    manifest: Manifest, results: Path
) -> Iterator[tuple[BatchEntry, result_folder.Attempt, Path]]:
    """The attempts of the batch that have started, with their folders: of each one the
    last, if its job was run again.
    """
    entries = {(each.task.id, each.attempt): each for each in manifest.entries}
    last = {
        (record.task, record.attempt): (record, log.parent)
        for record, log in result_folder.logs(results)
        if record.batch == manifest.batch
    }
    for key, (record, folder) in last.items():
        if key in entries:
            yield entries[key], record, folder


def _once(events: Iterator[OwnEvent], entry: BatchEntry) -> Iterator[OwnEvent]:
    """The events up to the end of the attempt; the agent's name is the manifest's."""
    has_started = False
    for event in events:
        if isinstance(event, AttemptStarted):
            if has_started:
                continue
            has_started = True
            event = event.model_copy(update={"agent": entry.agent.name})
        yield event
        if isinstance(event, AttemptEnded):
            return


def _verifies(
    manifest: Manifest, file: Path
) -> Iterator[tuple[VerifyStarted, VerifyEnded]]:
    started: VerifyStarted | None = None
    for event in events_of_job(file):
        if isinstance(event, VerifyStarted):
            started = event
        elif isinstance(event, VerifyEnded) and started is not None:
            if event.batch == manifest.batch:
                yield started, event
            started = None
