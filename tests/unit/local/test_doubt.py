"""Which commits of others may be an agent's."""

from __future__ import annotations

import pytest

from runner.core.result import Failure, FailureKind
from runner.local.doubt import OutsideWork, agents_commit, agents_work, is_trusted
from runner.policy.change import Change
from runner.repo.checkout_state import Commit
from tests.support.builders import entry, manifest, task

AGENT = "fanin agent <fanin@users.noreply.github.com>"
PERSON = "Ann <ann@example.com>"
TIP = "c" * 40
BLOB, OTHER = ("100644", "1" * 40), ("100644", "2" * 40)
MANIFEST = manifest(entry(task("A", files=["src/**"])), entry(task("B"), index=1))
NO_CHANGE = Failure(kind=FailureKind.NO_CHANGE, message="no change")
RED = Failure(kind=FailureKind.VERIFY, message="red")


def outside(
    *work: str, author: str = PERSON, committer: str = PERSON, ran: str = "AB"
) -> OutsideWork:
    return OutsideWork(
        "o" * 40,
        TIP,
        (Commit(TIP, author, committer, "text"),),
        frozenset((path, BLOB) for path in work),
        frozenset((MANIFEST.batch, each) for each in ran),
    )


@pytest.mark.parametrize(
    ("author", "committer", "is_agents"),
    [
        (PERSON, PERSON, False),
        (AGENT, PERSON, True),
        (PERSON, AGENT, True),
        # fanin's own, where nobody has an identity
        ("fanin <fanin@users.noreply.github.com>", PERSON, False),
    ],
)
def test_the_identity_of_agents_checkouts_is_an_agents(
    author: str, committer: str, is_agents: bool
) -> None:
    reason = agents_commit(outside(author=author, committer=committer))
    assert (reason is not None) == is_agents


@pytest.mark.parametrize(
    ("commit", "made", "failed", "reason"),
    [
        # the same file with the same content
        (outside("src/a"), {"A": ("src/a", BLOB)}, {}, "has src/a as A made it"),
        # a conflict as between any two people
        (outside("src/a"), {"A": ("src/a", OTHER)}, {}, None),
        (outside("src/a"), {"A": ("src/b", BLOB)}, {}, None),
        # it ran before or after
        (outside("src/a", ran="B"), {"A": ("src/a", BLOB)}, {}, None),
        # the agent has worked in the repository and not in its checkout
        (outside("x", "src/a"), {}, {"A": NO_CHANGE}, "changes src/a, and A left no"),
        (outside("x"), {}, {"A": NO_CHANGE}, None),
        (outside("src/a"), {}, {"A": RED}, None),
        # nobody knows what its task is about
        (outside("src/a"), {}, {"B": NO_CHANGE}, None),
    ],
)
def test_a_commit_with_an_attempts_work_may_be_its_own(
    commit: OutsideWork,
    made: dict[str, tuple[str, tuple[str, str]]],
    failed: dict[str, Failure],
    reason: str | None,
) -> None:
    changes = {
        task_id: [Change(path, None, new)] for task_id, (path, new) in made.items()
    }
    told = agents_work(commit, MANIFEST, changes, failed)
    assert told is None if reason is None else reason in (told or "")


def test_a_short_id_names_a_commit_but_not_too_short() -> None:
    assert is_trusted(TIP, ["0000000", "ccccccc"])
    assert is_trusted(TIP, [TIP.upper()])
    assert not is_trusted(TIP, ["cccccc"])
    assert not is_trusted(TIP, [])
