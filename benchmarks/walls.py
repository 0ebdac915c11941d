"""Walls: the start of a program within each kind of them ÷ one without."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from benchmarks.harness import (
    Effort,
    Report,
    Table,
    Target,
    Unavailable,
    expect,
    folder,
    interleaved,
    run,
    seconds_of,
)
from runner.agents import process
from runner.core.sandbox import SandboxSettings
from runner.local.walls import surroundings
from runner.repo.repository import Repository
from runner.sandbox.choose import choose
from runner.sandbox.machine import look
from runner.sandbox.walls import NO_WALLS, Walls

ROUNDS = 50
WITHOUT, WITHIN = "without walls", "bubblewrap and Landlock"


def measure(effort: Effort) -> Report:
    report = Report("Walls")
    with folder(effort, "walls") as where:
        kinds = _kinds(where)
        competitors = {
            name: partial(_start, where / str(number), kinds[name])
            for number, name in enumerate(kinds)
        }
        samples = interleaved(competitors, 1 if effort.smoke else ROUNDS)
    rows = []
    added = {}
    for name in samples.seconds:
        added[name] = (samples.median(name) - samples.median(WITHOUT)) * 1e3
        times = f"{samples.ratio(name, WITHOUT):.2f}"
        rows.append(
            [name, f"{samples.median(name) * 1e3:.1f}", times, f"{added[name]:.1f}"]
        )
    target = f"A start within {WITHIN}, more than {WITHOUT}"
    report.targets.append(Target(target, added[WITHIN], 20.0, "ms"))
    title = "The start and the end of `true`"
    report.tables.append(Table(title, ["", "ms", "÷ without", "ms more"], rows))
    report.notes.append(
        f"The median of {ROUNDS} rounds: the rules are made, the program is started below its supervisor, and "
        "everything has ended."
    )
    return report


def _kinds(where: Path) -> dict[str, Walls]:
    """What is compared. Unavailable if this machine cannot have all of it."""
    settings = SandboxSettings(mode="auto")
    machine = look(os.environ, partial(process.first_line, environ=os.environ))
    if machine.bubblewrap is None or not machine.landlock:
        raise Unavailable(machine.problem or "the kernel has no Landlock")
    run(["git", "init", "-q", "-b", "main", str(where / "project")], where)
    around = surroundings(Repository(where / "project", os.environ), os.environ)
    machines = {
        WITHIN: machine,
        "bubblewrap": machine._replace(landlock=0),
        "Landlock": machine._replace(bubblewrap=None),
    }
    kinds = {WITHOUT: NO_WALLS}
    for name, there in machines.items():
        kinds[name] = Walls(choose(settings, there), settings, around)
    return kinds


def _start(where: Path, walls: Walls) -> float:
    """The seconds from the decision to start a program to its end."""
    checkout = where / "checkout"
    checkout.mkdir(parents=True, exist_ok=True)
    environ = process.environment(os.environ, (), {})

    def start() -> None:
        walled = walls.around(checkout, environ)
        outcome = process.run(
            ["true"],
            cwd=checkout,
            env=environ,
            stdin=None,
            log=where / "log",
            timeout=60,
            walled=walled,
        )
        expect(outcome.exit_code, 0, (where / "log").read_text())

    return seconds_of(start)
