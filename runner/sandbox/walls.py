"""The walls of a run, and what they make of the start of one program."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from runner.core.sandbox import SandboxSettings
from runner.sandbox import bubblewrap, grants, home, landlock, mounts
from runner.sandbox.choose import Choice
from runner.sandbox.rules import (
    TEMPORARY,
    Access,
    Enclosure,
    Rules,
    Surroundings,
    access_of_run,
    cache_variables,
    rules_of,
)

_HOME = "home"  # in the folder of temporary files


class Walled(NamedTuple):
    """How a program is started within walls.

    prefix: the command before its own, () for none: it starts in another process
        namespace then.
    landlock: what `landlock.confine` is called with, () if it is not.
    variables: of its environment.
    """

    prefix: tuple[str, ...] = ()
    landlock: tuple[str, ...] = ()
    variables: Mapping[str, str] = MappingProxyType({})
    rules: Rules | None = None


OPEN = Walled()


@dataclass(frozen=True)
class Walls:
    """The walls of a run: its mechanisms, its settings and what it lies in."""

    choice: Choice
    settings: SandboxSettings
    surroundings: Surroundings

    # Once a run: it looks at some hundred paths.
    @cached_property
    def _access(self) -> dict[str, Access]:
        other_paths = mounts.read().other_paths
        return access_of_run(self.settings, self.surroundings, _resolved, other_paths)

    @cached_property
    def _shared_temporary(self) -> tuple[str, ...]:
        return tuple(_resolved(path) for path in self.surroundings.temporary)

    @property
    def stand(self) -> bool:
        return self.choice.has_walls

    @property
    def identity(self) -> str:
        """Equal where the same mechanisms stand with the same settings; "" without any."""
        if not self.stand:
            return ""
        settings = self.settings.model_dump_json(exclude={"mode"})
        return f"{bool(self.choice.bubblewrap)} {self.choice.landlock} {settings}"

    def around(
        self,
        checkout: Path,
        environ: Mapping[str, str],
        *,
        writable: Sequence[Path] = (),
        readable: Sequence[Path] = (),
        protected: Sequence[Path] = (),
        programs: Sequence[str] = (),
    ) -> Walled:
        """The walls around one program, whose variables are `environ`.

        It works in `checkout`, beside which it gets a folder for its temporary files.
        `writable` and `readable` are opened besides, and of the command line `programs`
        the files that lie where a program of the repository may. What is `protected` can
        be read, if it is there, and not be written where that is open. Landlock alone
        cannot do that without closing the folder to new files.
        """
        if not self.stand:
            return OPEN
        temporary = checkout.parent / TEMPORARY
        temporary.mkdir(mode=0o700, exist_ok=True)
        enclosure = Enclosure(
            (checkout, *writable),
            temporary,
            (*readable, *self._files_of(programs)),
            tuple(protected) if self.choice.bubblewrap else (),
        )
        rules = rules_of(
            self._access,
            enclosure,
            self._shared_temporary,
            _resolved,
            network=self.settings.network != "off",
        )
        variables = cache_variables(temporary, environ)
        variables |= self._own_home(temporary, environ, rules)
        for name in self.settings.sockets:
            variables |= self.surroundings.socket_variables.get(name, {})
        if not self.choice.bubblewrap:
            granted = grants.alone(rules, _entries)
            variables["TMPDIR"] = str(temporary)
            return Walled((), self._landlock(rules, granted), variables, rules)
        arguments = bubblewrap.arguments(
            rules, _kind_of, is_root=os.geteuid() == 0, working_folder=checkout
        )
        if "TMPDIR" in environ:
            # its own would be a longer path; those of sockets are short
            variables["TMPDIR"] = str(rules.shared_temporary[0])
        # without Landlock too: it refuses system calls
        confined = self._landlock(rules, grants.inside_bubblewrap(rules))
        return Walled((self.choice.bubblewrap, *arguments), confined, variables, rules)

    def _own_home(
        self, temporary: Path, environ: Mapping[str, str], rules: Rules
    ) -> dict[str, str]:
        """The variable of the home that a program gets instead of the person's. None if
        it has another one, or may write to that.
        """
        homes = self.surroundings.homes
        if not homes or "HOME" not in environ:
            return {}
        theirs = _resolved(homes[0])
        is_theirs = _resolved(Path(environ["HOME"])) == theirs
        if not is_theirs or rules.access(theirs) is Access.WRITE:
            return {}
        own = temporary / self._home_name(temporary, rules)
        try:
            home.make(own, Path(theirs), rules)
        except OSError:
            # what ran before has put something in its place: so there is none
            return {}
        return {"HOME": str(own)}

    def _home_name(self, temporary: Path, rules: Rules) -> str:
        """The name of the home in the folder of temporary files: with bubblewrap that of
        a folder which it would make there anyway.
        """
        first = None
        if self.choice.bubblewrap:
            first = bubblewrap.first_missing(_resolved(temporary), rules)
        return _HOME if first is None else first.rpartition("/")[2]

    def _landlock(
        self, rules: Rules, granted: Sequence[tuple[str, int]]
    ) -> tuple[str, ...]:
        texts = landlock.encode(self.choice.landlock, granted, network=rules.network)
        return tuple(texts)

    def _files_of(self, programs: Sequence[str]) -> list[Path]:
        """The files that a command line names in what is hidden for its neighbours'
        sake, not for its own.
        """
        surroundings = self.surroundings
        shared = [
            _resolved(path)
            for path in (*surroundings.repository, *surroundings.temporary)
        ]
        files = []
        for text in programs:
            path = Path(_resolved(Path(text)))
            is_shared = any(path.is_relative_to(folder) for folder in shared)
            if text.startswith("/") and is_shared and path.is_file():
                files.append(path)
        return files


NO_WALLS = Walls(Choice(), SandboxSettings.model_construct(), Surroundings((), (), ()))


def _resolved(path: Path) -> str:
    return os.path.realpath(path)


def _kind_of(path: str) -> bubblewrap.Kind | None:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return None
    return "folder" if stat.S_ISDIR(mode) else "file"


def _entries(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.path for entry in entries if not entry.is_symlink()]
    except OSError:
        return []
