"""What fanin answers to a command in a comment: a line of Markdown.

Ids and paths are a plan's and an agent's words, and a problem may quote the comment. They
are shown as code or without markup, mention, image and link.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.comments.command import Command
from runner.core.fanin_commands import typed
from runner.core.plurals import pluralize, some_of
from runner.ui import markdown

if TYPE_CHECKING:
    from runner.core.errors import FaninError
    from runner.local.request_outcome import Outcome

_MAX_NAMED = 8  # paths
_MAX_LENGTH = 1_500  # characters of a problem


def done(
    command: Command, outcome: Outcome, repository_url: str, next_round: str
) -> str:
    """What a command has changed; `next_round` is Markdown on what it started."""
    parts = []
    if outcome.tasks:
        text = _code(f"/{typed(command.name, outcome.tasks)}")
        if outcome.commit:
            text += f": {repository_url}/commit/{outcome.commit}"
        parts.append(text)
    if outcome.paths:
        named = some_of(outcome.paths[:_MAX_NAMED], len(outcome.paths))
        parts.append(f"It changes {_code(named)}.")
    parts += [f"{markdown.cell(text)}." for text in (outcome.already,) if text]
    parts += [f"Not done: {markdown.cell(text)}." for text in outcome.refused]
    if next_round:
        parts.append(next_round)
    if command.ignored:
        lines = pluralize(command.ignored, "further command")
        parts.append(f"Only the first command of a comment counts; {lines} ignored.")
    return " ".join(parts)


def not_started(workflow: str, error: FaninError) -> str:
    """Why the next round was not started, which a person may do."""
    return f"Start {_code(workflow)} yourself for the next round: {_cell(str(error))}"


def refused(problem: FaninError) -> str:
    """Why nothing was done."""
    return f"Nothing was done: {_cell(str(problem))}"


def failed(error: FaninError, run_url: str) -> str:
    """What broke, with the address of the run that has its log."""
    return f"This failed: {_cell(str(error))} {run_url}"


def _cell(text: str) -> str:
    return markdown.cell(markdown.shortened(text, _MAX_LENGTH))


def _code(text: str) -> str:
    return f"`{markdown.code(markdown.shortened(text, _MAX_LENGTH))}`"
