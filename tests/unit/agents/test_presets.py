"""What each preset starts, and how it reads the recorded output of the real program."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import get_args

import pytest

from runner import agents
from runner.agents import outcome
from runner.agents.base import Agent, AttemptFolder, Costs, is_isolated
from runner.agents.command import Command
from runner.agents.environment import (
    environment_for,
    find_key,
    make_home,
    missing_requirements,
    secrets_of,
)
from runner.agents.process import EndReason
from runner.core.errors import UsageProblem
from runner.core.result import FailureKind
from runner.core.task import AgentSettings
from tests.support.builders import entry, task
from tests.support.preset_outputs import read_output

KINDS = FailureKind


def _recording(resources: Path, name: str) -> tuple[str, str]:
    """Standard output and standard error of a recording; either may be missing."""
    stdout = resources / "agents" / f"{name}.txt"
    stderr = resources / "agents" / f"{name}.err.txt"
    return (
        stdout.read_text() if stdout.exists() else "",
        stderr.read_text() if stderr.exists() else "",
    )


@pytest.mark.parametrize(
    ("name", "sent", "received"),
    [
        ("claude-ok", 2000, 100),
        ("claude-stream-ok", 2000, 100),
        ("codex-ok", 2000, 100),
        ("gemini-stream-ok", 2000, 100),
        ("aider-ok", 1000, 50),
        # only their sum is read, or nothing
        ("opencode-ok", None, None),
        ("copilot-ok", None, None),
    ],
)
def test_tokens_of_input_and_output_are_told_apart_where_both_are_reported(
    resources: Path,
    tmp_path: Path,
    name: str,
    sent: int | None,
    received: int | None,
) -> None:
    preset = name.partition("-")[0]
    usage = read_output(preset, tmp_path, *_recording(resources, name)[:1]).usage
    assert (usage.input_tokens, usage.output_tokens) == (sent, received)


@pytest.mark.parametrize(
    ("name", "tokens", "cost"),
    [
        ("claude-ok", 2100, 0.0125),
        ("codex-ok", 2100, None),
        ("gemini-ok", 2100, None),
        ("gemini-stream-ok", 2100, None),
        ("claude-stream-ok", 2100, 0.0075),
        ("opencode-ok", 2100, 0.0022),
        ("copilot-ok", None, None),
        ("aider-ok", 1050, None),
    ],
)
def test_a_success_is_recognised_with_its_usage(
    resources: Path, tmp_path: Path, name: str, tokens: int, cost: float
) -> None:
    preset = name.partition("-")[0]
    verdict = read_output(preset, tmp_path, *_recording(resources, name)[:1])
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
        ("gemini-stream-400", 144, KINDS.AGENT_ERROR, False),
        ("gemini-stream-401", 145, KINDS.NOT_READY, True),
        ("gemini-stream-429", 173, KINDS.RATE_LIMIT, True),
        ("gemini-stream-nokey", 41, KINDS.NOT_READY, True),
        ("gemini-stream-outside", 0, KINDS.PERMISSION, True),
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
def test_a_failure_is_classified_by_the_structure_of_the_output(
    resources: Path,
    tmp_path: Path,
    name: str,
    status: int,
    kind: FailureKind,
    retryable: bool,
) -> None:
    stdout, stderr = _recording(resources, name)
    preset = name.partition("-")[0]
    failure = read_output(
        preset, tmp_path, stdout, status=status, stderr=stderr
    ).failure
    assert failure is not None
    assert (failure.kind, failure.retryable) == (kind, retryable)
    assert (
        "scripted failure" in failure.message
        or kind is not KINDS.RATE_LIMIT
        or name == "codex-429"
    )


def test_a_rate_limit_is_recognised_behind_a_time_limit(
    resources: Path, tmp_path: Path
) -> None:
    failure = read_output(
        "copilot",
        tmp_path,
        _recording(resources, "copilot-429")[0],
        status=-15,
        end_reason="timeout",
    ).failure
    assert failure is not None
    assert failure.kind is KINDS.RATE_LIMIT


@pytest.mark.parametrize("preset", agents.presets())
@pytest.mark.parametrize("end_reason", get_args(EndReason)[1:])
def test_an_agent_that_was_stopped_has_failed(
    resources: Path, tmp_path: Path, preset: str, end_reason: EndReason
) -> None:
    stdout, _ = _recording(resources, f"{preset}-ok")
    failure = read_output(preset, tmp_path, stdout, end_reason=end_reason).failure
    assert failure is not None
    assert failure.kind in {
        KINDS.TIMEOUT,
        KINDS.IDLE,
        KINDS.INTERRUPTED,
        KINDS.AGENT_ERROR,
    }


@pytest.mark.parametrize("preset", agents.presets())
@pytest.mark.parametrize(
    "stdout",
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
    ids=lambda stdout: repr(stdout[:30]),
)
def test_exit_status_zero_without_the_expected_output_is_a_failure(
    tmp_path: Path, preset: str, stdout: str
) -> None:
    failure = read_output(preset, tmp_path, stdout).failure
    assert failure is not None
    assert failure.kind is KINDS.AGENT_ERROR


@pytest.mark.parametrize("preset", agents.presets())
def test_model_and_arguments_are_passed_to_every_preset(
    tmp_path: Path, preset: str
) -> None:
    settings = AgentSettings(preset=preset, model="the-model", args=("--more", "x y"))
    argv = list(
        agents.agent_for(settings)
        .build(entry(agent=settings), AttemptFolder(tmp_path))
        .argv
    )
    assert argv[0] == agents.presets()[preset].traits.program
    assert "the-model" in argv
    assert argv[argv.index("--more") + 1] == "x y"
    assert not [word for word in argv if "Title of T1" in word], (
        "no text of the plan is an argument"
    )


@pytest.mark.parametrize(
    ("is_walled", "sandbox"), [(False, "workspace-write"), (True, "danger-full-access")]
)
def test_codex_puts_up_its_own_sandbox_where_it_can_start(
    tmp_path: Path, is_walled: bool, sandbox: str
) -> None:
    settings = AgentSettings(preset="codex")
    folder = AttemptFolder(tmp_path, is_walled=is_walled)
    argv = list(agents.agent_for(settings).build(entry(agent=settings), folder).argv)
    assert argv[argv.index("--sandbox") + 1] == sandbox


def test_claude_gets_its_turn_limit_and_its_share_of_the_budget(
    tmp_path: Path,
) -> None:
    settings = AgentSettings(preset="claude", max_turns=9)
    argv = list(
        agents.agent_for(settings)
        .build(entry(agent=settings, reserved_usd=0.5), AttemptFolder(tmp_path))
        .argv
    )
    assert argv[argv.index("--max-turns") + 1] == "9"
    assert argv[argv.index("--max-budget-usd") + 1] == "0.5000"


def test_max_turns_is_refused_for_an_agent_without_such_a_limit() -> None:
    with pytest.raises(UsageProblem, match="max_turns is not supported by codex"):
        agents.agent_for(AgentSettings(preset="codex", max_turns=3))


def test_aider_is_given_existing_files_only(tmp_path: Path) -> None:
    folder = AttemptFolder(tmp_path)
    folder.checkout.mkdir()
    (folder.checkout / "a.py").touch()
    batch_entry = entry(
        task(files=("a.py", "new.py", "src/**", "--yes")),
        agent=AgentSettings(preset="aider"),
    )
    argv = list(agents.presets()["aider"].build(batch_entry, folder).argv)
    assert argv[-1] == "a.py"
    assert not {"new.py", "src/**", "--yes"} & set(argv)


def test_only_claude_enforces_a_cost_limit_and_three_agents_report_no_cost() -> None:
    costs = {name: agent.traits.costs for name, agent in agents.presets().items()}
    assert [name for name, kind in costs.items() if kind is Costs.CAPPED] == ["claude"]
    assert {name for name, kind in costs.items() if kind is Costs.UNKNOWN} == {
        "codex",
        "gemini",
        "copilot",
    }


def _environment(
    settings: AgentSettings,
    path: Path,
    plain: Mapping[str, str] | None = None,
    **environ: str,
) -> dict[str, str]:
    """The environment that the agent gets on a machine with the variables `environ`."""
    agent, folder = agents.agent_for(settings), AttemptFolder(path)
    invocation = agent.build(entry(agent=settings), folder)
    contract = {"FANIN_TASK": "T1"}
    return environment_for(
        agent, settings, invocation, folder, environ, contract, plain or {}
    )


def test_a_plain_variable_overrides_defaults_and_the_machine_but_not_an_isolated_home(
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
def test_a_secret_variable_is_refused_as_a_plain_one(name: str) -> None:
    settings = AgentSettings(preset="claude", env=("MINE",))
    with pytest.raises(
        UsageProblem, match=f"env sets {name}, a secret variable of claude"
    ):
        agents.usable_agent(settings, {name: "x", "OTHER": "y"})
    assert agents.usable_agent(settings, {"OTHER": "y"}).name == "claude"


def test_an_agent_sees_its_own_and_the_listed_variables_only(
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


def test_codex_gets_its_key_under_the_name_that_it_reads(tmp_path: Path) -> None:
    settings = AgentSettings(preset="codex")
    assert _environment(settings, tmp_path, OPENAI_API_KEY="o")["CODEX_API_KEY"] == "o"
    assert (
        _environment(settings, tmp_path, OPENAI_API_KEY="o", CODEX_API_KEY="c")[
            "CODEX_API_KEY"
        ]
        == "c"
    )


def test_the_users_value_overrides_a_default_of_the_preset(tmp_path: Path) -> None:
    settings = AgentSettings(preset="claude", env=("CLAUDE_CODE_MAX_RETRIES",))
    assert _environment(settings, tmp_path)["CLAUDE_CODE_MAX_RETRIES"] == "2"
    assert (
        _environment(settings, tmp_path, CLAUDE_CODE_MAX_RETRIES="9")[
            "CLAUDE_CODE_MAX_RETRIES"
        ]
        == "9"
    )


@pytest.mark.parametrize("preset", agents.presets())
def test_an_isolated_home_is_complete_and_outside_the_checkout(
    tmp_path: Path, preset: str
) -> None:
    settings = AgentSettings(preset=preset, home="isolated")
    folder = AttemptFolder(tmp_path)
    agent = agents.agent_for(settings)
    seen = _environment(
        settings,
        tmp_path,
        HOME="/home/me",
        CLAUDE_CONFIG_DIR="/home/me/x",
        XDG_CONFIG_HOME="/y",
    )
    invocation = agent.build(entry(agent=settings), folder)
    make_home(agent, settings, invocation, folder, {})
    assert "/home/me" not in " ".join(seen.values())
    assert not folder.home.is_relative_to(folder.checkout)
    assert seen["HOME"] == str(folder.home)
    assert all(Path(seen[name]).is_dir() for name in agent.traits.homes)
    if preset == "codex":  # it makes no programs in a home below its TMPDIR
        assert Path(seen["TMPDIR"]).is_dir()
        assert not Path(seen["CODEX_HOME"]).is_relative_to(seen["TMPDIR"])


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
def test_presets_are_isolated_on_actions_and_use_the_users_login_elsewhere(
    settings: AgentSettings, on_actions: bool, isolated: bool
) -> None:
    assert is_isolated(settings, on_actions=on_actions) is isolated


def test_each_missing_requirement_has_a_remedy(tmp_path: Path) -> None:
    agent, settings = agents.presets()["claude"], AgentSettings(preset="claude")
    missing = missing_requirements(
        agent, settings, {"HOME": str(tmp_path)}, lambda _: None
    )
    assert missing == [
        (
            "the agent's program 'claude' is not installed on this machine",
            "install it:  npm install -g @anthropic-ai/claude-code",
        ),
        (
            "no key for claude: ANTHROPIC_API_KEY or CLAUDE_CODE_OAUTH_TOKEN is not set",
            "set it, or log in once with  claude",
        ),
    ]
    assert (
        missing_requirements(
            agent, settings, {"ANTHROPIC_API_KEY": "12345678"}, lambda _: "found"
        )
        == []
    )


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        (["absent", "x"], ["absent"]),
        (["env", "A=1", "B=2", "absent", "x"], ["absent"]),
        (["/usr/bin/env", "absent"], ["absent"]),
        (["env", "A=1", "./in-the-checkout"], []),
        (["env", "A=1"], []),
        (["env", "-u", "absent", "x"], []),
        (["env", "PATH=/opt/bin", "absent"], []),
    ],
)
def test_the_program_behind_env_is_looked_up_too(
    command: list[str], missing: list[str]
) -> None:
    settings = AgentSettings(command=tuple(command))
    found = missing_requirements(
        Command(), settings, {}, lambda name: name.endswith("env")
    )
    assert [what for what, _ in found] == [
        f"the agent's program {name!r} is not installed on this machine"
        for name in missing
    ]


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
    assert missing_requirements(agent, settings, environ, lambda _: "found") == [
        (
            "the value of ANTHROPIC_AUTH_TOKEN is shorter than 8 bytes, too short to be masked or searched for",
            "set the complete key, or unset the variable",
        )
    ]


def test_a_login_counts_as_a_key_unless_the_home_is_isolated(tmp_path: Path) -> None:
    (tmp_path / ".codex").mkdir()
    (tmp_path / ".codex" / "auth.json").touch()
    agent, environ = agents.presets()["codex"], {"HOME": str(tmp_path)}
    assert (
        find_key(agent, AgentSettings(preset="codex"), environ) == "~/.codex/auth.json"
    )
    assert (
        find_key(agent, AgentSettings(preset="codex", home="isolated"), environ) is None
    )
    assert (
        find_key(
            agent, AgentSettings(preset="codex"), {**environ, "GITHUB_ACTIONS": "true"}
        )
        is None
    )


# Every variable that a preset gets by itself is listed here: a new one fails until
# it is classified here.
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


def test_secrets_are_the_values_of_the_secret_and_the_listed_variables() -> None:
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


def test_in_a_job_everything_that_a_task_job_was_given_is_secret() -> None:
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


def test_an_empty_key_is_not_passed_on(tmp_path: Path) -> None:
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


class _PlugIn(Command):
    name = "plugged"


PLUG_IN: Agent = _PlugIn()


def test_a_plug_in_adds_an_agent_but_cannot_replace_a_built_in_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    points = [
        EntryPoint(name, f"{__name__}:PLUG_IN", agents.ENTRY_POINTS)
        for name in ("plugged", "claude")
    ]
    monkeypatch.setattr(agents, "may_have_entry_points", lambda _: True)
    monkeypatch.setattr(
        importlib.metadata,
        "entry_points",
        lambda group, name=None: [p for p in points if name in {None, p.name}],
    )
    assert agents.agent_for(AgentSettings(preset="plugged")).name == "plugged"
    assert agents.agent_for(AgentSettings(preset="claude")).name == "claude"
    assert agents.presets()["claude"].name == "claude"


def test_a_plug_in_that_cannot_be_loaded_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    point = EntryPoint("plugged", "no_such_module:AGENT", agents.ENTRY_POINTS)
    monkeypatch.setattr(agents, "may_have_entry_points", lambda _: True)
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda group, name=None: [point]
    )
    with pytest.raises(
        UsageProblem,
        match="the agent 'plugged' of no_such_module:AGENT cannot be loaded",
    ):
        agents.agent_for(AgentSettings(preset="plugged"))


def test_the_last_json_object_is_found_after_other_text() -> None:
    assert outcome.last_json_object('noise {\n{\n "a": {"b": 1}\n}\n') == {
        "a": {"b": 1}
    }
    assert outcome.last_json_object("no { object") is None
