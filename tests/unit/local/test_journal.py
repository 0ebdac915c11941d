"""The journal's events fold to a state, none is lost, and a crash tears one line at most."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from runner.core.errors import EnvironmentBroken, UsageProblem
from runner.core.task import PlanSettings
from runner.local import journal as journal_module
from runner.local import journal_state
from runner.local.journal import Journal
from runner.local.journal_state import State, Unrecorded, WaitingWork
from runner.plan.changes import ChangeSet, parse_changes
from runner.repo.landing import Landing
from runner.schedule.limit_waits import LimitWaits, UsageLimit
from tests.support.builders import entry, manifest, task

RUN: dict[str, Any] = {
    "event": "run",
    "run": "r1",
    "branch": "main",
    "scratch": "scratch",
}
BATCH: dict[str, Any] = {"event": "batch", "run": "r1", "round": 1}
LANDING: dict[str, Any] = {"event": "landing", "branch": "main", "old": "a", "new": "b"}
OTHER: dict[str, Any] = {**LANDING, "branch": "fanin/r1"}
UNDONE: dict[str, Any] = {"event": "undone"}
WAITING: dict[str, Any] = {"event": "waiting", "branch": "main", "on": "fanin/r1"}
FANNED_IN: dict[str, Any] = {"event": "fanned-in", "run": "r1", "round": 1}
ACCEPTED: dict[str, Any] = {"event": "accepted", "run": "r1", "round": 1}
FLUSHED: dict[str, Any] = {"event": "flushed"}
FREED: dict[str, Any] = {"event": "freed", "branch": "fanin/r1"}
ALSO_WAITING: dict[str, Any] = {"event": "waiting", "branch": "b", "on": "fanin/r2"}
END: dict[str, Any] = {"event": "end"}
FAILED: dict[str, Any] = {
    "event": "failed",
    "run": "r1",
    "round": 1,
    "id": "r1.1",
    "branch": "main",
    "plan": {"path": "tasks.yml"},
    "progress": "p.json",
    "changes": [
        {
            "kind": "failed",
            "task": "A",
            "attempt": 1,
            "failure": {"kind": "timeout", "message": "too slow"},
        }
    ],
}
REQUESTED: dict[str, Any] = {
    **FAILED,
    "event": "requested",
    "id": "00000001-ab",
    "changes": [{"kind": "skip", "task": "B", "follows": 0}],
}
TOO_SLOW = Unrecorded(
    "main",
    PlanSettings(path="tasks.yml"),
    "p.json",
    ChangeSet("r1.1", parse_changes(FAILED["changes"])),
)
ASKED_FOR = TOO_SLOW._replace(
    changes=ChangeSet("00000001-ab", parse_changes(REQUESTED["changes"]))
)
RECORDED: dict[str, Any] = {"event": "recorded", "ids": ["r1.1", "another"]}
LIMIT: dict[str, Any] = {
    "event": "limit",
    "agent": "claude",
    "until": "2026-07-19T18:00:00+00:00",
    "since": "2026-07-19T17:00:00+00:00",
    "known": True,
    "repeats": 1,
}
UNTIL = UsageLimit(
    datetime(2026, 7, 19, 18, tzinfo=UTC),
    datetime(2026, 7, 19, 17, tzinfo=UTC),
    True,
    1,
)
OPEN = State(run="r1", branch="main", scratch="scratch")


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], State()),
        ([RUN], OPEN),
        (
            [RUN, BATCH],
            State(run="r1", branch="main", scratch="scratch", open=(("r1", 1),)),
        ),
        (
            [RUN, BATCH, LANDING],
            State(
                run="r1",
                branch="main",
                scratch="scratch",
                open=(("r1", 1),),
                landing=Landing("main", "a", "b"),
            ),
        ),
        ([RUN, BATCH, LANDING, FANNED_IN], OPEN),
        # what could not be undone outlives the run and the next landing
        (
            [RUN, LANDING, {**WAITING, "undone": False}, OTHER, WAITING, END],
            State(
                branch="main",
                waiting=(WaitingWork("main", "fanin/r1"),),
                undo=(Landing("main", "a", "b"),),
            ),
        ),
        (
            [RUN, LANDING, {**WAITING, "undone": False}, UNDONE, FREED, END],
            State(branch="main"),
        ),
        ([RUN, BATCH, ACCEPTED], OPEN._replace(accepted=(("r1", 1),))),
        ([RUN, BATCH, ACCEPTED, LANDING, FLUSHED], OPEN),
        # after a crash a batch lands on its own, or with others that were open
        ([RUN, BATCH, ACCEPTED, LANDING, FANNED_IN], OPEN),
        (
            [RUN, BATCH, {**BATCH, "round": 2}, LANDING, {**FLUSHED, "rounds": [1]}],
            OPEN._replace(open=(("r1", 2),)),
        ),
        (
            [RUN, BATCH, FANNED_IN, {**BATCH, "round": 2}],
            State(run="r1", branch="main", open=(("r1", 2),), scratch="scratch"),
        ),
        (
            [RUN, BATCH, LANDING, WAITING],
            State(
                run="r1",
                branch="main",
                open=(("r1", 1),),
                waiting=(WaitingWork("main", "fanin/r1"),),
                scratch="scratch",
            ),
        ),
        (
            [RUN, BATCH, WAITING, FANNED_IN, END],
            State(branch="main", waiting=(WaitingWork("main", "fanin/r1"),)),
        ),
        (
            [RUN, WAITING, FREED],
            OPEN._replace(freed=(WaitingWork("main", "fanin/r1"),)),
        ),
        ([RUN, WAITING, FREED, FREED, END], State(branch="main")),
        # one entry for each target
        (
            [RUN, WAITING, END, ALSO_WAITING, END],
            State(
                branch="main",
                waiting=(
                    WaitingWork("main", "fanin/r1"),
                    WaitingWork("b", "fanin/r2"),
                ),
            ),
        ),
        (
            [RUN, WAITING, ALSO_WAITING, FREED, END],
            State(branch="main", waiting=(WaitingWork("b", "fanin/r2"),)),
        ),
        # work that waits on fanin/r1 moves on to fanin/r3
        (
            [
                RUN,
                WAITING,
                ALSO_WAITING,
                {"event": "waiting", "branch": "fanin/r1", "on": "fanin/r3"},
                END,
            ],
            State(
                branch="main",
                waiting=(
                    WaitingWork("b", "fanin/r2"),
                    WaitingWork("main", "fanin/r3"),
                ),
            ),
        ),
        (
            [
                RUN,
                LANDING,
                {**WAITING, "undone": False},
                OTHER,
                {**WAITING, "branch": "fanin/r1", "on": "fanin/r2", "undone": False},
                END,
            ],
            State(
                branch="main",
                waiting=(WaitingWork("main", "fanin/r2"),),
                undo=(Landing("main", "a", "b"), Landing("fanin/r1", "a", "b")),
            ),
        ),
        ([RUN, BATCH, LANDING, END], State(branch="main")),
        # the batch is over, and its failures outlive the run until they are recorded
        ([RUN, BATCH, FAILED], OPEN._replace(unrecorded=(TOO_SLOW,))),
        (
            [RUN, BATCH, ACCEPTED, FAILED, FAILED, REQUESTED, END],
            State(branch="main", unrecorded=(TOO_SLOW, ASKED_FOR)),
        ),
        ([RUN, REQUESTED, FAILED, RECORDED], OPEN._replace(unrecorded=(ASKED_FOR,))),
        (
            [
                RUN,
                {**FAILED, "plan": 7},
                {**FAILED, "changes": [{}]},
                {**RECORDED, "ids": 1},
            ],
            OPEN,
        ),
        # a usage limit outlives the run
        (
            [RUN, LIMIT, END],
            State(branch="main", limits=LimitWaits({"claude": UNTIL})),
        ),
        (
            [RUN, LIMIT, {"event": "limit", "agent": "claude"}, END],
            State(branch="main"),
        ),
        ([RUN, {**LIMIT, "until": "soon"}, {**LIMIT, "since": "2026-07-19"}], OPEN),
        (
            [RUN, {"event": "of a newer fanin"}, {"no": "event"}, BATCH],
            State(run="r1", branch="main", open=(("r1", 1),), scratch="scratch"),
        ),
        (
            [RUN, END, {**RUN, "run": "r2"}],
            State(run="r2", branch="main", scratch="scratch"),
        ),
    ],
)
def test_events_fold_to_a_state(
    journal: Journal, events: list[dict[str, Any]], state: State
) -> None:
    for event in events:
        journal.record(
            event.get("event", "none"),
            **{key: value for key, value in event.items() if key != "event"},
        )
    assert journal.state() == state


@pytest.mark.parametrize(
    ("events", "main", "waiting"),
    [
        ([RUN], "main", "fanin/r1"),
        ([RUN, WAITING], "fanin/r1", "fanin/r1"),
        ([RUN, WAITING, FREED], "main", "main"),
        ([RUN, WAITING, FREED, {**WAITING, "on": "fanin/r2"}], "fanin/r2", "fanin/r2"),
        ([RUN, {**WAITING, "branch": "other"}], "main", "fanin/r1"),
    ],
)
def test_an_open_batch_lands_on_waiting_work_and_on_its_own_branch_once_that_has_landed(
    journal: Journal, events: list[dict[str, Any]], main: str, waiting: str
) -> None:
    for event in events:
        journal.record(
            event["event"],
            **{key: value for key, value in event.items() if key != "event"},
        )
    state = journal.state()
    assert (
        state.landing_branch_of_batch("main"),
        state.landing_branch_of_batch("fanin/r1"),
    ) == (
        main,
        waiting,
    )


@pytest.mark.parametrize(
    ("events", "main", "waiting"),
    [
        ([FAILED], 1, 0),
        ([FAILED, WAITING], 0, 1),
        ([{**FAILED, "branch": "fanin/r1"}, WAITING], 0, 1),
        ([{**FAILED, "branch": "fanin/r1"}, WAITING, FREED], 1, 0),
        ([{**FAILED, "progress": "other.json"}], 0, 0),
        ([{**FAILED, "branch": "other"}], 0, 0),
    ],
)
def test_failures_count_where_their_work_would_land_and_with_their_progress_alone(
    journal: Journal, events: list[dict[str, Any]], main: int, waiting: int
) -> None:
    journal.record_all([RUN, *events])
    state = journal.state()
    assert len(state.unrecorded_on("main", "p.json")) == main
    assert len(state.unrecorded_on("fanin/r1", "p.json")) == waiting


def test_failures_that_are_not_recorded_survive_the_tidying(journal: Journal) -> None:
    journal.record_all([RUN, FAILED, END])
    journal.tidy()
    assert journal.state().unrecorded == (TOO_SLOW,)
    journal.record_all([RECORDED])
    journal.tidy()
    assert journal.events() == []


def test_events_are_read_as_they_were_recorded(journal: Journal) -> None:
    journal.record("waiting", on="fanin/größe\u2028x\n", n=[1, None])
    assert journal.events() == [
        {"event": "waiting", "on": "fanin/größe\u2028x\n", "n": [1, None]}
    ]


@pytest.mark.parametrize(
    "torn",
    [
        b'{"event": "bat',
        b'{"event": "batch", "run": "r\xc3',
        b"7\n",
        b"[]\n",
        b"\n\n",
        b"\x00\x00",
    ],
)
def test_a_torn_line_is_skipped_and_later_events_are_read(
    journal: Journal, torn: bytes
) -> None:
    journal.record(**RUN)
    with journal.path.open("ab") as stream:
        stream.write(torn)
    assert journal.state() == OPEN
    journal.record(**BATCH)
    assert journal.events() == [RUN, BATCH]


def test_without_a_journal_nothing_is_open(journal: Journal) -> None:
    assert journal.events() == []


_WRITER = """
import sys
from pathlib import Path
from runner.local.journal import Journal
journal = Journal(Path(sys.argv[1]))
print(flush=True)
sys.stdin.readline()
for n in range(20):
    journal.record("note", who=sys.argv[2], n=n, filler="x" * 3000)
"""


def test_no_event_is_lost_when_threads_and_processes_record_at_once(
    journal: Journal, tmp_path: Path
) -> None:
    journal.record(**RUN)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path), f"process {number}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for number in range(3)
    ]
    start = threading.Barrier(5)

    def write(who: str) -> None:
        start.wait()
        for n in range(20):
            journal.record("note", who=who, n=n, filler="x" * 3000)

    threads = [
        threading.Thread(target=write, args=(f"thread {number}",))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()  # it has imported all it needs
    start.wait()
    for process in processes:
        process.communicate(b"go\n")
    for thread in threads:
        thread.join()
    recorded = [(event["who"], event["n"]) for event in journal.events()[1:]]
    writers = [f"thread {number}" for number in range(4)] + [
        f"process {number}" for number in range(3)
    ]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(recorded) == sorted((who, n) for who in writers for n in range(20))
    for who in writers:
        assert [n for writer, n in recorded if writer == who] == list(range(20))


def test_a_journal_that_cannot_be_written_is_an_environment_error(
    journal: Journal,
) -> None:
    journal.path.mkdir(parents=True)
    with pytest.raises(EnvironmentBroken, match="cannot write"):
        journal.record(**RUN)


def test_a_second_fanin_is_refused_with_the_process_id_of_the_first(
    journal: Journal, tmp_path: Path
) -> None:
    with (
        journal.locked(),
        pytest.raises(
            UsageProblem,
            match=rf"another fanin is running in this repository \(process {os.getpid()}\)",
        ),
        Journal(tmp_path).locked(),
    ):
        pytest.fail("both hold the lock")


def test_the_lock_is_released_after_an_error(journal: Journal) -> None:
    with pytest.raises(RuntimeError, match="in the middle"), journal.locked():
        raise RuntimeError("in the middle")
    with journal.locked():
        assert (journal.folder / "holder").exists()
    assert not (journal.folder / "holder").exists()


def test_opening_a_batch_stores_its_manifest_and_makes_a_folder_for_its_results(
    journal: Journal,
) -> None:
    stored = manifest(entry(task("A")), entry(task("B"), index=1))
    journal.open(stored)
    restored, results = journal.read_manifest("r1", 2)
    assert restored.digest == stored.digest
    assert results.is_dir()
    assert journal.state().open == (("r1", 2),)


def test_the_results_of_a_batch_that_an_earlier_version_opened_are_found(
    journal: Journal,
) -> None:
    stored = manifest(entry(task("A")))
    journal.open(stored)
    results = journal.round_folder("r1", 2) / "results"
    results.mkdir()
    assert journal.keep_result(stored, "000", FILES)
    journal.restore()
    assert journal.read_manifest("r1", 2)[1] == results
    names = {path.name: path.read_bytes() for path in (results / "000").iterdir()}
    assert names == FILES


FILES = {"result.json": b"{}", "change.pack": b"PACK"}


@pytest.mark.parametrize("state", ["open", "accepted"])
@pytest.mark.parametrize("damage", ["empty", "gone"])
def test_the_files_of_an_open_batch_are_restored_from_the_journal(
    journal: Journal, state: str, damage: str
) -> None:
    stored = manifest(entry(task("A")))
    journal.open(stored)
    assert journal.keep_result(stored, "000", FILES)
    if state == "accepted":
        journal.record(**ACCEPTED | {"round": 2})
    folder = journal.round_folder("r1", 2)
    if damage == "gone":
        shutil.rmtree(folder)
    else:
        for name in ("manifest.json", "000/result.json"):
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_bytes(b"")
    Journal(journal.folder.parent).restore()
    restored, results = journal.read_manifest("r1", 2)
    assert restored.digest == stored.digest
    names = {path.name: path.read_bytes() for path in (results / "000").iterdir()}
    assert names == FILES


def test_nothing_of_a_batch_that_is_over_is_restored(journal: Journal) -> None:
    stored = manifest(entry(task("A")))
    journal.open(stored)
    journal.keep_result(stored, "000", FILES)
    journal.record("fanned-in", run="r1", round=2)
    shutil.rmtree(journal.round_folder("r1", 2))
    journal.restore()
    assert not journal.round_folder("r1", 2).exists()


def test_a_long_journal_drops_the_files_of_batches_that_are_over(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_MAX_GROWTH", 20_000)
    journal.record("run", run="r1", branch="main", scratch=None)
    sizes = []
    for number in range(1, 60):
        stored = manifest(entry(task("A")), round=number)
        journal.open(stored)
        journal.keep_result(stored, "000", FILES)
        if number not in {2, 40}:
            journal.record("fanned-in", run="r1", round=number)
        sizes.append(journal.path.stat().st_size)
    assert max(sizes) < 40_000
    assert journal.state().open == (("r1", 2), ("r1", 40))
    assert Journal(journal.folder.parent).state() == journal.state()
    shutil.rmtree(journal.folder / "runs")
    journal.restore()
    for number in (2, 40):
        assert journal.read_manifest("r1", number)[0].round == number
        result = journal.round_folder("r1", number) / "000/result.json"
        assert result.read_bytes() == FILES["result.json"]
    assert not journal.round_folder("r1", 41).exists()


def test_what_other_threads_record_meanwhile_is_not_dropped(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_MAX_GROWTH", 1_000)

    def record(name: str) -> None:
        for number in range(100):
            journal.record("note", text=f"{name} {number}")

    threads = [threading.Thread(target=record, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for number in range(1, 50):
        journal.open(manifest(entry(task("A")), round=number))
        journal.record("fanned-in", run="r1", round=number)
    for thread in threads:
        thread.join()
    notes = [event["text"] for event in journal.events() if event["event"] == "note"]
    assert sorted(notes) == sorted(
        f"{x} {number}" for x in "ab" for number in range(100)
    )


def test_a_result_that_the_journal_does_not_keep_has_its_manifest_synced(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = manifest(entry(task("A")))
    journal.open(stored)
    synced: list[Path] = []
    monkeypatch.setattr("runner.core.durable.sync_files", synced.extend)
    assert not journal.keep_result(stored, "000", {})
    folder = journal.round_folder("r1", 2)
    needed = {journal.path, folder / "manifest.json", folder, folder.parent}
    assert needed <= set(synced)


def test_a_manifest_that_is_too_large_for_the_journal_is_synced_at_once(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_MAX_MANIFEST", 10)
    synced: list[Path] = []
    monkeypatch.setattr("runner.core.durable.sync_files", synced.extend)
    journal.open(manifest(entry(task("A"))))
    assert journal.round_folder("r1", 2) / "manifest.json" in synced
    assert [event["event"] for event in journal.events()] == ["batch"]


@pytest.mark.parametrize(
    ("events", "removed"),
    [
        ([RUN, BATCH, FANNED_IN, END], True),
        ([RUN], False),
        ([RUN, BATCH, WAITING, FANNED_IN, END], False),
        ([RUN, WAITING, END, FREED], True),
    ],
)
def test_tidying_removes_events_only_when_nothing_is_open(
    journal: Journal, events: list[dict[str, Any]], removed: bool
) -> None:
    for event in events:
        journal.record(**event)
    before = journal.state()
    journal.tidy()
    assert (journal.events() == []) is removed
    assert removed or journal.state() == before


def test_the_last_runs_are_kept_and_those_with_work_that_did_not_land(
    journal: Journal,
) -> None:
    names = [f"r{number:03d}" for number in range(10)]
    for name in names:
        journal.open(manifest(entry(), run=name))
        journal.record("end", run=name)
    for name, folder, file in (
        ("r001", "000", "left-out.tar"),
        ("r002", "000", "detours.bundle"),
        # as earlier versions have left them
        ("r003", "results/000", "detours.bundle"),
    ):
        attempt = journal.round_folder(name, 1) / folder
        attempt.mkdir(parents=True)
        (attempt / file).touch()
    journal.remove_old_runs(6, 2**30, {"r000"})
    assert _runs(journal) == ["r000", "r001", "r002", "r003", "r008", "r009"]


def test_old_runs_are_removed_until_the_rest_is_small_enough(journal: Journal) -> None:
    for number in range(4):
        (journal.folder / f"runs/r{number}/1").mkdir(parents=True)
        (journal.folder / f"runs/r{number}/1/log").write_bytes(b"x" * 1000)
    journal.remove_old_runs(9, 2000, {"r1"})
    assert _runs(journal) == ["r1", "r3"]
    journal.remove_old_runs(9, 10, ())
    assert _runs(journal) == ["r3"]


def _runs(journal: Journal) -> list[str]:
    return sorted(folder.name for folder in (journal.folder / "runs").iterdir())


def test_a_result_merged_during_a_landing_is_still_accepted_after_it(
    journal: Journal,
) -> None:
    opened = [{"event": "batch", "run": "r1", "round": n} for n in (1, 2, 3)]
    accepted = [{"event": "accepted", "run": "r1", "round": n} for n in (1, 2)]
    landing = {"event": "landing", "branch": "main", "old": "a", "new": "b"}
    journal.record_all([RUN, *opened, accepted[0], landing, accepted[1]])
    journal.record("closed", run="r1", round=3)
    state = journal.state()
    assert (state.open, state.landing) == ((), Landing("main", "a", "b"))
    journal.record("flushed", run="r1", rounds=[1])
    state = journal.state()
    assert (state.accepted, state.landing) == ((("r1", 2),), None)


def test_tidying_keeps_the_usage_limits(journal: Journal) -> None:
    limits = LimitWaits({"claude": UNTIL, "codex": UNTIL._replace(is_known=False)})
    journal.record_limits(LimitWaits(), limits)
    journal.record("end")
    journal.tidy()
    assert journal.state().limits == limits
    journal.record_limits(limits, LimitWaits())
    journal.tidy()
    assert journal.path.read_bytes() == b""


def test_only_events_that_are_new_are_read(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []
    after = journal_state.state_after

    def noted(state: State, data: bytes) -> State:
        read.append(data)
        return after(state, data)

    journal.record_all([RUN])
    before = journal.state()
    monkeypatch.setattr(journal_module, "state_after", noted)
    journal.record("batch", run="r1", round=1)
    # as another process that is about to write a line
    with journal.path.open("ab") as file:
        file.write(b'{"event": "batch", "run": "r1", ')
    assert journal.state() == before._replace(open=(("r1", 1),))
    with journal.path.open("ab") as file:
        file.write(b'"round": 2}\n')
    assert journal.state().open == (("r1", 1), ("r1", 2))
    read_since = b"".join(read)
    assert b"batch" in read_since
    assert b"scratch" not in read_since
    assert journal.state() == Journal(journal.folder.parent).state()


def test_a_journal_that_was_replaced_is_read_anew(journal: Journal) -> None:
    journal.record("batch", run="r1", round=1)
    assert journal.state().open
    journal.path.write_bytes(b"")
    assert journal.state() == State()
    journal.record("batch", run="r2", round=1)
    other = journal.path.with_name("other")
    other.write_bytes(b'{"event": "batch", "run": "r3", "round": 7}\n' * 9)
    assert journal.state().open == (("r2", 1),)
    other.replace(journal.path)
    assert journal.state().open[-1] == ("r3", 7)
    journal.path.unlink()
    assert journal.state() == State()
