"""Every error a user can meet, with its exit code and what to do about it.

Read top to bottom this is the exit-code table: 0 done, 1 a task failed or is blocked (a
value, never an exception), 2 the plan, the settings or the call is wrong, 3 the
environment or fanin broke, 130 interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

EXIT_DONE = 0
EXIT_TASKS_FAILED = 1


class Problem(NamedTuple):
    """One located mistake in what the user gave: `file:line: what, and what to do`."""

    path: str
    line: int | None
    what: str
    remedy: str

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return (
            f"{place}: {self.what}; {self.remedy}"
            if self.remedy
            else f"{place}: {self.what}"
        )


class FaninError(Exception):
    """Base of all that `cli` turns into one sentence and an exit code."""

    exit_code = 3

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}\n{self.advice}" if self.advice else self.message


class UsageProblem(FaninError):
    """The call is wrong or comes at the wrong moment. Nothing was started; the advice
    says what to type.
    """

    exit_code = 2


class InvalidInput(UsageProblem):
    """The plan or the settings are wrong. Holds every problem found, so that all can be
    mended at once.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(
            sorted(set(problems), key=lambda p: (p.path, p.line or 0, p.what))
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


class EnvironmentBroken(FaninError):
    """Git, the network, the disk or the machine did not do its part. What had landed is
    safe; run again.
    """


class VerdictOutdated(EnvironmentBroken):
    """What was verified is not what would land now: the branch moved meanwhile. It has
    to be verified again.
    """


class GitFailed(EnvironmentBroken):
    """A git command that must succeed did not; carries its argv, exit status and words."""

    def __init__(self, argv: Iterable[str], status: int, stderr: str) -> None:
        self.argv = tuple(argv)
        self.status = status
        self.stderr = stderr.strip()
        super().__init__(
            f"git {' '.join(self.argv)} failed with status {status}: {self.stderr or '(no message)'}"
        )


class Interrupted(FaninError):
    """A person ended the run. What had landed stays, what had finished is kept for the
    next run.
    """

    exit_code = 130
