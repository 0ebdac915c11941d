"""One attempt: the agent at work in its checkout, what it left, and whether the task's
own check is green.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from runner import agents
from runner.agents import process, prompt
from runner.agents.environment import (
    environment_for,
    make_home,
    missing_requirements,
    secrets_of,
)
from runner.agents.outcome import process_failure
from runner.attempt import workspace
from runner.attempt.workspace import Workspace
from runner.core import result_folder
from runner.core.errors import GitFailed
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Failure, FailureKind, Usage
from runner.policy import rules
from runner.policy.redaction import NONE, Masker, Secrets
from runner.repo.origin import Origin


@dataclass(frozen=True)
class AttemptContext:
    """What an attempt gets from the machine it runs on: the environment to allow-list
    from, a way to be cancelled, GitHub's run attempt, who hears the agent's output as
    it comes, who is told that the programs of the attempt have ended, while its work is
    still to be captured, and what to wait for before its result may be relied on.
    `secrets` are those of the machine beside the agent's own.
    """

    environ: Mapping[str, str] = field(repr=False)
    cancel: threading.Event | None = None
    run_attempt: int = 1
    echo: Callable[[bytes], object] | None = None
    ended: Callable[[], object] = lambda: None
    recorded: Callable[[], object] = lambda: None
    secrets: Secrets = NONE


@dataclass(frozen=True)
class AttemptOutcome:
    """What an attempt left: usage, a failure or none, and the tree if anything changed."""

    usage: Usage
    failure: Failure | None = None
    tree: str | None = None


def act(
    manifest: Manifest,
    entry: BatchEntry,
    attempt: result_folder.Attempt,
    space: Workspace,
    folder: Path,
    attempt_context: AttemptContext,
) -> AttemptOutcome:
    """Run the agent and capture what it left, with no secret in it. EnvironmentBroken
    or GitFailed as `_act`.
    """
    secrets = (
        secrets_of([entry.agent], attempt_context.environ) | attempt_context.secrets
    )
    try:
        left = _act(manifest, entry, attempt, space, folder, attempt_context, secrets)
    finally:
        _mask(folder, secrets)
    return _without(entry, left, secrets)


def _without(
    entry: BatchEntry, left: AttemptOutcome, secrets: Secrets
) -> AttemptOutcome:
    """What was left with the secrets taken out of its words; a report that holds one is
    refused, like a file.
    """
    summary, failure = left.usage.summary, left.failure
    if summary is not None and (name := secrets.find_in_text(summary)):
        told = secrets.masked_text(summary)
        left = replace(left, usage=left.usage.model_copy(update={"summary": told}))
        failure = failure or rules.leaked(entry.task, "the agent's report", name)
    if failure is not None:
        words = {
            name: secrets.masked_text(getattr(failure, name))
            for name in ("message", "log_tail")
        }
        failure = failure.model_copy(update=words)
    return replace(left, failure=failure)


def _act(
    manifest: Manifest,
    entry: BatchEntry,
    attempt: result_folder.Attempt,
    space: Workspace,
    folder: Path,
    attempt_context: AttemptContext,
    secrets: Secrets,
) -> AttemptOutcome:
    """Run the agent and capture what it left. EnvironmentBroken or GitFailed if the
    machine does not do its part.
    """
    agent, settings, place = (
        agents.agent_for(entry.agent),
        entry.agent,
        agents.AttemptFolder(space.folder),
    )
    # A leg on Actions is the first place where it can be seen; locally the run has
    # refused to start.
    if lacking := missing_requirements(
        agent,
        settings,
        attempt_context.environ,
        lambda name: _found(name, attempt_context.environ),
    ):
        told = "; ".join(f"{what} ({remedy})" for what, remedy in lacking)
        return AttemptOutcome(
            Usage(),
            Failure(kind=FailureKind.NOT_READY, message=f"nothing was started: {told}"),
        )
    call = agent.build(entry, place)
    place.prompt.write_text(
        prompt.render(entry, manifest.prompt_template), encoding="utf-8"
    )
    make_home(agent, settings, call, place, attempt_context.environ)
    workspace.settle(space, place.prompt)
    outcome = process.run(
        call.argv,
        cwd=space.checkout,
        env=environment_for(
            agent,
            settings,
            call,
            place,
            attempt_context.environ,
            _told(manifest, entry, place),
            manifest.env,
        ),
        stdin=place.prompt,
        log=folder / result_folder.LOG,
        timeout=entry.timeout,
        idle_timeout=settings.idle_timeout,
        cancel=attempt_context.cancel,
        echo=attempt_context.echo,
        on_start=lambda cookie: result_folder.begin(
            folder, attempt.model_copy(update={"cookie": cookie})
        ),
        stdout=place.stdout if settings.preset else None,
        masker=Masker(secrets.names),
    )
    if entry.verify is None:
        attempt_context.ended()
    verdict = agent.read(outcome, place)
    if verdict.failure is not None:
        # the attempt failed already; its work is kept where it can be
        with suppress(GitFailed):
            tree, leak = _capture(entry, space, folder, secrets)
            return AttemptOutcome(verdict.usage, leak or verdict.failure, tree)
        return AttemptOutcome(verdict.usage, verdict.failure)
    tree, leak = _capture(entry, space, folder, secrets)
    if leak is not None:
        return AttemptOutcome(verdict.usage, leak)
    if tree is None and not entry.task.allow_empty:
        return AttemptOutcome(
            verdict.usage,
            Failure(
                kind=FailureKind.NO_CHANGE,
                log_tail=outcome.tail[-4_000:],
                message=(
                    "the agent changed nothing (set allow_empty: true on the task if that is fine)"
                ),
            ),
        )
    return AttemptOutcome(
        verdict.usage,
        _verify_task(manifest, entry, space, folder, attempt_context),
        tree,
    )


def _found(name: str, environ: Mapping[str, str]) -> str | None:
    return shutil.which(name, path=environ.get("PATH"))


def _told(
    manifest: Manifest, entry: BatchEntry, place: agents.AttemptFolder
) -> dict[str, str]:
    """What every agent is told in its environment (the agent contract)."""
    return {
        "FANIN_PROMPT": str(place.prompt),
        "FANIN_REPORT": str(place.report),
        "FANIN_TASK": entry.task.id,
        "FANIN_ATTEMPT": str(entry.attempt),
        "FANIN_BASE": manifest.base,
    }


def _capture(
    entry: BatchEntry, space: Workspace, folder: Path, secrets: Secrets
) -> tuple[str | None, Failure | None]:
    """The tree the agent left, packed beside the result; None if it is the base's own.

    Work that holds a secret is not packed: what lies in the result folder will be
    uploaded.
    """
    tree = workspace.capture(space)
    if tree is None:
        return None, None
    if found := workspace.leak(space, tree, secrets):
        return None, rules.leaked(entry.task, *found)
    workspace.write_pack(space, tree, folder / result_folder.PACK)
    return tree, None


def _mask(folder: Path, secrets: Secrets) -> None:
    """Take the secrets out of the logs, which are uploaded with the result; a log is
    bounded, so it is read whole.
    """
    for log in folder.glob("*.log") if secrets else ():
        said = log.read_bytes()
        if (masked := secrets.masked(said)) != said:
            log.write_bytes(masked)


def _verify_task(
    manifest: Manifest,
    entry: BatchEntry,
    space: Workspace,
    folder: Path,
    attempt_context: AttemptContext,
) -> Failure | None:
    if entry.verify is None:
        return None
    return run_verify(
        entry.verify,
        space.checkout,
        folder / "verify.log",
        entry.timeout,
        attempt_context,
        manifest.env,
    )


def run_verify(
    command: str,
    checkout: Path,
    log: Path,
    timeout: float,
    attempt_context: AttemptContext,
    env: Mapping[str, str],
) -> Failure | None:
    """Why the shell command is red in `checkout`, None if it is green.

    It sees the plain variables `env` and no name of an agent's allow-list.
    """
    outcome = process.run(
        ["sh", "-c", command],
        cwd=checkout,
        env=process.environment(attempt_context.environ, (), env),
        stdin=None,
        log=log,
        timeout=timeout,
        cancel=attempt_context.cancel,
        # Where the next run looks for what a crash left running.
        on_start=log.with_name("cookie").write_text,
    )
    failure = process_failure(outcome)
    if failure is None or failure.kind is FailureKind.INTERRUPTED:
        return failure
    how = (
        "ran too long"
        if failure.kind is FailureKind.TIMEOUT
        else f"is red (status {outcome.exit_code})"
    )
    return Failure(
        kind=FailureKind.VERIFY,
        message=f"verify {how}: {command}",
        log_tail=failure.log_tail,
    )


def verify_commit(
    origin: Origin,
    command: str,
    commit: str,
    objects: Path,
    scratch: Path,
    timeout: float,
    attempt_context: AttemptContext,
    env: Mapping[str, str],
) -> Failure | None:
    """Why the command is red on a commit's files, in a fresh checkout of its own below
    `scratch`; `objects` holds its new objects.
    """
    borrowed = replace(origin, objects=(objects,))
    folder = Path(tempfile.mkdtemp(prefix="verify-", dir=scratch))
    try:
        space = workspace.create(borrowed, commit, folder / "space", "fanin/verify")
        return run_verify(
            command, space.checkout, folder / "log", timeout, attempt_context, env
        )
    finally:
        workspace.remove_folder(folder)
