"""What a task of a long plan costs does not grow with the plan: records that have not
changed are not looked at again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import line_format
from runner.core.task import Status
from runner.fan_in.outcome import FanIn
from runner.local.context import RunContext
from runner.local.landing import BranchLander
from runner.plan import marking, progress_file, snapshot
from runner.plan.formats import Mark, MemoryTree
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.snapshot import Snapshot
from tests.support import many_tasks
from tests.support.project import Project

SMALL, LARGE = 12, 36


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often a record is looked at, compared, read and written."""
    counts: Counter[str] = Counter()
    for owner, name in [
        (Progress, "record"),
        (Record, "__eq__"),
        (progress_file, "_record_in"),
        (progress_file, "_text"),
        (progress_file, "_entry"),
    ]:
        monkeypatch.setattr(owner, name, _counted(getattr(owner, name), name, counts))
    return counts


def _counted(
    call: Callable[..., Any], name: str, counts: Counter[str]
) -> Callable[..., Any]:
    @wraps(call)
    def counted(*args: Any) -> Any:
        counts[name] += 1
        return call(*args)

    return counted


@pytest.mark.parametrize("edits", [0, 1])
def test_a_plan_with_marks_is_read_anew_only_if_somebody_else_commits(
    project: Project, monkeypatch: pytest.MonkeyPatch, edits: int
) -> None:
    # what another test in this process has read
    monkeypatch.setattr(snapshot, "_recent_plans", [])
    counts: Counter[str] = Counter()
    for owner, name in [(snapshot, "load"), (Progress, "_own_record")]:
        monkeypatch.setattr(owner, name, _counted(getattr(owner, name), name, counts))
    land = BranchLander.merge_and_land
    landings: list[str] = []

    def land_after_an_edit(lander: BranchLander, *args: Any) -> FanIn:
        landings.append(lander.branch)
        if edits and len(landings) == 2:
            project.git("commit", "-q", "--allow-empty", "-m", "by a person")
        return land(lander, *args)

    monkeypatch.setattr(BranchLander, "merge_and_land", land_after_an_edit)
    seen = {}
    for size in (4, 12):
        boxes = [f"- [{'x' if n < size else ' '}] Task {n}" for n in range(2 * size)]
        project.write("TODO.md", "\n".join([f"# Plan {size}", "", *boxes, ""]))
        settings = {
            "plan": {"path": "TODO.md", "source": "checklist"},
            "progress": f"{size}.json",
            "agent": {"command": ["sh", "-c", f"echo {size} >$FANIN_TASK"]},
            "schedule": "batch",
            "limits": {"max_rounds": 100},
        }
        project.write("fanin.yml", json.dumps(settings))
        project.commit(f"plan {size}")
        counts.clear()
        landings.clear()
        project.run()
        assert len(landings) == size
        seen[size] = dict(counts)
    small, large = seen[4], seen[12]
    assert (small["load"], large["load"]) == (1 + edits, 1 + edits)
    assert large["_own_record"] / 12 < 1.5 * small["_own_record"] / 4


@pytest.mark.parametrize(
    ("work", "reads"),
    [
        ("echo 'Did it.' >>a/$FANIN_TASK.md", 1),
        ("test $FANIN_TASK != 1-1-story || echo '- [ ] More' >>a/1-6-story.md", 2),
        # without its file, a story is left out
        ("test $FANIN_TASK != 1-1-story || echo '# New' >a/1-7-story.md", 2),
    ],
    ids=["own", "another", "new"],
)
def test_a_plan_is_read_anew_if_a_task_changes_the_text_of_another(
    project: Project, monkeypatch: pytest.MonkeyPatch, work: str, reads: int
) -> None:
    monkeypatch.setattr(snapshot, "_recent_plans", [])
    counts: Counter[str] = Counter()
    name = "load"
    load = _counted(getattr(snapshot, name), name, counts)
    monkeypatch.setattr(snapshot, name, load)
    stories = [f"1-{number}-story" for number in range(1, 8)]
    lines = [f"  {story}: ready-for-dev\n" for story in stories]
    path = "a/sprint-status.yaml"
    project.write(path, "development_status:\n" + "".join(lines))
    for story in stories[:-1]:
        project.write(f"a/{story}.md", "# Story\n\n## Tasks\n\n- [ ] Do it\n")
    settings = {
        "plan": {"path": path, "source": "bmad"},
        "agent": {"command": ["sh", "-c", f"{work}; echo >$FANIN_TASK"]},
        "sandbox": "off",
        "schedule": "batch",
        "parallel": False,
    }
    project.write("fanin.yml", json.dumps(settings))
    project.commit("plan")
    project.run()
    assert counts["load"] == reads
    states = project.states()
    assert {states[story] for story in stories[:-1]} == {"completed"}
    assert (states.get(stories[-1]) == "completed") == ("1-7" in work)


@pytest.mark.parametrize("source", many_tasks.FORMATS)
def test_what_a_run_knows_after_a_landing_is_what_its_commit_says(
    project: Project, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    path, files = many_tasks.plan_of(source, 5)
    for file, text in files.items():
        project.write(file, text)
    for number in range(1, 6 if source == "bmad" else 0):
        project.write(f"1-{number}-story.md", "# Story\n\nStatus: ready-for-dev\n")
    file = "$FANIN_TASK" if source != "spec-kit" else "src/f${FANIN_TASK##*0}.py"
    # the third attempt fails, and its mark may say so
    script = (
        f"echo >>{project.root}/../tries; test $(wc -l <{project.root}/../tries) != 3"
    )
    settings = {
        "plan": {"path": path, "source": source},
        "agent": {"command": ["sh", "-c", f"{script} && mkdir -p src && echo >{file}"]},
        "sandbox": "off",
        "schedule": "batch",
        "max_concurrent": 2,
        "parallel": False,
    }
    project.write("fanin.yml", json.dumps(settings))
    project.commit("plan")
    known: list[Snapshot] = []
    ask = RunContext.snapshot

    def compared(context: RunContext) -> Snapshot:
        carried = ask(context)
        with monkeypatch.context() as patch:
            patch.setattr(BranchLander, "landed_snapshot", lambda *_: None)
            patch.setattr(snapshot, "_recent_plans", [])
            read = ask(context)
        assert carried.commit == read.commit
        assert carried.progress.records == read.progress.records
        assert carried.progress.owners == read.progress.owners
        tasks = read.plan.tasks
        assert [t.digest for t in carried.plan.tasks] == [t.digest for t in tasks]
        for task in tasks:
            own = carried.graph.tasks[task.id]
            assert carried.progress.record(own) == read.progress.record(task)
        standings = read.progress.standings(read.plan, 3)
        assert carried.progress.standings(carried.plan, 3) == standings
        assert carried.graph.ready(standings) == read.graph.ready(standings)
        known.append(carried)
        return carried

    monkeypatch.setattr(RunContext, "snapshot", compared)
    project.run()
    assert set(project.states().values()) == {"completed"}
    assert len({each.commit for each in known}) > 2


def _task(task_id: str) -> dict[str, object]:
    return {"id": task_id, "title": task_id, "allow_empty": True}


@pytest.mark.parametrize(
    ("schedule", "plans"), [("rolling", 1), ("batch", 1), ("batch", 2)]
)
def test_what_is_done_with_records_grows_with_the_tasks_alone(
    project: Project, counts: Counter[str], schedule: str, plans: int
) -> None:
    settings = {
        "agent": {"command": ["true"]},
        "sandbox": "off",
        "schedule": schedule,
        "max_concurrent": 4,
        "limits": {"max_rounds": 100},
    }
    seen = {}
    for size in (SMALL, LARGE):
        tasks = [_task(f"S{size}-{number}") for number in range(size)]
        first, others = tasks[: size // plans], tasks[size // plans :]
        names = ["tasks.yml"]
        if others:
            names.append("others.yml")
            text = yaml.safe_dump({"version": 1, "tasks": others})
            project.write("others.yml", text)
        project.plan(first, plan=names, progress=f"{size}.json", **settings)
        counts.clear()
        project.run()
        seen[size] = dict(counts)
    assert seen[LARGE].keys() == seen[SMALL].keys()
    for name, small in seen[SMALL].items():
        # per task: a look at all records for each landing would make this threefold
        assert seen[LARGE][name] / LARGE < 1.5 * small / SMALL, name


def test_a_plan_whose_marks_change_its_tasks_is_read_anew() -> None:
    # An open box below a ticked one is a task of its own, until it is ticked as well.
    tree = MemoryTree({"TODO.md": "- [x] Do it\n  - [ ] Do more\n"})
    plan = marking.PlanFiles("checklist", "TODO.md", {})
    marking.write_marks(plan, tree, {"do-more": Mark(Status.COMPLETED)})
    assert not marking.is_as_read(plan)
    tree = MemoryTree({"TODO.md": "- [ ] Do it\n- [ ] Do more\n"})
    marking.write_marks(plan, tree, {"do-it": Mark(Status.COMPLETED)})
    assert marking.is_as_read(plan)


def test_a_format_of_another_package_may_say_that_marks_change_no_other_task(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    line_format.install(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    plan = marking.PlanFiles("lines", "plan.lines", {})
    assert not marking.is_as_read(plan)
    monkeypatch.setattr(line_format.Lines, "changes_with_marks", False, raising=False)
    assert marking.is_as_read(plan)
