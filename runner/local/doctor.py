"""The checks of `fanin doctor`: git, plan, agents, delivery, workflows, and whether set-up and
verify work on the branch as it is.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import yaml

from runner.agents import Agent, agent_for, usable_agent
from runner.agents.environment import find_key, missing_requirements
from runner.attempt import included_files
from runner.attempt.capture import record_preparation
from runner.attempt.context import AttemptContext
from runner.attempt.verification import verify_commit
from runner.attempt.workspace import Workspace
from runner.config.settings import FILE, Settings
from runner.core.errors import (
    EnvironmentBroken,
    FaninError,
    InvalidInput,
    Problem,
    UsageProblem,
)
from runner.core.folders import remove_folder
from runner.core.plurals import pluralize
from runner.core.result import Failure
from runner.core.sandbox import SandboxSettings
from runner.core.task import AgentSettings
from runner.local.base_verify import verify_command
from runner.local.delivery import delivery_access
from runner.local.missing_program import how_to_install, missing_program
from runner.local.preparation import (
    agents_of_open_tasks,
    refuse_unfinished,
    uncommitted_notes,
)
from runner.local.setup_record import SetupRecord, sentence
from runner.local.walls import this_machine, walls_of
from runner.plan.snapshot import Snapshot, committed_include
from runner.repo.repository import Repository
from runner.sandbox.choose import choose
from runner.sandbox.machine import Machine
from runner.schedule.preflight import preflight
from runner.schedule.task_choice import EVERY_TASK

# `git merge-tree --write-tree` came with it.
OLDEST_GIT = (2, 38)
# What each reusable workflow asks of the job that calls it (docs/actions.md).
_PERMISSIONS = ("contents", "actions", "pull-requests")
_CALLED = re.compile(r"(?:^|/)fanin(?:-issues|-comment)?\.ya?ml(?:@|$)")
# Lines of a failed command's log that are shown.
_LOG_LINES = 15


@dataclass(frozen=True)
class Check:
    """The outcome of one check: what was found, and how to fix it if it is not `ok`."""

    name: str
    ok: bool
    what: str
    fix: str = ""
    log: tuple[str, ...] = ()


def git_check(version: str) -> Check:
    """Whether git is new enough; `version` as `git --version` prints it."""
    match = re.search(r"(\d+)\.(\d+)", version)
    if match is None or (int(match[1]), int(match[2])) < OLDEST_GIT:
        oldest = ".".join(map(str, OLDEST_GIT))
        return Check(
            "git", ok=False, what=version, fix=f"install git {oldest} or newer"
        )
    return Check("git", ok=True, what=version.removeprefix("git version "))


def project_checks(
    repo: Repository,
    settings: Settings,
    read_plan: Callable[[], Snapshot],
    branch: str,
    environ: Mapping[str, str],
) -> Iterator[Check]:
    """The checks that start none of the repository's programs.

    `read_plan` raises UsageProblem if the plan cannot be read.
    """
    try:
        snapshot = read_plan()
    except UsageProblem as error:
        yield from faults("plan", error)
        yield from _checks_of_default_agents(settings, environ)
    else:
        yield from _plan_checks(repo, settings, snapshot, branch, environ)
    yield walls_check(settings, this_machine(environ))
    if settings.own_branch:
        yield _delivery_check(repo, environ)
    yield from _workflow_checks(repo)


def walls_check(settings: Settings, machine: Machine) -> Check:
    """Which walls stand around what a run starts, or could."""
    try:
        choice = choose(settings.sandbox, machine)
    except EnvironmentBroken as error:
        return Check("walls", ok=False, what=error.message, fix=error.advice)
    if settings.sandbox.mode != "off":
        return Check("walls", ok=True, what=choice.sentence.removeprefix("walls: "))
    possible = choose(SandboxSettings(mode="auto"), machine)
    what = "none"
    if possible.has_walls:
        names = possible.sentence.removeprefix("walls: ")
        what = f"none; to have {names}, set  sandbox: auto  in {FILE}"
    return Check("walls", ok=True, what=what)


def _delivery_check(repo: Repository, environ: Mapping[str, str]) -> Check:
    """Whether this machine has a remote and a token for the pull request; not what the
    token may do, which GitHub says when it is used.
    """
    try:
        access = delivery_access(repo, environ)
    except UsageProblem as error:
        return Check("deliver", ok=False, what=error.message, fix=error.advice)
    what = f"a pull request in {access.repository}, with a token"
    return Check("deliver", ok=True, what=what)


def faults(name: str, error: FaninError) -> Iterator[Check]:
    """The error as checks that failed: one for each problem that it holds."""
    if not isinstance(error, InvalidInput):
        yield Check(name, ok=False, what=error.message, fix=error.advice)
        return
    for problem in error.problems:
        yield _fault(name, problem)


def _plan_checks(
    repo: Repository,
    settings: Settings,
    snapshot: Snapshot,
    branch: str,
    environ: Mapping[str, str],
) -> Iterator[Check]:
    yield _branch_check(repo, settings, snapshot, branch)
    plan = snapshot.plan
    standings = snapshot.progress.standings(plan, settings.max_attempts)
    ready = pluralize(len(snapshot.graph.ready(standings)), "ready task")
    tasks = pluralize(len(plan.tasks), "task")
    yield Check("plan", ok=True, what=f"{plan.path} ({plan.source}): {tasks}, {ready}")
    yield from _agent_checks(repo, snapshot, settings, environ)
    yield from _include_checks(repo, settings, snapshot.commit)


def _branch_check(
    repo: Repository, settings: Settings, snapshot: Snapshot, branch: str
) -> Check:
    try:
        refuse_unfinished(repo, branch)
        notes = uncommitted_notes(repo, snapshot, settings, branch)
    except FaninError as error:
        return Check("branch", ok=False, what=error.message, fix=error.advice)
    return Check("branch", ok=True, what="; ".join([branch, *notes]))


def _agent_checks(
    repo: Repository, snapshot: Snapshot, settings: Settings, environ: Mapping[str, str]
) -> Iterator[Check]:
    include = _include_of(repo, settings, snapshot.commit)
    report = preflight(
        snapshot.plan,
        snapshot.progress,
        settings,
        environ=environ,
        # what a checkout gets besides is in no commit
        has_file=None if include else partial(repo.has_file, snapshot.commit),
    )
    problems = [*report.problems, *report.missing]
    for problem in problems:
        yield _fault("agent", problem)
    if problems:
        return
    described = set()
    for chosen in agents_of_open_tasks(snapshot, settings, EVERY_TASK):
        described.add(_description(agent_for(chosen), chosen, environ))
    for what in sorted(described):
        yield Check("agent", ok=True, what=what)


def _checks_of_default_agents(
    settings: Settings, environ: Mapping[str, str]
) -> Iterator[Check]:
    """The agents of the settings, where no plan says which tasks need them."""
    which = partial(shutil.which, path=environ.get("PATH"))
    for chosen in settings.agent.each if settings.agent else ():
        try:
            agent = usable_agent(chosen, settings.env)
        except UsageProblem as error:
            yield from faults("agent", error)
            continue
        missing = missing_requirements(agent, chosen, environ, which)
        for what, remedy in missing:
            yield Check("agent", ok=False, what=what, fix=remedy)
        if not missing:
            what = _description(agent, chosen, environ)
            yield Check("agent", ok=True, what=what)


def _description(
    agent: Agent, chosen: AgentSettings, environ: Mapping[str, str]
) -> str:
    key = find_key(agent, chosen, environ)
    return f"{chosen.name}, key or login: {key}" if key else chosen.name


def _include_checks(
    repo: Repository, settings: Settings, commit: str
) -> Iterator[Check]:
    """What a checkout gets of the ignored files of the work tree, and what it does not."""
    try:
        include = (*settings.include, *committed_include(repo, commit))
    except FaninError as error:
        yield from faults("include", error)
        return
    if include:
        found = included_files.look(include, repo.origin)
        yield Check("include", ok=True, what="; ".join([found.summary, *found.notes]))


def _fault(name: str, problem: Problem) -> Check:
    what = str(problem._replace(remedy=""))
    return Check(name, ok=False, what=what, fix=problem.remedy)


# -- workflows --


def _workflow_checks(repo: Repository) -> Iterator[Check]:
    for path in sorted((repo.root / ".github" / "workflows").glob("*.y*ml")):
        name = path.relative_to(repo.root).as_posix()
        if not path.is_file() or path.is_symlink():
            continue
        yield from workflow_checks(name, path.read_text(errors="replace"))


def workflow_checks(path: str, text: str) -> Iterator[Check]:
    """Whether each job of the workflow that calls fanin's grants what that one needs.

    A called workflow that asks for more than its caller grants starts no job at all.
    """
    try:
        workflow = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError):
        return
    jobs = workflow.get("jobs") if isinstance(workflow, dict) else None
    for name, job in (jobs if isinstance(jobs, dict) else {}).items():
        if not isinstance(job, dict) or not _CALLED.search(str(job.get("uses", ""))):
            continue
        granted = job.get("permissions", workflow.get("permissions"))
        missing = [scope for scope in _PERMISSIONS if not _grants(granted, scope)]
        if missing:
            needed = ", ".join(f"{scope}: write" for scope in missing)
            what = f"{path}: the job {name} does not grant {needed}"
            yield Check("workflow", ok=False, what=what, fix="add it to  permissions:")
        else:
            yield Check("workflow", ok=True, what=f"{path}: job {name}")


def _grants(permissions: object, scope: str) -> bool:
    if isinstance(permissions, dict):
        return permissions.get(scope) == "write"
    return permissions == "write-all"


# -- set-up and verify --


def command_checks(
    repo: Repository, settings: Settings, commit: str, environ: Mapping[str, str]
) -> Iterator[Check]:
    """Run set-up and verify on the commit, in a checkout as an agent gets it.

    `verify` is red before any agent has worked if the project's own tests are.
    """
    ready: list[Workspace] = []
    changes: list[str] = []
    failure = None

    def on_ready(space: Workspace) -> None:
        ready.append(space)
        if settings.setup is not None:
            changes.extend(_changes_of_setup(repo, settings, space))

    if not walls_check(settings, this_machine(environ)).ok:
        return  # which is a line of its own
    if settings.setup is not None or settings.verify is not None:
        failure = _run_commands(repo, settings, commit, environ, on_ready)
    if settings.setup is not None:
        if not ready and failure is not None:
            yield _failed("setup", failure, commit, environ)
            return
        what = " ".join(settings.setup.split())
        yield Check("setup", ok=True, what="; ".join([what, *changes]))
    if settings.verify is None:
        yield Check(
            "verify", ok=True, what=f"none; to test what lands, set it in {FILE}"
        )
    elif failure is not None:
        yield _failed("verify", failure, commit, environ)
    else:
        yield Check("verify", ok=True, what=" ".join(settings.verify.split()))


def _run_commands(
    repo: Repository,
    settings: Settings,
    commit: str,
    environ: Mapping[str, str],
    on_ready: Callable[[Workspace], object],
) -> Failure | None:
    """Run set-up, then verify; why one of them failed. `on_ready` is called between."""
    verify = verify_command(settings, _include_of(repo, settings, commit))
    scratch = Path(tempfile.mkdtemp(prefix="fanin-doctor-"))
    # The commit needs no other objects than the repository's own.
    objects = repo.origin.git_dir / "objects"
    context = AttemptContext(environ, walls=walls_of(repo, settings, environ))
    try:
        return verify_commit(
            verify, repo.origin, commit, objects, scratch, context, on_ready
        )
    finally:
        remove_folder(scratch)


def _include_of(repo: Repository, settings: Settings, commit: str) -> tuple[str, ...]:
    with suppress(FaninError):  # which is a line of its own
        return (*settings.include, *committed_include(repo, commit))
    return settings.include


def _changes_of_setup(
    repo: Repository, settings: Settings, space: Workspace
) -> list[str]:
    """A sentence about the tracked files that set-up has changed, which is recorded."""
    with suppress(FaninError):  # an attempt will say why git cannot take them
        paths = record_preparation(space).set_up
        record = SetupRecord(repo.private_folder(), settings.setup)
        record.save(paths)
        return [found] if (found := sentence(paths)) else []
    return []


def _failed(
    name: str, failure: Failure, commit: str, environ: Mapping[str, str]
) -> Check:
    log = failure.log_tail.splitlines()[-_LOG_LINES:]
    what = failure.message.splitlines()[0].removeprefix("verify was not started: ")
    fix = f"run it in a fresh clone of {commit[:10]}, or change  {name}  in {FILE}"
    which = partial(shutil.which, path=environ.get("PATH"))
    program = missing_program(failure.log_tail, which)
    if program is not None:
        fix = how_to_install(program, which)
    return Check(name, ok=False, what=what, fix=fix, log=tuple(log))


def all_ok(checks: Iterator[Check], show: Callable[[Check], object]) -> bool:
    """Show each check as soon as it is done; whether all are ok."""
    ok = True
    for check in checks:
        show(check)
        ok = ok and check.ok
    return ok
