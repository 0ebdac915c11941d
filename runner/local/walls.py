"""The walls of a run on this machine: what the machine can, and what the run lies in."""

from __future__ import annotations

import os
import pwd
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import runner
from runner.agents import agent_for, presets
from runner.agents.process import first_line
from runner.config.settings import Settings
from runner.core.task import AgentSettings
from runner.repo.repository import Repository
from runner.sandbox.choose import choose
from runner.sandbox.machine import Machine, look
from runner.sandbox.rules import SECRETS, Surroundings
from runner.sandbox.walls import NO_WALLS, Walls

# Beside the folder that Python takes: programs name these without asking.
_TEMPORARY: tuple[str, ...] = ("/tmp", "/var/tmp")  # noqa: S108 - they are covered, not used
_MAX_ALTERNATES = 100  # git follows five
_FIRST_PERSON = 1000  # UID_MIN of login.defs(5); the users before belong to services
# Variables that say where a program keeps what it signs in with.
_PLACES_OF_SECRETS = (
    *("GNUPGHOME", "GH_CONFIG_DIR", "DOCKER_CONFIG", "NETRC", "PASSWORD_STORE_DIR"),
    *(
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CONFIG_FILE",
        "AZURE_CONFIG_DIR",
        "KUBECONFIG",
    ),
    *("CLOUDSDK_CONFIG", "PGPASSFILE", "RCLONE_CONFIG", "SOPS_AGE_KEY_FILE"),
)
# Variables that move a folder below HOME, for all programs.
_MOVED_FOLDERS = {"XDG_CONFIG_HOME": ".config", "XDG_DATA_HOME": ".local/share"}


def walls_of(repo: Repository, settings: Settings, environ: Mapping[str, str]) -> Walls:
    """The walls around all that a run starts. EnvironmentBroken if the settings require
    what the machine cannot.
    """
    if settings.sandbox.mode == "off":
        return NO_WALLS
    choice = choose(settings.sandbox, this_machine(environ))
    return Walls(choice, settings.sandbox, surroundings(repo, environ))


def walls_of_tasks(
    repo: Repository, settings: Settings, environ: Mapping[str, str]
) -> dict[str, Walls]:
    """Task id → its walls, of those that require them although the run does not.
    EnvironmentBroken as `walls_of`.
    """
    ids = [task_id for task_id, task in settings.tasks.items() if task.sandbox]
    if not ids:
        return {}
    sandbox = settings.sandbox.model_copy(update={"mode": "require"})
    required = settings.model_copy(update={"sandbox": sandbox})
    return dict.fromkeys(ids, walls_of(repo, required, environ))


def this_machine(environ: Mapping[str, str]) -> Machine:
    return look(environ, partial(first_line, environ=environ))


def without_own_sandbox(chosen: Iterable[AgentSettings]) -> tuple[str, ...]:
    """What a person should know of agents that have a sandbox of their own."""
    agents = [agent_for(settings) for settings in chosen]
    names = {agent.name for agent in agents if agent.traits.sandboxes_itself}
    return tuple(
        f"within walls {name} runs without its own sandbox, which cannot start there; "
        "its commands have the network that  sandbox.network  allows"
        for name in sorted(names)
    )


def surroundings(repo: Repository, environ: Mapping[str, str]) -> Surroundings:
    """What a run in the repository lies in."""
    homes = _homes(environ)
    git_dir = repo.git_dir.resolve()
    logins = {login for agent in presets().values() for login in agent.traits.logins}
    secrets = tuple(sorted(logins))
    return Surroundings(
        homes,
        tuple(dict.fromkeys(map(Path, (*_TEMPORARY, tempfile.gettempdir())))),
        (repo.root, *_other_work_trees(git_dir), git_dir),
        tuple(_object_folders(git_dir)),
        tuple(_program_folders(environ)),
        secrets,
        {
            "docker": tuple(_docker_sockets(environ, homes)),
            "ssh-agent": tuple(_ssh_files(environ, homes)),
            "session": tuple(_absolute(environ.get("XDG_RUNTIME_DIR"))),
        },
        {
            "docker": _chosen(environ, "DOCKER_HOST"),
            "ssh-agent": _chosen(environ, "SSH_AUTH_SOCK"),
        },
        tuple(
            _secrets_elsewhere(environ, (*SECRETS, *secrets), is_root=os.geteuid() == 0)
        ),
    )


def _secrets_elsewhere(
    environ: Mapping[str, str], secrets: Sequence[str], *, is_root: bool
) -> Iterator[Path]:
    """Where `secrets`, which are below HOME, are as well: where variables say so, and in
    the homes of all users if it is root who could read them.
    """
    for name in _PLACES_OF_SECRETS:
        for text in environ.get(name, "").split(os.pathsep):
            yield from _absolute(text)
    moved = dict(_MOVED_FOLDERS)
    for agent in presets().values():
        moved |= agent.traits.homes
    for name, folder in moved.items():
        inside = [secret for secret in secrets if secret.startswith(f"{folder}/")]
        for new in _absolute(environ.get(name)):
            yield from (new / secret.removeprefix(f"{folder}/") for secret in inside)
    for home in _homes_of_others() if is_root else ():
        yield from (home / secret for secret in secrets)


def _homes_of_others() -> list[Path]:
    homes = [
        Path(user.pw_dir) for user in pwd.getpwall() if user.pw_uid >= _FIRST_PERSON
    ]
    return [home for home in homes if home.is_dir()]


def _homes(environ: Mapping[str, str]) -> tuple[Path, ...]:
    """The folder that HOME names, and the user's own, if they are folders of somebody."""
    homes = [environ.get("HOME", "")]
    with suppress(KeyError):  # a user without a name, as in some containers
        homes.append(pwd.getpwuid(os.geteuid()).pw_dir)
    paths = [Path(home).resolve() for home in homes if home.startswith("/")]
    return tuple(path for path in dict.fromkeys(paths) if path != Path("/"))


def _other_work_trees(git_dir: Path) -> Iterator[Path]:
    for file in (git_dir / "worktrees").glob("*/gitdir"):
        with suppress(OSError, UnicodeDecodeError):
            yield Path(file.read_text(encoding="utf-8").strip()).parent


def _object_folders(git_dir: Path) -> Iterator[Path]:
    """The folders of objects that checkouts borrow, with those that these borrow."""
    waiting = [git_dir / "objects", *(git_dir / "modules").rglob("objects")]
    followed: set[Path] = set()
    while waiting and len(followed) < _MAX_ALTERNATES:
        folder = waiting.pop()
        if folder in followed:
            continue
        followed.add(folder)
        yield folder
        with suppress(OSError, UnicodeDecodeError):
            text = (folder / "info" / "alternates").read_text(encoding="utf-8")
            lines = [line for line in text.splitlines() if line and line[0] not in '#"']
            waiting += [(folder / line).resolve() for line in lines]


def _program_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """Where programs are found, and what fanin needs to start one."""
    for entry in environ.get("PATH", "").split(os.pathsep):
        if entry.startswith("/"):
            yield Path(os.path.normpath(entry))
    for name in (sys.prefix, sys.base_prefix):
        yield Path(name)
    yield Path(sys.executable).parent
    yield Path(runner.__file__).parent


def _docker_sockets(
    environ: Mapping[str, str], homes: tuple[Path, ...]
) -> Iterator[Path]:
    yield Path("/run/docker.sock")
    host = environ.get("DOCKER_HOST", "")
    if host.startswith("unix:///"):
        yield Path(host.removeprefix("unix://"))
    for folder in homes:
        yield folder / ".docker" / "run" / "docker.sock"
        yield folder / ".docker" / "desktop" / "docker.sock"
    for folder in _absolute(environ.get("XDG_RUNTIME_DIR")):
        yield folder / "docker.sock"


def _ssh_files(environ: Mapping[str, str], homes: tuple[Path, ...]) -> Iterator[Path]:
    """The agent's socket, and what ssh reads besides keys."""
    yield from _absolute(environ.get("SSH_AUTH_SOCK"))
    for home in homes:
        yield home / ".ssh" / "known_hosts"
        yield home / ".ssh" / "config"


def _absolute(text: str | None) -> list[Path]:
    return [Path(text)] if text is not None and text.startswith("/") else []


def _chosen(environ: Mapping[str, str], name: str) -> dict[str, str]:
    return {name: environ[name]} if name in environ else {}
