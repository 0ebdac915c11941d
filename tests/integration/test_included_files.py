"""The setting `include` and `.worktreeinclude`: a checkout gets ignored files of the
person's work tree, and no result does.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from runner.attempt import included_files
from runner.attempt.included_files import Included
from runner.repo.repository import Repository
from tests.support.project import Project, Quiet

TOKEN = "tok-1234-of-the-person"


def shell_task(command: str, task_id: str = "A", **fields: Any) -> dict[str, Any]:
    return {"id": task_id, "agent": {"command": ["sh", "-c", command]}, **fields}


def included(project: Project, checkout: Path, *patterns: str) -> Included:
    checkout.mkdir(parents=True)
    origin = Repository(project.root, os.environ).origin
    return included_files.include(checkout, patterns, origin)


def names_in(folder: Path) -> list[str]:
    found = [path for path in folder.rglob("*") if not path.is_dir()]
    return sorted(str(path.relative_to(folder)) for path in found)


@pytest.fixture
def with_modules(project: Project) -> Project:
    project.write(".gitignore", "node_modules/\n*.db\n.env*\n")
    project.write("src/main.js", "main")
    project.commit("ignore")
    modules = project.root / "node_modules"
    project.write("node_modules/a/index.js", "a")
    project.write("node_modules/a/run", "#!/bin/sh\n")
    (modules / "a" / "run").chmod(0o555)
    (modules / "empty").mkdir()
    os.utime(modules / "a" / "index.js", ns=(10**18, 10**18))
    (modules / ".bin").mkdir()
    (modules / ".bin" / "run").symlink_to("../a/run")
    project.write("src/x/data.db", "rows")
    project.write("src/x/other.js", "untracked, not ignored")
    return project


def test_agent_and_verify_get_ignored_files_that_are_no_ones_change(
    project: Project,
) -> None:
    project.write(".gitignore", "deps/\nlocal.db\n")
    project.write(".worktreeinclude", "# deps\ndeps/\n")
    project.write("deps/tool", "echo tool\n")
    project.write("local.db", "rows\n")
    project.plan(
        [
            shell_task(
                "sh deps/tool > a && cat local.db >> a && echo agent >> deps/tool "
                "&& echo x > deps/new && git add -f deps local.db"
            ),
            # a branch of its own, and the checkout's files as they were
            shell_task(
                "git switch -qc work && cp local.db b && git add -f b local.db deps "
                "&& git commit -qm work && git switch -q -",
                "B",
                depends_on=["A"],
            ),
        ],
        include=["local.db"],
        verify="sh deps/tool && test -e local.db",
    )
    project.run()
    assert project.states() == {"A": "completed", "B": "completed"}
    assert project.git("show", "HEAD:a") == "tool\nrows"
    assert project.git("show", "HEAD:b") == "rows"
    tracked = project.git("ls-tree", "-r", "--name-only", "HEAD").splitlines()
    assert not [path for path in tracked if path.startswith(("deps", "local"))]
    # the person's own
    assert (project.root / "deps" / "tool").read_text() == "echo tool\n"
    assert not (project.root / "deps" / "new").exists()


def test_files_that_an_agent_takes_out_of_gitignore_stay_out_of_its_result(
    project: Project,
) -> None:
    project.write(".gitignore", "deps/\n*.db\n")
    project.write("deps/tool", "tool\n")
    project.write("local.db", "rows\n")
    project.plan(
        [shell_task("rm .gitignore; echo a > a", allow=[".gitignore"])],
        include=["deps", "*.db"],
    )
    project.run()
    assert project.states() == {"A": "completed"}
    changed = project.git("diff", "--name-only", "HEAD^", "HEAD").splitlines()
    assert changed == [".fanin/progress.json", ".gitignore", "a"]


def test_the_committed_worktreeinclude_counts_and_no_task_changes_it(
    project: Project,
) -> None:
    project.write(".gitignore", "*.db\n")
    project.write(".worktreeinclude", "a.db\n")
    project.write("a.db", "a")
    project.write("b.db", "b")
    project.plan(
        [
            shell_task("echo b.db >> .worktreeinclude; echo a > a", max_attempts=1),
            shell_task("ls *.db > b", "B"),
        ]
    )
    project.write(".worktreeinclude", "b.db\n")
    project.run()
    assert project.states() == {"A": "failed", "B": "completed"}
    assert "is fanin's own file" in project.records()["A"]["error"]["message"]
    assert project.git("show", "HEAD:b") == "a.db"


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_value_of_an_included_file_of_secrets_is_masked_and_refused(
    project: Project, schedule: str
) -> None:
    project.write(".gitignore", ".env*\n")
    project.write(".env.local", f"MODE=development\nTOKEN={TOKEN}\nREGION=eu-north-7\n")
    project.write(".env.other", "OTHER=tok-1234-of-another\n")
    project.plan(
        [
            shell_task("cat .env.local; cp .env.local leak", max_attempts=1),
            shell_task(
                "test ! -e .env.other && echo development eu-north-7 > b",
                "B",
                max_attempts=1,
            ),
        ],
        include=[".env.local", ".env.o*"],
        env={"REGION": "eu-north-7"},
        schedule=schedule,
        verify="cat .env.local; test ! -e b",
        verify_retries=0,
    )
    seen = Quiet()
    project.run(seen)
    message = project.records()["A"]["error"]["message"]
    assert "leak holds the value of TOKEN in .env.local" in message
    assert project.records()["B"]["error"]["kind"] == "verify"
    assert TOKEN not in project.records()["B"]["error"]["log_tail"]
    logs = list(project.root.glob(".git/fanin/**/*.log"))
    assert logs
    assert all(TOKEN not in log.read_text() for log in logs)
    left_out = (
        "not included: .env.other: holds secrets, and its full name is not listed"
    )
    assert seen.notes == [left_out]
    assert f"note: {left_out}" in project.cli("check").stdout


def test_a_folder_is_copied_with_permissions_times_and_links_of_its_own(
    with_modules: Project, tmp_path: Path
) -> None:
    checkout = tmp_path / "space" / "checkout"
    found = included(with_modules, checkout, "node_modules", "*.db", "*.js")
    files = [
        *("node_modules/.bin/run", "node_modules/a/index.js", "node_modules/a/run"),
        "src/x/data.db",
    ]
    assert names_in(checkout) == files == sorted(found.files)
    assert found.folders == {"node_modules"}
    assert (checkout / "node_modules" / "empty").is_dir()
    link = checkout / "node_modules" / ".bin" / "run"
    assert str(link.readlink()) == "../a/run"
    for path in files:
        copied = os.lstat(checkout / path)
        assert copied.st_nlink == 1
        assert found.files[path] == (copied.st_size, copied.st_mtime_ns)
        source = os.lstat(with_modules.root / path)
        assert copied.st_mode == source.st_mode
        assert copied.st_ino != source.st_ino
    assert found.files["node_modules/a/index.js"].mtime_ns == 10**18


def test_no_checkout_gets_what_leads_out_of_the_repository(
    with_modules: Project, tmp_path: Path
) -> None:
    (tmp_path / "outside").write_text("outside")
    modules = with_modules.root / "node_modules"
    (modules / "out").symlink_to(tmp_path / "outside")
    (modules / "up").symlink_to("../../outside")
    (with_modules.root / "link.db").symlink_to(tmp_path / "outside")
    with_modules.write("node_modules/b/.git/config", "[core]\n")
    with_modules.write(".fanin/x.db", "fanin's")
    os.mkfifo(modules / "pipe")
    checkout = tmp_path / "space" / "checkout"
    found = included(with_modules, checkout, "node_modules", "*.db")
    assert sorted(found.left_out) == ["link.db", "node_modules/out", "node_modules/up"]
    assert names_in(checkout) == sorted(found.files)
    assert not {path for path in found.files if ".git" in path or ".fanin" in path}
    assert "node_modules/pipe" not in found.files


def test_what_the_base_has_in_a_files_place_stays(
    with_modules: Project, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    checkout = tmp_path / "space" / "checkout"
    (checkout / "src").mkdir(parents=True)
    (checkout / "node_modules").symlink_to(outside)
    (checkout / "src" / "x").write_text("a file of the base")
    origin = Repository(with_modules.root, os.environ).origin
    found = included_files.include(checkout, ["node_modules", "*.db"], origin)
    assert not found
    assert list(outside.iterdir()) == []
    assert set(found.left_out.values()) == {included_files.IN_THE_WAY}
    assert (checkout / "src" / "x").read_text() == "a file of the base"


def test_only_files_of_secrets_that_are_named_are_copied(
    with_modules: Project, tmp_path: Path
) -> None:
    certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    with_modules.write("node_modules/a/cacert.pem", certificate)
    with_modules.write("node_modules/a/key.pem", "-----BEGIN PRIVATE KEY-----\n")
    with_modules.write("node_modules/a/.npmrc", "_authToken=npm_12345678\n")
    with_modules.write("app/.env", "TOKEN=tok-12345678\n")
    with_modules.write(".env.large", "x" * 70_000)
    checkout = tmp_path / "space" / "checkout"
    found = included(with_modules, checkout, "node_modules", ".env", "/.env.large")
    assert "node_modules/a/cacert.pem" in found.files
    assert (checkout / "app" / ".env").read_text() == "TOKEN=tok-12345678\n"
    assert found.secrets.names == {"tok-12345678": "TOKEN in app/.env"}
    assert found.left_out == {
        "node_modules/a/key.pem": included_files.UNNAMED,
        "node_modules/a/.npmrc": included_files.UNNAMED,
        ".env.large": included_files.TOO_LARGE,
    }


def test_exceptions_and_the_persons_own_ignore_files_count(
    with_modules: Project, tmp_path: Path
) -> None:
    (with_modules.root / ".git" / "info" / "exclude").write_text("*.own\n")
    with_modules.write("x.own", "own")
    with_modules.git("config", "core.excludesFile", str(tmp_path / "mine"))
    (tmp_path / "mine").write_text("*.mine\n")
    with_modules.write("x.mine", "mine")
    checkout = tmp_path / "space" / "checkout"
    patterns = ("node_modules", "!node_modules/a/", "*.own", "*.mine")
    included(with_modules, checkout, *patterns)
    assert names_in(checkout) == ["node_modules/.bin/run", "x.mine", "x.own"]


def test_a_checkout_inside_an_included_folder_is_not_copied_into_itself(
    with_modules: Project,
) -> None:
    checkout = with_modules.root / "node_modules" / "tmp" / "checkout"
    found = included(with_modules, checkout, "*")
    assert not [path for path in found.files if path.startswith("node_modules/")]
    assert names_in(checkout) == ["src/x/data.db"]


def test_a_sparse_file_stays_sparse(with_modules: Project, tmp_path: Path) -> None:
    with (with_modules.root / "disk.db").open("wb") as stream:
        stream.seek(2**30)
        stream.write(b"end")
        stream.truncate(2**31)
    checkout = tmp_path / "space" / "checkout"
    included(with_modules, checkout, "disk.db")
    status = (checkout / "disk.db").stat()
    assert status.st_size == 2**31
    assert status.st_blocks * 512 < 2**20
    with (checkout / "disk.db").open("rb") as stream:
        stream.seek(2**30)
        assert stream.read(4) == b"end\0"
    assert stat.S_IMODE(status.st_mode) == 0o644


def test_a_worktreeinclude_that_leads_out_of_the_repository_is_an_error(
    project: Project,
) -> None:
    project.write(".worktreeinclude", "\n../secrets\n")
    project.plan([{"id": "A", "do": ["write a: a"]}])
    with pytest.raises(Exception, match="cannot be included") as caught:
        project.run()
    assert ".worktreeinclude:2" in str(caught.value)


def test_a_pooled_checkout_keeps_what_it_got_and_no_result_has_it(
    project: Project,
) -> None:
    project.write(".gitignore", "deps/\n")
    project.write("deps/tool", "tool\n")
    command = "stat -c %i deps/tool > ID && git add -f deps"
    project.plan(
        [
            shell_task(command.replace("ID", "a")),
            shell_task(command.replace("ID", "b"), "B", depends_on=["A"]),
            shell_task("echo >> deps/tool; echo c > c", "C", depends_on=["B"]),
            shell_task("cat deps/tool > d", "D", depends_on=["C"]),
        ],
        include=["deps"],
        workspace="pooled",
    )
    project.run()
    assert set(project.states().values()) == {"completed"}
    assert project.git("show", "HEAD:a") == project.git("show", "HEAD:b")
    assert project.git("show", "HEAD:d") == "tool"
    tracked = project.git("ls-tree", "-r", "--name-only", "HEAD").splitlines()
    assert "deps/tool" not in tracked


def test_an_agents_script_may_be_an_included_file(project: Project) -> None:
    project.write(".gitignore", "tools/\n")
    project.write("tools/agent.sh", "echo a > a\n")
    agent = {"command": ["sh", "tools/agent.sh"]}
    project.plan([{"id": "A", "agent": agent}], include=["tools"])
    project.run()
    assert project.states() == {"A": "completed"}
