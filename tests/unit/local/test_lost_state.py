"""`.git/fanin` may be deleted while fanin uses it, or be something else."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from runner.core.errors import EnvironmentBroken, GitFailed
from runner.local.journal import Journal


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path)


NO_FOLDER = GitFailed(["diff-tree"], 128, "fatal: not a git repository")


@pytest.mark.parametrize(
    ("gone", "error", "named"),
    [
        ("", None, ""),
        ("", NO_FOLDER, ""),
        ("lock", NO_FOLDER, "lock"),
        ("runs", None, "runs/result"),
    ],
)
def test_what_was_deleted_during_a_run_is_named_with_what_to_do(
    journal: Journal, gone: str, error: GitFailed | None, named: str
) -> None:
    def lose_it() -> None:
        runs, path = journal.folder / "runs", journal.folder / gone
        with journal.locked():
            runs.mkdir()
            path.unlink() if gone == "lock" else shutil.rmtree(path)
            if error is not None:
                raise error
            (runs / "result").read_bytes()

    with pytest.raises(EnvironmentBroken) as caught:
        lose_it()
    missing = journal.folder / named
    assert caught.value.message == f"{missing} was deleted while fanin used it"
    assert "fanin run" in caught.value.advice
    with journal.locked():
        assert journal.state().run is None


def test_other_errors_during_a_run_stay_as_they_are(journal: Journal) -> None:
    for error in (FileNotFoundError(2, "no", "/elsewhere"), GitFailed(["x"], 1, "no")):
        with pytest.raises(type(error)) as caught, journal.locked():
            raise error
        assert caught.value is error


def test_a_state_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "fanin").touch()
    journal = Journal(tmp_path)
    for use in (journal.state, journal.requests.read, journal.locked().__enter__):
        with pytest.raises(EnvironmentBroken, match=r"cannot use .*/fanin") as caught:
            use()
        assert "fanin's own state" in caught.value.advice
