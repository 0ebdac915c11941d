"""pydantic's errors become problems in plain words; the nearest spelling is guessed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from runner.config.settings import Settings
from runner.core.task import Task, TaskFields
from runner.core.validation import nearest, problems_of


@pytest.mark.parametrize(
    ("word", "choices", "guess"),
    [
        ("depend_on", ["files", "depends_on"], "depends_on"),
        ("TASK-1", ["task-1", "other"], "task-1"),
        ("t3", ["T1", "T2", "T3"], "T3"),
        ("zebra", ["files", "depends_on"], None),
        ("x", [], None),
    ],
)
def test_the_nearest_spelling_is_guessed_if_one_is_close(
    word: str, choices: list[str], guess: str | None
) -> None:
    assert nearest(word, choices) == guess


def _problems(
    model: type[BaseModel], value: Any, prefix: Sequence[str | int] = ()
) -> list[str]:
    asked: list[Sequence[str | int]] = []

    def locate(loc: Sequence[str | int]) -> int:
        asked.append(loc)
        return 10 * len(loc)

    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    reported = problems_of(caught.value, "p", locate, model, prefix)
    assert all(list(loc[: len(prefix)]) == list(prefix) for loc in asked)
    return [str(problem) for problem in reported]


@pytest.mark.parametrize(
    ("model", "value", "message"),
    [
        (
            Settings,
            {"paralel": True},
            "p:10: unknown key 'paralel'; did you mean 'parallel'?",
        ),
        (
            Settings,
            {"limits": {"file": 3}},
            "p:20: unknown key 'limits.file'; did you mean 'files'?",
        ),
        (
            Settings,
            {"agent": {"comand": ["x"]}},
            "p:20: unknown key 'agent.comand'; did you mean 'command'?",
        ),
        (
            Settings,
            {"limits": {"zzz": 3}},
            "p:20: unknown key 'limits.zzz'; known here: files, size, max_cost_usd, max_rounds",
        ),
        (TaskFields, {"title": "x"}, "p:10: 'id' is missing; add it"),
        (
            Settings,
            {"timeout": "soon"},
            "p:10: timeout: expected a duration like 45s, 30m or 1h30m, got 'soon'",
        ),
        (
            Settings,
            {"agent": {}},
            "p:10: agent: give exactly one of preset and command",
        ),
        (
            Settings,
            {"max_concurrent": 0},
            "p:10: max_concurrent: expected 1 or more, got 0",
        ),
        (
            Settings,
            {"commit_strategy": "x"},
            "p:10: commit_strategy: expected 'batch' or 'individual', got 'x'",
        ),
        (TaskFields, "text", "p:0: expected a mapping, got 'text'"),
    ],
)
def test_a_problem_says_what_was_expected_and_what_was_given(
    model: type[BaseModel], value: object, message: str
) -> None:
    (problem,) = _problems(model, value)
    assert problem.startswith(message)


def test_the_line_is_that_of_the_value_in_its_document() -> None:
    assert _problems(
        TaskFields, {"id": "T1", "titel": "x", "title": "x"}, ("tasks", 3)
    )[0].startswith("p:30: ")


def test_every_error_becomes_a_problem() -> None:
    assert (
        len(_problems(TaskFields, {"titel": "x", "files": 3, "priority": "high"})) == 5
    )


def test_excluded_fields_are_never_suggested() -> None:
    (problem,) = _problems(Task, {"id": "T1", "title": "x", "source_statu": 1})
    assert "source_status" not in problem


def test_an_invalid_id_is_described_in_words_not_by_a_regular_expression() -> None:
    (problem,) = _problems(TaskFields, {"id": " T1", "title": "x"})
    assert "^" not in problem
