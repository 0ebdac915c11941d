"""The checks before anything is paid for, shared by `run`, `check` and `next`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from runner import agents
from runner.agents import Agent, Costs, prompt
from runner.agents.environment import missing_requirements, script_of
from runner.config.settings import FILE, Place, Settings
from runner.core.documents import duration_text
from runner.core.errors import Problem, UsageProblem
from runner.core.fanin_commands import typed
from runner.core.message_text import one_line
from runner.core.patterns import lazy_pattern
from runner.core.plurals import some_of
from runner.core.task import AgentSettings, Plan, Task
from runner.core.validation import nearest
from runner.plan.progress import Progress
from runner.plan.task_rules import never_changed
from runner.policy import globs, rules
from runner.schedule.manifest import NO_AGENT_REMEDY
from runner.schedule.task_choice import EVERY_TASK, TaskChoice

MAX_NAMED_TASKS = 5  # a problem names no more of them
# What GitHub takes for a workflow, under a name that no pattern means by chance.
_NEW_WORKFLOWS = (".github/workflows/x.yml", ".github/workflows/x.yaml")
_WORKFLOW = lazy_pattern(r"\.github/workflows/[^/]+\.ya?ml", re.IGNORECASE)


class PreflightReport(NamedTuple):
    """Everything that would stop the open tasks; the caller decides what is an error.

    `problems`: tasks that can never run or land, and a cost limit that cannot be enforced.
    `missing`: programs and keys that this machine does not have.
    `notes`: how the cost limit is enforced if agents report their cost afterwards, tasks
    that were changed after they were completed, and agents that may seem to be idle.
    """

    problems: tuple[Problem, ...]
    missing: tuple[Problem, ...]
    notes: tuple[str, ...]


class _AgentUse(NamedTuple):
    """A task that will run, and an agent that it may get.

    `place`: where the settings name the agent, None if the plan does.
    """

    task: Task
    place: Place | None
    chosen: AgentSettings
    agent: Agent


class _Fault(NamedTuple):
    """Why a task has no usable agent.

    `of_one` and `of_several`: what is wrong, as it follows the ids of one or more tasks.
    `place` as in `_AgentUse`.
    """

    task: Task
    place: Place | None
    of_one: str
    of_several: str
    remedy: str


def preflight(
    plan: Plan,
    progress: Progress,
    settings: Settings,
    *,
    environ: Mapping[str, str] | None,
    may_change_workflows: bool = True,
    tracked: Sequence[str] = (),
    job_seconds: float | None = None,
    choice: TaskChoice = EVERY_TASK,
    has_file: Callable[[str], bool] | None = None,
) -> PreflightReport:
    """Check every open task of `choice` and its agent.

    `environ` is the environment that agents get their keys from and whose PATH they are
    looked up on; None if they run on other machines, which skips `missing`. On GitHub
    Actions a push that changes `.github/workflows/**` is rejected unless its token may
    do that: `may_change_workflows`. `tracked` are the paths of the repository. An
    attempt there must end within `job_seconds`. `has_file` tells whether a path is in
    the commit that checkouts are made from.
    """
    problems = list(_unknown_task_problems(plan, settings))
    uses: list[_AgentUse] = []
    faults: list[_Fault] = []
    seen: dict[int, Sequence[_AgentUse | _Fault]] = {}
    workflows = [path for path in tracked if _WORKFLOW().fullmatch(path)]
    for task in _open_tasks(plan, progress, settings):
        if task.id not in choice:
            continue
        if not may_change_workflows:
            problems += _workflow_problems(task, plan, settings, workflows)
        if job_seconds is not None:
            problems += _time_limit_problems(task, plan, settings, job_seconds)
        problems += _prompt_problems(task, plan)
        for use in _agent_uses(task, settings, seen):
            if isinstance(use, _Fault):
                faults.append(use)
            else:
                uses.append(use)
    problems += _each_once(faults, plan)
    # What set-up writes is in no commit.
    if has_file is not None and settings.setup is None:
        problems += _script_problems(uses, plan, has_file)
    notes = [*_changed_since_notes(plan, progress), *_idle_notes(uses)]
    if settings.limits.max_cost_usd is not None:
        problems += _cost_limit_problems(uses, plan)
        notes += _cost_limit_notes(uses)
    missing: list[Problem] = []
    if environ is not None:
        missing += _missing(uses, plan, environ)
    return PreflightReport(tuple(problems), tuple(missing), tuple(notes))


def protected_path_notes(
    plan: Plan, progress: Progress, settings: Settings, tracked: Sequence[str]
) -> list[str]:
    """A sentence for every open task whose `files` match protected paths that exist.

    `tracked` are the paths of the repository.
    """
    never = never_changed(plan, settings.task_rules)
    protected = (*settings.protected, *never)
    existing = [path for path in tracked if globs.matches(protected, path)]
    notes = []
    for task in _open_tasks(plan, progress, settings):
        matched = rules.may_meet(task, existing, settings.protected, never)
        if not matched:
            continue
        paths = some_of(matched[:3], len(matched))
        notes.append(
            f"{task.id}: its files match protected paths, and a change to them does "
            f"not land: {paths}"
        )
    return notes


def message_notes(plan: Plan, progress: Progress, settings: Settings) -> list[str]:
    """A sentence for every open task whose title is spelt otherwise in messages."""
    notes = []
    for task in _open_tasks(plan, progress, settings):
        written = f"{task.id}: {task.title}"
        shown = one_line(written)
        if shown != written:
            notes.append(
                f"{written}: a commit message or a pull request shows this as "
                f"{shown!r}, so that GitHub does not act on it"
            )
    return notes


def _open_tasks(plan: Plan, progress: Progress, settings: Settings) -> Iterator[Task]:
    for task in plan.tasks:
        if progress.standing(task, settings.max_attempts).may_run:
            yield task


def _workflow_problems(
    task: Task, plan: Plan, settings: Settings, workflows: Sequence[str]
) -> Iterator[Problem]:
    """A problem if the task may change workflows: the job's token cannot push them."""
    if _allows_workflows(task, settings.protected, workflows):
        what = (
            f"{task.id} may change .github/workflows, "
            "but the job's own token may not push such a change"
        )
        remedy = "set the secret fanin-token to a token that may"
        yield _problem(task, plan, what, remedy)


def _allows_workflows(
    task: Task, protected: Sequence[str], workflows: Sequence[str]
) -> bool:
    """Whether the task's `allow` names workflows, or lets one be changed or created."""
    for glob in task.allow:
        if glob.removeprefix("/").startswith(".github/workflows/"):
            return True
    paths = (*_NEW_WORKFLOWS, *workflows)
    return any(rules.allows(task, path, protected) for path in paths)


def _prompt_problems(task: Task, plan: Plan) -> Iterator[Problem]:
    """A problem if the task's text is too long for a prompt, which is never cut."""
    excess = prompt.excess_of_task(task)
    if excess is not None:
        remedy = "split the task, or commit a part of it as a file that it names"
        yield _problem(task, plan, f"{task.id} cannot run: {excess}", remedy)


def _unknown_task_problems(plan: Plan, settings: Settings) -> Iterator[Problem]:
    """A problem for each id below `tasks:` in the settings that the plan does not have."""
    task_ids = {task.id for task in plan.tasks}
    for task_id in settings.tasks:
        if task_id in task_ids:
            continue
        what = f"tasks: there is no task {task_id} in {plan.path}"
        remedy = "name a task of the plan; see  fanin status"
        if guess := nearest(task_id, task_ids):
            remedy = f"did you mean {guess}?"
        yield Problem(FILE, None, what, remedy)


def _changed_since_notes(plan: Plan, progress: Progress) -> Iterator[str]:
    """A sentence if tasks were changed in the plan after they were completed."""
    changed = [task.id for task in plan.tasks if progress.has_changed_since(task)]
    if not changed:
        return
    names = some_of(changed[:MAX_NAMED_TASKS], len(changed))
    verb = "was" if len(changed) == 1 else "were"
    yield (
        f"{names} {verb} changed in the plan after completion, and will not run again; "
        f"to redo:  {typed('retry', changed[:MAX_NAMED_TASKS], '--redo')}"
    )


def _time_limit_problems(
    task: Task, plan: Plan, settings: Settings, job_seconds: float
) -> list[Problem]:
    """Why the task's time limit is no use: its job is ended before."""
    seconds = attempt_seconds(
        task.timeout or settings.timeout, verifies=bool(task.verify)
    )
    if seconds <= job_seconds:
        return []
    what = (
        f"{task.id} may take {seconds / 60:.0f} minutes, and GitHub ends its job "
        f"after {job_seconds / 60:.0f}"
    )
    remedy = "lower  timeout, or run the task on a runner of your own:  runs-on"
    if task.timeout is None:
        return [Problem(FILE, None, what, remedy)]
    return [_problem(task, plan, what, remedy)]


def attempt_seconds(timeout: float, *, verifies: bool) -> float:
    """The longest time that an attempt may take: its agent, and its own verify."""
    return timeout * 2 if verifies else timeout


def _agent_uses(
    task: Task, settings: Settings, seen: dict[int, Sequence[_AgentUse | _Fault]]
) -> Iterator[_AgentUse | _Fault]:
    """The task with each of its agents, or why that cannot be used.

    Most tasks share the agent of the settings. Of one that is in `seen`, by its identity,
    only what is wrong with it is told again.
    """
    agent = task.agent or settings.agent
    if agent is None:
        yield _Fault(task, None, " has no agent", " have no agent", NO_AGENT_REMEDY)
        return
    place = _place_of_agent(task, settings)
    if id(agent) not in seen:
        uses = [_agent_use(task, chosen, place, settings) for chosen in agent.each]
        seen[id(agent)] = uses
        yield from uses
        return
    for use in seen[id(agent)]:
        if isinstance(use, _Fault):
            yield use._replace(task=task, place=place)


def _place_of_agent(task: Task, settings: Settings) -> Place | None:
    """Where the settings name the task's agent, None if the plan does."""
    rule = settings.tasks.get(task.id)
    if rule is not None and rule.agent is not None:
        return settings.place_of(f"tasks.{task.id}.agent")
    return None if task.agent else settings.place_of("agent")


def _agent_use(
    task: Task, chosen: AgentSettings, place: Place | None, settings: Settings
) -> _AgentUse | _Fault:
    try:
        agent = agents.usable_agent(chosen, settings.env)
    except UsageProblem as error:
        what = f": {error.message}"
        return _Fault(task, place, what, what, error.advice)
    return _AgentUse(task, place, chosen, agent)


def _each_once(faults: Sequence[_Fault], plan: Plan) -> Iterator[Problem]:
    """A problem for each kind of fault, at its first task, that names its tasks.

    Most tasks have the agent of the settings, which is one problem of the settings.
    """
    groups: dict[tuple[Place | None, str, str], list[_Fault]] = {}
    for fault in faults:
        key = (fault.place, fault.of_one, fault.remedy)
        groups.setdefault(key, []).append(fault)
    for same in groups.values():
        first = same[0]
        if first.place is not None:
            what = first.of_one.removeprefix(": ")
            yield _problem_of(first, plan, what, first.remedy)
            continue
        ids = [fault.task.id for fault in same[:MAX_NAMED_TASKS]]
        names = some_of(ids, len(same))
        what = first.of_one if len(same) == 1 else first.of_several
        yield _problem(first.task, plan, f"{names}{what}", first.remedy)


def _missing(
    uses: Sequence[_AgentUse], plan: Plan, environ: Mapping[str, str]
) -> list[Problem]:
    """Programs and keys that this machine lacks, each once, where it is first named."""
    import shutil

    def which(program: str) -> str | None:
        return shutil.which(program, path=environ.get("PATH"))

    problems: dict[str, Problem] = {}
    for use in uses:
        requirements = missing_requirements(use.agent, use.chosen, environ, which)
        for what, remedy in requirements:
            problems.setdefault(what, _problem_of(use, plan, what, remedy))
    return list(problems.values())


def _script_problems(
    uses: Sequence[_AgentUse], plan: Plan, has_file: Callable[[str], bool]
) -> list[Problem]:
    """A problem for each script that an agent's command names and no checkout has."""
    problems: dict[str, Problem] = {}
    for use in uses:
        script = script_of(use.chosen)
        if script is None or script in problems or has_file(script):
            continue
        what = f"the agent's script {script!r} is not in the repository"
        remedy = "commit it, or fix agent.command"
        problems[script] = _problem_of(use, plan, what, remedy)
    return list(problems.values())


def _cost_limit_problems(uses: Sequence[_AgentUse], plan: Plan) -> list[Problem]:
    """A problem for each agent that never reports its cost, where it is first named."""
    problems: dict[str, Problem] = {}
    for use in uses:
        name = use.chosen.name
        if use.agent.traits.costs is Costs.UNKNOWN and name not in problems:
            what = (
                f"limits.max_cost_usd cannot be enforced: {name} never reports its cost"
            )
            remedy = "remove the limit, or use an agent that reports its cost"
            problems[name] = _problem_of(use, plan, what, remedy)
    return list(problems.values())


def _cost_limit_notes(uses: Sequence[_AgentUse]) -> list[str]:
    """A sentence for each agent that cannot be stopped at a cost limit."""
    notes: dict[str, str] = {}
    for use in uses:
        costs = use.agent.traits.costs
        if costs in {Costs.UNKNOWN, Costs.CAPPED}:
            continue
        reports = "may not report its cost"
        if costs is Costs.REPORTED:
            reports = "reports its cost only afterwards"
        notes[use.chosen.name] = (
            f"{use.chosen.name} {reports}: limits.max_cost_usd stops further "
            "attempts, and an attempt of unknown cost counts as its whole share"
        )
    return list(notes.values())


def _idle_notes(uses: Sequence[_AgentUse]) -> Iterator[str]:
    """A sentence for each agent that may be ended as idle while it works."""
    limits = {
        use.chosen.name: use.chosen.idle_timeout
        for use in uses
        if use.agent.traits.silent and use.chosen.idle_timeout is not None
    }
    for name, seconds in limits.items():
        yield (
            f"{name} prints nothing while its model thinks or a command runs: "
            f"idle_timeout {duration_text(seconds)} ends it then; choose one that is "
            "longer than that takes"
        )


def _problem_of(
    agent: _AgentUse | _Fault, plan: Plan, what: str, remedy: str
) -> Problem:
    """A problem with an agent, in the settings or at the first task that has it."""
    place = agent.place
    if place is None:
        return _problem(agent.task, plan, what, remedy)
    return Problem(place.path, place.line, f"{place.prefix}{what}", remedy)


def _problem(task: Task, plan: Plan, what: str, remedy: str) -> Problem:
    return Problem(task.path or plan.path, task.line, what, remedy)
