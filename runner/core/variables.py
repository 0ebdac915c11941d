"""Names and values of environment variables that settings may give or let through."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
)

# What GitHub's runner gives to its own steps: with it an agent could act as the job, or
# change the steps after it (GitHub, "Security hardening for GitHub Actions"; the
# runner's `GITHUB_*` command files). Also fanin's own.
_NEVER_PASSED = re.compile(
    r"GITHUB_(?:TOKEN|ENV|PATH|OUTPUT|STATE|STEP_SUMMARY)|ACTIONS_.*|INPUT_.*|FANIN_(?:TOKEN|COOKIE|AGENT_ENV)",
    re.IGNORECASE,
)


def _passable(name: str) -> str:
    if _NEVER_PASSED.fullmatch(name):
        raise ValueError(
            f"{name} is never passed to an agent, which could act as the job with it"
        )
    return name


EnvName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"),
    AfterValidator(_passable),
]
# bytes of all names and values of `env`, which travel from job to job
ENV_LIMIT = 16 * 2**10
_FANINS_OWN = re.compile(r"FANIN_.*|PATH|HOME", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # and bytes that are not UTF-8


def _settable(name: str) -> str:
    if _FANINS_OWN.fullmatch(name):
        raise ValueError(f"{name} is set by fanin; choose another name")
    return name


def _one_line(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("expected text; write numbers and booleans in quotes")
    if _CONTROL.search(value):
        raise ValueError("a value is one line of text, without control characters")
    return value


def _bounded(env: dict[str, str]) -> dict[str, str]:
    size = sum(len(name) + len(value.encode()) for name, value in env.items())
    if size > ENV_LIMIT:
        raise ValueError(
            f"its names and values take {size:,} bytes; the limit is {ENV_LIMIT:,}"
        )
    return env


PlainName = Annotated[EnvName, AfterValidator(_settable)]
PlainValue = Annotated[str, BeforeValidator(_one_line)]
PlainEnv = Annotated[
    dict[PlainName, PlainValue],
    AfterValidator(_bounded),
    # as the reader, which takes no name of another form
    Field(json_schema_extra={"additionalProperties": False}),
]
