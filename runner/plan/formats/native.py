"""The native plan: `tasks.yml` with `version`, `defaults` and `tasks`.

A task in it has no status, so `write_back` changes nothing: the progress file has it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from runner.core import gc_pause, yaml_document
from runner.core.documents import Duration, UserDocument
from runner.core.errors import InvalidInput, Problem
from runner.core.task import AgentSettings, Plan, Task, TaskFields
from runner.core.validation import problems_of
from runner.core.yaml_document import YamlDocument
from runner.plan.formats.base import Mark, Options, Tree
from runner.plan.formats.diagnostics import (
    edge_problems,
    refuse_number,
    spelling_remedy,
)
from runner.policy.globs import glob_problems

EXAMPLE = "write:  tasks: [{id: T1, title: What to do}]"
_LIST_KEYS = ("files", "depends_on", "allow")
_LINE_WIDTH = 110
_BLANK = Task.model_construct(id="T", title="x")


class Defaults(UserDocument):
    """The values of every task that does not set its own."""

    agent: AgentSettings | None = None
    verify: str | None = None
    timeout: Duration | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = None
    estimate: Duration | None = None
    priority: int = 0
    allow: tuple[str, ...] = ()
    allow_empty: bool = False


class PlanFile(UserDocument):
    """The whole `tasks.yml`; `runner/schemas/tasks.schema.json` is its JSON Schema."""

    version: Literal[1]
    defaults: Defaults = Defaults.model_construct()
    tasks: Annotated[tuple[TaskFields, ...], Field(min_length=1)]


class Native:
    """The `native` format; see `runner.plan.formats.base.Source`."""

    name = "native"
    options: Mapping[str, Sequence[str]] = {}

    def detect(self, path: str, tree: Tree) -> bool:
        """True for every YAML file."""
        return path.endswith((".yml", ".yaml")) and tree.read(path) is not None

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan in this file; dependencies are checked later, by the graph.

        Raises InvalidInput with every located problem.
        """
        # Nearly every object of a large plan stays, so collecting would be wasted time.
        with gc_pause.paused():
            document = yaml_document.load(path, tree.read(path) or "")
            return self._load(path, document)

    def _load(self, path: str, document: YamlDocument) -> Plan:
        problems = _structure_problems(path, document)
        data = document.data
        if not isinstance(data, dict) or not isinstance(data.get("tasks"), list):
            raise InvalidInput(problems)
        refuse_number(path, len(data["tasks"]))
        defaults, defaults_problems = _read_defaults(document)
        problems += defaults_problems
        tasks: list[Task] = []
        nodes = _task_nodes(document.node)
        for index, (value, node) in enumerate(zip(data["tasks"], nodes, strict=True)):
            task, task_problems = _read_task(document, index, value, node, defaults)
            problems += task_problems
            if task is not None:
                tasks.append(task)
        problems += edge_problems(path, tasks)
        if problems:
            raise InvalidInput(problems)
        return Plan(path=path, source=self.name, tasks=tuple(tasks))

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        return {}


# -- Reading --


def _structure_problems(path: str, document: YamlDocument) -> list[Problem]:
    """The problems of the top level."""
    data = document.data
    if not isinstance(data, dict):
        return [Problem(path, 1, "this is not a plan", EXAMPLE)]
    problems = []
    for key in data:
        if key in PlanFile.model_fields or _is_users_own(key):
            continue
        what = f"unknown key {key!r}"
        otherwise = "the keys of a plan are version, defaults, tasks"
        remedy = spelling_remedy(str(key), PlanFile.model_fields, otherwise)
        problems.append(Problem(path, document.line([key]), what, remedy))
    if data.get("version") != 1:
        what = "the version is missing or unknown"
        line = document.line(["version"])
        problems.append(Problem(path, line, what, "write: version: 1"))
    tasks = data.get("tasks")
    line = document.line(["tasks"])
    if not isinstance(tasks, list):
        problems.append(Problem(path, line, "'tasks' is not a list", EXAMPLE))
    elif not tasks:
        problems.append(Problem(path, line, "no tasks found", EXAMPLE))
    return problems


def _is_users_own(key: object) -> bool:
    """Whether the key is one that fanin never reads, such as `x-notes`."""
    return str(key).startswith("x-")


def _read_defaults(document: YamlDocument) -> tuple[dict[str, Any], list[Problem]]:
    """The defaults that are set, and the problems of those that are not usable."""
    values = document.data.get("defaults")
    if not values:
        return {}, []
    try:
        defaults = Defaults.model_validate(values)
    except ValidationError as error:
        location = ("defaults",)
        return {}, problems_of(error, document.path, document.line, Defaults, location)
    return defaults.model_dump(exclude_unset=True), []


def _task_nodes(root: yaml.Node | None) -> list[yaml.Node]:
    assert isinstance(root, yaml.MappingNode)
    # PyYAML puts what `<<` merges in first; the mapping's own key is the last one.
    for key, value in reversed(root.value):
        if key.value == "tasks":
            nodes: list[yaml.Node] = value.value
            return nodes
    return []


def _read_task(
    document: YamlDocument,
    index: int,
    value: object,
    node: yaml.Node,
    defaults: Mapping[str, Any],
) -> tuple[Task | None, list[Problem]]:
    """The task at this index of the list, or None, and its problems."""
    path, location = document.path, ("tasks", index)
    if isinstance(value, dict):
        value = {**defaults, **_values_as_written(value, node)}
    try:
        fields = TaskFields.model_validate(value)
    except ValidationError as error:
        return None, problems_of(error, path, document.line, TaskFields, location)
    problems = glob_problems(
        path, document.line, location, files=fields.files or (), allow=fields.allow
    )
    line = node.start_mark.line + 1
    # The fields are valid. A copy costs a third of `model_construct`.
    return _BLANK.model_copy(update={**fields.__dict__, "line": line}), problems


def _values_as_written(values: Mapping[str, Any], node: yaml.Node) -> dict[str, Any]:
    """The task's values with ids as written, and a list where a text is given for one.

    YAML would read the id `1.10` as 1.1 and `007` as 7.
    """
    written = {key: value for key, value in values.items() if not _is_users_own(key)}
    for key in _LIST_KEYS:
        if isinstance(written.get(key), str):
            written[key] = [written[key]]
    for key_node, value_node in node.value:
        if key_node.value == "id" and isinstance(value_node, yaml.ScalarNode):
            written["id"] = value_node.value
        elif key_node.value == "depends_on" and values["depends_on"] is None:
            written["depends_on"] = []
        elif key_node.value == "depends_on":
            _set_dependencies(written, value_node)
    title = written.get("title")
    if isinstance(title, int | float) and not isinstance(title, bool):
        written["title"] = str(title)
    return written


def _set_dependencies(written: dict[str, Any], node: yaml.Node) -> None:
    if isinstance(node, yaml.ScalarNode):
        written["depends_on"] = [node.value]
    elif isinstance(node, yaml.SequenceNode):
        written["depends_on"] = [_scalar_text(item) for item in node.value]


def _scalar_text(node: yaml.Node) -> str | None:
    """The text of a scalar as it is written.

    None for a list or a mapping: it is not a valid id, so validation reports it.
    """
    return node.value if isinstance(node, yaml.ScalarNode) else None


# -- Writing --


class _Dumper(yaml.SafeDumper):
    """YAML as people write it: no aliases, texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def render(plan: Plan) -> str:
    """The text of a native plan with these tasks; default values are omitted."""
    fields = set(TaskFields.model_fields)
    tasks = []
    for task in plan.tasks:
        values = task.model_dump(mode="json", exclude_defaults=True, include=fields)
        if task.open_before:
            values["depends_on"] = list(task.waits_for)
        tasks.append(values)
    # A path may contain a line break, which would end the comment.
    path = " ".join(plan.path.split())
    body = yaml.dump(
        {"version": 1, "tasks": tasks},
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=_LINE_WIDTH,
    )
    return f"# From {path} ({plan.source})\n{body}"
