"""Notices what somebody else changes in the repository during a run: a person, or an
agent that left its checkout.

Before and after each attempt, and before each landing, the status of a few files tells
whether HEAD, a ref, the index, the stash, the configuration or a hook has changed, and git
is asked only then. What steers a person's agents and git beside the repository counts as
configuration. A tracked file that is edited in place is seen at the next landing, or
when the index or HEAD has changed too.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from runner.core.errors import EnvironmentBroken
from runner.core.events import CheckoutChanged
from runner.core.outside_changes import OutsideChange, RunningAttempt, sentence
from runner.local import checkout_changes, doubt
from runner.local.checkout_changes import BRANCHES, RefMove
from runner.local.doubt import OutsideWork
from runner.local.journal import Journal
from runner.local.journal_state import Doubt
from runner.local.observer import MaskingObserver
from runner.repo import checkout_state, work_tree
from runner.repo.checkout_state import CheckoutFiles, CheckoutState, Part, Stamps
from runner.repo.repository import Repository

if TYPE_CHECKING:
    from runner.fan_in.landed_changes import MergedBatch

_MAX_CHANGES = 20  # of those that one event has

# batch, task and number of an attempt
_Attempt = tuple[str, str, int]


@dataclass
class _Seen:
    """What the last look has seen."""

    files: CheckoutFiles
    stamps: Stamps
    state: CheckoutState


class _AttemptRecord:
    """The attempts that run, and those that have ended since a look at the repository,
    or at its tracked files, which git reads less often. Used by several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[_Attempt] = set()
        self._since_look: set[_Attempt] = set()
        self._since_status: set[_Attempt] = set()

    def begin(self, attempt: _Attempt) -> None:
        with self._lock:
            self._running.add(attempt)

    def end(self, attempt: _Attempt) -> None:
        with self._lock:
            self._running.remove(attempt)
            self._since_look.add(attempt)
            self._since_status.add(attempt)

    def take(self, *, read_status: bool) -> tuple[set[_Attempt], set[_Attempt]]:
        """Those that a look has to name that begins now: for what it sees by the stamps,
        and for tracked files if it reads their status.
        """
        with self._lock:
            since_look = self._running | self._since_look
            since_status = self._running | self._since_status
            self._since_look = set()
            if read_status:
                self._since_status = set()
        return since_look, since_status

    def put_back(self, since_look: set[_Attempt], since_status: set[_Attempt]) -> None:
        """A look has taken these and has seen nothing: the next one has to name them."""
        with self._lock:
            self._since_look |= since_look - self._running
            self._since_status |= since_status - self._running


def _refuse(special: Sequence[Path]) -> None:
    """Raise EnvironmentBroken if there are files at which git would wait."""
    if special:
        names = ", ".join(str(path) for path in special[:_MAX_CHANGES])
        raise EnvironmentBroken(
            f"not a regular file: {names}. Git would wait for it, or read without end",
            "remove it, then run again: finished work is kept",
        )


class CheckoutWatch:
    """Compares the repository with what the last look has seen. Used by several threads.

    Nothing is compared before `start`. `has_walls`: no agent can have written there.
    `others` are files and folders outside that count as configuration too.
    """

    def __init__(
        self,
        repo: Repository,
        journal: Journal,
        observer: MaskingObserver,
        *,
        has_walls: bool,
        others: Sequence[Path] = (),
    ) -> None:
        self.branch, self._others = "", others
        self._has_walls = has_walls
        self._repo, self._journal, self._observer = repo, journal, observer
        self._seen: _Seen | None = None
        # Held during a look and during a landing.
        self._looking = threading.Lock()
        self._attempts = _AttemptRecord()
        self._own_tips: list[str] = []
        # files at which git would wait
        self._special: list[Path] = []
        self._noted: set[str] = set()
        self._outside: list[OutsideWork] = []
        self._doubt: Doubt | None = None
        # sentences that the message of no commit has yet
        self._notices: list[str] = []

    def start(self, branch: str) -> None:
        """Take the repository as it is; work lands on `branch`."""
        self.branch = branch
        files = CheckoutFiles(self._repo, self._others)
        stamps = files.stamps()
        _refuse(checkout_state.special_files(stamps))
        state = files.read(set(Part), stamps, CheckoutState())
        self._seen = _Seen(files, stamps, state)

    @contextmanager
    def attempt(self, batch: str, task: str, number: int) -> Iterator[None]:
        """Look before and after the attempt, which runs in the block.

        Raises EnvironmentBroken as `check`: before anything of the attempt is merged.
        """
        name = (batch, task, number)
        self._look_if_free()
        self._attempts.begin(name)
        try:
            yield
        finally:
            self._attempts.end(name)
            self._look_if_free()
        _refuse(self._special)

    def _look_if_free(self) -> None:
        """Look, unless another thread looks or lands: there is a look before the next
        landing.
        """
        if self._seen is None or not self._looking.acquire(blocking=False):
            return
        try:
            self._look(self._seen)
        finally:
            self._looking.release()

    # -- landings --

    @property
    def notices(self) -> tuple[str, ...]:
        """What has changed, in sentences that the message of no commit has yet."""
        return tuple(self._notices)

    def recorded(self, texts: Collection[str]) -> None:
        """The message of a commit that has landed has these sentences."""
        self._notices = [text for text in self._notices if text not in texts]

    def check(self, batches: Sequence[MergedBatch] = ()) -> None:
        """Look, and raise DecisionNeeded if the branch has a commit that an agent may have
        made: one with what these batches have merged or failed to, for example.

        EnvironmentBroken if git would wait at one of the repository's files.
        """
        if self._seen is None:
            return
        with self._looking:
            self._look(self._seen)
            for outside in self._outside:
                for manifest, _, fan_in in batches:
                    reason = doubt.agents_work(
                        outside, manifest, fan_in.changes, fan_in.failed
                    )
                    self._note_doubt(outside, reason)
            self._refuse_doubtful()

    @contextmanager
    def landing(self, branch: str, tip: str) -> Iterator[Collection[str] | None]:
        """The block moves the branch to `tip`, with its files where it is checked out.

        Gives the tracked paths of this work tree that differ from HEAD, if the branch is
        checked out here and an agent may have edited them; else None. Raises as `check`.
        """
        seen = self._seen
        if seen is None:
            yield None
            return
        with self._looking:
            self._look(seen)
            self._refuse_doubtful()
            dirty = None
            if not self._has_walls and seen.state.head == f"{BRANCHES}{branch}":
                dirty = self._read_status(seen)
            self._own_tips.append(tip)
            try:
                yield dirty
            finally:
                self._take_own(seen, f"{BRANCHES}{branch}", tip)

    def _read_status(self, seen: _Seen) -> Collection[str]:
        _, attempts = self._attempts.take(read_status=True)
        dirty = work_tree.dirty_paths(self._repo, self._repo.root)
        before = seen.state
        seen.state = before._replace(dirty=frozenset(dirty))
        self._report(checkout_changes.files_changed(before, seen.state), attempts)
        return dirty

    def move_to(self, branch: str, tip: str) -> None:
        """Work lands on `branch` from now on, which fanin has made at the commit `tip`."""
        self.branch = branch
        if self._seen is not None:
            with self._looking:
                self._take_own(self._seen, f"{BRANCHES}{branch}", tip)

    def _take_own(self, seen: _Seen, ref: str, tip: str) -> None:
        """Take the ref and the index as fanin has left them; nothing else."""
        now = seen.files.stamps()
        stamps = {part: dict(files) for part, files in seen.stamps.items()}
        head = self._repo.commit(ref)
        if head is not None and checkout_state.follows(self._repo, tip, head):
            refs = {**(seen.state.refs or {}), ref: tip}
            seen.state = seen.state._replace(refs=refs)
        file = self._repo.git_dir / ref
        # If somebody has moved it since, the next look says so.
        if head == tip and file in now[Part.REFS]:
            stamps[Part.REFS][file] = now[Part.REFS][file]
        if seen.state.head == ref:
            stamps[Part.INDEX] = dict(now[Part.INDEX])
        seen.stamps = stamps

    @contextmanager
    def own_changes(self) -> Iterator[None]:
        """What the block changes is fanin's own. No attempt may run."""
        if self._seen is None:
            yield
            return
        self.check()
        with self._looking:
            try:
                yield
            finally:
                self.start(self.branch)

    # -- one look --

    def _look(self, seen: _Seen) -> None:
        """Report what has changed since the last look.

        An error of git is a warning: fanin's own work may still be possible.
        """
        try:
            stamps = seen.files.stamps()
            changed = {part for part in Part if stamps[part] != seen.stamps[part]}
            reads_status = bool(changed & {Part.HEAD, Part.INDEX})
            self._special = checkout_state.special_files(stamps)
            if self._special:
                return
            attempts, of_files = self._attempts.take(read_status=reads_status)
            if not changed:
                return
            before = seen.state
            # Nothing is taken as seen before git has told all that is reported of it.
            try:
                after = seen.files.read(changed, stamps, before)
                changes, outside = self._moves(before, after, attempts)
                changes += checkout_changes.other_changes(seen.files, before, after)
            except EnvironmentBroken:
                # The next look sees the same changes.
                self._attempts.put_back(attempts, of_files)
                raise
            seen.stamps, seen.state = stamps, after
            self._add_outside(outside)
            self._report(changes, attempts)
            self._report(checkout_changes.files_changed(before, after), of_files)
        except EnvironmentBroken as error:
            self._note_once(f"cannot see what changed beside this run: {error}")

    def _note_once(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._observer.note(text)

    def _moves(
        self, before: CheckoutState, after: CheckoutState, attempts: set[_Attempt]
    ) -> tuple[list[OutsideChange], list[OutsideWork]]:
        """The refs that have moved, and what came to the branch by it."""
        changes, outside = [], []
        for move in checkout_changes.ref_moves(before, after):
            change, commits = checkout_changes.moved_ref(
                self._repo, move, self._own_tips
            )
            changes.append(change)
            if move.ref == f"{BRANCHES}{self.branch}":
                outside += self._outside_work(move, tuple(commits), attempts)
        return changes, outside

    def _outside_work(
        self,
        move: RefMove,
        commits: tuple[checkout_state.Commit, ...],
        attempts: set[_Attempt],
    ) -> list[OutsideWork]:
        """What the move brought to the branch, if an agent can have made it."""
        if move.new is None or move.old is None or self._has_walls:
            return []
        changes = checkout_state.work_since(self._repo, move.old, move.new)
        tasks = frozenset((batch, task) for batch, task, _ in attempts)
        work = doubt.work_of(changes)
        return [OutsideWork(move.old, move.new, commits, work, tasks)]

    def _add_outside(self, works: Sequence[OutsideWork]) -> None:
        """Remember what came to the branch, and doubt it if an agent has signed it."""
        for outside in works:
            self._outside.append(outside)
            self._note_doubt(outside, doubt.agents_commit(outside))

    def _note_doubt(self, outside: OutsideWork, reason: str | None) -> None:
        if reason is not None and self._doubt is None:
            reason = self._observer.masked(reason)
            self._doubt = Doubt(self.branch, outside.tip, outside.old, reason)

    def _refuse_doubtful(self) -> None:
        _refuse(self._special)
        if self._doubt is not None:
            self._journal.record("doubted", **self._doubt._asdict())
            raise doubt.question(self._doubt)

    def _report(
        self, changes: Sequence[OutsideChange], attempts: set[_Attempt]
    ) -> None:
        if not changes:
            return
        named = tuple(
            RunningAttempt(batch=batch, task=task, attempt=number)
            for batch, task, number in sorted(attempts)
        )
        shown = tuple(changes[:_MAX_CHANGES])
        self._observer.observe(
            CheckoutChanged(changes=shown, count=len(changes), attempts=named)
        )
        text = sentence(shown, len(changes), named)
        self._notices.append(self._observer.masked(f"beside this run: {text}"))
