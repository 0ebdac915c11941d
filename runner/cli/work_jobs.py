"""The commands of the jobs that run code of the repository: task and verify.

`earlier-results` is a step of verify and merge.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from runner.cli import completion, job_edges, job_options
from runner.cli.context import open_project, open_repository, work_tree_snapshot
from runner.cli.job_errors import reports_errors
from runner.cli.options import PathOption, settings_options
from runner.core.errors import EXIT_DONE

if TYPE_CHECKING:
    from pathlib import Path

    from runner.sandbox.walls import Walls


@click.command()
@click.argument(
    "task_id",
    envvar="FANIN_TASK_ID",
    required=False,
    metavar="ID",
    shell_complete=completion.task_ids,
)
@click.option(
    "--results",
    type=PathOption(file_okay=False),
    envvar="FANIN_RESULTS",
    default="results",
    show_default=True,
    help="Make the result folder in this one.",
)
@job_options.manifest
@job_options.digest
@click.option(
    "--branch-checkout",
    type=PathOption(file_okay=False),
    envvar="FANIN_BRANCH_CHECKOUT",
    help="The branch as it is now: an attempt that it has recorded does not start.",
)
@click.option(
    "--work-checkout",
    type=PathOption(file_okay=False),
    envvar="FANIN_WORK_CHECKOUT",
    help="The earlier work that the attempt starts from, with the commit before it.",
)
@click.option(
    "--show-prompt",
    is_flag=True,
    help="Only print the prompt of the next attempt.",
)
@settings_options("task")
@click.pass_obj
@reports_errors
def task(
    repo_path: str,
    /,
    task_id: str | None,
    results: Path,
    manifest: Path,
    manifest_digest: str,
    branch_checkout: Path | None,
    work_checkout: Path | None,
    show_prompt: bool,
    **flags: Any,
) -> int:
    """Job: run one task of the batch and write its result folder.

    --show-prompt works outside of Actions too.
    """
    import signal
    from pathlib import Path

    task_id = job_options.given(task_id, "task", "the id of a task, from the matrix")
    if show_prompt:
        return _show_prompt(repo_path, task_id, flags)

    from runner.actions.agent_rights import limit_agent
    from runner.actions.round_state import read_manifest
    from runner.actions.task_job import (
        entry_of,
        origin_with_work,
        skip_reason,
        skip_task,
        task_job,
    )
    from runner.core.folders import temporary_folder

    context, job_io = job_edges.job_context()
    batch = read_manifest(manifest, manifest_digest)
    entry = entry_of(batch, task_id)
    if branch_checkout is not None:
        reason = skip_reason(batch, entry, branch_checkout)
        if reason is not None:
            return skip_task(entry, reason, job_io)
    # These end the agent at once too. GitHub sends SIGINT, and 7.5 s later SIGTERM.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    limit_agent(os.environ, job_io)
    walls = _walls_of_job(repo_path, flags)
    with temporary_folder("fanin-") as scratch:
        return task_job(
            batch,
            entry,
            origin_with_work(Path(repo_path), work_checkout),
            results,
            scratch,
            os.environ,
            context,
            job_io,
            walls,
        )


def _walls_of_job(repo_path: str, flags: dict[str, Any]) -> Walls:
    """The walls around what this job runs, by fanin.yml in its checkout, which no agent has
    changed. Prints which stand, if it asks for some.
    """
    from runner.actions.agent_rights import with_runner_hidden
    from runner.local.walls import walls_of

    repo, settings = open_project(repo_path, flags)
    sandbox = with_runner_hidden(settings.sandbox, os.environ)
    walls = walls_of(repo, settings.model_copy(update={"sandbox": sandbox}), os.environ)
    if sandbox.mode != "off":
        click.echo(walls.choice.sentence)
    return walls


@click.command("earlier-results")
@job_options.results
@job_options.manifest
@job_options.digest
@job_options.sealed
@click.pass_obj
@reports_errors
def earlier_results(
    repo_path: str,
    /,
    results: Path | None,
    manifest: Path,
    manifest_digest: str,
    sealed: bool,
) -> int:
    """Job: name results that a re-run misses.

    They are artifacts of earlier run attempts, which take a token to download.
    """
    from runner.actions.earlier_results import earlier_results_job
    from runner.actions.round_state import read_manifest
    from runner.github_api.client import GitHub

    results = job_options.given(results, "results", job_options.RESULTS_MEANING)
    context, job_io = job_edges.job_context()
    batch = read_manifest(manifest, manifest_digest)
    github = GitHub(context.token, context.repository, context.api_url)
    repo = open_repository(repo_path)
    refuse_seal = job_edges.seal_check(batch, context, job_io, sealed=sealed)
    return earlier_results_job(
        repo, batch, results, github, context, job_io, refuse_seal
    )


@click.command()
@job_options.results
@job_options.manifest
@job_options.digest
@job_options.state
@job_options.verdict
@job_options.events
@click.option(
    "--refused",
    envvar="FANIN_REFUSED",
    default="",
    help="The output refused of job merge: results that are left out.",
)
@job_options.sealed
@click.pass_obj
@reports_errors
def verify(
    repo_path: str,
    /,
    results: Path | None,
    manifest: Path,
    manifest_digest: str,
    state: str,
    verdict: Path | None,
    events: Path | None,
    refused: str,
    sealed: bool,
) -> int:
    """Job: verify the merged tree and write the verdict.

    A red tree is bisected to find the tasks that make it red.
    """
    from pathlib import Path

    from runner.actions.agent_rights import limit_agent
    from runner.actions.round_state import handed_over, read_manifest
    from runner.actions.verify_job import verify_job
    from runner.core.folders import temporary_folder
    from runner.repo.remote import Remote

    results = job_options.given(results, "results", job_options.RESULTS_MEANING)
    context, job_io = job_edges.job_context()
    batch = read_manifest(manifest, manifest_digest)
    handed_state = handed_over(state, batch)
    repo = open_repository(repo_path)
    remote = Remote(repo, context.token, context.server_url)
    limit_agent(os.environ, job_io)
    walls = _walls_of_job(repo_path, {})
    with temporary_folder("fanin-") as scratch:
        return verify_job(
            repo,
            batch,
            results,
            verdict or Path("verdict.json"),
            remote,
            handed_state,
            scratch,
            os.environ,
            job_io,
            walls,
            refused,
            job_edges.seal_check(batch, context, job_io, sealed=sealed),
            events,
        )


def _show_prompt(repo_path: str, task_id: str, flags: dict[str, Any]) -> int:
    """Print the prompt of a task's next attempt, by the plan in the work tree."""
    from runner.agents import prompt
    from runner.plan.snapshot import read_template
    from runner.plan.trees import read_file, work_tree
    from runner.schedule.manifest import build_entry

    repo, settings = open_project(repo_path, flags)
    snapshot = work_tree_snapshot(repo, settings)
    (named_task,) = snapshot.tasks_named([task_id])
    path = settings.prompt_template
    template = read_template(path, read_file(repo.root / path) if path else None)
    entry = build_entry(
        0,
        named_task,
        snapshot.plan,
        snapshot.progress,
        settings,
        tree=work_tree(repo.root, settings.plan, repo),
    )
    click.echo(prompt.render(entry, template), nl=False)
    return EXIT_DONE


COMMANDS = (task, earlier_results, verify)
