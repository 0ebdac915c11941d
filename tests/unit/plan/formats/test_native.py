"""The native plan, tasks.yml, and the registry that picks the format."""

from __future__ import annotations

from textwrap import dedent

import pytest

from runner.core.errors import UsageProblem
from runner.core.task import AgentSettings, Plan, PlanSettings, Status
from runner.plan import formats
from runner.plan.formats import Mark, MemoryTree, diagnostics
from tests.support.builders import problems


def _load(text: str) -> Plan:
    return formats.load(PlanSettings(), MemoryTree({"tasks.yml": dedent(text)}))


def test_a_plan_gives_its_tasks_in_file_order_with_their_lines() -> None:
    plan = _load(
        """\
        version: 1
        tasks:
          - id: T2
            title: Second
            prompt: |
              Do this.
              And that.
            files: ["src/**", README.md]
            depends_on: [T1]
            agent: {command: [robot, "--fast"], env: [KEY]}
            verify: make test
            timeout: 1h30m
            max_attempts: 2
            estimate: 10m
            priority: 5
            allow: [action.yml]
            allow_empty: true
            retry_from: base
            gate: true

          - {id: T1, title: First}
        """
    )
    second, first = plan.tasks
    assert (plan.path, plan.source) == ("tasks.yml", "native")
    assert (second.line, first.line) == (3, 21)
    assert second.model_dump() == {
        "id": "T2",
        "title": "Second",
        "prompt": "Do this.\nAnd that.\n",
        "files": ("src/**", "README.md"),
        "depends_on": ("T1",),
        "acceptance": (),
        "agent": AgentSettings(command=("robot", "--fast"), env=("KEY",)).model_dump(),
        "verify": "make test",
        "timeout": 5400.0,
        "max_attempts": 2,
        "estimate": 600.0,
        "priority": 5,
        "allow": ("action.yml",),
        "allow_empty": True,
        "retry_from": "base",
        "gate": True,
    }
    assert (first.files, first.depends_on, first.source_status) == (
        None,
        (),
        Status.PENDING,
    )


@pytest.mark.parametrize(
    "task_id", ["1.10", "007", "1_000", "yes", "0x1F", "2026-01-02", "1e3"]
)
def test_an_id_is_the_text_as_written_not_the_yaml_value(task_id: str) -> None:
    plan = _load(
        f"version: 1\ntasks:\n- {{id: {task_id}, title: x}}\n- {{id: B, title: x, depends_on: [{task_id}]}}\n"
        f"- {{id: C, title: x, depends_on: {task_id}}}\n"
    )
    assert plan.tasks[0].id == task_id
    assert plan.tasks[1].depends_on == plan.tasks[2].depends_on == (task_id,)


@pytest.mark.parametrize(
    ("field", "expected"),
    [("files", ("a b",)), ("allow", ("a b",)), ("depends_on", ("a b",))],
)
def test_a_single_text_counts_as_a_list_of_one(
    field: str, expected: tuple[str, ...]
) -> None:
    plan = _load(f"version: 1\ntasks: [{{id: T1, title: x, {field}: a b}}]\n")
    assert getattr(plan.tasks[0], field) == expected


@pytest.mark.parametrize(
    ("written", "files"), [("files: []", ()), ("files:", None), ("priority: 0", None)]
)
def test_an_empty_list_of_files_allows_nothing_and_a_missing_list_anything(
    written: str, files: tuple[str, ...] | None
) -> None:
    assert (
        _load(f"version: 1\ntasks:\n- id: T1\n  title: x\n  {written}\n").tasks[0].files
        == files
    )


def test_an_empty_depends_on_means_no_dependencies() -> None:
    assert (
        _load("version: 1\ntasks:\n- id: T1\n  title: x\n  depends_on:\n")
        .tasks[0]
        .depends_on
        == ()
    )


def test_defaults_apply_to_tasks_without_their_own_value() -> None:
    plan = _load(
        """\
        version: 1
        defaults: {agent: claude, timeout: 5m, max_attempts: 2, verify: make, priority: 1, allow: [a], estimate: 1m}
        tasks:
          - {id: T1, title: x}
          - {id: T2, title: x, agent: {command: [b]}, timeout: 6m, max_attempts: 9, verify: null, priority: 0}
        """
    )
    first, second = plan.tasks
    assert (first.agent, first.timeout, first.max_attempts) == (
        AgentSettings(preset="claude"),
        300.0,
        2,
    )
    assert (first.verify, first.priority, first.allow, first.estimate) == (
        "make",
        1,
        ("a",),
        60.0,
    )
    assert (second.agent, second.timeout, second.max_attempts) == (
        AgentSettings(command=("b",)),
        360.0,
        9,
    )
    assert (second.verify, second.priority, second.allow) == (None, 0, ("a",))


def test_keys_that_begin_with_x_are_ignored() -> None:
    assert (
        _load(
            "x-a: &a {priority: 4}\nversion: 1\ntasks: [{id: T1, title: x, x-b: 1, <<: *a}]\n"
        )
        .tasks[0]
        .priority
        == 4
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "tasks.yml:1: this is not a plan"),
        ("just words\n", "tasks.yml:1: this is not a plan"),
        ("version: 1\ntasks: []\n", "tasks.yml:2: no tasks found"),
        ("version: 1\n", "tasks.yml:1: 'tasks' is not a list"),
        ("version: 1\ntasks: {T1: x}\n", "tasks.yml:2: 'tasks' is not a list"),
        (
            "tasks: [{id: T1, title: x}]\n",
            "tasks.yml:1: the version is missing or unknown; write: version: 1",
        ),
        (
            "tasks: [{id: T1, title: x}]\nversion: 2\n",
            "tasks.yml:2: the version is missing or unknown",
        ),
        ("version: 1\ntasks:\n- id: T1\n", "tasks.yml:3: 'title' is missing; add it"),
        ("version: 1\ntasks:\n- title: x\n", "tasks.yml:3: 'id' is missing; add it"),
        ("version: 1\ntasks:\n- T1\n", "tasks.yml:3: expected a mapping, got 'T1'"),
        (
            "version: 1\ntasks:\n- {id: T1, title: ''}\n",
            "tasks.yml:3: title: expected text that is not empty",
        ),
        (
            "version: 1\ntasks:\n- id: [a]\n  title: x\n",
            "tasks.yml:3: id: expected text, got a list",
        ),
        (
            "version: 1\ntasks:\n- id: T1\n  title: x\n  timeout: soon\n",
            "tasks.yml:5: timeout: expected a duration like 45s, 30m or 1h30m, got 'soon'",
        ),
        (
            "version: 1\ntasks:\n- id: T1\n  title: x\n  files: [a, 5]\n",
            "tasks.yml:5: files.1: expected text, got",
        ),
        (
            "version: 1\ntasks:\n- id: T1\n  title: x\n  max_attempts: 0\n",
            "tasks.yml:5: max_attempts: expected 1 or more, got",
        ),
        (
            "version: 1\ntasks:\n- id: T1\n  title: x\n  id: T2\n",
            "tasks.yml:5: duplicate key 'id'",
        ),
        (
            "version: 1\ndefaults: 5\ntasks: [{id: T1, title: x}]\n",
            "tasks.yml:2: expected a mapping, got",
        ),
        # what git could not match must not wait for the fan-in to be found
        (
            "version: 1\ntasks:\n- id: T1\n  title: x\n  files: ['']\n",
            "tasks.yml:5: files",
        ),
        (
            "version: 1\ntasks:\n- id: T1\n  title: x\n  files: [a, '!']\n",
            "tasks.yml:5: files",
        ),
        (
            "version: 1\ntasks:\n- id: T1\n  title: x\n  allow: ['# a']\n",
            "tasks.yml:5: allow",
        ),
    ],
    ids=repr,
)
def test_a_mistake_is_reported_with_its_line(text: str, message: str) -> None:
    (problem,) = problems(lambda: _load(text))
    assert problem.startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "version: 1\ntasks:\n- id: T1\n  title: x\n  depend_on: [T0]\n",
            "tasks.yml:5: unknown key 'depend_on'; did you mean 'depends_on'?",
        ),
        (
            "version: 1\ntasks:\n- id: T1\n  title: x\n  depend_on:\n    - T0\n",
            "tasks.yml:5: unknown key 'depend_on'; did you mean 'depends_on'?",
        ),
        (
            "version: 1\ntasks:\n- id: T1\n  title: x\n  agent:\n    comand: [a]\n",
            "tasks.yml:6: unknown key 'agent.comand'; did you mean 'command'?",
        ),
        (
            "version: 1\ndefaults: {tiemout: 5m}\ntasks: [{id: T1, title: x}]\n",
            "tasks.yml:2: unknown key 'tiemout'; did you mean 'timeout'?",
        ),
        (
            "version: 1\ndefault:\n  timeout: 5m\ntasks: [{id: T1, title: x}]\n",
            "tasks.yml:2: unknown key 'default'; did you mean 'defaults'?",
        ),
        (
            "version: 1\ntasks:\n- id: T1\n  title: x\n  line: 5\n",
            "tasks.yml:5: unknown key 'line'",
        ),
    ],
    ids=[
        "in a task",
        "before a block",
        "in an agent",
        "in defaults",
        "at the top",
        "of ours",
    ],
)
def test_a_misspelt_key_is_reported_with_its_line_and_the_nearest_key(
    text: str, message: str
) -> None:
    assert any(problem.startswith(message) for problem in problems(lambda: _load(text)))


def test_all_mistakes_are_reported_together() -> None:
    text = """\
        version: 1
        defaults: {agent: {}}
        tasks:
          - {id: T1, titel: x}
          - {id: T2, title: x, timeout: soon}
        """
    assert [problem.split(";")[0] for problem in problems(lambda: _load(text))] == [
        "tasks.yml:2: agent: give exactly one of preset and command",
        "tasks.yml:4: 'title' is missing",
        "tasks.yml:4: unknown key 'titel'",
        "tasks.yml:5: timeout: expected a duration like 45s, 30m or 1h30m, got 'soon'",
    ]


def test_a_mistake_at_the_top_level_does_not_hide_those_in_tasks() -> None:
    messages = problems(lambda: _load("version: 7\ntasks:\n- {id: T1, titel: x}\n"))
    assert [problem.split(";")[0] for problem in messages] == [
        "tasks.yml:1: the version is missing or unknown",
        "tasks.yml:3: 'title' is missing",
        "tasks.yml:3: unknown key 'titel'",
    ]


def test_writing_back_never_changes_a_native_plan() -> None:
    text = "version: 1\r\ntasks: [{id: T1, title: x}]  # mine\r\n"
    assert (
        formats.get_source("native").write_back(
            "tasks.yml",
            MemoryTree({"tasks.yml": text}),
            {"T1": Mark(Status.COMPLETED)},
            {},
        )
        == {}
    )


@pytest.mark.parametrize("path", ["plan.toml", "README", "tasks.yml.txt"])
def test_a_plan_in_an_unknown_format_lists_the_known_formats(path: str) -> None:
    (message,) = problems(
        lambda: formats.load(PlanSettings(path=path), MemoryTree({path: ""}))
    )
    assert message.startswith(
        f"{path}: unknown plan format; known formats: bmad, native, "
    )
    assert f"plan: {{source: NAME, path: {path}}}" in message


def test_get_source_returns_the_format_of_that_name_only() -> None:
    for source in formats.sources():
        assert formats.get_source(source.name) is source
    with pytest.raises(UsageProblem, match="did you mean 'native'"):
        formats.get_source("natve")


def test_a_plan_with_too_many_dependencies_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(diagnostics, "MAX_EDGES", 1)
    text = "version: 1\ntasks:\n- {id: A, title: a}\n- {id: B, title: b, depends_on: [A]}\n"
    assert len(_load(text).tasks) == 2
    text += "- {id: C, title: c, depends_on: [A]}\n"
    (problem,) = problems(lambda: _load(text))
    assert "more than 1 dependencies" in problem


def test_a_plan_with_too_many_tasks_is_refused_before_they_are_built(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(diagnostics, "MAX_TASKS", 2)
    text = "version: 1\ntasks:\n- {id: A, title: a}\n- {id: B, title: b}\n"
    assert len(_load(text).tasks) == 2
    (problem,) = problems(lambda: _load(text + "- not a task\n"))
    assert problem == "tasks.yml:1: 3 tasks; at most 2 are allowed; split the plan"
