"""The description of a run's pull request."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.ui.pull_request_text import (
    BEGIN,
    BODY_LIMIT,
    END,
    Delivered,
    described,
    title,
)
from tests.support.hostile_texts import TEXTS
from tests.unit.ui.test_round_summary import REPOSITORY, done, views


def delivered(*ids: str, **record: object) -> Delivered:
    shown = views(*ids, "open", records=dict.fromkeys(ids, done(**record)))
    return Delivered("tasks.yml", "main", shown, "pytest -q", REPOSITORY)


def test_each_task_has_its_state_change_verification_and_cost() -> None:
    record = {"changed": ("a.py +1 -0",), "summary": "A new file.", "cost_usd": 0.5}
    text = described("", delivered("A", **record, seconds=90, job="1/2"))
    assert (
        "| ✅ | A: do it | a.py +1 -0<br><sub>A new file.</sub> | pytest -q | 2 min | "
        f"$0.50 | [job]({REPOSITORY}/actions/runs/1/job/2) |" in text
    )
    assert "| 🔵 | ready | open: do it |" in text
    assert "The landed attempts cost $0.50." in text
    unverified = replace(delivered("A"), verify=None)
    assert "| ✅ | A: do it | nothing |" in described("", unverified)


@pytest.mark.parametrize(
    ("accepted", "verified_by"), [("verified", "pytest -q"), ("unverified", "nothing")]
)
def test_work_that_a_person_accepted_is_told_as_such(
    accepted: str, verified_by: str
) -> None:
    text = described("", delivered("A", changed=("a +1 -0",), accepted=accepted))
    row = f"| a +1 -0<br><sub>accepted by a person</sub> | {verified_by} |"
    assert row in text


def test_the_title_is_that_of_the_plan_or_of_the_only_task() -> None:
    assert title(delivered("A")) == "Fanin: 2 tasks of tasks.yml"
    only = Delivered("tasks.yml", "main", views("A", title="fix @x [skip ci]"))
    assert title(only) == "A: fix x (skip ci)"


def test_what_a_person_wrote_stays() -> None:
    body = f"Before\r\n\r\n{described('', delivered('A'))}\r\nafter {END}"
    again = described(body, delivered("A", "B"))
    assert again.startswith("Before\r\n\r\n<!-- fanin: begin")
    assert again.endswith(f"after {END}")
    assert (again.count("B: do it"), again.count("A: do it")) == (1, 1)
    assert described("all mine", delivered("A")) == "all mine"


@pytest.mark.parametrize("hostile", TEXTS)
def test_no_text_of_an_agent_acts_on_the_page(hostile: str) -> None:
    text = described("", delivered("A", summary=hostile, changed=(hostile,)))
    calm = described("", delivered("A", summary="x", changed=("x",)))
    assert text.count(BEGIN) == text.count(END) == 1
    assert text.count("\n") == calm.count("\n")
    assert text.count("](") == calm.count("](")


def test_a_large_plan_fits() -> None:
    ids = [f"T{number}" for number in range(2_000)]
    text = described("", delivered(*ids, summary="é" * 500))
    assert len(text.encode()) <= BODY_LIMIT
    assert "more, which `fanin status` shows." in text
    assert text.endswith(END)
