"""The tree after `undo T` is the merge without T, with what came after on top; it is
refused exactly where that merge conflicts.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from runner.core.errors import UsageProblem
from runner.core.task import Status
from runner.local.undo import undo
from runner.plan.snapshot import NO_RULES
from tests.integration.test_merge_property import BASE, Files, edited
from tests.support.landings import OWN, PROGRESS, Branch

FIRST, LATER = ("T001", "T002", "T003"), ("T004", "T005")
# `FANIN_UNDO_BATCHES=200 pytest tests/properties/fan_in/test_undo.py` tries more.
BATCHES = int(os.environ.get("FANIN_UNDO_BATCHES", "10"))


@pytest.fixture(scope="module")
def branch(tmp_path_factory: pytest.TempPathFactory) -> Branch:
    made = Branch(tmp_path_factory.mktemp("undo") / "repo")
    made.start(BASE, [*FIRST, *LATER])
    return made


@pytest.mark.timeout(max(300, 10 * BATCHES))
@settings(
    max_examples=BATCHES,
    derandomize=True,
    deadline=None,
    database=None,
    # To make a failing example smaller would take minutes.
    phases=[Phase.generate],
)
@given(
    st.lists(edited(), min_size=3, max_size=3),
    st.lists(edited(), min_size=0, max_size=2),
    st.data(),
)
def test_undo_makes_the_merge_without_the_task_or_is_refused_where_it_conflicts(
    branch: Branch, first: list[Files], later: list[Files], data: st.DataObject
) -> None:
    branch.head = branch.first
    own_trees = {
        name: branch.own_tree(files) for name, files in zip(FIRST, first, strict=True)
    }
    before = branch.head
    _, landed = branch.land(own_trees)
    for name, files in zip(LATER, later, strict=False):
        # Made on the base, as work that somebody else brings: it may conflict.
        merged = branch.repo.merge_trees(
            branch.repo.tree(before),
            branch.without_own(branch.head),
            branch.without_own(branch.own_tree(files)),
        )
        if isinstance(merged, str):
            objects = branch.repo.objects()
            head = branch.repo.tree(branch.head)
            own = {path: objects.find(head, path) for path in OWN}
            branch.land({name: branch.repo.write_tree(merged, own)})
    name = data.draw(st.sampled_from([step.task for step in landed.steps]))

    head = branch.head
    branch.head = before
    rest = {each: tree for each, tree in own_trees.items() if each != name}
    landing = {step.task for step in landed.steps}
    rest = {each: tree for each, tree in rest.items() if each in landing}
    merged_rest = branch.merged(rest)
    branch.head = head
    expected: str | None = None
    if merged_rest.keys() == rest.keys():
        without = list(merged_rest.values())[-1] if rest else landed.before
        reverted = branch.repo.merge_trees(
            branch.without_own(landed.after),
            branch.without_own(head),
            branch.without_own(without),
        )
        if isinstance(reverted, str):
            expected = reverted
        if branch.without_own(head) == branch.without_own(landed.after):
            expected = branch.without_own(without)

    snapshot = branch.snapshot()
    tasks = snapshot.tasks_named([name])
    try:
        done = undo(branch.repo, snapshot, tasks, PROGRESS, 3, NO_RULES)
    except UsageProblem as problem:
        assert expected is None, problem  # noqa: PT017
        return
    assert branch.without_own(done.commit) == expected
    after = branch.snapshot(done.commit)
    assert set(done.paths).isdisjoint(OWN)
    todo = branch.repo.file(done.commit, "TODO.md") or b""
    for task in after.plan.tasks:
        record = snapshot.progress.record(snapshot.graph.tasks[task.id])
        now = after.progress.record(task)
        completed = record.status is Status.COMPLETED and task.id != name
        assert (now.status is Status.COMPLETED) == completed
        assert (f"- [X] {task.id}".encode() in todo) == completed
        if task.id != name:
            assert now == record
