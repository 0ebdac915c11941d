"""The message of a batch commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Failure

SUBJECT_LENGTH = 72


@dataclass(frozen=True)
class Landed:
    """What a message tells of one task."""

    entry: BatchEntry
    summary: str | None = None


def message(
    manifest: Manifest, landed: Sequence[Landed], failed: Mapping[str, Failure]
) -> str:
    """The commit message: what landed, what did not, and trailers for people (never
    read back by fanin).
    """
    ids = [item.entry.task.id for item in landed]
    if len(landed) == 1:
        subject = f"{ids[0]}: {landed[0].entry.task.title}"
    elif landed:
        subject = f"Fan in {', '.join(ids)}"
    else:
        subject = f"Record failed attempts of {', '.join(failed)}"
    body = [
        f"- {item.entry.task.id}: {_line(item.summary or item.entry.task.title)}"
        for item in landed
        if len(landed) > 1
    ]
    body += [
        f"- {task_id} failed ({failure.kind}): {_line(failure.message)}"
        for task_id, failure in failed.items()
    ]
    trailers = [
        f"Fanin-Run: {manifest.run}",
        f"Fanin-Batch: {manifest.batch}",
        *(f"Fanin-Task: {_line(task_id)}" for task_id in ids),
    ]
    return (
        "\n\n".join(
            part
            for part in (
                _line(subject, SUBJECT_LENGTH),
                "\n".join(body),
                "\n".join(trailers),
            )
            if part
        )
        + "\n"
    )


def _line(text: str, length: int = 200) -> str:
    one = " ".join(text.split())
    return one if len(one) <= length else one[: length - 1] + "…"
