"""Landing moves the checked-out branch as a fast-forward would, and never overwrites what is the user's."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import InvalidInput, UsageProblem
from runner.local import LocalRun
from runner.models import BatchEntry
from tests.integration.project import Project, Quiet


class Meanwhile(Quiet):
    """Does something while the first agent is at work."""

    def __init__(self, deed: object) -> None:
        super().__init__()
        self._deed = deed

    def started(self, entry: BatchEntry) -> None:
        deed, self._deed = self._deed, None
        if callable(deed):
            deed()


def test_dirty_tracked_file_is_refused_with_the_way_on(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.write("README.md", "mine\n")
    shown = project.cli("run")
    assert shown.returncode == 2
    assert "README.md" in shown.stderr
    assert "--branch" in shown.stderr
    assert project.intervals() == []


def test_with_branch_the_work_lands_elsewhere_and_the_dirty_file_stays(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.write("README.md", "mine\n")
    project.run(branch="side")
    assert project.git("show", "side:a") == "a"
    assert (project.root / "README.md").read_text() == "mine\n"
    assert project.git("rev-parse", "--abbrev-ref", "HEAD") == "main"


@pytest.mark.parametrize("name", ["a", "a.ignored"])
def test_untracked_file_is_never_overwritten_and_the_work_waits_on_a_branch(project: Project, name: str) -> None:
    project.plan(
        [
            {"id": "A", "do": [f"write {name}: agent", f"git add -f {name}"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ]
    )
    if name.endswith("ignored"):  # an ignored file enters a result only where .gitignore lets it
        project.write(".gitignore", "")
        project.commit("ignore nothing")
        (project.root / ".git" / "info" / "exclude").write_text("*.ignored\n")
    project.write(name, "precious\n")
    seen = Quiet()
    ended = project.run(seen)
    assert (project.root / name).read_text() == "precious\n"
    assert ended.branch == f"fanin/{ended.run}"
    assert any(ended.branch in note for note in seen.notes)
    assert project.git("show", f"{ended.branch}:{name}") == "agent"
    assert project.git("show", f"{ended.branch}:b") == "b"  # later batches build on it
    (project.root / name).unlink()
    project.run()
    assert (project.root / name).read_text() == "agent\n"
    assert project.git("rev-parse", "main") == project.git("rev-parse", ended.branch)


def test_commit_made_meanwhile_is_kept_and_merged_with(project: Project) -> None:
    project.plan([{"id": "A", "do": ["sleep 0.3", "write a: a"]}])

    def commit() -> None:
        project.write("mine", "mine\n")
        project.commit("by a person")

    project.run(Meanwhile(commit))
    assert project.subjects()[:2] == ["A: do A", "by a person"]
    assert (project.root / "mine").exists()
    assert (project.root / "a").exists()


def test_change_of_the_tasks_text_meanwhile_makes_its_result_stale(project: Project) -> None:
    project.plan([{"id": "A", "do": ["sleep 0.3", "write a: a"]}, {"id": "B", "do": ["sleep 0.3", "write b: b"]}])

    def rewrite() -> None:
        text = (project.root / "tasks.yml").read_text()
        project.write("tasks.yml", text.replace("title: do A", "title: do A otherwise"))
        project.commit("rewrite A")

    seen = Meanwhile(rewrite)
    project.run(seen)
    assert seen.fan_ins[0].failed["A"].kind == "stale"
    assert seen.fan_ins[0].landed == ("B",)
    assert "A" in seen.fan_ins[0].kept
    assert project.states() == {"A": "completed", "B": "completed"}  # A ran again, with its new text
    assert project.records()["A"]["attempts"] == 1


def test_file_made_dirty_meanwhile_is_left_and_the_work_waits(project: Project) -> None:
    project.write("shop.py", "one\n")
    project.plan([{"id": "A", "do": ["sleep 0.3", "replace shop.py: one -> two"]}])
    ended = project.run(Meanwhile(lambda: project.write("shop.py", "mine\n")))
    assert (project.root / "shop.py").read_text() == "mine\n"
    assert project.git("show", f"{ended.branch}:shop.py") == "two"
    assert project.states("main~0") if ended.branch == "main" else True
    with pytest.raises(UsageProblem, match=f"git merge {ended.branch}"):
        project.run()


def test_branch_checked_out_in_a_linked_worktree_lands_there(project: Project, tmp_path: Path) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    project.run(branch="side")
    assert (tmp_path / "linked" / "a").read_text() == "a\n"
    assert not (project.root / "a").exists()


def test_second_run_at_once_is_refused(project: Project) -> None:
    project.plan([{"id": "A", "do": ["sleep 1", "write a: a"]}])
    second: list[str] = []

    def again() -> None:
        shown = project.cli("run")
        assert shown.returncode == 2
        second.append(shown.stderr)

    project.run(Meanwhile(again))
    assert "another fanin is at work in this repository" in second[0]


def test_uncommitted_plan_is_refused_with_the_command_to_type(project: Project) -> None:
    project.write("tasks.yml", "version: 1\ntasks: [{id: A, title: a}]\n")
    with pytest.raises(InvalidInput, match=r"git add tasks\.yml"):
        project.run()


def test_detached_head_is_refused(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.git("checkout", "-q", "--detach")
    with pytest.raises(UsageProblem, match="detached"):
        LocalRun.__call__(project.runner())


def test_task_without_an_agent_stops_before_anything_runs(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}], agent=None)
    with pytest.raises(InvalidInput, match="A has no agent"):
        project.run()
