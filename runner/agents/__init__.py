"""Agents: one Protocol, one module per kind, and the registry."""

from __future__ import annotations

from runner.agents.base import Agent, Call, Verdict
from runner.agents.command import Command
from runner.errors import UsageProblem
from runner.models import AgentSettings

__all__ = ["Agent", "Call", "Verdict", "agent_for", "presets"]

_PRESETS: dict[str, Agent] = {}


def presets() -> dict[str, Agent]:
    """The agents that can be chosen by name."""
    return _PRESETS


def agent_for(settings: AgentSettings) -> Agent:
    """The agent that the settings choose. UsageProblem if the preset is unknown."""
    if settings.preset is None:
        return Command()
    found = presets().get(settings.preset)
    if found is None:
        known = ", ".join(presets()) or "none in this version"
        raise UsageProblem(
            f"unknown agent preset {settings.preset!r} (known: {known})",
            'give the program instead, e.g.  agent: {command: ["my-agent", "--flag"]}',
        )
    return found
