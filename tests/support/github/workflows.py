"""Make a shipped workflow file runnable by act, by program and on the parsed YAML.

Every function takes documents and returns new ones; nothing here reads a file or knows
a product's name. What each transformation answers is listed in README.md beside this
file. What GitHub would refuse at the start of a run (an unknown input, a job that asks
for more than its caller grants) is refused here too: act would let it pass.
"""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tests.support.github import expressions
from tests.support.github.expressions import Path, Replace

Document = dict[str, Any]
Resolve = Callable[[str], Document]
Permissions = dict[str, str]

MAX_CALL_DEPTH = 10
DEFAULT_PERMISSIONS: Permissions = {"contents": "read", "packages": "read"}
SCOPES = (
    "actions",
    "attestations",
    "checks",
    "contents",
    "deployments",
    "discussions",
    "id-token",
    "issues",
    "packages",
    "pages",
    "pull-requests",
    "repository-projects",
    "security-events",
    "statuses",
)
_LEVELS = {"none": 0, "read": 1, "write": 2}
TOKEN_ENV = "STANDIN_TOKEN"
JOB_ENV = "STANDIN_JOB"
CHECK_RUN_ENV = "STANDIN_CHECK_RUN"
CACHE_MODE_ENV = "STANDIN_CACHE_MODE"
# What each mode lets a job do with the cache.
CACHE_MODES = {
    "write": {"restore", "save"},
    "read": {"restore"},
    "write-only": {"save"},
    "none": set[str](),
}
# Events that anybody can cause: their runs do not save unless the workflow says so.
LOW_TRUST_EVENTS = ("pull_request_target", "issues", "issue_comment")
MAX_DISPATCH_INPUTS = 25
DISPATCH_TYPES = ("string", "number", "boolean", "choice", "environment")
CALL_TYPES = ("string", "number", "boolean")
# GitHub's table of contexts; the others are an "Unrecognized named-value" there.
CONTEXTS_OF_A_CALL = ("github", "needs", "strategy", "matrix", "inputs", "vars")


class WorkflowError(ValueError):
    """GitHub would not start this run, or the harness cannot show it truthfully."""


# -- reading and writing --


# libyaml takes a tenth of the time; not every build of PyYAML has it.
_SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_SafeDumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Loader(_SafeLoader):  # type: ignore[misc]
    """YAML as GitHub reads it: `on`, `yes` and `no` are words."""


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:bool"
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"),
    list("tTfF"),
)


def load(text: str | bytes) -> Document:
    """Parse a workflow or an action."""
    document = yaml.load(text, Loader=_Loader)
    if not isinstance(document, dict):
        raise WorkflowError("a workflow is a mapping")
    return document


def dump(document: Document) -> str:
    """YAML text that act reads back as the same document."""
    text = yaml.dump(
        document, Dumper=_SafeDumper, sort_keys=False, width=2**20, allow_unicode=True
    )
    return str(text)


def triggers(document: Document) -> dict[str, Document]:
    """`on:` in its long form."""
    value = document.get("on")
    if isinstance(value, str):
        return {value: {}}
    if isinstance(value, list):
        return {str(name): {} for name in value}
    return {str(name): body or {} for name, body in (value or {}).items()}


def needs(job: Document) -> list[str]:
    """`needs:` as a list."""
    value = job.get("needs", [])
    return [value] if isinstance(value, str) else list(value)


# -- typed inputs --


Declared = Mapping[str, "Document | None"]


def dispatch_interface(document: Document) -> Declared:
    """The inputs of `workflow_dispatch`, by name."""
    return triggers(document).get("workflow_dispatch", {}).get("inputs") or {}


def call_interface(document: Document) -> Declared:
    """The inputs of `workflow_call`, by name."""
    return triggers(document).get("workflow_call", {}).get("inputs") or {}


def refuse_invalid_inputs(document: Document) -> None:
    """What makes GitHub refuse the whole file, whatever the event: no job is created."""
    dispatched = dispatch_interface(document)
    if len(dispatched) > MAX_DISPATCH_INPUTS:
        raise WorkflowError(
            f"you may only define up to {MAX_DISPATCH_INPUTS} `inputs` for a `workflow_dispatch` event"
        )
    for name, body in dispatched.items():
        kind = _kind(name, body, DISPATCH_TYPES)
        options = (body or {}).get("options")
        if kind == "choice" and not options:
            raise WorkflowError(f"input {name} is a choice without options")
        if body and "default" in body:
            _as_dispatched(name, kind, options, _text(body["default"]))
    for name, body in call_interface(document).items():
        if not body or "type" not in body:
            raise WorkflowError(
                f"Required property is missing: type (input {name} of workflow_call)"
            )
        kind = _kind(name, body, CALL_TYPES)
        if "default" in body and not _is_expression(body["default"]):
            _refuse_mismatch(
                name,
                kind,
                expressions.outcomes(
                    expressions.literal(body["default"]), _nothing_known
                ),
            )


def _kind(name: str, body: Document | None, allowed: tuple[str, ...]) -> str:
    kind = str((body or {}).get("type", "string"))
    if kind not in allowed:
        raise WorkflowError(f"Unexpected value '{kind}' (the type of input {name})")
    return kind


def _text(value: object) -> str:
    """A YAML scalar as the string that a webhook's payload has for it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)


def _as_dispatched(
    name: str, kind: str, options: Sequence[object] | None, text: str
) -> object:
    """A dispatch's value as the `inputs` context has it: only a boolean is not a
    string.
    """
    if kind == "boolean":
        if text not in ("true", "false"):
            raise WorkflowError(f"input {name} is a boolean, not {text!r}")
        return text == "true"
    if kind == "choice" and text not in [_text(option) for option in options or []]:
        raise WorkflowError(
            f"Provided value {text!r} for input '{name}' not in the list of allowed values"
        )
    if kind == "number":
        try:
            float(text)
        except ValueError:
            raise WorkflowError(f"input {name} is a number, not {text!r}") from None
    return text


def dispatched(declared: Declared, given: Mapping[str, str]) -> dict[str, str | bool]:
    """The `inputs` context of a dispatch: what was given, else the default, else false
    or an empty string.
    """
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise WorkflowError(f"Unexpected inputs provided: {unknown}")
    values: dict[str, str | bool] = {}
    for name, body in declared.items():
        spec = body or {}
        kind = _kind(name, spec, DISPATCH_TYPES)
        if name in given or "default" in spec:
            text = given[name] if name in given else _text(spec["default"])
            value = _as_dispatched(name, kind, spec.get("options"), text)
            values[name] = value if isinstance(value, bool) else str(value)
        elif spec.get("required"):
            raise WorkflowError(f"Required input '{name}' not provided")
        else:
            values[name] = False if kind == "boolean" else ""
    return values


def dispatch_payload(declared: Declared, given: Mapping[str, str]) -> dict[str, str]:
    """`github.event.inputs` of a dispatch: the same values, every one a string."""
    return {name: _text(value) for name, value in dispatched(declared, given).items()}


def _is_expression(value: object) -> bool:
    return isinstance(value, str) and "${{" in value


def _nothing_known(path: Path) -> expressions.Outcomes:
    return expressions.either("any")


def _refuse_mismatch(name: str, kind: str, possible: expressions.Outcomes) -> None:
    """A called workflow's number takes numbers alone and its boolean booleans; its
    string takes any scalar.
    """
    wrong = sorted({given for given, _ in possible} - {kind, "any"})
    if kind != "string" and wrong:
        raise WorkflowError(
            f"The template is not valid. Unexpected value: input {name} is a {kind}, given may be a {wrong[0]}"
        )


def call_inputs(
    declared: Declared, given: Mapping[str, object], callers: Declared
) -> dict[str, str]:
    """Each input of a called workflow as an expression: what was given, else its
    default, else its type's empty value.

    `callers` are the caller's own inputs, of `workflow_call`: they tell what `inputs.x`
    in its `with:` may be.
    """
    unknown = sorted(set(given) - set(declared))
    if unknown:
        raise WorkflowError(f"Unexpected inputs provided: {unknown}")

    def context(path: Path) -> expressions.Outcomes:
        root = path[0].lower()
        if root not in CONTEXTS_OF_A_CALL:
            raise WorkflowError(f"Unrecognized named-value: '{path[0]}'")
        if root == "inputs" and len(path) == 2 and callers:
            return expressions.either(_kind(path[1], callers.get(path[1]), CALL_TYPES))
        if root in ("needs", "vars") or (root == "github" and path[1:2] != ("event",)):
            return expressions.either("string")
        return expressions.either("any")

    values = {}
    for name, body in declared.items():
        spec = body or {}
        kind = _kind(name, spec, CALL_TYPES)
        if name not in given and "default" not in spec:
            if spec.get("required"):
                raise WorkflowError(f"Required input '{name}' not provided")
            values[name] = expressions.literal(
                {"boolean": False, "number": 0, "string": ""}[kind]
            )
            continue
        value = expressions.as_expression(
            given[name] if name in given else spec["default"]
        )
        possible = expressions.outcomes(value, context)
        _refuse_mismatch(name, kind, possible)
        if kind == "string" and {given for given, _ in possible} != {"string"}:
            value = f"format('{{0}}', {value})"
        values[name] = value
    return values


def _object(fields: Mapping[str, str]) -> str:
    """An expression whose value is an object with these fields; the language has no
    literal for one.
    """
    template = ",".join(f'"{name}":{{{index}}}' for index, name in enumerate(fields))
    values = "".join(f", toJSON({value})" for value in fields.values())
    return f"fromJSON(format({expressions.literal('{{' + template + '}}')}{values}))"


def _context(
    root: str, fields: Mapping[str, str], *, missing: str | None = "''"
) -> Replace:
    """Replace `root.x` by its expression and a bare `root` by an object of all of them."""
    lowered = {name.lower(): value for name, value in fields.items()}

    def replace(path: Path) -> tuple[str, int] | None:
        if path[0].lower() != root:
            return None
        if len(path) == 1 or path[1] == "*":
            return (_object(fields), 1) if missing is not None else None
        value = lowered.get(path[1].lower(), missing)
        return None if value is None else (value, 2)

    return replace


def with_dispatch_inputs(
    document: Document, event: str, given: Mapping[str, str]
) -> Document:
    """The document with `inputs.x` of its own trigger put in as literals of the type
    that GitHub hands on.
    """
    values = (
        dispatched(dispatch_interface(document), given)
        if event == "workflow_dispatch"
        else {}
    )
    literals = {name: expressions.literal(value) for name, value in values.items()}
    body = {name: value for name, value in document.items() if name != "on"}
    return {
        "on": document.get("on"),
        **expressions.rewrite(body, _context("inputs", literals)),
    }


def with_github(document: Document, values: Mapping[str, object]) -> Document:
    """The document with `github.x` put in as a literal, for the fields that act leaves
    empty.
    """
    known = {name: expressions.literal(value) for name, value in values.items()}
    replaced: Document = expressions.rewrite(
        document, _context("github", known, missing=None)
    )
    return replaced


# -- permissions --


def permissions(value: object) -> Permissions:
    """`permissions:` in its long form; a scope left out of a mapping is none."""
    if value == "read-all":
        return dict.fromkeys(SCOPES, "read")
    if value == "write-all":
        return dict.fromkeys(SCOPES, "write")
    if not isinstance(value, dict):
        raise WorkflowError(f"permissions cannot be {value!r}")
    unknown = sorted(set(value) - set(SCOPES))
    if unknown:
        raise WorkflowError(f"unknown permissions: {unknown}")
    return {str(scope): str(level) for scope, level in value.items()}


def job_permissions(document: Document, job: Document) -> Permissions:
    """What a job's token may do: the job's own words, else the workflow's, else the
    restricted default.
    """
    for holder in (job, document):
        if "permissions" in holder:
            return permissions(holder["permissions"])
    return dict(DEFAULT_PERMISSIONS)


def read_only(granted: Permissions) -> Permissions:
    """What is left of a token in a run for a pull request from a fork."""
    return {
        scope: "read" if level == "write" else level for scope, level in granted.items()
    }


def _refuse_escalation(
    called: str, job_id: str, wanted: Permissions, granted: Permissions
) -> None:
    for scope, level in wanted.items():
        if _LEVELS[level] > _LEVELS[granted.get(scope, "none")]:
            raise WorkflowError(
                f"Error calling workflow '{called}'. The nested job '{job_id}' is requesting "
                f"'{scope}: {level}', but is only allowed '{scope}: {granted.get(scope, 'none')}'."
            )


# -- lifting a called workflow's jobs into its caller --


@dataclass(frozen=True)
class _Call:
    """One job of the caller that calls another workflow."""

    job_id: str
    job: Document
    caller: Document
    called: Document
    callers_inputs: Declared

    @property
    def name(self) -> str:
        return str(self.job["uses"])

    @property
    def interface(self) -> Document:
        found = triggers(self.called).get("workflow_call")
        if found is None:
            raise WorkflowError(f"{self.name} has no workflow_call trigger")
        return found

    @property
    def jobs(self) -> dict[str, Document]:
        return dict(self.called["jobs"])

    @functools.cached_property
    def contexts(self) -> Replace:
        """`inputs` and `secrets` as the called workflow sees them."""
        given = self.job.get("with") or {}
        inputs = _context(
            "inputs",
            call_inputs(call_interface(self.called), given, self.callers_inputs),
        )
        secrets = self._secrets()
        return lambda path: inputs(path) or (secrets(path) if secrets else None)

    def _secrets(self) -> Replace | None:
        given = self.job.get("secrets") or {}
        if given == "inherit":
            return None
        declared = self.interface.get("secrets") or {}
        unknown = sorted(set(given) - set(declared))
        if unknown:
            raise WorkflowError(f"Invalid secret, {unknown} not defined in {self.name}")
        lacking = [
            name
            for name, body in declared.items()
            if (body or {}).get("required") and name not in given
        ]
        if lacking:
            raise WorkflowError(
                f"Secret {lacking} is required, but not provided while calling {self.name}"
            )
        known = {
            name: expressions.as_expression(value) for name, value in given.items()
        }
        return _context("secrets", {"GITHUB_TOKEN": "secrets.GITHUB_TOKEN", **known})

    def gate(self) -> str:
        """What must hold for any job of the call to run, as seen from inside: the
        caller's own `if`.
        """
        written = expressions.condition(self.job["if"]) if "if" in self.job else "true"
        if expressions.asks_status(written):
            return expressions.without_status(written)
        # Without a status function the call runs only after success of all it needs,
        # whatever the `if` of a job inside says; `always()` in there must not bring a
        # skipped call to life.
        return " && ".join(
            [f"needs.{name}.result == 'success'" for name in needs(self.job)]
            + [written]
        )

    def grant(self) -> Permissions:
        return job_permissions(self.caller, self.job)

    def lifted(self, job_id: str) -> Document:
        """One called job as a job of the caller."""
        source = self.jobs[job_id]
        job: Document = expressions.rewrite(
            _without(source, "needs", "concurrency", "permissions"), self.contexts
        )
        return _without_empty(
            {
                **job,
                "needs": list(dict.fromkeys([*needs(source), *needs(self.job)])),
                "if": self._condition(job.get("if")),
                "permissions": self._permissions(job_id, source),
                "cache-mode": self._cache_mode(source),
                "env": {**(self._own("env")), **(job.get("env") or {})},
                "defaults": job.get("defaults") or self._own("defaults"),
            }
        )

    def _own(self, key: str) -> Document:
        rewritten: Document = expressions.rewrite(
            self.called.get(key) or {}, self.contexts
        )
        return rewritten

    def _condition(self, written: object) -> str | None:
        gate = self.gate()
        if gate == "true":
            return None if written is None else str(written)
        return (
            f"{gate} && {expressions.condition(written)}"
            if written is not None
            else gate
        )

    def _permissions(self, job_id: str, source: Document) -> Permissions:
        holder = source if "permissions" in source else self.called
        if "permissions" not in holder:
            return self.grant()
        wanted = permissions(holder["permissions"])
        _refuse_escalation(self.name, job_id, wanted, self.grant())
        return wanted

    def _cache_mode(self, source: Document) -> str | None:
        """The called job's mode, capped by the caller's; None if neither says one."""
        granted = self.job.get("cache-mode", self.caller.get("cache-mode"))
        own = source.get("cache-mode", self.called.get("cache-mode"))
        if granted is None:
            return None if own is None else _checked_mode(own)
        if own is None:
            return _checked_mode(granted)
        return at_most(_checked_mode(own), _checked_mode(granted))

    def outputs(self) -> dict[str, str]:
        """The call's outputs as expressions over the lifted jobs."""
        inside = self.contexts

        def replace(path: Path) -> tuple[str, int] | None:
            return ("needs", 1) if path[0] == "jobs" else inside(path)

        declared = self.interface.get("outputs") or {}
        return {
            name: expressions.rewrite_expression(
                expressions.as_expression(body["value"]), replace
            )
            for name, body in declared.items()
        }

    def result(self) -> str:
        """The call's result as an expression over the lifted jobs."""

        def some(result: str) -> str:
            return (
                "("
                + " || ".join(
                    f"needs.{name}.result == '{result}'" for name in self.jobs
                )
                + ")"
            )

        return (
            f"({some('failure')} && 'failure' || {some('cancelled')} && 'cancelled' || "
            f"{some('success')} && 'success' || 'skipped')"
        )


def _without(node: Document, *keys: str) -> Document:
    return {name: value for name, value in node.items() if name not in keys}


def _without_empty(node: Document) -> Document:
    """Drop what says nothing; an empty `permissions` says a lot."""
    return {
        name: value
        for name, value in node.items()
        if name == "permissions" or value not in (None, {}, [])
    }


def lift(caller: Document, resolve: Resolve, depth: int = 1) -> Document:
    """The caller with the jobs of every workflow it calls in place of the calling job."""
    if depth > MAX_CALL_DEPTH:
        raise WorkflowError(
            f"reusable workflows are nested more than {MAX_CALL_DEPTH} deep"
        )
    refuse_invalid_inputs(caller)
    # The first caller's own inputs are those of its event, and stand there as literals
    # already.
    own = call_interface(caller) if depth > 1 else {}
    calls: dict[str, _Call] = {}
    lifted_ids: set[str] = set()
    for job_id, job in caller["jobs"].items():
        if "uses" not in job:
            continue
        called = lift(resolve(job["uses"]), resolve, depth + 1)
        if lifted_ids & set(called["jobs"]):
            names = {inner: f"{job_id}-{inner}" for inner in called["jobs"]}
            called = _renamed(called, names)
        lifted_ids |= set(called["jobs"])
        calls[job_id] = _Call(job_id, _after_calls(job, calls), caller, called, own)
    if not calls:
        return caller
    for call in calls.values():
        if "strategy" in call.job:
            raise WorkflowError(f"a matrix of calls is not modelled: {call.job_id}")
    # A called workflow does not see its caller's env and defaults: they move into the
    # caller's own jobs.
    jobs: dict[str, Document] = {}
    for job_id, job in caller["jobs"].items():
        new = (
            {name: calls[job_id].lifted(name) for name in calls[job_id].jobs}
            if job_id in calls
            else {job_id: _after_calls(_with_top_level(job, caller), calls)}
        )
        clash = sorted(set(new) & set(jobs))
        if clash:
            raise WorkflowError(f"caller and called workflow both have a job {clash}")
        jobs.update(new)
    return {**_without(caller, "env", "defaults", "jobs"), "jobs": jobs}


def _renamed(called: Document, names: Mapping[str, str]) -> Document:
    """A called workflow with other ids for its jobs, for one that is called twice."""

    def replace(path: Path) -> tuple[str, int] | None:
        if path[0] not in ("needs", "jobs") or len(path) < 2 or path[1] not in names:
            return None
        return f"{path[0]}.{names[path[1]]}", 2

    rewritten: Document = expressions.rewrite(called, replace)
    jobs = {}
    for job_id, job in rewritten["jobs"].items():
        needed = [names[name] for name in needs(job)]
        jobs[names[job_id]] = _without_empty({**job, "needs": needed})
    return {**rewritten, "jobs": jobs}


def _with_top_level(job: Document, caller: Document) -> Document:
    return _without_empty(
        {
            **job,
            "env": {**(caller.get("env") or {}), **(job.get("env") or {})},
            "defaults": job.get("defaults") or caller.get("defaults"),
        }
    )


def _after_calls(job: Document, calls: Mapping[str, _Call]) -> Document:
    """A job of the caller's own that may need a call: it needs the lifted jobs instead."""
    awaited = [name for name in needs(job) if name in calls]
    if not awaited:
        return job

    def replace(path: Path) -> tuple[str, int] | None:
        if path[0] != "needs" or len(path) < 3 or path[1] not in calls:
            return None
        if path[2] == "result":
            return calls[path[1]].result(), 3
        return (
            (calls[path[1]].outputs().get(path[3], "''"), 4) if len(path) > 3 else None
        )

    written = expressions.condition(job["if"]) if "if" in job else "true"
    if not expressions.asks_status(written):
        # A call is green although jobs inside it were skipped; `needs` on the lifted
        # jobs would not be.
        green = " && ".join(f"needs.{name}.result == 'success'" for name in needs(job))
        written = f"!cancelled() && {green} && {written}"
    names = [
        inner
        for name in needs(job)
        for inner in (calls[name].jobs if name in calls else [name])
    ]
    rewritten: Document = expressions.rewrite({**job, "if": written}, replace)
    return {**rewritten, "needs": names}


# -- self references and stand-ins --


def _steps(document: Document) -> Iterator[Document]:
    """Every step of a workflow or of a composite action."""
    for holder in [*(document.get("jobs") or {}).values(), document.get("runs") or {}]:
        yield from holder.get("steps") or []


def with_self_repository(
    document: Document, repository: str, *, local: bool = False
) -> Document:
    """`uses: $/path` as `uses: <repository>/path@v0`; `local`: `./path` too, the
    workspace being the same.
    """
    name, _, ref = repository.partition("@")
    rewritten = copy.deepcopy(document)
    called = [job for job in (rewritten.get("jobs") or {}).values() if "uses" in job]
    for step in [
        *_steps(rewritten),
        *(job for job in called if job["uses"].startswith("$/")),
    ]:
        uses = str(step.get("uses", ""))
        if uses.startswith("$/") or (local and (uses == "./" or uses.startswith("./"))):
            step["uses"] = f"{name}/{uses[2:]}".rstrip("/") + f"@{ref}"
    return rewritten


def with_action(document: Document, uses: str, replacement: str) -> Document:
    """Every step that `uses` one action with another one in its place."""
    rewritten = copy.deepcopy(document)
    for step in _steps(rewritten):
        if step.get("uses") == uses:
            step["uses"] = replacement
    return rewritten


def actions_used(document: Document) -> dict[str, set[str]]:
    """Actions of other repositories and the inputs given to each, by
    `owner/repo/path@ref`.
    """
    used: dict[str, set[str]] = {}
    for step in _steps(document):
        uses = str(step.get("uses", ""))
        if uses and not uses.startswith(("./", "docker://")):
            used.setdefault(uses, set()).update((step.get("with") or {}).keys())
    return used


# -- what act does not do --


def cache_mode(event: str, *declared: object) -> str:
    """The cache mode of a job: its own, else the workflow's, else the event's default.

    `declared` are the values of the job and of what contains it, innermost first, None
    where there is none.
    """
    for mode in declared:
        if mode is not None:
            return _checked_mode(mode)
    return "read" if event in LOW_TRUST_EVENTS else "write"


def _checked_mode(mode: object) -> str:
    if mode not in CACHE_MODES:
        raise WorkflowError(f"Unexpected value '{mode}' (a cache-mode)")
    return str(mode)


def at_most(mode: str, granted: str) -> str:
    """The mode of a called job: never more than its caller was granted."""
    allowed = CACHE_MODES[mode] & CACHE_MODES[granted]
    return next(name for name, acts in CACHE_MODES.items() if acts == allowed)


def with_cache_modes(document: Document, event: str) -> Document:
    """Each job's `cache-mode` as a variable that the stand-in of the cache reads; act
    refuses the key as an unknown property.
    """
    rewritten = copy.deepcopy(document)
    of_workflow = rewritten.pop("cache-mode", None)
    for job in rewritten["jobs"].values():
        mode = cache_mode(event, job.pop("cache-mode", None), of_workflow)
        job["env"] = {**(job.get("env") or {}), CACHE_MODE_ENV: mode}
    return rewritten


def without_queue(document: Document) -> Document:
    """`queue` of a concurrency group left out, which act refuses as an unknown property.

    The harness runs one run after the other; the model in scheduling.py has queues.
    """
    rewritten = copy.deepcopy(document)
    for holder in [rewritten, *rewritten["jobs"].values()]:
        if isinstance(holder.get("concurrency"), dict):
            holder["concurrency"].pop("queue", None)
    return rewritten


def with_constant_parallelism(document: Document) -> Document:
    """`max-parallel` as a plain number where that is known before the run, else left
    out.
    """
    rewritten = copy.deepcopy(document)
    for job in rewritten["jobs"].values():
        strategy = job.get("strategy") or {}
        if "max-parallel" not in strategy:
            continue
        try:
            value = expressions.constant(
                expressions.as_expression(strategy["max-parallel"])
            )
            strategy["max-parallel"] = int(str(value))
        except (LookupError, ValueError):
            del strategy["max-parallel"]
    return rewritten


def with_outputs_of_jobs_that_ran(document: Document) -> Document:
    """`needs.x.outputs.y` is empty when x was skipped."""

    def replace(path: Path) -> tuple[str, int] | None:
        if len(path) < 4 or (path[0], path[2]) != ("needs", "outputs"):
            return None
        return (
            f"(needs.{path[1]}.result != 'skipped' && needs.{path[1]}.outputs.{path[3]} || '')",
            4,
        )

    return {**document, "jobs": expressions.rewrite(document["jobs"], replace)}


def token_secret(job_id: str) -> str:
    """The name of the secret that holds one job's token."""
    return "STANDIN_TOKEN_" + re.sub(r"\W", "_", job_id).upper()


def _token(replacement: str) -> Replace:
    def replace(path: Path) -> tuple[str, int] | None:
        lowered = tuple(name.lower() for name in path[:2])
        return (
            (replacement, 2)
            if lowered in (("github", "token"), ("secrets", "github_token"))
            else None
        )

    return replace


def with_job_tokens(document: Document) -> Document:
    """Every job with a token of its own, so that a forge can hold it to the job's
    `permissions`.
    """
    rewritten = copy.deepcopy(document)
    for position, (job_id, job) in enumerate(rewritten["jobs"].items()):
        token = f"secrets.{token_secret(job_id)}"
        job.update(expressions.rewrite(job, _token(token)))
        job["env"] = {
            **(job.get("env") or {}),
            TOKEN_ENV: expressions.embed(token),
            JOB_ENV: job_id,
            CHECK_RUN_ENV: check_run_id(position, "${{ matrix.index }}"),
        }
    return rewritten


def check_run_id(position: int, index: object) -> str:
    """The id of a job's check run, which is the job's id in the API and in its page's
    address; `position` is the job's in the workflow, `index` the leg's in its matrix.
    """
    return f"51725{position:02}{index}"


def action_with_job_token(action: Document) -> Document:
    """A composite action with the job's token where it says `github.token`, in defaults
    of inputs too, and with the id of the job's check run.
    """
    inputs = action.get("inputs") or {}
    defaulted = {
        name
        for name, body in inputs.items()
        if "github.token" in str((body or {}).get("default", ""))
    }
    plain = {
        name: _without(body or {}, "default") if name in defaulted else body
        for name, body in inputs.items()
    }
    token = _token(f"env.{TOKEN_ENV}")

    def replace(path: Path) -> tuple[str, int] | None:
        if path[0] == "inputs" and len(path) > 1 and path[1] in defaulted:
            return f"(inputs.{path[1]} || env.{TOKEN_ENV})", 2
        if path[:2] == ("job", "check_run_id"):
            return f"env.{CHECK_RUN_ENV}", 2
        return token(path)

    rest = expressions.rewrite(_without(action, "inputs"), replace)
    return {**rest, "inputs": plain} if inputs else rest


def with_post_step(document: Document) -> Document:
    """Every job with a last step that does the stand-ins' post steps, records result and
    outputs, and drops the outputs that contain a masked value.
    """
    rewritten = copy.deepcopy(document)
    for job_id, job in rewritten["jobs"].items():
        if "steps" not in job:
            continue
        outputs = job.get("outputs") or {}
        step = _post_step(job_id, outputs, secrets_used(job))
        job["steps"] = [*job["steps"], step]
        if outputs:
            job["outputs"] = {
                name: expressions.embed(f"steps.{_POST}.outputs['{name}']")
                for name in outputs
            }
    return rewritten


_POST = "standin-post"


def secrets_used(node: object) -> set[str]:
    """The names of the secrets that a job uses, which are those its runner masks."""
    if isinstance(node, dict):
        return set().union(*(secrets_used(value) for value in node.values()))
    if isinstance(node, list):
        return set().union(*(secrets_used(value) for value in node))
    return set(re.findall(r"\bsecrets\.([\w-]+)", str(node)))


def _post_step(
    job_id: str, outputs: Mapping[str, object], secrets: set[str]
) -> Document:
    fields = {
        "job": expressions.literal(job_id),
        "status": "job.status",
        "matrix": "matrix",
        **{
            f"output:{name}": expressions.as_expression(value)
            for name, value in outputs.items()
        },
    }
    # The values travel in the script: one output may be larger than an environment
    # entry can be.
    lines = [
        f"{name} {expressions.embed(f'toJSON({value})')}"
        for name, value in fields.items()
    ]
    script = (
        '"$STANDIN_PYTHON" -I "$STANDIN_CODE/post.py" <<\'STANDIN_RECORD\'\n'
        + "\n".join(lines)
        + "\nSTANDIN_RECORD\n"
    )
    names = sorted({*secrets, "GITHUB_TOKEN"})
    return {
        "id": _POST,
        "name": "Stand-in post step",
        "if": "always()",
        "env": {
            f"STANDIN_SECRET_{number}": expressions.embed(f"secrets.{name}")
            for number, name in enumerate(names)
        },
        "shell": "bash",
        "working-directory": ".",
        "run": script,
    }


# -- re-runs --


@dataclass(frozen=True)
class Finished:
    """A job of an earlier run attempt that is not run again, or the legs of a matrix
    that are. `skipped`: it did not run then either.
    """

    outputs: Mapping[str, str]
    legs: tuple[Mapping[str, object], ...] = ()
    skipped: bool = False


def with_finished_jobs(
    document: Document, finished: Mapping[str, Finished]
) -> Document:
    """The document for "Re-run failed jobs": what was green stands there with its
    outputs, not running, and what was skipped is skipped again.
    """
    rewritten = copy.deepcopy(document)
    for job_id, before in finished.items():
        job = rewritten["jobs"][job_id]
        if before.skipped:
            job["if"] = "false"
        elif before.legs:
            job["strategy"]["matrix"] = {"include": [dict(leg) for leg in before.legs]}
        else:
            rewritten["jobs"][job_id] = _stub(job, before.outputs)
    return rewritten


def _stub(job: Document, outputs: Mapping[str, str]) -> Document:
    lines = [
        f"{name}<<STANDIN_OUTPUT\n{value}\nSTANDIN_OUTPUT"
        for name, value in outputs.items()
    ]
    script = (
        "cat >> \"$GITHUB_OUTPUT\" <<'STANDIN_OUTPUTS'\n"
        + "\n".join([*lines, "STANDIN_OUTPUTS"])
        + "\n"
    )
    # The script is data of an earlier run: a `${{` in it must not be read as an
    # expression now.
    quoted = script.replace("${{", "${{ '${{' }}")
    return _without_empty(
        {
            "needs": needs(job),
            "if": "always()",
            "runs-on": "ubuntu-latest",
            "permissions": job.get("permissions"),
            "outputs": {
                name: expressions.embed(f"steps.standin.outputs['{name}']")
                for name in outputs
            },
            "steps": [
                {
                    "id": "standin",
                    "name": "Kept from an earlier attempt",
                    "shell": "bash",
                    "run": quoted,
                }
            ],
        }
    )
