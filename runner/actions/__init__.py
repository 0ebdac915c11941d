"""The steps as jobs on GitHub Actions: `next`, `task`, `verify`, `merge`, `continue`.

The counterpart of `local.py`: there a loop calls the pipeline, here each function is one job, and the branch, the
manifest and the result folders carry the state between them. Edges arrive as arguments.
"""

from runner.actions.choosing import (
    MATRIX_LIMIT,
    ContinueOptions,
    NextOptions,
    continue_job,
    labels,
    matrix_entry,
    next_job,
    refuse_while_open,
)
from runner.actions.legs import entry_of, read_agent_env, read_verdict, task_job, verify_job
from runner.actions.merging import Landed, MergeJob, MergeOptions, exit_code, outputs_of
from runner.actions.rounds import CARRIED, RoundState, carried, read_manifest, round_state, with_inputs

__all__ = [
    "CARRIED",
    "MATRIX_LIMIT",
    "ContinueOptions",
    "Landed",
    "MergeJob",
    "MergeOptions",
    "NextOptions",
    "RoundState",
    "carried",
    "continue_job",
    "entry_of",
    "exit_code",
    "labels",
    "matrix_entry",
    "next_job",
    "outputs_of",
    "read_agent_env",
    "read_manifest",
    "read_verdict",
    "refuse_while_open",
    "round_state",
    "task_job",
    "verify_job",
    "with_inputs",
]
