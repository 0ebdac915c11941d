"""Plan text ⇄ tasks: one module per format behind one Protocol, and the registry that
picks among them.

A package of its own adds a format with an entry point of the group `fanin.sources` that
names a class or a function without arguments giving a `Source`. Entry points are loaded
only if no format of ours is meant.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

from runner.core.errors import InvalidInput, Problem, UsageProblem
from runner.core.task import Plan, PlanSettings, Status
from runner.core.validation import nearest
from runner.plan.formats.ai_sdlc import AiSdlc
from runner.plan.formats.backlog_md import BacklogMd
from runner.plan.formats.base import Mark, MemoryTree, Options, Source, Tree
from runner.plan.formats.beads import Beads
from runner.plan.formats.github_issues import GithubIssues
from runner.plan.formats.native import Native
from runner.plan.formats.spec_kit import SpecKit
from runner.plan.formats.task_master import TaskMaster

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint as _EntryPoint

__all__ = [
    "Mark",
    "MemoryTree",
    "Options",
    "Source",
    "Tree",
    "check_options",
    "get_source",
    "load",
    "source_names",
    "sources",
]

GROUP = "fanin.sources"
_SOURCES: tuple[Source, ...] = (
    Native(),
    AiSdlc(),
    SpecKit(),
    GithubIssues(),
    TaskMaster(),
    BacklogMd(),
    Beads(),
)


def sources() -> tuple[Source, ...]:
    """Every format that ships with fanin, in the order in which they are tried."""
    return _SOURCES


def source_names() -> list[str]:
    """What `plan: {source: NAME}` may say, installed formats included. Loads none of
    them.
    """
    return list(
        dict.fromkeys(
            [
                *(source.name for source in sources()),
                *sorted(entry.name for entry in _installed()),
            ]
        )
    )


def get_source(name: str) -> Source:
    """The format of that name. UsageProblem, with the nearest name, if there is none or
    it is broken.
    """
    for source in sources():
        if source.name == name:
            return source
    for entry in _installed():
        if entry.name == name:
            return _loaded(entry)
    guess = nearest(name, source_names())
    raise UsageProblem(
        f"there is no plan format {name!r}",
        f"did you mean {guess}?"
        if guess
        else f"known formats: {', '.join(source_names())}",
    )


def load(choice: PlanSettings, tree: Tree) -> Plan:
    """The plan that the settings name, by the format they name or the first that knows
    it.

    The file or folder must exist. InvalidInput with every located problem; UsageProblem
    for a broken format.
    """
    source = (
        get_source(choice.source) if choice.source else _detected(choice.path, tree)
    )
    check_options(source, choice)
    plan = source.load(choice.path, tree, choice.options)
    if not plan.tasks and not getattr(source, "may_be_empty", False):
        raise InvalidInput(
            [
                Problem(
                    choice.path, 1, "no tasks found", "a plan needs at least one task"
                )
            ]
        )
    plan = plan.model_copy(
        update={"source": source.name, "options": dict(choice.options)}
    )
    return _without_dangling(plan, everywhere=choice.ignore_dangling)


def _without_dangling(plan: Plan, *, everywhere: bool) -> Plan:
    """The plan without dependencies on tasks it does not have: of finished tasks, which
    wait for nothing any more, and of all if that was asked for. The graph refuses what
    is left of them.
    """
    known = {task.id for task in plan.tasks}
    tasks, notes, finished = [], list(plan.notes), list[str]()
    for task in plan.tasks:
        lost = [dep for dep in task.depends_on if dep not in known]
        done = task.source_status is Status.COMPLETED
        if lost and (done or everywhere):
            kept = tuple(dep for dep in task.depends_on if dep in known)
            tasks.append(task.model_copy(update={"depends_on": kept}))
            finished += lost if done else []
            if not done:
                place = f"{task.path or plan.path}:{task.line}"
                notes.append(
                    f"{place}: {task.id} does not wait for {', '.join(lost)}: not in the plan"
                )
        else:
            tasks.append(task)
    if finished:
        few = ", ".join(list(dict.fromkeys(finished))[:5])
        notes.append(
            f"{plan.path}: finished tasks name {len(finished)} dependencies that are not in the plan: {few}"
        )
    return plan.model_copy(update={"tasks": tuple(tasks), "notes": tuple(notes)})


def _detected(path: str, tree: Tree) -> Source:
    for source in chain(sources(), map(_loaded, _installed())):
        if source.detect(path, tree):
            return source
    known = ", ".join(source_names())
    remedy = (
        f"known formats: {known}; name one with  plan: {{source: NAME, path: {path}}}"
    )
    raise InvalidInput([Problem(path, None, "no known plan format", remedy)])


def check_options(source: Source, choice: PlanSettings) -> None:
    """InvalidInput for an option that the format does not have, or a value that it does
    not take.
    """
    problems = []
    for name, value in choice.options.items():
        allowed = source.options.get(name)
        if allowed is None:
            guess = nearest(name, source.options)
            known = ", ".join(source.options) or "none"
            remedy = (
                f"did you mean {guess!r}?"
                if guess
                else f"known options of this format: {known}"
            )
            problems.append(
                Problem(
                    choice.path, None, f"{source.name} has no option {name!r}", remedy
                )
            )
        elif allowed and value not in allowed:
            what = f"the option {name} cannot be {value!r}"
            problems.append(
                Problem(choice.path, None, what, f"write one of: {', '.join(allowed)}")
            )
    if problems:
        raise InvalidInput(problems)


def _installed() -> Iterator[_EntryPoint]:
    """Entry points of other packages; ours win where a name is used twice."""
    from importlib.metadata import entry_points  # slow to import, and seldom needed

    return (
        entry
        for entry in entry_points(group=GROUP)
        if entry.name not in {source.name for source in sources()}
    )


def _loaded(entry: _EntryPoint) -> Source:
    """The format behind an entry point. UsageProblem if it cannot be loaded or does not
    follow the Protocol.
    """
    origin = f"the plan format {entry.name!r} ({entry.value})"
    try:
        source = entry.load()()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageProblem(
            f"{origin} cannot be loaded: {reason}", "mend or uninstall that package"
        ) from error
    if missing := [
        name
        for name in ("name", "options", "detect", "load", "write_back")
        if not hasattr(source, name)
    ]:
        raise UsageProblem(
            f"{origin} is no plan format: it lacks {', '.join(missing)}",
            "see CONTRIBUTING.md",
        )
    if source.name != entry.name:
        raise UsageProblem(
            f"{origin} calls itself {source.name!r}",
            "its name and its entry point's must be equal",
        )
    found: Source = source
    return found
