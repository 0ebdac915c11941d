"""From a plan of twelve tasks to a merged pull request, as docs/walkthrough.md shows it: one
task asks, one has a gate, one is refused, and one lands and is wrong. The person types
fanin's commands and no command of git.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.test_screens import DOCS, screens
from tests.support.walkthrough import TASKS, Walkthrough

__all__ = ["screens"]  # a fixture


STATES = {
    "twelve-run": {
        **dict.fromkeys(("T1", "T2", "T3", "T6", "T8"), "completed"),
        "T5": "failed",
    },
    "twelve-again": dict.fromkeys((task["id"] for task in TASKS), "completed"),
}


def states(walkthrough: Walkthrough, branch: str) -> dict[str, str]:
    """The state of each task of which the branch has one that is not `pending`."""
    text = walkthrough.repository.git.read(branch, ".fanin/progress.json")
    records = json.loads(text)["tasks"]
    by_task = {task: record["status"] for task, record in records.items()}
    return {task: each for task, each in by_task.items() if each != "pending"}


def test_twelve_tasks_become_one_merged_pull_request(
    screens: Any, tmp_path: Path
) -> None:
    for name, today, walkthrough in screens.walkthrough_screens(tmp_path):
        shown = (DOCS / "screens" / f"{name}.txt").read_text(encoding="utf-8")
        assert screens.comparable(today.text) == screens.comparable(shown), (
            "python docs/screens.py  makes them anew"
        )
        pull, git = walkthrough.pull, walkthrough.repository.git
        if name in STATES:
            assert states(walkthrough, pull["head"]["ref"]) == STATES[name]
            assert pull["draft"] is (name == "twelve-run")
    assert (name, pull["merged"]) == ("twelve-merged", True)
    assert git.subjects("main") == ["Fanin: 12 tasks of tasks.yml", "Seed"]
    assert states(walkthrough, "main") == STATES["twelve-again"]
    assert b"ROUND_HALF_UP" in git.read("main", "shop/rounding.py")
    assert {"shop/orders.py", "shop/signs.py"} <= set(git.files("main"))
