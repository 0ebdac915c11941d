"""The benchmarks themselves: they run, they verify outputs before a time counts, and
they report what they found.

No test here says how fast anything is.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from benchmarks import __main__ as command
from benchmarks import (
    big_repository,
    graphs,
    growth,
    harness,
    line_format,
    peers,
    planning,
    retries,
    scheduling,
)
from benchmarks.fan_in import git
from benchmarks.harness import Effort, Report, Samples, Table, Target, WrongOutput
from runner.plan.formats import MemoryTree
from runner.plan.formats.native import Native
from tests.support.trees import load

DONE = [(0, "s", "d0"), (1, "e", "d0"), (2, "s", "d1"), (3, "e", "d1")]


@pytest.fixture
def effort(tmp_path: Path) -> Effort:
    return Effort(tmp_path / "work", tmp_path / "cache", smoke=True, repeats=1)


@pytest.mark.parametrize(
    "part",
    [
        *("planning", "fan_in", "dispatch", "cold_start", "job_starts"),
        *("ready_checkouts", "pooled_checkouts", "live_view", "report"),
        "checkout_watch",
        "walls",
        "growth",
        "big_repository",
    ],
)
def test_a_part_runs_on_tiny_sizes_and_its_outputs_are_right(
    part: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = tmp_path / "performance.md"
    assert (
        command.main(
            [
                part,
                "--smoke",
                "--cache",
                str(tmp_path / "cache"),
                "--write",
                str(document),
            ]
        )
        == 0
    )
    shown = capsys.readouterr().out
    assert "Targets" in shown
    written = document.read_text()
    assert f"<!-- part: {part} -->" in written
    assert str(tmp_path) not in written


@pytest.mark.parametrize("name", growth.KINDS)
def test_each_task_of_a_plan_of_growth_may_run_and_has_a_file(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line_format.install(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    kind = growth.KINDS[name]
    plan = load(
        kind.path, kind.files(120), source=kind.source, options=dict(kind.options)
    )
    files = {task.id[-2:] for task in plan.tasks}
    assert (len(plan.tasks), len(files)) == (120, 100)
    assert not any(task.skipped for task in plan.tasks)
    if kind.options:
        assert not any(task.waits_for for task in plan.tasks)
    for task in plan.tasks:
        assert task.files in (None, (f"made/{task.id[-2:]}.py",))


def test_schedules_are_measured_beside_a_peer_on_the_same_graph(effort: Effort) -> None:
    assert shutil.which("make")
    runs: dict[str, scheduling.Run] = {}
    effort.work.mkdir()
    for name in (scheduling.BEST, "fanin batch"):
        runs[name] = partial(scheduling._fanin, effort.work, *scheduling.FANINS[name])
    make = next(peer for peer in peers.PEERS if peer.name == "make")
    runs["make"] = lambda graph, slots, commands: scheduling._peer(
        make, effort.work, effort.work, graph, slots, commands
    )
    assert {
        name: scheduling._fault(go, effort.work, effort) for name, go in runs.items()
    } == dict.fromkeys(runs)
    report = Report("Scheduling")
    scheduling._race(report, runs, effort)
    assert [table.rows[0][0] for table in report.tables] == ["lower bound, s"] * 2
    assert {row[0] for row in report.tables[0].rows[1:]} == set(runs)
    assert "÷ the fastest peer (make)" in " ".join(
        target.what for target in report.targets
    )


def test_choosing_alone_is_measured_by_fanins_own_ranks() -> None:
    report = Report("Scheduling")
    scheduling._choosing(report, 3)
    known, unknown, first = report.tables[0].rows
    # the straggler goes first
    assert known[report.tables[0].columns.index("e m=3")] == "1.000"
    assert (
        unknown[report.tables[0].columns.index("e m=3")]
        == first[report.tables[0].columns.index("e m=3")]
    )


def test_an_ideal_schedule_takes_the_smallest_rank_of_what_is_ready() -> None:
    graph = {
        "a": graphs.Job((), 1.0),
        "b": graphs.Job((), 2.0),
        "c": graphs.Job((), 3.0),
    }
    assert graphs.ideal(graph, 2, {}) == 4.0
    assert graphs.ideal(graph, 2, {"a": (3.0,), "b": (2.0,), "c": (1.0,)}) == 3.0
    assert graphs.ideal(graphs.d(4), 3, {}) == pytest.approx(0.08)


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (DONE, None),
        (DONE[2:] + DONE[:2], None),  # events are taken in the order of their times
        (DONE[:2], "1 jobs ran"),
        (
            [(0, "s", "d0"), (1, "s", "d1"), (2, "e", "d0"), (3, "e", "d1")],
            "before ['d0'] ended",
        ),
        ([*DONE, (4, "s", "d0"), (5, "e", "d0")], "3 jobs ran"),
    ],
)
def test_a_wrong_order_or_a_missing_job_is_noticed(
    events: list[tuple[int, str, str]], said: str | None
) -> None:
    found = graphs.faults(graphs.d(2), 1, events)
    assert said in found[0] if said else not found


def test_more_jobs_at_once_than_allowed_are_noticed() -> None:
    both = [(0, "s", "c0"), (1, "s", "c1"), (2, "e", "c0"), (3, "e", "c1")]
    assert graphs.faults(graphs.c(2), 2, both) == []
    assert "2 ran at once" in graphs.faults(graphs.c(2), 1, both)[0]


@pytest.mark.parametrize(
    ("graph", "slots", "bound"),
    [
        (graphs.a(), 3, 1.1),
        (graphs.c(), 8, 0.625),
        (graphs.d(), 3, 0.6),
        (graphs.e(), 3, 1.5),
        (graphs.e(), 8, 0.75),
    ],
)
def test_the_lower_bound_is_the_longest_chain_or_the_work_spread_evenly(
    graph: graphs.Graph, slots: int, bound: float
) -> None:
    assert graphs.lower_bound(graph, slots) == pytest.approx(bound)


def test_competitors_take_turns_and_no_one_is_always_first() -> None:
    order: list[str] = []

    def noted(name: str, seconds: float) -> Callable[[], float]:
        def go() -> float:
            order.append(name)
            return seconds

        return go

    found = harness.interleaved({"a": noted("a", 1.0), "b": noted("b", 2.0)}, 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert found.ratio("b", "a") == 2.0


def test_a_ratio_is_taken_inside_each_round() -> None:
    samples = Samples({"slow": [2.0, 20.0, 3.0], "fast": [1.0, 10.0, 1.0]})
    assert samples.ratio("slow", "fast") == 2.0
    assert samples.median("slow") == 3.0


def test_a_time_does_not_count_when_the_output_is_wrong() -> None:
    with pytest.raises(WrongOutput, match="3 instead of 4"):
        harness.expect(3, 4, "tasks")
    with pytest.raises(WrongOutput, match="ended with 7"):
        harness.run(["sh", "-c", "exit 7"], Path("/"))


def test_fanin_and_the_dictionaries_choose_the_same_first_batch_and_drain_the_same_plan() -> (
    None
):
    plan = Native().load(
        "tasks.yml", MemoryTree({"tasks.yml": planning.plan_text(300)}), {}
    )
    assert set(planning.with_fanin(plan)) == set(planning.with_dictionaries(plan.tasks))
    assert (
        planning.drained(plan) == planning.drained_with_dictionaries(plan.tasks) == 300
    )


def test_the_document_keeps_other_parts_and_what_people_wrote() -> None:
    report = Report(
        "Planning",
        [Table("T", ["", "x"], [["a", "1"]])],
        [Target("t", 2.0, 1.0)],
        ["Note."],
    )
    first = command.document(
        "", {"planning": harness.as_markdown(report), "fan_in": "## Fan-in\n"}
    )
    assert "| t | 2.00 × | ≤ 1 × | missed |" in first
    written = first + "\nBecause of this.\n"
    second = command.document(
        written, {"fan_in": "## Fan-in\n\nanew\n"}, ("rounds: 3",)
    )
    assert "- rounds: 3\n" in second
    assert "| a | 1 |" in second
    assert "anew" in second
    assert second.endswith("Because of this.\n")
    assert second.count("<!-- part: fan_in -->") == 1


def test_the_file_system_is_told_with_what_files_cost_there(tmp_path: Path) -> None:
    told = harness.disk(tmp_path)
    assert re.fullmatch(
        r"file system \w+: 60 files are made and removed in \d+\.\d to \d+\.\d ms", told
    )
    assert "unknown" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_peer_that_cannot_be_had_is_left_out_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "PATH": str(tmp_path)})
    gone = peers.Peer("gone", peers.make, program="no-such-scheduler")
    (tmp_path / "peers" / "bin").mkdir(parents=True)
    (tmp_path / "peers" / "bin" / "python").touch()
    assert peers.environment_for([gone], tmp_path)[1] == {
        "gone": "no-such-scheduler is not on PATH"
    }


def test_an_unknown_part_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command.main(["nonsense"])
    assert "unknown: nonsense" in capsys.readouterr().err


@pytest.mark.parametrize("schedule", retries.SCHEDULES)
def test_retries_that_go_on_write_no_line_twice_and_lose_none(
    schedule: str, tmp_path: Path
) -> None:
    figures = retries.experiment(tmp_path, schedule, seed=1, tasks=12)
    assert figures.conflicts
    assert figures.is_right, figures
    assert figures.written == figures.lines


def test_retries_that_start_anew_write_lines_twice(tmp_path: Path) -> None:
    figures = retries.experiment(tmp_path, "batch", 1, tasks=6, retry_from="base")
    assert figures.conflicts
    assert not figures.wrong
    assert not figures.is_right


def test_git_need_not_read_the_files_of_a_clone_that_is_measured(
    tmp_path: Path,
) -> None:
    git(tmp_path, "init", "-q")
    file = tmp_path / "a"
    file.write_text("a\n")
    git(tmp_path, "add", "a")
    big_repository._settle(tmp_path)
    index = tmp_path / ".git/index"
    # by the second, as some versions of git compare them
    assert int(index.stat().st_mtime) > int(file.stat().st_mtime)


def test_a_note_is_wrapped_as_the_documents_are() -> None:
    report = harness.Report("Starts", notes=["some words " * 30])
    lines = harness.as_markdown(report).splitlines()
    assert max(map(len, lines)) <= 120
    assert " ".join(lines).count("some words") == 30
