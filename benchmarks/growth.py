"""Growth: what a task costs in plans of 100, 1,000 and 10,000 tasks, run to their end.

Counted is processor time of `fanin run` and of all processes that it waits for, so that
other work on the machine and a slow disk change little. The agents do next to nothing,
and the repository's own files stay as many: each attempt has a checkout of them.

One case alone:  python -m benchmarks.growth rolling 1000
or               python -m benchmarks.growth batch 100 1000 --kind ralph
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from benchmarks import growth_plans as plans
from benchmarks import line_format
from benchmarks.harness import (
    PYTHON,
    ROOT,
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
_HOURS = 6
_PROGRESS = ".fanin/progress.json"
# Ids end in two digits, for which no agent starts a program.
_WRITE = 'mkdir -p made; echo "$FANIN_TASK" >"made/${FANIN_TASK#"${FANIN_TASK%??}"}.py"'


class Kind(NamedTuple):
    """`files` gives the files of a plan with so many tasks; `writes`: whether each agent
    writes a file; `most`: the size of the longest plan that is measured.
    """

    files: Callable[[int], Mapping[str, str]]
    writes: bool
    source: str = "native"
    path: str = "tasks.yml"
    options: Mapping[str, str] = {}
    most: int = SIZES[-1]


def independent(tasks: int) -> Mapping[str, str]:
    return _native([[] for _ in range(tasks)], writes=False)


def mixed(tasks: int) -> Mapping[str, str]:
    draw = random.Random(_SEED)
    needs = []
    for number in range(tasks):
        reach = range(max(0, number - _REACH), number)
        most = min(_MOST_NEEDS, len(reach))
        needs.append(sorted(draw.sample(reach, draw.randint(0, most))))
    return _native(needs, writes=True)


def _native(all_needs: Sequence[Sequence[int]], *, writes: bool) -> Mapping[str, str]:
    plan = []
    for number, needs in enumerate(all_needs):
        task = {
            "id": plans.task_id(number),
            "title": f"task {number}",
            "depends_on": list(map(plans.task_id, needs)),
            "allow_empty": not writes,
        }
        if writes:
            task["files"] = [plans.made_file(number)]
        plan.append(task)
    lines = ",\n".join(map(json.dumps, plan))
    return {"tasks.yml": f'{{"version": 1, "tasks": [\n{lines}\n]}}\n'}


# As in the other formats, each task alone may run; else they have an order.
_ANY_ORDER = {"order": "none"}
KINDS = {
    "mixed, a file each": Kind(mixed, writes=True),
    "independent, no change": Kind(independent, writes=False),
    # Plans whose files carry marks; each agent writes a file. Those of Backlog.md and
    # BMAD have a file for each task, which are in every checkout.
    "checklist": Kind(plans.checklist, True, "checklist", "TODO.md", _ANY_ORDER),
    "openspec": Kind(plans.openspec, True, "openspec", plans.CHANGE, _ANY_ORDER),
    "ralph": Kind(plans.ralph, True, "ralph", "prd.json", _ANY_ORDER),
    "backlog-md": Kind(plans.backlog_md, True, "backlog-md", "backlog", most=1_000),
    "bmad": Kind(plans.bmad, True, "bmad", plans.SPRINT, _ANY_ORDER, most=1_000),
    "bmad, in order": Kind(plans.bmad, True, "bmad", plans.SPRINT, most=1_000),
    "feature-list": Kind(
        plans.feature_list, True, "feature-list", plans.FEATURES, _ANY_ORDER, 1_000
    ),
    "kiro": Kind(plans.kiro, True, "kiro", plans.KIRO_SPEC, _ANY_ORDER, 1_000),
    "ai-sdlc": Kind(plans.ai_sdlc, True, "ai-sdlc", "plan.md", most=1_000),
    "spec-kit": Kind(plans.spec_kit, True, "spec-kit", plans.FEATURE, most=1_000),
    "task-master": Kind(
        plans.task_master, True, "task-master", ".taskmaster", most=1_000
    ),
    "beads": Kind(plans.beads, True, "beads", plans.BEADS, most=1_000),
    "github-issues": Kind(
        plans.github_issues, True, "github-issues", plans.ISSUES, most=1_000
    ),
    # of another package
    "lines": Kind(plans.lines, True, "lines", "plan.lines", most=1_000),
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
        f"{_MOST_NEEDS} of the {_REACH} before it, and writes one of {plans.FILES} "
        "files, as in the plans of other formats, most of which carry marks. Those of "
        "Backlog.md and BMAD have a file for each task, so that a checkout grows with "
        "them. The size is that of .git at the end of the run."
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
            kind = KINDS[name]
            costs = [
                _cost(where, schedule, kind, size)
                for size in sizes
                if size <= kind.most
            ]
        case, seconds = f"{schedule}, {name}", [cost.seconds for cost in costs]
        blank = [""] * (len(sizes) - len(costs))
        times.append([case, *(f"{each * 1e3:.1f}" for each in seconds), *blank])
        spaces.append([case, *(f"{cost.size / 2**10:.1f}" for cost in costs), *blank])
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
    repo, packages = where / "repo", where / "packages"
    _make(repo, schedule, kind, tasks)
    line_format.install(packages)
    before = _processor_seconds()
    run(
        [PYTHON, "-m", "runner", "run"], repo, env=_env(packages), timeout=_HOURS * 3600
    )
    seconds = _processor_seconds() - before
    recorded = run(["git", "show", f"HEAD:{_PROGRESS}"], repo)
    statuses = [each["status"] for each in json.loads(recorded)["tasks"].values()]
    expect(statuses.count("completed"), tasks, "completed tasks")
    files = run(["git", "ls-tree", "-r", "--name-only", "HEAD", "made/"], repo)
    expect(len(files.splitlines()), min(tasks, plans.FILES) * kind.writes, "files made")
    everything = (repo / ".git").rglob("*")
    size = sum(path.stat().st_size for path in everything if path.is_file())
    shutil.rmtree(repo)
    shutil.rmtree(packages)
    return Cost(seconds / tasks, size / tasks)


def _make(repo: Path, schedule: str, kind: Kind, tasks: int) -> None:
    """A repository with the plan."""
    run(["git", "init", "-q", "-b", "main", str(repo)], repo.parent)
    for path, text in kind.files(tasks).items():
        file = repo / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    command = ["true"]
    if kind.writes:
        command = ["sh", "-c", _WRITE]
    plan = {"path": kind.path, "source": kind.source, "options": kind.options}
    settings = {
        "plan": plan,
        "progress": _PROGRESS,
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


def _env(*packages: Path) -> dict[str, str]:
    """The environment of a command, with folders of packages beside the project."""
    who = {
        f"GIT_{role}_{field}": "b@localhost"
        for role in ("AUTHOR", "COMMITTER")
        for field in ("NAME", "EMAIL")
    }
    path = os.pathsep.join(map(str, [ROOT, *packages]))
    git = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
    return environment(**who, **git, PYTHONPATH=path)


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
