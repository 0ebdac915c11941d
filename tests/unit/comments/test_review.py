"""Which review comments a task is told, and how."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from runner.comments.review import counted, message
from runner.core.result import MAX_PERSONS_MESSAGE
from runner.github_api.comments import ReviewComment
from runner.local.written_lines import Lines

LANDED = datetime(2026, 11, 27, 7, 0, tzinfo=UTC)
SAID = ReviewComment(
    "ada", False, "Why twice?", "2026-11-27T08:00:00Z", "a" * 40, "src/a.py", 4, 4
)


def test_comments_count_from_people_who_may_write_on_the_tasks_lines_after_it_landed() -> (
    None
):
    asked: list[str] = []

    def may_write(login: str) -> bool:
        asked.append(login)
        return login == "ada"

    def landed_before(lines: Lines) -> datetime | None:
        return LANDED if lines.path == "src/a.py" else None

    later = replace(SAID, body="And this.", created="2026-11-27T09:00:00Z")
    comments = [
        later,
        SAID,
        replace(SAID, author="eve"),
        replace(SAID, author="eve", body="again"),
        replace(SAID, author=None),
        replace(SAID, author="helper[bot]", by_program=True),
        replace(SAID, path="src/b.py"),
        replace(SAID, created="2026-11-27T06:59:59Z"),
    ]
    assert counted(comments, may_write, landed_before) == [SAID, later]
    assert asked == ["ada", "eve"]


def test_the_message_says_who_said_what_on_which_lines() -> None:
    ranged = replace(SAID, first=2, body="<!-- hidden -->Use\n`min()`.\u200b")
    assert message([SAID, ranged], "Be brief.") == (
        "Be brief.\n\nComments of the review on lines that you wrote:\n\n"
        "ada on src/a.py, line 4:\nWhy twice?\n\n"
        "ada on src/a.py, lines 2 to 4:\nUse\n`min()`."
    )


def test_what_does_not_fit_is_counted() -> None:
    long = replace(SAID, body="x" * 1500)
    text = message([long, long, long, long])
    assert len(text) <= MAX_PERSONS_MESSAGE
    assert text.endswith("… and 2 more comments on the pull request")
