"""Each setting has one row, and all that is made from the rows agrees with them."""

from __future__ import annotations

import click
import pytest
import yaml

from runner.actions.round_state import CARRIED
from runner.cli import work
from runner.config.settings import Settings, load
from runner.config.settings_table import BY_NAME, SETTINGS, Setting, key_in
from runner.core.sandbox import SandboxSettings
from runner.core.task import TaskSettings
from tests.support.command import commands

# Options that a command has beside the settings.
OWN_OPTIONS = {
    "doctor": {"--no-run"},
    "run": {
        *{"--until", "--dry-run", "-j", "-q", "-v", "--json", "--trust"},
        *{"--reopen", "--abandon"},
    },
    "check": {"--json"},
    "simulate": {
        *{"--until", "--all", "-j", "--up-to", "--guess", "--job-start", "--json"}
    },
    "status": {"--json", "--all", "--watch"},
    "report": {"-o", "--run"},
    "graph": {"--format"},
    "retry": {
        *{"--failed", "--redo", "--message", "--from-review", "--dry-run", "--json"},
    },
    "skip": {"--satisfied", "--dry-run", "--json"},
    "hold": {"--dry-run", "--json"},
    "approve": {"--dry-run", "--json"},
    "reply": {"--dry-run", "--json"},
    "undo": {"--with-dependents", "--dry-run", "--json"},
    "accept": {"--allow", "--from", "--unverified", "--dry-run", "--json"},
    "next": {
        *{"--manifest", "--state", "--retry", "--dry-run", "--runs-on"},
        "--rounds-per-run",
        "--approve",
    },
    "task": {
        *{"--results", "--manifest", "--manifest-digest", "--show-prompt"},
        *{"--branch-checkout", "--work-checkout"},
    },
    "continue": {"--state", "--again", "--landed", "--trigger-workflows"},
    "collect": {
        *{"--label", "--milestone", "--when-done", "--repository", "--dry-run"},
        *{"--state", "--commit-via"},
    },
    "answer": {"--when-done", "--repository", "--state"},
    "log": {"-f", "--attempt", "--raw", "--from"},
    "show": {"--json", "--from"},
    "diff": {"--from"},
    "prune": {"--older-than", "--landed"},
}
COMMANDS = sorted({name for setting in SETTINGS for name in setting.commands})

# A value as a variable gives it, and the value that it stands for.
SAMPLES: dict[str, tuple[str, object]] = {
    "plan": ("p.yml", "p.yml"),
    "source": ("beads", "beads"),
    "option": ("A=1\nB=2", {"A": "1", "B": "2"}),
    "strict": ("true", True),
    "skip_line": ("5\n9", (5, 9)),
    "ignore_dangling": ("true", True),
    "sandbox": ("require", SandboxSettings(mode="require")),
    "parallel": ("true", True),
    "max_concurrent": ("7", 7),
    "commit_strategy": ("individual", "individual"),
    "schedule": ("rolling", "rolling"),
    "max_attempts": ("7", 7),
    "timeout": ("7m", 420.0),
    "include": ("node_modules\n.env.local", ("node_modules", ".env.local")),
    "setup": ("npm ci\nmake", "npm ci\nmake"),
    "setup_env": ("NPM_TOKEN\nOTHER", ("NPM_TOKEN", "OTHER")),
    "on_limit": ("stop", "stop"),
    "on_limit_max": ("7m", 420.0),
    "keep_runs": ("7", 7),
    "keep_runs_size": ("7MiB", 7 * 2**20),
    "setup_timeout": ("7m", 420.0),
    "workspace": ("pooled", "pooled"),
    "verify": ("make", "make"),
    "verify_retries": ("7", 7),
    "verify_cache": ("false", False),
    "verify_concurrent": ("7", 7),
    "verify_base": ("ignore", "ignore"),
    "start_after": ("merge", "merge"),
    "agent": ("claude", "claude"),
    "agent_command": ("a 'b c'", ("a", "b c")),
    "env": ("A=1\nB=2", {"A": "1", "B": "2"}),
    "prompt_template": ("p.md", "p.md"),
    "protected": ("a\n\nb/**\n", ("a", "b/**")),
    "tasks": ("{T2: {verify: make}}", {"T2": TaskSettings(verify="make")}),
    "scope": ("warn", "warn"),
    "retry_from": ("base", "base"),
    "limits": ("{files: 7}", 7),
    "max_cost_usd": ("7.5", 7.5),
    "max_rounds": ("7", 7),
    "progress": ("p.json", "p.json"),
    "branch": ("work", "work"),
    "deliver": ("pull-request", "pull-request"),
}
# The key to look at where a sample sets a part of a mapping.
SAMPLE_KEYS = {"plan": "plan.path", "agent": "agent.preset", "limits": "limits.files"}


def value_of(settings: Settings, dotted: str) -> object:
    value: object = settings
    for key in dotted.split("."):
        value = getattr(value, key)
    return value


def options(command: click.Command) -> set[str]:
    return {
        option.opts[0] for option in command.params if isinstance(option, click.Option)
    }


def test_every_setting_of_the_file_has_a_row() -> None:
    keys = {setting.key for setting in SETTINGS}
    assert {key for key in keys if "." not in key} == set(Settings.model_fields)


@pytest.mark.parametrize(
    "setting", [row for row in SETTINGS if row.default], ids=lambda row: row.name
)
def test_the_default_of_a_row_is_that_of_the_settings(setting: Setting) -> None:
    parent, _, key = setting.key.partition(".")
    default = yaml.safe_load(setting.default)
    given = {parent: {key: default} if key else default}
    settings = load({}, {}, yaml.safe_dump(given))
    assert value_of(settings, setting.key) == value_of(Settings(), setting.key)


@pytest.mark.parametrize(
    "setting", [row for row in SETTINGS if not row.default], ids=lambda row: row.name
)
def test_a_setting_without_a_default_value_has_none(setting: Setting) -> None:
    if setting.name not in {"protected", "agent_command"}:
        assert value_of(Settings(), setting.key) in (None, {}, ())


@pytest.mark.parametrize("name", BY_NAME)
def test_every_setting_can_be_given_by_its_variable_and_by_its_flag(name: str) -> None:
    text, value = SAMPLES[name]
    setting = BY_NAME[name]
    key = SAMPLE_KEYS.get(name, setting.key)
    default = None if name == "agent_command" else value_of(Settings(), setting.key)
    assert default != value
    assert value_of(load({}, {setting.variable: text}, None), key) == value
    assert value_of(load({name: text}, {}, None), key) == value


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_has_the_flags_of_the_settings_that_it_uses(name: str) -> None:
    flags = {setting.flag for setting in SETTINGS if name in setting.commands}
    own = OWN_OPTIONS.get(name, set())
    # `prune` is one of `kept`.
    named = {**commands(), **work.kept.commands}
    assert options(named[name]) == flags | own


def test_a_command_without_settings_has_none_of_their_flags() -> None:
    flags = {setting.flag for setting in SETTINGS} - {"--agent-command"}
    for name, command in commands().items():
        if name not in COMMANDS:
            # `convert` and `init` name a plan by flags of the same names.
            own = {"--source", "--progress", "--option", "--strict"}
            own |= {"--ignore-dangling", "--skip-line", "--plan", "--agent"}
            assert not options(command) & (flags - own), name


def test_every_setting_but_the_branch_is_handed_on_to_later_rounds() -> None:
    of_rounds = {setting.name for setting in SETTINGS if setting.on_actions}
    assert set(CARRIED) == of_rounds - {"branch"}


@pytest.mark.parametrize(
    ("dotted", "row", "rest"),
    [
        ("limits.max_rounds", "max_rounds", ""),
        ("limits.files", "limits", ".files"),
        ("agent", "agent", ""),
        ("agent.command", "agent_command", ""),
        ("agent.command.0", "agent_command", ".0"),
        ("env.A", "env", ".A"),
    ],
)
def test_a_key_belongs_to_the_closest_row(dotted: str, row: str, rest: str) -> None:
    assert key_in(dotted) == (BY_NAME[row], rest)


def test_a_key_without_a_row_belongs_to_none() -> None:
    assert key_in("environment") is None
