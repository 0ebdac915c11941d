"""Reports the error that ends a job of GitHub Actions, as annotation and summary."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, ParamSpec

from runner.core.errors import FaninError, InvalidInput, Problem, UsageProblem

if TYPE_CHECKING:
    from runner.actions.workflow_io import Annotation

P = ParamSpec("P")


def reports_errors(job: Callable[P, int]) -> Callable[P, int]:
    """Decorate a job so that the error that ends it is also reported to GitHub.

    Outside of GitHub Actions nothing is reported.
    """

    @functools.wraps(job)
    def run_and_report(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return job(*args, **kwargs)
        except FaninError as error:
            if os.environ.get("GITHUB_RUN_ID"):
                _report(error)
            raise

    return run_and_report


def _report(error: FaninError) -> None:
    from runner.actions.workflow_io import JobIO
    from runner.ui import job_summary

    job_io = JobIO(os.environ, sys.stdout)
    if isinstance(error, InvalidInput):
        job_io.annotate_all([_annotation(problem) for problem in error.problems])
    else:
        job_io.annotate("error", str(error), title="fanin")
    # Other errors follow a summary of what the job did.
    if isinstance(error, UsageProblem):
        job_io.summary(job_summary.error_summary(error))


def _annotation(problem: Problem) -> Annotation:
    from pathlib import Path

    from runner.actions.workflow_io import Annotation

    sentence = problem.what
    if problem.remedy:
        sentence += f"; {problem.remedy}"
    # A problem may be in a variable or an input instead of a file.
    if Path(problem.path).exists():
        return Annotation("error", sentence, file=problem.path, line=problem.line)
    return Annotation("error", f"{problem.path}: {sentence}", title="fanin")
