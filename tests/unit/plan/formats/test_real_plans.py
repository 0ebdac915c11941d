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
                  and .status != "closed") | select([.dependencies // [] | .[] | select(.type == "blocks")
                  .depends_on_id] - $c == [])] | length' F
backlog-md
    tasks     ls D/tasks D/completed | grep -c md
    done      ls D/completed | grep -c md, and grep -l '^status: "\?Done' D/tasks/* | wc -l
    edges     65 = awk 'FNR==1{f=0} /^---/{f++} f==1' D/tasks/*.md D/completed/*.md | awk '/^dependencies:/{d=1;
                   n+=gsub(/task-|BACK-/,"&"); next} d&&/^  - /{n++; next} {d=0} END{print n}'
              less 15 on tasks that this part of the folder lacks, by hand: 8 of finished tasks, 7 of open ones
"""

from __future__ import annotations

import random
import re
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.task import Plan, PlanSettings, Status
from runner.plan import formats
from runner.plan.formats import MemoryTree, native
from runner.plan.progress import Progress
from tests.support.builders import problems, quick
from tests.support.trees import VENDORED, checked, load, mark, outcome, vendored

TASK_MASTER = "task-master"
few = settings(quick, max_examples=5)  # the files are large
# name, format, settings: tasks, edges, done, ready, waves
REAL: dict[tuple[str, str, str], tuple[int, int, int, int, int]] = {
    ("5dlabs__taskmaster-sync__tasks.json", TASK_MASTER, ""): (16, 12, 7, 7, 8),
    ("Alivanroy__Typosentinel__tasks.json", TASK_MASTER, ""): (34, 36, 21, 3, 33),
    ("AndEnd-Collective__ast-mcp__tasks.json", TASK_MASTER, ""): (18, 23, 18, 0, 18),
    ("nprbst__speck__001-speck-core-project.md", "spec-kit", ""): (93, 178, 93, 0, 49),
    ("nprbst__speck__009-multi-repo-stacked.md", "spec-kit", ""): (
        122,
        156,
        120,
        2,
        87,
    ),
    ("jmanhype__speckit__issues.jsonl", "beads", ""): (245, 5, 245, 0, 3),
    ("steveyegge__beads__bd-2025-10.jsonl", "beads", ""): (162, 26, 144, 11, 4),
    ("MrLesk__Backlog.md", "backlog-md", "ignore_dangling"): (63, 50, 48 + 7, 7, 5),
}


@cache
def read(name: str, setting: str = "") -> Plan:
    choice = PlanSettings(path=name, ignore_dangling=setting == "ignore_dangling")
    return formats.load(choice, vendored(name))


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


def test_open_tasks_with_missing_dependencies_refuse_the_whole_folder() -> None:
    messages = problems(lambda: checked(read("MrLesk__Backlog.md")))
    assert len(messages) == 7
    assert messages[3].startswith(
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


# -- writing back --

# What a status may become, format by format: everything else of the file must stay.
WORDS = {
    TASK_MASTER: r'"(?:done|pending|in-progress)"',
    "spec-kit": r"\[[ xX]\]",
    "beads": r'"(?:open|closed|in_progress)"',
    "backlog-md": r"(?:Done|To Do)",
}


@pytest.mark.parametrize(
    ("name", "source", "setting"), REAL, ids=[name for name, _, _ in REAL]
)
@few
@given(data=st.data())
def test_writing_back_changes_only_status_words_and_is_read_back(
    data: st.DataObject, name: str, source: str, setting: str
) -> None:
    plan, tree = read(name, setting), vendored(name)
    chosen = data.draw(
        st.lists(
            st.sampled_from([task.id for task in plan.tasks]), max_size=8, unique=True
        )
    )
    statuses = {task_id: data.draw(st.sampled_from(list(Status))) for task_id in chosen}
    changed = mark(plan, tree, statuses)
    for path, after in changed.items():
        before = tree.files[path]
        assert before != after
        pieces, again = (re.split(WORDS[source], text) for text in (before, after))
        assert pieces == again
    files = {**tree.files, **changed}
    later = load(name, files, ignore_dangling=True)
    completed_paths = {
        task.path for task in plan.tasks if task.path.startswith(f"{name}/completed/")
    }
    for old, new in zip(plan.tasks, later.tasks, strict=True):
        assert old.digest == new.digest
        if old.id in statuses and old.path not in completed_paths:
            assert (new.source_status is Status.COMPLETED) == (
                statuses[old.id] is Status.COMPLETED
            )
        else:
            assert (old.source_status, old.skipped) == (new.source_status, new.skipped)
    assert not mark(later, MemoryTree(files), statuses)


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
        task.model_dump() for task in plan.tasks
    ]


# -- files that break --


@pytest.mark.parametrize(
    "name", [name for name, _, _ in REAL if (VENDORED / name).is_file()]
)
@few
@given(seed=st.integers(0, 2**32))
def test_a_damaged_file_is_either_read_or_refused_with_a_line(
    seed: int, name: str
) -> None:
    chance = random.Random(seed)
    text = vendored(name).files[name]
    start, length = (
        chance.randrange(len(text)),
        chance.choice([1, 2, 10, 1000, len(text)]),
    )
    replacement = chance.choice(
        [
            "",
            "\0",
            "[",
            "{",
            '"',
            "- [ ] T9",
            "\r",
            "\ud7ff",
            ",",
            text[start : start + 40],
        ]
    )
    damaged = text[:start] + replacement + text[start + length :]
    plan, found_problems = outcome(
        name, damaged, source=read(name).source, ignore_dangling=True
    )
    assert all(problem.line for problem in found_problems)
    if plan:
        assert plan.tasks
        mark(plan, MemoryTree({name: damaged}), {plan.tasks[0].id: Status.COMPLETED})
    else:
        assert found_problems
