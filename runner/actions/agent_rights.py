"""What an agent, and what it wrote, may do on the machine of a job besides the task: decided
here, done by `agents.privileges`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.actions.workflow_io import JobIO
from runner.agents import privileges
from runner.agents.privileges import Machine
from runner.core.sandbox import SandboxSettings

_TITLE = "Agents can do more than their task"


@dataclass(frozen=True)
class RightsPolicy:
    """`drops`: sudo and Docker are taken away. `reports`: what is left is a warning."""

    drops: bool
    reports: bool


def policy_of(environ: Mapping[str, str]) -> RightsPolicy:
    """The policy of a job with these variables.

    Only a machine that GitHub throws away after the job is changed. GitHub says so in
    RUNNER_ENVIRONMENT, the action the input `keep-sudo` in FANIN_KEEP_SUDO.
    """
    keeps = environ.get("FANIN_KEEP_SUDO", "")
    if keeps != "false":
        return RightsPolicy(drops=False, reports=False)
    is_hosted = environ.get("RUNNER_ENVIRONMENT") == "github-hosted"
    return RightsPolicy(drops=is_hosted, reports=True)


def limit_agent(
    environ: Mapping[str, str], job_io: JobIO, machine: Machine | None = None
) -> None:
    """Take sudo and Docker from the agent or from what it wrote, and warn of what that
    leaves open.

    This process hides its variables, which hold keys that are not this agent's.
    """
    privileges.hide_this_process()
    policy = policy_of(environ)
    if not policy.reports:
        return
    machine = machine or Machine()
    ways = privileges.ways_to_root(machine)
    if ways and policy.drops:
        privileges.drop(machine, privileges.own_account())
        ways = privileges.ways_to_root(machine)
    if privileges.readable_memory(machine):
        ways.append("it can read the memory of the runner, with the job's tokens")
    if ways:
        message = f"{'; '.join(ways)}. {_remedy(policy)}"
        job_io.annotate("warning", message, title=_TITLE)


def with_runner_hidden(
    sandbox: SandboxSettings, environ: Mapping[str, str]
) -> SandboxSettings:
    """The settings with walls around the files of the runner: those of the job's steps,
    with the batch and the results, and the credentials of a runner of one's own.
    """
    hidden = list(sandbox.hide)
    if temporary := environ.get("RUNNER_TEMP"):
        hidden.append(temporary)
    if workspace := environ.get("RUNNER_WORKSPACE"):
        # RUNNER/_work/REPOSITORY, by the runner's own layout
        runner = Path(workspace).parent.parent
        names = (".credentials", ".credentials_rsaparams", ".runner", "_diag")
        hidden += [str(runner / name) for name in names if (runner / name).exists()]
    return sandbox.model_copy(update={"hide": tuple(hidden)})


def _remedy(policy: RightsPolicy) -> str:
    if policy.drops:
        return "fanin could not take that away"
    return (
        "fanin changes no machine that is not GitHub's: give the runner's user neither "
        "sudo nor Docker, or set the input keep-sudo to true"
    )
