"""What becomes of the pull request of a run's branch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from runner.core.errors import EnvironmentBroken
from runner.delivery.pull_request import Published, publish
from runner.github_api.errors import MayNotOpenPulls
from runner.github_api.pulls import Pull
from runner.ui.pull_request_text import Delivered, described
from tests.unit.ui.test_round_summary import views

DELIVERED = Delivered("tasks.yml", "main", views("A"))
OPEN = Pull(7, "https://pulls/7", "fanin/1", "main", "draft", "old", "mine")


class Pulls:
    """The part of GitHub's client that keeps pull requests; `fails` in one method."""

    def __init__(self, pull: Pull | None, fails: str = "", error: Any = None) -> None:
        self.pull, self.fails, self.error = pull, fails, error
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        def call(*_: object, **options: object) -> Pull | None:
            if name == self.fails:
                raise self.error
            if name != "find_pull":
                self.calls.append(name + " draft" * bool(options.get("draft")))
            return self.pull or OPEN if name == "open_pull" else self.pull

        return call


def published(pulls: Any, *, is_finished: bool = False) -> Published:
    return publish(pulls, "fanin/1", "tip", DELIVERED, is_finished=is_finished)


@pytest.mark.parametrize(
    ("pull", "is_finished", "calls"),
    [
        (None, False, ["open_pull draft"]),
        (None, True, ["open_pull"]),
        (OPEN, False, []),  # the person has taken fanin's part out
        (replace(OPEN, body=described("", DELIVERED)), False, []),
        (
            replace(OPEN, body=described("", replace(DELIVERED, verify="x"))),
            True,
            ["mark_pull_ready"],
        ),
        (replace(OPEN, state="open"), True, []),
        (replace(OPEN, state="closed"), True, []),
        (replace(OPEN, state="merged", commit="tip"), True, []),
        # more has landed since it was merged
        (replace(OPEN, state="merged"), False, ["open_pull draft"]),
    ],
)
def test_one_pull_request_is_kept(
    pull: Pull | None, is_finished: bool, calls: list[str]
) -> None:
    pulls = Pulls(pull)
    published(pulls, is_finished=is_finished)
    assert pulls.calls == calls


def test_its_description_is_brought_up_to_date() -> None:
    before = described("", replace(DELIVERED, views=views("A", "B")))
    pulls = Pulls(replace(OPEN, body=before))
    assert published(pulls).sentence == "the work is in https://pulls/7"
    assert pulls.calls == ["describe_pull"]
    ended = published(pulls, is_finished=True)
    assert ended.sentence == "the work is in https://pulls/7, ready for review"


@pytest.mark.parametrize(
    ("fails", "error", "sentence", "warning"),
    [
        (
            "find_pull",
            EnvironmentBroken("no answer", "wait"),
            "the work is on fanin/1",
            "could not update the pull request of fanin/1: no answer",
        ),
        (
            "open_pull",
            MayNotOpenPulls("https://compare", "not permitted", "allow it"),
            "open its pull request: https://compare",
            "fanin may not open a pull request here",
        ),
        (
            "mark_pull_ready",
            EnvironmentBroken("may not"),
            "the work is in https://pulls/7",
            "could not mark https://pulls/7 as ready for review: may not",
        ),
    ],
)
def test_what_fails_is_a_warning(
    fails: str, error: Exception, sentence: str, warning: str
) -> None:
    pull = OPEN if fails == "mark_pull_ready" else None
    outcome = published(Pulls(pull, fails, error), is_finished=True)
    assert outcome.sentence == sentence
    assert outcome.warnings[0].startswith(warning)
