"""GitHub issues as a plan: the file that `fanin collect` writes, with the issues that
somebody vouched for.

The issues live behind an API and anybody can edit them; what agents are to do must lie
in git like any other plan. So this reads a file, and who may be in it was decided when
it was written (`issues.approval`). It has no word for a state: the progress file holds
it, and `fanin answer` tells it to the issues.
"""

from __future__ import annotations

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
    sections,
    task,
)
from runner.plan.formats.markdown import heading_text
from runner.policy import globs

NAME = ISSUES
REMEDY = "write the file anew with  fanin collect"
_SHAPED = re.compile(r'\s*\{\s*"fanin"\s*:\s*"github-issues"')
_FENCE = re.compile(r"\s{0,3}(`{3,}|~{3,})")
_UNANSWERED = "_No response_"  # what an issue form writes for an empty field
# Each run of blanks ends before something that is not blank, so a line that does not
# match takes linear time too.
_ITEM = re.compile(
    r"[ \t]*(?:(?:[-*+]|\d+[.)])[ \t]+)?(?:\[[ xX]\][ \t]+)?`?(?P<glob>[^`\s]+)`?[ \t]*"
)

Number = Annotated[int, Field(ge=1)]
Repository = Annotated[str, StringConstraints(pattern=r"^[\w.-]+/[\w.-]+$")]


class Wait(Document):
    """An issue or pull request that another one waits for, as it stood when it was
    looked at.

    `reason`: GitHub's `state_reason`, `merged` for a merged pull request. `said`: which
    of blocked_by, sub_issue and text names it. `state` unknown: GitHub shows us no such
    thing.
    """

    repository: Repository
    number: Number
    state: Literal["open", "closed", "unknown"]
    reason: str | None = None
    said: Literal["blocked_by", "sub_issue", "text"] = "blocked_by"

    @property
    def satisfied(self) -> bool:
        """Closed as completed or merged. Not planned and duplicate satisfy nobody;
        older issues give no reason.
        """
        return self.state == "closed" and self.reason in {None, "completed", "merged"}


class Approved(Document):
    """One issue that is a task: title and body as they stood when `labelled_by` put the
    label on it.
    """

    number: Number
    title: Annotated[str, StringConstraints(min_length=1)]
    body: str
    url: str
    labelled_by: str
    labelled_at: str
    updated_at: str
    waits_for: tuple[Wait, ...] = ()


class Refused(Document):
    """One issue that has the label and is no task, and why. Nothing of its text: agents
    can read this file.
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
    """The `github-issues` format; see `runner.plan.formats.base.Source` for what each
    method promises.
    """

    name = NAME
    may_be_empty = True  # nothing is labelled, or all is done
    # How `fanin collect` and `fanin answer` are told what to look for and what to do
    # with a finished issue.
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
        return bool(_SHAPED.match(text))

    def load(self, path: str, tree: Tree, options: Options) -> Plan:
        document = json_document.load(path, tree.read(path) or "")
        talk = Diagnostics(path)
        file = _checked(document, talk)
        if file is None:
            return talk.plan(NAME, [])
        _refuse_doubles(file, document, talk)
        known = {issue.number for issue in file.issues}
        nodes = _items(document.root)
        tasks = [
            _task(issue, file.repository, known, document.at(node), talk)
            for issue, node in zip(file.issues, nodes, strict=True)
        ]
        for refused in file.refused:
            talk.remark(f"#{refused.number} is no task: {refused.why}")
        if not tasks:
            talk.remark(
                f"no open issue of {file.repository} has the label {file.label!r} from somebody who may write"
            )
        return talk.plan(NAME, [one for one in tasks if one is not None])

    def write_back(
        self, path: str, tree: Tree, marks: Mapping[str, Mark], options: Options
    ) -> Mapping[str, str]:
        return {}


def parse(path: str, text: str) -> IssuesFile:
    """The file. InvalidInput with every located problem."""
    talk = Diagnostics(path)
    file = _checked(json_document.load(path, text), talk)
    talk.plan(NAME, [])
    assert file is not None
    return file


def _checked(document: JsonDocument, talk: Diagnostics) -> IssuesFile | None:
    try:
        return IssuesFile.model_validate(
            json.loads(document.text.removeprefix("\ufeff"))
        )
    except ValidationError as error:
        found = problems_of(
            error, document.path, lambda place: _line(document, place), IssuesFile
        )
        talk.problems += [problem._replace(remedy=REMEDY) for problem in found]
        return None


def _line(document: JsonDocument, place: Sequence[str | int]) -> int:
    """The line of the innermost value of `place` that is there."""
    node = document.root
    for step in place:
        items = node.items or []
        below = (
            node.get(step)
            if isinstance(step, str)
            else items[step]
            if step < len(items)
            else None
        )
        if below is None:
            break
        node = below
    return document.at(node) + 1


def _items(root: Node) -> Sequence[Node]:
    listed = root.get("issues")
    return listed.items or [] if listed else []


def _refuse_doubles(
    file: IssuesFile, document: JsonDocument, talk: Diagnostics
) -> None:
    seen: set[int] = set()
    for issue, node in zip(file.issues, _items(document.root), strict=True):
        if issue.number in seen:
            talk.problem(
                document.at(node), f"#{issue.number} stands here a second time", REMEDY
            )
        seen.add(issue.number)


def _task(
    issue: Approved, repository: str, known: set[int], at: int, talk: Diagnostics
) -> Task | None:
    mine = [
        wait
        for wait in issue.waits_for
        if _same(wait.repository, repository) and wait.number in known
    ]
    files, wrong = files_of(issue.body)
    others = [
        wait for wait in issue.waits_for if wait not in mine and not wait.satisfied
    ]
    obstacles = [f"it waits for {_named(wait, repository)}" for wait in others] + (
        [wrong] if wrong else []
    )
    for obstacle in obstacles:
        talk.note(at, f"{issue.number} is skipped: {obstacle}")
    word = SKIPPED if obstacles else PENDING
    return task(
        talk,
        at,
        id=str(issue.number),
        title=issue.title,
        prompt=sections([("", issue.body), ("", f"(GitHub issue #{issue.number})")]),
        files=files,
        depends_on=tuple(
            dict.fromkeys(
                str(wait.number) for wait in mine if wait.number != issue.number
            )
        ),
        source_status=word.status,
        skipped=word.skipped,
    )


def _named(wait: Wait, repository: str) -> str:
    where = "" if _same(wait.repository, repository) else wait.repository
    if wait.state == "unknown":
        return f"{where}#{wait.number}, which GitHub does not show us"
    if wait.state == "open":
        return f"{where}#{wait.number}, which is open and no task"
    return f"{where}#{wait.number}, which was closed as {(wait.reason or '').replace('_', ' ')}"


def _same(one: str, other: str) -> bool:
    """GitHub's names of repositories do not tell upper from lower case."""
    return one.casefold() == other.casefold()


def files_of(body: str) -> tuple[tuple[str, ...] | None, str | None]:
    """The globs below a heading `Files`, one a line, as an issue form's field of that
    name gives them; and what is wrong with them. (None, None) without such a heading or
    below an unanswered one.
    """
    found: list[str] = []
    inside, fence = False, ""
    for line in body.split("\n"):
        if mark := _FENCE.match(line):
            fence = "" if fence and line.strip().startswith(fence) else fence or mark[1]
        elif not fence and (heading := heading_text(line.rstrip())) is not None:
            inside = heading.strip(" :").casefold() == "files"
        elif inside and line.strip() and line.strip() != _UNANSWERED:
            item = _ITEM.fullmatch(line)
            if item is None:
                return None, f"{line.strip()[:60]!r} below its heading Files is no glob"
            if reason := globs.invalid(item["glob"]):
                return (
                    None,
                    f"{item['glob']!r} below its heading Files is not a valid gitignore pattern: {reason}",
                )
            found.append(item["glob"])
    return (tuple(dict.fromkeys(found)) or None), None
