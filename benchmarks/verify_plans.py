"""`python -m benchmarks.verify_plans [PLANS]`: what the rolling schedule lands, and how
often it runs `verify`.

Random plans, 1,000 by default, are run by the local executor itself, with real git and
real merges. Only the agent and the verify command are replaced: agents sleep by a
virtual clock, verify does so for longer than any of them, and a tree is red if the work
of certain tasks is in it, alone or together. Eight agents work at once.

- Every 20th plan is long: 64 to 96 tasks, of which one in a hundred is a culprit. The
  others have 2 to 24, and one in twenty is.
- In every fifth plan, one run of the command in twenty is red for no reason.
- Every fourth plan verifies three trees at once.
- In every third plan, tasks start after the merge of what they need.

Beside them, eight independent tasks end one after the other.

Exit 1 if a red tree lands, if an innocent task is sent back where no run is flaky, or if
the command runs more often than batches of the same results would take: one run a group
of results that waited together, and 2·⌈log2 n⌉ for each culprit among n. The run of the
base is not counted.
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
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from runner.core.events import RunEvent, VerifyStarted
from runner.core.plurals import pluralize
from runner.core.result import Failure, FailureKind
from runner.core.task import Task
from runner.local import landing
from tests.support.virtual_run import AgentsClock, Case, Interval, real

SLOTS = 8
FLAKES = 0.05  # of the runs of a flaky command
VERIFY_SECONDS = 10.0  # by the virtual clock; an agent takes 1 to 9
RED = Failure(kind=FailureKind.VERIFY, message="verify is red")
FAILED = Failure(kind=FailureKind.AGENT_ERROR, message="no")


@dataclass(frozen=True)
class Outcome:
    """A run of one plan: its results, its runs of `verify`, the innocent tasks that it
    sent back, and what is wrong.
    """

    seed: int
    results: int
    runs: int
    innocent: int = 0
    wrong: tuple[str, ...] = ()


def is_long(seed: int) -> bool:
    return seed % 20 == 10


def is_flaky(seed: int) -> bool:
    return seed % 5 == 4


def at_once(seed: int) -> int:
    """How many trees are verified at once."""
    return 3 if seed % 4 == 3 else 1


def start_after(seed: int) -> str:
    return "merge" if seed % 3 == 2 else "verify"


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
    return _run_case(seed, *verified_case(seed), folder / str(seed))


def run_independent(folder: Path) -> Outcome:
    """Run eight tasks, none of which waits for another, and all of which are green."""
    tasks = [
        Task(id=f"T{index}", title="x", files=(f"/own-T{index}",))
        for index in range(SLOTS)
    ]
    outcomes = {(task.id, 1): (1.0 + index, None) for index, task in enumerate(tasks)}
    settings = {"verify": "true", "verify_retries": 0}
    case = Case(tuple(tasks), outcomes, "rolling", SLOTS, 1, settings)
    return _run_case(0, case, Red(frozenset(), frozenset()), folder / "independent")


def _run_case(seed: int, case: Case, red: Red, root: Path) -> Outcome:
    steps: list[VerifyStarted] = []
    clocks: list[AgentsClock] = []
    observe = AgentsClock.observe
    drawn = random.Random(seed)

    def observe_verify(clock: AgentsClock, event: RunEvent) -> None:
        if isinstance(event, VerifyStarted):
            steps.append(event)
            clocks.append(clock)
        observe(clock, event)

    def verify(
        _command: object,
        _origin: object,
        commit: str,
        objects: Path,
        *_: object,
        **_checkouts: object,
    ) -> Failure | None:
        tasks = tasks_in(root, commit, objects)
        if not tasks:
            # The base: nothing of this run waits for it, so that no time may pass.
            return None
        clocks[-1].verify(len(steps), VERIFY_SECONDS)
        is_red = red.says(tasks)
        if is_flaky(seed) and drawn.random() < FLAKES:
            is_red = True
        return RED if is_red else None

    with (
        mock.patch.object(landing, "verify_commit", verify),
        # as the run knows it from the base, which was verified first
        mock.patch.object(landing.BranchLander, "verify_seconds", VERIFY_SECONDS),
        mock.patch.object(AgentsClock, "observe", observe_verify),
    ):
        intervals = real(case, root)
    commits = _git(root, "rev-list", "main").split()
    landed = [tasks_in(root, commit) for commit in commits]
    shutil.rmtree(root)
    results = results_with_work(case, intervals)
    return _outcome(seed, red, case.tasks, steps, landed, results)


def verified_case(seed: int) -> tuple[Case, Red]:
    """A plan in which every fourth task waits for another one. One attempt in twenty
    fails, and in every fifth plan two tasks make the tree red together.
    """
    drawn = random.Random(seed)
    count, culprits = drawn.randint(2, 24), 0.05
    if is_long(seed):
        count, culprits = drawn.randint(64, 96), 0.01
    tasks: list[Task] = []
    outcomes: dict[tuple[str, int], tuple[float, Failure | None]] = {}
    for index in range(count):
        needs = [drawn.choice(tasks).id] if tasks and drawn.random() < 0.25 else []
        files = (f"/own-T{index}",)
        task = Task(id=f"T{index}", title="x", depends_on=tuple(needs), files=files)
        failure = FAILED if drawn.random() < 0.05 else None
        outcomes[task.id, 1] = (float(drawn.randint(1, 9)), failure)
        tasks.append(task)
    ids = [task.id for task in tasks]
    alone = frozenset(task_id for task_id in ids if drawn.random() < culprits)
    first, second = drawn.sample(ids, 2)
    pairs = frozenset({(first, second)} if drawn.random() < 0.2 else ())
    settings = {
        "verify": "true",
        "verify_retries": 1 if is_flaky(seed) else 0,
        "verify_concurrent": at_once(seed),
        "start_after": start_after(seed),
        "limits": {"max_rounds": 1_000},
    }
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
    tasks: Sequence[Task],
    steps: Sequence[VerifyStarted],
    landed: Sequence[set[str]],
    results: int,
) -> Outcome:
    # Not the base, which is verified once before the first agent.
    steps = [step for step in steps if step.tasks or step.bisecting]
    wrong = [f"landed red: {sorted(each)}" for each in landed if red.says(each)]
    merged = {task for step in steps for task in step.tasks}
    guilty = merged - landed[0]
    accused = red.alone | {task for pair in red.together for task in pair}
    # What started from red work is not sent back for anything of its own.
    for task in tasks:
        if not accused.isdisjoint(task.depends_on):
            accused |= {task.id}
    innocent = guilty - accused
    if is_flaky(seed):
        return Outcome(seed, results, len(steps), len(innocent), tuple(wrong))
    if innocent:
        wrong.append(f"sent back without a reason: {sorted(innocent)}")
    groups = [step for step in steps if not step.bisecting]
    size = max((len(step.tasks) for step in steps), default=1)
    most = len(groups) + len(guilty) * 2 * math.ceil(math.log2(size or 1))
    if len(steps) > most:
        wrong.append(f"{len(steps)} runs of verify instead of at most {most}")
    return Outcome(seed, results, len(steps), len(innocent), tuple(wrong))


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
    parser.add_argument("--each", action="store_true", help="print each outcome")
    options = parser.parse_args(argv)
    seeds = range(options.first, options.first + options.plans)
    outcomes: list[Outcome] = []
    with (
        tempfile.TemporaryDirectory(prefix="fanin-verify-") as folder,
        ProcessPoolExecutor(options.jobs) as pool,
    ):
        folders = [Path(folder)] * len(seeds)
        independent = pool.submit(run_independent, Path(folder))
        for outcome in pool.map(run_plan, seeds, folders):
            outcomes.append(outcome)
            for text in outcome.wrong:
                print(f"plan {outcome.seed}: {text}", flush=True)
            if options.each:
                print(outcome, flush=True)
    wrong = sum(len(outcome.wrong) for outcome in outcomes)
    print(f"{len(outcomes)} plans, {wrong} wrong")
    print(_ratio("8 independent tasks", [independent.result()]))
    for line in _summary(outcomes):
        print(line)
    return 1 if wrong else 0


def _summary(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """The figures of each kind of plan."""
    steady = [each for each in outcomes if not is_flaky(each.seed)]
    for name, is_of_kind in (
        ("2 to 24 tasks", lambda seed: not is_long(seed) and at_once(seed) == 1),
        ("2 to 24 tasks, 3 at once", lambda seed: at_once(seed) == 3),
        ("64 to 96 tasks", is_long),
        ("2 to 24 tasks, none of them red", _is_short_and_green),
    ):
        yield _ratio(name, [each for each in steady if is_of_kind(each.seed)])
    flaky = [each for each in outcomes if is_flaky(each.seed)]
    yield _ratio("flaky", flaky)
    innocent = sum(each.innocent for each in flaky)
    share = innocent / max(1, sum(each.results for each in flaky))
    yield f"flaky: {innocent} innocent results sent back, {share:.2%}"


def _is_short_and_green(seed: int) -> bool:
    red = verified_case(seed)[1]
    is_green = not red.alone and not red.together
    return is_green and not is_long(seed) and at_once(seed) == 1


def _ratio(name: str, outcomes: Sequence[Outcome]) -> str:
    results = sum(each.results for each in outcomes)
    runs = sum(each.runs for each in outcomes)
    fewer = f"{results / max(1, runs):.1f} times fewer"
    return f"{name}: {pluralize(len(outcomes), 'plan')}, {pluralize(runs, 'run')} for {results} results, {fewer}"


if __name__ == "__main__":
    sys.exit(main())
