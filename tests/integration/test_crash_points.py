"""SIGKILL at numbered durable steps, and machines that do not do their part: nothing is
lost, nothing is done twice.

A sample of the steps, the same one each time; `python -m benchmarks.reliability` tries
many more.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.core import durable
from runner.core.errors import WorkNotWritten
from tests.support import crashes
from tests.support.project import Project, Quiet


@pytest.fixture(scope="module")
def batch_end(tmp_path_factory: pytest.TempPathFactory) -> crashes.Undisturbed:
    return crashes.undisturbed(tmp_path_factory.mktemp("batch"), "batch")


@pytest.mark.xdist_group("crashes of batches")
def test_every_kind_of_durable_step_is_numbered(batch_end: crashes.Undisturbed) -> None:
    kinds = {name.partition(" ")[2] for name in batch_end.steps}
    # and push, on Actions
    assert kinds == {"fsync", "rename", "ref", "objects", "landing"}
    assert len(batch_end.steps) >= 100


@pytest.mark.xdist_group("crashes of batches")
def test_killed_at_any_durable_step_the_next_run_ends_like_an_undisturbed_one(
    batch_end: crashes.Undisturbed, tmp_path: Path
) -> None:
    steps = crashes.seeded_sample(2, len(batch_end.steps), "batch")
    # the second step is one of the run that puts right what the first has left
    points = [*([step] for step in steps), [85, 12]]
    assert crashes.try_all(batch_end, points, tmp_path) == []


@pytest.mark.parametrize(
    "variant",
    [
        "individual",
        "waiting",
        "rolling",
        "rolling individual",
        "rolling waiting",
        "rolling after merge",
    ],
)
def test_killed_anywhere_the_next_run_ends_like_an_undisturbed_one_in_every_variant(
    variant: str, tmp_path: Path
) -> None:
    end = crashes.undisturbed(tmp_path, variant)
    # The last steps may not come: threads pass them beside each other.
    sure = round(0.8 * len(end.steps))
    for step in crashes.seeded_sample(1, sure, variant):
        tried = crashes.try_point(end, [step], tmp_path)
        assert tried.died_at
        assert tried.wrong == ()


def one_task(project: Project) -> None:
    project.plan(
        [
            {"id": "A", "do": ["write a: a"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ]
    )


@pytest.mark.parametrize("room", [150, 700, 1500])
def test_disk_full_is_one_sentence_and_exit_3_and_a_later_run_goes_on(
    project: Project, room: int
) -> None:
    one_task(project)
    # A limit on a file's size stands for the full disk: the write fails in fanin, its
    # agents and git alike.
    limited = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({room}, {room}));"
        "import sys; sys.argv = ['fanin', 'run']; from runner.cli import main; main()"
    )
    shown = subprocess.run(
        [sys.executable, "-c", limited],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
        env={
            **os.environ,
            "FAKE_AGENT_LOG": str(project.log),
            "PYTHONPATH": str(crashes.ROOT),
        },
    )
    # 1: the agent met the full disk, not fanin
    assert shown.returncode in {1, 3}, shown.stdout + shown.stderr
    assert "Traceback" not in shown.stderr
    assert "fanin: " in shown.stderr or "✘" in shown.stdout
    again = project.cli("run", "--max-attempts", "9")
    assert again.returncode == 0, again.stdout + again.stderr
    assert project.states() == {"A": "completed", "B": "completed"}
    assert not list((project.root / ".git").rglob("*.tmp"))


@pytest.mark.parametrize("workspace", ["fresh", "pooled"])
@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_work_that_cannot_be_written_is_kept_in_its_checkout(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    schedule: str,
    workspace: str,
) -> None:
    tasks = [{"id": name, "do": [f"write {name}: x"]} for name in "AB"]
    project.plan(tasks, schedule=schedule, workspace=workspace)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    seen = Quiet()
    with monkeypatch.context() as disk:
        disk.setattr("runner.core.result_folder.finish", full)
        with pytest.raises(WorkNotWritten, match="No space left") as error:
            project.run(seen)
    assert error.value.exit_code == 3
    kept = sorted(scratch.iterdir())
    assert len(kept) == 2
    for checkout in kept:
        assert any(f"its checkout is now {checkout};" in note for note in seen.notes)
        assert checkout.stat().st_mode & 0o777 == 0o700
    changed = [project.git("-C", str(checkout), "status", "-s") for checkout in kept]
    assert sorted(changed) == ["?? A", "?? B"]

    project.run()
    assert project.states() == {"A": "completed", "B": "completed"}
    assert sorted(scratch.iterdir()) == kept
    # the trouble was fanin's own
    assert [record["attempts"] for record in project.records().values()] == [1, 1]


def test_folder_that_cannot_be_written_is_one_sentence_and_exit_3(
    project: Project,
) -> None:
    one_task(project)
    own = project.root / ".git" / "fanin"
    # as unwritable as can be, for root too
    own.write_text("a file stands where the folder belongs")
    shown = project.cli("run")
    assert shown.returncode == 3, shown.stdout + shown.stderr
    assert "Traceback" not in shown.stderr
    assert str(own) in shown.stderr
    own.unlink()
    assert project.cli("run").returncode == 0


def test_clock_that_goes_backwards_changes_neither_order_nor_states(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    one_task(project)
    times = iter(f"20{year:02d}-01-01T00:00:00.000Z" for year in range(60, 0, -1))
    monkeypatch.setattr(
        "runner.attempt.recorded_attempt.timestamp", lambda: next(times)
    )
    project.run()
    assert project.states() == {"A": "completed", "B": "completed"}
    record = project.records()["A"]
    # told as it was, and no sum is made of it
    assert record["finished"] < record["started"]
    assert project.cli("status").returncode == 0


CORRUPT_LINES = (
    b'{"event": "batch", "ru',
    b"\xff\xfe\x00",
    b"[1, 2]",
    b'"text"',
    b"{}",
    b"[" * 9_999,
    b'{"event": "landing"}',
    b'{"event": "batch", "run": 1, "round": "x"}',
)


def test_corrupt_lines_in_the_middle_of_the_journal_are_passed_over(
    project: Project,
) -> None:
    one_task(project)
    project.run()
    journal = project.root / ".git" / "fanin" / "journal.jsonl"
    whole = journal.read_bytes().splitlines(keepends=True)
    half = len(whole) // 2
    corrupt = [line + b"\n" for line in CORRUPT_LINES]
    journal.write_bytes(b"".join([*whole[:half], *corrupt, *whole[half:]]))
    shown = project.cli("run")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert project.states() == {"A": "completed", "B": "completed"}


def test_unreadable_manifest_keeps_the_results_and_says_where(
    project: Project, tmp_path: Path
) -> None:
    one_task(project)
    killed_after_the_agent(project, tmp_path)
    manifest = next(
        (project.root / ".git" / "fanin" / "runs").glob("*/1/manifest.json")
    )
    manifest.write_bytes(b"\x00{")
    # an older fanin kept none there
    journal = project.root / ".git" / "fanin" / "journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if b'"files"' not in line))
    shown = project.cli("run")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert f"its results stay in {manifest.parent}" in shown.stdout
    assert (manifest.parent / "000" / "change.pack").exists()
    assert project.states() == {"A": "completed", "B": "completed"}


def killed_after_the_agent(project: Project, tmp_path: Path) -> None:
    place = crashes.Place(tmp_path)
    (tmp_path / "tmp").mkdir()
    assert place.project.root == project.root
    end = place.run("before landing")
    assert end.returncode == -9, end.stdout + end.stderr
    assert place.durable_results()


@pytest.mark.parametrize(
    "content",
    [b"{ not json", b"\xff\xfe", b'{"version": 99, "tasks": []}', b"[" * 100_000],
    ids=["cut", "not text", "newer", "deep"],
)
def test_unreadable_progress_file_is_kept_and_never_overwritten(
    project: Project, content: bytes
) -> None:
    one_task(project)
    project.write(".fanin/progress.json", "")
    (project.root / ".fanin" / "progress.json").write_bytes(content)
    before = project.commit()
    for command in (["run"], ["status"], ["retry", "A"]):
        shown = project.cli(*command)
        assert shown.returncode == 2, shown.stdout + shown.stderr
        assert ".fanin/progress.json" in shown.stderr
        assert "Traceback" not in shown.stderr
    assert (project.root / ".fanin" / "progress.json").read_bytes() == content
    assert project.git("rev-parse", "HEAD") == before


def test_write_that_fails_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_name: str) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "f").write_bytes(b"old")
    monkeypatch.setattr(durable, "checkpoint", full)
    with pytest.raises(OSError, match="No space"):
        durable.write(tmp_path / "f", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_bytes() == b"old"
