"""The prompt: a template whose placeholders are filled for one attempt.

A placeholder with nothing to say becomes empty, and so do the blank lines around it. What
the others stand for is in the prompt byte for byte, without blank lines at its ends.
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence

from runner.core.manifest import BatchEntry, DependencyResult
from runner.core.result import Failure, Question
from runner.core.task import Task

# Bytes of UTF-8 of a task's own texts: about half of what a context of 200,000 tokens
# holds. codex takes the least of all programs, 1 MiB.
MAX_TASK_BYTES = 400_000
# Bytes of the whole prompt: the task's texts, what comes from elsewhere, which is limited
# below and in plan.context, and a template that has each of them once.
MAX_BYTES = 600_000
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
# Below the checkout, where every agent may write; nothing below this folder ever lands.
QUESTION_FILE = ".fanin/question.md"
_CLOSING = (
    "Work in the current folder. Finish by yourself, without asking; "
    "leave the changes in the files, committed or not."
)
_CLOSING_WITH_QUESTION = (
    "Work in the current folder and leave the changes in the files, committed or not. "
    "Decide by yourself what you can. Only if you cannot go on without a decision that "
    f"is a person's, write your question to the file {QUESTION_FILE} and end: your work "
    "is kept, and you go on from it with the answer."
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


def excess_of_task(task: Task) -> str | None:
    """A sentence if the task's texts are too long for a prompt, None if they are not."""
    texts = [task.title, task.prompt, *task.acceptance, *(task.files or ())]
    texts.append(task.verify or "")
    size = sum(len(text.encode("utf-8", "replace")) for text in texts)
    return _excess("its text", size, MAX_TASK_BYTES)


def excess(text: str) -> str | None:
    """A sentence if this prompt is too long for an agent, None if it is not."""
    return _excess("its prompt", len(text.encode()), MAX_BYTES)


def _excess(what: str, size: int, limit: int) -> str | None:
    if size <= limit:
        return None
    return f"{what} has {size:,} bytes, and an agent is given at most {limit:,}"


def render(entry: BatchEntry, template: str | None = None, start: str = "") -> str:
    """The prompt for one attempt. Nothing of the task's texts is cut or changed.

    `start` says what of earlier work is in the checkout.
    """
    template = template or DEFAULT
    task = entry.task
    parts = {
        "id": task.id,
        "title": task.title,
        "prompt": task.prompt,
        "context": entry.context,
        "acceptance": _acceptance(task.acceptance),
        "files": _files(task.files),
        "verify": _verify(entry.verify),
        "dependencies": _dependencies(entry.brought),
        "previous": _previous(entry, start),
        "closing": _CLOSING_WITH_QUESTION if entry.may_ask else _CLOSING,
    }
    return _fill(template, parts)


def _fill(template: str, parts: dict[str, str]) -> str:
    texts = {name: _without_outer_blank_lines(text) for name, text in parts.items()}

    def remove_if_empty(match: re.Match[str]) -> str:
        name = match["named"] or match["braced"]
        return "" if texts.get(name) == "" else match[0]

    # Gaps are closed before the texts are filled in: theirs are their own.
    without_empty = string.Template.pattern.sub(remove_if_empty, template)
    without_gaps = re.sub(r"\n{3,}", "\n\n", without_empty).strip("\n")
    return string.Template(without_gaps).safe_substitute(texts) + "\n"


def _without_outer_blank_lines(text: str) -> str:
    without_first = re.sub(r"\A(?:[^\S\n]*\n)+", "", text)
    return re.sub(r"(?:\n[^\S\n]*)+\Z", "", without_first) if text.strip() else ""


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


def _previous(entry: BatchEntry, start: str) -> str:
    """What has come before: the last failure, earlier work, what was asked and answered,
    and what a person says.
    """
    parts = []
    if entry.previous is not None:
        parts.append(_failure(entry.attempt, entry.previous))
    parts += [start, *map(_question, entry.questions), _message(entry.message)]
    return "\n\n".join(part for part in parts if part)


def _failure(attempt: int, failure: Failure) -> str:
    text = (
        f"This is attempt {attempt}. "
        f"The previous one failed ({failure.kind}): {failure.message}"
    )
    tail = failure.log_tail.strip()[-_MAX_TAIL:]
    if tail:
        text += f"\n\nThe end of its log:\n\n{tail}"
    return text


def _message(message: str) -> str:
    if not message:
        return ""
    return f"The person who runs this plan says to you:\n\n{_quoted(message)}"


def _question(question: Question) -> str:
    asked = f"In attempt {question.attempt} you asked:\n\n{_quoted(question.text)}"
    if not question.answer:
        return f"{asked}\n\nThere is no answer to this. Decide by yourself."
    answer = _quoted(question.answer)
    return f"{asked}\n\nThe person who runs this plan answers:\n\n{answer}"


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}".rstrip() for line in text.splitlines())
