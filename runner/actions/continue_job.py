"""Job `continue`: starts the next round."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from runner.actions.round_state import RoundState
from runner.actions.workflow_io import JobIO, WorkflowContext
from runner.core.errors import EXIT_DONE

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.github_api.client import GitHub


@dataclass(frozen=True)
class ContinueOptions:
    """What job `continue` is asked: whether work is ready, workflows to start after
    landing, what `merge` said.
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
    """Start the caller's own workflow for the next round, and the user's workflows that
    a push would have started.
    """
    for workflow in options.trigger if options.landed else ():
        github.trigger(workflow, options.branch)
    if not options.again:
        return EXIT_DONE
    if state.round >= settings.limits.max_rounds:
        job_io.annotate(
            "warning",
            f"stopped after limits.max_rounds = {settings.limits.max_rounds} rounds; run it again to go on",
        )
        return EXIT_DONE
    dear = settings.limits.max_cost_usd
    if dear is not None and state.spent_usd >= dear:
        job_io.annotate(
            "warning",
            f"stopped: ${state.spent_usd:.2f} are spent, limits.max_cost_usd is ${dear:.2f}; run it again to go on",
        )
        return EXIT_DONE
    if pause := state.pace(1).pause_seconds(random.random):
        job_io.annotate(
            "notice",
            f"rate limit or overload: the next round starts in {pause:.0f} s",
            title="fanin",
        )
        options.pause(pause)
    following = state.model_copy(
        update={"round": state.round + 1, "branch": options.branch}
    )
    ref = context.head_ref or context.ref_name
    url = github.dispatch(
        context.workflow_file, ref, {"fanin-state": following.model_dump_json()}
    )
    job_io.annotate(
        "notice",
        f"round {following.round} starts{f': {url}' if url else ''}",
        title="fanin",
    )
    return EXIT_DONE
