"""Gathers what a report needs of a run on this machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from runner.config.settings import Settings
from runner.core.errors import FaninError, UsageProblem
from runner.core.event_lines import NAME, read_events
from runner.core.regular_file import open_regular
from runner.core.run_view import AttemptView, RunView
from runner.core.task import Task
from runner.core.validation import nearest
from runner.local.journal import Journal
from runner.local.known_secrets import known_secrets
from runner.local.run_history import PastRun, RunHistory, chosen_attempt, run_of
from runner.local.task_change import TaskChanges, results_of_runs
from runner.plan.snapshot import Snapshot, committed_include
from runner.plan.view import TaskView
from runner.policy.redaction import Secrets
from runner.repo.repository import Repository
from runner.report import timeline
from runner.report.data import RunRecord, TaskRecord, state_in_run
from runner.report.texts import NO_TEXT, Excerpt, diff_start, log_end


@dataclass(frozen=True)
class Branch:
    """The branch that work lands on: its plan, and the tasks as `fanin status` has them."""

    repo: Repository
    settings: Settings
    snapshot: Snapshot
    views: Sequence[TaskView]


def secrets_of_branch(branch: Branch, environ: Mapping[str, str]) -> Secrets:
    """The values that a run masks: of its agents' variables, of `setup_env`, and of the
    ignored files that each checkout gets.
    """
    settings, snapshot = branch.settings, branch.snapshot
    agents = [settings.agent] if settings.agent else []
    agents += [task.agent for task in snapshot.plan.tasks if task.agent]
    agents += [each.agent for each in settings.task_rules.tasks.values() if each.agent]
    include = (*settings.include, *committed_include(branch.repo, snapshot.commit))
    return known_secrets(
        agents,
        environ,
        settings.setup_env,
        include,
        branch.repo.origin,
        settings.env.values(),
    )


def run_record(
    branch: Branch, run: str | None, environ: Mapping[str, str], now: datetime
) -> RunRecord:
    """What is known of a run, None for the newest. Raises UsageProblem if there is none."""
    secrets = secrets_of_branch(branch, environ)
    journal = Journal(branch.repo.git_dir)
    plan = branch.settings.plan.path
    history = RunHistory(journal, plan)
    past = _chosen(history, run)
    events = read_events(journal.run_folder(past.run) / NAME, output=False)
    view, times = timeline.read(events)
    if not past.is_active:
        view.interrupt_running()
    start = view.start
    is_current = past.run == history.runs()[-1].run and (
        start is None or start.plan == plan
    )
    reader = _Reader(branch, journal, history, secrets, past.run)
    outlines = of_branch(branch) if is_current else reader.of_run(view)
    return RunRecord(
        run=past.run,
        branch=start.branch if start else "",
        plan=start.plan if start else plan,
        view=view,
        timeline=times,
        tasks=tuple(reader.record(each) for each in outlines),
        made=now,
        is_active=past.is_active,
        own_branch=branch.settings.own_branch,
        secrets=secrets,
    )


def _chosen(history: RunHistory, run: str | None) -> PastRun:
    runs = {past.run: past for past in history.runs()}
    if not runs:
        raise UsageProblem(
            "no run is known on this machine",
            "fanin run  starts one; for one on GitHub:  fanin report DIR",
        )
    if run is None:
        return [*runs.values()][-1]
    if run not in runs:
        guess = nearest(run, set(runs))
        known = f"there are: {', '.join([*runs][-5:])}"
        raise UsageProblem(
            f"there is no run {run}", f"did you mean {guess}?" if guess else known
        )
    return runs[run]


def of_branch(branch: Branch) -> Iterator[TaskRecord]:
    """The tasks as the branch has them, without attempts, log and diff."""
    for view in branch.views:
        task = view.task
        yield TaskRecord(
            task.id, task.title, task.waits_for, view.state, view.reason, task.prompt
        )


class _Reader:
    """Reads the attempts, logs and diffs of tasks in a run, and in those before it."""

    def __init__(
        self,
        branch: Branch,
        journal: Journal,
        history: RunHistory,
        secrets: Secrets,
        run: str,
    ) -> None:
        self._branch, self._journal, self._history = branch, journal, history
        self._secrets, self._run = secrets, run
        results = results_of_runs(journal)
        self._changes = TaskChanges(branch.repo, results, branch.snapshot)

    def of_run(self, view: RunView) -> Iterator[TaskRecord]:
        """The same as the run's own events and manifests have them: the branch has gone
        on since.
        """
        asked = self._asked()
        ids = dict.fromkeys((*view.planned, *view.tasks))
        for task_id in ids:
            planned, task = view.planned.get(task_id), view.tasks.get(task_id)
            title = (planned.title if planned else "") or (task.title if task else "")
            needs = planned.depends_on if planned else ()
            state, reason = state_in_run(view, task_id)
            prompt = asked[task_id].prompt if task_id in asked else ""
            yield TaskRecord(task_id, title or task_id, needs, state, reason, prompt)

    def record(self, outline: TaskRecord) -> TaskRecord:
        """The task with its attempts, log and diff."""
        attempts = [
            each
            for each in self._history.attempts(outline.id)
            if run_of(each) <= self._run
        ]
        diff, origin = diff_of(self._changes, outline.id, attempts, self._secrets)
        return replace(
            outline,
            attempts=attempts,
            log=self._log(attempts),
            diff=diff,
            diff_origin=origin,
        )

    def _asked(self) -> dict[str, Task]:
        """The tasks as the run's manifests have them."""
        found: dict[str, Task] = {}
        folder = self._journal.run_folder(self._run)
        for path in folder.iterdir() if folder.is_dir() else ():
            if not path.name.isdecimal():
                continue
            try:
                manifest, _ = self._journal.read_manifest(self._run, int(path.name))
            except (OSError, ValueError):
                continue
            found.update({entry.task.id: entry.task for entry in manifest.entries})
        return found

    def _log(self, attempts: Sequence[AttemptView]) -> Excerpt:
        chosen = chosen_attempt(attempts, None)
        path = self._history.log(chosen) if chosen else None
        stream = open_regular(path) if path else None
        if stream is None:
            return NO_TEXT
        with stream:
            return log_end(stream)


def diff_of(
    changes: TaskChanges,
    task_id: str,
    attempts: Sequence[AttemptView],
    secrets: Secrets,
) -> tuple[Excerpt, str]:
    """The task's change, and what it is, or why there is none."""
    if not attempts and changes.landed(task_id) is None:
        return NO_TEXT, ""
    try:
        with changes.of(task_id, attempts) as change:
            patch = change.patch(binary=False)
            return diff_start(patch, secrets.masked_text), change.origin
    except FaninError as error:
        # Work that was pruned or cannot be read is no reason to show nothing else.
        return NO_TEXT, error.message
