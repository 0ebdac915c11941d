"""A batch that is merged on a head: which of its results are refused, which are sent
back, and the tree that the others make.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from runner.core.result import Failure
from runner.fan_in.admission import Admission
from runner.fan_in.batch_merge import BatchMerge, Judgement
from runner.fan_in.context import BatchContext
from runner.fan_in.inputs import BatchResults, Verification
from runner.plan.snapshot import Snapshot
from runner.repo.quarantine import Quarantine
from runner.repo.repository import Repository


class JudgedBatch(NamedTuple):
    """A batch, its admitted results, and the failures of those that were `refused`; the
    `judgement` is about the admitted ones.
    """

    batch: BatchContext
    admission: Admission
    refused: Mapping[str, Failure]
    judgement: Judgement

    @property
    def failed(self) -> dict[str, Failure]:
        """The failures of all results that do not land, by task id."""
        return {**self.refused, **self.judgement.failed}


def judge_batch(
    repo: Repository,
    quarantine: Quarantine,
    results: BatchResults,
    snapshot: Snapshot,
    verification: Verification | None,
) -> JudgedBatch:
    """Merge the batch's results on the head `snapshot`, in the quarantine.

    VerdictOutdated if a recorded verdict is about another tree.
    """
    batch = BatchContext(repo, quarantine, results, snapshot)
    admission = Admission(batch)
    candidates, refused = admission.admit()
    judgement = BatchMerge(batch, admission).judge(candidates, verification)
    return JudgedBatch(batch, admission, refused, judgement)
