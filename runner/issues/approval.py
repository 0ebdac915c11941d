"""Decides which GitHub issues are tasks, their text, and how each is answered.

Pure: `issues.jobs` calls the API.

Anybody may open an issue on a public repository, and its author may edit it at any
time. So an issue is a task only if somebody with write access put the label on it. Its
text is what that person saw at the time: without later edits of title and body, and
without what GitHub's page does not show.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from runner.core.task import Status
from runner.github_api.issue_types import MARKER, Answer, Event, History, Issue
from runner.issues.rendered_text import rendered_text
from runner.plan.formats.github_issues import Approved, IssuesFile, Refused, Wait
from runner.plan.records import seconds_between
from runner.plan.view import TaskView
from runner.ui.markdown import cell

DONE_LABEL = "fanin:done"
FAILED_LABEL = "fanin:failed"
RELABEL = "take the label off and put it on again"
_LINK = re.compile(
    r"(?<![\w./-])"
    r"(?:(?P<repository>[A-Za-z0-9][\w.-]{0,99}/[A-Za-z0-9_][\w.-]{0,99}))?"
    r"#(?P<number>[1-9]\d{0,8})\b"
)
_DEPENDENCY_LINE = re.compile(
    r"[\s>*_+`-]*(?:\d+[.)][\s*_`]*)?"
    r"(?:blocked by|depends on)\b[\s:*_`]*(?P<links>.*)",
    re.IGNORECASE,
)
_MAX_DEPENDENCIES = 100  # links of one text; a text with more is not a list of them
# The page may have been open for this long before somebody put the label on.
_READING_SECONDS = 60

DependencySource = Literal["blocked_by", "sub_issue", "text"]


@dataclass(frozen=True)
class LandedWork:
    """The branch that has the finished tasks.

    `url` is its address, "" if unknown. `commits`: task id → abbreviated commit.
    """

    branch: str
    url: str = ""
    commits: Mapping[str, str] = field(default_factory=dict)


# -- which issues are tasks --


def label_event(events: Sequence[Event], label: str) -> Event | None:
    """The event that put the label on; None if the label is off or no event shows it.

    `events` are those of one issue, oldest first.
    """
    last: Event | None = None
    for event in events:
        if event.label and _same_label(event.label, label):
            last = event
    return last if last is not None and last.kind == "labeled" else None


def approved_text(
    issue: Issue, label: str, history: History, may_write: Callable[[str], bool]
) -> Approved | Refused:
    """The issue with the text that was approved, or the reason why it is not a task.

    `may_write` tells whether a login may write to the repository.
    """
    labelled = label_event(history.events, label)
    if labelled is None:
        return _refused(issue, "GitHub does not say who put the label on it")
    if labelled.actor is None:
        return _refused(issue, "the label is from a deleted account", by_a_writer=True)
    if labelled.bot:
        reason = f"the label is from {labelled.actor}, a bot, and bots cannot approve"
        return _refused(issue, reason, by_a_writer=True)
    if not may_write(labelled.actor):
        reason = f"the label is from {labelled.actor}, who has no write access"
        return _refused(issue, reason, by_a_writer=True)

    doubt = _doubt(history, labelled)
    if doubt is not None:
        return _refused(issue, doubt)
    body = body_at(history, labelled.at)
    if body is None:
        reason = f"its history does not show the text that {labelled.actor} labelled"
        return _refused(issue, reason)
    title = " ".join(rendered_text(title_at(history, labelled.at)).split())
    return Approved(
        number=issue.number,
        title=title or f"Issue {issue.number}",
        body=rendered_text(body).strip(),
        url=issue.url,
        labelled_by=labelled.actor,
        labelled_at=labelled.at,
        updated_at=issue.updated_at,
    )


def _refused(issue: Issue, reason: str, *, by_a_writer: bool = False) -> Refused:
    remedy = RELABEL
    if by_a_writer:
        remedy = f"somebody with write access must {RELABEL}"
    return Refused(number=issue.number, why=f"{reason}; {remedy}")


def _doubt(history: History, labelled: Event) -> str | None:
    """Return why the text that the labeller saw is uncertain, or None."""
    for event in history.events:
        # In the repository that it came from, other people may have had write access.
        if event.kind == "transferred" and event.at >= labelled.at:
            return "it came from another repository after it was labelled"

    # The first revision is the opening itself.
    edits = [(edit.at, edit.by) for edit in history.edits[1:]]
    renamings = [
        (event.at, event.actor) for event in history.events if event.kind == "renamed"
    ]
    for changed_at, author in edits + renamings:
        age = _seconds_between(changed_at, labelled.at)
        if not 0 <= age <= _READING_SECONDS:
            continue
        # The labeller has seen changes that they made themselves. Times are in whole
        # seconds, so a change in the same second may be later than the label.
        if author != labelled.actor or changed_at == labelled.at:
            return (
                f"it was changed less than {_READING_SECONDS} s before it was labelled, "
                "or in that second"
            )
    return None


def _seconds_between(start: str, end: str) -> float:
    difference = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return difference.total_seconds()


def title_at(history: History, time: str) -> str:
    """The title as it was at a time (ISO 8601)."""
    for event in history.events:
        if event.kind == "renamed" and event.at > time:
            return event.old_title
    return history.title


def body_at(history: History, time: str) -> str | None:
    """The body as it was at a time (ISO 8601); None if the history does not show it.

    GitHub lists no revisions of a body that was never edited. Otherwise the first
    revision is the body as it was opened and the last one the body as it is.
    """
    edits = history.edits
    if not edits:
        return history.body if history.edited is None else None
    # The list may lag behind the body.
    newest = edits[-1].body
    if newest is not None and _unix_lines(newest) != _unix_lines(history.body):
        return None
    body = None
    for edit in edits:
        if edit.at <= time:
            body = edit.body
    return body


def _unix_lines(text: str) -> str:
    return text.replace("\r\n", "\n")


def _same_label(first: str, second: str) -> bool:
    return first.strip().casefold() == second.strip().casefold()


# -- dependencies --


def dependencies_in_text(body: str, repository: str) -> list[tuple[str, int]]:
    """The issues, as (repository, number), that the text says it waits for.

    These are links on lines that begin with `Blocked by` or `Depends on`. A link
    without a repository means `repository`.
    """
    links = []
    for line in body.split("\n"):
        match = _DEPENDENCY_LINE.fullmatch(line)
        if match is None:
            continue
        links += [
            (link["repository"] or repository, int(link["number"]))
            for link in _LINK.finditer(match["links"])
        ]
    return list(dict.fromkeys(links))[:_MAX_DEPENDENCIES]


def dependency_on(issue: Issue, source: DependencySource) -> Wait:
    """A dependency on an issue or pull request, in its present state."""
    reason = issue.state_reason
    if issue.pull_request:
        reason = "merged" if issue.merged else "not_merged"
    closed = issue.state != "open"
    return Wait(
        repository=issue.repository,
        number=issue.number,
        state="closed" if closed else "open",
        reason=reason if closed else None,
        said=source,
    )


def unknown_dependency(repository: str, number: int) -> Wait:
    """A dependency that the text names and GitHub does not show to this token."""
    return Wait(repository=repository, number=number, state="unknown", said="text")


# -- changes of the plan's file --


def changes(before: IssuesFile | None, after: IssuesFile) -> list[str]:
    """One line for each issue that was added, changed, removed or refused."""
    old = {issue.number: issue for issue in before.issues} if before else {}
    new = {issue.number: issue for issue in after.issues}
    added = [f"+ #{n} {issue.title}" for n, issue in new.items() if n not in old]
    changed = [
        f"~ #{n} {issue.title}"
        for n, issue in new.items()
        if n in old and _content(issue) != _content(old[n])
    ]
    removed = [f"- #{n} {issue.title}" for n, issue in old.items() if n not in new]
    refused = [
        f"! #{issue.number} is not a task: {issue.why}" for issue in after.refused
    ]
    return added + changed + removed + refused


def _content(issue: Approved) -> tuple[object, ...]:
    return issue.title, issue.body, issue.waits_for


def needs_update(before: IssuesFile | None, after: IssuesFile) -> bool:
    """Whether the file must be written again.

    A comment, such as our own, changes only the time of an issue's last update, and
    that is not worth a commit.
    """
    return before is None or _without_times(before) != _without_times(after)


def _without_times(file: IssuesFile) -> IssuesFile:
    issues = [issue.model_copy(update={"updated_at": ""}) for issue in file.issues]
    return file.model_copy(update={"issues": tuple(issues)})


# -- answers --


def answers_for(
    views: Iterable[TaskView], when_done: str, work: LandedWork
) -> list[Answer]:
    """The answers to the issues of tasks that completed or failed for good.

    `when_done` is comment, close or label. The same state gives the same answer. A task
    without an attempt gets none: a person marked it, not fanin.
    """
    answers = []
    for view in views:
        finished = view.state in {"completed", "failed"} and view.record.attempts
        if finished and view.task.id.isdecimal():
            answers.append(_answer(view, when_done, work))
    return answers


def _answer(view: TaskView, when_done: str, work: LandedWork) -> Answer:
    completed = view.record.status is Status.COMPLETED
    label = unlabel = None
    if when_done == "label":
        label, unlabel = FAILED_LABEL, DONE_LABEL
        if completed:
            label, unlabel = DONE_LABEL, FAILED_LABEL
    return Answer(
        number=int(view.task.id),
        stamp=f"{MARKER}: {view.state} {view.record.attempts} -->",
        body=_completed_text(view, work) if completed else _failed_text(view, work),
        close=completed and when_done == "close",
        label=label,
        unlabel=unlabel,
    )


def _completed_text(view: TaskView, work: LandedWork) -> str:
    commit = work.commits.get(view.task.id)
    in_commit = f" in {commit}" if commit else ""
    text = (
        f"✅ **Done**: the work is on {_branch_link(work)}{in_commit}; {_usage(view)}"
    )
    summary = cell(view.record.summary or "")
    return f"{text}\n\n{summary}" if summary else text


def _failed_text(view: TaskView, work: LandedWork) -> str:
    return (
        f"❌ **Failed for good** on {_branch_link(work)}; {_usage(view)}"
        f"\n\n{cell(view.reason)}"
        f"\n\nTo try again: edit the text if necessary, {RELABEL}, "
        f"and start the workflow with `retry: {view.task.id}`."
    )


def _branch_link(work: LandedWork) -> str:
    return f"[`{work.branch}`]({work.url})" if work.url else f"`{work.branch}`"


def _usage(view: TaskView) -> str:
    record = view.record
    parts = [f"attempt {record.attempts}"]
    if record.agent:
        parts.append(record.agent)
    if record.started and record.finished:
        parts.append(f"{seconds_between(record.started, record.finished):.0f} s")
    if record.cost_usd is not None:
        parts.append(f"${record.cost_usd:.2f}")
    return ", ".join(cell(part) for part in parts) + "."
