"""Settings and their precedence: flags > `FANIN_*` environment > file > default."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from runner import patterns, yamldoc
from runner.errors import InvalidInput, Problem
from runner.models import AgentSettings, Duration, Limits, Task, Written
from runner.validation import problems_of

FILE = "fanin.yml"

# What an agent may not change unless its task says so in `allow`. Lock files and manifests are left out on
# purpose: adding a dependency is ordinary work.
PROTECTED = (
    ".github/**",
    "action.yml",
    "action.yaml",
    "CODEOWNERS",
    ".git*",
    ".fanin/**",
    FILE,
    "AGENTS.md",
    "CLAUDE.md",
    "GEMINI.md",
    ".claude/**",
    ".codex/**",
    ".gemini/**",
    ".agents/**",
    ".cursor/**",
    ".opencode/**",
    ".aider*",
    ".mcp.json",
    ".husky/**",
    ".githooks/**",
    ".pre-commit-config.yaml",
)


class Settings(Written):
    """Every setting (DESIGN, Settings); `plan` and `progress` are repository-relative paths."""

    plan: str = "tasks.yml"
    parallel: bool = False
    max_concurrent: Annotated[int, Field(ge=1, le=256)] = 3
    commit_strategy: Literal["batch", "individual"] = "batch"
    schedule: Literal["batch"] = "batch"
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    timeout: Duration = 30 * 60.0
    verify: str | None = None
    agent: AgentSettings | None = None
    protected: tuple[str, ...] = PROTECTED
    limits: Limits = Limits()
    branch: str | None = None
    progress: str = ".fanin/progress.json"

    @field_validator("protected")
    @classmethod
    def _real_globs(cls, globs: tuple[str, ...]) -> tuple[str, ...]:
        for glob in globs:
            if reason := patterns.invalid(glob):
                raise ValueError(f"{glob!r} is no gitignore pattern: {reason}")
        return globs

    @property
    def slots(self) -> int:
        """How many agents run at once."""
        return self.max_concurrent if self.parallel else 1

    def attempts_of(self, task: Task) -> int:
        return task.max_attempts or self.max_attempts


@dataclass(frozen=True)
class Given:
    """Settings as given by flags: None means not given."""

    values: Mapping[str, Any]


_NESTED = {"max_cost_usd", "max_rounds"}


def load(flags: Mapping[str, Any], environ: Mapping[str, str], text: str | None, path: str = FILE) -> Settings:
    """The settings in force. `text` is fanin.yml's, None if there is none; None flags were not given.

    InvalidInput lists every problem, each at its line of the file, its variable or its flag.
    """
    document = yamldoc.load(path, text) if text is not None else yamldoc.YamlDocument(path, {}, None)
    from_file = document.data if document.data is not None else {}
    if not isinstance(from_file, dict):
        raise InvalidInput([Problem(path, 1, "the settings are no mapping", "write lines like  parallel: true")])
    from_file = {key: value for key, value in from_file.items() if not str(key).startswith("x-")}
    problems = _check(from_file, path, document.line)
    from_environ = _from_environ(environ)
    problems += _check(from_environ, "environment", lambda _: None, "FANIN_")
    given = _structured({name: value for name, value in flags.items() if value is not None})
    problems += _check(given, "command line", lambda _: None, "--")
    if problems:
        raise InvalidInput(problems)
    merged = {**from_file, **from_environ, **given}
    limits = [layer.get("limits") or {} for layer in (from_file, from_environ, given)]
    return Settings.model_validate({**merged, "limits": {**limits[0], **limits[1], **limits[2]}})


def _check(values: Mapping[str, Any], path: str, locate: Any, prefix: str = "") -> list[Problem]:
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        found = problems_of(error, path, locate, Settings)
        return [Problem(p.path, p.line, f"{prefix and prefix + ': '}{p.what}", p.remedy) for p in found]
    return []


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    names = [
        *(name for name in Settings.model_fields if name not in {"limits", "protected"}),
        *_NESTED,
        "agent_command",
    ]
    found = {name: environ[f"FANIN_{name.upper()}"] for name in names if environ.get(f"FANIN_{name.upper()}")}
    return _structured(found)


def _structured(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flat names as flags and variables have them, in the shape of the file."""
    shaped = {name: value for name, value in values.items() if name not in _NESTED and name != "agent_command"}
    if values.get("agent_command"):
        shaped["agent"] = {"command": shlex.split(values["agent_command"])}
    if nested := {name: values[name] for name in _NESTED if name in values}:
        shaped["limits"] = nested
    return shaped


def describe(settings: Settings) -> Sequence[str]:
    """The preamble: what was decided, one short line each."""
    agent = settings.agent.name if settings.agent else "per task"
    slots = f"{settings.slots} at a time" if settings.slots > 1 else "one at a time"
    return [
        f"plan {settings.plan}",
        f"agent {agent}",
        slots,
        f"{settings.max_attempts} attempts",
        f"commits {settings.commit_strategy}",
    ]


def file_in(folder: str | os.PathLike[str]) -> str | None:
    """The text of fanin.yml in `folder`, or None."""
    try:
        with open(os.path.join(folder, FILE), encoding="utf-8") as stream:  # noqa: PTH118, PTH123
            return stream.read()
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, OSError) as error:
        raise InvalidInput([Problem(FILE, None, f"unreadable: {error}", "save it as UTF-8 text")]) from None
