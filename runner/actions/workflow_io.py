"""What the Actions machine gives and takes: the event, `GITHUB_OUTPUT`, the step
summary, `::commands::`.

Everything is escaped here and nowhere else. Sources: GitHub's "Workflow commands for
GitHub Actions" (escaping of data and properties, delimiters of outputs) and its limits
(1 MiB a step summary, 1 MB outputs a job).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from runner.core.errors import EnvironmentBroken

SUMMARY_LIMIT = 1024 * 1024  # bytes a step; above it GitHub drops the whole summary
OUTPUT_LIMIT = 900_000  # characters of one job's outputs, below GitHub's 1 MB


@dataclass(frozen=True)
class WorkflowContext:
    """Where this job runs. `event` is the webhook's payload; the token is never shown."""

    repository: str
    run_id: str
    run_attempt: int
    event_name: str
    ref: str
    ref_name: str
    head_ref: str
    workflow_ref: str
    server_url: str
    api_url: str
    token: str = field(repr=False)
    event: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def run_url(self) -> str:
        return f"{self.server_url}/{self.repository}/actions/runs/{self.run_id}"

    @property
    def workflow_file(self) -> str:
        """The caller's workflow file name, from
        `owner/repo/.github/workflows/FILE@ref`.
        """
        return self.workflow_ref.partition("@")[0].rpartition("/")[2]

    @property
    def pull_request(self) -> int | None:
        number = (self.event.get("pull_request") or {}).get("number")
        return number if isinstance(number, int) else None


def read_context(environ: Mapping[str, str]) -> WorkflowContext:
    """The job's context. EnvironmentBroken outside of GitHub Actions."""
    if not environ.get("GITHUB_RUN_ID"):
        raise EnvironmentBroken(
            "this command runs inside GitHub Actions only",
            "on this machine use  fanin run",
        )
    path = environ.get("GITHUB_EVENT_PATH")
    event = (
        json.loads(Path(path).read_text(encoding="utf-8"))
        if path and Path(path).is_file()
        else {}
    )
    return WorkflowContext(
        repository=environ.get("GITHUB_REPOSITORY", ""),
        run_id=environ["GITHUB_RUN_ID"],
        run_attempt=int(environ.get("GITHUB_RUN_ATTEMPT") or 1),
        event_name=environ.get("GITHUB_EVENT_NAME", ""),
        ref=environ.get("GITHUB_REF", ""),
        ref_name=environ.get("GITHUB_REF_NAME", ""),
        head_ref=environ.get("GITHUB_HEAD_REF", ""),
        workflow_ref=environ.get("GITHUB_WORKFLOW_REF", ""),
        server_url=environ.get("GITHUB_SERVER_URL", "https://github.com"),
        api_url=environ.get("GITHUB_API_URL", "https://api.github.com"),
        token=environ.get("FANIN_TOKEN", ""),
        event=event,
    )


def escape_data(text: str) -> str:
    """Text that cannot end a workflow command's message."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Text that cannot end a workflow command's property."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def command(name: str, message: str, **properties: str | int | None) -> str:
    """One workflow command, e.g. `::error file=tasks.yml,line=3::what happened`."""
    given = ",".join(
        f"{key}={escape_property(str(value))}"
        for key, value in properties.items()
        if value is not None
    )
    return f"::{name}{' ' if given else ''}{given}::{escape_data(message)}"


class JobIO:
    """Writes what a job hands to the machine: outputs, the summary, annotations, masks."""

    def __init__(self, environ: Mapping[str, str], stream: TextIO) -> None:
        self._output = environ.get("GITHUB_OUTPUT")
        self._summary = environ.get("GITHUB_STEP_SUMMARY")
        self._stream = stream

    def output(self, values: Mapping[str, str]) -> None:
        """Set outputs, each between random delimiters so that no value can end itself
        and set another.
        """
        text = "".join(_assignment(name, value) for name, value in values.items())
        if len(text) > OUTPUT_LIMIT:
            raise EnvironmentBroken(
                f"the job's outputs are {len(text):,} characters, more than GitHub takes",
                "lower max-concurrent",
            )
        if self._output:
            with Path(self._output).open("a", encoding="utf-8") as stream:
                stream.write(text)

    def summary(self, markdown: str) -> None:
        """Add to the step summary, cut to what GitHub takes."""
        if self._summary:
            with Path(self._summary).open("a", encoding="utf-8") as stream:
                stream.write(bounded(markdown, SUMMARY_LIMIT - 1024))

    def annotate(
        self, level: str, message: str, **properties: str | int | None
    ) -> None:
        """`level` is error, warning or notice."""
        known = {
            name: properties.pop(name)
            for name in ("file", "line")
            if name in properties
        }
        self._print(command(level, message, **known, **properties))

    def mask(self, value: str) -> None:
        for line in value.splitlines():
            if line.strip():
                self._print(command("add-mask", line))

    @contextmanager
    def fenced(self, title: str) -> Iterator[None]:
        """A folded group in which nothing that is printed can speak to the machine."""
        token = secrets.token_hex(20)
        self._print(command("group", title))
        self._print(command("stop-commands", token))
        try:
            yield
        finally:
            self._print(f"\n::{token}::")
            self._print("::endgroup::")

    def _print(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def bounded(text: str, limit: int) -> str:
    """At most `limit` bytes of UTF-8, cut at a line's end and saying so."""
    data = text.encode()
    if len(data) <= limit:
        return text
    cut = data[: limit - 60].decode("utf-8", "ignore")
    return cut[: cut.rfind("\n") + 1] + "\n… cut to what GitHub takes.\n"


def _assignment(name: str, value: str) -> str:
    delimiter = f"fanin-{secrets.token_hex(16)}"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"
