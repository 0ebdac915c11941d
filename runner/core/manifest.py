"""The batch manifest: the tasks of one batch, and all that its jobs need to know."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    Field,
)

from runner.core.documents import Document, Text, digest_of
from runner.core.limits import Limits
from runner.core.result import (
    MAX_QUESTIONS,
    Failure,
    KeptWork,
    PersonsMessage,
    Question,
)
from runner.core.task import (
    AgentSettings,
    PlanSettings,
    RetryFrom,
    Task,
    TaskRules,
    TaskSettings,
)


class DependencyResult(Document):
    """The result of a dependency, for the prompt of a task that builds on it.

    `changed` are the paths that it changed.
    """

    id: str
    title: Text
    summary: Text | None = None
    changed: tuple[Text, ...] = ()


class BatchEntry(Document):
    """One attempt at a task. Jobs and the merge read this instead of the plan.

    `timeout` is in seconds, `reserved_usd` the attempt's share of max_cost_usd,
    `previous` the failure of the last attempt, `brought` the results of the task's
    dependencies, `context` the documents that its plan was made from. `start` is the
    earlier work that the attempt starts from, None for the base alone; `retry_from` says
    whether the next attempt may start from this one's. `message` is what a person says
    to the agent, `questions` what earlier attempts have asked, with the answers.
    """

    index: int
    task: Task
    task_digest: str
    attempt: int
    agent: AgentSettings
    timeout: float
    verify: str | None = None
    previous: Failure | None = None
    brought: tuple[DependencyResult, ...] = ()
    context: Text = ""
    reserved_usd: float | None = None
    start: KeptWork | None = None
    retry_from: RetryFrom = "work"
    message: PersonsMessage = ""
    questions: tuple[Question, ...] = ()

    @property
    def may_ask(self) -> bool:
        """Whether the attempt may end with a question that costs no attempt."""
        return len(self.questions) < MAX_QUESTIONS

    @property
    def folder(self) -> str:
        """The name of its result folder: the index, since an id may contain `/` or `:`."""
        return f"{self.index:03d}"


class Manifest(Document):
    """All that the jobs `task`, `verify` and `merge` need to know, sealed by `digest`.

    - `run_attempt`: GitHub's, of the job that chose the batch.
    - `base`: the commit that the tasks start from.
    - `plan`: with its format, so that it need not be detected again.
    - `protected`, `never`: globs that only `allow` lifts, and that nothing lifts.
    - `tasks`: what the settings say about single tasks, by id.
    - `verify_timeout`: seconds.
    - `retry`, `approve`: ids of tasks that get one more attempt, and of those that a
      person approves; the batch commit records both.
    - `env`: plain variables of setup, agent and verify.
    - `include`: gitignore patterns of the ignored files of a person's work tree that each
      checkout gets; where there is none, such as on GitHub Actions, they say nothing.
    - `setup`: shell text that prepares each checkout, `setup_env` the names of further
      variables for it, `setup_timeout` its limit in seconds.
    """

    version: Literal[1] = 1
    run: str
    round: int
    run_attempt: int = 1
    base: str
    plan: PlanSettings
    progress: str
    branch: str
    commit_strategy: Literal["batch", "individual"]
    protected: tuple[str, ...]
    never: tuple[str, ...]
    tasks: dict[str, TaskSettings] = Field(default_factory=dict)
    limits: Limits
    scope: Literal["fail", "warn"] = "fail"
    verify: str | None = None
    verify_retries: int = 1
    verify_timeout: float = 1800.0
    max_attempts: int = 3
    retry: tuple[str, ...] = ()
    approve: tuple[str, ...] = ()
    prompt_template: str | None = None
    env: dict[str, str] = Field(default_factory=dict)
    include: tuple[str, ...] = ()
    setup: str | None = None
    setup_env: tuple[str, ...] = ()
    setup_timeout: float = 600.0
    entries: tuple[BatchEntry, ...]

    @property
    def only_task(self) -> Task:
        """The task of a batch of one."""
        return self.entries[0].task

    @property
    def task_rules(self) -> TaskRules:
        """The rules of the run's settings for the tasks of the plan."""
        return TaskRules(self.tasks, self.protected, self.never)

    @property
    def setup_seconds(self) -> float:
        """The time that set-up may take."""
        return 0.0 if self.setup is None else self.setup_timeout

    @property
    def batch(self) -> str:
        if self.run_attempt == 1:
            return f"{self.run}.{self.round}"
        # Jobs that are run again may choose other tasks for the same round, and the
        # artifacts of the first choice are still there.
        return f"{self.run}.{self.round}.{self.run_attempt}"

    @property
    def digest(self) -> str:
        document = self.model_dump(mode="json")
        if self.run_attempt == 1:
            # As digested by versions without the field.
            del document["run_attempt"]
        _drop_defaults(document, {"approve": []})
        for entry in document["entries"]:
            defaults: dict[str, str | bool | list[object] | None] = {
                "start": None,
                "retry_from": "work",
                "message": "",
                "questions": [],
            }
            _drop_defaults(entry, defaults)
            _drop_defaults(entry["task"], {"retry_from": None, "gate": False})
        for task_id, settings in self.tasks.items():
            # As digested by versions that wrote every field.
            every = {
                name: getattr(settings, name) for name in type(settings).model_fields
            }
            whole = settings.model_copy(update=every).model_dump(mode="json")
            _drop_defaults(whole, {"retry_from": None, "gate": False, "sandbox": None})
            document["tasks"][task_id] = whole
        return digest_of(document)


def _drop_defaults(
    document: dict[str, Any],
    defaults: Mapping[str, str | bool | list[object] | None],
) -> None:
    """Leave out these fields where they say nothing: older versions digest without
    them.
    """
    for name, default in defaults.items():
        if document[name] == default:
            del document[name]
