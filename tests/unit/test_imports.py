"""The rooms keep their places: imports go one way, and what is slow to import is imported late."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import runner

ROOT = Path(runner.__file__).parent

# Which rooms each room may import at run time (DESIGN, Rooms): cli → local → pipeline → core → models, errors.
CORE: dict[str, set[str]] = {
    "models": set(),
    "errors": set(),
    "patterns": set(),
    "verify": set(),
    "masking": {"leaks"},
    "yamldoc": {"errors"},
    "jsondoc": {"errors"},
    "validation": {"errors", "patterns"},
    "leaks": set(),
    "packs": set(),
    "policy": {"models", "patterns"},
    "merge": {"models", "policy"},
    "progress": {"models", "errors"},
    "collector": set(),
    "config": {"models", "errors", "patterns", "policy", "validation", "yamldoc"},
    "sources": {"models", "errors", "collector", "jsondoc", "patterns", "validation", "yamldoc"},
    "graph": {"models", "errors", "collector", "validation"},
    "batch": {"models", "errors", "config", "patterns", "policy", "progress"},
    "budget": {"models"},
    "pace": set(),
    "pictures": {"models", "errors", "graph", "progress"},
    "summary": {"models", "pictures", "progress"},
    "schemas": {"models", "config", "sources"},
    "visible": set(),
    "issues": {"models", "pictures", "progress", "sources", "summary", "visible"},
}
EDGES: dict[str, set[str]] = {
    "durable": set(),
    "packwriter": set(),
    "objects": {"packwriter", "errors", "policy", "workspace"},
    "process": {"errors", "masking"},
    "workspace": {"errors", "durable", "leaks"},
    "spares": {"errors", "workspace"},
    "agents": {"models", "errors", "leaks", "process"},
    "artifacts": {"models", "errors", "durable"},
    "journal": {"models", "errors", "artifacts", "durable"},
    "gitsession": set(),
    # policy.Change and workspace.Origin are the words it answers in
    "gitrepo": {"errors", "durable", "gitsession", "leaks", "objects", "packwriter", "policy", "workspace"},
    "gitremote": {"errors", "durable", "gitrepo"},
    "refusals": {"errors"},
    "github_api": {"errors", "refusals"},
    "actions_io": {"models", "errors"},
    "issue_api": {"errors", "github_api", "issues", "refusals"},
    "publishing": {"errors", "actions_io", "github_api", "gitremote", "gitrepo", "refusals"},
}
ATTEMPT = {"models", "errors", "leaks", "policy", "agents", "artifacts", "masking", "process", "workspace"}
SNAPSHOT = {
    "models",
    "errors",
    "agents",
    "collector",
    "graph",
    "progress",
    "sources",
    "validation",
    "gitrepo",
}
FAN_IN = {
    "models",
    "errors",
    "artifacts",
    "gitrepo",
    "leaks",
    "merge",
    "packs",
    "policy",
    "progress",
    "snapshot",
    "verify",
}
PIPELINE = {*CORE, "artifacts", "workspace", "attempt", "snapshot", "fan_in"}
DOORS: dict[str, set[str]] = {
    "attempt": ATTEMPT,
    "snapshot": SNAPSHOT,
    "fan_in": FAN_IN,
    "pipeline": PIPELINE,
    "landing": {"models", "errors", "agents", "config", "leaks", "attempt", "fan_in", "pipeline", "gitrepo", "journal"},
    "flushing": {"models", "config", "fan_in", "gitrepo", "journal", "landing", "merge", "pipeline", "snapshot"},
    "rolling": {
        "models",
        "errors",
        "config",
        "fan_in",
        "flushing",
        "gitrepo",
        "journal",
        "landing",
        "pipeline",
        "snapshot",
    },
    "upcoming": {"models", "batch", "progress", "snapshot"},
    "local": {*PIPELINE, *EDGES, "pipeline", "landing", "rolling", "upcoming"},
    "actions": {*PIPELINE, *EDGES, "pipeline"},
    "issue_jobs": {
        "errors",
        "actions",
        "actions_io",
        "config",
        "github_api",
        "gitremote",
        "gitrepo",
        "issue_api",
        "issues",
        "models",
        "pictures",
        "publishing",
        "refusals",
        "snapshot",
        "sources",
        "summary",
    },
    "console": {"models", "budget", "config", "pictures", "fan_in", "snapshot"},
    "starter": set(),
    "demo": set(),
    "demo_agent": set(),
    "cli": {
        *CORE,
        *EDGES,
        "actions",
        "console",
        "demo",
        "issue_jobs",
        "landing",
        "local",
        "pipeline",
        "snapshot",
        "starter",
    },
    "__main__": {"cli"},
}
ROOMS = CORE | EDGES | DOORS

# Which rooms may import what is not theirs alone.
ONLY_IN = {
    "networkx": {"graph"},
    "git": {"gitrepo", "demo"},
    "github": {"github_api"},
    "markdown_it": {"visible"},
    "click": {"cli"},
    "rich": {"console", "cli"},
    "filelock": {"journal"},
    "pathspec": {"patterns"},
    "subprocess": {"process", "workspace", "gitsession"},
}


def _rooms() -> list[str]:
    modules = {path.stem for path in ROOT.glob("*.py") if path.stem != "__init__"}
    return sorted(modules | {path.parent.name for path in ROOT.glob("*/__init__.py")})


@cache
def _trees(room: str) -> list[ast.Module]:
    paths = [ROOT / f"{room}.py"] if (ROOT / f"{room}.py").exists() else sorted((ROOT / room).glob("**/*.py"))
    return [ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in paths]


def _imported(node: ast.AST, types: bool) -> Iterator[str]:
    """Dotted names imported anywhere below; those under `if TYPE_CHECKING` only if `types`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute, so that a room is named where it is used"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and getattr(child.test, "id", "") == "TYPE_CHECKING" and not types:
            for other in child.orelse:
                yield from _imported(other, types)
        else:
            yield from _imported(child, types)


@cache
def _names(room: str, *, types: bool = False) -> set[str]:
    return {name for tree in _trees(room) for name in _imported(tree, types)}


def test_every_room_has_its_place_in_the_table() -> None:
    assert set(_rooms()) <= set(ROOMS)


def test_the_table_goes_one_way() -> None:
    order = list(TopologicalSorter(ROOMS).static_order())
    assert len(order) == len(ROOMS)
    assert not any(allowed - set(CORE) for allowed in CORE.values())


@pytest.mark.parametrize("room", _rooms())
def test_imports_go_one_way(room: str) -> None:
    within = {name.split(".")[1] for name in _names(room) if name.startswith("runner.")}
    assert within - {room, "__version__"} <= ROOMS[room]


@pytest.mark.parametrize(("module", "rooms"), ONLY_IN.items(), ids=ONLY_IN)
def test_an_outside_thing_has_one_door(module: str, rooms: set[str]) -> None:
    users = {room for room in _rooms() if module in {name.split(".")[0] for name in _names(room, types=True)}}
    assert users <= rooms


@pytest.mark.parametrize("room", sorted({*CORE, "pipeline"} & set(_rooms())))
def test_the_core_never_reads_the_environment_itself(room: str) -> None:
    read = {
        node.attr
        for tree in _trees(room)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
    }
    assert not read & {"environ", "environb", "getenv", "putenv"}
    assert not {name for name in _names(room) if name in {"os.environ", "os.getenv"}}


@pytest.mark.parametrize("name", ["git", "github", "json", "subprocess", "types", "yaml", "click"])
def test_no_room_is_named_like_a_module_that_others_import(name: str) -> None:
    assert name not in _rooms()


@pytest.mark.parametrize(
    ("module", "late"),
    [
        ("runner.cli", {"networkx", "git", "github", "rich", "pydantic", "yaml"}),
        ("runner.pipeline", {"networkx", "git", "github", "rich", "click"}),
    ],
)
def test_what_is_slow_to_import_waits_until_it_is_used(module: str, late: set[str]) -> None:
    told = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert module in told
    assert not late & set(told)
