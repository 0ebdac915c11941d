"""Any command as an agent: what its end and its report mean, and what its prompt says."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path

import pytest

from runner import agents
from runner.agents import command, outcome, prompt
from runner.agents.base import Place, Verdict
from runner.agents.process import Outcome
from runner.core.errors import UsageProblem
from runner.core.manifest import Brought
from runner.core.result import Failure, FailureKind
from runner.core.task import AgentSettings
from tests.support.builders import entry, task


def _read(
    folder: Path,
    report: str | bytes | None = None,
    *,
    status: int = 0,
    ended: str = "exited",
) -> Verdict:
    path = folder / "report.json"
    if report is not None:
        path.write_bytes(report if isinstance(report, bytes) else report.encode())
    return command.Command().read(
        Outcome(status, ended, 12.4, "the tail of its output"), Place(folder)
    )


def test_a_command_is_started_as_it_is_given(tmp_path: Path) -> None:
    settings = AgentSettings(command=("robot", "--flag", "a b"))
    call = agents.agent_for(settings).build(entry(agent=settings), Place(tmp_path))
    assert (list(call.argv), dict(call.env)) == (["robot", "--flag", "a b"], {})


def test_an_unknown_preset_is_a_problem_that_says_what_to_write() -> None:
    with pytest.raises(UsageProblem, match="unknown agent preset 'nobody'") as caught:
        agents.agent_for(AgentSettings(preset="nobody"))
    assert "command:" in caught.value.advice


@pytest.mark.parametrize(
    ("status", "ended", "kind", "said"),
    [
        (1, "exited", FailureKind.AGENT_ERROR, "the agent ended with exit status 1"),
        (-9, "exited", FailureKind.AGENT_ERROR, "the agent ended with signal 9"),
        (
            -15,
            "timeout",
            FailureKind.TIMEOUT,
            "the agent was ended after its time limit, 12 s",
        ),
        (
            0,
            "timeout",
            FailureKind.TIMEOUT,
            "the agent was ended after its time limit, 12 s",
        ),
        (
            -15,
            "idle",
            FailureKind.IDLE,
            "the agent was ended after printing nothing for too long, 12 s in all",
        ),
        (-15, "cancelled", FailureKind.INTERRUPTED, "the run was interrupted"),
    ],
)
@pytest.mark.parametrize("report", [None, '{"status": "ok", "summary": "all well"}'])
def test_a_bad_end_outranks_a_good_report(
    tmp_path: Path,
    status: int,
    ended: str,
    kind: FailureKind,
    said: str,
    report: str | None,
) -> None:
    failure = _read(tmp_path, report, status=status, ended=ended).failure
    assert failure is not None
    assert (failure.kind, failure.message, failure.log_tail) == (
        kind,
        said,
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
def test_a_good_end_with_any_readable_report_is_no_failure_and_what_is_unsaid_is_unknown(
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
    ("report", "status", "said", "retryable"),
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
def test_an_error_the_agent_reports_is_one_whatever_its_exit_status(
    tmp_path: Path, report: str, status: int, said: str, retryable: bool
) -> None:
    failure = _read(tmp_path, report, status=status).failure
    assert failure is not None
    assert (failure.kind, failure.message, failure.retryable) == (
        FailureKind.AGENT_ERROR,
        said,
        retryable,
    )


@pytest.mark.parametrize("report", ['{"retryable": false}', None])
def test_an_agent_cannot_say_that_a_time_limit_was_final(
    tmp_path: Path, report: str | None
) -> None:
    failure = _read(tmp_path, report, ended="timeout").failure
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
        json.dumps({"summary": "x" * command.MAX_REPORT_BYTES}),
    ],
    ids=lambda report: repr(report[:30]),
)
def test_a_report_that_is_not_the_contracts_is_a_failure_and_says_nothing(
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
    (tmp_path / "report.json").mkdir()
    assert _read(tmp_path).failure is not None


def test_a_report_that_is_a_pipe_is_a_failure_and_no_endless_wait(
    tmp_path: Path,
) -> None:
    pipe = tmp_path / "report.json"
    os.mkfifo(pipe)
    found: list[Verdict] = []
    reader = threading.Thread(target=lambda: found.append(_read(tmp_path)))
    reader.start()
    while reader.is_alive():  # lets a reader go that waits for somebody to write
        with contextlib.suppress(OSError):
            os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))
        reader.join(0.01)
    assert found[0].failure is not None


def test_only_the_end_of_a_long_output_goes_with_the_failure() -> None:
    failure = outcome.ended_badly(Outcome(1, "exited", 1.0, "x" * 100_000 + "the end"))
    assert failure is not None
    assert failure.log_tail.endswith("the end")
    assert len(failure.log_tail) == 4_000


# -- the prompt --


def test_the_prompt_is_the_task_and_how_to_end() -> None:
    text = prompt.render(entry(task(title="Add login", prompt="\n  Use sessions.\n\n")))
    assert text.startswith(
        "# T1: Add login\n\nUse sessions.\n\nWork in the current folder. Finish by yourself"
    )
    assert text.endswith("committed or not.\n")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, None),
        ((), "You may change only these files: none."),
        (("src/**", "a.py"), "You may change only these files: src/**, a.py."),
    ],
)
def test_the_prompt_says_which_files_may_be_changed(
    files: tuple[str, ...] | None, said: str | None
) -> None:
    text = prompt.render(entry(task(files=files)))
    assert ("You may change" in text) is (said is not None)
    assert said is None or said in text


def test_the_prompt_says_when_it_is_done() -> None:
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
def test_a_retrys_prompt_carries_the_error_and_the_end_of_its_log(
    tail: str, end: str
) -> None:
    previous = Failure(kind=FailureKind.CONFLICT, message="it broke", log_tail=tail)
    text = prompt.render(entry(attempt=2, previous=previous))
    assert f"This is attempt 2. The one before failed (conflict): {end}" in text


def test_a_first_attempt_speaks_of_no_other() -> None:
    assert "attempt" not in prompt.render(entry())


@pytest.mark.parametrize("shift", range(3))
def test_a_prompt_is_cut_at_its_limit_and_never_inside_a_character(shift: int) -> None:
    text = prompt.render(entry(task(prompt="x" * shift + "€" * prompt.MAX_BYTES)))
    assert prompt.MAX_BYTES - 3 < len(text.encode()) <= prompt.MAX_BYTES
    assert "\ufffd" not in text


def test_however_long_the_task_is_a_retry_learns_what_went_wrong() -> None:
    previous = Failure(
        kind=FailureKind.CONFLICT, message="it broke", log_tail="last words"
    )
    text = prompt.render(
        entry(task(prompt="x" * 2 * prompt.MAX_BYTES), attempt=2, previous=previous)
    )
    assert "it broke" in text
    assert "last words" in text
    assert len(text.encode()) <= prompt.MAX_BYTES


def test_what_the_dependencies_changed_is_bounded_and_never_crowds_out_the_task() -> (
    None
):
    brought = tuple(
        Brought(
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


def test_a_template_of_ones_own_leaves_no_gap_where_there_is_nothing_to_say() -> None:
    text = prompt.render(
        entry(task(title="it", prompt="do")),
        "$title\n\n$dependencies\n\n$previous\n\n${prompt} $$HOME",
    )
    assert text == "it\n\ndo $HOME\n"


@pytest.mark.parametrize(
    ("template", "found"),
    [
        (prompt.DEFAULT, []),
        ("a\n$ b", [(2, "a single $ means nothing; write $$")]),
        ("$title $nobody", [(1, "there is no $nobody; known: $id, $title")]),
    ],
)
def test_a_templates_mistakes_are_found_at_their_lines(
    template: str, found: list[tuple[int, str]]
) -> None:
    assert [(line, what[:39]) for line, what in prompt.complaints(template)] == [
        (n, what[:39]) for n, what in found
    ]
