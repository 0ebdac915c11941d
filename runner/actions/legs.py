"""The jobs that run foreign code: `task`, one for each entry of the matrix, and `verify`. They only read."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from runner import artifacts, durable, pipeline, summary
from runner.actions.rounds import fetch
from runner.actions_io import Context, Machine
from runner.agents.surroundings import secrets_of
from runner.attempt import Surroundings
from runner.errors import EXIT_DONE, UsageProblem
from runner.leaks import is_short
from runner.models import BatchEntry, Manifest, Verdict
from runner.workspace import Origin

if TYPE_CHECKING:
    from runner.gitremote import Remote
    from runner.gitrepo import Repository


def entry_of(manifest: Manifest, task_id: str) -> BatchEntry:
    """The entry of a task, by id. UsageProblem if the batch does not hold it."""
    found = next((entry for entry in manifest.entries if entry.task.id == task_id), None)
    if found is None:
        ids = ", ".join(entry.task.id for entry in manifest.entries)
        raise UsageProblem(f"{task_id} is not in batch {manifest.batch}", f"it holds {ids}")
    return found


def read_agent_env(environ: Mapping[str, str], machine: Machine) -> dict[str, str]:
    """The lines `NAME=value` of the secret `agent-env`, name → value, each value masked in the log unless it is short.

    UsageProblem for a line of another form.
    """
    lines: dict[str, str] = {}
    for line in environ.get("FANIN_AGENT_ENV", "").splitlines():
        name, equals, value = line.partition("=")
        if not line.strip():
            continue
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name.strip()):
            raise UsageProblem("the secret agent-env has a line that is not NAME=value", "write one NAME=value a line")
        if not is_short(value):
            machine.mask(value.strip())
        lines[name.strip()] = value
    return lines


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

    agent_env = read_agent_env(environ, machine)
    named = {name: value for name, value in agent_env.items() if name in entry.agent.env}
    around = Surroundings(
        {**environ, **named},
        run_attempt=context.run_attempt,
        echo=echo,
        secrets=secrets_of([entry.agent], environ, agent_env),
    )
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
    head = fetch(repo, manifest, remote, branch)
    command, timeout, around = manifest.verify, manifest.verify_timeout, Surroundings(environ)
    with machine.fenced(f"verify: {command}"):
        verdict = pipeline.verify_batch(
            repo,
            manifest,
            results,
            head,
            lambda commit, objects: verify_commit(
                repo.origin, command, commit, objects, scratch, timeout, around, manifest.env
            ),
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
