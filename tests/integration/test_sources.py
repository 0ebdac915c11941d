"""Plans of every format through the whole loop: read from the commit, run, marked in
the batch commit.
"""

from __future__ import annotations

import json
import sys

import pytest

from tests.support.project import Project

WRITE = "import os, pathlib; pathlib.Path(os.environ['FANIN_TASK'] + '.out').write_text('x')"
SPOIL = "import pathlib; [p.write_text('spoilt') for p in pathlib.Path('backlog/tasks').glob('*.md')]"
TASK_MASTER = """{
  "master": {
    "tasks": [
      {"id": 1, "title": "a", "status": "pending", "dependencies": []},
      {"id": "2", "title": "b", "status": "in-progress", "dependencies": [1]},
      {"id": 3, "title": "c", "status": "cancelled", "dependencies": [1]}
    ]
  }
}"""
BEADS = (
    '{"id":"bd-1","title":"a","status":"open","issue_type":"task"}\r\n'
    '{"id":"bd-2","title":"b","status":"open","issue_type":"task",'
    '"dependencies":[{"issue_id":"bd-2","depends_on_id":"bd-1","type":"blocks"}]}\r\n'
)


def backlog(number: int, *after: str) -> str:
    return f"---\nid: TASK-{number}\ntitle: t\nstatus: To Do  # mine\ndependencies: [{', '.join(after)}]\n---\n\nDo it.\n"


# plan, files, the lines that a finished run adds to the diff
PLANS: dict[str, tuple[str, dict[str, str], list[str]]] = {
    "spec-kit": (
        "specs/001-x",
        {
            "specs/001-x/tasks.md": "## Phase 1: Setup\n\n- [ ] T001 a\n- [ ] T002 [P] b\n- [ ] T003 [P] c"
        },
        ["- [X] T001 a", "- [X] T002 [P] b", "- [X] T003 [P] c"],
    ),
    "task-master": (
        ".taskmaster",
        {".taskmaster/tasks/tasks.json": TASK_MASTER, ".taskmaster/config.json": "{}"},
        [
            '      {"id": 1, "title": "a", "status": "done", "dependencies": []},',
            '      {"id": "2", "title": "b", "status": "done", "dependencies": [1]},',
        ],
    ),
    "beads": (
        ".beads/issues.jsonl",
        {".beads/issues.jsonl": BEADS},
        [line.replace("open", "closed") for line in BEADS.split("\r\n") if line],
    ),
    "backlog-md": (
        "backlog",
        {
            "backlog/config.yml": "statuses: [To Do, Doing, Finished]\n",
            "backlog/tasks/task-1 - a, (b) — c.md": backlog(1),
            "backlog/tasks/task-2.md": backlog(2, "task-01"),
            "backlog/drafts/draft-1.md": "---\nid: DRAFT-1\ntitle: t\n---\n",
        },
        ["status: Finished  # mine", "status: Finished  # mine"],
    ),
    "ai-sdlc": ("plan.md", {"plan.md": "- [ ] **T1**: a\n"}, ["- [x] **T1**: a"]),
}


def start(
    project: Project,
    plan: str,
    files: dict[str, str],
    script: str = WRITE,
    **settings: object,
) -> None:
    for path, text in files.items():
        (project.root / path).parent.mkdir(parents=True, exist_ok=True)
        (project.root / path).write_bytes(text.encode())
    told = {
        "plan": plan,
        "agent": {"command": [sys.executable, "-c", script]},
        "parallel": True,
        **settings,
    }
    project.write("fanin.yml", json.dumps(told))
    project.commit("plan")


@pytest.mark.parametrize("name", PLANS)
def test_a_plan_of_each_format_is_run_and_marked_in_the_batch_commits(
    project: Project, name: str
) -> None:
    plan, files, added = PLANS[name]
    start(project, plan, files)
    first = project.git("rev-parse", "HEAD").strip()
    checked = json.loads(project.cli("check", "--json").stdout)
    assert (checked["plan"]["source"], checked["problems"]) == (name, [])
    ran = project.cli("run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    diff = project.git("diff", "--unified=0", first, "HEAD", "--", *files)
    marks = [
        line[1:]
        for line in diff.split("\n")
        if line.startswith("+") and not line.startswith("+++")
    ]
    assert sorted(marks[: len(added)] if name == "ai-sdlc" else marks) == sorted(added)
    for path, text in files.items():
        assert (project.root / path).read_bytes().count(b"\r\n") == text.count("\r\n")
    again = json.loads(project.cli("check", "--json").stdout)
    assert again["batches"] == []
    assert again["counts"].keys() <= {"completed", "skipped"}
    # the marks alone say it, too: with no progress file nothing is left to do
    project.git("rm", "-q", ".fanin/progress.json")
    assert (
        json.loads(project.cli("check", "--json").stdout)["counts"] == again["counts"]
    )


def test_no_task_may_change_a_file_of_a_plan_that_is_a_folder(project: Project) -> None:
    plan, files, _ = PLANS["backlog-md"]
    start(project, plan, files, SPOIL, max_attempts=1)
    assert project.cli("run").returncode == 1
    assert "spoilt" not in project.git("grep", "-h", "", "HEAD", "--", "backlog")


def test_the_format_may_be_named_and_its_options_are_checked(project: Project) -> None:
    start(project, ".taskmaster", PLANS["task-master"][1])
    project.write("fanin.yml", "plan: {source: task-mastr, path: .taskmaster}\n")
    assert (
        "there is no plan format 'task-mastr'\ndid you mean 'task-master'?"
        in project.cli("check").stderr
    )
    project.write(
        "fanin.yml",
        "plan: {source: task-master, path: .taskmaster, options: {subtask: tasks}}\n",
    )
    assert (
        "task-master has no option 'subtask'; did you mean 'subtasks'?"
        in project.cli("check").stderr
    )
    project.write("fanin.yml", "plan: {path: .taskmaster, options: {subtasks: some}}\n")
    assert (
        "the option subtasks cannot be 'some'; write one of: checklist, tasks"
        in project.cli("check").stderr
    )


def test_check_tells_problems_with_their_place_also_to_tools(project: Project) -> None:
    start(
        project,
        "backlog",
        {
            "backlog/tasks/task-1.md": backlog(1, "task-7"),
            "backlog/tasks/task-8.md": backlog(8),
        },
    )
    told = project.cli("check", "--strict")
    assert told.returncode == 2
    where = "backlog/tasks/task-1.md:2: TASK-1 depends on task-7, which is not in the plan; did you mean TASK-"
    assert where in told.stderr
    refused = json.loads(project.cli("check", "--json", "--strict").stdout)
    (problem,) = refused["problems"]
    assert (problem["path"], problem["line"]) == ("backlog/tasks/task-1.md", 2)
    tolerant = project.cli("check")
    assert tolerant.returncode == 0
    assert tolerant.stdout.startswith("1 record left out, see fanin check · ")
    assert f"note: left out: {where}" in tolerant.stdout
    (left_out,) = json.loads(project.cli("check", "--json").stdout)["left_out"]
    assert left_out == problem
    lenient = project.cli("check", "--ignore-dangling")
    assert lenient.returncode == 0
    assert "TASK-1 does not wait for task-7: not in the plan" in lenient.stdout
    assert project.cli("run", "--ignore-dangling").returncode == 0
    assert (
        project.git("show", "HEAD:backlog/tasks/task-1.md").count(
            "status: Done  # mine"
        )
        == 1
    )


def test_a_run_leaves_a_record_out_and_says_so_first(project: Project) -> None:
    start(
        project,
        "backlog",
        {
            "backlog/tasks/task-1.md": backlog(1, "task-7"),
            "backlog/tasks/task-8.md": backlog(8),
        },
    )
    ended = project.cli("run")
    first_line = ended.stdout.splitlines()[0].partition(" ")[2]  # without its time
    assert first_line.startswith("1 record left out, see fanin check · ")
    assert "status: Done" in project.git("show", "HEAD:backlog/tasks/task-8.md")
    assert "status: Done" not in project.git("show", "HEAD:backlog/tasks/task-1.md")
    assert project.cli("run", "--strict").returncode == 2


def test_an_option_of_the_plan_may_be_given_to_check_and_run(project: Project) -> None:
    tags = {
        "master": {"tasks": [{"id": 1, "title": "Old"}]},
        "web": {"tasks": [{"id": 1, "title": "Current"}]},
    }
    start(project, ".taskmaster", {".taskmaster/tasks/tasks.json": json.dumps(tags)})
    (task,) = json.loads(project.cli("check", "--json", "--option", "tag=web").stdout)[
        "tasks"
    ]
    assert task["title"] == "Current"
    assert project.cli("run", "--option", "tag=web").returncode == 0
    assert project.cli("check", "--option", "tag=api").returncode == 2


def test_what_is_converted_is_a_plan_that_knows_what_is_done(project: Project) -> None:
    start(project, "tasks.yml", PLANS["task-master"][1])
    done = project.cli("convert", ".taskmaster", "tasks.yml")
    assert done.stdout.split("\n")[:2] == [
        "wrote tasks.yml",
        "wrote .fanin/progress.json",
    ]
    checked = json.loads(project.cli("check", "--json").stdout)
    assert (checked["plan"]["source"], checked["counts"]) == (
        "native",
        {"ready": 1, "pending": 1, "skipped": 1},
    )
    again = project.cli("convert", ".taskmaster", "tasks.yml")
    assert (again.returncode, "tasks.yml already exists" in again.stderr) == (2, True)
    printed = project.cli("convert", ".taskmaster", "-", "--option", "subtasks=tasks")
    assert printed.stdout == (project.root / "tasks.yml").read_text()


def test_what_is_left_out_is_noted_when_a_plan_is_converted(project: Project) -> None:
    tasks = {"backlog/tasks/task-1.md": backlog(1, "task-7")}
    tasks["backlog/tasks/task-8.md"] = backlog(8)
    start(project, "backlog", tasks)
    note = "note: left out: backlog/tasks/task-1.md:2: TASK-1 depends on task-7"
    printed = project.cli("convert", "backlog", "-")
    assert printed.returncode == 0
    assert printed.stderr.startswith(note)
    written = project.cli("convert", "backlog", "native.yml")
    assert note in written.stdout
    progress = json.loads((project.root / ".fanin/progress.json").read_text())
    assert progress["tasks"]["TASK-1"]["skipped"] is True
    refused = project.cli("convert", "backlog", "strict.yml", "--strict")
    assert refused.returncode == 2


def test_a_plan_that_is_not_committed_is_named_with_what_to_type(
    project: Project,
) -> None:
    start(project, "backlog", {})
    (project.root / "backlog/tasks").mkdir(parents=True)
    (project.root / "backlog/tasks/task-1.md").write_text(backlog(1))
    assert project.cli("check").returncode == 0
    assert (
        "backlog: there is no such plan in the commit; commit it:  git add backlog"
        in project.cli("run").stderr
    )


@pytest.mark.parametrize(
    ("path", "remedy"),
    [
        ("ignored/tasks.yml", "git add -f ignored/tasks.yml && git commit"),
        ("folder-link/tasks.yml", "--plan real/tasks.yml"),
        ("link.yml", "--plan real/tasks.yml"),
        ("outside.yml", "copy the plan into this repository"),
        ("module/tasks.yml", "fanin -C module run --plan tasks.yml"),
        ("my plan.yml", "git add 'my plan.yml' && git commit"),
    ],
)
def test_a_plan_that_no_commit_can_have_is_refused_with_advice_that_works(
    project: Project, path: str, remedy: str
) -> None:
    plan = "version: 1\ntasks: [{id: A, title: a}]\n"
    start(project, "real/tasks.yml", {"real/tasks.yml": plan})
    root = project.root
    for folder in ("ignored", "module"):
        (root / folder).mkdir()
        (root / folder / "tasks.yml").write_text(plan)
    (root / "my plan.yml").write_text(plan)
    (root / "folder-link").symlink_to("real")
    (root / "link.yml").symlink_to("real/tasks.yml")
    elsewhere = root.parent / "elsewhere.yml"
    elsewhere.write_text(plan)
    (root / "outside.yml").symlink_to(elsewhere)
    (root / ".gitignore").write_text("ignored/\n")
    project.git("init", "-q", "module")
    project.git("add", "folder-link", "link.yml", ".gitignore")
    project.git("commit", "-qm", "plans")
    run = project.cli("run", "--plan", path)
    check = project.cli("check", "--plan", path)
    assert run.returncode == 2
    assert remedy in run.stderr
    if path == "my plan.yml":
        assert check.returncode == 0
    else:
        assert (check.returncode, check.stderr) == (2, run.stderr)


def test_check_does_not_read_what_git_ignores_in_a_plan(project: Project) -> None:
    start(project, "backlog", {"backlog/tasks/task-1.md": backlog(1)})
    (project.root / ".gitignore").write_text("task-2.md\nbacklog.config.yml\n")
    config = "backlog_directory: backlog\ntask_prefix: other\n"
    (project.root / "backlog.config.yml").write_text(config)
    (project.root / "backlog/tasks/task-2.md").write_text(backlog(2))
    report = json.loads(project.cli("check", "--json").stdout)
    assert [task["id"] for task in report["tasks"]] == ["TASK-1"]
    [note] = [note for note in report["notes"] if "ignores" in note]
    assert "git ignores backlog.config.yml and 1 more" in note
    assert "git add -f backlog.config.yml && git commit" in note


def test_the_committed_tag_counts_in_check_and_in_run(project: Project) -> None:
    state = ".taskmaster/state.json"
    tasks = '{"%s": {"tasks": [{"id": 1, "title": "%s"}]}, "web": {"tasks": [{"id": 1, "title": "web"}]}}'
    files = {".taskmaster/tasks/tasks.json": tasks % ("master", "master")}
    start(project, ".taskmaster", files)
    (project.root / state).write_text('{"currentTag": "web"}')
    report = json.loads(project.cli("check", "--json").stdout)
    assert [task["title"] for task in report["tasks"]] == ["master"]
    assert any(
        note.startswith(f"{state}: the work tree has") for note in report["notes"]
    )
    project.git("add", state)
    project.git("commit", "-qm", "use-tag web")
    report = json.loads(project.cli("check", "--json").stdout)
    assert [task["title"] for task in report["tasks"]] == ["web"]
    assert not any(state in note for note in report["notes"])
