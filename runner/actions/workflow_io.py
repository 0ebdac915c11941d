"""Input and output of a GitHub Actions job.

Reads the event and the environment; writes outputs, the step summary and workflow
commands. Escaping happens here and nowhere else. Sources: GitHub's "Workflow commands
for GitHub Actions" (escaping, output delimiters) and its limits (1 MiB a step summary,
1 MB outputs a job).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from runner.core.errors import EnvironmentBroken, UsageProblem
from runner.core.message_text import one_line, several_lines

SUMMARY_LIMIT = 1024 * 1024  # bytes a step; above it GitHub drops the whole summary
# Bytes of one job's outputs. GitHub allows 1 MB and counts them in UTF-16.
OUTPUT_LIMIT = 1_000_000
# GitHub shows ten annotations of a level and a step; a few may follow a list.
MAX_ANNOTATIONS, _RESERVED = 10, 2


@dataclass(frozen=True)
class Annotation:
    """What `JobIO.annotate` writes; `level` is error, warning or notice."""

    level: str
    message: str
    title: str | None = None
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True)
class WorkflowContext:
    """The run and the event that this job belongs to.

    `event` is the webhook's payload. `job_key` is the job's in the workflow file, and
    `job_id` GitHub's number of it. `token` and `event` are left out of the repr.
    """

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
    job_id: str = ""
    job_key: str = ""
    sha: str = ""

    @property
    def event_commit(self) -> str:
        """The commit that was the branch's head when the event happened; "" if unknown."""
        head = (self.event.get("pull_request") or {}).get("head") or {}
        return str(head.get("sha") or self.sha)

    @property
    def event_action(self) -> str:
        """What happened, such as `labeled`; "" for an event without actions."""
        return str(self.event.get("action") or "")

    def refuse_tag(self) -> None:
        """Raise UsageProblem if the workflow was started on a tag."""
        if self.ref.startswith("refs/tags/"):
            raise UsageProblem(
                f"the workflow was started on the tag {self.ref_name}, "
                "but work lands on a branch",
                "start it on a branch: Actions > Run workflow > Use workflow from",
            )

    @property
    def repository_url(self) -> str:
        """The address of the repository's page."""
        return f"{self.server_url}/{self.repository}"

    @property
    def run_url(self) -> str:
        """The address of this run's page."""
        return f"{self.repository_url}/actions/runs/{self.run_id}"

    @property
    def job_ids(self) -> str | None:
        """The ids of run and job, `RUN/JOB`; None where GitHub does not say the job's.

        GitHub Enterprise Server does not.
        """
        ids = f"{self.run_id}/{self.job_id}"
        return ids if re.fullmatch(r"[0-9]{1,20}/[0-9]{1,20}", ids) else None

    @property
    def checked_out_branch(self) -> str:
        """The pull request's head branch, else the branch of the run."""
        return self.head_ref or self.ref_name

    @property
    def workflow_file(self) -> str:
        """The file name of the caller's workflow.

        Read from a reference such as `owner/repo/.github/workflows/FILE@ref`.
        """
        path, _, _ = self.workflow_ref.partition("@")
        return path.rpartition("/")[2]

    @property
    def pull_request(self) -> int | None:
        """The number of the event's pull request, if it is about one."""
        number = (self.event.get("pull_request") or {}).get("number")
        return number if isinstance(number, int) else None


def read_context(environ: Mapping[str, str]) -> WorkflowContext:
    """Read the job's context. Raises UsageProblem outside of GitHub Actions."""
    if not environ.get("GITHUB_RUN_ID"):
        raise UsageProblem(
            "this command runs inside GitHub Actions only",
            "on this machine use  fanin run",
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
        event=_read_event(environ.get("GITHUB_EVENT_PATH")),
        job_id=environ.get("FANIN_JOB_ID", ""),
        job_key=environ.get("GITHUB_JOB", ""),
        sha=environ.get("GITHUB_SHA", ""),
    )


def _read_event(path: str | None) -> Mapping[str, Any]:
    if not path or not Path(path).is_file():
        return {}
    event: Mapping[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    return event


def escape_data(text: str) -> str:
    """Escape text so that it cannot end a workflow command's message."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Escape text so that it cannot end a workflow command's property."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def command(name: str, message: str, **properties: str | int | None) -> str:
    """Format a workflow command, e.g. `::error file=tasks.yml,line=3::what happened`.

    Properties that are None are left out.
    """
    assignments = [
        f"{key}={escape_property(str(value))}"
        for key, value in properties.items()
        if value is not None
    ]
    separator = " " if assignments else ""
    return f"::{name}{separator}{','.join(assignments)}::{escape_data(message)}"


class JobIO:
    """Writes a job's outputs, step summary, annotations and masks."""

    def __init__(self, environ: Mapping[str, str], stream: TextIO) -> None:
        self._output_file = environ.get("GITHUB_OUTPUT")
        self._summary_file = environ.get("GITHUB_STEP_SUMMARY")
        self._stream = stream
        self._output_bytes = 0
        self._annotated = 0

    def output(self, values: Mapping[str, str]) -> None:
        """Set outputs of the job.

        Each value stands between random delimiters, so that it cannot end itself and
        set another output. Raises EnvironmentBroken if all outputs of the job together
        have more than `OUTPUT_LIMIT` bytes.
        """
        size = self._output_bytes
        size += sum(
            utf16_size(name) + utf16_size(value) for name, value in values.items()
        )
        if size > OUTPUT_LIMIT:
            raise EnvironmentBroken(
                f"the job's outputs have {size:,} bytes as GitHub counts them; "
                f"it accepts {OUTPUT_LIMIT:,}",
                "lower max-concurrent",
            )
        self._output_bytes = size
        text = "".join(_assignment(name, value) for name, value in values.items())
        if self._output_file:
            with Path(self._output_file).open("a", encoding="utf-8") as stream:
                stream.write(text)

    def summary(self, markdown: str) -> None:
        """Append to the step summary, truncated to GitHub's limit."""
        if self._summary_file:
            with Path(self._summary_file).open("a", encoding="utf-8") as stream:
                # Other steps of the job may write a few lines to the same summary.
                stream.write(truncated(markdown, SUMMARY_LIMIT - 1024))

    def annotate(
        self,
        level: str,
        message: str,
        *,
        title: str | None = None,
        file: str | None = None,
        line: int | None = None,
    ) -> None:
        """Annotate the run; `level` is error, warning or notice.

        The page of the run shows it, so that no text in it is a command to GitHub.
        """
        text = several_lines(message)
        title = None if title is None else one_line(title)
        self._print(command(level, text, file=file, line=line, title=title))
        self._annotated += 1

    def annotate_all(self, annotations: Sequence[Annotation]) -> None:
        """Annotate the run with as many of these, the most important first, as GitHub
        shows. The last says how many more there are; the log has them all.
        """
        room = max(1, MAX_ANNOTATIONS - _RESERVED - self._annotated)
        shown = annotations
        if len(annotations) > room:
            shown = annotations[: room - 1]
        for each in shown:
            self.annotate(
                each.level,
                each.message,
                title=each.title,
                file=each.file,
                line=each.line,
            )
        rest = annotations[len(shown) :]
        if not rest:
            return
        for each in rest:
            self._print(
                f"{each.level}: {one_line(each.title or '')}: {one_line(each.message)}"
            )
        self.annotate(
            rest[0].level, f"and {len(rest)} more, in this step's log", title="fanin"
        )

    def mask(self, value: str) -> None:
        """Mask every line of a secret in the log."""
        for line in value.splitlines():
            if line.strip():
                self._print(command("add-mask", line))

    @contextmanager
    def fenced(self, title: str) -> Iterator[None]:
        """Fold the log and ignore workflow commands inside the `with` block."""
        token = secrets.token_hex(20)
        self._print(command("group", title))
        self._print(command("stop-commands", token))
        try:
            yield
        finally:
            # The output before may lack its last newline.
            self._print(f"\n::{token}::")
            self._print("::endgroup::")

    def _print(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def utf16_size(text: str) -> int:
    """The size of a text in UTF-16, in bytes."""
    return len(text.encode("utf-16-le", "surrogatepass"))


def truncated(text: str, limit: int) -> str:
    """Truncate text to `limit` bytes of UTF-8, at the end of a line, with a note."""
    data = text.encode()
    if len(data) <= limit:
        return text
    note = "\n… truncated to GitHub's limit.\n"
    head = data[: limit - len(note.encode())].decode("utf-8", "ignore")
    last_newline = head.rfind("\n")
    return head[: last_newline + 1] + note


def _assignment(name: str, value: str) -> str:
    delimiter = f"fanin-{secrets.token_hex(16)}"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"
