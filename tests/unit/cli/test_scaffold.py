"""What `fanin init` writes: valid, with reasons, and safe to read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from runner import agents
from runner.cli import scaffold
from runner.config.settings import load
from runner.discovery.files import Found
from runner.discovery.proposal import FoundAgent, Proposal
from runner.plan.finder import FoundPlan
from tests.unit.test_schemas import accepts

ROOT = Path(__file__).parents[3]
CLAUDE = FoundAgent("claude", "claude", "~/.claude.json")


def _settings(proposal: Proposal) -> dict[str, Any]:
    text = scaffold.settings_text(proposal)
    written: dict[str, Any] = yaml.safe_load(text)
    assert accepts("fanin.schema.json", written)
    load({}, {}, text)
    return written


def test_the_first_plan_is_valid() -> None:
    assert accepts("tasks.schema.json", yaml.safe_load(scaffold.plan_text()))


def test_every_choice_is_written_with_its_reason() -> None:
    proposal = Proposal(
        plan=FoundPlan("specs/1/tasks.md", "spec-kit", 12, 5),
        agent=CLAUDE,
        setup=Found("npm ci", "package-lock.json"),
        verify=Found("npm test", "package.json", "scripts.test is vitest"),
    )
    assert _settings(proposal) == {
        "plan": "specs/1/tasks.md",
        "parallel": True,
        "max_concurrent": 3,
        "agent": "claude",
        "setup": "npm ci",
        "verify": "npm test",
    }
    text = scaffold.settings_text(proposal)
    assert "# spec-kit, 12 tasks, 5 open\nplan:" in text
    assert "# Source: package.json: scripts.test is vitest\nverify:" in text


def test_a_guess_is_a_comment_and_so_is_an_agent_that_is_not_there() -> None:
    guess = Found("python -m unittest", "tests", is_sure=False)
    written = _settings(Proposal(plan=None, agent=None, verify=guess))
    assert "verify" not in written
    assert "agent" not in written
    text = scaffold.settings_text(Proposal(plan=None, agent=None, verify=guess))
    assert "# verify: python -m unittest" in text


def test_a_variable_is_written_as_text_with_its_reason() -> None:
    env = {"NAME": Found("1", ".gitignore", "not ignored")}
    proposal = Proposal(plan=None, agent=None, env=env)
    assert _settings(proposal)["env"] == {"NAME": "1"}
    text = scaffold.settings_text(proposal)
    assert '  # Source: .gitignore: not ignored\n  NAME: "1"' in text


def test_a_command_is_written_as_a_list() -> None:
    command = ("python3", "my agent.py", "a: b #c")
    written = _settings(Proposal(plan=None, agent=None, command=command))
    assert written["agent"]["command"] == list(command)


@pytest.mark.parametrize(
    "hostile",
    [
        "a\nverify: rm -rf /",
        "a\r\nagent: evil",
        "\x1b[31m",
        "a\u2028b: c",
        "- [x",
        "'\"",
    ],
)
def test_a_text_of_the_repository_cannot_become_another_setting(hostile: str) -> None:
    proposal = Proposal(
        plan=FoundPlan(f"{hostile}/tasks.md", problem=hostile),
        agent=CLAUDE,
        verify=Found(f"npm test {hostile}", hostile, hostile),
        others=(Found(hostile, hostile),),
        notes=(hostile,),
    )
    text = scaffold.settings_text(proposal)
    written = yaml.safe_load(text)
    assert set(written) == {"plan", "parallel", "max_concurrent", "agent", "verify"}
    assert written["verify"] == f"npm test {hostile}"
    assert written["plan"] == f"{hostile}/tasks.md"
    assert "\x1b" not in text


def test_the_workflow_is_the_example_with_the_plan_and_the_agent() -> None:
    example = (ROOT / "examples" / "dispatch.yml").read_text()
    template = ROOT / "runner" / "cli" / "templates" / "dispatch.yml"
    assert template.read_text() == example
    plan = FoundPlan("specs/1/tasks.md", "spec-kit", 1, 1)
    text = scaffold.workflow_text(Proposal(plan, FoundAgent("codex", "codex", None)))
    changed = [line for line in text.splitlines() if line not in example.splitlines()]
    assert [line.split(":", 1)[0].strip() for line in changed] == [
        "plan",
        "npm install -g @openai/codex",
        "CODEX_API_KEY",
    ]
    plan_input = yaml.safe_load(text)[True]["workflow_dispatch"]["inputs"]["plan"]
    assert plan_input["default"] == "specs/1/tasks.md"


def test_a_workflow_for_an_own_command_names_no_secret_of_another_agent() -> None:
    text = scaffold.workflow_text(Proposal(None, None, command=("own-agent",)))
    assert "ANTHROPIC" not in text
    assert "secrets" not in yaml.safe_load(text)["jobs"]["fanin"]
    assert "#   agent-env: |" in text


@pytest.mark.parametrize("name", agents.presets())
def test_the_workflow_hands_on_a_secret_that_it_has(name: str) -> None:
    reusable = yaml.safe_load((ROOT / ".github/workflows/fanin.yml").read_text())
    secrets = reusable[True]["workflow_call"]["secrets"]
    text = scaffold.workflow_text(Proposal(None, FoundAgent(name, name, None)))
    assert set(yaml.safe_load(text)["jobs"]["fanin"]["secrets"]) <= set(secrets)


@pytest.mark.parametrize("has_barriers", [True, False])
@pytest.mark.parametrize("is_sure", [True, False])
def test_rolling_is_proposed_where_the_graph_gains_and_verify_is_known(
    has_barriers: bool, is_sure: bool
) -> None:
    plan = FoundPlan("tasks.yml", "native", 4, 4, has_barriers)
    verify = Found("npm test", "package.json", "test", is_sure=is_sure)
    text = scaffold.settings_text(Proposal(plan, None, verify=verify))
    assert ("# schedule: rolling" in text) == (has_barriers and is_sure)
