"""The three steps that one machine and GitHub Actions share: `next_batch`, `run_task`,
`merge_batch`.

| step        | local (`runner/local`)       | GitHub Actions (`runner/actions`, `fanin.yml`) |
|-------------|------------------------------|------------------------------------------------|
| next_batch  | called in the loop           | jobs `next`, `merge`: matrix, batch manifest   |
| run_task    | a thread, a clone, a process | job `task`, one matrix entry                   |
| hand over   | result folder                | the same folder as an artifact                 |
| merge_batch | called in the loop           | job `merge`, the only one that may push        |
| again       | `while`                      | `round.yml` called again, then job `continue`  |

The steps only call other packages, which decide. A matrix leg imports this module
without networkx and GitPython installed, so the steps that need them import them
inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runner.attempt.context import AttemptContext
from runner.attempt.recorded_attempt import (
    FreshWorkspaces,
    Workspaces,
    record_attempt,
)
from runner.attempt.slots import Slot
from runner.config.settings import Settings
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Result
from runner.core.task import Task
from runner.repo.origin import Origin
from runner.schedule import selection
from runner.schedule.agent_choice import AgentChoice
from runner.schedule.budget import Budget
from runner.schedule.manifest import build_manifest
from runner.schedule.task_choice import EVERY_TASK, TaskChoice

if TYPE_CHECKING:
    from runner.fan_in.inputs import BatchResults, Verification
    from runner.fan_in.outcome import FanIn
    from runner.plan.changes import FailedAttempt
    from runner.plan.formats import Tree
    from runner.plan.snapshot import Snapshot
    from runner.repo.quarantine import Quarantine
    from runner.repo.repository import Repository

_NO_LIMIT = Budget()

SelectTasks = Callable[[int], list[Task]]  # number of slots → tasks to run now


class BatchRequest(NamedTuple):
    """The next batch of a run, as its executor asks for it.

    `slots` is how many tasks may run now. `retry` are ids of tasks that get one more
    attempt, `approve` of those that a person approves. `prompt_template` is the
    template's text, `include` the patterns of the commit's `.worktreeinclude`, `tree` has
    the files of the commit that the batch starts from, for the context in prompts. `select_tasks` replaces the
    selection from all ready tasks, for a caller that tracks them. `choice` limits that
    selection. `agents` chooses the tasks' agents, else each task gets its first one. The
    rest of the budget is divided among the batch, or among `budget_shares` attempts if
    more.
    """

    run: str
    round_number: int
    branch: str
    slots: int
    retry: Sequence[str] = ()
    approve: Sequence[str] = ()
    budget: Budget = _NO_LIMIT
    budget_shares: int = 1
    prompt_template: str | None = None
    include: Sequence[str] = ()
    tree: Tree | None = None
    select_tasks: SelectTasks | None = None
    choice: TaskChoice = EVERY_TASK
    agents: AgentChoice | None = None
    run_attempt: int = 1


def next_batch(
    snapshot: Snapshot, settings: Settings, request: BatchRequest
) -> Manifest | None:
    """The manifest of the batch that may run now, None if no task is ready or the
    budget allows none to start.

    Raises UsageProblem for an id of `retry` or `approve` that is not in the plan.
    """
    from runner.plan.snapshot import with_grants

    progress = with_grants(
        snapshot, request.retry, request.approve, settings.max_attempts
    )
    slots = request.budget.affordable(request.slots)
    if request.select_tasks is not None:
        tasks = request.select_tasks(slots)
    else:
        granted = snapshot._replace(progress=progress)
        tasks = _most_urgent(
            granted, request.choice, settings.max_attempts, slots, request.agents
        )
    if not tasks:
        return None
    return build_manifest(
        tasks,
        run=request.run,
        round_number=request.round_number,
        base=snapshot.commit,
        branch=request.branch,
        plan=snapshot.plan,
        progress=progress,
        settings=settings,
        retry=request.retry,
        approve=request.approve,
        template=request.prompt_template,
        include=request.include,
        share=request.budget.share_per_attempt(max(request.budget_shares, len(tasks))),
        tree=request.tree,
        run_attempt=request.run_attempt,
        agent_of=request.agents.agent_of if request.agents else None,
    )


def _most_urgent(
    snapshot: Snapshot,
    choice: TaskChoice,
    max_attempts: int,
    slots: int,
    agents: AgentChoice | None,
) -> list[Task]:
    """The most urgent of the chosen tasks that are ready and have an agent to start."""
    from runner.schedule.ready_queue import ReadyQueue

    queue = ReadyQueue(max_attempts, choice)
    queue.sync(snapshot, running=())
    may_start = agents.may_start if agents else selection.any_task
    return queue.pick_batch(slots, may_start)


def run_task(
    manifest: Manifest,
    entry: BatchEntry,
    *,
    origin: Origin,
    results: Path,
    scratch: Path,
    attempt_context: AttemptContext,
    workspaces: Workspaces | None = None,
    slot: Slot | None = None,
) -> Result:
    """Run one attempt and write its result folder below `results`.

    A failure is a value, never an exception. The workspace is made below `scratch`.
    `slot` is one that the caller has taken for it. Only where the result cannot be
    written, it raises: WorkNotWritten if the checkout is kept instead.
    """
    if workspaces is None:
        workspaces = FreshWorkspaces(origin)
    with slot or attempt_context.slots.take() as slot:
        context = replace(attempt_context, slot=slot.number)
        on_agent_exit = attempt_context.on_agent_exit
        if on_agent_exit is not None:

            def leave_slot() -> None:
                # before the next agent is started: it takes the number over
                slot.release()
                on_agent_exit()

            context = replace(context, on_agent_exit=leave_slot)
        attempt_context.on_start(slot.number)
        attempt_context.on_phase("preparing")
        return record_attempt(
            manifest, entry, origin, results, scratch, context, workspaces
        )


def merge_batch(
    repo: Repository,
    results: BatchResults,
    head: str,
    *,
    verification: Verification | None = None,
    snapshot: Snapshot | None = None,
) -> FanIn:
    """Merge a batch's results on commit `head`. Moves no branch: the caller lands `tip`.

    Run twice, or after a rival, it lands nothing twice: a result that does not follow
    from the head's progress is stale. `snapshot` is what `head` says, for a caller that
    has it. Raises InvalidInput if the plan or progress at `head` cannot be read;
    VerdictOutdated if a recorded verdict is about another tree.
    """
    from runner.plan.snapshot import read_snapshot

    manifest = results.manifest
    if snapshot is None:
        snapshot = read_snapshot(
            repo, head, manifest.plan, manifest.progress, manifest.task_rules
        )
    assert snapshot.commit == head
    with repo.quarantine() as quarantine:
        fan_in, kept = merge_in_quarantine(
            quarantine, repo, results, snapshot, verification=verification
        )
        tips = [*fan_in.commits[-1:], *kept.values()]
        quarantine.adopt(tips, [head, manifest.base], packed=True)
    return record_kept(repo, results.folder, fan_in, kept)


def record_kept(
    repo: Repository, results: Path, fan_in: FanIn, kept: Mapping[str, str]
) -> FanIn:
    """Set the refs that keep work, ref → commit in the repository.

    The fan-in that names only those that git could set; of the others it warns.
    """
    failed = {ref for ref, commit in kept.items() if not repo.set_ref(ref, commit)}
    repo.sync_refs(kept)
    if not failed:
        return fan_in
    warnings = list(fan_in.warnings)
    kept_refs = {}
    for task_id, ref in fan_in.kept_refs.items():
        if ref in failed:
            warnings.append(
                f"{task_id}: git cannot create {ref}, so the work that did not land is "
                f"only in {results}"
            )
        else:
            kept_refs[task_id] = ref
    return replace(fan_in, kept_refs=kept_refs, warnings=tuple(warnings))


def merge_in_quarantine(
    quarantine: Quarantine,
    repo: Repository,
    results: BatchResults,
    snapshot: Snapshot,
    *,
    verification: Verification | None = None,
) -> tuple[FanIn, dict[str, str]]:
    """`merge_batch` without the repository: its fan-in, and the refs to set, ref →
    commit in the quarantine.

    The snapshot's commit may be in the quarantine too, so that several batches can be
    merged one after the other.
    """
    from runner.fan_in.batch_commits import BatchCommits
    from runner.fan_in.judged_batch import judge_batch
    from runner.fan_in.outcome import FanIn
    from runner.fan_in.unlanded_results import UnlandedResults

    judged = judge_batch(repo, quarantine, results, snapshot, verification)
    batch, admission, judgement = judged.batch, judged.admission, judged.judgement
    unlanded = UnlandedResults(batch, admission)
    # First, because the record of a failure says what the next attempt starts from.
    failed = unlanded.keep(judged.failed)
    recording = BatchCommits(batch, admission, unlanded)
    commits, progress = recording.commits(judgement.merged, failed)
    failed_attempts: tuple[FailedAttempt, ...] = ()
    if recording.defers(judgement.merged):
        failed_attempts = unlanded.failed_attempts(failed)
    fan_in = FanIn(
        snapshot.commit,
        commits=tuple(commits),
        landed=tuple(outcome.entry.task.id for outcome in judgement.merged),
        failed=failed,
        kept_refs=unlanded.kept_refs,
        left_out=admission.left_out,
        carried=unlanded.carried,
        acceptable=unlanded.acceptable,
        failed_attempts=failed_attempts,
        earlier_failures=tuple(recording.earlier_failures) if commits else (),
        snapshot=recording.snapshot_with(commits, progress),
        results=admission.results,
        warnings=tuple(batch.warnings),
        tree_warnings=tuple(batch.tree_warnings),
        changes=admission.changes,
    )
    return fan_in, unlanded.commits_by_ref
