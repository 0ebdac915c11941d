"""Job `next`: chooses the batch of a round."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from runner import pipeline
from runner.actions.round_state import RoundState, views_of
from runner.actions.workflow_io import JobIO, WorkflowContext
from runner.core import durable
from runner.core.errors import EXIT_DONE, EXIT_TASKS_FAILED, InvalidInput, UsageProblem
from runner.core.manifest import BatchEntry, Manifest
from runner.ui import job_summary

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.plan.snapshot import Snapshot
    from runner.plan.view import TaskView
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository

MATRIX_LIMIT = 256  # entries; GitHub runs none at all above it
# Beyond the task's own time limit, so that its result is still uploaded.
_EXTRA_JOB_MINUTES = 20

MatrixEntry = TypedDict(
    "MatrixEntry",
    {
        "index": int,
        "folder": str,
        "task": str,
        "attempt": int,
        "timeout-minutes": int,
        "runs-on": str | list[str],
    },
)


@dataclass(frozen=True)
class NextOptions:
    """Options of job `next`.

    `manifest`: the file to write. `retry`: ids to grant one more attempt. `inputs`:
    those of the run's first round, by setting name. `may_change_workflows`: whether the
    merge job's token may push workflow files.
    """

    manifest: Path
    retry: Sequence[str] = ()
    dry_run: bool = False
    runs_on: str = "ubuntu-latest"
    inputs: Mapping[str, str] = field(default_factory=dict)
    may_change_workflows: bool = False


@dataclass(frozen=True)
class NextOutputs:
    """Outputs of job `next`; `manifest` is None if no task is to run."""

    state: RoundState
    branch: str
    base: str
    slots: int
    runs_on: str
    manifest: Manifest | None

    def as_mapping(self) -> dict[str, str]:
        """The outputs by the names that the action declares."""
        outputs = {
            "has-work": "false",
            "branch": self.branch,
            "base-sha": self.base,
            "state": self.state.model_dump_json(),
            "batch": f"{self.state.run}.{self.state.round}",
            "max-parallel": str(self.slots),
            "matrix": json.dumps({"include": []}),
            "manifest-digest": "",
            "verify": "false",
            "env": "",
        }
        if self.manifest is not None:
            outputs |= self._of_manifest(self.manifest)
        return outputs

    def _of_manifest(self, manifest: Manifest) -> dict[str, str]:
        entries = [matrix_entry(entry, self.runs_on) for entry in manifest.entries]
        assignments = [f"{name}={value}" for name, value in manifest.env.items()]
        return {
            "has-work": "true",
            "matrix": json.dumps({"include": entries}),
            "manifest-digest": manifest.digest,
            "verify": "true" if manifest.verify else "false",
            "env": "\n".join(assignments),
        }


def next_job(
    repo: Repository,
    settings: Settings,
    state: RoundState,
    context: WorkflowContext,
    job_io: JobIO,
    remote: Remote,
    options: NextOptions,
) -> int:
    """Choose the batch, write its manifest and the job's outputs; return the exit code.

    Raises InvalidInput if the plan or a setting cannot work, and UsageProblem while an
    earlier run's work waits on a branch of its own.
    """
    from runner.plan.snapshot import read_snapshot

    if settings.schedule == "rolling":
        raise UsageProblem(
            "schedule: rolling works on one machine only, with  fanin run",
            "set the input schedule of the action to batch, or remove it from fanin.yml",
        )
    branch = state.branch or settings.branch or context.checked_out_branch
    head = repo.commit("HEAD")
    if head is None:
        raise UsageProblem(
            "the repository has no commit yet",
            "commit the plan and push it to the branch",
        )
    # Later rounds of a run may work on such a branch themselves.
    if state.round == 1:
        refuse_unmerged_run(repo, remote, settings, head)
    snapshot = read_snapshot(
        repo, head, settings.plan, settings.progress, settings.task_rules
    )
    if snapshot.plan.left_out:
        job_io.annotate("warning", snapshot.plan.left_out_summary, title="fanin")
    for note in _preflight(snapshot, settings, options):
        job_io.annotate("notice", note, title="fanin")

    slots = state.backoff(min(settings.slots, MATRIX_LIMIT)).agents
    manifest = _choose_batch(repo, snapshot, settings, state, branch, slots, options)
    if manifest is None:
        stop_reason = state.budget(settings.limits.max_cost_usd).stop_reason()
        if stop_reason is not None:
            job_io.annotate("notice", stop_reason, title="fanin")
    else:
        durable.write(options.manifest, manifest.model_dump_json(indent=1).encode())

    outputs = NextOutputs(
        state.model_copy(update={"branch": branch, "inputs": options.inputs}),
        branch,
        head,
        slots,
        options.runs_on,
        manifest=None if options.dry_run else manifest,
    )
    # Set even if this job ends red, since jobs with `always()` read has-work.
    job_io.output(outputs.as_mapping())
    views = views_of(snapshot, settings.max_attempts)
    report = job_summary.RoundReport(
        batch="(none)" if manifest is None else manifest.batch,
        branch=branch,
        number=state.round,
        repository_url=context.repository_url,
        run_url=context.run_url,
    )
    _report(job_io, views, manifest, report, dry_run=options.dry_run)
    stuck = any(view.state in {"failed", "blocked", "held"} for view in views)
    return EXIT_TASKS_FAILED if manifest is None and stuck else EXIT_DONE


def _preflight(
    snapshot: Snapshot, settings: Settings, options: NextOptions
) -> Sequence[str]:
    """Refuse what can never land or keep its cost limit; return notes for the user."""
    from runner.plan.snapshot import with_retries
    from runner.schedule.preflight import preflight

    report = preflight(
        snapshot.plan,
        with_retries(snapshot, options.retry, settings.max_attempts),
        settings,
        environ=None,  # the legs of the matrix run on other machines
        may_change_workflows=options.may_change_workflows,
    )
    if report.problems:
        raise InvalidInput(report.problems)
    return report.notes


def _choose_batch(
    repo: Repository,
    snapshot: Snapshot,
    settings: Settings,
    state: RoundState,
    branch: str,
    slots: int,
    options: NextOptions,
) -> Manifest | None:
    from runner.plan.snapshot import read_template
    from runner.plan.trees import CommitTree

    path = settings.prompt_template
    template = read_template(path, repo.file(snapshot.commit, path) if path else None)
    return pipeline.next_batch(
        snapshot,
        settings,
        pipeline.BatchRequest(
            run=state.run,
            round_number=state.round,
            branch=branch,
            slots=slots,
            retry=options.retry,
            budget=state.budget(settings.limits.max_cost_usd),
            prompt_template=template,
            tree=CommitTree(repo, snapshot.commit),
        ),
    )


def matrix_entry(entry: BatchEntry, runs_on: str) -> MatrixEntry:
    """One entry of the matrix.

    Ids and limits only, so that no text of the plan passes through YAML or a shell.
    """
    task_minutes = int(entry.timeout // 60) + 1
    return {
        "index": entry.index,
        "folder": entry.folder,
        "task": entry.task.id,
        "attempt": entry.attempt,
        "timeout-minutes": task_minutes + _EXTRA_JOB_MINUTES,
        "runs-on": runner_labels(runs_on),
    }


def runner_labels(runs_on: str) -> str | list[str]:
    """Parse `runs-on`: a label, or a JSON list of labels. Raises UsageProblem."""
    if not runs_on.lstrip().startswith("["):
        return runs_on.strip() or "ubuntu-latest"
    try:
        labels = json.loads(runs_on)
    except ValueError:
        labels = None
    is_list = isinstance(labels, list) and labels
    if not is_list or not all(isinstance(label, str) for label in labels):
        raise UsageProblem(
            f"runs-on: expected a label or a JSON list of labels, got {runs_on}",
            'write  ubuntu-latest  or  ["self-hosted", "linux"]',
        )
    return list(labels)


def refuse_unmerged_run(
    repo: Repository, remote: Remote, settings: Settings, head: str
) -> None:
    """Raise UsageProblem while an earlier run's work waits on a `fanin/…` branch.

    A branch waits if its progress is ahead of that at `head`. Progress alone decides: a
    shallow checkout lacks history, and the plan may be invalid.
    """
    from runner.plan.snapshot import read_progress

    progress = read_progress(repo, head, settings.plan, settings.progress)
    for branch in sorted(remote.branches("fanin/")):
        commit = remote.fetch(branch)
        try:
            branch_progress = read_progress(
                repo, commit, settings.plan, settings.progress
            )
        except UsageProblem:
            continue  # the branch has no progress, or that of another plan
        if branch_progress.is_ahead_of(progress):
            raise UsageProblem(
                f"an earlier run's work waits on {branch}",
                f"merge its pull request, or delete the branch {branch} to drop the work",
            )


def _report(
    job_io: JobIO,
    views: Sequence[TaskView],
    manifest: Manifest | None,
    report: job_summary.RoundReport,
    *,
    dry_run: bool,
) -> None:
    ids: list[str] = []
    if manifest is None:
        job_io.annotate("notice", "no task is ready: nothing to do", title="fanin")
    else:
        ids = [entry.task.id for entry in manifest.entries]
    if ids and not dry_run:
        job_io.summary(job_summary.round_start(views, report, ids))
        return
    listed = ", ".join(ids) or "nothing"
    note = f"Dry run: would run {listed}." if dry_run else "This round runs nothing."
    job_io.summary(job_summary.round_summary(views, replace(report, note=note)))
