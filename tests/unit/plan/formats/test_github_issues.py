"""The GitHub issues format: which issues become tasks, and which are skipped."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.core.task import Plan, PlanSettings, Status, Task
from runner.plan.formats import MemoryTree
from runner.plan.formats.github_issues import IssuesFile, files_of, parse, render
from tests.support.builders import problems
from tests.support.trees import checked, load, mark

PATH = ".fanin/issues.json"


def issue(number: int, *waits: dict[str, Any], **fields: Any) -> dict[str, Any]:
    made = {
        "number": number,
        "title": f"Issue {number}",
        "body": "",
        "url": f"https://github.com/o/r/issues/{number}",
    }
    times = {
        "labelled_by": "writer",
        "labelled_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
    }
    return {**made, **times, "waits_for": list(waits), **fields}


def wait(number: int, **fields: Any) -> dict[str, Any]:
    return {"repository": "o/r", "number": number, "state": "open", **fields}


def text(*issues: dict[str, Any], **fields: Any) -> str:
    head = {
        "fanin": "github-issues",
        "version": 1,
        "repository": "o/r",
        "label": "fanin",
    }
    return json.dumps({**head, "issues": issues, **fields}, indent=1)


def plan(*issues: dict[str, Any], **fields: Any) -> Plan:
    return load(PATH, text(*issues, **fields))


def only(**fields: Any) -> Task:
    return plan(issue(7, **fields)).tasks[0]


def test_an_issue_becomes_a_task() -> None:
    (task,) = plan(
        issue(7, title="Add a login", body="As a user\n\n### Files\n\nsrc/login.py\n")
    ).tasks
    assert (task.id, task.title, task.files) == ("7", "Add a login", ("src/login.py",))
    assert task.prompt.startswith("As a user")
    assert "#7" in task.prompt
    assert (
        "https://" not in task.prompt
    )  # the live issue may differ from the approved text
    assert task.source_status is Status.PENDING
    assert task.line == 7  # counted by hand in the text


def test_the_file_is_detected_by_its_beginning() -> None:
    assert load("x.json", text(issue(1))).source == "github-issues"
    assert PlanSettings.model_validate({"source": "github-issues"}).path == PATH
    assert (
        PlanSettings.model_validate({"source": "github-issues", "path": "a.json"}).path
        == "a.json"
    )
    assert PlanSettings.model_validate({"source": "beads"}).path == "tasks.yml"


def test_listed_issues_are_dependencies_and_closed_ones_are_not() -> None:
    loaded_plan = plan(
        issue(1),
        issue(
            2, wait(1, said="blocked_by"), wait(9, state="closed", reason="completed")
        ),
        issue(3, wait(1), wait(2, said="sub_issue"), wait(2, said="text"), wait(3)),
        issue(
            4,
            wait(1, repository="O/R"),
            wait(8, repository="p/q", state="closed", reason="merged"),
        ),
    )
    assert {task.id: task.depends_on for task in loaded_plan.tasks} == {
        "1": (),
        "2": ("1",),
        "3": ("1", "2"),
        "4": ("1",),
    }
    assert not any(task.skipped for task in loaded_plan.tasks)
    assert checked(loaded_plan).edges == 4


@pytest.mark.parametrize(
    ("waits", "why"),
    [
        (wait(9), "#9, which is open and not a task"),
        (
            wait(9, state="closed", reason="not_planned"),
            "#9, which was closed as not planned",
        ),
        (
            wait(9, state="closed", reason="duplicate"),
            "#9, which was closed as duplicate",
        ),
        (
            wait(9, state="closed", reason="not_merged"),
            "#9, which was closed as not merged",
        ),
        (wait(9, state="unknown"), "#9, which fanin cannot see on GitHub"),
        (wait(1, repository="p/q"), "p/q#1, which is open and not a task"),
    ],
)
def test_an_issue_that_waits_for_something_outside_the_plan_is_skipped(
    waits: dict[str, Any], why: str
) -> None:
    loaded_plan = plan(issue(1), issue(2, waits))
    assert [task.skipped for task in loaded_plan.tasks] == [False, True]
    assert loaded_plan.notes == (f"{PATH}:17: 2 is skipped: it waits for {why}",)


def test_refused_issues_get_a_note() -> None:
    loaded_plan = plan(
        refused=[{"number": 5, "why": "the label is from x, who has no write access"}]
    )
    assert loaded_plan.tasks == ()
    assert any(
        "#5 is not a task: the label is from x" in note for note in loaded_plan.notes
    )
    assert any(
        "no open issue of o/r has the label 'fanin'" in note
        for note in loaded_plan.notes
    )


@pytest.mark.parametrize(
    ("body", "files"),
    [
        ("no heading", None),
        (
            "### Files\n\nsrc/a.py\nsrc/b/**\n\n### Other\n\nnot/this",
            ("src/a.py", "src/b/**"),
        ),
        (
            "## Files:\n- `src/a.py`\n* [ ] tests/**\n1. docs/x.md",
            ("src/a.py", "tests/**", "docs/x.md"),
        ),
        ("### Files\n\n```text\nsrc/a.py\n# not a heading\n```\n", None),
        ("### Files\n\n```text\nsrc/a.py\n```\n\n### More\n\nx", ("src/a.py",)),
        ("### Files\n\n_No response_\n\n### Other\n", None),
        ("```\n### Files\nx\n```", None),
        (
            "### Files\n*.py\n**/x.py\n+page.svelte\n1.txt\n- **",
            ("*.py", "**/x.py", "+page.svelte", "1.txt", "**"),
        ),
        ("foo\f### Files\f**", None),
    ],
)
def test_files_are_the_lines_below_their_heading(
    body: str, files: tuple[str, ...] | None
) -> None:
    assert files_of(body)[0] == files


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("some prose here", "'some prose here' below its heading Files is not a glob"),
        ("#x", "not a valid gitignore pattern: it matches nothing"),
        (
            "\n".join(f"a{n}" for n in range(1_001)),
            "its heading Files has 1,002 globs, more than 1,000",
        ),
    ],
    ids=["prose", "comment", "too many"],
)
def test_an_issue_with_an_invalid_list_of_files_is_skipped(line: str, why: str) -> None:
    loaded_plan = plan(issue(7, body=f"### Files\n\nsrc/a.py\n{line}\n"))
    assert loaded_plan.tasks[0].skipped
    assert why in loaded_plan.notes[0]


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (text(issue(0)), ":8: issues.0.number: expected"),
        (text({"number": 1}), ":7: 'issues.0.title' is missing"),
        (text(issue(1), issue(1)), ":17: #1 is listed twice"),
        (text(version=2), ":3: version: expected"),
        (
            text(issue(1, title="")),
            ":9: issues.0.title: expected text that is not empty",
        ),
        (
            text(issue(1, wait(1, state="odd"))),
            "issues.0.waits_for.0.state: expected",
        ),
        (text()[:-5], "not valid JSON"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(broken: str, message: str) -> None:
    messages = problems(lambda: load(PATH, broken, source="github-issues"))
    assert any(message in line and line.startswith(f"{PATH}:") for line in messages), (
        messages
    )


def test_a_rendered_file_is_parsed_back_unchanged() -> None:
    file = parse(PATH, text(issue(1, wait(2, reason=None), body="é\n\u2028"), issue(2)))
    again = render(file)
    assert parse(PATH, again) == file
    assert render(parse(PATH, again)) == again
    assert isinstance(file, IssuesFile)


def test_writing_back_never_changes_the_file() -> None:
    tree = MemoryTree({PATH: text(issue(1))})
    assert mark(load(PATH, tree.files), tree, {"1": Status.COMPLETED}) == {}
