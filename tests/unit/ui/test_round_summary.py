"""Job summaries are valid Markdown whatever a plan, an agent or a log contains, and show
first what a person must see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from runner.core.result import Failure, FailureKind, Question
from runner.core.task import Plan, Standing, Status
from runner.plan import view
from runner.plan.graph import TaskGraph
from runner.plan.progress import Progress
from runner.plan.records import Record
from runner.plan.view import TaskView
from runner.ui import round_summary
from runner.ui.round_summary import RoundReport
from runner.ui.states import LOOKS
from tests.support.builders import task

REPOSITORY = "https://github.example/octo/work"
BROKE = Failure(kind=FailureKind.AGENT_ERROR, message="it broke", log_tail="the end")


def views(
    *ids: str,
    title: str = "do it",
    records: Mapping[str, Record] | None = None,
    depends_on: Mapping[str, Sequence[str]] | None = None,
) -> list[TaskView]:
    edges = depends_on or {}
    tasks = [
        task(task_id, title=title, depends_on=tuple(edges.get(task_id, ())))
        for task_id in ids
    ]
    plan = Plan(path="tasks.yml", source="native", tasks=tuple(tasks))
    progress = Progress("tasks.yml", records or {})
    return view.views(plan, TaskGraph(tasks, "tasks.yml"), progress, 3)


def done(**fields: object) -> Record:
    return Record.model_validate({"status": Status.COMPLETED, "attempts": 1, **fields})


def failed(attempts: int = 3, **fields: object) -> Record:
    record = {"status": Status.FAILED, "attempts": attempts, "error": BROKE, **fields}
    return Record.model_validate(record)


def ids(count: int) -> list[str]:
    return [f"T{number}" for number in range(1, count + 1)]


def test_the_headline_counts_what_is_done_and_what_failed() -> None:
    records = {task_id: done() for task_id in ids(5)} | {"T6": failed()}
    text = round_summary.round_summary(
        views(*ids(12), records=records), RoundReport("7.4", "main", number=4)
    )
    assert text.startswith("## Round 4: 5 of 12 done, 1 failed\n")


def test_the_headline_tells_an_attempt_that_is_repeated_from_a_failed_task() -> None:
    records = {"A": failed(), "B": failed(1)}
    report = RoundReport("7.2", "main", number=2, failed={"A": BROKE, "B": BROKE})
    text = round_summary.round_summary(views("A", "B", "C", records=records), report)
    assert text.startswith("## Round 2: 0 of 3 done, 1 failed, 1 to try again\n")


def test_failures_come_first_with_the_end_of_the_log_the_job_and_the_next_step() -> (
    None
):
    log = "\n".join(f"line {number}" for number in range(100))
    broke = BROKE.model_copy(update={"log_tail": log})
    report = RoundReport(
        "1.1", "main", failed={"B": broke, "A": broke}, jobs={"A": "77/1001"},
        repository_url=REPOSITORY, run_url=f"{REPOSITORY}/actions/runs/77",
    )  # fmt: skip
    records = {"A": failed(), "B": failed(1), "C": done()}
    text = round_summary.round_summary(views("A", "B", "C", records=records), report)
    headings = ["### ❌ A: do it", "### 🔁 B: do it", "### Not done", "### Done"]
    positions = [text.index(heading) for heading in headings]
    assert positions == sorted(positions)
    assert "**Agent failed:** it broke" in text
    assert f"[Log of its job]({REPOSITORY}/actions/runs/77/job/1001)" in text
    assert f"job “task B” of [this run]({REPOSITORY}/actions/runs/77)" in text
    assert "start the workflow with `retry: A`" in text
    assert "it is tried again by itself, with this error in its prompt" in text
    assert "line 99" in text
    assert "line 79" not in text


@pytest.mark.parametrize(
    ("kind", "retryable", "attempts", "next_step"),
    [
        (FailureKind.SCOPE, True, 3, "no attempt is left"),
        (FailureKind.SCOPE, True, 1, "tried again by itself"),
        (FailureKind.PERMISSION, False, 1, "another attempt would end the same"),
        (FailureKind.NOT_READY, True, 0, "provide what is missing"),
        (FailureKind.BASE_RED, True, 0, "make the branch itself pass"),
        (FailureKind.RATE_LIMIT, True, 0, "this attempt does not count"),
    ],
)
def test_each_failure_names_the_next_step(
    kind: FailureKind, retryable: bool, attempts: int, next_step: str
) -> None:
    failure = Failure(kind=kind, message="m", retryable=retryable)
    record = Record()
    if attempts:
        record = failed(attempts, error=failure, final=not retryable)
    report = RoundReport("1.1", "main", failed={"A": failure})
    text = round_summary.round_summary(views("A", records={"A": record}), report)
    (line,) = [line for line in text.splitlines() if "<br>**Next:** " in line]
    assert next_step in line


@pytest.mark.parametrize(("count", "summary"), [(12, ""), (60, "60 tasks")])
def test_tasks_that_are_not_done_have_a_heading_and_are_folded_if_many(
    count: int, summary: str
) -> None:
    text = round_summary.round_summary(views(*ids(count)), RoundReport("7.1", "main"))
    _, _, section = text.partition("### Not done\n\n")
    opened = f"<details><summary>{summary}</summary>\n\n" if summary else ""
    assert section.startswith(f"{opened}|  | state | task |\n")


def test_a_failure_of_an_earlier_round_keeps_its_detail() -> None:
    records = {"A": failed(job="66/99"), "B": failed(1), "C": done(error=None)}
    report = RoundReport("7.3", "main", number=3, repository_url=REPOSITORY)
    text = round_summary.round_summary(views("A", "B", "C", records=records), report)
    earlier = text[text.index("### Failed in earlier rounds") :]
    assert "<summary>❌ A: agent failed</summary>" in earlier
    assert "<summary>🔁 B: agent failed</summary>" in earlier
    assert "it broke" in earlier
    assert "```text\nthe end\n```" in earlier
    assert f"({REPOSITORY}/actions/runs/66/job/99)" in earlier
    assert "C" not in earlier[: earlier.index("### Not done")]


def test_finished_tasks_are_folded_and_say_only_what_is_known() -> None:
    records = {
        "A": done(seconds=0.2, job="66/98"),
        "B": done(seconds=200.0, cost_usd=0.5, attempts=2),
    }
    report = RoundReport("7.3", "main", repository_url=REPOSITORY)
    text = round_summary.round_summary(views("A", "B", records=records), report)
    lines = text.splitlines()
    start = lines.index("<details><summary>✅ 2 tasks</summary>")
    assert lines[start + 2 : start + 6] == [
        "|  | task | attempts | time | cost | log |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| ✅ | A: do it |  |  |  | [job]({REPOSITORY}/actions/runs/66/job/98) |",
        "| ✅ | B: do it | 2 | 3 min | $0.50 |  |",
    ]
    assert "unknown" not in text
    assert "0 s" not in text


def test_a_column_that_is_empty_in_every_row_is_left_out() -> None:
    text = round_summary.round_summary(
        views("A", records={"A": done()}), RoundReport("7.3", "main")
    )
    assert "|  | task |\n" in text


def test_states_have_an_icon_and_a_word_each_of_its_own() -> None:
    assert len({look.icon for look in LOOKS.values()}) == len(LOOKS)
    assert len({look.word for look in LOOKS.values()}) == len(LOOKS)
    records = {"A": failed(), "D": Record(held="fanin/held/1.1")}
    edges = {"B": ["A"], "E": ["C"]}
    task_views = views(*"ABCDE", records=records, depends_on=edges)
    text = round_summary.round_summary(task_views, RoundReport("1.1", "main"))
    assert "❌ 1 failed · ✋ 1 held · ⛔ 1 blocked · 🔵 1 ready · ⚪ 1 waiting" in text
    for state in ("failed", "held", "blocked", "ready", "pending"):
        look = LOOKS[state]
        assert f"| {look.icon} | {look.word} | " in text
        assert f"{look.icon} {look.word}: {look.meaning}" in text
    assert "| ⚪ | waiting | E: do it | after C |" in text
    assert "skipped" not in text


def test_the_graph_is_drawn_if_it_is_readable() -> None:
    chain = {"B": ["A"], "C": ["A"]}
    report = RoundReport("1.1", "main")
    assert "```mermaid" in round_summary.round_summary(
        views("A", "B", "C", depends_on=chain), report
    )


@pytest.mark.parametrize("count", [1, 8, 60])
def test_a_graph_without_edges_too_long_or_too_large_is_left_out(count: int) -> None:
    chain = {f"T{number}": [f"T{number - 1}"] for number in range(2, 9)}
    if count == 60:
        chain = {f"T{number}": ["T1"] for number in range(2, 61)}
    text = round_summary.round_summary(
        views(*ids(count), depends_on=chain), RoundReport("1.1", "main")
    )
    assert "```mermaid" not in text
    assert ("`fanin graph`" in text) == (count > 1)


def test_a_large_plan_lists_unfinished_tasks_first() -> None:
    records = {task_id: done() for task_id in ids(600)}
    text = round_summary.sticky_comment(
        views(*ids(601), records=records), RoundReport("1.1", "main")
    )
    assert text.index("T601: do it") < text.index("T1: do it")
    assert len(text) < 65_536


@pytest.mark.one_python
@pytest.mark.parametrize("count", [12, 256])
def test_the_largest_texts_stay_below_githubs_limits_and_close_what_they_open(
    count: int,
) -> None:
    huge = Failure(
        kind=FailureKind.AGENT_ERROR,
        message="`" * 10_000,
        log_tail="\n".join(["y" * 2_000] * 200),
    )
    task_views = views(*ids(count), title="<" * 500)
    report = RoundReport(
        "1.1", "main", failed=dict.fromkeys(ids(min(count, 256)), huge),
        landed=ids(count), commit="c" * 40, note="n" * 100_000, usage="u" * 100,
    )  # fmt: skip
    summary = round_summary.round_summary(task_views, report)
    comment = round_summary.sticky_comment(task_views, report)
    assert len(summary.encode()) < 1024 * 1024
    assert len(comment.encode()) < 65_536
    for text in (summary, comment):
        assert text.count("<details>") == text.count("</details>")
        assert text.count("\n```") % 2 == 0
        assert text.endswith("</sub>\n")


def test_what_does_not_fit_is_counted() -> None:
    failures = dict.fromkeys(ids(256), BROKE.model_copy(update={"log_tail": "y" * 400}))
    report = RoundReport("1.1", "main", failed=failures)
    text = round_summary.sticky_comment(views(*ids(256)), report)
    shown = text.count("### 🔁")
    assert 0 < shown < 256
    assert f"… and {256 - shown} failures more" in text


@pytest.mark.parametrize(
    ("landed", "sentence"),
    [
        (("B",), "**Landed:** B in [`c0ffeec0ff`]"),
        ((), "**Landed:** no work; [`c0ffeec0ff`]"),
    ],
)
def test_what_landed_links_to_its_commit(landed: Sequence[str], sentence: str) -> None:
    commit = "c0ffee" * 6 + "c0ff"
    report = RoundReport(
        "1.1", "main", commit=commit, landed=landed, repository_url=REPOSITORY
    )
    text = round_summary.round_summary(views("A", "B"), report)
    assert f"{sentence}({REPOSITORY}/commit/{commit}) on `main`" in text


def test_a_note_links_to_pages_of_the_repository_alone() -> None:
    note = f"the work is in {REPOSITORY}/pull/3 not https://evil.example/pull/4"
    report = RoundReport("1.1", "main", note=note, repository_url=REPOSITORY)
    text = round_summary.round_summary(views("A"), report)
    assert f"the work is in <{REPOSITORY}/pull/3> not https:&#8203;//evil" in text


def test_a_round_that_starts_names_its_tasks() -> None:
    report = RoundReport("7.2", "main", number=2)
    text = round_summary.round_start(
        views("A", "B", records={"A": done()}), report, ["B"]
    )
    assert text == "## Round 2: 1 of 2 done\n\nStarts 1 agent: B.\n"


def test_a_sticky_comment_starts_with_its_marker() -> None:
    assert round_summary.sticky_comment(
        views("A"), RoundReport("1.1", "main")
    ).startswith(round_summary.MARKER)


def test_a_comment_on_a_commit_names_the_button_for_checks_that_wait() -> None:
    button = "Approve workflows to run"
    landed = RoundReport("1.1", "main", commit="c" * 40)
    assert button in round_summary.sticky_comment(views("A"), landed)
    assert button not in round_summary.round_summary(views("A"), landed)
    nothing = RoundReport("1.1", "main")
    assert button not in round_summary.sticky_comment(views("A"), nothing)


def test_a_summary_does_not_show_an_internal_standing() -> None:
    assert Standing.STUCK.value not in round_summary.round_summary(
        views("A"), RoundReport("1.1", "main")
    )


def test_a_conflict_that_costs_no_attempt_is_told_in_full_and_what_follows() -> None:
    lost = Failure(
        kind=FailureKind.CONFLICT,
        message="conflict with T2 in CHANGELOG.md; costs no attempt\nmore",
        excused=True,
    )
    records = {"T1": failed(1, error=lost, conflicts=1)}
    text = round_summary.round_summary(
        views("T1", records=records),
        RoundReport("7.4", "main", number=4, failed={"T1": lost}),
    )
    told = "conflict with T2 in CHANGELOG.md; costs no attempt"
    assert f"| attempt 1: {told} |" in text
    assert f"**Merge conflict:** {told}" in text
    assert "not beside tasks that change the same files" in text


def test_the_table_has_the_first_line_of_each_failure_after_its_kind() -> None:
    refused = Failure(
        kind=FailureKind.POLICY,
        message="a|b is protected, and 2 more changes may not land:\n- c\n- d",
    )
    records = {"T1": failed(1, error=refused)}
    text = round_summary.round_summary(
        views("T1", records=records), RoundReport("7.4", "main", number=4)
    )
    row = next(line for line in text.splitlines() if "| ready |" in line)
    assert "attempt 1: change not allowed: a" in row
    assert "is protected, and 2 more changes may not land:" in row
    assert "- c" not in row


def test_warnings_about_the_merged_tree_are_shown_and_cut() -> None:
    report = RoundReport("7.2", "main", warnings=["old/<x> stays"] * 30)
    text = round_summary.round_summary(views("A"), report)
    assert text.count("old/&lt;x&gt; stays") == 20
    assert "and 10 more warnings" in text


def test_a_question_is_quoted_as_code_and_is_no_failure_of_its_round() -> None:
    asked = "Which, @team?\n```\n<img src=x> [a](https://evil.example) fixes #1"
    questions = [Question(attempt=1, text=asked)]
    record = Record(attempts=1, questions=questions)
    failure = Failure(kind=FailureKind.QUESTION, message=asked)
    text = round_summary.sticky_comment(
        views("T1", "T2", records={"T1": record}),
        RoundReport("7.4", "main", number=4, failed={"T1": failure}),
    )
    assert "## Round 4: 0 of 2 done, 1 asking\n" in text
    assert f"Its agent asks:\n\n````text\n{asked}\n````\n" in text
    outside = text.replace(asked, "")
    assert "@team" not in outside
    assert "<img" not in outside
    assert "](https://evil" not in outside
    assert '**To answer:** `fanin reply T1 "…"` in a clone' in text
    assert "**Question:**" not in text


@pytest.mark.parametrize(("task_id", "written"), [("T1", "T1"), ("Add a", "'Add a'")])
def test_where_comments_count_one_of_them_answers(task_id: str, written: str) -> None:
    record = Record(attempts=1, questions=[Question(attempt=1, text="Which?")])
    text = round_summary.sticky_comment(
        views(task_id, records={task_id: record}),
        RoundReport("7.4", "fanin/7", has_comments=True),
    )
    comment = f'the comment `/fanin reply {written} "…"` on the pull request, or `fanin'
    assert comment in text
    assert "in a clone, then push the commit." in text
