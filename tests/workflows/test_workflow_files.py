"""The shipped workflow files as they are written: what no run of them can show, and
what act does not enforce.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from runner import agents
from runner.actions.batch_choice import Choice, ChoiceOptions, matrix_entry
from runner.actions.earlier_results import STEPS, shared_name
from runner.actions.merge_job import RETENTION
from runner.actions.round_state import RoundState
from runner.cli.job_options import MOST_ROUNDS_PER_RUN
from runner.config.settings_table import SETTINGS
from runner.core import result_folder
from runner.core.manifest import BatchEntry, Manifest
from runner.core.task import AgentSettings, Task
from tests.support.command import commands as fanin_commands
from tests.support.github.evaluation import evaluate, is_true
from tests.support.github.forge import Forge
from tests.support.github.standin import artifacts
from tests.support.github.workflows import (
    Document,
    lift,
    load,
    needs,
    permissions,
    triggers,
    with_dispatch_inputs,
)
from tests.support.jobs import Jobs
from tests.support.project import Project

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
INNER = ".github/actions/fanin/action.yml"
FANIN, ISSUES = ".github/workflows/fanin.yml", ".github/workflows/fanin-issues.yml"
ROUND = ".github/workflows/round.yml"
COMMENT = ".github/workflows/fanin-comment.yml"
CALLED = [FANIN, ROUND, ISSUES, COMMENT]
ACTIONS = ["action.yml", INNER]
WORKFLOWS = sorted(
    str(path.relative_to(ROOT)) for path in (ROOT / ".github/workflows").glob("*.yml")
)
EXAMPLES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "examples").glob("*.yml")
    if "\njobs:" in path.read_text()
)
OWN_JOBS = "examples/own-jobs.yml"
COMMENT_CALLER = "examples/comment.yml"
# Those that run a plan.
CALLERS = [name for name in EXAMPLES if name not in {OWN_JOBS, COMMENT_CALLER}]
EVERY = [*ACTIONS, *WORKFLOWS, *EXAMPLES]
READ, WRITE = "read", "write"


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def parsed(name: str) -> Document:
    return load(text(name))


def jobs(name: str = FANIN) -> dict[str, Document]:
    return dict(parsed(name)["jobs"])


def steps(name: str) -> Iterator[Document]:
    document = parsed(name)
    for holder in [*(document.get("jobs") or {}).values(), document.get("runs") or {}]:
        yield from holder.get("steps") or []


def words(node: object) -> Iterator[str]:
    """Every text below a node, keys too."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key)
            yield from words(value)
    elif isinstance(node, list):
        for value in node:
            yield from words(value)
    elif isinstance(node, str):
        yield node


# -- the two actions --


def test_root_action_has_the_inputs_and_outputs_of_the_inner_one() -> None:
    root, inner = parsed("action.yml"), parsed(INNER)
    assert root["inputs"] == inner["inputs"]
    assert root["outputs"] == inner["outputs"]


def test_root_action_only_hands_on() -> None:
    root = parsed("action.yml")
    (step,) = root["runs"]["steps"]
    assert step["uses"] == "$/.github/actions/fanin"
    assert step["with"] == {
        name: f"${{{{ inputs.{name} }}}}" for name in root["inputs"]
    }
    assert {name: body["value"] for name, body in root["outputs"].items()} == {
        name: f"${{{{ steps.{step['id']}.outputs.{name} }}}}"
        for name in root["outputs"]
    }
    assert set(root["branding"]) == {"icon", "color"}


def python_claiming(*version: int) -> str:
    """A program for `python3 -I -c CODE`, which the code takes for a Python of this
    version.
    """
    return f"""#!{sys.executable}
import platform, sys
_, isolated, _, code, *arguments = sys.argv
sys.argv = ["-c", *arguments]
sys.version_info = {version}
platform.python_version = lambda: ".".join(map(str, sys.version_info))
exec(code)
"""


def script_of_the_first_step() -> str:
    """The text of the first step on a machine that is not a Windows one."""
    (step,) = [step for step in steps(INNER) if step.get("id") == "environment"]
    assert step["shell"] == "sh"
    return str(step["run"])


def first_step(
    tmp_path: Path,
    python3: str = "",
    command: str = "task",
    lacking: Sequence[str] = (),
    **env: str,
) -> subprocess.CompletedProcess[str]:
    """The action's first step on a machine with this program as python3; none if empty.

    `lacking`: which of the other programs are not there.
    """
    machine = tmp_path / "bin"
    machine.mkdir()
    if python3:
        (machine / "python3").write_text(python3)
        (machine / "python3").chmod(0o755)
    for name in {"sh", "bash", "git"}.difference(lacking):
        program = shutil.which(name)
        assert program
        (machine / name).symlink_to(program)
    return subprocess.run(
        ["sh", "-e", "-c", script_of_the_first_step()],
        env={
            "PATH": str(machine),
            "FANIN_COMMAND": command,
            "GITHUB_ACTION_PATH": str(ROOT / INNER).removesuffix("/action.yml"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "GITHUB_SERVER_URL": "https://github.com",
            "RUNNER_TEMP": str(tmp_path),
            **env,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_first_step_refuses_windows_in_its_own_shell() -> None:
    first = next(steps(INNER))
    assert (first["if"], first["shell"]) == ("runner.os == 'Windows'", "powershell")
    said, ended = first["run"].strip().splitlines()
    assert said == (
        "Write-Output '::error title=fanin::fanin does not run on Windows: "
        "use a Linux or macOS runner (runs-on, control-runs-on).'"
    )
    assert ended == "exit 2"


IMAGE = (
    "use ubuntu-24.04 or later, or install it in the image of the runner or container"
)
PYTHON = "use ubuntu-24.04 or later, or run actions/setup-python in a step before"


@pytest.mark.parametrize(
    ("python3", "lacking", "sentence"),
    [
        (
            python_claiming(3, 10, 12),
            [],
            "fanin needs Python 3.11 or later, but this machine's python3 is 3.10.12: "
            + PYTHON,
        ),
        ("", [], f"fanin needs python3, but this machine has none: {PYTHON}"),
        (
            "",
            ["bash"],
            f"fanin needs bash, but this machine has none: {IMAGE}",
        ),
        (
            "",
            ["git"],
            f"fanin needs git, but this machine has none: {IMAGE}",
        ),
    ],
    ids=["3.10", "no python3", "no bash", "no git"],
)
def test_the_first_step_refuses_a_machine_without_a_program_and_names_the_remedy(
    tmp_path: Path, python3: str, lacking: list[str], sentence: str
) -> None:
    done = first_step(tmp_path, python3, lacking=lacking)
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout == f"::error title=fanin::{sentence}.\n"
    assert not (tmp_path / "output").exists()


@pytest.mark.parametrize(
    ("server", "refused"),
    [
        ("https://github.com", ""),
        ("https://octo.ghe.com", ""),
        ("http://github.localhost:8080", ""),
        ("https://git.example.com", "git.example.com"),
        ("https://git.example.com:8443/", "git.example.com"),
        ("https://github.com.example.com", "github.com.example.com"),
    ],
)
def test_the_first_step_refuses_an_enterprise_server(
    tmp_path: Path, server: str, refused: str
) -> None:
    python3 = python_claiming(3, 12, 0)
    done = first_step(tmp_path, python3, GITHUB_SERVER_URL=server)
    if not refused:
        assert (done.returncode, done.stdout) == (0, "")
        return
    assert (done.returncode, done.stderr) == (2, "")
    assert done.stdout.startswith(
        f"::error title=fanin::fanin does not run on GitHub Enterprise Server ({refused}): "
    )
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.parametrize("version", [(3, 11, 0), (3, 13, 0)])
def test_the_first_step_goes_on_with_a_python_that_fanin_supports(
    tmp_path: Path, version: tuple[int, ...]
) -> None:
    done = first_step(tmp_path, python_claiming(*version))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "task-key=fanin-task-" in (tmp_path / "output").read_text()


# -- the action's own environment, and who may use the cache for it --

CACHE_USE = {"next": "save", **dict.fromkeys(("task", "verify", "report"), "restore")}


@pytest.mark.parametrize(
    "command",
    [*CACHE_USE, "merge", "continue", "collect", "answer", "unknown"],
)
def test_only_next_saves_and_no_job_that_may_write_restores(
    tmp_path: Path, command: str
) -> None:
    done = first_step(tmp_path, python_claiming(3, 12, 0), command)
    assert (done.returncode, done.stderr) == (0, "")
    lines = (tmp_path / "output").read_text().splitlines()
    outputs = dict(line.split("=", 1) for line in lines)
    assert outputs["cache"] == CACHE_USE.get(command, "none")
    assert outputs["set"] == (command if command in {"task", "continue"} else "jobs")


def test_the_steps_of_the_cache_run_only_where_the_command_may_use_it() -> None:
    uses = {
        str(step["uses"]).partition("@")[0]: step["if"]
        for step in parsed(INNER)["runs"]["steps"]
        if "actions/cache" in str(step.get("uses"))
    }
    asked = "steps.environment.outputs.cache == "
    assert uses == {
        "actions/cache": f"{asked}'save'",
        "actions/cache/restore": f"{asked}'restore'",
    }


UV = shutil.which("uv", path=f"{TOOLS}{os.pathsep}{os.environ['PATH']}")
PLANTED = "import pathlib; pathlib.Path({mark!r}).touch()\n"


@pytest.mark.parametrize(("use", "starts"), [("none", False), ("restore", True)])
def test_a_planted_environment_is_not_used_without_the_cache(
    tmp_path: Path, use: str, starts: bool
) -> None:
    """Whoever fills the folder of the environment, as an agent could fill the cache,
    does not choose what a job that may write executes.
    """
    venv = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    mark = tmp_path / "executed"
    (packages / "planted.pth").write_text(PLANTED.format(mark=str(mark)))
    (venv / ".complete").touch()
    home = tmp_path / "home"
    folder = home / ".github/actions/fanin"
    folder.mkdir(parents=True)
    (home / "runner").mkdir()
    (folder / "requirements-jobs.txt").touch()
    done = installed(venv, FANIN_HOME=str(home), FANIN_CACHE=use)
    assert done.returncode == 0, done.stderr
    subprocess.run([venv / "bin/python", "-c", ""], check=True)
    assert mark.exists() is starts


def installed(
    venv: Path, cwd: Path = ROOT, **env: str
) -> subprocess.CompletedProcess[str]:
    """What the action's script of this name does, by default for most jobs."""
    return subprocess.run(
        ["bash", str(ROOT / ".github/actions/fanin/install.sh")],
        env={
            **os.environ,
            "FANIN_HOME": str(ROOT),
            "FANIN_SET": "jobs",
            "FANIN_VENV": str(venv),
            **env,
        },
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def home_with_empty_locks(tmp_path: Path) -> Path:
    """A folder for FANIN_HOME with nothing to install."""
    folder = tmp_path / "home" / ".github/actions/fanin"
    folder.mkdir(parents=True)
    for kind in ("jobs", "task", "continue", "uv"):
        (folder / f"requirements-{kind}.txt").touch()
    (tmp_path / "home" / "runner").mkdir()
    return tmp_path / "home"


def path_without_uv(tmp_path: Path) -> str:
    """A PATH with the base Python and what the script needs, but no uv."""
    machine = tmp_path / "machine"
    machine.mkdir()
    python3 = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    (machine / "python3").symlink_to(python3)
    for name in ("bash", "sh", "git", "rm", "touch"):
        found = shutil.which(name)
        assert found
        (machine / name).symlink_to(found)
    return str(machine)


@pytest.mark.parametrize("use", ["none", "save"])
def test_no_module_of_the_repository_is_imported_before_fanin_starts(
    tmp_path: Path, use: str
) -> None:
    """An agent may land a file that has the name of a module."""
    repository, mark = tmp_path / "repository", tmp_path / "executed"
    repository.mkdir()
    for name in ("pip", "venv", "compileall", "hashlib", "platform", "json", "shutil"):
        (repository / f"{name}.py").write_text(PLANTED.format(mark=str(mark)))
    path = path_without_uv(tmp_path)
    first = subprocess.run(
        ["sh", "-e", "-c", script_of_the_first_step()],
        env={
            "PATH": path,
            "FANIN_COMMAND": "merge",
            "GITHUB_ACTION_PATH": str(ROOT / INNER).removesuffix("/action.yml"),
            "GITHUB_OUTPUT": str(tmp_path / "output"),
            "RUNNER_TEMP": str(tmp_path),
        },
        cwd=repository,
        check=False,
    )
    done = installed(
        tmp_path / "venv",
        repository,
        PATH=path,
        FANIN_HOME=str(home_with_empty_locks(tmp_path)),
        FANIN_CACHE=use,
    )
    assert (first.returncode, done.returncode) == (0, 0), done.stderr
    assert (tmp_path / "venv" / ".complete").exists()
    assert not mark.exists()


RECORDS = """#!{bash}
echo "$(basename "$0") $*" >>{calls}
case "$*" in
*fetch_uv.py*) {direct} ;;
*requirements-uv.txt) {by_pip} ;;
esac
"""


@pytest.mark.parametrize(
    ("works", "index", "asked"),
    [
        ("direct", "", ["direct"]),
        ("pip", "", ["direct", "pip"]),
        ("nothing", "", ["direct", "pip"]),
        ("pip", "https://mirror.example/simple", ["pip"]),
    ],
    ids=["directly", "by pip", "not at all", "from the mirror that pip knows"],
)
def test_a_machine_without_uv_fetches_it_by_hash_and_else_installs_with_pip(
    tmp_path: Path, works: str, index: str, asked: list[str]
) -> None:
    machine, calls = Path(path_without_uv(tmp_path)), tmp_path / "calls"
    for name in ("basename", "mkdir", "cp"):
        found = shutil.which(name)
        assert found
        (machine / name).symlink_to(found)
    venv = tmp_path / "venv"
    # A program that records its calls and makes uv a copy of itself.
    tools = f"{venv}-uv/bin"
    fetch = f"mkdir -p {tools} {venv}; cp $0 {tools}/uv"
    program = RECORDS.format(
        bash=shutil.which("bash"),
        calls=calls,
        direct=fetch if works == "direct" else "exit 1",
        by_pip=fetch if works == "pip" else "exit 1",
    )
    (machine / "python3").unlink()
    (machine / "python3").write_text(program)
    (machine / "python3").chmod(0o755)
    venv.mkdir()
    # `touch` needs the folder that the recorded calls do not make.
    (machine / "rm").unlink()
    (machine / "rm").write_text("#!/bin/sh\n")
    (machine / "rm").chmod(0o755)
    done = installed(venv, PATH=str(machine), PIP_INDEX_URL=index, UV_DEFAULT_INDEX="")
    assert done.returncode == 0, done.stderr
    recorded = calls.read_text().splitlines()
    fetches = [
        call for call in recorded if re.search(r"fetch_uv|requirements-uv", call)
    ]
    assert ["direct" if "fetch_uv.py" in call else "pip" for call in fetches] == asked
    for call in fetches:
        needed = {"-I"} if "fetch_uv.py" in call else {"--require-hashes", "--no-deps"}
        assert needed <= set(call.split())
    (install,) = (call for call in recorded if call.endswith("requirements-jobs.txt"))
    program_used = "python3 -m pip" if works == "nothing" else "uv pip install"
    assert install.startswith(program_used)
    assert {"--require-hashes", "--no-deps"} <= set(install.split())


def wheel_of_traces(folder: Path) -> str:
    """Write a wheel that stands for the packages of traces; the line that locks it."""
    wheel = folder / "traces-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("traces.py", "")
        archive.writestr("traces-1.dist-info/METADATA", METADATA)
        archive.writestr("traces-1.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr("traces-1.dist-info/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    return f"traces==1 --hash=sha256:{digest}\n"


METADATA = "Metadata-Version: 2.1\nName: traces\nVersion: 1\n"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("variables", "program", "is_intact", "imported"),
    [
        (ENDPOINT, "uv", True, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://[::1]"}, "pip", True, True),
        (ENDPOINT, "uv", False, False),
        (ENDPOINT | {"FANIN_SET": "continue"}, "uv", True, False),
        ({}, "uv", True, False),
    ],
    ids=["uv", "pip", "another hash", "continue", "no collector"],
)
def test_the_locked_packages_of_traces_are_installed_where_a_collector_is_named(
    tmp_path: Path,
    variables: dict[str, str],
    program: str,
    is_intact: bool,
    imported: bool,
) -> None:
    home, wheels = home_with_empty_locks(tmp_path), tmp_path / "wheels"
    wheels.mkdir()
    lock = home / ".github/actions/fanin/requirements-traces.txt"
    lock.write_text(wheel_of_traces(wheels))
    if not is_intact:
        lock.write_text(f"traces==1 --hash=sha256:{'0' * 64}\n")
    environ = {
        "FANIN_HOME": str(home),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(wheels),
        **variables,
    }
    if program == "pip":
        environ["PATH"] = path_without_uv(tmp_path)
    venv = tmp_path / "venv"
    done = installed(venv, ROOT, **environ)
    assert done.returncode == 0, done.stderr
    found = subprocess.run([venv / "bin/python", "-c", "import traces"], check=False)
    assert (found.returncode == 0) is imported
    assert ("no traces are sent" in done.stdout) is not is_intact


FETCH_UV = ROOT / ".github/actions/fanin/fetch_uv.py"
choose_wheel = runpy.run_path(str(FETCH_UV))["choose_wheel"]


@pytest.mark.parametrize(
    ("machine", "kind"),
    [
        (("Linux", "x86_64", "glibc"), "manylinux_2_17_x86_64"),
        (("Linux", "aarch64", "glibc"), "manylinux_2_17_aarch64"),
        (("Linux", "x86_64", ""), "musllinux_1_1_x86_64"),
        (("Linux", "aarch64", ""), "musllinux_1_1_aarch64"),
        (("Darwin", "arm64", ""), "macosx_11_0_arm64"),
        (("Darwin", "x86_64", ""), "macosx_10_12_x86_64"),
    ],
    ids=str,
)
def test_the_locked_uv_is_there_for_each_kind_of_runner(
    machine: tuple[str, str, str], kind: str
) -> None:
    url, digest = choose_wheel(text("uv.lock"), *machine)
    assert kind in url
    assert f"--hash=sha256:{digest}" in text(
        ".github/actions/fanin/requirements-uv.txt"
    )


def test_a_machine_that_the_locked_uv_does_not_know_is_said() -> None:
    with pytest.raises(LookupError, match="no wheel of uv for Linux on sparc64"):
        choose_wheel(text("uv.lock"), "Linux", "sparc64", "glibc")


def test_a_downloaded_uv_is_used_only_if_it_has_the_hash_of_the_lock(
    tmp_path: Path,
) -> None:
    wheel = tmp_path / "uv-1-py3-none-anything.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-1.data/scripts/uv", "#!/bin/sh\necho it is uv\n")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    there = choose_wheel(
        text("uv.lock"),
        platform.system(),
        platform.machine(),
        platform.libc_ver()[0],
    )
    local = text("uv.lock").replace(there[0], f"{tmp_path.as_uri()}/$NAME")
    local = local.replace("$NAME", f"{wheel.name}#{there[0].rpartition('/')[2]}")
    locks = {
        "right": local.replace(there[1], digest),
        "other hash": local,
        "not there": text("uv.lock").replace(
            there[0], f"{tmp_path.as_uri()}/none/{there[0].rpartition('/')[2]}"
        ),
    }
    ends = {}
    for name, lock in locks.items():
        (tmp_path / "uv.lock").write_text(lock)
        program = tmp_path / name / "bin/uv"
        done = subprocess.run(
            [sys.executable, "-I", FETCH_UV, tmp_path / "uv.lock", program],
            capture_output=True,
            text=True,
            check=False,
        )
        ends[name] = (done.returncode, program.exists())
        if done.returncode:
            assert done.stderr.startswith("uv was not downloaded directly, ")
            assert len(done.stderr.splitlines()) == 1
    assert ends == {
        "right": (0, True),
        "other hash": (1, False),
        "not there": (1, False),
    }
    printed = subprocess.run(
        [tmp_path / "right/bin/uv"], capture_output=True, text=True, check=True
    )
    assert printed.stdout == "it is uv\n"


def test_settings_of_uv_in_the_repository_do_not_choose_what_is_installed(
    tmp_path: Path,
) -> None:
    """An agent may land a uv.toml that names another index."""
    repository, marker = tmp_path / "repository", tmp_path / "seen"
    repository.mkdir()
    (repository / "uv.toml").write_text("no-such-setting = 1\n")
    uv = tmp_path / "bin" / "uv"
    uv.parent.mkdir()
    uv.write_text(f'#!/bin/sh\necho "$UV_NO_CONFIG" >>{marker}\nexec {UV} "$@"\n')
    uv.chmod(0o755)
    done = installed(
        tmp_path / "venv",
        repository,
        PATH=f"{uv.parent}{os.pathsep}{os.environ['PATH']}",
        FANIN_HOME=str(home_with_empty_locks(tmp_path)),
    )
    assert done.returncode == 0, done.stderr
    # uv says so if it reads a file of settings that it cannot use.
    assert "uv.toml" not in done.stderr
    assert set(marker.read_text().split()) == {"1"}


def test_every_input_reaches_the_command_through_the_environment() -> None:
    inner = parsed(INNER)
    env = next(step for step in inner["runs"]["steps"] if step.get("id") == "fanin")[
        "env"
    ]
    renamed = {"task": "FANIN_TASK_ID"}
    for name in inner["inputs"]:
        variable = renamed.get(name, f"FANIN_{name.upper().replace('-', '_')}")
        assert env.get(variable) == f"${{{{ inputs.{name} }}}}", name


def test_inputs_are_the_setting_flags_of_the_command_line() -> None:
    # What a person says of one run on one machine.
    of_run = {"help", "until", "trusted", "dry_run", "as_json", "quiet", "verbose"}
    of_run.add("closed_pull")
    of_run |= {setting.name for setting in SETTINGS if not setting.on_actions}
    flags = {
        option.opts[0].removeprefix("--")
        for option in fanin_commands()["run"].params
        if option.opts[0].startswith("--") and option.name not in of_run
    }
    inner, workflow = (
        parsed(INNER)["inputs"],
        triggers(parsed(FANIN))["workflow_call"]["inputs"],
    )
    assert len(flags) > 10
    assert flags <= set(inner)
    assert flags <= set(workflow)
    machine = {
        "command", "task", "runs-on", "retry", "approve", "dry-run", "may-change-workflows", "state", "manifest",
        "manifest-digest", "results", "verdict", "task-result", "commit-via", "last", "again", "landed",
        "trigger-workflows", "token", "label", "milestone", "when-done", "rounds-per-run", "later-rounds",
        "verify-result", "branch-checkout", "work-checkout", "next-manifest", "sealed", "events",
        "workflow", "keep-sudo",
    }  # fmt: skip
    assert set(inner) - flags == machine
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", name) for name in [*inner, *workflow])


def test_outputs_of_the_steps_are_outputs_of_the_action() -> None:
    """What a job of the workflow takes from a step of fanin, the action declares."""
    declared = set(parsed(INNER)["outputs"])
    taken = {
        name
        for value in words([jobs(name) for name in CALLED])
        for name in re.findall(r"steps\.\w+\.outputs\.([\w-]+)", value)
        if not re.search(r"steps\.(app|upload)\.", value)  # other people's actions
    }
    assert taken
    assert taken <= declared


# -- what stands in every file --


@pytest.mark.parametrize("name", EVERY)
def test_no_expression_inside_a_script(name: str) -> None:
    scripts = [step["run"] for step in steps(name) if "run" in step]
    assert [script for script in scripts if "${{" in script] == []


@pytest.mark.parametrize("name", EVERY)
def test_other_peoples_actions_are_pinned_by_commit_with_the_version_beside(
    name: str,
) -> None:
    lines = [
        line.strip().removeprefix("- ")
        for line in text(name).splitlines()
        if re.match(r"\s*(- )?uses:", line)
    ]
    assert {line.split()[1] for line in lines} == {
        *(step["uses"] for step in steps(name) if "uses" in step),
        *(
            job["uses"]
            for job in (parsed(name).get("jobs") or {}).values()
            if "uses" in job
        ),
    }
    own = ("$/", "./", "fanin/fanin/", "fanin/fanin@")
    for line in lines:
        if not line.removeprefix("uses: ").startswith(own):
            assert re.fullmatch(
                r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", line
            ), line


def test_one_action_has_one_pin() -> None:
    pins: dict[str, set[str]] = {}
    for name in EVERY:
        for action, pin in re.findall(r"uses: ([\w./-]+)@(\S+ # \S+)", text(name)):
            pins.setdefault(action, set()).add(pin)
    assert {action: found for action, found in pins.items() if len(found) > 1} == {}


# As of November 2026, from the tags of their repositories.
NEWEST_MAJORS = {
    "actions/cache": "v6",
    "actions/cache/restore": "v6",
    "actions/checkout": "v7",
    "actions/download-artifact": "v8",
    "actions/setup-python": "v7",
    "actions/upload-artifact": "v7",
}


def test_githubs_own_actions_are_of_their_newest_majors() -> None:
    used: dict[str, str] = {}
    for name in EVERY:
        pins = re.findall(r"uses: (actions/[\w./-]+)@\w+ # (v[0-9]+)\.", text(name))
        used |= dict(pins)
    assert used.pop("actions/create-github-app-token") == "v3"
    assert used == NEWEST_MAJORS


@pytest.mark.parametrize("name", [ROUND, OWN_JOBS])
def test_the_pack_of_a_result_is_not_compressed_again(name: str) -> None:
    inputs = [
        step["with"]
        for step in steps(name)
        if step.get("uses", "").startswith("actions/upload-artifact@")
    ]
    (result,) = [each for each in inputs if "/results/" in each["path"]]
    assert result["compression-level"] == 0


@pytest.mark.parametrize("name", [*WORKFLOWS, *EXAMPLES])
def test_no_secret_or_right_is_given_wholesale(name: str) -> None:
    document = parsed(name)
    assert document["permissions"] == {}
    assert all("permissions" in job for job in document["jobs"].values())
    assert "pull_request_target" not in triggers(document)
    assert [
        job for job in document["jobs"].values() if job.get("secrets") == "inherit"
    ] == []


@pytest.mark.parametrize("name", EVERY)
def test_checkout_leaves_no_credentials(name: str) -> None:
    for step in steps(name):
        if str(step.get("uses", "")).startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize("name", [name for name in WORKFLOWS if name != ROUND])
def test_every_job_has_a_time_limit(name: str) -> None:
    own = {job_id: job for job_id, job in jobs(name).items() if "uses" not in job}
    assert [job_id for job_id, job in own.items() if "timeout-minutes" not in job] == []


SCRIPTS = [
    (name, step["run"])
    for name in EVERY
    for step in steps(name)
    if "run" in step and step.get("shell") != "powershell"
] + [
    (str(path.relative_to(ROOT)), path.read_text())
    for path in (ROOT / ".github/actions/fanin").glob("*.sh")
]
ORDINARY = {
    "bash",
    "dirname",
    "gh",  # in job release only
    "git",
    "mkdir",
    "mktemp",
    "python3",
    "rm",
    "sh",
    "touch",
    "uv",
}  # uv: only asked for, or the project's own


@pytest.mark.parametrize(
    ("name", "script"),
    SCRIPTS,
    ids=[f"{name}-{at}" for at, (name, _) in enumerate(SCRIPTS)],
)
def test_every_line_calls_what_an_ordinary_machine_has(name: str, script: str) -> None:
    syntax = subprocess.run(
        ["bash", "-n"], input=script, capture_output=True, text=True, check=False
    )
    assert syntax.returncode == 0, syntax.stderr
    functions = set(re.findall(r"^(\w+)\(\) \{$", script, re.MULTILINE))
    called = set(commands(script)) - functions - {f"{name}()" for name in functions}
    kinds = subprocess.run(
        [
            "bash",
            "-c",
            'for word; do echo "$word $(type -t "$word")"; done',
            "bash",
            *sorted(called),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    built_in = {
        line.split()[0]
        for line in kinds.splitlines()
        if line.split()[1:] in (["builtin"], ["keyword"])
    }
    assert called - built_in <= ORDINARY
    for file in re.findall(r"\bbash (?:\"\$FANIN_HOME/)?([\w.][\w./-]+)", script):
        assert (ROOT / file).is_file(), file


def commands(script: str) -> Iterator[str]:
    """The first word of every line, and of what stands in `$( )` and after `&&`,
    assignments left out.
    """
    code = re.sub(r"^\s*#.*", "", script.replace("\\\n", " "), flags=re.MULTILINE)
    rest = re.sub(r"'[^']*'", "''", code)
    pieces = [line.strip() for line in rest.splitlines()]
    while inner := re.findall(r"\$\(([^()]*)\)", rest):
        pieces = [re.sub(r"\$\([^()]*\)", "x", piece) for piece in pieces] + inner
        rest = re.sub(r"\$\([^()]*\)", "x", rest)
    for part in (part.strip() for piece in pieces for part in piece.split("&& ")):
        bare = re.sub(r'^(\w+=("[^"]*"|\([^)]*\)|\S*)\s*)+', "", part)
        if bare and not bare.startswith(('"', "}", ")")):
            yield bare.split()[0].rstrip(";")


def test_commands_are_found() -> None:
    assert list(
        commands(
            'A="b c" exec "$X"\n# no\ncase x in a) b ;; esac\nk="$(python3 -c 1)"\ntest 1 && git x'
        )
    ) == [
        "exec",
        "case",
        "test",
        "git",
        "python3",
    ]


# -- the reusable workflow --

READING = {"contents": READ, "actions": READ}
WRITING = {"contents": WRITE, "actions": READ, "pull-requests": WRITE}
ROUNDS = [f"round-{number}" for number in range(1, MOST_ROUNDS_PER_RUN + 1)]
MAY = {
    FANIN: {
        "refused": {},
        "next": {"contents": READ, "pull-requests": READ},
        **dict.fromkeys(ROUNDS, WRITING),
        "continue": {"actions": WRITE},
        "report": {"contents": READ},
    },
    ROUND: {
        "task": {"contents": READ},
        "verify": READING,
        "merge": WRITING,
        "verify-again": READING,
        "merge-again": WRITING,
    },
}


@pytest.mark.parametrize("name", MAY)
def test_each_job_may_do_what_the_design_says_and_no_more(name: str) -> None:
    assert {
        job_id: permissions(job["permissions"]) for job_id, job in jobs(name).items()
    } == MAY[name]


# -- several rounds in one run --

HANDED_ON = (
    "runs-on",
    "control-runs-on",
    "install",
    "fetch-depth",
    "submodules",
    "lfs",
    "keep-sudo",
)


@pytest.mark.parametrize("number", range(1, MOST_ROUNDS_PER_RUN + 1))
def test_each_round_gets_what_the_job_before_it_chose(number: int) -> None:
    before = f"round-{number - 1}" if number > 1 else "next"
    call = jobs()[f"round-{number}"]
    assert call["uses"] == "$/.github/workflows/round.yml"  # of the same commit
    assert needs(call) == [before]
    assert call["with"] == {
        "round": f"${{{{ needs.{before}.outputs.round }}}}",
        **{name: f"${{{{ inputs.{name} }}}}" for name in (*HANDED_ON, "commit-via")},
    }
    declared = triggers(parsed(ROUND))["workflow_call"]
    assert set(call["with"]) == set(declared["inputs"])
    assert call["secrets"] == {
        name: f"${{{{ secrets.{name} }}}}" for name in declared["secrets"]
    }
    assert declared["secrets"] == triggers(parsed(FANIN))["workflow_call"]["secrets"]


@pytest.mark.parametrize("number", range(2, MOST_ROUNDS_PER_RUN + 1))
def test_a_later_round_starts_after_a_red_one_and_never_after_a_cancel(
    number: int,
) -> None:
    assert jobs()[f"round-{number}"]["if"] == (
        f"${{{{ !cancelled() && needs.round-{number - 1}.outputs.round != '' }}}}"
    )


def test_the_first_round_starts_if_a_task_was_chosen() -> None:
    assert jobs()["round-1"]["if"] == "needs.next.outputs.round != ''"


def test_no_job_of_a_round_is_skipped_because_an_earlier_round_was_red() -> None:
    # Without a status function GitHub asks whether all jobs before have succeeded.
    for job_id, job in jobs(ROUND).items():
        assert re.match(r"always\(\)|\$\{\{ !cancelled\(\)", job["if"]), job_id


def test_outputs_are_those_of_the_last_round_that_ran() -> None:
    for name, body in triggers(parsed(FANIN))["workflow_call"]["outputs"].items():
        latest_first = [f"jobs.{call}.outputs.{name}" for call in reversed(ROUNDS)]
        if name == "waiting":
            # A run that waits has no round.
            latest_first.append("jobs.next.outputs.waiting")
        assert body["value"] == f"${{{{ {' || '.join(latest_first)} }}}}"
    (step,) = jobs()["continue"]["steps"]
    for name in ("branch", "state"):
        latest_first = [f"needs.{call}.outputs.{name}" for call in reversed(ROUNDS)]
        assert step["with"][name] == f"${{{{ {' || '.join(latest_first)} }}}}"
    assert needs(jobs()["continue"]) == ROUNDS


def test_outputs_of_a_round_are_those_of_its_second_merge_if_there_was_one() -> None:
    outputs = triggers(parsed(ROUND))["workflow_call"]["outputs"]
    assert set(outputs) == set(jobs(ROUND)["merge"]["outputs"]) - {
        "moved",
        "refused",
    }
    for name, body in outputs.items():
        assert body["value"] == (
            f"${{{{ jobs.merge-again.outputs.{name} || jobs.merge.outputs.{name} }}}}"
        )


def test_a_round_whose_manifest_was_not_uploaded_does_not_start() -> None:
    for job_id in ("merge", "merge-again"):
        job = jobs(ROUND)[job_id]
        upload = job["steps"][-1]
        assert upload["id"] == "manifest"
        # A merge job is red when a task failed for good, and the run goes on.
        assert upload["if"] == "always() && steps.merge.outputs.round != ''"
        merge = next(step for step in job["steps"] if step.get("id") == "merge")
        assert upload["with"]["path"] == merge["with"]["next-manifest"]
        assert job["outputs"]["round"] == (
            "${{ steps.manifest.outcome == 'success' && steps.merge.outputs.round || '' }}"
        )


def test_results_are_kept_as_long_as_the_summary_says() -> None:
    uploads = [
        step["with"]
        for name in (FANIN, ROUND)
        for step in steps(name)
        if "upload-artifact" in step.get("uses", "")
    ]
    assert {inputs["retention-days"] for inputs in uploads} == {RETENTION.days}


def test_a_leg_that_is_run_again_asks_the_branch_before_its_agent_starts() -> None:
    leg = jobs(ROUND)["task"]["steps"]
    checkout = next(
        step for step in leg if step.get("with", {}).get("path") == ".fanin-branch"
    )
    assert checkout["if"] == "github.run_attempt > 1"
    assert checkout["with"]["ref"] == "refs/heads/${{ fromJSON(inputs.round).branch }}"
    task = next(step for step in leg if step.get("id") == "task")
    assert leg.index(checkout) < leg.index(task)
    path = checkout["with"]["path"]
    assert task["with"]["branch-checkout"] == (
        f"${{{{ github.run_attempt > 1 && '{path}' || '' }}}}"
    )


def test_a_leg_fetches_the_work_that_it_starts_from_and_can_do_without() -> None:
    leg = jobs(ROUND)["task"]["steps"]
    (checkout,) = [step for step in leg if step.get("if") == "matrix.work != ''"]
    assert checkout["continue-on-error"] is True
    assert checkout["with"]["ref"] == "${{ matrix.work }}"
    assert checkout["with"]["persist-credentials"] is False
    assert "token" not in checkout["with"]
    # with the commit that it was made on, the base of the merge
    assert checkout["with"]["fetch-depth"] == 2
    task = next(step for step in leg if step.get("id") == "task")
    assert leg.index(checkout) < leg.index(task)
    path = checkout["with"]["path"]
    assert task["with"]["work-checkout"] == (
        f"${{{{ matrix.work != '' && '{path}' || '' }}}}"
    )


def called(caller: str) -> str:
    """The workflow of ours that an example calls."""
    (job,) = jobs(caller).values()
    path, _, version = str(job["uses"]).removeprefix("fanin/fanin/").partition("@")
    assert (version, path in (FANIN, ISSUES, COMMENT)) == ("v0", True)
    return path


def union(name: str) -> dict[str, str]:
    """All that the jobs of a workflow take; a calling job grants what its calls need."""
    taken = [
        (scope, level)
        for job in jobs(name).values()
        for scope, level in permissions(job["permissions"]).items()
    ]
    return {scope: WRITE if (scope, WRITE) in taken else READ for scope, _ in taken}


@pytest.mark.parametrize("caller", [*CALLERS, COMMENT_CALLER])
def test_callers_grant_the_union_of_what_the_jobs_take(caller: str) -> None:
    (job,) = jobs(caller).values()
    assert permissions(job["permissions"]) == union(called(caller))


@pytest.mark.parametrize("caller", CALLERS)
def test_callers_give_only_what_is_declared_and_take_the_machines_input(
    caller: str,
) -> None:
    interface = triggers(parsed(called(caller)))["workflow_call"]
    (job,) = jobs(caller).values()
    assert set(job["with"]) <= set(interface["inputs"])
    assert set(job["secrets"]) <= set(interface["secrets"])
    declared = triggers(parsed(caller))["workflow_dispatch"]["inputs"]
    assert declared["fanin-state"]["type"] == "string"
    assert "inputs.fanin-state" in job["with"]["state"]
    assert len(declared) <= 25  # what GitHub takes


def lifted(caller: str, event: str, given: dict[str, str]) -> Document:
    """An example for one event with the jobs it calls; WorkflowError where GitHub would
    create no job.
    """

    def resolve(uses: str) -> Document:
        return parsed(next(name for name in CALLED if Path(name).name in uses))

    return lift(with_dispatch_inputs(parsed(caller), event, given), resolve)


@pytest.mark.parametrize("caller", CALLERS)
def test_callers_start_with_inputs_as_github_delivers_them(caller: str) -> None:
    declared = triggers(parsed(caller))["workflow_dispatch"]["inputs"]
    filled = {"string": "1", "number": "1", "boolean": "true"}
    every = {
        name: body["options"][0] if body["type"] == "choice" else filled[body["type"]]
        for name, body in declared.items()
    }
    for event in triggers(parsed(caller)):
        assert lifted(caller, event, {})["jobs"]
    assert lifted(caller, "workflow_dispatch", every)["jobs"]
    # What `continue` dispatches.
    assert lifted(caller, "workflow_dispatch", {"fanin-state": "{}"})["jobs"]


@pytest.mark.parametrize("name", CALLED)
def test_no_input_of_a_called_workflow_is_a_number(name: str) -> None:
    # A dispatch hands on its numbers as strings, and GitHub creates no job for a called
    # number that is given one.
    inputs = triggers(parsed(name))["workflow_call"]["inputs"]
    assert {body["type"] for body in inputs.values()} - {"boolean"} == {"string"}


# -- the workflow of issues --


def test_only_the_workflow_of_issues_may_write_to_issues() -> None:
    for name in [*WORKFLOWS, *EXAMPLES]:
        asking = [
            job_id
            for job_id, job in jobs(name).items()
            if permissions(job["permissions"]).get("issues") == WRITE
        ]
        assert asking == {ISSUES: ["answer"], "examples/issues.yml": ["fanin"]}.get(
            name, []
        ), name


def test_each_job_of_issues_may_do_what_it_must_and_no_more() -> None:
    assert {
        job_id: permissions(job["permissions"]) for job_id, job in jobs(ISSUES).items()
    } == {
        "collect": {"contents": WRITE, "issues": READ, "pull-requests": WRITE},
        "fanin": union(FANIN),
        "answer": {"contents": READ, "issues": WRITE},
    }


def test_jobs_that_write_for_issues_run_no_code_of_the_repository_and_get_no_secret() -> (
    None
):
    for job_id in ("collect", "answer"):
        job = jobs(ISSUES)[job_id]
        own = [
            step
            for step in job["steps"]
            if "run" in step or str(step.get("uses", "")).startswith("./")
        ]
        assert own == [], job_id
        assert secrets_in(job) == set()
        assert "inputs.install" not in " ".join(words(job))


def test_workflow_of_issues_hands_every_input_secret_and_output_on() -> None:
    outer, inner = (triggers(parsed(name))["workflow_call"] for name in (ISSUES, FANIN))
    of_plans = {
        "source",
        "ignore-dangling",
        "option",
        "strict",
        "skip-line",
        "tasks",
        "deliver",  # a plan of issues is committed to the branch itself
    }
    own = {"label", "milestone", "when-done"}
    assert set(outer["inputs"]) - own == set(inner["inputs"]) - of_plans
    for name in set(inner["inputs"]) - of_plans - {"plan", "progress"}:
        # no pull request starts it
        told = {"description"} if name == "branch" else set()
        assert {**outer["inputs"][name], **dict.fromkeys(told)} == {
            **inner["inputs"][name],
            **dict.fromkeys(told),
        }, name
    job = jobs(ISSUES)["fanin"]
    assert job["uses"] == "$/.github/workflows/fanin.yml"  # of the same commit
    handed = {
        name: f"${{{{ inputs.{name} }}}}" for name in set(inner["inputs"]) - of_plans
    }
    collected = {
        name: f"${{{{ needs.collect.outputs.{name} }}}}"
        for name in ("plan", "progress", "state")
    }
    assert job["with"] == {**handed, **collected}
    assert outer["secrets"] == inner["secrets"]
    assert job["secrets"] == {
        name: f"${{{{ secrets.{name} }}}}" for name in inner["secrets"]
    }
    assert set(outer["outputs"]) == set(inner["outputs"])


# -- the workflow of comments --


def test_the_job_of_comments_may_do_what_it_must_and_no_more() -> None:
    [(job_id, job)] = jobs(COMMENT).items()
    granted = {"contents": WRITE, "actions": WRITE, "pull-requests": WRITE}
    assert (job_id, permissions(job["permissions"])) == ("comment", granted)
    assert secrets_in(parsed(COMMENT)) == secrets_in(parsed(COMMENT_CALLER)) == set()


def test_the_job_of_comments_checks_out_the_default_branch_and_runs_no_script() -> None:
    checkout, step = jobs(COMMENT)["comment"]["steps"]
    branch = "refs/heads/${{ github.event.repository.default_branch }}"
    assert checkout["with"]["ref"] == branch
    assert step["uses"] == "$/.github/actions/fanin"
    # What somebody wrote is in the event's file, and in no expression but conditions.
    expressions = re.findall(r"\$\{\{.*?\}\}", " ".join(words(parsed(COMMENT))))
    events = [each for each in expressions if "github.event" in each]
    assert events == ["${{ github.event.repository.default_branch }}"]
    assert triggers(parsed(COMMENT_CALLER)) == {"issue_comment": {"types": ["created"]}}


@pytest.mark.parametrize(
    ("event", "starts"),
    [
        ({}, True),
        ({"action": "edited"}, False),
        ({"issue": {"number": 3}}, False),
        ({"comment": {"body": "/fanin retry T1", "user": {"type": "Bot"}}}, False),
        ({"comment": {"body": "Looks good.", "user": {"type": "User"}}}, False),
    ],
)
def test_only_a_new_comment_of_a_person_on_a_pull_request_starts_a_machine(
    event: Document, starts: bool
) -> None:
    usual = {
        "action": "created",
        "issue": {"number": 3, "pull_request": {"url": "https://api.github.com/x"}},
        "comment": {"body": "Good.\n/fanin retry T1", "user": {"type": "User"}},
    }
    github = {"event_name": "issue_comment", "event": {**usual, **event}}
    condition = str(jobs(COMMENT)["comment"]["if"])
    assert is_true(evaluate(condition, {"github": github})) is starts


FANIN_COMMANDS = ("$/.github/actions/fanin", "fanin/fanin@v0")


def test_jobs_with_foreign_code_restore_only_and_jobs_that_may_write_have_no_cache() -> (
    None
):
    modes = {}
    for name in [*WORKFLOWS, *CALLERS]:
        for job_id, job in jobs(name).items():
            if "steps" not in job:
                continue
            commands = {
                step["with"]["command"]
                for step in job["steps"]
                if step.get("uses") in FANIN_COMMANDS
            }
            expected = None
            if WRITE in permissions(job["permissions"]).values():
                expected = "none"
            elif commands & {"task", "verify", "report"}:
                expected = "read"
            assert job.get("cache-mode") == expected, f"{name}: {job_id}"
            modes[job_id] = expected
    assert modes["merge"] == modes["continue"] == modes["collect"] == "none"
    assert modes["comment"] == "none"
    assert modes["task"] == modes["verify"] == modes["report"] == "read"


def test_only_the_action_downloads_with_a_token_what_a_rerun_misses() -> None:
    """Each download with a token is a REST call, and all start at once."""
    downloads = {
        name: [
            step
            for step in steps(name)
            if str(step.get("uses", "")).startswith("actions/download-artifact@")
        ]
        for name in [*WORKFLOWS, *CALLERS, *EXAMPLES, INNER]
    }
    missing = downloads.pop(INNER)
    found = [step["with"] for given in downloads.values() for step in given]
    results = [given for given in found if "pattern" in given]
    assert len(results) >= 4
    assert {given["digest-mismatch"] for given in results} == {"warn"}
    assert [given for given in found if "github-token" in given] == []
    for number, step in enumerate(missing, 1):
        output = f"steps.earlier.outputs.ids-{number}"
        assert step["if"] == f"{output} != ''"
        assert step["with"] == {
            "artifact-ids": f"${{{{ {output} }}}}",
            "path": f"${{{{ steps.earlier.outputs.path-{number} }}}}",
            "github-token": "${{ github.token }}",
            "run-id": "${{ github.run_id }}",
            "digest-mismatch": "warn",
        }
    assert len(missing) == STEPS
    (named,) = [step for step in steps(INNER) if step.get("id") == "earlier"]
    assert named["if"].startswith("github.run_attempt > 1 && ")


def test_what_a_rerun_downloads_with_a_token_is_uploaded_for_the_jobs_behind() -> None:
    """Before `fanin`: verify runs code of the results."""
    inner = list(steps(INNER))
    (upload,) = [step for step in inner if "upload-artifact" in step.get("uses", "")]
    assert upload["with"]["name"] == "${{ steps.earlier.outputs.share }}"
    assert upload["with"]["path"] == "${{ steps.earlier.outputs.share-path }}"
    assert upload["if"] == "steps.earlier.outputs.share != ''"
    # The work of this job does not depend on it.
    assert upload["continue-on-error"] is True
    ids = [step.get("id") for step in inner]
    assert ids.index("earlier") < inner.index(upload) < ids.index("fanin")
    for name in (ROUND, OWN_JOBS):
        patterns = {
            step["with"]["pattern"]
            for step in steps(name)
            if "pattern" in step.get("with", {})
        }
        (pattern,) = {re.sub(r"\$\{\{.+?\}\}", "7.1", text) for text in patterns}
        assert fnmatch.fnmatch(shared_name("7.1", "verify-again", 2), pattern)


def test_every_checkout_of_a_branch_names_it_in_full() -> None:
    """Where a tag has the branch's name, the tag could be meant."""
    for name in [*CALLED, ISSUES, *CALLERS]:
        for step in steps(name):
            if not str(step.get("uses", "")).startswith("actions/checkout@"):
                continue
            ref = step["with"]["ref"]
            is_full = any(
                name in ref for name in ("refs/heads/", "base-sha", "matrix.work")
            )
            assert is_full, f"{name}: {ref}"


def test_what_anybody_can_start_fills_no_cache() -> None:
    """GitHub's default for such an event, said aloud: a called workflow could ask for
    more.
    """
    for name in ("examples/issues.yml", COMMENT_CALLER):
        assert parsed(name)["cache-mode"] == "read"


def test_issues_are_answered_also_when_the_round_ended_red_and_never_in_a_dry_run() -> (
    None
):
    assert jobs(ISSUES)["answer"]["if"] == (
        "${{ always() && !inputs.dry-run && needs.collect.result == 'success' }}"
    )
    assert jobs(ISSUES)["fanin"]["if"] == "${{ !inputs.dry-run }}"


def test_pull_request_caller_hears_of_new_commits_and_labels() -> None:
    assert triggers(parsed("examples/pull-request.yml"))["pull_request"]["types"] == [
        "opened",
        "synchronize",
        "labeled",
    ]


def test_callers_run_once_a_branch_and_the_callee_has_no_group_of_its_own() -> None:
    for caller in [*CALLERS, COMMENT_CALLER]:
        group = parsed(caller)["concurrency"]
        assert group["cancel-in-progress"] is False
        # Without it a pending run, such as the next round, is replaced by the next.
        assert group["queue"] == "max"
    for name in CALLED:
        callee = parsed(name)
        assert "concurrency" not in callee
        assert [
            job_id for job_id, job in callee["jobs"].items() if "concurrency" in job
        ] == []


def test_matrix_comes_from_next_and_no_leg_ends_another() -> None:
    strategy = jobs(ROUND)["task"]["strategy"]
    assert strategy == {
        "fail-fast": False,
        "max-parallel": "${{ fromJSON(inputs.round).max-parallel }}",
        "matrix": "${{ fromJSON(inputs.round).matrix }}",
    }


def test_merge_runs_whatever_happened_to_the_legs() -> None:
    found = jobs(ROUND)
    assert found["merge"]["if"] == "always()"
    assert needs(found["merge"]) == ["task", "verify"]
    assert found["merge-again"]["if"].startswith("always() && ")
    assert jobs()["continue"]["if"].startswith("!cancelled() && (")


def test_verify_runs_unless_the_run_was_cancelled() -> None:
    # One leg that runs into GitHub's time limit makes the result of all `cancelled`.
    for job_id in ("verify", "verify-again"):
        condition = jobs(ROUND)[job_id]["if"]
        assert condition.startswith("${{ !cancelled() && "), job_id
        assert "needs.task.result" not in condition


@pytest.mark.parametrize("seconds", [0.5, 59, 60, 61, 1800, 6 * 3600])
def test_job_outlives_its_task_so_that_the_result_is_uploaded(seconds: float) -> None:
    assert jobs(ROUND)["task"]["timeout-minutes"] == "${{ matrix.timeout-minutes }}"
    task = Task(id="A", title="a")
    agent = AgentSettings(command=("agent",))
    entry = BatchEntry(
        index=0,
        task=task,
        task_digest=task.digest,
        attempt=1,
        agent=agent,
        timeout=seconds,
    )
    assert (
        matrix_entry(entry, "ubuntu-latest")["timeout-minutes"] * 60
        >= seconds + 10 * 60
    )


def test_every_other_job_has_a_time_limit_of_its_own() -> None:
    limits = {
        job_id: job.get("timeout-minutes")
        for job_id, job in jobs(ROUND).items()
        if job_id != "task"
    }
    assert [
        job_id for job_id, limit in limits.items() if not isinstance(limit, int)
    ] == []


# What a leg may get: the key variables of every preset.
KEYS = {name for agent in agents.presets().values() for name in agent.traits.keys}


def secrets_in(job: Document) -> set[str]:
    return {
        name for value in words(job) for name in re.findall(r"secrets\.([\w-]+)", value)
    }


def test_secrets_go_where_they_are_needed_and_nowhere_else() -> None:
    found = {job_id: secrets_in(job) for job_id, job in jobs(ROUND).items()}
    outside = {job_id: secrets_in(job) for job_id, job in jobs().items()}
    keys = {*KEYS, "agent-env", "setup-env"}
    for_writing = {"fanin-token", "app-id", "app-private-key"}
    assert outside == {
        "refused": set(),
        "next": {"fanin-token", "otel-headers"},
        **dict.fromkeys(ROUNDS, keys | for_writing | {"otel-headers"}),
        "continue": set(),
        "report": set(),
    }
    assert found == {
        "task": keys,
        "verify": {"setup-env"},
        # looked for in what the agents left, and nothing else
        "merge": keys | for_writing | {"otel-headers"},
        "verify-again": {"setup-env"},
        "merge-again": keys | for_writing | {"otel-headers"},
    }
    declared = triggers(parsed(FANIN))["workflow_call"]["secrets"]
    assert set(declared) == keys | for_writing | {"otel-headers"}


@pytest.mark.parametrize("job_id", ["merge", "merge-again"])
def test_the_token_of_the_app_is_made_where_it_is_used_and_may_only_land(
    job_id: str,
) -> None:
    job = jobs(ROUND)[job_id]
    app, merge = (
        next(step for step in job["steps"] if step.get("id") == name)
        for name in ("app", "merge")
    )
    assert job["env"] == {"HAS_APP": "${{ secrets.app-id != '' }}"}
    assert app["if"] == "env.HAS_APP == 'true'"
    assert app["uses"].startswith("actions/create-github-app-token@")
    # Without `owner` and `repositories` the token is for this repository only.
    assert app["with"] == {
        "app-id": "${{ secrets.app-id }}",
        "private-key": "${{ secrets.app-private-key }}",
        "permission-contents": "write",
        "permission-pull-requests": "write",
    }
    assert merge["with"]["token"] == (
        "${{ steps.app.outputs.token || secrets.fanin-token || github.token }}"
    )
    assert "steps.app" not in " ".join(words(job["outputs"]))
    assert merge["env"]["FANIN_APP_PRIVATE_KEY"] == "${{ secrets.app-private-key }}"


def test_jobs_without_foreign_code_run_where_the_caller_says() -> None:
    control = (
        "${{ startsWith(inputs.control-runs-on, '[') && "
        "fromJSON(inputs.control-runs-on) || inputs.control-runs-on }}"
    )
    for name in CALLED:
        for job_id, job in jobs(name).items():
            if "runs-on" not in job or job_id in {"task", "verify", "verify-again"}:
                continue
            assert job["runs-on"] == control, job_id
        inputs = triggers(parsed(name))["workflow_call"]["inputs"]
        assert inputs["control-runs-on"]["default"] == "ubuntu-latest"


@pytest.mark.parametrize("job_id", ["task", "verify", "verify-again"])
def test_checkout_options_reach_the_checkouts_that_agents_and_verify_borrow_from(
    job_id: str,
) -> None:
    checkout = jobs(ROUND)[job_id]["steps"][0]["with"]
    for name in ("fetch-depth", "submodules", "lfs"):
        assert checkout[name] == f"${{{{ inputs.{name} }}}}"


COLLECTOR = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "${{ vars.OTEL_EXPORTER_OTLP_ENDPOINT }}",
    "OTEL_EXPORTER_OTLP_HEADERS": "${{ secrets.otel-headers }}",
}


def test_jobs_without_foreign_code_send_the_spans_and_no_other_knows_the_collector() -> (
    None
):
    commands: dict[str, dict[str, str]] = {}
    for name in (FANIN, ROUND):
        for job in jobs(name).values():
            for step in job.get("steps", []):
                if command := step.get("with", {}).get("command"):
                    otel = {k: v for k, v in step.get("env", {}).items() if "OTEL" in k}
                    commands[command] = otel
    sending = {name for name, otel in commands.items() if otel}
    assert sending == {"next", "merge"}
    assert [commands[name] for name in sending] == [COLLECTOR] * 2
    assert "OTEL" not in str([job.get("env") for job in jobs(ROUND).values()])


def test_steps_that_get_keys_get_each_under_its_own_name() -> None:
    given = {name: f"${{{{ secrets.{name} }}}}" for name in KEYS} | {
        "FANIN_AGENT_ENV": "${{ secrets.agent-env }}",
        "FANIN_SETUP_SECRETS": "${{ secrets.setup-env }}",
    }
    app = {
        "FANIN_APP_ID": "${{ secrets.app-id }}",
        "FANIN_APP_PRIVATE_KEY": "${{ secrets.app-private-key }}",
    }
    for job_id in ("task", "merge", "merge-again"):
        expected = given if job_id == "task" else given | app | COLLECTOR
        assert [
            step["env"]
            for step in jobs(ROUND)[job_id]["steps"]
            if secrets_in({"env": step.get("env")})
        ] == [expected]


def install_step(job_id: str) -> Document:
    step: Document
    (step,) = [
        step
        for step in jobs(ROUND)[job_id]["steps"]
        if "FANIN_INSTALL" in step.get("env", {})
    ]
    return step


def test_install_is_the_same_wherever_agents_or_verify_follow() -> None:
    assert (
        install_step("task") == install_step("verify") == install_step("verify-again")
    )
    env = install_step("task")["env"]
    assert env["FANIN_PLAIN_ENV"] == "${{ fromJSON(inputs.round).env }}"


@pytest.mark.parametrize(
    "given",
    [{}, {"A": "x"}, {"A": "$(exit 1) `exit 1` \"' \\n", "B": " a=b ", "EMPTY": ""}],
)
def test_install_sees_the_plain_variables_as_they_are(given: dict[str, str]) -> None:
    told = "import json, os; print(json.dumps({name: os.environ.get(name) for name in ('A', 'B', 'EMPTY')}))"
    done = subprocess.run(
        [
            "bash",
            "--noprofile",
            "--norc",
            "-eo",
            "pipefail",
            "-c",
            install_step("task")["run"],
        ],
        env={
            "PATH": os.environ["PATH"],
            "FANIN_INSTALL": f'python3 -c "{told}"',
            "FANIN_PLAIN_ENV": "\n".join(
                f"{name}={value}" for name, value in given.items()
            ),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == {"A": None, "B": None, "EMPTY": None, **given}


def test_install_that_fails_fails_its_step() -> None:
    script = install_step("task")["run"]
    environ = {
        "PATH": os.environ["PATH"],
        "FANIN_INSTALL": "false; true",
        "FANIN_PLAIN_ENV": "A=x",
    }
    assert (
        subprocess.run(
            ["bash", "-e", "-c", script], env=environ, check=False
        ).returncode
        == 1
    )


def test_next_is_told_whether_there_is_a_token_and_not_which() -> None:
    told = [value for value in words(jobs(FANIN)["next"]) if "secrets." in value]
    assert told == [
        "${{ secrets.otel-headers }}",
        "${{ secrets.fanin-token != '' && 'true' || '' }}",
    ]


def test_agents_get_no_token_of_the_job() -> None:
    (step,) = [
        step
        for step in jobs(ROUND)["task"]["steps"]
        if step.get("uses") == "$/.github/actions/fanin"
    ]
    assert step["with"]["token"] == ""
    assert "github.token" not in " ".join(words(jobs(ROUND)["task"]))


def test_job_that_can_write_runs_no_code_of_the_repository() -> None:
    every = {**jobs(), **jobs(ROUND)}
    for job_id in ("merge", "merge-again", "next", "continue"):
        own = [
            step
            for step in every[job_id]["steps"]
            if "run" in step or str(step.get("uses", "")).startswith("./")
        ]
        assert own == [], job_id
        assert "inputs.install" not in " ".join(words(every[job_id]))


def test_a_verdict_is_found_by_the_name_that_its_job_gave_it() -> None:
    """On a re-run of `merge` alone the run attempt is another one than the verdict's."""
    for verify, merge in (("verify", "merge"), ("verify-again", "merge-again")):
        made = jobs(ROUND)[verify]["outputs"]["verdict"]
        uploaded = [
            step["with"]["name"]
            for step in jobs(ROUND)[verify]["steps"]
            if "upload-artifact" in step.get("uses", "")
        ]
        taken = [
            step["with"].get("name")
            for step in jobs(ROUND)[merge]["steps"]
            if "download" in step.get("uses", "")
        ]
        assert uploaded == [made]
        assert f"${{{{ needs.{verify}.outputs.verdict }}}}" in taken


PRODUCERS = {"next": "manifest", "verify": "verdict"}


@pytest.mark.parametrize(
    "again",
    [
        ["merge"],
        ["verify", "merge"],
        ["task", "verify", "merge"],
        ["next", "task", "verify", "merge"],
    ],
    ids=lambda again: again[0],
)
def test_a_rerun_finds_manifest_and_verdict_without_a_token(
    tmp_path: Path, again: list[str]
) -> None:
    """A job that is not run again keeps its outputs, and so the name of its artifact."""
    store = artifacts.Store(tmp_path / "store")
    outputs = {}
    for run_attempt in (1, 2):
        for job, kind in PRODUCERS.items():
            if run_attempt == 1 or job in again:
                name = artifact_names(run_attempt)[kind]
                files = {f"{kind}.json": f"{kind} {run_attempt}".encode()}
                store.create(7, name, files, run_attempt=run_attempt, job=job)
                outputs[kind] = name
    for job, kind in PRODUCERS.items():
        env = {
            **{
                f"IN_{name}": "" for name in ("ARTIFACT_IDS", "PATTERN", "GITHUB_TOKEN")
            },
            "IN_NAME": outputs[kind],
            "GITHUB_RUN_ATTEMPT": "2",
            "STANDIN_JOBS_AGAIN": " ".join(again),
        }
        (found,) = artifacts.select(artifacts.visible(store.list(7), env), env)
        assert found.run_attempt == (2 if job in again else 1)


def artifact_names(run_attempt: int) -> dict[str, str]:
    """The names that round.yml and job `next` give in this run attempt."""
    choice = Choice(
        RoundState(run="77"),
        "main",
        "c0ffee",
        3,
        ChoiceOptions(Path("manifest.json"), run_attempt=run_attempt),
        None,
    )
    made = str(jobs(ROUND)["verify"]["outputs"]["verdict"])
    for written, value in (
        ("fromJSON(inputs.round).batch", choice.batch),
        ("github.job", "verify"),
        ("github.run_attempt", str(run_attempt)),
    ):
        made = made.replace(f"${{{{ {written} }}}}", value)
    assert "$" not in made
    return {"manifest": choice.manifest_artifact, "verdict": made}


def test_every_job_takes_the_manifest_by_the_output_that_names_it() -> None:
    for name in (ROUND, "examples/own-jobs.yml"):
        for job_id, job in jobs(name).items():
            taken = [
                str(step["with"]["name"])
                for step in job.get("steps", [])
                if "download-artifact" in step.get("uses", "")
                and "name" in step["with"]
                and "verdict" not in step["with"]["name"]
            ]
            reads = [step for step in job.get("steps", []) if "fanin" in str(step)]
            if any("manifest-digest" in step.get("with", {}) for step in reads):
                assert len(taken) == 1, job_id
                assert "manifest-artifact }}" in taken[0]


def test_second_pair_is_the_first_once_more() -> None:
    found = jobs(ROUND)
    assert found["verify-again"]["steps"] == found["verify"]["steps"]
    # What the first merge refused, the second verification leaves out.
    refused = {"FANIN_REFUSED": "${{ needs.merge.outputs.refused }}"}
    assert found["verify-again"]["env"] == refused
    assert found["merge-again"]["outputs"] == found["merge"]["outputs"]
    one, two = (json.dumps(found[name]["steps"]) for name in ("merge", "merge-again"))
    assert (
        one.replace('"last": false', '"last": true').replace(
            "needs.verify.", "needs.verify-again."
        )
        == two
    )


def test_leg_names_its_artifact_as_the_reader_expects() -> None:
    (step,) = [
        step
        for step in jobs(ROUND)["task"]["steps"]
        if "upload-artifact" in step.get("uses", "")
    ]
    filled = step["with"]["name"]
    for written, value in (
        ("fromJSON(inputs.round).batch", "4711.1"),
        ("matrix.folder", "003"),
        ("matrix.attempt", "2"),
        ("github.run_attempt", "5"),
    ):
        filled = filled.replace(f"${{{{ {written} }}}}", value)
    assert filled == result_folder.artifact_name("4711.1", "003", 2, 5)


# -- README, locks, linters --


def readme_block(path: str) -> str:
    """The block of the README that shows a file; no marker is a failure."""
    found = re.findall(
        rf"<!-- example: {re.escape(path)} -->\n```yaml\n(.*?)```\n",
        text("README.md"),
        re.DOTALL,
    )
    assert len(found) == 1, (
        f"the README has {len(found)} blocks marked  <!-- example: {path} -->"
    )
    return str(found[0])


@pytest.mark.parametrize("caller", CALLERS)
def test_readme_shows_the_callers_as_they_are(caller: str) -> None:
    assert readme_block(caller) == text(caller)


def test_requirements_are_a_fresh_export_of_the_lock(tmp_path: Path) -> None:
    here = ".github/actions/fanin"
    for name in (
        "pyproject.toml",
        "uv.lock",
        "README.md",
        "LICENSE",
        "runner/__init__.py",
        f"{here}/export.sh",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    done = subprocess.run(
        ["bash", str(tmp_path / here / "export.sh")],
        env={
            **os.environ,
            "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
            "UV_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for kind in ("jobs", "task", "continue", "uv"):
        name = f"{here}/requirements-{kind}.txt"
        assert (tmp_path / name).read_text() == text(name), (
            "run .github/actions/fanin/export.sh"
        )


def run_tool(tool: str, *argv: str) -> subprocess.CompletedProcess[str]:
    found = TOOLS / tool
    if not found.exists():
        pytest.skip(f"{tool} is not installed: pip install --group dev")
    return subprocess.run(
        [str(found), *argv], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_actionlint_is_clean() -> None:
    done = run_tool("actionlint", *WORKFLOWS, *EXAMPLES)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def test_zizmor_has_no_finding() -> None:
    done = run_tool(
        "zizmor", "--offline", "--no-progress", "--config", ".github/zizmor.yml", *EVERY
    )
    assert done.returncode == 0, done.stdout
    assert "No findings to report" in done.stdout


@pytest.mark.parametrize("name", EVERY)
def test_ignored_findings_are_explained(name: str) -> None:
    for reason in re.findall(r"zizmor: ignore\[[^\]]*\](.*)", text(name)):
        assert len(reason.split()) > 3


@pytest.mark.parametrize(
    ("schema", "names"), [("workflows", [*WORKFLOWS, *EXAMPLES]), ("actions", ACTIONS)]
)
def test_schema_is_kept(schema: str, names: list[str]) -> None:
    done = run_tool(
        "check-jsonschema", "--builtin-schema", f"vendor.github-{schema}", *names
    )
    assert done.returncode == 0, done.stdout


# -- a leg has only what it imports --


@pytest.fixture(scope="module")
def leg_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with what requirements-task.txt installs, made by the action's own
    script.
    """
    return python_of("task", tmp_path_factory)


def python_of(kind: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp(kind) / "env"
    done = installed(where, FANIN_SET=kind)
    assert done.returncode == 0, done.stderr
    assert (where / ".complete").exists()
    return where / "bin" / "python"


def lines(python: Path, program: str) -> list[str]:
    done = subprocess.run(
        [str(python), "-c", program],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "PYTHONSAFEPATH": "1",
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.xdist_group("leg")
def test_leg_lacks_what_only_the_other_jobs_need(leg_python: Path) -> None:
    lacking, there = (
        ["networkx", "github", "requests", "rich"],
        ["git", "pydantic", "click", "yaml", "tzdata"],
    )
    program = f"from importlib.util import find_spec; print(*(n for n in {[*lacking, *there]} if find_spec(n)))"
    assert lines(leg_python, program) == there


@pytest.mark.xdist_group("leg")
def test_leg_knows_the_zones_of_resets_on_a_system_without_them(
    leg_python: Path,
) -> None:
    program = (
        "import zoneinfo; from datetime import datetime, UTC; "
        "from runner.agents.usage_limits import reset_time; zoneinfo.reset_tzpath(()); "
        "now = datetime(2026, 7, 19, 18, tzinfo=UTC); "
        "print(reset_time('resets 10:30pm (Europe/Berlin)', now).isoformat())"
    )
    assert lines(leg_python, program) == ["2026-07-19T20:30:00+00:00"]


@pytest.mark.xdist_group("leg")
def test_leg_imports_its_modules_with_that(leg_python: Path) -> None:
    assert lines(
        leg_python,
        "import runner.pipeline, runner.actions.task_job, runner.cli.round_jobs, runner.cli.work_jobs; print('imported')",
    ) == ["imported"]


@pytest.mark.xdist_group("leg")
def test_leg_runs_a_task_with_that(leg_python: Path, tmp_path: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    project = Project(root, tmp_path / "agent.log")
    project.git("init", "-q", "-b", "main")
    project.plan([{"id": "A", "do": ["write a: a"], "verify": "test -e a"}])
    (tmp_path / "jobs").mkdir()
    machine = Jobs(project, tmp_path / "jobs")
    machine.publish()
    chosen = machine.next()
    machine.python = str(leg_python)
    leg = machine.task(chosen, "A")
    assert (leg.code, leg.outputs["succeeded"]) == (0, "true"), leg.log
    manifest = Manifest.model_validate_json(
        (machine.folder / "manifest.json").read_bytes()
    )
    reading = result_folder.read(machine.artifacts, manifest, manifest.entries[0])
    assert reading.failure is None
    assert reading.result is not None
    assert reading.pack is not None


# -- so have the other jobs --


@pytest.fixture(scope="module")
def jobs_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with what requirements-jobs.txt installs."""
    return python_of("jobs", tmp_path_factory)


@pytest.fixture(scope="module")
def continue_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with what requirements-continue.txt installs."""
    return python_of("continue", tmp_path_factory)


@pytest.mark.xdist_group("jobs")
def test_the_other_jobs_import_their_modules_with_what_they_install(
    jobs_python: Path,
) -> None:
    # These need rich, which no job installs.
    of_terminal = {
        "terminal",
        "rich_console",
        "screen",
        "shown_text",
        "live_frame",
        "run_lines",
        "run_summary",
        "status_table",
    }
    modules = [
        f"runner.{path.parent.name}.{path.stem}"
        for package in ("actions", "issues", "github_api", "fan_in", "ui", "report")
        for path in sorted((ROOT / "runner" / package).glob("*.py"))
        if path.stem not in {"__init__", *of_terminal}
    ]
    program = f"import {', '.join(modules)}, networkx, markdown_it; print('imported')"
    assert lines(jobs_python, program) == ["imported"]


@pytest.mark.xdist_group("jobs")
def test_the_other_jobs_run_a_round_with_that(
    jobs_python: Path, tmp_path: Path
) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    project = Project(root, tmp_path / "agent.log")
    project.git("init", "-q", "-b", "main")
    plan = [
        {"id": "A", "do": ["write a: a"]},
        {"id": "B", "depends_on": ["A"], "do": ["write b: b"]},
    ]
    project.plan(plan, verify="test -e a")
    (tmp_path / "jobs").mkdir()
    machine = Jobs(project, tmp_path / "jobs", python=str(jobs_python))
    machine.publish()
    chosen = machine.next()
    assert chosen.outputs["has-work"] == "true", chosen.log
    machine.task(chosen, "A")
    verdict = tmp_path / "verdict.json"
    verified = machine.verify(chosen, verdict)
    assert verified.code == 0, verified.log
    merged = machine.merge(chosen, FANIN_VERDICT=str(verdict), FANIN_LATER_ROUNDS="1")
    assert merged.code == 0, merged.log
    assert machine.states() == {"A": "completed", "B": "pending"}
    assert json.loads(merged.outputs["round"])["matrix"]["include"][0]["task"] == "B"


@pytest.mark.xdist_group("continue")
def test_continue_installs_no_more_than_its_call_of_the_api_needs(
    continue_python: Path,
) -> None:
    lacking = ["networkx", "git", "markdown_it", "rich", "cryptography"]
    needed = ["click", "github", "pydantic"]
    names = [*lacking, *needed]
    program = f"from importlib.util import find_spec; print(*(n for n in {names} if find_spec(n)))"
    assert lines(continue_python, program) == needed


@pytest.mark.xdist_group("continue")
def test_continue_starts_the_next_run_with_that(
    continue_python: Path, tmp_path: Path
) -> None:
    with Forge(tmp_path / "forge") as forge:
        caller = ".github/workflows/fanin.yml"
        repository = forge.create("octo/work", {caller: text("examples/dispatch.yml")})
        done = subprocess.run(
            [str(continue_python), "-m", "runner", "continue"],
            cwd=tmp_path,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT),
                "GITHUB_RUN_ID": "4711",
                "GITHUB_REPOSITORY": "octo/work",
                "GITHUB_REF": "refs/heads/main",
                "GITHUB_REF_NAME": "main",
                "GITHUB_WORKFLOW_REF": f"octo/work/{caller}@refs/heads/main",
                "GITHUB_API_URL": forge.api_url,
                "FANIN_TOKEN": forge.mint({"actions": "write"}),
                "FANIN_AGAIN": "true",
                "FANIN_STATE": json.dumps({"run": "4711", "branch": "main"}),
            },
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    (dispatch,) = repository.dispatches
    assert json.loads(dispatch.inputs["fanin-state"])["round"] == 2


def test_json_of_a_task_is_what_the_matrix_needs() -> None:
    """Everything that the task job reads of the matrix is in an entry."""
    wanted: set[str] = {
        name
        for value in words(jobs(ROUND)["task"])
        for name in re.findall(r"matrix\.([\w-]+)", value)
    }
    task = Task(id="A", title="a")
    agent = AgentSettings(command=("agent",))
    entry = BatchEntry(
        index=0, task=task, task_digest=task.digest, attempt=1, agent=agent, timeout=60
    )
    given = matrix_entry(entry, "ubuntu-latest")
    assert wanted <= set(given)
