"""Several plans as one graph: their ids, their edges, their progress."""

from __future__ import annotations

import pytest

from runner.core.errors import InvalidInput, UsageProblem
from runner.core.task import Owner, Plan, PlanSettings, Status
from runner.plan import loading, progress_file
from runner.plan.formats import Mark, MemoryTree
from runner.plan.graph import TaskGraph
from runner.plan.marking import write_once
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.snapshot import Snapshot

WEB, API = "specs/001-web/tasks.md", "specs/002-api/tasks.md"
ALL = "specs/*/tasks.md"
FILES = {
    WEB: "## Phase 1\n- [x] T001 a\n- [ ] T002 b\n",
    API: "## Phase 1\n- [ ] T001 c\n- [ ] T003 d\n",
    "TODO.md": "- [ ] Write it\n",
    "specs/001-web/plan.md": "# Plan\n",
}


def _load(
    path: object, files: dict[str, str] = FILES, recorded: Progress | None = None
) -> Plan:
    choice = PlanSettings.model_validate(path)
    owners = recorded.owners if recorded is not None else {}
    return loading.load(choice, MemoryTree(files), owners)


def _ids(plan: Plan) -> list[str]:
    return [task.id for task in plan.tasks]


def _recorded(plan: Plan, done: str) -> str:
    """The progress file once the task is done."""
    records = {task.id: Record() for task in plan.tasks}
    records[done] = Record(status=Status.COMPLETED, attempts=1)
    recorded = Progress(plan.name, records, owners=plan.owners)
    return progress_file.render(recorded, _ids(plan))


@pytest.mark.parametrize(
    "path", [ALL, "specs/**", [WEB, API], f"{WEB}, {API}", {"path": [API, WEB]}]
)
def test_ids_have_the_name_of_their_plan_only_if_two_plans_share_them(
    path: object,
) -> None:
    plan = _load(path)
    assert set(_ids(plan)) == {"001-web/T001", "T002", "002-api/T001", "T003"}
    assert {part.name for part in plan.parts} == {"001-web", "002-api"}
    assert plan.source == "spec-kit"
    assert plan.task("T003").depends_on == ("002-api/T001",)  # type: ignore[union-attr]
    assert plan.task("T003").path == API  # type: ignore[union-attr]
    assert set(plan.own_files) == {WEB, API}
    TaskGraph(plan.tasks, plan.path)


def test_plans_of_several_formats_are_one_graph_and_each_file_is_marked() -> None:
    plan = _load([ALL, "TODO.md"])
    assert plan.source == "spec-kit, checklist"
    marks = dict.fromkeys(["002-api/T001", "write-it"], Mark(Status.COMPLETED))
    changed = loading.write_back(plan, MemoryTree(FILES), marks, write_once)
    assert changed == {
        API: FILES[API].replace("[ ] T001", "[X] T001"),
        "TODO.md": "- [x] Write it\n",
    }


def test_a_dependency_on_another_plan_is_its_full_name() -> None:
    native = "version: 1\ntasks: [{id: A, title: a, depends_on: [001-web/T002]}]\n"
    plan = _load([WEB, "jobs.yml"], {**FILES, "jobs.yml": native})
    assert plan.task("A").depends_on == ("T002",)  # type: ignore[union-attr]
    wrong = native.replace("T002", "T009")
    plan = _load([WEB, "jobs.yml"], {**FILES, "jobs.yml": wrong})
    with pytest.raises(InvalidInput, match="001-web/T009, which is not in the plan"):
        TaskGraph(plan.tasks, plan.path)


def test_adding_a_plan_renames_nothing_that_is_recorded() -> None:
    text = _recorded(_load([API]), done="T001")
    assert '"plan": "specs/002-api/tasks.md", "tasks"' in text
    recorded = progress_file.parse("p.json", text, ALL)
    plan = _load(ALL, recorded=recorded)
    # T001 was recorded while the API was the only plan.
    assert _ids(plan) == ["001-web/T001", "T002", "T001", "T003"]
    assert recorded.records["T001"].status is Status.COMPLETED
    assert recorded.owners["T001"] == Owner(API, "T001")


def test_progress_of_a_plan_alone_counts_in_the_list_and_back() -> None:
    alone = _recorded(_load([WEB]), done="T002")
    listed = progress_file.parse("p.json", alone, ALL)
    plan = _load(ALL, recorded=listed)
    both = Progress(ALL, {**listed.records}, owners={**listed.owners, **plan.owners})
    both = both.with_every_task(plan.tasks)
    both = both.with_records({"002-api/T001": Record(status=Status.FAILED, attempts=2)})
    text = progress_file.render(both, _ids(plan))
    assert f'"plan": "{API}"' in text

    back = progress_file.parse("p.json", text, API)
    assert back.records["T001"].attempts == 2
    assert back.records["T001"].plan is None
    assert {record.plan for record in back.others.values()} == {WEB}
    again = progress_file.parse(
        "p.json", progress_file.render(back, ["T001", "T003"]), ALL
    )
    assert again.records["T002"].status is Status.COMPLETED
    assert again.owners["T002"] == Owner(WEB, "T002")
    # The API's T001 was recorded under that id, while it was alone.
    assert _ids(_load(ALL, recorded=again)) == ["001-web/T001", "T002", "T001", "T003"]


def test_a_plan_that_goes_away_keeps_its_records_and_its_ids() -> None:
    plan = _load(ALL)
    text = _recorded(plan, done="001-web/T001")
    recorded = progress_file.parse("p.json", text, ALL)
    files = {path: text for path, text in FILES.items() if path != WEB}
    files["specs/003-new/tasks.md"] = "- [ ] T002 new\n"
    later = _load(ALL, files, recorded)
    # The T002 that is recorded is another task.
    assert _ids(later) == ["002-api/T001", "T003", "003-new/T002"]
    assert f"{WEB}: it is gone; its records are kept" in later.notes
    kept = progress_file.render(recorded, _ids(later))
    assert '"001-web/T001"' in kept
    assert _ids(_load(ALL, FILES, progress_file.parse("p.json", kept, ALL))) == _ids(
        plan
    )
    named = _load([WEB, API], files, recorded)
    assert f"{WEB}: it is gone; its records are kept" in named.notes
    with pytest.raises(InvalidInput, match="there is no such plan"):
        _load([WEB, API], files)


def test_the_next_change_of_a_folder_takes_over_and_the_archived_one_is_kept() -> None:
    old, new = "openspec/changes/a/tasks.md", "openspec/changes/b/tasks.md"
    text = progress_file.render(Progress(old, {"1.1": Record(attempts=3)}), ["1.1"])
    recorded = progress_file.parse("p.json", text, new, folder="openspec")
    assert recorded.records == {}
    again = progress_file.render(recorded, [])
    back = progress_file.parse("p.json", again, old, folder="openspec")
    assert back.records["1.1"].attempts == 3
    with pytest.raises(InvalidInput, match="not of"):
        progress_file.parse("p.json", text, "specs/x/tasks.md", folder="specs")
    run = progress_file.parse("p.json", text, "openspec", any_section=True)
    assert run.plan == old


def test_progress_of_a_plan_that_is_not_in_the_list_is_refused() -> None:
    text = progress_file.render(Progress("TODO.md", {}), [])
    with pytest.raises(InvalidInput, match=r"this is the progress of TODO\.md"):
        progress_file.parse("p.json", text, ALL)
    listed = progress_file.render(Progress(ALL, {}), [])
    with pytest.raises(InvalidInput, match="this is the progress of specs"):
        progress_file.parse("p.json", listed, "TODO.md")


def test_files_of_a_pattern_that_are_no_plans_are_noted_and_empty_ones_left_out() -> (
    None
):
    files = {**FILES, "specs/003/tasks.md": "## Acceptance\n- [ ] ok\n"}
    plan = _load("specs/**/*.md", files)
    notes = "\n".join(plan.notes)
    assert "specs/001-web/plan.md: no tasks found, so it is left out" in notes
    assert "specs/003/tasks.md: in no known format" in notes
    assert len(plan.parts) == 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "x/*.md"}, "there is no such plan"),
        ({"path": [WEB, "gone.md"]}, "gone.md"),
        ({"path": ALL, "skip_lines": [1]}, "skip_lines does not say of which plan"),
        ({"path": ALL, "options": {"nope": "1"}}, "none of the plans has the option"),
        ({"path": [WEB, "bad.yml"]}, "bad.yml:1"),
    ],
)
def test_what_cannot_be_read_is_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        _load(settings, {**FILES, "bad.yml": "a: 1\n"})
    assert message in str(refused.value)


def test_options_go_to_the_plans_whose_format_has_them() -> None:
    plan = _load({"path": [WEB, "TODO.md"], "options": {"order": "none"}})
    assert [dict(part.options) for part in plan.parts] == [{}, {"order": "none"}]


def test_the_file_says_of_each_record_which_plan_it_is_of() -> None:
    plan = _load(ALL)
    recorded = Progress(ALL, {}, owners=plan.owners).with_every_task(plan.tasks)
    text = progress_file.render(recorded, _ids(plan))
    assert text.count('"own_id": "T001"') == 2
    assert progress_file.render(progress_file.parse("p", text, ALL), _ids(plan)) == text


def test_a_full_name_suggests_the_id_that_the_task_has() -> None:
    plan = _load(ALL)
    snapshot = Snapshot("", plan, TaskGraph(plan.tasks, ALL), Progress(ALL))
    with pytest.raises(UsageProblem, match="there is no task 001-web/T002") as refused:
        snapshot.tasks_named(["001-web/T002"])
    assert "did you mean T002?" in str(refused.value)


def test_the_text_of_a_task_in_a_file_is_that_of_the_task_of_the_graph() -> None:
    status = "development_status:\n  1-1-a: ready-for-dev\n"
    files = {}
    for folder in ("web", "api"):
        files[f"{folder}/sprint-status.yaml"] = status
        files[f"{folder}/1-1-a.md"] = "# Do it\n"
    plan = _load("*/sprint-status.yaml", files)
    assert plan.task_files == {
        "web/1-1-a.md": "web/1-1-a",
        "api/1-1-a.md": "api/1-1-a",
    }
    assert set(_ids(plan)) == {*plan.task_files.values()}
