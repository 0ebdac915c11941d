"""Merges results one on top of the other, and verifies them as the one tree that they
make.

A green tree takes in all that is merged in it. Of a red one, several parts are verified
at once to find those at fault, and only these are sent back. Results that come
meanwhile are merged on top of what is still being verified.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ThreadPoolExecutor,
    wait,
)
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runner import pipeline
from runner.attempt.verification import VerifyCommand
from runner.fan_in.culprits import CulpritSearch
from runner.fan_in.inputs import SendBack
from runner.fan_in.verify_runs import VerifyRuns, failure_of, never_verified
from runner.plan.changes import ChangeSet, apply_changes

if TYPE_CHECKING:
    from runner.core.manifest import Manifest
    from runner.core.result import Failure
    from runner.fan_in.outcome import FanIn
    from runner.local.context import RunContext
    from runner.plan.snapshot import Snapshot
    from runner.repo.quarantine import Quarantine


class MergedResult(NamedTuple):
    """A batch of one task that is merged in a quarantine; `kept` maps the refs that keep
    its work to their commits, and `snapshot` is the head with it.
    """

    manifest: Manifest
    fan_in: FanIn
    kept: dict[str, str]
    snapshot: Snapshot


class Candidate(NamedTuple):
    """A head that is being verified; `manifest` is the last batch in it."""

    manifest: Manifest
    snapshot: Snapshot


class _Run(NamedTuple):
    """The batches of a tree that is being verified, none for the head alone; and what
    ends that.
    """

    manifests: tuple[Manifest, ...]
    cancel: threading.Event


@dataclass(frozen=True)
class MergedResults:
    """Results merged one on top of the other; `snapshot` is the head with all of them."""

    results: tuple[MergedResult, ...]
    snapshot: Snapshot


def verified_alike(first: Manifest, other: Manifest) -> bool:
    """Whether one run of the verify command can be about the work of both batches."""
    return VerifyCommand.of(first) == VerifyCommand.of(other)


class JointMerge:
    """Results that are merged on a head, in one quarantine, until they are decided.

    Verify runs in threads of `pool`, at most `at_once` of them; all else happens in the
    caller's. `on_verdict` is called when one ends; then `take` returns what is decided.
    """

    def __init__(
        self,
        context: RunContext,
        quarantine: Quarantine,
        snapshot: Snapshot,
        scratch: Path,
        pool: Executor,
        on_verdict: Callable[[], object],
        unrecorded: Sequence[ChangeSet] = (),
    ) -> None:
        """`snapshot` is the head. Checkouts of trees that are verified are made below
        `scratch`. `unrecorded` are changes that the head lacks, of which some may follow
        what is merged.
        """
        self._context, self._quarantine = context, quarantine
        self._scratch, self._pool, self._on_verdict = scratch, pool, on_verdict
        self._unrecorded = unrecorded
        self._at_once = context.settings.verify_concurrent
        self._starts_after_merge = context.settings.start_after == "merge"
        # with everything that was taken
        self.head = self._with_unrecorded(snapshot)
        # what is merged on top of it and not decided
        self._chain: list[MergedResult] = []
        self._search: CulpritSearch[Manifest] = CulpritSearch()
        self._runs: VerifyRuns | None = None
        self._running: dict[Future[Failure | None], _Run] = {}
        # what was useless and is being ended
        self._ending: set[Future[Failure | None]] = set()
        # whether the head is red without any of the results; None: not known
        self._head_is_red: bool | None = None

    @property
    def is_over(self) -> bool:
        """Whether everything that was added is taken, and nothing runs any more."""
        return not self._chain and not self._running and not self._ending

    @property
    def batches(self) -> set[str]:
        """Those that were added and are not taken."""
        return {each.manifest.batch for each in self._chain}

    @property
    def candidates(self) -> list[Candidate]:
        """What the head may become, the last one with all that was added; none where
        something is at fault.
        """
        if self._search.is_splitting or self._search.guilty:
            return []
        return [Candidate(each.manifest, each.snapshot) for each in self._chain]

    def has_room_for(self, manifest: Manifest) -> bool:
        """Whether the result can be merged now, on top of what is being verified: if
        nothing starts from it, only to be verified at once.
        """
        if self._free <= 0 and not self._starts_after_merge:
            return False
        if self._search.is_splitting or self._search.guilty:
            return False
        return all(verified_alike(each.manifest, manifest) for each in self._chain[:1])

    def add(self, manifests: Sequence[Manifest]) -> None:
        """Merge these results on top of all others; each is verified like the first."""
        if self._runs is None:
            verification = self._context.lander.verification(
                manifests[-1], self._scratch
            )
            if verification is not None:
                self._runs = VerifyRuns(
                    verification.verify, self._quarantine, manifests[-1]
                )
        self._merge(manifests)
        self._start_verifying()

    def take(self) -> MergedResults:
        """What is decided since: what is green, and what is sent back.

        Raises what went wrong with fanin itself, and Interrupted if the run is to stop.
        """
        self._record_verdicts()
        decided = self._take_decided()
        while self._search.guilty and self._head_is_red is not None:
            decided.append(self._send_back())
            decided += self._take_decided()
        self._end_useless()
        self._start_verifying()
        return MergedResults(tuple(decided), self.head)

    def wait(self) -> None:
        """Wait until one of the trees is verified, if any is being verified."""
        wait([*self._running, *self._ending], return_when=FIRST_COMPLETED)

    def wait_for_all(self) -> None:
        """Wait until nothing runs."""
        wait([*self._running, *self._ending])

    def end_all(self) -> None:
        """End all that runs, as nobody asks for it any more."""
        for run in self._running.values():
            run.cancel.set()

    # -- merge --

    def _merge(self, manifests: Sequence[Manifest]) -> None:
        """Merge the results on top of the chain, unverified."""
        for manifest in manifests:
            head = self._chain[-1].snapshot if self._chain else self.head
            merged = self._merged_on(head, manifest, SendBack({}))
            self._chain.append(merged)
            if merged.fan_in.commits:
                self._search.add([manifest])

    def _merged_on(
        self, head: Snapshot, manifest: Manifest, verification: SendBack
    ) -> MergedResult:
        fan_in, kept = pipeline.merge_in_quarantine(
            self._quarantine,
            self._context.repo,
            self._context.batch_results(manifest),
            head,
            verification=verification,
        )
        if fan_in.records and fan_in.snapshot:
            head = self._with_unrecorded(fan_in.snapshot)
        return MergedResult(manifest, fan_in, dict(kept), head)

    def _with_unrecorded(self, snapshot: Snapshot) -> Snapshot:
        if not self._unrecorded:
            return snapshot
        return apply_changes(snapshot, self._unrecorded).snapshot

    # -- verify --

    def _start_verifying(self) -> None:
        """Begin to verify what the search asks for, as far as there is room."""
        if self._runs is None:
            return
        running = [run.manifests for run in self._running.values()]
        if self._search.guilty:
            if () not in running:
                self._verify(self._runs, ())
            return
        for manifests in self._search.next_sets(self._free, running):
            self._verify(self._runs, tuple(manifests))

    @property
    def _free(self) -> int:
        """How many more trees may be verified now."""
        return max(0, self._at_once - len(self._running) - len(self._ending))

    def _end_useless(self) -> None:
        """End what runs on a tree that cannot land any more, or lands in any case."""
        self._ending = {run for run in self._ending if not run.done()}
        for verdict, run in list(self._running.items()):
            if run.manifests:
                is_useful = self._search.is_useful(run.manifests)
            else:
                is_useful = self._head_is_red is None
            if not is_useful:
                run.cancel.set()
                del self._running[verdict]
                self._ending.add(verdict)

    def _verify(self, runs: VerifyRuns, manifests: tuple[Manifest, ...]) -> None:
        """Begin to verify the tree in which the last of the batches was merged."""
        commit = self.head.commit
        for each in self._chain:
            if manifests and each.manifest.batch == manifests[-1].batch:
                commit = each.fan_in.tip
        step = runs.step(commit, [manifest.only_task.id for manifest in manifests])
        verdict = self._pool.submit(runs.failure, step)
        self._running[verdict] = _Run(manifests, step.cancel)
        verdict.add_done_callback(lambda _: self._on_verdict())

    def _record_verdicts(self) -> None:
        for verdict in [each for each in self._running if each.done()]:
            manifests = self._running.pop(verdict).manifests
            failure = verdict.result()
            if not manifests:
                self._head_is_red = failure is not None
                continue
            if failure is not None and self._runs is not None:
                self._runs.note_red([each.only_task.id for each in manifests], failure)
            self._search.record(manifests, is_green=failure is None)
        if self._search.accepted:
            self._head_is_red = False

    # -- decide --

    def _take_decided(self) -> list[MergedResult]:
        """Take the first results of the chain that are green, or have no work."""
        accepted = {manifest.batch for manifest in self._search.accepted}
        decided: list[MergedResult] = []
        for each in self._chain:
            has_work = bool(each.fan_in.commits)
            if has_work and self._runs and each.manifest.batch not in accepted:
                break
            decided.append(each)
        del self._chain[: len(decided)]
        if decided:
            self.head = decided[-1].snapshot
        return decided

    def _send_back(self) -> MergedResult:
        """Send the culprit back, and merge what was merged on top of it without it."""
        first, *rest = self._chain
        task_id = first.manifest.only_task.id
        assert self._runs is not None
        failure = failure_of(
            task_id, self._runs.red, head_is_red=bool(self._head_is_red)
        )
        sent_back = self._merged_on(
            self.head, first.manifest, SendBack({task_id: failure})
        )
        if sent_back.fan_in.commits:
            raise never_verified()
        self.head = sent_back.snapshot
        self._chain, self._search = [], CulpritSearch()
        # What conflicted with the culprit may merge now: all of it is verified anew.
        self._merge([each.manifest for each in rest])
        return sent_back


def merge_together(
    context: RunContext,
    quarantine: Quarantine,
    snapshot: Snapshot,
    scratch: Path,
    manifests: Sequence[Manifest],
    unrecorded: Sequence[ChangeSet] = (),
) -> MergedResults:
    """Merge the results on the head `snapshot`, and wait for what verify says of them.

    The parameters are those of `JointMerge`.
    """
    results: list[MergedResult] = []
    with ThreadPoolExecutor(context.settings.verify_concurrent) as pool:
        joint = JointMerge(
            context, quarantine, snapshot, scratch, pool, _ignore, unrecorded
        )
        joint.add(manifests)
        results += joint.take().results
        while not joint.is_over:
            joint.wait()
            results += joint.take().results
    return MergedResults(tuple(results), joint.head)


def _ignore() -> None:
    """For a caller that waits."""


class VerifiedMerge:
    """A joint merge beside the run's loop, because `verify` takes long.

    It is on the head `snapshot`, which must not move to another commit but by what is
    taken from here. `requested` is what persons have asked for since.
    """

    def __init__(
        self,
        context: RunContext,
        snapshot: Snapshot,
        scratch: Path,
        pool: Executor,
        on_verdict: Callable[[], object],
    ) -> None:
        """The parameters are those of `JointMerge`."""
        self.requested: list[ChangeSet] = []
        self._quarantine_end = ExitStack()
        self.quarantine = self._quarantine_end.enter_context(context.repo.quarantine())
        self._joint = JointMerge(
            context, self.quarantine, snapshot, scratch, pool, on_verdict
        )
        self.add, self.has_room_for = self._joint.add, self._joint.has_room_for

    def take(self) -> MergedResults:
        """`JointMerge.take`, with what was requested."""
        merged = self._joint.take()
        snapshot = apply_changes(merged.snapshot, self.requested).snapshot
        return replace(merged, snapshot=snapshot)

    @property
    def is_over(self) -> bool:
        """As `JointMerge.is_over`."""
        return self._joint.is_over

    @property
    def batches(self) -> set[str]:
        """As `JointMerge.batches`."""
        return self._joint.batches

    @property
    def candidates(self) -> list[Candidate]:
        """As `JointMerge.candidates`."""
        return self._joint.candidates

    @property
    def candidate_snapshot(self) -> Snapshot | None:
        """The last candidate, with what was requested; None if there is none."""
        if not self.candidates:
            return None
        return apply_changes(self.candidates[-1].snapshot, self.requested).snapshot

    def close(self) -> None:
        """End what still runs, and leave no quarantine behind."""
        self._joint.end_all()
        self._joint.wait_for_all()
        self._quarantine_end.close()


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
    quarantine.adopt(tips, [head, *bases], packed=True)
    adopted = []
    for manifest, fan_in, kept, _ in merged.results:
        # Only now: a ref must not name a commit that is still in the quarantine.
        folder = context.results_folder(manifest)
        recorded = pipeline.record_kept(context.repo, folder, fan_in, kept)
        adopted.append((manifest, recorded))
    return adopted
