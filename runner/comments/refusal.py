"""Decides whether a command in a comment is obeyed, by what GitHub says at that moment.

Pure. Sources: a comment may be edited by its author and by everybody with write access, so
that only an unchanged one is its author's word; `author_association` is no permission, a
member of the organisation need not be able to write; the branch of a fork belongs to
somebody else.
"""

from __future__ import annotations

from runner.delivery.choice import HELD_PREFIX, is_own
from runner.github_api.comments import Comment, CommentedPull

LABEL = "fanin"


def refusal(
    comment: Comment,
    now: Comment | None,
    pull: CommentedPull,
    repository: str,
    label: str = LABEL,
) -> str | None:
    """Why the command of a person who may write is not obeyed, as a sentence; None if it
    is.

    `comment` is as the event has it, `now` as GitHub has it, None if it was
    deleted; `repository` is owner/name.
    """
    if now is None or (now.body, now.author) != (comment.body, comment.author):
        return "the comment has changed since: write a new one"
    if (pull.head_repository or "").casefold() != repository.casefold():
        return "the pull request is from a fork"
    if not pull.is_open:
        return "the pull request is closed"
    if pull.head.startswith(HELD_PREFIX):
        return "this is the work of one batch: merge it, or close it"
    is_labelled = label.casefold() in {name.casefold() for name in pull.labels}
    if not is_own(pull.head) and not is_labelled:
        return f"this is no pull request of fanin: it has no label {label}"
    return None


def workflow_branch(pull: CommentedPull) -> str:
    """The branch on which the workflow of the pull request's run is started, as its own
    rounds are.

    A run on a branch of its own was started on the branch that it goes to.
    """
    return pull.base if is_own(pull.head) else pull.head
