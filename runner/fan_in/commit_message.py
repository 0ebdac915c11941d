"""The message of a batch commit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from runner.core.manifest import BatchEntry, Manifest
from runner.core.message_text import one_line, several_lines
from runner.core.result import Failure
from runner.core.task import Task

SUBJECT_LENGTH = 72
_LINE_LENGTH = 200
_TRAILER = re.compile(r"^[A-Za-z0-9-]+\s*:.*")


class LandedTask(NamedTuple):
    """A task to name in the message, with its agent's summary of the work."""

    entry: BatchEntry
    summary: str | None = None


def commit_message(
    manifest: Manifest,
    landed: Sequence[LandedTask],
    failed: Mapping[str, Failure],
    warnings: Sequence[str] = (),
) -> str:
    """The commit message: what landed, what failed, warnings, and trailers.

    The trailers are for people; fanin never reads them back. No text of a plan or an
    agent can add a line, or a command to GitHub.
    """
    subject = _shorten(_subject(landed, failed), SUBJECT_LENGTH)
    noted = "\n".join(f"- warning: {_shorten(warning)}" for warning in warnings)
    paragraphs = [subject, _body(landed, failed), noted, _trailers(manifest, landed)]
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def kept_message(entry: BatchEntry, failure: Failure | None) -> str:
    """The message of the commit that keeps work which did not land, or not all of it:
    then there is no failure.
    """
    subject = f"{entry.task.id}, attempt {entry.attempt}: work that did not land"
    if failure is None:
        subject += " as a whole"
        return f"{_shorten(subject)}\n"
    lines = several_lines(failure.message).splitlines()
    body = "\n".join(_TRAILER.sub(r"(\g<0>)", line) for line in lines)
    return f"{_shorten(subject)}\n\n{body}\n"


def hold_message(manifest: Manifest, held_branch: str) -> str:
    """The message of the commit that records that a batch waits on a branch."""
    subject = one_line(f"Hold batch {manifest.batch} on {held_branch}")
    return f"{subject}\n\n{one_line(f'Fanin-Run: {manifest.run}')}\n"


def accept_message(task: Task, work: str, *, unverified: bool) -> str:
    """The message of the commit that lands work which a person has accepted; `work` is
    the commit that has it.
    """
    subject = _shorten(f"{task.id}: {task.title}", SUBJECT_LENGTH)
    body = "Accepted by a person."
    if unverified:
        body += " Not verified."
    trailers = [f"Fanin-Accepted: {work}", f"Fanin-Task: {_shorten(task.id)}"]
    return f"{subject}\n\n{body}\n\n" + "\n".join(map(one_line, trailers)) + "\n"


def undo_message(tasks: Sequence[Task]) -> str:
    """The message of the commit that takes landed tasks out again."""
    subject = _shorten(f"Undo {', '.join(task.id for task in tasks)}", SUBJECT_LENGTH)
    body = "\n".join(f"- {task.id}: {_shorten(task.title)}" for task in tasks)
    trailers = "\n".join(one_line(f"Fanin-Undo: {_shorten(task.id)}") for task in tasks)
    lines = "\n".join(map(one_line, body.splitlines()))
    return f"{subject}\n\n{lines}\n\n{trailers}\n"


def record_message(subject: str, failed: Mapping[str, Failure], run: str) -> str:
    """The message of a commit that changes the progress alone; `subject` is what it is
    made for, "" for the failed attempts.
    """
    subject = _shorten(subject or _subject([], failed), SUBJECT_LENGTH)
    paragraphs = [subject, _body([], failed)]
    if run:
        paragraphs.append(one_line(f"Fanin-Run: {run}"))
    return "\n\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


def _subject(landed: Sequence[LandedTask], failed: Mapping[str, Failure]) -> str:
    if len(landed) == 1:
        task = landed[0].entry.task
        return f"{task.id}: {task.title}"
    if landed:
        return f"Fan in {', '.join(item.entry.task.id for item in landed)}"
    if not failed:
        return "Record a usage limit"
    parts = []
    for verb, what in (("failed", "failed attempts"), ("asks", "questions")):
        ids = [task_id for task_id, each in failed.items() if each.verb == verb]
        if ids:
            parts.append(f"{what} of {', '.join(ids)}")
    return f"Record {' and '.join(parts)}"


def _body(landed: Sequence[LandedTask], failed: Mapping[str, Failure]) -> str:
    lines = []
    # a single task is in the subject already
    if len(landed) > 1:
        for item in landed:
            task = item.entry.task
            lines.append(f"- {task.id}: {_shorten(item.summary or task.title)}")
    for task_id, failure in failed.items():
        kind = f" ({failure.kind})" if failure.verb == "failed" else ""
        lines.append(f"- {task_id} {failure.verb}{kind}: {_shorten(failure.message)}")
    # An id may be a command too, or the end of one that a text begins.
    return "\n".join(map(one_line, lines))


def _trailers(manifest: Manifest, landed: Sequence[LandedTask]) -> str:
    lines = [f"Fanin-Run: {manifest.run}", f"Fanin-Batch: {manifest.batch}"]
    lines += [f"Fanin-Task: {_shorten(item.entry.task.id)}" for item in landed]
    return "\n".join(map(one_line, lines))


def _shorten(text: str, length: int = _LINE_LENGTH) -> str:
    """The text on one line, cut to `length` characters, as no command to GitHub."""
    line = one_line(text)
    if len(line) <= length:
        return line
    # What is left of `#3abc` may be a command: `#3…`.
    return one_line(line[: length - 1] + "…")
