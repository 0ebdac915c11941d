"""Each command imports only what it uses: by the list of what is loaded when it ends,
never by time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import Project

SLOW = {
    "git",
    "gitdb",
    "github",
    "networkx",
    "pydantic",
    "requests",
    "rich.console",
    "yaml",
}
SETTINGS = {"pydantic", "yaml"}

# Of a run, which change; what a run and its attempts are given.
VIEWS = {"AttemptView", "RunView", "TaskRun"}
CONTEXTS = {"AttemptContext", "RunContext"}

_TELL = """
import sys
sys.argv = ["fanin", *sys.argv[1:]]
from runner.cli import main
try:
    main()
except SystemExit as end:
    print("\\n::", end.code, *sys.modules)
"""


_COUNT_LOOKUPS = """
import importlib.metadata, sys
sys.argv = ["fanin", *sys.argv[1:]]
lookups = []
importlib.metadata.distributions = lambda **_: lookups.append(1) or []
from runner.cli import main
try:
    main()
except SystemExit:
    print("\\n::", len(lookups))
"""


_COUNT_GIT = """
import subprocess, sys
sys.argv = ["fanin", *sys.argv[1:]]
started = []
class Popen(subprocess.Popen):
    def __init__(self, argv, **options):
        # git -c KEY=VALUE … COMMAND: the first word that follows no option
        words = iter(argv[1:])
        while (word := next(words)).startswith("-"):
            if word in {"-c", "-C"}:
                next(words)
        started.append(word)
        super().__init__(argv, **options)
subprocess.Popen = Popen
from runner.cli import main
try:
    main()
except SystemExit:
    print("\\n::", *started)
"""


# Ends when fanin would start the first agent.
_TELL_AT_FIRST_AGENT = """
import os, subprocess, sys
sys.argv = ["fanin", "run"]
started = []
class Popen(subprocess.Popen):
    def __init__(self, argv, **options):
        if any(str(word).endswith("supervisor.py") for word in argv):
            print("\\n::", *started, ":", *sys.modules, flush=True)
            os._exit(0)
        if argv[0].endswith("git"):
            words = iter(argv[1:])
            while (word := next(words)).startswith("-"):
                if word in {"-c", "-C"}:
                    next(words)
            started.append(word)
        super().__init__(argv, **options)
subprocess.Popen = Popen
from runner.cli import main
main()
"""


# Calls `tell` when fanin would start the first agent, or ends before.
_UNTIL_FIRST_AGENT = """
import os, subprocess
class Popen(subprocess.Popen):
    def __init__(self, argv, **options):
        if any(str(word).endswith("supervisor.py") for word in argv):
            tell()
            os._exit(0)
        super().__init__(argv, **options)
subprocess.Popen = Popen
from runner.cli import main
try:
    main()
except SystemExit:
    tell()
"""


_TELL_DATACLASSES = """
import dataclasses, sys
sys.argv = ["fanin", *sys.argv[1:]]
made = []
original = dataclasses.dataclass
def dataclass(cls=None, /, **options):
    def make(cls):
        if cls.__module__.startswith("runner."):
            made.append(cls.__qualname__)
        return original(cls, **options)
    return make if cls is None else make(cls)
dataclasses.dataclass = dataclass
def tell():
    print("\\n::", *made, flush=True)
"""


_TELL_PATTERNS = """
import re, sys
sys.argv = ["fanin", *sys.argv[1:]]
compiled = []
original = re.compile
def compile(*args, **options):
    frame = sys._getframe(1)
    name = frame.f_globals["__name__"]
    if name.startswith("runner.") and frame.f_code.co_name == "<module>":
        compiled.append(name)
    return original(*args, **options)
re.compile = compile
def tell():
    print("\\n::", *compiled, flush=True)
"""


def loaded(project: Project, *argv: str) -> set[str]:
    """Every module that is loaded when the command has ended with 0, 1 or 2."""
    told = subprocess.run(
        [sys.executable, "-c", _TELL, *argv],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=True,
    )
    code, *names = told.stdout.rpartition("\n:: ")[2].split()
    assert code in {"0", "1", "2"}, told.stdout + told.stderr
    return set(names)


@pytest.fixture
def planned(project: Project) -> Project:
    project.plan(
        [
            {"id": "A", "do": ["write a: a"]},
            {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
        ]
    )
    return project


@pytest.mark.parametrize("argv", [["--help"], ["run", "--help"], ["--version"]])
def test_help_loads_click_and_no_more_than_a_handful_of_small_modules(
    planned: Project, argv: list[str]
) -> None:
    names = loaded(planned, *argv)
    assert not names & SLOW
    assert not names & {
        "dataclasses",
        "json",
        "pathlib",
        "shutil",
        "subprocess",
        "tempfile",
        "zlib",
    }
    outside_cli = {name for name in names if name.startswith("runner")}
    outside_cli -= {name for name in names if name.startswith("runner.cli")}
    assert outside_cli <= {
        "runner",
        "runner.config",
        "runner.config.settings_table",
        "runner.core",
        "runner.core.errors",
        "runner.core.fanin_commands",
        "runner.core.library_imports",
    }


def test_a_command_loads_no_module_of_another_command(planned: Project) -> None:
    names = {name for name in loaded(planned, "check") if name.startswith("runner.cli")}
    shared = {"runner.cli", "runner.cli.context", "runner.cli.options"}
    assert names == {*shared, "runner.cli.completion", "runner.cli.inspect"}


@pytest.mark.parametrize(
    ("argv", "used"),
    [
        (["graph"], SETTINGS),
        (["status", "--json"], SETTINGS),
        (["status"], SETTINGS),
        (["diff", "A"], SETTINGS),
        (["log", "A"], SETTINGS),
        (["show", "A"], SETTINGS),
        (["kept"], SETTINGS),
        (["report"], SETTINGS),
        (["check"], SETTINGS),
        (["run"], {"rich.console", *SETTINGS}),
        (["skip", "B"], SETTINGS),
        (["retry", "B"], SETTINGS),
        (["init"], SETTINGS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "uses",
)
def test_a_command_loads_only_the_libraries_that_it_uses(
    planned: Project, argv: list[str], used: set[str]
) -> None:
    assert loaded(planned, *argv) & SLOW <= used


@pytest.mark.parametrize("command", ["status", "check", "graph"])
def test_a_command_that_reads_loads_no_slow_module_of_python(
    planned: Project, command: str
) -> None:
    slow = {"asyncio", "concurrent.futures", "difflib", "email", "http", "logging"}
    slow |= {"importlib.metadata", "multiprocessing", "socket", "ssl", "tempfile"}
    assert not loaded(planned, command) & slow


def test_no_command_looks_for_plugins_of_pydantic(planned: Project) -> None:
    # Reading the metadata of all installed packages takes a tenth of the start.
    told = subprocess.run(
        [sys.executable, "-c", _COUNT_LOOKUPS, "status"],
        cwd=planned.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.rpartition(":: ")[2].strip() == "0"


@pytest.mark.parametrize(
    ("argv", "started"),
    [
        (["status"], ["cat-file"]),
        (["log", "A"], ["cat-file"]),
        (["show", "A"], ["cat-file", "for-each-ref", "log"]),
        (["graph"], ["cat-file"]),
        (["check"], ["cat-file", "ls-tree", "status"]),
    ],
)
def test_a_command_that_reads_starts_no_more_git_processes_than_it_must(
    planned: Project, argv: list[str], started: list[str]
) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _COUNT_GIT, *argv],
        cwd=planned.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.rpartition("\n:: ")[2].split() == started


def test_printing_a_log_reads_no_plan_and_starts_no_git(planned: Project) -> None:
    planned.run()
    told = subprocess.run(
        [sys.executable, "-c", _COUNT_GIT, "log", "A"],
        cwd=planned.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.rpartition("\n::")[2].split() == []
    assert not loaded(planned, "log", "A") & {
        "runner.plan.snapshot",
        "runner.core.result_folder",
    }


@pytest.mark.parametrize("argv", [["status"], ["check"], ["log", "A"]], ids=" ".join)
def test_a_command_that_starts_no_agent_loads_no_preset(
    planned: Project, argv: list[str]
) -> None:
    presets = {"claude", "codex", "gemini", "opencode", "copilot", "aider"}
    assert not loaded(planned, *argv) & {f"runner.agents.{name}" for name in presets}


def test_a_version_of_pydantic_may_ask_more_of_what_looks_for_plugins(
    project: Project,
) -> None:
    program = (
        "import sys; sys.argv = ['fanin', '--version']; import contextlib, runner.cli\n"
        "with contextlib.suppress(SystemExit): runner.cli.main()\n"
        "from pydantic.plugin import _loader; assert _loader.get_plugins() == ()\n"
        "assert _loader.PYDANTIC_ENTRY_POINT_GROUP == 'pydantic'\n"
        "import importlib; assert importlib.import_module('pydantic.plugin._loader').__file__"
    )
    subprocess.run([sys.executable, "-c", program], cwd=project.root, check=True)


@pytest.mark.parametrize(
    "argv", [["status"], ["check"], ["log", "A"], ["graph"], ["run"]], ids=" ".join
)
def test_a_start_compiles_no_pattern_before_it_is_used(
    planned: Project, tmp_path: Path, argv: list[str]
) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _TELL_PATTERNS + _UNTIL_FIRST_AGENT, *argv],
        cwd=planned.root,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    before, found, compiled = told.stdout.rpartition("\n::")
    assert found, before + told.stderr
    assert compiled.split() == []


@pytest.mark.parametrize(
    ("argv", "made"),
    [
        (["status"], set()),
        (["check"], {"Secrets", "Simulation"}),
        (["log", "A"], {*VIEWS, "_Read"}),
        (
            ["run"],
            {
                *VIEWS,
                *CONTEXTS,
                "Secrets",
                "Walls",
                "_Base",
                "_Contents",
                "_Place",
                "_Seen",
            },
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "made",
)
def test_a_start_makes_no_more_dataclasses_than_it_must(
    planned: Project, tmp_path: Path, argv: list[str], made: set[str]
) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _TELL_DATACLASSES + _UNTIL_FIRST_AGENT, *argv],
        cwd=planned.root,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    before, found, names = told.stdout.rpartition("\n::")
    assert found, before + told.stderr
    assert set(names.split()) == made


# Compiled are patterns of these modules, and the annotations of typed dictionaries.
_TELL_COMPILED_OF_LIBRARIES = """
import re, sys, typing
sys.argv = ["fanin", "status"]
compiled = []
compile_pattern, compile_text = re.compile, typing.ForwardRef.__init__
def compile(*args, **options):
    name = sys._getframe(1).f_globals["__name__"]
    if name.startswith("yaml."):
        compiled.append(name)
    return compile_pattern(*args, **options)
def refer(self, text, *args, **options):
    frame, is_of_class = sys._getframe(1), False
    while frame := frame.f_back:
        is_of_class |= frame.f_code.co_name == "__new__"
        if frame.f_globals["__name__"] == "pydantic_core.core_schema" and is_of_class:
            compiled.append("pydantic_core.core_schema")
            break
    return compile_text(self, text, *args, **options)
re.compile, typing.ForwardRef.__init__ = compile, refer
from runner.cli import main
try:
    main()
except SystemExit:
    print("\\n::", *compiled)
"""


def test_of_libraries_a_start_compiles_only_what_it_uses(planned: Project) -> None:
    told = subprocess.run(
        [sys.executable, "-c", _TELL_COMPILED_OF_LIBRARIES],
        cwd=planned.root,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.rpartition("\n::")[2].split() == []


def test_what_only_a_run_in_progress_needs_is_not_loaded_without_one(
    planned: Project,
) -> None:
    assert not loaded(planned, "status") & {
        "runner.core.events",
        "runner.core.reports",
        "runner.plan.changes",
    }


def test_a_command_that_reads_loads_nothing_for_what_is_not_there(
    planned: Project,
) -> None:
    assert not loaded(planned, "status") & {
        "rich.cells",  # for text that is not ASCII, in a terminal
        "runner.local.verdicts",
        "runner.plan.formats.left_out",
        "runner.plan.formats.markdown",
        "runner.policy.secret_files",
        "runner.repo.line_counts",
        "runner.repo.tree_changes",
        "runner.repo.work_tree",
    }


def at_first_agent(project: Project, folder: Path) -> tuple[list[str], set[str]]:
    """The git processes that `fanin run` has started, and the modules that it has loaded,
    before it starts its first agent.
    """
    told = subprocess.run(
        [sys.executable, "-c", _TELL_AT_FIRST_AGENT],
        cwd=project.root,
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=True,
    )
    processes, _, names = told.stdout.rpartition("\n:: ")[2].partition(" : ")
    return processes.split(), set(names.split())


def test_the_first_agent_of_a_run_does_not_wait_for_what_merges_shows_or_delivers(
    planned: Project, tmp_path: Path
) -> None:
    _, names = at_first_agent(planned, tmp_path)
    assert "runner.local.run" in names
    assert not names & {
        "git",
        "github",
        "networkx",
        "rich.console",
        "importlib.metadata",
        "concurrent.futures",
        "logging",
    }
    late = {"fan_in.batch_merge", "fan_in.union", "fan_in.inputs", "fan_in.outcome"}
    late |= {"fan_in.admission", "fan_in.batch_commits", "local.accept"}
    late |= {"local.requests", "local.undo", "local.rolling", "local.landing_queue"}
    late |= {"local.delivery", "local.delivered", "plan.requests", "core.reports"}
    late |= {"attempt.capture", "attempt.sizes", "attempt.left_out", "attempt.detours"}
    late |= {"attempt.captured_tree"}
    late |= {"attempt.earlier_work", "attempt.pooled_workspaces", "plan.changes"}
    late |= {"ui.attempt_text", "ui.markdown"}
    late |= {"agents.usage_limits", "agents.command_report", "delivery.choice"}
    late |= {"sandbox.refusals", "cli.report"}
    late |= {"fan_in.commit_message", "local.run_head"}
    assert not names & {f"runner.{name}" for name in late}


def test_wrong_settings_are_refused_before_what_runs_is_imported(
    planned: Project,
) -> None:
    (planned.root / "fanin.yml").write_text("nonsense: true\n")
    names = loaded(planned, "run")
    assert "runner.config.settings" in names
    assert "runner.local.run" not in names


def test_a_run_starts_no_more_git_processes_before_its_first_agent_than_it_must(
    planned: Project, tmp_path: Path
) -> None:
    started, _ = at_first_agent(planned, tmp_path)
    assert started == [
        "cat-file",
        "config",
        "status",  # for what agents do not see
        "config",  # with the files that it is in
        "for-each-ref",
        "status",  # once the work tree is watched
        "read-tree",
    ]
