"""The shipped workflow, called through the shipped examples, from the first round to
the last.

Runs are shared between tests: each module-scoped fixture is one story, told by the
tests that follow it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.conftest import IDENTITY
from tests.support import walkthrough
from tests.support.github import (
    forge_comments,
    forge_issues,
    harness,
    workflows,
    world,
)
from tests.support.github.forge import Forge, Request
from tests.support.github.harness import PROJECT, Run
from tests.support.github.workflows import Document
from tests.support.github.world import (
    COMMENT,
    DISPATCH,
    ISSUES,
    NAME,
    OWN_JOBS,
    PULL_REQUEST,
    SCHEDULE,
    Task,
    World,
    counts,
    legs,
    ran,
    round_legs,
    said,
)

Make = Callable[..., World]

SEED: list[Task] = [
    {"id": "T1", "do": ["write t1: one"]},
    {"id": "T2", "depends_on": ["T1"], "do": ["write lib/t2: two"]},
    {"id": "T3", "depends_on": ["T2"], "do": ["append t1: three"]},
    {"id": "T4", "depends_on": ["T2"], "do": ["write t4: four", "executable bin/t4"]},
    {
        "id": "T5",
        "depends_on": ["T1"],
        "do": [
            "write t5: five",
            "fail once the agent lost the thread",
            # the second attempt goes on with what the first one has written
            "expect The work of attempt 1 is in the current folder",
        ],
    },
    {"id": "T6", "depends_on": ["T3", "T4", "T5"], "do": ["rename t4: t6"]},
]
# Three rounds of it: T5 fails once beside T2, and runs again beside T3.
SHORT = [task for task in SEED if task["id"] not in ("T4", "T6")]
ONE: list[Task] = [{"id": "A", "do": ["write a: a"]}]
CHAIN: list[Task] = [*ONE, {"id": "B", "depends_on": ["A"], "do": ["write b: b"]}]


@pytest.fixture(scope="module", autouse=True)
def _environment() -> Iterator[None]:
    """What tests/conftest.py does for each test, for the runs that several tests share."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(
                ("GIT_", "GITHUB_", "FANIN_", "INPUT_", "RUNNER_", "ACTIONS_")
            ):
                patch.delenv(name)
        for name, value in IDENTITY.items():
            patch.setenv(name, value)
        yield


@dataclass(frozen=True)
class Installed:
    """The cache that holds fanin's installation, and what the run that filled it said."""

    cache: Path
    jobs: Mapping[str, str]
    printed: Mapping[str, str]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Installs fanin for real, once for all processes of a test run: the first run with
    an empty cache does it.
    """
    try:
        harness.find_act()
    except harness.ActMissingError as error:
        pytest.skip(str(error))
    base = tmp_path_factory.getbasetemp()
    shared = (
        base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    ) / "fanin-installed"
    shared.mkdir(exist_ok=True)
    cache, told = shared / "cache", shared / "told.json"
    with FileLock(shared / "lock"):
        if not told.exists():
            folder = tmp_path_factory.mktemp("first")
            with Forge(folder / "forge") as forge:
                place = World(
                    forge,
                    folder / "work",
                    cache,
                    ONE,
                    callers={DISPATCH: world.example(DISPATCH)},
                )
                run = place.round()
            world.compile_downloads(cache)
            told.write_text(
                json.dumps(
                    {
                        "jobs": run.jobs,
                        "printed": {job: run.printed(job) for job in run.jobs},
                    }
                )
            )
    return Installed(cache, **json.loads(told.read_text()))


def giving(**inputs: Any) -> Callable[[Document], None]:
    """A change of a caller: further inputs for the called workflow."""

    def change(document: Document) -> None:
        [job] = document["jobs"].values()
        given = job["with"]
        given.update({name.replace("_", "-"): value for name, value in inputs.items()})

    return change


def link_to_job(run: Run, job: str, task: str | None = None) -> str:
    """The page of a job that ran; of its leg for `task` if it is a matrix."""
    index = next(
        leg.matrix["index"]
        for leg in run.legs
        if leg.job == job and task in (None, leg.matrix["task"])
    )
    position = list(run.document["jobs"]).index(job)
    job_id = workflows.check_run_id(position, index)
    return f"/{NAME}/actions/runs/{run.spec.run_id}/job/{job_id}"


def one_round_a_run(workflow: str) -> str:
    """A shipped caller that starts a new run for each round."""
    return world.adapted(workflow, giving(rounds_per_run="1"))


@pytest.fixture(scope="module")
def make(
    tmp_path_factory: pytest.TempPathFactory, installed: Installed
) -> Iterator[Make]:
    """Makes worlds; each has a forge of its own."""
    with contextlib.ExitStack() as stack:

        def made(
            tasks: Sequence[Task],
            *,
            callers: Mapping[str, str] | None = None,
            **given: Any,
        ) -> World:
            more = {
                name: given.pop(name)
                for name in ("more", "secrets", "env")
                if name in given
            }
            folder = tmp_path_factory.mktemp("world")
            forge = stack.enter_context(Forge(folder / "forge"))
            callers = callers or {DISPATCH: one_round_a_run(DISPATCH)}
            return World(
                forge,
                folder / "work",
                installed.cache,
                tasks,
                callers=callers,
                settings=given,
                **more,
            )

        yield made


# -- installation --


def test_next_fills_the_cache_and_legs_use_it_and_merge_does_not(
    installed: Installed,
) -> None:
    assert installed.jobs["merge"] == "success", installed.printed
    assert installed.printed["next"].count("Cache not found for key") == 2
    assert "Cache restored from key" in installed.printed["task"]
    assert "was restored from the cache" in installed.printed["task"]
    assert "from the cache" not in installed.printed["merge"]
    assert "Cache" not in installed.printed["merge"]


# -- the root action in a workflow of the user's own --

# The least that a user writes: actions/checkout leaves its credentials unless it is
# asked not to.
OWN_JOB = """
on: workflow_dispatch
permissions: {contents: read}
jobs:
  next:
    runs-on: ubuntu-latest
    outputs:
      has-work: ${{ steps.fanin.outputs.has-work }}
      batch: ${{ steps.fanin.outputs.batch }}
    steps:
      - uses: actions/checkout@v7
      - id: fanin
        uses: $/
        with: {command: next}
"""


def test_root_action_works_after_a_checkout_that_kept_its_credentials(
    make: Make,
) -> None:
    place = make(ONE, callers={"own.yml": OWN_JOB})
    place.harness.project_itself = True
    run = place.round("own.yml")
    assert run.jobs == {"next": "success"}, run.printed()
    assert run.leg("next").outputs["has-work"] == "true"
    assert place.forge.unknown == []


@pytest.fixture(scope="module")
def own_jobs(make: Make) -> tuple[World, list[Run]]:
    callers = {OWN_JOBS: world.example(OWN_JOBS)}
    place = make(CHAIN, callers=callers, verify="test -e a")
    return place, place.rounds(OWN_JOBS)


@pytest.mark.xdist_group("own")
def test_jobs_of_ones_own_run_round_after_round(
    own_jobs: tuple[World, list[Run]],
) -> None:
    place, rounds = own_jobs
    every = ["next", "task", "verify", "merge", "continue"]
    assert [ran(run) for run in rounds] == [every, every[:-1]]
    assert [run.exit_code for run in rounds] == [0, 0]
    assert place.subjects() == ["B: do B", "A: do A", "Seed"]
    summary = next(item.text for item in rounds[1].summaries if item.job == "merge")
    assert all(link_to_job(run, "task") in summary for run in rounds)
    assert set(place.states().values()) == {"completed"}
    assert place.forge.unknown == []


def test_jobs_of_ones_own_land_a_result_when_failed_jobs_are_run_again(
    make: Make,
) -> None:
    place = make(ONE, callers={OWN_JOBS: world.example(OWN_JOBS)}, verify="test -e a")
    run_id = place.press(OWN_JOBS)
    place.repository.protect("main")
    place.repository.protect(f"fanin/{run_id}")
    (failed,) = place.harness.run_until_quiet()
    assert (failed.jobs["verify"], failed.jobs["merge"]) == ("success", "failure")
    place.repository.unprotect("main")
    again = place.harness.rerun_failed(failed)
    assert again.jobs["merge"] == "success", again.printed("merge")
    assert place.subjects() == ["A: do A", "Seed"]
    assert place.records()["A"]["attempts"] == 1


def test_jobs_of_ones_own_land_after_a_cancel_that_left_verify_out(make: Make) -> None:
    def skipping(document: Document) -> None:
        # As GitHub does in a cancelled run, and in the re-run of its failed jobs.
        document["jobs"]["verify"]["if"] = "false"

    callers = {OWN_JOBS: world.adapted(OWN_JOBS, skipping)}
    place = make(ONE, callers=callers, verify="test -e a")
    cancelled = place.round(OWN_JOBS)
    assert (ran(cancelled)[-1], cancelled.jobs["merge"]) == ("merge", "failure")
    assert place.subjects() == ["Seed"]
    again = place.harness.rerun_failed(cancelled)
    assert again.jobs["merge-again"] == "success", again.printed()
    assert agents_started(again) == []
    assert place.subjects() == ["A: do A", "Seed"]
    assert place.records()["A"]["attempts"] == 1


def test_jobs_of_ones_own_start_no_agent_again_whose_attempt_is_recorded(
    make: Make,
) -> None:
    task = {"id": "A", "agent": {"command": ["sh", "-c", KILLS]}, "max_attempts": 1}
    place = make([task], callers={OWN_JOBS: world.example(OWN_JOBS)})
    run = place.round(OWN_JOBS)
    assert legs(run) == {"A": "failure"}
    assert place.records()["A"]["attempts"] == 1
    again = place.harness.rerun_failed(run)
    assert agents_started(again) == []
    assert legs(again) == {"A": "success"}, again.log[-3000:]
    assert place.records()["A"]["attempts"] == 1


def own_pull(make: Make, *, fork: bool, label: str) -> tuple[World, Run]:
    """A run of the own jobs for a pull request that got this label."""
    place = make(ONE, callers={OWN_JOBS: world.example(OWN_JOBS)})
    git = place.repository.git
    git.update("refs/heads/feature", git.tip(), None)
    git.commit_files("feature", {"feature": "mine\n"}, "Feature")
    pull = place.repository.open_pull("feature", fork=fork, labels=("fanin", label))
    run = place.harness.run_pull_request(
        NAME, pull, workflow=OWN_JOBS, action="labeled", label=label
    )
    return place, run


@pytest.mark.parametrize(
    ("fork", "label", "jobs"),
    [
        (True, "fanin", ["refused"]),
        (False, "bug", []),
        (False, "fanin", ["next", "task", "merge"]),
    ],
)
def test_jobs_of_ones_own_treat_pull_requests_as_the_called_workflow_does(
    make: Make, fork: bool, label: str, jobs: list[str]
) -> None:
    place, run = own_pull(make, fork=fork, label=label)
    assert ran(run) == jobs, run.log[-3000:]
    subjects = place.subjects("refs/heads/feature")
    assert subjects == ["A: do A"] * ("merge" in jobs) + ["Feature", "Seed"]
    assert place.subjects() == ["Seed"]
    assert len(place.repository.comments) == ("merge" in jobs)


# -- the seed's graph --


@pytest.fixture(scope="module")
def seed(make: Make) -> tuple[World, list[Run]]:
    place = make(SHORT)
    return place, place.rounds(max_concurrent="3")


@pytest.mark.xdist_group("seed")
def test_a_graph_ends_after_rounds_that_start_each_other(
    seed: tuple[World, list[Run]],
) -> None:
    place, rounds = seed
    assert [list(legs(run)) and sorted(legs(run)) for run in rounds] == [
        ["T1"],
        ["T2", "T5"],
        ["T3", "T5"],
    ]
    assert place.subjects() == [
        "Fan in T3, T5",
        "T2: do T2",
        "T1: do T1",
        "Seed",
    ]
    assert set(place.states().values()) == {"completed"}
    expected = ["next", "task", "merge", "continue"]
    assert [ran(run) for run in rounds] == [expected, expected, expected[:-1]]
    assert [run.exit_code for run in rounds] == [0, 0, 0]
    assert place.forge.unknown == []


@pytest.mark.xdist_group("seed")
def test_each_round_is_dispatched_with_the_state_and_nothing_else(
    seed: tuple[World, list[Run]],
) -> None:
    place, rounds = seed
    pressed, *later = place.repository.dispatches
    assert (pressed.by, pressed.inputs) == ("person", {"max-concurrent": "3"})
    states = [json.loads(item.inputs["fanin-state"]) for item in later]
    assert [
        (item.by, item.workflow, item.ref, list(item.inputs)) for item in later
    ] == [("github-actions[bot]", DISPATCH, "main", ["fanin-state"])] * 2
    assert [(state["run"], state["round"], state["branch"]) for state in states] == [
        (str(rounds[0].spec.run_id), number, "main") for number in (2, 3)
    ]
    assert {state["inputs"]["max_concurrent"] for state in states} == {"3"}


@pytest.mark.xdist_group("seed")
def test_outputs_count_what_remains(seed: tuple[World, list[Run]]) -> None:
    place, rounds = seed
    assert [counts(run)["completed"] for run in rounds] == [1, 2, 4]
    assert [counts(run)["remaining"] for run in rounds] == [2, 2, 0]
    assert [counts(run)["failed"] for run in rounds] == [0, 0, 0]
    commits = [run.leg("merge").outputs["commit"] for run in rounds]
    assert (
        commits[::-1]
        == place.repository.git.git("log", "--format=%H", "main").splitlines()[:3]
    )


@pytest.mark.xdist_group("seed")
def test_failed_attempt_leaves_its_leg_green_and_is_told(
    seed: tuple[World, list[Run]],
) -> None:
    place, rounds = seed
    second = rounds[1]
    assert legs(second) == {"T2": "success", "T5": "success"}
    assert second.leg("merge").result == "success"
    assert any(
        "the agent ended with exit status 1" in text for text in said(second, "error")
    )
    summary = next(item.text for item in second.summaries if item.job == "merge")
    assert "the agent lost the thread" in summary
    assert "```mermaid" in summary
    links = {task: link_to_job(second, "task", task) for task in ("T2", "T5")}
    assert links["T2"] in summary
    _, _, linked = summary.partition("[Log of its job](")
    assert linked.partition(")")[0].endswith(links["T5"])
    assert place.records()["T5"]["attempts"] == 2


@pytest.mark.xdist_group("seed")
def test_a_run_started_anew_when_all_is_done_finds_nothing_to_do(
    seed: tuple[World, list[Run]],
) -> None:
    place, rounds = seed
    before = place.repository.git.tip()
    again = place.harness.rerun_all(rounds[0])
    assert ran(again) == ["next"]
    assert again.exit_code == 0
    assert any("nothing to do" in text for text in said(again, "notice"))
    assert place.repository.git.tip() == before


def test_a_schedule_without_a_run_that_waits_costs_one_job(make: Make) -> None:
    place = make(ONE, callers={SCHEDULE: world.example(SCHEDULE)})
    run = place.harness.run_act(NAME, "schedule", workflow=SCHEDULE)
    assert (ran(run), run.exit_code) == (["next"], 0), run.printed()
    assert any("no run waits: nothing to do" in text for text in said(run, "notice"))
    assert place.subjects() == ["Seed"]
    assert place.forge.unknown == []


# -- several rounds in one run --


def agents_started(run: Run) -> list[str]:
    """The names of the artifacts that the legs of this run attempt left."""
    suffix = f"-r{run.spec.run_attempt}"
    return [
        artifact.name
        for artifact in run.artifacts
        if artifact.name.endswith(suffix)
        and not {"manifest", "verdict", "events", "earlier"}
        & set(artifact.name.split("-"))
    ]


@pytest.fixture(scope="module")
def chained(make: Make) -> tuple[World, Run]:
    place = make(SEED, callers={DISPATCH: world.example(DISPATCH)})
    return place, place.round()


@pytest.mark.xdist_group("chained")
def test_seed_graph_is_done_in_one_run_of_two_jobs_a_round(
    chained: tuple[World, Run],
) -> None:
    place, run = chained
    assert [sorted(started) for started in round_legs(run)] == [
        ["T1"],
        ["T2", "T5"],
        ["T3", "T4", "T5"],
        ["T6"],
    ]
    # The first round keeps the names of its jobs in the harness.
    later = [
        f"round-{number}-{job}" for number in (2, 3, 4) for job in ("task", "merge")
    ]
    assert ran(run) == ["next", "task", "merge", *later]
    assert run.exit_code == 0
    assert place.subjects() == [
        "T6: do T6",
        "Fan in T3, T4, T5",
        "T2: do T2",
        "T1: do T1",
        "Seed",
    ]
    assert set(place.states().values()) == {"completed"}
    assert [item.by for item in place.repository.dispatches] == ["person"]
    assert place.forge.unknown == []


@pytest.mark.xdist_group("chained")
def test_each_round_starts_from_what_the_round_before_landed(
    chained: tuple[World, Run],
) -> None:
    place, run = chained
    landed = place.repository.git.git("log", "--format=%H", "main").splitlines()
    merges = ["merge", "round-2-merge", "round-3-merge", "round-4-merge"]
    outputs = [run.leg(job).outputs for job in merges]
    assert [found["commit"] for found in outputs] == landed[3::-1]
    chosen = [json.loads(found["round"]) for found in outputs[:-1]]
    assert [document["base-sha"] for document in chosen] == landed[3:0:-1]
    assert [document["later-rounds"] for document in chosen] == [3, 2, 1]
    assert (outputs[-1]["round"], outputs[-1]["again"]) == ("", "false")
    assert [json.loads(found["state"])["round"] for found in outputs] == [1, 2, 3, 4]


@pytest.mark.xdist_group("chained")
def test_fanin_run_on_one_machine_makes_the_same_tree_and_progress(
    chained: tuple[World, Run], tmp_path: Path
) -> None:
    place, _ = chained
    git = place.repository.git
    begin = git.git("rev-list", "--max-parents=0", "main")
    local = tmp_path / "local"
    subprocess.run(["git", "clone", "-q", str(git.path), str(local)], check=True)
    subprocess.run(
        ["git", "-C", str(local), "checkout", "-q", "-B", "here", begin], check=True
    )
    done = subprocess.run(
        [sys.executable, "-m", "runner", "run", "--max-concurrent", "3"],
        cwd=local,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    def told(*argv: str) -> str:
        return subprocess.run(
            ["git", "-C", str(local), *argv], capture_output=True, text=True, check=True
        ).stdout

    def tree(listing: str) -> list[str]:
        return [
            line
            for line in listing.splitlines()
            if not line.endswith("\t.fanin/progress.json")
        ]

    assert tree(told("ls-tree", "-r", "here")) == tree(git.git("ls-tree", "-r", "main"))
    assert told("log", "--format=%s", "here").splitlines() == place.subjects()
    records = json.loads(told("show", "here:.fanin/progress.json"))["tasks"]
    assert list(records) == list(place.records())
    for name in ("status", "attempts"):
        assert {key: item[name] for key, item in records.items()} == {
            key: item[name] for key, item in place.records().items()
        }


# Each step but the first may change the same files, so that D waits for the last.
STAIRS: list[Task] = [
    {"id": "T1", "files": ["/first"], "do": ["write first: x"]},
    *(
        {
            "id": f"T{number}",
            "depends_on": [f"T{number - 1}"],
            "files": ["/steps/**"],
            "do": [f"write steps/{number}: x"],
        }
        for number in range(2, 6)
    ),
]


@pytest.fixture(scope="module")
def rerun(make: Make) -> tuple[World, Run, Run]:
    """A leg of round 1 dies; its task waits for four rounds that touch the same files.
    Then "Re-run failed jobs".
    """
    dies = KILLS.replace("killed", "steps/d")
    place = make(
        [
            *STAIRS,
            {
                "id": "D",
                "files": ["/steps/**"],
                "agent": {"command": ["sh", "-c", f"mkdir -p steps; {dies}"]},
            },
        ],
        callers={DISPATCH: world.example(DISPATCH)},
    )
    place.press()
    item = place.harness.queue.popleft()
    run = place.harness.run_act(NAME, workflow=item.workflow, run_id=item.run_id)
    return place, run, place.harness.rerun_failed(run)


@pytest.mark.xdist_group("rerun")
def test_a_run_ends_after_five_rounds_and_starts_the_next(
    rerun: tuple[World, Run, Run],
) -> None:
    place, run, _ = rerun
    assert [sorted(started) for started in round_legs(run)] == [
        ["D", "T1"],
        ["T2"],
        ["T3"],
        ["T4"],
        ["T5"],
    ]
    assert legs(run) == {"D": "failure", "T1": "success"}
    assert run.jobs["continue"] == "success"
    following = place.repository.dispatches[1]
    state = json.loads(following.inputs["fanin-state"])
    assert (state["run"], state["round"]) == (str(run.spec.run_id), 6)


@pytest.mark.xdist_group("rerun")
def test_rerun_of_failed_jobs_starts_one_agent_for_what_is_left(
    rerun: tuple[World, Run, Run],
) -> None:
    place, run, again = rerun
    run_id = run.spec.run_id
    # The leg that died, and nothing of the rounds that have landed since.
    assert legs(again) == {"D": "success"}
    assert any("no agent starts" in text for text in said(again, "notice"))
    assert round_legs(again)[1:] == [{"D": "success"}]
    assert agents_started(again) == [f"fanin-{run_id}.6.2-000-a2-r2"]
    assert set(place.states().values()) == {"completed"}
    assert place.subjects()[0] == "D: do D"
    assert place.forge.unknown == []


def test_a_verify_job_that_broke_burns_nothing_and_its_rerun_lands_the_results(
    make: Make, tmp_path: Path
) -> None:
    works = tmp_path / "works"
    setup = f"case $GITHUB_JOB in *verify) test -e {works} ;; esac"
    change = giving(install=setup)
    place = make(
        CHAIN, callers={DISPATCH: world.adapted(DISPATCH, change)}, verify="test -e a"
    )
    run = place.round()
    assert ran(run) == ["next", "task", "verify", "merge"]
    assert (run.jobs["verify"], run.jobs["merge"]) == ("failure", "failure")
    assert "job verify gave no verdict" in run.printed("merge")
    summary = next(item.text for item in run.summaries if item.job == "merge")
    assert "Re-run failed jobs" in summary
    assert place.subjects() == ["Seed"]
    works.touch()
    (result,) = [item for item in run.artifacts if item.name.endswith("-000-a1-r1")]
    place.store.hide(result, "verify")
    again = place.harness.rerun_failed(run)
    assert again.exit_code == 0, again.printed()
    assert place.subjects() == ["B: do B", "A: do A", "Seed"]
    # Job verify took it with its token, and uploaded it for job merge.
    shared = f"fanin-{run.spec.run_id}.1-earlier-verify-all-r2"
    assert [item.name for item in again.artifacts if "earlier" in item.name] == [shared]
    assert [record["attempts"] for record in place.records().values()] == [1, 1]
    assert agents_started(again) == [f"fanin-{run.spec.run_id}.2.2-000-a1-r2"]


def test_the_round_after_a_branch_that_moved_starts_from_its_second_merge(
    make: Make,
) -> None:
    place = make(CHAIN, callers={DISPATCH: world.example(DISPATCH)}, verify="test -e a")
    place.repository.before_push("main", place.rival)
    run = place.round()
    first = ["task", "verify", "merge", "verify-again", "merge-again"]
    second = ["round-2-task", "round-2-verify", "round-2-merge"]
    assert ran(run) == ["next", *first, *second]
    assert run.exit_code == 0
    assert place.subjects() == ["B: do B", "A: do A", "Rival rival", "Seed"]


def test_a_run_that_delivers_by_pull_request_is_steered_by_comments_and_merged(
    make: Make,
) -> None:
    """The twelve tasks of docs/walkthrough.md."""
    place = make(
        walkthrough.TASKS,
        callers={
            DISPATCH: world.example(DISPATCH),
            COMMENT: world.example(COMMENT),
        },
        more={"agent.py": walkthrough.AGENT},
        deliver="pull-request",
        max_concurrent=4,
        max_attempts=1,
    )
    place.repository.protect("main")  # nothing is pushed there
    place.repository.writers.add("ada")
    run = place.round()
    own = f"fanin/{run.spec.run_id}"
    assert [set(legs) for legs in round_legs(run)] == [
        {"T1", "T2", "T3", "T5"},
        {"T4", "T6", "T8"},
    ]
    assert run.leg("round-2-merge").outputs["branch"] == own
    (pull,) = place.repository.pulls.values()
    (opened,) = place.forge.calls("POST", "/pulls")
    assert opened.body["draft"]
    assert pull["draft"]
    assert "| ❓ | asking | T4: Keep the orders |" in pull["body"]

    for command in (
        "undo T2",
        'retry T2 T5 "Round half up, and change dollars.py alone."',
        'reply T4 "SQLite. We have no server."',
        "approve T9",
    ):
        event = forge_comments.say(
            place.forge, place.repository, 1, "ada", f"/fanin {command}"
        )
        shown = {name: event[name] for name in ("action", "issue", "comment")}
        done = place.harness.run_act(
            NAME, "issue_comment", workflow=COMMENT, event_payload=shown, actor="ada"
        )
        assert forge_comments.reactions(place.repository, event) == ["+1"], (
            done.printed()
        )
    # Each but `undo` has started a run; the first does all that is left.
    first, *others = place.harness.queue
    assert (first.workflow, len(others)) == (DISPATCH, 2)
    place.harness.queue.clear()
    place.harness.queue.append(first)
    (run,) = place.harness.run_until_quiet()
    assert [set(legs) for legs in round_legs(run)] == [
        {"T2", "T4", "T5"},
        {"T7", "T9", "T11"},
        {"T10", "T12"},
    ], run.printed()
    assert place.subjects() == ["Seed"]
    assert not pull["draft"], "the tokens of the jobs may end it"
    assert pull["body"].startswith("<!-- fanin: begin -->\n✅ 12 done\n")
    assert len(place.forge.calls("POST", "/pulls")) == 1

    place.repository.merge_pull(1, "squash")
    assert set(place.states().values()) == {"completed"}
    assert b"ROUND_HALF_UP" in place.repository.git.read("main", "shop/rounding.py")
    assert "shop/signs.py" not in place.repository.git.files("main")
    again = place.round()
    assert (ran(again), again.exit_code) == (["next"], 0)
    assert place.forge.unknown == []


@pytest.fixture(scope="module")
def moved(make: Make) -> tuple[World, Run]:
    """The branch moves once, and the first of two rounds takes most of the money."""
    costs = [
        {**task, "do": [*task["do"], 'report {"cost_usd": 1.25}']} for task in CHAIN
    ]
    place = make(
        costs,
        callers={DISPATCH: world.example(DISPATCH)},
        limits={"max_cost_usd": 2},
    )
    place.repository.before_push("main", place.rival)
    return place, place.round()


@pytest.mark.xdist_group("moved")
def test_what_a_run_may_cost_holds_in_each_of_its_rounds(
    moved: tuple[World, Run],
) -> None:
    place, run = moved
    assert ran(run) == ["next", "task", "merge"]
    assert any(
        "limits.max_cost_usd: $1.25 of $2.00 spent" in text
        for text in said(run, "notice")
    )
    assert place.states() == {"A": "completed", "B": "pending"}


def test_rounds_per_run_beyond_five_is_refused_before_anything_is_paid(
    make: Make,
) -> None:
    change = giving(rounds_per_run="6")
    place = make(ONE, callers={DISPATCH: world.adapted(DISPATCH, change)})
    run = place.round()
    assert (ran(run), run.jobs["next"]) == (["next"], "failure")
    assert "rounds-per-run" in run.printed("next")


# -- failures --

# The agent takes the leg's own process with it: the parent of the supervisor, `$PPID`.
FANIN = "fanin=$(sed -n 's/^PPid:[^0-9]*//p' /proc/$PPID/status)"
KILLS = (
    f'if [ "$FANIN_ATTEMPT" = 1 ]; then {FANIN}; kill -9 $fanin; exit; fi; '
    "echo ok > killed"
)
# And what the leg had written so far, as when the machine is lost.
LOSES = (
    f'if [ "$FANIN_ATTEMPT" = 1 ]; then {FANIN}; '
    "results=$(tr '\\0' '\\n' < /proc/$fanin/environ | sed -n 's/^FANIN_RESULTS=//p'); "
    '[ -n "$results" ] && rm -rf "$results"; kill -9 $fanin; exit; fi; echo ok > lost'
)


@pytest.fixture(scope="module")
def mixed(make: Make) -> tuple[World, list[Run]]:
    place = make(
        [
            {"id": "good", "do": ["write good: yes"]},
            {"id": "once", "do": ["fail once not today", "write once: yes"]},
            {"id": "never", "do": ["fail ::error::no such luck"], "max_attempts": 1},
            {"id": "waits", "depends_on": ["never"], "do": ["write waits: no"]},
            {"id": "kills", "agent": {"command": ["sh", "-c", KILLS]}},
            {"id": "loses", "agent": {"command": ["sh", "-c", LOSES]}},
        ]
    )
    return place, place.rounds(max_concurrent="5")


@pytest.mark.xdist_group("mixed")
def test_leg_is_red_only_when_fanin_itself_broke(
    mixed: tuple[World, list[Run]],
) -> None:
    _, rounds = mixed
    assert len(rounds) == 2
    assert legs(rounds[0]) == {
        "good": "success",
        "once": "success",
        "never": "success",
        "kills": "failure",
        "loses": "failure",
    }
    assert legs(rounds[1]) == {
        "once": "success",
        "kills": "success",
        "loses": "success",
    }


@pytest.mark.xdist_group("mixed")
def test_leg_that_died_costs_its_task_one_attempt(
    mixed: tuple[World, list[Run]],
) -> None:
    place, rounds = mixed
    landed = place.repository.git.git(
        "log", "--reverse", "--format=%H", "main"
    ).splitlines()[1]
    records = place.records(landed)
    assert {
        name: (records[name]["status"], records[name]["attempts"])
        for name in ("kills", "loses")
    } == {
        "kills": ("failed", 1),
        "loses": ("failed", 1),
    }
    assert (
        records["kills"]["error"]["message"] == "the attempt started but left no result"
    )
    assert records["loses"]["error"]["message"] == "the job left no result"
    names = [
        item.name.rsplit("-", 3)[1]
        for item in rounds[0].artifacts
        if "manifest" not in item.name and "-events-" not in item.name
    ]
    assert sorted(names) == ["000", "001", "002", "003"]
    assert any("No files were found" in text for text in said(rounds[0], "warning"))


@pytest.mark.xdist_group("mixed")
def test_merge_is_red_with_its_outputs_when_a_task_failed_for_good_and_the_rest_goes_on(
    mixed: tuple[World, list[Run]],
) -> None:
    place, rounds = mixed
    assert [run.leg("merge").result for run in rounds] == ["failure", "failure"]
    assert [run.jobs["continue"] for run in rounds] == ["success", "skipped"]
    assert counts(rounds[0]) == {
        "completed": 1,
        "failed": 1,
        "blocked": 1,
        "remaining": 3,
    }
    assert counts(rounds[1]) == {
        "completed": 4,
        "failed": 1,
        "blocked": 1,
        "remaining": 0,
    }
    assert place.states() == {
        "good": "completed",
        "once": "completed",
        "never": "failed",
        "waits": "pending",
        "kills": "completed",
        "loses": "completed",
    }
    assert place.subjects() == ["Fan in once, kills, loses", "good: do good", "Seed"]


@pytest.mark.xdist_group("mixed")
def test_agent_cannot_speak_to_the_machine(mixed: tuple[World, list[Run]]) -> None:
    _, rounds = mixed
    words = "::error::no such luck"
    heard = {
        event.get("command")
        for event in rounds[0].events
        if words in str(event.get("msg"))
    }
    assert "ignored" in heard  # act's word for what stands between `::stop-commands::`
    assert "error" not in heard
    assert "no such luck" not in said(rounds[0], "error")


@pytest.mark.xdist_group("mixed")
def test_rerun_of_failed_jobs_after_the_landing_adds_no_commit(
    mixed: tuple[World, list[Run]],
) -> None:
    place, rounds = mixed
    before = place.repository.git.tip()
    again = place.harness.rerun_failed(rounds[0])
    # Their attempts are recorded, so no agent starts.
    assert legs(again) == {"kills": "success", "loses": "success"}
    assert agents_started(again) == []
    assert again.leg("merge").outputs["commit"] == ""
    assert again.jobs["continue"] == "skipped"
    assert place.repository.git.tip() == before
    assert list(place.harness.queue) == []


# -- the branch moves --


@pytest.mark.xdist_group("moved")
def test_branch_that_moved_is_merged_again_on_its_new_head(
    moved: tuple[World, Run],
) -> None:
    place, run = moved
    assert run.jobs["merge"] == "success"
    assert place.subjects() == ["A: do A", "Rival rival", "Seed"]
    assert {"a", "rival"} <= set(place.repository.git.files())
    assert run.leg("merge").outputs["commit"] == place.repository.git.tip()


def test_verified_branch_that_moved_is_verified_once_more(make: Make) -> None:
    place = make(
        [*ONE, {"id": "B", "do": ["write b: b"], "max_attempts": 1}],
        verify="test ! -e b",
    )
    place.repository.before_push("main", place.rival)
    run = place.round()
    assert ran(run) == [
        "next",
        "task",
        "verify",
        "merge",
        "verify-again",
        "merge-again",
    ]
    assert (run.jobs["merge"], run.leg("merge").outputs["moved"]) == ("success", "true")
    assert counts(run, "merge-again") == {
        "completed": 1,
        "failed": 1,
        "blocked": 0,
        "remaining": 0,
    }
    assert place.subjects() == ["A: do A", "Rival rival", "Seed"]
    assert place.states() == {"A": "completed", "B": "failed"}
    assert place.records()["B"]["error"]["kind"] == "verify"
    assert {"a", "rival"} <= set(place.repository.git.files())


@pytest.mark.parametrize("commit_via", ["git", "api"])
def test_branch_that_moved_twice_gets_a_pull_request_for_a_person(
    make: Make, commit_via: str
) -> None:
    caller = world.adapted(DISPATCH, giving(commit_via=commit_via))
    place = make(CHAIN, callers={DISPATCH: caller}, verify="true")
    rivals = iter(["one", "two"])
    place.repository.before_push("main", lambda: place.rival(next(rivals)), times=2)
    run = place.round()
    held = f"fanin/held/{run.spec.run_id}.1"
    assert run.leg("merge").outputs["moved"] == "true"
    assert run.jobs["merge-again"] == "failure"
    assert run.jobs["continue"] == "skipped"
    # No round follows one that waits for a person.
    assert round_legs(run) == [{"A": "success"}]
    assert place.subjects() == [
        f"Hold batch {run.spec.run_id}.1 on {held}",
        "Rival two",
        "Rival one",
        "Seed",
    ]
    assert place.states() == {"A": "pending", "B": "pending"}
    assert place.records()["A"]["held"] == held
    assert place.states(held) == {"A": "completed", "B": "pending"}
    (pull,) = place.repository.pulls.values()
    assert (pull["head"]["ref"], pull["base"]["ref"]) == (held, "main")
    assert place.repository.git.is_ancestor("main", held)
    signed = {place.repository.git.tip(ref) for ref in ("main", held)}
    assert (signed <= place.repository.signed) == (commit_via == "api")


def test_merge_that_could_not_push_lands_when_its_failed_jobs_are_run_again(
    make: Make,
) -> None:
    """Verified and paid for; a person mends the rule and presses "Re-run failed jobs"."""
    place = make(ONE, verify="test -e a")
    run_id = place.press()
    place.repository.protect("main")
    place.repository.protect(f"fanin/{run_id}")
    (failed,) = place.harness.run_until_quiet()
    assert failed.jobs == {
        **failed.jobs,
        "task": "success",
        "verify": "success",
        "merge": "failure",
    }
    assert "kept as artifacts" in failed.printed("merge")
    place.repository.unprotect("main")
    again = place.harness.rerun_failed(failed)
    assert again.jobs["merge"] == "success", again.printed("merge")
    assert place.subjects() == ["A: do A", "Seed"]
    assert place.records()["A"]["attempts"] == 1


# -- a hostile result --


class Intruder:
    """Changes a run's artifacts after the legs have uploaded them and before job
    `merge` downloads any.
    """

    def __init__(
        self,
        place: World,
        deeds: Mapping[str, Callable[[dict[str, bytes]], dict[str, bytes]]],
    ) -> None:
        self.place, self.deeds, self.note, self.done = (
            place,
            dict(deeds),
            place.forge.note,
            False,
        )
        place.forge.note = self  # type: ignore[method-assign]

    def __call__(self, request: Request) -> None:
        self.note(request)
        if request.token.endswith("/merge") and not self.done:
            self.done = True
            self.intrude(int(request.token.partition("/")[0]))

    def intrude(self, run_id: int) -> None:
        store = self.place.store
        for artifact in store.list(run_id):
            found = store.read(artifact)
            task = (
                json.loads(found["attempt.json"])["task"]
                if "attempt.json" in found
                else ""
            )
            if task in self.deeds:
                store.create(
                    run_id, artifact.name, self.deeds.pop(task)(found), overwrite=True
                )


def with_result(found: dict[str, bytes], **changes: Any) -> dict[str, bytes]:
    result = {**json.loads(found["result.json"]), **changes}
    return {**found, "result.json": json.dumps(result).encode()}


def pack_with_git_folder(place: World) -> tuple[str, bytes]:
    """A pack whose tree has an entry `.git` with a hook in it; git's own plumbing
    refuses to write such a tree.
    """
    git = place.repository.git

    def put(kind: str, content: bytes) -> str:
        argv = ["hash-object", "-t", kind, "-w", "--stdin", "--literally"]
        return git.raw(*argv, stdin=content).decode().strip()

    def entry(mode: str, name: str, sha: str) -> bytes:
        return f"{mode} {name}\0".encode() + bytes.fromhex(sha)

    hook = put("blob", b"#!/bin/sh\ntouch /tmp/owned\n")
    inside = put("tree", entry("100755", "post-checkout", hook))
    outside = put(
        "tree", entry("40000", ".git", inside) + entry("100644", "evil", hook)
    )
    return outside, git.raw(
        "pack-objects",
        "--stdout",
        "-q",
        stdin=f"{hook}\n{inside}\n{outside}\n".encode(),
    )


@pytest.fixture(scope="module")
def hostile(make: Make) -> tuple[World, Run]:
    names = ["honest", "gitdir", "foreign", "absurd", "deep", "swapped", "workflow"]
    place = make(
        [
            {"id": name, "do": [f"write {name}: {name}"], "max_attempts": 1}
            for name in names[:-1]
        ]
        + [
            {
                "id": "workflow",
                "do": ["write .github/workflows/evil.yml: on: push"],
                "max_attempts": 1,
            }
        ]
    )
    tree, pack = pack_with_git_folder(place)
    Intruder(
        place,
        {
            "gitdir": lambda found: with_result(
                {**found, "change.pack": pack}, tree=tree
            ),
            "foreign": lambda found: with_result(found, batch="1.1"),
            "absurd": lambda found: {
                **found,
                "result.json": b'{"batch": ' + b"9" * 5000 + b', "task": [{}]}',
            },
            "deep": lambda found: {**found, "result.json": b"[" * 200_000},
            "swapped": lambda found: with_result(found, task="honest"),
        },
    )
    return place, place.round(max_concurrent="7")


@pytest.mark.xdist_group("hostile")
def test_honest_task_lands_beside_hostile_results(hostile: tuple[World, Run]) -> None:
    place, run = hostile
    assert place.subjects() == ["honest: do honest", "Seed"]
    assert counts(run) == {"completed": 1, "failed": 6, "blocked": 0, "remaining": 0}
    assert place.states() == {
        name: "completed" if name == "honest" else "failed"
        for name in (str(task["id"]) for task in place.tasks)
    }
    assert run.jobs["merge"] == "failure"


@pytest.mark.xdist_group("hostile")
def test_nothing_hostile_lands(hostile: tuple[World, Run]) -> None:
    place, _ = hostile
    assert place.repository.git.files() == [
        ".fanin/progress.json",
        f".github/workflows/{DISPATCH}",
        "agent.py",
        "fanin.yml",
        "honest",
        "tasks.yml",
    ]
    assert place.repository.git.branches() == ["main"]
    fetched = place.repository.git.git("rev-list", "--objects", "main")
    assert "evil" not in fetched
    assert "post-checkout" not in fetched


@pytest.mark.xdist_group("hostile")
@pytest.mark.parametrize(("task", "kind", "why"), [
    ("gitdir", "corrupt", "the pack is refused"),
    ("foreign", "corrupt", "the result belongs to another batch"),
    ("absurd", "corrupt", "result.json is not a valid result"),
    ("deep", "corrupt", "result.json is not a valid result"),
    ("swapped", "corrupt", "the result belongs to another task"),
    ("workflow", "policy", ".github/workflows/evil.yml"),
])  # fmt: skip
def test_each_hostile_result_is_told(
    hostile: tuple[World, Run], task: str, kind: str, why: str
) -> None:
    place, run = hostile
    error = place.records()[task]["error"]
    assert error["kind"] == kind
    assert why in error["message"]
    assert any(why in text for text in said(run, "error"))


# -- pull requests --


def pull_world(make: Make, caller: str) -> World:
    """The plan is on a branch of its own."""
    commented = world.adapted(COMMENT, giving(workflow=PULL_REQUEST))
    place = make(CHAIN, callers={PULL_REQUEST: caller, COMMENT: commented})
    git = place.repository.git
    git.update("refs/heads/feature", git.tip(), None)
    git.commit_files("feature", {"feature": "mine\n"}, "Feature")
    return place


@pytest.fixture(scope="module")
def pulled(make: Make) -> tuple[World, list[Run]]:
    place = pull_world(make, one_round_a_run(PULL_REQUEST))
    pull = place.repository.open_pull("feature", labels=("fanin",))
    begun = place.harness.run_pull_request(
        NAME, pull, workflow=PULL_REQUEST, action="labeled"
    )
    return place, [begun, *place.harness.run_until_quiet()]


@pytest.mark.xdist_group("pulled")
def test_labelled_pull_request_runs_on_its_own_branch(
    pulled: tuple[World, list[Run]],
) -> None:
    place, rounds = pulled
    assert [run.spec.event for run in rounds] == ["pull_request", "workflow_dispatch"]
    assert [run.spec.ref for run in rounds] == [
        "refs/pull/1/merge",
        "refs/heads/feature",
    ]
    assert place.subjects("refs/heads/feature") == [
        "B: do B",
        "A: do A",
        "Feature",
        "Seed",
    ]
    assert place.subjects() == ["Seed"]
    assert place.forge.unknown == []


@pytest.mark.xdist_group("pulled")
def test_comment_is_written_once_and_edited_in_the_second_round(
    pulled: tuple[World, list[Run]],
) -> None:
    place, rounds = pulled
    (comment,) = place.repository.comments.values()
    assert len(place.forge.calls("POST", "/issues/1/comments")) == 1
    assert len(place.forge.calls("PATCH", "/issues/comments/")) == 1
    assert comment["body"].startswith("<!-- fanin -->\n")
    assert f"{rounds[0].spec.run_id}.2" in comment["body"].replace("\\", "")
    assert "2 of 2 done" in comment["body"]


@pytest.mark.xdist_group("pulled")
def test_command_in_a_comment_is_done_and_starts_the_next_round(
    pulled: tuple[World, list[Run]],
) -> None:
    """Last of its group: it adds a commit and a round that is not run."""
    place, _ = pulled
    repository = place.repository
    repository.writers.add("ada")
    line = '/fanin retry B --redo "$(touch /tmp/x) `id` ${{ github.token }} ::error::x"'
    event = forge_comments.say(place.forge, repository, 1, "ada", f"Good.\n\n{line}\n")
    shown = {name: event[name] for name in ("action", "issue", "comment")}
    run = place.harness.run_act(
        NAME, "issue_comment", workflow=COMMENT, event_payload=shown, actor="ada"
    )
    assert ran(run) == ["comment"]
    assert run.exit_code == 0, run.printed()
    assert place.subjects("refs/heads/feature")[0] == "Retry B"
    record = place.records("refs/heads/feature")["B"]
    assert record["message"] == line.partition('"')[2][:-1]
    assert forge_comments.reactions(repository, event) == ["+1"]
    assert "`/fanin retry B`" in forge_comments.answers(repository)[-1]
    [queued] = place.harness.queue
    assert (queued.workflow, queued.ref) == (PULL_REQUEST, "feature")
    assert json.loads(queued.inputs["fanin-state"])["branch"] == "feature"
    assert said(run, "error") == []
    assert place.forge.unknown == []


def test_pull_request_without_the_label_runs_nothing(make: Make) -> None:
    place = pull_world(make, world.example(PULL_REQUEST))
    pull = place.repository.open_pull("feature", labels=("other",))
    run = place.harness.run_pull_request(NAME, pull, workflow=PULL_REQUEST)
    assert ran(run) == []
    assert run.exit_code == 0
    assert place.subjects("refs/heads/feature") == ["Feature", "Seed"]


def test_pull_request_of_a_fork_is_refused_with_the_reason_and_nothing_runs(
    make: Make,
) -> None:
    place = pull_world(make, world.example(PULL_REQUEST))
    pull = place.repository.open_pull("feature", fork=True, labels=("fanin",))
    run = place.harness.run_pull_request(NAME, pull, workflow=PULL_REQUEST)
    assert ran(run) == ["refused"]
    (notice,) = said(run, "notice")
    assert "does not run on pull requests from forks" in notice
    assert [item.job for item in run.summaries] == ["refused"]
    assert place.subjects("refs/heads/feature") == ["Feature", "Seed"]
    assert place.repository.comments == {}


def test_another_label_a_closed_pull_request_and_dependabot_run_nothing(
    make: Make,
) -> None:
    place = pull_world(make, world.example(PULL_REQUEST))
    pull = place.repository.open_pull("feature", labels=("fanin", "bug"))
    start = partial(place.harness.run_pull_request, NAME, workflow=PULL_REQUEST)
    assert ran(start(pull, action="labeled", label="bug")) == []
    closed = {**pull, "state": "closed"}
    assert ran(start(closed, action="labeled")) == []
    assert ran(start(closed, action="synchronize")) == []
    by_dependabot = {**pull, "user": {"login": "dependabot[bot]"}}
    run = start(by_dependabot, action="synchronize")
    assert ran(run) == ["refused"]
    (notice,) = said(run, "notice")
    assert "Fanin does not run on pull requests of Dependabot" in notice
    assert ran(start({**by_dependabot, "labels": []})) == []
    assert place.subjects("refs/heads/feature") == ["Feature", "Seed"]


def test_caller_without_workflow_dispatch_is_told_the_lines_to_add(make: Make) -> None:
    def change(document: Document) -> None:
        giving(rounds_per_run="1")(document)
        del document["on"]["workflow_dispatch"]

    caller = world.adapted(PULL_REQUEST, change)
    place = pull_world(make, caller)
    pull = place.repository.open_pull("feature", labels=("fanin",))
    run = place.harness.run_pull_request(NAME, pull, workflow=PULL_REQUEST)
    assert run.jobs == {**run.jobs, "merge": "success", "continue": "failure"}
    text = run.printed("continue").replace("\r", "")
    assert f"{PULL_REQUEST} has no `workflow_dispatch` trigger" in text
    assert "workflow_dispatch:\n" in text
    assert "fanin-state" in text
    # what was done has landed
    assert place.subjects("refs/heads/feature")[0] == "A: do A"


# -- one commit a task, the user's CI, what an agent sees --

CI = "on: workflow_dispatch\njobs: {ci: {runs-on: ubuntu-latest, steps: [{run: 'echo tested'}]}}\n"
SECRET, OTHER = "value-of-the-secret", "value-nobody-asked-for"
# The last value is in every state. If it were masked, GitHub would drop them all.
AGENT_ENV = f"AGENT_SECRET={SECRET}\nOTHER_SECRET={OTHER}\nCLAUDE_CODE_USE_BEDROCK=1\n"
MAY_SEE = {
    "SSL_CERT_FILE",  # the machine's certificates, where it has its own
    "FANIN_PROMPT",
    "FANIN_REPORT",
    "FANIN_SLOT",
    "FANIN_TASK",
    "FANIN_ATTEMPT",
    "FANIN_BASE",
    "FANIN_COOKIE",
    "AGENT_SECRET",
    "PWD",
    "OLDPWD",
    "SHLVL",
    "_",
    "PATH",
    "HOME",
    "LANG",
    "TMPDIR",
    "TERM",
}


# What people do in a step of their own.
INSTALL = """
mkdir -p "$RUNNER_TEMP/tools"
printf '#!/bin/sh\\necho 2\\n' >"$RUNNER_TEMP/tools/own-tool"
chmod +x "$RUNNER_TEMP/tools/own-tool"
echo "$RUNNER_TEMP/tools" >>"$GITHUB_PATH"
echo MACHINE_SETTING=of-the-machine >>"$GITHUB_ENV"
"""


@pytest.fixture(scope="module")
def individual(make: Make) -> tuple[World, list[Run]]:
    def change(document: Document) -> None:
        giving(trigger_workflows="ci.yml", install=INSTALL)(document)
        document["jobs"]["fanin"]["secrets"]["agent-env"] = "${{ secrets.AGENT_ENV }}"

    names = "env | sed -n 's/^\\([A-Za-z_]*\\)=.*/\\1/p' > seen"
    looks = f'{names}; printf %s "$AGENT_SECRET" | sha256sum > digest; echo "it is $AGENT_SECRET"'
    tells = 'printf %s "$AGENT_SECRET" > told'

    def agent(script: str, name: str = "AGENT_SECRET") -> Document:
        return {"command": ["sh", "-c", script], "env": [name]}

    uses = 'test -n "$MACHINE_SETTING" && own-tool >two'

    place = make(
        [
            {"id": "looks", "agent": agent(looks)},
            {"id": "two", "agent": agent(uses, "MACHINE_SETTING")},
            {"id": "tells", "agent": agent(tells), "max_attempts": 1},
        ],
        callers={DISPATCH: world.adapted(DISPATCH, change)},
        more={".github/workflows/ci.yml": CI},
        secrets={"AGENT_ENV": AGENT_ENV},
        env={
            "ACTIONS_RUNTIME_TOKEN": "token-of-the-runtime",
            "ACTIONS_RESULTS_URL": "http://127.0.0.1:9/",
        },
    )
    return place, place.rounds(commit_strategy="individual")


@pytest.mark.xdist_group("individual")
def test_individual_strategy_lands_a_commit_a_task_each_with_its_own_progress(
    individual: tuple[World, list[Run]],
) -> None:
    place, _ = individual
    git = place.repository.git
    assert place.subjects()[1:] == ["two: do two", "looks: do looks", "Seed"]
    oldest_first = git.git("log", "--reverse", "--format=%H", "main").splitlines()[1:]
    assert [
        {name for name, state in place.states(commit).items() if state != "pending"}
        for commit in oldest_first
    ] == [
        {"looks"},
        {"looks", "two"},
        {"looks", "two", "tells"},
    ]
    changed = [
        git.git("show", "--format=", "--name-only", commit).splitlines()
        for commit in oldest_first
    ]
    assert changed == [
        [".fanin/progress.json", "digest", "seen"],
        [".fanin/progress.json", "two"],
        [".fanin/progress.json"],
    ]


@pytest.mark.xdist_group("individual")
def test_agents_find_what_install_put_on_the_path_and_into_the_environment(
    individual: tuple[World, list[Run]],
) -> None:
    place, runs = individual
    assert place.states()["two"] == "completed", runs[0].printed("task")
    assert place.repository.git.read("main", "two") == b"2\n"


@pytest.mark.xdist_group("individual")
def test_a_short_value_of_agent_env_drops_no_output(
    individual: tuple[World, list[Run]],
) -> None:
    _, runs = individual
    assert "1" in runs[0].leg("merge").outputs["state"]
    assert runs[0].leg("next").outputs["round"]


@pytest.mark.xdist_group("individual")
def test_the_users_ci_is_started_after_landing(
    individual: tuple[World, list[Run]],
) -> None:
    place, runs = individual
    assert [
        (item.workflow, item.ref, item.by) for item in place.repository.dispatches[1:]
    ] == [("ci.yml", "main", "github-actions[bot]")]
    ours, ci = runs
    assert ours.jobs["continue"] == "success"
    assert ci.spec.sha == place.repository.git.tip()
    assert "tested" in ci.printed("ci")


@pytest.mark.xdist_group("individual")
def test_agent_sees_what_is_named_and_no_token_or_command_file(
    individual: tuple[World, list[Run]],
) -> None:
    place, _ = individual
    git = place.repository.git
    seen = set(git.read("main", "seen").decode().split())
    assert "AGENT_SECRET" in seen
    assert seen <= MAY_SEE
    assert (
        git.read("main", "digest").decode().split()[0]
        == hashlib.sha256(SECRET.encode()).hexdigest()
    )


@pytest.mark.xdist_group("individual")
def test_work_that_holds_a_secret_does_not_land(
    individual: tuple[World, list[Run]],
) -> None:
    place, _ = individual
    error = place.records()["tells"]["error"]
    assert error["kind"] == "policy"
    assert "AGENT_SECRET" in error["message"]
    history = place.repository.git.git("log", "-p", "main")
    assert "AGENT_SECRET" in history
    assert SECRET not in history
    assert "told" not in place.repository.git.files()


@pytest.mark.xdist_group("individual")
def test_agent_secret_is_masked_in_the_log(individual: tuple[World, list[Run]]) -> None:
    _, runs = individual
    assert "it is ***" in runs[0].printed("task")
    assert SECRET not in runs[0].log
    assert OTHER not in runs[0].log


# -- what a person may ask for --


@pytest.fixture(scope="module")
def asked(make: Make) -> dict[str, tuple[Run, dict[str, str]]]:
    """A dry run, a run that fails for good, and one that tries again; with the states
    after each.
    """
    place = make(
        [
            {"id": "A", "do": ["fail until 2", "write a: a"], "max_attempts": 1},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ]
    )

    def states() -> dict[str, str]:
        return (
            place.states()
            if ".fanin/progress.json" in place.repository.git.files()
            else {}
        )

    found = {"dry": (place.round(dry_run="true"), states())}
    found["failed"] = (place.round(), states())
    found["stuck"] = (place.round(), states())
    runs = place.rounds(retry="A")
    found["retried"], found["after"] = (runs[0], states()), (runs[-1], states())
    return found


@pytest.mark.xdist_group("asked")
def test_dry_run_says_what_would_run_and_starts_nothing(
    asked: dict[str, tuple[Run, dict[str, str]]],
) -> None:
    run, states = asked["dry"]
    assert ran(run) == ["next"]
    assert (run.exit_code, states) == (0, {})
    assert "would run A" in next(item.text for item in run.summaries)
    assert run.leg("next").outputs["round"] == ""
    assert run.artifacts == ()


@pytest.mark.xdist_group("asked")
def test_run_in_which_nothing_can_run_is_red(
    asked: dict[str, tuple[Run, dict[str, str]]],
) -> None:
    run, states = asked["failed"]
    assert (run.jobs["merge"], run.jobs["continue"], states["A"]) == (
        "failure",
        "skipped",
        "failed",
    )
    run, states = asked["stuck"]
    assert (ran(run), run.exit_code) == (["next"], 1)
    assert states["A"] == "failed"


@pytest.mark.xdist_group("asked")
def test_retry_grants_one_more_attempt_and_the_rest_follows(
    asked: dict[str, tuple[Run, dict[str, str]]],
) -> None:
    assert legs(asked["retried"][0]) == {"A": "success"}
    assert legs(asked["after"][0]) == {"B": "success"}
    assert asked["after"][1] == {"A": "completed", "B": "completed"}


def test_max_rounds_of_the_settings_file_ends_the_rounds(make: Make) -> None:
    place = make(CHAIN, limits={"max_rounds": 1})
    run = place.round()
    assert run.jobs == {**run.jobs, "merge": "success", "continue": "success"}
    assert any("max_rounds allows 1 round" in text for text in said(run, "warning"))
    assert place.states() == {"A": "completed", "B": "pending"}


def test_what_a_run_may_cost_ends_the_rounds(make: Make) -> None:
    costs = [
        {**task, "do": [*task["do"], 'report {"cost_usd": 1.25}']} for task in CHAIN
    ]
    place = make(costs, limits={"max_cost_usd": 2})
    rounds = place.rounds()
    assert [ran(run) for run in rounds] == [
        ["next", "task", "merge", "continue"],
        ["next"],
    ]
    told = [item.text for item in rounds[1].annotations]
    assert any("limits.max_cost_usd: $1.25 of $2.00 spent" in text for text in told), (
        told
    )
    assert place.states() == {"A": "completed", "B": "pending"}


def test_the_report_of_a_run_is_uploaded_and_linked(make: Make) -> None:
    place = make(CHAIN, callers={DISPATCH: world.example(DISPATCH)})
    place.harness.reports = True
    run = place.round()
    assert run.jobs["report"] == "success", run.printed("report")
    (uploaded,) = [item for item in run.artifacts if item.name == "fanin-report-r1"]
    page = place.store.read(uploaded)["fanin-report.html"].decode()
    data = json.loads(page.partition('id="data">')[2].partition("</script>")[0])
    states = {task["id"]: task["state"] for task in data["tasks"]}
    assert states == {"A": "completed", "B": "completed"}
    assert [task["attempts"][0]["state"] for task in data["tasks"]] == ["landed"] * 2
    assert data["tasks"][1]["depends_on"] == [0]
    (summary,) = [item.text for item in run.summaries if item.job == "report"]
    assert summary.startswith("[The report of this run](http")
    assert place.forge.unknown == []


def test_at_most_256_legs_are_planned(make: Make) -> None:
    place = make([{"id": f"T{number}"} for number in range(300)])
    place.press(max_concurrent="256")
    (run,) = place.harness.run_until_quiet(only="next")
    outputs = run.leg("next").outputs
    assert ran(run) == ["next"]
    chosen = json.loads(outputs["round"])
    assert len(chosen["matrix"]["include"]) == 256
    assert chosen["max-parallel"] == 256
    assert sum(map(len, outputs.values())) < 100_000
    (manifest,) = run.artifacts
    assert (
        len(json.loads(place.store.read(manifest)["manifest.json"])["entries"]) == 256
    )


def test_impossible_input_stops_the_first_job_with_the_sentence_to_act_on(
    make: Make,
) -> None:
    place = make(ONE)
    run = place.round(plan="nowhere.yml")
    assert (ran(run), run.jobs["next"]) == (["next"], "failure")
    assert "there is no such plan" in run.printed("next")
    assert place.subjects() == ["Seed"]


# -- protected branches --


@pytest.fixture(scope="module")
def protected(make: Make) -> tuple[World, list[Run]]:
    place = make(CHAIN)
    place.repository.protect("main")
    return place, place.rounds()


@pytest.mark.xdist_group("protected")
def test_run_moves_to_a_branch_of_its_own_and_goes_on_there(
    protected: tuple[World, list[Run]],
) -> None:
    place, rounds = protected
    own = f"fanin/{rounds[0].spec.run_id}"
    assert place.subjects() == ["Seed"]
    assert place.subjects(f"refs/heads/{own}") == ["B: do B", "A: do A", "Seed"]
    assert [run.exit_code for run in rounds] == [0, 0]
    assert [run.leg("merge").outputs["branch"] for run in rounds] == [own, own]
    assert (
        json.loads(place.repository.dispatches[1].inputs["fanin-state"])["branch"]
        == own
    )
    assert any("refused the push" in text for text in said(rounds[0], "warning"))


@pytest.mark.xdist_group("protected")
def test_its_pull_request_is_opened_once(protected: tuple[World, list[Run]]) -> None:
    place, rounds = protected
    (pull,) = place.repository.pulls.values()
    assert (pull["head"]["ref"], pull["base"]["ref"]) == (
        f"fanin/{rounds[0].spec.run_id}",
        "main",
    )
    assert f"/pull/{pull['number']}" in next(
        item.text for item in rounds[0].summaries if item.job == "merge"
    ).replace("\\", "")
    assert place.forge.unknown == []


@pytest.mark.xdist_group("protected")
def test_new_run_is_refused_while_the_pull_request_is_open(
    protected: tuple[World, list[Run]],
) -> None:
    place, rounds = protected
    own = f"fanin/{rounds[0].spec.run_id}"
    refused = place.round()
    assert (ran(refused), refused.jobs["next"]) == (["next"], "failure")
    assert f"an earlier run's work waits on {own}" in refused.printed("next")
    git = place.repository.git
    git.update("refs/heads/main", git.tip(own), git.tip())
    after = place.round()
    assert (ran(after), after.exit_code) == (["next"], 0)


def test_commit_via_api_lands_where_signatures_are_required(make: Make) -> None:
    place = make(
        CHAIN, callers={DISPATCH: world.adapted(DISPATCH, giving(commit_via="api"))}
    )
    place.repository.require_signatures("main")
    run = place.round()
    git = place.repository.git
    assert run.exit_code == 0
    # What the API made has ids of its own, and the second round builds on it.
    assert round_legs(run) == [{"A": "success"}, {"B": "success"}]
    assert place.subjects() == ["B: do B", "A: do A", "Seed"]
    assert set(git.git("rev-list", "main").splitlines()[:2]) <= place.repository.signed
    assert [
        item
        for item in place.forge.requests
        if item.kind == "git" and "receive-pack" in item.path
    ] == []
    assert place.forge.unknown == []


APP_KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAstandinkeyline\n-----END RSA PRIVATE KEY-----"


def test_an_app_lands_on_a_protected_branch_and_its_key_never_does(
    make: Make,
) -> None:
    def change(document: Document) -> None:
        given = document["jobs"]["fanin"]["secrets"]
        given["app-id"] = "${{ secrets.APP_ID }}"
        given["app-private-key"] = "${{ secrets.APP_KEY }}"

    (line,) = APP_KEY.splitlines()[1:-1]
    place = make(
        [
            {"id": "A", "do": ["write a: a"]},
            {"id": "B", "do": [f"write b: {line}"], "max_attempts": 1},
        ],
        callers={DISPATCH: world.adapted(DISPATCH, change)},
        secrets={"APP_ID": "12345", "APP_KEY": APP_KEY},
    )
    token = place.forge.mint(
        {"contents": "write", "pull_requests": "write"},
        label="an-app[bot]",
        bypasses_rules=True,
    )
    place.harness.env = {**place.harness.env, "STANDIN_APP_TOKEN": token}
    place.repository.protect("main")
    run = place.round()
    assert place.states() == {"A": "completed", "B": "failed"}, run.printed("merge")
    error = place.records()["B"]["error"]["message"]
    assert "b holds the value of app-private-key" in error
    pushes = [
        item.token
        for item in place.forge.requests
        if item.kind == "git" and item.path.endswith("git-receive-pack")
    ]
    assert set(pushes) == {"an-app[bot]"}
    assert place.forge.unknown == []


# -- issues as the plan --


def test_issues_of_several_rounds_are_answered_once_after_them(make: Make) -> None:
    place = make(ONE, callers={ISSUES: world.example(ISSUES)})
    place.repository.writers.add("maintainer")
    for title, body, blockers in (
        ("Add a", "write a: a", ()),
        ("Add b", "write b: b", (1,)),
    ):
        number = forge_issues.open_issue(
            place.repository, title, body, at=OPENED, blocked_by=blockers
        )
        forge_issues.put_label(
            place.repository, number, "fanin", by="maintainer", at=LABELLED
        )
    run = place.round(ISSUES)
    assert ran(run) == [
        *("collect", "next", "task", "merge", "round-2-task", "round-2-merge", "answer")
    ]
    assert round_legs(run) == [{"1": "success"}, {"2": "success"}]
    comments = [comment["issue"] for comment in place.repository.comments.values()]
    assert sorted(comments) == [1, 2]
    assert place.forge.unknown == []


OPENED, LABELLED, LATER = (
    "2026-01-01T00:00:00Z",
    "2026-01-02T00:00:00Z",
    "2026-01-03T00:00:00Z",
)
ISSUES_PROGRESS = ".fanin/issues-progress.json"


@pytest.fixture(scope="module")
def issues_story(make: Make) -> tuple[World, list[Run], list[Run]]:
    """Four issues; the button, and later the button again."""
    place = make(ONE, callers={ISSUES: one_round_a_run(ISSUES)}, max_attempts=1)
    repository = place.repository
    repository.writers.add("maintainer")
    for title, body, blockers, by in (
        ("Add a", "write a: a", (), "maintainer"),
        ("Add b", "write b: b", (1,), "maintainer"),
        ("Help me", "write c: c", (), "stranger"),
        ("Hard", "fail the agent lost the thread", (), "maintainer"),
    ):
        number = forge_issues.open_issue(
            repository, title, body, at=OPENED, blocked_by=blockers
        )
        forge_issues.put_label(repository, number, "fanin", by=by, at=LABELLED)
    forge_issues.edit(
        repository, 1, body="write a: evil\nwrite evil: evil", title="Evil", at=LATER
    )
    first = place.rounds(ISSUES)
    return place, first, place.rounds(ISSUES)


@pytest.mark.xdist_group("issues")
def test_issues_are_run_round_by_round_as_their_dependencies_allow(
    issues_story: tuple[World, list[Run], list[Run]],
) -> None:
    place, rounds, _ = issues_story
    assert [legs(run) for run in rounds] == [
        {"1": "success", "4": "success"},
        {"2": "success"},
    ]
    assert {
        number: record["status"]
        for number, record in place.records(path=ISSUES_PROGRESS).items()
    } == {
        "1": "completed",
        "2": "completed",
        "4": "failed",
    }
    assert place.repository.git.read("main", "b").strip() == b"b"
    assert place.forge.unknown == []


@pytest.mark.xdist_group("issues")
def test_only_what_somebody_who_may_write_labelled_is_run_with_the_text_of_then(
    issues_story: tuple[World, list[Run], list[Run]],
) -> None:
    place, rounds, _ = issues_story
    files = place.repository.git.files("main")
    assert place.repository.git.read("main", "a").strip() == b"a"
    assert not {"evil", "c"} & set(files)
    assert any(
        "no. 3 is not a task: the label is from stranger" in text
        for text in said(rounds[0], "warning")
    )
    collected = json.loads(place.repository.git.read("main", ".fanin/issues.json"))
    # the others are done, closed
    assert {one["number"]: one["title"] for one in collected["issues"]} == {4: "Hard"}


@pytest.mark.xdist_group("issues")
def test_each_finished_issue_is_told_once_and_completed_ones_are_closed(
    issues_story: tuple[World, list[Run], list[Run]],
) -> None:
    place, _, again = issues_story
    told: dict[int, list[str]] = {}
    for comment in place.repository.comments.values():
        told.setdefault(comment["issue"], []).append(comment["body"])
    assert {number: len(bodies) for number, bodies in told.items()} == {
        1: 1,
        2: 1,
        4: 1,
    }
    assert told[1][0].startswith(
        "<!-- fanin issue: completed 1 -->\n✅ **Done**: the work is on [`main`]"
    )
    assert "**Failed for good**" in told[4][0]
    assert "the agent ended with exit status 1" in told[4][0]
    assert {
        n: (one["state"], one["state_reason"])
        for n, one in place.repository.issues.items()
    } == {
        1: ("closed", "completed"),
        2: ("closed", "completed"),
        3: ("open", None),
        4: ("open", None),
    }
    # nothing was left, and nothing told twice
    assert [ran(run) for run in again] == [["collect", "next", "answer"]]


def test_a_dry_run_of_issues_changes_nothing(make: Make) -> None:
    place = make(ONE, callers={ISSUES: world.example(ISSUES)})
    place.repository.writers.add("maintainer")
    forge_issues.open_issue(place.repository, "Add a", "write a: a", at=OPENED)
    forge_issues.put_label(place.repository, 1, "fanin", by="maintainer", at=LABELLED)
    before = place.repository.git.resolve("refs/heads/main")
    run = place.round(ISSUES, dry_run="true")
    assert ran(run) == ["collect"]
    assert any("no. 1 Add a" in one.text for one in run.summaries)
    assert place.repository.git.resolve("refs/heads/main") == before
    assert not place.repository.comments


@pytest.mark.parametrize(
    ("label", "jobs"),
    [("fanin", ["collect", "next", "task", "merge", "answer"]), ("bug", [])],
)
def test_a_label_starts_a_run_if_it_is_ours(
    make: Make, label: str, jobs: list[str]
) -> None:
    place = make(ONE, callers={ISSUES: world.example(ISSUES)})
    place.repository.writers.add("maintainer")
    forge_issues.open_issue(place.repository, "Add a", "write a: a", at=OPENED)
    forge_issues.put_label(place.repository, 1, label, by="maintainer", at=LABELLED)
    payload = {"action": "labeled", "label": {"name": label}, "issue": {"number": 1}}
    run = place.harness.run_act(NAME, "issues", workflow=ISSUES, event_payload=payload)
    assert ran(run) == jobs


def test_a_protected_branch_moves_a_run_of_issues_and_all_its_rounds_to_its_own(
    make: Make,
) -> None:
    # the setting does not bring it back
    place = make(ONE, callers={ISSUES: one_round_a_run(ISSUES)}, branch="main")
    place.repository.writers.add("maintainer")
    place.repository.protect("main")
    for title, body, blockers in (
        ("Add a", "write a: a", ()),
        ("Add b", "write b: b", (1,)),
    ):
        number = forge_issues.open_issue(
            place.repository, title, body, at=OPENED, blocked_by=blockers
        )
        forge_issues.put_label(
            place.repository, number, "fanin", by="maintainer", at=LABELLED
        )
    rounds = place.rounds(ISSUES)
    assert [legs(run) for run in rounds] == [{"1": "success"}, {"2": "success"}]
    (branch,) = [
        name for name in place.repository.git.branches() if name.startswith("fanin/")
    ]
    assert (
        place.repository.git.read(branch, "a").strip(),
        place.repository.git.read(branch, "b").strip(),
    ) == (
        b"a",
        b"b",
    )
    (pull,) = place.repository.pulls.values()
    assert (pull["head"]["ref"], pull["base"]["ref"]) == (branch, "main")
    assert all(
        f"the work is on [`{branch}`]" in comment["body"]
        for comment in place.repository.comments.values()
    )
    # the work waits there: nothing more is made of new labels
    number = forge_issues.open_issue(place.repository, "Add c", "write c: c", at=OPENED)
    forge_issues.put_label(
        place.repository, number, "fanin", by="maintainer", at=LABELLED
    )
    later = place.round(ISSUES)
    assert later.jobs["collect"] == "failure"
    assert [
        name for name in place.repository.git.branches() if name.startswith("fanin/")
    ] == [branch]


def test_a_run_of_issues_that_moved_stays_there_whatever_the_settings_name(
    make: Make,
) -> None:
    # the second round collects the same again
    caller = world.adapted(ISSUES, giving(when_done="comment", rounds_per_run="1"))
    place = make(ONE, callers={ISSUES: caller}, branch="main")
    place.repository.writers.add("maintainer")
    for title, body, blockers in (
        ("Add a", "write a: a", ()),
        ("Add b", "write b: b", (1,)),
    ):
        number = forge_issues.open_issue(
            place.repository, title, body, at=OPENED, blocked_by=blockers
        )
        forge_issues.put_label(
            place.repository, number, "fanin", by="maintainer", at=LABELLED
        )
    place.repository.before_push("main", lambda: None)  # what is collected lands,
    # the work does not
    place.repository.before_push("main", lambda: place.repository.protect("main"))
    rounds = place.rounds(ISSUES)
    assert [legs(run) for run in rounds] == [{"1": "success"}, {"2": "success"}]
    (branch,) = [
        name for name in place.repository.git.branches() if name.startswith("fanin/")
    ]
    states = {
        number: record["status"]
        for number, record in place.records(branch, ISSUES_PROGRESS).items()
    }
    assert states == {"1": "completed", "2": "completed"}
