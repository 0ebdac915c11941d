"""The real plan files of `tests/resources/plans`, and what other tools count in them."""

from __future__ import annotations

from functools import cache

from runner.core.task import Plan, PlanSettings
from runner.plan import formats
from tests.support.trees import vendored

TASK_MASTER = "task-master"
STACKING = "openspec/changes/add-change-stacking-awareness/tasks.md"
UPDATE = "openspec/changes/add-update-workflow/tasks.md"
AUTHENTICATION = ".kiro/specs/user-authentication/tasks.md"

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
    (STACKING, "openspec", ""): (22, 21, 0, 1, 22),
    (UPDATE, "openspec", ""): (15, 14, 15, 0, 15),
    (AUTHENTICATION, "kiro", ""): (10, 9, 9, 1, 10),
    ("snarktank__ralph/prd.json", "ralph", ""): (4, 3, 0, 1, 4),
    ("Alberto-Codes__docvet", "bmad", "finished=done"): (116, 111, 112, 0, 112),
    ("MrLesk__Backlog.md", "backlog-md", "ignore_dangling"): (63, 50, 48 + 7, 7, 5),
}


@cache
def read(name: str, setting: str = "") -> Plan:
    choice = PlanSettings(path=name, ignore_dangling=setting == "ignore_dangling")
    option, equals, value = setting.partition("=")
    if equals:
        choice = choice.model_copy(update={"options": {option: value}})
    return formats.load(choice, vendored(name))
