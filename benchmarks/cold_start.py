"""Cold start: how long until a command can begin, against a Python that does nothing,
and what is loaded by then.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benchmarks.harness import (
    PYTHON,
    Effort,
    Report,
    Table,
    Target,
    environment,
    expect,
    folder,
    interleaved,
    run,
    seconds_of,
)

START = "from runner.cli import main; main()"
HEAVY = (
    "click",
    "yaml",
    "pydantic",
    "git",
    "networkx",
    "rich",
    "github",
    "requests",
)
_TELL = f"""
import sys
sys.argv = ["fanin", *sys.argv[1:]]
try:
    {START}
except SystemExit as end:
    print("\\n::", end.code, *sys.modules)
"""
COMMANDS = (
    ["--help"],
    ["graph"],
    ["status", "--json"],
    ["status"],
    ["check"],
    ["run"],
)


def measure(effort: Effort) -> Report:
    report = Report("Cold start")
    with folder(effort, "cold-start") as where:
        _project(where)
        if not effort.smoke:
            for argv in COMMANDS:  # this compiles what is not compiled yet
                run([PYTHON, "-c", _TELL, *argv], where, env=_environment())
        competitors = {
            "python -c pass": partial(_timed, where, "pass", []),
            "import click": partial(_timed, where, "import click", []),
            **{
                f"fanin {' '.join(argv)}": partial(_timed, where, START, argv)
                for argv in COMMANDS
            },
        }
        samples = interleaved(competitors, effort.repeats * (1 if effort.smoke else 3))
        rows = [
            [
                name,
                f"{samples.median(name) * 1e3:.0f}",
                f"{samples.ratio(name, 'python -c pass'):.1f}",
                _loaded(where, name.split()[1:]) if name.startswith("fanin") else "",
            ]
            for name in samples.seconds
        ]
    ratio = samples.ratio("fanin --help", "python -c pass")
    report.targets.append(Target("`fanin --help` ÷ `python -c pass`", ratio, 5.0))
    report.tables.append(
        Table(
            "A plan of two tasks, both completed",
            ["", "ms", "÷ python", "loaded"],
            rows,
        )
    )
    click = samples.ratio("import click", "python -c pass")
    report.notes.append(
        f"click alone, which is prescribed, takes {click:.1f} of the five. `loaded` lists the libraries that are "
        "in memory when the command ends; tests hold every command to its list."
    )
    return report


def _project(where: Path) -> None:
    run(["git", "init", "-q", "-b", "main"], where)
    plan = "version: 1\ntasks: [{id: A, title: a, allow_empty: true}, {id: B, title: b, depends_on: [A]}]\n"
    (where / "tasks.yml").write_text(plan)
    (where / "fanin.yml").write_text('agent: {command: ["true"]}\n')
    who = ["-c", "user.name=b", "-c", "user.email=b@localhost"]
    run(["git", "add", "-A"], where)
    run(["git", *who, "commit", "-qm", "plan"], where)
    run(
        [PYTHON, "-c", START, "skip", "--satisfied", "A", "B"],
        where,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    who = {
        "GIT_AUTHOR_NAME": "b",
        "GIT_AUTHOR_EMAIL": "b@b",
        "GIT_COMMITTER_NAME": "b",
        "GIT_COMMITTER_EMAIL": "b@b",
    }
    return environment(**who)


def _timed(where: Path, program: str, argv: list[str]) -> float:
    return seconds_of(
        lambda: run([PYTHON, "-c", program, *argv], where, env=_environment())
    )


def _loaded(where: Path, argv: list[str]) -> str:
    told = (
        run([PYTHON, "-c", _TELL, *argv], where, env=_environment())
        .decode()
        .rpartition("\n:: ")[2]
        .split()
    )
    expect(told[0], "0", f"exit code of fanin {' '.join(argv)}")
    return ", ".join(name for name in HEAVY if name in told)
