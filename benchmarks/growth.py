"""Growth: what a task costs in plans of 100, 1,000 and 10,000 tasks, run to their end.

Counted is processor time of `fanin run` and of all processes that it waits for, so that
other work on the machine and a slow disk change little. The agents do next to nothing.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import (
    PYTHON,
    Effort,
    Report,
    Table,
    Target,
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
_HOURS = 6


class Kind(NamedTuple):
    """`needs` gives the dependencies of each of so many tasks, by number; `writes`:
    whether each agent leaves a file.
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
CASES = list(product(("rolling", "batch"), KINDS))


def measure(effort: Effort) -> Report:
    sizes: tuple[int, ...] = SMALL_SIZES if effort.small else SIZES
    if effort.smoke:
        sizes = SMOKE_SIZES
    report = Report("Growth")
    rows = []
    for schedule, name in CASES[:1] if effort.smoke else CASES:
        with folder(effort, "growth") as where:
            costs = [_cost(where, schedule, KINDS[name], size) for size in sizes]
        milliseconds = [f"{cost * 1e3:.1f}" for cost in costs]
        rows.append([f"{schedule}, {name}", *milliseconds])
        what = f"{schedule}, {name}: the dearest ÷ the cheapest"
        report.targets.append(Target(what, max(costs) / min(costs), BOUND))
    columns = ["", *(f"{size:,} tasks" for size in sizes)]
    report.tables.append(Table("Processor time a task, ms", columns, rows))
    report.notes.append(
        f"Each plan runs once, from the first command to its end, with {SLOTS} slots, "
        "the start of the command and of each agent included, and with the marks and "
        "the progress file that it commits. In the mix, a task waits for up to "
        f"{_MOST_NEEDS} of the {_REACH} before it."
    )
    return report


def _cost(where: Path, schedule: str, kind: Kind, tasks: int) -> float:
    """Processor seconds a task of a run of so many tasks."""
    repo = where / "repo"
    _make(repo, schedule, kind, tasks)
    before = _processor_seconds()
    run([PYTHON, "-m", "runner", "run"], repo, env=_env(), timeout=_HOURS * 3600)
    seconds = _processor_seconds() - before
    recorded = run(["git", "show", "HEAD:.fanin/progress.json"], repo)
    statuses = [each["status"] for each in json.loads(recorded)["tasks"].values()]
    expect(statuses.count("completed"), tasks, "completed tasks")
    files = run(["git", "ls-tree", "-r", "--name-only", "HEAD", "made/"], repo)
    expect(len(files.splitlines()), tasks * kind.writes, "files made")
    shutil.rmtree(repo)
    return seconds / tasks


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
        plan.append(task)
    lines = ",\n".join(map(json.dumps, plan))
    (repo / "tasks.yml").write_text(f'{{"version": 1, "tasks": [\n{lines}\n]}}\n')
    command = ["true"]
    if kind.writes:
        # No repository has thousands of files in one folder.
        script = 'd=made/${FANIN_TASK%??}; mkdir -p "$d"; echo x >"$d/$FANIN_TASK"'
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


def _processor_seconds() -> float:
    """Of all processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
