"""The commands that work on this machine: run the plan, grant or refuse attempts, start
a plan, show it all.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import opened, repository, views_of, waits
from runner.cli.options import PathOption, settings_options
from runner.core.errors import EXIT_DONE, EXIT_TASKS_FAILED, UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

    from runner.config.settings import Settings
    from runner.plan.snapshot import Snapshot
    from runner.plan.view import TaskView


@click.command()
@settings_options("run")
@click.pass_obj
def run(where: str, /, **flags: Any) -> int:
    """Run everything that is ready, batch by batch, until nothing is left."""
    from rich.console import Console

    from runner.local.run import LocalRun
    from runner.ui.terminal import TerminalView

    repo, settings = opened(where, flags)
    console = Console(highlight=False)
    with TerminalView(console) as view:
        ended = LocalRun(repo, settings, os.environ, view)()
    code = _tell_end(console, views_of(ended.snapshot, settings))
    if ended.usage.attempts:
        console.print(ended.usage.describe(), markup=False)
    for line in (
        ended.waiting_branch and waits(ended.waiting_branch),
        ended.stop_reason and f"stopped: {ended.stop_reason}",
    ):
        if line:
            console.print(line, style="yellow", markup=False, soft_wrap=True)
            code = EXIT_TASKS_FAILED
    return code


@click.command()
@click.argument("task_ids", nargs=-1, metavar="ID…")
@click.option("--failed", is_flag=True, help="Every task that failed for good.")
@settings_options("retry")
@click.pass_obj
def retry(where: str, /, task_ids: tuple[str, ...], failed: bool, **flags: Any) -> int:
    """Grant tasks one more attempt. Attempts are never lowered."""
    from runner.plan.progress import Progress

    def change(snapshot: Snapshot, settings: Settings) -> tuple[Progress, list[str]]:
        ids = list(task_ids) or [
            v.task.id
            for v in views_of(snapshot, settings)
            if failed and v.state == "failed"
        ]
        after = snapshot.progress
        for task in snapshot.tasks_named(ids):
            after = after.with_retry(task, settings.max_attempts)
        return after, ids

    if not task_ids and not failed:
        raise UsageProblem("no task is named", "give ids, or --failed")
    return _change_progress(where, flags, "Retry", change)


@click.command()
@click.argument("task_ids", nargs=-1, required=True, metavar="ID…")
@click.option(
    "--satisfied",
    is_flag=True,
    help="Let the tasks that depend on them run all the same.",
)
@settings_options("skip")
@click.pass_obj
def skip(
    where: str, /, task_ids: tuple[str, ...], satisfied: bool, **flags: Any
) -> int:
    """Never run these tasks. `fanin retry` takes it back."""
    from runner.plan.progress import Progress

    def change(snapshot: Snapshot, _: Settings) -> tuple[Progress, list[str]]:
        after = snapshot.progress
        for task in snapshot.tasks_named(task_ids):
            after = after.with_skip(task, satisfied=satisfied)
        return after, list(task_ids)

    return _change_progress(where, flags, "Skip", change)


def _change_progress(
    where: str, flags: dict[str, Any], verb: str, change: Callable[..., Any]
) -> int:
    """Commit a change of the progress file (and the plan's marks) to the branch."""
    from runner.local.journal import Journal
    from runner.local.landing import has_unlanded_work
    from runner.local.preparation import refuse_dirty, target_branch
    from runner.plan.snapshot import read_snapshot, record_progress
    from runner.repo import work_tree

    repo, settings = opened(where, flags)
    journal = Journal(repo.git_dir)
    with journal.locked():
        branch = target_branch(repo, settings)
        refuse_dirty(repo, branch)
        waiting = journal.state().waiting
        if waiting and waiting.target == branch and has_unlanded_work(repo, waiting):
            raise UsageProblem(waits(waiting.branch), "then try again")
        head = repo.commit(f"refs/heads/{branch}")
        assert head is not None
        snapshot = read_snapshot(repo, head, settings.plan, settings.progress)
        after, ids = change(snapshot, settings)
        if not ids:
            click.echo("nothing to do")
            return EXIT_DONE
        commit = record_progress(
            repo, snapshot, after, settings.progress, f"{verb} {', '.join(ids)}"
        )
        update = work_tree.land(repo, branch, head, commit)
        if not update.landed:
            raise UsageProblem(
                f"{branch} did not take the change: {update.text or 'it moved'}",
                "mend that, try again",
            )
    click.echo(f"{verb.lower()}: {', '.join(ids)}; go on with  fanin run")
    return EXIT_DONE


@click.command()
@click.option(
    "--agent-command",
    default="python3 agent.py",
    show_default=True,
    metavar="'CMD ARG…'",
)
@click.pass_obj
def init(where: str, agent_command: str) -> int:
    """Write a first tasks.yml and fanin.yml; what is there already stays."""
    from runner.cli import scaffold

    root = repository(where).root
    for path, text in scaffold.files(agent_command).items():
        if (root / path).exists():
            click.echo(f"{path} is there already; it stays as it is")
        else:
            (root / path).write_text(text, encoding="utf-8")
            click.echo(f"wrote {path}")
    click.echo("next: edit them, commit them, then  fanin check  and  fanin run")
    return EXIT_DONE


@click.command()
@click.option(
    "--keep-in", type=PathOption(file_okay=False), help="Where to put the repository."
)
def demo(keep_in: Path | None) -> int:
    """Watch six tasks become a few commits, in a new repository, with a scripted agent
    that needs no key.
    """
    import tempfile
    import time
    from pathlib import Path

    from rich.console import Console

    from runner.cli.demo import repository as scene
    from runner.local.run import LocalRun
    from runner.ui.terminal import TerminalView

    root = scene.make_repository(keep_in or Path(tempfile.mkdtemp(prefix="fanin-")))
    repo, settings = opened(str(root), {})
    console = Console(highlight=False)
    started = time.monotonic()
    with TerminalView(console) as view:
        ended = LocalRun(repo, settings, os.environ, view)()
    seconds = time.monotonic() - started
    console.print("\n[bold]The graph[/]")
    _print_waves(console, ended.snapshot)
    console.print("\n[bold]The commits[/]")
    for short, subject in repo.log(None, ended.branch):
        console.print(f"  {short}  {subject}", markup=False)
    console.print(
        f"\nthe agents worked {view.busy_seconds:.1f} s in all; the run took {seconds:.1f} s, "
        f"{view.busy_seconds / seconds:.1f} times as fast as one after the other",
        soft_wrap=True,
    )
    console.print(
        f"the repository: {root}\nlook around:    cd {root} && fanin status && git log --stat",
        soft_wrap=True,
    )
    return _tell_end(console, views_of(ended.snapshot, settings))


def _tell_end(console: Any, found: list[TaskView]) -> int:
    """The closing lines of a run, and its exit code."""
    from runner.ui.terminal import tally

    for view in found:
        if view.state in {"failed", "blocked", "held"}:
            console.print(
                f"{view.task.id} {view.state}: {view.reason}", style="red", markup=False
            )
    console.print(tally(found))
    bad = [view for view in found if view.state in {"failed", "blocked", "held"}]
    if any(view.state == "failed" for view in bad):
        console.print(
            "another attempt for them:  fanin retry --failed && fanin run", markup=False
        )
    return EXIT_TASKS_FAILED if bad else EXIT_DONE


def _print_waves(console: Any, snapshot: Snapshot) -> None:
    for wave in snapshot.graph.waves():
        console.print(
            "  "
            + "   ".join(
                f"{task_id} ← {', '.join(snapshot.graph.dependencies(task_id))}"
                if snapshot.graph.dependencies(task_id)
                else task_id
                for task_id in wave
            ),
            markup=False,
        )


COMMANDS = (run, retry, skip, init, demo)
