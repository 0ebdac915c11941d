"""Reads the plan that the settings name: one, or several as one graph.

A task of several plans keeps its id if no other plan has it and is `NAME/ID` otherwise.
What is recorded keeps the id that it was recorded with, whichever plans come and go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from runner.core import plan_paths
from runner.core.errors import InvalidInput, Problem
from runner.core.task import Owner, Plan, PlanPart, PlanSettings, Task
from runner.plan import formats
from runner.plan.formats import Mark, Tree
from runner.plan.marking import PlanFiles
from runner.plan.trees import NO_PLAN

NO_OWNERS: Mapping[str, Owner] = MappingProxyType({})


class _Loaded(NamedTuple):
    """One of the plans, as its format has read it."""

    name: str
    plan: Plan
    choice: PlanSettings


def load(
    choice: PlanSettings, tree: Tree, owners: Mapping[str, Owner] = NO_OWNERS
) -> Plan:
    """The plan of the settings; `owners` are those of the ids that are recorded.

    InvalidInput with every located problem.
    """
    if not choice.is_several:
        return formats.load(choice, tree)
    paths, notes = _expand(choice, tree, owners)
    _refuse_options(choice, paths, tree)
    read: dict[str, tuple[PlanSettings, Plan]] = {}
    problems: list[Problem] = []
    for path in paths:
        try:
            own_choice = _own_choice(choice, path, tree)
            read[path] = (own_choice, formats.read(own_choice, tree))
        except InvalidInput as error:
            is_empty = all(
                problem.what.startswith("no tasks found") for problem in error.problems
            )
            if is_empty and len(paths) > 1:
                notes.append(f"{path}: no tasks found, so it is left out")
            else:
                problems += error.problems
    if problems:
        raise InvalidInput(problems)
    names = plan_paths.names(list(read))
    all_loaded = [
        _Loaded(names[path], plan, own_choice)
        for path, (own_choice, plan) in read.items()
    ]
    return _united(choice, all_loaded, owners, notes)


# Writes marks into one of the files, or folders, that a plan consists of.
WriteMarks = Callable[[PlanFiles, Tree, Mapping[str, Mark]], Mapping[str, str]]


def write_back(
    plan: Plan, tree: Tree, marks: Mapping[str, Mark], write: WriteMarks
) -> dict[str, str]:
    """The new text of each file that changes when these tasks are marked, by path."""
    if not plan.parts:
        own_files = PlanFiles(plan.source, plan.path, plan.options)
        return dict(write(own_files, tree, marks))
    changed: dict[str, str] = {}
    for part in plan.parts:
        own_marks = {}
        for own_id, task_id in part.ids.items():
            if task_id in marks:
                own_marks[own_id] = marks[task_id]
        if own_marks:
            own_files = PlanFiles(part.source, part.path, part.options)
            changed |= write(own_files, tree, own_marks)
    return changed


# -- Which plans --


def _expand(
    choice: PlanSettings, tree: Tree, owners: Mapping[str, Owner]
) -> tuple[list[str], list[str]]:
    """The paths of the plans, and notes on what is named but is none."""
    recorded = {owner.plan.partition("#")[0] for owner in owners.values()}
    paths: list[str] = []
    notes: list[str] = []
    problems: list[Problem] = []
    for name in plan_paths.parts(choice.path):
        if plan_paths.is_pattern(name):
            matching, unread = _matching_plans(name, choice, tree)
            paths += matching
            notes += unread
        elif tree.read(name) is not None or tree.list(name):
            paths.append(name)
        elif name not in recorded:
            remedy = "commit it, or take it out of the list of plans"
            problems.append(Problem(name, None, NO_PLAN, remedy))
    if not paths and not problems:
        remedy = "write a pattern that names one, such as  plan: 'specs/*/tasks.md'"
        problems.append(Problem(choice.path, None, NO_PLAN, remedy))
    if problems:
        raise InvalidInput(problems)
    notes += _gone_notes(choice, recorded.difference(paths), tree)
    return list(dict.fromkeys(paths)), notes


def _gone_notes(
    choice: PlanSettings, recorded: Iterable[str], tree: Tree
) -> Iterator[str]:
    for path in sorted(recorded):
        is_gone = tree.read(path) is None and not tree.list(path)
        if is_gone and plan_paths.covers(choice.path, path):
            yield f"{path}: it is gone; its records are kept"


def _matching_plans(
    pattern: str, choice: PlanSettings, tree: Tree
) -> tuple[list[str], list[str]]:
    """The plans that the pattern names, and notes on files that are none."""
    paths: list[str] = []
    notes: list[str] = []
    for path in _matching(pattern, tree):
        if _is_plan(choice, path, tree):
            paths.append(path)
        elif tree.read(path) is not None:
            notes.append(f"{path}: in no known format, so it is not read")
    # A folder whose plan is among the others is the same plan.
    folders = {folder for path in paths for folder in _parents(path)}
    return [path for path in paths if path not in folders], notes


def _parents(path: str) -> list[str]:
    names = path.split("/")
    return ["/".join(names[:count]) for count in range(1, len(names))]


def _matching(pattern: str, tree: Tree) -> Iterator[str]:
    """The files and folders of the tree that the pattern names, each once."""
    seen: set[str] = set()
    for file in tree.list(plan_paths.fixed_folder(pattern)):
        names = file.split("/")
        for count in range(1, len(names) + 1):
            path = "/".join(names[:count])
            if path in seen:
                continue
            seen.add(path)
            if plan_paths.matches(pattern, path):
                yield path


def _is_plan(choice: PlanSettings, path: str, tree: Tree) -> bool:
    if choice.source:
        return formats.get_source(choice.source).detect(path, tree)
    return formats.detect(path, tree) is not None


def _refuse_options(choice: PlanSettings, paths: Sequence[str], tree: Tree) -> None:
    """Raise InvalidInput for an option that no format of the plans has, and for lines."""
    problems = []
    if choice.skip_lines:
        what = "skip_lines does not say of which plan"
        problems.append(Problem(choice.path, None, what, "fix the lines in the plan"))
    known: set[str] = set()
    for path in paths:
        own_choice = choice.model_copy(update={"path": path})
        known.update(formats.choose_source(own_choice, tree).options)
    for name in choice.options:
        if name not in known:
            what = f"none of the plans has the option {name!r}"
            remedy = f"known options: {', '.join(sorted(known)) or 'none'}"
            problems.append(Problem(choice.path, None, what, remedy))
    if problems:
        raise InvalidInput(problems)


def _own_choice(choice: PlanSettings, path: str, tree: Tree) -> PlanSettings:
    """The settings of one of the plans, with the options that its format has."""
    own_choice = choice.model_copy(update={"path": path})
    known = formats.choose_source(own_choice, tree).options
    options = {name: text for name, text in choice.options.items() if name in known}
    return own_choice.model_copy(update={"options": options})


# -- One graph --


def _united(
    choice: PlanSettings,
    all_loaded: Sequence[_Loaded],
    owners: Mapping[str, Owner],
    notes: Sequence[str],
) -> Plan:
    own_ids = {
        loaded.name: {task.id for task in loaded.plan.tasks} for loaded in all_loaded
    }
    ids = _assigned_ids(all_loaded, owners)
    tasks: list[Task] = []
    all_notes = list(notes)
    left_out = []
    own_files: list[str] = []
    task_files: dict[str, str] = {}
    parts = []
    for loaded in all_loaded:
        plan, crossing = _without_crossing(loaded.plan, own_ids)
        plan = formats.resolve(plan, loaded.choice)
        renamed = ids[loaded.name]
        for task in plan.tasks:
            waits = [renamed[name] for name in task.depends_on if name in renamed]
            # What is not in the plan stays, for the graph to refuse it.
            waits += [name for name in task.depends_on if name not in renamed]
            for name, own_id in crossing.get(task.id, ()):
                waits.append(ids[name][own_id])
            changes = {
                "id": renamed[task.id],
                "depends_on": tuple(waits),
                "open_before": tuple(renamed[name] for name in task.open_before),
                "path": task.path or plan.path,
            }
            tasks.append(task.model_copy(update=changes))
        for record in plan.left_out:
            task_id = record.task_id
            left_out.append(
                record._replace(task_id=renamed.get(task_id or "", task_id))
            )
        all_notes += plan.notes
        own_files += plan.own_files or (plan.path,)
        for path, own_id in plan.task_files.items():
            task_files[path] = renamed[own_id]
        part = PlanPart(
            plan.path, loaded.name, plan.name, plan.source, plan.options, renamed
        )
        parts.append(part)
    sources = dict.fromkeys(loaded.plan.source for loaded in all_loaded)
    return Plan(
        path=choice.path,
        source=", ".join(sources),
        tasks=tuple(tasks),
        notes=tuple(all_notes),
        left_out=tuple(left_out),
        options=dict(choice.options),
        own_files=tuple(dict.fromkeys(own_files)),
        task_files=task_files,
        parts=tuple(parts),
    )


def _without_crossing(
    plan: Plan, own_ids: Mapping[str, set[str]]
) -> tuple[Plan, dict[str, list[tuple[str, str]]]]:
    """The plan without dependencies on other plans, and those: task id → (name, own id).

    Such a dependency is the full name, `NAME/ID`, also where the id alone is unique.
    """
    present = {task.id for task in plan.tasks}
    crossing: dict[str, list[tuple[str, str]]] = {}
    tasks = []
    for task in plan.tasks:
        kept = []
        for dependency in task.depends_on:
            name, slash, own_id = dependency.partition("/")
            is_other = slash and own_id in own_ids.get(name, ())
            if is_other and dependency not in present:
                crossing.setdefault(task.id, []).append((name, own_id))
            else:
                kept.append(dependency)
        if task.id in crossing:
            task = task.model_copy(update={"depends_on": tuple(kept)})
        tasks.append(task)
    return plan._replace(tasks=tuple(tasks)), crossing


def _assigned_ids(
    all_loaded: Sequence[_Loaded], owners: Mapping[str, Owner]
) -> dict[str, dict[str, str]]:
    """Name of the plan → own id → id in the graph."""
    recorded = {owner: task_id for task_id, owner in owners.items()}
    used = set(owners)
    counts = Counter(task.id for loaded in all_loaded for task in loaded.plan.tasks)
    ids: dict[str, dict[str, str]] = {}
    for loaded in all_loaded:
        own: dict[str, str] = {}
        for task in loaded.plan.tasks:
            known = recorded.get(Owner(loaded.plan.name, task.id))
            own[task.id] = known or _new_id(loaded.name, task.id, counts, used)
            used.add(own[task.id])
        ids[loaded.name] = own
    return ids


def _new_id(name: str, own_id: str, counts: Counter[str], used: set[str]) -> str:
    if counts[own_id] == 1 and own_id not in used:
        return own_id
    task_id = f"{name}/{own_id}"
    count = 1
    while task_id in used:
        count += 1
        task_id = f"{name}-{count}/{own_id}"
    return task_id
