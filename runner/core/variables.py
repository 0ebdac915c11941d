"""The environment variables that settings may set, or pass on to an agent."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
)

from runner.core.patterns import lazy_pattern

# Variables by which an agent could act as the job, or change the steps after it:
# tokens, and the runner's command files such as GITHUB_ENV. Also fanin's own.
_NEVER_PASSED = lazy_pattern(
    r"GITHUB_(?:TOKEN|ENV|PATH|OUTPUT|STATE|STEP_SUMMARY)|ACTIONS_.*|INPUT_.*|FANIN_(?:TOKEN|COOKIE|AGENT_ENV|SETUP_SECRETS|APP_PRIVATE_KEY)",
    re.IGNORECASE,
)


def _refuse_job_variable(name: str) -> str:
    if _NEVER_PASSED().fullmatch(name):
        raise ValueError(
            f"{name} is never passed to an agent, which could act as the job with it"
        )
    return name


def _refuse_other_names(name: object) -> object:
    if isinstance(name, str) and not _NAME().fullmatch(name):
        raise ValueError("expected the name of a variable (letters, digits and _)")
    return name


_NAME = lazy_pattern(r"[A-Za-z_][A-Za-z0-9_]*")
EnvName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$"),
    # Runs before; the pattern is for the schema, and has no words for people.
    BeforeValidator(_refuse_other_names),
    AfterValidator(_refuse_job_variable),
]
# Bytes of all names and values of `env`, which is handed on from job to job.
ENV_LIMIT = 16 * 2**10
_SET_BY_FANIN = lazy_pattern(r"FANIN_.*|PATH|HOME", re.IGNORECASE)
# Control characters, and the surrogates that stand for bytes that are not UTF-8.
_CONTROL = lazy_pattern(r"[\x00-\x1f\x7f\ud800-\udfff]")


def _refuse_own_variable(name: str) -> str:
    if _SET_BY_FANIN().fullmatch(name):
        raise ValueError(f"{name} is set by fanin; choose another name")
    return name


def _refuse_lines(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("expected text; write numbers and booleans in quotes")
    if _CONTROL().search(value):
        raise ValueError("a value is one line of text, without control characters")
    return value


def _refuse_large(env: dict[str, str]) -> dict[str, str]:
    size = sum(len(name) + len(value.encode()) for name, value in env.items())
    if size > ENV_LIMIT:
        raise ValueError(
            f"its names and values take {size:,} bytes; the limit is {ENV_LIMIT:,}"
        )
    return env


PlainName = Annotated[EnvName, AfterValidator(_refuse_own_variable)]
PlainValue = Annotated[str, BeforeValidator(_refuse_lines)]
PlainEnv = Annotated[
    dict[PlainName, PlainValue],
    AfterValidator(_refuse_large),
    # Without this the schema accepts names that do not match the pattern.
    Field(json_schema_extra={"additionalProperties": False}),
]
