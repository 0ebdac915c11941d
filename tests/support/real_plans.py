"""The real plan files of `tests/resources/plans`, and what other tools count in them."""

from __future__ import annotations

from functools import cache

from runner.core.task import Plan, PlanSettings
from runner.plan import formats
from tests.support.trees import vendored

TASK_MASTER = "task-master"


# name, format, settings: tasks, edges, done, ready, waves
REAL: dict[tuple[str, str, str], tuple[int, int, int, int, int]] = {
    ("5dlabs__taskmaster-sync__tasks.json", TASK_MASTER, ""): (16, 12, 7, 7, 8),
    ("Alivanroy__Typosentinel__tasks.json", TASK_MASTER, ""): (34, 36, 21, 3, 33),
    ("AndEnd-Collective__ast-mcp__tasks.json", TASK_MASTER, ""): (18, 23, 18, 0, 18),
    ("nprbst__speck__001-speck-core-project.md", "spec-kit", ""): (93, 178, 93, 0, 49),
    ("nprbst__speck__009-multi-repo-stacked.md", "spec-kit", ""): (
        122,
        157,
        120,
        1,
        87,
    ),
    ("jmanhype__speckit__issues.jsonl", "beads", ""): (245, 5, 245, 0, 3),
    ("steveyegge__beads__bd-2025-10.jsonl", "beads", ""): (162, 26, 144, 10, 4),
    ("MrLesk__Backlog.md", "backlog-md", "ignore_dangling"): (63, 50, 48 + 7, 7, 5),
}


@cache
def read(name: str, setting: str = "") -> Plan:
    choice = PlanSettings(path=name, ignore_dangling=setting == "ignore_dangling")
    return formats.load(choice, vendored(name))
