"""Merges results of the rolling schedule that wait together, and verifies them as the
one tree that they make.

A green tree takes all of them in with a single run of the command; a red one is
bisected, so that only those at fault are sent back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from runner import pipeline
from runner.attempt.attempt import VerifyCommand
from runner.core.manifest import Manifest
from runner.core.result import Failure
from runner.fan_in.batch_merge import FanIn
from runner.fan_in.culprits import culprits
from runner.fan_in.inputs import SendBack
from runner.fan_in.verify_runs import VerifyRuns, never_verified
from runner.local.context import RunContext
from runner.plan.changes import ChangeSet, apply_changes
from runner.plan.snapshot import Snapshot
from runner.repo.quarantine import Quarantine

_NOBODY: Mapping[str, Failure] = {}


class MergedResult(NamedTuple):
    """A batch of one task that is merged in a quarantine; `kept` maps the refs that keep
    its work to their commits.
    """

    manifest: Manifest
    fan_in: FanIn
    kept: Mapping[str, str]


@dataclass(frozen=True)
class MergedResults:
    """Results merged one on top of the other; `snapshot` is the head with all of them."""

    results: tuple[MergedResult, ...]
    snapshot: Snapshot


def verified_alike(first: Manifest, other: Manifest) -> bool:
    """Whether one run of the verify command can be about the work of both batches."""
    return VerifyCommand.of(first) == VerifyCommand.of(other)


class JointMerge:
    """The merge of some results on the head `snapshot`, in one quarantine.

    Checkouts of trees that are verified are made below `scratch`. `unrecorded` are
    changes that the head lacks, of which some may follow what is merged.
    """

    def __init__(
        self,
        context: RunContext,
        quarantine: Quarantine,
        snapshot: Snapshot,
        scratch: Path,
        unrecorded: Sequence[ChangeSet] = (),
    ) -> None:
        self._context, self._quarantine = context, quarantine
        self._unrecorded = unrecorded
        self._head = MergedResults((), self._with_unrecorded(snapshot))
        self._scratch = scratch

    def merge(self, manifests: Sequence[Manifest]) -> MergedResults:
        """Merge the results, of which each is verified like the first."""
        merged = self._add(self._head, manifests)
        landing = [each.manifest for each in merged.results if each.fan_in.commits]
        verification = self._context.lander.verification(manifests[-1], self._scratch)
        if verification is None or not landing:
            return merged
        runs = VerifyRuns(verification.verify, self._quarantine, manifests[-1])
        # What is verified is what lands: the same commits, not the same work once more.
        verified = {_batches(landing): merged}

        def is_green(subset: Sequence[Manifest]) -> bool:
            key = _batches(subset)
            if key not in verified:
                verified[key] = self._add(self._head, subset)
            ids = [_task_id(manifest) for manifest in subset]
            return runs.failure(verified[key].snapshot.commit, ids) is None

        guilty = culprits(landing, is_green)
        if not guilty:
            return merged
        accepted = [manifest for manifest in landing if manifest not in guilty]
        green = verified[_batches(accepted)] if accepted else self._head
        head = None if accepted else self._head.snapshot.commit
        failures = runs.failures([_task_id(each) for each in guilty], head)
        # What did not merge stays out, even where it conflicted with what is sent back:
        # with it the tree would be one that nobody has verified.
        for each in merged.results:
            failures = {**each.fan_in.failed, **failures}
        rest = [manifest for manifest in manifests if manifest not in accepted]
        whole = self._add(green, rest, failures)
        _refuse_unverified(whole.results[len(green.results) :])
        return whole

    def _add(
        self,
        merged: MergedResults,
        manifests: Sequence[Manifest],
        failures: Mapping[str, Failure] = _NOBODY,
    ) -> MergedResults:
        """The results on top of those that are merged, unverified. Those of the tasks in
        `failures` are sent back.
        """
        results, snapshot = list(merged.results), merged.snapshot
        for manifest in manifests:
            fan_in, kept = pipeline.merge_in_quarantine(
                self._quarantine,
                self._context.repo,
                self._context.batch_results(manifest),
                snapshot,
                verification=SendBack(failures),
            )
            results.append(MergedResult(manifest, fan_in, kept))
            if fan_in.records and fan_in.snapshot:
                snapshot = self._with_unrecorded(fan_in.snapshot)
        return MergedResults(tuple(results), snapshot)

    def _with_unrecorded(self, snapshot: Snapshot) -> Snapshot:
        if not self._unrecorded:
            return snapshot
        return apply_changes(snapshot, self._unrecorded).snapshot


def adopt(
    context: RunContext, quarantine: Quarantine, head: str, merged: MergedResults
) -> list[tuple[Manifest, FanIn]]:
    """Move what was merged on the commit `head` into the repository, and set the refs
    that keep work. Each batch with its fan-in, in the order in which they were merged.
    """
    tips = [commit for each in merged.results for commit in each.kept.values()]
    if merged.snapshot.commit != head:
        tips.insert(0, merged.snapshot.commit)
    bases = dict.fromkeys(each.manifest.base for each in merged.results)
    quarantine.adopt(tips, [head, *bases])
    adopted = []
    for manifest, fan_in, kept in merged.results:
        # Only now: a ref must not name a commit that is still in the quarantine.
        folder = context.results_folder(manifest)
        recorded = pipeline.record_kept(context.repo, folder, fan_in, kept)
        adopted.append((manifest, recorded))
    return adopted


class VerifiedMerge:
    """A joint merge in a thread of `pool`, because `verify` takes long.

    It is on the head `snapshot`, which must not move to another commit before `result`.
    `requested` is what persons have asked for since. `on_done` is called at its end.
    """

    def __init__(
        self,
        context: RunContext,
        snapshot: Snapshot,
        scratch: Path,
        manifests: Sequence[Manifest],
        pool: Executor,
        on_done: Callable[[], object],
    ) -> None:
        self.manifests = manifests
        self.requested: list[ChangeSet] = []
        self._quarantine_end = ExitStack()
        self._quarantine = self._quarantine_end.enter_context(context.repo.quarantine())
        joint = JointMerge(context, self._quarantine, snapshot, scratch)
        self._merged = pool.submit(joint.merge, manifests)
        self._merged.add_done_callback(lambda _: on_done())

    @contextmanager
    def result(self) -> Iterator[tuple[Quarantine, MergedResults]]:
        """What was merged, with what was requested, and the quarantine that has it, which
        is gone when the block ends. Raises what went wrong with fanin itself.
        """
        with self._quarantine_end:
            merged = self._merged.result()
            snapshot = apply_changes(merged.snapshot, self.requested).snapshot
            yield self._quarantine, replace(merged, snapshot=snapshot)

    def abandon(self) -> None:
        """Wait for its end, and leave no quarantine behind."""
        wait([self._merged])
        self._quarantine_end.close()


def _refuse_unverified(results: Sequence[MergedResult]) -> None:
    if any(each.fan_in.commits for each in results):
        raise never_verified()


def _batches(manifests: Sequence[Manifest]) -> tuple[str, ...]:
    return tuple(manifest.batch for manifest in manifests)


def _task_id(manifest: Manifest) -> str:
    """The id of the task of a batch of one."""
    return manifest.entries[0].task.id
