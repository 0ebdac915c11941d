"""The rolling run's own head: what is merged and has not landed yet, on refs of the run,
which keep it and so every base from being collected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runner.core.errors import EnvironmentBroken
from runner.local.batches import RUN_HEADS

if TYPE_CHECKING:
    from runner.local.context import RunContext
    from runner.local.landing_queue import Merged
    from runner.plan.snapshot import Snapshot


class RunHead:
    """What the run has merged.

    `snapshot` is the head, with what persons have asked for since. `recorded` is set
    when what was merged last is durable and the journal says so: attempts that build on
    it wait for this before they write a result, with which the journal is durable.
    """

    def __init__(self, context: RunContext, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.recorded: Future[None] = Future()
        self.recorded.set_result(None)
        self._context = context
        self._last_merged: Sequence[Merged] = ()
        self._is_kept = True  # whether the newest ref is at the head
        # A new ref each time the branch moved: bases stay on the one before.
        self._refs = [f"{RUN_HEADS}/{context.run}/head"]
        self._unverified_ref = ""
        self._unverified_refs: list[str] = []

    def advance(self, snapshot: Snapshot, merged: Sequence[Merged]) -> None:
        """Go on to a head with these results, not durable yet."""
        self.record()
        self.snapshot, self._last_merged = snapshot, merged
        self.recorded = Future()
        if any(each.fan_in.commits for each in merged):
            self._is_kept = False

    def record(self, *, lands_now: bool = False) -> None:
        """Make the last merge durable. Raises EnvironmentBroken if that fails, as every
        attempt that waits for it does then. What `lands_now` needs no ref but the branch,
        or `keep`.
        """
        if self.recorded.done():
            return
        with self.passes_errors():
            if not lands_now:
                self.keep()
            branch = self._context.lander.branch
            events = [merged.event(branch) for merged in self._last_merged]
            # The next result makes all durable that the journal has before it; what is
            # lost before that is merged again. Only the journal has a failed attempt.
            failed = any(merged.fan_in.failed_attempts for merged in self._last_merged)
            self._context.journal.record_all(events, synced=failed)
            self.recorded.set_result(None)

    def keep(self) -> None:
        """See to it that a ref of the run keeps the head."""
        if not self._is_kept:
            self.move_ref()

    def move_ref(self) -> None:
        """Move the newest ref to the head. Raises EnvironmentBroken if git cannot."""
        self._set_ref(self._refs[-1], self.snapshot.commit)
        self._is_kept = True

    def _set_ref(self, ref: str, commit: str) -> None:
        refusal = self._context.repo.ref_refusal(ref, commit)
        if refusal is not None:
            raise EnvironmentBroken(
                f"cannot move {ref}: {refusal}", "the results are kept; run again"
            )

    def replace(self, snapshot: Snapshot) -> None:
        """Go on from another head, as what was merged is merged anew on the branch."""
        self.keep()
        self.keep_others()
        self._refs.append(f"{RUN_HEADS}/{self._context.run}/head-{len(self._refs)}")
        self.snapshot = snapshot
        self.move_ref()

    def keep_unverified(self, commit: str) -> None:
        """Keep a commit that may become the head, for what starts from it.

        It builds on those before, but for the first one after `keep_others`. Raises
        EnvironmentBroken if git cannot.
        """
        if not self._unverified_ref:
            number = len(self._unverified_refs)
            self._unverified_ref = (
                f"{RUN_HEADS}/{self._context.run}/unverified-{number}"
            )
            self._unverified_refs.append(self._unverified_ref)
        self._set_ref(self._unverified_ref, commit)

    def keep_others(self) -> None:
        """What may become the head does not build on what was kept before."""
        self._unverified_ref = ""

    def delete_refs(self) -> None:
        """Nothing remains that they must keep."""
        self._context.repo.delete_refs([*self._refs, *self._unverified_refs])
        self._unverified_refs.clear()
        self.keep_others()

    @contextmanager
    def passes_errors(self) -> Iterator[None]:
        """Let whoever waits for `recorded` get an error too, instead of waiting forever."""
        try:
            yield
        except BaseException as error:
            if not self.recorded.done():
                self.recorded.set_exception(error)
            raise
