"""What a batch manifest records of its tasks."""

from __future__ import annotations

from typing import Any

import pytest

from runner.config.settings import Settings
from runner.core.manifest import Manifest
from runner.core.result import Failure, FailureKind, KeptWork
from runner.core.task import AgentSettings, PlanSettings, Reference, Status, Task
from runner.plan.formats import MemoryTree
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.task_rules import never_changed
from runner.policy.globs import matches
from runner.schedule import manifest
from tests.support.builders import BASE, plan, task

ROBOT = AgentSettings(command=("robot",))


def _build(
    tasks: list[Task], recorded: Progress | None = None, **settings: Any
) -> Manifest:
    return manifest.build_manifest(
        tasks,
        run="r1",
        round_number=4,
        base=BASE,
        branch="main",
        plan=plan(*tasks, path="plans/one.yml"),
        progress=recorded or Progress("plans/one.yml"),
        settings=Settings(**{"agent": ROBOT, **settings}),
    )


def test_an_entry_has_the_tasks_text_the_next_attempt_and_the_last_error() -> None:
    error = Failure(kind=FailureKind.VERIFY, message="red", log_tail="tail")
    tasks = [task("A"), task("B", verify="make b")]
    before = Progress(
        "plans/one.yml", {"B": Record(status=Status.FAILED, attempts=2, error=error)}
    )
    built = _build(
        tasks, before, progress="p.json", commit_strategy="individual", protected=("x",)
    )
    assert [(entry.index, entry.task.id, entry.attempt) for entry in built.entries] == [
        (0, "A", 1),
        (1, "B", 3),
    ]
    assert [entry.task_digest for entry in built.entries] == [
        planned.digest for planned in tasks
    ]
    assert [entry.previous for entry in built.entries] == [None, error]
    assert [entry.verify for entry in built.entries] == [None, "make b"]
    assert (built.batch, built.base, built.branch, built.plan, built.progress) == (
        "r1.4",
        BASE,
        "main",
        PlanSettings(path="plans/one.yml", source="native"),
        "p.json",
    )
    assert (built.commit_strategy, built.protected) == ("individual", ("x",))


@pytest.mark.parametrize("waits", ["depends_on", "open_before"])
def test_an_entry_has_what_the_tasks_before_it_have_made(waits: str) -> None:
    tasks = [task("A"), task("B").model_copy(update={waits: ("A",)})]
    done = Record(status=Status.COMPLETED, summary="made it", changed=("a.py",))
    built = _build(tasks, Progress("plans/one.yml", {"A": done}))
    [brought] = built.entries[1].brought
    assert (brought.id, brought.summary, brought.changed) == ("A", "made it", ("a.py",))


@pytest.mark.parametrize(
    ("setting", "own", "goes_on"),
    [
        ("work", None, True),
        ("base", None, False),
        ("work", "base", False),
        ("base", "work", True),
    ],
)
def test_an_entry_starts_from_the_kept_work_unless_the_setting_or_the_task_says_no(
    setting: str, own: str | None, goes_on: bool
) -> None:
    one = task("A", retry_from=own)
    work = KeptWork(commit="c" * 40, attempt=1, request=one.request_digest)
    record = Record(status=Status.FAILED, attempts=1, kept=work)
    built = _build([one], Progress("p", {"A": record}), retry_from=setting)
    (entry,) = built.entries
    assert entry.start == (work if goes_on else None)
    assert entry.retry_from == (own or setting)
    first = _build([one], retry_from=setting)
    assert first.entries[0].start is None


@pytest.mark.parametrize(("own", "seconds"), [(None, 1800.0), (60.0, 60.0)])
def test_a_tasks_own_time_limit_and_agent_outrank_the_settings(
    own: float | None, seconds: float
) -> None:
    own_agent = AgentSettings(command=("own",))
    (entry,) = _build([task(timeout=own, agent=own_agent)]).entries
    assert (entry.timeout, entry.agent) == (seconds, own_agent)
    assert _build([task()]).entries[0].agent == ROBOT


@pytest.mark.parametrize(
    "path",
    [
        "tasks.yml",
        "plans/a b.yml",
        "plans/!x#.yml",
        # a path is a path, whatever it would mean as a glob
        "plans/[core].yml",
        "plans/a*.yml",
        "./tasks.yml",
    ],
)
@pytest.mark.parametrize("which", ["plan", "progress"])
def test_no_task_may_change_the_plan_the_settings_or_the_progress(
    which: str, path: str
) -> None:
    if which == "plan":
        settings = Settings(plan=path)
        never = never_changed(plan(path=settings.plan.path), settings.task_rules)
    else:
        settings = Settings(plan="other.yml", progress=path)
        never = never_changed(plan(path="other.yml"), settings.task_rules)
    for own in (path.removeprefix("./"), "fanin.yml", ".fanin/progress.json"):
        assert matches(never, own)
    for unrelated in ("src/a.py", "sub/tasks.yml", "plans/ab.yml", "plans/c.yml"):
        assert not matches(never, unrelated)


def test_the_context_is_frozen_in_the_manifest_but_no_part_of_the_tasks_digest() -> (
    None
):
    planned = task("A")
    described = planned.model_copy(update={"context": (Reference("spec.md"),)})
    built = [
        manifest.build_entry(
            0,
            described,
            plan(described),
            Progress("tasks.yml"),
            Settings(agent=ROBOT),
            tree=MemoryTree({"spec.md": text}),
        )
        for text in ("one", "two")
    ]
    assert [entry.context.splitlines()[-1] for entry in built] == ["one", "two"]
    assert {entry.task_digest for entry in built} == {planned.digest}
    manifests = [
        _build([planned]).model_copy(update={"entries": (entry,)}) for entry in built
    ]
    assert manifests[0].digest != manifests[1].digest
