"""The review comments that a task's next prompt gets: which of them, and as what text.

Those of people who may write, in threads that nobody has resolved, on lines that the task
wrote, and made after it landed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from runner.core.errors import UsageProblem
from runner.core.plurals import pluralize
from runner.core.result import MAX_PERSONS_MESSAGE
from runner.github_api.issue_types import WRITERS
from runner.issues.rendered_text import rendered_text
from runner.local.written_lines import Lines, WrittenLines

if TYPE_CHECKING:
    from runner.github_api.comments import CommentApi, ReviewComment

_HEADING = "Comments of the review on lines that you wrote:"
_MORE_LENGTH = 60  # characters that are left for the sentence on the others


def review_message(
    api: CommentApi, pull_number: int, written: WrittenLines, said: str = ""
) -> str:
    """What the review of the pull request says to the task, after what a person has
    `said` beside it.

    Raises UsageProblem if it says nothing to the task, and if that has not landed.
    """
    comments = counted(
        api.open_review_comments(pull_number),
        lambda login: api.actor_permission(login) in WRITERS,
        written.landed_before,
    )
    if not comments:
        raise UsageProblem(
            f"no open review comment is on lines that {written.task} wrote",
            "comments count from people who may write, since it landed, until they are "
            "resolved",
        )
    return message(comments, said)


def counted(
    comments: Iterable[ReviewComment],
    may_write: Callable[[str], bool],
    landed_before: Callable[[Lines], datetime | None],
) -> list[ReviewComment]:
    """The comments that the task is told, the oldest first. `landed_before` says when the
    task landed some of the lines, None if it wrote none of them.
    """
    writers: dict[str, bool] = {}
    found = []
    for comment in comments:
        if comment.by_program or not comment.author:
            continue
        if comment.author not in writers:
            writers[comment.author] = may_write(comment.author)
        if not writers[comment.author]:
            continue
        lines = Lines(comment.commit, comment.path, comment.first, comment.last)
        landed = landed_before(lines)
        if landed is not None and datetime.fromisoformat(comment.created) >= landed:
            found.append(comment)
    return sorted(found, key=lambda comment: comment.created)


def message(comments: Sequence[ReviewComment], said: str = "") -> str:
    """The comments as a person's message: who said what on which lines. What does not fit
    is counted.
    """
    parts = [said, _HEADING] if said else [_HEADING]
    room = MAX_PERSONS_MESSAGE - _MORE_LENGTH
    for number, comment in enumerate(comments):
        part = _said(comment)
        if sum(map(len, parts)) + 2 * len(parts) + len(part) > room:
            others = pluralize(len(comments) - number, "more comment")
            parts.append(f"… and {others} on the pull request")
            break
        parts.append(part)
    return "\n\n".join(parts)


def _said(comment: ReviewComment) -> str:
    lines = f"line {comment.last}"
    if comment.first < comment.last:
        lines = f"lines {comment.first} to {comment.last}"
    text = rendered_text(comment.body).strip()
    return f"{comment.author} on {comment.path}, {lines}:\n{text}"
