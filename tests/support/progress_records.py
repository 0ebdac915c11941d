"""Results and failures that progress records."""

from __future__ import annotations

from typing import Any

from runner.core.result import Failure, FailureKind, Result
from runner.core.task import Status
from tests.support.builders import result

FAILED, DONE, PENDING = Status.FAILED, Status.COMPLETED, Status.PENDING


ERROR = Failure(
    kind=FailureKind.AGENT_ERROR, message="it broke", log_tail="end of the log"
)


def result_of_attempt(attempt: int = 1, **fields: Any) -> Result:
    return result(attempt=attempt, **fields)
