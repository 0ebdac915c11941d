"""Growth: what a task costs in plans of 100, 1,000 and 10,000 tasks, run to their end.

Counted is processor time of `fanin run` and of all processes that it waits for, so that
other work on the machine and a slow disk change little. The agents do next to nothing,
and the repository's own files stay as many: each attempt has a checkout of them.

One case alone:  python -m benchmarks.growth rolling 1000
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import tempfile
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import (
    PYTHON,
    Effort,
    Report,
    Table,
    Target,
    as_text,
    environment,
    expect,
    folder,
    run,
)

SIZES, SMALL_SIZES, SMOKE_SIZES = (100, 1_000, 10_000), (100, 1_000, 3_000), (2, 3)
SLOTS = 8
BOUND = 1.5
# Most tasks of the mix wait for one or two of the tasks shortly before them.
_REACH, _MOST_NEEDS = 40, 2
_SEED = 5
_FILES = 100  # that the tasks of the mix take turns to write
_HOURS = 6


class Kind(NamedTuple):
    """`needs` gives the dependencies of each of so many tasks, by number; `writes`:
    whether each agent writes a file.
    """

    needs: Callable[[int], list[list[int]]]
    writes: bool


def independent(tasks: int) -> list[list[int]]:
    return [[] for _ in range(tasks)]


def mixed(tasks: int) -> list[list[int]]:
    draw = random.Random(_SEED)
    needs = []
    for number in range(tasks):
        reach = range(max(0, number - _REACH), number)
        most = min(_MOST_NEEDS, len(reach))
        needs.append(sorted(draw.sample(reach, draw.randint(0, most))))
    return needs


KINDS = {
    "mixed, a file each": Kind(mixed, writes=True),
    "independent, no change": Kind(independent, writes=False),
}
SCHEDULES = ("rolling", "batch")
CASES = list(product(SCHEDULES, KINDS))


class Cost(NamedTuple):
    """Of a run: processor seconds, and bytes of the repository at its end, a task."""

    seconds: float
    size: float


def measure(effort: Effort) -> Report:
    sizes: tuple[int, ...] = SMALL_SIZES if effort.small else SIZES
    if effort.smoke:
        sizes = SMOKE_SIZES
    report = _measured(effort, CASES[:1] if effort.smoke else CASES, sizes)
    report.notes.append(
        f"Each plan runs once, from the first command to its end, with {SLOTS} slots, "
        "the start of the command and of each agent included, and with the marks and "
        "the progress file that it commits. In the mix, a task waits for up to "
        f"{_MOST_NEEDS} of the {_REACH} before it, and writes one of {_FILES} files. The "
        "size is that of .git at the end of the run."
    )
    return report


def _measured(
    effort: Effort, cases: Sequence[tuple[str, str]], sizes: Sequence[int]
) -> Report:
    """What plans of these sizes cost in each case: a schedule, and the name of a kind."""
    report = Report("Growth")
    times, spaces = [], []
    for schedule, name in cases:
        with folder(effort, "growth") as where:
            costs = [_cost(where, schedule, KINDS[name], size) for size in sizes]
        case, seconds = f"{schedule}, {name}", [cost.seconds for cost in costs]
        times.append([case, *(f"{each * 1e3:.1f}" for each in seconds)])
        spaces.append([case, *(f"{cost.size / 2**10:.1f}" for cost in costs)])
        ratio = max(seconds) / min(seconds)
        target = Target(f"{case}: the dearest ÷ the cheapest", ratio, BOUND)
        report.targets.append(target)
    columns = ["", *(f"{size:,} tasks" for size in sizes)]
    report.tables = [
        Table("Processor time a task, ms", columns, times),
        Table("Size of the repository a task, KiB", columns, spaces),
    ]
    return report


def _cost(where: Path, schedule: str, kind: Kind, tasks: int) -> Cost:
    """What a run of so many tasks costs."""
    repo = where / "repo"
    _make(repo, schedule, kind, tasks)
    before = _processor_seconds()
    run([PYTHON, "-m", "runner", "run"], repo, env=_env(), timeout=_HOURS * 3600)
    seconds = _processor_seconds() - before
    recorded = run(["git", "show", "HEAD:.fanin/progress.json"], repo)
    statuses = [each["status"] for each in json.loads(recorded)["tasks"].values()]
    expect(statuses.count("completed"), tasks, "completed tasks")
    files = run(["git", "ls-tree", "-r", "--name-only", "HEAD", "made/"], repo)
    expect(len(files.splitlines()), min(tasks, _FILES) * kind.writes, "files made")
    everything = (repo / ".git").rglob("*")
    size = sum(path.stat().st_size for path in everything if path.is_file())
    shutil.rmtree(repo)
    return Cost(seconds / tasks, size / tasks)


def _make(repo: Path, schedule: str, kind: Kind, tasks: int) -> None:
    """A repository with the plan."""
    run(["git", "init", "-q", "-b", "main", str(repo)], repo.parent)
    plan = []
    for number, needs in enumerate(kind.needs(tasks)):
        task = {
            "id": _id(number),
            "title": f"task {number}",
            "depends_on": list(map(_id, needs)),
            "allow_empty": not kind.writes,
        }
        if kind.writes:
            task["files"] = [f"made/{number % _FILES:02}"]
        plan.append(task)
    lines = ",\n".join(map(json.dumps, plan))
    (repo / "tasks.yml").write_text(f'{{"version": 1, "tasks": [\n{lines}\n]}}\n')
    command = ["true"]
    if kind.writes:
        script = 'mkdir -p made; echo "$FANIN_TASK" >"made/${FANIN_TASK#T???}"'
        command = ["sh", "-c", script]
    settings = {
        "agent": {"command": command},
        "sandbox": "off",
        "parallel": True,
        "max_concurrent": SLOTS,
        "schedule": schedule,
        "limits": {"max_rounds": 10 * tasks},
    }
    (repo / "fanin.yml").write_text(json.dumps(settings))
    run(["git", "add", "-A"], repo)
    run(["git", "commit", "-qm", "plan"], repo, env=_env())


def _id(number: int) -> str:
    return f"T{number:05}"


def _env() -> dict[str, str]:
    who = {
        f"GIT_{role}_{field}": "b@localhost"
        for role in ("AUTHOR", "COMMITTER")
        for field in ("NAME", "EMAIL")
    }
    return environment(**who, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL=os.devnull)


def main() -> None:
    """Run one case, and print what it costs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("schedule", choices=SCHEDULES)
    parser.add_argument("tasks", type=int, nargs="+", help="the sizes of the plans")
    parser.add_argument("--kind", choices=KINDS, default=next(iter(KINDS)))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fanin-growth-") as work:
        effort = Effort(Path(work), Path(work))
        case = options.schedule, options.kind
        report = _measured(effort, [case], options.tasks)
    print(as_text(report))


def _processor_seconds() -> float:
    """Of all processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
