"""Any command as an agent: how its exit and its report are read, and its prompt."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner import agents
from runner.agents import command, command_report, outcome, prompt
from runner.agents.base import AttemptFolder, Verdict
from runner.agents.process import EndReason, Outcome
from runner.core.errors import UsageProblem
from runner.core.manifest import DependencyResult
from runner.core.result import Failure, FailureKind, Question
from runner.core.task import AgentSettings
from tests.support.builders import entry, task


def _read(
    folder: Path,
    report: str | bytes | None = None,
    *,
    status: int = 0,
    end_reason: EndReason = "exited",
) -> Verdict:
    """The verdict on a command that left this report."""
    path = AttemptFolder(folder).report
    path.parent.mkdir(exist_ok=True)
    if report is not None:
        path.write_bytes(report if isinstance(report, bytes) else report.encode())
    ended = Outcome(
        status, end_reason, 12.4, "the tail of its output", datetime.now().astimezone()
    )
    return command.Command().read(ended, AttemptFolder(folder))


def test_a_command_is_started_unchanged(tmp_path: Path) -> None:
    settings = AgentSettings(command=("robot", "--flag", "a b"))
    invocation = agents.agent_for(settings).build(
        entry(agent=settings), AttemptFolder(tmp_path)
    )
    assert (list(invocation.argv), dict(invocation.env)) == (
        ["robot", "--flag", "a b"],
        {},
    )


def test_an_unknown_preset_is_refused_with_a_remedy() -> None:
    with pytest.raises(UsageProblem, match="unknown agent preset 'nobody'") as caught:
        agents.agent_for(AgentSettings(preset="nobody"))
    assert "command:" in caught.value.advice


@pytest.mark.parametrize(
    ("status", "end_reason", "kind", "message"),
    [
        (1, "exited", FailureKind.AGENT_ERROR, "the agent ended with exit status 1"),
        (-9, "exited", FailureKind.AGENT_ERROR, "the agent ended with signal 9"),
        (
            -15,
            "timeout",
            FailureKind.TIMEOUT,
            "the agent was stopped at its time limit, after 12 s",
        ),
        (
            0,
            "timeout",
            FailureKind.TIMEOUT,
            "the agent was stopped at its time limit, after 12 s",
        ),
        (
            -15,
            "idle",
            FailureKind.IDLE,
            "the agent was stopped for printing nothing, after 12 s",
        ),
        (-15, "cancelled", FailureKind.INTERRUPTED, "the run was interrupted"),
    ],
)
@pytest.mark.parametrize("report", [None, '{"status": "ok", "summary": "all well"}'])
def test_a_bad_exit_overrides_a_good_report(
    tmp_path: Path,
    status: int,
    end_reason: EndReason,
    kind: FailureKind,
    message: str,
    report: str | None,
) -> None:
    failure = _read(tmp_path, report, status=status, end_reason=end_reason).failure
    assert failure is not None
    assert (failure.kind, failure.message, failure.log_tail) == (
        kind,
        message,
        "the tail of its output",
    )
    assert failure.retryable


@pytest.mark.parametrize(
    ("report", "summary", "cost", "tokens"),
    [
        (None, None, None, None),
        ("", None, None, None),
        (" \n", None, None, None),
        ("{}", None, None, None),
        (
            '{"summary": "did it", "cost_usd": 0.5, "tokens": 7, "status": "ok"}',
            "did it",
            0.5,
            7,
        ),
        ('{"cost_usd": 0, "tokens": 0}', None, 0.0, 0),
        ('{"cost_usd": null, "model": "of a newer contract"}', None, None, None),
    ],
)
def test_exit_status_zero_with_a_readable_report_is_a_success_and_missing_numbers_are_unknown(
    tmp_path: Path,
    report: str | None,
    summary: str | None,
    cost: float | None,
    tokens: int | None,
) -> None:
    verdict = _read(tmp_path, report)
    assert verdict.failure is None
    assert (verdict.usage.summary, verdict.usage.cost_usd, verdict.usage.tokens) == (
        summary,
        cost,
        tokens,
    )


@pytest.mark.parametrize(
    ("report", "status", "message", "retryable"),
    [
        ('{"status": "error"}', 0, "the agent reported an error", True),
        ('{"status": "error", "summary": "I gave up"}', 0, "I gave up", True),
        (
            '{"status": "error", "summary": "no such file", "retryable": false}',
            0,
            "no such file",
            False,
        ),
        ('{"retryable": false}', 2, "the agent ended with exit status 2", False),
    ],
)
def test_a_reported_error_is_a_failure_whatever_the_exit_status(
    tmp_path: Path, report: str, status: int, message: str, retryable: bool
) -> None:
    failure = _read(tmp_path, report, status=status).failure
    assert failure is not None
    assert (failure.kind, failure.message, failure.retryable) == (
        FailureKind.AGENT_ERROR,
        message,
        retryable,
    )


@pytest.mark.parametrize("report", ['{"retryable": false}', None])
def test_an_agent_cannot_declare_a_time_limit_final(
    tmp_path: Path, report: str | None
) -> None:
    failure = _read(tmp_path, report, end_reason="timeout").failure
    assert failure is not None
    assert failure.retryable


@pytest.mark.parametrize(
    "report",
    [
        "no json",
        "[]",
        "null",
        '{"status": "fine"}',
        '{"cost_usd": "much"}',
        '{"cost_usd": -1}',
        '{"cost_usd": NaN}',
        '{"cost_usd": 1e999}',
        '{"tokens": -1}',
        '{"tokens": 1.5}',
        b'{"summary": "\xff"}',
        "[" * 60_000,
        json.dumps({"summary": "x" * command_report.MAX_REPORT_BYTES}),
    ],
    ids=lambda report: repr(report[:30]),
)
def test_a_report_against_the_contract_is_a_failure_and_is_ignored(
    tmp_path: Path, report: str | bytes
) -> None:
    verdict = _read(tmp_path, report)
    assert verdict.failure is not None
    assert "report" in verdict.failure.message
    assert verdict.failure.retryable
    assert (verdict.usage.summary, verdict.usage.cost_usd, verdict.usage.tokens) == (
        None,
        None,
        None,
    )


def test_a_report_that_is_a_folder_is_a_failure(tmp_path: Path) -> None:
    AttemptFolder(tmp_path).report.mkdir(parents=True)
    assert _read(tmp_path).failure is not None


def test_a_report_that_is_a_pipe_is_a_failure_and_does_not_block(
    tmp_path: Path,
) -> None:
    pipe = AttemptFolder(tmp_path).report
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    verdicts: list[Verdict] = []
    reader = threading.Thread(target=lambda: verdicts.append(_read(tmp_path)))
    reader.start()
    while reader.is_alive():  # lets a reader go that waits for somebody to write
        with contextlib.suppress(OSError):
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        reader.join(0.01)
    assert verdicts[0].failure is not None


def test_a_failure_carries_only_the_end_of_a_long_output() -> None:
    failure = outcome.process_failure(
        Outcome(
            1, "exited", 1.0, "x" * 100_000 + "the end", datetime.now().astimezone()
        )
    )
    assert failure is not None
    assert failure.log_tail.endswith("the end")
    assert len(failure.log_tail) == 4_000


# -- the prompt --


def test_the_prompt_is_the_task_and_the_closing_instruction() -> None:
    text = prompt.render(entry(task(title="Add login", prompt="\n  Use sessions.\n\n")))
    assert text.startswith(
        "# T1: Add login\n\n  Use sessions.\n\nWork in the current folder and leave the "
    )
    assert text.endswith("you go on from it with the answer.\n")
    assert "to the file .fanin/question.md and end" in text


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (None, None),
        ((), "You may change only these files: none."),
        (("src/**", "a.py"), "You may change only these files: src/**, a.py."),
    ],
)
def test_the_prompt_names_the_files_that_may_be_changed(
    files: tuple[str, ...] | None, sentence: str | None
) -> None:
    text = prompt.render(entry(task(files=files)))
    assert ("You may change" in text) is (sentence is not None)
    assert sentence is None or sentence in text


def test_the_prompt_names_the_verify_command() -> None:
    assert "It is done when this command succeeds: make test\n" in prompt.render(
        entry(verify="make test")
    )
    assert "It is done when" not in prompt.render(entry())


@pytest.mark.parametrize(
    ("tail", "end"),
    [
        ("", "it broke\n\n"),
        ("  last words\n", "it broke\n\nThe end of its log:\n\nlast words\n\n"),
    ],
)
def test_the_prompt_of_a_retry_has_the_error_and_the_end_of_its_log(
    tail: str, end: str
) -> None:
    previous = Failure(kind=FailureKind.CONFLICT, message="it broke", log_tail=tail)
    text = prompt.render(entry(attempt=2, previous=previous))
    assert f"This is attempt 2. The previous one failed (conflict): {end}" in text


def test_the_prompt_of_a_first_attempt_mentions_no_attempts() -> None:
    assert "attempt" not in prompt.render(entry())


CODE = (
    "  indented first\n\n\n```py\na = 1\n\n\n\nb = $prompt $$ ${title}\n```  \nlast\t "
)


@pytest.mark.parametrize("template", [None, "$title\n\n\n\n$previous\n\n$prompt"])
def test_the_tasks_text_is_in_the_prompt_byte_for_byte(template: str | None) -> None:
    long = f"{CODE}\n{'€' * 130_000}\n{CODE}"
    previous = Failure(
        kind=FailureKind.CONFLICT, message="it broke", log_tail="one\n\n\n\ntwo"
    )
    one = task(prompt=f"\n \n{long}\n\n", acceptance=(CODE,))
    text = prompt.render(entry(one, attempt=2, previous=previous), template)
    assert f"\n\n{long}\n" in text
    assert "one\n\n\n\ntwo\n\n" in text
    assert "\n\n\n  indented" not in text
    assert template or CODE.strip() in text.partition("It is accepted when:")[2]
    assert prompt.excess_of_task(one) is None
    assert prompt.excess(text) is None


@pytest.mark.parametrize("preset", sorted(agents.presets()))
def test_no_preset_is_given_the_prompt_as_an_argument(
    preset: str, tmp_path: Path
) -> None:
    one = task(title="the title", prompt="the prompt " * 30_000)
    folder = agents.AttemptFolder(tmp_path)
    chosen = AgentSettings(preset=preset)
    call = agents.agent_for(chosen).build(entry(one, agent=chosen), folder)
    arguments = " ".join(call.argv)
    assert "the prompt" not in arguments
    assert len(arguments) < 2_000


def test_a_text_beyond_the_limit_is_told_with_both_sizes() -> None:
    limit = prompt.MAX_TASK_BYTES
    title = len(task().title)
    assert prompt.excess_of_task(task(prompt="x" * (limit - title))) is None
    assert prompt.excess_of_task(task(prompt="€" * (limit // 3 + 1))) == (
        f"its text has {limit + 2 + title:,} bytes, "
        f"and an agent is given at most {limit:,}"
    )
    assert prompt.excess("x" * prompt.MAX_BYTES) is None
    assert "its prompt has 600,001 bytes" in (prompt.excess("x" * 600_001) or "")


def test_the_longest_prompt_of_a_template_with_each_part_once_is_within_the_limit() -> (
    None
):
    previous = Failure(
        kind=FailureKind.CONFLICT, message="€" * 2_000, log_tail="€" * 4_000
    )
    brought = (DependencyResult(id="D", title="€" * 20_000, changed=()),)
    longest = entry(
        task(prompt="x" * (prompt.MAX_TASK_BYTES - 100)),
        attempt=2,
        previous=previous,
        brought=brought,
        context="x" * 32_000,
    )
    filler = "x" * (prompt.MAX_TEMPLATE - len(prompt.DEFAULT))
    assert prompt.excess(prompt.render(longest, prompt.DEFAULT + filler)) is None


def test_the_text_about_dependencies_is_limited_and_does_not_displace_the_task() -> (
    None
):
    brought = tuple(
        DependencyResult(
            id=f"D{n}",
            title="before",
            summary="s" * 900,
            changed=tuple(f"src/{i}.py +1 -1" for i in range(20)),
        )
        for n in range(100)
    )
    text = prompt.render(entry(task(prompt="the task"), brought=brought))
    assert len(text) < 15_000
    assert "the task" in text
    assert "- D0: before\n  s" in text
    assert text.count("…") == 1


def test_an_empty_placeholder_of_a_template_leaves_no_gap() -> None:
    text = prompt.render(
        entry(task(title="it", prompt="do")),
        "$title\n\n$dependencies\n\n$previous\n\n${prompt} $$HOME",
    )
    assert text == "it\n\ndo $HOME\n"


@pytest.mark.parametrize(
    ("template", "problems"),
    [
        (prompt.DEFAULT, []),
        ("a\n$ b", [(2, "a single $ is not valid here; write $$")]),
        ("$title $nobody", [(1, "unknown placeholder $nobody; use $id, $title")]),
    ],
)
def test_the_problems_of_a_template_are_reported_with_their_lines(
    template: str, problems: list[tuple[int, str]]
) -> None:
    assert [(line, what[:44]) for line, what in prompt.template_problems(template)] == [
        (n, what[:44]) for n, what in problems
    ]


@pytest.mark.parametrize(
    ("resets_in", "is_known"),
    [(None, False), (timedelta(hours=1), True), (timedelta(hours=-1), False)],
)
def test_a_reported_usage_limit_has_its_reset_if_that_is_to_come(
    tmp_path: Path, resets_in: timedelta | None, is_known: bool
) -> None:
    report = {"status": "usage_limited", "summary": "come back later"}
    resets = None
    if resets_in is not None:
        resets = (datetime.now(UTC) + resets_in).replace(microsecond=0)
        report["resets_at"] = resets.isoformat()
    failure = _read(tmp_path, json.dumps(report), status=1).failure
    assert failure is not None
    assert (failure.kind, failure.message) == (
        FailureKind.USAGE_LIMIT,
        "come back later",
    )
    assert not failure.counted
    expected = f"{resets:%Y-%m-%dT%H:%M:%SZ}" if is_known else None
    assert failure.resets_at == expected


def test_a_time_without_a_zone_is_no_report_of_a_usage_limit(tmp_path: Path) -> None:
    report = '{"status": "usage_limited", "resets_at": "2026-07-19T18:00:00"}'
    failure = _read(tmp_path, report).failure
    assert failure is not None
    assert failure.kind is FailureKind.AGENT_ERROR


def test_a_persons_message_is_quoted_after_the_failure_and_named_as_such() -> None:
    failed = Failure(kind=FailureKind.VERIFY, message="red")
    one = entry(
        task(), attempt=2, previous=failed, message="use $HOME\n\n# not a title"
    )
    text = prompt.render(one, start="Its work is here.")
    assert (
        "failed (verify): red\n\nIts work is here.\n\n"
        "The person who runs this plan says to you:\n\n"
        "> use $HOME\n>\n> # not a title\n"
    ) in text
    assert "The person" not in prompt.render(entry(task()))


@pytest.mark.parametrize(
    ("report", "end_reason", "kind", "message"),
    [
        ('"question": "Which?"', "exited", FailureKind.QUESTION, "Which?"),
        ('"summary": "Which?"', "exited", FailureKind.QUESTION, "Which?"),
        ('"question": " "', "exited", FailureKind.AGENT_ERROR, "and asks nothing"),
        ('"question": "Which?"', "timeout", FailureKind.TIMEOUT, "time limit"),
    ],
)
def test_a_reported_question_is_one_if_the_agent_ended_by_itself(
    tmp_path: Path, report: str, end_reason: EndReason, kind: str, message: str
) -> None:
    text = f'{{"status": "question", {report}}}'
    failure = _read(tmp_path, text, status=1, end_reason=end_reason).failure
    assert failure is not None
    assert (failure.kind, message in failure.message) == (kind, True)


def test_what_was_asked_is_quoted_with_the_answer_while_it_may_ask_again() -> None:
    asked = [
        Question(attempt=1, text="Which\n# one?", answer="$HOME"),
        Question(attempt=2, text="Why?", answer=""),
    ]
    text = prompt.render(entry(task(), attempt=3, questions=asked))
    assert (
        "In attempt 1 you asked:\n\n> Which\n> # one?\n\n"
        "The person who runs this plan answers:\n\n> $HOME\n\n"
        "In attempt 2 you asked:\n\n> Why?\n\n"
        "There is no answer to this. Decide by yourself.\n"
    ) in text
    assert prompt.QUESTION_FILE in text
    text = prompt.render(entry(task(), attempt=4, questions=[*asked, asked[0]]))
    assert prompt.QUESTION_FILE not in text
    assert "Finish by yourself, without asking" in text
