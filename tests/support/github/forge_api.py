"""The REST routes of the forge, stateful, with GitHub's own refusals. `forge.Forge`
serves them.

The commit routes work on the bare repository itself (`update-ref new old`), so a lost
race is lost for real. All links are made from the forge's own base URL, because
PyGithub follows them and insists on the same host.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import yaml

from tests.support.github import workflows
from tests.support.github.forge_git import BOT, GitError

if TYPE_CHECKING:
    from tests.support.github.forge import Forge, Repository, Token

Json = dict[str, Any]
MAX_INPUTS = workflows.MAX_DISPATCH_INPUTS
MAX_INPUT_CHARACTERS = 65_535


@dataclass(frozen=True)
class Call:
    """One request to the API."""

    forge: Forge
    method: str
    path: str
    query: Mapping[str, str]
    data: Any
    token: Token | None
    has_token: bool
    params: Mapping[str, str] | None = None

    @property
    def body(self) -> Json:
        return self.data if isinstance(self.data, dict) else {}

    @property
    def repository(self) -> Repository:
        return self.forge.repositories[self["repo"]]

    @property
    def base(self) -> str:
        return f"{self.forge.api_url}/repos/{self.repository.full_name}"

    @property
    def actor(self) -> str:
        return "github-actions[bot]" if self.token and self.token.app else "person"

    def __getitem__(self, name: str) -> str:
        return (self.params or {})[name]


@dataclass(frozen=True)
class Reply:
    """The answer: JSON, or raw bytes; `after` is done once the answer is settled."""

    status: int
    data: Any = None
    headers: tuple[tuple[str, str], ...] = ()
    raw: bytes | None = None
    unknown: bool = False
    after: tuple[Callable[[], None], ...] = ()


class ApiError(Exception):
    """An error answer."""

    def __init__(
        self, status: int, message: str, errors: list[Json] | None = None
    ) -> None:
        super().__init__(message)
        self.reply = Reply(
            status,
            {
                "message": message,
                **({"errors": errors} if errors else {}),
                "documentation_url": "https://docs.github.com/rest",
                "status": str(status),
            },
        )


Route = Callable[[Call], Reply]
_ROUTES: list[tuple[str, re.Pattern[str], tuple[str, ...], Route]] = []


def route(method: str, pattern: str, *scopes: str) -> Callable[[Route], Route]:
    """Declare a route below /repos/{repo}; `scopes` are the permissions of which one
    must be writable.
    """
    expression = (
        re.escape("/repos/")
        + r"(?P<repo>[^/]+/[^/]+)"
        + re.sub(
            r"\{(\w+)(\*?)\}",
            lambda m: f"(?P<{m[1]}>.+)" if m[2] else f"(?P<{m[1]}>[^/]+)",
            pattern,
        )
    )

    def add(function: Route) -> Route:
        _ROUTES.append((method, re.compile(expression), scopes, function))
        return function

    return add


def answer(call: Call) -> Reply:
    """Find the route, ask whether the token may, and do it."""
    if (call.method, call.path) == ("GET", "/user"):
        return _who_am_i(call)
    for method, pattern, scopes, function in _ROUTES:
        match = pattern.fullmatch(call.path)
        if match and method == call.method:
            try:
                matched = Call(
                    call.forge,
                    call.method,
                    call.path,
                    call.query,
                    call.data,
                    call.token,
                    call.has_token,
                    match.groupdict(),
                )
                _authorise(matched, scopes)
                with call.forge.lock:
                    return function(matched)
            except ApiError as refused:
                return refused.reply
            except GitError as error:
                return ApiError(422, str(error)).reply
    return Reply(404, {"message": "Not Found", "status": "404"}, unknown=True)


def _who_am_i(call: Call) -> Reply:
    """The one route beside a repository's. A job's token is nobody's."""
    if call.token is None:
        return ApiError(401, "Requires authentication").reply
    if call.token.app:
        return ApiError(403, "Resource not accessible by integration").reply
    return Reply(200, user(call.token.label))


def _authorise(call: Call, scopes: tuple[str, ...]) -> None:
    if call.token is None and (call.has_token or scopes):
        raise ApiError(
            401, "Bad credentials" if call.has_token else "Requires authentication"
        )
    if call["repo"] not in call.forge.repositories:
        raise ApiError(404, "Not Found")
    if (
        scopes
        and call.token
        and not any(call.token.may(scope, "write") for scope in scopes)
    ):
        raise ApiError(403, "Resource not accessible by integration")


def now() -> str:
    """GitHub's time format."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def page(call: Call, items: Iterable[Json], wrap: str = "") -> Reply:
    """One page of a list, with Link headers."""
    everything = list(items)
    size = min(max(int(call.query.get("per_page", 30)), 1), 100)
    number = max(int(call.query.get("page", 1)), 1)
    last = max((len(everything) + size - 1) // size, 1)
    places = {"first": 1, "prev": number - 1} if number > 1 else {}
    places |= {"next": number + 1, "last": last} if number < last else {}
    here = call.forge.api_url + call.path
    links = [
        f'<{here}?{urlencode({**call.query, "per_page": size, "page": place})}>; rel="{name}"'
        for name, place in places.items()
    ]
    chosen = everything[(number - 1) * size : number * size]
    data: Any = {"total_count": len(everything), wrap: chosen} if wrap else chosen
    return Reply(200, data, (("Link", ", ".join(links)),) if links else ())


def _required(call: Call, *names: str) -> None:
    for name in names:
        if call.body.get(name) in (None, ""):
            raise ApiError(422, f'Invalid request.\n\n"{name}" wasn\'t supplied.')


def user(login: str) -> Json:
    return {
        "login": login,
        "id": 41898282 if login.endswith("[bot]") else 1,
        "type": "Bot" if login.endswith("[bot]") else "User",
    }


# -- repository and workflows --


@route("GET", "")
def get_repository(call: Call) -> Reply:
    """The repository."""
    repository = call.repository
    owner, _, name = repository.full_name.partition("/")
    return Reply(
        200,
        {
            "id": repository.id,
            "name": name,
            "full_name": repository.full_name,
            "url": call.base,
            "owner": user(owner),
            "default_branch": repository.default_branch,
            "private": False,
            "fork": False,
            "html_url": f"{call.forge.server_url}/{repository.full_name}",
        },
    )


@route("GET", "/branches/{branch*}")
def get_branch(call: Call) -> Reply:
    """A branch and whether it is protected."""
    ref = f"refs/heads/{call['branch']}"
    commit = call.repository.git.resolve(ref)
    if commit is None:
        raise ApiError(404, "Branch not found")
    protected = any(rule.ref == ref for rule in call.repository.git.refusals)
    return Reply(
        200,
        {
            "name": call["branch"],
            "commit": commit_json(call, commit),
            "protected": protected,
        },
    )


@route("GET", "/rules/branches/{branch*}")
def get_rules(call: Call) -> Reply:
    """The active rules of a branch."""
    ref = f"refs/heads/{call['branch']}"
    signatures = (
        [{"type": "required_signatures"}]
        if ref in call.repository.signature_refs
        else []
    )
    others = [
        {"type": "pull_request"}
        for rule in call.repository.git.refusals
        if rule.ref == ref and "signatures" not in rule.reason
    ]
    return page(call, signatures + others)


@route("GET", "/contents/{path*}")
def get_content(call: Call) -> Reply:
    """A file."""
    ref = call.query.get("ref") or call.repository.default_branch
    try:
        content = call.repository.git.read(_commit_of(call, ref), call["path"])
    except GitError:
        raise ApiError(404, "Not Found") from None
    return Reply(
        200,
        {
            "type": "file",
            "name": call["path"].rpartition("/")[2],
            "path": call["path"],
            "encoding": "base64",
            "size": len(content),
            "content": base64.b64encode(content).decode(),
            "url": f"{call.base}/contents/{call['path']}?ref={ref}",
            "sha": call.repository.git.git(
                "rev-parse", f"{_commit_of(call, ref)}:{call['path']}"
            ),
        },
    )


def _commit_of(call: Call, ref: str) -> str:
    for name in (f"refs/heads/{ref}", f"refs/tags/{ref}", ref):
        commit = call.repository.git.resolve(name)
        if commit:
            return commit
    raise ApiError(422, f"No ref found for: {ref}")


def _workflow_at(
    repository: Repository, commit: str, file: str
) -> workflows.Document | None:
    try:
        return workflows.load(repository.git.read(commit, f".github/workflows/{file}"))
    except (GitError, yaml.YAMLError, workflows.WorkflowError):
        return None


def _workflow_file(call: Call) -> str:
    """The workflow by file name; GitHub knows one once the default branch has it."""
    file = call["file"].rpartition("/")[2]
    repository = call.repository
    if file not in [
        path.rpartition("/")[2]
        for path in repository.git.files(f"refs/heads/{repository.default_branch}")
        if path.startswith(".github/workflows/")
    ]:
        raise ApiError(404, "Not Found")
    return file


@route("GET", "/actions/workflows/{file}")
def get_workflow(call: Call) -> Reply:
    """A workflow by file name."""
    file = _workflow_file(call)
    document = (
        _workflow_at(
            call.repository, f"refs/heads/{call.repository.default_branch}", file
        )
        or {}
    )
    path = f".github/workflows/{file}"
    return Reply(
        200,
        {
            "id": binascii.crc32(file.encode()),
            "name": document.get("name", path),
            "path": path,
            "state": "active",
            "url": f"{call.base}/actions/workflows/{file}",
            "html_url": f"{call.forge.server_url}/{call.repository.full_name}/blob/main/{path}",
        },
    )


@route("POST", "/actions/workflows/{file}/dispatches", "actions")
def dispatch(call: Call) -> Reply:
    """workflow_dispatch with GitHub's checks; the run itself starts after the answer."""
    from tests.support.github.forge import Dispatch

    file = _workflow_file(call)
    _required(call, "ref")
    ref, inputs = str(call.body["ref"]), call.body.get("inputs") or {}
    document = _workflow_at(call.repository, _commit_of(call, ref), file)
    found = workflows.triggers(document) if document else {}
    if "workflow_dispatch" not in found:
        raise ApiError(422, "Workflow does not have 'workflow_dispatch' trigger")
    try:
        workflows.refuse_invalid_inputs(document or {})
    except workflows.WorkflowError as error:
        raise ApiError(422, f"failed to parse workflow: {error}") from None
    check_inputs(found["workflow_dispatch"].get("inputs") or {}, inputs)
    record = Dispatch(
        call.repository.full_name,
        file,
        ref.removeprefix("refs/heads/"),
        dict(inputs),
        call.forge.next_id(),
        call.actor,
    )
    call.repository.dispatches.append(record)
    after = (lambda: call.forge.on_dispatch(record),)
    if call.body.get("return_run_details"):
        run = f"{call.base}/actions/runs/{record.run_id}"
        return Reply(
            200,
            {
                "workflow_run_id": record.run_id,
                "run_url": run,
                "html_url": f"{call.forge.server_url}/{record.repository}/actions/runs/{record.run_id}",
            },
            after=after,
        )
    return Reply(204, after=after)


def check_inputs(declared: Mapping[str, Json | None], given: Mapping[str, Any]) -> None:
    """What GitHub refuses about the inputs of a dispatch."""
    if len(given) > MAX_INPUTS:
        raise ApiError(
            422, "Invalid request.\n\nNo more than 25 properties are allowed in inputs."
        )
    # Stricter than the description, which allows any value: a string is what every
    # version of the API takes.
    wrong = [name for name, value in given.items() if not isinstance(value, str)]
    if wrong:
        raise ApiError(
            422,
            f"Invalid request.\n\nFor 'properties/inputs/{wrong[0]}', {given[wrong[0]]!r} is not a string.",
        )
    if len(json.dumps(given)) > MAX_INPUT_CHARACTERS:
        raise ApiError(422, "inputs are too large.")
    try:
        workflows.dispatched(declared, given)
    except workflows.WorkflowError as error:
        raise ApiError(422, str(error)) from None


# -- runs and artifacts --


def _artifact(call: Call, item: Any) -> Json:
    url = f"{call.base}/actions/artifacts/{item.id}"
    return {
        "id": item.id,
        "node_id": f"A_{item.id}",
        "name": item.name,
        "size_in_bytes": item.size,
        "url": url,
        "archive_download_url": f"{url}/zip",
        "expired": False,
        "digest": f"sha256:{item.digest}",
        "created_at": item.created_at,
        "updated_at": item.created_at,
        "expires_at": "2099-01-01T00:00:00Z",
        "workflow_run": {"id": item.run_id, "repository_id": call.repository.id},
    }


@route("GET", "/actions/runs/{run}")
def get_run(call: Call) -> Reply:
    """A run, as much of it as is known while it goes on."""
    url = f"{call.base}/actions/runs/{call['run']}"
    return Reply(
        200,
        {
            "id": int(call["run"]),
            "url": url,
            "jobs_url": f"{url}/jobs",
            "artifacts_url": f"{url}/artifacts",
            "html_url": f"{call.forge.server_url}/{call.repository.full_name}/actions/runs/{call['run']}",
            "status": "in_progress",
            "conclusion": None,
        },
    )


@route("GET", "/actions/runs/{run}/artifacts")
def list_artifacts(call: Call) -> Reply:
    """A run's artifacts, newest first as on GitHub."""
    wanted = call.query.get("name")
    found = [
        _artifact(call, item)
        for item in reversed(call.forge.artifacts.list(int(call["run"])))
        if wanted in (None, item.name)
    ]
    return page(call, found, "artifacts")


@route("GET", "/actions/runs/{run}/jobs")
def list_jobs(call: Call) -> Reply:
    """The jobs that a test says a run has."""
    return page(call, call.forge.jobs_of_runs.get(int(call["run"]), []), "jobs")


@route("GET", "/actions/artifacts/{artifact}")
def get_artifact(call: Call) -> Reply:
    """One artifact."""
    return Reply(200, _artifact(call, _find_artifact(call)))


@route("GET", "/actions/artifacts/{artifact}/zip")
def download_artifact(call: Call) -> Reply:
    """GitHub answers 302 to a storage address; the stand-in's storage is one more
    route.
    """
    if call.token is None:
        raise ApiError(401, "Requires authentication")
    item = _find_artifact(call)
    return Reply(
        302, {}, (("Location", f"{call.base}/standin/artifacts/{item.id}.zip"),)
    )


@route("GET", "/standin/artifacts/{artifact}.zip")
def artifact_storage(call: Call) -> Reply:
    """Where the 302 leads."""
    return Reply(
        200, raw=call.forge.artifacts.archive(_find_artifact(call)).read_bytes()
    )


def _find_artifact(call: Call) -> Any:
    item = call.forge.artifacts.find(int(call["artifact"]))
    if item is None:
        raise ApiError(404, "Not Found")
    return item


# -- issues, comments, labels, pull requests --


def _number(repository: Repository) -> int:
    return len(repository.issues) + 1


def find_issue(call: Call) -> Json:
    issue = (
        call.repository.issues.get(int(call["number"]))
        if call["number"].isdigit()
        else None
    )
    if issue is None:
        raise ApiError(404, "Not Found")
    return issue


def issue_json(call: Call, issue: Json) -> Json:
    """An issue with its links."""
    url = f"{call.base}/issues/{issue['number']}"
    shown = {name: value for name, value in issue.items() if not name.startswith("_")}
    blockers = len(issue.get("_blocked_by", []))
    return {
        **shown,
        "url": url,
        "repository_url": call.base,
        "html_url": f"{call.forge.server_url}/{call.repository.full_name}/issues/{issue['number']}",
        "comments_url": f"{url}/comments",
        "labels_url": f"{url}/labels{{/name}}",
        "issue_dependencies_summary": {
            "blocked_by": blockers,
            "total_blocked_by": blockers,
        },
        "sub_issues_summary": {"total": 0, "completed": 0},
    }


@route("GET", "/issues/{number}")
def get_issue(call: Call) -> Reply:
    """An issue or a pull request seen as one."""
    return Reply(200, issue_json(call, find_issue(call)))


def comment_json(call: Call, comment: Json) -> Json:
    """A comment with its links."""
    page_of_issue = (
        f"{call.forge.server_url}/{call.repository.full_name}/issues/{comment['issue']}"
    )
    shown = {name: value for name, value in comment.items() if name != "reactions"}
    return {
        **shown,
        "url": f"{call.base}/issues/comments/{comment['id']}",
        "issue_url": f"{call.base}/issues/{comment['issue']}",
        "html_url": f"{page_of_issue}#issuecomment-{comment['id']}",
    }


@route("GET", "/issues/{number}/comments")
def list_comments(call: Call) -> Reply:
    """An issue's comments."""
    number = find_issue(call)["number"]
    return page(
        call,
        [
            comment_json(call, item)
            for item in call.repository.comments.values()
            if item["issue"] == number
        ],
    )


def _comment_body(call: Call) -> str:
    _required(call, "body")
    text = str(call.body["body"])
    if len(text) > 65_536:
        raise ApiError(
            422,
            "Validation Failed",
            [
                {
                    "resource": "IssueComment",
                    "code": "unprocessable",
                    "field": "data",
                    "message": "Body is too long (maximum is 65536 characters)",
                }
            ],
        )
    return text


@route("POST", "/issues/{number}/comments", "issues", "pull-requests")
def create_comment(call: Call) -> Reply:
    """A new comment."""
    comment = {
        "id": call.forge.next_id(),
        "issue": find_issue(call)["number"],
        "body": _comment_body(call),
        "user": user(call.actor),
        "created_at": now(),
        "updated_at": now(),
    }
    call.repository.comments[comment["id"]] = comment
    return Reply(201, comment_json(call, comment))


def find_comment(call: Call) -> Json:
    found = call.repository.comments.get(int(call["comment"]))
    if found is None:
        raise ApiError(404, "Not Found")
    return found


@route("GET", "/issues/comments/{comment}")
def get_comment(call: Call) -> Reply:
    """One comment."""
    return Reply(200, comment_json(call, find_comment(call)))


@route("PATCH", "/issues/comments/{comment}", "issues", "pull-requests")
def edit_comment(call: Call) -> Reply:
    """Edit in place."""
    find_comment(call).update(body=_comment_body(call), updated_at=now())
    return Reply(200, comment_json(call, find_comment(call)))


@route("DELETE", "/issues/comments/{comment}", "issues", "pull-requests")
def delete_comment(call: Call) -> Reply:
    """Remove a comment."""
    del call.repository.comments[find_comment(call)["id"]]
    return Reply(204)


@route("GET", "/labels")
def list_labels(call: Call) -> Reply:
    """The repository's labels."""
    return page(call, call.repository.labels.values())


def _label(call: Call, name: str) -> Json:
    return call.repository.labels.setdefault(
        name,
        {
            "id": len(call.repository.labels) + 1,
            "name": name,
            "color": "ededed",
            "url": f"{call.base}/labels/{name}",
            "description": None,
        },
    )


@route("POST", "/labels", "issues", "pull-requests")
def create_label(call: Call) -> Reply:
    """A new label."""
    _required(call, "name")
    if call.body["name"] in call.repository.labels:
        raise ApiError(
            422,
            "Validation Failed",
            [{"resource": "Label", "code": "already_exists", "field": "name"}],
        )
    return Reply(201, {**_label(call, call.body["name"]), **call.body})


@route("GET", "/issues/{number}/labels")
def list_issue_labels(call: Call) -> Reply:
    """An issue's labels."""
    return page(call, find_issue(call)["labels"])


@route("POST", "/issues/{number}/labels", "issues", "pull-requests")
def add_labels(call: Call) -> Reply:
    """Add labels; unknown ones are made."""
    names = call.data if isinstance(call.data, list) else call.body.get("labels", [])
    labels = find_issue(call)["labels"]
    labels.extend(
        _label(call, name)
        for name in names
        if name not in [item["name"] for item in labels]
    )
    return Reply(200, labels)


@route("DELETE", "/issues/{number}/labels/{name*}", "issues", "pull-requests")
def remove_label(call: Call) -> Reply:
    """Take a label off."""
    labels = find_issue(call)["labels"]
    if call["name"] not in [item["name"] for item in labels]:
        raise ApiError(404, "Label does not exist")
    labels[:] = [item for item in labels if item["name"] != call["name"]]
    return Reply(200, labels)


def new_pull(repository: Repository, body: Mapping[str, Any], actor: str) -> Json:
    """Open a pull request and make its refs."""
    head, base = str(body["head"]).rpartition(":")[2], str(body["base"])
    tips = {name: repository.git.resolve(f"refs/heads/{name}") for name in (head, base)}
    for name, field in ((head, "head"), (base, "base")):
        if tips[name] is None:
            raise ApiError(
                422,
                "Validation Failed",
                [{"resource": "PullRequest", "code": "invalid", "field": field}],
            )
    if any(
        (pull["state"], pull["head"]["ref"], pull["base"]["ref"])
        == ("open", head, base)
        for pull in repository.pulls.values()
    ):
        raise _pull_refused(
            f"A pull request already exists for {repository.full_name.partition('/')[0]}:{head}."
        )
    if repository.git.is_ancestor(str(tips[head]), str(tips[base])):
        raise _pull_refused(f"No commits between {base} and {head}")
    number = _number(repository)
    labels: list[Json] = []
    if body.get("draft") and not repository.has_drafts:
        # the words are those of cynkra/fledge#260
        raise _pull_refused("Draft pull requests are not supported in this repository.")
    common = {
        "number": number,
        "id": number,
        "node_id": f"PR_{number}",
        "title": str(body.get("title", "")),
        "body": body.get("body"),
        "state": "open",
        "user": user(actor),
        "labels": labels,
        "created_at": now(),
        "updated_at": now(),
    }
    side = {
        "full_name": repository.full_name,
        "fork": False,
        "name": repository.full_name.partition("/")[2],
    }
    pull = {
        **common,
        "draft": bool(body.get("draft")),
        "merged": False,
        "merged_at": None,
        "head": {"ref": head, "sha": tips[head], "repo": dict(side)},
        "base": {"ref": base, "sha": tips[base], "repo": dict(side)},
    }
    repository.issues[number] = {**common, "pull_request": {}}
    repository.pulls[number] = pull
    repository.git.update(f"refs/pull/{number}/head", str(tips[head]), None)
    merge = repository.git.merged(str(tips[base]), str(tips[head]))
    if merge:
        repository.git.update(f"refs/pull/{number}/merge", merge, None)
    return pull


def _pull_refused(message: str) -> ApiError:
    return ApiError(
        422,
        "Validation Failed",
        [{"resource": "PullRequest", "code": "custom", "message": message}],
    )


def pull_json(call: Call, pull: Json) -> Json:
    """A pull request with its links. Its head stays where it was when it was closed."""
    head = pull["head"]["sha"]
    if pull["state"] == "open":
        branch = f"refs/heads/{pull['head']['ref']}"
        head = call.repository.git.resolve(branch) or head
    shown = {name: value for name, value in pull.items() if not name.startswith("_")}
    return {
        **shown,
        "url": f"{call.base}/pulls/{pull['number']}",
        "issue_url": f"{call.base}/issues/{pull['number']}",
        "comments_url": f"{call.base}/issues/{pull['number']}/comments",
        "head": {**pull["head"], "sha": head},
        "html_url": f"{call.forge.server_url}/{call.repository.full_name}/pull/{pull['number']}",
    }


@route("GET", "/pulls")
def list_pulls(call: Call) -> Reply:
    """Pull requests by state, head and base."""
    if call.token and not call.token.may("pull-requests", "read"):
        raise ApiError(403, "Resource not accessible by integration")
    state, head, base = (
        call.query.get("state", "open"),
        call.query.get("head", ""),
        call.query.get("base", ""),
    )
    owner = call.repository.full_name.partition("/")[0]
    # GitHub ignores a `head` without an owner and lists everything: a caller that
    # forgets it finds out.
    return page(
        call,
        [
            pull_json(call, item)
            for item in reversed(call.repository.pulls.values())
            if state in ("all", item["state"])
            and base in ("", item["base"]["ref"])
            and (":" not in head or head == f"{owner}:{item['head']['ref']}")
        ],
    )


@route("POST", "/merges", "contents")
def merge_branches(call: Call) -> Reply:
    """Merge a branch or commit into a branch, by a merge commit."""
    _required(call, "base", "head")
    git, ref = call.repository.git, f"refs/heads/{call.body['base']}"
    base = git.resolve(ref)
    head = git.resolve(str(call.body["head"]))
    if base is None or head is None:
        raise ApiError(404, "Base or head does not exist")
    if git.is_ancestor(head, base):
        return Reply(204, None)
    merged = git.merged(base, head, call.body.get("commit_message"))
    if merged is None:
        raise ApiError(409, "Merge conflict")
    git.update(ref, merged, base)
    return Reply(201, commit_json(call, merged))


@route("POST", "/pulls", "pull-requests")
def create_pull(call: Call) -> Reply:
    """Open a pull request."""
    if call.token and call.token.app and not call.repository.may_open_pulls:
        raise ApiError(
            403, "GitHub Actions is not permitted to create or approve pull requests."
        )
    _required(call, "head", "base", "title")
    return Reply(201, pull_json(call, new_pull(call.repository, call.body, call.actor)))


def _pull(call: Call) -> Json:
    found = call.repository.pulls.get(int(call["number"]))
    if found is None:
        raise ApiError(404, "Not Found")
    return found


@route("GET", "/pulls/{number}")
def get_pull(call: Call) -> Reply:
    """One pull request, and whether it can be merged."""
    pull, git = pull_json(call, _pull(call)), call.repository.git
    base = git.resolve(f"refs/heads/{pull['base']['ref']}")
    can_merge = base is not None and git.merged(base, pull["head"]["sha"]) is not None
    return Reply(200, {**pull, "mergeable": can_merge})


@route("PATCH", "/pulls/{number}", "pull-requests")
def edit_pull(call: Call) -> Reply:
    """Change title, body or state. One whose branch is gone is not reopened."""
    pull = _pull(call)
    tip = call.repository.git.resolve(f"refs/heads/{pull['head']['ref']}")
    if call.body.get("state") == "open" and tip is None:
        raise _pull_refused("state cannot be changed. The head branch was deleted.")
    if call.body.get("state") == "closed" and tip is not None:
        pull["head"]["sha"] = tip
    pull.update(
        {
            name: call.body[name]
            for name in ("title", "body", "state")
            if name in call.body
        }
    )
    return Reply(200, pull_json(call, pull))


# -- git data --


@route("POST", "/git/blobs", "contents")
def create_blob(call: Call) -> Reply:
    """A blob from text or base64."""
    content = call.body.get("content")
    if content is None:
        raise ApiError(422, 'Invalid request.\n\n"content" wasn\'t supplied.')
    data = (
        base64.b64decode(content)
        if call.body.get("encoding") == "base64"
        else str(content).encode()
    )
    sha = call.repository.git.blob(data)
    return Reply(201, {"sha": sha, "url": f"{call.base}/git/blobs/{sha}"})


@route("GET", "/git/blobs/{sha}")
def get_blob(call: Call) -> Reply:
    """A blob."""
    if call.repository.git.kind(call["sha"]) != "blob":
        raise ApiError(404, "Not Found")
    data = call.repository.git.raw("cat-file", "blob", call["sha"])
    return Reply(
        200,
        {
            "sha": call["sha"],
            "size": len(data),
            "encoding": "base64",
            "node_id": call["sha"],
            "content": base64.b64encode(data).decode(),
            "url": f"{call.base}/git/blobs/{call['sha']}",
        },
    )


_MODES = {
    "100644": "blob",
    "100755": "blob",
    "120000": "blob",
    "040000": "tree",
    "160000": "commit",
}


def _tree_entry(call: Call, item: Json) -> tuple[str, str] | None:
    mode = item.get("mode")
    if mode not in _MODES:
        raise ApiError(422, "Must supply a valid tree.mode")
    if "content" in item:
        return str(mode), call.repository.git.blob(str(item["content"]).encode())
    if item.get("sha", "") is None:
        return None
    sha, wanted = str(item.get("sha", "")), _MODES[str(mode)]
    if wanted != "commit" and call.repository.git.kind(sha) != wanted:
        raise ApiError(422, f"tree.sha {sha} is not a valid {wanted}")
    return str(mode), sha


@route("POST", "/git/trees", "contents")
def create_tree(call: Call) -> Reply:
    """A tree over a base; `sha: null` deletes a path, which must be there."""
    entries = {
        str(item["path"]): _tree_entry(call, item) for item in call.body.get("tree", [])
    }
    base = call.body.get("base_tree")
    if base and call.repository.git.resolve(str(base), "tree") is None:
        raise ApiError(422, "base_tree is not a valid tree oid")
    try:
        sha = call.repository.git.write_tree(base, entries)
    except GitError:
        raise ApiError(422, "GitRPC::BadObjectState") from None
    return Reply(201, _tree_json(call, sha, recursive=False))


def _tree_json(call: Call, sha: str, *, recursive: bool) -> Json:
    words = ["-r", "-t"] if recursive else []
    rows = [
        line.replace("\t", " ", 1).split(" ", 3)
        for line in call.repository.git.git("ls-tree", "-z", *words, sha).split("\0")
        if line
    ]
    return {
        "sha": sha,
        "url": f"{call.base}/git/trees/{sha}",
        "truncated": False,
        "tree": [
            {
                "path": path,
                "mode": mode,
                "type": kind,
                "sha": name,
                "url": f"{call.base}/git/{kind}s/{name}",
            }
            for mode, kind, name, path in rows
        ],
    }


@route("GET", "/git/trees/{sha*}")
def get_tree(call: Call) -> Reply:
    """A tree by id or by the name of a commit."""
    sha = call.repository.git.resolve(call["sha"], "tree")
    if sha is None:
        raise ApiError(404, "Not Found")
    return Reply(
        200, _tree_json(call, sha, recursive=bool(call.query.get("recursive")))
    )


def _person(value: Any, fallback: str) -> str:
    return (
        f"{value['name']} <{value['email']}>" if isinstance(value, dict) else fallback
    )


@route("POST", "/git/commits", "contents")
def create_commit(call: Call) -> Reply:
    """A commit; GitHub signs it only for an app's token and only if nobody is named as
    its author.
    """
    _required(call, "message", "tree")
    git = call.repository.git
    if git.kind(str(call.body["tree"])) != "tree":
        raise ApiError(422, "Tree SHA does not exist")
    parents = [str(parent) for parent in call.body.get("parents", [])]
    if any(git.kind(parent) != "commit" for parent in parents):
        raise ApiError(422, "Parent SHA does not exist or is not a commit object")
    named = [
        name for name in ("author", "committer", "signature") if call.body.get(name)
    ]
    author = _person(call.body.get("author"), BOT)
    committer = _person(
        call.body.get("committer"),
        author if "author" in named else "GitHub <noreply@github.com>",
    )
    sha = git.write_commit(
        str(call.body["tree"]), parents, str(call.body["message"]), author, committer
    )
    if not named and call.token and call.token.app:
        call.repository.signed.add(sha)
    return Reply(201, git_commit_json(call, sha))


def _verification(call: Call, sha: str) -> Json:
    signed = sha in call.repository.signed
    return {
        "verified": signed,
        "reason": "valid" if signed else "unsigned",
        "signature": "stand-in" if signed else None,
        "payload": "stand-in" if signed else None,
        "verified_at": now() if signed else None,
    }


def git_commit_json(call: Call, sha: str) -> Json:
    """A commit as the git data routes show it."""
    text = call.repository.git.git(
        "show",
        "-s",
        "--format=%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B",
        sha,
    )
    tree, parents, *people, message = text.split("\0")
    names = ("name", "email", "date")
    url = f"{call.base}/git/commits/{sha}"
    return {
        "sha": sha,
        "url": url,
        "message": message.rstrip("\n"),
        "tree": {"sha": tree, "url": f"{call.base}/git/trees/{tree}"},
        "parents": [
            {"sha": parent, "url": f"{call.base}/git/commits/{parent}"}
            for parent in parents.split()
        ],
        "author": dict(zip(names, people[:3], strict=True)),
        "committer": dict(zip(names, people[3:], strict=True)),
        "verification": _verification(call, sha),
    }


def commit_json(call: Call, sha: str) -> Json:
    """A commit as the repository routes show it."""
    inner = git_commit_json(call, sha)
    return {
        "sha": sha,
        "url": f"{call.base}/commits/{sha}",
        "commit": inner,
        "parents": inner["parents"],
    }


@route("GET", "/git/commits/{sha}")
def get_git_commit(call: Call) -> Reply:
    """A commit by id."""
    if call.repository.git.kind(call["sha"]) != "commit":
        raise ApiError(404, "Not Found")
    return Reply(200, git_commit_json(call, call["sha"]))


@route("GET", "/commits/{ref*}")
def get_commit(call: Call) -> Reply:
    """A commit by any name."""
    return Reply(200, commit_json(call, _commit_of(call, call["ref"])))


def ref_json(call: Call, ref: str) -> Json:
    """A ref. Its url says `refs`, in which PyGithub's edit depends."""
    sha = call.repository.git.git("rev-parse", ref)
    kind = call.repository.git.kind(sha)
    return {
        "ref": ref,
        "node_id": ref,
        "url": f"{call.base}/git/{ref}",
        "object": {"type": kind, "sha": sha, "url": f"{call.base}/git/{kind}s/{sha}"},
    }


@route("GET", "/git/ref/{ref*}")
def get_ref(call: Call) -> Reply:
    """One ref."""
    ref = f"refs/{call['ref']}"
    if call.repository.git.resolve(ref) is None:
        raise ApiError(404, "Not Found")
    return Reply(200, ref_json(call, ref))


@route("GET", "/git/matching-refs/{ref*}")
def matching_refs(call: Call) -> Reply:
    """Refs that start with a text."""
    names = call.repository.git.git("for-each-ref", "--format=%(refname)").splitlines()
    return page(
        call,
        [
            ref_json(call, name)
            for name in names
            if name.startswith(f"refs/{call['ref']}")
        ],
    )


def check_update(repository: Repository, ref: str, new: str) -> None:
    """Raise ApiError where the branch's rules refuse the commit."""
    if repository.git.kind(new) != "commit":
        raise ApiError(422, "Object does not exist")
    for rule in repository.git.refusals:
        if rule.ref == ref and not (
            ref in repository.signature_refs and "signatures" in rule.reason
        ):
            raise ApiError(
                422, f"Repository rule violations found\n\n{rule.reason}\n\n"
            )
    if ref in repository.signature_refs:
        coming = repository.git.git("rev-list", new, "--not", "--branches").splitlines()
        if set(coming) - repository.signed:
            raise ApiError(
                422,
                "Repository rule violations found\n\nCommits must have verified signatures.\n\n",
            )


@route("POST", "/git/refs", "contents")
def create_ref(call: Call) -> Reply:
    """A new ref."""
    _required(call, "ref", "sha")
    ref, sha = str(call.body["ref"]), str(call.body["sha"])
    if not re.fullmatch(r"refs/[^/]+/.+", ref):
        raise ApiError(422, f"{ref} is not a valid ref name.")
    if call.repository.git.resolve(ref):
        raise ApiError(422, "Reference already exists")
    check_update(call.repository, ref, sha)
    call.repository.git.update(ref, sha, None)
    return Reply(201, ref_json(call, ref))


@route("PATCH", "/git/refs/{ref*}", "contents")
def update_ref(call: Call) -> Reply:
    """Move a ref; without force only forward."""
    _required(call, "sha")
    ref, new = f"refs/{call['ref']}", str(call.body["sha"])
    call.repository.fire("update", [ref])
    old = call.repository.git.resolve(ref)
    if old is None:
        raise ApiError(422, "Reference does not exist")
    check_update(call.repository, ref, new)
    if not call.body.get("force") and not call.repository.git.is_ancestor(old, new):
        raise ApiError(422, "Update is not a fast forward")
    call.repository.git.update(ref, new, old)
    return Reply(200, ref_json(call, ref))


@route("DELETE", "/git/refs/{ref*}", "contents")
def delete_ref(call: Call) -> Reply:
    """Remove a ref."""
    if call.repository.git.resolve(f"refs/{call['ref']}") is None:
        raise ApiError(422, "Reference does not exist")
    call.repository.git.git("update-ref", "-d", f"refs/{call['ref']}")
    return Reply(204)
