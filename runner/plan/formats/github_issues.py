"""GitHub issues as a plan: the file that `fanin collect` writes, with approved issues.

Issues are behind an API and anybody can edit them; what agents are to do must be in git
like any other plan. So this format reads a file, and who may be in it was decided when
it was written (`issues.approval`). A task in it has no status: the progress file has it,
and `fanin answer` reports it to the issues.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationError

from runner.core import json_document
from runner.core.documents import Document
from runner.core.json_document import JsonDocument, Node
from runner.core.task import ISSUES, Plan, Task
from runner.core.validation import problems_of
from runner.plan.formats.base import Mark, Options, Tree
from runner.plan.formats.diagnostics import (
    PENDING,
    SKIPPED,
    Diagnostics,
    build_task,
    join_sections,
    only_tasks,
)
from runner.plan.formats.markdown import heading_text
from runner.policy import globs
from runner.policy.paths import shortened

NAME = ISSUES
REMEDY = "write the file again with  fanin collect"
MAX_QUOTED = 60  # characters of a line that a message quotes

_FILE_START = re.compile(r'\s*\{\s*"fanin"\s*:\s*"github-issues"')
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_UNANSWERED = "_No response_"  # what an issue form writes for an empty field
# Each run of blanks ends before a character that is not blank, so a line that does not
# match takes linear time, too.
_GLOB_LINE = re.compile(
    r"[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?(?:\[[ xX]\][ \t]+)?`?(?P<glob>[^`\s]+)`?[ \t]*"
)

Number = Annotated[int, Field(ge=1)]
Repository = Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]


class Wait(Document):
    """An issue or pull request that another one waits for, as it was when collected.

    `reason`: GitHub's `state_reason`, or `merged` for a merged pull request. `said`:
    what names it, a relation or the text. `state` is `unknown` if GitHub does not
    show it.
    """

    repository: Repository
    number: Number
    state: Literal["open", "closed", "unknown"]
    reason: str | None = None
    said: Literal["blocked_by", "sub_issue", "text"] = "blocked_by"

    @property
    def satisfied(self) -> bool:
        """Whether it is closed as completed or merged.

        Closed as not planned or as a duplicate satisfies nothing. Older issues have no
        reason.
        """
        return self.state == "closed" and self.reason in {None, "completed", "merged"}


class Approved(Document):
    """An issue that is a task: its text as it was when `labelled_by` labelled it."""

    number: Number
    title: Annotated[str, StringConstraints(min_length=1)]
    body: str
    url: str
    labelled_by: str
    labelled_at: str
    updated_at: str
    waits_for: tuple[Wait, ...] = ()


class Refused(Document):
    """An issue that has the label but is not a task, and why.

    It has nothing of the issue's text, because agents can read this file.
    """

    number: Number
    why: str


class IssuesFile(Document):
    """The whole `.fanin/issues.json`."""

    fanin: Literal["github-issues"]
    version: Literal[1]
    repository: Repository
    label: str
    milestone: str | None = None
    issues: tuple[Approved, ...] = ()
    refused: tuple[Refused, ...] = ()


def render(file: IssuesFile) -> str:
    """The file's text: the same issues give the same bytes."""
    data = file.model_dump(mode="json", exclude_none=True)
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


class GithubIssues:
    """The `github-issues` format; see `runner.plan.formats.base.Source`."""

    name = NAME
    may_be_empty = True  # nothing is labelled, or everything is done
    # `fanin collect` and `fanin answer` read these: which issues to collect, and what
    # to do with a finished one.
    options: Mapping[str, Sequence[str]] = {
        "label": (),
        "milestone": (),
        "repository": (),
        "when_done": ("comment", "close", "label"),
    }

    def detect(self, path: str, tree: Tree) -> bool:
        """True for a JSON file that begins as `fanin collect` writes it."""
        return path.endswith(".json") and self.looks_like(tree.read(path) or "")

    def looks_like(self, text: str) -> bool:
        """Whether the text begins as `fanin collect` writes it."""
        return bool(_FILE_START.match(text))

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        """The plan of the approved issues. InvalidInput with every located problem."""
        document = json_document.load(path, tree.read(path) or "")
        diagnostics = Diagnostics(path)
        file = _validate(document, diagnostics)
        if file is None:
            return diagnostics.build_plan(NAME, [])
        _report_duplicates(file, document, diagnostics)
        numbers = {issue.number for issue in file.issues}
        tasks = []
        for issue, node in zip(file.issues, _issue_nodes(document.root), strict=True):
            line_index = document.line_index(node)
            task = _task(issue, line_index, file.repository, numbers, diagnostics)
            tasks.append(task)
        for refused in file.refused:
            what = f"#{refused.number} is not a task: {refused.why}"
            diagnostics.add_plan_note(what)
        if not tasks:
            what = (
                f"no open issue of {file.repository} has the label {file.label!r} "
                "from somebody with write access"
            )
            diagnostics.add_plan_note(what)
        return diagnostics.build_plan(NAME, only_tasks(tasks))

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        return {}


# -- Reading the file --


def parse(path: str, text: str) -> IssuesFile:
    """The file with this text. InvalidInput with every located problem."""
    diagnostics = Diagnostics(path)
    file = _validate(json_document.load(path, text), diagnostics)
    diagnostics.build_plan(NAME, [])  # raises if there are problems
    assert file is not None
    return file


def _validate(document: JsonDocument, diagnostics: Diagnostics) -> IssuesFile | None:
    """The file; None after a problem for each mistake."""
    try:
        data = json.loads(document.text.removeprefix("\ufeff"))
        return IssuesFile.model_validate(data)
    except ValidationError as error:
        problems = problems_of(
            error,
            document.path,
            lambda location: _line(document, location),
            IssuesFile,
        )
    for problem in problems:
        remedy = f"{problem.remedy}; {REMEDY}"
        diagnostics.problems.append(problem._replace(remedy=remedy))
    return None


def _line(document: JsonDocument, location: Sequence[str | int]) -> int:
    """The line number, from 1, of the innermost value of the location that exists."""
    node = document.root
    for step in location:
        child = _child(node, step)
        if child is None:
            break
        node = child
    return document.line_index(node) + 1


def _child(node: Node, step: str | int) -> Node | None:
    if isinstance(step, str):
        return node.get(step)
    items = node.items or []
    if step < len(items):
        return items[step]
    return None


def _issue_nodes(root: Node) -> Sequence[Node]:
    issues = root.get("issues")
    if issues is None:
        return []
    return issues.items or []


def _report_duplicates(
    file: IssuesFile, document: JsonDocument, diagnostics: Diagnostics
) -> None:
    numbers: set[int] = set()
    for issue, node in zip(file.issues, _issue_nodes(document.root), strict=True):
        if issue.number in numbers:
            what = f"#{issue.number} is listed twice"
            diagnostics.add_problem(document.line_index(node), what, REMEDY)
        numbers.add(issue.number)


# -- Tasks --


def _task(
    issue: Approved,
    line_index: int,
    repository: str,
    numbers: set[int],
    diagnostics: Diagnostics,
) -> Task | None:
    """The task of this issue; `numbers` are those of all issues in the file."""
    depends_on: list[str] = []
    reasons: list[str] = []
    for wait in issue.waits_for:
        if _same_repository(wait.repository, repository) and wait.number in numbers:
            if wait.number != issue.number:
                depends_on.append(str(wait.number))
        elif not wait.satisfied:
            reasons.append(f"it waits for {_describe(wait, repository)}")
    files, files_problem = files_of(issue.body)
    if files_problem:
        reasons.append(files_problem)
    for reason in reasons:
        diagnostics.add_note(line_index, f"{issue.number} is skipped: {reason}")
    source = f"(GitHub issue #{issue.number})"
    return build_task(
        diagnostics,
        line_index,
        task_id=str(issue.number),
        title=issue.title,
        prompt=join_sections([("", issue.body), ("", source)]),
        files=files,
        depends_on=depends_on,
        status=SKIPPED if reasons else PENDING,
    )


def _describe(wait: Wait, repository: str) -> str:
    """`#9, which is open …`, with the repository if it is another one."""
    name = f"#{wait.number}"
    if not _same_repository(wait.repository, repository):
        name = f"{wait.repository}{name}"
    if wait.state == "unknown":
        return f"{name}, which fanin cannot see on GitHub"
    if wait.state == "open":
        return f"{name}, which is open and not a task"
    reason = (wait.reason or "").replace("_", " ")
    return f"{name}, which was closed as {reason}"


def _same_repository(first: str, second: str) -> bool:
    """Whether the names are equal: on GitHub, their case does not count."""
    return first.casefold() == second.casefold()


def files_of(body: str) -> tuple[tuple[str, ...] | None, str | None]:
    """The globs below a heading `Files`, one a line, and what is wrong with them.

    An issue form writes its field of that name so. (None, None) without such a heading
    or below an unanswered one.
    """
    paths: list[str] = []
    in_files_section = False
    fence = ""
    for line in body.split("\n"):
        text = line.strip()
        fence_mark = _FENCE.match(line)
        if fence_mark:
            fence = _fence_after(fence, fence_mark[1], text)
            continue
        heading = None if fence else heading_text(line.rstrip())
        if heading is not None:
            in_files_section = heading.strip(" :").casefold() == "files"
        elif in_files_section and text and text != _UNANSWERED:
            glob, problem = _read_glob(line)
            if problem:
                return None, problem
            paths.append(glob)
    if reason := globs.too_many(paths):
        return None, f"its heading Files has {reason}"
    return tuple(dict.fromkeys(paths)) or None, None


def _fence_after(fence: str, mark: str, text: str) -> str:
    """The mark of the fence that is open after a line with a fence mark, or ""."""
    if not fence:
        return mark
    closes = text.startswith(fence)
    return "" if closes else fence


def _read_glob(line: str) -> tuple[str, str | None]:
    """The glob on a line of the section, and what is wrong with it."""
    match = _GLOB_LINE.fullmatch(line)
    if match is None:
        quoted = repr(line.strip()[:MAX_QUOTED])
        return "", f"{quoted} below its heading Files is not a glob"
    glob = match["glob"]
    reason = globs.invalid(glob)
    if reason:
        quoted = repr(shortened(glob))
        what = f"{quoted} below its heading Files is not a valid gitignore pattern"
        return "", f"{what}: {reason}"
    return glob, None
