"""Which program a failed command lacks on this machine, and how Debian installs it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

# What shells, env and make print. make also prints this of a makefile that is not there,
# so it counts only before the exit status of a shell that did not find a program.
_NOT_FOUND = (
    r"^\S+?:(?: (?:line )?\d+:)? ([\w.+-]+): (?:command )?not found$",  # dash, bash
    r"^\S+: command not found: ([\w.+-]+)$",  # zsh
    r"^\S*\benv: ['‘]?([\w.+-]+)['’]?: No such file or directory$",
    (
        r"^make(?:\[\d+\])?: ([\w.+-]+): (?:No such file or directory|Command not found)"
        r"\nmake.* Error 127$"
    ),
)
# program → its Debian package, where the name is another
_PACKAGES = {
    "aclocal": "automake",
    "autoreconf": "autoconf",
    "bundle": "bundler",
    "cabal": "cabal-install",
    "cc": "gcc",
    "dune": "ocaml-dune",
    "gem": "ruby",
    "go": "golang-go",
    "libtoolize": "libtool",
    "mix": "elixir",
    "msgfmt": "gettext",
    "mvn": "maven",
    "ninja": "ninja-build",
    "node": "nodejs",
    "npx": "npm",
    "pip": "python3-pip",
    "pip3": "python3-pip",
    "poetry": "python3-poetry",
    "prove": "perl",
    "pytest": "python3-pytest",
    "rspec": "ruby-rspec",
    "yacc": "bison",
}
_SAME_NAME = {
    *("autoconf", "autopoint", "automake", "bison", "cargo", "cmake", "composer"),
    *("flex", "gcc", "gettext", "git-lfs", "gperf", "gradle", "just", "m4"),
    *("make", "meson", "npm", "perl", "phpunit", "pkg-config", "python3", "rake"),
    *("ruby", "tox"),
}


def missing_program(log: str, which: Callable[[str], object]) -> str | None:
    """The program that the log says last is missing, and that is; None if there is none.

    `which` looks up a program on PATH, like `shutil.which`.
    """
    missing = [name for name in _names(log) if which(name) is None]
    return missing[-1] if missing else None


def _names(log: str) -> Iterator[str]:
    found: list[re.Match[str]] = []
    for pattern in _NOT_FOUND:
        found += re.finditer(pattern, log, re.MULTILINE)
    for match in sorted(found, key=re.Match.start):
        yield match[1]


def how_to_install(program: str, which: Callable[[str], object]) -> str:
    """What a person should do about a program that is missing, in one line."""
    package = _package(program)
    if package is None or which("apt-get") is None:
        return f"{program} is not installed: install it, or let  setup  do so"
    return f"{program} is not installed:  apt-get install {package}"


def _package(program: str) -> str | None:
    plain = re.sub(r"-[\d.]+$", "", program)  # automake calls aclocal-1.16
    if plain.endswith("++"):
        return "build-essential"  # a compiler of C++, whatever its name
    return plain if plain in _SAME_NAME else _PACKAGES.get(plain)
