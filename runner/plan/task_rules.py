"""Applies the rules of fanin.yml to the tasks of a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from runner.core.fanin_commands import typed
from runner.core.plurals import pluralize
from runner.core.task import Plan, Status, Task, TaskRules
from runner.policy import globs, rules

PROTECTED = "may change only protected paths"  # why such a task is skipped


def never_changed(plan: Plan, task_rules: TaskRules) -> tuple[str, ...]:
    """Globs that no task may change, whatever its `allow` says.

    The plan's own files (all of it, if it is a folder), and fanin's files.
    """
    own_files = plan.own_files or (plan.path,)
    return (*map(globs.literal, own_files), *task_rules.never)


def effective_rules(plan: Plan, task_rules: TaskRules) -> TaskRules:
    """The rules as they hold for this plan; equal if they have the same effect."""
    never = tuple(sorted(set(never_changed(plan, task_rules))))
    return task_rules._replace(never=never)


def apply_rules(plan: Plan, task_rules: TaskRules) -> Plan:
    """The plan with the settings of single tasks.

    A task that may change only protected paths is skipped, with a note: it could run
    but never land. Ids that the plan does not have are left to the preflight.
    """
    never = never_changed(plan, task_rules)
    tasks: list[Task] = []
    refused: list[Task] = []
    for planned in plan.tasks:
        task = planned
        own_settings = task_rules.tasks.get(task.id)
        if own_settings is not None:
            task = task.model_copy(update=own_settings.given)
        is_open = task.source_status is not Status.COMPLETED and not task.skipped
        if is_open and rules.only_protected(task, task_rules.protected, never):
            task = task.model_copy(update={"skipped": True, "skip_reason": PROTECTED})
            refused.append(task)
        tasks.append(task)
    notes = (*plan.notes, *_notes(plan, refused, never))
    return plan._replace(tasks=tuple(tasks), notes=notes)


def _notes(plan: Plan, refused: Sequence[Task], never: Sequence[str]) -> list[str]:
    dependents: Counter[str] = Counter()
    if refused:
        for task in plan.tasks:
            dependents.update(task.waits_for)
    notes = []
    for task in refused:
        files = [glob.strip("/") for glob in task.files or ()]
        what = f"{task.id} is skipped: it {PROTECTED}: {', '.join(files)}"
        if count := dependents[task.id]:
            verb = "waits" if count == 1 else "wait"
            what += f"; {pluralize(count, 'task')} {verb} for it"
        remedy = (
            f"allow it in fanin.yml:  tasks: {{{task.id}: {{allow: "
            f"[{', '.join(files)}]}}}}"
        )
        if any(globs.matches(never, file) for file in files):
            remedy = f"do it by hand, then  {typed('skip', [task.id], '--satisfied')}"
        path = task.path or plan.path
        notes.append(f"{path}:{task.line}: {what}; {remedy}")
    return notes
