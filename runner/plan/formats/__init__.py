"""Plan text ⇄ tasks: one module per format behind one Protocol, and their registry.

Another package adds a format with an entry point of the group `fanin.sources`. It names
a class, or a function without arguments, that returns a `Source`. Entry points are
loaded only when no built-in format matches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from runner.core.errors import InvalidInput, Problem, UsageProblem
from runner.core.plugins import may_have_entry_points
from runner.core.task import Plan, PlanSettings, Status, Task
from runner.plan.formats.base import Mark, MemoryTree, Options, Source, Tree
from runner.plan.formats.diagnostics import count_of, spelling_remedy

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint as _EntryPoint

__all__ = [
    "BUILT_IN_NAMES",
    "STATE_FILES",
    "Mark",
    "MemoryTree",
    "Options",
    "Source",
    "Tree",
    "changes_with_marks",
    "check_options",
    "choose_source",
    "detect",
    "get_source",
    "load",
    "read",
    "resolve",
    "source_names",
    "sources",
]

ENTRY_POINT_GROUP = "fanin.sources"
PROTOCOL_MEMBERS = ("name", "options", "detect", "load", "write_back")
MAX_NAMED_DEPENDENCIES = 5  # a note names no more of them

# The ends of paths of files that say how a plan is read and are no part of it.
STATE_FILES = ("state.json",)  # of Task Master; names the current tag

_MARKDOWN, _YAML = (".md", ".markdown"), (".yml", ".yaml")


class _BuiltIn(NamedTuple):
    """A format's module and class, and how the files end that it may detect."""

    module: str
    class_name: str
    suffixes: tuple[str, ...]


# A format's module is imported when the format is tried: most compile many patterns, and
# a plan needs one or two of them.
# The order counts: detection takes the first format that matches.
_BUILT_IN = {
    # Before the native format, which takes any YAML.
    "bmad": _BuiltIn("bmad", "Bmad", _YAML),
    "native": _BuiltIn("native", "Native", _YAML),
    "ai-sdlc": _BuiltIn("ai_sdlc", "AiSdlc", _MARKDOWN),
    "openspec": _BuiltIn("openspec", "OpenSpec", _MARKDOWN),
    "spec-kit": _BuiltIn("spec_kit", "SpecKit", _MARKDOWN),
    "kiro": _BuiltIn("kiro", "Kiro", _MARKDOWN),
    "github-issues": _BuiltIn("github_issues", "GithubIssues", (".json",)),
    "ralph": _BuiltIn("ralph", "Ralph", (".json",)),
    "feature-list": _BuiltIn("feature_list", "FeatureList", (".json",)),
    "task-master": _BuiltIn("task_master", "TaskMaster", (".json",)),
    "backlog-md": _BuiltIn("backlog_md", "BacklogMd", ()),
    "beads": _BuiltIn("beads", "Beads", (".jsonl",)),
    # Last: it reads any Markdown with check boxes.
    "checklist": _BuiltIn("checklist", "Checklist", _MARKDOWN),
}
BUILT_IN_NAMES = tuple(_BUILT_IN)


def sources() -> Iterator[Source]:
    """The built-in formats, in the order in which detection tries them."""
    return map(_built_in, BUILT_IN_NAMES)


@cache
def _built_in(name: str) -> Source:
    built_in = _BUILT_IN[name]
    module = import_module(f"runner.plan.formats.{built_in.module}")
    source: Source = getattr(module, built_in.class_name)()
    return source


def changes_with_marks(name: str) -> bool:
    """Whether a plan of this format has other tasks once a run has marked some.

    Assumed of a format of another package that does not say.
    """
    # The Protocol does not require the attribute.
    return bool(getattr(get_source(name), "changes_with_marks", name not in _BUILT_IN))


def source_names() -> list[str]:
    """Every name that `plan: {source: NAME}` accepts, installed formats included.

    Loads no installed format.
    """
    installed_names = sorted(entry.name for entry in _installed_entries())
    return list(dict.fromkeys([*BUILT_IN_NAMES, *installed_names]))


def get_source(name: str) -> Source:
    """The format of that name.

    UsageProblem, with the nearest name, if there is none or if it cannot be loaded.
    """
    if name in _BUILT_IN:
        return _built_in(name)
    for entry in _installed_entries():
        if entry.name == name:
            return _load_entry(entry)
    formats = source_names()
    advice = spelling_remedy(name, formats, f"known formats: {', '.join(formats)}")
    raise UsageProblem(f"there is no plan format {name!r}", advice)


def load(settings: PlanSettings, tree: Tree) -> Plan:
    """The plan that the settings name, read by the format they name or else detected.

    The file or folder must exist. InvalidInput with every located problem; UsageProblem
    for a format that cannot be loaded.
    """
    return resolve(read(settings, tree), settings)


def read(settings: PlanSettings, tree: Tree) -> Plan:
    """The plan as its format reads it: dependencies may name what is not in it."""
    source = choose_source(settings, tree)
    if settings.skip_lines:
        lines = ", ".join(map(str, settings.skip_lines))
        options = {**settings.options, "skip_lines": lines}
        settings = settings.model_copy(update={"options": options})
    check_options(source, settings)
    plan = source.load(settings.path, tree, settings.options)
    # Only a format that has the attribute may; the Protocol does not require it.
    is_empty = not plan.tasks and not plan.left_out
    if is_empty and not getattr(source, "may_be_empty", False):
        remedy = "add a task, or name another plan with  --plan PATH"
        raise InvalidInput([Problem(settings.path, 1, "no tasks found", remedy)])
    return plan._replace(source=source.name, options=dict(settings.options))


def resolve(plan: Plan, settings: PlanSettings) -> Plan:
    """The plan without the dependencies that it need not have.

    InvalidInput if too many records were left out.
    """
    source = get_source(plan.source)
    plan = _drop_dangling(plan, of_open_tasks=settings.ignore_dangling)
    # Only a format that has the attribute leaves records out.
    if getattr(source, "leaves_out_records", False):
        from runner.plan.formats import left_out

        any_number = getattr(source, "waits_for_left_out", False)
        plan = left_out.resolve(plan, strict=settings.strict, any_number=any_number)
    return plan


def _drop_dangling(plan: Plan, *, of_open_tasks: bool) -> Plan:
    """The plan without the dependencies that name no task of it.

    A finished task waits for nothing, so it always loses them. An open task loses them
    only if `of_open_tasks`; otherwise they stay, and the graph refuses the plan.
    """
    task_ids = {task.id for task in plan.tasks}
    tasks: list[Task] = []
    notes = list(plan.notes)
    missing_of_finished: list[str] = []
    for task in plan.tasks:
        missing = [name for name in task.depends_on if name not in task_ids]
        finished = task.source_status is Status.COMPLETED
        if not missing or not (finished or of_open_tasks):
            tasks.append(task)
            continue
        present = tuple(name for name in task.depends_on if name in task_ids)
        tasks.append(task.model_copy(update={"depends_on": present}))
        if finished:
            missing_of_finished += missing
        else:
            notes.append(_dropped_note(plan, task, missing))
    if missing_of_finished:
        notes.append(_dropped_of_finished_note(plan, missing_of_finished))
    return plan._replace(tasks=tuple(tasks), notes=tuple(notes))


def _dropped_note(plan: Plan, task: Task, missing: Sequence[str]) -> str:
    path = task.path or plan.path
    names = ", ".join(missing)
    return f"{path}:{task.line}: {task.id} does not wait for {names}: not in the plan"


def _dropped_of_finished_note(plan: Plan, missing: Sequence[str]) -> str:
    number = count_of(len(missing), "dependency", "dependencies")
    names = list(dict.fromkeys(missing))
    examples = ", ".join(names[:MAX_NAMED_DEPENDENCIES])
    return f"{plan.path}: finished tasks have {number} not in the plan: {examples}"


def choose_source(settings: PlanSettings, tree: Tree) -> Source:
    """The format that the settings name, else the first that detects the plan."""
    path = settings.path
    if settings.source:
        return get_source(settings.source)
    source = detect(path, tree)
    if source is not None:
        return source
    formats = ", ".join(source_names())
    example = f"plan: {{source: NAME, path: {path}}}"
    remedy = f"known formats: {formats}; name one with  {example}"
    raise InvalidInput([Problem(path, None, "unknown plan format", remedy)])


def detect(path: str, tree: Tree) -> Source | None:
    """The first format that detects the plan; None if none does."""
    names = _names_to_try(path, tree)
    for source in chain(map(_built_in, names), map(_load_entry, _installed_entries())):
        if source.detect(path, tree):
            return source
    return None


def _names_to_try(path: str, tree: Tree) -> list[str]:
    """The built-in formats that may detect the plan: all of them, if it is a folder."""
    if tree.read(path) is None:
        return list(_BUILT_IN)
    path = path.lower()
    return [name for name, each in _BUILT_IN.items() if path.endswith(each.suffixes)]


def check_options(source: Source, settings: PlanSettings) -> None:
    """Check the options in the settings against those that the format has.

    Raises InvalidInput for each unknown option and each value that is not allowed.
    """
    problems = []
    for name, value in settings.options.items():
        allowed = source.options.get(name)
        if allowed is None:
            what = f"{source.name} has no option {name!r}"
            options = ", ".join(source.options) or "none"
            otherwise = f"known options of this format: {options}"
            remedy = spelling_remedy(name, source.options, otherwise)
            problems.append(Problem(settings.path, None, what, remedy))
        elif allowed and value not in allowed:
            what = f"the option {name} cannot be {value!r}"
            remedy = f"write one of: {', '.join(allowed)}"
            problems.append(Problem(settings.path, None, what, remedy))
    if problems:
        raise InvalidInput(problems)


def _installed_entries() -> Iterator[_EntryPoint]:
    """Entry points of other packages whose names no built-in format uses."""
    if not may_have_entry_points(ENTRY_POINT_GROUP):
        return
    # Imported here because it is slow and rarely needed.
    from importlib.metadata import entry_points

    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name not in _BUILT_IN:
            yield entry


def _load_entry(entry: _EntryPoint) -> Source:
    """The format behind an entry point.

    Raises UsageProblem if it cannot be loaded or does not follow the Protocol.
    """
    label = f"the plan format {entry.name!r} ({entry.value})"
    try:
        source: Source = entry.load()()
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise UsageProblem(
            f"{label} cannot be loaded: {reason}", "fix or uninstall that package"
        ) from error
    missing = [name for name in PROTOCOL_MEMBERS if not hasattr(source, name)]
    if missing:
        raise UsageProblem(
            f"{label} is not a valid plan format: it lacks {', '.join(missing)}",
            "fix or uninstall that package; fanin's CONTRIBUTING.md describes plan formats",
        )
    if source.name != entry.name:
        raise UsageProblem(
            f"{label} calls itself {source.name!r}",
            "give the class and its entry point the same name",
        )
    return source
