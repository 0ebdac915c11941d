"""What every part of the benchmarks is made of: interleaved samples, tables, targets,
and the report.

Machines are noisy, so nothing here compares two runs: every figure is a ratio inside
one, the median of at least five rounds in which all competitors take turns. An output
is verified before its time counts.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter

ROOT = Path(__file__).parents[1]
FILES = 60  # that a workspace of a small repository has


class WrongOutput(Exception):
    """A competitor's output is not right, so that its time means nothing."""


class Unavailable(Exception):
    """A peer cannot be had on this machine; it is left out by name."""


@dataclass(frozen=True)
class Effort:
    """How much is measured and where: `smoke` is tiny sizes, once; `small` makes the
    longest parts shorter; `cache` outlives the run.
    """

    work: Path
    cache: Path
    smoke: bool = False
    repeats: int = 5
    small: bool = False


@dataclass(frozen=True)
class Table:
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Target:
    """A bound that a measured figure should not exceed."""

    what: str
    measured: float
    bound: float
    unit: str = "×"

    @property
    def met(self) -> bool:
        return self.measured <= self.bound

    def row(self) -> list[str]:
        verdict = "met" if self.met else "missed"
        return [
            self.what,
            f"{self.measured:.2f} {self.unit}",
            f"≤ {self.bound:g} {self.unit}",
            verdict,
        ]


@dataclass
class Report:
    """What one part found."""

    title: str
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class Samples:
    """Seconds of every competitor, one for each round."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, to: str) -> float:
        """The median over the rounds of one's time as a multiple of another's in the
        same round.
        """
        pairs = zip(self.seconds[name], self.seconds[to], strict=True)
        return statistics.median(one / other for one, other in pairs)

    def net_ratio(self, name: str, start: str, bound: float) -> float:
        """The median over the rounds of (time − start-up) ÷ a lower bound."""
        pairs = zip(self.seconds[name], self.seconds[start], strict=True)
        return statistics.median((one - other) / bound for one, other in pairs)


def interleaved(
    competitors: Mapping[str, Callable[[], float]], repeats: int
) -> Samples:
    """Every competitor once a round, each round in another order; a competitor gives
    the seconds that count.
    """
    found = Samples({name: [] for name in competitors})
    names = list(competitors)
    for number in range(repeats):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            found.seconds[name].append(competitors[name]())
    return found


def seconds_of(call: Callable[[], object]) -> float:
    began = perf_counter()
    call()
    return perf_counter() - began


def expect(found: object, wanted: object, what: str) -> None:
    """WrongOutput unless the two are equal."""
    if found != wanted:
        raise WrongOutput(f"{what}: {found!r:.300} instead of {wanted!r:.300}")


def environment(**extra: str) -> dict[str, str]:
    """This process's environment without git's and Python's settings, which would
    change what is measured.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("GIT_", "PYTHON", "FANIN_"))
    }
    return {**kept, "LC_ALL": "C", "PYTHONPATH": str(ROOT), **extra}


def run(
    argv: Sequence[str],
    cwd: Path,
    *,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    timeout: float | None = 600,
) -> bytes:
    """A program's output. WrongOutput if it fails.

    With a `timeout`, the time of a program is up to 1 ms longer than it takes: subprocess
    sleeps between its looks at the process.
    """
    done = subprocess.run(
        list(argv),
        cwd=cwd,
        input=stdin,
        capture_output=True,
        env=env or environment(),
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        said = (done.stdout[-800:] + done.stderr[-800:]).decode("utf-8", "replace")
        raise WrongOutput(f"{argv[0]} ended with {done.returncode}: {said}")
    return done.stdout


@contextmanager
def folder(effort: Effort, name: str) -> Iterator[Path]:
    """An empty folder, gone afterwards."""
    path = effort.work / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def machine() -> list[str]:
    """What the figures were measured on, as lines."""
    cpu = re.search(r"model name\s*:\s*(.+)", _text("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", _text("/proc/meminfo"))
    names = ("click", "networkx", "pydantic", "pyyaml", "gitpython", "rich")
    kind = cpu[1].strip() if cpu else platform.machine()
    size = int(memory[1]) // 2**20 if memory else "?"
    return [
        f"{os.cpu_count()} cores, {kind}, {size} GiB memory, {platform.system()} {platform.release()}",
        f"Python {platform.python_version()}, {_version(['git', '--version'])}",
        ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names),
    ]


def disk(where: Path) -> str:
    """What kind of file system the folder is on, and what files cost there: it decides
    much of what is measured.
    """
    mounts = [line.split() for line in _text("/proc/self/mounts").splitlines()]
    above = [
        (len(fields[1]), fields[2])
        for fields in mounts
        if where.resolve().is_relative_to(Path(fields[1]))
    ]
    kind = max(above)[1] if above else "unknown"
    times = [
        seconds_of(partial(_litter, where / f"litter{number}")) for number in range(50)
    ]
    low, high = min(times) * 1e3, max(times) * 1e3
    return f"file system {kind}: {FILES} files are made and removed in {low:.1f} to {high:.1f} ms"


def _litter(folder: Path) -> None:
    folder.mkdir()
    for number in range(FILES):
        (folder / str(number)).write_bytes(b"x" * 300)
    shutil.rmtree(folder)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _version(argv: Sequence[str]) -> str:
    return subprocess.run(
        argv, capture_output=True, text=True, check=False
    ).stdout.strip()


# The documents are wrapped so.
_COLUMNS = 120


def as_text(report: Report) -> str:
    """The report for a terminal."""
    return "\n".join(
        _lines(report, lambda t: [t.title, *_aligned([t.columns, *t.rows])])
    )


def as_markdown(report: Report) -> str:
    """The report as a section of docs/performance.md."""
    return "\n".join([f"## {report.title}", "", *_lines(report, _markdown_table)[1:]])


def _lines(report: Report, render: Callable[[Table], list[str]]) -> list[str]:
    lines = [f"== {report.title} =="]
    tables = list(report.tables)
    if report.targets:
        rows = [target.row() for target in report.targets]
        tables.insert(0, Table("Targets", ["target", "measured", "bound", ""], rows))
    for table in tables:
        lines += [*render(table), ""]
    for note in report.notes:
        lines += [*textwrap.wrap(note, _COLUMNS, break_on_hyphens=False), ""]
    return lines


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(_cell(place, text, widths[place]) for place, text in enumerate(row))
        for row in rows
    ]


def _cell(place: int, text: str, width: int) -> str:
    return text.ljust(width) if place == 0 else text.rjust(width)


def _markdown_table(table: Table) -> list[str]:
    rule = ["---", *["---:"] * (len(table.columns) - 1)]
    return [
        f"**{table.title}**",
        "",
        *(f"| {' | '.join(row)} |" for row in (table.columns, rule, *table.rows)),
    ]


PYTHON = sys.executable
