"""What a walled program may read, write and reach: pure, from paths and settings.

Everything can be read unless it is hidden, so that compilers, interpreters and their
packages work wherever they are installed. Nothing can be written unless it is opened.
Of two rules the one for the longer path holds: `~` may be open and `~/.ssh` is not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import IntEnum
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from runner.core.sandbox import SandboxSettings

# The name of the folder that a program gets for its temporary files, beside its checkout.
TEMPORARY = "tmp"
# Below HOME: what signs in as the person, or tells others who they are.
SECRETS = (
    *(".ssh", ".gnupg", ".pki", ".netrc", ".git-credentials"),
    *(".config/git/credentials", ".config/gh", ".config/hub", ".config/glab-cli"),
    *(".aws", ".azure", ".config/gcloud", ".oci", ".kube", ".docker", ".fly"),
    *(".config/doctl", ".config/heroku", ".terraform.d", ".config/rclone"),
    *(".config/containers/auth.json", ".vault-token", ".config/op", ".config/sops"),
    *(".pypirc", ".gem/credentials", ".cargo/credentials", ".cargo/credentials.toml"),
    *(".pgpass", ".my.cnf", ".password-store", ".local/share/keyrings"),
    *(".local/share/kwalletd", "Library/Keychains"),
    *(".mozilla", ".thunderbird", ".config/google-chrome", ".config/chromium"),
    *(".config/BraveSoftware", ".config/microsoft-edge", ".config/vivaldi"),
    *("snap/firefox", "snap/chromium", ".var/app"),
    *(".bash_history", ".zsh_history", ".python_history", ".psql_history"),
)
# Of the machine: what a root reads.
_OF_THE_MACHINE = (
    *("/etc/shadow", "/etc/gshadow", "/etc/shadow-", "/etc/gshadow-"),
    *("/etc/sudoers", "/etc/sudoers.d", "/etc/ssh", "/etc/ssl/private"),
    *("/etc/docker", "/etc/kubernetes"),
)
# Sockets of the machine and of the session, and what starts programs at their request.
_RUNTIME = ("/run", "/var/run")
# With bubblewrap it is a program's own, so what is to be read there has a rule that says so.
_DEVICES = "/dev/"
SHARED_MEMORY = "/dev/shm"  # noqa: S108  no file is made there
# Parts of /run without which names are not resolved, or a system has no programs.
_OF_RUNTIME = (
    *("/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager/resolv.conf"),
    *("/run/current-system", "/run/booted-system", "/run/opengl-driver"),
    "/run/wrappers",
)
# Variables of package managers that fail if they cannot write to their cache → what
# the cache is called in the attempt's own folder. What an agent writes into the
# person's own is what the person runs tomorrow.
_CACHES = {
    "GOCACHE": "go-build",
    "UV_CACHE_DIR": "uv",
    "npm_config_cache": "npm",
    "YARN_CACHE_FOLDER": "yarn",
    "PIP_CACHE_DIR": "pip",
    "CCACHE_DIR": "ccache",
    "GRADLE_USER_HOME": "gradle",
}
_BINARIES = frozenset({"bin", "sbin", ".bin", "Scripts"})


class Access(IntEnum):
    """What a program may do with all that is at or below a path."""

    HIDDEN = 0
    READ = 1
    WRITE = 2


_EVERYWHERE = Access.READ  # where no rule says anything else


class Surroundings(NamedTuple):
    """What a run lies in.

    homes: the person's home folder, and that of the user if it is another one.
    secrets: what is hidden below each of them, besides SECRETS.
    temporary: the folders of temporary files that all programs share, with the scratch
        folders of runs in them.
    repository: the work tree, and the git directories of the repository.
    objects: the folders of git objects that checkouts borrow.
    programs: folders that programs are found in, in the order of PATH, and what fanin
        itself needs to start.
    sockets: name of a kind of socket (`docker`) → where such sockets are, and what a
        program needs beside them; socket_variables: its variables that say so.
    secrets_elsewhere: what is hidden beside what is in `homes`.
    """

    homes: tuple[Path, ...]
    temporary: tuple[Path, ...]
    repository: tuple[Path, ...]
    objects: tuple[Path, ...] = ()
    programs: tuple[Path, ...] = ()
    secrets: tuple[str, ...] = ()
    sockets: Mapping[str, tuple[Path, ...]] = MappingProxyType({})
    socket_variables: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    secrets_elsewhere: tuple[Path, ...] = ()


class Enclosure(NamedTuple):
    """What one program gets of its own: what it may write and read beside what the run
    opens, the folder of its temporary files, and what in it all is only to be read.
    """

    writable: tuple[Path, ...]
    temporary: Path
    readable: tuple[Path, ...] = ()
    protected: tuple[Path, ...] = ()


class Rules(NamedTuple):
    """The rules of one program: absolute path without links → the access to it and to
    all below it, the shorter paths first. Each changes what the path above says.

    temporary: the folder that stands in for each of `shared_temporary`, where a mechanism
        can do that.

    Paths are texts: there are hundreds, and a Path takes ten times as long.
    """

    rules: Mapping[str, Access]
    temporary: str
    shared_temporary: tuple[str, ...] = ()
    network: bool = True

    def covering(self, path: str) -> Access | None:
        """What the longest rule for a path without links says, None if there is none."""
        return _covering(self.rules, path)

    def access(self, path: str) -> Access:
        """What the rules say of a path without links."""
        return _access(self.rules, path)


def is_in_shared_memory(path: str) -> bool:
    """Whether the path without links is below the folder of shared memory."""
    return path.startswith(f"{SHARED_MEMORY}/")


def parents(path: str) -> Iterator[str]:
    """The folders that a path is in, the nearest first."""
    while path != "/":
        path = path.rpartition("/")[0] or "/"
        yield path


def access_of_run(
    settings: SandboxSettings,
    surroundings: Surroundings,
    resolved: Callable[[Path], str],
    other_paths: Callable[[str], Iterable[str]] = lambda _: (),
) -> dict[str, Access]:
    """What holds for every program of a run. `resolved` gives a path without links,
    `other_paths` those by which a file can be reached as well.
    """
    hidden = [resolved(path) for path in _hidden(settings, surroundings)]
    hidden += chain.from_iterable(map(other_paths, list(hidden)))
    access = dict.fromkeys(hidden, Access.HIDDEN)
    for home in surroundings.homes:  # which may be below a folder of temporary files
        access.setdefault(resolved(home), Access.READ)
    readable = _needed(surroundings, access)
    for name in settings.sockets:
        readable += surroundings.sockets.get(name, ())
    for path in (*readable, *_named(settings.read, surroundings)):
        access[resolved(path)] = Access.READ
    for path in _named(settings.write, surroundings):
        access[resolved(path)] = Access.WRITE
    return access


def rules_of(
    of_run: Mapping[str, Access],
    enclosure: Enclosure,
    shared_temporary: tuple[str, ...],
    resolved: Callable[[Path], str],
    *,
    network: bool = True,
) -> Rules:
    """The rules of a program in a run; `of_run` holds for each of them."""
    access = dict(of_run)
    for path in enclosure.readable:
        access[resolved(path)] = Access.READ
    for path in (*enclosure.writable, enclosure.temporary):
        access[resolved(path)] = Access.WRITE
    for path in enclosure.protected:
        access[resolved(path)] = Access.READ
    temporary = resolved(enclosure.temporary)
    return Rules(_effective(access), temporary, shared_temporary, network=network)


def _access(rules: Mapping[str, Access], path: str) -> Access:
    covering = _covering(rules, path)
    return _EVERYWHERE if covering is None else covering


def _covering(rules: Mapping[str, Access], path: str) -> Access | None:
    """What the longest rule for the path says, None if there is none."""
    if path in rules:
        return rules[path]
    for folder in parents(path):
        if folder in rules:
            return rules[folder]
    return None


def _effective(access: Mapping[str, Access]) -> dict[str, Access]:
    """The rules that change what a shorter one says, the shorter ones first.

    Where a folder is open for writing, a rule that says so of a file in it would keep
    programs from replacing that file.
    """
    rules: dict[str, Access] = {}
    for path in sorted(access, key=lambda path: (path.count("/"), path)):
        covering = _covering(rules, path)
        is_missing = covering is None and path.startswith(_DEVICES)
        if is_missing or access[path] is not _access(rules, path):
            rules[path] = access[path]
    return rules


def _hidden(settings: SandboxSettings, surroundings: Surroundings) -> list[Path]:
    hidden = [Path(path) for path in (*_OF_THE_MACHINE, *_RUNTIME)]
    for home in surroundings.homes:
        hidden += [home / name for name in (*SECRETS, *surroundings.secrets)]
    for paths in surroundings.sockets.values():
        hidden += paths
    hidden += [
        *surroundings.secrets_elsewhere,
        *surroundings.temporary,
        *surroundings.repository,
    ]
    return [*hidden, *_named(settings.hide, surroundings)]


def _named(texts: Iterable[str], surroundings: Surroundings) -> list[Path]:
    """The paths that the settings name."""
    named = []
    for text in texts:
        if text.startswith("~"):
            named += [home / text[1:].lstrip("/") for home in surroundings.homes[:1]]
        else:
            named.append(surroundings.repository[0] / text)
    return named


def _needed(surroundings: Surroundings, hidden: Mapping[str, Access]) -> list[Path]:
    """What must be read below what is hidden."""
    needed = [Path(path) for path in _OF_RUNTIME]
    needed += surroundings.objects
    # what is too much to open for a program in it
    broad = [*surroundings.homes, *surroundings.temporary, *surroundings.repository]
    for folder in surroundings.programs:
        path = str(folder)
        is_hidden = _access(hidden, path) is Access.HIDDEN
        if not is_hidden and not path.startswith(_DEVICES):
            continue
        opened = folder
        if folder.name in _BINARIES:
            # `.venv/bin` is of no use without `.venv/lib`
            opened = folder.parent
        if any(each.is_relative_to(opened) for each in broad):
            opened = folder
        if opened not in broad:
            needed.append(opened)
    return needed


def cache_variables(temporary: Path, environ: Mapping[str, str]) -> dict[str, str]:
    """Where package managers keep their caches, unless the person has said where."""
    return {
        name: str(temporary / "cache" / folder)
        for name, folder in _CACHES.items()
        if name not in environ
    }
