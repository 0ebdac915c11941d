"""The secrets that a workflow hands to its jobs, beside the keys of agents."""

from __future__ import annotations

import re
from collections.abc import Mapping

from runner.actions.workflow_io import JobIO
from runner.core.errors import UsageProblem
from runner.policy.redaction import Secrets, is_short

AGENT_ENV = "FANIN_AGENT_ENV"
SETUP_ENV = "FANIN_SETUP_SECRETS"
APP_ID, APP_KEY = "FANIN_APP_ID", "FANIN_APP_PRIVATE_KEY"
TRACE_HEADERS = "OTEL_EXPORTER_OTLP_HEADERS"

_WORKFLOW_SECRETS = {AGENT_ENV: "agent-env", SETUP_ENV: "setup-env"}


def read_agent_env(environ: Mapping[str, str], job_io: JobIO) -> dict[str, str]:
    """Read the secret `agent-env`: lines `NAME=value`, as name → value.

    Masks each value in the log unless it is too short to be a secret. Raises
    UsageProblem for any other line.
    """
    return _read_lines(environ, AGENT_ENV, job_io)


def read_setup_env(environ: Mapping[str, str], job_io: JobIO) -> dict[str, str]:
    """Read the secret `setup-env`, in the same way."""
    return _read_lines(environ, SETUP_ENV, job_io)


def handed_secrets(environ: Mapping[str, str], setup_env: Mapping[str, str]) -> Secrets:
    """What job `merge` searches for in results besides the agents' secrets."""
    return Secrets.of(setup_env, setup_env) | _app_key(environ)


def _app_key(environ: Mapping[str, str]) -> Secrets:
    """The lines of the App's private key, without its first and last line, which are
    the same in every key.
    """
    lines = [
        line
        for line in environ.get(APP_KEY, "").splitlines()
        if not line.startswith("-----")
    ]
    return Secrets.of({"app-private-key": "\n".join(lines)}, ["app-private-key"])


def _read_lines(
    environ: Mapping[str, str], variable: str, job_io: JobIO
) -> dict[str, str]:
    variables: dict[str, str] = {}
    for line in environ.get(variable, "").splitlines():
        if not line.strip():
            continue
        name, equals, value = line.partition("=")
        name = name.strip()
        if not equals or not re.fullmatch(r"[A-Za-z_]\w*", name):
            # The line itself is a secret, so it is not quoted.
            raise UsageProblem(
                f"the secret {_WORKFLOW_SECRETS[variable]} has a line that is not "
                "NAME=value",
                "write one NAME=value on each line",
            )
        if not is_short(value):
            job_io.mask(value.strip())
        variables[name] = value
    return variables
