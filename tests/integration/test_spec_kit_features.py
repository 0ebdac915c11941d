"""spec-kit features and stories with several plans, checked, run and converted."""

from __future__ import annotations

import json
import sys

from tests.support.project import Project

TASKS = "specs/001-x/tasks.md"
# Appends to the file that the task is about, and keeps the prompt.
AGENT = """\
import os, pathlib, re
prompt = pathlib.Path(os.environ["FANIN_PROMPT"]).read_text()
path = pathlib.Path(re.search(r"only these files: ([^,\\n]+?)[,.]?\\n", prompt)[1])
path.parent.mkdir(parents=True, exist_ok=True)
with path.open("a") as stream:
    stream.write(prompt)
"""


def start(project: Project, tasks: str, **settings: object) -> None:
    project.write(TASKS, tasks)
    project.write("specs/001-x/plan.md", "Use the standard library.\n")
    project.write("specs/001-x/quickstart.md", "Start it.\n")
    project.write("CLAUDE.md", "Be careful.\n")
    agent = {"command": [sys.executable, "-c", AGENT]}
    project.write(
        "fanin.yml", json.dumps({"plan": "specs/001-x", "agent": agent, **settings})
    )
    project.commit()


def test_a_task_on_a_document_of_its_feature_lands(project: Project) -> None:
    start(
        project,
        "- [ ] T001 Make src/a.py\n"
        "- [ ] T002 Bring `specs/001-x/quickstart.md` up to date\n",
    )
    ran = project.cli("run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert project.git("show", f"HEAD:{TASKS}").count("[X]") == 2
    prompt = project.git("show", "HEAD:src/a.py")
    assert "- specs/001-x/plan.md" in prompt
    assert "Use the standard library." in prompt
    assert "# T002: Bring" in project.git("show", "HEAD:specs/001-x/quickstart.md")


def test_a_protected_task_is_skipped_until_fanin_yml_allows_it(
    project: Project,
) -> None:
    start(project, "- [ ] T001 [P] Make src/a.py\n- [ ] T002 [P] Update CLAUDE.md\n")
    note = "tasks: {T002: {allow: [CLAUDE.md]}}"
    assert note in project.cli("check").stdout
    ran = project.cli("run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert project.git("show", "HEAD:CLAUDE.md") == "Be careful."
    settings = json.loads((project.root / "fanin.yml").read_text())
    settings["tasks"] = {"T002": {"allow": ["CLAUDE.md"]}}
    project.write("fanin.yml", json.dumps(settings))
    project.commit()
    assert project.cli("run").returncode == 0
    assert "# T002: Update CLAUDE.md" in project.git("show", "HEAD:CLAUDE.md")
    settings["tasks"] = {"T02": {}}
    project.write("fanin.yml", json.dumps(settings))
    assert "there is no task T02" in project.cli("check").stderr


def test_what_cannot_be_read_is_waited_for_until_it_is_skipped(
    project: Project,
) -> None:
    start(
        project,
        "## Phase 1\n- [ ] T001 Make src/a.py\n- [~] T002 Make src/b.py\n"
        "## Phase 2\n- [ ] T003 Make src/c.py\n",
    )
    checked = json.loads(project.cli("check", "--json").stdout)
    assert [(t["id"], t["state"], t["reason"]) for t in checked["tasks"]] == [
        ("T001", "ready", ""),
        ("T003", "blocked", "by line 3"),
    ]
    assert [record["line"] for record in checked["left_out"]] == [3]
    ran = project.cli("run")
    assert "1 record left out" in ran.stdout
    assert ran.returncode == 1
    assert not (project.root / "src/c.py").exists()
    progress = ("--progress", "native.json")
    assert (
        project.cli("convert", "specs/001-x", "native.yml", *progress).returncode == 0
    )
    converted = project.cli("check", "--json", "--plan", "native.yml", *progress)
    states = {t["id"]: t["state"] for t in json.loads(converted.stdout)["tasks"]}
    assert states == {"T001": "completed", "T003": "skipped"}
    assert project.cli("run", "--skip-line", "3").returncode == 0
    assert (project.root / "src/c.py").exists()


def test_a_heading_chooses_one_of_two_plans_and_each_has_its_progress(
    project: Project,
) -> None:
    story = (
        "# Story\n## Plan\n- [ ] **T1**: first\n  - Files: `src/a.py`\n"
        "## Revision\n- [ ] **T1**: second\n  - Files: `src/b.py`\n"
    )
    start(project, "- [ ] T001 x\n", plan="story.md")
    project.write("story.md", story)
    project.commit()
    checked = json.loads(project.cli("check", "--json").stdout)
    assert [task["title"] for task in checked["tasks"]] == ["second"]
    assert "--plan 'story.md#Plan'" in checked["notes"][0]
    assert project.cli("run").returncode == 0
    assert project.git("show", "HEAD:story.md") == story.strip().replace(
        "[ ] **T1**: second", "[x] **T1**: second"
    )
    other = ("--plan", "story.md#Plan")
    assert "not of story.md#Plan" in project.cli("run", *other).stderr
    ran = project.cli("run", *other, "--progress", ".fanin/first.json")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert project.git("show", "HEAD:story.md").count("[x]") == 2
    assert (project.root / "src/a.py").exists()
