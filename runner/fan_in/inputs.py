"""Inputs of a fan-in: a batch's results, and the way to verify its merged tree."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runner.core.manifest import Manifest
from runner.core.result import Failure, Verdict
from runner.core.result_folder import NO_CHECKS, Checks
from runner.policy.redaction import NONE, Secrets

if TYPE_CHECKING:
    from runner.fan_in.outcome import FanIn
    from runner.plan.records import RunRecord


@dataclass(frozen=True)
class VerifyStep:
    """A merged tree to verify, as `commit`; its new objects are in the folder `objects`.

    `tree` is the commit's without the progress file, which no verdict depends on.
    `tasks` are the ids of those whose work is in it. `number` counts the steps of one
    merge, from 1. `bisecting`: the whole was red, and this step helps to find the
    culprit. `repeated`: the same tree was red before. Setting `cancel` ends the command,
    as nobody needs to know any more; then its failure is one that does not count.
    """

    commit: str
    objects: Path
    tree: str
    tasks: tuple[str, ...] = ()
    number: int = 1
    bisecting: bool = False
    repeated: bool = False
    cancel: threading.Event = field(
        default_factory=threading.Event, compare=False, repr=False
    )


# a merged tree → why it is red, None if it is green
VerifyCommit = Callable[[VerifyStep], Failure | None]


def _is_nothing_in_base(_task_id: str) -> bool:
    return False


@dataclass(frozen=True)
class BatchResults:
    """A batch and the folder that its result folders are in.

    `missing` is the failure of a task whose attempt left no folder; with None such an
    attempt counts as never started. `secrets` must not appear in what the agents left.
    `refused` are the indexes of entries whose results job `merge` refused for a secret
    that is not in `secrets`.
    `checks` are further ones on the results.
    `record_run` makes the run's record in the progress file from the fan-in, before its
    commits are made; with None the record stays as it is. `pushes_kept`: work that the
    next attempts start from is pushed, so that no workflow may be in it.
    `defers_failures`: if nothing lands, there is no commit, and the caller keeps the
    fan-in's `failed_attempts` until another one records them. `defers_progress`: the
    commits lack the progress file, and the caller writes it before the work lands.
    `is_in_base` says of a task that the batch's base has its work, where the progress
    file there may not. `outdated` says why no result counts although
    the head's progress lets it.
    `notices` are sentences for the commit's message.
    """

    manifest: Manifest
    folder: Path
    missing: Failure | None = None
    secrets: Secrets = NONE
    refused: frozenset[int] = frozenset()
    record_run: Callable[[FanIn], RunRecord] | None = None
    checks: Checks = NO_CHECKS
    pushes_kept: bool = False
    defers_failures: bool = False
    defers_progress: bool = False
    is_in_base: Callable[[str], bool] = _is_nothing_in_base
    outdated: str | None = None
    notices: tuple[str, ...] = ()


class RunVerify(NamedTuple):
    """Verify the merged tree during the fan-in, and find the tasks that make it red, by
    at most `at_once` trees that are verified at once.
    """

    verify: VerifyCommit
    at_once: int = 1


class RecordedVerdict(NamedTuple):
    """A verdict from another job. It holds for one merged tree only (`verdict_binding`)."""

    verdict: Verdict


class SendBack(NamedTuple):
    """Send these tasks back without a verification: task id → its failure."""

    failures: Mapping[str, Failure]


Verification = RunVerify | RecordedVerdict | SendBack
