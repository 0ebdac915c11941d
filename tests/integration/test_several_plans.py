"""Several plans as one graph, run on this machine and by the jobs of GitHub Actions."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.support.jobs import Jobs
from tests.support.project import Project

pytestmark = pytest.mark.default_walls

WEB, API = "specs/001-web/tasks.md", "specs/002-api/tasks.md"
# Writes a file that is named like its task.
AGENT = """\
import os, pathlib
pathlib.Path(os.environ["FANIN_TASK"].replace("/", "-")).write_text("done\\n")
"""


def _start(project: Project, plan: object, **settings: object) -> None:
    project.write(WEB, "- [ ] T001 a\n- [ ] T002 b\n")
    project.write(API, "- [ ] T001 c\n")
    agent = {"command": [sys.executable, "-c", AGENT]}
    _set(project, plan=plan, agent=agent, parallel=True, **settings)


def _set(project: Project, **settings: object) -> None:
    file = project.root / "fanin.yml"
    before = json.loads(file.read_text()) if file.exists() else {}
    project.write("fanin.yml", json.dumps({**before, **settings}))
    project.commit()


def test_a_plan_alone_then_with_another_and_alone_again(project: Project) -> None:
    _start(project, WEB)
    # `--until` would do; the second task is left for the list.
    ran = project.cli("run", "T001")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    _set(project, plan="specs/*/tasks.md")
    checked = project.cli("check")
    assert f"  001-web: {WEB} (spec-kit): 1 completed, 1 ready" in checked.stdout
    assert f"  002-api: {API} (spec-kit): 1 ready" in checked.stdout
    ran = project.cli("run")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert set(project.states()) == {"T001", "T002", "002-api/T001"}
    assert set(project.states().values()) == {"completed"}
    for path in (WEB, API):
        assert "[ ]" not in project.git("show", f"HEAD:{path}")
    assert project.git("show", "HEAD:002-api-T001") == "done"
    # The first is archived; its records stay, and nothing runs again.
    project.git("mv", WEB, "old.md")
    project.commit()
    head = project.git("rev-parse", "HEAD")
    assert project.cli("run").returncode == 0
    assert project.git("rev-parse", "HEAD") == head
    assert project.states()["T001"] == "completed"
    _set(project, plan=API)
    status = json.loads(project.cli("status", "--json").stdout)
    assert [(task["id"], task["state"]) for task in status["tasks"]] == [
        ("T001", "completed")
    ]


def test_check_lists_the_plans_and_says_which_is_taken(project: Project) -> None:
    _start(project, "TODO.md")
    project.write("TODO.md", "- [ ] a\n")
    project.commit()
    lines = project.cli("check").stdout.splitlines()
    at = lines.index(
        "plans of this repository; TODO.md is taken: --plan or the setting plan names it"
    )
    assert lines[at + 1 : at + 4] == [
        f"  {WEB}: spec-kit, 2 tasks, 2 open",
        f"  {API}: spec-kit, 1 task, 1 open",
        "→ TODO.md: checklist, 1 task, 1 open",
    ]
    (project.root / "fanin.yml").unlink()
    project.commit()
    checked = project.cli("check")
    assert "tasks.yml is taken: the default" in checked.stdout
    assert f"to take the first:  --plan {WEB}" in checked.stdout
    assert "tasks.yml: there is no such plan" in checked.stderr


def test_the_jobs_of_actions_run_several_plans(
    project: Project, tmp_path: Path
) -> None:
    (tmp_path / "actions").mkdir()
    jobs = Jobs(project, tmp_path / "actions")
    _start(project, [WEB, API])
    jobs.publish()
    chosen = jobs.next()
    assert chosen.outputs["has-work"] == "true", chosen.log
    assert [entry["task"] for entry in jobs.matrix(chosen)] == [
        "001-web/T001",
        "002-api/T001",
    ]
    assert {leg.code for leg in jobs.tasks(chosen).values()} == {0}
    merged = jobs.merge(chosen)
    assert merged.code == 0, merged.log
    assert merged.outputs["remaining"] == "1"
    assert jobs.states() == {
        "001-web/T001": "completed",
        "T002": "pending",
        "002-api/T001": "completed",
    }
    assert jobs.git("show", f"main:{API}") == "- [X] T001 c"
    chosen = jobs.next(FANIN_STATE=json.dumps({"run": jobs.run_id, "round": 2}))
    assert [entry["task"] for entry in jobs.matrix(chosen)] == ["T002"]


@pytest.mark.parametrize("form", ["TODO.md", "prd.json", "sprint-status.yaml"])
def test_other_formats_are_converted_and_checked_as_json(
    project: Project, form: str
) -> None:
    texts = {
        "TODO.md": "- [x] a\n- [ ] b\n",
        "prd.json": '[{"id": "a", "passes": true}, {"id": "b", "passes": false}]',
        "sprint-status.yaml": "development_status:\n  1-1-a: done\n  1-2-b: review\n",
    }
    project.write(form, texts[form])
    project.commit()
    report = json.loads(project.cli("check", "--json", "--plan", form).stdout)
    assert len(report["tasks"]) == 2
    assert report["plans"][0]["path"] == form
    converted = project.cli("convert", form, "tasks.yml")
    assert converted.returncode == 0, converted.stderr
    again = json.loads(project.cli("check", "--json").stdout)
    assert [task["id"] for task in again["tasks"]] == report["plans"][0]["tasks"]
    assert [task["state"] for task in again["tasks"]] == [
        task["state"] for task in report["tasks"]
    ]
