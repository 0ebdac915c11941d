r"""Every format on plans of real projects (tests/resources/plans/ATTRIBUTION.md).

The numbers were counted without this package; F is the file, D the folder:

task-master
    tasks     jq '.master.tasks | length' F
    edges     jq '[.master.tasks[].dependencies | length] | add' F
    done      jq '[.master.tasks[] | select(.status == "done")] | length' F
    ready     jq '.master.tasks as $t | [$t[] | select(.status == "done").id] as $d
                  | [$t[] | select(.status != "done") | select(.dependencies - $d == [])] | length' F
    subtasks  jq '[.master.tasks[] | .subtasks | if length > 0 then length else 1 end] | add' F
spec-kit
    tasks     grep -cE '^- \[[ xX]\] T[0-9]' F
    done      grep -cE '^- \[[xX]\] T[0-9]' F
    edges, waves: a run of [P] tasks is one group, each group waits for all of the one before it
              awk '/^## /{p++} /^- \[[ xX]\] T[0-9]/{par=($4=="[P]"); if(par&&lp&&p==pp){n++} else {prev=n;n=1;g++}
                   e+=prev; lp=par; pp=p} END{print e, g}' F
beads
    tasks     jq -s '[.[] | select(.issue_type != "epic")] | length' F
    edges     jq -s '[.[] | select(.issue_type == "epic").id] as $e | [.[] | select(.issue_type != "epic")
                  | .dependencies // [] | .[] | select(.type == "blocks")
                  | select(.depends_on_id as $x | $e | index($x) | not)] | length' F
    done      grep -v '"issue_type":"epic"' F | grep -c '"status":"closed"'
    ready     jq -s '[.[] | select(.status == "closed").id] as $c | [.[] | select(.issue_type != "epic"
                  and .status == "open") | select([.dependencies // [] | .[] | select(.type == "blocks")
                  .depends_on_id] - $c == [])] | length' F
openspec, kiro
    tasks     grep -cE '^- \[' F
    done      grep -cE '^- \[x' F
    edges     one less than tasks, waves as many as tasks: each waits for the one before it
ralph
    tasks     jq '.userStories | length' F; edges and waves as above; done 0
bmad
    tasks     grep -cE '^ +[0-9]+-[0-9]+-' F
    done      grep -cE '^ +[0-9]+-[0-9]+-.*: done' F
    edges     one less than done, as the others are in review or have no file
backlog-md
    tasks     ls D/tasks D/completed | grep -c md
    done      ls D/completed | grep -c md, and grep -l '^status: "\?Done' D/tasks/* | wc -l
    edges     65 = awk 'FNR==1{f=0} /^---/{f++} f==1' D/tasks/*.md D/completed/*.md | awk '/^dependencies:/{d=1;
                   n+=gsub(/task-|BACK-/,"&"); next} d&&/^  - /{n++; next} {d=0} END{print n}'
              less 15 on tasks that this part of the folder lacks, by hand: 8 of finished tasks, 7 of open ones
"""

from __future__ import annotations

import re

import pytest

from runner.core.task import PlanSettings, Status
from runner.plan import formats
from runner.plan.formats import native
from runner.plan.progress import Progress
from tests.support.real_plans import REAL, read
from tests.support.trees import checked, load, mark, vendored


@pytest.mark.parametrize(
    ("name", "source", "setting"), REAL, ids=[name for name, _, _ in REAL]
)
def test_counts_equal_those_of_independent_tools(
    name: str, source: str, setting: str
) -> None:
    plan = read(name, setting)
    graph = checked(plan)
    states = Progress(name).standings(plan, 3)
    done = sum(task.source_status is Status.COMPLETED for task in plan.tasks)
    counts = (
        len(plan.tasks),
        graph.edges,
        done,
        len(graph.ready(states)),
        len(graph.waves()),
    )
    assert (plan.source, *counts) == (source, *REAL[name, source, setting])


@pytest.mark.parametrize("name", [name for name, _, _ in REAL])
def test_every_task_points_to_its_line(name: str) -> None:
    tree = vendored(name)
    for task in read(name, "ignore_dangling").tasks:
        lines = tree.files[task.path or name].split("\n")[task.line - 1 : task.line + 1]
        assert re.search(rf"(?<![\w.]){re.escape(task.id)}(?![\w])", "\n".join(lines))


@pytest.mark.parametrize(("name", "count"), [
    ("5dlabs__taskmaster-sync__tasks.json", 40), ("Alivanroy__Typosentinel__tasks.json", 43),
    ("AndEnd-Collective__ast-mcp__tasks.json", 77),
])  # fmt: skip
def test_the_number_of_subtasks_equals_the_count_of_jq(name: str, count: int) -> None:
    plan = formats.load(
        PlanSettings(path=name, options={"subtasks": "tasks"}), vendored(name)
    )
    checked(plan)
    assert len(plan.tasks) == len({task.id for task in plan.tasks}) == count


def test_decimal_ids_are_read_as_written() -> None:
    plan = read("Alivanroy__Typosentinel__tasks.json")
    tasks = formats.load(
        PlanSettings(
            path="Alivanroy__Typosentinel__tasks.json", options={"subtasks": "tasks"}
        ),
        vendored("Alivanroy__Typosentinel__tasks.json"),
    ).tasks
    assert {"30.1", "30.2"} <= {task.id for task in tasks}  # JSON floats in the file
    assert "- [x] 30.1 " in next(task for task in plan.tasks if task.id == "30").prompt


def test_open_tasks_with_missing_dependencies_are_left_out() -> None:
    left_out = read("MrLesk__Backlog.md").left_out
    assert len(left_out) == 6
    assert str(left_out[2].problem).startswith(
        "MrLesk__Backlog.md/tasks/back-548 - Expose-bidirectional-dependency-graphs-in-task-details.md:2: "
        "BACK-548 depends on BACK-545, which is not in the plan; did you mean "
    )


def test_a_dependency_matches_its_task_after_the_prefix_changed() -> None:
    tasks = {
        task.id: task for task in read("MrLesk__Backlog.md", "ignore_dangling").tasks
    }
    assert tasks["BACK-100.2"].depends_on == ("BACK-100.1",)  # written task-100.1
    assert tasks["BACK-308.05"].depends_on  # written with and without the zero


def test_spec_kit_takes_paths_but_no_commands_from_the_text() -> None:
    plan = read("nprbst__speck__009-multi-repo-stacked.md")
    fixtures = plan.task("T003")
    assert fixtures is not None
    assert fixtures.files == ("tests/helpers/multi-repo-fixtures.ts",)
    review = plan.task("T002")
    assert review is not None
    assert review.files == ("tests/**",)
    assert not [
        glob for task in plan.tasks for glob in task.files or () if glob.startswith("/")
    ]


def test_phases_of_user_stories_run_in_parallel_with_the_option() -> None:
    name = "nprbst__speck__009-multi-repo-stacked.md"
    barriers = read(name)
    stories = formats.load(
        PlanSettings(path=name, options={"phases": "stories"}), vendored(name)
    )
    assert len(checked(stories).waves()) < len(checked(barriers).waves())
    lines = vendored(name).files[name].split("\n")
    first_of = {
        story: next(
            task for task in stories.tasks if f"[{story}]" in lines[task.line - 1]
        )
        for story in ("US2", "US3")
    }
    graph = checked(stories)
    # "User Story 2: Can start after US1 implementation"
    assert graph.related("T018", first_of["US2"].id)
    assert not graph.related("T018", first_of["US3"].id)
    # the foundation is everybody's
    assert all(graph.related("T013", task.id) for task in first_of.values())


@pytest.mark.parametrize(
    ("name", "source", "setting"), REAL, ids=[name for name, _, _ in REAL]
)
def test_finishing_one_task_changes_one_line(
    name: str, source: str, setting: str
) -> None:
    plan, tree = read(name, setting), vendored(name)
    for task in plan.tasks:
        if task.source_status is not Status.COMPLETED:
            ((path, after),) = mark(plan, tree, {task.id: Status.COMPLETED}).items()
            lines = zip(tree.files[path].split("\n"), after.split("\n"), strict=True)
            assert len([1 for old, new in lines if old != new]) == 1


@pytest.mark.parametrize(
    ("name", "source", "setting"), REAL, ids=[name for name, _, _ in REAL]
)
def test_a_converted_plan_has_the_same_tasks(
    name: str, source: str, setting: str
) -> None:
    plan = read(name, setting)
    again = load("tasks.yml", native.render(plan))
    assert again.source == "native"
    assert [task.model_dump() for task in again.tasks] == [
        {**task.model_dump(), "depends_on": task.waits_for} for task in plan.tasks
    ]
