"""The native plan: `tasks.yml` with `version`, `defaults` and `tasks`.

It has no word for a state, so `write_back` changes nothing: the progress file holds it
all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError

from runner.core import gc_pause, yaml_document
from runner.core.documents import Duration, UserDocument
from runner.core.errors import InvalidInput, Problem
from runner.core.task import AgentSettings, Plan, Task, TaskFields
from runner.core.validation import nearest, problems_of
from runner.plan.formats.base import Mark, Options, Tree
from runner.policy.globs import glob_problems

EXAMPLE = "write:  tasks: [{id: T1, title: What to do}]"
_LISTS = ("files", "depends_on", "allow")


class Defaults(UserDocument):
    """What every task has that does not say otherwise."""

    agent: AgentSettings | None = None
    verify: str | None = None
    timeout: Duration | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = None
    estimate: Duration | None = None
    priority: int = 0
    allow: tuple[str, ...] = ()
    allow_empty: bool = False


class PlanFile(UserDocument):
    """The whole `tasks.yml`; its JSON Schema ships as
    `runner/schemas/tasks.schema.json`.
    """

    version: Literal[1]
    defaults: Defaults = Defaults()
    tasks: Annotated[tuple[TaskFields, ...], Field(min_length=1)]


class Native:
    """Reads `tasks.yml`."""

    name = "native"
    options: Mapping[str, Sequence[str]] = {}

    def detect(self, path: str, tree: Tree) -> bool:
        return path.endswith((".yml", ".yaml")) and tree.read(path) is not None

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan; InvalidInput with every located problem of its form (the graph is
        checked by `graph`).
        """
        with gc_pause.paused():
            return self._load(path, yaml_document.load(path, tree.read(path) or ""))

    def _load(self, path: str, document: yaml_document.YamlDocument) -> Plan:
        problems = _form_problems(path, document)
        if not isinstance(document.data, dict) or not isinstance(
            document.data.get("tasks"), list
        ):
            raise InvalidInput(problems)
        defaults, more = _defaults(document)
        problems += more
        tasks: list[Task] = []
        nodes = _task_nodes(document.node)
        for index, raw in enumerate(document.data["tasks"]):
            values = _plain(raw, nodes[index]) if isinstance(raw, dict) else raw
            try:
                fields = TaskFields.model_validate(
                    {**defaults, **values} if isinstance(values, dict) else values
                )
                globs = {"files": fields.files or (), "allow": fields.allow}
                problems += glob_problems(
                    path, document.line, ("tasks", index), **globs
                )
                tasks.append(
                    Task.model_construct(
                        **fields.__dict__, line=nodes[index].start_mark.line + 1
                    )
                )
            except ValidationError as error:
                problems += problems_of(
                    error, path, document.line, TaskFields, ("tasks", index)
                )
        if problems:
            raise InvalidInput(problems)
        return Plan(path=path, source=self.name, tasks=tuple(tasks))

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        return {}


class _Dumper(yaml.SafeDumper):
    """Plain YAML as people write it: no aliases, texts of several lines as blocks."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _text_node)


def render(plan: Plan) -> str:
    """The plan's tasks as a native plan: all of what a task may say, nothing that is
    the default.
    """
    tasks = [
        task.model_dump(
            mode="json", exclude_defaults=True, include=set(TaskFields.model_fields)
        )
        for task in plan.tasks
    ]
    data = {"version": 1, "tasks": tasks}
    head = f"# From {' '.join(plan.path.split())} ({plan.source})\n"
    return head + yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110
    )


def _form_problems(path: str, document: yaml_document.YamlDocument) -> list[Problem]:
    data = document.data
    if not isinstance(data, dict):
        return [Problem(path, 1, "this is no plan", EXAMPLE)]
    problems = [
        Problem(
            path,
            document.line([key]),
            f"unknown key {key!r}",
            f"did you mean {guess!r}?"
            if (guess := nearest(str(key), PlanFile.model_fields))
            else "known here: version, defaults, tasks",
        )
        for key in data
        if key not in PlanFile.model_fields and not str(key).startswith("x-")
    ]
    if data.get("version") != 1:
        problems.append(
            Problem(
                path,
                document.line(["version"]),
                "the version is missing or unknown",
                "write: version: 1",
            )
        )
    if not isinstance(data.get("tasks"), list):
        problems.append(
            Problem(path, document.line(["tasks"]), "'tasks' is not a list", EXAMPLE)
        )
    elif not data["tasks"]:
        problems.append(
            Problem(path, document.line(["tasks"]), "no tasks found", EXAMPLE)
        )
    return problems


def _defaults(
    document: yaml_document.YamlDocument,
) -> tuple[dict[str, Any], list[Problem]]:
    raw = document.data.get("defaults") or {}
    try:
        return Defaults.model_validate(raw).model_dump(exclude_unset=True), []
    except ValidationError as error:
        return {}, problems_of(
            error, document.path, document.line, Defaults, ("defaults",)
        )


def _task_nodes(root: yaml.Node | None) -> list[yaml.Node]:
    assert isinstance(root, yaml.MappingNode)
    return next(list(value.value) for key, value in root.value if key.value == "tasks")


def _plain(raw: dict[str, Any], node: yaml.Node) -> dict[str, Any]:
    """The mapping with ids as they are written: YAML reads `1.10` as 1.1 and `007` as
    7.
    """
    values = {key: value for key, value in raw.items() if not str(key).startswith("x-")}
    for name in _LISTS:
        if isinstance(values.get(name), str):
            values[name] = [values[name]]
    for key, value in node.value:
        if key.value == "id" and isinstance(value, yaml.ScalarNode):
            values["id"] = value.value
        elif key.value == "depends_on" and isinstance(value, yaml.SequenceNode):
            values["depends_on"] = [
                item.value if isinstance(item, yaml.ScalarNode) else None
                for item in value.value
            ]
        elif key.value == "depends_on" and isinstance(value, yaml.ScalarNode):
            values["depends_on"] = (
                [value.value] if raw["depends_on"] is not None else []
            )
    if isinstance(values.get("title"), int | float) and not isinstance(
        values["title"], bool
    ):
        values["title"] = str(values["title"])
    return values
