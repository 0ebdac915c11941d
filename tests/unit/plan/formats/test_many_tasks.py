"""Plans of many tasks: how many a format reads, and that its work grows with their number."""

from __future__ import annotations

import pytest

from runner.plan import formats
from runner.plan.formats import diagnostics
from tests.support import many_tasks
from tests.support.counted_calls import counted_calls
from tests.support.trees import checked, load, outcome

pytestmark = pytest.mark.one_python


def calls_of_reading(format_name: str, count: int) -> int:
    path, files = many_tasks.plan_of(format_name, count)
    with counted_calls() as calls:
        plan = load(path, files, source=format_name)
        checked(plan)
    assert len(plan.tasks) == count
    return calls.count


def test_each_format_of_files_has_such_plans() -> None:
    assert {*many_tasks.FORMATS, "github-issues"} == set(formats.source_names())


@pytest.mark.parametrize("format_name", many_tasks.FORMATS)
def test_the_work_of_reading_grows_with_the_number_of_tasks(format_name: str) -> None:
    calls_of_reading(format_name, 10)  # what is built at the first use
    few, many = (calls_of_reading(format_name, count) for count in (300, 1_200))
    assert many < few * 4.4


@pytest.mark.parametrize("format_name", many_tasks.FORMATS)
def test_one_limit_for_the_tasks_of_every_format(
    format_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert diagnostics.MAX_TASKS == 100_000
    monkeypatch.setattr(diagnostics, "MAX_TASKS", 1_200)
    for count, is_read in ((1_200, True), (1_201, False)):
        path, files = many_tasks.plan_of(format_name, count)
        plan, problems = outcome(path, files, source=format_name)
        assert (plan is not None) is is_read
        expected = f"{path}:1: 1,201 tasks; at most 1,200 are allowed; split the plan"
        assert [str(each) for each in problems] == ([] if is_read else [expected])
