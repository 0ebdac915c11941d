"""Properties of plan.progress, over generated inputs."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from runner.core.result import Failure, FailureKind
from runner.core.task import Standing, Status
from runner.plan import progress_file
from runner.plan.progress import Progress
from runner.plan.records import Record
from tests.support.builders import quick, task
from tests.support.progress_records import ERROR, FAILED, result_of_attempt

_EVENT = st.sampled_from(
    [
        "completed",
        "failed",
        "final",
        "died",
        "stale",
        "retried",
        "redone",
        "skip",
        "satisfied",
    ]
)


@quick
@given(st.lists(_EVENT, max_size=12))
def test_attempts_are_never_lowered_and_no_attempt_is_counted_twice(
    events: list[str],
) -> None:
    now, changed = Progress("tasks.yml"), task()
    for event in events:
        before = now.record(changed).attempts
        attempt = before + 1
        runs = now.standing(changed, 3) is Standing.OPEN
        match event:
            case "completed" if runs:
                now = now.after_success(changed, result_of_attempt(attempt))
            case "failed" if runs:
                now = now.after_failure(
                    changed, attempt, ERROR, result_of_attempt(attempt, failure=ERROR)
                )
            case "final" if runs:
                now = now.after_failure(
                    changed,
                    attempt,
                    ERROR.model_copy(update={"retryable": False}),
                    None,
                )
            case "died" if runs:
                now = now.after_failure(
                    changed,
                    attempt,
                    Failure(kind=FailureKind.NO_RESULT, message="x"),
                    None,
                )
            case "stale" if runs:
                now = now.after_failure(
                    changed, attempt, Failure(kind=FailureKind.STALE, message="x"), None
                )
            case "retried":
                now = now.with_retry(changed, 3)
            case "redone":
                now = now.with_redo(changed, 3)
            case "skip" | "satisfied":
                now = now.with_skip(changed, satisfied=event == "satisfied")
        assert now.record(changed).attempts - before == (
            1 if runs and event in {"completed", "failed", "final", "died"} else 0
        )


# what could break a line, a quote or an encoding
_TEXT = st.text('aZ"\\\n\r\x85\u2028é😀{},: ', max_size=6)


@st.composite
def _records(draw: st.DrawFn) -> Record:
    status, attempts, number, flag, text = draw(
        st.tuples(
            st.sampled_from(Status),
            st.integers(0, 9),
            st.none() | st.floats(0, 1e6),
            st.booleans(),
            _TEXT,
        )
    )
    error = (
        Failure(kind=FailureKind.VERIFY, message=text, retryable=flag)
        if status is FAILED
        else None
    )
    return Record(
        status=status,
        attempts=attempts,
        allowed=attempts or None,
        final=flag,
        held=text if flag else None,
        error=error,
        summary=text,
        cost_usd=number,
        tokens=attempts if flag else None,
    )


_RECORDS = _records()


@quick
@given(st.dictionaries(_TEXT, _RECORDS, max_size=4), st.data())
def test_a_rendered_file_parses_back_and_has_one_record_per_line(
    records: dict[str, Record], data: st.DataObject
) -> None:
    order = data.draw(st.permutations(list(records)))
    text = progress_file.render(Progress("plans/ü.yml", records), order)
    assert progress_file.parse("p", text, "plans/ü.yml").records == records
    assert text.endswith("\n")
    lines = text.split("\n")
    # a blank line between records, the head and the foot
    assert len(lines) == 2 * (len(records) + 2)
    assert not any(lines[1::2])
    for line, task_id in zip(lines[2:-2:2], order, strict=True):
        assert list(json.loads("{" + line.removeprefix(",") + "}")) == [task_id]


@quick
@given(st.lists(_RECORDS, min_size=1, max_size=4), _RECORDS, st.data())
def test_changing_one_record_changes_one_line(
    records: list[Record], replacement: Record, data: st.DataObject
) -> None:
    ids = [f"T{n}" for n in range(len(records))]
    before = Progress("p", dict(zip(ids, records, strict=True)))
    changed = data.draw(st.sampled_from(ids))
    old_lines = progress_file.render(before, ids).split("\n")
    new_lines = progress_file.render(
        before.with_records({changed: replacement}), ids
    ).split("\n")
    differing = [a for a, b in zip(old_lines, new_lines, strict=True) if a != b]
    assert len(differing) == (before.records[changed] != replacement)


# What an edit by hand, a merge that went wrong or a hostile commit may put into the file.
_PIECES = st.sampled_from(
    [
        *("", ",", "\n\n", "{", "}", '"', '"a": {"status": "pending"}'),
        *(',"b": {"status": "failed"}', '}, "others": {', '}, "tasks": {'),
        *('"status": "held"', '"tasks": {', ', "summary": "', "}}"),
    ]
)


@quick
@given(
    st.dictionaries(_TEXT, _RECORDS, max_size=3),
    st.dictionaries(st.sampled_from("ab"), _RECORDS, max_size=2),
    st.lists(
        st.tuples(st.integers(0, 2_000), st.integers(0, 2_000), _PIECES), max_size=3
    ),
)
def test_a_file_that_was_edited_says_the_same_line_by_line_or_is_read_as_a_whole(
    records: dict[str, Record],
    others: dict[str, Record],
    edits: list[tuple[int, int, str]],
) -> None:
    progress = Progress("tasks.yml", records, others=others)
    text = progress_file.render(progress, [])
    for start, length, piece in edits:
        start %= len(text) + 1
        text = text[:start] + piece + text[start + length % 9 :]
    by_lines = progress_file._by_lines(text)
    if by_lines is not None:
        assert by_lines == progress_file._as_a_whole("progress.json", text)
    elif not edits:
        raise AssertionError("its own files are not read line by line")
