"""Runs verify commands: in a checkout that is there, or in one made of a commit."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from runner.agents import process
from runner.agents.cookie import new_cookie
from runner.agents.outcome import process_failure
from runner.attempt import preparation
from runner.attempt.checkout_extras import with_extras, with_included
from runner.attempt.context import AttemptContext
from runner.attempt.preparation import SetupCommand, run_setup
from runner.attempt.slots import VARIABLE
from runner.attempt.verify_checkouts import NewCheckouts, VerifyCheckouts
from runner.attempt.workspace import Workspace
from runner.core.manifest import Manifest
from runner.core.result import Failure, FailureKind
from runner.policy.redaction import NONE, Secrets
from runner.repo.origin import Origin

# How the failure of a commit begins on which set-up failed.
_NOT_STARTED = "verify was not started: "


class VerifyCommand(NamedTuple):
    """A shell command that is green when it exits with 0.

    `timeout` is in seconds. It sees the plain variables `env` and nothing of an
    agent's allow-list. `setup` prepares its checkout, which gets the ignored files that
    the patterns `include` match.
    """

    command: str
    timeout: float
    env: Mapping[str, str] = MappingProxyType({})
    setup: SetupCommand | None = None
    include: tuple[str, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> VerifyCommand | None:
        """The command for the merged tree of a batch, None if it has none."""
        if manifest.verify is None:
            return None
        return cls(
            manifest.verify,
            manifest.verify_timeout,
            manifest.env,
            SetupCommand.of(manifest),
            manifest.include,
        )


def run_verify(
    verify: VerifyCommand,
    checkout: Path,
    log: Path,
    context: AttemptContext,
    secrets: Secrets = NONE,
) -> Failure | None:
    """Run the command in `checkout`. Returns why it is red, None if it is green.

    `secrets` are masked in its output, besides those of set-up.
    """
    return _run_verify(verify, checkout, log, context, secrets).failure


class _Verified(NamedTuple):
    """Why a verify command is red, and whether a signal has ended it."""

    failure: Failure | None
    was_killed: bool = False


def _run_verify(
    verify: VerifyCommand,
    checkout: Path,
    log: Path,
    context: AttemptContext,
    secrets: Secrets,
    readable: Sequence[Path] = (),
) -> _Verified:
    # set-up may have written its secrets to files that the command prints
    if verify.setup is not None:
        secrets |= verify.setup.secrets(context.environ_for_setup)
    env = process.environment(
        context.environ, (), {**verify.env, VARIABLE: str(context.slot)}
    )
    walled = context.walls.around(checkout, env, readable=readable)
    outcome = process.run(
        ["sh", "-c", verify.command],
        cwd=checkout,
        env=env,
        stdin=None,
        log=log,
        timeout=verify.timeout,
        cancel=context.cancel,
        cookie=_written_cookie(log.parent),
        secrets=secrets,
        walled=walled,
    )
    failure = process_failure(outcome)
    if failure is None or failure.kind is FailureKind.INTERRUPTED:
        return _Verified(failure)
    was_killed = False
    if failure.kind is FailureKind.TIMEOUT:
        problem = f"exceeded its time limit of {verify.timeout:.0f} s"
    else:
        problem = f"is red ({outcome.status})"
        was_killed = _is_of_a_signal(outcome.exit_code)
    failure = Failure(
        kind=FailureKind.VERIFY,
        # A block of YAML ends with a line break.
        message=f"verify {problem}: {verify.command.strip()}",
        log_tail=failure.log_tail,
    )
    # Late: few commands fail.
    from runner.sandbox import refusals

    failure = refusals.explained(failure, outcome.tail, walled.rules)
    return _Verified(failure, was_killed)


def _is_of_a_signal(exit_code: int | None) -> bool:
    """Whether a signal has ended the shell, or a program of which it says so."""
    return exit_code is not None and (exit_code < 0 or 128 < exit_code < 160)


def verify_commit(
    verify: VerifyCommand,
    origin: Origin,
    commit: str,
    objects: Path,
    scratch: Path,
    context: AttemptContext,
    on_ready: Callable[[Workspace], object] | None = None,
    checkouts: VerifyCheckouts | None = None,
) -> Failure | None:
    """Run the command on a commit, in a checkout of its own below `scratch`, which
    `checkouts` makes. Returns why it is red, None if it is green.

    `objects` is the folder of objects that the repository does not have yet. A commit
    on which set-up fails is red; `on_ready` gets the workspace when it has not. A command
    that a signal ends, as where memory runs out, is run once more.
    """
    checkouts = checkouts or NewCheckouts()
    with context.slots.take(checkouts.slots, checkouts.avoided) as slot:
        context = replace(context, slot=slot.number)
        run = partial(
            _verify_commit,
            verify,
            origin._replace(objects=(objects,)),
            commit,
            scratch,
            context,
            on_ready,
            checkouts,
        )
        verified = run()
        if verified.was_killed:
            verified = run()
        return verified.failure


def _verify_commit(
    verify: VerifyCommand,
    origin: Origin,
    commit: str,
    scratch: Path,
    context: AttemptContext,
    on_ready: Callable[[Workspace], object] | None,
    checkouts: VerifyCheckouts,
) -> _Verified:
    folder = Path(tempfile.mkdtemp(prefix="verify-", dir=scratch))
    try:
        space = checkouts.create(origin, commit, folder, context.slot)
        if not space.is_ready:
            began = time.monotonic()
            # somebody may ask for the changes: what is in Git LFS is none
            space = with_extras(space, origin)
            space = with_included(
                space, verify.include, origin, verify.env, context.cancel
            )
            failure = _set_up_for_verify(verify.setup, space, folder, context, origin)
            if failure is not None:
                return _Verified(failure)
            checkouts.ready(folder, space, time.monotonic() - began)
        if on_ready is not None:
            on_ready(space)
        return _run_verify(
            verify,
            space.checkout,
            folder / "log",
            context,
            space.included.secrets,
            origin.objects,
        )
    finally:
        checkouts.remove(folder)


def is_of_setup(failure: Failure) -> bool:
    """Whether a commit is red because set-up failed there."""
    return failure.message.startswith(_NOT_STARTED)


def _written_cookie(folder: Path) -> str:
    """A new cookie, where the next run looks for processes that outlived a crash."""
    cookie = new_cookie()
    (folder / "cookie").write_text(cookie)
    return cookie


def _set_up_for_verify(
    setup: SetupCommand | None,
    space: Workspace,
    folder: Path,
    context: AttemptContext,
    origin: Origin,
) -> Failure | None:
    if setup is None:
        return None
    failure = run_setup(
        setup,
        space.checkout,
        folder / preparation.LOG,
        context.environ_for_setup,
        context.slot,
        _written_cookie(folder),
        context.cancel,
        space.included.secrets,
        context.walls,
        origin.objects,
    )
    if failure is None or failure.kind is FailureKind.INTERRUPTED:
        return failure
    message = f"{_NOT_STARTED}{failure.message}"
    return failure.model_copy(update={"kind": FailureKind.VERIFY, "message": message})
