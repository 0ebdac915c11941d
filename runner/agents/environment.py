"""The environment of an agent: its variables, its home folder, its key."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from runner import agents
from runner.agents.base import Agent, AttemptFolder, Invocation, Traits, is_isolated
from runner.core.patterns import lazy_pattern
from runner.core.task import AgentSettings
from runner.policy.redaction import SHORTEST, Secrets, is_short

_TEMPORARY = "tmp"
_XDG = {
    "XDG_CONFIG_HOME": ".config",
    "XDG_DATA_HOME": ".local/share",
    "XDG_STATE_HOME": ".local/state",
    "XDG_CACHE_HOME": ".cache",
}
# Every machine sets these for every program: they are not secret, even if `agent.env`
# lists them.
_NEVER_SECRET = frozenset({"PATH", "HOME", "LANG"})

# Programs whose first argument is usually the script that they run.
_INTERPRETER = lazy_pattern(r"(?:python|node|bash|sh|ruby|perl|php|deno|bun)[\d.]*")


def on_actions(environ: Mapping[str, str]) -> bool:
    """Whether this is a job of GitHub Actions."""
    return environ.get("GITHUB_ACTIONS") == "true"


def environment_for(
    agent: Agent,
    settings: AgentSettings,
    invocation: Invocation,
    folder: AttemptFolder,
    environ: Mapping[str, str],
    contract: Mapping[str, str],
    plain: Mapping[str, str],
) -> dict[str, str]:
    """The agent's environment, name → value. Later entries of this list win:

    the invocation's defaults, the allow-listed variables of `environ`, the `plain`
    variables of the setting `env`, the isolated home, the `contract` (`FANIN_TASK` and
    so on).
    """
    traits = agent.traits
    # A workflow sets every key that it could pass on, and those it does not have to the
    # empty string.
    own_secrets = [name for name in secret_variables(agent) if environ.get(name)]
    allowed = (*own_secrets, *traits.variables, *settings.env)
    from runner.agents.process import environment

    variables = {**invocation.env, **environment(environ, allowed, plain)}
    for name, source in traits.aliases.items():
        if name not in variables and source in variables:
            variables[name] = variables[source]
    home = _home_variables(agent, settings, folder, environ)
    return {**variables, **home, **contract}


def _home_variables(
    agent: Agent,
    settings: AgentSettings,
    folder: AttemptFolder,
    environ: Mapping[str, str],
) -> dict[str, str]:
    if not is_isolated(settings, on_actions=on_actions(environ)):
        return {}
    variables = {"HOME": str(folder.home)}
    for name, subfolder in {**_XDG, **agent.traits.homes}.items():
        variables[name] = str(folder.home / subfolder)
    if agent.traits.own_temporary:
        variables["TMPDIR"] = str(folder.home / _TEMPORARY)
    return variables


def make_home(
    agent: Agent,
    settings: AgentSettings,
    invocation: Invocation,
    folder: AttemptFolder,
    environ: Mapping[str, str],
) -> None:
    """Create the isolated home with the invocation's files in it.

    Does nothing if the agent uses the user's home.
    """
    if not is_isolated(settings, on_actions=on_actions(environ)):
        return
    folder.home.mkdir(mode=0o700)
    # codex refuses to start when CODEX_HOME does not exist.
    for subfolder in agent.traits.homes.values():
        (folder.home / subfolder).mkdir(parents=True, exist_ok=True)
    if agent.traits.own_temporary:
        (folder.home / _TEMPORARY).mkdir()
    for name, text in invocation.files.items():
        path = folder.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def state_of(
    agent: Agent, folder: AttemptFolder, variables: Mapping[str, str]
) -> list[Path]:
    """What the agent writes to outside of its checkout: its isolated home, or what it
    keeps in the person's. `variables` are those that it gets.

    Folders that are missing are made, as it would do itself.
    """
    home = Path(variables.get("HOME", "/"))
    if home == folder.home:
        return [home]
    traits = agent.traits
    state = [home / name for name in traits.state]
    state += [Path(variables[name]) for name in traits.homes if name in variables]
    for path in state:
        if "." not in path.name[1:]:  # as a file's name has
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return [*state, *_no_links(home, traits.logins)]


def steering_of(
    agent: Agent, folder: AttemptFolder, variables: Mapping[str, str]
) -> list[Path]:
    """What in the agent's state it may read and not write: none of its isolated home."""
    home = Path(variables.get("HOME", "/"))
    if home == folder.home:
        return []
    return [
        *_no_links(home, agent.traits.steering),
        *_moved(agent.traits, agent.traits.steering, variables),
    ]


def steering_of_person(environ: Mapping[str, str]) -> list[Path]:
    """What the person's own sessions of all presets obey, but for their plugins, which
    the programs themselves keep up to date.
    """
    found = []
    for agent in agents.presets().values():
        names = [name for name in agent.traits.steering if "plugin" not in name]
        if environ.get("HOME"):
            found += [Path(environ["HOME"], name) for name in names]
        for variable, folder in agent.traits.homes.items():
            inside = [name for name in names if name.startswith(f"{folder}/")]
            if environ.get(variable):
                moved = Path(environ[variable])
                found += [moved / name.removeprefix(f"{folder}/") for name in inside]
    return found


def _moved(
    traits: Traits, names: Sequence[str], variables: Mapping[str, str]
) -> Iterator[Path]:
    """Where paths below HOME are if a variable says where the agent's folder is."""
    for variable, folder in traits.homes.items():
        if variable in variables:
            inside = [name for name in names if name.startswith(f"{folder}/")]
            texts = [name.removeprefix(f"{folder}/") for name in inside]
            yield from _no_links(Path(variables[variable]), texts)


def _no_links(home: Path, names: Iterable[str]) -> list[Path]:
    """Those of the paths that are no links.

    They lie in folders that an agent can write to: a link of an earlier one would open
    what it leads to.
    """
    paths = [home / name for name in names]
    return [path for path in paths if not path.is_symlink()]


def secrets_of(
    chosen: Iterable[AgentSettings],
    environ: Mapping[str, str],
    agent_env: Mapping[str, str] | None = None,
) -> Secrets:
    """The secret values to search for in results and to mask in output.

    On one machine these are the values of the secret variables of the chosen agents and
    their fallbacks, and of the names in their `agent.env`. A job of GitHub Actions passes `agent_env`, the
    lines of the secret `agent-env` (name → value), and gets everything that a task job
    was given: the secret variables of every preset and all of these lines. Short values
    are left out.
    """
    names: set[str] = set()
    for settings in chosen:
        for agent_settings in settings.each:
            names.update(secret_variables(agents.agent_for(agent_settings)))
            names.update(agent_settings.env)
    names -= _NEVER_SECRET
    if agent_env is None:
        return Secrets.of(environ, sorted(names))
    for agent in agents.presets().values():
        names.update(secret_variables(agent))
    return Secrets.of(environ, sorted(names)) | Secrets.of(agent_env, agent_env)


def secret_variables(agent: Agent) -> tuple[str, ...]:
    """The secret ones among the variables that the agent gets by default."""
    return (*agent.traits.keys, *agent.traits.secrets)


def find_key(
    agent: Agent, settings: AgentSettings, environ: Mapping[str, str]
) -> str | None:
    """Find the key that the agent will use; None if there is none.

    Returns the name of a variable, the path of a login file (`~/…`), or "" if the agent
    needs no key. The file is not read.
    """
    if not agent.traits.keys:
        return ""
    for name in (*agent.traits.keys, *settings.env):
        if environ.get(name):
            return name
    home = environ.get("HOME")
    if not home or is_isolated(settings, on_actions=on_actions(environ)):
        return None
    for login in agent.traits.logins:
        if Path(home, login).is_file():
            return f"~/{login}"
    return None


def missing_requirements(
    agent: Agent,
    settings: AgentSettings,
    environ: Mapping[str, str],
    which: Callable[[str], object],
) -> list[tuple[str, str]]:
    """The (problem, remedy) of each program or key that the agent lacks here.

    `which` looks up a program on PATH, like `shutil.which`.
    """
    missing = []
    program = _program(agent, settings)
    started = [program] if agent.traits.program else _programs(settings.command or ())
    for name in started:
        # A relative path belongs to the repository and exists in the checkout only.
        is_relative = "/" in name and not name.startswith("/")
        if name and not is_relative and not which(name):
            remedy = "install it, or fix agent.command"
            if agent.traits.install:
                remedy = f"install it:  {agent.traits.install}"
            problem = f"the agent's program {name!r} is not installed on this machine"
            missing.append((problem, remedy))
    if find_key(agent, settings, environ) is None:
        names = " or ".join(agent.traits.keys[:2])
        remedy = f"set it, or log in once with  {program}"
        if is_isolated(settings, on_actions=on_actions(environ)):
            remedy = "set it"
        missing.append((f"no key for {agent.name}: {names} is not set", remedy))
    for name in agent.traits.keys:
        value = environ.get(name)
        if value and is_short(value):
            problem = (
                f"the value of {name} is shorter than {SHORTEST} bytes, "
                "too short to be masked or searched for"
            )
            missing.append((problem, "set the complete key, or unset the variable"))
    return missing


def _programs(command: Sequence[str]) -> list[str]:
    """The program that the command starts, and the one that `env` starts for it.

    Not behind an option of `env`, which may have a value, nor where PATH is set.
    """
    if not command:
        return []
    if command[0].rpartition("/")[2] != "env":
        return [command[0]]
    for word in command[1:]:
        if word.startswith(("-", "PATH=")):
            break
        if "=" not in word:
            return [command[0], word]
    return [command[0]]


def script_of(settings: AgentSettings) -> str | None:
    """The file of the repository that the command starts, None if it starts none.

    It is the program itself if that is a relative path, or the script that is the first
    argument of an interpreter.
    """
    command = settings.command or ()
    if not command:
        return None
    candidate = command[0]
    if _INTERPRETER().fullmatch(candidate.rpartition("/")[2]) and len(command) > 1:
        candidate = command[1]
        if not candidate.startswith("-") and "." in candidate:
            return _relative(candidate)
        return None
    return _relative(candidate) if "/" in candidate else None


def _relative(path: str) -> str | None:
    path = posixpath.normpath(path)
    return None if path.startswith(("/", "../")) else path


def _program(agent: Agent, settings: AgentSettings) -> str:
    if agent.traits.program:
        return agent.traits.program
    return settings.command[0] if settings.command else ""
