"""`python -m benchmarks.verify_plans [PLANS]`: what the rolling schedule lands, and how
often it runs `verify`.

Random plans, 1,000 by default, are run by the local executor itself, with real git and
real merges. Only the agent and the verify command are replaced: agents sleep by a
virtual clock, verify does so for longer than any of them, and a tree is red if the work
of certain tasks is in it, alone or together. Exit 1 if a red tree lands, if an innocent
task is sent back, or if the command runs more often than batches of the same results
would take: one run a group of results that waited together, and 2·⌈log2 n⌉ + 2 for each
culprit among n.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from runner.core.events import RunEvent, VerifyStarted
from runner.core.result import Failure, FailureKind
from runner.core.task import Task
from runner.local import landing
from tests.support.virtual_run import AgentsClock, Case, Interval, real

SLOTS = 8
VERIFY_SECONDS = 10.0  # by the virtual clock; an agent takes 1 to 9
RED = Failure(kind=FailureKind.VERIFY, message="verify is red")
FAILED = Failure(kind=FailureKind.AGENT_ERROR, message="no")


@dataclass(frozen=True)
class Outcome:
    """A run of one plan: its results, its runs of `verify`, and what is wrong."""

    seed: int
    results: int
    runs: int
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True)
class Red:
    """Which trees are red: those with the work of one of `alone`, or of both of a pair
    in `together`.
    """

    alone: frozenset[str]
    together: frozenset[tuple[str, str]]

    def says(self, tasks: set[str]) -> bool:
        return bool(self.alone & tasks) or any(
            set(pair) <= tasks for pair in self.together
        )


def run_plan(seed: int, folder: Path) -> Outcome:
    """Run the plan of this seed, and look at each commit that landed."""
    case, red = verified_case(seed)
    root = folder / str(seed)
    steps: list[VerifyStarted] = []
    clocks: list[AgentsClock] = []
    observe = AgentsClock.observe

    def observe_verify(clock: AgentsClock, event: RunEvent) -> None:
        if isinstance(event, VerifyStarted):
            steps.append(event)
            clocks.append(clock)
        observe(clock, event)

    def verify(
        _command: object, _origin: object, commit: str, objects: Path, *_: object
    ) -> Failure | None:
        clocks[-1].verify(len(steps), VERIFY_SECONDS)
        return RED if red.says(tasks_in(root, commit, objects)) else None

    with (
        mock.patch.object(landing, "verify_commit", verify),
        mock.patch.object(AgentsClock, "observe", observe_verify),
    ):
        intervals = real(case, root)
    commits = _git(root, "rev-list", "main").split()
    landed = [tasks_in(root, commit) for commit in commits]
    shutil.rmtree(root)
    return _outcome(seed, red, steps, landed, results_with_work(case, intervals))


def verified_case(seed: int) -> tuple[Case, Red]:
    """A plan of 2 to 24 tasks, of which every fourth waits for another one. One attempt
    in twenty fails, one task in twenty makes the tree red, and in every fifth plan two
    do so together.
    """
    drawn = random.Random(seed)
    tasks: list[Task] = []
    outcomes: dict[tuple[str, int], tuple[float, Failure | None]] = {}
    for index in range(drawn.randint(2, 24)):
        needs = [drawn.choice(tasks).id] if tasks and drawn.random() < 0.25 else []
        files = (f"/own-T{index}",)
        task = Task(id=f"T{index}", title="x", depends_on=tuple(needs), files=files)
        failure = FAILED if drawn.random() < 0.05 else None
        outcomes[task.id, 1] = (float(drawn.randint(1, 9)), failure)
        tasks.append(task)
    ids = [task.id for task in tasks]
    alone = frozenset(task_id for task_id in ids if drawn.random() < 0.05)
    first, second = drawn.sample(ids, 2)
    pairs = frozenset({(first, second)} if drawn.random() < 0.2 else ())
    settings = {"verify": "true", "verify_retries": 0, "verify_base": "ignore"}
    case = Case(tuple(tasks), outcomes, "rolling", SLOTS, 1, settings)
    return case, Red(alone, pairs)


def tasks_in(root: Path, commit: str, objects: Path | None = None) -> set[str]:
    """The tasks whose work is in the commit."""
    env = {**os.environ}
    if objects is not None:
        env["GIT_ALTERNATE_OBJECT_DIRECTORIES"] = str(objects)
    names = _git(root, "ls-tree", "--name-only", commit, env=env).split()
    return {name.removeprefix("own-") for name in names if name.startswith("own-")}


def results_with_work(case: Case, intervals: Sequence[Interval]) -> int:
    """How many attempts had a result to merge."""
    failures = [case.outcomes[each.task, each.attempt][1] for each in intervals]
    return failures.count(None)


def _outcome(
    seed: int,
    red: Red,
    steps: Sequence[VerifyStarted],
    landed: Sequence[set[str]],
    results: int,
) -> Outcome:
    wrong = [f"landed red: {sorted(tasks)}" for tasks in landed if red.says(tasks)]
    groups = [step.tasks for step in steps if not step.bisecting]
    merged = set().union(*groups) if groups else set()
    guilty = merged - landed[0]
    accused = red.alone | {task for pair in red.together for task in pair}
    if innocent := guilty - accused:
        wrong.append(f"sent back without a reason: {sorted(innocent)}")
    size = max(map(len, groups), default=1)
    most = len(groups) + len(guilty) * (2 * math.ceil(math.log2(size or 1)) + 2)
    if len(steps) > most:
        wrong.append(f"{len(steps)} runs of verify instead of at most {most}")
    return Outcome(seed, results, len(steps), tuple(wrong))


def _git(root: Path, *argv: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["git", *argv], cwd=root, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.verify_plans", description=__doc__
    )
    parser.add_argument("plans", nargs="?", type=int, default=1_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first plan")
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args(argv)
    seeds = range(options.first, options.first + options.plans)
    results = runs = wrong = 0
    with (
        tempfile.TemporaryDirectory(prefix="fanin-verify-") as folder,
        ProcessPoolExecutor(options.jobs) as pool,
    ):
        folders = [Path(folder)] * len(seeds)
        for outcome in pool.map(run_plan, seeds, folders, chunksize=5):
            results, runs = results + outcome.results, runs + outcome.runs
            for text in outcome.wrong:
                wrong += 1
                print(f"plan {outcome.seed}: {text}", flush=True)
    print(
        f"{len(seeds)} plans, {wrong} wrong; {runs} runs of verify for {results} results"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
