"""Landing moves the checked-out branch as a fast-forward would, and never overwrites
what is the user's.
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

import pytest

from runner.core.errors import EnvironmentBroken, InvalidInput, UsageProblem
from runner.core.events import AttemptStarted, RunEvent
from runner.local.run import LocalRun
from runner.repo import work_tree
from runner.repo.repository import Repository
from tests.support.project import Project, Quiet


class Meanwhile(Quiet):
    """Does something while the first agent is at work."""

    def __init__(self, deed: object) -> None:
        super().__init__()
        self._deed = deed

    def observe(self, event: RunEvent) -> None:
        super().observe(event)
        if isinstance(event, AttemptStarted):
            deed, self._deed = self._deed, None
            if callable(deed):
                deed()


def test_uncommitted_changes_stay_and_the_run_says_that_agents_do_not_see_them(
    project: Project,
) -> None:
    project.write("other.py", "1\n")
    project.plan([{"id": "A", "do": ["read README.md", "write a: a"]}])
    project.write("README.md", "mine\n")
    project.write("other.py", "mine\n")
    project.git("add", "other.py")
    shown = project.cli("run")
    assert shown.returncode == 0, shown.stderr
    note = "agents do not see your uncommitted changes in README.md, other.py"
    assert note in shown.stdout
    assert project.git("show", "HEAD:a") == "a"
    assert project.git("status", "--porcelain").splitlines() == [
        "M README.md",
        "M  other.py",
    ]


def test_uncommitted_changes_of_the_plan_are_named_with_the_commit_that_was_read(
    project: Project,
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    head = project.git("rev-parse", "HEAD")
    with (project.root / "tasks.yml").open("a") as plan:
        plan.write("  - {id: B, title: b}\n")
    shown = project.cli("run", "--dry-run")
    assert f"the plan is read as committed in {head[:10]}" in shown.stdout
    assert "git commit -m 'Change the plan' tasks.yml" in shown.stdout
    assert project.cli("run").returncode == 0
    assert [*project.states()] == ["A"]


def test_uncommitted_changes_in_a_file_that_each_landing_writes_are_refused(
    project: Project,
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}, {"id": "B"}])
    assert project.cli("skip", "B").returncode == 0
    project.write(".fanin/progress.json", "{}")
    shown = project.cli("run")
    assert shown.returncode == 2
    assert "uncommitted changes in .fanin/progress.json" in shown.stderr
    assert "--branch" in shown.stderr
    assert project.intervals() == []


def test_uncommitted_changes_beside_the_marks_of_a_plan_are_refused(
    project: Project,
) -> None:
    plan = "# Tasks\n\n## Phase 1\n\n- [ ] T001 Write a\n"
    project.write("specs/001/tasks.md", plan)
    project.plan([], plan="specs/001/tasks.md")
    project.write("specs/001/tasks.md", plan + "\nA remark.\n")
    shown = project.cli("run")
    assert shown.returncode == 2
    assert "uncommitted changes in specs/001/tasks.md" in shown.stderr


def test_progress_can_be_changed_beside_uncommitted_changes(project: Project) -> None:
    project.plan([{"id": "A"}])
    project.write("README.md", "mine\n")
    assert project.cli("skip", "A").returncode == 0
    assert project.cli("retry", "A").returncode == 0
    assert (project.root / "README.md").read_text() == "mine\n"


def test_with_branch_the_work_lands_elsewhere_and_the_dirty_file_stays(
    project: Project,
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.write("README.md", "mine\n")
    project.run(branch="side")
    assert project.git("show", "side:a") == "a"
    assert (project.root / "README.md").read_text() == "mine\n"
    assert project.git("rev-parse", "--abbrev-ref", "HEAD") == "main"


@pytest.mark.parametrize("name", ["a", "a.ignored"])
def test_untracked_file_is_never_overwritten_and_the_work_waits_on_a_branch(
    project: Project, name: str
) -> None:
    # the second file is ignored until the agent's own change
    do = ["write .gitignore: *.x", f"write {name}: agent"]
    project.plan(
        [
            {"id": "A", "do": do, "allow": [".gitignore"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ]
    )
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


def test_change_of_the_tasks_text_meanwhile_makes_its_result_stale(
    project: Project,
) -> None:
    project.plan(
        [
            {"id": "A", "do": ["sleep 0.3", "write a: a"]},
            {"id": "B", "do": ["sleep 0.3", "write b: b"]},
        ]
    )

    def rewrite() -> None:
        text = (project.root / "tasks.yml").read_text()
        project.write("tasks.yml", text.replace("title: do A", "title: do A otherwise"))
        project.commit("rewrite A")

    seen = Meanwhile(rewrite)
    project.run(seen)
    assert seen.fan_ins[0].failed["A"].kind == "stale"
    assert seen.fan_ins[0].landed == ("B",)
    assert "A" in seen.fan_ins[0].kept
    # A ran again, with its new text
    assert project.states() == {"A": "completed", "B": "completed"}
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


def test_branch_checked_out_in_a_linked_worktree_lands_there(
    project: Project, tmp_path: Path
) -> None:
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
    assert "another fanin is running in this repository" in second[0]


def test_uncommitted_plan_is_refused_with_the_command_to_type(project: Project) -> None:
    project.write("tasks.yml", "version: 1\ntasks: [{id: A, title: a}]\n")
    command = f"git -C {project.root} add tasks.yml"
    with pytest.raises(InvalidInput, match=re.escape(command)):
        project.run()


def test_detached_head_is_refused(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.git("checkout", "-q", "--detach")
    with pytest.raises(UsageProblem, match="detached"):
        LocalRun.__call__(project.runner())


@pytest.mark.parametrize("operation", ["rebase", "bisect"])
def test_head_that_an_operation_has_detached_is_refused_with_how_to_end_that(
    project: Project, operation: str
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    for number in range(3):
        project.write("number", str(number))
        project.commit()
    if operation == "rebase":
        project.git("-c", "sequence.editor=sed -i 1ibreak", "rebase", "-qi", "HEAD~1")
        command = "git rebase --abort"
    else:
        project.git("bisect", "start", "HEAD", "HEAD~2")
        command = "git bisect reset"
    shown = project.cli("run")
    assert shown.returncode == 2
    assert shown.stderr == (
        f"fanin: a {operation} is in progress in {project.root}\n"
        f"finish it, or  {command}\n"
    )
    words = command.split()[1:]
    project.git(*words)
    assert project.cli("run").returncode == 0


def test_task_without_an_agent_stops_before_anything_runs(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}], agent=None)
    with pytest.raises(InvalidInput, match="A has no agent"):
        project.run()


def test_merge_that_is_going_on_is_refused(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    (project.root / ".git" / "MERGE_HEAD").write_text(
        project.git("rev-parse", "HEAD") + "\n"
    )
    with pytest.raises(UsageProblem, match="a merge is in progress"):
        project.run()


def test_uncommitted_changes_count_where_the_branch_is_checked_out(
    project: Project, tmp_path: Path
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.git("worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    (tmp_path / "linked" / "README.md").write_text("mine\n")
    seen = Quiet()
    project.run(seen, branch="side")
    assert seen.notes == ["agents do not see your uncommitted changes in README.md"]
    assert project.git("show", "side:a") == "a"


@pytest.mark.parametrize(
    "name", ["HEAD", "-x", "refs/heads/x", "main~1", "a b", "x..y"]
)
def test_name_that_is_no_branch_is_refused(project: Project, name: str) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    with pytest.raises(UsageProblem, match="is not a valid branch name"):
        project.run(branch=name)


def test_tag_of_the_branchs_name_changes_nothing(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.git("tag", "main", "HEAD~1")
    project.run()
    assert (
        project.git("for-each-ref", "--format=%(refname)", "refs/heads")
        == "refs/heads/main"
    )
    assert project.states("refs/heads/main") == {"A": "completed"}
    assert "1 completed" in project.cli("status").stdout


def test_work_for_two_branches_waits_for_each_of_them(
    project: Project, tmp_path: Path
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.git("branch", "other")
    beside = tmp_path / "beside"
    project.git("worktree", "add", "-q", str(beside), "other")
    for folder in (project.root, beside):
        (folder / "a").write_text("precious\n")
    waiting = project.run().branch
    other = project.run(branch="other")
    assert other.waiting_branch == other.branch != waiting
    assert project.git("rev-parse", "other") != project.git("rev-parse", waiting)
    assert project.cli("retry", "A").returncode == 2  # on main, whose work waits
    shown = project.cli("status").stdout
    assert f"finished work waits on {waiting};" in shown
    take = f"git switch other && git merge --ff-only {other.branch}"
    sentence = f"finished work for other waits on {other.branch}; to take it:  {take}"
    assert sentence in shown
    # main is checked out, whatever branch the command is about
    about_other = project.cli("status", "--branch", "other").stdout
    assert sentence in about_other
    assert f"finished work for main waits on {waiting}" not in about_other
    assert f"git merge --ff-only {waiting}\n" in about_other
    for folder in (beside, project.root):
        (folder / "a").unlink()
    project.run()
    assert project.git("rev-parse", "main") == project.git("rev-parse", waiting)
    # What waits for the other branch is not forgotten.
    assert project.git("rev-parse", "other") != project.git("rev-parse", other.branch)
    assert project.run(branch="other").waiting_branch is None
    assert project.git("rev-parse", "other") == project.git("rev-parse", other.branch)
    assert "waits" not in project.cli("status").stdout


def test_run_whose_work_waits_says_so_at_its_end_and_exits_1(project: Project) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.write("a", "precious\n")
    shown = project.cli("run")
    assert shown.returncode == 1
    assert "finished work waits on fanin/" in shown.stdout.splitlines()[-1]
    again = project.cli("run")
    assert again.returncode == 2
    assert "main cannot take it. Git says:" in again.stderr
    assert "move or commit what is in the way, then merge it:" in again.stderr
    (project.root / "a").unlink()
    project.git(
        "merge", "-q", "--ff-only", shown.stdout.splitlines()[-1].rpartition(" ")[2]
    )
    assert "1 completed" in project.cli("status").stdout


def test_why_git_cannot_keep_the_runs_head_is_said(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Repository, ref: str, *_args: str) -> str | None:
        return f"cannot lock ref '{ref}': no space"

    monkeypatch.setattr(Repository, "ref_refusal", refuse)
    project.plan([{"id": "A", "do": ["write a: a"]}])
    with pytest.raises(EnvironmentBroken, match=r"cannot move refs/.*: no space"):
        project.run(schedule="rolling")


def test_why_git_cannot_move_a_branch_that_is_checked_out_nowhere_is_said(
    project: Project,
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.git("branch", "other")
    lock = project.root / ".git" / "refs" / "heads" / "other.lock"
    lock.touch()
    shown = project.cli("run", "--branch", "other")
    assert "other cannot take the work now" in shown.stdout
    assert f"Unable to create '{lock}'" in shown.stdout
    lock.unlink()
    assert project.run(branch="other").waiting_branch is None
    assert project.git("show", "other:a") == "a"


def test_repository_with_its_git_folder_elsewhere(
    project: Project, tmp_path: Path
) -> None:
    project.git("init", "-q", f"--separate-git-dir={tmp_path / 'elsewhere.git'}")
    project.plan([{"id": "A", "do": ["write a: a"]}])
    assert project.run().waiting_branch is None
    assert (project.root / "a").exists()


def test_path_that_is_not_normal_is_read_as_the_file_it_names(project: Project) -> None:
    project.plan(
        [{"id": "A", "do": ["write a: a"]}],
        progress="./state//p.json",
        plan="./tasks.yml",
    )
    project.run()
    assert '"completed"' in project.git("show", "HEAD:state/p.json")
    assert len(project.intervals()) == 1


@pytest.mark.parametrize(
    "value",
    [
        "",
        ".",
        "../p.json",
        "/p.json",
        ".git/p.json",
        "tasks.yml",
        "tasks.yml/p",
        "fanin.yml",
    ],
)
def test_path_that_cannot_hold_progress_is_refused(
    project: Project, value: str
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}], progress=value)
    with pytest.raises(InvalidInput):
        project.run()


def test_base_that_a_person_amended_and_collected_is_kept(project: Project) -> None:
    project.plan([{"id": "A", "do": ["sleep 0.5", "write a: a"]}])

    def amend() -> None:
        project.git("commit", "-q", "--amend", "-m", "amended")
        project.git("reflog", "expire", "--expire=now", "--all")
        project.git("gc", "-q", "--prune=now")

    project.run(Meanwhile(amend))
    assert project.states() == {"A": "completed"}
    assert project.git("for-each-ref", "refs/fanin/base") == ""


def test_branch_that_is_gone_stops_the_run_and_keeps_the_work(project: Project) -> None:
    project.plan([{"id": "A", "do": ["sleep 0.3", "write a: a"]}])
    with pytest.raises(UsageProblem, match="git branch main"):
        project.run(Meanwhile(lambda: project.git("branch", "-m", "main", "trunk")))
    project.git("branch", "main", "trunk")
    project.git("switch", "-q", "main")
    project.run()
    assert len(project.intervals()) == 1
    assert project.states() == {"A": "completed"}


def test_branch_that_is_checked_out_nowhere_and_moves_at_the_last_moment_keeps_both(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.plan([{"id": "A", "do": ["write a: a"]}])
    project.git("branch", "side")
    tree, moves = project.git("rev-parse", "HEAD^{tree}"), ["by a person"]

    def nowhere(_: Repository, branch: str) -> None:
        if branch == "side" and moves and project.intervals():
            commit = project.git("commit-tree", tree, "-p", "side", "-m", moves.pop())
            project.git("update-ref", "refs/heads/side", commit)

    monkeypatch.setattr(work_tree, "checked_out_at", nowhere)
    ended = project.run(branch="side")
    assert (ended.branch, ended.waiting_branch) == ("side", None)
    assert project.subjects("side")[:2] == ["A: do A", "by a person"]


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_landing_that_could_not_be_undone_is_undone_by_the_next_run(
    project: Project, schedule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write("lib.txt", "old\n")
    do = ["write a: a", "write lib.txt: new"]
    project.plan([{"id": "A", "do": do}, {"id": "B", "depends_on": ["A"]}])
    # git writes the files before it finds that it cannot move the branch
    lock = project.root / ".git" / "refs" / "heads" / "main.lock"
    lock.touch()

    def no_space(*_: object) -> list[str]:
        raise OSError(errno.ENOSPC, "No space left on device")

    observer = Quiet()
    with monkeypatch.context() as patch:
        patch.setattr(work_tree, "_undo", no_space)
        ended = project.run(observer, schedule=schedule)
    assert ended.branch == f"fanin/{ended.run}"
    assert (project.root / "lib.txt").read_text() == "new\n"
    left = "files of that work may be left in the work tree of main"
    assert any(left in note for note in observer.notes)
    lock.unlink()
    project.run(schedule=schedule)
    assert project.git("status", "--porcelain") == ""
    assert project.git("show", "main:lib.txt") == "new"
    assert project.git("show", "main:a") == "a"
