"""The commands that show what a task has done: `log`, `diff` and `kept`."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

import click

from runner.cli import completion
from runner.cli.context import branch_snapshot, open_tasks, unlanded_work
from runner.cli.options import from_artifacts, settings_options
from runner.core.errors import EXIT_DONE, EXIT_INTERRUPTED, UsageProblem
from runner.core.fanin_commands import typed

if TYPE_CHECKING:
    from pathlib import Path

    from runner.config.settings import FlagValue, Settings
    from runner.core.reports import KeptRow
    from runner.core.run_view import AttemptView
    from runner.local.kept_work import KeptWork
    from runner.local.run_history import RunHistory
    from runner.plan.snapshot import Snapshot
    from runner.repo.repository import Repository

_FOLLOW_INTERVAL = 0.2  # seconds
_CHUNK = 64 * 2**10  # bytes


_task_argument = click.argument(
    "task_id", metavar="ID", shell_complete=completion.task_ids
)


@click.command()
@_task_argument
@click.option(
    "-f", "--follow", is_flag=True, help="Go on until the attempt ends (Ctrl-C stops)."
)
@click.option("--attempt", type=int, metavar="N", help="The attempt (default: last).")
@click.option("--raw", is_flag=True, help="Print the bytes as they are, into a pipe.")
@from_artifacts
@settings_options("log")
@click.pass_obj
def log(
    repo_path: str,
    /,
    task_id: str,
    follow: bool,
    attempt: int | None,
    raw: bool,
    artifacts: Path | None,
    **flags: FlagValue | None,
) -> int:
    """Print the output of a task's agent.

    Of the attempt that is running, or else of the last one.
    """
    from runner.local.run_history import chosen_attempt

    if raw and sys.stdout.isatty():
        raise UsageProblem(
            "--raw prints what an agent wrote as it is, which may act on the terminal",
            f"leave it out, or use a pipe:  {typed('log', [task_id], '--raw')} | less",
        )
    if artifacts is not None:
        _print_log(_log_of_artifact(artifacts, task_id, attempt), raw=raw)
        return EXIT_DONE
    repo, settings = open_tasks(repo_path, flags)
    history = _history(repo, settings)
    attempts = history.attempts(task_id)
    chosen = chosen_attempt(attempts, attempt)
    path = history.log(chosen) if chosen else None
    if chosen is None or path is None:
        # The plan says why. A log that is there needs none.
        snapshot = _snapshot(repo, settings)
        if not attempts:
            snapshot.tasks_named([task_id])
        raise _no_log(repo, snapshot, task_id, attempt, attempts)
    if follow:
        exit_code = _follow(path, history, chosen, raw=raw)
        if exit_code is not None:
            return exit_code
        # It has ended meanwhile, and its events say why it has no log.
        attempts = _history(repo, settings).attempts(task_id)
        chosen = chosen_attempt(attempts, chosen.attempt) or chosen
    _print_log(path, chosen, raw=raw)
    return EXIT_DONE


def _snapshot(repo: Repository, settings: Settings) -> Snapshot:
    own_work, _ = unlanded_work(repo, settings)
    return branch_snapshot(repo, settings, own_work.branch if own_work else None)


def _history(repo: Repository, settings: Settings) -> RunHistory:
    from runner.local.journal import Journal
    from runner.local.run_history import RunHistory

    return RunHistory(Journal(repo.git_dir), settings.plan.path)


def _log_of_artifact(root: Path, task_id: str, number: int | None) -> Path:
    """The log of the task's last attempt below `root`, or of the one with that number."""
    from runner.core import result_folder
    from runner.core.validation import nearest

    found = result_folder.logs(root)
    logs = [
        path
        for record, path in found
        if record.task == task_id and number in {None, record.attempt}
    ]
    if logs:
        return logs[-1]
    ids = {record.task for record, _ in found}
    what = task_id if number is None else f"attempt {number} of {task_id}"
    guess = None if task_id in ids else nearest(task_id, ids)
    remedy = f"did you mean {guess}?" if guess else f"it has: {', '.join(sorted(ids))}"
    if not ids:
        remedy = "download them:  gh run download RUN_ID --dir DIR"
    raise UsageProblem(f"{root} has no log of {what}", remedy)


def _no_log(
    repo: Repository,
    snapshot: Snapshot,
    task_id: str,
    number: int | None,
    attempts: Sequence[AttemptView],
) -> UsageProblem:
    """The error that says where the log is, or why there is none."""
    numbers = [str(attempt.attempt) for attempt in attempts if attempt.log]
    if numbers:
        return UsageProblem(
            f"there is no log of attempt {number} of {task_id}",
            f"attempts with a log: {', '.join(numbers)}",
        )
    record = snapshot.progress.records.get(task_id)
    if record is not None and record.job is not None:
        from runner.local.github_pages import job_page

        run, _, _ = record.job.partition("/")
        page = job_page(repo.remote_url("origin"), record.job)
        which = f"--pattern 'fanin-*-a{number or record.attempts}-r*'"
        if record.artifact and number in {None, record.attempts}:
            which = f"--name {shlex.quote(record.artifact)}"
        return UsageProblem(
            f"{task_id} ran on GitHub: {page}",
            f"its log is in an artifact:  gh run download {run} {which} --dir DIR "
            f"&& {typed('log', [task_id], '--from DIR')}",
        )
    if record is not None and record.attempts:
        return UsageProblem(
            f"the logs of {task_id} are not on this machine",
            f"{typed('show', [task_id])}  has the end of the last one",
        )
    return UsageProblem(
        f"{task_id} has not started yet", "fanin status  shows what it waits for"
    )


def _print_log(path: Path, attempt: AttemptView | None = None, *, raw: bool) -> None:
    from runner.core.regular_file import open_regular

    stream = open_regular(path)
    if stream is None:
        raise _missing_log(path, attempt)
    writer = _LogWriter(raw=raw)
    with stream:
        writer.copy(stream)
    writer.finish()


def _missing_log(path: Path, attempt: AttemptView | None) -> UsageProblem:
    """The error that says why there is no log. It is made when the agent starts."""
    from runner.core.run_view import AttemptState

    if attempt is None:
        return UsageProblem(
            f"there is no log at {path}", "its agent did not start, or it was deleted"
        )
    which = f"attempt {attempt.attempt} of {attempt.task}"
    if attempt.failure is not None:
        from runner.core.message_text import one_line

        reason = one_line(attempt.failure.message.partition("\n")[0])
        return UsageProblem(
            f"{which} has no log: {reason}",
            f"{typed('show', [attempt.task])}  has the whole reason",
        )
    if attempt.state in {AttemptState.CHOSEN, AttemptState.RUNNING}:
        return UsageProblem(
            f"the agent of {which} has not started yet",
            f"{typed('log', [attempt.task], '-f')}  waits for it",
        )
    if attempt.state is AttemptState.INTERRUPTED:
        return UsageProblem(
            f"{which} was interrupted before its agent started",
            "go on with  fanin run",
        )
    return UsageProblem(f"there is no log at {path}", "it may have been deleted")


def _follow(
    path: Path, history: RunHistory, attempt: AttemptView, *, raw: bool
) -> int | None:
    """Print the log until the attempt ends, also if it is not there yet. Returns the
    exit code, None if there was no log.
    """
    import time

    from runner.core.regular_file import open_regular

    writer, stream = _LogWriter(raw=raw), None
    try:
        while True:
            # Asked first: what was written before the end is then printed.
            has_ended = history.has_ended(attempt)
            stream = stream or open_regular(path)
            if stream is not None:
                writer.copy(stream)
            if has_ended:
                break
            time.sleep(_FOLLOW_INTERVAL)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    finally:
        if stream is not None:
            stream.close()
    if stream is None:
        return None
    writer.finish()
    return EXIT_DONE


class _LogWriter:
    """Writes a log to standard output, cleaned unless `raw`."""

    def __init__(self, *, raw: bool) -> None:
        from runner.ui.log_text import LogText

        self._text = None if raw else LogText()

    def copy(self, stream: BinaryIO) -> None:
        """Write what the stream has from here on."""
        while data := stream.read(_CHUNK):
            if self._text is None:
                sys.stdout.buffer.write(data)
            else:
                sys.stdout.write(self._text.feed(data))
        sys.stdout.flush()

    def finish(self) -> None:
        if self._text is not None:
            sys.stdout.write(self._text.finish())
            sys.stdout.flush()


@click.command()
@_task_argument
@from_artifacts
@settings_options("diff")
@click.pass_obj
def diff(
    repo_path: str,
    /,
    task_id: str,
    artifacts: Path | None,
    **flags: FlagValue | None,
) -> int:
    """Print what a task has changed.

    What has landed, else what an attempt has finished, else what is kept of one.
    Into a pipe it is a patch for `git apply`.
    """
    from runner.core.documents import clean
    from runner.local.journal import Journal
    from runner.local.task_change import TaskChanges, results_of_runs

    repo, settings = open_tasks(repo_path, flags)
    snapshot = _snapshot(repo, settings)
    results = results_of_runs(Journal(repo.git_dir))
    if artifacts is None:
        attempts = _history(repo, settings).attempts(task_id)
    else:
        from runner.local.artifact_history import ArtifactHistory
        from runner.local.artifact_results import ArtifactResults, manifests

        attempts = ArtifactHistory(artifacts).attempts(task_id)
        results = ArtifactResults([artifacts], list(manifests(artifacts)))
    if not attempts:
        snapshot.tasks_named([task_id])
    changes = TaskChanges(repo, results, snapshot)
    with changes.of(task_id, attempts) as change:
        patch = change.patch()
        origin = clean(f"{task_id}: {change.origin}")
    if not sys.stdout.isatty():
        click.echo(origin, err=True)
        sys.stdout.buffer.write(patch)
        return EXIT_DONE
    _page(origin, patch)
    return EXIT_DONE


def _page(origin: str, patch: bytes) -> None:
    """Show a patch in the person's pager, which no file of the repository names."""
    from runner.ui.log_text import patch_lines

    colours = not os.environ.get("NO_COLOR")
    lines = [origin, ""]
    for text, style in patch_lines(patch):
        foreground = style if style != "bold" else None
        if colours and style:
            text = click.style(text, fg=foreground, bold=style == "bold")
        lines.append(text)
    # As git starts it: it ends at once if all fits on the screen.
    os.environ.setdefault("LESS", "FRX")
    click.echo_via_pager("\n".join(lines) + "\n", color=colours)


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON for tools.")
@click.pass_context
def kept(ctx: click.Context, as_json: bool) -> int | None:
    """List the work that did not land, and how to take it."""
    if ctx.invoked_subcommand is not None:
        return None
    from runner.cli.context import open_project
    from runner.local.kept_work import kept_work

    repo, settings = open_project(ctx.obj, {})
    works = kept_work(repo)
    rows = tuple(work.row(own_branch=settings.own_branch) for work in works)
    if as_json:
        from runner.core.reports import KeptReport

        click.echo(KeptReport(kept=rows).model_dump_json(indent=1))
        return EXIT_DONE
    if not works:
        click.echo("no work is kept: all that was done has landed, or was pruned")
    for row in rows:
        _print_kept(row)
    return EXIT_DONE


def _print_kept(row: KeptRow) -> None:
    from datetime import UTC, datetime

    from runner.core.clock import age
    from runner.core.message_text import visible

    since = age(datetime.fromtimestamp(row.time, UTC), datetime.now(UTC))
    reason = row.reason.splitlines() or ["all but a part of it has landed"]
    first = f"{row.task}, attempt {row.attempt}, {since} ago: {reason[0]}"
    click.echo(visible(first))
    click.echo(visible(f"  look:  {row.look}"))
    click.echo(visible(f"  take:  {row.take}"))


@kept.command()
@click.argument("task_ids", nargs=-1, metavar="ID…", shell_complete=completion.task_ids)
@click.option(
    "--older-than", metavar="AGE", help="Only what is older, such as 12h or 30d."
)
@click.option("--landed", is_flag=True, help="Only that of tasks that have landed.")
@settings_options("prune")
@click.pass_obj
def prune(
    repo_path: str,
    /,
    task_ids: tuple[str, ...],
    older_than: str | None,
    landed: bool,
    **flags: FlagValue | None,
) -> int:
    """Delete kept work that meets all conditions; at least one must be given."""
    from datetime import UTC, datetime

    from runner.core.message_text import visible
    from runner.local.kept_work import kept_work, to_prune

    if not (task_ids or older_than or landed):
        raise UsageProblem(
            "nothing says what to delete", "give task IDs, --older-than or --landed"
        )
    seconds = None if older_than is None else _age_in_seconds(older_than)
    repo, settings = open_tasks(repo_path, flags)
    works = kept_work(repo)
    for task_id in task_ids:
        if not any(work.is_of(task_id) for work in works):
            raise _nothing_kept(task_id, works)
    chosen = to_prune(
        works, task_ids=task_ids, older_than=seconds, now=datetime.now(UTC)
    )
    if landed:
        snapshot = _snapshot(repo, settings)
        done = [
            task.id
            for task in snapshot.plan.tasks
            if snapshot.progress.has_landed(task)
        ]
        chosen = to_prune(chosen, task_ids=done, now=datetime.now(UTC)) if done else []
    repo.delete_refs([work.ref for work in chosen])
    for work in chosen:
        click.echo(visible(f"deleted {work.ref} (was {work.commit[:12]})"))
    if not chosen:
        click.echo("nothing to delete")
    return EXIT_DONE


def _nothing_kept(task_id: str, works: Sequence[KeptWork]) -> UsageProblem:
    from runner.core.validation import nearest

    guess = nearest(task_id, {work.task for work in works})
    remedy = f"did you mean {guess}?" if guess else "fanin kept  lists all that is kept"
    return UsageProblem(f"no work of {task_id} is kept", remedy)


def _age_in_seconds(text: str) -> float:
    from runner.core.documents import parse_duration

    try:
        if text.endswith("d") and text[:-1].isdecimal():
            return parse_duration(f"{24 * int(text[:-1])}h")
        return parse_duration(text)
    except ValueError:
        raise UsageProblem(
            f"--older-than {text} is no age", "write it like 45m, 12h or 30d"
        ) from None


COMMANDS = (log, diff, kept)
