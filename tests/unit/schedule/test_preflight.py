"""Which plans are refused before anything is paid for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner import agents
from runner.config.settings import Settings, load
from runner.core.limits import Limits
from runner.core.task import AgentSettings, Plan, Status, Task
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.schedule.preflight import (
    PreflightReport,
    message_notes,
    preflight,
    protected_path_notes,
)
from tests.support.builders import plan, task

ROBOT = AgentSettings(command=("robot",))
CODEX = AgentSettings(preset="codex")
NO_PROGRESS = Progress("tasks.yml")


def _check(
    *tasks: Task,
    progress: Progress = NO_PROGRESS,
    environ: Mapping[str, str] | None = None,
    may_change_workflows: bool = True,
    tracked: Sequence[str] = (),
    job_seconds: float | None = None,
    **settings: Any,
) -> PreflightReport:
    return preflight(
        plan(*tasks),
        progress,
        Settings(**settings),
        environ=environ,
        may_change_workflows=may_change_workflows,
        tracked=tracked,
        job_seconds=job_seconds,
    )


def _problems(report: PreflightReport) -> list[str]:
    return [str(problem) for problem in report.problems]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"agent": None}, ["tasks.yml:7: T1 has no agent"]),
        (
            {"agent": AgentSettings(preset="nobody")},
            ["tasks.yml:7: T1: unknown agent preset 'nobody'"],
        ),
    ],
    ids=str,
)
def test_a_task_whose_agent_cannot_be_used_is_a_problem(
    fields: dict[str, Any], expected: list[str]
) -> None:
    report = _check(task("T0", agent=ROBOT), task("T1", line=7, **fields))
    problems = _problems(report)
    assert len(problems) == len(expected)
    for problem, start in zip(problems, expected, strict=True):
        assert problem.startswith(start)


@pytest.mark.parametrize(
    "fields",
    [
        {"files": ("action.yml", "src/a.py")},
        {"files": ("action.yml",), "allow": ("action.yml",)},
        {"files": (".github/**",)},
        {"files": ()},
        {},
    ],
    ids=str,
)
def test_a_task_that_can_land_something_is_no_problem(fields: dict[str, Any]) -> None:
    assert _check(task(**fields), agent=ROBOT).problems == ()


@pytest.mark.parametrize(
    "record",
    [
        Record(status=Status.COMPLETED, attempts=1),
        Record(skipped=True),
        Record(held="fanin/r1"),
        Record(status=Status.FAILED, attempts=1, final=True),
        Record(status=Status.FAILED, attempts=3),
    ],
    ids=repr,
)
def test_a_task_that_will_not_run_is_not_checked(record: Record) -> None:
    report = _check(
        task(agent=None), progress=Progress("tasks.yml", {"T1": record}), environ={}
    )
    assert report == PreflightReport((), (), ())


def test_tasks_without_an_agent_are_one_problem_at_the_first() -> None:
    report = _check(*(task(f"T{n}", line=n, agent=None) for n in range(1, 41)))
    [problem] = _problems(report)
    assert problem.startswith(
        "tasks.yml:1: T1, T2, T3, T4, T5 and 35 more have no agent; set one"
    )


def test_tasks_with_the_same_unusable_agent_are_one_problem() -> None:
    unknown = AgentSettings(preset="claud")
    report = _check(*(task(name, agent=unknown) for name in "AB"), task("C"))
    problems = _problems(report)
    assert len(problems) == 2
    assert "A, B: unknown agent preset 'claud'" in problems[0]
    assert "C has no agent" in problems[1]


def test_the_agent_of_many_tasks_is_looked_up_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_up: list[str] = []
    usable_agent = agents.usable_agent

    def count(chosen: AgentSettings, env: Mapping[str, str]) -> agents.Agent:
        looked_up.append(chosen.name)
        return usable_agent(chosen, env)

    monkeypatch.setattr(agents, "usable_agent", count)
    agent = AgentSettings(command=("no-such-program",))
    tasks = [task(f"T{number}", agent=None) for number in range(5)]
    own = task("own", agent=AgentSettings(command=("nor-this",)))
    report = _check(*tasks, own, agent=agent, environ={"PATH": ""})
    assert looked_up == ["no-such-program", "nor-this"]
    assert len(report.missing) == 2


@pytest.mark.parametrize("may_change_workflows", [True, False])
def test_a_workflow_can_change_only_with_a_token_that_may(
    may_change_workflows: bool,
) -> None:
    report = _check(
        task(agent=ROBOT, line=3, allow=(".github/workflows/ci.yml",)),
        may_change_workflows=may_change_workflows,
    )
    expected = (
        "tasks.yml:3: T1 may change .github/workflows, but the job's own token may "
        "not push such a change; set the secret fanin-token to a token that may"
    )
    assert _problems(report) == ([] if may_change_workflows else [expected])


@pytest.mark.parametrize(
    ("glob", "is_refused"),
    [
        (".gitignore", False),
        ("CLAUDE.md", False),
        ("AGENTS.md", False),
        ("/.github/CODEOWNERS", False),
        ("docs.yml", False),
        (".github/workflows/new.yml", True),
        ("/.github/workflows/*.md", True),
        (".github/**", True),
        ("**/*.yaml", True),
        (".github", True),
        # Without a slash, a glob does not reach into a protected folder.
        ("*.yml", False),
        ("ci.yml", False),
        ("workflows", False),
        ("**", True),
    ],
)
def test_only_a_glob_that_means_workflows_needs_a_token_that_may_push_them(
    glob: str, is_refused: bool
) -> None:
    report = _check(
        task(agent=ROBOT, allow=(glob,)),
        may_change_workflows=False,
        tracked=("docs.yml", "CLAUDE.md", ".github/workflows/ci.yml"),
    )
    assert bool(report.problems) is is_refused


def test_a_missing_program_is_reported_once_at_its_first_task(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path)}
    tasks = [task(name, line=line, agent=ROBOT) for line, name in enumerate("AB", 3)]
    report = _check(*tasks, environ=environ)
    (problem,) = report.missing
    assert (problem.path, problem.line) == ("tasks.yml", 3)
    assert "'robot'" in problem.what
    program = tmp_path / "robot"
    program.touch(mode=0o755)
    assert _check(*tasks, environ=environ).missing == ()


def test_programs_are_not_looked_for_if_agents_run_on_other_machines() -> None:
    assert _check(task(agent=ROBOT), environ=None).missing == ()


def test_a_cost_limit_needs_an_agent_that_reports_its_cost() -> None:
    tasks = [task(name, line=line, agent=CODEX) for line, name in enumerate("AB", 3)]
    assert _check(*tasks).problems == ()
    report = _check(*tasks, limits=Limits(max_cost_usd=1.0))
    expected = (
        "tasks.yml:3: limits.max_cost_usd cannot be enforced: codex never reports its "
        "cost; remove the limit, or use an agent that reports its cost"
    )
    assert _problems(report) == [expected]


def test_every_agent_of_a_list_is_checked(tmp_path: Path) -> None:
    several = AgentSettings.model_validate(["claude", "codex"])
    report = _check(
        task(agent=several),
        environ={"PATH": str(tmp_path)},
        limits=Limits(max_cost_usd=1.0),
    )
    assert ["codex never reports" in problem for problem in _problems(report)] == [True]
    missing = " ".join(problem.what for problem in report.missing)
    for part in ("'claude'", "'codex'", "no key for claude", "no key for codex"):
        assert part in missing


@pytest.mark.parametrize(
    ("agent", "start"),
    [
        (AgentSettings(preset="claude"), None),
        (AgentSettings(preset="opencode"), "opencode reports its cost only afterwards"),
        (ROBOT, "robot may not report its cost"),
    ],
    ids=["claude", "opencode", "command"],
)
def test_a_note_says_how_the_cost_limit_is_kept(
    agent: AgentSettings, start: str | None
) -> None:
    tasks = [task("A", agent=agent), task("B", agent=agent)]
    assert _check(*tasks).notes == ()
    report = _check(*tasks, limits=Limits(max_cost_usd=1.0))
    assert report.problems == ()
    if start is None:
        assert report.notes == ()
    else:
        (note,) = report.notes
        assert note.startswith(start)


def _notes(tasks: Plan, *tracked: str) -> list[str]:
    return protected_path_notes(tasks, NO_PROGRESS, Settings(), tracked)


def test_files_that_match_protected_paths_are_a_note() -> None:
    tracked = [f".github/workflows/{name}.yml" for name in "abcde"]
    tasks = plan(task(files=(".github/**", "src/**")))
    expected = (
        "T1: its files match protected paths, and a change to them does not land: "
        ".github/workflows/a.yml, .github/workflows/b.yml, .github/workflows/c.yml "
        "and 2 more"
    )
    assert _notes(tasks, *tracked, "src/a.py") == [expected]
    assert _notes(tasks, "src/a.py") == []


def test_settings_of_a_task_that_the_plan_does_not_have_are_a_problem() -> None:
    report = _check(
        task("T002", agent=ROBOT),
        tasks={"T02": {"verify": "make"}, "T002": {"verify": "make"}, "X": {}},
    )
    assert _problems(report) == [
        "fanin.yml: tasks: there is no task T02 in tasks.yml; did you mean T002?",
        (
            "fanin.yml: tasks: there is no task X in tasks.yml; "
            "name a task of the plan; see  fanin status"
        ),
    ]


@pytest.mark.parametrize(
    ("fields", "timeout", "expected"),
    [
        ({}, 3600.0, []),
        ({}, 3601.0, ["fanin.yml: T1 may take 60 minutes, and GitHub ends its job"]),
        ({"timeout": 7200.0}, 60.0, ["tasks.yml:1: T1 may take 120 minutes"]),
        ({"timeout": 60.0}, 7200.0, []),
        # the task's own verify has the same limit once more
        ({"verify": "true"}, 1800.0, []),
        ({"verify": "true"}, 1860.0, ["fanin.yml: T1 may take 62 minutes"]),
    ],
)
def test_a_time_limit_that_its_job_cannot_last_is_a_problem(
    fields: dict[str, Any], timeout: float, expected: list[str]
) -> None:
    tasks = task("T1", agent=ROBOT, **fields)
    report = _check(tasks, job_seconds=3600, timeout=timeout)
    problems = _problems(report)
    assert len(problems) == len(expected)
    for problem, beginning in zip(problems, expected, strict=True):
        assert problem.startswith(beginning)
        assert "runs-on" in problem
    assert _problems(_check(tasks, timeout=timeout)) == []


def test_a_task_whose_text_is_too_long_for_a_prompt_is_a_problem() -> None:
    long = task("LONG", agent=ROBOT, prompt="x" * 400_001)
    (problem,) = _problems(_check(long, task("T2", agent=ROBOT)))
    assert "LONG cannot run: its text has 400,0" in problem
    done = task("D", prompt="x" * 400_001, source_status=Status.COMPLETED)
    assert _problems(_check(done)) == []


def test_a_title_that_messages_spell_otherwise_is_a_note() -> None:
    tasks = [
        task("T1", title="Fix @x [skip ci]"),
        task("T2", title="feat: plain"),
        task("T3", title="closes #3", source_status=Status.COMPLETED),
    ]
    notes = message_notes(plan(*tasks), NO_PROGRESS, Settings())
    (note,) = notes
    assert note == (
        "T1: Fix @x [skip ci]: a commit message or a pull request shows this as "
        "'T1: Fix x (skip ci)', so that GitHub does not act on it"
    )


@pytest.mark.parametrize(
    ("flags", "environ", "text", "expected"),
    [
        ({}, {}, "parallel: true\nagent: claud\n", "fanin.yml:2: unknown agent"),
        ({}, {}, "agent:\n- codex\n- claud\n", "fanin.yml:1: unknown agent"),
        ({}, {"FANIN_AGENT": "claud"}, "", "environment: FANIN_AGENT: unknown agent"),
        (
            {"agent": "claud"},
            {},
            "agent: codex",
            "command line: --agent: unknown agent",
        ),
    ],
    ids=str,
)
def test_an_unknown_agent_of_the_settings_is_one_problem_where_they_name_it(
    flags: dict[str, str], environ: dict[str, str], text: str, expected: str
) -> None:
    settings = load(flags, environ, text)
    report = preflight(
        plan(task("A", agent=None), task("B", agent=None), task("C", agent=ROBOT)),
        Progress("tasks.yml"),
        settings,
        environ=None,
    )
    [problem] = _problems(report)
    assert problem.startswith(f"{expected} preset 'claud'")


def test_an_agent_that_the_settings_give_one_task_is_a_problem_there() -> None:
    text = "agent: codex\ntasks:\n  A: {agent: claud}\n  B: {agent: {command: [no-such]}}\n"
    settings = load({}, {}, text)
    tasks = [
        task(task_id, agent=settings.tasks[task_id].agent) for task_id in ("A", "B")
    ]
    report = preflight(
        plan(*tasks), Progress("tasks.yml"), settings, environ={"PATH": "/nowhere"}
    )
    [problem] = _problems(report)
    assert problem.startswith("fanin.yml:3: unknown agent preset 'claud'")
    [missing] = report.missing
    assert str(missing).startswith("fanin.yml:4: the agent's program 'no-such'")


def test_an_idle_limit_of_an_agent_that_is_silent_while_it_thinks_is_noted() -> None:
    codex = AgentSettings(preset="codex", idle_timeout="90s")
    claude = AgentSettings(preset="claude", idle_timeout="90s")
    report = _check(task("T1"), task("T2", agent=claude), agent=codex)
    [note] = report.notes
    assert note.startswith("codex prints nothing while its model thinks")
    assert "idle_timeout 1m30s ends it then" in note
    assert _check(task("T1"), agent=CODEX).notes == ()
