"""Which branch a run with `deliver: pull-request` goes on with."""

from __future__ import annotations

import pytest

from runner.core.errors import UsageProblem
from runner.delivery.choice import ClosedPull, RunBranch, choose, is_own, new_branch
from runner.github_api.pulls import Pull, PullState


def branch(
    name: str = "fanin/1",
    state: PullState | None = "open",
    *,
    is_ahead: bool = True,
    merged_at: str = "tip",
) -> RunBranch:
    pull = None
    if state is not None:
        pull = Pull(7, "https://pulls/7", name, "main", state, commit=merged_at)
    return RunBranch(name, "tip", is_ahead, pull)


@pytest.mark.parametrize(
    "only",
    [
        branch(state="open"),
        branch(state="draft"),
        branch(state=None),  # it could not be opened
        branch(state="merged", merged_at="earlier"),  # more has landed since
    ],
)
def test_a_run_goes_on_with_work_that_the_base_lacks(only: RunBranch) -> None:
    merged = branch("fanin/0", is_ahead=False)
    assert choose([merged, only], "main", None, "").branch is only


@pytest.mark.parametrize(
    "only",
    [
        branch(is_ahead=False),
        branch(state="closed", is_ahead=False),
        branch(state="merged"),  # and the base has reverted it
    ],
)
def test_what_the_base_has_had_is_over_and_a_new_branch_starts(only: RunBranch) -> None:
    assert choose([only], "main", None, "").branch is None


def test_a_closed_pull_request_is_asked_about() -> None:
    closed = branch(state="closed")
    with pytest.raises(UsageProblem) as caught:
        choose([closed], "main", None, "--reopen or --abandon")
    assert "https://pulls/7 was closed" in str(caught.value)
    assert "main lacks the work of its branch fanin/1" in str(caught.value)
    assert "--reopen or --abandon" in str(caught.value)
    reopened = choose([closed], "main", "reopen", "")
    assert (reopened.branch, reopened.reopen, reopened.abandon) == (
        closed,
        (closed,),
        (),
    )
    abandoned = choose([closed], "main", "abandon", "")
    assert (abandoned.branch, abandoned.reopen, abandoned.abandon) == (
        None,
        (),
        (closed,),
    )


def test_work_that_goes_on_is_not_abandoned_with_the_closed() -> None:
    closed, other = branch(state="closed"), branch("fanin/2")
    choice = choose([closed, other], "main", "abandon", "")
    assert (choice.branch, choice.abandon) == (other, (closed,))
    with pytest.raises(UsageProblem, match="fanin/1 and fanin/2"):
        choose([closed, other], "main", "reopen", "")


@pytest.mark.parametrize("answer", ["reopen", "abandon"])
def test_an_answer_to_nothing_is_refused(answer: ClosedPull) -> None:
    with pytest.raises(UsageProblem, match=f"nothing to {answer}"):
        choose([branch()], "main", answer, "")


def test_names_of_own_branches() -> None:
    assert new_branch("7", ["fanin/6"]) == "fanin/7"
    assert new_branch("7", ["fanin/7", "fanin/7-2"]) == "fanin/7-3"
    assert is_own("fanin/7")
    assert not is_own("fanin/held/7.1")
    assert not is_own("main")
