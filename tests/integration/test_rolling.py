"""The rolling schedule: a task starts the moment its dependencies are merged; the
branch gets it in as few commits.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from typing import Any

import pytest

from runner.attempt.workspace_pool import WorkspacePool
from runner.core.events import BatchMerged, RunEvent, VerifyStarted
from runner.core.manifest import Manifest
from runner.local.batch_bases import BatchBases
from runner.local.joint_merge import JointMerge
from runner.local.landing import BranchLander
from runner.local.rolling import RollingSchedule
from runner.plan import progress_file
from runner.plan.progress import Progress
from tests.integration.test_crash import began
from tests.integration.test_landing import Meanwhile
from tests.integration.test_loop import SEED
from tests.support.crashes import ROOT, die_after
from tests.support.project import Project, Quiet, most_at_once
from tests.support.shell import AS_PERSON, until

UNEVEN: list[dict[str, Any]] = [
    {"id": "LONG", "do": ["sleep 4", "write long: x"]},
    {"id": "A", "do": ["write a: x"]},
    {"id": "B", "depends_on": ["A"], "do": ["write b: x"]},
    {"id": "C", "depends_on": ["B"], "do": ["write c: x"]},
]


def test_a_task_does_not_wait_for_a_longer_one_beside_its_dependency(
    project: Project,
) -> None:
    project.plan(UNEVEN, schedule="rolling", max_concurrent=2)
    project.run()
    began = {task: begin for task, _, begin, _ in project.intervals()}
    ended = {task: end for task, _, _, end in project.intervals()}
    assert began["B"] < ended["LONG"]  # batch by batch it would begin after it
    assert set(project.states().values()) == {"completed"}


def test_same_tree_as_batch_by_batch_and_never_more_than_max_concurrent(
    project: Project,
) -> None:
    project.plan(SEED, max_concurrent=2)
    project.git("branch", "side")
    project.run(schedule="rolling")
    assert most_at_once(project.intervals()) <= 2
    project.run(branch="side")
    files = ["ls-tree", "-r", "main"], ["ls-tree", "-r", "side"]
    rolled, batched = (
        [line for line in project.git(*f).splitlines() if ".fanin" not in line]
        for f in files
    )
    assert rolled == batched
    assert project.states("main") == project.states("side")
    assert project.git("status", "--porcelain") == ""
    assert project.git("for-each-ref", "refs/fanin") == ""


def test_only_landings_write_the_records_of_all_tasks(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    render = progress_file.render

    def noted(progress: Progress, order: Iterable[str]) -> str:
        written.append(render(progress, order))
        return written[-1]

    monkeypatch.setattr(progress_file, "render", noted)
    chain = [("A", []), ("B", ["A"]), ("C", ["B"]), ("D", ["C"])]
    tasks = [{"id": t, "do": [f"write {t}: x"], "depends_on": d} for t, d in chain]
    project.plan(tasks, schedule="rolling", max_concurrent=2)
    project.run()
    landed = project.git("log", "--format=%h", "--", ".fanin/progress.json").split()
    assert len(written) == len(landed) == 2
    assert written[-1] == project.git("show", "main:.fanin/progress.json") + "\n"
    assert set(project.states().values()) == {"completed"}


@pytest.mark.parametrize("verify", [None, "true"])
def test_results_do_not_pile_up_where_agents_never_stop_exiting(
    project: Project, monkeypatch: pytest.MonkeyPatch, verify: str | None
) -> None:
    take_events = RollingSchedule._take_events
    waiting = []

    def as_if_one_had_exited(self: RollingSchedule) -> bool:
        has_exited = take_events(self)
        waiting.append(len(self._batches.unmerged))
        return has_exited or self._dispatcher.ready.ready > 0

    monkeypatch.setattr(RollingSchedule, "_take_events", as_if_one_had_exited)
    tasks = [{"id": f"T{n}", "do": [f"write {n}: x"]} for n in range(20)]
    project.plan(tasks, schedule="rolling", max_concurrent=2, verify=verify)
    project.run()
    # twice as many as slots, and what is on its way then: one for each thread and slot
    assert max(waiting) <= 4 + 4 + 2
    assert set(project.states().values()) == {"completed"}


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many results were merged in one go: each merge begins late, so that the next
    results wait for it.
    """
    seen: list[int] = []
    add = JointMerge.add

    def late(self: JointMerge, manifests: Sequence[Manifest]) -> None:
        seen.append(len(manifests))
        time.sleep(0.7)
        add(self, manifests)

    monkeypatch.setattr(JointMerge, "add", late)
    return seen


def test_results_that_wait_are_merged_together_each_with_its_own_fate(
    project: Project, together: list[int]
) -> None:
    same = [{"id": t, "do": [f"write same: {t}"], "max_attempts": 1} for t in "AB"]
    project.plan(
        [
            *same,
            *({"id": t, "do": [f"write {t}: x"]} for t in "CDE"),
            {"id": "F", "do": ["fail no"], "max_attempts": 1},
        ],
        schedule="rolling",
        max_concurrent=6,
    )
    project.run()
    assert max(together) > 2
    states = project.states()
    assert [states[t] for t in "ABCDEF"] == [
        "completed",
        "completed",
        "completed",
        "completed",
        "completed",
        "failed",
    ]
    # The one with the conflict got another attempt, which landed last.
    records = project.records()
    [later] = [t for t in "AB" if records[t].get("conflicts") == 1]
    assert (project.root / "same").read_text().strip() == later
    assert all((project.root / t).exists() for t in "CDE")
    # F left nothing, and what the conflict kept is of no use any more
    assert project.git("for-each-ref", "refs/fanin/kept") == ""
    assert project.git("for-each-ref", "refs/fanin/base") == ""
    project.git("fsck", "--strict")


def test_marks_of_results_that_are_merged_together_are_all_set(
    project: Project, together: list[int]
) -> None:
    project.write(
        "specs/001-x/tasks.md",
        "## Phase 1: Setup\n\n- [ ] T001 a\n- [ ] T002 [P] b\n- [ ] T003 [P] c\n",
    )
    write = "import os, pathlib; pathlib.Path(os.environ['FANIN_TASK'] + '.out').write_text('x')"
    settings = {
        "plan": "specs/001-x",
        "parallel": True,
        "schedule": "rolling",
        "max_concurrent": 4,
        "agent": {"command": [sys.executable, "-c", write]},
    }
    project.write("fanin.yml", json.dumps(settings))
    project.commit()
    project.run()
    assert (project.root / "specs/001-x/tasks.md").read_text().count("[X]") == 3
    assert sum(together) == 3


def test_failures_are_retried_and_told_in_the_commit(project: Project) -> None:
    project.plan(
        [
            {"id": "A", "do": ["fail once why", "write a: a"]},
            {"id": "B", "do": ["fail no"], "max_attempts": 2},
            {"id": "C", "depends_on": ["B"], "do": ["write c: c"]},
        ],
        schedule="rolling",
    )
    project.run()
    assert project.states() == {"A": "completed", "B": "failed", "C": "pending"}
    assert project.records()["B"]["attempts"] == 2
    assert "C" not in began(project)


def test_individual_lands_a_commit_for_every_task(project: Project) -> None:
    project.plan(
        [{"id": t, "do": [f"write {t}: x"]} for t in "ABC"],
        schedule="rolling",
        commit_strategy="individual",
    )
    project.run()
    assert sorted(project.subjects()[:3]) == ["A: do A", "B: do B", "C: do C"]


def test_batch_strategy_flushes_as_one_commit_when_no_task_runs(
    project: Project,
) -> None:
    project.plan(
        [{"id": t, "do": [f"write {t}: x", "sleep 0.5"]} for t in "ABC"],
        schedule="rolling",
        max_concurrent=3,
    )
    seen = Quiet()
    project.run(seen)
    assert len(project.subjects()) == 3
    assert project.subjects()[0].startswith("Fan in ")
    assert sorted(seen.commits[-1].tasks) == ["A", "B", "C"]
    assert project.git("for-each-ref", "refs/fanin") == ""


def test_branch_that_moved_keeps_the_persons_commit_and_the_work(
    project: Project,
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["sleep 0.4", "write a: a"]},
            {"id": "B", "do": ["write b: b"]},
        ],
        schedule="rolling",
    )

    def commit() -> None:
        project.write("mine", "mine\n")
        project.commit("by a person")

    project.run(Meanwhile(commit))
    assert "by a person" in project.subjects()
    assert project.states() == {"A": "completed", "B": "completed"}
    assert (project.root / "mine").exists()


@pytest.mark.parametrize("commit_strategy", ["batch", "individual"])
def test_nothing_of_batches_that_are_not_merged_again_is_kept(
    project: Project, monkeypatch: pytest.MonkeyPatch, commit_strategy: str
) -> None:
    known: list[BatchBases] = []
    most: list[int] = []
    add = BatchBases.add

    def noted(self: BatchBases, *batch: Any) -> object:
        cancel = add(self, *batch)
        known.append(self)
        most.append(len(self))
        return cancel

    monkeypatch.setattr(BatchBases, "add", noted)
    tasks = [
        {"id": "A", "do": ["write a: a"]},
        {"id": "B", "do": ["write b: b"]},
        {"id": "C", "do": ["fail once no"]},
        {"id": "D", "do": ["write d: d"], "depends_on": ["A", "B"]},
    ]
    project.plan(
        tasks,
        schedule="rolling",
        commit_strategy=commit_strategy,
        retry_from="base",
    )

    def commit() -> None:
        project.write("a", "mine\n")
        project.commit("by a person")

    # A conflicts with it when it is merged again, and is retried
    project.run(Meanwhile(commit))
    assert project.states()["D"] == "completed"
    assert max(most) > 1
    assert len(known[-1]) == 0


def test_conflict_with_a_task_that_ended_before_fails_and_is_retried_on_it(
    project: Project,
) -> None:
    project.write("f", "base\n")
    project.plan(
        [
            {"id": "A", "do": ["replace f: base -> from A"]},
            {
                "id": "B",
                "do": [
                    "sleep 0.8",
                    "replace f: base -> from B",
                    "replace f: from A -> from A and B",
                ],
            },
        ],
        schedule="rolling",
        retry_from="base",
    )
    project.run()
    assert (project.root / "f").read_text() == "from A and B\n"
    assert project.records()["B"]["attempts"] == 2


@pytest.mark.parametrize("event", ["batch", "accepted", "landing", "flushed"])
def test_kill_after_any_line_of_the_journal_is_made_good(
    project: Project, event: str
) -> None:
    project.plan(SEED, schedule="rolling", max_concurrent=2)
    die_after(project.runner(), event, 2)
    finished = [key for key, _ in _results(project).items()]
    project.run()
    assert set(project.states().values()) == {"completed"}
    for task in finished:
        assert began(project).count(task) == 1
    assert project.git("for-each-ref", "refs/fanin/base", "refs/fanin/runs") == ""
    assert project.git("status", "--porcelain") == ""


def test_accepted_results_that_must_wait_wait_together(project: Project) -> None:
    """Each is landed anew after the crash; the second on what the first has put on the
    branch that waits.
    """
    do = {"A": ["write a: a"], "B": ["write b: b"], "C": ["sleep 1", "write c: c"]}
    project.plan(
        [{"id": t, "do": lines} for t, lines in do.items()],
        schedule="rolling",
        max_concurrent=3,
    )
    for name in ("a", "b"):
        project.write(name, "precious\n")
    die_after(project.runner(), "accepted", 2)
    ended = project.run()
    assert project.states(ended.branch) == dict.fromkeys("ABC", "completed")
    assert sorted(began(project)) == ["A", "B", "C"]


def _results(project: Project) -> dict[str, str]:
    found = {}
    for path in (project.root / ".git" / "fanin" / "runs").glob("*/*/*/result.json"):
        result = json.loads(path.read_text())
        found[result["task"]] = result["batch"]
    return found


def test_tasks_go_on_while_a_landing_is_on_its_way(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    land, landings = BranchLander.land, list[tuple[float, float]]()

    def slow(self: BranchLander, head: str, tip: str, run: str) -> bool:
        since = time.monotonic()
        time.sleep(1.0)
        landed = land(self, head, tip, run)
        landings.append((since, time.monotonic()))
        return landed

    monkeypatch.setattr(BranchLander, "land", slow)
    needs = {"A": [], "B": ["A"], "C": ["B"], "D": ["C"]}
    chain = [
        {"id": t, "depends_on": before, "do": [f"write {t}: x"]}
        for t, before in needs.items()
    ]
    project.plan(chain, schedule="rolling", max_concurrent=1)
    project.run()
    began = {task: begin for task, _, begin, _ in project.intervals()}
    assert landings[0][0] < began["B"] < landings[0][1]
    assert set(project.states().values()) == {"completed"}
    assert all((project.root / t).exists() for t in "ABCD")
    assert project.git("for-each-ref", "refs/fanin/base", "refs/fanin/runs") == ""


def test_branch_that_moves_while_a_landing_is_on_its_way_gets_all_that_was_merged(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    land, moves = BranchLander.land, ["one", "two"]

    def rival(self: BranchLander, head: str, tip: str, run: str) -> bool:
        if moves:
            project.write(name := moves.pop(), "mine")
            project.git("add", name)
            project.git("commit", "-qm", f"by a person: {name}")
        return land(self, head, tip, run)

    monkeypatch.setattr(BranchLander, "land", rival)
    work = [
        {"id": t, "do": [f"write {t}: x", f"sleep 0.{n}"]}
        for n, t in enumerate("ABCDE")
    ]
    project.plan(
        [*work, {"id": "F", "depends_on": ["A"], "do": ["replace A: x -> y"]}],
        schedule="rolling",
    )
    project.run()
    assert set(project.states().values()) == {"completed"}
    assert (project.root / "A").read_text() == "y\n"
    assert all((project.root / name).exists() for name in ("one", "two", *"BCDE"))
    # What each task changed of a file of several is kept; of the run nothing is left.
    refs = project.git("for-each-ref", "--format=%(refname)", "refs/fanin")
    assert all(ref.startswith("refs/fanin/landed/") for ref in refs.splitlines())
    assert project.git("status", "--porcelain") == ""
    assert [began(project).count(t) for t in "ABCDEF"] == [1] * 6


def test_task_that_fails_anew_where_the_branch_moved_is_retried_before_what_builds_on_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next result is there before the landing is over: what is ready must be looked
    for anew all the same.
    """
    land = BranchLander.land

    def slow(self: BranchLander, head: str, tip: str, run: str) -> bool:
        time.sleep(1.0)
        return land(self, head, tip, run)

    def commit() -> None:
        project.write("f", "a person\n")
        project.commit("by a person")

    monkeypatch.setattr(BranchLander, "land", slow)
    project.write("f", "base\n")
    project.plan(
        [
            {
                "id": "A",
                "do": ["replace f: base -> from A", "replace f: a person -> both"],
            },
            {"id": "B", "do": ["write b: b"]},
            {"id": "C", "depends_on": ["A"], "do": ["write c: c"]},
        ],
        schedule="rolling",
        retry_from="base",
        max_concurrent=1,
    )
    project.run(Meanwhile(commit))
    assert began(project) == ["A", "B", "A", "C"]
    assert project.states() == {"A": "completed", "B": "completed", "C": "completed"}
    assert (project.root / "f").read_text() == "both\n"


def test_last_task_that_fails_anew_where_the_branch_moved_is_retried(
    project: Project,
) -> None:
    def commit() -> None:
        project.write("f", "a person\n")
        project.commit("by a person")

    project.write("f", "base\n")
    project.plan(
        [
            {
                "id": "A",
                "do": ["replace f: base -> from A", "replace f: a person -> both"],
            }
        ],
        schedule="rolling",
        retry_from="base",
    )
    project.run(Meanwhile(commit))
    assert project.states() == {"A": "completed"}
    assert (project.root / "f").read_text() == "both\n"
    assert project.git("for-each-ref", "refs/fanin/runs") == ""


def test_task_that_a_person_takes_out_of_the_plan_while_it_runs_stops_nothing(
    project: Project,
) -> None:
    needs = {"A": [], "B": ["A"], "C": ["B"], "D": ["C"]}
    plan = [
        {"id": t, "do": [f"write {t}: x", f"sleep {2.5 * (t == 'C')}"], "depends_on": n}
        for t, n in needs.items()
    ]
    settings: dict[str, Any] = {"schedule": "rolling", "max_concurrent": 2}

    class Leaving(Quiet):
        def observe(self, event: RunEvent) -> None:
            super().observe(event)
            # both are to be landed now, while GONE runs
            if isinstance(event, BatchMerged) and len(self.fan_ins) == 2:
                project.plan(plan, **settings)

    project.plan(
        [{"id": "GONE", "do": ["sleep 2", "write gone: x"], "priority": 1}, *plan],
        **settings,
    )
    ended = project.run(Leaving())
    assert ended.stop_reason is None
    assert project.states() == dict.fromkeys(needs, "completed")
    assert not (project.root / "gone").exists()


def test_what_a_run_that_died_has_spent_is_told_if_it_lets_nothing_start(
    project: Project,
) -> None:
    dear = 'report {"status": "ok", "cost_usd": 1.0}'
    plan = [{"id": t, "do": [dear, f"write {t}: x"]} for t in "AB"]
    project.plan(
        plan, schedule="rolling", max_concurrent=1, limits={"max_cost_usd": 1.0}
    )
    die_after(project.runner(), "accepted", 1)
    ended = project.run()
    assert project.states() == {"A": "completed", "B": "pending"}
    assert ended.stop_reason
    assert "max_cost_usd" in ended.stop_reason


def test_what_was_built_on_work_that_did_not_land_is_built_anew(
    project: Project,
) -> None:
    def commit() -> None:
        project.write("f", "a person\n")
        project.commit("by a person")

    project.write("f", "base\n")
    project.plan(
        [
            {"id": "A", "do": ["replace f: base -> from A"], "max_attempts": 1},
            {"id": "B", "depends_on": ["A"], "do": ["sleep 1.0", "write b: b"]},
        ],
        schedule="rolling",
        retry_from="base",
        max_concurrent=1,
    )
    project.run(Meanwhile(commit))
    assert project.states() == {"A": "failed", "B": "pending"}
    assert not (project.root / "b").exists()


def test_work_is_verified_again_where_the_branch_moved(project: Project) -> None:
    def commit() -> None:
        project.write("g", "a person\n")
        project.commit("by a person")

    project.write("f", "old\n")
    project.write("g", "old\n")
    # new beside what the person wrote
    red = {"id": "A", "do": ["replace f: old -> new"], "max_attempts": 1}
    project.plan([red], schedule="rolling", verify="grep -q old f || grep -q old g")
    project.run(Meanwhile(commit))
    assert project.records()["A"]["error"]["kind"] == "verify"
    assert (project.root / "f").read_text() == "old\n"


def test_a_limit_of_cost_is_shared_by_those_that_may_start_together(
    project: Project,
) -> None:
    told = 'report {"status": "ok", "cost_usd": 0.1}'
    tasks = [{"id": t, "do": [f"write {t}: x", "sleep 0.7", told]} for t in "ABCD"]
    project.plan(
        tasks, schedule="rolling", max_concurrent=4, limits={"max_cost_usd": 4.0}
    )
    project.run()
    assert set(project.states().values()) == {"completed"}
    # else the first one reserves all that may be spent
    assert most_at_once(project.intervals()) > 1


@pytest.fixture
def all_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results are merged only when every task that runs has one."""
    merge = RollingSchedule._merge_results

    def merge_all(self: RollingSchedule, pool: Executor) -> None:
        if len(self._batches.unmerged) == len(self._batches):
            merge(self, pool)

    monkeypatch.setattr(RollingSchedule, "_merge_results", merge_all)


def verify_steps(observer: Quiet) -> list[tuple[str, ...]]:
    return [
        event.tasks for event in observer.events if isinstance(event, VerifyStarted)
    ]


@pytest.mark.usefixtures("all_wait")
def test_results_that_wait_are_verified_as_one_tree(project: Project) -> None:
    tasks = [{"id": t, "do": [f"write {t}: x"]} for t in "ABCD"]
    project.plan(tasks, schedule="rolling", max_concurrent=4, verify="test -e D")
    observer = Quiet()
    project.run(observer)
    assert set(project.states().values()) == {"completed"}
    [verified] = verify_steps(observer)
    assert sorted(verified) == list("ABCD")


@pytest.mark.usefixtures("all_wait")
def test_only_the_culprit_of_a_red_tree_is_sent_back(project: Project) -> None:
    def task(name: str, content: str = "x") -> dict[str, Any]:
        return {"id": name, "do": [f"write {name}: {content}"], "max_attempts": 1}

    project.plan(
        [task("A"), task("B", "red"), task("C"), task("D")],
        schedule="rolling",
        max_concurrent=4,
        verify="! grep -qs red A B C D",
        verify_base="check",
        verify_retries=0,
    )
    observer = Quiet()
    project.run(observer)
    assert project.states() == {
        "A": "completed",
        "B": "failed",
        "C": "completed",
        "D": "completed",
    }
    assert project.records()["B"]["error"]["kind"] == "verify"
    assert not (project.root / "B").exists()
    assert project.git("status", "--porcelain") == ""
    base, *steps = verify_steps(observer)
    assert base == ()
    assert sorted(steps[0]) == list("ABCD")
    # ⌈log2 4⌉ steps find one culprit, and one more confirms the rest
    assert len(steps) <= 4
    project.git("fsck", "--strict")


def test_a_slot_that_is_free_does_not_wait_for_verify(project: Project) -> None:
    project.plan(
        [
            {"id": "A", "do": ["write A: x"]},
            {"id": "B", "do": ["sleep 1", "write B: x"]},
            {"id": "C", "do": ["sleep 1", "write C: x"]},
            {"id": "D", "do": ["write D: x"]},
        ],
        schedule="rolling",
        max_concurrent=2,
        # A is verified before D can start, and green once it has
        verify=f"for i in $(seq 300); do grep -q '\"D\"' {project.log} && exit; "
        "sleep 0.1; done; false",
        verify_retries=0,
    )
    project.run()
    assert set(project.states().values()) == {"completed"}
    assert most_at_once(project.intervals()) <= 2


def test_a_slot_is_free_while_a_result_waits_for_another_verify(
    project: Project,
) -> None:
    starts = until(f"grep -q '\"D\"' {project.log}")
    project.plan(
        [
            {"id": "A", "do": ["write A: x"]},
            {"id": "B", "do": ["sleep 1", "write B: x"]},
            {
                "id": "C",
                "agent": {"command": ["sh", "-c", f"{starts}; echo x > C"]},
            },
            {"id": "D", "do": ["write D: x"]},
        ],
        schedule="rolling",
        max_concurrent=2,
        workspace="pooled",
        # A is verified, B waits, and C works until D has started
        verify=starts,
        verify_retries=0,
    )
    project.run()
    assert set(project.states().values()) == {"completed"}


@pytest.mark.parametrize("moved", [False, True])
def test_what_is_verified_lands_while_more_is_verified_on_top_of_it(
    project: Project, moved: bool
) -> None:
    flag = project.log.with_name("flag")
    main = f"git -C {project.root}"

    # A and B are green once C is verified on top of them, and C once they have landed, or
    # before if somebody else commits.
    file = project.root / "person"
    commit = (
        f"test -e {file} || {{ touch {file}; {main} add person; "
        f"{main} {AS_PERSON} commit -q -m person; }}"
    )
    below = f"{commit if moved else 'true'}; {until(f'test -e {flag}')}"
    above = "sleep 1" if moved else until(f"{main} cat-file -e main:A")
    tasks: list[dict[str, Any]] = [
        {"id": t, "do": [f"write {t}: x"], "max_attempts": 1} for t in "ABC"
    ]
    tasks[2]["do"].insert(0, "sleep 1")
    project.plan(
        tasks,
        schedule="rolling",
        max_concurrent=2,
        verify_concurrent=2,
        verify=f"if test -e C; then touch {flag}; {above}; elif test -e A -a -e B; then "
        f"{below}; fi",
        verify_retries=0,
    )
    project.run()
    assert project.states() == dict.fromkeys("ABC", "completed")
    subjects = project.git("log", "--format=%s").splitlines()
    assert subjects.count("person") == moved
    assert project.git("ls-files", "person") == "person" * moved
    assert project.git("status", "--porcelain") == ""
    project.git("fsck", "--strict")


def test_a_request_during_verify_counts_when_it_is_over(project: Project) -> None:
    requests = project.root / ".git" / "fanin" / "requests"
    skip = f"PYTHONPATH={ROOT} {sys.executable} -m runner -C {project.root} skip B"
    project.plan(
        [{"id": "A", "do": ["write A: x"]}, {"id": "B", "depends_on": ["A"]}],
        schedule="rolling",
        max_concurrent=2,
        # until the run has taken the request
        verify=f"{skip} && while ls {requests} | grep -q json; do sleep 0.1; done",
        timeout=60,
        verify_retries=0,
    )
    project.run()
    records = project.records()
    assert records["A"]["status"] == "completed"
    assert records["B"]["skipped"]


def test_max_rounds_is_a_number_of_landings_that_take_all_that_has_started(
    project: Project,
) -> None:
    # Two chains: however slow a landing is, a link starts only when the last is merged.
    tasks: list[dict[str, Any]] = [
        {"id": t, "do": [f"write {t}: x"], "depends_on": [*needed]}
        for t, needed in zip("ABCDEFGH", ["", "", *"ABCDEF"], strict=True)
    ]
    project.plan(tasks, schedule="rolling", max_concurrent=2, limits={"max_rounds": 2})
    before = int(project.git("rev-list", "--count", "HEAD"))
    outcome = project.run()
    assert outcome.stop_reason == "limits.max_rounds allows 2 landings"
    assert int(project.git("rev-list", "--count", "HEAD")) == before + 2
    completed = list(project.states().values()).count("completed")
    assert 4 <= completed < 8
    assert len(project.intervals()) == completed


def test_a_verify_that_a_signal_ends_is_run_once_more(project: Project) -> None:
    flag = project.log.with_name("flag")
    project.plan(
        [{"id": "A", "do": ["write A: x"], "max_attempts": 1}],
        schedule="rolling",
        verify=f"test -e {flag} || {{ touch {flag}; kill -KILL $$; }}",
        verify_retries=0,
    )
    project.run()
    assert project.states() == {"A": "completed"}


def test_as_many_checkouts_are_made_ahead_as_tasks_become_ready(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def prewarm(_pool: WorkspacePool, count: int, _base: str, most: int) -> None:
        asked.append((count, most))

    monkeypatch.setattr(WorkspacePool, "prewarm", prewarm)
    tasks = [
        {"id": "A", "do": ["sleep 0.2", "write a: a"]},
        {"id": "B", "do": ["sleep 0.2", "write b: b"], "depends_on": ["A"]},
        {"id": "C", "do": ["sleep 0.2", "write c: c"], "depends_on": ["A", "B"]},
    ]
    project.plan(tasks, schedule="rolling", max_concurrent=3)
    project.run()
    assert project.states() == dict.fromkeys("ABC", "completed")
    # While A works, B would be ready; the last task may not have taken its checkout
    # when it has just started.
    assert asked[0] == (1, 3)
    assert (0, 1) in asked
    assert asked[-1] == (0, 0)


def test_a_single_result_lands_as_the_commit_that_merged_it(project: Project) -> None:
    tasks = [
        {"id": "A", "do": ["write a: a"]},
        {"id": "B", "do": ["write b: b"], "depends_on": ["A"]},
        {"id": "C", "do": ["write c: c"], "depends_on": ["B"]},
    ]
    project.plan(tasks, schedule="rolling", max_concurrent=1)
    project.run()
    assert project.states() == dict.fromkeys("ABC", "completed")
    assert project.git("rev-list", "--count", "HEAD~3..") == "3"
    unreachable = project.git("fsck", "--strict", "--unreachable", "--no-reflogs")
    assert "commit" not in unreachable
