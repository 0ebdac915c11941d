"""A loopback stand-in of github.com: git over smart HTTP, and the REST routes of
`forge_api` under /api/v3.

    with Forge(tmp_path) as forge:
        repository = forge.create("octo/work", {"README.md": "hello"})
        ... git clone {forge.server_url}/octo/work ...

Every request is kept as data in `forge.requests`; a REST route nobody wrote is a 404
and is noted in `forge.unknown`.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import itertools
import json
import os
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.support.github import forge_api, forge_issues
from tests.support.github.forge_git import BareRepository, Refusal
from tests.support.github.loopback import Loopback
from tests.support.github.standin.artifacts import Store

Moment = Literal["advertise", "update"]
Callback = Callable[[], object]


@dataclass(frozen=True)
class Token:
    """Who asks. `app` tokens are GITHUB_TOKENs: held to `permissions`, and signed for
    by the forge.
    """

    value: str
    permissions: Mapping[str, str]
    app: bool
    label: str
    # An installed App may be on a ruleset's bypass list, GITHUB_TOKEN may not.
    bypasses_rules: bool = False

    def may(self, scope: str, level: str) -> bool:
        """Whether the token has at least this level."""
        if not self.app:
            return True
        return self.permissions.get(scope, "none") in (
            ("write",) if level == "write" else ("read", "write")
        )


@dataclass(frozen=True)
class Dispatch:
    """A workflow_dispatch that the forge accepted."""

    repository: str
    workflow: str
    ref: str
    inputs: Mapping[str, str]
    run_id: int
    by: str


@dataclass(frozen=True)
class Request:
    """One request as it was answered."""

    kind: Literal["git", "api"]
    method: str
    path: str
    query: Mapping[str, str]
    status: int
    token: str
    body: Any = None


@dataclass
class Repository:
    """One repository: a bare git repository and what GitHub keeps beside it."""

    full_name: str
    id: int
    default_branch: str
    git: BareRepository
    issues: dict[int, dict[str, Any]] = field(default_factory=dict)
    comments: dict[int, dict[str, Any]] = field(default_factory=dict)
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    labels: dict[str, dict[str, Any]] = field(default_factory=dict)
    # people with write access, for issues
    writers: set[str] = field(default_factory=set)
    signed: set[str] = field(default_factory=set)
    dispatches: list[Dispatch] = field(default_factory=list)
    signature_refs: set[str] = field(default_factory=set)
    may_open_pulls: bool = True
    # private ones of the plans Free and Pro have none
    has_drafts: bool = True
    watchers: dict[tuple[Moment, str], list[Callback]] = field(default_factory=dict)

    def protect(
        self,
        branch: str,
        reason: str = "Changes must be made through a pull request.",
        code: str = "GH006",
    ) -> None:
        """Refuse every push and every REST update of the branch."""
        self.git.set_refusals(
            [*self.git.refusals, Refusal(f"refs/heads/{branch}", code, reason)]
        )

    def require_signatures(self, branch: str) -> None:
        """Refuse commits that GitHub has not signed: any push, and REST commits with an
        author.
        """
        self.signature_refs.add(f"refs/heads/{branch}")
        self.git.set_refusals(
            [
                *self.git.refusals,
                Refusal(
                    f"refs/heads/{branch}",
                    "GH006",
                    "Commits must have verified signatures.",
                ),
            ]
        )

    def unprotect(self, branch: str) -> None:
        """Drop all rules of a branch."""
        ref = f"refs/heads/{branch}"
        self.signature_refs.discard(ref)
        self.git.set_refusals([rule for rule in self.git.refusals if rule.ref != ref])

    def before_push(
        self,
        branch: str,
        callback: Callback,
        *,
        moment: Moment = "update",
        times: int = 1,
    ) -> None:
        """Call back just before a push or REST update of the branch is done, so that a
        rival can be first.

        `advertise` is before a pusher is told the branch's tip (its git says "fetch
        first"), `update` is after that and before the ref moves (the server says that
        it cannot lock the ref). The callback works on `git` of the repository; a push
        over HTTP from inside it would wait for itself.
        """
        self.watchers.setdefault((moment, f"refs/heads/{branch}"), []).extend(
            [callback] * times
        )

    def fire(self, moment: Moment, refs: list[str] | None) -> None:
        """Call what waits for this moment; None means any ref."""
        for key, callbacks in list(self.watchers.items()):
            if key[0] == moment and (refs is None or key[1] in refs) and callbacks:
                callbacks.pop(0)()

    def open_pull(
        self,
        head: str,
        base: str | None = None,
        title: str = "A change",
        *,
        fork: bool = False,
        labels: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        """A pull request as a person would open it; `refs/pull/N/head` and `/merge` are
        made.
        """
        pull = forge_api.new_pull(
            self,
            {"head": head, "base": base or self.default_branch, "title": title},
            "person",
        )
        pull["labels"] = [{"name": name} for name in labels]
        if fork:
            pull["head"]["repo"] = {
                "fork": True,
                "full_name": "stranger/fork",
                "name": "fork",
            }
        return pull

    def merge_pull(
        self, number: int, how: Literal["merge", "squash", "rebase"] = "merge"
    ) -> str:
        """Merge a pull request as a person's click does; return the base's new head.

        There is nothing to click on a draft: GitHub's docs, "About pull requests".
        """
        pull = self.pulls[number]
        assert not pull["draft"], "a draft cannot be merged"
        ref = f"refs/heads/{pull['base']['ref']}"
        base, head = (
            self.git.tip(pull["base"]["ref"]),
            self.git.tip(pull["head"]["ref"]),
        )
        merged = self.git.merged(base, head)
        assert merged is not None, "it conflicts with its base"
        if how == "squash":
            tree = str(self.git.resolve(merged, "tree"))
            merged = self.git.write_commit(tree, [base], pull["title"])
        elif how == "rebase":
            merged = self.git.rebased(base, head)
        self.git.update(ref, merged, base)
        pull["head"]["sha"] = head
        pull.update(state="closed", merged=True, merged_at=forge_api.now())
        return merged


class Forge(Loopback):
    """The server. Use as a context manager; every repository lives below `root`."""

    def __init__(self, root: Path, *, store: Path | None = None) -> None:
        self.root = root / "repositories"
        self.root.mkdir(parents=True, exist_ok=True)
        self.artifacts = Store(store or root / "artifacts")
        self.artifacts.root.mkdir(parents=True, exist_ok=True)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[Request] = []
        self.unknown: list[Request] = []
        self.jobs_of_runs: dict[int, list[dict[str, object]]] = {}
        self.on_dispatch: Callable[[Dispatch], None] = lambda dispatch: None
        self.lock = threading.RLock()
        self._tokens: dict[str, Token] = {}
        self._ids = itertools.count(1000)
        self.token = self.mint({}, app=False, label="person")
        super().__init__(_handler(self))

    @property
    def server_url(self) -> str:
        """GITHUB_SERVER_URL. The real artifact actions refuse any server but github.com
        and *.localhost.
        """
        return f"http://github.localhost:{self.port}"

    @property
    def api_url(self) -> str:
        """GITHUB_API_URL. By address: git and curl know *.localhost by themselves,
        Python asks the system.
        """
        return f"http://127.0.0.1:{self.port}/api/v3"

    def next_id(self) -> int:
        """A number nobody has yet."""
        with self.lock:
            return next(self._ids)

    def mint(
        self,
        permissions: Mapping[str, str],
        *,
        app: bool = True,
        label: str = "app",
        bypasses_rules: bool = False,
    ) -> str:
        """A new token."""
        value = f"standin-{'ghs' if app else 'ghp'}-{binascii.hexlify(os.urandom(12)).decode()}"
        self._tokens[value] = Token(
            value, dict(permissions), app, label, bypasses_rules
        )
        return value

    def who(self, value: str) -> Token | None:
        """The token with this value."""
        return self._tokens.get(value)

    def create(
        self,
        full_name: str,
        files: Mapping[str, str | bytes],
        default_branch: str = "main",
    ) -> Repository:
        """A repository with one commit."""
        bare = BareRepository(self.root / f"{full_name}.git", default_branch)
        bare.commit_files(default_branch, files, "Seed")
        repository = Repository(full_name, self.next_id(), default_branch, bare)
        self.repositories[full_name] = repository
        return repository

    def note(self, request: Request) -> None:
        """Keep a request."""
        with self.lock:
            self.requests.append(request)

    def calls(self, method: str, part: str, *, kind: str = "api") -> list[Request]:
        """The requests of a method whose path contains a text."""
        return [
            item
            for item in self.requests
            if (item.kind, item.method) == (kind, method) and part in item.path
        ]


# -- git over smart HTTP --


def pushed_refs(body: bytes) -> list[str]:
    """The refs that a receive-pack request wants to move."""
    refs, at = [], 0
    while at + 4 <= len(body):
        length = int(body[at : at + 4], 16)
        if length < 4:
            break
        words = body[at + 4 : at + length].split(b"\0")[0].split()
        if len(words) >= 3:
            refs.append(words[2].decode())
        at += length
    return refs


def token_of(header: str) -> str:
    """The token of an Authorization header: Basic's password, or after Bearer or token."""
    scheme, _, value = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            return ""
    return value.strip()


@dataclass(frozen=True)
class _Answer:
    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def _chunks(stream: Any) -> Iterator[bytes]:
    while size := int(stream.readline().split(b";")[0], 16):
        yield stream.read(size)
        stream.readline()
    stream.readline()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    forge: Forge

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Requests are kept as data, not printed."""

    def _body(self) -> bytes:
        if "chunked" in (self.headers.get("Transfer-Encoding") or ""):
            return b"".join(_chunks(self.rfile))
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _reply(self, answer: _Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def _go(self) -> None:
        body = self._body()
        parts = urlsplit(self.path)
        path, query = unquote(parts.path), dict(parse_qsl(parts.query))
        authorizations = self.headers.get_all("Authorization") or []
        given = token_of(authorizations[0]) if authorizations else ""
        token = self.forge.who(given)
        if path.startswith("/api/v3") or path == "/api/graphql":
            self._reply(
                self._api(path.removeprefix("/api/v3"), query, body, token, given)
            )
        else:
            if len(authorizations) > 1:
                answer = _Answer(
                    400,
                    b'Duplicate header: "Authorization"',
                    (("Content-Type", "text/plain"),),
                )
            else:
                answer = self._git(path, parts.query, body, token, bool(given))
            self.forge.note(
                Request(
                    "git",
                    self.command,
                    path,
                    query,
                    answer.status,
                    token.label if token else "",
                )
            )
            self._reply(answer)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _go  # noqa: N815 - the names are the base class's

    def _api(
        self,
        path: str,
        query: dict[str, str],
        body: bytes,
        token: Token | None,
        given: str,
    ) -> _Answer:
        try:
            data = json.loads(body) if body else None
        except ValueError:
            data = None
        call = forge_api.Call(
            self.forge, self.command, path, query, data, token, bool(given)
        )
        reply = (
            forge_issues.graphql(call)
            if path == "/api/graphql"
            else forge_api.answer(call)
        )
        self.forge.note(
            request := Request(
                "api",
                self.command,
                path,
                query,
                reply.status,
                token.label if token else "",
                data,
            )
        )
        if reply.unknown:
            self.forge.unknown.append(request)
        payload = (
            reply.raw
            if reply.raw is not None
            else b""
            if reply.status == 204
            else json.dumps(reply.data).encode()
        )
        kind = (
            "application/zip"
            if reply.raw is not None
            else "application/json; charset=utf-8"
        )
        # Before the answer, so that whoever has it finds the dispatch queued.
        # `on_dispatch` may queue and no more: GitHub too starts the run later, not
        # while the caller waits.
        for consequence in reply.after:
            consequence()
        return _Answer(reply.status, payload, (("Content-Type", kind), *reply.headers))

    def _git(
        self, path: str, query: str, body: bytes, token: Token | None, has_token: bool
    ) -> _Answer:
        owner, _, rest = path.strip("/").partition("/")
        name, _, inside = rest.partition("/")
        repository = self.forge.repositories.get(f"{owner}/{name.removesuffix('.git')}")
        if repository is None:
            return _Answer(404, b"Repository not found.")
        writing = "git-receive-pack" in f"{inside}?{query}"
        refusal = self._refuse(writing, token, has_token, repository.full_name)
        if refusal:
            return refusal
        if writing and inside == "info/refs":
            repository.fire("advertise", None)
        elif writing:
            repository.fire("update", pushed_refs(body))
        return self._backend(
            repository, inside, query, body, token if writing else None
        )

    def _refuse(
        self, writing: bool, token: Token | None, has_token: bool, name: str
    ) -> _Answer | None:
        if token is None and (writing or has_token):
            return _Answer(
                401,
                b"Invalid username or token.",
                (("WWW-Authenticate", 'Basic realm="GitHub"'),),
            )
        if token and not token.may("contents", "write" if writing else "read"):
            return _Answer(
                403,
                f"Permission to {name}.git denied to github-actions[bot].".encode(),
                (("Content-Type", "text/plain"),),
            )
        return None

    def _backend(
        self,
        repository: Repository,
        inside: str,
        query: str,
        body: bytes,
        writer: Token | None,
    ) -> _Answer:
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.forge.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": f"/{repository.full_name}.git/{inside}",
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type") or "",
            "CONTENT_LENGTH": str(len(body)),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol") or "",
            "REMOTE_USER": writer.label if writer else "",
            "GIT_CONFIG_NOSYSTEM": "1",
            "HOME": str(self.forge.root),
            "FORGE_MAY_WORKFLOWS": "0" if writer and writer.app else "1",
            "FORGE_MAY_BYPASS": "1" if writer and writer.bypasses_rules else "0",
        }
        done = subprocess.run(
            ["git", "http-backend"],
            input=body,
            env=env,
            capture_output=True,
            check=False,
        )
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        headers = [
            tuple(line.split(": ", 1))
            for line in head.decode().split("\r\n")
            if ": " in line
        ]
        status = next(
            (int(value.split()[0]) for name, value in headers if name == "Status"), 200
        )
        return _Answer(
            status,
            rest,
            tuple((name, value) for name, value in headers if name != "Status"),
        )


def _handler(forge: Forge) -> type[BaseHTTPRequestHandler]:
    return type("Handler", (_Handler,), {"forge": forge})
