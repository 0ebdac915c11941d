"""Results that no honest agent leaves: each is refused by name, and every other task of
the batch lands.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from runner.core.errors import InvalidInput
from runner.core.events import ResultRefused
from tests.support.project import Project, Quiet

GOOD: dict[str, Any] = {"id": "GOOD", "do": ["write good: good"]}


def shell(script: str) -> dict[str, Any]:
    return {"command": ["sh", "-c", script]}


def beside_good(
    project: Project, script: str, **task: Any
) -> tuple[Quiet, dict[str, Any]]:
    """Run a shell script as the agent of BAD, beside a task that does what it should;
    BAD's record.
    """
    bad = {
        "id": "BAD",
        "max_attempts": 1,
        "agent": {"command": ["sh", "-c", script]},
        **task,
    }
    project.plan([{**GOOD}, bad])
    seen = Quiet()
    project.run(seen)
    assert project.states()["GOOD"] == "completed"
    assert (project.root / "good").exists()
    return seen, project.records()["BAD"]


@pytest.mark.parametrize("where", ["inside", "outside"])
def test_file_name_that_is_no_text(project: Project, where: str) -> None:
    files = {"files": ["only.txt"]} if where == "outside" else {}
    _, record = beside_good(
        project, r"""printf x > "$(printf 'caf\351.txt')" """, **files
    )
    assert record["status"] == ("failed" if files else "completed")


@pytest.mark.parametrize("report", [
    r'{"summary": "a\u0000b"}', r'{"summary": "\u001b[2Jboo"}', r'{"status": "error", "summary": "x\u0000"}',
    '{"cost_usd": -1}', '{"cost_usd": 1e999}', "[" * 10_000, "nonsense", '{"tokens": "many"}',
])  # fmt: skip
def test_absurd_report_neither_stops_the_fan_in_nor_reaches_the_terminal(
    project: Project, report: str
) -> None:
    beside_good(project, f"echo x > a; cat > $FANIN_REPORT <<'E'\n{report}\nE")
    shown = project.cli("status")
    assert "\x1b[2J" not in shown.stdout
    assert "\x00" not in project.git("log", "--format=%B")


@pytest.mark.parametrize(
    "thing",
    ["mkfifo $FANIN_REPORT", "mkdir $FANIN_REPORT", "ln -s /dev/zero $FANIN_REPORT"],
)
def test_report_that_is_no_plain_file_is_neither_waited_for_nor_followed(
    project: Project, thing: str
) -> None:
    _, record = beside_good(project, f"echo x > a; {thing}")
    assert "report" in record["error"]["message"]


def test_what_is_written_beside_the_task_is_left_out_and_the_rest_lands(
    project: Project,
) -> None:
    project.write(".gitignore", ".env\n")
    project.write("CLAUDE.md", "old\n")
    project.commit()
    script = """
        echo x > a; echo new > CLAUDE.md; mkdir -p .claude src lib
        echo '{}' > .claude/settings.local.json
        echo '*.tmp' > src/.gitignore; echo '!.env' > lib/.gitignore
        echo '* text=auto' > src/.gitattributes
    """
    seen, record = beside_good(project, script)
    assert record["status"] == "completed"
    landed = project.git("ls-files").splitlines()
    assert {"a", "src/.gitignore", "src/.gitattributes"} <= set(landed)
    assert not [path for path in landed if path.startswith((".claude", "lib"))]
    assert (project.root / "CLAUDE.md").read_text() == "old\n"
    assert "CLAUDE.md" not in "".join(record["changed"])
    notes = "\n".join(seen.notes)
    assert "BAD: left out: .claude/settings.local.json is a protected path" in notes
    assert "lib/.gitignore is a protected path, and the change stops ignoring" in notes
    ref = notes.partition("is kept at ")[2].split()[0]
    assert project.git("show", f"{ref}:CLAUDE.md") == "new"


@pytest.mark.parametrize("links", [
    "mkdir -p x/y; ln -s ../.. x/y/link; ln -s x/y/link/../../etc esc", "ln -s ../out a", "ln -s /etc a",
    "ln -s .git/config a",
])  # fmt: skip
def test_symlink_out_of_the_tree_directly_or_through_a_chain(
    project: Project, links: str
) -> None:
    _, record = beside_good(project, links)
    assert "symlink out of the repository" in record["error"]["message"]


def test_a_path_of_2500_folders_fails_its_task_alone_and_nothing_is_left(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    make = "import os\nfor _ in range(2_500): os.mkdir('d'); os.chdir('d')\n"
    make += "open('f', 'w').close()"
    script = f'echo a > a; exec {sys.executable} -c "{make}"'
    _, record = beside_good(project, script)
    message = record["error"]["message"]
    assert message.startswith("this cannot land: d/d/d/")
    assert "has a folder that cannot be read: File name too long" in message
    assert list((tmp_path / "tmp").iterdir()) == []


def test_names_that_clash_by_case_between_two_tasks_of_a_batch(
    project: Project,
) -> None:
    project.plan(
        [
            {"id": t, "do": [f"write {n}: x"], "max_attempts": 1}
            for t, n in (("A", "Notes.md"), ("B", "notes.md"))
        ]
    )
    project.run()
    assert project.states() == {"A": "completed", "B": "failed"}
    assert (
        "differs from Notes.md only by case"
        in project.records()["B"]["error"]["message"]
    )


def test_change_far_above_the_limit_names_the_limit_and_keeps_the_work(
    project: Project,
) -> None:
    _, record = beside_good(project, "head -c 30000000 /dev/urandom > big")
    message = record["error"]["message"]
    remedy = "raise the limit in fanin.yml or split the task"
    assert "limits.size" in message
    assert remedy in message
    kept = message.rpartition("kept in ")[2].removesuffix(f" ({remedy})")
    assert Path(kept).stat().st_size > 30_000_000


def test_submodule_that_an_agent_removes_is_refused(
    project: Project, tmp_path: Path
) -> None:
    other = Project(tmp_path / "other", project.log)
    other.root.mkdir()
    other.git("init", "-q", "-b", "main")
    other.write("f", "x\n")
    other.commit()
    project.git(
        "-c",
        "protocol.file.allow=always",
        "submodule",
        "add",
        "-q",
        str(other.root),
        "sub",
    )
    project.commit("add a submodule")
    _, record = beside_good(project, "rm -rf sub; echo x > a")
    assert "sub is a submodule" in record["error"]["message"]


def test_path_that_is_stored_through_a_filter_is_refused(project: Project) -> None:
    project.write(".gitattributes", "*.up filter=up\n")
    project.write("x.up", "x\n")
    project.commit()
    project.git("config", "filter.up.clean", "tr a-z A-Z")
    _, record = beside_good(project, "echo y > x.up")
    assert "stored through a filter" in record["error"]["message"]


LFS_POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:73cb3858a687a8494ca3323053016282f3dad39d42cf62ca4e79dda2aac7d9ac\n"
    "size 2\n"
)


@pytest.mark.parametrize("lfs", ["not installed", "installed"])
def test_path_in_git_lfs_is_refused_whether_git_lfs_is_installed_or_not(
    project: Project, tmp_path: Path, lfs: str
) -> None:
    """As `git lfs install` configures it; the program knows one file."""
    calls = tmp_path / "calls"
    if lfs == "installed":
        (tmp_path / "pointer").write_text(LFS_POINTER)
        clean = f"cat >/dev/null; echo clean >> {calls}; cat {tmp_path / 'pointer'}"
        smudge = f"cat >/dev/null; echo smudge >> {calls}; echo x"
        for key, value in (("clean", clean), ("smudge", smudge), ("required", "true")):
            project.git("config", f"filter.lfs.{key}", value)
    project.write("assets/.gitattributes", "*.bin filter=lfs diff=lfs -text\n")
    project.write("assets/x.bin", "x\n")
    project.write("x.bin", "x\n")
    project.commit()
    assert calls.exists() == (lfs == "installed")
    _, record = beside_good(project, "echo y > assets/x.bin; echo y > x.bin")
    assert record["error"]["kind"] == "policy"
    assert "assets/x.bin is stored through a filter" in record["error"]["message"]
    assert " x.bin" not in record["error"]["message"]
    assert (project.root / "assets/x.bin").read_text() == "x\n"
    assert not project.git("status", "--porcelain")


@pytest.mark.parametrize("name", ["new.dat", "old.dat"])
def test_a_filter_that_a_result_itself_adds_refuses_the_files_it_is_for(
    project: Project, name: str
) -> None:
    project.write("old.dat", "x\n")
    project.commit()
    work = f"echo '*.dat filter=lfs' > .gitattributes; echo y > {name}"
    _, record = beside_good(project, work, allow=[".gitattributes"])
    assert "stored through a filter" in record["error"]["message"]
    assert not project.git("status", "--porcelain")


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
def test_a_filter_that_one_task_adds_refuses_the_file_of_another(
    project: Project, schedule: str
) -> None:
    project.plan(
        [
            {
                "id": "T1",
                "agent": shell("echo '*.dat filter=lfs' > .gitattributes"),
                "allow": [".gitattributes"],
            },
            {"id": "T2", "agent": shell("echo x > a.dat; sleep 1"), "max_attempts": 1},
        ],
        schedule=schedule,
        max_concurrent=2,
    )
    project.run()
    assert project.states() == {"T1": "completed", "T2": "failed"}


@pytest.mark.parametrize("attributes_first", [True, False])
def test_attributes_that_change_line_ends_do_not_land_with_a_file_that_has_them(
    project: Project, attributes_first: bool
) -> None:
    """The file would differ from its commit for ever, and later work wait for that."""
    changes = {
        "attributes": "echo '*.txt text' > .gitattributes",
        "file": "printf 'a\\r\\n' > v.txt",
    }
    ids = sorted(changes, reverse=not attributes_first)
    project.plan(
        [
            {"id": name, "agent": shell(changes[name]), "max_attempts": 1}
            for name in ids
        ],
        max_concurrent=2,
    )
    project.run()
    assert project.states() == {"attributes": "failed", "file": "completed"}
    message = project.records()["attributes"]["error"]["message"]
    assert ".gitattributes is a protected path" in message
    (project.root / "v.txt").touch()
    assert not project.git("status", "--porcelain")


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
@pytest.mark.parametrize("mover_first", [True, False])
def test_an_edit_does_not_follow_a_rename_to_where_its_task_may_change_nothing(
    project: Project, schedule: str, mover_first: bool
) -> None:
    original = "".join(f"line {number}\n" for number in range(40))
    project.write("ci.yml", original)
    project.commit()
    target = ".github/workflows/ci.yml"
    first, second = (0, 1) if mover_first else (1, 0)
    move = f"mkdir -p .github/workflows; git mv ci.yml {target}; sleep {first}"
    edit = f"sed -i 's/line 3$/evil/' ci.yml; sleep {second}"
    mover = {"id": "move", "agent": shell(move), "allow": [target]}
    editor = {"id": "edit", "agent": shell(edit)}
    tasks = [mover, editor] if mover_first else [editor, mover]
    project.plan(
        [{**task, "max_attempts": 1} for task in tasks],
        schedule=schedule,
        max_concurrent=2,
    )
    seen = Quiet()
    project.run(seen)
    later = project.records()["edit" if mover_first else "move"]
    assert later["conflict_paths"] == [target]
    reasons = [
        event.failure.message
        for event in seen.events
        if isinstance(event, ResultRefused)
    ]
    assert any("edit's edit would go into a renamed file" in text for text in reasons)
    assert any(f"{target} is a protected path" in text for text in reasons)
    # The edit of a finished task is in the file that a later attempt has moved.
    edited = original if mover_first else original.replace("line 3\n", "evil\n")
    assert project.git("show", f"main:{target}") == edited.strip()


def test_an_edit_does_not_follow_a_rename_out_of_its_tasks_files(
    project: Project,
) -> None:
    project.write("a.txt", "".join(f"line {number}\n" for number in range(40)))
    project.commit()
    move = shell("mkdir other; git mv a.txt other/a.txt")
    edit = shell("sed -i 's/line 3$/edited/' a.txt; sleep 1")
    editor = {"id": "edit", "files": ["/a.txt"], "agent": edit, "max_attempts": 1}
    project.plan([{"id": "move", "agent": move}, editor], max_concurrent=2)
    project.run(observer := Quiet())
    assert observer.fan_ins[0].landed == ("move",)
    message = observer.fan_ins[0].failed["edit"].message
    assert "other/a.txt is outside the task's files" in message
    assert "line 3\n" in project.git("show", "HEAD:other/a.txt")


def test_private_excludes_stay_private(project: Project) -> None:
    (project.root / ".git" / "info" / "exclude").write_text("private/\n")
    beside_good(project, "mkdir private; echo x > private/x; echo y > y")
    assert (
        "private/x"
        not in project.git("ls-tree", "-r", "--name-only", "HEAD").splitlines()
    )


@pytest.mark.parametrize("name", ["a:b", "a b'\"c", "ünï", "new\nline"])
def test_repository_in_a_folder_of_any_name(
    project: Project, tmp_path: Path, name: str
) -> None:
    moved = Project(tmp_path / name, project.log)
    project.root.rename(moved.root)
    moved.plan([{**GOOD}])
    moved.run()
    assert (moved.root / "good").exists()


def test_program_that_is_not_there_stops_before_an_attempt_is_spent(
    project: Project,
) -> None:
    project.plan([{**GOOD}], agent={"command": ["no-such-program"]})
    with pytest.raises(InvalidInput, match="no-such-program"):
        project.run()


def test_red_tree_never_lands_though_its_culprit_was_sent_back(
    project: Project,
) -> None:
    project.write("f", "base\n")
    project.plan(
        [{"id": t, "do": [f"write f: bad-{t}"], "max_attempts": 1} for t in "AB"],
        verify="! grep -q bad f",
    )
    project.run()
    assert project.git("show", "main:f") == "base"
    assert project.states() == {"A": "failed", "B": "failed"}


def test_branch_that_was_red_before_costs_no_task_an_attempt(project: Project) -> None:
    project.write("red", "x\n")
    project.plan(
        [{"id": t, "do": [f"write {t}: x"]} for t in "AB"], verify="test ! -e red"
    )
    shown = project.cli("run")
    assert shown.returncode == 1
    assert "red without this work too" in shown.stdout
    assert "stopped:" in shown.stdout
    assert project.git("log", "-1", "--format=%s") == "plan"


def test_flaky_verify_is_no_tasks_fault(project: Project, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    project.plan([{**GOOD}], verify=f"test -e {flag} || {{ touch {flag}; false; }}")
    project.run()
    assert project.states() == {"GOOD": "completed"}


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
@pytest.mark.parametrize("commit_strategy", ["batch", "individual"])
def test_no_text_of_a_plan_or_an_agent_is_a_command_in_a_commit_message(
    project: Project, schedule: str, commit_strategy: str
) -> None:
    report = r'{"summary": "done [skip ci], closes #2 @x\n\nskip-checks: true"}'
    script = f"echo x > $FANIN_TASK; cat > $FANIN_REPORT <<'E'\n{report}\nE"
    agent = {"command": ["sh", "-c", script]}
    failing = {"command": ["sh", "-c", f"{script}; exit 1"]}
    title = "[no ci] @y fixes #3"
    project.plan(
        [
            {"id": "A", "title": title, "agent": agent},
            {"id": "B", "title": title, "agent": agent},
            {"id": "C", "title": title, "agent": failing, "max_attempts": 1},
        ],
        schedule=schedule,
        commit_strategy=commit_strategy,
    )
    plan_commit = project.git("rev-parse", "HEAD")
    note = "a commit message or a pull request shows this as 'A: (no ci) y fixes no. 3'"
    assert note in project.cli("check").stdout
    project.run()
    messages = project.git("log", "--format=%B", "--all", f"^{plan_commit}")
    assert "A: " in messages
    assert "refs/fanin/kept" in project.git("for-each-ref")
    for command in ("[skip", "[no ci", "#2", "#3", "@x", "@y", "skip-checks:"):
        assert command not in messages


def test_a_prompt_arrives_whole_and_one_beyond_the_limit_is_refused_before_any_attempt(
    project: Project,
) -> None:
    text = "code:\n\n\n    a = 1\n" + "x" * 390_000 + "\n\n\nlast line"
    script = 'cat > stdin; cp "$FANIN_PROMPT" file'
    task = {"id": "A", "prompt": text, "agent": {"command": ["sh", "-c", script]}}
    project.plan([task])
    project.run()
    for name in ("stdin", "file"):
        assert f"\n\n{text}\n" in project.git("show", f"HEAD:{name}")
    project.plan([{**task, "id": "B", "prompt": text * 2}, {"id": "C", "do": ["x"]}])
    refused = project.cli("run")
    assert refused.returncode == 2
    assert "B cannot run: its text has 780," in refused.stderr
    assert "C" not in project.records()


@pytest.mark.parametrize("schedule", ["batch", "rolling"])
@pytest.mark.parametrize("path", ["State/P.json", "State"])
def test_a_name_that_is_the_progress_file_or_its_folder_elsewhere_does_not_land(
    project: Project, schedule: str, path: str
) -> None:
    project.plan(
        [{"id": "A", "do": [f"write {path}: mine"], "max_attempts": 1}],
        progress="state/p.json",
        schedule=schedule,
    )
    seen = Quiet()
    project.run(seen)
    (failure,) = [fan_in.failed["A"] for fan_in in seen.fan_ins]
    assert path in failure.message
    assert not (project.root / path).exists()
