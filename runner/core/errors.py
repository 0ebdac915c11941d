"""The errors that users can see, and their exit codes.

0: done. 1: a task failed or is blocked, which is never an exception. 2: the plan, the
settings or the command line is wrong. 3: the environment or fanin failed. 4: what is left
waits for a usage limit of an agent, or for a person's approval or decision. 130:
interrupted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

EXIT_DONE = 0
EXIT_TASKS_FAILED = 1
EXIT_WAITING = 4
EXIT_INTERRUPTED = 130


class Problem(NamedTuple):
    """One mistake in the user's input, printed as `path:line: what; remedy`."""

    path: str
    line: int | None
    what: str
    remedy: str

    def __str__(self) -> str:
        text = self.path
        if self.line is not None:
            text += f":{self.line}"
        text += f": {self.what}"
        if self.remedy:
            text += f"; {self.remedy}"
        return text


class FaninError(Exception):
    """Base of the errors that `cli` prints without a traceback."""

    exit_code = 3

    def __init__(self, message: str, advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice

    def __str__(self) -> str:
        return f"{self.message}\n{self.advice}" if self.advice else self.message


class UsageProblem(FaninError):
    """The call is wrong, or cannot be served now. Nothing was started.

    `heading` is that of a job's summary.
    """

    exit_code = 2
    heading = "nothing was started"


class InvalidInput(UsageProblem):
    """The plan or the settings are wrong. Holds every problem, so that all can be fixed
    at once.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(
            sorted(set(problems), key=lambda p: (p.path, p.line or 0, p.what))
        )
        super().__init__("\n".join(str(problem) for problem in self.problems))


class EnvironmentBroken(FaninError):
    """Git, the network, the disk or the machine failed. What has landed is safe."""


class NotStarted(EnvironmentBroken):
    """A program, or the walls around it, cannot be started on this machine."""


class WorkNotWritten(EnvironmentBroken):
    """The result of an attempt cannot be written. Its work is in its checkout."""


class VerdictOutdated(EnvironmentBroken):
    """The tree that would land is not the verified one: verify again.

    The branch moved, or results were refused for a secret, which job `verify` has not:
    `refused` are the indexes of their entries in the manifest.
    """

    def __init__(self, message: str, refused: Iterable[int] = ()) -> None:
        super().__init__(message, "verify the batch again on the new head")
        self.refused = tuple(refused)


class GitFailed(EnvironmentBroken):
    """A git command failed that must succeed. Holds its argv, exit status and stderr."""

    def __init__(self, argv: Iterable[str], status: int, stderr: str) -> None:
        self.argv = tuple(argv)
        self.status = status
        self.stderr = stderr.strip()
        end = f"failed with status {status}"
        if status < 0:
            end = f"was ended by signal {-status}"
        message = self.stderr or "(no message)"
        super().__init__(f"git {' '.join(self.argv)} {end}: {message}")


class GitStopped(GitFailed):
    """Fanin ended a git command: it took or printed too much, or the run ends."""


class DecisionNeeded(FaninError):
    """The run stopped because a person must decide how it goes on. Its work is kept."""

    exit_code = EXIT_WAITING


class Interrupted(FaninError):
    """The user stopped the run. The next run continues with what has finished."""

    exit_code = EXIT_INTERRUPTED
