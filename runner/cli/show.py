"""The command `show`: everything that is known of one task."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runner.cli import completion
from runner.cli.context import open_tasks
from runner.cli.options import from_artifacts, settings_options
from runner.cli.status import read_tasks
from runner.core.errors import EXIT_DONE
from runner.core.fanin_commands import typed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from runner.config.settings import FlagValue
    from runner.core.reports import AttemptRow, TaskReport
    from runner.core.result import Question
    from runner.core.run_view import AttemptView
    from runner.local.artifact_history import ArtifactHistory
    from runner.local.run_history import RunHistory


_MAX_LOG_LINES = 10  # of the end of a failure


@click.command()
@click.argument("task_id", metavar="ID", shell_complete=completion.task_ids)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for tools.")
@from_artifacts
@settings_options("show")
@click.pass_obj
def show(
    repo_path: str,
    /,
    task_id: str,
    as_json: bool,
    artifacts: Path | None,
    **flags: FlagValue | None,
) -> int:
    """Show one task: its state and why, prompt, attempts."""
    from runner.core.reports import TaskReport
    from runner.local.github_pages import job_url
    from runner.local.kept_work import kept_work
    from runner.local.run_history import RunHistory

    repo, settings = open_tasks(repo_path, flags)
    tasks = read_tasks(repo, settings)
    history = RunHistory(tasks.journal, settings.plan.path)
    [task] = tasks.snapshot.tasks_named([task_id])
    states = {view.task.id: view.state for view in tasks.views}
    [view] = [view for view in tasks.views if view.task.id == task_id]
    record = view.record
    report = TaskReport(
        id=task_id,
        title=task.title,
        state=view.state,
        reason=view.reason,
        depends_on={each: states.get(each, "unknown") for each in task.waits_for},
        prompt=task.prompt or "",
        attempt_count=record.attempts,
        attempts=_attempt_rows(task_id, history, artifacts),
        kept=tuple(
            work.row(own_branch=settings.own_branch)
            for work in kept_work(repo)
            if work.is_of(task_id)
        ),
        commit=repo.landing_commits(tasks.snapshot.commit).get(task_id),
        error=record.error,
        job=record.job,
        job_url=job_url(repo.remote_url("origin"), record.job) if record.job else None,
        artifact=record.artifact,
        questions=record.questions,
    )
    if as_json:
        click.echo(report.model_dump_json(indent=1))
        return EXIT_DONE
    from runner.core.message_text import visible

    for line in _lines(report):
        click.echo(visible(line))
    return EXIT_DONE


def _attempt_rows(
    task_id: str, history: RunHistory, artifacts: Path | None
) -> tuple[AttemptRow, ...]:
    """The attempts of the runs here, then those of the artifacts in a folder."""
    rows = [_row(each, history) for each in history.attempts(task_id)]
    if artifacts is not None:
        from runner.local.artifact_history import ArtifactHistory

        downloaded = ArtifactHistory(artifacts)
        rows += [_row(each, downloaded) for each in downloaded.attempts(task_id)]
    return tuple(rows)


def _row(attempt: AttemptView, history: RunHistory | ArtifactHistory) -> AttemptRow:
    from runner.core.reports import AttemptRow
    from runner.local.run_history import run_of

    log = history.log(attempt)
    return AttemptRow(
        attempt=attempt.attempt,
        run=run_of(attempt),
        state=attempt.state,
        agent=attempt.agent,
        seconds=attempt.seconds,
        tokens=attempt.usage.tokens,
        cost_usd=attempt.usage.cost_usd,
        failure=attempt.failure,
        log=str(log) if log is not None and log.exists() else None,
        kept=attempt.kept,
    )


def _lines(report: TaskReport) -> Iterator[str]:
    yield f"{report.id}: {report.title}"
    yield f"state: {report.state}" + (f", {report.reason}" if report.reason else "")
    for task_id, state in report.depends_on.items():
        yield f"depends on: {task_id} ({state})"
    if report.commit:
        yield f"landed with: {report.commit}"
    if report.job is not None:
        yield f"last ran on GitHub: {report.job_url or report.job}"
        if report.artifact is not None:
            yield f"  artifact: {report.artifact}"
    for row in report.attempts:
        yield from _attempt_lines(row)
    for question in report.questions:
        yield from _question_lines(question, report.id)
    if report.error is not None and not report.attempts:
        yield f"last failure ({report.error.kind}): {report.error.message}"
        yield from report.error.log_tail.splitlines()
    for work in report.kept:
        yield f"kept work of attempt {work.attempt}:"
        yield f"  look:  {work.look}"
        yield f"  take:  {work.take}"
    if report.prompt:
        yield "prompt:"
        yield from _quoted(report.prompt)


def _question_lines(question: Question, task_id: str) -> Iterator[str]:
    yield f"question of attempt {question.attempt}:"
    yield from _quoted(question.text)
    if question.answer is None:
        command = typed("reply", [task_id], last='"…"')
        yield f"to answer:  {command}"
    elif question.answer:
        yield "answer:"
        yield from _quoted(question.answer)
    else:
        yield "to go on without an answer"


def _quoted(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


def _attempt_lines(row: AttemptRow) -> Iterator[str]:
    parts = [f"attempt {row.attempt}: {row.state}", row.agent]
    if row.seconds is not None:
        parts.append(f"{row.seconds:.0f} s")
    if row.tokens is not None:
        parts.append(f"{row.tokens:,} tokens")
    if row.cost_usd is not None:
        parts.append(f"${row.cost_usd:.2f}")
    yield ", ".join(part for part in parts if part)
    # The questions have a part of their own.
    if row.failure is not None and row.failure.verb == "failed":
        yield f"  failure ({row.failure.kind}): {row.failure.message}"
        # What a verify command has printed is in no other log.
        for line in row.failure.log_tail.splitlines()[-_MAX_LOG_LINES:]:
            yield f"    │ {line}"
    if row.log is not None:
        yield f"  log: {row.log}"


COMMANDS = (show,)
