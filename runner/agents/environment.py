"""What an agent gets of the machine, and what it lacks there: its environment, its home
folder, its key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from runner import agents
from runner.agents.base import Agent, Call, Place, is_isolated
from runner.agents.process import environment
from runner.core.task import AgentSettings
from runner.policy.redaction import SHORTEST, Secrets, is_short

_XDG = {
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_CACHE_HOME": ".cache",
}
# What every machine sets for every program is not secret, even where `agent.env` names
# it.
_NO_SECRETS = ("PATH", "HOME", "LANG")


def on_actions(environ: Mapping[str, str]) -> bool:
    return environ.get("GITHUB_ACTIONS") == "true"


def environment_for(
    agent: Agent,
    settings: AgentSettings,
    call: Call,
    place: Place,
    environ: Mapping[str, str],
    told: Mapping[str, str],
    plain: Mapping[str, str],
) -> dict[str, str]:
    """The agent's environment: the call's defaults, the allow-listed names, the `plain`
    variables of the setting `env`, its home, then what fanin tells it.
    """
    traits = agent.traits
    # A workflow sets every key that it may pass on, the missing ones to nothing: an
    # empty key is no key.
    own = [name for name in secret_variables(agent) if environ.get(name)]
    allowed = {
        **call.env,
        **environment(environ, (*own, *traits.variables, *settings.env), plain),
    }
    for name, source in traits.aliases.items():
        if name not in allowed and source in allowed:
            allowed[name] = allowed[source]
    return {**allowed, **_home_of(agent, settings, place, environ), **told}


def _home_of(
    agent: Agent, settings: AgentSettings, place: Place, environ: Mapping[str, str]
) -> dict[str, str]:
    if not is_isolated(settings, on_actions=on_actions(environ)):
        return {}
    folders = {**_XDG, **agent.traits.homes}
    return {
        "HOME": str(place.home),
        **{name: str(place.home / folder) for name, folder in folders.items()},
    }


def make_home(
    agent: Agent,
    settings: AgentSettings,
    call: Call,
    place: Place,
    environ: Mapping[str, str],
) -> None:
    """Make the isolated home with the files that the call wants there; nothing if the
    home is inherited.
    """
    if not is_isolated(settings, on_actions=on_actions(environ)):
        return
    place.home.mkdir(mode=0o700)
    # codex refuses to start when CODEX_HOME does not exist
    for folder in agent.traits.homes.values():
        (place.home / folder).mkdir(parents=True, exist_ok=True)
    for name, text in call.files.items():
        path = place.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def secrets_of(
    chosen: Iterable[AgentSettings],
    environ: Mapping[str, str],
    agent_env: Mapping[str, str] | None = None,
) -> Secrets:
    """The one list of what is searched for in results and masked in output.

    It holds the values of the secret variables of the `chosen` agents and of the names
    in their `agent.env`. In a job of GitHub Actions, where `agent_env` is given (the
    lines of the secret `agent-env`, name → value), it holds all that a leg was given:
    the secret variables of every preset and all of these lines. Short values are left
    out.
    """
    names: set[str] = set()
    for settings in chosen:
        names |= {*secret_variables(agents.agent_for(settings)), *settings.env} - set(
            _NO_SECRETS
        )
    if agent_env is None:
        return Secrets.of(environ, sorted(names))
    for agent in agents.presets().values():
        names |= set(secret_variables(agent))
    return Secrets.of(environ, sorted(names)) | Secrets.of(agent_env, agent_env)


def secret_variables(agent: Agent) -> tuple[str, ...]:
    """The secret ones of the variables that the agent gets by itself."""
    return (*agent.traits.keys, *agent.traits.secrets)


def key_of(
    agent: Agent, settings: AgentSettings, environ: Mapping[str, str]
) -> str | None:
    """How the agent will authenticate: the variable that holds its key, or the file of
    a person's login.

    The file is looked for and never read. None if there is neither; "" if it needs
    none.
    """
    if not agent.traits.keys:
        return ""
    for name in (*agent.traits.keys, *settings.env):
        if environ.get(name):
            return name
    if not is_isolated(settings, on_actions=on_actions(environ)):
        for login in agent.traits.logins:
            if environ.get("HOME") and Path(environ["HOME"], login).is_file():
                return f"~/{login}"
    return None


def lacks(
    agent: Agent,
    settings: AgentSettings,
    environ: Mapping[str, str],
    found: Callable[[str], object],
) -> list[tuple[str, str]]:
    """What is missing to use the agent here, each with what to do about it. `found`
    looks a name up on PATH.
    """
    lacking = []
    program = agent.traits.program or (settings.command or ("",))[0]
    # A relative path is the repository's own and is left to the checkout.
    if (
        program
        and ("/" not in program or program.startswith("/"))
        and not found(program)
    ):
        remedy = (
            f"install it:  {agent.traits.install}"
            if agent.traits.install
            else "install it, or mend agent.command"
        )
        lacking.append(
            (f"the agent's program {program!r} is not on this machine", remedy)
        )
    if key_of(agent, settings, environ) is None:
        names = " or ".join(agent.traits.keys[:2])
        isolated = is_isolated(settings, on_actions=on_actions(environ))
        login = "" if isolated else f", or log in once with  {program}"
        lacking.append(
            (f"no key for {agent.name}: {names} is not set", f"set it{login}")
        )
    for name in agent.traits.keys:
        if environ.get(name) and is_short(environ[name]):
            problem = f"the value of {name} is shorter than {SHORTEST} bytes, too short to be searched for or masked"
            lacking.append((problem, "set the whole key, or unset the variable"))
    return lacking
