"""The commands of the jobs that choose and land: next, merge, continue, comment."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import click

from runner.cli import job_edges, job_options
from runner.cli.context import open_repository
from runner.cli.job_errors import reports_errors
from runner.cli.options import PathOption, settings_options

if TYPE_CHECKING:
    from pathlib import Path

    from runner.actions.masked_values import MaskedValues
    from runner.actions.round_state import RoundState
    from runner.actions.workflow_io import JobIO, WorkflowContext
    from runner.config.settings import Settings
    from runner.core.manifest import Manifest
    from runner.policy.redaction import Secrets
    from runner.ui.job_spans import JobSpans


@click.command("next")
@job_options.manifest
@job_options.state
@click.option(
    "--retry",
    envvar="FANIN_RETRY",
    default="",
    metavar="'ID ID…'",
    help="Tasks to grant one more attempt; ids with spaces one a line.",
)
@click.option(
    "--approve",
    envvar="FANIN_APPROVE",
    default="",
    metavar="'ID ID…'",
    help="Tasks with a gate that may start; ids with spaces one a line.",
)
@click.option(
    "--dry-run", is_flag=True, envvar="FANIN_DRY_RUN", help="Only print what would run."
)
@job_options.runs_on
@click.option(
    "--rounds-per-run",
    envvar="FANIN_ROUNDS_PER_RUN",
    type=click.IntRange(1, job_options.MOST_ROUNDS_PER_RUN),
    default=job_options.MOST_ROUNDS_PER_RUN,
    show_default=True,
    help="Rounds in one run of the workflow.",
)
@settings_options("next")
@click.pass_obj
@reports_errors
def next_(
    repo_path: str,
    /,
    manifest: Path,
    state: str,
    retry: str,
    approve: str,
    dry_run: bool,
    runs_on: str,
    rounds_per_run: int,
    **flags: Any,
) -> int:
    """Job: choose the batch, write its manifest and the matrix."""
    from runner.actions.batch_choice import ChoiceOptions
    from runner.actions.next_job import NextOptions, find_run, next_job
    from runner.actions.round_state import (
        first_round_inputs,
        round_state,
        rounds_done,
        with_inputs,
    )
    from runner.config.settings import load, read_settings_file
    from runner.github_api.client import GitHub
    from runner.repo.remote import Remote

    context, job_io = job_edges.job_context()
    handed_state = round_state(state, context)
    repo = open_repository(repo_path)
    file = read_settings_file(repo.root)
    remote = Remote(repo, context.token, context.server_url)
    settings = load(flags, with_inputs(os.environ, handed_state.inputs), file)
    start = find_run(
        repo,
        settings,
        handed_state,
        context,
        remote,
        lambda: GitHub(context.token, context.repository, context.api_url),
    )
    if start.note:
        job_io.annotate("notice", start.note, title="fanin")
    # Again: the run that the round belongs to may have been started with other inputs.
    inputs = first_round_inputs(os.environ, start.state)
    settings = load(flags, with_inputs(os.environ, inputs), file)
    # Job `continue` has no checkout, so it cannot read the limits from fanin.yml.
    inputs["max_rounds"] = str(settings.limits.max_rounds)
    if settings.limits.max_cost_usd is not None:
        inputs["max_cost_usd"] = str(settings.limits.max_cost_usd)
    choice = ChoiceOptions(
        manifest,
        later_rounds=rounds_per_run - 1,
        run_attempt=context.run_attempt,
        runs_on=runs_on,
        may_change_workflows=bool(os.environ.get("FANIN_MAY_CHANGE_WORKFLOWS")),
        retry=retry.splitlines(),
        approve=approve.splitlines(),
    )
    options = NextOptions(
        choice,
        dry_run=dry_run,
        inputs=inputs,
        stop=start.stop or rounds_done(start.state, settings.limits),
        waiting=start.waiting,
        head=start.head,
    )
    run = start.state.run
    with (
        _job_spans(context, job_io, run) as spans,
        _span_of_run(spans, start.state, settings) if not dry_run else nullcontext(),
    ):
        exit_code = next_job(repo, settings, start.state, context, job_io, options)
        _trace_batch(spans, manifest)
    return exit_code


def _job_spans(
    context: WorkflowContext, job_io: JobIO, run: str
) -> AbstractContextManager[JobSpans]:
    """The job's spans, in the trace of its run."""
    from runner.ui.job_spans import job_spans

    def warn(message: str) -> None:
        job_io.annotate("warning", message, title="fanin")

    return job_spans(context.repository, run, os.environ, warn)


def _span_of_run(
    spans: JobSpans, state: RoundState, settings: Settings
) -> AbstractContextManager[object]:
    """The span of the run, in its first round."""
    from runner.ui.job_spans import RUN

    if state.round > 1:
        return nullcontext()
    attributes: dict[str, str | int | bool] = {
        "fanin.run": state.run,
        "fanin.plan": settings.plan.path,
    }
    return spans.span("fanin run", attributes, known_as=RUN)


def _trace_batch(spans: JobSpans, manifest: Path, before: str = "") -> None:
    """Send the span of the batch that was chosen after the batch `before`, if any was."""
    from runner.actions.round_state import read_manifest
    from runner.ui.job_spans import RUN, batch_span

    if not spans.are_sent or not manifest.exists():
        return
    batch = read_manifest(manifest, "")
    if batch.batch == before:
        return
    attributes: dict[str, str | int | bool] = {
        "fanin.batch": batch.batch,
        "fanin.round": batch.round,
        "fanin.tasks": len(batch.entries),
    }
    with spans.span("batch", attributes, within=RUN, known_as=batch_span(batch.batch)):
        pass


@click.command()
@job_options.results
@job_options.manifest
@job_options.digest
@job_options.state
@job_options.verdict
@job_options.events
@job_options.sealed
@click.option(
    "--task-result",
    envvar="FANIN_TASK_RESULT",
    default="success",
    help="How the task jobs ended, together.",
)
@click.option(
    "--verify-result",
    envvar="FANIN_VERIFY_RESULT",
    default="success",
    help="How job verify ended.",
)
@job_options.commit_via
@click.option(
    "--last/--not-last",
    envvar="FANIN_LAST",
    default=True,
    help="Whether no second verification follows.",
)
@click.option(
    "--later-rounds",
    envvar="FANIN_LATER_ROUNDS",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="How many rounds may follow in this run; 0 chooses no next batch.",
)
@click.option(
    "--next-manifest",
    type=PathOption(dir_okay=False),
    envvar="FANIN_NEXT_MANIFEST",
    default="next-manifest.json",
    show_default=True,
    help="The next batch's manifest, to be written.",
)
@job_options.runs_on
@click.pass_obj
@reports_errors
def merge(
    repo_path: str,
    /,
    results: Path | None,
    manifest: Path,
    manifest_digest: str,
    state: str,
    verdict: Path | None,
    events: Path | None,
    sealed: bool,
    task_result: str,
    verify_result: str,
    commit_via: str,
    last: bool,
    later_rounds: int,
    next_manifest: Path,
    runs_on: str,
) -> int:
    """Job: merge the batch's results into one commit and push it.

    With --later-rounds the next batch is chosen too.
    """
    from runner.actions.batch_choice import ChoiceOptions
    from runner.actions.merge_inputs import MergeInputs, MergeOptions
    from runner.actions.merge_job import MergeJob
    from runner.actions.result_spans import send_spans_of_results
    from runner.actions.round_state import handed_over, read_manifest
    from runner.github_api.client import GitHub
    from runner.github_api.session import Retry
    from runner.repo.remote import Remote
    from runner.ui.job_spans import batch_span

    results = job_options.given(results, "results", job_options.RESULTS_MEANING)
    context, job_io = job_edges.job_context()
    batch = read_manifest(manifest, manifest_digest)
    handed_state = handed_over(state, batch)
    repo = open_repository(repo_path)
    secrets = _secrets_of_batch(batch, job_io)
    choice = ChoiceOptions(
        next_manifest,
        later_rounds=max(0, later_rounds - 1),
        run_attempt=context.run_attempt,
        runs_on=runs_on,
        may_change_workflows=bool(os.environ.get("FANIN_MAY_CHANGE_WORKFLOWS")),
    )
    options = MergeOptions(
        choice,
        chooses=later_rounds > 0,
        verdict=verdict,
        task_result=task_result,
        verify_result=verify_result,
        commit_via=commit_via,
        last=last,
        secrets=secrets,
        refuse_seal=job_edges.seal_check(batch, context, job_io, sealed=sealed),
        masked=_masked_values(),
        events=events,
        environ=os.environ,
    )
    retry = Retry(budget_seconds=options.api_wait_seconds)
    inputs = MergeInputs(
        repo,
        batch,
        results,
        handed_state,
        Remote(repo, context.token, context.server_url),
        GitHub(context.token, context.repository, context.api_url, retry=retry),
        context,
        job_io,
        options,
    )
    attributes: dict[str, str | int | bool] = {"fanin.batch": batch.batch}
    with _job_spans(context, job_io, batch.run) as spans:
        send_spans_of_results(spans, batch, results, verdict, secrets)
        with spans.span("merge", attributes, within=batch_span(batch.batch)):
            exit_code = MergeJob(inputs).run()
        _trace_batch(spans, next_manifest, batch.batch)
    return exit_code


def _secrets_of_batch(batch: Manifest, job_io: JobIO) -> Secrets:
    """The secrets that were handed to the batch's agents and to set-up.

    The task jobs searched for them already, but on machines where an agent had a shell.
    """
    from runner.actions import job_secrets
    from runner.agents.environment import secrets_of

    agent_env = job_secrets.read_agent_env(os.environ, job_io)
    setup_env = job_secrets.read_setup_env(os.environ, job_io)
    agents = [entry.agent for entry in batch.entries]
    secrets = secrets_of(agents, os.environ, agent_env)
    return secrets | job_secrets.handed_secrets(os.environ, setup_env)


def _masked_values() -> MaskedValues:
    """What GitHub masks in the outputs of this job."""
    from runner import agents
    from runner.actions import job_secrets
    from runner.actions.masked_values import MaskedValues
    from runner.agents.environment import secret_variables

    keys = {
        name for agent in agents.presets().values() for name in secret_variables(agent)
    }
    handed = (
        job_secrets.AGENT_ENV,
        job_secrets.SETUP_ENV,
        job_secrets.APP_ID,
        job_secrets.APP_KEY,
        job_secrets.TRACE_HEADERS,
    )
    return MaskedValues.of(os.environ, [*handed, "FANIN_TOKEN", *keys])


@click.command("continue")
@job_options.state
@click.option(
    "--again", is_flag=True, envvar="FANIN_AGAIN", help="Whether a task is ready now."
)
@click.option(
    "--landed",
    is_flag=True,
    envvar="FANIN_LANDED",
    help="Whether this run landed a commit.",
)
@click.option(
    "--trigger-workflows",
    envvar="FANIN_TRIGGER_WORKFLOWS",
    default="",
    metavar="'FILE FILE…'",
    help="Workflows to start after landing.",
)
@settings_options("continue")
@reports_errors
def continue_(
    state: str, again: bool, landed: bool, trigger_workflows: str, **flags: Any
) -> int:
    """Job: start the caller's workflow for the next rounds."""
    from runner.actions.continue_job import ContinueOptions, continue_job
    from runner.actions.round_state import handed_over, with_inputs
    from runner.config.settings import load
    from runner.github_api.client import GitHub

    context, job_io = job_edges.job_context()
    handed_state = handed_over(state)
    settings = load(flags, with_inputs(os.environ, handed_state.inputs), None)
    branch = settings.branch or handed_state.branch or context.ref_name
    options = ContinueOptions(again, branch, landed, _words(trigger_workflows))
    github = GitHub(context.token, context.repository, context.api_url)
    return continue_job(settings, handed_state, context, job_io, github, options)


@click.command()
@click.option(
    "--workflow",
    envvar="FANIN_WORKFLOW",
    default="fanin.yml",
    show_default=True,
    metavar="FILE",
    help="The workflow that runs the plan; the next round starts there.",
)
@click.option(
    "--label",
    envvar="FANIN_LABEL",
    default="fanin",
    show_default=True,
    metavar="NAME",
    help="The label of the pull requests that fanin works on.",
)
@job_options.commit_via
@click.pass_obj
@reports_errors
def comment(repo_path: str, /, workflow: str, label: str, commit_via: str) -> int:
    """Job: do what a comment on a pull request asks for."""
    from runner.comments.job import CommentOptions, comment_job
    from runner.github_api.comments import CommentApi
    from runner.repo.remote import Remote

    context, job_io = job_edges.job_context()
    repo = open_repository(repo_path)
    return comment_job(
        repo,
        Remote(repo, context.token, context.server_url),
        CommentApi(context.token, context.repository, context.api_url),
        context,
        job_io,
        CommentOptions(workflow, label, commit_via, os.environ),
    )


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


COMMANDS = (next_, merge, continue_, comment)
