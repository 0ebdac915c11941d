"""A failed command's log names the program that this machine lacks."""

from __future__ import annotations

import pytest

from runner.local.missing_program import how_to_install, missing_program


def _which(name: str) -> str | None:
    return f"/usr/bin/{name}" if name in {"sh", "make", "apt-get"} else None


def _which_without_apt(_name: str) -> None:
    return None


@pytest.mark.parametrize(
    "log",
    [
        "sh: 1: rake: not found",
        "/bin/sh: 1: rake: not found",
        "sh: rake: not found",
        "./test.sh: line 3: rake: command not found",
        "zsh: command not found: rake",
        "/usr/bin/env: ‘rake’: No such file or directory",
        "env: rake: No such file or directory",
        "make: rake: No such file or directory\nmake: *** [Makefile:2: test] Error 127",
        "make[1]: rake: Command not found\nmake[1]: *** [Makefile:2: test] Error 127",
        "sh: 1: gem: not found\nskipped\nsh: 1: rake: not found\nsh: 1: make: not found",
    ],
)
def test_a_program_that_is_not_on_path_is_named(log: str) -> None:
    assert missing_program(f"started\n{log}\nended\n", _which) == "rake"


@pytest.mark.parametrize(
    "log",
    [
        "",
        "sh: 1: make: not found",  # on this PATH it is
        "E404: page: not found here",
        "make: rules.mk: No such file or directory\nmake: *** No rule to make target",
        "sh: 1: ./run tests: not found",
        "sh: 1: \x1b[31mrake: not found",
    ],
)
def test_no_program_is_named_if_none_is_missing(log: str) -> None:
    assert missing_program(log, _which) is None


def test_the_package_is_named_where_apt_is() -> None:
    assert how_to_install("cc", _which) == "cc is not installed:  apt-get install gcc"
    assert how_to_install("rake", _which).endswith("apt-get install rake")
    assert how_to_install("g++", _which).endswith("apt-get install build-essential")
    assert how_to_install("aclocal-1.16", _which).endswith("apt-get install automake")
    other = "is not installed: install it, or let  setup  do so"
    assert how_to_install("mocha", _which) == f"mocha {other}"
    assert how_to_install("cc", _which_without_apt) == f"cc {other}"
