"""Builds the manifest of a batch from its tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runner.config.settings import Settings
from runner.core.errors import InvalidInput, Problem
from runner.core.manifest import BatchEntry, DependencyResult, Manifest
from runner.core.task import AgentSettings, Plan, PlanSettings, Task
from runner.plan.context import read_context
from runner.plan.progress import Progress
from runner.plan.task_rules import never_changed

if TYPE_CHECKING:
    from runner.plan.formats import Tree

AgentOf = Callable[[Task], AgentSettings]

NO_AGENT_REMEDY = "set one in fanin.yml, e.g.  agent: claude ; see  fanin agents"


def build_manifest(
    chosen: Sequence[Task],
    *,
    run: str,
    round_number: int,
    base: str,
    branch: str,
    plan: Plan,
    progress: Progress,
    settings: Settings,
    retry: Sequence[str] = (),
    approve: Sequence[str] = (),
    template: str | None = None,
    share: float | None = None,
    tree: Tree | None = None,
    run_attempt: int = 1,
    agent_of: AgentOf | None = None,
    include: Sequence[str] = (),
) -> Manifest:
    """The manifest of a batch: every task's text, agent, limits, attempt and last error.

    `base` is the commit that the attempts start from, `retry` the ids that were granted
    another attempt, `approve` those that a person approves, `template` the text of the
    prompt template, `share` what each attempt may cost in US dollars. `tree` has the
    files of `base`; without it, prompts do not quote them. `agent_of` chooses among a
    task's agents; else the first runs. `include` are the patterns of the
    `.worktreeinclude` of `base`.

    Raises InvalidInput if a task has no agent.
    """
    entries = tuple(
        build_entry(index, task, plan, progress, settings, share, tree, agent_of)
        for index, task in enumerate(chosen)
    )
    return Manifest(
        run=run,
        round=round_number,
        run_attempt=run_attempt,
        base=base,
        plan=_plan_of_batch(settings.plan, plan),
        progress=settings.progress,
        branch=branch,
        commit_strategy=settings.commit_strategy,
        protected=settings.protected,
        never=never_changed(plan, settings.task_rules),
        tasks=settings.tasks,
        limits=settings.limits,
        scope=settings.scope,
        verify=settings.verify,
        verify_retries=settings.verify_retries,
        verify_timeout=settings.timeout,
        max_attempts=settings.max_attempts,
        retry=tuple(retry),
        approve=tuple(approve),
        prompt_template=template,
        env=settings.env,
        include=(*settings.include, *include),
        setup=settings.setup,
        setup_env=settings.setup_env,
        setup_timeout=settings.setup_timeout,
        entries=entries,
    )


def _plan_of_batch(choice: PlanSettings, plan: Plan) -> PlanSettings:
    """The plan with its format, so that it is not detected again; several have several."""
    if plan.parts:
        return choice
    return choice.model_copy(update={"path": plan.path, "source": plan.source})


def agents_of(task: Task, plan: Plan, settings: Settings) -> tuple[AgentSettings, ...]:
    """The agents that may run the task, in the order to try them.

    Raises InvalidInput if neither the task nor the settings name one.
    """
    agent = task.agent or settings.agent
    if agent is not None:
        return agent.each
    path = task.path or plan.path
    raise InvalidInput(
        [Problem(path, task.line, f"{task.id} has no agent", NO_AGENT_REMEDY)]
    )


def build_entry(
    index: int,
    task: Task,
    plan: Plan,
    progress: Progress,
    settings: Settings,
    share: float | None = None,
    tree: Tree | None = None,
    agent_of: AgentOf | None = None,
) -> BatchEntry:
    """The task's entry for its next attempt; `share` is what it may cost in US dollars.

    `tree` has the files of the commit that the attempt starts from.

    Raises InvalidInput if the task has no agent.
    """
    record = progress.record(task)
    if agent_of is None:
        agent = agents_of(task, plan, settings)[0]
    else:
        agent = agent_of(task)
    retry_from = task.retry_from or settings.retry_from
    return BatchEntry(
        index=index,
        task=task,
        task_digest=task.digest,
        attempt=record.attempts + 1,
        agent=agent,
        timeout=task.timeout or settings.timeout,
        verify=task.verify,
        previous=record.error,
        brought=_brought(task, plan, progress),
        context=read_context(task.context, tree),
        reserved_usd=share,
        message=record.message,
        questions=record.questions,
        start=progress.work_to_start_from(task) if retry_from == "work" else None,
        retry_from=retry_from,
    )


def _brought(
    task: Task, plan: Plan, progress: Progress
) -> tuple[DependencyResult, ...]:
    """The changes of the task's dependencies, from the progress.

    A leg of the matrix has a shallow checkout, without the history that shows it.
    """
    brought = []
    for task_id in task.waits_for:
        dependency = plan.task(task_id)
        if dependency is None:
            continue
        record = progress.record(dependency)
        brought.append(
            DependencyResult(
                id=task_id,
                title=dependency.title,
                summary=record.summary,
                changed=record.changed,
            )
        )
    return tuple(brought)
