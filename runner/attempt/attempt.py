"""One attempt: the agent runs in its checkout, its work is captured, and the task's own
`verify` decides whether it succeeded.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
from runner.attempt.context import AttemptContext
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

# What only looks at an agent's work is imported where that is done: the first agent of a
# run starts before.
if TYPE_CHECKING:
    from runner.attempt.capture import Capture
    from runner.attempt.detours import Detours

_MAX_LEFT_OUT = 5  # paths that a message names
_MAX_KEPT_FACTOR = 4  # limits.size times this is the most that is kept beside a result
# Seconds for each git command on what an agent left. A file that is too large is never
# given to git, and the rest takes it a minute even in a checkout of a million files.
_CAPTURE_SECONDS = 600.0
# Seconds for the list of changed paths once a capture was stopped.
_LIST_SECONDS = 5.0


class AttemptOutcome(NamedTuple):
    """The outcome of an attempt: its usage, its failure if it failed, and the tree of
    its work if there is any to merge. `warnings` are sentences for people.
    """

    usage: Usage
    failure: Failure | None = None
    tree: str | None = None
    warnings: tuple[str, ...] = ()


class _Attempt(NamedTuple):
    """One attempt in its workspace; `folder` is its result folder."""

    manifest: Manifest
    entry: BatchEntry
    record: result_folder.Attempt
    workspace: Workspace
    folder: Path
    context: AttemptContext
    secrets: Secrets


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
    limited = replace(attempt_workspace, limits=CaptureLimits(cancel=context.cancel))
    attempt = _Attempt(manifest, entry, record, limited, folder, context, secrets)
    try:
        outcome = _run(attempt)
    finally:
        _mask_logs(folder, secrets)
    return _mask_outcome(outcome, secrets)


def _run(attempt: _Attempt) -> AttemptOutcome:
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


def _put_earlier_work(attempt: _Attempt) -> Start:
    """Put the task's earlier work into the checkout, if there is some."""
    entry = attempt.entry
    if entry.start is None:
        return Start()
    from runner.attempt import earlier_work

    return earlier_work.carry_on(
        attempt.workspace, attempt.manifest, entry, entry.start, attempt.secrets
    )


def _run_from(attempt: _Attempt, start: Start) -> AttemptOutcome:
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
    log = _file_name(attempt, result_folder.LOG)
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
    attempt: _Attempt, process_outcome: process.Outcome, verdict: agents.Verdict
) -> agents.Verdict:
    """The agent's verdict, with the question that it has left in the checkout."""
    text = question.take(attempt.workspace.checkout)
    # An attempt that does not count is repeated, and asks again.
    counts = verdict.failure is None or verdict.failure.counted
    if not text or not counts or process_outcome.end_reason != "exited":
        return verdict
    return verdict._replace(failure=question_failure(text, process_outcome))


def _judge(
    attempt: _Attempt,
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
    work = _capture(attempt)
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


def _left_markers(attempt: _Attempt, start: Start, tree: str | None) -> Failure | None:
    """The failure of a result in which the agent has left markers of a conflict."""
    if not start.marked or tree is None:
        return None
    from runner.attempt import earlier_work

    task_id = attempt.entry.task.id
    marked = earlier_work.left_markers(attempt.workspace, tree, task_id)
    if not marked:
        return None
    where = some_of(marked[:_MAX_LEFT_OUT], len(marked))
    message = f"conflict markers are left in {where}"
    return Failure(kind=FailureKind.CONFLICT, message=message)


def _missing_requirements(attempt: _Attempt) -> Failure | None:
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


def _set_up(attempt: _Attempt, setup: SetupCommand) -> Failure | None:
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
    attempt: _Attempt, attempt_folder: agents.AttemptFolder
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
    attempt: _Attempt, attempt_folder: agents.AttemptFolder
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
    attempt: _Attempt, failure: Failure, usage: Usage
) -> AttemptOutcome:
    """The outcome of a failed agent, with its work if git can capture it."""
    # the agent may have deleted its checkout; its own failure says more
    with suppress(GitFailed):
        work = _capture(attempt)
        if work.holds_secret:
            return AttemptOutcome(usage, work.failure, work.tree, work.warnings)
        warnings = work.warnings
        if work.failure is not None:
            warnings += (work.failure.message,)  # it says where the work is
        return AttemptOutcome(usage, failure, work.tree, warnings)
    return AttemptOutcome(usage, failure)


class _Work(NamedTuple):
    """The captured work: its tree, None if it equals the base's, and why it may not be
    merged.
    """

    tree: str | None
    failure: Failure | None = None
    warnings: tuple[str, ...] = ()
    holds_secret: bool = False


def _capture(attempt: _Attempt) -> _Work:
    """Capture the agent's work and write its pack. What git cannot take is kept in an
    archive.

    Work with a secret is not packed: the result folder is uploaded. GitFailed if the
    checkout is gone.
    """
    from runner.attempt import sizes

    limits = attempt.workspace.limits
    limits = limits._replace(
        timeout=_CAPTURE_SECONDS,
        max_bytes=sizes.FACTOR * attempt.manifest.limits.size,
    )
    attempt = attempt._replace(workspace=replace(attempt.workspace, limits=limits))
    try:
        return _captured_work(attempt)
    except GitFailed as error:
        if not workspace.is_there(attempt.workspace.checkout):
            raise
        kept = _archive(attempt, _changed_paths(attempt))
        message = f"git cannot capture the checkout: {error.stderr}; {kept}"
        kind = FailureKind.ENVIRONMENT
        if limits.cancel is not None and limits.cancel.is_set():
            kind = FailureKind.INTERRUPTED
        return _Work(None, Failure(kind=kind, message=message))


def _changed_paths(attempt: _Attempt) -> list[str]:
    """The paths to keep if git cannot capture the checkout; `.` is all of it."""
    from runner.attempt import capture

    try:
        changed = capture.changed_paths(attempt.workspace, _LIST_SECONDS)
    except GitFailed:
        return ["."]
    checkout = attempt.workspace.checkout
    included = attempt.workspace.included
    own = [path for path in changed if not included.covers(path)]
    return [path for path in own if os.path.lexists(checkout / path)]


def _captured_work(attempt: _Attempt) -> _Work:
    from runner.attempt import capture, detours

    attempt_workspace = attempt.workspace
    # git looks for secrets, and for the markers that a retry may have left
    is_read = bool(attempt.secrets) or attempt.entry.start is not None
    captured = capture.capture(attempt_workspace, is_read=is_read)
    warnings, failure = _left_out(attempt, captured)
    tree = captured.tree
    max_bytes = _MAX_KEPT_FACTOR * attempt.manifest.limits.size
    outside = detours.find(attempt_workspace, tree, max_bytes)
    sentences = _keep_detours(attempt, outside)
    if outside.result is not None:
        tree = capture.without_included(attempt_workspace, outside.result.tree)
        warnings += (f"the result is the agent's {outside.result.name}",)
        if attempt.entry.verify is not None and tree is not None:
            workspace.check_out(attempt_workspace, tree)
    elif tree is None and (outside.others or outside.problems):
        message = f"the checkout has no changes, but {sentences}"
        failure = failure or Failure(kind=FailureKind.NO_CHANGE, message=message)
        sentences = ""
    if sentences:
        warnings += (sentences,)
    if tree is None:
        return _Work(None, failure, warnings)
    leak = workspace.first_secret(attempt_workspace, tree, attempt.secrets)
    if leak is not None:
        path, name = leak
        leaked = rules.leaked_secret(path, name)
        return _Work(None, leaked, warnings, holds_secret=True)
    new_objects = captured.new_objects if tree == captured.tree else None
    pack = attempt.folder / result_folder.PACK
    workspace.write_pack(attempt_workspace, tree, pack, new_objects)
    return _Work(tree, failure, warnings)


def _keep_detours(attempt: _Attempt, outside: Detours) -> str:
    """Keep the work outside of the result in a bundle, and say what and where; "" if
    there is none.
    """
    sentences = list(outside.problems)
    kept = []
    for tip in outside.others:
        if workspace.first_secret(attempt.workspace, tip.tree, attempt.secrets):
            sentences.append(f"{tip.name} holds a secret and is not kept")
        else:
            kept.append(tip)
    if kept:
        from runner.attempt.detours import write_bundle

        names = ", ".join(tip.name for tip in kept)
        bundle = attempt.folder / result_folder.BUNDLE
        try:
            write_bundle(attempt.workspace, kept, bundle)
        except (GitFailed, OSError) as error:
            sentences.append(f"{names} cannot be kept: {error}")
        else:
            where = _file_name(attempt, result_folder.BUNDLE)
            sentences.append(f"work outside of it is kept in {where}: {names}")
    return "; ".join(sentences)


def _left_out(
    attempt: _Attempt, captured: Capture
) -> tuple[tuple[str, ...], Failure | None]:
    """Keep what git could not take in an archive.

    Returns warnings that name it, and a failure unless the rest may land alone.
    """
    left_out = captured.left_out
    if not left_out:
        return (), None
    kept = _archive(attempt, [each.path for each in left_out])
    named = [str(each) for each in left_out[:_MAX_LEFT_OUT]]
    if len(left_out) > len(named):
        named.append(f"and {len(left_out) - len(named)} more")
    text = f"{'; '.join(named)}; {kept}"
    if captured.tree is not None and all(each.harmless for each in left_out):
        return (f"left out: {text}",), None
    is_known = all(each.is_known for each in left_out)
    kind = FailureKind.POLICY if is_known else FailureKind.ENVIRONMENT
    return (), Failure(kind=kind, message=f"this cannot land: {text}")


def _archive(attempt: _Attempt, paths: Sequence[str]) -> str:
    """Keep these paths of the checkout, and say where."""
    # Late: few attempts leave what git cannot take.
    from runner.attempt import archive, sizes

    archived = archive.archive(
        attempt.workspace.checkout,
        paths,
        attempt.folder / result_folder.ARCHIVE,
        attempt.secrets,
        # all that a stopped capture would have taken
        sizes.FACTOR * attempt.manifest.limits.size,
    )
    missing = archived.missing[:_MAX_LEFT_OUT]
    if len(archived.missing) > len(missing):
        missing.append(f"{len(archived.missing) - len(missing)} more")
    lost = f"not kept: {', '.join(missing)}"
    if not archived.files:
        return lost if missing else "there is no file in it to keep"
    where = f"kept in {_file_name(attempt, result_folder.ARCHIVE)}"
    return f"{where} ({lost})" if missing else where


def _file_name(attempt: _Attempt, name: str) -> str:
    """Where a person finds this file of the result folder."""
    if attempt.context.job is None:
        return str(attempt.folder / name)
    entry = attempt.entry
    artifact = result_folder.artifact_name(
        attempt.manifest.batch,
        entry.folder,
        entry.attempt,
        attempt.context.run_attempt,
    )
    return f"{name} of the artifact {artifact}"


def _verify_task(attempt: _Attempt) -> Failure | None:
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
