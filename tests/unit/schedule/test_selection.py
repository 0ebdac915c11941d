"""Which ready tasks run now, what is frozen of them, and which plans are refused before
anything is paid.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import agents
from runner.config.settings import Settings
from runner.core.errors import InvalidInput
from runner.core.manifest import Manifest
from runner.core.result import Failure, FailureKind
from runner.core.task import AgentSettings, Plan, PlanSettings, Status, Task
from runner.plan.progress import Progress, Record
from runner.policy import globs
from runner.policy.globs import could_overlap, matches
from runner.schedule import manifest, preflight, selection
from tests.support.builders import BASE, plan, problems, quick, task

ROBOT = AgentSettings(command=("robot",))


def _choose(
    tasks: list[Task],
    slots: int = 3,
    heights: dict[str, float] | None = None,
    **more: Any,
) -> list[str]:
    heights = {one.id: 1.0 for one in tasks} | (heights or {})
    return [one.id for one in selection.choose(tasks, slots, heights, **more)]


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        (("src/**",), ("src/a.py",), True),
        (("src/a.py",), ("src/b.py",), False),
        (None, ("src/a.py",), False),  # absent files: a clash is found by the merge
        (None, None, False),
        ((), ("**",), False),
    ],
)
def test_two_tasks_overlap_if_their_files_could_name_one_path(
    one: tuple[str, ...] | None, other: tuple[str, ...] | None, overlap: bool
) -> None:
    assert selection.overlap(task("A", files=one), task("B", files=other)) is overlap


ABCD = [task(name) for name in "ABCD"]


@pytest.mark.parametrize(
    ("tasks", "slots", "heights", "chosen"),
    [
        (ABCD, 3, {}, ["A", "B", "C"]),
        (ABCD, 1, {}, ["A"]),
        (ABCD, 9, {}, ["A", "B", "C", "D"]),
        (ABCD, 0, {}, []),
        ([], 3, {}, []),
        # the longer way to the end goes first; told in plan order
        (ABCD, 2, {"D": 5.0, "C": 4.0}, ["C", "D"]),
        ([*ABCD, task("E", priority=1)], 1, {"D": 5.0}, ["E"]),
        ([*ABCD, task("E", priority=-1)], 4, {"E": 9.0}, ["A", "B", "C", "D"]),
        (
            [
                task("A", files=["x/**"]),
                task("B", files=["x/y"]),
                task("C", files=["/z"]),
            ],
            3,
            {},
            ["A", "C"],
        ),
        ([task("A", files=["x/**"]), task("B", files=["x/y"])], 3, {"B": 2.0}, ["B"]),
        # a name without a slash means any folder's: z could be x/z
        ([task("A", files=["x/**"]), task("B", files=["z"])], 3, {}, ["A"]),
        (
            [task("A", files=["x"]), task("B"), task("C", files=["x"])],
            3,
            {},
            ["A", "B"],
        ),
    ],
)
def test_a_batch_takes_the_most_urgent_that_do_not_overlap_up_to_its_limit(
    tasks: list[Task], slots: int, heights: dict[str, float], chosen: list[str]
) -> None:
    assert _choose(tasks, slots, heights) == chosen


def test_what_runs_already_keeps_away_what_overlaps_it() -> None:
    tasks = [task("A", files=["x/y"]), task("B", files=["/z"])]
    assert _choose(tasks, running=[task("R", files=["x/**"])]) == ["B"]


_FILES = st.none() | st.lists(
    st.sampled_from(["a/x", "a/**", "b", "b/y", "*/x", "c"]), max_size=2
).map(tuple)


@quick
@given(st.lists(_FILES, max_size=6), st.integers(1, 4), st.data())
def test_a_batch_is_within_its_limit_free_of_overlaps_and_never_empty_without_need(
    files: list[tuple[str, ...] | None], slots: int, data: st.DataObject
) -> None:
    tasks = [task(str(n), files=globs) for n, globs in enumerate(files)]
    heights = {one.id: data.draw(st.floats(0, 9)) for one in tasks}
    chosen = selection.choose(tasks, slots, heights)
    assert len(chosen) <= slots
    assert [int(one.id) for one in chosen] == sorted({int(one.id) for one in chosen})
    assert not any(
        selection.overlap(a, b) for a in chosen for b in chosen if a is not b
    )
    left = [one for one in tasks if one not in chosen]
    assert len(chosen) == slots or all(
        any(selection.overlap(one, other) for other in chosen) for one in left
    )


def _refuse(of: Plan, known: Progress, settings: Settings) -> None:
    preflight.refuse_impossible(of, known, settings, agents.agent_for)


def _freeze(
    tasks: list[Task], known: Progress | None = None, **settings: Any
) -> Manifest:
    return manifest.build_manifest(
        tasks,
        run="r1",
        round_number=4,
        base=BASE,
        branch="main",
        plan=plan(*tasks, path="plans/one.yml"),
        progress=known or Progress("plans/one.yml"),
        settings=Settings(**{"agent": ROBOT, **settings}),
    )


def test_the_manifest_freezes_the_text_the_attempt_and_the_error_before() -> None:
    error = Failure(kind=FailureKind.VERIFY, message="red", log_tail="tail")
    tasks = [task("A"), task("B", verify="make b")]
    known = Progress(
        "plans/one.yml", {"B": Record(status=Status.FAILED, attempts=2, error=error)}
    )
    found = _freeze(
        tasks, known, progress="p.json", commit_strategy="individual", protected=("x",)
    )
    assert [(one.index, one.task.id, one.attempt) for one in found.entries] == [
        (0, "A", 1),
        (1, "B", 3),
    ]
    assert [one.task_digest for one in found.entries] == [one.digest for one in tasks]
    assert [one.previous for one in found.entries] == [None, error]
    assert [one.verify for one in found.entries] == [None, "make b"]
    assert (found.batch, found.base, found.branch, found.plan, found.progress) == (
        "r1.4",
        BASE,
        "main",
        PlanSettings(path="plans/one.yml", source="native"),
        "p.json",
    )
    assert (found.commit_strategy, found.protected) == ("individual", ("x",))


@pytest.mark.parametrize(("own", "seconds"), [(None, 1800.0), (60.0, 60.0)])
def test_a_tasks_own_time_limit_and_agent_outrank_the_settings(
    own: float | None, seconds: float
) -> None:
    mine = AgentSettings(command=("mine",))
    (one,) = _freeze([task(timeout=own, agent=mine)]).entries
    assert (one.timeout, one.agent) == (seconds, mine)
    assert _freeze([task()]).entries[0].agent == ROBOT


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
        never = manifest.untouchable(plan(path=settings.plan.path), settings)
    else:
        settings = Settings(plan="other.yml", progress=path)
        never = manifest.untouchable(plan(path="other.yml"), settings)
    for own in (path.removeprefix("./"), "fanin.yml", ".fanin/progress.json"):
        assert matches(never, own)
    for other in ("src/a.py", "sub/tasks.yml", "plans/ab.yml", "plans/c.yml"):
        assert not matches(never, other)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"agent": None}, ["tasks.yml:7: T1 has no agent"]),
        (
            {"agent": AgentSettings(preset="nobody")},
            ["tasks.yml:7: T1: unknown agent preset 'nobody'"],
        ),
        (
            {"agent": ROBOT, "files": ("action.yml",)},
            ["tasks.yml:7: T1 may change protected paths only: action.yml"],
        ),
        (
            {"agent": None, "files": ("fanin.yml",), "allow": ("fanin.yml",)},
            [
                "tasks.yml:7: T1 has no agent",
                "tasks.yml:7: T1 may change protected paths only: fanin.yml",
            ],
        ),
    ],
    ids=str,
)
def test_a_task_that_could_never_land_is_refused_before_anything_is_paid(
    fields: dict[str, Any], said: list[str]
) -> None:
    hopeless = plan(task("T0", agent=ROBOT), task("T1", line=7, **fields))
    found = problems(lambda: _refuse(hopeless, Progress("tasks.yml"), Settings()))
    assert [
        problem.startswith(words) for problem, words in zip(found, said, strict=True)
    ] == [True] * len(said)


@pytest.mark.parametrize(
    "fields",
    [
        {"files": ("action.yml", "src/a.py")},
        {"files": ("action.yml",), "allow": ("action.yml",)},
        {"files": (".github/**",)},
        {"files": ()},
        {},
    ],
    ids=str,
)
def test_a_task_that_could_land_something_is_let_through(
    fields: dict[str, Any],
) -> None:
    _refuse(plan(task(**fields)), Progress("tasks.yml"), Settings(agent=ROBOT))


@pytest.mark.parametrize(
    "record",
    [
        Record(status=Status.COMPLETED, attempts=1),
        Record(skipped=True),
        Record(held="fanin/r1"),
        Record(status=Status.FAILED, attempts=1, final=True),
        Record(status=Status.FAILED, attempts=3),
    ],
    ids=repr,
)
def test_a_task_that_will_not_run_need_not_be_able_to(record: Record) -> None:
    _refuse(plan(task(agent=None)), Progress("tasks.yml", {"T1": record}), Settings())


def test_every_task_without_an_agent_is_named_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        _refuse(plan(*ABCD), Progress("tasks.yml"), Settings())
    assert len(caught.value.problems) == 4


def test_check_names_the_pairs_that_files_keep_apart_and_the_graph_would_not() -> None:
    tasks = [task(name, files=["x"]) for name in "ABC"] + [
        task("D"),
        task("E", files=["/y.py"]),
    ]
    waits = {("A", "B")}
    related = lambda one, other: (one, other) in waits  # noqa: E731
    assert selection.overlapping_pairs(plan(*tasks), related) == [
        ("A", "C"),
        ("B", "C"),
    ]
    assert selection.overlapping_pairs(plan(*tasks), related, limit=1) == [("A", "C")]


def test_taking_looks_no_further_than_the_slots_need() -> None:
    looked = []

    def best_first() -> Iterator[Task]:
        for place in range(100):
            looked.append(place)
            yield task(f"T{place}")

    assert [one.id for one in selection.take(best_first(), 3)] == ["T0", "T1", "T2"]
    assert looked == [0, 1, 2]
    assert selection.take(best_first(), 0) == []
    assert looked == [0, 1, 2]


def test_taking_passes_over_what_overlaps_with_a_running_task() -> None:
    tasks = [
        task("A", files=("src/**",)),
        task("B", files=("src/b.py",)),
        task("C", files=("lib/**",)),
    ]
    assert [one.id for one in selection.take(tasks, 2)] == ["A", "C"]
    assert [
        one.id
        for one in selection.take(tasks, 2, running=[task("R", files=("lib/c.py",))])
    ] == ["A"]


def test_clashes_of_a_large_plan_are_found_without_comparing_every_pair(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tasks = [task(f"T{place}", files=(f"src/mod{place}/**",)) for place in range(400)]
    tasks.append(task("LAST", files=("src/mod7/x.py", "src/mod3/y.py")))
    compared: list[object] = []
    real = could_overlap

    def counted(ours: Iterable[str], theirs: Iterable[str]) -> bool:
        compared.append(theirs)
        return real(ours, theirs)

    monkeypatch.setattr(globs, "could_overlap", counted)
    assert selection.overlapping_pairs(plan(*tasks), lambda *_: False) == [
        ("T3", "LAST"),
        ("T7", "LAST"),
    ]
    assert len(compared) < 3 * len(tasks)


def test_the_search_for_clashes_ends_early_where_all_tasks_share_files_and_wait_for_each_other() -> (
    None
):
    tasks = [task(f"T{place}", files=("src/**",)) for place in range(400)]
    asked: list[str] = []

    def related(one: str, _: str) -> bool:
        asked.append(one)
        return True

    assert selection.overlapping_pairs(plan(*tasks), related) == []
    assert len(asked) <= 100_000
