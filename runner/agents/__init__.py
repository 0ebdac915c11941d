"""Agents: one Protocol, one module per kind, and the registry."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points

from runner.agents.aider import Aider
from runner.agents.base import Agent, Call, Costs, Place, Traits, Verdict, is_isolated
from runner.agents.claude import Claude
from runner.agents.codex import Codex
from runner.agents.command import Command
from runner.agents.copilot import Copilot
from runner.agents.gemini import Gemini
from runner.agents.opencode import Opencode
from runner.core.errors import UsageProblem
from runner.core.task import AgentSettings

__all__ = [
    "Agent",
    "Call",
    "Costs",
    "Place",
    "Traits",
    "Verdict",
    "agent_for",
    "is_isolated",
    "presets",
    "usable_agent",
]

# the group where other packages offer theirs; each names an instance
ENTRY_POINTS = "fanin.agents"
_OURS: dict[str, Agent] = {
    agent.name: agent
    for agent in (Claude(), Codex(), Gemini(), Opencode(), Copilot(), Aider())
}


def presets() -> Mapping[str, Agent]:
    """The agents that can be chosen by name: ours, and those of installed packages that
    do not take our names.

    UsageProblem if one of those cannot be loaded.
    """
    return _OURS | {name: _load(name) for name in _others() if name not in _OURS}


def agent_for(settings: AgentSettings) -> Agent:
    """The agent that the settings choose. UsageProblem if the preset is unknown or
    cannot do what they ask.
    """
    if settings.preset is None:
        return Command()
    # Other people's packages are looked at only when the name is not one of ours.
    agent = _OURS.get(settings.preset) or (
        _load(settings.preset) if settings.preset in _others() else None
    )
    if agent is None:
        known = ", ".join([*_OURS, *_others()])
        raise UsageProblem(
            f"unknown agent preset {settings.preset!r} (known: {known})",
            'give the program instead, e.g.  agent: {command: ["my-agent", "--flag"]}',
        )
    if settings.max_turns and not agent.traits.keeps_turns:
        raise UsageProblem(
            f"max_turns cannot be kept for {agent.name}: it has no such limit",
            "remove it; timeout and idle_timeout bound every agent",
        )
    return agent


def usable_agent(settings: AgentSettings, env: Mapping[str, str]) -> Agent:
    """The agent that the settings choose, where the plain variables `env` stand beside
    it.

    UsageProblem as `agent_for`, and for a name of `env` that is a key of the agent or
    is secret by `agent.env`.
    """
    agent = agent_for(settings)
    if secret := sorted({*agent.traits.keys, *settings.env} & set(env)):
        raise UsageProblem(
            f"env sets {secret[0]}, a secret variable of {agent.name}: it would be neither masked nor searched for",
            "set it in the environment that fanin starts in, or take it out of agent.env if it is not secret",
        )
    return agent


def _others() -> list[str]:
    return sorted({point.name for point in entry_points(group=ENTRY_POINTS)})


def _load(name: str) -> Agent:
    point = next(iter(entry_points(group=ENTRY_POINTS, name=name)))
    try:
        agent: Agent = point.load()
    except Exception as error:  # noqa: BLE001  another package's code: whatever it raises is its own
        raise UsageProblem(
            f"the agent {name!r} of {point.value} cannot be loaded: {error}",
            "mend or remove it",
        ) from None
    return agent
