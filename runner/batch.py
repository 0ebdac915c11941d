"""Chooses the next batch: which ready tasks run now, and freezes them in a batch manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from runner import patterns, policy
from runner.config import FILE, Settings
from runner.errors import InvalidInput, Problem, UsageProblem
from runner.models import AgentSettings, BatchEntry, Brought, Manifest, Plan, Standing, Task
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
    template: str | None = None,
    share: float | None = None,
) -> Manifest:
    """The manifest of a batch: each task's text, agent, bounds, attempt and previous failure as of now.

    `template` is the text of the prompt template; `share` what each attempt may cost.
    """
    entries = tuple(entry(index, task, plan, progress, settings, share) for index, task in enumerate(chosen))
    return Manifest(
        run=run,
        round=round_number,
        base=base,
        plan=settings.plan.model_copy(update={"path": plan.path, "source": plan.source}),
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
    """Globs no task may change whatever it is allowed: the plan (a whole folder, if it is one), the settings, the
    prompt template, the progress.
    """
    own = [plan.path, settings.progress, FILE, *([settings.prompt_template] if settings.prompt_template else [])]
    return (*(patterns.literal(path) for path in own), "/.fanin/**")


def agent_of(task: Task, plan: Plan, settings: Settings) -> AgentSettings:
    """The agent that runs the task. InvalidInput when neither the task nor the settings name one."""
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
            problems.append(Problem(task.path or plan.path, task.line, f"{task.id}: {error.message}", error.advice))
        if not may_change_workflows and patterns.could_overlap(task.allow, (".github/workflows/**",)):
            what = f"{task.id} is allowed to change .github/workflows, which the job's own token may not push"
            problems.append(
                Problem(task.path or plan.path, task.line, what, "give the secret fanin-token a token that may")
            )
        if policy.only_protected(task, settings.protected, untouchable(plan, settings)):
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


def may_be_refused(plan: Plan, progress: Progress, settings: Settings, tracked: Sequence[str]) -> list[str]:
    """One sentence for every open task whose `files` match protected files that exist."""
    never, told = untouchable(plan, settings), []
    suspects = [path for path in tracked if patterns.matches((*settings.protected, *never), path)]
    for task in plan.tasks:
        if progress.standing(task, settings.max_attempts) is not Standing.OPEN:
            continue
        if met := policy.may_meet(task, suspects, settings.protected, never):
            more = f" and {len(met) - 3} more" if len(met) > 3 else ""
            told.append(f"{task.id} would be refused for changing {', '.join(met[:3])}{more}, which its files match")
    return told


def lacking(
    plan: Plan, progress: Progress, settings: Settings, lacks: Callable[[AgentSettings], Sequence[tuple[str, str]]]
) -> list[Problem]:
    """What is missing on this machine to run the open tasks' agents, each thing once, at its first task.

    `lacks` says it of one agent, each thing with its remedy.
    """
    problems: dict[str, Problem] = {}
    for task in plan.tasks:
        if progress.standing(task, settings.max_attempts) is Standing.OPEN:
            for what, remedy in lacks(agent_of(task, plan, settings)):
                problems.setdefault(what, Problem(task.path or plan.path, task.line, what, remedy))
    return list(problems.values())


def uncapped(
    plan: Plan, progress: Progress, settings: Settings, costs: Callable[[AgentSettings], str]
) -> tuple[list[Problem], list[str]]:
    """Whether `limits.max_cost_usd` can be kept: problems where it cannot be at all, and what to say aloud where it
    is kept by what agents report afterwards. `costs` is the agent's `Costs`.
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
                    task.path or plan.path, task.line, what, "remove the limit, or use an agent that reports costs"
                ),
            )
        elif kind != "capped":
            when = "reports its cost only afterwards" if kind == "reported" else "may not report its cost"
            notes.setdefault(
                agent.name,
                f"{agent.name} {when}: limits.max_cost_usd is kept by not starting more, and an attempt of unknown "
                "cost counts as its whole share",
            )
    return list(problems.values()), list(notes.values())


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


def entry(
    index: int, task: Task, plan: Plan, progress: Progress, settings: Settings, share: float | None = None
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
    """What the task's dependencies brought, as the progress has it: a matrix leg's checkout has no history to ask."""
    found = []
    for task_id in task.depends_on:
        if dependency := plan.task(task_id):
            record = progress.record(dependency)
            found.append(Brought(id=task_id, title=dependency.title, summary=record.summary, changed=record.changed))
    return tuple(found)
