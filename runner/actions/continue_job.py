"""Job `continue`: starts the next run of the workflow, for the rounds after this one."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.actions.round_state import RoundState, limit_reached
from runner.actions.workflow_io import JobIO, WorkflowContext
from runner.core.errors import EXIT_DONE

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.github_api.client import GitHub


@dataclass(frozen=True)
class ContinueOptions:
    """Options of job `continue`.

    `again`: whether a task is ready. `landed`: whether this run landed a commit.
    `trigger`: workflow files to start after landing. `pause` waits a number of seconds.
    """

    again: bool
    branch: str
    landed: bool = False
    trigger: Sequence[str] = ()
    pause: Callable[[float], object] = time.sleep


def continue_job(
    settings: Settings,
    state: RoundState,
    context: WorkflowContext,
    job_io: JobIO,
    github: GitHub,
    options: ContinueOptions,
) -> int:
    """Start the caller's workflow for the next rounds; return the exit code.

    Also starts the user's own workflows, which a push by GITHUB_TOKEN does not start.
    """
    if options.landed:
        for workflow in options.trigger:
            github.trigger(workflow, options.branch)
    if not options.again:
        return EXIT_DONE
    limit = limit_reached(state, settings.limits)
    if limit is not None:
        job_io.annotate("warning", f"stopped: {limit}; run it again to continue")
        return EXIT_DONE

    # The agents of the next round start as soon as it does, so the wait is here.
    pause_seconds = state.backoff(1).pause_seconds(random.random)
    if pause_seconds:
        job_io.annotate(
            "notice",
            f"rate limit or overload: the next round starts in {pause_seconds:.0f} s",
            title="fanin",
        )
        options.pause(pause_seconds)

    next_state = state.next_round(options.branch)
    url = github.dispatch(
        context.workflow_file,
        context.checked_out_branch,
        {"fanin-state": next_state.model_dump_json()},
    )
    address = f": {url}" if url else ""
    job_io.annotate(
        "notice", f"round {next_state.round} started{address}", title="fanin"
    )
    return EXIT_DONE
