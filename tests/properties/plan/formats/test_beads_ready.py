"""What may run of a beads plan is what `bd ready` lists, by the rules of its queries.

The rules are those of beads' `ready_work.go` and `blocked_state.go`, computed as there:
blocked issues are marked until nothing changes. Epics are left out of both sides, as
fanin leaves their children to do the work.
"""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from runner.plan.progress import Progress
from tests.support.trees import checked, load

Dependency = tuple[str, str, str]  # issue, type, target

IDS = [f"b-{number}" for number in range(8)]
STATUSES = ["open", "open", "open", "closed", "in_progress", "blocked", "pinned"]
TYPES = ["blocks", "blocks", "parent-child", "waits-for", "related", "unheard-of"]
NOT_BLOCKING = {"closed", "pinned"}


@st.composite
def issues(draw: st.DrawFn) -> tuple[dict[str, dict[str, str]], list[Dependency]]:
    """Issues by id, and dependencies that point from a later issue to an earlier one."""
    by_id = {}
    dependencies: list[Dependency] = []
    for index, issue_id in enumerate(IDS):
        by_id[issue_id] = {
            "status": draw(st.sampled_from(STATUSES)),
            "issue_type": draw(st.sampled_from(["task", "bug", "epic", "gate"])),
            "defer_until": draw(st.sampled_from(["", "", "2001-01-01", "2999-01-01"])),
        }
        for target in draw(st.sets(st.sampled_from(IDS[:index] or [""]), max_size=3)):
            if target:
                dependencies.append((issue_id, draw(st.sampled_from(TYPES)), target))
    return by_id, dependencies


def blocked(
    by_id: dict[str, dict[str, str]], dependencies: list[Dependency]
) -> set[str]:
    """The ids that beads marks as blocked."""

    def is_blocking(issue_id: str) -> bool:
        return by_id[issue_id]["status"] not in NOT_BLOCKING

    marked: set[str] = set()
    while True:
        before = len(marked)
        for issue_id, kind, target in dependencies:
            if not is_blocking(issue_id):
                continue
            children = [
                child
                for child, child_kind, parent in dependencies
                if (child_kind, parent) == ("parent-child", target)
            ]
            reasons = {
                "blocks": is_blocking(target),
                "parent-child": target in marked,
                "waits-for": any(is_blocking(child) for child in children),
            }
            if reasons.get(kind):
                marked.add(issue_id)
        if len(marked) == before:
            return marked


def ready(by_id: dict[str, dict[str, str]], dependencies: list[Dependency]) -> set[str]:
    """The ids that `bd ready` lists, without those of epics."""
    deferred = {
        issue_id
        for issue_id, issue in by_id.items()
        if issue["defer_until"].startswith("2999")
    }
    for issue_id, kind, target in dependencies:
        if kind == "parent-child" and by_id[target]["defer_until"].startswith("2999"):
            deferred.add(issue_id)
    hidden = blocked(by_id, dependencies) | deferred
    return {
        issue_id
        for issue_id, issue in by_id.items()
        if issue["status"] == "open"
        and issue["issue_type"] not in {"epic", "gate"}
        and issue_id not in hidden
    }


@given(issues())
def test_what_may_run_is_what_bd_ready_lists(
    plan: tuple[dict[str, dict[str, str]], list[Dependency]],
) -> None:
    by_id, dependencies = plan
    lines = []
    # A task that always is ready: a plan needs one.
    by_id = {**by_id, "a": {"status": "open", "issue_type": "task", "defer_until": ""}}
    for issue_id, fields in by_id.items():
        entries = [
            {"issue_id": issue_id, "depends_on_id": target, "type": kind}
            for source, kind, target in dependencies
            if source == issue_id
        ]
        issue = {"id": issue_id, "title": "t", **fields, "dependencies": entries}
        lines.append(json.dumps(issue))
    loaded_plan = load("issues.jsonl", "\n".join(lines))
    states = Progress("issues.jsonl").standings(loaded_plan, 3)
    assert set(checked(loaded_plan).ready(states)) == ready(by_id, dependencies)
