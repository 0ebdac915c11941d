"""Which agent a task gets while usage limits stop some of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from runner.core.task import AgentSettings, Task
from runner.schedule.agent_choice import AgentChoice
from runner.schedule.limit_waits import LimitWaits
from tests.support.builders import task

NOW = datetime(2026, 7, 19, 18, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
CLAUDE = AgentSettings(preset="claude")
CODEX = AgentSettings(preset="codex")
A, B = task("A"), task("B")


def choice(
    waits: LimitWaits,
    *agents: AgentSettings,
    running: tuple[AgentSettings, ...] = (),
    now: datetime = NOW,
) -> AgentChoice:
    def agents_of(_task: Task) -> tuple[AgentSettings, ...]:
        return agents

    return AgentChoice(agents_of, waits, running, now)


def test_without_a_limit_every_task_gets_its_first_agent() -> None:
    chosen = choice(LimitWaits(), CLAUDE, CODEX)
    assert chosen.may_start(A)
    assert chosen.agent_of(A) == CLAUDE
    assert chosen.next_start is None


def test_a_limited_agent_is_replaced_by_the_next_one_until_its_reset() -> None:
    waits = LimitWaits().met("claude", NOW + HOUR, NOW)
    chosen = choice(waits, CLAUDE, CODEX)
    assert chosen.may_start(A)
    assert chosen.agent_of(A) == CODEX
    assert chosen.next_start is None
    later = choice(waits, CLAUDE, CODEX, now=waits.limits["claude"].until)
    assert later.agent_of(A) == CLAUDE


def test_where_all_agents_are_limited_the_first_reset_says_when_to_go_on() -> None:
    waits = LimitWaits().met("claude", NOW + 2 * HOUR, NOW)
    waits = waits.met("codex", NOW + HOUR, NOW)
    chosen = choice(waits, CLAUDE, CODEX)
    assert not chosen.may_start(A)
    assert chosen.next_start == (waits.limits["codex"].until, "codex")


def test_one_task_asks_whether_an_unknown_limit_has_reset() -> None:
    waits = LimitWaits().met("claude", None, NOW)
    after = NOW + HOUR
    chosen = choice(waits, CLAUDE, now=after)
    assert [chosen.may_start(A), chosen.may_start(B)] == [True, False]
    assert chosen.may_start(A), "asking twice changes nothing"
    assert chosen.next_start is None, "B waits for A and not for a time"
    assert not choice(waits, CLAUDE, running=(CLAUDE,), now=after).may_start(A)
    both = choice(waits, CLAUDE, CODEX, now=after)
    assert [both.may_start(A), both.may_start(B)] == [True, True]
    assert [both.agent_of(A), both.agent_of(B)] == [CLAUDE, CODEX]


def test_agents_of_other_models_arguments_or_commands_have_limits_of_their_own() -> (
    None
):
    labels = {
        AgentSettings(preset="claude").label,
        AgentSettings(preset="claude", model="opus").label,
        AgentSettings(preset="claude", args=("--x",)).label,
        AgentSettings(command=("claude", "-p")).label,
    }
    assert len(labels) == 4
