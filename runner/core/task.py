"""Tasks, the plan that holds them, and the settings of the plan and of an agent."""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Literal, NamedTuple, Self

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from runner.core import plan_paths
from runner.core.documents import (
    Command,
    Duration,
    TaskId,
    Text,
    Title,
    UserDocument,
    digest_of,
)
from runner.core.errors import Problem
from runner.core.patterns import lazy_pattern
from runner.core.plurals import pluralize
from runner.core.variables import EnvName


class Status(StrEnum):
    """The stored states of a task. Ready and blocked are computed, never stored."""

    PENDING = "pending"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


class Standing(StrEnum):
    """The meaning of a task's record for the tasks that depend on it."""

    OPEN = "open"  # runs as soon as its dependencies are completed
    GATED = "gated"  # as open, once a person has approved it
    ASKING = "asking"  # as open, once a person has answered its agent's question
    COMPLETED = "completed"
    # Failed for good, skipped or held: it will not run, nor will what depends on it.
    STUCK = "stuck"

    @property
    def may_run(self) -> bool:
        """Whether the task may run now or later."""
        # Asked of every task of large plans: identity needs no hash.
        return (
            self is Standing.OPEN or self is Standing.GATED or self is Standing.ASKING
        )


# What a task's next attempt starts from: the earlier one's work, or the base alone.
RetryFrom = Literal["work", "base"]


def _first_of_list(values: Sequence[object]) -> object:
    """The first of a list of agents, with the others as its fallbacks."""
    if not values:
        raise ValueError("the list of agents is empty; name at least one")
    if any(isinstance(value, list | tuple) for value in values):
        raise ValueError("a list of agents has a list in it; write one list")
    first = values[0]
    if isinstance(first, str):
        first = {"preset": first}
    if len(values) == 1:
        return first
    if not isinstance(first, dict):
        raise ValueError("expected a preset's name or a mapping for each agent")
    if "fallbacks" in first:
        raise ValueError("an agent of a list has fallbacks; write one list")
    return {**first, "fallbacks": list(values[1:])}


class AgentSettings(UserDocument):
    """The agent that runs: a preset by name, or any command as an argv list.

    - `env`: names of variables that it sees beside those of the preset.
    - `args`: added to the argv of a preset.
    - `home`: `isolated` gives every attempt an empty home folder, `inherit` the user's.
      By default a preset is isolated on GitHub Actions, and all else inherits.
    - `idle_timeout`: seconds without output after which the agent is ended.
    - `fallbacks`: tried in this order while a usage limit stops the agent. People write
      them as a list of agents, `[claude, codex]`.
    """

    preset: str | None = None
    command: tuple[str, ...] | None = None
    model: Annotated[str, StringConstraints(min_length=1)] | None = None
    args: tuple[str, ...] = ()
    max_turns: Annotated[int, Field(ge=1)] | None = None
    env: tuple[EnvName, ...] = ()
    home: Literal["isolated", "inherit"] | None = None
    idle_timeout: Duration | None = None
    fallbacks: tuple["AgentSettings", ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _expand_short_forms(cls, value: object) -> object:
        if isinstance(value, list | tuple):
            return _first_of_list(value)
        return {"preset": value} if isinstance(value, str) else value

    @model_serializer(mode="wrap")
    def _leave_out_no_fallbacks(
        self, serialize: SerializerFunctionWrapHandler
    ) -> dict[str, object]:
        # Digests stay those of versions without the field.
        data: dict[str, object] = serialize(self)
        if not self.fallbacks:
            data.pop("fallbacks", None)
        return data

    @model_validator(mode="after")
    def _refuse_unusable_fallbacks(self) -> Self:
        if any(fallback.fallbacks for fallback in self.fallbacks):
            raise ValueError("an agent of a list has fallbacks; write one list")
        labels = [self.label, *(fallback.label for fallback in self.fallbacks)]
        for index, label in enumerate(labels):
            if label in labels[:index]:
                raise ValueError(
                    f"the list of agents has {label} twice; a usage limit stops both"
                )
        return self

    @model_validator(mode="after")
    def _refuse_other_combinations(self) -> Self:
        if (self.preset is None) == (self.command is None):
            raise ValueError("give exactly one of preset and command")
        if self.command is not None and not (self.command and self.command[0]):
            raise ValueError("command is empty; write at least the program's name")
        if self.command is not None and (self.model or self.args or self.max_turns):
            raise ValueError(
                "model, args and max_turns need a preset; with command, write them into it"
            )
        return self

    @property
    def name(self) -> str:
        """The preset, or the program of the command."""
        if self.command:
            return self.command[0]
        return self.preset or ""

    @property
    def each(self) -> tuple["AgentSettings", ...]:
        """The agent and its fallbacks in the order to try them.

        Each has the others as its fallbacks, so that all keys stay known.
        """
        if not self.fallbacks:
            return (self,)
        agents = (self.model_copy(update={"fallbacks": ()}), *self.fallbacks)
        each = []
        for index, agent in enumerate(agents):
            others = (*agents[:index], *agents[index + 1 :])
            each.append(agent.model_copy(update={"fallbacks": others}))
        return tuple(each)

    @property
    def label(self) -> str:
        """What tells it from other agents: two with the same label share a limit."""
        if self.command:
            return " ".join(self.command)
        return " ".join([self.name, *([self.model] if self.model else ()), *self.args])


class TaskFields(UserDocument):
    """The fields of a task that a plan may set.

    `files` are gitignore patterns of what the task may change: None is anything that is
    not protected, () nothing. `timeout` and `estimate` are seconds. `gate`: it starts only
    once a person has approved it. A title is one line. In all texts, line ends are `\\n`,
    and control characters become U+FFFD.
    """

    id: TaskId
    title: Title
    prompt: Text = ""
    files: tuple[str, ...] | None = None
    depends_on: tuple[str, ...] = ()
    acceptance: tuple[Text, ...] = ()
    agent: AgentSettings | None = None
    verify: Command = None
    timeout: Duration | None = None
    max_attempts: Annotated[int, Field(ge=1, le=100)] | None = None
    estimate: Duration | None = None
    priority: int = 0
    allow: tuple[str, ...] = ()
    allow_empty: bool = False
    retry_from: RetryFrom | None = None
    gate: bool = False


class TaskSettings(UserDocument):
    """Settings of one task in fanin.yml; a field that is set replaces the plan's.

    `sandbox` is no field of a plan: a plan is the work of others.
    """

    allow: tuple[str, ...] = ()
    files: tuple[str, ...] | None = None
    agent: AgentSettings | None = None
    verify: Command = None
    retry_from: RetryFrom | None = None
    gate: bool = False
    sandbox: Literal["require"] | None = None

    @model_serializer(mode="wrap")
    def _leave_out_what_is_not_given(
        self, serialize: SerializerFunctionWrapHandler
    ) -> dict[str, object]:
        # Whoever reads it again, such as the merge of a batch, must know what is given.
        data: dict[str, object] = serialize(self)
        return {name: data[name] for name in data if name in self.model_fields_set}

    @property
    def given(self) -> dict[str, object]:
        """The fields of a plan's task that are given, by name."""
        names = self.model_fields_set - {"sandbox"}
        return {name: getattr(self, name) for name in names}


class TaskRules(NamedTuple):
    """The rules of fanin.yml for the tasks of a plan.

    `tasks`: settings by task id. `protected`: globs that only `allow` lifts. `never`:
    globs of fanin's own files, which nothing lifts.
    """

    tasks: Mapping[str, TaskSettings] = MappingProxyType({})
    protected: tuple[str, ...] = ()
    never: tuple[str, ...] = ()


class Reference(NamedTuple):
    """Background for the agent of a task: a file, or a text.

    `name`: the file's path in the repository if `text` is None, otherwise what the text
    is, such as `epic b-1: Payments`.
    """

    name: str
    text: str | None = None


class Task(TaskFields):
    """One unit of work for one agent, as read from a plan.

    - `path`, `line`: where it is defined; `path` is "" unless the plan is a folder, lines
      count from 1.
    - `source_status`, `skipped`: what the plan's own marks say. A progress record wins
      over them. `skip_reason` is the plan's word for why, "" if it has none.
    - `context`: documents for the prompt, the most important first.
    - `blocker`: what in the plan keeps the task from running and is no task, such as
      `line 5`, or "".
    - `open_before`: ids that it waits for beside `depends_on`, because of the order and
      the marks of the tasks: a task between them was ticked out of order, or is passed
      over once it is in review.

    None of these is part of the task's digest: the plan's marks change during a run.
    """

    line: int = Field(default=1, exclude=True, repr=False)
    path: str = Field(default="", exclude=True, repr=False)
    source_status: Status = Field(default=Status.PENDING, exclude=True, repr=False)
    skipped: bool = Field(default=False, exclude=True, repr=False)
    skip_reason: str = Field(default="", exclude=True, repr=False)
    context: tuple[Reference, ...] = Field(default=(), exclude=True, repr=False)
    blocker: str = Field(default="", exclude=True, repr=False)
    open_before: tuple[str, ...] = Field(default=(), exclude=True, repr=False)

    @property
    def is_marked(self) -> bool:
        """Whether the plan says anything about what became of the task."""
        return self.skipped or self.source_status is not Status.PENDING

    @property
    def waits_for(self) -> tuple[str, ...]:
        """The ids of the tasks that must be completed before this one."""
        return (*self.depends_on, *self.open_before)

    @property
    def digest(self) -> str:
        """Identifies the task's text: a result for another text must not land."""
        # A gate says when an attempt may start, not what it is asked to do.
        document = self.model_dump(mode="json", exclude={"gate"})
        if self.retry_from is None:
            # As digested by versions without the field.
            del document["retry_from"]
        return digest_of(document)

    @property
    def request_digest(self) -> str:
        """Identifies what the agent is asked to do, whatever is ticked meanwhile.

        Covers the title, the prompt with its acceptance criteria, and `files`; without
        check boxes, check marks and the width of blanks.
        """
        texts = [self.title, self.prompt, *self.acceptance]
        return digest_of([[_without_marks(text) for text in texts], self.files])


_MARKS = lazy_pattern(
    r"""
    ^ (?P<bullet> [ \t]* (?: [-*+] | \d+[.)] )) [ \t]+ \[ .? \]  # a check box
    | [✅☑✔✓✗✘❌]\ufe0f?
    | ~~
    """,
    re.MULTILINE | re.VERBOSE,
)


def _without_marks(text: str) -> str:
    unmarked = _MARKS().sub(lambda match: match["bullet"] or "", text)
    return " ".join(unmarked.split())


# The format of a plan of GitHub issues, and the files that `fanin collect` writes it to
# by default. They may stand beside another plan and its progress.
ISSUES = "github-issues"
ISSUES_PATH = ".fanin/issues.json"
ISSUES_PROGRESS = ".fanin/issues-progress.json"


_WITH_HEADING = lazy_pattern(
    r"(?P<path>.+\.(?:md|markdown))#(?P<heading>.+)", re.IGNORECASE
)


def _split_heading(plan: dict[str, object]) -> dict[str, object]:
    """`story.md#Revision` as the path and the option `heading`."""
    path, options = plan.get("path"), plan.get("options", {})
    if not isinstance(path, str) or not isinstance(options, dict):
        return plan
    if plan_paths.is_several(path):
        return plan
    match = _WITH_HEADING().fullmatch(path)
    if match is None:
        return plan
    options = {**options, "heading": match["heading"]}
    return {**plan, "path": match["path"], "options": options}


def _joined_paths(plan: dict[str, object]) -> dict[str, object]:
    """The plan with a list of paths as one text."""
    paths = plan.get("path")
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        return plan
    return {**plan, "path": plan_paths.SEPARATOR.join(paths)}


class PlanSettings(UserDocument):
    """The path of the plan and the options for reading it.

    `path` is a file or folder, or several of them and patterns as in
    `core.plan_paths`; `source` the format, None if it is to be detected;
    `options` are those of the format. `ignore_dangling` drops dependencies on tasks that
    are not in the plan, which are errors otherwise. `strict` refuses a plan with
    records that cannot be read, instead of leaving them out. `skip_lines` are the
    numbers, from 1, of lines that look like tasks but cannot be read, and that no task
    waits for.
    """

    path: str = "tasks.yml"
    source: str | None = None
    options: dict[str, str] = Field(default_factory=dict)
    ignore_dangling: bool = False
    strict: bool = False
    skip_lines: tuple[Annotated[int, Field(ge=1)], ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _expand_short_form(cls, value: object) -> object:
        if isinstance(value, str | list):
            value = {"path": value}
        if isinstance(value, dict):
            value = _split_heading(_joined_paths(value))
        if isinstance(value, dict) and value.get("source") == ISSUES:
            return {"path": ISSUES_PATH, **value}
        return value

    def __str__(self) -> str:
        return self.path

    @property
    def is_several(self) -> bool:
        """Whether several plans are meant, even if there is only one now."""
        return plan_paths.is_several(self.path)

    @property
    def of_issues(self) -> bool:
        """Whether GitHub issues are the plan."""
        return self.source == ISSUES or self.path == ISSUES_PATH


class LeftOut(NamedTuple):
    """A record of a plan that cannot be read, so it never runs.

    `task_id` names its task, which is skipped; None if the record became no task.
    """

    problem: Problem
    task_id: str | None


class Owner(NamedTuple):
    """Where a task of several plans comes from: `Plan.name`, and its id in that plan."""

    plan: str
    own_id: str


class PlanPart(NamedTuple):
    """One of several plans that are one graph.

    `name`: the one in `NAME/ID`. `progress_name`: what its progress calls it, as in
    `Plan.name`. `ids`: own id → id in the graph.
    """

    path: str
    name: str
    progress_name: str
    source: str
    options: Mapping[str, str]
    ids: Mapping[str, str]


class Plan(NamedTuple):
    """A parsed plan.

    `tasks` are in the order of the file, `notes` say what was ignored and why.
    `left_out` are the records that cannot be read although the rest can. `source` and
    `options` tell how it was read, and so how it is written back. `own_files` are the
    files that no task may change because they are the plan; () stands for `path`.
    `task_files` are other files with the text of one task each, by path: its agent may
    change it, and from then on the plan is the same for all other tasks.
    `section` is the heading of the plan if its file has several, else "". `parts` are
    the plans that it is made of, () if it is one file or folder; `path` is then the
    setting, and `source` names all their formats.
    """

    path: str
    source: str
    tasks: tuple[Task, ...]
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    options: Mapping[str, str] = MappingProxyType({})
    own_files: tuple[str, ...] = ()
    task_files: Mapping[str, str] = MappingProxyType({})
    section: str = ""
    parts: tuple[PlanPart, ...] = ()

    @property
    def owners(self) -> Mapping[str, Owner]:
        """Task id → its owner, if the plan is made of several."""
        return _owners_of(self.parts) if self.parts else {}

    @property
    def full_names(self) -> dict[str, str]:
        """`NAME/ID` → task id, if the plan is made of several."""
        names = {}
        for part in self.parts:
            for own_id, task_id in part.ids.items():
                names[f"{part.name}/{own_id}"] = task_id
        return names

    @property
    def name(self) -> str:
        """The path, with the section's heading if the file has several plans."""
        return f"{self.path}#{self.section}" if self.section else self.path

    @property
    def left_out_summary(self) -> str:
        """The number of left-out records, in a few words; "" if there are none."""
        if not self.left_out:
            return ""
        return f"{pluralize(len(self.left_out), 'record')} left out, see fanin check"

    def task(self, task_id: str) -> Task | None:
        """The task with this id; None if the plan has no such task."""
        return index_of(self.tasks).by_id.get(task_id)


# Of the parts that were asked for last: a run asks at each landing.
_last_owners: tuple[Sequence[PlanPart], Mapping[str, Owner]] | None = None


def _owners_of(parts: Sequence[PlanPart]) -> Mapping[str, Owner]:
    global _last_owners
    last = _last_owners
    if last is None or last[0] is not parts:
        owners = {
            task_id: Owner(part.progress_name, own_id)
            for part in parts
            for own_id, task_id in part.ids.items()
        }
        _last_owners = last = parts, owners
    return last[1]


class TaskIndex(NamedTuple):
    """The tasks of a plan by their ids, and those of which the plan itself says what
    became of them.
    """

    by_id: Mapping[str, Task]
    marked: Sequence[Task]


# Of the plan that was asked for last: a run asks for each task, and after each landing.
_last_index: tuple[Sequence[Task], TaskIndex] | None = None


def index_of(tasks: Sequence[Task]) -> TaskIndex:
    """The index of a plan's tasks; of two with one id, it has the first."""
    global _last_index
    last = _last_index
    if last is None or last[0] is not tasks:
        by_id: dict[str, Task] = {}
        for task in tasks:
            by_id.setdefault(task.id, task)
        marked = [task for task in tasks if task.is_marked]
        _last_index = last = tasks, TaskIndex(by_id, marked)
    return last[1]
