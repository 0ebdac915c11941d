"""Verifies what a run starts from, while the first checkouts are prepared: on a red base
no result could land, so no agent is started, and none is paid for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from runner.attempt.preparation import SetupCommand
from runner.attempt.verification import VerifyCommand, is_of_setup
from runner.config.settings import Settings
from runner.core.errors import EnvironmentBroken, Interrupted
from runner.core.message_text import several_lines
from runner.core.result import Failure, FailureKind
from runner.local.context import RunContext
from runner.plan.snapshot import Snapshot, committed_include

if TYPE_CHECKING:
    from concurrent.futures import Future

# Lines of a red command's output that are shown.
_LOG_LINES = 20


def verify_command(settings: Settings, include: tuple[str, ...]) -> VerifyCommand:
    """The command of the settings, or one that is always green if they have none.

    `include`: the patterns of the settings and of the base's own file.
    """
    setup = None
    if settings.setup is not None:
        setup = SetupCommand(
            settings.setup, settings.setup_timeout, settings.env, settings.setup_env
        )
    return VerifyCommand(
        settings.verify or "true",
        settings.timeout,
        settings.env,
        setup,
        include,
    )


class BaseVerify:
    """The verdict on the commit that a run starts from, which may still be awaited."""

    def __init__(self, verdict: Future[Failure | None] | None = None) -> None:
        """Without a `verdict`, the base is not verified."""
        self._verdict = verdict

    def obstacle(self) -> Failure | None:
        """Wait for the verdict; why no agent may start, or None. It costs no attempt."""
        if self._verdict is None:
            return None
        try:
            failure = self._verdict.result()
        except Interrupted as error:
            return Failure(kind=FailureKind.INTERRUPTED, message=error.message)
        if failure is None:
            return None
        message = "the agent was not started: verify is red without any task's work"
        return Failure(kind=FailureKind.BASE_RED, message=message)

    def refuse_red(self, snapshot: Snapshot, branch: str) -> None:
        """Raises EnvironmentBroken with the command's output if the base is red."""
        if self.obstacle() is None or self._verdict is None:
            return
        if self._verdict.exception() is not None:
            return
        failure = self._verdict.result()
        assert failure is not None
        lines = several_lines(failure.log_tail).splitlines()[-_LOG_LINES:]
        text = "\n".join([several_lines(failure.message), *lines])
        problem = "is red before any task"
        remedy = "fix it, or start all the same with  --verify-base ignore"
        if is_of_setup(failure):  # which the agents need too
            problem = "cannot be set up"
            remedy = "fix  setup  or what it needs;  fanin doctor  tries it"
        raise EnvironmentBroken(
            f"no agent was started: {branch} at {snapshot.commit[:10]} {problem}\n{text}",
            remedy,
        )


@contextmanager
def base_verified(
    context: RunContext, snapshot: Snapshot, scratch: Path
) -> Iterator[BaseVerify]:
    """Verify the snapshot's commit in a checkout below `scratch`, beside the block."""
    settings = context.settings
    is_wanted = settings.verify is not None and settings.verify_base == "check"
    standings = context.choice.standings(snapshot, settings.max_attempts)
    if not is_wanted or not snapshot.graph.ready(standings):
        yield BaseVerify()
        return
    # For these runs alone: it is slow to import.
    from concurrent.futures import ThreadPoolExecutor

    include = committed_include(context.repo, snapshot.commit)
    verify = verify_command(settings, (*settings.include, *include))
    with ThreadPoolExecutor(1, thread_name_prefix="fanin-base") as pool:
        yield BaseVerify(pool.submit(_verdict, context, snapshot, verify, scratch))


def _verdict(
    context: RunContext, snapshot: Snapshot, verify: VerifyCommand, scratch: Path
) -> Failure | None:
    from runner.fan_in.inputs import VerifyStep
    from runner.fan_in.verify_runs import confirmed_failure, verified_tree

    repo, settings = context.repo, context.settings
    with repo.quarantine() as quarantine:
        tree = verified_tree(quarantine, snapshot.commit, settings.progress)
    # The commit needs no other objects than the repository's own.
    step = VerifyStep(snapshot.commit, repo.object_folder, tree)
    run = partial(context.lander.run_verify, f"{context.run}.0", verify, scratch)
    return confirmed_failure(run, step, settings.verify_retries)
