"""The effective settings.

Precedence, highest first: flags, `FANIN_*` variables, fanin.yml, defaults.
"""

import os
import posixpath
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import (
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from runner.config import settings_table
from runner.config.settings_table import Setting
from runner.core import plan_paths, yaml_document
from runner.core.documents import Command, Duration, Size, TaskId, UserDocument
from runner.core.errors import InvalidInput, Problem
from runner.core.limits import Limits
from runner.core.plurals import pluralize
from runner.core.sandbox import SandboxSettings
from runner.core.task import (
    ISSUES_PROGRESS,
    AgentSettings,
    PlanSettings,
    RetryFrom,
    TaskRules,
    TaskSettings,
)
from runner.core.validation import Locate, problems_of
from runner.core.variables import EnvName, PlainEnv
from runner.policy import include_rules
from runner.policy.globs import invalid, literal, too_many
from runner.policy.paths import SIDE_FILES, shortened, unusable_name

FILE = "fanin.yml"

# One value as a flag gives it; variables are all text.
FlagValue = str | int | float | bool

# What no task may change unless its `allow` names it, in any folder: a name without a
# slash is a file, a folder or a link of that name. Lock files and manifests are left
# out on purpose: adding a dependency is ordinary work. Nothing reads a .gitkeep.
PROTECTED = (
    ".git*",
    "!.gitkeep",
    ".github",
    "action.yml",
    "action.yaml",
    "CODEOWNERS",
    ".fanin",
    FILE,
    include_rules.FILE,
    *SIDE_FILES,
    ".mcp.json",
    ".husky",
    ".githooks",
    ".pre-commit-config.yaml",
)


class Place(NamedTuple):
    """Where the user wrote a setting: a line of a file, or a flag or a variable.

    `path` and `line` as in `Problem`; `prefix` names the flag or the variable.
    """

    path: str
    line: int | None
    prefix: str = ""


class Settings(UserDocument):
    """Every setting, as in fanin.yml.

    `plan`, `progress` and `prompt_template` are paths relative to the repository,
    `timeout` and `on_limit_max` are in seconds, `keep_runs_size` is in bytes.
    `config.settings_table` has one row for each field.
    """

    plan: PlanSettings = PlanSettings.model_construct()
    parallel: bool = False
    max_concurrent: Annotated[int, Field(ge=1, le=256)] = 3
    commit_strategy: Literal["batch", "individual"] = "batch"
    schedule: Literal["batch", "rolling"] = "batch"
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    timeout: Duration = 30 * 60.0
    on_limit: Literal["wait", "stop"] = "wait"
    on_limit_max: Duration = 12 * 3600.0
    keep_runs: Annotated[int, Field(ge=1)] = 20
    keep_runs_size: Size = 500 * 2**20
    include: tuple[str, ...] = ()
    setup: Annotated[str, Field(min_length=1, max_length=10_000)] | None = None
    setup_env: tuple[EnvName, ...] = ()
    setup_timeout: Duration = 10 * 60.0
    workspace: Literal["fresh", "pooled"] = "fresh"
    verify: Command = None
    verify_retries: Annotated[int, Field(ge=0, le=10)] = 1
    verify_concurrent: Annotated[int, Field(ge=1, le=64)] = 1
    verify_cache: bool = True
    verify_base: Literal["check", "ignore"] = "check"
    start_after: Literal["verify", "merge"] = "verify"
    agent: AgentSettings | None = None
    env: PlainEnv = Field(default_factory=dict)
    prompt_template: str | None = None
    sandbox: SandboxSettings = SandboxSettings.model_construct()
    protected: tuple[str, ...] = PROTECTED
    tasks: dict[TaskId, TaskSettings] = Field(default_factory=dict)
    limits: Limits = Limits.model_construct()
    scope: Literal["fail", "warn"] = "fail"
    retry_from: RetryFrom = "work"
    branch: str | None = None
    deliver: Literal["branch", "pull-request"] = "branch"
    progress: str = ".fanin/progress.json"

    # By dotted key, of what can only be checked together with more.
    _places: dict[str, Place] = PrivateAttr(default_factory=dict)

    @field_validator("plan")
    @classmethod
    def _normalize_plan_path(cls, plan: PlanSettings) -> PlanSettings:
        return plan.model_copy(update={"path": _normalized_plan(plan.path)})

    @field_validator("progress", "prompt_template")
    @classmethod
    def _normalize_path(cls, path: str | None) -> str | None:
        if path is None:
            return None
        return _normalized(path)

    @model_validator(mode="after")
    def _default_progress_of_issues(self) -> Self:
        # A plan of issues may stand beside another plan, so it has its own progress.
        if self.plan.of_issues and "progress" not in self.model_fields_set:
            object.__setattr__(self, "progress", ISSUES_PROGRESS)
        return self

    @model_validator(mode="after")
    def _refuse_overlapping_files(self) -> Self:
        pairs = (
            (self.plan.path, self.progress),
            (self.progress, self.plan.path),
            (self.plan.path, FILE),
            (FILE, self.progress),
            (self.progress, FILE),
        )
        for outer, inner in pairs:
            is_inside = outer == inner or inner.startswith(f"{outer}/")
            if is_inside or plan_paths.covers(outer, inner):
                raise ValueError(
                    f"plan, progress and {FILE} must be three different files, "
                    "none inside the plan's folder"
                )
        return self

    @field_validator("protected")
    @classmethod
    def _refuse_invalid_globs(cls, globs: tuple[str, ...]) -> tuple[str, ...]:
        if reason := too_many(globs):
            raise ValueError(f"{reason}; name folders instead of their files")
        for glob in globs:
            if reason := invalid(glob):
                shown = repr(shortened(glob))
                raise ValueError(f"{shown} is not a valid gitignore pattern: {reason}")
        return globs

    @field_validator("include")
    @classmethod
    def _refuse_what_no_checkout_gets(
        cls, patterns: tuple[str, ...]
    ) -> tuple[str, ...]:
        if reason := too_many(patterns):
            raise ValueError(f"{reason}; name folders instead of their files")
        for pattern in patterns:
            if reason := include_rules.problem(pattern):
                raise ValueError(f"{shortened(pattern)!r} cannot be included: {reason}")
        return patterns

    @field_validator("tasks")
    @classmethod
    def _refuse_invalid_globs_of_tasks(
        cls, tasks: dict[str, TaskSettings]
    ) -> dict[str, TaskSettings]:
        for task in tasks.values():
            cls._refuse_invalid_globs(task.allow)
            cls._refuse_invalid_globs(task.files or ())
        return tasks

    @property
    def task_rules(self) -> TaskRules:
        """The rules of these settings for the tasks of the plan."""
        paths = [self.progress, FILE, include_rules.FILE]
        if self.prompt_template:
            paths.append(self.prompt_template)
        # without a slash at the end: a file or a link of that name is refused too
        never = (*map(literal, paths), "/.fanin")
        return TaskRules(self.tasks, self.protected, never)

    def place_of(self, key: str) -> Place:
        """Where a setting was written, or an agent: `agent` or `tasks.ID.agent`."""
        return self._places.get(key, Place(FILE, None, f"{key}: "))

    @property
    def own_branch(self) -> bool:
        """Whether work lands on a branch of the run's own, which no person has checked
        out, and from there by a pull request.
        """
        return self.deliver == "pull-request"

    @property
    def slots(self) -> int:
        """The number of agents that run at once."""
        return self.max_concurrent if self.parallel else 1


def _normalized_plan(path: str) -> str:
    """The path, or each of several. ValueError if one leaves the repository."""
    if not plan_paths.is_several(path):
        return _normalized(path)
    return plan_paths.SEPARATOR.join(map(_normalized, plan_paths.parts(path)))


def _normalized(path: str) -> str:
    """The path without `./` and the like. ValueError if it leaves the repository."""
    plain = posixpath.normpath(path) if path else "."
    is_outside = plain in {".", ".."} or plain.startswith(("/", "../"))
    if is_outside or unusable_name(plain):
        raise ValueError("expected a path inside the repository, such as tasks.yml")
    return plain


class _Source(NamedTuple):
    """A source of settings, and how the user names a key in it.

    `locate` gives the line of a key, None where there are no lines.
    """

    name: str
    named: Callable[[str], str] = str
    locate: Locate = lambda _: None


class _Unreadable(Exception):
    """The text of a setting cannot be read; holds what is wrong and the remedy."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def load(
    flags: Mapping[str, FlagValue | None],
    environ: Mapping[str, str],
    text: str | None,
    path: str = FILE,
) -> Settings:
    """The effective settings.

    `text` is that of fanin.yml, None if there is no such file. Flags that were not
    given are None or absent.

    Raises InvalidInput, which lists every problem with its line of the file, its
    variable or its flag.
    """
    from_file, file_source = _read_file(path, text)
    given_variables = {
        setting.name: environ[setting.variable]
        for setting in settings_table.SETTINGS
        if environ.get(setting.variable)
    }
    given_flags = {name: value for name, value in flags.items() if value is not None}
    problems = _problems(from_file, file_source)
    from_environ = _structured(given_variables, _ENVIRONMENT, problems)
    from_flags = _structured(given_flags, _COMMAND_LINE, problems)
    if problems:
        raise InvalidInput(problems)
    merged = _merged([from_file, from_environ, from_flags])
    # Each layer of `env` was small enough; together they may not be.
    if problems := _problems({"env": merged["env"]}, file_source):
        raise InvalidInput(problems)
    settings = Settings.model_validate(merged)
    layers = [(from_file, file_source), (from_environ, _ENVIRONMENT)]
    for values, source in [*layers, (from_flags, _COMMAND_LINE)]:
        settings._places.update(_places(values, source))
    return settings


def _places(values: Mapping[str, Any], source: _Source) -> Iterator[tuple[str, Place]]:
    """Where a valid source has its settings, and its agents by dotted key."""
    for name, value in values.items():
        line = source.locate([name])
        written = source.named(name)
        if source is _COMMAND_LINE and value is False:
            written = settings_table.negative_flag_of(name) or written
        yield name, Place(source.name, line, "" if line else f"{written}: ")
    agent = values.get("agent")
    if agent is not None:
        is_command = isinstance(agent, dict) and "command" in agent
        written = "agent.command" if is_command else "agent"
        line = source.locate(["agent"])
        prefix = "" if line else f"{source.named(written)}: "
        yield "agent", Place(source.name, line, prefix)
    for task_id in values.get("tasks") or {}:
        key = f"tasks.{task_id}.agent"
        line = source.locate(["tasks", task_id, "agent"])
        yield key, Place(source.name, line, "" if line else f"{key}: ")


def _read_file(path: str, text: str | None) -> tuple[dict[str, Any], _Source]:
    document = yaml_document.YamlDocument(path, {}, None)
    if text is not None:
        document = yaml_document.load(path, text)
    values = document.data
    if values is None:
        values = {}
    if not isinstance(values, dict):
        problem = Problem(
            path,
            1,
            "the settings are not a mapping",
            "write lines like  parallel: true",
        )
        raise InvalidInput([problem])
    own = {key: values[key] for key in values if not str(key).startswith("x-")}
    return own, _Source(path, locate=document.line)


def _key_translator(name_of: Callable[[Setting], str]) -> Callable[[str], str]:
    """A function from a key of fanin.yml to the flag or variable that sets it.

    `name_of` gives the name for a setting; a part of the key below it is kept.
    """

    def translated(dotted: str) -> str:
        covering = settings_table.key_in(dotted)
        if covering is None:
            return dotted
        setting, rest = covering
        return name_of(setting) + rest

    return translated


_ENVIRONMENT = _Source("environment", _key_translator(lambda setting: setting.variable))
_COMMAND_LINE = _Source("command line", _key_translator(lambda setting: setting.flag))


def _problems(values: Mapping[str, Any], source: _Source) -> list[Problem]:
    """The problems of the settings that come from one source."""
    try:
        Settings.model_validate(values)
    except ValidationError as error:
        return problems_of(
            error, source.name, source.locate, Settings, named=source.named
        )
    return []


def _structured(
    values: Mapping[str, FlagValue], source: _Source, problems: list[Problem]
) -> dict[str, Any]:
    """The values of flags or variables, nested as in fanin.yml.

    What cannot be read or is not valid is added to `problems`.
    """
    nested: dict[str, Any] = {}
    for setting in settings_table.SETTINGS:
        if setting.name not in values:
            continue
        try:
            value = _parsed(setting, values[setting.name])
        except _Unreadable as error:
            what = f"{source.named(setting.key)}: {error.what}"
            problems.append(Problem(source.name, None, what, error.remedy))
        else:
            _put(nested, setting, value)
    problems += _problems(nested, source)
    return nested


def _parsed(setting: Setting, value: FlagValue) -> Any:
    """The value as fanin.yml would hold it. Raises _Unreadable if not possible."""
    if value == "":
        raise _Unreadable("the value is empty", "give one or leave it out")
    if not isinstance(value, str):
        return value
    if setting.kind == "mapping" and value.lstrip().startswith(("{", "[")):
        return _parsed_mapping(value)
    if setting.kind == "lines":
        return [line for line in value.splitlines() if line.strip()]
    if setting.kind == "pairs":
        return _parsed_pairs(value)
    if setting.kind == "command":
        return _parsed_command(value)
    return value


def _parsed_mapping(text: str) -> Any:
    try:
        return yaml_document.load("", text).data
    except InvalidInput as error:
        first = error.problems[0]
        raise _Unreadable(first.what, "write it as in fanin.yml, in one line") from None


def _parsed_pairs(text: str) -> dict[str, str]:
    pairs = {}
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        name, equals, value = line.partition("=")
        if equals:
            pairs[name.strip()] = value
        elif line.strip():
            raise _Unreadable(
                f"line {number} is not NAME=value", "write one NAME=value a line"
            )
    return pairs


def _parsed_command(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise _Unreadable(
            f"not a valid command line: {error}", "fix its quotes"
        ) from None


def _put(nested: dict[str, Any], setting: Setting, value: Any) -> None:
    """Store a value under its key, which is dotted when it is part of a mapping."""
    parent, _, key = setting.key.partition(".")
    if not key:
        nested[parent] = value
        return
    if setting.kind == "command":
        # An agent is a preset or a command, so the command replaces a preset.
        nested[parent] = {key: value}
        return
    mapping = nested.get(parent, {})
    if parent == "plan" and isinstance(mapping, str | list):
        mapping = {"path": mapping}
    # Anything else that is not a mapping is reported when the layer is validated.
    if isinstance(mapping, dict):
        nested[parent] = {**mapping, key: value}


def _merged(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The layers, the last of which wins. `limits`, `env` and `sandbox` are merged by key."""
    merged: dict[str, Any] = {}
    for layer in layers:
        merged |= layer
    for name in ("limits", "env"):
        merged[name] = {}
        for mapping in _given(layers, name):
            merged[name] |= mapping
    merged["sandbox"] = {}
    for given in _given(layers, "sandbox"):
        merged["sandbox"] |= given if isinstance(given, dict) else {"mode": given}
    merged["plan"] = _merged_plan(_given(layers, "plan"))
    return merged


def _given(layers: Iterable[Mapping[str, Any]], name: str) -> list[Any]:
    return [layer[name] for layer in layers if layer.get(name) is not None]


def _merged_plan(layers: Iterable[str | list[str] | dict[str, Any]]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in layers:
        mapping: dict[str, Any] = layer if isinstance(layer, dict) else {"path": layer}
        if "path" in mapping:
            path_so_far = PlanSettings.model_validate(merged).path
            path = PlanSettings.model_validate({"path": mapping["path"]}).path
            if _normalized_plan(path) != path_so_far:
                # Another plan: the format of the former does not hold for it.
                merged = {}
        options = {**merged.get("options", {}), **mapping.get("options", {})}
        merged = merged | mapping
        if options:
            merged["options"] = options
    return merged


def describe(settings: Settings) -> Sequence[str]:
    """The settings that shape a run, each in a few words."""
    agent = "no default agent: add  agent: claude  to fanin.yml"
    if settings.agent is not None:
        names = [posixpath.basename(each.name) for each in settings.agent.each]
        agent = f"agent {', then '.join(names)}"
    slots = "one at a time"
    if settings.slots > 1:
        slots = f"{settings.slots} at a time"
    texts = [
        f"plan {settings.plan.path}",
        agent,
        slots,
        pluralize(settings.max_attempts, "attempt"),
    ]
    if settings.commit_strategy == "individual":
        texts.append("a commit for each task")
    return texts


def read_settings_file(folder: str | os.PathLike[str]) -> str | None:
    """The text of fanin.yml in `folder`, None if there is no such file.

    Raises InvalidInput if it cannot be read.
    """
    try:
        with open(os.path.join(folder, FILE), encoding="utf-8") as stream:  # noqa: PTH118, PTH123
            return stream.read()
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        problem = Problem(FILE, line, "is not UTF-8 text", "save it as UTF-8")
        raise InvalidInput([problem]) from None
    except OSError as error:
        raise _unreadable_file(
            error, "make it a regular file that you can read"
        ) from None


def _unreadable_file(error: Exception, remedy: str) -> InvalidInput:
    return InvalidInput([Problem(FILE, None, f"unreadable: {error}", remedy)])
