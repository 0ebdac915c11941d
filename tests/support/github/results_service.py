"""A stand-in of the service that the official @actions/artifact client speaks to: its
calls, and the blobs below them.

    with ResultsService() as service:
        environment = service.environment("4711")    # for the client's process

The calls are Twirp over JSON (`github.actions.results.api.v1.ArtifactService`), the
blobs are what the Azure client does: blocks, a list of them, and a read. A name that
the run has is a conflict; a call needs the runtime's token and a blob the signature
that was handed out for it.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.support.github.loopback import Loopback

Json = dict[str, Any]
_PREFIX = "/twirp/github.actions.results.api.v1.ArtifactService/"


@dataclass
class Upload:
    """One artifact; what the client declared of it, and its zip."""

    id: int
    run: str
    name: str
    signature: str
    blocks: dict[str, bytes] = field(default_factory=dict)
    content: bytes = b""
    size: int = 0
    digest: str = ""
    done: bool = False


class Refused(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status, self.body = status, {"code": code, "msg": text}


class ResultsService(Loopback):
    """The server. Use as a context manager; `uploads` is all it keeps, `calls` what it
    was asked.
    """

    def __init__(self) -> None:
        self.uploads: list[Upload] = []
        self.calls: list[str] = []
        self._tokens: dict[str, str] = {}
        self._lock = threading.Lock()
        super().__init__(type("Handler", (_Handler,), {"service": self}))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, run: str) -> dict[str, str]:
        """What the runner sets for the client in a job of the run."""
        token = ".".join(
            [
                _base64({"alg": "none"}),
                _base64({"scp": f"Actions.Results:{run}:job"}),
                secrets.token_hex(8),
            ]
        )
        self._tokens[token] = run
        return {"ACTIONS_RESULTS_URL": f"{self.url}/", "ACTIONS_RUNTIME_TOKEN": token}

    def call(self, method: str, authorization: str, body: Json) -> Json:
        """One call of the client."""
        run = self._tokens.get(authorization.removeprefix("Bearer "))
        if run is None:
            raise Refused(401, "unauthenticated", "no token of a job")
        if body.get("workflow_run_backend_id") != run:
            raise Refused(403, "permission_denied", "another run's artifacts")
        with self._lock:
            self.calls.append(method)
            answer: Json = {
                "CreateArtifact": self._create,
                "FinalizeArtifact": self._finalize,
                "ListArtifacts": self._list,
                "GetSignedArtifactURL": self._signed,
            }[method](run, body)
        return answer

    def _of(self, run: str) -> Iterator[Upload]:
        return (upload for upload in self.uploads if upload.run == run)

    def _named(self, run: str, body: Json) -> Upload:
        found = next(
            (upload for upload in self._of(run) if upload.name == body["name"]), None
        )
        if found is None:
            raise Refused(404, "not_found", f"no artifact {body['name']}")
        return found

    def _blob(self, upload: Upload) -> str:
        return f"{self.url}/blob/{upload.id}?sig={upload.signature}"

    def _create(self, run: str, body: Json) -> Json:
        if any(upload.name == body["name"] for upload in self._of(run)):
            raise Refused(
                409,
                "already_exists",
                "an artifact with this name already exists on the workflow run",
            )
        upload = Upload(
            len(self.uploads) + 1, run, str(body["name"]), secrets.token_hex(8)
        )
        self.uploads.append(upload)
        return {"ok": True, "signed_upload_url": self._blob(upload)}

    def _finalize(self, run: str, body: Json) -> Json:
        upload = self._named(run, body)
        upload.size, upload.digest, upload.done = (
            int(body["size"]),
            str(body.get("hash", "")),
            True,
        )
        if upload.size != len(upload.content):
            raise Refused(
                400,
                "invalid_argument",
                f"{upload.size} bytes are declared, {len(upload.content)} are here",
            )
        return {"ok": True, "artifact_id": str(upload.id)}

    def _list(self, run: str, body: Json) -> Json:
        wanted = (body.get("name_filter"), body.get("id_filter"))
        return {
            "artifacts": [
                {
                    "workflow_run_backend_id": run,
                    "workflow_job_run_backend_id": "job",
                    "database_id": str(upload.id),
                    "name": upload.name,
                    "size": str(upload.size),
                    "digest": upload.digest,
                    "created_at": "2026-01-01T00:00:00Z",
                }
                for upload in self._of(run)
                if upload.done
                and wanted[0] in (None, upload.name)
                and wanted[1] in (None, str(upload.id))
            ]
        }

    def _signed(self, run: str, body: Json) -> Json:
        return {"signed_url": self._blob(self._named(run, body))}

    def blob(self, path: str, query: dict[str, str]) -> Upload:
        """The artifact of a blob's address, if the signature is the one that was handed
        out.
        """
        number = int(path.rsplit("/", 1)[1])
        upload = next((item for item in self.uploads if item.id == number), None)
        if upload is None or not secrets.compare_digest(
            upload.signature, query.get("sig", "")
        ):
            raise Refused(403, "permission_denied", "no such signature")
        return upload

    def put(self, upload: Upload, query: dict[str, str], content: bytes) -> None:
        """A block, the list that puts blocks together, or the whole at once."""
        kind = query.get("comp")
        if kind == "block":
            upload.blocks[query["blockid"]] = content
        elif kind == "blocklist":
            names = re.findall(r"<Latest>(.*?)</Latest>", content.decode())
            upload.content = b"".join(upload.blocks.pop(name) for name in names)
        else:
            upload.content = content


def _base64(value: Json) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    service: ResultsService

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the base class's
        """Calls are kept as data, not printed."""

    def _body(self) -> bytes:
        if "chunked" not in (self.headers.get("Transfer-Encoding") or ""):
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _reply(
        self, status: int, content: bytes, kind: str = "application/json"
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _go(self) -> None:
        parts, body = urlsplit(self.path), self._body()
        query = dict(parse_qsl(parts.query))
        try:
            if parts.path.startswith(_PREFIX):
                authorization = self.headers.get("Authorization") or ""
                answer = self.service.call(
                    parts.path.removeprefix(_PREFIX), authorization, json.loads(body)
                )
                self._reply(200, json.dumps(answer).encode())
                return
            upload = self.service.blob(parts.path, query)
            if self.command == "PUT":
                self.service.put(upload, query, body)
                self._reply(201, b"")
            else:
                self._reply(200, upload.content, "application/zip")
        except Refused as refused:
            self._reply(refused.status, json.dumps(refused.body).encode())
        except (KeyError, ValueError) as error:
            self._reply(
                400, json.dumps({"code": "malformed", "msg": repr(error)}).encode()
            )

    do_GET = do_POST = do_PUT = _go  # noqa: N815 - the names are the base class's
