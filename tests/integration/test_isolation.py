"""What an agent does stays in its checkout; what it leaves there becomes one result,
whatever it is.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from runner.attempt import capture, captured_tree, workspace
from runner.repo.origin import origin_of
from tests.support.git_calls import recorded_git_calls
from tests.support.own_sleep import own_seconds, sleeps
from tests.support.project import Project, Quiet


def only(project: Project, *do: str, **task: object) -> dict[str, object]:
    """Run one task with these lines and give its record."""
    project.plan([{"id": "A", "do": list(do), "max_attempts": 1, **task}])
    project.run()
    return project.records()["A"]


@pytest.mark.parametrize(
    "how",
    [[], ["commit by the agent"], ["git checkout -q -b elsewhere", "commit there"]],
)
def test_committed_or_not_the_tree_counts(project: Project, how: list[str]) -> None:
    assert only(project, "write new.txt: new", *how)["status"] == "completed"
    assert (project.root / "new.txt").read_text() == "new\n"
    assert project.git("branch", "--format=%(refname:short)") == "main"


def test_every_kind_of_change_is_captured(project: Project) -> None:
    project.write("gone.txt", "x\n")
    project.write("old name.txt", "moved\n")
    project.commit()
    record = only(
        project,
        "delete gone.txt",
        "rename old name.txt: dir/new näme.txt",
        "binary blob.bin",
        "executable run.sh",
        "link alias: README.md",
        "write x.ignored: left out",
    )
    assert record["status"] == "completed"
    listed = project.git(
        "-c", "core.quotePath=false", "ls-tree", "-r", "HEAD"
    ).splitlines()
    modes = {line.split("\t")[1]: line.split()[0] for line in listed}
    assert "gone.txt" not in modes
    assert modes["dir/new näme.txt"] == "100644"
    assert modes["run.sh"] == "100755"
    assert modes["alias"] == "120000"
    assert "x.ignored" not in modes
    assert (project.root / "blob.bin").read_bytes() == bytes(range(256))
    assert os.access(project.root / "run.sh", os.X_OK)


def test_agent_cannot_reach_branches_hooks_or_config_of_the_repository(
    project: Project,
) -> None:
    before = project.git("for-each-ref"), (project.root / ".git" / "config").read_text()
    only(
        project,
        "write a: a",
        "git branch evil",
        "git config core.hooksPath /evil",
        "git tag evil",
        "commit x",
    )
    assert project.git("branch", "--list", "evil") == ""
    assert project.git("tag") == ""
    assert (project.root / ".git" / "config").read_text() == before[1]
    assert not list((project.root / ".git").glob("hooks/*[!e]"))


def test_agents_git_config_runs_no_code_when_its_work_is_captured(
    project: Project, tmp_path: Path
) -> None:
    trap = tmp_path / "sprung"
    record = only(
        project,
        "write a: a",
        "write .gitattributes: a filter=trap",
        f"git config filter.trap.clean 'touch {trap}; cat'",
        f"git config core.fsmonitor 'touch {trap}; false'",
        allow=[".gitattributes"],
    )
    assert record["status"] == "completed"
    assert not trap.exists()


def test_no_change_is_a_failure_unless_the_task_allows_it(project: Project) -> None:
    assert only(project, "print nothing")["error"]["kind"] == "no_change"  # type: ignore[index]
    # A's record is A's
    assert (
        only(project, "print nothing", id="B", allow_empty=True)["status"] == "failed"
    )
    assert project.states()["B"] == "completed"


@pytest.mark.parametrize(
    ("do", "kind"),
    [
        (["write other.txt: x"], "scope"),
        (["write .github/workflows/ci.yml: x"], "policy"),
        (["write tasks.yml: x"], "policy"),
        (["link out: /etc/passwd"], "policy"),
        (
            ['report {"status": "error", "summary": "gave up"}', "write a.txt: a"],
            "agent_error",
        ),
        (["write a.txt: a", "fail late"], "agent_error"),
    ],
)
def test_what_may_not_land_fails_the_task_and_is_kept(
    project: Project, do: list[str], kind: str
) -> None:
    project.plan(
        [
            {
                "id": "A",
                "do": do,
                "files": ["a.txt", ".github/**", "tasks.yml", "out"],
                "max_attempts": 1,
            }
        ]
    )
    seen = Quiet()
    project.run(seen)
    assert project.records()["A"]["error"]["kind"] == kind
    assert (
        project.git("diff", "--name-only", "HEAD~1", "HEAD") == ".fanin/progress.json"
    )
    assert project.git("rev-parse", "-q", "--verify", seen.fan_ins[0].kept["A"])


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_work_is_not_called_kept_where_its_ref_cannot_be_made(
    project: Project, schedule: str
) -> None:
    # git cannot have both refs/fanin/kept and refs/fanin/kept/…
    project.git("update-ref", "refs/fanin/kept", "HEAD")
    project.plan([{"id": "A", "do": ["write a: a", "fail late"], "max_attempts": 1}])
    observer = Quiet()
    project.run(observer, schedule=schedule)
    assert observer.fan_ins[0].failed.keys() == {"A"}
    assert observer.fan_ins[0].kept == {}
    said = "\n".join(observer.notes)
    assert "warning: A: git cannot create refs/fanin/kept/" in said
    folder = said.rpartition("only in ")[2].splitlines()[0]
    assert (Path(folder) / "000" / "change.pack").is_file()


def test_environment_is_an_allow_list(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "s3cret")
    monkeypatch.setenv("WANTED", "yes")
    seen = tmp_path / "seen.json"
    script = f"import os, json, pathlib; pathlib.Path({str(seen)!r}).write_text(json.dumps(dict(os.environ))); open('a','w')"
    project.plan(
        [{"id": "A"}], agent={"command": ["python3", "-c", script], "env": ["WANTED"]}
    )
    project.run()
    environ = json.loads(seen.read_text())
    assert environ["WANTED"] == "yes"
    assert "SECRET_TOKEN" not in environ
    assert {
        "FANIN_TASK": "A",
        "FANIN_ATTEMPT": "1",
        "FANIN_BASE": project.git("rev-parse", "HEAD~1"),
        "FANIN_SLOT": "0",
    }.items() <= environ.items()
    assert not [name for name in environ if name.startswith("GIT_")]


def test_time_limit_ends_an_agent_that_ignores_sigterm_and_its_daemons(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.agents.program.GRACE", 0.2)
    seconds = own_seconds()
    record = only(project, f"daemon {seconds}", "stubborn", timeout=1)
    assert record["error"]["kind"] == "timeout"  # type: ignore[index]
    assert not sleeps(seconds)


def test_daemon_that_holds_the_output_open_does_not_hold_the_run(
    project: Project,
) -> None:
    seconds = own_seconds()
    assert (
        only(project, f"daemon {seconds}", "write a: a", timeout=60)["status"]
        == "completed"
    )
    assert not sleeps(seconds)


def test_log_is_bounded_and_keeps_its_end(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.agents.recorder.LOG_LIMIT", 100_000)
    only(project, "spam 5000000", "print the-very-end", "write a: a")
    (log,) = (project.root / ".git" / "fanin" / "runs").glob("*/1/000/agent.log")
    assert 100_000 < log.stat().st_size < 300_000
    assert "the-very-end" in log.read_text()
    assert "bytes left out" in log.read_text()


@pytest.mark.parametrize("form", ["sha256", "shallow", "worktree"])
def test_works_in_every_kind_of_repository(
    project: Project, tmp_path: Path, form: str
) -> None:
    other = Project(tmp_path / "other", project.log)
    if form == "sha256":
        subprocess.run(
            [
                "git",
                "init",
                "-q",
                "-b",
                "main",
                "--object-format=sha256",
                str(other.root),
            ],
            check=True,
        )
        other.write("README.md", "hello\n")
        other.commit()
    elif form == "shallow":
        project.commit("empty") if project.git(
            "status", "--porcelain"
        ) else project.write("more", "x\n")
        project.commit("more")
        subprocess.run(
            [
                "git",
                "clone",
                "-q",
                "--depth",
                "1",
                f"file://{project.root}",
                str(other.root),
            ],
            check=True,
        )
    else:
        project.git("worktree", "add", "-q", "-b", "linked", str(other.root))
    assert only(other, "write a: a")["status"] == "completed"
    assert (other.root / "a").read_text() == "a\n"
    assert other.git("status", "--porcelain") == ""


def test_nothing_is_left_behind(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    only(project, "write a: a", "git config x.y z")
    assert list((tmp_path / "tmp").iterdir()) == []
    assert not list((project.root / ".git" / "fanin").glob("quarantine-*"))
    assert project.git("fsck", "--strict") == ""


def test_a_workspace_costs_one_git_process_and_the_users_identity_is_not_in_it(
    project: Project, tmp_path: Path
) -> None:
    origin, head = origin_of(project.root), project.git("rev-parse", "HEAD")
    with recorded_git_calls() as calls:
        space = workspace.create(origin, head, tmp_path / "space", "fanin/task-000")
    assert calls == ["read-tree"]
    (space.checkout / "new").write_text("x\n")
    (space.checkout / ".git" / "config").write_text(
        f"[core]\n\tfsmonitor = touch {tmp_path}/never\n"
    )
    tree = capture.capture(space).tree
    assert tree is not None
    listed = ["git", "ls-tree", "--name-only", tree]
    told = subprocess.run(
        listed,
        env={**os.environ, **space.git.env},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert "new" in told
    assert not (tmp_path / "never").exists()


def test_work_is_captured_in_a_folder_whose_name_git_would_split_or_quote(
    project: Project, tmp_path: Path
) -> None:
    place = tmp_path / 'a:b"c \\ é'
    space = workspace.create(
        origin_of(project.root),
        project.git("rev-parse", "HEAD"),
        place,
        "fanin/task-000",
    )
    assert capture.capture(space).tree is None
    (space.checkout / "new").write_text("x\n")
    tree = capture.capture(space).tree
    assert tree is not None
    captured_tree.write_pack(space, tree, tmp_path / "pack")


def test_agent_sees_a_branch_of_its_own_with_the_history_and_may_commit_there(
    project: Project, tmp_path: Path
) -> None:
    head = project.git("rev-parse", "HEAD")
    space = workspace.create(
        origin_of(project.root), head, tmp_path / "space", "fanin/task-000"
    )

    def git(*argv: str) -> str:
        done = subprocess.run(
            ["git", *argv],
            cwd=space.checkout,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert git("symbolic-ref", "--short", "HEAD") == "fanin/task-000"
    assert git("status", "--porcelain") == ""
    (space.checkout / "new").write_text("x\n")
    git("add", "-A")
    git("commit", "-qm", "mine")
    assert git("rev-parse", "HEAD~1") == head
    git("stash", "list")
    git("reset", "-q", "--hard", head)
    assert git("branch", "--format=%(refname:short)") == "fanin/task-000"


def test_ignore_files_have_the_rank_that_git_gives_them(
    project: Project, tmp_path: Path
) -> None:
    """What the repository's own exclude says goes before what the user's says of all
    repositories.
    """
    (tmp_path / "mine").write_text("*.log\n")
    project.git("config", "core.excludesFile", str(tmp_path / "mine"))
    (project.root / ".git" / "info" / "exclude").write_text("!kept.log\n")
    assert (
        only(project, "write kept.log: x", "write other.log: x")["status"]
        == "completed"
    )
    assert (project.root / "kept.log").exists()
    assert not (project.root / "other.log").exists()


def test_a_run_takes_no_pathspec_settings_from_its_environment(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LITERAL", "ICASE", "NOGLOB"):
        monkeypatch.setenv(f"GIT_{name}_PATHSPECS", "1")
    project.write("[a].txt", "base\n")
    project.commit()
    project.plan([{"id": "A", "do": ["write [a].txt: new", "write b: b"]}])
    project.run()
    assert project.states() == {"A": "completed"}
