"""Which artifacts of earlier run attempts a re-run downloads."""

from __future__ import annotations

from runner.actions.earlier_results import AT_ONCE, STEPS, choose_earlier
from runner.github_api.client import Artifact
from tests.support.builders import entry

MOST_TASKS = 256


def artifact(name: str, number: int = 1, *, expired: bool = False) -> Artifact:
    return Artifact(number, name, expired)


def test_results_of_earlier_run_attempts_are_chosen_the_newest_first() -> None:
    old, newer, this = (artifact(f"fanin-7.1-000-a1-r{n}", n) for n in (2, 10, 11))
    chosen = choose_earlier([old, this, newer], "7.1", [entry()], 11)
    assert chosen == [newer, old]


def test_results_of_other_tasks_attempts_and_batches_are_not_chosen() -> None:
    others = [
        artifact("fanin-7.1-001-a1-r1"),
        artifact("fanin-7.1-000-a2-r1"),
        artifact("fanin-7.11-000-a1-r1"),
        artifact("fanin-7.1-manifest-r1"),
        artifact("fanin-7.1-000-a1-r1-more"),
        artifact("fanin-7.1-000-a1-r1", expired=True),
    ]
    assert choose_earlier(others, "7.1", [entry()], 2) == []


def test_the_steps_of_the_action_take_the_results_of_a_whole_batch() -> None:
    assert AT_ONCE < 100
    assert AT_ONCE * STEPS >= MOST_TASKS
