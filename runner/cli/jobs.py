"""The commands that the action runs as jobs: next, task, verify, merge, continue,
comment.

`earlier-results` is a step of verify and merge.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, TypeVar

import click

from runner.cli import completion
from runner.cli.context import open_project, open_repository, work_tree_snapshot
from runner.cli.job_errors import reports_errors
from runner.cli.options import PathOption, settings_options
from runner.core.errors import EXIT_DONE, UsageProblem

if TYPE_CHECKING:
    from pathlib import Path

    from runner.actions.masked_values import MaskedValues
    from runner.actions.round_state import RoundState
    from runner.actions.workflow_io import JobIO, WorkflowContext
    from runner.config.settings import Settings
    from runner.core.manifest import Manifest
    from runner.core.result_folder import RefuseSeal
    from runner.policy.redaction import Secrets
    from runner.sandbox.walls import Walls
    from runner.ui.job_spans import JobSpans


T = TypeVar("T")

# How often fanin.yml calls round.yml.
MOST_ROUNDS_PER_RUN = 5

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
    help="The digest that job next gave; '' checks none.",
)
_state = click.option(
    "--state",
    envvar="FANIN_STATE",
    default="",
    help="The state that the previous round handed on.",
)
_RESULTS_MEANING = "the folder that the artifacts of the task jobs were downloaded to"
_results = click.argument(
    "results",
    type=PathOption(file_okay=False),
    envvar="FANIN_RESULTS",
    # `_given` refuses a missing one, in the words of a workflow.
    required=False,
)
_runs_on = click.option(
    "--runs-on",
    envvar="FANIN_RUNS_ON",
    default="ubuntu-latest",
    help="A label, or a JSON list of labels.",
)
_sealed = click.option(
    "--sealed/--not-sealed",
    envvar="FANIN_SEALED",
    default=False,
    help="Compare results with the names of the steps that uploaded them.",
)
_verdict = click.option(
    "--verdict",
    type=PathOption(dir_okay=False),
    envvar="FANIN_VERDICT",
    help="The verdict of job verify.",
)
_events = click.option(
    "--events",
    type=PathOption(dir_okay=False),
    envvar="FANIN_EVENTS",
    help="The file that the job's events are written to.",
)
_commit_via = click.option(
    "--commit-via",
    envvar="FANIN_COMMIT_VIA",
    type=click.Choice(["git", "api"]),
    default="git",
    help="Push the commits, or create them with the API so that GitHub signs them.",
)


@click.command("next")
@_manifest
@_state
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
@_runs_on
@click.option(
    "--rounds-per-run",
    envvar="FANIN_ROUNDS_PER_RUN",
    type=click.IntRange(1, MOST_ROUNDS_PER_RUN),
    default=MOST_ROUNDS_PER_RUN,
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

    context, job_io = _job_context()
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
@_manifest
@_digest
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

    task_id = _given(task_id, "task", "the id of a task, from the matrix")
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

    context, job_io = _job_context()
    batch = read_manifest(manifest, manifest_digest)
    entry = entry_of(batch, task_id)
    if branch_checkout is not None:
        reason = skip_reason(batch, entry, branch_checkout)
        if reason is not None:
            return skip_task(entry, reason, job_io)
    # As SIGINT, which GitHub sends 7.5 s before SIGTERM: the agent ends at once.
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
@_results
@_manifest
@_digest
@_sealed
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

    results = _given(results, "results", _RESULTS_MEANING)
    context, job_io = _job_context()
    batch = read_manifest(manifest, manifest_digest)
    github = GitHub(context.token, context.repository, context.api_url)
    repo = open_repository(repo_path)
    refuse_seal = _seal_check(batch, context, job_io, asked=sealed)
    return earlier_results_job(
        repo, batch, results, github, context, job_io, refuse_seal
    )


@click.command()
@_results
@_manifest
@_digest
@_state
@_verdict
@_events
@click.option(
    "--refused",
    envvar="FANIN_REFUSED",
    default="",
    help="The output refused of job merge: results that are left out.",
)
@_sealed
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

    results = _given(results, "results", _RESULTS_MEANING)
    context, job_io = _job_context()
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
            _seal_check(batch, context, job_io, asked=sealed),
            events,
        )


@click.command()
@_results
@_manifest
@_digest
@_state
@_verdict
@_events
@_sealed
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
@_commit_via
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
@_runs_on
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

    results = _given(results, "results", _RESULTS_MEANING)
    context, job_io = _job_context()
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
        refuse_seal=_seal_check(batch, context, job_io, asked=sealed),
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


def _seal_check(
    manifest: Manifest, context: WorkflowContext, job_io: JobIO, *, asked: bool
) -> RefuseSeal:
    """What refuses results that another job made, if that is asked for."""
    from runner.actions.seals import seal_check
    from runner.core.result_folder import accept_any_seal
    from runner.github_api.client import GitHub
    from runner.github_api.session import Retry

    if not asked:
        return accept_any_seal
    # An App's token may not list jobs; the job's own may.
    token = os.environ.get("FANIN_JOB_TOKEN") or context.token
    retry = Retry(budget_seconds=60.0)
    github = GitHub(token, context.repository, context.api_url, retry=retry)
    return seal_check(manifest.entries, lambda: github.jobs(context.run_id), job_io)


@click.command("continue")
@_state
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

    context, job_io = _job_context()
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
@_commit_via
@click.pass_obj
@reports_errors
def comment(repo_path: str, /, workflow: str, label: str, commit_via: str) -> int:
    """Job: do what a comment on a pull request asks for."""
    from runner.comments.job import CommentOptions, comment_job
    from runner.github_api.comments import CommentApi
    from runner.repo.remote import Remote

    context, job_io = _job_context()
    repo = open_repository(repo_path)
    return comment_job(
        repo,
        Remote(repo, context.token, context.server_url),
        CommentApi(context.token, context.repository, context.api_url),
        context,
        job_io,
        CommentOptions(workflow, label, commit_via, os.environ),
    )


def _given(value: T | None, name: str, meaning: str) -> T:
    """The value of an argument or input. Raises UsageProblem if it is missing."""
    if value is None:
        raise UsageProblem(
            f"the argument or input  {name}  is missing", f"it is {meaning}"
        )
    return value


def _job_context() -> tuple[WorkflowContext, JobIO]:
    from runner.actions.workflow_io import JobIO, read_context

    return read_context(os.environ), JobIO(os.environ, sys.stdout)


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


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


COMMANDS = (next_, task, earlier_results, verify, merge, continue_, comment)
