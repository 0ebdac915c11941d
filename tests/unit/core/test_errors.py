"""The exit-code table, and how problems read."""

from __future__ import annotations

import pytest

from runner.core.errors import (
    EnvironmentBroken,
    FaninError,
    GitFailed,
    Interrupted,
    InvalidInput,
    Problem,
    UsageProblem,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageProblem("x"), 2),
        (InvalidInput([Problem("p", 1, "x", "y")]), 2),
        (EnvironmentBroken("x"), 3),
        (GitFailed(["push"], 128, "x"), 3),
        (FaninError("x"), 3),
        (Interrupted("x"), 130),
    ],
    ids=lambda value: (
        type(value).__name__ if isinstance(value, Exception) else str(value)
    ),
)
def test_every_error_has_the_exit_code_of_the_design(
    error: FaninError, code: int
) -> None:
    assert error.exit_code == code


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (
            Problem("tasks.yml", 7, "it is wrong", "mend it"),
            "tasks.yml:7: it is wrong; mend it",
        ),
        (
            Problem("tasks.yml", None, "it is wrong", "mend it"),
            "tasks.yml: it is wrong; mend it",
        ),
        (Problem("tasks.yml", 7, "it is wrong", ""), "tasks.yml:7: it is wrong"),
    ],
)
def test_a_problem_reads_file_line_what_and_what_to_do(
    problem: Problem, text: str
) -> None:
    assert str(problem) == text


def test_invalid_input_lists_every_problem_once_by_file_and_line() -> None:
    late, early = Problem("a.yml", 9, "late", "x"), Problem("a.yml", 2, "early", "x")
    unplaced, other = (
        Problem("a.yml", None, "unplaced", "x"),
        Problem("0.yml", 50, "other file", "x"),
    )
    error = InvalidInput([late, early, unplaced, late, other])
    assert error.problems == (other, unplaced, early, late)
    assert str(error).splitlines() == [str(problem) for problem in error.problems]


def test_two_remedies_for_one_place_are_both_kept() -> None:
    assert (
        len(
            InvalidInput(
                [Problem("p", 1, "x", "one"), Problem("p", 1, "x", "other")]
            ).problems
        )
        == 2
    )


@pytest.mark.parametrize(
    ("advice", "text"), [("do this", "it broke\ndo this"), ("", "it broke")]
)
def test_advice_follows_the_message_on_its_own_line(advice: str, text: str) -> None:
    assert str(FaninError("it broke", advice)) == text


@pytest.mark.parametrize(
    ("status", "stderr", "end"),
    [
        (128, "  fatal: no such ref \n", "failed with status 128: fatal: no such ref"),
        (128, "\n", "failed with status 128: (no message)"),
        (-25, "", "was ended by signal 25: (no message)"),
    ],
)
def test_a_failed_git_command_is_named_with_its_status_and_words(
    status: int, stderr: str, end: str
) -> None:
    error = GitFailed(["update-ref", "x"], status, stderr)
    assert str(error) == f"git update-ref x {end}"
