"""The choice of a round's batch, as jobs `next` and `merge` make it.

Job `next` chooses the first batch of a run of the workflow. Job `merge` chooses the
next one after it has landed its own, so that a round needs no job `next` and no new run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from runner import pipeline
from runner.actions.round_state import RoundState
from runner.core import durable
from runner.core.errors import InvalidInput, UsageProblem
from runner.core.fanin_commands import typed
from runner.core.manifest import BatchEntry, Manifest
from runner.core.task import Plan
from runner.schedule.agent_choice import AgentChoice
from runner.schedule.limit_waits import LimitWaits
from runner.schedule.manifest import agents_of
from runner.schedule.preflight import attempt_seconds

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.plan.snapshot import Snapshot
    from runner.repo.repository import Repository

MATRIX_LIMIT = 256  # entries; GitHub runs none at all above it
# Beyond the task's own time limit, so that its result is still uploaded.
_EXTRA_JOB_MINUTES = 20

# GitHub's limits of a job: on its own machines, and on other people's.
_HOSTED_JOB_MINUTES, _OWN_JOB_MINUTES = 6 * 60, 5 * 24 * 60
_HOSTED = re.compile(r"(?:ubuntu|windows|macos)-", re.IGNORECASE)

MatrixEntry = TypedDict(
    "MatrixEntry",
    {
        "index": int,
        "folder": str,
        "task": str,
        "attempt": int,
        "timeout-minutes": int,
        "runs-on": str | list[str],
        "work": str,
    },
)


@dataclass(frozen=True)
class ChoiceOptions:
    """Options of the choice of a batch.

    `manifest`: the file to write. `later_rounds`: how many rounds may follow in this
    run of the workflow. `run_attempt`: GitHub's, of this job. `may_change_workflows`:
    whether the merge job's token may push workflow files. `retry`: lines of ids to
    grant one more attempt, `approve`: of ids to approve.
    """

    manifest: Path
    later_rounds: int = 0
    run_attempt: int = 1
    runs_on: str = "ubuntu-latest"
    may_change_workflows: bool = False
    retry: Sequence[str] = ()
    approve: Sequence[str] = ()


@dataclass(frozen=True)
class Choice:
    """A chosen batch; `manifest` is None if no task is to run.

    `state` is the round's own. `base` is the commit that the attempts start from,
    `notes` are sentences for the user.
    """

    state: RoundState
    branch: str
    base: str
    slots: int
    options: ChoiceOptions
    manifest: Manifest | None
    notes: Sequence[str] = ()

    @property
    def batch(self) -> str:
        """The id of the batch; of an empty one too."""
        if self.manifest is not None:
            return self.manifest.batch
        return f"{self.state.run}.{self.state.round}"

    @property
    def matrix(self) -> dict[str, list[MatrixEntry]]:
        """The matrix of job `task`."""
        if self.manifest is None:
            return {"include": []}
        runs_on = self.options.runs_on
        return {
            "include": [
                matrix_entry(entry, runs_on, self.manifest.setup_seconds)
                for entry in self.manifest.entries
            ]
        }

    @property
    def plain_env(self) -> str:
        """The plain variables for `setup`, lines NAME=value."""
        if self.manifest is None:
            return ""
        lines = [f"{name}={value}" for name, value in self.manifest.env.items()]
        return "\n".join(lines)

    @property
    def manifest_artifact(self) -> str:
        """The name under which the job uploads the manifest."""
        return f"fanin-{self.batch}-manifest-r{self.options.run_attempt}"

    def round_json(self) -> str:
        """Everything that the jobs of this round need, for `round.yml`; "" for none."""
        if self.manifest is None:
            return ""
        return json.dumps(
            {
                "batch": self.batch,
                "matrix": self.matrix,
                "max-parallel": self.slots,
                "base-sha": self.base,
                "branch": self.branch,
                "state": self.state.model_dump_json(),
                "verify": self.manifest.verify is not None,
                "env": self.plain_env,
                "manifest-artifact": self.manifest_artifact,
                "manifest-digest": self.manifest.digest,
                "later-rounds": self.options.later_rounds,
            }
        )


def choose_batch(
    repo: Repository,
    snapshot: Snapshot,
    settings: Settings,
    state: RoundState,
    branch: str,
    options: ChoiceOptions,
) -> Choice:
    """Choose the batch of the round `state`, and write its manifest.

    Raises InvalidInput if the plan or a setting cannot work, and UsageProblem for
    settings that do not work on GitHub Actions.
    """
    if settings.schedule == "rolling":
        raise UsageProblem(
            "schedule: rolling works on one machine only, with  fanin run",
            "set the input schedule of the action to batch, or remove it from fanin.yml",
        )
    options = replace(
        options,
        retry=ids_in(options.retry, snapshot.plan),
        approve=ids_in(options.approve, snapshot.plan),
    )
    notes = _preflight(repo, snapshot, settings, options)
    slots = state.backoff(min(settings.slots, MATRIX_LIMIT)).agents
    manifest = _next_batch(repo, snapshot, settings, state, branch, slots, options)
    if manifest is not None:
        durable.write(options.manifest, manifest.model_dump_json(indent=1).encode())
    elif options.approve:
        notes = (*notes, _not_recorded(options.approve))
    return Choice(state, branch, snapshot.commit, slots, options, manifest, notes)


def _not_recorded(approve: Sequence[str]) -> str:
    """Only a batch records approvals: what to do where none starts."""
    return (
        "no task starts, so nothing records the approval of "
        f"{', '.join(approve)}; to record it:  {typed('approve', approve)}"
        "  in a clone, and push"
    )


def _preflight(
    repo: Repository, snapshot: Snapshot, settings: Settings, options: ChoiceOptions
) -> Sequence[str]:
    """Refuse what can never land or keep its cost limit; return notes for the user."""
    from runner.plan.snapshot import with_grants
    from runner.schedule.preflight import preflight

    report = preflight(
        snapshot.plan,
        with_grants(snapshot, options.retry, options.approve, settings.max_attempts),
        settings,
        environ=None,  # the legs of the matrix run on other machines
        may_change_workflows=options.may_change_workflows,
        tracked=_tracked(repo, snapshot, options),
        job_seconds=_job_seconds(options.runs_on, settings),
        has_file=partial(repo.has_file, snapshot.commit),
    )
    if report.problems:
        raise InvalidInput(report.problems)
    return report.notes


def _tracked(
    repo: Repository, snapshot: Snapshot, options: ChoiceOptions
) -> Sequence[str]:
    """The paths of the commit, if a task may change protected ones among them."""
    if options.may_change_workflows:
        return ()
    if not any(task.allow for task in snapshot.plan.tasks):
        return ()
    return repo.paths(snapshot.commit)


def ids_in(lines: Sequence[str], plan: Plan) -> list[str]:
    """The ids in lines of text.

    A line is one id, which may contain spaces, or several with spaces or commas between
    them.
    """
    task_ids = []
    for line in lines:
        if plan.task(line.strip()) is not None:
            task_ids.append(line.strip())
        else:
            task_ids += line.replace(",", " ").split()
    return task_ids


def _job_seconds(runs_on: str, settings: Settings) -> float:
    """How long an attempt may take in a job of these runners, without its set-up."""
    labels = runner_labels(runs_on)
    if isinstance(labels, str):
        labels = [labels]
    hosted = "self-hosted" not in labels and any(map(_HOSTED.match, labels))
    minutes = _HOSTED_JOB_MINUTES if hosted else _OWN_JOB_MINUTES
    seconds = (minutes - _EXTRA_JOB_MINUTES) * 60.0
    if settings.setup is not None:
        seconds -= settings.setup_timeout
    return seconds


def _next_batch(
    repo: Repository,
    snapshot: Snapshot,
    settings: Settings,
    state: RoundState,
    branch: str,
    slots: int,
    options: ChoiceOptions,
) -> Manifest | None:
    from runner.plan.snapshot import committed_template
    from runner.plan.trees import CommitTree

    template = committed_template(repo, snapshot.commit, settings.prompt_template)
    return pipeline.next_batch(
        snapshot,
        settings,
        pipeline.BatchRequest(
            run=state.run,
            round_number=state.round,
            branch=branch,
            slots=slots,
            retry=options.retry,
            approve=options.approve,
            budget=state.budget(settings.limits.max_cost_usd),
            prompt_template=template,
            tree=CommitTree(repo, snapshot.commit),
            agents=AgentChoice(
                partial(agents_of, plan=snapshot.plan, settings=settings),
                LimitWaits.of(state.limits),
                running=(),
                now=datetime.now(UTC),
            ),
            run_attempt=options.run_attempt,
        ),
    )


def matrix_entry(
    entry: BatchEntry, runs_on: str, setup_seconds: float = 0.0
) -> MatrixEntry:
    """One entry of the matrix. `setup_seconds` is the time that set-up may take.

    Ids and limits only, so that no text of the plan passes through YAML or a shell.
    """
    seconds = setup_seconds + attempt_seconds(
        entry.timeout, verifies=entry.verify is not None
    )
    task_minutes = int(seconds // 60) + 1
    return {
        "index": entry.index,
        "folder": entry.folder,
        "task": entry.task.id,
        "attempt": entry.attempt,
        "timeout-minutes": task_minutes + _EXTRA_JOB_MINUTES,
        "runs-on": runner_labels(runs_on),
        # The commit of the earlier work that the attempt starts from; "" for none.
        "work": entry.start.commit if entry.start is not None else "",
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
