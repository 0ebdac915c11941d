"""Which walls stand, and when a run is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.core.errors import EnvironmentBroken, UsageProblem
from runner.core.sandbox import SandboxSettings
from runner.sandbox import landlock, machine
from runner.sandbox.choose import choose
from runner.sandbox.machine import NOT_INSTALLED, Machine

BWRAP = Path("/usr/bin/bwrap")
INSTALL = "; to have more:  apt install bubblewrap"
CLOSED = "bubblewrap cannot start: user.max_user_namespaces is 0"


def _machine(version: int, problem: str = "", system: str = "linux") -> Machine:
    return Machine(system, None if problem else BWRAP, problem, version)


@pytest.mark.parametrize(
    ("there", "sentence"),
    [
        (_machine(7), "walls: bubblewrap and Landlock"),
        (_machine(0), "walls: bubblewrap, no wall: abstract sockets"),
        (
            _machine(7, NOT_INSTALLED),
            f"walls: Landlock, no wall: sockets, file modes, names of files, terminals{INSTALL}",
        ),
        (
            _machine(9, NOT_INSTALLED),
            f"walls: Landlock, no wall: file modes, names of files, terminals{INSTALL}",
        ),
        (
            _machine(3, NOT_INSTALLED),
            f"walls: Landlock, no wall: signals, sockets, file modes, names of files, terminals{INSTALL}",
        ),
        (
            _machine(2, NOT_INSTALLED),
            f"no walls: {NOT_INSTALLED}, and Landlock 2 is too old (3 is needed: Linux 6.2){INSTALL}",
        ),
        (_machine(0, CLOSED), f"no walls: {CLOSED}, and the kernel has no Landlock"),
        (
            Machine("darwin", None, "", 0),
            "no walls: only Linux has them",
        ),
    ],
)
def test_auto_takes_what_there_is_and_says_what_does_not_stand(
    there: Machine, sentence: str
) -> None:
    assert choose(SandboxSettings(mode="auto"), there).sentence == sentence


@pytest.mark.parametrize(
    ("there", "reason"),
    [
        (_machine(7, NOT_INSTALLED), "no wall: sockets, file modes.*not installed"),
        (_machine(0), "no wall: abstract sockets: Landlock 6 is needed"),
        (_machine(0, NOT_INSTALLED), "not installed, and the kernel has no Landlock"),
        (_machine(2, CLOSED), "max_user_namespaces is 0, and Landlock 2 is too old"),
        (Machine("darwin", None, "", 0), "only Linux has them"),
    ],
)
def test_require_refuses_where_a_wall_is_missing(there: Machine, reason: str) -> None:
    with pytest.raises(EnvironmentBroken, match=reason):
        choose(SandboxSettings(mode="require"), there)


def test_require_takes_the_machine_that_has_all() -> None:
    assert choose(SandboxSettings(mode="require"), _machine(6)).has_walls


def test_hosts_cannot_be_held() -> None:
    settings = SandboxSettings(mode="auto", network=("api.example.com",))
    for there in (_machine(9), _machine(9, NOT_INSTALLED)):
        sentence = choose(settings, there).sentence
        assert "hosts of the network, all can be reached" in sentence
        with pytest.raises(UsageProblem, match="hosts cannot be held"):
            choose(settings.model_copy(update={"mode": "require"}), there)


def test_require_says_which_part_of_the_network_landlock_leaves_open() -> None:
    settings = SandboxSettings(mode="require", network="off")
    with pytest.raises(EnvironmentBroken, match="network but TCP: bubblewrap is not"):
        choose(settings, _machine(9, NOT_INSTALLED))


def test_without_walls_nothing_is_chosen() -> None:
    assert not choose(SandboxSettings(mode="off"), _machine(7)).has_walls


def test_a_machine_is_asked_by_a_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bwrap"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    environ = {"PATH": str(tmp_path)}
    # what a kernel without Landlock answers: ENOSYS
    monkeypatch.setattr(landlock, "_syscall", lambda *_: -1)
    assert machine.look(environ, lambda _: "bubblewrap 1") == Machine(
        "linux", program, "", 0
    )
    refused = machine.look(environ, lambda _: None)
    assert refused.bubblewrap is None
    assert refused.problem.startswith("bubblewrap cannot start: ")
    nowhere = machine.look({"PATH": ""}, lambda _: None)
    assert nowhere.problem == NOT_INSTALLED
    assert machine.look(environ, lambda _: "", system="darwin").bubblewrap is None
