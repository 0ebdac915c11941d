"""`python -m benchmarks.compatibility [NAME…]`: try init, doctor and run on other people's
projects, and write docs/compatibility.md.

Downloads the sources of repositories.yml, verifies their hashes, and installs by apt-get
what their tests need (as root; `--no-install` leaves that out). With names only these
are tried, and the results of the others are kept. Exit 1 if fewer than 28 are green.
With `--sandbox auto` those that are green without walls are tried within them: exit 1 if
more than a tenth of them are not green there.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.compatibility import network, report, sources
from benchmarks.compatibility.report import Result
from benchmarks.compatibility.sources import Repository
from benchmarks.harness import environment

AGENT = Path(__file__).with_name("agent.py")
NEEDED = 28
# Of those that are green without walls, the part that may fail within them.
MAY_FAIL = 0.1
MIN_TESTS = 10
TIMEOUT = 3600  # seconds of one fanin command
PLAN = """\
version: 1
tasks:
  - {id: edit, title: Edit a file and test, prompt: Edit a file and run the tests.}
  - {id: break, title: Break a line, prompt: Break a line., depends_on: [edit]}
"""
SUFFIXES = {
    "Python": ".py",
    "Node": ".js",
    "Go": ".go",
    "Ruby": ".rb",
    "Perl": ".pm",
    "C": ".c",
}
# Debian packages that every project of an ecosystem takes for granted.
TOOLS = {
    "Python": ("gcc",),
    "Node": ("chromium",),
    "Go": ("golang-go",),
    "Ruby": ("ruby", "rake", "bundler"),
    "Perl": ("perl", "make", "gcc"),
    "C": (
        *(
            "autopoint",
            "bison",
            "cmake",
            "flex",
            "gettext",
            "libtool-bin",
            "m4",
            "meson",
        ),
        "pkg-config",
    ),
}
# Variables of an ecosystem's programs that name what this machine has: given to fanin by
# `--env`, as a person would whose network has no browsers to download.
VARIABLES: Mapping[str, Mapping[str, str]] = {
    "Node": {
        "PUPPETEER_SKIP_DOWNLOAD": "1",
        "PUPPETEER_EXECUTABLE_PATH": "/usr/bin/chromium",
    },
}


class NotGreen(Exception):
    """A step did not come out as it should; the message says which and how."""


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    results = report.read()
    cache = options.cache or Path.home() / ".cache" / "fanin-benchmarks"
    cache = cache.resolve() / "compatibility"
    os.environ["PATH"] = _path_of_programs(cache)
    within = options.sandbox != "off"
    for repository in sources.repositories():
        if options.names and repository.name not in options.names:
            continue
        before = results.get(repository.name)
        if within and (before is None or before.reason):
            continue
        with network.silent_address():
            result = tried(
                repository,
                cache,
                installs=not options.no_install,
                sandbox=options.sandbox,
            )
        shown = f"{result.name}: {result.reason or 'green'} ({result.tests} tests)"
        print(shown, flush=True)
        # Another run may have written others in the meantime.
        results = report.read()
        results[result.name] = report.merged(
            results.get(result.name), result, within=within
        )
        report.write(results)
    return summary(results, within=within)


def summary(results: Mapping[str, Result], *, within: bool) -> int:
    """Print how many are green; the exit code."""
    green = [result for result in results.values() if not result.reason]
    print(f"{len(green)} of {len(results)} are green")
    if not within:
        return 0 if len(green) >= NEEDED else 1
    tried_within = [result for result in green if result.walls]
    failed = sum(result.walls != report.GREEN for result in tried_within)
    print(f"within walls {failed} of {len(tried_within)} fail")
    return 0 if failed <= MAY_FAIL * len(tried_within) else 1


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.compatibility", description=__doc__
    )
    known = {repository.name for repository in sources.repositories()}
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these")
    parser.add_argument(
        "--cache",
        type=Path,
        help="where the sources and the logs of the tests are kept",
    )
    parser.add_argument("--no-install", action="store_true", help="install nothing")
    parser.add_argument(
        "--sandbox",
        choices=("off", "auto", "require"),
        default="off",
        help="the walls of doctor and run",
    )
    options = parser.parse_args(argv)
    if unknown := sorted(set(options.names) - known):
        parser.error(f"not in repositories.yml: {', '.join(unknown)}")
    return options


def _path_of_programs(cache: Path) -> str:
    """PATH as a person's shell has it.

    Without the programs of the environment that runs this, and without pyenv's shims,
    which are there for Pythons that are not; with what the harness installs.
    """
    entries = os.environ["PATH"].split(os.pathsep)
    own = str(Path(sys.executable).parent)
    kept = [each for each in entries if each != own and Path(each).name != "shims"]
    tools = cache / "tools" / "node_modules" / ".bin"
    python = Path(sys.base_prefix, "bin")
    return os.pathsep.join([str(tools), str(python), *kept])


def _install(repository: Repository, cache: Path) -> None:
    wanted = {*repository.packages, *TOOLS[ecosystem(repository)]}
    missing = []
    for package in sorted(wanted):
        shown = subprocess.run(
            ["dpkg-query", "-W", "-f", "${Status}", package],
            capture_output=True,
            text=True,
            check=False,
        )
        if "ok installed" not in shown.stdout:
            missing.append(package)
    if missing:
        sources.run(
            [
                *("apt-get", "install", "-y", "-q", "--no-install-recommends"),
                # Another program may be installing something.
                *("-o", "DPkg::Lock::Timeout=300", *missing),
            ]
        )
    if ecosystem(repository) == "C":
        # Tools that the build needs where an archive has not what they make.
        source = f"{repository.name}={repository.version}"
        sources.run(
            [
                *("apt-get", "build-dep", "-y", "-q", "--no-install-recommends"),
                *("--arch-only", "-o", "DPkg::Lock::Timeout=300", source),
            ]
        )
    tools = cache / "tools"
    if ecosystem(repository) == "Node" and not tools.exists():
        # Some projects are set up by it, and npm does not bring it.
        sources.run(["npm", "install", "-s", "--prefix", str(tools), "yarn@1"])


def ecosystem(repository: Repository) -> str:
    """Its name in the list is `Python, pytest` where a language has several kinds."""
    return repository.ecosystem.partition(",")[0]


def tried(
    repository: Repository,
    cache: Path,
    *,
    installs: bool,
    sandbox: str = "off",
) -> Result:
    """The result for one repository, in a new folder that is removed afterwards."""
    result = Result(repository.name, repository.ecosystem, repository.version)
    work = Path(tempfile.mkdtemp(prefix="fanin-compatibility-"))
    logs = cache / "logs" / repository.name
    shutil.rmtree(logs, ignore_errors=True)
    logs.mkdir(parents=True)
    try:
        if installs:
            _install(repository, cache)
        archives = sources.fetch(repository, cache)
        root = sources.unpack(archives, work / repository.name)
        try_project(root, ecosystem(repository), logs, result, sandbox)
    except NotGreen as error:
        result.reason = str(error)
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        result.reason = f"{' '.join(error.cmd)[:80]}: {lines[-1] if lines else error}"
    except subprocess.TimeoutExpired:
        result.reason = f"took more than {TIMEOUT} seconds"
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return result


def try_project(
    root: Path,
    language: str,
    logs: Path,
    result: Result,
    sandbox: str = "off",
) -> None:
    """Take the four steps of docs/compatibility.md in the folder of a project.

    Writes set-up, test command and number of tests into `result`, and the output of the
    tests into `logs`. NotGreen if a step does not come out as it should. `sandbox` is the
    mode of the walls.
    """
    _git(root, "init", "-q", "-b", "main")
    # An archive may hold files that the project's .gitignore names.
    _git(root, "add", "-A", "-f")
    _git(root, "commit", "-q", "-m", f"{result.name} {result.version}")
    (root / "tasks.yml").write_text(PLAN)
    agent = shlex.join(["python3", str(AGENT), str(logs), SUFFIXES[language]])
    _expect(0, root, "init", "--yes", "--plan", "tasks.yml", "--agent-command", agent)
    result.setup, result.verify = report.settings(root / "fanin.yml")
    if not result.verify:
        raise NotGreen("init: no test command was found")
    _git(root, "add", "-f", "fanin.yml", "tasks.yml")
    _git(root, "commit", "-q", "-m", "Set up fanin")
    variables = []
    for name, value in VARIABLES.get(language, {}).items():
        variables += ["--env", f"{name}={value}"]
    # the agent writes the logs of the tests
    variables += ["--sandbox", f"{{mode: {sandbox}, write: ['{logs}']}}"]
    _expect(0, root, "doctor", *variables)
    run = ("run", "--max-attempts", "1", *variables)
    _expect(0, root, *run, "edit")
    result.tests = report.tests_in(report.log_text(logs / "edit.log"))
    if result.tests < MIN_TESTS:
        raise NotGreen(f"only {result.tests} tests were counted")
    _expect(1, root, *run, "--verify-retries", "0", "break")
    if not (logs / "broken").exists():
        raise NotGreen("the tests stay green with a broken line")


def _git(root: Path, *argv: str) -> None:
    identity = ["-c", "user.name=Fanin", "-c", "user.email=fanin@example.org"]
    sources.run(["git", *identity, *argv], root)


def _expect(code: int, root: Path, *argv: str) -> None:
    """Run the fanin command. NotGreen with the end of its output on another code."""
    variables = {
        **environment(),
        "GIT_AUTHOR_NAME": "Fanin",
        "GIT_AUTHOR_EMAIL": "fanin@example.org",
        "GIT_COMMITTER_NAME": "Fanin",
        "GIT_COMMITTER_EMAIL": "fanin@example.org",
    }
    done = subprocess.run(
        [sys.executable, "-m", "runner", *argv],
        cwd=root,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=TIMEOUT,
        check=False,
    )
    if done.returncode != code:
        print(done.stdout)
        lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
        failed = [line for line in lines if line.startswith(("✘", "error"))]
        told = (failed or lines or [""])[0]
        raise NotGreen(f"{argv[0]}: exit {done.returncode}: {told}"[:200])


if __name__ == "__main__":
    sys.exit(main())
