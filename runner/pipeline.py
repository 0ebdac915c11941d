"""The three steps that one machine and GitHub Actions share: `next_batch`, `run_task`,
`merge_batch`.

| step        | local (`local.py`)           | GitHub Actions (`actions/`, `fanin.yml`)     |
|-------------|------------------------------|----------------------------------------------|
| next_batch  | called in the loop           | job `next`: the matrix and the batch manifest |
| run_task    | a thread, a clone, a process | job `task`, one matrix entry                 |
| hand over   | result folder                | the same folder as an artifact               |
| merge_batch | called in the loop           | job `merge`, the only one that may push      |
| again       | `while`                      | job `continue`                               |

They only sequence: the deciding is done in the rooms they call. A matrix leg imports
this module without networkx and GitPython being installed, so what needs those is
imported inside the two steps that do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from runner.attempt import workspace
from runner.attempt.attempt import AttemptContext, AttemptOutcome, act
from runner.attempt.workspace import Workspace
from runner.config.settings import Settings
from runner.core import result_folder
from runner.core.errors import FaninError
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Failure, FailureKind, Result, Usage, Verdict
from runner.core.task import Task
from runner.plan.progress import Progress
from runner.policy.redaction import NONE, Secrets
from runner.repo.origin import Origin
from runner.schedule import selection
from runner.schedule.budget import Budget
from runner.schedule.manifest import build_manifest

if TYPE_CHECKING:
    from runner.fan_in.batch_merge import FanIn, Verify
    from runner.plan.snapshot import Snapshot
    from runner.repo.repository import Quarantine, Repository

_NO_LIMIT = Budget()
Pick = Callable[[int], list[Task]]  # slots → tasks to run now


class Workspaces(Protocol):
    """Where attempts get their workspaces, and who removes them."""

    def take(self, base: str, folder: Path, branch: str) -> Workspace: ...

    def discard(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class Fresh:
    """A new workspace for each attempt, removed at once."""

    origin: Origin

    def take(self, base: str, folder: Path, branch: str) -> Workspace:
        return workspace.create(self.origin, base, folder, branch)

    def discard(self, folder: Path) -> None:
        workspace.remove_folder(folder)


KEPT = "refs/fanin/kept"


def now() -> str:
    """The time as it stands in every document: ISO 8601, UTC, whole milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def next_batch(
    snapshot: Snapshot,
    settings: Settings,
    *,
    run: str,
    round_number: int,
    branch: str,
    slots: int,
    retry: Sequence[str] = (),
    budget: Budget = _NO_LIMIT,
    template: str | None = None,
    pick: Pick | None = None,
    sharing: int = 1,
) -> Manifest | None:
    """The manifest of the batch that may run now, None when no task is ready or the
    budget lets none start.

    `retry` grants ids one more attempt. `template` is the text of the prompt template.
    `pick` chooses the tasks, for a caller that knows what is ready. At least as many
    attempts as `sharing` share what may still be spent.
    """
    from runner.plan.snapshot import with_retries

    known = with_retries(snapshot, retry, settings.max_attempts)
    chosen = (pick or partial(_pick, snapshot, known, settings.max_attempts))(
        budget.affordable(slots)
    )
    if not chosen:
        return None
    return build_manifest(
        chosen,
        run=run,
        round_number=round_number,
        base=snapshot.commit,
        branch=branch,
        plan=snapshot.plan,
        progress=known,
        settings=settings,
        retry=retry,
        template=template,
        share=budget.share_per_attempt(max(sharing, len(chosen))),
    )


def _pick(
    snapshot: Snapshot, known: Progress, max_attempts: int, slots: int
) -> list[Task]:
    """The most urgent of all tasks that are ready."""
    graph = snapshot.graph
    ready = [
        graph.tasks[task_id]
        for task_id in graph.ready(known.standings(snapshot.plan, max_attempts))
    ]
    return selection.choose(ready, slots, graph.heights(known.expected_seconds))


def branch_of(folder: str) -> str:
    """The branch of an attempt's checkout, by the name of its entry's folder."""
    return f"fanin/task-{folder}"


def run_task(
    manifest: Manifest,
    entry: BatchEntry,
    *,
    origin: Origin,
    results: Path,
    scratch: Path,
    attempt_context: AttemptContext,
    spaces: Workspaces | None = None,
) -> Result:
    """Run one attempt and leave its result folder below `results`. A failure is a
    value, never an exception.
    """
    spaces = spaces or Fresh(origin)
    folder, started = results / entry.folder, now()
    attempt = result_folder.Attempt(
        batch=manifest.batch, task=entry.task.id, attempt=entry.attempt, started=started
    )
    result_folder.begin(folder, attempt)
    place = scratch / f"{manifest.batch}-{entry.folder}"
    left = AttemptOutcome(Usage())
    try:
        space = spaces.take(manifest.base, place, branch_of(entry.folder))
        left = act(manifest, entry, attempt, space, folder, attempt_context)
    except FaninError as error:
        cancelled = (
            attempt_context.cancel is not None and attempt_context.cancel.is_set()
        )
        kind = FailureKind.INTERRUPTED if cancelled else FailureKind.ENVIRONMENT
        left = AttemptOutcome(left.usage, Failure(kind=kind, message=str(error)))
    finally:
        spaces.discard(place)
    result = Result(
        batch=manifest.batch,
        manifest=manifest.digest,
        task=entry.task.id,
        attempt=entry.attempt,
        base=manifest.base,
        run_attempt=attempt_context.run_attempt,
        started=started,
        finished=now(),
        agent=entry.agent.name,
        succeeded=left.failure is None,
        failure=left.failure,
        usage=left.usage,
        tree=left.tree,
        pack="change.pack" if left.tree else None,
    )
    try:
        attempt_context.recorded()
    finally:  # whatever is the matter there, the work is paid for
        result_folder.finish(folder, result)
    return result


def merge_batch(
    repo: Repository,
    manifest: Manifest,
    results: Path,
    head: str,
    *,
    verify: Verify | None = None,
    verdict: Verdict | None = None,
    red: Mapping[str, Failure] | None = None,
    missing: Failure | None = None,
    secrets: Secrets = NONE,
    known: Snapshot | None = None,
) -> FanIn:
    """Fan a batch's results in on top of commit `head`. Moves no branch: the caller
    lands `tip`.

    Run twice, or after a rival, it lands nothing twice: what no longer follows the
    head's progress is stale. `verify` looks at the merged tree here and now; a
    `verdict` was found elsewhere and binds to head and tree; `red` are tasks to send
    back without looking. `secrets` are looked for in what the agents left. `known` is
    what `head` says, for a caller that wrote it. `missing` stands for the result of an
    attempt that left no folder at all; None: it never started. InvalidInput if the plan
    or progress at `head` cannot be read; VerdictOutdated if the verdict is of another
    tree.
    """
    from runner.plan.snapshot import read_snapshot

    snapshot = known or read_snapshot(repo, head, manifest.plan, manifest.progress)
    assert snapshot.commit == head
    with repo.quarantine() as quarantine:
        fan_in, kept = merge_into(
            quarantine,
            repo,
            manifest,
            results,
            snapshot,
            verify=verify,
            verdict=verdict,
            red=red,
            missing=missing,
            secrets=secrets,
        )
        repo.adopt(
            quarantine, [*fan_in.commits[-1:], *kept.values()], [head, manifest.base]
        )
    for ref, commit in kept.items():
        repo.set_ref(ref, commit)
    return fan_in


def merge_into(
    quarantine: Quarantine,
    repo: Repository,
    manifest: Manifest,
    results: Path,
    snapshot: Snapshot,
    *,
    verify: Verify | None = None,
    verdict: Verdict | None = None,
    red: Mapping[str, Failure] | None = None,
    missing: Failure | None = None,
    secrets: Secrets = NONE,
) -> tuple[FanIn, dict[str, str]]:
    """`merge_batch` up to where the repository gets anything: its fan-in, and the refs
    that are to keep commits.

    The snapshot's commit may lie in the quarantine itself, where several batches are
    merged one after the other.
    """
    from runner.fan_in.batch_merge import BatchMerge, FanIn

    readings = result_folder.read_batch(results, manifest)
    desk = BatchMerge(repo, quarantine, manifest, snapshot, secrets)
    candidates, failed = desk.admit(readings, missing)
    fates, sent_back = (
        desk.without(candidates, red)
        if red
        else desk.judged(candidates, verify, verdict)
    )
    failed |= sent_back | {
        fate.entry.task.id: fate.failure for fate in fates if fate.failure
    }
    commits, after = desk.commits(
        readings, [fate for fate in fates if fate.tree], failed
    )
    kept = desk.kept_commits(readings, failed)
    refs = {
        task_id: f"{KEPT}/{manifest.batch}/{desk.folder(task_id)}" for task_id in kept
    }
    landed = tuple(fate.entry.task.id for fate in fates if fate.tree)
    read = tuple(reading.result for reading in readings if reading.result)
    found = desk.after(commits, after)
    fan_in = FanIn(
        snapshot.commit,
        tuple(commits),
        landed,
        failed,
        refs,
        found,
        read,
        tuple(desk.warnings),
    )
    return fan_in, {refs[task_id]: commit for task_id, commit in kept.items()}


def replay(
    repo: Repository, manifest: Manifest, fan_in: FanIn, head: str
) -> FanIn | None:
    """The same fan-in on top of a newer head whose changes meet none of its own; None
    if it must be merged anew.

    Short, because it is a race: while one fan-in merges, busy rivals push again and
    again. What it does equals the full merge: disjoint paths, and progress, plan and
    settings as they were. Never where a verdict binds to the head.
    """
    from runner.config.settings import FILE
    from runner.fan_in.union import meet
    from runner.policy.paths import Spellings

    if manifest.verify is not None or not fan_in.commits or fan_in.after is None:
        return None
    steps = list(zip((fan_in.head, *fan_in.commits), fan_in.commits, strict=False))
    changes = [repo.changes(old, new, {}) for old, new in steps]
    ours = [change for some in changes for change in some]
    theirs = repo.changed_paths(fan_in.head, head)
    own = (manifest.plan.path, manifest.progress, FILE)  # a plan may be a folder
    if any(
        path == name or path.startswith(f"{name}/") for path in theirs for name in own
    ) or meet(ours, theirs):
        return None
    if any(Spellings(theirs).clashes(ours)):
        return None
    commits = [head]
    for (_, commit), some in zip(steps, changes, strict=True):
        tree = repo.write_tree(
            commits[-1], {change.path: change.new for change in some}, {}
        )
        commits.append(repo.commit_tree(tree, [commits[-1]], repo.message(commit), {}))
    return replace(
        fan_in,
        head=head,
        commits=tuple(commits[1:]),
        after=replace(fan_in.after, commit=commits[-1]),
    )


def verify_batch(
    repo: Repository, manifest: Manifest, results: Path, head: str, verify: Verify
) -> Verdict:
    """What `verify` says of the batch's merged tree at `head`, for `merge_batch` in a
    job that runs no code.
    """
    from runner.fan_in.batch_merge import BatchMerge
    from runner.plan.snapshot import read_snapshot

    readings = result_folder.read_batch(results, manifest)
    snapshot = read_snapshot(repo, head, manifest.plan, manifest.progress)
    with repo.quarantine() as quarantine:
        desk = BatchMerge(repo, quarantine, manifest, snapshot)
        candidates, _ = desk.admit(readings, None)
        fates, red = desk.judged(candidates, verify, None)
        red |= {fate.entry.task.id: fate.failure for fate in fates if fate.failure}
        return Verdict(
            batch=manifest.batch,
            manifest=manifest.digest,
            head=head,
            tree=desk.last_tree(fates),
            failed=red,
        )


def hold_batch(
    repo: Repository,
    manifest: Manifest,
    results: Path,
    head: str,
    *,
    held: str,
    red: Mapping[str, Failure],
    missing: Failure | None,
    secrets: Secrets = NONE,
) -> tuple[FanIn, FanIn]:
    """What to land on the branch when the batch's work must wait for a person, and what
    to put on the branch `held`.

    The second is made on top of the first, so that merging it completes the tasks
    without a conflict.
    """
    from runner.fan_in.batch_merge import BatchMerge, FanIn
    from runner.plan.snapshot import read_snapshot

    readings = result_folder.read_batch(results, manifest)
    with repo.quarantine() as quarantine:
        snapshot = read_snapshot(repo, head, manifest.plan, manifest.progress)
        desk = BatchMerge(repo, quarantine, manifest, snapshot, secrets)
        candidates, failed = desk.admit(readings, missing)
        fates, sent_back = desk.without(candidates, red)
        failed |= sent_back | {
            fate.entry.task.id: fate.failure for fate in fates if fate.failure
        }
        note, known = desk.held(readings, fates, failed, held)
        repo.adopt(quarantine, [note], [head])
    waiting = merge_batch(
        repo, manifest, results, note, red=red, missing=missing, secrets=secrets
    )
    return FanIn(head, (note,), (), failed, {}, desk.after([note], known)), waiting
