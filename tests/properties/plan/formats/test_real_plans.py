"""Properties of plan.formats.real plans, over generated inputs."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core.task import Status
from runner.plan.formats import MemoryTree
from tests.support.builders import quick
from tests.support.real_plans import REAL, TASK_MASTER, read
from tests.support.trees import VENDORED, load, mark, outcome, vendored

few = settings(quick, max_examples=5)  # the files are large


# What a status may become, format by format: everything else of the file must stay.
WORDS = {
    TASK_MASTER: r'"(?:done|pending|in-progress)"',
    "spec-kit": r"\[[ xX]\]",
    "beads": r'"(?:open|closed|in_progress)"',
    "backlog-md": r"(?:Done|To Do)",
    "openspec": r"\[[ xX]\]",
    "kiro": r"\[[ xX]\]",
    "ralph": r'"passes": (?:true|false)',
    "bmad": r": (?:done|review|in-progress|ready-for-dev|backlog)",
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
        if source == "bmad":  # the order of an epic goes around what is not begun
            new = new.model_copy(update={"depends_on": old.depends_on})
        assert old.digest == new.digest
        if old.id in statuses and old.path not in completed_paths:
            assert (new.source_status is Status.COMPLETED) == (
                statuses[old.id] is Status.COMPLETED
            )
        else:
            assert (old.source_status, old.skipped) == (new.source_status, new.skipped)
    assert not mark(later, MemoryTree(files), statuses)


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
