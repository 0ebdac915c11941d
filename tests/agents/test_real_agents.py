"""Real agent programs, end to end through `fanin run`, against the scripted model on
loopback.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.agents.conftest import KEY, Lab

FLOOD = 3_000_000


def test_each_outcome_of_a_real_agent_is_what_it_was(lab: Lab) -> None:
    """One run, so that the agents' slow starts overlap: a success, and one task for
    every way to fail.
    """
    name = lab.agent["preset"]
    tasks: list[dict[str, Any]] = [
        {
            "id": "edit",
            "script": {"path": "made.txt", "content": "made\n", "say": "done"},
        },
        {
            "id": "leak",
            "script": {
                "path": "leak.txt",
                "content": "made\n",
                "say": "done with $KEY",
            },
        },
        {
            "id": "asks",
            "script": {"path": ".fanin/question.md", "content": "Which?\n"},
        },
        {"id": "wrong", "script": {"fail": 400}},
        {"id": "key", "script": {"fail": 401}},
        {"id": "refused", "script": {"path": "/etc/fanin-was-here", "content": "no\n"}},
        {
            "id": "flood",
            "script": {
                "path": "flood.txt",
                "content": "made\n",
                "say": "words",
                "flood": FLOOD,
            },
        },
        {"id": "idle", "script": {"say": "nothing to do"}},
        {"id": "hang", "script": {"hang": 60}, "timeout": 8},
    ]
    # gemini starts four seconds of work of its own in each of its processes.
    lab.plan(tasks[:6] if name == "gemini" else tasks, max_concurrent=8)
    ran = lab.run("run")
    assert ran.status == 1, ran.output
    records = lab.project.records()
    kinds = {
        task_id: record.get("error", {}).get("kind")
        for task_id, record in records.items()
    }
    # codex's events show nothing of a write that its sandbox refused: what is left to
    # see is that nothing changed.
    expected = {
        "edit": None,
        "leak": "policy",
        "asks": None,
        "wrong": "agent_error",
        "key": None,
        "refused": "no_change" if name == "codex" else "permission",
        "flood": None,
        "idle": "no_change",
        "hang": "timeout",
    }
    assert kinds == {
        task_id: kind for task_id, kind in expected.items() if task_id in kinds
    }, ran.output
    assert records["edit"]["status"] == "completed"
    assert records["key"] == {"status": "pending", "attempts": 0}, (
        "a refused key costs no attempt"
    )
    assert records["asks"]["status"] == "pending"
    assert records["asks"]["questions"] == [{"attempt": 1, "text": "Which?"}]
    assert records["wrong"]["final"], (
        "a request that was found wrong is found wrong again"
    )
    assert lab.project.git("show", "HEAD:made.txt") == "made"
    assert records["edit"]["tokens"] > 1000
    assert ("cost_usd" in records["edit"]) is (name == "claude"), (
        "an unknown cost is not written as 0"
    )
    assert records["edit"]["summary"] == "done"
    # The key was in the agent's environment and in the model's words, and is in nothing
    # that is kept.
    kept = [
        path
        for path in (lab.project.root / ".git" / "fanin").rglob("*")
        if path.is_file()
    ]
    assert any(b"***" in path.read_bytes() for path in kept if path.name == "agent.log")
    assert not [path for path in kept if KEY.encode() in path.read_bytes()]
    assert KEY not in lab.project.git("log", "-p") + ran.output
    assert not list(lab.home.iterdir()), (
        "an isolated agent leaves nothing in the user's home"
    )


def test_a_model_that_is_overloaded_costs_no_attempt(lab: Lab) -> None:
    status = 529 if lab.agent["preset"] == "claude" else 429
    lab.plan(
        [{"id": "one", "script": {"fail": status}, "timeout": 60}],
        limits={"max_rounds": 1},
    )
    ran = lab.run("run")
    assert ran.status == 1
    assert "limits.max_rounds allows 1 round" in ran.output, ran.output
    assert ".fanin/progress.json" not in lab.project.git("ls-files"), ran.output


@pytest.mark.parametrize("lab", ["claude"], indirect=True)
def test_an_agent_that_thinks_for_longer_than_idle_timeout_is_not_idle(
    lab: Lab,
) -> None:
    lab.agent["idle_timeout"] = idle_timeout = 16
    thinks = {"id": "thinks", "script": {"think": 20}, "allow_empty": True}
    lab.plan([thinks, {"id": "hangs", "script": {"hang": 60}}])
    ran = lab.run("run")
    records = lab.project.records()
    assert records["thinks"]["status"] == "completed", ran.output
    assert records["thinks"]["seconds"] > idle_timeout
    assert "printing nothing" in records["hangs"]["error"]["message"], ran.output
