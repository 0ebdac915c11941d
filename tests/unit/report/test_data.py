"""What a report says of a run."""

from __future__ import annotations

import base64
import json
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from runner.core.result import Failure, FailureKind
from runner.policy.redaction import Secrets
from runner.report import data
from runner.report.data import TaskRecord
from runner.report.texts import Excerpt
from tests.support.run_records import record

_SECRET = "s3cret-value-of-a-key"


def _texts(stored: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(stored)))
    return found


def test_the_longest_chain_is_that_of_the_seconds_that_tasks_took() -> None:
    found = data.report(record(60))
    chain = [found.tasks[place] for place in found.chain]
    for before, after in pairwise(chain):
        assert found.tasks.index(before) in after.depends_on
    assert all(task.critical for task in chain)
    assert sum(task.critical for task in found.tasks) == len(chain)
    longest = max(task.seconds for task in found.tasks)
    assert sum(task.seconds for task in chain) >= longest


def test_every_attempt_has_its_place_on_the_timeline() -> None:
    found = data.report(record(60, slots=4))
    attempts = [each for task in found.tasks for each in task.attempts]
    assert {each.lane for each in attempts} == {0, 1, 2, 3}
    assert found.lanes == 4
    for each in attempts:
        assert each.start is not None
        assert each.seconds is not None
        assert 0 <= each.start <= each.start + each.seconds <= found.end
        assert [phase.phase for phase in each.phases][:1] == ["preparing"]
    assert found.verifies
    assert [each.why for each in found.pauses] == ["the usage limit of claude"]
    every = sorted(place for column in found.columns for place in column)
    assert every == [*range(60)]


def test_a_cost_that_some_do_not_report_is_at_least_that_of_the_others() -> None:
    facts = dict(data.report(record(60)).run.facts)
    assert facts["cost"].startswith("at least $")
    assert facts["cost"].endswith(" report none)")
    assert facts["schedule"] == "rolling, at most 8 at once"


def test_a_run_that_ended_says_what_did_not_complete() -> None:
    assert data.report(record(6)).run.outcome == "completed"
    assert data.report(record(60)).run.outcome == "ended: 1 failed, 18 blocked"


def test_what_is_left_out_is_named_with_the_command_that_shows_it() -> None:
    run = record(6)
    first = replace(
        run.tasks[0],
        id="a b",
        log=Excerpt("end", is_whole=False),
        diff=Excerpt("+a", is_whole=False),
        prompt="p" * 100_000,
    )
    run = replace(run, tasks=[first, *run.tasks[1:]])
    texts = _texts(data.report(run).tasks[0].text)
    assert texts["log_note"] == "only the end; all of it:  fanin log 'a b'"
    assert texts["diff_note"].endswith(
        "only the beginning; all of it:  fanin diff 'a b'"
    )
    assert texts["prompt_note"] == "cut; all of it:  fanin show 'a b'"
    on_github = replace(run, artifacts="some dir")
    texts = _texts(data.report(on_github).tasks[0].text)
    assert texts["log_note"].endswith("fanin log 'a b' --from 'some dir'")


def test_a_failed_attempt_says_why_and_how_to_take_its_work() -> None:
    found = data.report(record(60))
    [task] = [task for task in found.tasks if task.state == "failed"]
    assert [each.state for each in task.attempts] == ["failed", "failed"]
    assert task.attempts[1].failure == "verify is red: make test: 2 failed"
    failure = _texts(task.text)["failures"][1]
    assert failure["message"] == "make test: 2 failed"
    assert len(failure["log_tail"].splitlines()) == 12
    assert failure["take"].startswith("git cherry-pick refs/fanin/kept/")


def test_a_message_that_begins_with_its_kind_says_it_once() -> None:
    run = record(60)
    told = Failure(kind=FailureKind.VERIFY, message="verify is red (exit status 1)")
    for each in run.tasks:
        for attempt in each.attempts:
            attempt.failure = attempt.failure and told
    [task] = [task for task in data.report(run).tasks if task.state == "failed"]
    assert task.attempts[1].failure == "verify is red (exit status 1)"
    assert "kind" not in _texts(task.text)["failures"][1]


def test_no_text_of_a_report_has_a_secret() -> None:
    run = record(6)
    first = replace(
        run.tasks[0],
        title=f"title {_SECRET}",
        reason=_SECRET,
        prompt=_SECRET,
        log=Excerpt(_SECRET),
        diff=Excerpt(f"+{_SECRET}"),
        diff_origin=_SECRET,
    )
    run = replace(run, tasks=[first, *run.tasks[1:]], branch=_SECRET, notes=[_SECRET])
    found = data.report(replace(run, secrets=Secrets({_SECRET: "KEY"})))
    whole = found.model_dump_json() + json.dumps(_texts(found.tasks[0].text))
    assert _SECRET not in whole
    assert found.tasks[0].title == "title ***"


def test_a_run_without_any_event_is_shown_too() -> None:
    run = replace(
        record(6), tasks=[TaskRecord("A", "a"), TaskRecord("B", "b", ("A", "gone"))]
    )
    found = data.report(run)
    assert [task.depends_on for task in found.tasks] == [(), (0,)]
    assert data.report(replace(run, tasks=[])).columns == ()


def test_a_run_that_goes_on_is_shown_until_now() -> None:
    run = record(6)
    run.view.end = None
    later = datetime.fromtimestamp(run.timeline.end + 100, UTC)
    found = data.report(replace(run, is_active=True, made=later))
    assert found.run.outcome == "running"
    assert found.end == data.report(run).end + 100
    assert data.report(run).run.outcome == "was killed"
