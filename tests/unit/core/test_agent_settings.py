"""An agent in its short forms: a preset's name, and a list of agents."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from runner.agents.environment import secrets_of
from runner.core.documents import digest_of
from runner.core.task import AgentSettings

OPUS = {"preset": "claude", "model": "opus"}


def agent(value: object) -> AgentSettings:
    return TypeAdapter(AgentSettings).validate_python(value)


def test_a_list_is_tried_in_order_and_each_agent_knows_the_others() -> None:
    claude, codex, opus = agent(["claude", "codex", OPUS]).each
    assert [claude.label, codex.label, opus.label] == ["claude", "codex", "claude opus"]
    others = [fallback.label for fallback in codex.fallbacks]
    assert others == ["claude", "claude opus"]
    assert agent("claude").each == (agent("claude"),)
    assert agent(["claude"]) == agent("claude")


def test_a_list_is_read_back_as_it_was_and_one_agent_keeps_its_digest() -> None:
    several = agent(["claude", OPUS])
    assert agent(several.model_dump(mode="json")) == several
    one = agent("claude").model_dump(mode="json")
    assert "fallbacks" not in one
    assert digest_of(one) == (
        "afbe63a0f8445e6bb97246aff53c08d2feaaff5f427416868799c3b7896017f6"
    )


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "the list of agents is empty"),
        (["claude", ["codex"]], "has a list in it"),
        (["claude", "claude"], "has claude twice"),
        ([3, "claude"], "expected a preset's name or a mapping"),
        ([{**OPUS, "fallbacks": ["codex"]}, "gemini"], "has fallbacks"),
        (["gemini", {**OPUS, "fallbacks": ["codex"]}], "has fallbacks"),
        (["claude", {"preset": "codex", "command": ["x"]}], "exactly one of"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(value: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        agent(value)


def test_the_secrets_of_all_agents_of_a_list_are_searched_for() -> None:
    environ = {
        "ANTHROPIC_API_KEY": "a-key-of-claude-123456",
        "CODEX_API_KEY": "a-key-of-codex-123456",
        "MY_TOKEN": "a-token-of-mine-123456",
    }
    several = agent(["claude", {"preset": "codex", "env": ["MY_TOKEN"]}])
    for chosen in several.each:
        assert set(secrets_of([chosen], environ).names) == set(environ.values())
