"""Kill fanin at a numbered durable step, run it again, and say all that is not as it
should be.

The rolling schedule passes its steps in threads that run beside each other, so a number
is only a place there: the same one is another step the next time, or none because the
run had fewer. Where it died is therefore noted by the process that dies, and a point at
which nothing died is told as such. What must be right afterwards is the same.

Used by test_crash_points (a sample) and by benchmarks/reliability (every step).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runner.core.task import PlanSettings
from runner.fan_in import landing_record
from runner.local.journal import Journal
from runner.local.journal_state import State, WaitingWork
from runner.local.run import LocalRun
from runner.plan.requests import SkipRequest
from tests.support.project import Project

ROOT = Path(__file__).parents[2]
DRIVER = Path(__file__).with_name("crash_driver.py")
SHARED = "".join(f"line {number}\n" for number in range(1, 31))

# Retry, merge of two tasks' changes to one file, rename, a commit by the agent, a stash,
# a branch of the agent's own, verify, a second round.
STASH = ["write stashed: precious", "git add -A", "git stash -q"]
TASKS: list[dict[str, Any]] = [
    {
        "id": "A",
        "do": [
            *STASH,
            "write src/a: a",
            "replace shared: line 2\\n -> line two\\n",
        ],
    },
    {"id": "B", "do": ["write b: b", "fail once by design"]},
    {
        "id": "C",
        "do": [
            "replace shared: line 29 -> line twenty-nine",
            "rename old.txt: new.txt",
            "git checkout -q -b mine",
            "commit work of C",
            "git checkout -q -f -",
        ],
    },
    {
        "id": "D",
        "depends_on": ["A", "C"],
        "do": ["write d: d", "executable run.sh", "commit work of D"],
    },
]
# More tasks than slots, a chain through the one that fails, and a long one beside which
# results are accepted that the branch has not got yet: it gets them in the middle, when
# they are as many as the slots.
MORE: list[dict[str, Any]] = [
    {
        "id": "E",
        "depends_on": ["B"],
        "do": ["write e: e", "replace shared: line 15 -> line fifteen"],
    },
    {"id": "F", "do": ["sleep 0.5", "write f: f"]},
    {"id": "G", "depends_on": ["D"], "do": ["append d: more"]},
    {"id": "H", "depends_on": ["A", "B"], "do": ["write h: h"]},
]
# It meets a usage limit and is started once more, as the same attempt.
LIMITED: dict[str, Any] = {"id": "L", "do": ["limit 3600", "write l: l"]}
# A person has asked to skip it before the run starts; it never runs.
SKIPPED: dict[str, Any] = {"id": "S", "do": ["write s: s"]}
WITH_REQUEST = {"batch", "rolling"}
WITH_LIMIT = {"individual", "rolling"}
ROLLING: dict[str, Any] = {"schedule": "rolling", "max_concurrent": 3}
VARIANTS: dict[str, dict[str, Any]] = {
    "batch": {"verify": "test -e README.md"},
    "individual": {"commit_strategy": "individual"},
    "waiting": {},
    "rolling": ROLLING,
    "rolling individual": {
        **ROLLING,
        "commit_strategy": "individual",
        "verify": "test -e README.md",
    },
    "rolling waiting": ROLLING,
    "rolling after merge": {
        **ROLLING,
        "start_after": "merge",
        # long enough for others to start meanwhile
        "verify": "sleep 0.3; test -e README.md",
    },
}
# An untracked file stands where a task wants to write: the last one, or one of the
# first, so that others build on it. Work for another branch waits already.
IN_THE_WAY = {"waiting": "d", "rolling waiting": "src/a"}


OTHER_WORK = WaitingWork("other", "earlier/work")


def driven(
    root: Path,
    step: str,
    steps: Path,
    argv: Sequence[str],
    environ: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """`fanin` in the repository `root`, killed at that step or the first of that name;
    the steps that it passes are noted in `steps`.
    """
    return subprocess.run(
        [sys.executable, str(DRIVER), step, str(steps), *argv],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(ROOT), **(environ or {})},
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
    )


def kill_at(project: Project, step: str, steps: Path, *argv: str) -> None:
    """Have a command of fanin killed at the first step of that name."""
    done = driven(project.root, step, steps, argv)
    assert done.returncode == -signal.SIGKILL, done.stderr


@dataclass(frozen=True)
class Undisturbed:
    """A run that nothing disturbed: the template it started from, the steps it passed,
    and how it ended.
    """

    template: Path
    variant: str
    steps: tuple[str, ...]
    tree: str
    states: Mapping[str, str]


def prepare(folder: Path, variant: str) -> Path:
    """The repository that every run of a variant starts from."""
    project = Project(folder / f"template-{variant}" / "repo", folder / "unused.log")
    project.root.mkdir(parents=True)
    project.git("init", "-q", "-b", "main")
    project.git("config", "user.name", "test")
    project.git("config", "user.email", "test@example.com")
    project.write("README.md", "hello\n")
    project.write("shared", SHARED)
    project.write("old.txt", SHARED.replace("line", "old"))
    project.commit("start")
    tasks = [*TASKS, *MORE] if variant.startswith("rolling") else [*TASKS]
    if variant in WITH_LIMIT:
        tasks.append(LIMITED)
    if variant in WITH_REQUEST:
        tasks.append(SKIPPED)
    project.plan([{**task, "max_attempts": 9} for task in tasks], **VARIANTS[variant])
    if variant in WITH_REQUEST:
        ask_to_skip(project, SKIPPED["id"])
    if variant in IN_THE_WAY:
        project.write(IN_THE_WAY[variant], "precious\n")
        _let_other_work_wait(project)
    return project.root.parent


def ask_to_skip(project: Project, task_id: str) -> None:
    """Leave the request of a command that a run has not taken."""
    request = SkipRequest(
        branch="main",
        plan=PlanSettings(),
        progress=".fanin/progress.json",
        tasks=(task_id,),
        satisfied=True,
    )
    Journal(project.root / ".git").requests.add(request)


def _let_other_work_wait(project: Project) -> None:
    project.git("branch", "other")
    commit = project.git("commit-tree", "HEAD^{tree}", "-p", "HEAD", "-m", "earlier")
    project.git("branch", OTHER_WORK.branch, commit)
    journal = Journal(project.root / ".git")
    journal.record("waiting", branch=OTHER_WORK.target, on=OTHER_WORK.branch)


def undisturbed(folder: Path, variant: str) -> Undisturbed:
    template = prepare(folder, variant)
    place = Place.copy(template, folder / f"undisturbed-{variant}")
    place.run(0)
    steps = tuple((place.folder / "steps").read_text().splitlines())
    end = Undisturbed(template, variant, steps, place.content(), place.states())
    assert set(end.states.values()) == {"completed"}, end.states
    met_limit = (place.folder / "agent.log.reset").exists()
    assert met_limit == (variant in WITH_LIMIT)
    return end


@dataclass
class Place:
    """One copy of the repository, with a log of its agents and a temporary folder of
    its own.
    """

    folder: Path

    @classmethod
    def copy(cls, template: Path, folder: Path) -> Place:
        shutil.copytree(template, folder, symlinks=True)
        (folder / "tmp").mkdir()
        return cls(folder)

    @property
    def project(self) -> Project:
        return Project(self.folder / "repo", self.folder / "agent.log")

    @property
    def tip(self) -> str:
        """Where the run's work is: on main, or on the branch that it waits on as long
        as main lacks it.
        """
        lacking = [
            "for-each-ref",
            "--format=%(refname)",
            "--no-merged=main",
            "refs/heads/fanin",
        ]
        waiting = self.project.git(*lacking).splitlines()
        return waiting[0] if waiting else "refs/heads/main"

    def run(self, step: int | str) -> subprocess.CompletedProcess[str]:
        """`fanin run`, killed at that step or the first of that name (0: not at all)."""
        environ = {
            "TMPDIR": str(self.folder / "tmp"),
            "FAKE_AGENT_LOG": str(self.project.log),
        }
        steps = self.folder / "steps"
        return driven(self.project.root, str(step), steps, ["run"], environ)

    def content(self) -> str:
        """The tip's files, the progress left aside: its times and attempts differ from
        run to run.
        """
        lines = self.project.git("ls-tree", "-r", self.tip).splitlines()
        return "\n".join(
            line for line in lines if not line.endswith("\t.fanin/progress.json")
        )

    def states(self) -> dict[str, str]:
        return self.project.states(self.tip)

    def durable_results(self) -> set[tuple[str, int]]:
        """(task, attempt) of every successful result that is on the disk."""
        found = set()
        for path in (self.project.root / ".git" / "fanin" / "runs").glob(
            "*/*/*/result.json"
        ):
            result = json.loads(path.read_text())
            if result["succeeded"]:
                found.add((result["task"], result["attempt"]))
        return found

    def died_at(self) -> tuple[str, ...]:
        """The steps at which fanin was killed here, in turn."""
        noted = self.folder / "steps.killed"
        return tuple(noted.read_text().splitlines()) if noted.exists() else ()

    def began(self) -> list[tuple[str, int]]:
        lines = (
            self.project.log.read_text().splitlines()
            if self.project.log.exists()
            else []
        )
        events = [json.loads(line) for line in lines]
        return [
            (event["task"], event["attempt"])
            for event in events
            if event["event"] == "began"
        ]


@dataclass(frozen=True)
class Tried:
    """One point: the names of the steps at which fanin died, none if it ended before,
    and what was wrong then.
    """

    died_at: tuple[str, ...]
    wrong: tuple[str, ...]


def try_point(end: Undisturbed, steps: list[int], folder: Path) -> Tried:
    """Kill at each of the steps in turn (a second one hits the recovery), then run to
    the end; what is wrong.

    What was wrong can be looked at in a folder of its own below `folder`.
    """
    place = Place.copy(
        end.template, folder / f"{end.variant}-{'-'.join(map(str, steps))}"
    )
    wrong: list[str] = []
    safe: set[tuple[str, int]] = set()
    for step in steps:
        killed = _run(place, end.variant, step)
        if killed.returncode not in {-signal.SIGKILL, *_ENDED}:
            wrong.append(
                f"killed at {step}: ended with {killed.returncode}: {killed.stderr}"
            )
        safe |= place.durable_results()
    last = _run(place, end.variant, 0)
    if last.returncode not in _ENDED:
        wrong.append(
            f"the next run ended with {last.returncode}: {last.stdout}{last.stderr}"
        )
    wrong += _lost_or_double(place, end, safe)
    wrong += [f"left behind: {path}" for path in left_behind(place)]
    died_at = place.died_at()
    if not wrong:
        shutil.rmtree(place.folder)
    where = ", then ".join(died_at) or "it ended before"
    return Tried(
        died_at,
        tuple(f"{end.variant}, killed at {steps} ({where}): {it}" for it in wrong),
    )


def _run(place: Place, variant: str, step: int) -> subprocess.CompletedProcess[str]:
    """A run; where work waits since one that was killed, a person makes room first."""
    done = place.run(step)
    if "finished work waits" in done.stderr and variant in IN_THE_WAY:
        (place.project.root / IN_THE_WAY[variant]).unlink(missing_ok=True)
        done = place.run(step)
    return done


_ENDED = {0, 1}  # 1: the work waits on a branch of its own


def _lost_or_double(
    place: Place, end: Undisturbed, safe: set[tuple[str, int]]
) -> list[str]:
    wrong = []
    if place.states() != end.states:
        wrong.append(f"lost: {place.states()} instead of {end.states}")
    if place.content() != end.tree:
        wrong.append(f"lost: another tree: {place.content()}")
    began = Counter(place.began())
    for task, attempt in safe:
        again = [
            number
            for name, number in place.began()
            if name == task and number > attempt
        ]
        twice = began[task, attempt] > 1 and task != LIMITED["id"]
        if again or twice:
            wrong.append(
                f"double: {task} ran again ({again}) though attempt {attempt} had a result"
            )
    wrong += [
        f"double: {task} had attempt {n} {times} times"
        for (task, n), times in began.items()
        if times > 1 and task != LIMITED["id"]
    ]
    told = place.project.git("log", "--format=%B", place.tip)
    landed = Counter(
        line.partition(": ")[2]
        for line in told.splitlines()
        if line.startswith("Fanin-Task:")
    )
    if began_skipped := began.keys() & {(SKIPPED["id"], 1)}:
        wrong.append(f"lost: what a person asked for: {began_skipped}")
    expected = Counter(dict.fromkeys(end.states, 1))
    expected.pop(SKIPPED["id"], None)
    if landed != expected:
        wrong.append(f"double: commits per task {dict(landed)}")
    waiting = Journal(place.project.root / ".git").state().waiting
    if end.variant in IN_THE_WAY and OTHER_WORK not in waiting:
        wrong.append(f"lost: work for another branch waits no more: {waiting}")
    if not _has_stash(place):
        wrong.append("lost: what A stashed is not kept")
    if fsck := place.project.git("fsck", "--strict", "--no-dangling"):
        wrong.append(f"fsck: {fsck}")
    return wrong


def _has_stash(place: Place) -> bool:
    """Whether the stash of A's agent is kept, in a bundle or by a ref."""
    git_dir = place.project.root / ".git"
    if any(git_dir.glob("fanin/runs/*/*/*/detours.bundle")):
        return True
    kept = ["for-each-ref", "--format=%(refname)", "refs/fanin/kept"]
    return any(
        "stashed" in place.project.git("ls-tree", "--name-only", ref).split()
        for ref in place.project.git(*kept).split()
    )


def left_behind(place: Place) -> list[str]:
    """Every clone, quarantine, temporary file, lock and pin that should be gone, files
    that are not committed, and what the journal holds for begun.
    """
    git_dir = place.project.root / ".git"
    found = [
        str(path.relative_to(place.folder)) for path in (place.folder / "tmp").iterdir()
    ]
    found += [
        str(path.relative_to(place.folder))
        for path in git_dir.rglob("*")
        if _is_stray(path)
    ]
    pins = ["for-each-ref", "--format=%(refname)", "refs/fanin"]
    # What a landing has changed stays for `fanin undo`.
    found += [
        ref
        for ref in place.project.git(*pins).splitlines()
        if not ref.startswith(f"{landing_record.ROOT}/")
    ]
    journal = Journal(git_dir)
    found += [f"the request {name}" for name in journal.requests.read()]
    found += [f"the journal says {part}" for part in _unended(journal.state())]
    if place.tip == "refs/heads/main":
        found += place.project.git("status", "--porcelain").splitlines()
    return found


def _unended(state: State) -> list[str]:
    """What the journal believes to be going on; that work waits is no remainder but
    what a person must know.
    """
    began = {
        "run": state.run,
        "open": state.open,
        "accepted": state.accepted,
        "landing": state.landing,
        "unrecorded": state.unrecorded,
    }
    return [f"{name} = {value}" for name, value in began.items() if value]


def _is_stray(path: Path) -> bool:
    own = path.name
    return (
        own.startswith(("quarantine-", "tmp"))
        or own.endswith((".tmp", ".lock"))
        or own == "holder"
    )


class Died(BaseException):
    """Stands for the end of a process in this one."""


def die_after(run: LocalRun, event: str, nth: int = 1) -> None:
    """The run ends right after it has written the n-th line of that event into its
    journal.
    """
    record, left = run.journal.record_all, [nth]

    def die(events: Sequence[Mapping[str, Any]], **how: bool) -> None:
        record(events, **how)
        now = sum(each["event"] == event for each in events)
        left[0] -= now
        if now and left[0] <= 0:
            raise Died

    run.journal.record_all = die  # type: ignore[method-assign]
    try:
        run()
    except Died:
        return
    raise AssertionError(f"it ended before there were {nth} of {event}")


def die_before(run: LocalRun, event: str) -> None:
    """The run ends right before it writes that event into its journal."""
    record = run.journal.record_all

    def die(events: Sequence[Mapping[str, Any]], **how: bool) -> None:
        if any(each["event"] == event for each in events):
            raise Died
        record(events, **how)

    run.journal.record_all = die  # type: ignore[method-assign]
    try:
        run()
    except Died:
        return
    raise AssertionError(f"it ended without {event}")


def sample(count: int, of: int) -> list[int]:
    """`count` steps spread evenly over all."""
    return sorted(
        {1 + round(place * (of - 1) / max(1, count - 1)) for place in range(count)}
    )


def seeded_sample(count: int, of: int, name: str) -> list[int]:
    """`count` steps of all, the same ones each time for the same name."""
    return sorted(random.Random(name).sample(range(1, of + 1), count))


def try_all(end: Undisturbed, points: list[list[int]], folder: Path) -> list[str]:
    return [line for point in points for line in try_point(end, point, folder).wrong]
