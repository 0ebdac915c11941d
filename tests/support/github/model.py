"""How GitHub decides which jobs of a run start: a model of what act does not do.

act has no cancellation, and the harness puts the jobs of a called workflow in place of
the call. The model reads the same files as they are: it evaluates every `if`, calls
workflows that call others, cancels a run in the middle, and says how many jobs had to
start one after the other. It runs no step: what a job leaves is told by the test.

The rules, each with its source in README.md:

- a job without a status function in its `if` starts after success of all it needs;
- `cancelled()` is about the run, not about a leg that ran into its time limit;
- a cancel ends the jobs whose `if` is false after it, and lets the others go on;
- a job inside a call that was skipped never starts, whatever its own `if` says;
- outputs of a job that did not run are empty;
- "Re-run failed jobs" runs those that failed or were cancelled and all that need them,
  and keeps the rest as it ended, skipped jobs too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.support.github import expressions
from tests.support.github.workflows import Document, Resolve, needs, triggers

_TOKEN = re.compile(
    r"\s*(?:(?P<string>'(?:[^']|'')*')|(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<name>[A-Za-z_][\w-]*)|(?P<operator>&&|\|\||==|!=|<=|>=|[!<>().,\[\]*]))"
)


@dataclass(frozen=True)
class JobEnd:
    """How a job ends.

    `cancels`: whether a person cancels the run while it runs; `then_cancels`: once it
    has ended.
    """

    result: str = "success"
    outputs: Mapping[str, str] = field(default_factory=dict)
    cancels: bool = False
    then_cancels: bool = False


@dataclass(frozen=True)
class StartedJob:
    """A job that started. `depth`: how many starts its own comes after, itself counted."""

    path: str
    depth: int
    result: str


Behaviour = Callable[[str, Mapping[str, Any]], JobEnd]


@dataclass
class RunModel:
    """One run of a workflow.

    `behaviour` gets a job's path, such as `round-1/task`, and the inputs of its
    workflow. `before` is how the jobs ended that a re-run does not run again unless
    they need one that it does.
    """

    resolve: Resolve
    behaviour: Behaviour
    github: Mapping[str, Any] = field(default_factory=dict)
    cancelled: bool = False
    started: list[StartedJob] = field(default_factory=list)
    before: Mapping[str, JobEnd] = field(default_factory=dict)
    ended: dict[str, JobEnd] = field(default_factory=dict)

    def rerun_failed(self, behaviour: Behaviour) -> RunModel:
        """The run that "Re-run failed jobs" makes of this one."""
        kept = {
            path: end
            for path, end in self.ended.items()
            if end.result in ("success", "skipped")
        }
        return RunModel(self.resolve, behaviour, self.github, before=kept)

    def run(self, workflow: Document, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Run a workflow with these inputs and its defaults; return its outputs."""
        outputs, _, _ = self._workflow(
            workflow, inputs, prefix="", depth=0, again=False
        )
        return outputs

    @property
    def paths(self) -> list[str]:
        return [job.path for job in self.started]

    @property
    def depth(self) -> int:
        """How many jobs started one after the other."""
        return max((job.depth for job in self.started), default=0)

    def result(self, path: str) -> str:
        return next((job.result for job in self.started if job.path == path), "skipped")

    def _workflow(
        self,
        workflow: Document,
        given: Mapping[str, Any],
        prefix: str,
        depth: int,
        *,
        again: bool,
    ) -> tuple[dict[str, str], str, int]:
        """The outputs, the result and the depth after the last job.

        `again`: whether it needs a job that a re-run runs.
        """
        interface = triggers(workflow).get("workflow_call") or {}
        declared = interface.get("inputs") or {}
        inputs = {name: body.get("default", "") for name, body in declared.items()}
        inputs |= given
        ended: dict[str, JobEnd] = {}
        depths: dict[str, int] = {}
        started_again: set[str] = set()
        for job_id, job in workflow["jobs"].items():
            needed = {name: ended[name] for name in needs(job)}
            start = max((depths[name] for name in needed), default=depth)
            context = self._context(inputs, needed)
            path = f"{prefix}{job_id}"
            needs_started = again or any(name in started_again for name in needed)
            count = len(self.started)
            if path in self.before and not needs_started:
                ended[job_id], depths[job_id] = self.before[path], start
            elif not self._starts(job, context):
                ended[job_id], depths[job_id] = JobEnd("skipped"), start
            elif "uses" in job:
                values = {
                    name: evaluate_value(value, context)
                    for name, value in (job.get("with") or {}).items()
                }
                outputs, result, after = self._workflow(
                    self.resolve(job["uses"]),
                    values,
                    f"{path}/",
                    start,
                    again=needs_started,
                )
                ended[job_id], depths[job_id] = JobEnd(result, outputs), after
            else:
                ended[job_id] = self._job(path, job, inputs, context, start + 1)
                depths[job_id] = start + 1
            if len(self.started) > count or needs_started:
                started_again.add(job_id)
            if "uses" not in job:
                self.ended[path] = ended[job_id]
        outputs = {
            name: str(evaluate_value(body["value"], {"jobs": _as_context(ended)}))
            for name, body in (interface.get("outputs") or {}).items()
        }
        results = {end.result for end in ended.values()}
        result = next(
            (name for name in ("failure", "cancelled", "success") if name in results),
            "skipped",
        )
        return outputs, result, max([depth, *depths.values()])

    def _job(
        self,
        path: str,
        job: Document,
        inputs: Mapping[str, Any],
        context: Mapping[str, Any],
        depth: int,
    ) -> JobEnd:
        end = self.behaviour(path, inputs)
        if end.cancels:
            self.cancelled = True
            context = {**context, "cancelled": True}
            if not self._starts(job, context):
                end = JobEnd("cancelled")
        if end.then_cancels:
            self.cancelled = True
        self.started.append(StartedJob(path, depth, end.result))
        return end

    def _context(
        self, inputs: Mapping[str, Any], needed: Mapping[str, JobEnd]
    ) -> dict[str, Any]:
        return {
            "inputs": inputs,
            "needs": _as_context(needed),
            "github": self.github,
            "cancelled": self.cancelled,
        }

    def _starts(self, job: Document, context: Mapping[str, Any]) -> bool:
        condition = expressions.condition(job["if"]) if "if" in job else "true"
        if not expressions.asks_status(condition):
            condition = f"success() && {condition}"
        return bool(evaluate(condition, context))


def _as_context(ended: Mapping[str, JobEnd]) -> dict[str, Any]:
    return {
        name: {"result": end.result, "outputs": dict(end.outputs)}
        for name, end in ended.items()
    }


def evaluate_value(value: object, context: Mapping[str, Any]) -> Any:
    """The value of a YAML scalar with or without embedded expressions."""
    if not isinstance(value, str) or "${{" not in value:
        return value
    return evaluate(expressions.as_expression(value), context)


def evaluate(expression: str, context: Mapping[str, Any]) -> Any:
    """The value of an expression. Raises ValueError for what the model does not know."""
    return _Evaluation(expression, context).value()


class _Evaluation:
    """A recursive descent over one expression; both sides of `&&` and `||` are read,
    and the right one is evaluated only if it counts.
    """

    def __init__(self, expression: str, context: Mapping[str, Any]) -> None:
        self.context = context
        self.tokens: list[re.Match[str]] = []
        at = 0
        text = expression.rstrip()
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise ValueError(f"cannot read {text[at : at + 40]!r}")
            self.tokens.append(match)
            at = match.end()
        self.at = 0
        self.counts = True

    def value(self) -> Any:
        found = self._or()
        if self.at != len(self.tokens):
            raise ValueError(f"more follows at {self.tokens[self.at][0]!r}")
        return found

    def _next(self, *operators: str) -> str:
        if self.at < len(self.tokens):
            operator = self.tokens[self.at]["operator"]
            if operator in operators:
                self.at += 1
                return str(operator)
        return ""

    def _expect(self, operator: str) -> None:
        if not self._next(operator):
            raise ValueError(f"expected {operator!r}")

    def _or(self) -> Any:
        left = self._and()
        while self._next("||"):
            right = self._right(self._and, counts=not left)
            left = left or right
        return left

    def _and(self) -> Any:
        left = self._equality()
        while self._next("&&"):
            right = self._right(self._equality, counts=bool(left))
            left = left and right
        return left

    def _right(self, read: Callable[[], Any], *, counts: bool) -> Any:
        before = self.counts
        self.counts = before and counts
        try:
            return read()
        finally:
            self.counts = before

    def _equality(self) -> Any:
        left = self._unary()
        while operator := self._next("==", "!=", "<=", ">=", "<", ">"):
            left = _compare(left, operator, self._unary())
        return left

    def _unary(self) -> Any:
        if self._next("!"):
            return not self._unary()
        return self._fields(self._primary())

    def _primary(self) -> Any:
        if self._next("("):
            inner = self._or()
            self._expect(")")
            return inner
        token = self.tokens[self.at]
        self.at += 1
        if token["string"] is not None:
            return token["string"][1:-1].replace("''", "'")
        if token["number"] is not None:
            return float(token["number"])
        name = token["name"]
        if name is None:
            raise ValueError(f"unexpected {token[0]!r}")
        if self._next("("):
            return self._call(name.lower())
        if name in ("true", "false", "null"):
            return json.loads(name)
        return self.context.get(name, "")

    def _fields(self, value: Any) -> Any:
        while True:
            if self._next("."):
                name = self.tokens[self.at]["name"]
                self.at += 1
            elif self._next("["):
                name = self._or()
                self._expect("]")
            else:
                return value
            value = value.get(name, "") if isinstance(value, Mapping) else ""

    def _call(self, name: str) -> Any:
        arguments: list[Any] = []
        while not self._next(")"):
            arguments.append(self._or())
            self._next(",")
        if not self.counts:
            return ""
        if name in _STATUS_FUNCTIONS:
            return self._status(name)
        if name not in _FUNCTIONS:
            raise ValueError(f"the model does not know {name}()")
        return _FUNCTIONS[name](*arguments)

    def _status(self, name: str) -> bool:
        results = [end["result"] for end in self.context.get("needs", {}).values()]
        cancelled = bool(self.context.get("cancelled"))
        if name == "success":
            return not cancelled and all(result == "success" for result in results)
        if name == "failure":
            return not cancelled and "failure" in results
        return name == "always" or cancelled


def _format(text: str, *arguments: Any) -> str:
    for index, argument in enumerate(arguments):
        text = text.replace(f"{{{index}}}", str(argument))
    return text


_STATUS_FUNCTIONS = ("always", "cancelled", "success", "failure")
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "fromjson": json.loads,
    "format": _format,
    "contains": lambda items, item: item in items,
    "startswith": lambda text, start: text.lower().startswith(start.lower()),
}


def _compare(left: Any, operator: str, right: Any) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        left, right = left.lower(), right.lower()
    elif type(left) is not type(right):
        # GitHub compares values of different types as numbers.
        left, right = _number(left), _number(right)
    match operator:
        case "==":
            return bool(left == right)
        case "!=":
            return bool(left != right)
        case "<":
            return bool(left < right)
        case "<=":
            return bool(left <= right)
        case ">":
            return bool(left > right)
    return bool(left >= right)


def _number(value: Any) -> float:
    if value in ("", None):
        return 0.0
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")
