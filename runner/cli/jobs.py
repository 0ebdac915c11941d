"""The steps of a round as jobs of GitHub Actions, typed by the action: next, task,
verify, merge, continue.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import opened, repository, working_snapshot
from runner.cli.options import PathOption, settings_options
from runner.core.errors import EXIT_DONE

if TYPE_CHECKING:
    from pathlib import Path


_manifest = click.option(
    "--manifest",
    type=PathOption(dir_okay=False),
    envvar="FANIN_MANIFEST",
    default="manifest.json",
    show_default=True,
    help="The batch manifest.",
)
_digest = click.option(
    "--manifest-digest",
    envvar="FANIN_MANIFEST_DIGEST",
    default="",
    help="What job next said of it.",
)
_state = click.option(
    "--state", envvar="FANIN_STATE", default="", help="What the round before handed on."
)
_results = click.argument(
    "results", type=PathOption(file_okay=False), envvar="FANIN_RESULTS"
)
_verdict = click.option(
    "--verdict", type=PathOption(dir_okay=False), envvar="FANIN_VERDICT"
)


@click.command("next")
@_manifest
@_state
@click.option(
    "--retry",
    envvar="FANIN_RETRY",
    default="",
    metavar="'ID ID…'",
    help="Tasks to grant one more attempt.",
)
@click.option(
    "--dry-run", is_flag=True, envvar="FANIN_DRY_RUN", help="Only say what would run."
)
@click.option(
    "--runs-on",
    envvar="FANIN_RUNS_ON",
    default="ubuntu-latest",
    help="A label, or a JSON list of labels.",
)
@settings_options("next")
@click.pass_obj
def next_(
    where: str,
    /,
    manifest: Path,
    state: str,
    retry: str,
    dry_run: bool,
    runs_on: str,
    **flags: Any,
) -> int:
    """Job: choose the batch, write its manifest and the matrix."""
    from runner.actions import workflow_io
    from runner.actions.next_job import NextOptions, next_job
    from runner.actions.round_state import first_round_inputs, round_state, with_inputs
    from runner.config.settings import file_in, load
    from runner.repo.remote import Remote

    context, job_io = (
        workflow_io.read_context(os.environ),
        workflow_io.JobIO(os.environ, sys.stdout),
    )
    handed = round_state(state, context)
    inputs = first_round_inputs(os.environ, handed)
    repo = repository(where)
    environ = with_inputs(os.environ, inputs)
    settings = load(flags, environ, file_in(repo.root))
    # Job `continue` has no checkout, so it cannot read the file that may say these.
    limits = {
        name: getattr(settings.limits, name) for name in ("max_rounds", "max_cost_usd")
    }
    inputs |= {name: str(value) for name, value in limits.items() if value is not None}
    options = NextOptions(
        manifest,
        retry.replace(",", " ").split(),
        dry_run,
        runs_on,
        inputs,
        bool(os.environ.get("FANIN_MAY_CHANGE_WORKFLOWS")),
    )
    remote = Remote(repo, context.token, context.server_url)
    return next_job(repo, settings, handed, context, job_io, remote, options)


@click.command()
@click.argument("task_id", envvar="FANIN_TASK_ID", metavar="ID")
@click.option(
    "--results",
    type=PathOption(file_okay=False),
    envvar="FANIN_RESULTS",
    default="results",
    show_default=True,
    help="Where the result folder is made.",
)
@_manifest
@_digest
@click.option(
    "--show-prompt",
    is_flag=True,
    help="Only print the prompt that the task would get now.",
)
@settings_options("task")
@click.pass_obj
def task(
    where: str,
    /,
    task_id: str,
    results: Path,
    manifest: Path,
    manifest_digest: str,
    show_prompt: bool,
    **flags: Any,
) -> int:
    """Job: run one task of the batch and leave its result folder. With --show-prompt
    also outside of Actions.
    """
    import tempfile
    from pathlib import Path

    if show_prompt:
        return _show_prompt(where, task_id, flags)

    from runner.actions import workflow_io
    from runner.actions.round_state import read_manifest
    from runner.actions.task_job import entry_of, task_job
    from runner.repo import origin

    context, job_io = (
        workflow_io.read_context(os.environ),
        workflow_io.JobIO(os.environ, sys.stdout),
    )
    frozen = read_manifest(manifest, manifest_digest)
    entry = entry_of(frozen, task_id)
    with tempfile.TemporaryDirectory(
        prefix="fanin-", ignore_cleanup_errors=True
    ) as scratch:
        return task_job(
            frozen,
            entry,
            origin.origin_of(Path(where)),
            results,
            Path(scratch),
            os.environ,
            context,
            job_io,
        )


@click.command()
@_results
@_manifest
@_digest
@_state
@_verdict
@click.pass_obj
def verify(
    where: str,
    /,
    results: Path,
    manifest: Path,
    manifest_digest: str,
    state: str,
    verdict: Path | None,
) -> int:
    """Job: run the verify command on the merged tree, bisect a red one, leave the
    verdict.
    """
    import tempfile
    from pathlib import Path

    from runner.actions import workflow_io
    from runner.actions.round_state import read_manifest, round_state
    from runner.actions.verify_job import verify_job
    from runner.repo.remote import Remote

    context, job_io = (
        workflow_io.read_context(os.environ),
        workflow_io.JobIO(os.environ, sys.stdout),
    )
    frozen, handed = (
        read_manifest(manifest, manifest_digest),
        round_state(state, context),
    )
    repo = repository(where)
    remote = Remote(repo, context.token, context.server_url)
    branch = handed.branch or frozen.branch
    with tempfile.TemporaryDirectory(
        prefix="fanin-", ignore_cleanup_errors=True
    ) as scratch:
        return verify_job(
            repo,
            frozen,
            results,
            verdict or Path("verdict.json"),
            remote,
            branch,
            Path(scratch),
            os.environ,
            job_io,
        )


@click.command()
@_results
@_manifest
@_digest
@_state
@_verdict
@click.option(
    "--task-result",
    envvar="FANIN_TASK_RESULT",
    default="success",
    help="How the task jobs ended, in all.",
)
@click.option(
    "--commit-via",
    envvar="FANIN_COMMIT_VIA",
    type=click.Choice(["git", "api"]),
    default="git",
)
@click.option(
    "--last/--not-last",
    envvar="FANIN_LAST",
    default=True,
    help="Whether no second verification follows.",
)
@click.pass_obj
def merge(
    where: str,
    /,
    results: Path,
    manifest: Path,
    manifest_digest: str,
    state: str,
    verdict: Path | None,
    task_result: str,
    commit_via: str,
    last: bool,
) -> int:
    """Job: fan the batch's results in to one commit and push it."""
    from runner.actions import workflow_io
    from runner.actions.merge_job import MergeJob, MergeOptions
    from runner.actions.round_state import read_manifest, round_state
    from runner.actions.task_job import read_agent_env
    from runner.agents.environment import secrets_of
    from runner.github_api.client import GitHub
    from runner.repo.remote import Remote

    context, job_io = (
        workflow_io.read_context(os.environ),
        workflow_io.JobIO(os.environ, sys.stdout),
    )
    frozen, handed = (
        read_manifest(manifest, manifest_digest),
        round_state(state, context),
    )
    repo = repository(where)
    # The same values that the legs had, to look for them once more: a leg's machine was
    # the agent's.
    agent_env = read_agent_env(os.environ, job_io)
    secrets = secrets_of(
        [entry.agent for entry in frozen.entries], os.environ, agent_env
    )
    job = MergeJob(
        repo,
        frozen,
        results,
        handed,
        Remote(repo, context.token, context.server_url),
        GitHub(context.token, context.repository, context.api_url),
        context,
        job_io,
        MergeOptions(verdict, task_result, commit_via, last, secrets),
    )
    return job.run()


@click.command("continue")
@_state
@click.option(
    "--again", is_flag=True, envvar="FANIN_AGAIN", help="Whether a task is ready now."
)
@click.option(
    "--landed",
    is_flag=True,
    envvar="FANIN_LANDED",
    help="Whether this round landed a commit.",
)
@click.option(
    "--trigger-workflows",
    envvar="FANIN_TRIGGER_WORKFLOWS",
    default="",
    metavar="'FILE FILE…'",
)
@settings_options("continue")
def continue_(
    state: str, again: bool, landed: bool, trigger_workflows: str, **flags: Any
) -> int:
    """Job: start the caller's workflow for the next round."""
    from runner.actions import workflow_io
    from runner.actions.continue_job import ContinueOptions, continue_job
    from runner.actions.round_state import round_state, with_inputs
    from runner.config.settings import load
    from runner.github_api.client import GitHub

    context, job_io = (
        workflow_io.read_context(os.environ),
        workflow_io.JobIO(os.environ, sys.stdout),
    )
    handed = round_state(state, context)
    environ = with_inputs(os.environ, handed.inputs)
    settings = load(flags, environ, None)
    branch = settings.branch or handed.branch or context.ref_name
    options = ContinueOptions(
        again, branch, landed, trigger_workflows.replace(",", " ").split()
    )
    github = GitHub(context.token, context.repository, context.api_url)
    return continue_job(settings, handed, context, job_io, github, options)


def _show_prompt(where: str, task_id: str, flags: dict[str, Any]) -> int:
    """Print the prompt of a task's next attempt, from the plan as it stands in the work
    tree.
    """
    from runner.agents import prompt
    from runner.plan.snapshot import read_template
    from runner.plan.trees import read_file
    from runner.schedule.manifest import build_entry

    repo, settings = opened(where, flags)
    snapshot = working_snapshot(repo, settings)
    (chosen,) = snapshot.tasks_named([task_id])
    template = settings.prompt_template
    text = read_template(
        template, read_file(repo.root / template) if template else None
    )
    entry = build_entry(0, chosen, snapshot.plan, snapshot.progress, settings)
    click.echo(prompt.render(entry, text), nl=False)
    return EXIT_DONE


COMMANDS = (next_, task, verify, merge, continue_)
