"""Job `next`: chooses the first batch of a run of the workflow."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from runner.actions import open_run
from runner.actions.batch_choice import Choice, ChoiceOptions, choose_batch
from runner.actions.round_state import (
    RoundState,
    tasks_for_person,
    views_of,
    waiting_output,
)
from runner.actions.workflow_io import JobIO, WorkflowContext
from runner.core.clock import timestamp
from runner.core.errors import EXIT_DONE, EXIT_TASKS_FAILED, InvalidInput, UsageProblem
from runner.delivery.base import base_conflicts
from runner.delivery.branches import branches_ahead, with_pulls
from runner.delivery.choice import PREFIX, RunBranch, choose, is_own, new_branch
from runner.schedule.task_choice import TasksForPerson
from runner.ui import round_summary

if TYPE_CHECKING:
    from runner.actions.open_run import JoinedRun
    from runner.config.settings import Settings
    from runner.github_api.client import GitHub
    from runner.plan.records import RunRecord
    from runner.plan.view import TaskView
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository


_OWN_PUSH = (
    "this event is a push of fanin's own, which starts nothing: to go on, use Actions > "
    "Run workflow or put the label on the pull request again"
)

_ANSWER_BY_HAND = (
    "reopen it on its page to go on with it. To give its work up, delete the branch, or "
    "in a clone:  fanin run --abandon"
)

_NOTHING_WAITS = (
    "no run waits: nothing to do. A schedule only goes on with a run that waits; to "
    "start one, use Actions > Run workflow"
)


@dataclass(frozen=True)
class NextOptions:
    """Options of job `next`.

    `inputs` are those of the run's first round, by setting name.
    `stop` says why no task may start; None if one may.
    `waiting` is until when the run waits for a limit, or "".
    `head` is the commit to choose on; None for that of the checkout.
    """

    choice: ChoiceOptions
    dry_run: bool = False
    inputs: Mapping[str, str] = field(default_factory=dict)
    stop: str | None = None
    waiting: str = ""
    head: str | None = None


def next_job(
    repo: Repository,
    settings: Settings,
    state: RoundState,
    context: WorkflowContext,
    job_io: JobIO,
    options: NextOptions,
) -> int:
    """Choose the batch, write its manifest and the job's outputs; return the exit code.

    Raises InvalidInput if the plan or a setting cannot work.
    """
    from runner.plan.snapshot import read_snapshot

    branch = state.branch or settings.branch or context.checked_out_branch
    head = options.head or _head(repo)
    snapshot = read_snapshot(
        repo, head, settings.plan, settings.progress, settings.task_rules
    )
    if snapshot.plan.left_out:
        job_io.annotate("warning", snapshot.plan.left_out_summary, title="fanin")
    round_state = state.model_copy(update={"branch": branch, "inputs": options.inputs})
    if options.stop is not None:
        job_io.annotate("notice", options.stop, title="fanin")
        choice = Choice(round_state, branch, head, 1, options.choice, manifest=None)
    else:
        choice = choose_batch(
            repo, snapshot, settings, round_state, branch, options.choice
        )
    for note in choice.notes:
        job_io.annotate("notice", note, title="fanin")

    views = views_of(snapshot, settings.max_attempts)
    for_person = TasksForPerson()
    if choice.manifest is None and options.stop is None:
        stop_reason = state.budget(settings.limits.max_cost_usd).stop_reason()
        if stop_reason is not None:
            job_io.annotate("notice", stop_reason, title="fanin")
        for_person = tasks_for_person(views)
    waiting = options.waiting or waiting_output(for_person)
    # Set even if this job ends red, since jobs with `always()` read has-work.
    outputs = _outputs(choice, dry_run=options.dry_run)
    job_io.output({**outputs, "waiting": waiting})
    report = round_summary.RoundReport(
        batch="(none)" if choice.manifest is None else choice.batch,
        branch=branch,
        number=state.round,
        repository_url=context.repository_url,
        run_url=context.run_url,
        has_comments=state.pull_request is not None or is_own(branch),
    )
    _report(job_io, views, choice, report, for_person, dry_run=options.dry_run)
    if options.stop is not None:
        return EXIT_DONE
    stuck = any(view.state in {"failed", "blocked", "held"} for view in views)
    return EXIT_TASKS_FAILED if choice.manifest is None and stuck else EXIT_DONE


def _head(repo: Repository) -> str:
    head = repo.commit("HEAD")
    if head is None:
        raise UsageProblem(
            "the repository has no commit yet",
            "commit the plan and push it to the branch",
        )
    return head


@dataclass(frozen=True)
class RoundStart:
    """The state of the round to start.

    `note` says where the state comes from, "" if it is as handed over.
    `stop` says why no task may start; None if one may.
    `waiting` is until when the run waits, or "".
    `head` is the commit that it goes on from; None for that of the checkout.
    """

    state: RoundState
    note: str
    stop: str | None
    waiting: str = ""
    head: str | None = None


def find_run(
    repo: Repository,
    settings: Settings,
    state: RoundState,
    context: WorkflowContext,
    remote: Remote,
    github: Callable[[], GitHub],
) -> RoundStart:
    """Find out which run the round belongs to, and whether its agents may start.

    Raises UsageProblem while an earlier run's work waits on a branch of its own that this
    one cannot go on with, on a tag, and if `state` is of a run that another one has
    replaced.
    """
    from runner.plan.snapshot import read_progress

    context.refuse_tag()
    head = _head(repo)
    own: RunBranch | None = None
    # Later rounds of a run may work on such a branch themselves.
    if state.round == 1:
        try:
            own = _branch_to_go_on_with(
                repo, settings, state, context, remote, github, head
            )
        except UsageProblem as error:
            if context.event_name != "schedule":
                raise
            # A person need not be told each hour.
            return RoundStart(state, "", f"{error.message}: nothing to do before")
    recorded = read_progress(repo, head, settings.plan, settings.progress).run
    if open_run.is_own_push(
        context.event_name, context.event_action, repo.message(head), recorded
    ):
        return RoundStart(state, "", _OWN_PUSH)
    if own is not None:
        recorded = read_progress(repo, own.commit, settings.plan, settings.progress).run

    def recorded_at_event() -> RunRecord | None:
        branch = state.branch or settings.branch or context.checked_out_branch
        if own is not None or branch != context.checked_out_branch:
            return recorded  # the event was about another branch and says nothing
        try:
            commit = remote.fetch(context.event_commit)
            return read_progress(repo, commit, settings.plan, settings.progress).run
        except (UsageProblem, InvalidInput):
            return None  # it is no longer in the repository, or had other progress

    joined = open_run.join_run(state, recorded, recorded_at_event)
    return _start_of(joined, recorded, own, settings, context, remote)


def _start_of(
    joined: JoinedRun,
    recorded: RunRecord | None,
    own: RunBranch | None,
    settings: Settings,
    context: WorkflowContext,
    remote: Remote,
) -> RoundStart:
    """The start of a round of the run that it belongs to, unless that waits."""
    if context.event_name == "schedule" and (recorded is None or recorded.ended):
        return RoundStart(joined.state, "", _NOTHING_WAITS)
    started = RoundStart(joined.state, joined.note, None)
    if delivers(settings, joined.state, context):
        started = _with_delivery(started, own, settings, context, remote)
    if joined.waits_until is not None and timestamp() < joined.waits_until:
        stop = f"a limit holds until {joined.waits_until}: nothing to do before"
        return replace(started, stop=stop, waiting=joined.waits_until)
    return started


def delivers(settings: Settings, state: RoundState, context: WorkflowContext) -> bool:
    """Whether the work of a new run goes to the branch by a pull request.

    A run about a pull request works on the branch of that.
    """
    if not settings.own_branch or state.pull_request is not None:
        return False
    branch = state.branch or settings.branch or context.checked_out_branch
    return not is_own(branch)


def _branch_to_go_on_with(
    repo: Repository,
    settings: Settings,
    state: RoundState,
    context: WorkflowContext,
    remote: Remote,
    github: Callable[[], GitHub],
    head: str,
) -> RunBranch | None:
    """The own branch of an earlier run, if the work of this one goes there too."""
    from runner.plan.snapshot import read_progress

    if not delivers(settings, state, context):
        refuse_unmerged_run(repo, remote, settings, head)
        return None
    if settings.plan.of_issues:
        raise UsageProblem(
            "deliver: pull-request is not for a plan of GitHub issues, which is "
            "committed to the branch itself",
            "set  deliver: branch",
        )
    progress = read_progress(repo, head, settings.plan, settings.progress)
    ahead = branches_ahead(
        repo, remote, settings.plan, settings.progress, progress, PREFIX
    )
    base = settings.branch or context.checked_out_branch
    if not ahead:
        return None
    api = github()
    own = choose(with_pulls(ahead, api, base), base, None, _ANSWER_BY_HAND).branch
    if own and own.pull and own.pull.is_open and api.has_conflict(own.pull):
        raise base_conflicts(base, own.name)
    return own


def _with_delivery(
    start: RoundStart,
    own: RunBranch | None,
    settings: Settings,
    context: WorkflowContext,
    remote: Remote,
) -> RoundStart:
    """The start of a round whose work goes to the run's own branch."""
    base = settings.branch or context.checked_out_branch
    if own is None:
        name = new_branch(start.state.run, remote.branches(PREFIX))
        state = start.state.model_copy(update={"delivery": name})
        return replace(start, state=state)
    update = {
        "delivery": own.name,
        "branch": own.name,
        "pull_requests": {**start.state.pull_requests, own.name: base},
    }
    note = f"going on with {own.name}"
    if own.pull is not None and own.pull.is_open:
        note += f", pull request {own.pull.number}"
    if start.note:
        note = f"{start.note}; {note}"
    return replace(
        start,
        state=start.state.model_copy(update=update),
        note=note,
        head=own.commit,
    )


def _outputs(choice: Choice, *, dry_run: bool) -> dict[str, str]:
    """The outputs by the names that the action declares."""
    outputs = {
        "has-work": "false",
        "round": "",
        "branch": choice.branch,
        "base-sha": choice.base,
        "state": choice.state.model_dump_json(),
        "batch": choice.batch,
        "max-parallel": str(choice.slots),
        "matrix": json.dumps({"include": []}),
        "manifest-artifact": choice.manifest_artifact,
        "manifest-digest": "",
        "verify": "false",
        "env": "",
    }
    if choice.manifest is None or dry_run:
        return outputs
    return outputs | {
        "has-work": "true",
        "round": choice.round_json(),
        "matrix": json.dumps(choice.matrix),
        "manifest-digest": choice.manifest.digest,
        "verify": "true" if choice.manifest.verify else "false",
        "env": choice.plain_env,
    }


def refuse_unmerged_run(
    repo: Repository, remote: Remote, settings: Settings, head: str
) -> None:
    """Raise UsageProblem while an earlier run's work waits on a `fanin/…` branch.

    A branch waits if its progress is ahead of that at `head`.
    """
    from runner.plan.snapshot import read_progress

    progress = read_progress(repo, head, settings.plan, settings.progress)
    ahead = branches_ahead(
        repo, remote, settings.plan, settings.progress, progress, PREFIX
    )
    if ahead:
        branch = next(iter(ahead))
        raise UsageProblem(
            f"an earlier run's work waits on {branch}",
            f"merge its pull request, or delete the branch {branch} to drop the work",
        )


def _report(
    job_io: JobIO,
    views: Sequence[TaskView],
    choice: Choice,
    report: round_summary.RoundReport,
    for_person: TasksForPerson,
    *,
    dry_run: bool,
) -> None:
    ids: list[str] = []
    for sentence in for_person.sentences:
        job_io.annotate("notice", sentence, title="fanin")
    if choice.manifest is None and not for_person:
        job_io.annotate("notice", "no task is ready: nothing to do", title="fanin")
    if choice.manifest is not None:
        ids = [entry.task.id for entry in choice.manifest.entries]
    if ids and not dry_run:
        job_io.summary(round_summary.round_start(views, report, ids))
        return
    listed = ", ".join(ids) or "nothing"
    note = f"Dry run: would run {listed}." if dry_run else "This round runs nothing."
    job_io.summary(round_summary.round_summary(views, replace(report, note=note)))
