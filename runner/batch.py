"""Chooses the next batch: which ready tasks run now, and freezes them in a batch manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from runner import patterns, policy
from runner.config import FILE, Settings
from runner.errors import InvalidInput, Problem, UsageProblem
from runner.models import AgentSettings, BatchEntry, Manifest, Plan, Standing, Task
from runner.progress import Progress

_PAIRS = 100_000  # overlapping pairs that `clashing` asks the graph about


def overlap(one: Task, other: Task) -> bool:
    """Whether the two tasks' `files` could name one path. Absent `files` overlap with nothing (DESIGN, Words)."""
    if one.files is None or other.files is None:
        return False
    return patterns.could_overlap(one.files, other.files)


def choose(ready: Sequence[Task], slots: int, heights: Mapping[str, float], running: Sequence[Task] = ()) -> list[Task]:
    """At most `slots` of the ready tasks, no two that overlap each other or a running one; in plan order.

    Taken first: higher priority, then the longer way to the end of the plan, then the plan's own order.
    """
    place = {task.id: index for index, task in enumerate(ready)}
    chosen = take(sorted(ready, key=lambda t: (*rank(t, heights), place[t.id])), slots, running)
    return sorted(chosen, key=lambda t: place[t.id])


def rank(task: Task, heights: Mapping[str, float]) -> tuple[float, float]:
    """What is taken first has the smaller one: higher priority, then the longer way to the end of the plan."""
    return -task.priority, -heights[task.id]


def take(best_first: Iterable[Task], slots: int, running: Sequence[Task] = ()) -> list[Task]:
    """The first `slots` of the tasks that overlap neither each other nor a running one. Looks no further than that."""
    chosen: list[Task] = []
    for task in best_first if slots > 0 else ():
        if not any(overlap(task, other) for other in (*chosen, *running)):
            chosen.append(task)
            if len(chosen) >= slots:
                break
    return chosen


def freeze(
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
) -> Manifest:
    """The manifest of a batch: each task's text, agent, bounds, attempt and previous failure as of now."""
    entries = tuple(_entry(index, task, plan, progress, settings) for index, task in enumerate(chosen))
    return Manifest(
        run=run,
        round=round_number,
        base=base,
        plan=plan.path,
        progress=settings.progress,
        branch=branch,
        commit_strategy=settings.commit_strategy,
        protected=settings.protected,
        never=untouchable(plan, settings),
        limits=settings.limits,
        verify=settings.verify,
        verify_retries=settings.verify_retries,
        verify_timeout=settings.timeout,
        max_attempts=settings.max_attempts,
        retry=tuple(retry),
        entries=entries,
    )


def untouchable(plan: Plan, settings: Settings) -> tuple[str, ...]:
    """Globs no task may change whatever it is allowed: the plan, the settings and the progress."""
    return (patterns.literal(plan.path), patterns.literal(settings.progress), patterns.literal(FILE), "/.fanin/**")


def agent_of(task: Task, plan: Plan, settings: Settings) -> AgentSettings:
    """The agent that runs the task. InvalidInput when neither the task nor the settings name one."""
    agent = task.agent or settings.agent
    if agent is None:
        raise InvalidInput(
            [
                Problem(
                    plan.path,
                    task.line,
                    f"{task.id} has no agent",
                    'set one in fanin.yml, e.g.  agent: {command: ["python3", "agent.py"]}',
                )
            ]
        )
    return agent


def refuse_hopeless(
    plan: Plan,
    progress: Progress,
    settings: Settings,
    agent_for: Callable[[AgentSettings], object],
    *,
    may_change_workflows: bool = True,
) -> None:
    """InvalidInput, before anything is paid, for every open task that no agent could run or that could not land.

    `agent_for` gives the agent that settings choose, or raises UsageProblem. On Actions a push that changes
    `.github/workflows/**` is refused unless it is made with a token that may.
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
            problems.append(Problem(plan.path, task.line, f"{task.id}: {error.message}", error.advice))
        if not may_change_workflows and patterns.could_overlap(task.allow, (".github/workflows/**",)):
            what = f"{task.id} is allowed to change .github/workflows, which the job's own token may not push"
            problems.append(Problem(plan.path, task.line, what, "give the secret fanin-token a token that may"))
        if policy.only_protected(task, settings.protected, untouchable(plan, settings)):
            problems.append(
                Problem(
                    plan.path,
                    task.line,
                    f"{task.id} may change protected paths only: {', '.join(task.files or ())}",
                    "add them to the task's allow: if that is meant (the plan, fanin.yml and .fanin never)",
                )
            )
    if problems:
        raise InvalidInput(problems)


def refuse_missing_programs(plan: Plan, progress: Progress, settings: Settings, found: Callable[[str], object]) -> None:
    """InvalidInput if an agent's program is not on this machine, before an attempt is spent on it.

    `found` looks a name up on PATH. A relative path is the repository's own and is left to the checkout.
    """
    problems: dict[str, Problem] = {}
    for task in plan.tasks:
        if progress.standing(task, settings.max_attempts) is Standing.OPEN:
            command = agent_of(task, plan, settings).command
            program = command[0] if command else ""
            if program and ("/" not in program or program.startswith("/")) and not found(program):
                what = f"the agent's program {program!r} is not on this machine"
                problems.setdefault(program, Problem(plan.path, task.line, what, "install it, or mend agent.command"))
    if problems:
        raise InvalidInput(problems.values())


def clashing(plan: Plan, related: Callable[[str, str], bool], most: int = 20) -> list[tuple[str, str]]:
    """Up to `most` pairs of tasks that the graph would let run side by side and that `files` keep apart.

    It is a hint: in a plan where thousands of tasks wait for each other and share their files, the search ends early.
    """
    found: list[tuple[str, str]] = []
    with_files = [task for task in plan.tasks if task.files]
    index = patterns.Index()
    for task in with_files:
        index.add(task.files or ())
    looked = 0
    for place, one in enumerate(with_files):
        for other in index.overlapping(one.files or ()):
            if len(found) >= most or looked > _PAIRS:
                return found
            looked += 1
            if other > place and not related(one.id, with_files[other].id):
                found.append((one.id, with_files[other].id))
    return found


def _entry(index: int, task: Task, plan: Plan, progress: Progress, settings: Settings) -> BatchEntry:
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
    )
