"""A rolling run that ended while results waited: the next run merges, verifies and lands
them together, as the first one would have.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from typing import Any
from unittest.mock import Mock

import pytest

from runner.core.events import ResultRefused, VerifyStarted
from runner.core.result import FailureKind
from runner.local.context import RunContext
from tests.integration.test_crash import began, end, results, start, wait_until
from tests.support.crashes import Died, die_after, die_before
from tests.support.project import AGENT, Project, Quiet
from tests.support.shell import until

ROLLING: dict[str, Any] = {
    "schedule": "rolling",
    "max_concurrent": 4,
    "verify_retries": 0,
}


def task(name: str, *lines: str, **fields: Any) -> dict[str, Any]:
    do = lines or [f"write {name}: x"]
    return {"id": name, "do": [*do], "max_attempts": 1, **fields}


def late(name: str, *lines: str) -> dict[str, Any]:
    """A task whose agent waits until the work of another one is verified."""
    wait = until("test -e $VERIFYING")
    command = ["sh", "-c", f"{wait}; exec {sys.executable} {AGENT}"]
    return task(name, *lines, agent={"command": command, "env": ["FAKE_AGENT_LOG"]})


def four(**others: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks A to D, of which these are others."""
    return [others.get(name) or task(name) for name in "ABCD"]


def ended_while_verify_ran(
    project: Project,
    tasks: list[dict[str, Any]],
    verdict: str = "true",
    *,
    ending: signal.Signals = signal.SIGKILL,
    at_work: str = "",
    **settings: Any,
) -> str:
    """A run ends when A, B, C and D have a result and the first is being verified, while
    others may be `at_work`.

    Later runs of verify give the verdict. Returns the branch's commit.
    """
    over = project.root.parent / "over"
    verify = f"touch $VERIFYING; test -e {over} || sleep 600; {verdict}"
    env = {"VERIFYING": str(project.root.parent / "verifying")}
    project.plan(tasks, verify=verify, env=env, **{**ROLLING, **settings})
    earlier = len(results(project))
    child = start(project)
    wait_until(lambda: len(results(project)) == earlier + 4)
    wait_until(lambda: sorted(began(project)) == [*"ABCD", *at_work])
    child.send_signal(ending)
    end(child)
    over.touch()
    return project.git("rev-parse", "HEAD")


def verified(observer: Quiet) -> list[tuple[str, ...]]:
    return [
        event.tasks for event in observer.events if isinstance(event, VerifyStarted)
    ]


def refused(observer: Quiet) -> dict[str, FailureKind]:
    return {
        event.task: event.failure.kind
        for event in observer.events
        if isinstance(event, ResultRefused)
    }


def commits_since(project: Project, commit: str) -> list[str]:
    return project.git("rev-list", f"{commit}..HEAD").split()


def assert_nothing_is_left(project: Project) -> None:
    refs = project.git("for-each-ref", "refs/fanin/runs", "refs/fanin/base")
    assert refs == ""
    assert project.git("status", "--porcelain") == ""
    project.git("fsck", "--strict")


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGKILL])
def test_results_of_a_dead_run_are_verified_once_and_land_as_one_commit(
    project: Project, ending: signal.Signals
) -> None:
    head = ended_while_verify_ran(project, four(), ending=ending)
    observer = Quiet()
    project.run(observer)
    assert project.states() == dict.fromkeys("ABCD", "completed")
    [ids] = verified(observer)
    assert sorted(ids) == list("ABCD")
    assert len(commits_since(project, head)) == 1
    [landed] = observer.commits
    assert sorted(landed.tasks) == list("ABCD")
    assert sorted(began(project)) == list("ABCD")
    assert_nothing_is_left(project)


def test_the_branch_is_known_to_be_green_where_they_have_landed(
    project: Project,
) -> None:
    last = task("E", depends_on=[*"ABCD"])
    ended_while_verify_ran(project, [*four(), last])
    observer = Quiet()
    project.run(observer, verify_base="check")
    together, after = verified(observer)
    assert sorted(together) == list("ABCD")
    assert after == ("E",)
    assert project.states()["E"] == "completed"


def test_only_the_culprit_among_them_is_sent_back(project: Project) -> None:
    red = task("B", "write B: red")
    head = ended_while_verify_ran(project, four(B=red), "! grep -qs red A B C D")
    observer = Quiet()
    project.run(observer)
    assert project.states() == {**dict.fromkeys("ACD", "completed"), "B": "failed"}
    assert project.records()["B"]["error"]["kind"] == "verify"
    # ⌈log2 4⌉ steps find one culprit, and one more confirms the rest
    assert len(verified(observer)) <= 4
    assert len(commits_since(project, head)) == 1
    assert_nothing_is_left(project)


def test_each_of_them_has_its_own_fate(project: Project) -> None:
    tasks = four(
        B=late("B", "fail for good"),
        C=late("C", "ask Which one?"),
        D=task("D", "write A: another"),
    )
    tasks.append(task("E", "hang"))
    ended_while_verify_ran(project, tasks, at_work="E", max_concurrent=5)
    observer = Quiet()
    project.run(observer)
    kinds = refused(observer)
    # the one that was merged first
    [merged] = {"A", "D"} - kinds.keys()
    conflicting = "D" if merged == "A" else "A"
    assert kinds == {
        conflicting: FailureKind.CONFLICT,
        "B": FailureKind.AGENT_ERROR,
        "C": FailureKind.QUESTION,
        "E": FailureKind.NO_RESULT,
    }
    # a conflict costs no attempt
    assert verified(observer) == [(merged,), (conflicting,)]
    records = project.records()
    assert {each: records[each]["status"] for each in "ABCDE"} == {
        **dict.fromkeys("AD", "completed"),
        **dict.fromkeys("BE", "failed"),
        "C": "pending",
    }
    assert sorted(began(project)) == sorted(["A", "B", "C", "D", "E", conflicting])
    assert_nothing_is_left(project)


def test_what_a_person_has_changed_since_counts_for_each_of_them(
    project: Project,
) -> None:
    ended_while_verify_ran(project, four())
    project.write("A", "a person's\n")
    # the plan without D
    project.plan(four()[:3], **{**ROLLING, "verify": "true"})
    head = project.git("rev-parse", "HEAD")
    observer = Quiet()
    project.run(observer)
    assert refused(observer) == {
        "A": FailureKind.CONFLICT,
        "D": FailureKind.STALE,
    }
    together, again = verified(observer)
    assert sorted(together) == list("BC")
    # a conflict costs no attempt
    assert again == ("A",)
    assert not (project.root / "D").exists()
    assert len(commits_since(project, head)) == 2
    assert_nothing_is_left(project)


def test_individual_commits_of_them_land_after_one_run_of_verify(
    project: Project,
) -> None:
    head = ended_while_verify_ran(project, four(), commit_strategy="individual")
    observer = Quiet()
    project.run(observer)
    assert project.states() == dict.fromkeys("ABCD", "completed")
    assert len(verified(observer)) == 1
    assert len(commits_since(project, head)) == 4
    assert_nothing_is_left(project)


def test_a_run_by_batches_lands_them_by_the_settings_that_they_were_chosen_by(
    project: Project,
) -> None:
    head = ended_while_verify_ran(project, four())
    observer = Quiet()
    project.run(
        observer, schedule="batch", parallel=False, commit_strategy="individual"
    )
    assert project.states() == dict.fromkeys("ABCD", "completed")
    assert len(verified(observer)) == 1
    assert len(commits_since(project, head)) == 1
    assert_nothing_is_left(project)


@pytest.mark.parametrize("event", ["failed", "landing", "flushed"])
@pytest.mark.parametrize("die", [die_before, die_after])
def test_a_run_that_dies_while_it_lands_them_loses_none(
    project: Project, event: str, die: Callable[..., None]
) -> None:
    head = ended_while_verify_ran(project, four(B=late("B", "fail for good")))
    die(project.runner(), event)
    project.run()
    assert project.states() == {**dict.fromkeys("ACD", "completed"), "B": "failed"}
    assert project.records()["B"]["attempts"] == 1
    landed = project.git("log", "--format=%(trailers:key=Fanin-Task,valueonly)")
    assert sorted(landed.split()) == list("ACD")
    assert len(commits_since(project, head)) == 1
    assert sorted(began(project)) == list("ABCD")
    assert_nothing_is_left(project)


def test_what_was_kept_for_one_that_had_landed_before_is_dropped(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_once = task("C", "write C: x", "fail once by design")
    project.plan([fails_once], **ROLLING)
    project.run()
    kept = ["for-each-ref", "refs/fanin/kept"]
    assert project.git(*kept)
    project.cli("retry", "C")
    project.log.unlink()
    ended_while_verify_ran(project, four(C=fails_once))
    with monkeypatch.context() as patched:
        patched.setattr(RunContext, "drop_kept_work", Mock(side_effect=Died))
        with pytest.raises(Died):
            project.run()
    assert project.states() == dict.fromkeys("ABCD", "completed")
    project.run()
    assert project.git(*kept) == ""
    assert_nothing_is_left(project)
