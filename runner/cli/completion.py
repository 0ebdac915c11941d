"""Shell completion of task ids, presets and plan formats.

A function here runs at every press of the Tab key. It is silent on any error: a message
would end up in the middle of the command line.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    import click
    from click.shell_completion import CompletionItem

    from runner.config.settings_table import Setting

    Completion = Callable[[click.Context, click.Parameter, str], list[str]]
    Flags = Mapping[str, str | None]

# The flags that decide which plan is read.
_PLAN_FLAGS = ("plan", "source", "branch")


def task_ids(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The ids of the committed plan that are not on the command line yet.

    The titles are their descriptions, which zsh and fish show.
    """
    from click.shell_completion import CompletionItem

    value = ctx.params.get(param.name or "")
    typed = value if isinstance(value, tuple) else ()
    try:
        return [
            CompletionItem(task_id, help=title)
            for task_id, title in _committed_tasks(ctx)
            if task_id.startswith(incomplete) and task_id not in typed
        ]
    except Exception:  # noqa: BLE001  silent, see above
        return []


def presets(_: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """The names of the agents that can be chosen."""
    try:
        from runner import agents

        return _matching(agents.preset_names(), incomplete)
    except Exception:  # noqa: BLE001  silent, see above
        return []


def plan_formats(
    _: click.Context, _param: click.Parameter, incomplete: str
) -> list[str]:
    """The names of the plan formats."""
    try:
        from runner.plan import formats

        return _matching(formats.source_names(), incomplete)
    except Exception:  # noqa: BLE001  silent, see above
        return []


def of_setting(setting: Setting) -> Completion | None:
    """The completion of the setting's flag, None if its value is free text."""
    if setting.name == "agent":
        return presets
    if setting.name == "source":
        return plan_formats
    # The flag has no click.Choice: its value is checked together with the settings, so
    # that the message is the same for the flag, the variable and the file.
    choices = setting.metavar.split("|")
    if len(choices) == 1:
        return None

    def complete(
        _: click.Context, _param: click.Parameter, incomplete: str
    ) -> list[str]:
        return _matching(choices, incomplete)

    return complete


def _matching(values: list[str], incomplete: str) -> list[str]:
    return [value for value in values if value.startswith(incomplete)]


def _committed_tasks(ctx: click.Context) -> Iterator[tuple[str, str]]:
    """(id, title) of each task of the plan on the branch."""
    # The group's callback, which sets ctx.obj, does not run during completion.
    folder = ctx.find_root().params.get("repo") or os.curdir
    flags = {name: ctx.params.get(name) for name in _PLAN_FLAGS}
    native_tasks = _native_tasks(folder, flags)
    if native_tasks is not None:
        return iter(native_tasks)
    return _tasks_of_any_format(folder, flags)


def _native_tasks(folder: str, flags: Flags) -> list[tuple[str, str]] | None:
    """(id, title) of each task of a native plan, None if the plan has another format.

    Reads the plan without the models of pydantic, which take longer to build than a
    person wants to wait for the Tab key. So nothing is validated here.
    """
    from pathlib import Path

    from runner.repo.command import Git
    from runner.repo.environment import repository_environment

    git = Git(Path(folder), repository_environment(os.environ))
    root = git.run(["rev-parse", "--show-toplevel"])
    repository = Path(os.fsdecode(root.rstrip(b"\n")))
    settings = _load_yaml(repository / "fanin.yml")
    plan = settings.get("plan")
    if not isinstance(plan, dict):
        plan = {"path": plan}

    def setting(name: str, from_file: object) -> str | None:
        variable = os.environ.get(f"FANIN_{name.upper()}")
        return flags[name] or variable or (str(from_file) if from_file else None)

    path = setting("plan", plan.get("path")) or "tasks.yml"
    source = setting("source", plan.get("source"))
    branch = setting("branch", settings.get("branch"))
    if source not in {None, "native"} or not path.endswith((".yml", ".yaml")):
        return None
    commit = f"refs/heads/{branch}" if branch else "HEAD"
    text = git.run(["cat-file", "blob", f"{commit}:{path}"])
    return [
        (str(task["id"]), str(task.get("title", "")))
        for task in _parse_yaml(text)["tasks"]
    ]


def _load_yaml(path: Path) -> dict[str, Any]:
    return _parse_yaml(path.read_bytes()) if path.is_file() else {}


def _parse_yaml(text: bytes) -> dict[str, Any]:
    import yaml

    # The C parser, which is many times faster than the one that yaml.safe_load uses.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    return yaml.load(text, Loader=loader) or {}  # noqa: S506  both loaders are safe


def _tasks_of_any_format(folder: str, flags: Flags) -> Iterator[tuple[str, str]]:
    from runner.cli.context import branch_commit, open_project
    from runner.plan import loading
    from runner.plan.trees import CommitTree

    repo, settings = open_project(folder, flags)
    _, commit = branch_commit(repo, settings)
    # Neither progress nor graph: both take time, and no id depends on them.
    for task in loading.load(settings.plan, CommitTree(repo, commit)).tasks:
        yield task.id, task.title
