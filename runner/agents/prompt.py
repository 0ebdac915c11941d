"""The prompt: a template with one placeholder a part, filled for one attempt and
bounded in size.

A part that there is nothing to say about is empty, and so are the blank lines around
it.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from runner.core.manifest import BatchEntry, Brought

# far below what any agent's context takes, and below what a pipe or an argv refuses
MAX_BYTES = 200_000
MAX_TEMPLATE = 64 * 2**10
_MAX_BROUGHT = 12_000  # characters of all that the dependencies changed
_MAX_TAIL = 4_000

DEFAULT = """\
# $id: $title

$prompt

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
    "acceptance",
    "files",
    "verify",
    "dependencies",
    "previous",
    "closing",
)


def complaints(template: str) -> list[tuple[int, str]]:
    """What is wrong with a template: (line, what)."""
    found = []
    for match in string.Template.pattern.finditer(template):
        line = template.count("\n", 0, match.start()) + 1
        name = match["named"] or match["braced"]
        if match["invalid"] is not None:
            found.append((line, "a single $ means nothing; write $$"))
        elif name and name not in PLACEHOLDERS:
            found.append(
                (
                    line,
                    f"there is no ${name}; known: {', '.join('$' + known for known in PLACEHOLDERS)}",
                )
            )
    if len(template.encode()) > MAX_TEMPLATE:
        found.append((1, f"the template is larger than {MAX_TEMPLATE:,} bytes"))
    return found


def render(entry: BatchEntry, template: str | None = None) -> str:
    """The prompt's text for one attempt, at most MAX_BYTES of UTF-8; the task's own
    text is what is cut.
    """
    task = entry.task
    parts = {
        "id": task.id,
        "title": task.title,
        "prompt": task.prompt.strip(),
        "acceptance": _listed("It is accepted when:", task.acceptance),
        "files": _files(task.files),
        "verify": f"It is done when this command succeeds: {entry.verify}"
        if entry.verify
        else "",
        "dependencies": _dependencies(entry.brought),
        "previous": _previous(entry),
        "closing": _CLOSING,
    }
    text = _fill(template or DEFAULT, parts)
    over = len(text.encode()) - MAX_BYTES
    if over > 0:
        parts["prompt"] = _cut(parts["prompt"], len(parts["prompt"].encode()) - over)
        text = _fill(template or DEFAULT, parts)
    return _cut(text, MAX_BYTES)


def _fill(template: str, parts: dict[str, str]) -> str:
    return (
        re.sub(
            r"\n{3,}", "\n\n", string.Template(template).safe_substitute(parts)
        ).strip("\n")
        + "\n"
    )


def _cut(text: str, size: int) -> str:
    return text.encode()[: max(0, size)].decode("utf-8", "ignore")


def _files(files: Sequence[str] | None) -> str:
    return (
        ""
        if files is None
        else "You may change only these files: " + (", ".join(files) or "none") + "."
    )


def _listed(head: str, items: Sequence[str]) -> str:
    return "\n".join([head, *(f"- {item.strip()}" for item in items)]) if items else ""


def _dependencies(brought: Sequence[Brought]) -> str:
    """What the tasks before this one changed, as much as fits."""
    parts = []
    for one in brought:
        told = f"- {one.id}: {one.title}" + (
            f"\n  {' '.join(one.summary.split())[:500]}" if one.summary else ""
        )
        parts.append(told + "".join(f"\n  {path}" for path in one.changed))
    text = "\n".join(parts)
    if len(text) > _MAX_BROUGHT:
        text = text[:_MAX_BROUGHT].rpartition("\n")[0] + "\n  …"
    return f"What this builds on, done already:\n\n{text}" if text else ""


def _previous(entry: BatchEntry) -> str:
    if entry.previous is None:
        return ""
    told = f"This is attempt {entry.attempt}. The one before failed ({entry.previous.kind}): {entry.previous.message}"
    tail = entry.previous.log_tail.strip()[-_MAX_TAIL:]
    return told + (f"\n\nThe end of its log:\n\n{tail}" if tail else "")
