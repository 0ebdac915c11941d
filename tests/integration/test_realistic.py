"""The benchmark of realistic work itself: it runs, and verifies what the tasks left."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.graphs import lower_bound
from benchmarks.harness import Effort, WrongOutput
from benchmarks.realistic import CASES, Alone, Case, Project, measure


def test_realistic_work_is_measured_beside_its_bound_and_a_peer(tmp_path: Path) -> None:
    # make is on PATH: no environment is needed for it
    programs = tmp_path / "cache" / "peers" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").touch()
    effort = Effort(tmp_path / "work", tmp_path / "cache", smoke=True, repeats=1)
    report = measure(effort)
    assert [each.what for each in report.targets] == [
        "graph a, jobs of 0.01 s, m=3, defaults, ÷ the bound",
        "graph a, jobs of 0.01 s, m=3, after merge, pooled, ÷ the bound",
    ]
    assert [row[0] for row in report.tables[-1].rows] == ["make"]


def test_the_bound_is_that_of_jobs_with_checkout_and_set_up_and_one_verify() -> None:
    case = Case("c", 8, 2)
    alone = Alone(checkout=1.0, setup=0.5, verify=4.0)
    assert lower_bound(case.jobs(), 8) == 25.0  # a hundred jobs alone
    assert alone.bound(case) == pytest.approx(100 * 3.5 / 8 + 4)


def test_a_run_that_left_something_out_does_not_count(tmp_path: Path) -> None:
    project = Project(tmp_path, files=3, seconds=0)
    with pytest.raises(WrongOutput):
        project._check(Case("a", 3, 1).jobs())


def test_long_jobs_are_measured_with_the_defaults_only() -> None:
    """That keeps the whole part below an hour."""
    found = {case.seconds: tuple(case.variants) for case in CASES}
    assert found == {2: ("defaults", "after merge, pooled"), 20: ("defaults",)}
