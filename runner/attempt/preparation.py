"""Prepares a checkout before the agent and before verify: the setting `setup`."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from runner.agents import process
from runner.agents.outcome import process_failure
from runner.attempt.slots import VARIABLE
from runner.core.manifest import Manifest
from runner.core.result import Failure, FailureKind
from runner.policy.redaction import Secrets
from runner.sandbox.walls import NO_WALLS, Walls

LOG = "setup.log"
# Seconds. What a faster set-up has made is not worth keeping, nor making in advance: to
# compare a large checkout with it before it is used takes as long.
SLOW_SETUP = 3.0
# Seconds. A faster set-up is not waited for long enough to matter.
_FAST_SETUP = 0.1


def most_ahead(
    free: int, setup_seconds: float, *, is_large: bool, at_work: int, cores: int
) -> int:
    """How many workspaces are worth preparing while verify runs on what they start from,
    for so many free slots.

    `setup_seconds` is what set-up took at its fastest, and `is_large` whether a checkout
    alone takes long. `at_work` attempts run beside verify.
    """
    if setup_seconds >= SLOW_SETUP:
        return free
    if is_large:
        # Each takes a core for a moment, as each attempt may.
        return max(0, min(free, cores - at_work))
    if at_work or setup_seconds < _FAST_SETUP:
        return 0
    # beside verify alone: more of them would hold it up
    return min(free, 1)


class SetupCommand(NamedTuple):
    """Shell text that prepares a checkout.

    `timeout` is in seconds. It sees the plain variables `env` and, of the machine's
    variables, only those with a name in `secret_names` (the setting `setup_env`).
    """

    text: str
    timeout: float
    env: Mapping[str, str] = MappingProxyType({})
    secret_names: tuple[str, ...] = ()

    @classmethod
    def of(cls, manifest: Manifest) -> SetupCommand | None:
        """The batch's command, None if it has none."""
        if manifest.setup is None:
            return None
        return cls(
            manifest.setup, manifest.setup_timeout, manifest.env, manifest.setup_env
        )

    def secrets(self, environ: Mapping[str, str]) -> Secrets:
        """The values that only the command may see."""
        return Secrets.of(environ, self.secret_names)


def run_setup(
    setup: SetupCommand,
    checkout: Path,
    log: Path,
    environ: Mapping[str, str],
    slot: int,
    cookie: str | None,
    cancel: threading.Event | None = None,
    secrets: Secrets | None = None,
    walls: Walls = NO_WALLS,
    objects: Sequence[Path] = (),
) -> Failure | None:
    """Run the command in `checkout`. Returns why it failed, None if it did not.

    A failure is the machine's, so it costs the task no attempt. `cookie` marks its
    processes. `secrets` are masked in its output, besides its own. Within the `walls` it
    can read the folders `objects` of git objects.
    """
    masked = setup.secrets(environ)
    if secrets is not None:
        masked |= secrets
    env = process.environment(
        environ, setup.secret_names, {**setup.env, VARIABLE: str(slot)}
    )
    walled = walls.around(checkout, env, readable=objects)
    outcome = process.run(
        # -e: a later line must not hide that an earlier one failed
        ["sh", "-e", "-c", setup.text],
        cwd=checkout,
        env=env,
        stdin=None,
        log=log,
        timeout=setup.timeout,
        cancel=cancel,
        cookie=cookie,
        secrets=masked,
        walled=walled,
    )
    failure = process_failure(outcome)
    if failure is None or failure.kind is FailureKind.INTERRUPTED:
        return failure
    if failure.kind is FailureKind.TIMEOUT:
        problem = f"exceeded its time limit of {setup.timeout:.0f} s"
    else:
        problem = f"failed ({outcome.status})"
    failure = Failure(
        kind=FailureKind.NOT_READY,
        message=f"setup {problem}",
        log_tail=failure.log_tail,
    )
    # Late: few commands fail.
    from runner.sandbox import refusals

    return refusals.explained(failure, outcome.tail, walled.rules)
