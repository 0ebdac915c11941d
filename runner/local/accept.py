"""Decides what `fanin accept` commits: the branch's head with work that was kept, or that a
person has made of it.

What a person may decide is lifted: the task's files, the limits of size, protected paths
that are named. What nobody may land is refused: secrets, links out of the tree, unusable
names, objects that git refuses, fanin's own files.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from runner.attempt.context import AttemptContext
from runner.attempt.verification import VerifyCommand, verify_commit
from runner.config.settings import Settings
from runner.core.errors import GitFailed, InvalidInput, UsageProblem
from runner.core.fanin_commands import typed
from runner.core.limits import NO_LIMITS
from runner.core.manifest import Manifest
from runner.core.result import FailureKind
from runner.core.task import AgentSettings, Task
from runner.fan_in import kept_refs
from runner.fan_in.change_review import ChangeReview, Judged
from runner.fan_in.commit_message import accept_message
from runner.fan_in.own_files import own_files, with_own_files_of
from runner.fan_in.union import Candidate, unite
from runner.local.kept_work import KeptWork, kept_work
from runner.local.known_secrets import known_secrets
from runner.local.landings import landing_commits
from runner.local.undo import FileChange
from runner.local.walls import walls_of
from runner.plan.requests import AcceptRequest
from runner.plan.snapshot import Snapshot, committed_include, write_progress_blobs
from runner.policy import rules
from runner.policy.redaction import Secrets
from runner.repo.quarantine import Quarantine
from runner.repo.repository import Repository
from runner.schedule.manifest import agents_of, build_manifest

# How an agent fails that was not done with its work.
_UNFINISHED = frozenset(
    {
        FailureKind.AGENT_ERROR,
        FailureKind.TIMEOUT,
        FailureKind.IDLE,
        FailureKind.PERMISSION,
    }
)
_NOBODY = AgentSettings.model_construct(command=("fanin", "accept"))


def accept(
    repo: Repository,
    settings: Settings,
    environ: Mapping[str, str],
    snapshot: Snapshot,
    request: AcceptRequest,
    now: str,
    *,
    verified: bool,
) -> FileChange:
    """The commit that brings the work to the snapshot's. No branch moves.

    `now` is the time of the record. Unless `verified`, verify is not run. Raises
    UsageProblem if the work may not land, conflicts, or makes verify red.
    """
    [task] = request.chosen(snapshot)
    if repo.commit(request.commit) is None or repo.commit(request.base) is None:
        raise UsageProblem(
            f"the work of {task.id} is gone: there is no commit {request.commit[:10]}",
            f"{typed('retry', [task.id])}  runs it again",
        )
    manifest = _manifest(repo, settings, snapshot, request, task)
    base = repo.tree(request.base)
    with repo.quarantine() as quarantine:
        _import(repo, quarantine, request)
        judged = _judged(repo, quarantine, manifest, snapshot, request)
        secrets = _secrets(repo, settings, environ, manifest, task, snapshot)
        leak = quarantine.first_secret(judged.changes, secrets)
        if leak is not None:
            raise UsageProblem(rules.leaked_secret(*leak).message)
        tree = _merged(quarantine, manifest, snapshot, request, base, judged)
        if verified:
            context = AttemptContext(environ, walls=walls_of(repo, settings, environ))
            _verify(repo, context, quarantine, manifest, snapshot, tree, task)
        head_tree = quarantine.tree(snapshot.commit)
        paths = tuple(quarantine.changed_paths(head_tree, tree))
        [changed] = quarantine.diffstats(base, [judged.tree])
        unverified = request.unverified or not (manifest.verify or task.verify)
        progress = snapshot.progress.with_every_task(snapshot.plan.tasks)
        progress = progress.with_accepted(
            task, request.attempt, changed, now, verified=not unverified
        )
        blobs = write_progress_blobs(quarantine, snapshot, progress, request.progress)
        text = accept_message(task, request.commit, unverified=unverified)
        commit = quarantine.commit_tree(
            quarantine.write_tree(tree, blobs), [snapshot.commit], text
        )
        quarantine.adopt([commit], [snapshot.commit])
    left_out = tuple(map(str, judged.left_out))
    return FileChange(commit, (task.id,), paths, left_out)


def _manifest(
    repo: Repository,
    settings: Settings,
    snapshot: Snapshot,
    request: AcceptRequest,
    task: Task,
) -> Manifest:
    """The rules of a batch of this task alone, as far as a person cannot lift them."""
    allowed = task.model_copy(
        update={"files": ("**",), "allow": (*task.allow, *request.allow)}
    )
    manifest = build_manifest(
        [allowed],
        run="accept",
        round_number=1,
        base=request.base,
        branch=request.branch,
        plan=snapshot.plan,
        progress=snapshot.progress,
        settings=settings,
        include=committed_include(repo, snapshot.commit),
        agent_of=lambda _: _NOBODY,
    )
    return manifest.model_copy(update={"limits": NO_LIMITS, "scope": "fail"})


def _import(repo: Repository, quarantine: Quarantine, request: AcceptRequest) -> None:
    """Have git check every object of the work, as those of any result: who fetches work
    from elsewhere may have checked none.
    """
    revisions = f"{request.commit}^{{tree}}\n^{request.base}^{{tree}}\n"
    pack = quarantine.folder / "work.tmp"
    with pack.open("wb") as stream:
        argv = ["pack-objects", "-q", "--stdout", "--revs"]
        repo.git.run(argv, stdin=revisions.encode(), stdout=stream)
    try:
        quarantine.import_pack(pack, pack.stat().st_size + 1)
    except GitFailed as error:
        raise UsageProblem(
            f"git refuses the work: {error.stderr[-300:]}", "make it anew"
        ) from None


def _judged(
    repo: Repository,
    quarantine: Quarantine,
    manifest: Manifest,
    snapshot: Snapshot,
    request: AcceptRequest,
) -> Judged:
    """The work as far as it may land. Raises UsageProblem if it may not."""
    [entry] = manifest.entries
    review = ChangeReview(
        repo,
        quarantine,
        manifest,
        quarantine.tree(request.base),
        quarantine.tree(snapshot.commit),
        {},
    )
    tree = repo.tree(request.commit)
    if request.held:
        # Without what fanin has recorded in it.
        is_own = own_files(manifest.never, manifest.progress)
        tree = with_own_files_of(quarantine, tree, review.base_tree, is_own)
    judged = review.judge(entry.task, tree, [])
    if judged.refusal is not None:
        advice = "only a protected path can be let in, by its name:  --allow PATH"
        raise UsageProblem(f"{entry.task.id}: {judged.refusal.message}", advice)
    if not judged.changes and not entry.task.allow_empty:
        raise UsageProblem(
            f"the work of {entry.task.id} changes nothing",
            f"{typed('skip', [entry.task.id], '--satisfied')}  lets its dependents run",
        )
    return judged


def _merged(
    quarantine: Quarantine,
    manifest: Manifest,
    snapshot: Snapshot,
    request: AcceptRequest,
    base: str,
    judged: Judged,
) -> str:
    """The head's tree with the work. Raises UsageProblem if it conflicts."""
    [entry] = manifest.entries
    candidate = Candidate(entry, judged.tree, judged.changes)
    head_tree = quarantine.tree(snapshot.commit)
    [outcome] = unite(base, head_tree, [candidate], quarantine, tree_per_task=False)
    if outcome.failure is not None or outcome.tree is None:
        reason = outcome.failure.message if outcome.failure else "nothing to merge"
        name = entry.task.id
        raise UsageProblem(
            f"{name}: {reason}",
            f"resolve it:  git switch -c resolved {request.commit[:10]} && "
            f"git merge {request.branch}  ; commit, switch back, then  "
            f"{typed('accept', [name], '--from resolved')}",
        )
    return outcome.tree


def _secrets(
    repo: Repository,
    settings: Settings,
    environ: Mapping[str, str],
    manifest: Manifest,
    task: Task,
    snapshot: Snapshot,
) -> Secrets:
    """The values that must not land, of the agents that may have made the work."""
    try:
        agents = agents_of(task, snapshot.plan, settings)
    except InvalidInput:
        agents = ()
    return known_secrets(
        agents,
        environ,
        settings.setup_env,
        manifest.include,
        repo.origin,
        settings.env.values(),
    )


def _verify(
    repo: Repository,
    context: AttemptContext,
    quarantine: Quarantine,
    manifest: Manifest,
    snapshot: Snapshot,
    tree: str,
    task: Task,
) -> None:
    """Raises UsageProblem if the verify command of the settings or of the task is red."""
    verify = VerifyCommand.of(manifest.model_copy(update={"verify": ""}))
    assert verify is not None
    commit = quarantine.commit_tree(tree, [snapshot.commit], "verify")
    for command in filter(None, (manifest.verify, task.verify)):
        for left in reversed(range(manifest.verify_retries + 1)):
            with tempfile.TemporaryDirectory(prefix="fanin-accept-") as scratch:
                failure = verify_commit(
                    verify._replace(command=command),
                    repo.origin,
                    commit,
                    quarantine.folder,
                    Path(scratch),
                    context,
                )
            if failure is None:
                break
            if not left:
                raise UsageProblem(
                    f"{task.id}: {failure.message}\n{failure.log_tail}".rstrip(),
                    "to land it all the same:  --unverified",
                )


class Work(NamedTuple):
    """Work of a task that can be accepted: its commit, the one that it started from, and
    the attempt that made it. `held`: it waits on a branch of its own, with its progress.
    """

    commit: str
    base: str
    attempt: int
    held: bool = False


def find_work(
    repo: Repository,
    settings: Settings,
    snapshot: Snapshot,
    branch: str,
    task: Task,
    revision: str | None,
) -> Work:
    """The work at the `revision` that a person names, or else what is held or kept last.

    Raises UsageProblem if there is none.
    """
    record = snapshot.progress.record(task)
    if revision is not None:
        return _work_at(repo, snapshot, task, revision)
    if record.held is not None:
        return _held_work(repo, settings, task, record.held)
    folder = kept_refs.folder(branch, plan_path(settings, snapshot), task.id)
    works = [work for work in kept_work(repo) if work.ref.startswith(f"{folder}/")]
    # Of the same attempt there may be a part, beside the whole.
    whole = [work for work in works if not work.ref.endswith("-allowed")]
    if not whole:
        advice = "fanin kept  lists all that is kept"
        if record.job is not None:
            advice = f"it ran on GitHub:  git fetch origin '{folder}/*:{folder}/*'"
        raise UsageProblem(f"no work of {task.id} is kept for {branch}", advice)
    refuse_unfinished(snapshot, task, whole[-1])
    return _kept_work(repo, whole[-1])


def refuse_unfinished(snapshot: Snapshot, task: Task, work: KeptWork) -> None:
    """Raises UsageProblem if the agent that made the work did not end by itself and well:
    a person who wants it all the same names it.
    """
    record = snapshot.progress.record(task)
    if record.error is None or record.attempts != work.attempt:
        return
    if record.error.kind in _UNFINISHED:
        reason, *_ = record.error.message.splitlines() or [record.error.kind.value]
        raise UsageProblem(
            f"the work of {task.id} is unfinished: {reason}",
            "to land it all the same:  "
            + typed("accept", [task.id], f"--from {work.commit[:10]}"),
        )


def plan_path(settings: Settings, snapshot: Snapshot) -> str:
    """The path of the plan as manifests have it."""
    return settings.plan.path if snapshot.plan.parts else snapshot.plan.path


def _kept_work(repo: Repository, work: KeptWork) -> Work:
    base = repo.commit(f"{work.commit}^")
    if base is None:
        raise UsageProblem(f"nobody knows what {work.ref} started from", "make it anew")
    return Work(work.commit, base, work.attempt)


def _work_at(repo: Repository, snapshot: Snapshot, task: Task, revision: str) -> Work:
    commit = repo.commit(revision)
    if commit is None:
        raise UsageProblem(f"there is no commit {revision}", "git log  lists them")
    for work in kept_work(repo):
        if work.commit == commit:
            return _kept_work(repo, work)
    argv = ["merge-base", snapshot.commit, commit]
    base = repo.git.text(argv, ok=(0, 1)).strip()
    if not base:
        raise UsageProblem(
            f"{revision} has nothing in common with the branch",
            "start from the kept work or from the branch",
        )
    return Work(commit, base, snapshot.progress.record(task).attempts)


def _held_work(repo: Repository, settings: Settings, task: Task, held: str) -> Work:
    refs = {**repo.refs(f"refs/heads/{held}"), **repo.refs("refs/remotes/")}
    tips = [commit for ref, commit in refs.items() if ref.endswith(f"/{held}")]
    if not tips:
        raise UsageProblem(
            f"the work of {task.id} waits on {held}, which is not here",
            f"git fetch origin {held}:{held}",
        )
    landing = landing_commits(repo, tips[0], settings.progress, task.id)[0]
    if landing.completed != [task.id]:
        raise UsageProblem(
            f"{', '.join(landing.completed)} wait together on {held}",
            f"take all of them:  git merge {held}",
        )
    attempt = int(landing.after[task.id].get("attempts", 0))
    return Work(landing.commit, landing.parent, attempt, held=True)
