"""Builds the batch manifest from the selected tasks."""

from __future__ import annotations

from collections.abc import Sequence

from runner.config.settings import FILE, Settings
from runner.core.errors import InvalidInput, Problem
from runner.core.manifest import BatchEntry, Brought, Manifest
from runner.core.task import AgentSettings, Plan, Task
from runner.plan.progress import Progress
from runner.policy import globs


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
    template: str | None = None,
    share: float | None = None,
) -> Manifest:
    """The manifest of a batch: each task's text, agent, bounds, attempt and previous
    failure as of now.

    `template` is the text of the prompt template; `share` what each attempt may cost.
    """
    entries = tuple(
        build_entry(index, task, plan, progress, settings, share)
        for index, task in enumerate(chosen)
    )
    return Manifest(
        run=run,
        round=round_number,
        base=base,
        plan=settings.plan.model_copy(
            update={"path": plan.path, "source": plan.source}
        ),
        progress=settings.progress,
        branch=branch,
        commit_strategy=settings.commit_strategy,
        protected=settings.protected,
        never=untouchable(plan, settings),
        limits=settings.limits,
        scope=settings.scope,
        verify=settings.verify,
        verify_retries=settings.verify_retries,
        verify_timeout=settings.timeout,
        max_attempts=settings.max_attempts,
        retry=tuple(retry),
        prompt_template=template,
        env=settings.env,
        entries=entries,
    )


def untouchable(plan: Plan, settings: Settings) -> tuple[str, ...]:
    """Globs no task may change whatever it is allowed: the plan (a whole folder, if it
    is one), the settings, the prompt template, the progress.
    """
    own = [
        plan.path,
        settings.progress,
        FILE,
        *([settings.prompt_template] if settings.prompt_template else []),
    ]
    return (*(globs.literal(path) for path in own), "/.fanin/**")


def agent_of(task: Task, plan: Plan, settings: Settings) -> AgentSettings:
    """The agent that runs the task. InvalidInput when neither the task nor the settings
    name one.
    """
    agent = task.agent or settings.agent
    if agent is None:
        raise InvalidInput(
            [
                Problem(
                    task.path or plan.path,
                    task.line,
                    f"{task.id} has no agent",
                    'set one in fanin.yml, e.g.  agent: {command: ["python3", "agent.py"]}',
                )
            ]
        )
    return agent


def build_entry(
    index: int,
    task: Task,
    plan: Plan,
    progress: Progress,
    settings: Settings,
    share: float | None = None,
) -> BatchEntry:
    """The task frozen for its next attempt."""
    record = progress.record(task)
    return BatchEntry(
        index=index,
        task=task,
        task_digest=task.digest,
        attempt=record.attempts + 1,
        agent=agent_of(task, plan, settings),
        timeout=task.timeout or settings.timeout,
        verify=task.verify,
        previous=record.error,
        brought=_brought(task, plan, progress),
        reserved_usd=share,
    )


def _brought(task: Task, plan: Plan, progress: Progress) -> tuple[Brought, ...]:
    """What the task's dependencies brought, as the progress has it: a matrix leg's
    checkout has no history to ask.
    """
    found = []
    for task_id in task.depends_on:
        if dependency := plan.task(task_id):
            record = progress.record(dependency)
            found.append(
                Brought(
                    id=task_id,
                    title=dependency.title,
                    summary=record.summary,
                    changed=record.changed,
                )
            )
    return tuple(found)
