"""What each preset starts, and what it makes of outputs that were recorded from the
real programs.
"""

from __future__ import annotations

import json
import string
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import agents
from runner.agents import outcome as outcomes
from runner.agents.base import Agent, Costs, Place, Verdict, is_isolated
from runner.agents.command import Command
from runner.agents.environment import (
    environment_for,
    key_of,
    lacks,
    make_home,
    secrets_of,
)
from runner.agents.process import Outcome
from runner.core.errors import UsageProblem
from runner.core.result import FailureKind
from runner.core.task import AgentSettings
from tests.support.builders import entry, quick, task

KINDS = FailureKind


def _read(
    preset: str,
    folder: Path,
    answer: str,
    *,
    status: int = 0,
    ended: str = "exited",
    errors: str = "",
) -> Verdict:
    place = Place(folder)
    place.answer.write_text(answer)
    return agents.presets()[preset].read(
        Outcome(status, ended, 3.0, (answer + errors)[-65536:]), place
    )


def _recorded(resources: Path, name: str) -> tuple[str, str]:
    """Standard output and standard error of a recording, one of which is there."""
    answer, errors = (
        resources / "agents" / f"{name}.txt",
        resources / "agents" / f"{name}.err.txt",
    )
    return (
        answer.read_text() if answer.exists() else "",
        errors.read_text() if errors.exists() else "",
    )


@pytest.mark.parametrize(
    ("name", "tokens", "cost"),
    [
        ("claude-ok", 2100, 0.0125),
        ("codex-ok", 2100, None),
        ("gemini-ok", 2100, None),
        ("opencode-ok", 2100, 0.0022),
        ("copilot-ok", None, None),
        ("aider-ok", 1050, None),
    ],
)
def test_a_success_and_what_it_used(
    resources: Path, tmp_path: Path, name: str, tokens: int, cost: float
) -> None:
    preset = name.partition("-")[0]
    verdict = _read(preset, tmp_path, *_recorded(resources, name)[:1])
    assert verdict.failure is None
    assert verdict.usage.tokens == tokens
    assert verdict.usage.cost_usd == (
        pytest.approx(cost) if cost is not None else None
    ), "unknown is never 0"
    assert verdict.usage.summary == (None if preset == "aider" else "done")


@pytest.mark.parametrize(
    ("name", "status", "kind", "retryable"),
    [
        ("claude-400", 1, KINDS.AGENT_ERROR, False),
        ("claude-401", 1, KINDS.NOT_READY, True),
        ("claude-429", 1, KINDS.RATE_LIMIT, True),
        ("claude-529", 1, KINDS.RATE_LIMIT, True),
        ("claude-outside", 0, KINDS.PERMISSION, True),
        ("claude-maxturns", 1, KINDS.AGENT_ERROR, True),
        ("claude-budget", 1, KINDS.AGENT_ERROR, True),
        ("claude-nokey", 1, KINDS.AGENT_ERROR, True),
        ("codex-400", 1, KINDS.AGENT_ERROR, False),
        ("codex-401", 1, KINDS.NOT_READY, True),
        ("codex-429", 1, KINDS.RATE_LIMIT, True),
        ("codex-529", 1, KINDS.RATE_LIMIT, True),
        ("gemini-400", 144, KINDS.AGENT_ERROR, False),
        ("gemini-401", 145, KINDS.NOT_READY, True),
        ("gemini-nokey", 41, KINDS.NOT_READY, True),
        ("gemini-turns", 53, KINDS.AGENT_ERROR, True),
        ("gemini-outside", 0, KINDS.PERMISSION, True),
        ("opencode-400", 1, KINDS.AGENT_ERROR, False),
        ("opencode-401", 1, KINDS.NOT_READY, True),
        ("opencode-outside", 0, KINDS.PERMISSION, True),
        ("copilot-400", 1, KINDS.AGENT_ERROR, False),
        ("copilot-401", 1, KINDS.NOT_READY, True),
        ("copilot-outside", 0, KINDS.PERMISSION, True),
        ("aider-401", 0, KINDS.AGENT_ERROR, True),
    ],
)
def test_a_failure_is_named_by_the_structure_of_the_output(
    resources: Path,
    tmp_path: Path,
    name: str,
    status: int,
    kind: FailureKind,
    retryable: bool,
) -> None:
    answer, errors = _recorded(resources, name)
    failure = _read(
        name.partition("-")[0], tmp_path, answer, status=status, errors=errors
    ).failure
    assert failure is not None
    assert (failure.kind, failure.retryable) == (kind, retryable)
    assert (
        "scripted failure" in failure.message
        or kind is not KINDS.RATE_LIMIT
        or name == "codex-429"
    )


def test_a_rate_limit_is_seen_though_the_time_limit_ended_it(
    resources: Path, tmp_path: Path
) -> None:
    failure = _read(
        "copilot",
        tmp_path,
        _recorded(resources, "copilot-429")[0],
        status=-15,
        ended="timeout",
    ).failure
    assert failure is not None
    assert failure.kind is KINDS.RATE_LIMIT


@pytest.mark.parametrize("preset", agents.presets())
@pytest.mark.parametrize("ended", ["timeout", "idle", "cancelled", "flooded"])
def test_an_agent_that_was_ended_did_not_succeed(
    resources: Path, tmp_path: Path, preset: str, ended: str
) -> None:
    failure = _read(
        preset, tmp_path, _recorded(resources, f"{preset}-ok")[0], ended=ended
    ).failure
    assert failure is not None
    assert failure.kind in {
        KINDS.TIMEOUT,
        KINDS.IDLE,
        KINDS.INTERRUPTED,
        KINDS.AGENT_ERROR,
    }


@pytest.mark.parametrize("preset", agents.presets())
@pytest.mark.parametrize(
    "answer",
    [
        "",
        "no json",
        "{",
        "[]",
        "null",
        '{"type": 7}',
        "[" * 50_000,
        '{"result": {}}\n' * 9,
    ],
)
def test_exit_zero_without_the_agents_own_words_is_no_success(
    tmp_path: Path, preset: str, answer: str
) -> None:
    failure = _read(preset, tmp_path, answer).failure
    assert failure is not None
    assert failure.kind is KINDS.AGENT_ERROR


_NAMES = [
    "type",
    "result",
    "usage",
    "error",
    "data",
    "part",
    "stats",
    "models",
    "permission_denials",
    "message",
    "item",
]
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4)
    ),
    max_leaves=20,
)


@quick
@given(
    lines=st.lists(
        st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=4), max_size=4
    ),
    status=st.integers(0, 3),
)
def test_nothing_that_an_agent_prints_can_raise(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[Mapping[str, object]],
    status: int,
) -> None:
    folder = tmp_path_factory.mktemp("place")
    for preset in agents.presets():
        _read(
            preset, folder, "\n".join(json.dumps(line) for line in lines), status=status
        )


# -- the call --


@pytest.mark.parametrize("preset", agents.presets())
def test_model_and_arguments_reach_every_preset(tmp_path: Path, preset: str) -> None:
    settings = AgentSettings(preset=preset, model="the-model", args=("--more", "x y"))
    argv = list(
        agents.agent_for(settings).build(entry(agent=settings), Place(tmp_path)).argv
    )
    assert argv[0] == agents.presets()[preset].traits.program
    assert "the-model" in argv
    assert argv[argv.index("--more") + 1] == "x y"
    assert not [word for word in argv if "Title of T1" in word], (
        "no text of the plan is an argument"
    )


def test_claude_is_held_to_its_turns_and_to_its_share_of_the_money(
    tmp_path: Path,
) -> None:
    settings = AgentSettings(preset="claude", max_turns=9)
    argv = list(
        agents.agent_for(settings)
        .build(entry(agent=settings, reserved_usd=0.5), Place(tmp_path))
        .argv
    )
    assert argv[argv.index("--max-turns") + 1] == "9"
    assert argv[argv.index("--max-budget-usd") + 1] == "0.5000"


def test_turns_that_cannot_be_kept_are_refused() -> None:
    with pytest.raises(UsageProblem, match="max_turns cannot be kept for codex"):
        agents.agent_for(AgentSettings(preset="codex", max_turns=3))


def test_aider_is_given_only_files_that_are_there(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.checkout.mkdir()
    (place.checkout / "a.py").touch()
    one = entry(
        task(files=("a.py", "new.py", "src/**", "--yes")),
        agent=AgentSettings(preset="aider"),
    )
    argv = list(agents.presets()["aider"].build(one, place).argv)
    assert argv[-1] == "a.py"
    assert not {"new.py", "src/**", "--yes"} & set(argv)


def test_only_claude_can_be_capped_and_what_no_agent_says_is_not_promised() -> None:
    costs = {name: agent.traits.costs for name, agent in agents.presets().items()}
    assert [name for name, kind in costs.items() if kind is Costs.CAPPED] == ["claude"]
    assert {name for name, kind in costs.items() if kind is Costs.UNKNOWN} == {
        "codex",
        "gemini",
        "copilot",
    }


# -- its surroundings --


def _environment(
    settings: AgentSettings,
    folder: Path,
    plain: Mapping[str, str] | None = None,
    **environ: str,
) -> dict[str, str]:
    agent, place = agents.agent_for(settings), Place(folder)
    call = agent.build(entry(agent=settings), place)
    return environment_for(
        agent, settings, call, place, environ, {"FANIN_TASK": "T1"}, plain or {}
    )


def test_a_plain_variable_outranks_defaults_and_the_machine_but_not_an_isolated_home(
    tmp_path: Path,
) -> None:
    settings = AgentSettings(preset="claude", home="isolated")
    plain = {
        "LANG": "C",
        "ANTHROPIC_BASE_URL": "http://b",
        "CLAUDE_CODE_MAX_RETRIES": "9",
        "CLAUDE_CONFIG_DIR": "/x",
    }
    seen = _environment(
        settings, tmp_path, plain, LANG="de", ANTHROPIC_BASE_URL="http://a"
    )
    assert {name: seen[name] for name in plain} == {
        **plain,
        "CLAUDE_CONFIG_DIR": seen["HOME"] + "/.claude",
    }


@pytest.mark.parametrize("name", ["ANTHROPIC_AUTH_TOKEN", "MINE"])
def test_a_secret_variable_is_refused_among_the_plain_ones(name: str) -> None:
    settings = AgentSettings(preset="claude", env=("MINE",))
    with pytest.raises(
        UsageProblem, match=f"env sets {name}, a secret variable of claude"
    ):
        agents.usable_agent(settings, {name: "x", "OTHER": "y"})
    assert agents.usable_agent(settings, {"OTHER": "y"}).name == "claude"


def test_an_agent_sees_its_own_variables_the_named_ones_and_nothing_else(
    tmp_path: Path,
) -> None:
    settings = AgentSettings(preset="claude", env=("MINE",))
    seen = _environment(
        settings,
        tmp_path,
        PATH="/bin",
        ANTHROPIC_API_KEY="k",
        OPENAI_API_KEY="o",
        MINE="m",
        GITHUB_TOKEN="t",
        X="x",
    )
    assert {"PATH", "ANTHROPIC_API_KEY", "MINE", "FANIN_TASK"} <= set(seen)
    assert not {"OPENAI_API_KEY", "GITHUB_TOKEN", "X", "HOME"} & set(seen)


def test_codex_gets_the_key_under_the_name_it_reads(tmp_path: Path) -> None:
    settings = AgentSettings(preset="codex")
    assert _environment(settings, tmp_path, OPENAI_API_KEY="o")["CODEX_API_KEY"] == "o"
    assert (
        _environment(settings, tmp_path, OPENAI_API_KEY="o", CODEX_API_KEY="c")[
            "CODEX_API_KEY"
        ]
        == "c"
    )


def test_a_default_of_the_preset_yields_to_the_users_own_value(tmp_path: Path) -> None:
    settings = AgentSettings(preset="claude", env=("CLAUDE_CODE_MAX_RETRIES",))
    assert _environment(settings, tmp_path)["CLAUDE_CODE_MAX_RETRIES"] == "2"
    assert (
        _environment(settings, tmp_path, CLAUDE_CODE_MAX_RETRIES="9")[
            "CLAUDE_CODE_MAX_RETRIES"
        ]
        == "9"
    )


@pytest.mark.parametrize("preset", agents.presets())
def test_an_isolated_home_is_whole_and_outside_the_checkout(
    tmp_path: Path, preset: str
) -> None:
    settings, place = AgentSettings(preset=preset, home="isolated"), Place(tmp_path)
    agent = agents.agent_for(settings)
    seen = _environment(
        settings,
        tmp_path,
        HOME="/home/me",
        CLAUDE_CONFIG_DIR="/home/me/x",
        XDG_CONFIG_HOME="/y",
    )
    make_home(agent, settings, agent.build(entry(agent=settings), place), place, {})
    assert "/home/me" not in " ".join(seen.values())
    assert not place.home.is_relative_to(place.checkout)
    assert seen["HOME"] == str(place.home)
    assert all(Path(seen[name]).is_dir() for name in agent.traits.homes)


@pytest.mark.parametrize(
    ("settings", "on_actions", "isolated"),
    [
        (AgentSettings(preset="claude"), True, True),
        (AgentSettings(preset="claude"), False, False),
        (AgentSettings(preset="claude", home="inherit"), True, False),
        (AgentSettings(preset="claude", home="isolated"), False, True),
        (AgentSettings(command=("x",)), True, False),
    ],
)
def test_presets_are_isolated_on_actions_and_use_a_persons_login_elsewhere(
    settings: AgentSettings, on_actions: bool, isolated: bool
) -> None:
    assert is_isolated(settings, on_actions=on_actions) is isolated


def test_what_is_missing_is_said_with_what_to_do(tmp_path: Path) -> None:
    agent, settings = agents.presets()["claude"], AgentSettings(preset="claude")
    lacking = lacks(agent, settings, {"HOME": str(tmp_path)}, lambda _: None)
    assert lacking == [
        (
            "the agent's program 'claude' is not on this machine",
            "install it:  npm install -g @anthropic-ai/claude-code",
        ),
        (
            "no key for claude: ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN is not set",
            "set it, or log in once with  claude",
        ),
    ]
    assert (
        lacks(agent, settings, {"ANTHROPIC_API_KEY": "12345678"}, lambda _: "found")
        == []
    )


def test_a_key_too_short_to_search_for_is_refused_by_name() -> None:
    agent, settings = (
        agents.presets()["claude"],
        AgentSettings(preset="claude", env=("SHORT",)),
    )
    environ = {
        "ANTHROPIC_API_KEY": "whole-key",
        "ANTHROPIC_AUTH_TOKEN": "1234567",
        "SHORT": "1",
    }
    assert lacks(agent, settings, environ, lambda _: "found") == [
        (
            "the value of ANTHROPIC_AUTH_TOKEN is shorter than 8 bytes, too short to be searched for or masked",
            "set the whole key, or unset the variable",
        )
    ]


def test_a_persons_login_serves_unless_the_home_is_isolated(tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "auth.json").touch()
    agent, environ = agents.presets()["codex"], {"HOME": str(tmp_path)}
    assert key_of(agent, AgentSettings(preset="codex"), environ) == "~/.codex/auth.json"
    assert (
        key_of(agent, AgentSettings(preset="codex", home="isolated"), environ) is None
    )
    assert (
        key_of(
            agent, AgentSettings(preset="codex"), {**environ, "GITHUB_ACTIONS": "true"}
        )
        is None
    )


# Every variable that a preset gets by itself is judged here: a new one fails until
# somebody says what it is.
PLAIN = {
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CONFIG_DIR",
    "CODEX_HOME",
    "COPILOT_MODEL",
    "COPILOT_OFFLINE",
    "COPILOT_PROVIDER_BASE_URL",
    "COPILOT_PROVIDER_MAX_OUTPUT_TOKENS",
    "COPILOT_PROVIDER_MAX_PROMPT_TOKENS",
    "COPILOT_PROVIDER_TYPE",
    "GOOGLE_CLOUD_PROJECT",
    "GOOGLE_GEMINI_BASE_URL",
    "GOOGLE_GENAI_USE_VERTEXAI",
    "OPENAI_API_BASE",
}
SECRET = {
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CODEX_API_KEY",
    "COPILOT_GITHUB_TOKEN",
    "COPILOT_PROVIDER_API_KEY",
    "DEEPSEEK_API_KEY",
    "GEMINI_API_KEY",
    "GH_TOKEN",
    "GOOGLE_API_KEY",
    "OPENAI_API_KEY",
    "OPENCODE_API_KEY",
    "OPENCODE_CONFIG_CONTENT",
    "OPENROUTER_API_KEY",
}


def test_every_variable_of_a_preset_is_secret_or_plain() -> None:
    traits = [agent.traits for agent in agents.presets().values()]
    assert {name for each in traits for name in each.variables} == PLAIN
    assert {name for each in traits for name in (*each.keys, *each.secrets)} == SECRET


def test_secrets_are_the_values_of_secret_variables_and_of_all_that_is_named() -> None:
    settings = AgentSettings(preset="claude", env=("MINE", "PATH", "SHORT"))
    names = (
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_BASE_URL",
        "MINE",
        "PATH",
        "OPENAI_API_KEY",
        "OTHER",
    )
    environ = {"SHORT": "short", **{name: f"value of {name}" for name in names}}
    assert set(secrets_of([settings], environ).names.values()) == {
        "ANTHROPIC_API_KEY",
        "MINE",
    }


def test_in_a_job_all_that_a_leg_was_given_is_secret() -> None:
    environ = {name: f"value of {name}" for name in (*SECRET, *PLAIN, "OTHER")}
    lines = {
        "ANTHROPIC_API_KEY": "another value",
        "UNNAMED": "value of a line",
        "SHORT": "short",
    }
    found = secrets_of([AgentSettings(command=("x",))], environ, lines)
    assert set(found.names.values()) == {*SECRET, "UNNAMED"}
    assert (
        found.names["another value"]
        == found.names["value of ANTHROPIC_API_KEY"]
        == "ANTHROPIC_API_KEY"
    )


def test_a_key_that_is_set_to_nothing_is_not_passed_on(tmp_path: Path) -> None:
    seen = _environment(
        AgentSettings(preset="codex"), tmp_path, OPENAI_API_KEY="o", CODEX_API_KEY=""
    )
    assert seen["CODEX_API_KEY"] == "o"
    assert "ANTHROPIC_AUTH_TOKEN" not in _environment(
        AgentSettings(preset="claude"),
        tmp_path,
        ANTHROPIC_API_KEY="k",
        ANTHROPIC_AUTH_TOKEN="",
    )


# -- third parties --


class _Theirs(Command):
    name = "theirs"


THEIRS: Agent = _Theirs()


def test_another_package_can_offer_an_agent_but_not_take_our_names(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = [
        EntryPoint(name, f"{__name__}:THEIRS", agents.ENTRY_POINTS)
        for name in ("theirs", "claude")
    ]
    monkeypatch.setattr(
        agents,
        "entry_points",
        lambda group, name=None: [p for p in points if name in {None, p.name}],
    )
    assert agents.agent_for(AgentSettings(preset="theirs")).name == "theirs"
    assert agents.agent_for(AgentSettings(preset="claude")).name == "claude"
    assert agents.presets()["claude"].name == "claude"


def test_a_broken_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("theirs", "no_such_module:AGENT", agents.ENTRY_POINTS)
    monkeypatch.setattr(agents, "entry_points", lambda group, name=None: [point])
    with pytest.raises(
        UsageProblem,
        match="the agent 'theirs' of no_such_module:AGENT cannot be loaded",
    ):
        agents.agent_for(AgentSettings(preset="theirs"))


def test_the_last_object_of_a_text_is_found_below_other_words() -> None:
    assert outcomes.document('noise {\n{\n "a": {"b": 1}\n}\n') == {"a": {"b": 1}}
    assert outcomes.document("no { object") is None
