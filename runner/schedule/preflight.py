"""Chooses the next batch: which ready tasks run now, and freezes them in a batch
manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from runner.config.settings import Settings
from runner.core.errors import InvalidInput, Problem, UsageProblem
from runner.core.task import AgentSettings, Plan, Standing
from runner.plan.progress import Progress
from runner.policy import globs, rules
from runner.schedule.manifest import agent_of, untouchable


def refuse_impossible(
    plan: Plan,
    progress: Progress,
    settings: Settings,
    agent_for: Callable[[AgentSettings], object],
    *,
    may_change_workflows: bool = True,
) -> None:
    """InvalidInput, before anything is paid, for every open task that no agent could
    run or that could not land.

    `agent_for` gives the agent that settings choose, or raises UsageProblem. On Actions
    a push that changes `.github/workflows/**` is refused unless it is made with a token
    that may.
    """
    problems: list[Problem] = []
    for task in plan.tasks:
        if progress.standing(task, settings.max_attempts) is not Standing.OPEN:
            continue
        try:
            agent_for(agent_of(task, plan, settings))
        except InvalidInput as error:
            problems += error.problems
        except UsageProblem as error:
            problems.append(
                Problem(
                    task.path or plan.path,
                    task.line,
                    f"{task.id}: {error.message}",
                    error.advice,
                )
            )
        if not may_change_workflows and globs.could_overlap(
            task.allow, (".github/workflows/**",)
        ):
            what = f"{task.id} is allowed to change .github/workflows, which the job's own token may not push"
            problems.append(
                Problem(
                    task.path or plan.path,
                    task.line,
                    what,
                    "give the secret fanin-token a token that may",
                )
            )
        if rules.only_protected(task, settings.protected, untouchable(plan, settings)):
            problems.append(
                Problem(
                    task.path or plan.path,
                    task.line,
                    f"{task.id} may change protected paths only: {', '.join(task.files or ())}",
                    "add them to the task's allow:, or take them out of protected: (never the plan and fanin's own)",
                )
            )
    if problems:
        raise InvalidInput(problems)


def may_be_refused(
    plan: Plan, progress: Progress, settings: Settings, tracked: Sequence[str]
) -> list[str]:
    """One sentence for every open task whose `files` match protected files that exist."""
    never, told = untouchable(plan, settings), []
    suspects = [
        path for path in tracked if globs.matches((*settings.protected, *never), path)
    ]
    for task in plan.tasks:
        if progress.standing(task, settings.max_attempts) is not Standing.OPEN:
            continue
        if met := rules.may_meet(task, suspects, settings.protected, never):
            more = f" and {len(met) - 3} more" if len(met) > 3 else ""
            told.append(
                f"{task.id} would be refused for changing {', '.join(met[:3])}{more}, which its files match"
            )
    return told


def lacking(
    plan: Plan,
    progress: Progress,
    settings: Settings,
    lacks: Callable[[AgentSettings], Sequence[tuple[str, str]]],
) -> list[Problem]:
    """What is missing on this machine to run the open tasks' agents, each thing once,
    at its first task.

    `lacks` says it of one agent, each thing with its remedy.
    """
    problems: dict[str, Problem] = {}
    for task in plan.tasks:
        if progress.standing(task, settings.max_attempts) is Standing.OPEN:
            for what, remedy in lacks(agent_of(task, plan, settings)):
                problems.setdefault(
                    what, Problem(task.path or plan.path, task.line, what, remedy)
                )
    return list(problems.values())


def cost_limit_problems(
    plan: Plan,
    progress: Progress,
    settings: Settings,
    costs: Callable[[AgentSettings], str],
) -> tuple[list[Problem], list[str]]:
    """Whether `limits.max_cost_usd` can be kept: problems where it cannot be at all,
    and what to say aloud where it is kept by what agents report afterwards. `costs` is
    the agent's `Costs`.
    """
    problems, notes = dict[str, Problem](), dict[str, str]()
    if settings.limits.max_cost_usd is None:
        return [], []
    for task in plan.tasks:
        if progress.standing(task, settings.max_attempts) is not Standing.OPEN:
            continue
        agent = agent_of(task, plan, settings)
        kind = costs(agent)
        if kind == "unknown":
            what = f"limits.max_cost_usd cannot be kept: {agent.name} never says what it cost"
            problems.setdefault(
                agent.name,
                Problem(
                    task.path or plan.path,
                    task.line,
                    what,
                    "remove the limit, or use an agent that reports costs",
                ),
            )
        elif kind != "capped":
            when = (
                "reports its cost only afterwards"
                if kind == "reported"
                else "may not report its cost"
            )
            notes.setdefault(
                agent.name,
                f"{agent.name} {when}: limits.max_cost_usd is kept by not starting more, and an attempt of unknown "
                "cost counts as its whole share",
            )
    return list(problems.values()), list(notes.values())
