"""aider (`aider-chat`), seen with 0.86.2.

Text only, and exit 0 whatever happened, a refused key included. What tells a success is
the line "Tokens: 1.0k sent, 50 received." that follows every answer of the model;
without it there was none. A file named on the command line that does not exist is
created empty before the model is asked, so only existing ones are named.
"""

from __future__ import annotations

import re

from runner.agents.base import Call, Costs, Place, Traits, Verdict
from runner.agents.outcome import ended_badly, failed, total, usage, was_ended
from runner.agents.process import Outcome
from runner.core.manifest import BatchEntry
from runner.core.result import FailureKind

_SPENT = re.compile(
    r"^Tokens: (?P<sent>[\d.,]+[kM]?) sent(?:, [\d.,]+[kM]? cache \w+)*, (?P<received>[\d.,]+[kM]?) received\."
    r"(?: Cost: \$[\d.,]+ message, \$(?P<session>[\d.,]+) session\.)?",
    re.MULTILINE,
)
_UNITS = {"k": 10**3, "M": 10**6}


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
        install="pip install aider-chat",
        costs=Costs.UNTOLD,  # printed only for models in its price table
    )

    def build(self, entry: BatchEntry, place: Place) -> Call:
        agent = entry.agent
        argv = [
            "aider",
            "--message-file",
            str(place.prompt),
            "--yes-always",
            "--no-auto-commits",
            "--no-pretty",
        ]
        argv += [
            "--no-stream",
            "--no-check-update",
            "--no-show-release-notes",
            "--analytics-disable",
        ]
        # Nothing of its own in the checkout: it would be captured, and .aider* is
        # protected.
        argv += [
            "--no-gitignore",
            "--map-tokens",
            "0",
            "--no-detect-urls",
            "--no-suggest-shell-commands",
        ]
        argv += ["--no-show-model-warnings"]
        for option in (
            "--chat-history-file",
            "--input-history-file",
            "--llm-history-file",
        ):
            argv += [option, str(place.folder / f"aider{option.removesuffix('-file')}")]
        argv += ["--model", agent.model] if agent.model else []
        return Call(
            [*argv, *agent.args, *_existing(entry, place)],
            env={"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        )

    def read(self, outcome: Outcome, place: Place) -> Verdict:
        found = list(_SPENT.finditer(outcome.tail))
        tokens = total(
            *(_count(match[name]) for match in found for name in ("sent", "received"))
        )
        session = found[-1]["session"] if found else None
        used = usage(
            None,
            tokens=tokens,
            cost=float(session.replace(",", "")) if session else None,
        )
        if failure := ended_badly(outcome) or was_ended(outcome):
            return Verdict(failure, used)
        if not found:
            told = "aider got no answer from the model (it exits 0 all the same); see the end of its log"
            return Verdict(failed(FailureKind.AGENT_ERROR, told, outcome), used)
        return Verdict(None, used)


def _existing(entry: BatchEntry, place: Place) -> list[str]:
    """The task's files that are plain paths and there, for aider's chat."""
    plain = [
        path.lstrip("/")
        for path in entry.task.files or ()
        if not re.search(r"[*?\[\]!\\]", path)
    ]
    return [
        path
        for path in plain
        if not path.startswith("-") and (place.checkout / path).is_file()
    ]


def _count(text: str) -> int:
    unit = _UNITS.get(text[-1], 1)
    return round(float(text.rstrip("kM").replace(",", "")) * unit)
