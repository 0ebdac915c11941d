"""`fanin status --watch` reads again only what has changed."""

from __future__ import annotations

import os

import pytest

from runner.cli.watch import WatchedTasks
from runner.core.event_lines import line_of
from runner.core.events import AttemptStarted, RunStarted
from runner.local import watched_files
from runner.local.journal import Journal
from tests.support.git_calls import recorded_git_calls
from tests.support.project import Project


@pytest.fixture
def watched(project: Project) -> WatchedTasks:
    project.plan([{"id": "A"}, {"id": "B", "depends_on": ["A"]}])
    return WatchedTasks(str(project.root), {})


@pytest.fixture
def exact_times(monkeypatch: pytest.MonkeyPatch) -> None:
    """The times of files are taken for precise, so that no test waits."""
    monkeypatch.setattr(watched_files, "_PRECISION", float("-inf"))


def states(watched: WatchedTasks) -> dict[str, str]:
    _, _, tasks = watched.now()
    return {view.task.id: view.state for view in tasks.views}


@pytest.mark.usefixtures("exact_times")
def test_git_is_asked_again_only_if_a_file_has_changed(
    project: Project, watched: WatchedTasks
) -> None:
    assert states(watched) == {"A": "ready", "B": "pending"}
    with recorded_git_calls() as calls:
        assert states(watched) == {"A": "ready", "B": "pending"}
    assert calls == []
    project.plan([{"id": "A"}, {"id": "C"}])
    assert states(watched) == {"A": "ready", "C": "ready"}
    project.git("pack-refs", "--all")
    project.git("checkout", "-qb", "other", "HEAD~1")
    assert states(watched) == {"A": "ready", "B": "pending"}


def test_a_file_that_has_just_changed_may_change_again_within_its_time(
    watched: WatchedTasks,
) -> None:
    states(watched)
    with recorded_git_calls() as calls:
        states(watched)
    assert calls


@pytest.mark.usefixtures("exact_times")
def test_settings_a_skip_and_the_end_of_a_long_time_are_noticed(
    project: Project, watched: WatchedTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    states(watched)
    project.cli("skip", "A")
    assert states(watched)["A"] == "skipped"
    settings = project.root / "fanin.yml"
    settings.write_text(settings.read_text() + "max_attempts: 7\n")
    assert watched.now()[1].max_attempts == 7
    monkeypatch.setattr(watched_files, "_LONGEST", -1.0)
    with recorded_git_calls() as calls:
        states(watched)
    assert calls


@pytest.mark.usefixtures("exact_times")
def test_the_events_of_a_run_change_states_without_git(
    project: Project, watched: WatchedTasks
) -> None:
    journal = Journal(project.root / ".git")
    folder = journal.run_folder("20260101-000000-0001")
    folder.mkdir(parents=True)
    start = RunStarted(
        time="2026-01-01T00:00:00.000Z",
        run=folder.name,
        branch="main",
        plan="tasks.yml",
        tasks=2,
        schedule="batch",
        pid=os.getpid(),
    )
    begun = AttemptStarted(
        batch=f"{folder.name}.1", task="A", attempt=1, title="", agent="a"
    )
    events = folder / "events.jsonl"
    with journal.locked():
        events.write_bytes(line_of(start))
        assert states(watched)["A"] == "ready"
        with recorded_git_calls() as calls:
            with events.open("ab") as stream:
                stream.write(line_of(begun))
            assert states(watched)["A"] == "in_progress"
        assert calls == []
    # the process is gone, and the file as it was
    assert states(watched)["A"] == "ready"
