"""Agents: one Protocol, one module per kind, and the registry."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from runner.agents.base import (
    Agent,
    AttemptFolder,
    Costs,
    Invocation,
    Traits,
    Verdict,
    is_isolated,
)
from runner.core.errors import UsageProblem
from runner.core.plugins import may_have_entry_points
from runner.core.task import AgentSettings

__all__ = [
    "Agent",
    "AttemptFolder",
    "Costs",
    "Invocation",
    "Traits",
    "Verdict",
    "agent_for",
    "is_isolated",
    "preset_names",
    "presets",
    "usable_agent",
]

# The entry point group in which other packages offer agents; each names an instance.
ENTRY_POINTS = "fanin.agents"
# Name → class, in the module of that name. It is imported when the agent is chosen: a
# run needs one or two of them, `fanin status` none.
_BUILT_IN = {
    "claude": "Claude",
    "codex": "Codex",
    "gemini": "Gemini",
    "opencode": "Opencode",
    "copilot": "Copilot",
    "aider": "Aider",
}


def presets() -> Mapping[str, Agent]:
    """All agents that can be chosen by name: the built-in ones, then plug-ins.

    A plug-in with the name of a built-in agent is ignored. Raises UsageProblem if a
    plug-in cannot be loaded.
    """
    plugins = {
        name: _load_plugin(name) for name in _plugin_names() if name not in _BUILT_IN
    }
    return {name: _built_in(name) for name in _BUILT_IN} | plugins


def preset_names() -> list[str]:
    """The names of all agents that can be chosen. Loads no plug-in."""
    plugins = [name for name in _plugin_names() if name not in _BUILT_IN]
    return [*_BUILT_IN, *plugins]


def agent_for(settings: AgentSettings) -> Agent:
    """The agent that the settings choose.

    Raises UsageProblem if the preset is unknown or cannot do what the settings ask of
    it.
    """
    if settings.preset is None:
        from runner.agents.command import Command

        return Command()
    agent = _preset(settings.preset)
    if settings.max_turns and not agent.traits.supports_max_turns:
        raise UsageProblem(
            f"max_turns is not supported by {agent.name}",
            "remove it; timeout and idle_timeout limit every agent",
        )
    return agent


def usable_agent(settings: AgentSettings, env: Mapping[str, str]) -> Agent:
    """The agent that the settings choose, checked against the plain variables `env`.

    Raises UsageProblem as for `agent_for`, and if `env` sets a variable that is secret
    because it is one of the agent's keys or is listed in `agent.env`.
    """
    agent = agent_for(settings)
    secret_names = {*agent.traits.keys, *settings.env}
    conflicts = sorted(secret_names & set(env))
    if conflicts:
        raise UsageProblem(
            f"env sets {conflicts[0]}, a secret variable of {agent.name}: "
            "its value would be neither masked nor searched for",
            "set it in the environment that fanin starts in, "
            "or remove it from agent.env if it is not secret",
        )
    return agent


def _preset(name: str) -> Agent:
    # Plug-ins are looked up only for a name that is not built in: the lookup reads the
    # metadata of every installed package.
    if name in _BUILT_IN:
        return _built_in(name)
    if name in _plugin_names():
        return _load_plugin(name)
    available = ", ".join(preset_names())
    raise UsageProblem(
        f"unknown agent preset {name!r} (available: {available})",
        'give the program instead, e.g.  agent: {command: ["my-agent", "--flag"]}',
    )


@cache
def _built_in(name: str) -> Agent:
    module = import_module(f"{__name__}.{name}")
    agent: Agent = getattr(module, _BUILT_IN[name])()
    return agent


def _plugin_names() -> list[str]:
    if not may_have_entry_points(ENTRY_POINTS):
        return []
    from importlib.metadata import entry_points

    return sorted({point.name for point in entry_points(group=ENTRY_POINTS)})


def _load_plugin(name: str) -> Agent:
    from importlib.metadata import entry_points

    point = next(iter(entry_points(group=ENTRY_POINTS, name=name)))
    try:
        agent: Agent = point.load()
    except Exception as error:  # noqa: BLE001  another package's code may raise anything
        raise UsageProblem(
            f"the agent {name!r} of {point.value} cannot be loaded: {error}",
            "fix or uninstall that package",
        ) from None
    return agent
