"""Tells whether the results of a run are still those that its attempts wrote.

Their files are where every agent of the run can write, until they are merged.
"""

from __future__ import annotations

from runner.core import result_folder
from runner.core.manifest import BatchEntry
from runner.core.result import Result
from runner.core.result_folder import Checks


class ResultSeals:
    """The seals of the results that this process has written. Used by several threads."""

    def __init__(self) -> None:
        self._seals: dict[tuple[str, str], str] = {}

    def add(self, batch: str, entry: BatchEntry, result: Result) -> None:
        """Remember the result that an attempt of the batch has just written."""
        self._seals[batch, entry.folder] = result_folder.seal_of_result(result)

    def checks(self, batch: str) -> Checks:
        """What a reader of the batch's results asks of them. A result that an earlier
        process wrote has no seal and is taken as it is.
        """

        def refuse(entry: BatchEntry, seal: str) -> str | None:
            if self._seals.get((batch, entry.folder), seal) == seal:
                return None
            return (
                "another program has changed the result since the attempt wrote it; "
                "the agents that ran then could do that"
            )

        return Checks(
            refuse_seal=refuse,
            was_written=lambda entry: (batch, entry.folder) in self._seals,
            # Whatever else ends an attempt, fanin writes its result.
            lost="fanin was killed while the attempt ran",
            logs_tell_starts=True,
        )
