"""Settings and their precedence: flags > `FANIN_*` environment > file > default."""

from __future__ import annotations

import os
import posixpath
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from runner.core import yaml_document
from runner.core.documents import Duration, UserDocument
from runner.core.errors import InvalidInput, Problem
from runner.core.manifest import Limits
from runner.core.task import ISSUES_PROGRESS, AgentSettings, PlanSettings
from runner.core.validation import Locate, problems_of
from runner.core.variables import PlainEnv
from runner.policy.globs import invalid
from runner.policy.paths import unusable_name

FILE = "fanin.yml"

# What an agent may not change unless its task says so in `allow`. Lock files and
# manifests are left out on purpose: adding a dependency is ordinary work.
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


class Settings(UserDocument):
    """Every setting (DESIGN, Settings); `plan` and `progress` are repository-relative
    paths.
    """

    plan: PlanSettings = PlanSettings()
    parallel: bool = False
    max_concurrent: Annotated[int, Field(ge=1, le=256)] = 3
    commit_strategy: Literal["batch", "individual"] = "batch"
    schedule: Literal["batch", "rolling"] = "batch"
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    timeout: Duration = 30 * 60.0
    verify: str | None = None
    verify_retries: Annotated[int, Field(ge=0, le=10)] = 1
    agent: AgentSettings | None = None
    env: PlainEnv = Field(default_factory=dict)
    prompt_template: str | None = None
    protected: tuple[str, ...] = PROTECTED
    limits: Limits = Limits()
    scope: Literal["fail", "warn"] = "fail"
    branch: str | None = None
    progress: str = ".fanin/progress.json"

    @field_validator("plan")
    @classmethod
    def _plan_inside_the_repository(cls, plan: PlanSettings) -> PlanSettings:
        return plan.model_copy(update={"path": _inside_the_repository(plan.path)})

    @field_validator("progress", "prompt_template")
    @classmethod
    def _file_inside_the_repository(cls, path: str | None) -> str | None:
        return None if path is None else _inside_the_repository(path)

    @model_validator(mode="after")
    def _progress_of_issues(self) -> Settings:
        """A plan of issues has a progress of its own, so that it may stand beside
        another plan.
        """
        if self.plan.of_issues and "progress" not in self.model_fields_set:
            object.__setattr__(self, "progress", ISSUES_PROGRESS)
        return self

    @model_validator(mode="after")
    def _files_apart(self) -> Settings:
        for one, other in (
            (self.plan.path, self.progress),
            (self.progress, self.plan.path),
            (self.plan.path, FILE),
            (FILE, self.progress),
            (self.progress, FILE),
        ):
            if one == other or other.startswith(f"{one}/"):
                raise ValueError(
                    f"plan, progress and {FILE} must be three different files, none inside the plan's folder"
                )
        return self

    @field_validator("protected")
    @classmethod
    def _real_globs(cls, globs: tuple[str, ...]) -> tuple[str, ...]:
        for glob in globs:
            if reason := invalid(glob):
                raise ValueError(f"{glob!r} is not a valid gitignore pattern: {reason}")
        return globs

    @property
    def slots(self) -> int:
        """How many agents run at once."""
        return self.max_concurrent if self.parallel else 1


_NESTED = {"max_cost_usd", "max_rounds"}
_PLAN = {"source", "ignore_dangling"}


def _inside_the_repository(path: str) -> str:
    plain = posixpath.normpath(path) if path else "."
    if plain in {".", ".."} or plain.startswith(("/", "../")) or unusable_name(plain):
        raise ValueError("expected a path inside the repository, such as tasks.yml")
    return plain


def load(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    text: str | None,
    path: str = FILE,
) -> Settings:
    """The settings in force. `text` is fanin.yml's, None if there is none; None flags
    were not given.

    InvalidInput lists every problem, each at its line of the file, its variable or its
    flag.
    """
    document = (
        yaml_document.load(path, text)
        if text is not None
        else yaml_document.YamlDocument(path, {}, None)
    )
    from_file = document.data if document.data is not None else {}
    if not isinstance(from_file, dict):
        raise InvalidInput(
            [
                Problem(
                    path,
                    1,
                    "the settings are no mapping",
                    "write lines like  parallel: true",
                )
            ]
        )
    from_file = {
        key: value for key, value in from_file.items() if not str(key).startswith("x-")
    }
    problems = _check(from_file, path, document.line)
    from_environ, wrong = _from_environ(environ)
    problems += wrong
    problems += _check(from_environ, "environment", lambda _: None, _variable)
    empty = [name for name, value in flags.items() if value == ""]
    problems += [
        Problem(
            "command line",
            None,
            f"{_flag(name)} is empty",
            "give it a value or leave it out",
        )
        for name in empty
    ]
    given, wrong = _structured(
        {name: value for name, value in flags.items() if value not in {None, ""}},
        _flag,
        "command line",
    )
    problems += wrong + _check(given, "command line", lambda _: None, _flag)
    if problems:
        raise InvalidInput(problems)
    merged = {**from_file, **from_environ, **given}
    limits = [layer.get("limits") or {} for layer in (from_file, from_environ, given)]
    plan = _merged_plan(
        [
            layer["plan"]
            for layer in (from_file, from_environ, given)
            if layer.get("plan") is not None
        ]
    )
    env: dict[str, str] = {}
    for layer in (from_file, from_environ, given):
        env |= layer.get("env") or {}
    # each layer was small enough, together they may not be
    if problems := _check({"env": env}, path, document.line):
        raise InvalidInput(problems)
    return Settings.model_validate(
        {
            **merged,
            "plan": plan,
            "limits": {**limits[0], **limits[1], **limits[2]},
            "env": env,
        }
    )


def _merged_plan(layers: Sequence[Any]) -> dict[str, Any]:
    """Another plan named later is another one: what was said of the format of the
    former does not hold for it.
    """
    merged: dict[str, Any] = {}
    for layer in layers:
        said = {"path": layer} if isinstance(layer, str) else layer
        other = (
            "path" in said
            and _inside_the_repository(said["path"])
            != PlanSettings.model_validate(merged).path
        )
        merged = {**({} if other else merged), **said}
    return merged


def _variable(name: str) -> str:
    return f"FANIN_{name.removeprefix('limits.').removeprefix('plan.').upper()}"


def _flag(name: str) -> str:
    return f"--{name.removeprefix('limits.').removeprefix('plan.').replace('_', '-')}"


def _check(
    values: Mapping[str, Any],
    path: str,
    locate: Locate,
    named: Callable[[str], str] = str,
) -> list[Problem]:
    """Problems of one layer of settings; `named` gives a setting's name as it is
    written in that layer.
    """
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        return problems_of(error, path, locate, Settings, named=named)
    return []


def _from_environ(environ: Mapping[str, str]) -> tuple[dict[str, Any], list[Problem]]:
    names = [
        *(
            name
            for name in Settings.model_fields
            if name not in {"limits", "protected"}
        ),
        *_NESTED,
        *sorted(_PLAN),
        "agent_command",
    ]
    found = {
        name: environ[_variable(name)] for name in names if environ.get(_variable(name))
    }
    return _structured(found, _variable, "environment")


def _structured(
    values: Mapping[str, Any], named: Callable[[str], str], path: str
) -> tuple[dict[str, Any], list[Problem]]:
    """Flat names as flags and variables have them, in the shape of the file; and what
    cannot be read.
    """
    elsewhere = {*_NESTED, *_PLAN, "agent_command"}
    shaped = {name: value for name, value in values.items() if name not in elsewhere}
    if of_plan := {name: values[name] for name in sorted(_PLAN) if name in values}:
        shaped["plan"] = {
            **({"path": values["plan"]} if "plan" in values else {}),
            **of_plan,
        }
    problems = []
    if command := values.get("agent_command"):
        try:
            shaped["agent"] = {"command": shlex.split(command)}
        except ValueError as error:
            problems.append(
                Problem(
                    path,
                    None,
                    f"{named('agent_command')} is no command line: {error}",
                    "mend its quotes",
                )
            )
    if nested := {name: values[name] for name in _NESTED if name in values}:
        shaped["limits"] = nested
    if "env" in shaped:
        shaped["env"], wrong = _env_of_lines(shaped["env"], named("env"), path)
        problems += wrong
    return shaped, problems


def _env_of_lines(
    text: str, source: str, path: str
) -> tuple[dict[str, str], list[Problem]]:
    """The lines `NAME=value` of `source`, a variable or a flag; empty lines are left
    out.
    """
    env: dict[str, str] = {}
    problems = []
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        name, equals, value = line.partition("=")
        if equals:
            env[name.strip()] = value
        elif line.strip():
            problems.append(
                Problem(
                    path,
                    None,
                    f"{source}: line {number} is not NAME=value",
                    "write one NAME=value a line",
                )
            )
    return env, problems


def describe(settings: Settings) -> Sequence[str]:
    """The preamble: what was decided, one short line each."""
    agent = settings.agent.name if settings.agent else "per task"
    slots = f"{settings.slots} at a time" if settings.slots > 1 else "one at a time"
    return [
        f"plan {settings.plan.path}",
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
        raise InvalidInput(
            [Problem(FILE, None, f"unreadable: {error}", "save it as UTF-8 text")]
        ) from None
