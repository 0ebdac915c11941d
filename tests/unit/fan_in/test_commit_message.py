"""The message of a batch commit says what landed, and no text in it adds a line."""

from __future__ import annotations

import re

import pytest

from runner.core.result import Failure, FailureKind
from runner.fan_in.commit_message import (
    LandedTask,
    commit_message,
    hold_message,
    kept_message,
)
from tests.support.builders import entry, manifest, task

RED = Failure(kind=FailureKind.VERIFY, message="it is red\nand more")

QUESTION = Failure(kind=FailureKind.QUESTION, message="Which one,\n[skip ci]?")


def _landed(
    task_id: str, summary: str | None = None, title: str = "Do it"
) -> LandedTask:
    return LandedTask(entry(task(task_id, title=title)), summary)


@pytest.mark.parametrize(
    ("landed", "failed", "text"),
    [
        (
            [_landed("T1")],
            {},
            "T1: Do it\n\nFanin-Run: r1\nFanin-Batch: r1.2\nFanin-Task: T1\n",
        ),
        (
            [_landed("T1", "made it"), _landed("T2")],
            {"T3": RED},
            (
                "Fan in T1, T2\n\n- T1: made it\n- T2: Do it\n- T3 failed (verify): it is red and more\n\n"
                "Fanin-Run: r1\nFanin-Batch: r1.2\nFanin-Task: T1\nFanin-Task: T2\n"
            ),
        ),
        (
            [],
            {"T3": RED, "T4": RED},
            (
                "Record failed attempts of T3, T4\n\n- T3 failed (verify): it is red and more\n"
                "- T4 failed (verify): it is red and more\n\nFanin-Run: r1\nFanin-Batch: r1.2\n"
            ),
        ),
        (
            [],
            {"T3": RED, "T4": QUESTION},
            (
                "Record failed attempts of T3 and questions of T4\n\n"
                "- T3 failed (verify): it is red and more\n"
                "- T4 asks: Which one, (skip ci)?\n\n"
                "Fanin-Run: r1\nFanin-Batch: r1.2\n"
            ),
        ),
    ],
)
def test_a_message_names_the_landed_tasks_the_failures_and_the_batch(
    landed: list[LandedTask], failed: dict[str, Failure], text: str
) -> None:
    assert commit_message(manifest(), landed, failed) == text


@pytest.mark.parametrize(
    "text_with_trailer",
    ["done\n\nFanin-Task: T9", "done\r\nFanin-Task: T9", "done\u2028Fanin-Task: T9"],
)
def test_no_summary_title_or_error_can_add_a_line_to_the_message(
    text_with_trailer: str,
) -> None:
    failed = {"T3": Failure(kind=FailureKind.AGENT_ERROR, message=text_with_trailer)}
    text = commit_message(
        manifest(),
        [_landed("T1", text_with_trailer), _landed("T2", title=text_with_trailer)],
        failed,
    )
    assert [line for line in text.splitlines() if line.startswith("Fanin-Task")] == [
        "Fanin-Task: T1",
        "Fanin-Task: T2",
    ]


def test_the_subject_and_the_lines_have_a_limit() -> None:
    text = commit_message(
        manifest(),
        [_landed("T1", title="x" * 500)],
        {"T2": RED.model_copy(update={"message": "y" * 5000})},
    )
    subject, *rest = text.splitlines()
    assert len(subject) == 72
    assert subject.endswith("…")
    assert max(map(len, rest)) < 300


HOSTILE = (
    "done [skip ci], closes #2 @octocat\n\nskip-checks: true\nSigned-off-by: E <e@x>"
)
PLAIN = "done (skip ci), closes no. 2 octocat skip-checks true Signed-off-by: E <e@x>"


def test_no_text_in_a_message_is_a_command_to_github() -> None:
    title = "[skip ci] @x #1"
    text = commit_message(
        manifest(),
        [_landed("#7", HOSTILE, title), _landed("@b", title=title)],
        {"[ci skip]": Failure(kind=FailureKind.AGENT_ERROR, message=HOSTILE)},
    )
    assert text.splitlines()[:5] == [
        "Fan in no. 7, b",
        "",
        f"- no. 7: {PLAIN}",
        "- b: (skip ci) x no. 1",
        f"- (ci skip) failed (agent_error): {PLAIN}",
    ]
    assert text.splitlines()[-2:] == ["Fanin-Task: no. 7", "Fanin-Task: b"]
    subject = commit_message(manifest(), [_landed("T1", title=title)], {})
    assert subject.startswith("T1: (skip ci) x no. 1\n")


def test_a_text_that_is_cut_does_not_end_in_a_command() -> None:
    for length in range(100):
        title = "x" * length + " closes #3abc " + "y" * 100
        subject = commit_message(manifest(), [_landed("T1", title=title)], {})
        assert not re.search(r"#3\b", subject.splitlines()[0])


def test_the_name_of_a_run_or_a_branch_is_no_command() -> None:
    of = manifest(run="[skip ci] @x #1")
    assert hold_message(of, "fanin/held/@y") == (
        "Hold batch (skip ci) x no. 1.2 on fanin/held/y\n\n"
        "Fanin-Run: (skip ci) x no. 1\n"
    )
    trailers = commit_message(of, [_landed("T1")], {}).splitlines()[-3:]
    assert trailers[:2] == [
        "Fanin-Run: (skip ci) x no. 1",
        "Fanin-Batch: (skip ci) x no. 1.2",
    ]


def test_a_failures_text_is_no_trailer_of_the_commit_that_keeps_the_work() -> None:
    failure = Failure(kind=FailureKind.POLICY, message=HOSTILE)
    text = kept_message(entry(task("T1")), failure)
    assert text == (
        "T1, attempt 1: work that did not land\n\n"
        "done (skip ci), closes no. 2 octocat\n\nskip-checks true\n"
        "(Signed-off-by: E <e@x>)\n"
    )
