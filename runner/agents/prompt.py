"""The prompt: a template whose placeholders are filled for one attempt.

A placeholder with nothing to say becomes empty, and so do the blank lines around it.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from runner.core.manifest import BatchEntry, DependencyResult

# Bytes of UTF-8. Far below what any agent accepts.
MAX_BYTES = 200_000
MAX_TEMPLATE = 64 * 2**10
# Characters of everything that the dependencies changed, of one summary, and of a log.
_MAX_DEPENDENCIES = 12_000
_MAX_SUMMARY = 500
_MAX_TAIL = 4_000

DEFAULT = """\
# $id: $title

$prompt

$context

$acceptance

$files

$verify

$dependencies

$previous

$closing
"""
_CLOSING = (
    "Work in the current folder. Finish by yourself, without asking; "
    "leave the changes in the files, committed or not."
)
PLACEHOLDERS = (
    "id",
    "title",
    "prompt",
    "context",
    "acceptance",
    "files",
    "verify",
    "dependencies",
    "previous",
    "closing",
)


def template_problems(template: str) -> list[tuple[int, str]]:
    """Everything that is wrong with a template, as (line from 1, message)."""
    problems = []
    for match in string.Template.pattern.finditer(template):
        line = template.count("\n", 0, match.start()) + 1
        name = match["named"] or match["braced"]
        if match["invalid"] is not None:
            problems.append((line, "a single $ is not valid here; write $$"))
        elif name and name not in PLACEHOLDERS:
            available = ", ".join(f"${placeholder}" for placeholder in PLACEHOLDERS)
            problems.append((line, f"unknown placeholder ${name}; use {available}"))
    if len(template.encode()) > MAX_TEMPLATE:
        problems.append((1, f"the template is larger than {MAX_TEMPLATE:,} bytes"))
    return problems


def render(entry: BatchEntry, template: str | None = None) -> str:
    """The prompt for one attempt, at most MAX_BYTES of UTF-8.

    If it would be longer, the task's own text is shortened, so that a retry still says
    what went wrong before.
    """
    template = template or DEFAULT
    task = entry.task
    parts = {
        "id": task.id,
        "title": task.title,
        "prompt": task.prompt.strip(),
        "context": entry.context,
        "acceptance": _acceptance(task.acceptance),
        "files": _files(task.files),
        "verify": _verify(entry.verify),
        "dependencies": _dependencies(entry.brought),
        "previous": _previous(entry),
        "closing": _CLOSING,
    }
    text = _fill(template, parts)
    excess = len(text.encode()) - MAX_BYTES
    if excess > 0:
        size = len(parts["prompt"].encode()) - excess
        parts["prompt"] = _truncate(parts["prompt"], size)
        text = _fill(template, parts)
    return _truncate(text, MAX_BYTES)


def _fill(template: str, parts: dict[str, str]) -> str:
    text = string.Template(template).safe_substitute(parts)
    without_gaps = re.sub(r"\n{3,}", "\n\n", text)
    return without_gaps.strip("\n") + "\n"


def _truncate(text: str, size: int) -> str:
    """The text's first `size` bytes of UTF-8, without a character cut in half."""
    return text.encode()[: max(0, size)].decode("utf-8", "ignore")


def _acceptance(criteria: Sequence[str]) -> str:
    if not criteria:
        return ""
    items = [f"- {criterion.strip()}" for criterion in criteria]
    return "\n".join(["It is accepted when:", *items])


def _files(files: Sequence[str] | None) -> str:
    if files is None:
        return ""
    return f"You may change only these files: {', '.join(files) or 'none'}."


def _verify(command: str | None) -> str:
    if not command:
        return ""
    return f"It is done when this command succeeds: {command}"


def _dependencies(dependencies: Sequence[DependencyResult]) -> str:
    """The changes of the task's dependencies, as many as fit."""
    lines = []
    for dependency in dependencies:
        lines.append(f"- {dependency.id}: {dependency.title}")
        if dependency.summary:
            summary = " ".join(dependency.summary.split())
            lines.append(f"  {summary[:_MAX_SUMMARY]}")
        lines += [f"  {path}" for path in dependency.changed]
    text = "\n".join(lines)
    if len(text) > _MAX_DEPENDENCIES:
        complete_lines = text[:_MAX_DEPENDENCIES].rpartition("\n")[0]
        text = f"{complete_lines}\n  …"
    if not text:
        return ""
    return f"This task builds on work that is already done:\n\n{text}"


def _previous(entry: BatchEntry) -> str:
    failure = entry.previous
    if failure is None:
        return ""
    text = (
        f"This is attempt {entry.attempt}. "
        f"The previous one failed ({failure.kind}): {failure.message}"
    )
    tail = failure.log_tail.strip()[-_MAX_TAIL:]
    if tail:
        text += f"\n\nThe end of its log:\n\n{tail}"
    return text
