"""One attempt: the agent runs in its checkout, its work is captured, and the task's own
`verify` decides whether it succeeded.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from runner import agents
from runner.agents import process, prompt
from runner.agents.environment import (
    environment_for,
    make_home,
    missing_requirements,
    secrets_of,
    state_of,
    steering_of,
)
from runner.agents.outcome import question_failure
from runner.agents.stream import Stream, StreamingAgent
from runner.attempt import preparation, question, trusted_times, workspace
from runner.attempt.context import Attempt, AttemptContext
from runner.attempt.preparation import SetupCommand, run_setup
from runner.attempt.slots import VARIABLE
from runner.attempt.verification import VerifyCommand, run_verify
from runner.attempt.workspace import CaptureLimits, Start, Workspace
from runner.core import result_folder
from runner.core.errors import GitFailed, NotStarted
from runner.core.manifest import BatchEntry, Manifest
from runner.core.plurals import some_of
from runner.core.result import MAX_LOG_TAIL, Failure, FailureKind, Usage
from runner.policy import rules
from runner.policy.redaction import Secrets
from runner.sandbox.walls import Walled

_MAX_MARKED = 5  # files that a message names


class AttemptOutcome(NamedTuple):
    """The outcome of an attempt: its usage, its failure if it failed, and the tree of
    its work if there is any to merge. `warnings` are sentences for people.
    """

    usage: Usage
    failure: Failure | None = None
    tree: str | None = None
    warnings: tuple[str, ...] = ()


def execute_attempt(
    manifest: Manifest,
    entry: BatchEntry,
    record: result_folder.Attempt,
    attempt_workspace: Workspace,
    folder: Path,
    context: AttemptContext,
) -> AttemptOutcome:
    """Run the agent, capture its work and verify it. No secret is in the outcome or in
    the logs in `folder`.

    EnvironmentBroken or GitFailed if the machine fails.
    """
    secrets = secrets_of([entry.agent], context.environ) | context.secrets
    secrets |= Secrets.of(context.environ_for_setup, manifest.setup_env)
    secrets |= attempt_workspace.included.secrets
    limited = attempt_workspace._replace(limits=CaptureLimits(cancel=context.cancel))
    attempt = Attempt(manifest, entry, record, limited, folder, context, secrets)
    try:
        outcome = _run(attempt)
    finally:
        _mask_logs(folder, secrets)
    return _mask_outcome(outcome, secrets)


def _run(attempt: Attempt) -> AttemptOutcome:
    not_ready = _missing_requirements(attempt)
    if not_ready is not None:
        return AttemptOutcome(Usage(), not_ready)
    setup = SetupCommand.of(attempt.manifest)
    if setup is not None and not attempt.workspace.is_ready:
        failure = _set_up(attempt, setup)
        if failure is not None:
            return AttemptOutcome(Usage(), failure)
        from runner.attempt import capture

        try:
            prepared = capture.record_preparation(attempt.workspace)
        except GitFailed as error:
            message = f"the agent was not started: {error}"
            failure = Failure(kind=FailureKind.NOT_READY, message=message)
            return AttemptOutcome(Usage(), failure)
        attempt = attempt._replace(workspace=prepared)
        attempt.context.on_set_up(prepared.set_up)
    attempt.context.on_ready(attempt.workspace)
    # After set-up, which has secrets and must not run what an agent wrote.
    start = _put_earlier_work(attempt)
    outcome = _run_from(attempt, start)
    warnings = (start.warning, *outcome.warnings) if start.warning else outcome.warnings
    return outcome._replace(warnings=warnings)


def _put_earlier_work(attempt: Attempt) -> Start:
    """Put the task's earlier work into the checkout, if there is some."""
    entry = attempt.entry
    if entry.start is None:
        return Start()
    from runner.attempt import earlier_work

    return earlier_work.carry_on(
        attempt.workspace, attempt.manifest, entry, entry.start, attempt.secrets
    )


def _run_from(attempt: Attempt, start: Start) -> AttemptOutcome:
    """Run the agent and judge its work; `start` is what it starts from."""
    attempt_folder = agents.AttemptFolder(
        attempt.workspace.folder, is_walled=attempt.context.walls.stand
    )
    text = prompt.render(attempt.entry, attempt.manifest.prompt_template, start.text)
    excess = prompt.excess(text)
    if excess is not None:
        message = f"the agent was not started: {excess}"
        return AttemptOutcome(
            Usage(), Failure(kind=FailureKind.NOT_READY, message=message)
        )
    _write_prompt(attempt_folder, text)
    may_ask = question.make_room(attempt.workspace.checkout)
    ready = trusted_times.trust_times(attempt.workspace, attempt_folder.prompt)
    attempt = attempt._replace(workspace=ready)
    obstacle = attempt.context.obstacle()
    if obstacle is not None:
        return AttemptOutcome(Usage(), obstacle)
    process_outcome, walled = _run_agent(attempt, attempt_folder)
    verdict = agents.agent_for(attempt.entry.agent).read(
        process_outcome, attempt_folder
    )
    if may_ask:
        verdict = _with_question(attempt, process_outcome, verdict)
    outcome = _judge(attempt, start, process_outcome, verdict)
    failure = outcome.failure
    if failure is not None and failure.kind is not FailureKind.QUESTION:
        from runner.sandbox import refusals

        failure = refusals.explained(failure, process_outcome.tail, walled.rules)
        outcome = outcome._replace(failure=failure)
    if process_outcome.log_error is None:
        return outcome
    log = attempt.file_name(result_folder.LOG)
    incomplete = f"{log} is not complete: {process_outcome.log_error}"
    return outcome._replace(warnings=(*outcome.warnings, incomplete))


def _write_prompt(attempt_folder: agents.AttemptFolder, text: str) -> None:
    """Make the folder of what passes between fanin and the agent, with the prompt in it.

    Within walls set-up may have left anything there, a link or a report of its own too.
    """
    own, prompt_file = attempt_folder.own, attempt_folder.prompt
    if attempt_folder.is_walled:
        own.mkdir(mode=0o700, exist_ok=True)
        names = [prompt_file.name, attempt_folder.report.name]
        workspace.remove_paths(own, names)
    else:
        own.mkdir()
    with prompt_file.open("x", encoding="utf-8") as file:
        file.write(text)


def _with_question(
    attempt: Attempt, process_outcome: process.Outcome, verdict: agents.Verdict
) -> agents.Verdict:
    """The agent's verdict, with the question that it has left in the checkout."""
    text = question.take(attempt.workspace.checkout)
    # An attempt that does not count is repeated, and asks again.
    counts = verdict.failure is None or verdict.failure.counted
    if not text or not counts or process_outcome.end_reason != "exited":
        return verdict
    return verdict._replace(failure=question_failure(text, process_outcome))


def _judge(
    attempt: Attempt,
    start: Start,
    process_outcome: process.Outcome,
    verdict: agents.Verdict,
) -> AttemptOutcome:
    """Judge what the agent has said and done; `verdict` is its own account."""
    failure = verdict.failure
    limited = failure is not None and failure.kind is FailureKind.USAGE_LIMIT
    # Otherwise the attempt's last program is the verify command, or the next agent would
    # meet the same limit.
    on_agent_exit = attempt.context.on_agent_exit
    if on_agent_exit is not None and attempt.entry.verify is None and not limited:
        on_agent_exit()
    if verdict.failure is not None:
        return _keep_failed_work(attempt, verdict.failure, verdict.usage)
    # Late: the first agent of a run starts before it is needed.
    from runner.attempt.captured_work import capture_work

    work = capture_work(attempt)
    outcome = AttemptOutcome(verdict.usage, work.failure, work.tree, work.warnings)
    if work.failure is not None:
        return outcome
    if work.tree is None and not attempt.entry.task.allow_empty:
        no_change = Failure(
            kind=FailureKind.NO_CHANGE,
            log_tail=process_outcome.tail[-MAX_LOG_TAIL:],
            message=(
                "the agent changed nothing "
                "(if that is fine, set allow_empty: true on the task)"
            ),
        )
        return outcome._replace(failure=no_change)
    failure = _left_markers(attempt, start, work.tree) or _verify_task(attempt)
    return outcome._replace(failure=failure)


def _left_markers(attempt: Attempt, start: Start, tree: str | None) -> Failure | None:
    """The failure of a result in which the agent has left markers of a conflict."""
    if not start.marked or tree is None:
        return None
    from runner.attempt import earlier_work

    task_id = attempt.entry.task.id
    marked = earlier_work.left_markers(attempt.workspace, tree, task_id)
    if not marked:
        return None
    files = some_of(marked[:_MAX_MARKED], len(marked))
    message = f"conflict markers are left in {files}"
    return Failure(kind=FailureKind.CONFLICT, message=message)


def _missing_requirements(attempt: Attempt) -> Failure | None:
    """Return why the agent cannot start here, or None.

    On Actions this is the first step on the machine that runs the agent. Locally the
    run has refused to start.
    """
    environ, settings = attempt.context.environ, attempt.entry.agent
    search_path = environ.get("PATH")
    missing = missing_requirements(
        agents.agent_for(settings),
        settings,
        environ,
        lambda name: shutil.which(name, path=search_path),
    )
    if not missing:
        return None
    details = "; ".join(f"{problem} ({remedy})" for problem, remedy in missing)
    return Failure(
        kind=FailureKind.NOT_READY, message=f"the agent was not started: {details}"
    )


def _set_up(attempt: Attempt, setup: SetupCommand) -> Failure | None:
    """Prepare the checkout for the agent. Returns why that failed, or None."""
    return run_setup(
        setup,
        attempt.workspace.checkout,
        attempt.folder / preparation.LOG,
        attempt.context.environ_for_setup,
        attempt.context.slot,
        attempt.record.cookie,
        attempt.context.cancel,
        attempt.secrets,
        attempt.context.walls,
    )


def _run_agent(
    attempt: Attempt, attempt_folder: agents.AttemptFolder
) -> tuple[process.Outcome, Walled]:
    """Run the agent in the checkout until it exits or is ended."""
    entry, context = attempt.entry, attempt.context
    settings = entry.agent
    agent = agents.agent_for(settings)
    call = agent.build(entry, attempt_folder)
    make_home(agent, settings, call, attempt_folder, context.environ)
    env = environment_for(
        agent,
        settings,
        call,
        attempt_folder,
        context.environ,
        _contract_variables(attempt, attempt_folder),
        attempt.manifest.env,
    )
    writable = [attempt_folder.own]
    if context.walls.stand:
        writable += state_of(agent, attempt_folder, env)
    walled = context.walls.around(
        attempt.workspace.checkout,
        env,
        writable=writable,
        protected=steering_of(agent, attempt_folder, env),
        programs=call.argv,
    )
    context.on_phase("working")
    outcome = process.run(
        call.argv,
        cwd=attempt.workspace.checkout,
        env=env,
        stdin=attempt_folder.prompt,
        log=attempt.folder / result_folder.LOG,
        timeout=entry.timeout,
        idle_timeout=settings.idle_timeout,
        cancel=context.cancel,
        echo=context.echo,
        cookie=attempt.record.cookie,
        stdout=attempt_folder.stdout if settings.preset else None,
        stream=_stream_of(agent, context),
        secrets=attempt.secrets,
        walled=walled,
    )
    return outcome, walled


def _stream_of(agent: agents.Agent, context: AttemptContext) -> Stream | None:
    """Reads the agent's lines while it works, if it prints any that can be read."""
    if isinstance(agent, StreamingAgent):
        return Stream(agent, context.on_usage)
    return None


def _contract_variables(
    attempt: Attempt, attempt_folder: agents.AttemptFolder
) -> dict[str, str]:
    """The variables that every agent gets (the agent contract)."""
    return {
        "FANIN_PROMPT": str(attempt_folder.prompt),
        "FANIN_REPORT": str(attempt_folder.report),
        "FANIN_TASK": attempt.entry.task.id,
        "FANIN_ATTEMPT": str(attempt.entry.attempt),
        "FANIN_BASE": attempt.manifest.base,
        VARIABLE: str(attempt.context.slot),
    }


def _keep_failed_work(
    attempt: Attempt, failure: Failure, usage: Usage
) -> AttemptOutcome:
    """The outcome of a failed agent, with its work if git can capture it."""
    from runner.attempt.captured_work import capture_work

    # the agent may have deleted its checkout; its own failure says more
    with suppress(GitFailed):
        work = capture_work(attempt)
        if work.holds_secret:
            return AttemptOutcome(usage, work.failure, work.tree, work.warnings)
        warnings = work.warnings
        if work.failure is not None:
            warnings += (work.failure.message,)  # it says where the work is
        return AttemptOutcome(usage, failure, work.tree, warnings)
    return AttemptOutcome(usage, failure)


def _verify_task(attempt: Attempt) -> Failure | None:
    """Run the task's own verify command, if it has one."""
    entry = attempt.entry
    if entry.verify is None:
        return None
    attempt.context.on_phase("verifying")
    try:
        return run_verify(
            VerifyCommand(entry.verify, entry.timeout, attempt.manifest.env),
            attempt.workspace.checkout,
            attempt.folder / "verify.log",
            attempt.context,
        )
    except NotStarted as error:
        # The work that is captured by now is paid for.
        message = f"verify was not started: {error}"
        return Failure(kind=FailureKind.ENVIRONMENT, message=message)


def _mask_logs(folder: Path, secrets: Secrets) -> None:
    """Mask the secrets in the logs, which are uploaded with the result."""
    if not secrets:
        return
    for log in folder.glob("*.log"):
        # a log has a limit, so reading it whole is safe
        data = log.read_bytes()
        masked = secrets.masked(data)
        if masked != data:
            log.write_bytes(masked)


def _mask_outcome(outcome: AttemptOutcome, secrets: Secrets) -> AttemptOutcome:
    """Mask the secrets in the outcome's texts. An agent's report or question with a secret
    in it is refused, like a file.
    """
    usage, failure = outcome.usage, outcome.failure
    if usage.summary is not None:
        name = secrets.find_in_text(usage.summary)
        if name is not None:
            summary = secrets.masked_text(usage.summary)
            usage = usage.model_copy(update={"summary": summary})
            failure = failure or rules.leaked_secret("the agent's report", name)
    if failure is not None and failure.kind is FailureKind.QUESTION:
        name = secrets.find_in_text(failure.message)
        if name is not None:
            failure = rules.leaked_secret("the agent's question", name)
    if failure is not None:
        texts = {
            "message": secrets.masked_text(failure.message),
            "log_tail": secrets.masked_text(failure.log_tail),
        }
        failure = failure.model_copy(update=texts)
    warnings = tuple(secrets.masked_text(warning) for warning in outcome.warnings)
    return outcome._replace(usage=usage, failure=failure, warnings=warnings)
