"""Runs the verify command on the trees of one merge, and says whose fault a red one is."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace

from runner.core.errors import EnvironmentBroken
from runner.core.manifest import Manifest
from runner.core.result import Failure, FailureKind
from runner.fan_in.inputs import VerifyCommit, VerifyStep
from runner.repo.object_database import WritableDatabase
from runner.repo.quarantine import Quarantine


class VerifyRuns:
    """The runs of the verify command in one merge, which are numbered from 1.

    `quarantine` has the merged commits, `manifest` the settings of the batch.
    """

    def __init__(
        self, verify: VerifyCommit, quarantine: Quarantine, manifest: Manifest
    ) -> None:
        self._verify, self._quarantine = verify, quarantine
        self._retries, self._progress = manifest.verify_retries, manifest.progress
        self._numbers = itertools.count(1)
        # ids of the tasks in a red tree → why it is red
        self.red: dict[tuple[str, ...], Failure] = {}

    def step(self, commit: str, task_ids: Sequence[str]) -> VerifyStep:
        """The commit with the work of these tasks, to be verified."""
        return VerifyStep(
            commit,
            self._quarantine.folder,
            verified_tree(self._quarantine, commit, self._progress),
            tasks=tuple(task_ids),
            bisecting=bool(self.red),
        )

    def failure(self, step: VerifyStep) -> Failure | None:
        """Why the tree is red, None if it is green. May be called in several threads.

        A failure that a repetition does not confirm is a flaky command's, not a task's.
        """
        return confirmed_failure(self._run, step, self._retries)

    def failures(self, steps: Sequence[VerifyStep]) -> list[Failure | None]:
        """`failure` of each, all at once; red ones are noted.

        Each tree is on top of the one before it. What is on top of a red one ends at
        once, and so does what is below a green one: their failures do not count.
        """
        with ThreadPoolExecutor(len(steps)) as pool:
            runs = [pool.submit(self.failure, step) for step in steps]
            for run in as_completed(runs):
                _end_useless(steps, runs.index(run), run.result())
        verdicts = [run.result() for run in runs]
        for step, failure in zip(steps, verdicts, strict=True):
            if failure is not None and failure.counted:
                self.note_red(step.tasks, failure)
        return verdicts

    def note_red(self, task_ids: Sequence[str], failure: Failure) -> None:
        """Keep why the tree with the work of these tasks is red, if there is any work."""
        if task_ids:
            self.red[tuple(task_ids)] = failure

    def blame(self, task_ids: Sequence[str], head: str | None) -> dict[str, Failure]:
        """Task id → the failure of a culprit. `head`: the commit without any work, if no
        work is green: then it is verified alone, as it may be the one that is red.
        """
        head_is_red = False
        if head is not None:
            head_is_red = self.failure(self.step(head, ())) is not None
        return {
            task_id: failure_of(task_id, self.red, head_is_red=head_is_red)
            for task_id in task_ids
        }

    def _run(self, step: VerifyStep) -> Failure | None:
        return self._verify(replace(step, number=next(self._numbers)))


def _end_useless(
    steps: Sequence[VerifyStep], position: int, failure: Failure | None
) -> None:
    """End what the verdict of the step at `position` makes useless."""
    useless: Sequence[VerifyStep] = ()
    if failure is None:
        useless = steps[:position]
    elif failure.counted:
        useless = steps[position + 1 :]
    for step in useless:
        step.cancel.set()


def confirmed_failure(
    verify: VerifyCommit, step: VerifyStep, retries: int
) -> Failure | None:
    """Why a tree is red each time that it is verified, None if it is green once.

    A failure that does not count if `step.cancel` has ended the command.
    """
    failure = verify(step)
    for retry in range(1, retries + 1):
        if failure is None or not failure.counted:
            break
        again = replace(step, number=step.number + retry, repeated=True)
        repeated = verify(again)
        if repeated is None or not repeated.counted:
            failure = repeated
    return failure


def verified_tree(database: WritableDatabase, commit: str, progress: str) -> str:
    """What a verdict on the commit is about: its tree without the file `progress`."""
    return database.write_tree(commit, {progress: None})


def failure_of(
    task_id: str, red: Mapping[tuple[str, ...], Failure], *, head_is_red: bool
) -> Failure:
    """The failure of a culprit: that of the shortest red tree that ends with it, whose
    log shows its fault best.

    `red` maps the ids of the tasks in a tree to its failure. `head_is_red`: the branch
    alone is red too.
    """
    # bisection may have seen the culprit red only as the rest of a set
    failure = next(iter(red.values()))
    ending = [ids for ids in red if ids[-1] == task_id]
    if ending:
        failure = red[min(ending, key=len)]
    if not head_is_red:
        return failure
    message = (
        f"{failure.message} "
        "(the branch is red without this work too: fix the branch or the command)"
    )
    return failure.model_copy(update={"kind": FailureKind.BASE_RED, "message": message})


def never_verified() -> EnvironmentBroken:
    """What to raise instead of landing a tree that no run has seen green."""
    return EnvironmentBroken(
        "the tree that would land was never verified", "please report this as a bug"
    )
