"""The packages keep their places: imports only go down, and what is slow to import is
imported late.
"""

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

# One worker reads the modules.
pytestmark = [pytest.mark.one_python, pytest.mark.xdist_group("imports")]

ROOT = Path(runner.__file__).parent

# Which packages each package may import at run time, from the bottom up. A row grants
# nothing that is not used.
PACKAGES: dict[str, set[str]] = {
    "core": set(),
    "policy": {"core"},
    "github_api": {"core"},
    "sandbox": {"core"},
    "agents": {"core", "policy", "sandbox"},
    "repo": {"core", "policy"},
    "config": {"core", "policy"},
    "plan": {"core", "policy", "agents", "repo"},
    "fan_in": {"core", "policy", "repo", "plan"},
    "schedule": {"core", "policy", "agents", "config", "plan"},
    "schemas": {"core", "config", "plan"},
    "discovery": {"core", "agents", "plan"},
    "attempt": {"core", "policy", "sandbox", "agents", "repo"},
    "ui": {"core", "plan"},
    "pipeline": {
        "core",
        "config",
        "repo",
        "plan",
        "schedule",
        "attempt",
        "fan_in",
    },
    "delivery": {"core", "repo", "plan", "github_api", "ui"},
    "local": {
        "core",
        "policy",
        "config",
        "sandbox",
        "agents",
        "repo",
        "plan",
        "schedule",
        "fan_in",
        "attempt",
        "ui",
        "github_api",
        "delivery",
        "pipeline",
    },
    "actions": {
        "core",
        "sandbox",
        "config",
        "policy",
        "repo",
        "agents",
        "plan",
        "schedule",
        "attempt",
        "fan_in",
        "ui",
        "delivery",
        "pipeline",
        "github_api",
    },
    "issues": {"core", "github_api", "plan", "ui", "actions"},
    "comments": {
        *{"core", "config", "github_api", "plan", "fan_in", "ui"},
        *{"local", "actions", "issues", "delivery"},
    },
    "report": {"core", "policy", "config", "repo", "plan", "ui", "local"},
    "cli": {
        *{"core", "github_api", "config", "agents", "repo", "plan", "schedule"},
        *{"ui", "local", "actions", "issues", "comments", "discovery", "report"},
    },
    "__main__": {"cli"},
}

# Which packages may import what is not theirs alone.
ONLY_IN = {
    "networkx": {"plan"},
    "git": {"repo"},
    "github": {"github_api"},
    "markdown_it": {"issues", "comments"},
    "click": {"cli"},
    "rich": {"ui", "cli"},
    "subprocess": {"agents", "repo"},
}


def _packages() -> list[str]:
    modules = {path.stem for path in ROOT.glob("*.py") if path.stem != "__init__"}
    return sorted(modules | {path.parent.name for path in ROOT.glob("*/__init__.py")})


@cache
def _trees(package: str) -> list[ast.Module]:
    single = ROOT / f"{package}.py"
    paths = [single] if single.exists() else sorted((ROOT / package).glob("**/*.py"))
    return [ast.parse(path.read_text(encoding="utf-8"), str(path)) for path in paths]


def _imported(node: ast.AST, types: bool) -> Iterator[str]:
    """Dotted names imported anywhere below; those under `if TYPE_CHECKING` only if
    `types`.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, (
                "imports are absolute, so that a package is named where it is used"
            )
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif (
            isinstance(child, ast.If)
            and getattr(child.test, "id", "") == "TYPE_CHECKING"
            and not types
        ):
            for branch in child.orelse:
                yield from _imported(branch, types)
        else:
            yield from _imported(child, types)


@cache
def _names(package: str, *, types: bool = False) -> set[str]:
    return {name for tree in _trees(package) for name in _imported(tree, types)}


def test_the_package_itself_holds_packages_and_the_pipeline() -> None:
    assert {path.name for path in ROOT.glob("*.py")} == {
        "__init__.py",
        "__main__.py",
        "pipeline.py",
    }


def test_every_package_has_its_row() -> None:
    assert set(_packages()) == set(PACKAGES)


def test_the_table_has_no_circle() -> None:
    assert len(list(TopologicalSorter(PACKAGES).static_order())) == len(PACKAGES)


@pytest.mark.parametrize("package", _packages())
def test_imports_only_go_down(package: str) -> None:
    within = {
        name.split(".")[1] for name in _names(package) if name.startswith("runner.")
    }
    assert within - {package, "__version__"} == PACKAGES[package]


@pytest.mark.parametrize(("module", "packages"), ONLY_IN.items(), ids=ONLY_IN)
def test_an_outside_library_has_one_door(module: str, packages: set[str]) -> None:
    users = {
        package
        for package in _packages()
        if module in {name.split(".")[0] for name in _names(package, types=True)}
    }
    assert users == packages


def test_one_module_starts_git_and_one_imports_gitpython() -> None:
    users: dict[str, set[str]] = {"git": set(), "subprocess": set()}
    for path in sorted((ROOT / "repo").glob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name in _imported(tree, types=False):
            module = name.split(".")[0]
            if module in users:
                users[module].add(path.stem)
    assert users == {"git": {"gitpython"}, "subprocess": {"command"}}


@pytest.mark.parametrize(
    "package", sorted(set(_packages()) - {"repo", "attempt", "agents", "local", "cli"})
)
def test_only_the_edges_read_the_environment(package: str) -> None:
    read = {
        node.attr
        for tree in _trees(package)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    }
    assert not read & {"environ", "environb", "getenv", "putenv"}
    assert not {name for name in _names(package) if name in {"os.environ", "os.getenv"}}


@pytest.mark.parametrize(
    "name", ["git", "github", "json", "subprocess", "types", "yaml", "click"]
)
def test_no_package_is_named_like_a_module_that_others_import(name: str) -> None:
    assert name not in _packages()


@pytest.mark.parametrize(
    ("module", "late"),
    [
        ("runner.cli", {"networkx", "git", "github", "rich", "pydantic", "yaml"}),
        ("runner.pipeline", {"networkx", "git", "github", "rich", "click"}),
    ],
)
def test_what_is_slow_to_import_waits_until_it_is_used(
    module: str, late: set[str]
) -> None:
    imported = subprocess.run(
        [sys.executable, "-c", f"import sys, {module}; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert module in imported
    assert not late & set(imported)


def test_an_import_builds_no_validator() -> None:
    """Also not for defaults and constants, which `model_construct` makes."""
    program = """
import sys
from pydantic import BaseModel, TypeAdapter
import runner.cli.round_jobs, runner.cli.work_jobs, runner.cli.run, runner.local.run, runner.ui.plan_json
pending, built = [BaseModel], []
while pending:
    for model in pending.pop().__subclasses__():
        pending.append(model)
        if model.__module__.startswith("runner.") and model.__pydantic_complete__:
            built.append(model.__qualname__)
for name, module in list(sys.modules.items()):
    if name.startswith("runner."):
        built += [
            f"{name}.{key}" for key, value in vars(module).items()
            if isinstance(value, TypeAdapter)
        ]
print(*built)
"""
    argv = [sys.executable, "-c", program]
    told = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert told.stdout.split() == []
