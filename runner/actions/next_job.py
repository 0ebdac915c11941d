"""The first and the last job of a round: `next` chooses the batch, `continue` starts
the next round.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runner import pipeline
from runner.actions.round_state import RoundState, views_of
from runner.actions.workflow_io import JobIO, WorkflowContext
from runner.core import durable
from runner.core.errors import EXIT_DONE, EXIT_TASKS_FAILED, InvalidInput, UsageProblem
from runner.core.manifest import BatchEntry, Manifest
from runner.ui import job_summary

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.plan.view import TaskView
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository

MATRIX_LIMIT = 256  # entries; GitHub runs none at all above it
# a job's time beyond its task's own limit, so that the result is still uploaded
_SETUP_MINUTES = 20


@dataclass(frozen=True)
class NextOptions:
    """What job `next` is asked: where the manifest goes, ids to try again, whether only
    to look.
    """

    manifest: Path
    retry: Sequence[str] = ()
    dry_run: bool = False
    runs_on: str = "ubuntu-latest"
    carried: Mapping[str, str] = field(default_factory=dict)
    may_change_workflows: bool = False


def next_job(
    repo: Repository,
    settings: Settings,
    state: RoundState,
    context: WorkflowContext,
    job_io: JobIO,
    remote: Remote,
    options: NextOptions,
) -> int:
    """Choose the batch: write the manifest, and the outputs that the other jobs are
    made of.
    """
    from runner import agents
    from runner.plan.snapshot import read_snapshot, read_template, with_retries
    from runner.schedule import preflight

    branch = state.branch or settings.branch or context.head_ref or context.ref_name
    head = repo.commit("HEAD")
    assert head is not None
    if state.round == 1:
        refuse_while_open(repo, remote, settings, head)
    snapshot = read_snapshot(repo, head, settings.plan, settings.progress)
    known = with_retries(snapshot, options.retry, settings.max_attempts)
    preflight.refuse_impossible(
        snapshot.plan,
        known,
        settings,
        lambda chosen: agents.usable_agent(chosen, settings.env),
        may_change_workflows=options.may_change_workflows,
    )
    cost_limit_problems, notes = preflight.cost_limit_problems(
        snapshot.plan,
        known,
        settings,
        lambda chosen: agents.agent_for(chosen).traits.costs,
    )
    if cost_limit_problems:
        raise InvalidInput(cost_limit_problems)
    budget = state.budget(settings.limits.max_cost_usd)
    slots = state.pace(min(settings.slots, MATRIX_LIMIT)).agents
    template = settings.prompt_template
    manifest = pipeline.next_batch(
        snapshot,
        settings,
        run=state.run,
        round_number=state.round,
        branch=branch,
        slots=slots,
        retry=options.retry,
        budget=budget,
        template=read_template(
            template, repo.file(head, template) if template else None
        ),
    )
    for note in [*notes, *([] if manifest else filter(None, [budget.stop_reason()]))]:
        job_io.annotate("notice", note, title="fanin")
    has_work = manifest is not None and not options.dry_run
    if manifest is not None:
        durable.write(options.manifest, manifest.model_dump_json(indent=1).encode())
    job_io.output(
        _next_outputs(
            manifest if has_work else None, state, branch, head, slots, options
        )
    )
    found = views_of(snapshot, settings.max_attempts)
    _tell_next(job_io, found, manifest, branch, dry_run=options.dry_run)
    stuck = any(view.state in {"failed", "blocked", "held"} for view in found)
    return EXIT_TASKS_FAILED if manifest is None and stuck else EXIT_DONE


def _next_outputs(
    manifest: Manifest | None,
    state: RoundState,
    branch: str,
    head: str,
    slots: int,
    options: NextOptions,
) -> dict[str, str]:
    handed = state.model_copy(update={"branch": branch, "inputs": options.carried})
    outputs = {
        "has-work": "false",
        "branch": branch,
        "base-sha": head,
        "state": handed.model_dump_json(),
        "batch": f"{state.run}.{state.round}",
        "max-parallel": str(slots),
        "matrix": '{"include":[]}',
        "manifest-digest": "",
        "verify": "false",
        "env": "",
    }
    if manifest is not None:
        matrix = {
            "include": [
                matrix_entry(entry, options.runs_on) for entry in manifest.entries
            ]
        }
        outputs |= {
            "has-work": "true",
            "matrix": json.dumps(matrix),
            "manifest-digest": manifest.digest,
            "verify": "true" if manifest.verify else "false",
            "env": "\n".join(f"{name}={value}" for name, value in manifest.env.items()),
        }
    return outputs


def matrix_entry(entry: BatchEntry, runs_on: str) -> dict[str, Any]:
    """One entry of the matrix: ids and bounds only, so that no text of the plan passes
    through YAML or a shell.
    """
    minutes = int(entry.timeout // 60) + 1 + _SETUP_MINUTES
    return {
        "index": entry.index,
        "folder": entry.folder,
        "task": entry.task.id,
        "attempt": entry.attempt,
        "timeout-minutes": minutes,
        "runs-on": labels(runs_on),
    }


def labels(runs_on: str) -> str | list[str]:
    """`runs-on` as GitHub takes it: a label, or a JSON list of labels. UsageProblem for
    anything else.
    """
    if not runs_on.lstrip().startswith("["):
        return runs_on.strip() or "ubuntu-latest"
    try:
        found = json.loads(runs_on)
    except ValueError:
        found = None
    if (
        not isinstance(found, list)
        or not found
        or not all(isinstance(label, str) for label in found)
    ):
        raise UsageProblem(
            f"runs-on is neither a label nor a JSON list of labels: {runs_on}",
            'write  ubuntu-latest  or  ["self-hosted", "linux"]',
        )
    return found


def refuse_while_open(
    repo: Repository, remote: Remote, settings: Settings, head: str
) -> None:
    """UsageProblem while an earlier run's work waits on a `fanin/…` branch that the
    head does not hold yet.

    "Holds" is read from the progress alone: history is lacking in a shallow checkout,
    and the plan may be wrong.
    """
    from runner.plan.snapshot import read_progress

    mine = read_progress(repo, head, settings.plan, settings.progress)
    for branch in sorted(remote.branches("fanin/")):
        try:
            other = read_progress(
                repo, remote.fetch(branch), settings.plan, settings.progress
            )
        except UsageProblem:
            continue  # of another plan, or none
        if other.is_ahead_of(mine):
            raise UsageProblem(
                f"an earlier run's work waits on {branch}",
                f"merge its pull request first, or delete the branch {branch} to drop the work",
            )


def _tell_next(
    job_io: JobIO,
    found: Sequence[TaskView],
    manifest: Manifest | None,
    branch: str,
    *,
    dry_run: bool,
) -> None:
    if manifest is None:
        job_io.annotate("notice", "no task is ready: nothing to do", title="fanin")
    ids = (
        ", ".join(entry.task.id for entry in manifest.entries)
        if manifest
        else "nothing"
    )
    note = f"{'A dry run: would run' if dry_run else 'This round runs'} {ids}."
    batch = manifest.batch if manifest else "(none)"
    job_io.summary(
        job_summary.round_summary(
            found, job_summary.Round(batch=batch, branch=branch, note=note)
        )
    )
