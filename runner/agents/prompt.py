"""The prompt: what an agent is told of its task, and on a retry of what went wrong before."""

from __future__ import annotations

from runner.models import BatchEntry

_CLOSING = (
    "Work in the current folder. Finish by yourself, without asking; leave the changes in the files, committed or not."
)
MAX_BYTES = 200_000  # far below what any agent's context takes, and below what a pipe or an argv refuses


def render(entry: BatchEntry) -> str:
    """The prompt's text for one attempt, at most MAX_BYTES of UTF-8."""
    task = entry.task
    told = [
        _bounds(entry),
        _previous(entry),
        _CLOSING,
    ]
    end = "\n\n".join(part for part in told if part) + "\n"
    text = f"# {task.id}: {task.title}\n\n{task.prompt.strip()}".rstrip()
    room = MAX_BYTES - len(end.encode()) - 2  # the task's own text is what is cut
    return f"{text.encode()[:room].decode('utf-8', 'ignore')}\n\n{end}"


def _bounds(entry: BatchEntry) -> str:
    task, lines = entry.task, []
    if task.files is not None:
        lines.append("You may change only these files: " + (", ".join(task.files) or "none") + ".")
    if entry.verify:
        lines.append(f"It is done when this command succeeds: {entry.verify}")
    return "\n".join(lines)


def _previous(entry: BatchEntry) -> str:
    if entry.previous is None:
        return ""
    told = f"This is attempt {entry.attempt}. The one before failed ({entry.previous.kind}): {entry.previous.message}"
    tail = entry.previous.log_tail.strip()
    return told + (f"\n\nThe end of its log:\n\n{tail}" if tail else "")
