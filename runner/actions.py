"""The steps as jobs on GitHub Actions: `next`, `task`, `verify`, `merge`, `continue`.

The counterpart of `local.py`: there a loop calls the pipeline, here each function is one job, and the branch, the
manifest and the result folders carry the state between them. Edges arrive as arguments.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, ValidationError

from runner import artifacts, durable, pipeline, publishing, summary
from runner.actions_io import Context, Machine
from runner.attempt import Surroundings
from runner.budget import Budget, Tally
from runner.errors import (
    EXIT_DONE,
    EXIT_TASKS_FAILED,
    EnvironmentBroken,
    FaninError,
    InvalidInput,
    UsageProblem,
    VerdictOutdated,
)
from runner.leaks import NONE, Secrets
from runner.models import BatchEntry, Document, Failure, FailureKind, Manifest, Verdict
from runner.pace import Pace
from runner.workspace import Origin

if TYPE_CHECKING:
    from runner.config import Settings
    from runner.fan_in import FanIn
    from runner.github_api import GitHub
    from runner.gitremote import Remote
    from runner.gitrepo import Repository
    from runner.pictures import View
    from runner.snapshot import Snapshot

_HELD = "The branch moved while this was verified, twice. Merging it completes the tasks in it."
MATRIX_LIMIT = 256  # entries; GitHub runs none at all above it
_SETUP_MINUTES = 20  # a job's time beyond its task's own limit, so that the result is still uploaded
# What a person may choose in the UI and every later round must keep; sent along by `continue`.
CARRIED = (
    "plan",
    "source",
    "ignore_dangling",
    "parallel",
    "max_concurrent",
    "commit_strategy",
    "max_attempts",
    "timeout",
    "verify",
    "agent",
    "agent_command",
    "max_cost_usd",
    "max_rounds",
    "progress",
)


class RoundState(Document):
    """`fanin-state`, the one machine input of the caller's workflow: what a round hands to the next."""

    run: str
    round: int = 1
    branch: str | None = None
    pull_request: int | None = None
    inputs: dict[str, str] = Field(default_factory=dict)
    issues: dict[str, str] = Field(default_factory=dict)  # what `collect` was asked for in the first round
    spent_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    dearest_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    slots: Annotated[int, Field(ge=1)] | None = None  # agents at once, while a rate limit lowers it
    limited: Annotated[int, Field(ge=0)] = 0  # rounds in a row that met a rate limit

    def budget(self, limit: float | None) -> Budget:
        return Budget(limit, self.spent_usd, self.dearest_usd)

    def pace(self, most: int) -> Pace:
        return Pace(most, min(most, self.slots or most), self.limited)


def round_state(text: str, context: Context) -> RoundState:
    """The state that the round before handed on, or that of a new run. UsageProblem if it is not readable."""
    if not text.strip():
        return RoundState(run=context.run_id, pull_request=context.pull_request)
    try:
        state = RoundState.model_validate_json(text)
    except ValidationError as error:
        raise UsageProblem(
            f"fanin-state is not what the round before wrote: {error.errors()[0]['msg']}",
            "leave this input empty; fanin fills it in",
        ) from None
    if set(state.inputs) - set(CARRIED) or not re.fullmatch(r"[0-9A-Za-z-]{1,64}", state.run):
        raise UsageProblem("fanin-state holds what no round writes", "leave this input empty; fanin fills it in")
    return state


def carried(environ: Mapping[str, str], state: RoundState) -> dict[str, str]:
    """The inputs that count: those of the run's first round."""
    if state.inputs:
        return dict(state.inputs)
    return {name: environ[f"FANIN_{name.upper()}"] for name in CARRIED if environ.get(f"FANIN_{name.upper()}")}


# -- next -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NextOptions:
    """What job `next` is asked: where the manifest goes, ids to try again, whether only to look."""

    manifest: Path
    retry: Sequence[str] = ()
    dry_run: bool = False
    runs_on: str = "ubuntu-latest"
    carried: Mapping[str, str] = field(default_factory=dict)
    may_change_workflows: bool = False


def next_job(
    repo: Repository,
    settings: Settings,
    state: RoundState,
    context: Context,
    machine: Machine,
    remote: Remote,
    options: NextOptions,
) -> int:
    """Choose the batch: write the manifest, and the outputs that the other jobs are made of."""
    from runner import agents, batch
    from runner.snapshot import granted, read_snapshot, read_template

    branch = state.branch or settings.branch or context.head_ref or context.ref_name
    head = repo.commit("HEAD")
    assert head is not None
    if state.round == 1:
        refuse_while_open(repo, remote, settings, head)
    snapshot = read_snapshot(repo, head, settings.plan, settings.progress)
    known = granted(snapshot, options.retry, settings.max_attempts)
    batch.refuse_hopeless(
        snapshot.plan, known, settings, agents.agent_for, may_change_workflows=options.may_change_workflows
    )
    uncapped, notes = batch.uncapped(
        snapshot.plan, known, settings, lambda chosen: agents.agent_for(chosen).traits.costs
    )
    if uncapped:
        raise InvalidInput(uncapped)
    budget = state.budget(settings.limits.max_cost_usd)
    slots = state.pace(min(settings.slots, MATRIX_LIMIT)).now
    template = settings.prompt_template
    manifest = pipeline.next_batch(
        snapshot,
        settings,
        run=state.run,
        round_number=state.round,
        branch=branch,
        slots=slots,
        retry=options.retry,
        budget=budget,
        template=read_template(template, repo.file(head, template) if template else None),
    )
    for note in [*notes, *([] if manifest else filter(None, [budget.exhausted()]))]:
        machine.annotate("notice", note, title="fanin")
    has_work = manifest is not None and not options.dry_run
    if manifest is not None:
        durable.write(options.manifest, manifest.model_dump_json(indent=1).encode())
    machine.output(_next_outputs(manifest if has_work else None, state, branch, head, slots, options))
    found = _views(snapshot, settings.max_attempts)
    _tell_next(machine, found, manifest, branch, dry_run=options.dry_run)
    stuck = any(view.state in {"failed", "blocked", "held"} for view in found)
    return EXIT_TASKS_FAILED if manifest is None and stuck else EXIT_DONE


def _next_outputs(
    manifest: Manifest | None, state: RoundState, branch: str, head: str, slots: int, options: NextOptions
) -> dict[str, str]:
    handed = state.model_copy(update={"branch": branch, "inputs": options.carried})
    outputs = {
        "has-work": "false",
        "branch": branch,
        "base-sha": head,
        "state": handed.model_dump_json(),
        "batch": f"{state.run}.{state.round}",
        "max-parallel": str(slots),
        "matrix": '{"include":[]}',
        "manifest-digest": "",
        "verify": "false",
    }
    if manifest is not None:
        matrix = {"include": [matrix_entry(entry, options.runs_on) for entry in manifest.entries]}
        outputs |= {
            "has-work": "true",
            "matrix": json.dumps(matrix),
            "manifest-digest": manifest.digest,
            "verify": "true" if manifest.verify else "false",
        }
    return outputs


def matrix_entry(entry: BatchEntry, runs_on: str) -> dict[str, Any]:
    """One entry of the matrix: ids and bounds only, so that no text of the plan passes through YAML or a shell."""
    minutes = int(entry.timeout // 60) + 1 + _SETUP_MINUTES
    return {
        "index": entry.index,
        "folder": entry.folder,
        "task": entry.task.id,
        "attempt": entry.attempt,
        "timeout-minutes": minutes,
        "runs-on": labels(runs_on),
    }


def labels(runs_on: str) -> str | list[str]:
    """`runs-on` as GitHub takes it: a label, or a JSON list of labels. UsageProblem for anything else."""
    if not runs_on.lstrip().startswith("["):
        return runs_on.strip() or "ubuntu-latest"
    try:
        found = json.loads(runs_on)
    except ValueError:
        found = None
    if not isinstance(found, list) or not found or not all(isinstance(label, str) for label in found):
        raise UsageProblem(
            f"runs-on is neither a label nor a JSON list of labels: {runs_on}",
            'write  ubuntu-latest  or  ["self-hosted", "linux"]',
        )
    return found


def refuse_while_open(repo: Repository, remote: Remote, settings: Settings, head: str) -> None:
    """UsageProblem while an earlier run's work waits on a `fanin/…` branch that the head does not hold yet.

    "Holds" is read from the progress, not from history, which a shallow checkout lacks.
    """
    from runner.snapshot import read_snapshot

    mine = read_snapshot(repo, head, settings.plan, settings.progress)
    for branch in sorted(remote.branches("fanin/")):
        try:
            other = read_snapshot(repo, remote.fetch(branch), settings.plan, settings.progress)
        except UsageProblem:
            continue  # of another plan, or none
        if other.progress.is_ahead_of(mine.progress):
            raise UsageProblem(
                f"an earlier run's work waits on {branch}",
                f"merge its pull request first, or delete the branch {branch} to drop the work",
            )


def _tell_next(
    machine: Machine, found: Sequence[View], manifest: Manifest | None, branch: str, *, dry_run: bool
) -> None:
    if manifest is None:
        machine.annotate("notice", "no task is ready: nothing to do", title="fanin")
    ids = ", ".join(entry.task.id for entry in manifest.entries) if manifest else "nothing"
    note = f"{'A dry run: would run' if dry_run else 'This round runs'} {ids}."
    batch = manifest.batch if manifest else "(none)"
    machine.summary(summary.round_summary(found, summary.Round(batch=batch, branch=branch, note=note)))


# -- task -------------------------------------------------------------------------------------------------------


def read_manifest(path: Path, digest: str) -> Manifest:
    """The batch manifest, checked against the digest that job `next` gave. UsageProblem if it is another one."""
    try:
        manifest = Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UsageProblem(f"there is no batch manifest at {path}", "job  next  must have run before") from None
    except ValidationError as error:
        raise UsageProblem(
            f"{path} is no batch manifest: {error.errors()[0]['msg']}", "run the workflow anew"
        ) from None
    if digest and manifest.digest != digest:
        raise UsageProblem("the batch manifest does not belong to this run", "run the workflow anew, all jobs of it")
    return manifest


def entry_of(manifest: Manifest, task_id: str) -> BatchEntry:
    """The entry of a task, by id. UsageProblem if the batch does not hold it."""
    found = next((entry for entry in manifest.entries if entry.task.id == task_id), None)
    if found is None:
        ids = ", ".join(entry.task.id for entry in manifest.entries)
        raise UsageProblem(f"{task_id} is not in batch {manifest.batch}", f"it holds {ids}")
    return found


def agent_environment(environ: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """The environment with the lines `NAME=value` of the secret `agent-env`, each value masked in the log."""
    found = {name: value for name, value in environ.items() if name != "FANIN_AGENT_ENV"}
    for line in environ.get("FANIN_AGENT_ENV", "").splitlines():
        name, equals, value = line.partition("=")
        if not line.strip():
            continue
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name.strip()):
            raise UsageProblem("the secret agent-env has a line that is not NAME=value", "write one NAME=value a line")
        machine.mask(value)
        found[name.strip()] = value
    return found


def task_job(
    manifest: Manifest,
    entry: BatchEntry,
    origin: Origin,
    results: Path,
    scratch: Path,
    environ: Mapping[str, str],
    context: Context,
    machine: Machine,
) -> int:
    """Run one attempt. The job stays green when the agent fails: the result says so, with an annotation."""

    def echo(data: bytes) -> None:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    around = Surroundings(agent_environment(environ, machine), run_attempt=context.run_attempt, echo=echo)
    with machine.fenced(f"{entry.task.id}: {entry.agent.name}"):
        result = pipeline.run_task(manifest, entry, origin=origin, results=results, scratch=scratch, around=around)
    machine.output(
        {
            "succeeded": "true" if result.succeeded else "false",
            "artifact": artifacts.artifact_name(manifest.batch, entry.folder, entry.attempt, context.run_attempt),
        }
    )
    machine.summary(summary.attempt_summary(entry, result))
    if result.failure is not None:
        machine.annotate(
            "error", result.failure.message, title=f"{entry.task.id}: {result.failure.kind}", file=manifest.plan.path
        )
    return EXIT_DONE


# -- verify -----------------------------------------------------------------------------------------------------


def verify_job(
    repo: Repository,
    manifest: Manifest,
    results: Path,
    verdict_file: Path,
    remote: Remote,
    branch: str,
    scratch: Path,
    environ: Mapping[str, str],
    machine: Machine,
) -> int:
    """Verify the merged tree on the branch's head as it is now; write the verdict. Red is a finding, not an error."""
    from runner.attempt import verify_commit

    assert manifest.verify is not None
    head = _fetch(repo, manifest, remote, branch)
    command, timeout, around = manifest.verify, manifest.verify_timeout, Surroundings(environ)
    with machine.fenced(f"verify: {command}"):
        verdict = pipeline.verify_batch(
            repo,
            manifest,
            results,
            head,
            lambda commit, objects: verify_commit(repo.origin, command, commit, objects, scratch, timeout, around),
        )
    durable.write(verdict_file, verdict.model_dump_json(indent=1).encode())
    machine.summary(summary.verdict_summary(verdict, command))
    for task_id, failure in verdict.failed.items():
        machine.annotate("error", failure.message, title=f"{task_id}: verify")
    return EXIT_DONE


def read_verdict(path: Path, manifest: Manifest) -> Verdict | None:
    """The verdict, or None if there is none that can be read: no verdict is red."""
    try:
        verdict = Verdict.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        return None
    return verdict if verdict.manifest == manifest.digest else None


# -- merge ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MergeOptions:
    """What job `merge` is asked: where the verdict is, how to commit, whether this is the last try.

    `task_result` is GitHub's word for all task jobs together; `commit_via` is git or api; `secrets` are looked for
    in what the legs left.
    """

    verdict: Path | None = None
    task_result: str = "success"
    commit_via: str = "git"
    last: bool = True
    secrets: Secrets = NONE


@dataclass(frozen=True)
class Landed:
    """Where the work of a round is: the branch (another one if the branch refused), the fan-in, a sentence to show."""

    branch: str
    fan_in: FanIn
    note: str = ""


class MergeJob:
    """Job `merge`: the only one that may write, and it runs no agent and no code of the repository."""

    def __init__(
        self,
        repo: Repository,
        manifest: Manifest,
        results: Path,
        state: RoundState,
        remote: Remote,
        github: GitHub,
        context: Context,
        machine: Machine,
        options: MergeOptions,
    ) -> None:
        self.repo, self.manifest, self.results, self.state = repo, manifest, results, state
        self.remote, self.github, self.context, self.machine, self.options = remote, github, context, machine, options
        self.publisher = publishing.Publisher(
            repo,
            remote,
            github,
            machine,
            run=state.run,
            branch=state.branch or manifest.branch,
            commit_via=options.commit_via,
        )

    @property
    def branch(self) -> str:
        return self.publisher.branch

    def __call__(self) -> int:
        """Fan in, land, tell. Outputs are set before the job may end red."""
        try:
            landed = self._land()
        except VerdictOutdated as error:
            if not self.options.last:
                self.machine.output({"moved": "true"})
                self.machine.annotate("notice", f"{self.branch} moved: the merged tree is verified once more")
                return EXIT_DONE
            landed = self._hold(str(error))
        return self._tell(landed)

    def _land(self) -> Landed:
        fan_in: FanIn | None = None
        for _ in range(publishing.TRIES):
            head = _fetch(self.repo, self.manifest, self.remote, self.branch)
            known = pipeline.replay(self.repo, self.manifest, fan_in, head) if fan_in else None
            fan_in = known or self._merged(head)
            if not fan_in.commits:
                return Landed(self.branch, fan_in)
            put = self.publisher.put(fan_in.commits, head)
            if put.landed:
                return Landed(self.branch, fan_in, self.publisher.pull_request_if_moved())
            if put.refused:
                self.publisher.move(put)
        raise EnvironmentBroken(
            f"{self.branch} moved {publishing.TRIES} times while the batch was merged",
            "nothing is lost: re-run this job when the branch is quiet",
        )

    def _merged(self, head: str) -> FanIn:
        return pipeline.merge_batch(
            self.repo,
            self.manifest,
            self.results,
            head,
            missing=self._missing(),
            secrets=self.options.secrets,
            **self._gate(),
        )

    def _missing(self) -> Failure:
        """What stands for a task job that left nothing: its own fault, unless a person cancelled the run."""
        if self.options.task_result == "cancelled":
            return Failure(kind=FailureKind.INTERRUPTED, message="the run was cancelled")
        return Failure(kind=FailureKind.NO_RESULT, message="the job left no result")

    def _gate(self) -> dict[str, Any]:
        """With `verify` set, only what a verdict found green may land; no verdict is red."""
        if self.manifest.verify is None:
            return {}
        verdict = read_verdict(self.options.verdict, self.manifest) if self.options.verdict else None
        if verdict is not None:
            return {"verdict": verdict}
        red = Failure(kind=FailureKind.VERIFY, message="the job  verify  left no verdict, and no verdict is red")
        return {"red": {entry.task.id: red for entry in self.manifest.entries}}

    def _hold(self, why: str) -> Landed:
        """The branch moved under two verifications: the work waits for a person on a branch of its own.

        First the branch says that the tasks are held, then the held branch is made on top of that, so that its
        pull request merges cleanly and completes them.
        """
        held = f"fanin/held/{self.manifest.batch}"
        verdict = read_verdict(self.options.verdict, self.manifest) if self.options.verdict else None
        red = verdict.failed if verdict else {}
        for _ in range(publishing.TRIES):
            head = _fetch(self.repo, self.manifest, self.remote, self.branch)
            noted, waiting = pipeline.hold_batch(
                self.repo,
                self.manifest,
                self.results,
                head,
                held=held,
                red=red,
                missing=self._missing(),
                secrets=self.options.secrets,
            )
            push = self.remote.push(self.branch, noted.tip, head)
            if push.refused:
                raise EnvironmentBroken(
                    f"{self.branch} refuses the push: {push.refused}", "the results are kept as artifacts"
                )
            if push.landed:
                self.remote.push(held, waiting.tip, None)
                told = self.publisher.pull_request(held, self.branch, f"Fanin batch {self.manifest.batch}", _HELD)
                return Landed(self.branch, noted, told)
        raise EnvironmentBroken(why, "re-run this job when the branch is quiet; the results are kept as artifacts")

    # -- telling ------------------------------------------------------------------------------------------------

    def _tell(self, landed: Landed) -> int:
        fan_in, manifest = landed.fan_in, self.manifest
        assert fan_in.after is not None
        found = _views(fan_in.after, manifest.max_attempts)
        progressed = bool(fan_in.landed) or any(failure.counted for failure in fan_in.failed.values())
        following = self._following(fan_in, progressed=progressed)
        waiting = bool(following.limited) and not following.pace(1).exhausted()
        outputs = outputs_of(found, landed, progressed=progressed or waiting)
        handed = following.model_copy(update={"branch": landed.branch})
        self.machine.output({**outputs, "state": handed.model_dump_json()})
        done = summary.Round(
            manifest.batch,
            landed.branch,
            fan_in.tip if fan_in.commits else None,
            fan_in.landed,
            fan_in.failed,
            self.context.run_url,
            landed.note,
            f"{Tally().plus(fan_in.results).told()}; the run so far: ${following.spent_usd:.2f}",
        )
        self.machine.summary(summary.round_summary(found, done))
        for warning in fan_in.warnings:
            self.machine.annotate("warning", warning, title="fanin")
        for task_id, failure in fan_in.failed.items():
            self.machine.annotate(
                "error",
                failure.message,
                title=f"{task_id}: {failure.kind}",
                file=manifest.plan.path,
                line=_line(fan_in.after, task_id),
            )
        if self.state.pull_request is not None:
            self._comment(self.state.pull_request, summary.sticky(found, done))
        return exit_code(found, fan_in)

    def _following(self, fan_in: FanIn, *, progressed: bool) -> RoundState:
        """What the next round needs to know: what is spent by now, and how many agents the model bears."""
        manifest = self.manifest
        budget = self.state.budget(manifest.limits.max_cost_usd).after(manifest, fan_in.results)
        limited = any(failure.kind is FailureKind.RATE_LIMIT for failure in fan_in.failed.values())
        before = Pace(MATRIX_LIMIT, self.state.slots or len(manifest.entries), self.state.limited)
        pace = before.after(limited=limited, progressed=progressed)
        slots = pace.now if limited or self.state.slots else None
        return self.state.model_copy(
            update={
                "spent_usd": budget.spent,
                "dearest_usd": budget.dearest,
                "slots": slots,
                "limited": pace.limited,
            }
        )

    def _comment(self, pull_request: int, body: str) -> None:
        """The comment is news, not the work: its failure is a warning."""
        try:
            self.github.sticky_comment(pull_request, summary.MARKER, body)
        except FaninError as error:
            self.machine.annotate("warning", f"the pull request's comment could not be written: {error}")


def outputs_of(found: Sequence[View], landed: Landed, *, progressed: bool) -> dict[str, str]:
    """Job `merge`'s outputs; counts, so that they stay small whatever the plan's size."""
    count = {state: sum(view.state == state for view in found) for state in ("completed", "failed", "blocked", "ready")}
    return {
        "completed": str(count["completed"]),
        "failed": str(count["failed"]),
        "blocked": str(count["blocked"]),
        "remaining": str(count["ready"]),
        "again": "true" if progressed and count["ready"] else "false",
        "commit": landed.fan_in.tip if landed.fan_in.commits else "",
        "landed": "true" if landed.fan_in.commits else "false",
        "branch": landed.branch,
        "moved": "false",
    }


def exit_code(found: Iterable[View], fan_in: FanIn) -> int:
    """1 if a task of this batch failed for good, or nothing more can run and not all is well."""
    by_id = {view.task.id: view for view in found}
    lost = any(by_id[task_id].state == "failed" for task_id in fan_in.failed if task_id in by_id)
    over = not any(view.state == "ready" for view in by_id.values())
    stuck = any(view.state in {"failed", "blocked", "held"} for view in by_id.values())
    return EXIT_TASKS_FAILED if lost or (over and stuck) else EXIT_DONE


# -- continue ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ContinueOptions:
    """What job `continue` is asked: whether work is ready, workflows to start after landing, what `merge` said."""

    again: bool
    branch: str
    landed: bool = False
    trigger: Sequence[str] = ()
    pause: Callable[[float], object] = time.sleep


def continue_job(
    settings: Settings, state: RoundState, context: Context, machine: Machine, github: GitHub, options: ContinueOptions
) -> int:
    """Start the caller's own workflow for the next round, and the user's workflows that a push would have started."""
    for workflow in options.trigger if options.landed else ():
        github.trigger(workflow, options.branch)
    if not options.again:
        return EXIT_DONE
    if state.round >= settings.limits.max_rounds:
        machine.annotate(
            "warning", f"stopped after limits.max_rounds = {settings.limits.max_rounds} rounds; run it again to go on"
        )
        return EXIT_DONE
    dear = settings.limits.max_cost_usd
    if dear is not None and state.spent_usd >= dear:
        machine.annotate(
            "warning",
            f"stopped: ${state.spent_usd:.2f} are spent, limits.max_cost_usd is ${dear:.2f}; run it again to go on",
        )
        return EXIT_DONE
    if pause := state.pace(1).pause(random.random):
        machine.annotate("notice", f"rate limit or overload: the next round starts in {pause:.0f} s", title="fanin")
        options.pause(pause)
    following = state.model_copy(update={"round": state.round + 1, "branch": options.branch})
    ref = context.head_ref or context.ref_name
    url = github.dispatch(context.workflow_file, ref, {"fanin-state": following.model_dump_json()})
    machine.annotate("notice", f"round {following.round} starts{f': {url}' if url else ''}", title="fanin")
    return EXIT_DONE


# -- shared -----------------------------------------------------------------------------------------------------


def _fetch(repo: Repository, manifest: Manifest, remote: Remote, branch: str) -> str:
    """Bring the branch's head and the batch's base here; the head's id."""
    head = remote.fetch(branch)
    if repo.commit(manifest.base) is None:
        remote.fetch(manifest.base)
    return head


def _views(snapshot: Snapshot, max_attempts: int) -> list[View]:
    from runner import pictures

    return pictures.views(snapshot.plan, snapshot.graph, snapshot.progress, max_attempts)


def _line(snapshot: Snapshot, task_id: str) -> int | None:
    task = snapshot.plan.task(task_id)
    return task.line if task else None
