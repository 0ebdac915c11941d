"""What an agent is: build the call, read the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from runner.models import AgentSettings, Failure, Usage
from runner.process import Outcome


@dataclass(frozen=True)
class Call:
    """What to start: argv, the prompt file as standard input, and what to add to the allow-listed environment."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What the agent says came of it: a failure, or None, and what it used. Exit 0 alone is not success."""

    failure: Failure | None
    usage: Usage


class Agent(Protocol):
    """One kind of agent.

    `build(settings, checkout)`: the call for one attempt.
    `read(outcome, report)`: the verdict; `report` is the file `$FANIN_REPORT`, which need not exist.
    """

    name: str

    def build(self, settings: AgentSettings, checkout: Path) -> Call: ...

    def read(self, outcome: Outcome, report: Path) -> Verdict: ...
