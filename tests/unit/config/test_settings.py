"""Settings: the defaults of the design, who outranks whom, and every mistake at its
place.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.config.settings import (
    PROTECTED,
    Settings,
    describe,
    load,
    read_settings_file,
)
from runner.core.errors import InvalidInput
from runner.core.task import AgentSettings, PlanSettings
from runner.policy import globs
from tests.support.builders import problems


def test_the_defaults() -> None:
    assert load({}, {}, None).model_dump(exclude={"protected"}) == {
        "plan": {
            "path": "tasks.yml",
            "source": None,
            "options": {},
            "ignore_dangling": False,
            "strict": False,
            "skip_lines": (),
        },
        "parallel": False,
        "max_concurrent": 3,
        "commit_strategy": "batch",
        "schedule": "batch",
        "max_attempts": 3,
        "timeout": 1800.0,
        "on_limit": "wait",
        "on_limit_max": 43_200.0,
        "keep_runs": 20,
        "keep_runs_size": 500 * 2**20,
        "include": (),
        "setup": None,
        "setup_env": (),
        "setup_timeout": 600.0,
        "workspace": "fresh",
        "verify": None,
        "verify_retries": 1,
        "verify_cache": True,
        "verify_concurrent": 1,
        "verify_base": "check",
        "start_after": "verify",
        "agent": None,
        "env": {},
        "prompt_template": None,
        "sandbox": {
            "mode": "auto",
            "write": (),
            "read": (),
            "hide": (),
            "sockets": (),
            "network": "on",
        },
        "limits": {
            "files": 100,
            "size": 4 * 2**20,
            "max_cost_usd": None,
            "max_rounds": 100,
        },
        "tasks": {},
        "scope": "fail",
        "retry_from": "work",
        "branch": None,
        "deliver": "branch",
        "progress": ".fanin/progress.json",
    }


# name, default, then (as given, as understood) for the file, the environment and the
# flag
LAYERS: list[
    tuple[str, object, tuple[str, object], tuple[str, object], tuple[Any, object]]
] = [
    (
        "plan",
        PlanSettings(),
        ("a.yml", PlanSettings(path="a.yml")),
        ("b.yml", PlanSettings(path="b.yml")),
        ("c.yml", PlanSettings(path="c.yml")),
    ),
    ("max_concurrent", 3, ("4", 4), ("5", 5), (6, 6)),
    ("max_attempts", 3, ("4", 4), ("5", 5), (6, 6)),
    ("timeout", 1800.0, ("4m", 240.0), ("5m", 300.0), ("6m", 360.0)),
    (
        "commit_strategy",
        "batch",
        ("batch", "batch"),
        ("individual", "individual"),
        ("batch", "batch"),
    ),
    ("parallel", False, ("true", True), ("false", False), (True, True)),
    ("verify", None, ("make a", "make a"), ("make b", "make b"), ("make c", "make c")),
    ("branch", None, ("a", "a"), ("b", "b"), ("c", "c")),
    (
        "progress",
        ".fanin/progress.json",
        ("a.json", "a.json"),
        ("b.json", "b.json"),
        ("c.json", "c.json"),
    ),
]


@pytest.mark.parametrize(
    ("name", "default", "in_file", "in_environ", "as_flag"),
    LAYERS,
    ids=[row[0] for row in LAYERS],
)
def test_flags_outrank_the_environment_outranks_the_file_outranks_the_default(
    name: str,
    default: object,
    in_file: tuple[str, object],
    in_environ: tuple[str, object],
    as_flag: tuple[Any, object],
) -> None:
    text, environ, flags = (
        f"{name}: {in_file[0]}\n",
        {f"FANIN_{name.upper()}": in_environ[0]},
        {name: as_flag[0]},
    )
    nothing = {name: None}
    assert getattr(load(nothing, {}, "{}"), name) == default
    assert getattr(load(nothing, {}, text), name) == in_file[1]
    assert getattr(load(nothing, environ, text), name) == in_environ[1]
    assert getattr(load(flags, environ, text), name) == as_flag[1]


@pytest.mark.parametrize(
    ("text", "mode", "network"),
    [
        ("sandbox: require", "require", "on"),
        # words that YAML reads as booleans
        ("sandbox: off", "off", "on"),
        ("sandbox: on", "auto", "on"),
        ("sandbox: {mode: off, network: off}", "off", "off"),
        ("sandbox: {mode: auto, network: [a.example]}", "auto", ("a.example",)),
    ],
)
def test_walls_are_set_by_a_word_or_a_mapping(
    text: str, mode: str, network: object
) -> None:
    sandbox = load({}, {}, text).sandbox
    assert (sandbox.mode, sandbox.network) == (mode, network)


def test_another_word_for_the_network_is_refused() -> None:
    with pytest.raises(InvalidInput, match="expected on, off or a list of hosts"):
        load({}, {}, "sandbox: {network: maybe}")


def test_a_flag_for_walls_keeps_what_the_file_opens() -> None:
    text = "sandbox: {mode: off, read: [~/.ssh/known_hosts, .venv/]}"
    sandbox = load({"sandbox": "require"}, {}, text).sandbox
    assert sandbox.mode == "require"
    assert sandbox.read == ("~/.ssh/known_hosts", ".venv")


@pytest.mark.parametrize("path", ["", ".", "../x", "a/../../x", "~ann/x"])
def test_a_path_through_the_walls_is_clear(path: str) -> None:
    with pytest.raises(InvalidInput, match="is not a path to open or close"):
        load({}, {}, f"sandbox: {{read: ['{path}']}}")


@pytest.mark.parametrize(
    ("flags", "environ", "text", "plan"),
    [
        (
            {},
            {},
            "plan: {source: beads, path: b.jsonl}",
            PlanSettings(path="b.jsonl", source="beads"),
        ),
        ({}, {}, "plan: {options: {tag: x}}", PlanSettings(options={"tag": "x"})),
        (
            {"option": "tag=flag"},
            {"FANIN_OPTION": "tag=variable\nb=1"},
            "plan: {options: {tag: file, c: d}}",
            PlanSettings(options={"tag": "flag", "b": "1", "c": "d"}),
        ),
        (
            {"plan": "other.json"},
            {},
            "plan: {path: b.jsonl, options: {tag: x}}",
            PlanSettings(path="other.json"),
        ),
        (
            {"ignore_dangling": True},
            {},
            "plan: b.jsonl",
            PlanSettings(path="b.jsonl", ignore_dangling=True),
        ),
        (
            {"source": "native"},
            {"FANIN_SOURCE": "beads"},
            "plan: p",
            PlanSettings(path="p", source="native"),
        ),
        (
            {},
            {"FANIN_IGNORE_DANGLING": "true"},
            None,
            PlanSettings(ignore_dangling=True),
        ),
        # another plan: the format of the former does not hold
        (
            {"plan": "t.md"},
            {},
            "plan: {source: beads, path: b.jsonl, options: {a: b}}",
            PlanSettings(path="t.md"),
        ),
        # the same plan, named again as every round on Actions does
        (
            {"plan": "./b.jsonl"},
            {"FANIN_PLAN": "b.jsonl"},
            "plan: {source: beads, path: b.jsonl, options: {a: b}}",
            PlanSettings(path="b.jsonl", source="beads", options={"a": "b"}),
        ),
        (
            {},
            {"FANIN_PLAN": ".fanin/issues.json"},
            "plan: {source: github-issues, options: {label: x}}",
            PlanSettings(
                path=".fanin/issues.json",
                source="github-issues",
                options={"label": "x"},
            ),
        ),
    ],
)
def test_the_format_of_a_plan_does_not_hold_for_another_plan(
    flags: dict[str, Any],
    environ: dict[str, str],
    text: str | None,
    plan: PlanSettings,
) -> None:
    assert load(flags, environ, text).plan == plan


@pytest.mark.parametrize(
    ("text", "environ", "progress"),
    [
        ("plan: {source: github-issues}", {}, ".fanin/issues-progress.json"),
        ("plan: .fanin/issues.json", {}, ".fanin/issues-progress.json"),
        ("{}", {"FANIN_PLAN": ".fanin/issues.json"}, ".fanin/issues-progress.json"),
        ("{plan: {source: github-issues}, progress: p.json}", {}, "p.json"),
        ("plan: {source: beads, path: b.jsonl}", {}, ".fanin/progress.json"),
        ("{}", {}, ".fanin/progress.json"),
    ],
)
def test_a_plan_of_issues_keeps_its_progress_apart(
    text: str, environ: dict[str, str], progress: str
) -> None:
    assert load({}, environ, text).progress == progress


@pytest.mark.parametrize("progress", ["backlog", "backlog/progress.json"])
def test_progress_is_not_kept_inside_the_plans_folder(progress: str) -> None:
    (message,) = problems(
        lambda: load({}, {}, f"plan: backlog\nprogress: {progress}\n")
    )
    assert "none inside the plan's folder" in message


@pytest.mark.parametrize(
    ("flags", "environ", "text", "rounds", "cost", "files"),
    [
        ({}, {}, "limits: {max_rounds: 7, files: 5}", 7, None, 5),
        (
            {},
            {"FANIN_MAX_ROUNDS": "8"},
            "limits: {max_rounds: 7, files: 5}",
            8,
            None,
            5,
        ),
        (
            {"max_rounds": 9},
            {"FANIN_MAX_ROUNDS": "8", "FANIN_MAX_COST_USD": "2.5"},
            "limits: {files: 5}",
            9,
            2.5,
            5,
        ),
        ({"max_cost_usd": 1.0}, {"FANIN_MAX_COST_USD": "2.5"}, None, 100, 1.0, 100),
    ],
)
def test_limits_outrank_each_other_one_by_one(
    flags: dict[str, Any],
    environ: dict[str, str],
    text: str | None,
    rounds: int,
    cost: float | None,
    files: int,
) -> None:
    limits = load(flags, environ, text).limits
    assert (limits.max_rounds, limits.max_cost_usd, limits.files) == (
        rounds,
        cost,
        files,
    )


@pytest.mark.parametrize(
    ("flags", "environ", "text", "agent"),
    [
        ({}, {}, "agent: claude", AgentSettings(preset="claude")),
        (
            {},
            {},
            "agent: {preset: claude, env: [KEY]}",
            AgentSettings(preset="claude", env=("KEY",)),
        ),
        ({}, {"FANIN_AGENT": "codex"}, "agent: claude", AgentSettings(preset="codex")),
        (
            {},
            {"FANIN_AGENT_COMMAND": "a 'b c'"},
            "agent: claude",
            AgentSettings(command=("a", "b c")),
        ),
        (
            {"agent": "x"},
            {"FANIN_AGENT_COMMAND": "a"},
            "agent: claude",
            AgentSettings(preset="x"),
        ),
        (
            {"agent_command": "a --b"},
            {"FANIN_AGENT": "codex"},
            None,
            AgentSettings(command=("a", "--b")),
        ),
    ],
)
def test_the_agent_is_a_preset_or_a_command_line_from_any_layer(
    flags: dict[str, Any],
    environ: dict[str, str],
    text: str | None,
    agent: AgentSettings,
) -> None:
    assert load(flags, environ, text).agent == agent


@pytest.mark.parametrize(
    "name", ["TASK", "ATTEMPT", "BASE", "PROMPT", "REPORT", "COOKIE"]
)
def test_the_variables_of_the_agent_contract_are_no_settings(name: str) -> None:
    assert load({}, {f"FANIN_{name}": "x"}, None) == Settings()


@pytest.mark.parametrize("blank", ["", " \n"])
def test_a_blank_verify_command_is_none(blank: str) -> None:
    assert load({}, {}, f"verify: {json.dumps(blank)}").verify is None
    tasks = load({}, {}, f"tasks: {{A: {{verify: {json.dumps(blank)}}}}}").tasks
    assert tasks["A"].verify is None
    # It replaces that of the plan.
    assert tasks["A"].model_fields_set == {"verify"}


def test_an_empty_variable_is_not_given() -> None:
    assert (
        load({}, {"FANIN_MAX_CONCURRENT": "", "FANIN_VERIFY": ""}, "verify: x").verify
        == "x"
    )


def test_every_mistake_is_listed_with_its_line_variable_or_flag() -> None:
    text = "parallel: true\nmax_concurrent: 0\npaln: x.yml\n"
    listed = problems(
        lambda: load({"timeout": "soon"}, {"FANIN_MAX_ATTEMPTS": "many"}, text)
    )
    assert [problem.split(";")[0] for problem in listed] == [
        "command line: --timeout: expected a duration like 45s, 30m or 1h30m, got 'soon'",
        "environment: FANIN_MAX_ATTEMPTS: expected an integer, got 'many'",
        "fanin.yml:2: max_concurrent: expected 1 or more, got 0",
        "fanin.yml:3: unknown key 'paln'",
    ]
    assert listed[3].endswith("did you mean 'plan'?")


@pytest.mark.parametrize(
    ("flags", "environ", "place"),
    [
        ({"agent_command": "python3 'agent.py"}, {}, "command line"),
        ({}, {"FANIN_AGENT_COMMAND": "python3 'agent.py"}, "environment"),
    ],
)
def test_a_command_line_with_an_open_quote_is_a_problem(
    flags: dict[str, Any], environ: dict[str, str], place: str
) -> None:
    assert problems(lambda: load(flags, environ, None))[0].startswith(place)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- parallel\n", "fanin.yml:1: the settings are not a mapping"),
        ("just text\n", "fanin.yml:1: the settings are not a mapping"),
        ("parallel: [\n", "fanin.yml:2: not valid YAML"),
        ("plan: a\nplan: b\n", "fanin.yml:2: duplicate key 'plan'"),
        (
            "limits:\n  size: huge\n",
            "fanin.yml:2: limits.size: expected a size like 4MiB or 500kB, got 'huge'",
        ),
        ("limits: 5\n", "fanin.yml:1: limits: expected a mapping, got 5"),
        (
            "agent: {preset: a, command: [b]}\n",
            "fanin.yml:1: agent: give exactly one",
        ),
        (
            "max_concurrent: 257\n",
            "fanin.yml:1: max_concurrent: expected 256 or less, got 257",
        ),
        (
            f"protected: [{'a, ' * 1_001}]\n",
            "fanin.yml:1: protected: 1,001 globs, more than 1,000; name folders",
        ),
        (
            f"tasks: {{T1: {{allow: [{'a, ' * 1_001}]}}}}\n",
            "fanin.yml:1: tasks: 1,001 globs, more than 1,000; name folders",
        ),
        (
            "protected: [a, '!']\n",
            "fanin.yml:1: protected: '!' is not a valid gitignore pattern",
        ),
        ("1: x\n", "fanin.yml:1: "),
    ],
)
def test_a_mistake_in_the_file_is_listed_with_its_line(text: str, message: str) -> None:
    assert problems(lambda: load({}, {}, text))[0].startswith(message)


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}", "x-anything: [goes]\n"])
def test_a_file_that_says_nothing_changes_nothing(text: str) -> None:
    assert load({}, {}, text) == Settings()


@pytest.mark.parametrize(
    ("settings", "slots"),
    [
        (Settings(), 1),
        (Settings(max_concurrent=9), 1),
        (Settings(parallel=True), 3),
        (Settings(parallel=True, max_concurrent=9), 9),
    ],
)
def test_without_parallel_there_is_one_agent_at_a_time(
    settings: Settings, slots: int
) -> None:
    assert settings.slots == slots


@pytest.mark.parametrize(
    "path",
    [
        ".github/workflows/ci.yml",
        "action.yml",
        ".gitmodules",
        "sub/.gitattributes",
        ".fanin/progress.json",
        "fanin.yml",
        "AGENTS.md",
        "docs/CLAUDE.md",
        ".claude/settings.json",
        ".husky/pre-commit",
        "CODEOWNERS",
        "docs/CODEOWNERS",
    ],
)
def test_what_steers_machines_and_agents_is_protected(path: str) -> None:
    assert globs.matches(PROTECTED, path)


@pytest.mark.parametrize(
    "path",
    ["src/a.py", "uv.lock", "package.json", "README.md", "github/a", "docs/action.md"],
)
def test_ordinary_work_is_not_protected(path: str) -> None:
    assert not globs.matches(PROTECTED, path)


def test_the_settings_of_a_run_are_described_in_a_few_words() -> None:
    lines = describe(
        load(
            {"agent_command": "/usr/bin/robot -x", "parallel": True},
            {},
            "max_concurrent: 5",
        )
    )
    assert lines == ["plan tasks.yml", "agent robot", "5 at a time", "3 attempts"]
    assert describe(Settings())[1:3] == [
        "no default agent: add  agent: claude  to fanin.yml",
        "one at a time",
    ]
    single = Settings(max_attempts=1, commit_strategy="individual")
    assert describe(single)[3:] == ["1 attempt", "a commit for each task"]


def test_the_file_is_optional(
    tmp_path: Path,
) -> None:
    assert read_settings_file(tmp_path) is None
    (tmp_path / "fanin.yml").write_text("verify: prüfe\n", encoding="utf-8")
    assert read_settings_file(tmp_path) == "verify: prüfe\n"


def test_a_file_that_is_not_utf8_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "fanin.yml").write_bytes(b"verify: pr\xfcfe\n")
    problem = problems(lambda: read_settings_file(tmp_path))[0]
    assert problem.startswith("fanin.yml:1: is not UTF-8 text")
    assert problem.endswith("save it as UTF-8")


def test_a_folder_named_like_the_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "fanin.yml").mkdir()
    problem = problems(lambda: read_settings_file(tmp_path))[0]
    assert problem.startswith("fanin.yml: unreadable")
    assert problem.endswith("make it a regular file that you can read")


@pytest.mark.parametrize(
    ("flags", "environ", "text", "env"),
    [
        (
            {},
            {},
            "env: {AWS_REGION: us-east-1, EMPTY: ''}",
            {"AWS_REGION": "us-east-1", "EMPTY": ""},
        ),
        ({}, {"FANIN_ENV": "A=1\r\n\n B=x=y \n"}, None, {"A": "1", "B": "x=y "}),
        (
            {"env": "A=3"},
            {"FANIN_ENV": "A=2\nB=2"},
            "env: {A: '1', B: '1', C: '1'}",
            {"A": "3", "B": "2", "C": "1"},
        ),
    ],
)
def test_plain_variables_outrank_each_other_one_by_one(
    flags: dict[str, Any],
    environ: dict[str, str],
    text: str | None,
    env: dict[str, str],
) -> None:
    assert load(flags, environ, text).env == env


@pytest.mark.parametrize(
    ("environ", "text", "message"),
    [
        (
            {},
            "env:\n  A: x\n  FANIN_TASK: x",
            "fanin.yml:3: env.FANIN_TASK: FANIN_TASK is set by fanin",
        ),
        (
            {},
            "env: {PATH: /bin}",
            "fanin.yml:1: env.PATH: PATH is set by fanin",
        ),
        (
            {},
            "env: {home: /x}",
            "fanin.yml:1: env.home: home is set by fanin",
        ),
        (
            {},
            "env: {GITHUB_TOKEN: x}",
            "fanin.yml:1: env.GITHUB_TOKEN: GITHUB_TOKEN is never passed to an agent",
        ),
        (
            {},
            "env: {NO-NAME: x}",
            "fanin.yml:1: env.NO-NAME: expected the name of a variable",
        ),
        (
            {},
            "env: {DEBUG: 1}",
            "fanin.yml:1: env.DEBUG: expected text, got 1; write numbers and booleans in quotes",
        ),
        (
            {},
            'env: {A: "two\\nlines"}',
            "fanin.yml:1: env.A: a value is one line of text",
        ),
        (
            {},
            f"env: {{A: {'x' * 2**14}}}",
            "fanin.yml:1: env: its names and values take 16,385 bytes; the limit is",
        ),
        (
            {"FANIN_ENV": f"B={'x' * 9000}"},
            f"env: {{A: {'x' * 9000}}}",
            "env: its names and values take 18,002 bytes",
        ),
        (
            {"FANIN_ENV": "A=1\nB"},
            None,
            "environment: FANIN_ENV: line 2 is not NAME=value; write one NAME=value a line",
        ),
        (
            {"FANIN_ENV": "PATH=1"},
            None,
            "environment: FANIN_ENV.PATH: PATH is set by fanin",
        ),
        (
            {"FANIN_ENV": "A=\udce9"},
            None,
            "environment: FANIN_ENV.A: a value is one line of text",
        ),
    ],
)
def test_invalid_plain_variables_are_refused(
    environ: dict[str, str], text: str | None, message: str
) -> None:
    (problem,) = problems(lambda: load({}, environ, text))
    assert message in problem


@pytest.mark.parametrize(
    ("flags", "environ", "text", "expected"),
    [
        (
            {},
            {"FANIN_LIMITS": "{files: 5, size: 1kB}"},
            "limits: {files: 6, max_rounds: 7}",
            {"files": 5, "size": 1000, "max_rounds": 7},
        ),
        # The variable of one limit wins over that of all.
        (
            {},
            {"FANIN_LIMITS": "{files: 5, max_rounds: 8}", "FANIN_MAX_ROUNDS": "9"},
            None,
            {"files": 5, "max_rounds": 9},
        ),
        ({"limits": "{files: 4}"}, {"FANIN_LIMITS": "{files: 5}"}, None, {"files": 4}),
    ],
)
def test_limits_may_be_given_in_one_line(
    flags: dict[str, Any],
    environ: dict[str, str],
    text: str | None,
    expected: dict[str, int],
) -> None:
    limits = load(flags, environ, text).limits
    assert limits.model_dump(include=set(expected)) == expected


def test_plan_and_agent_may_be_given_as_in_the_file() -> None:
    environ = {
        "FANIN_PLAN": "{source: beads, path: b.jsonl}",
        "FANIN_AGENT": "{preset: claude, model: opus}",
    }
    settings = load({}, environ, "agent: codex")
    assert settings.plan == PlanSettings(path="b.jsonl", source="beads")
    assert settings.agent == AgentSettings(preset="claude", model="opus")


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("agent: [claude, {preset: codex, model: m}]", {}),
        ("", {"agent": "[claude, {preset: codex, model: m}]"}),
    ],
    ids=["file", "flag"],
)
def test_several_agents_are_a_list(text: str, flags: dict[str, str]) -> None:
    settings = load(flags, {}, text)
    assert settings.agent is not None
    assert [agent.label for agent in settings.agent.each] == ["claude", "codex m"]
    assert "agent claude, then codex" in describe(settings)


def test_protected_globs_given_by_a_variable_replace_those_of_the_file() -> None:
    settings = load({}, {"FANIN_PROTECTED": "docs/**\n[ab].txt\n"}, "protected: [x]")
    assert settings.protected == ("docs/**", "[ab].txt")


@pytest.mark.parametrize(
    ("flags", "environ", "message"),
    [
        (
            {},
            {"FANIN_LIMITS": "5"},
            "environment: FANIN_LIMITS: expected a mapping, got '5'",
        ),
        (
            {},
            {"FANIN_LIMITS": "5", "FANIN_MAX_ROUNDS": "5"},
            "environment: FANIN_LIMITS: expected a mapping, got '5'",
        ),
        (
            {},
            {"FANIN_LIMITS": "{file: 5}"},
            "environment: unknown key 'limits.file'; did you mean 'files'?",
        ),
        (
            {},
            {"FANIN_LIMITS": "{files: some}"},
            "environment: FANIN_LIMITS.files: expected an integer, got 'some'",
        ),
        (
            {"limits": "{files: 5"},
            {},
            "command line: --limits: not valid YAML",
        ),
        (
            {},
            {"FANIN_PROTECTED": "a\n!"},
            "environment: FANIN_PROTECTED: '!' is not a valid gitignore pattern",
        ),
        ({"verify": ""}, {}, "command line: --verify: the value is empty; give one"),
        (
            {"max_rounds": 0},
            {},
            "command line: --max-rounds: expected 1 or more, got 0",
        ),
        (
            {},
            {"FANIN_SCHEDULE": "rollin"},
            "environment: FANIN_SCHEDULE: expected 'batch' or 'rolling', got 'rollin'",
        ),
    ],
)
def test_a_value_of_the_wrong_form_is_named_as_it_was_given(
    flags: dict[str, Any], environ: dict[str, str], message: str
) -> None:
    (problem,) = problems(lambda: load(flags, environ, None))
    assert problem.startswith(message)


@pytest.mark.parametrize(
    ("text", "flags", "expected"),
    [
        ("plan: s.md#A b\n", {}, ("s.md", {"heading": "A b"})),
        ("plan: {path: 's.md#A', source: ai-sdlc}\n", {}, ("s.md", {"heading": "A"})),
        ("plan: s.md#A\n", {"plan": "./s.md#B"}, ("s.md", {"heading": "B"})),
        ("plan: s.md\n", {"plan": "s.md#B"}, ("s.md", {"heading": "B"})),
        ("plan: s.md#A\n", {"plan": "s.md"}, ("s.md", {})),
        ("plan: dir#1/tasks.yml\n", {}, ("dir#1/tasks.yml", {})),
    ],
)
def test_a_plan_may_be_named_by_its_heading(
    text: str, flags: dict[str, str], expected: tuple[str, dict[str, str]]
) -> None:
    settings = load(flags, {}, text)
    assert (settings.plan.path, settings.plan.options) == expected


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("include: .env*", 'write  include: [".env*"]'),
        ("agent: {command: my-agent --flag}", 'write  command: ["my-agent", "--flag"]'),
    ],
)
def test_a_text_in_place_of_a_list_is_shown_as_a_list(text: str, remedy: str) -> None:
    [problem] = problems(lambda: load({}, {}, text))
    assert problem.endswith(f"; {remedy}")
