"""What an agent is: what it needs, how it is called, how its outcome is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from runner.agents.process import Outcome
from runner.core.manifest import BatchEntry
from runner.core.result import Failure, Usage
from runner.core.task import AgentSettings


class Costs(StrEnum):
    """Whether `limits.max_cost_usd` can be kept for an agent."""

    # it ends itself at a limit given at its start, and reports what it spent
    CAPPED = "capped"
    REPORTED = "reported"  # it reports what it spent, afterwards
    UNTOLD = "untold"  # it may or may not report it: any command
    UNKNOWN = "unknown"  # it never does


@dataclass(frozen=True)
class Traits:
    """What there is to know of an agent before it starts.

    Variables of the user's environment that it gets by itself are of three kinds.
    `keys` are secret, and one of them must be set. `secrets` are secret too, but
    authenticate nothing by themselves. `variables` are plain: an address, a folder, a
    switch. `aliases`: variables set from another one where they are not set. `logins`:
    files below HOME that a person's own login leaves. `homes`: variables that name its
    own folder, and that folder's name below HOME. `install`: what to type.
    """

    program: str = ""
    keys: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    logins: tuple[str, ...] = ()
    homes: Mapping[str, str] = field(default_factory=dict)
    install: str = ""
    costs: Costs = Costs.UNKNOWN
    keeps_turns: bool = False


@dataclass(frozen=True)
class Place:
    """The folder of one attempt. Only `checkout` is captured; all else lies beside it."""

    folder: Path

    @property
    def checkout(self) -> Path:
        return self.folder / "checkout"

    @property
    def prompt(self) -> Path:
        return self.folder / "prompt.md"

    @property
    def report(self) -> Path:
        """The file `$FANIN_REPORT`, which need not exist."""
        return self.folder / "report.json"

    @property
    def answer(self) -> Path:
        """What the agent printed to standard output, bounded, without its standard
        error.
        """
        return self.folder / "answer"

    @property
    def home(self) -> Path:
        """The home folder of an isolated agent."""
        return self.folder / "home"


@dataclass(frozen=True)
class Call:
    """What to start: argv, with the prompt file as standard input; `env` are defaults
    that the user's allow-listed variables override; `files` are written below an
    isolated home first.
    """

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """What the agent says came of it: a failure, or None, and what it used. Exit 0
    alone is not success.
    """

    failure: Failure | None
    usage: Usage


class Agent(Protocol):
    """One kind of agent.

    `build(entry, place)`: the call for one attempt. Pure: it starts and writes nothing.
    `read(outcome, place)`: the verdict, from how the program ended and what it printed.
    Never raises for what an agent printed, and never looks for words in free text.
    """

    name: str
    traits: Traits

    def build(self, entry: BatchEntry, place: Place) -> Call: ...

    def read(self, outcome: Outcome, place: Place) -> Verdict: ...


def is_isolated(settings: AgentSettings, *, on_actions: bool) -> bool:
    """Whether the agent gets an empty home folder of its own.

    On one machine a person's own login is what they expect to be used; on Actions there
    is none, and what an earlier step left in the home folder (hooks, MCP servers,
    memories) must not steer an agent.
    """
    if settings.home is not None:
        return settings.home == "isolated"
    return on_actions and settings.preset is not None
