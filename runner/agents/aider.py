"""aider (`aider-chat`), tested with 0.86.2.

Prints text only and exits 0 whatever happened, even for a refused key. The only sign of
success is the line "Tokens: 1.0k sent, 50 received.", which follows every answer of the
model. aider creates a file named on the command line that does not exist before it
calls the model, so only existing files are named.
"""

from __future__ import annotations

import re

from runner.agents.base import AttemptFolder, Costs, Invocation, Traits, Verdict
from runner.agents.outcome import (
    failed,
    failure_for_status,
    make_usage,
    process_failure,
    sum_reported,
)
from runner.agents.process import Outcome
from runner.core.manifest import BatchEntry
from runner.core.patterns import lazy_pattern
from runner.core.result import Failure, FailureKind

_USAGE_LINE = lazy_pattern(
    r"^Tokens: (?P<sent>[\d.,]+[kM]?) sent(?:, [\d.,]+[kM]? cache \w+)*, (?P<received>[\d.,]+[kM]?) received\."
    r"(?: Cost: \$[\d.,]+ message, \$(?P<session>[\d.,]+) session\.)?",
    re.MULTILINE,
)
_UNITS = {"k": 10**3, "M": 10**6}
_GLOB_CHARACTERS = lazy_pattern(r"[*?\[\]!\\]")
_OPTIONS = (
    "--yes-always",
    "--no-auto-commits",
    "--no-pretty",
    "--no-stream",
    "--no-check-update",
    "--no-show-release-notes",
    "--analytics-disable",
    # These would create files in the checkout: they would be captured, and .aider* is
    # protected.
    "--no-gitignore",
    "--map-tokens",
    "0",
    "--no-detect-urls",
    "--no-suggest-shell-commands",
    "--no-show-model-warnings",
)
# How aider prints an error of litellm, and what follows the error's own text.
_ERROR = "litellm."
_END_OF_ERROR = "\nThe API provider"
_LIMIT_STATUSES = {
    "RateLimitError": 429,
    "ServiceUnavailableError": 503,
    "InternalServerError": 503,
}
_HISTORIES = ("chat-history", "input-history", "llm-history")


class Aider:
    name = "aider"
    traits = Traits(
        program="aider",
        keys=(
            "OPENAI_API_KEY",
            "ANTHROPIC_API_KEY",
            "GEMINI_API_KEY",
            "OPENROUTER_API_KEY",
            "DEEPSEEK_API_KEY",
        ),
        variables=("OPENAI_API_BASE",),
        state=(".aider",),
        install="pip install aider-chat",
        costs=Costs.OPTIONAL,  # printed only for models in its price table
        silent=True,
    )

    def build(self, entry: BatchEntry, folder: AttemptFolder) -> Invocation:
        argv = ["aider", "--message-file", str(folder.prompt), *_OPTIONS]
        for history in _HISTORIES:
            argv += [f"--{history}-file", str(folder.own / f"aider--{history}")]
        if entry.agent.model:
            argv += ["--model", entry.agent.model]
        argv += entry.agent.args
        argv += _existing_files(entry, folder)
        return Invocation(argv, env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"})

    def read(self, outcome: Outcome, folder: AttemptFolder) -> Verdict:
        sent: int | None = None
        received: int | None = None
        cost_usd: float | None = None
        answered = False
        for match in _USAGE_LINE().finditer(outcome.tail):
            answered = True
            sent = sum_reported(sent, _count(match["sent"]))
            received = sum_reported(received, _count(match["received"]))
            # Each line states the sum of the session so far.
            session = match["session"]
            cost_usd = float(session.replace(",", "")) if session else None
        usage = make_usage(None, sent=sent, received=received, cost_usd=cost_usd)
        failure = process_failure(outcome)
        if failure is None and not answered:
            failure = _rate_limit(outcome)
        if failure is None and not answered:
            message = (
                "aider got no answer from the model, although it exited with 0; "
                "see the end of its log"
            )
            failure = failed(FailureKind.AGENT_ERROR, message, outcome)
        return Verdict(failure, usage)


def _rate_limit(outcome: Outcome) -> Failure | None:
    """The rate or usage limit that aider's last error states, or None.

    aider ends what litellm raised with a sentence of its own for each kind of error
    (`aider/exceptions.py`), and breaks all lines at 80 characters.
    """
    start = outcome.tail.rfind(f"\n{_ERROR}")
    error, ended, _ = outcome.tail[start + 1 :].partition(_END_OF_ERROR)
    kind, _, text = error.removeprefix(_ERROR).partition(":")
    status = _LIMIT_STATUSES.get(kind)
    if start < 0 or not ended or status is None:
        return None
    return failure_for_status(status, " ".join(text.split()), outcome)


def _existing_files(entry: BatchEntry, folder: AttemptFolder) -> list[str]:
    """The entries of the task's `files` that are paths of existing files, not globs."""
    existing = []
    for pattern in entry.task.files or ():
        path = pattern.lstrip("/")
        # A path that begins with a dash would be read as an option.
        if _GLOB_CHARACTERS().search(pattern) or path.startswith("-"):
            continue
        if (folder.checkout / path).is_file():
            existing.append(path)
    return existing


def _count(text: str) -> int:
    """The number of tokens that "1.0k" or "2,500" stands for."""
    unit = _UNITS.get(text[-1], 1)
    return round(float(text.rstrip("kM").replace(",", "")) * unit)
