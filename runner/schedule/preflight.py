"""The checks before anything is paid for, shared by `run`, `check` and `next`."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from runner import agents
from runner.agents import Costs
from runner.agents.environment import missing_requirements
from runner.config.settings import Settings
from runner.core.errors import InvalidInput, Problem, UsageProblem
from runner.core.task import AgentSettings, Plan, Standing, Task
from runner.plan.progress import Progress
from runner.policy import globs, rules
from runner.schedule.manifest import agent_of, untouchable

_WORKFLOWS = ".github/workflows/**"


@dataclass(frozen=True)
class PreflightReport:
    """What stands in the way of the open tasks; the caller decides what is an error.

    `problems`: tasks that can never run or land, and a cost limit that cannot be kept.
    `missing`: programs and keys that this machine does not have.
    `notes`: how the cost limit is kept where agents report their cost afterwards.
    """

    problems: tuple[Problem, ...]
    missing: tuple[Problem, ...]
    notes: tuple[str, ...]


def preflight(
    plan: Plan,
    progress: Progress,
    settings: Settings,
    *,
    environ: Mapping[str, str] | None,
    may_change_workflows: bool = True,
) -> PreflightReport:
    """Check every open task and its agent.

    `environ` is the environment that agents get their keys from and whose PATH they are
    looked up on; None if they run on other machines, which skips `missing`. On GitHub
    Actions a push that changes `.github/workflows/**` is rejected unless its token may
    do that: `may_change_workflows`.
    """

    def which(program: str) -> str | None:
        path = None if environ is None else environ.get("PATH")
        return shutil.which(program, path=path)

    problems: list[Problem] = []
    # Keyed by text or by agent, because one remedy serves all tasks.
    cost_problems: dict[str, Problem] = {}
    missing: dict[str, Problem] = {}
    notes: dict[str, str] = {}
    for task in _open_tasks(plan, progress, settings):
        problems += _landing_problems(task, plan, settings, may_change_workflows)
        try:
            chosen = agent_of(task, plan, settings)
            agent = agents.usable_agent(chosen, settings.env)
        except InvalidInput as error:
            problems += error.problems
            continue
        except UsageProblem as error:
            what = f"{task.id}: {error.message}"
            problems.append(_problem(task, plan, what, error.advice))
            continue
        if environ is not None:
            requirements = missing_requirements(agent, chosen, environ, which)
            for what, remedy in requirements:
                missing.setdefault(what, _problem(task, plan, what, remedy))
        if settings.limits.max_cost_usd is None:
            continue
        costs = agent.traits.costs
        if costs is Costs.UNKNOWN:
            what, remedy = _cost_limit_problem(chosen)
            problem = _problem(task, plan, what, remedy)
            cost_problems.setdefault(chosen.name, problem)
        elif costs is not Costs.CAPPED:
            notes.setdefault(chosen.name, _cost_limit_note(chosen, costs))
    return PreflightReport(
        problems=(*problems, *cost_problems.values()),
        missing=tuple(missing.values()),
        notes=tuple(notes.values()),
    )


def protected_path_notes(
    plan: Plan, progress: Progress, settings: Settings, tracked: Sequence[str]
) -> list[str]:
    """A sentence for every open task whose `files` match protected paths that exist.

    `tracked` are the paths of the repository.
    """
    never = untouchable(plan, settings)
    protected = (*settings.protected, *never)
    existing = [path for path in tracked if globs.matches(protected, path)]
    notes = []
    for task in _open_tasks(plan, progress, settings):
        matched = rules.may_meet(task, existing, settings.protected, never)
        if not matched:
            continue
        paths = ", ".join(matched[:3])
        if len(matched) > 3:
            paths += f" and {len(matched) - 3} more"
        notes.append(
            f"{task.id}: its files match protected paths, and a change to them is "
            f"refused: {paths}"
        )
    return notes


def _open_tasks(plan: Plan, progress: Progress, settings: Settings) -> Iterator[Task]:
    for task in plan.tasks:
        if progress.standing(task, settings.max_attempts) is Standing.OPEN:
            yield task


def _landing_problems(
    task: Task, plan: Plan, settings: Settings, may_change_workflows: bool
) -> list[Problem]:
    """Why no change that the task may make could land."""
    problems = []
    if not may_change_workflows and globs.could_overlap(task.allow, (_WORKFLOWS,)):
        what = (
            f"{task.id} may change .github/workflows, "
            "but the job's own token must not push such a change"
        )
        remedy = "set the secret fanin-token to a token that may"
        problems.append(_problem(task, plan, what, remedy))
    if rules.only_protected(task, settings.protected, untouchable(plan, settings)):
        files = ", ".join(task.files or ())
        what = f"{task.id} may change only protected paths: {files}"
        remedy = (
            "add them to the task's allow:, or remove them from protected: "
            "(the plan and fanin's own files are always protected)"
        )
        problems.append(_problem(task, plan, what, remedy))
    return problems


def _cost_limit_problem(chosen: AgentSettings) -> tuple[str, str]:
    what = f"limits.max_cost_usd cannot be kept: {chosen.name} never reports its cost"
    return what, "remove the limit, or use an agent that reports its cost"


def _cost_limit_note(chosen: AgentSettings, costs: Costs) -> str:
    when = "may not report its cost"
    if costs is Costs.REPORTED:
        when = "reports its cost only afterwards"
    return (
        f"{chosen.name} {when}: limits.max_cost_usd stops further attempts, "
        "and an attempt of unknown cost counts as its whole share"
    )


def _problem(task: Task, plan: Plan, what: str, remedy: str) -> Problem:
    return Problem(task.path or plan.path, task.line, what, remedy)
