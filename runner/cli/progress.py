"""The commands that change the progress of tasks: `retry` and `skip`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from runner.cli import completion
from runner.cli.context import open_project, task_views, waiting_message
from runner.cli.options import settings_options
from runner.core.errors import EXIT_DONE, UsageProblem

if TYPE_CHECKING:
    from runner.config.settings import FlagValue, Settings
    from runner.plan.progress import Progress
    from runner.plan.snapshot import Snapshot

    # Returns the new progress and the ids of the tasks that it changes.
    Change = Callable[[Snapshot, Settings], tuple[Progress, Sequence[str]]]


@click.command()
@click.argument("task_ids", nargs=-1, metavar="ID…", shell_complete=completion.task_ids)
@click.option("--failed", is_flag=True, help="Every task that failed for good.")
@click.option("--redo", is_flag=True, help="Run completed tasks again as well.")
@settings_options("retry")
@click.pass_obj
def retry(
    repo_path: str,
    /,
    task_ids: tuple[str, ...],
    failed: bool,
    redo: bool,
    **flags: FlagValue | None,
) -> int:
    """Grant tasks one more attempt.

    The count of attempts made is never lowered. A completed task is run again only
    with --redo; its change stays, and the new attempt starts from it.
    """
    from runner.plan.snapshot import with_retries

    if not task_ids and not failed:
        raise UsageProblem("no tasks given", "give their ids, or --failed")

    def grant_attempt(
        snapshot: Snapshot, settings: Settings
    ) -> tuple[Progress, Sequence[str]]:
        ids: Sequence[str] = task_ids or _failed_tasks(snapshot, settings)
        if not redo:
            return with_retries(snapshot, ids, settings.max_attempts), ids
        progress = snapshot.progress
        for task in snapshot.tasks_named(ids):
            progress = progress.with_redo(task, settings.max_attempts)
        return progress, ids

    return _change_progress(repo_path, flags, "Retry", grant_attempt)


def _failed_tasks(snapshot: Snapshot, settings: Settings) -> list[str]:
    views = task_views(snapshot, settings)
    return [view.task.id for view in views if view.state == "failed"]


@click.command()
@click.argument(
    "task_ids",
    nargs=-1,
    required=True,
    metavar="ID…",
    shell_complete=completion.task_ids,
)
@click.option(
    "--satisfied",
    is_flag=True,
    help="Let the tasks that depend on them run nevertheless.",
)
@settings_options("skip")
@click.pass_obj
def skip(
    repo_path: str,
    /,
    task_ids: tuple[str, ...],
    satisfied: bool,
    **flags: FlagValue | None,
) -> int:
    """Never run these tasks; `fanin retry` undoes it."""
    from runner.plan.snapshot import refuse_landed

    def mark_skipped(snapshot: Snapshot, _: Settings) -> tuple[Progress, Sequence[str]]:
        progress = snapshot.progress
        tasks = snapshot.tasks_named(task_ids)
        refuse_landed(snapshot, tasks, "skip tasks that are still open")
        for task in tasks:
            progress = progress.with_skip(task, satisfied=satisfied)
        return progress, task_ids

    return _change_progress(repo_path, flags, "Skip", mark_skipped)


def _change_progress(
    repo_path: str, flags: Mapping[str, FlagValue | None], verb: str, change: Change
) -> int:
    """Commit a change of the progress file, and of the plan's own marks."""
    from runner.local.journal import Journal
    from runner.local.preparation import refuse_unfinished, target_branch
    from runner.local.unlanded_work import has_unlanded_work
    from runner.local.unrecorded import (
        commit_progress,
        counted_snapshot,
        recorded_event,
    )
    from runner.plan.snapshot import read_snapshot
    from runner.repo import work_tree

    repo, settings = open_project(repo_path, flags)
    journal = Journal(repo.git_dir)
    with journal.locked():
        branch = target_branch(repo, settings)
        refuse_unfinished(repo, branch)
        state = journal.state()
        for waiting in state.waiting:
            if waiting.target == branch and has_unlanded_work(repo, waiting):
                raise UsageProblem(waiting_message(waiting.branch), "then try again")
        head = repo.commit(f"refs/heads/{branch}")
        assert head is not None
        counted = counted_snapshot(
            repo,
            state,
            branch,
            head,
            settings.plan,
            settings.progress,
            settings.task_rules,
        )
        snapshot = counted.snapshot
        progress, task_ids = change(snapshot, settings)
        if not task_ids:
            click.echo("nothing to do")
            return EXIT_DONE
        commit = commit_progress(
            repo,
            snapshot.with_progress(progress),
            settings.progress,
            subject=f"{verb} {', '.join(task_ids)}",
        )
        after = read_snapshot(
            repo, commit, settings.plan, settings.progress, settings.task_rules
        )
        _refuse_what_stays_completed(after, progress.reopened)
        landing = work_tree.plan_landing(repo, branch, head, commit)
        update = work_tree.land(repo, landing)
        if not update.landed:
            raise UsageProblem(
                f"{branch} could not be updated: {update.text or 'it has moved'}",
                "fix that and try again",
            )
        if counted.ids:
            journal.record_all([recorded_event(counted.ids)])
    click.echo(f"{verb.lower()}: {', '.join(task_ids)}; continue with  fanin run")
    return EXIT_DONE


def _refuse_what_stays_completed(after: Snapshot, reopened: Iterable[str]) -> None:
    """Raises UsageProblem if the plan marks a task in a way that fanin cannot clear.

    Such as a closed issue, or a file in a folder of completed tasks.
    """
    tasks = [after.graph.tasks[task_id] for task_id in reopened]
    completed = [task.id for task in tasks if after.progress.has_landed(task)]
    if completed:
        raise UsageProblem(
            f"the plan marks {', '.join(completed)} as completed",
            f"reopen it there, in {after.plan.path}, then try again",
        )


COMMANDS = (retry, skip)
