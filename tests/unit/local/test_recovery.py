"""Which batches of a dead run are merged together."""

from __future__ import annotations

from typing import Any

from runner.core.manifest import Manifest
from runner.local.recovery import batches_to_merge_together
from tests.support.builders import entry, manifest, task


def batch(round_number: int, *tasks: str, **fields: Any) -> Manifest:
    entries = [
        entry(task(task_id), index=index) for index, task_id in enumerate(tasks or "A")
    ]
    return manifest(*entries, round=round_number, **{"verify": "test", **fields})


def rounds(*manifests: Manifest) -> list[list[int]]:
    return [
        [each.round for each in together]
        for together in batches_to_merge_together(manifests)
    ]


def test_batches_of_one_task_are_merged_together() -> None:
    assert rounds(batch(1), batch(2), batch(3)) == [[1, 2, 3]]


def test_a_batch_of_several_tasks_is_merged_alone() -> None:
    several = [batch(number, "A", "B") for number in (2, 3)]
    assert rounds(batch(1), *several, batch(4), batch(5)) == [[1], [2], [3], [4, 5]]


def test_what_is_verified_or_lands_in_another_way_is_merged_after_those_before() -> (
    None
):
    for other in (
        {"verify": "another"},
        {"include": (".env",)},
        {"branch": "another"},
        {"progress": "another.json"},
        {"plan": "another.yml"},
        {"commit_strategy": "individual"},
    ):
        batches = [batch(1), batch(2), batch(3, **other), batch(4)]
        assert rounds(*batches) == [[1, 2], [3], [4]]
