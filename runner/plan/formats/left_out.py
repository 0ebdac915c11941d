"""Records of a plan that cannot be read although the rest of it can.

A tool reads its own file in spite of an odd record, so fanin does, too: that record is
left out, which means that it never runs and that what depends on it does not run
either. A file with many of them is of another kind or damaged, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from runner.core.errors import InvalidInput, Problem
from runner.core.plurals import some_of
from runner.core.task import LeftOut, Plan, Status, Task
from runner.core.validation import nearest
from runner.plan.formats.diagnostics import LEFT_OUT

# Comparing spellings is slow, and a plan with more unknown ids than this has one cause.
MAX_GUESSES = 50
MAX_NAMED_TASKS = 5  # a note names no more of them


def resolve(plan: Plan, *, strict: bool, any_number: bool = False) -> Plan:
    """The plan without unknown dependencies and cycles, with a note for each record left
    out.

    `any_number`: the format lets the rest of the plan wait for them, so that no number
    of them is too large. Raises InvalidInput if too many records were left out, or any
    if `strict`.
    """
    plan = _leave_out_unknown_dependencies(plan)
    plan = _leave_out_cycles(plan)
    if strict or not any_number:
        _refuse_too_many(plan, strict=strict)
    notes = [f"left out: {record.problem}" for record in plan.left_out]
    notes += plan.notes
    notes += _notes_of_dependents(plan)
    return plan._replace(notes=tuple(notes))


def _leave_out_unknown_dependencies(plan: Plan) -> Plan:
    """Skip each open task that depends on itself or on a task that is not in the plan.

    The plan no longer has such dependencies.
    """
    ids = {task.id for task in plan.tasks}
    tasks: list[Task] = []
    left_out = list(plan.left_out)
    for task in plan.tasks:
        wrong_ids = [name for name in task.depends_on if name not in ids]
        if task.id in task.depends_on:
            wrong_ids.append(task.id)
        if not wrong_ids:
            tasks.append(task)
            continue
        valid_ids = tuple(name for name in task.depends_on if name not in wrong_ids)
        changes: dict[str, object] = {"depends_on": valid_ids}
        if task.source_status is not Status.COMPLETED and not task.skipped:
            changes["skipped"] = True
            changes["skip_reason"] = LEFT_OUT
            guesses: set[str] = set()
            if len(left_out) < MAX_GUESSES:
                guesses = ids - {task.id}
            problem = _dependency_problem(plan, task, wrong_ids[0], guesses)
            left_out.append(LeftOut(problem, task.id))
        tasks.append(task.model_copy(update=changes))
    return plan._replace(tasks=tuple(tasks), left_out=tuple(left_out))


def _leave_out_cycles(plan: Plan) -> Plan:
    """Skip each open task that depends on itself through others.

    The plan no longer has the dependencies between these tasks. Completed tasks wait
    for nothing, so their part in a cycle is only dropped.
    """
    dependencies = {task.id: task.depends_on for task in plan.tasks}
    on_cycles = _ids_on_cycles(dependencies)
    if not on_cycles:
        return plan
    completed = set()
    for task in plan.tasks:
        if task.source_status is Status.COMPLETED:
            completed.add(task.id)
    for task_id in on_cycles & completed:
        dependencies[task_id] = _without(dependencies[task_id], on_cycles)
    on_cycles = _ids_on_cycles(dependencies)
    tasks: list[Task] = []
    left_out = list(plan.left_out)
    for task in plan.tasks:
        depends_on = dependencies[task.id]
        changes: dict[str, object] = {"depends_on": depends_on}
        if task.id in on_cycles:
            changes["depends_on"] = _without(depends_on, on_cycles)
            if not task.skipped:
                changes["skipped"] = True
                changes["skip_reason"] = LEFT_OUT
                chain = _chain(task.id, dependencies, on_cycles)
                what = f"dependency cycle: {' → '.join(chain)}"
                remedy = "remove one of these dependencies"
                problem = Problem(task.path or plan.path, task.line, what, remedy)
                left_out.append(LeftOut(problem, task.id))
        if changes["depends_on"] == task.depends_on and "skipped" not in changes:
            tasks.append(task)
        else:
            tasks.append(task.model_copy(update=changes))
    return plan._replace(tasks=tuple(tasks), left_out=tuple(left_out))


def _without(ids: Sequence[str], unwanted: set[str]) -> tuple[str, ...]:
    return tuple(task_id for task_id in ids if task_id not in unwanted)


def _ids_on_cycles(dependencies: Mapping[str, Sequence[str]]) -> set[str]:
    """The ids on cycles, or between two of them: none of them can ever run."""
    dependents: dict[str, list[str]] = {task_id: [] for task_id in dependencies}
    for task_id, names in dependencies.items():
        for name in names:
            dependents[name].append(task_id)
    waiting = _remaining(set(dependencies), dependencies, dependents)
    # Without those that only wait for a cycle.
    return _remaining(waiting, dependents, dependencies)


def _remaining(
    ids: set[str],
    before: Mapping[str, Sequence[str]],
    after: Mapping[str, Sequence[str]],
) -> set[str]:
    """The ids that are left when those with nothing of the rest before them go first."""
    counts = {task_id: sum(name in ids for name in before[task_id]) for task_id in ids}
    free = [task_id for task_id, count in counts.items() if count == 0]
    remaining = set(ids)
    while free:
        task_id = free.pop()
        remaining.discard(task_id)
        for name in after[task_id]:
            if name in counts:
                counts[name] -= 1
                if counts[name] == 0:
                    free.append(name)
    return remaining


def _chain(
    start: str, dependencies: Mapping[str, Sequence[str]], on_cycles: set[str]
) -> list[str]:
    """Ids along dependencies from the start, until one repeats or there are many."""
    chain = [start]
    while len(chain) <= MAX_NAMED_TASKS:
        following = [name for name in dependencies[chain[-1]] if name in on_cycles]
        chain.append(following[0])
        if following[0] in chain[:-1]:
            return chain
    return [*chain, "…"]


def _dependency_problem(
    plan: Plan, task: Task, dependency: str, guesses: set[str]
) -> Problem:
    if dependency == task.id:
        what = f"{task.id} depends on itself"
        remedy = f"remove {dependency} from its dependencies"
    else:
        what = f"{task.id} depends on {dependency}, which is not in the plan"
        remedy = "name a task of this plan"
        guess = nearest(dependency, guesses)
        if guess:
            remedy = f"did you mean {guess}?"
    return Problem(task.path or plan.path, task.line, what, remedy)


def _refuse_too_many(plan: Plan, *, strict: bool) -> None:
    """Raise InvalidInput if more than a third of the records, and more than one, are left out.

    Also if none is left, and for any if `strict`.
    """
    count = len(plan.left_out)
    if not count:
        return
    without_task = [record for record in plan.left_out if record.task_id is None]
    total = len(plan.tasks) + len(without_task)
    too_many = count > 1 and 3 * count > total
    if strict or too_many or count >= total:
        raise InvalidInput(record.problem for record in plan.left_out)


def _notes_of_dependents(plan: Plan) -> Iterator[str]:
    """A note for each skipped task that open tasks depend on."""
    dependents: dict[str, list[str]] = {}
    for task in plan.tasks:
        if task.skipped or task.source_status is Status.COMPLETED:
            continue
        for dependency in task.waits_for:
            dependents.setdefault(dependency, []).append(task.id)
    for task in plan.tasks:
        if task.skipped and task.id in dependents:
            yield _dependents_note(plan, task, dependents[task.id])


def _dependents_note(plan: Plan, task: Task, dependents: Sequence[str]) -> str:
    names = some_of(dependents[:MAX_NAMED_TASKS], len(dependents))
    path = task.path or plan.path
    reason = f" ({task.skip_reason})" if task.skip_reason else ""
    what = f"{task.id} is skipped{reason}, so these cannot run: {names}"
    return f"{path}:{task.line}: {what}"
