"""What somebody else changed in the repository while a run was in progress, and the
sentences that say so.
"""

from collections.abc import Sequence
from typing import Literal

from runner.core.documents import Document, Text
from runner.core.plurals import pluralize, some_of

_SHORT = 10  # characters of a commit's id
_MAX_NAMES = 5  # of the names that a sentence lists
_MAX_COMMITS = 3  # of the commits that a sentence describes

Part = Literal["branch", "ref", "head", "files", "stash", "configuration", "hooks"]


class OutsideCommit(Document):
    """A commit that fanin did not make. `author` is `NAME <EMAIL>`."""

    commit: str
    author: Text
    subject: Text


class OutsideChange(Document):
    """One part of the repository that somebody changed.

    - `part`: a `branch`; another `ref`, such as a tag; `head`, what is checked out;
      `files` that are tracked and differ from HEAD, staged or not; the `stash`; the
      `configuration`, with ignore files and alternates, a person's own of git, and what
      steers that person's agents; `hooks`.
    - `names` are those of the branch, the ref, the files, keys or hooks; `count` is how
      many there are in all.
    - `old` and `new` are commits, or for `head` branches; None for what does not exist.
    - `commits` are those that a branch has got, newest first, and `commit_count` how many
      in all. `rewritten`: the branch has lost some.
    """

    part: Part
    names: tuple[Text, ...] = ()
    count: int = 0
    old: Text | None = None
    new: Text | None = None
    commits: tuple[OutsideCommit, ...] = ()
    commit_count: int = 0
    rewritten: bool = False


class RunningAttempt(Document):
    """An attempt that ran when something changed."""

    batch: str
    task: str
    attempt: int


def sentence(
    changes: Sequence[OutsideChange], count: int, attempts: Sequence[RunningAttempt]
) -> str:
    """What changed, and what ran meanwhile, on one line.

    `count` is how many changes there were in all.
    """
    texts = [_change_text(change) for change in changes]
    if count > len(changes):
        texts.append(f"{count - len(changes)} more changes")
    return f"{'; '.join(texts)} ({attempts_text(attempts)})"


def attempts_text(attempts: Sequence[RunningAttempt]) -> str:
    """Which attempts ran meanwhile."""
    if not attempts:
        return "no attempt ran meanwhile"
    names = []
    for each in attempts[:_MAX_NAMES]:
        number = f" (attempt {each.attempt})" if each.attempt > 1 else ""
        names.append(f"{each.task}{number}")
    return f"meanwhile ran {some_of(names, len(attempts))}"


def _change_text(change: OutsideChange) -> str:
    match change.part:
        case "branch" | "ref":
            return _ref_text(change)
        case "head":
            return f"HEAD moved from {_named(change.old)} to {_named(change.new)}"
        case "files":
            verb = "differs" if change.count == 1 else "differ"
            return f"{_names(change)} now {verb} from HEAD"
        case "stash":
            return "the stash changed"
        case "configuration":
            return f"the configuration changed: {_names(change)}"
    return f"hooks changed: {_names(change)}"


def _ref_text(change: OutsideChange) -> str:
    name = change.names[0]
    if change.new is None:
        return f"{name} was deleted, it was at {_short(change.old)}"
    verb = "was created at" if change.old is None else "moved to"
    text = f"{name} {verb} {_short(change.new)}"
    if change.rewritten:
        text += f", which does not follow {_short(change.old)}"
    described = [commit_text(commit) for commit in change.commits[:_MAX_COMMITS]]
    more = change.commit_count - len(described)
    if described and more > 0:
        described.append(f"{pluralize(more, 'more commit')}")
    return ": ".join([text, ", ".join(described)]) if described else text


def commit_text(commit: OutsideCommit) -> str:
    """The commit with its author and subject."""
    return f"{_short(commit.commit)} “{commit.subject}” by {commit.author}"


def _names(change: OutsideChange) -> str:
    return some_of(change.names[:_MAX_NAMES], change.count)


def _named(head: str | None) -> str:
    return head or "nothing"


def _short(commit: str | None) -> str:
    return (commit or "")[:_SHORT]
