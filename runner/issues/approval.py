"""Which GitHub issues are tasks, with which text, and what each is told of its result.
Pure: the API is elsewhere.

Anybody may open an issue on a public repository, and its author may edit it at any
time. So an issue is a task only while it has the label, if the person who put it there
may write to the repository, and its text is the one that this person could see then:
later edits of title and body are left out, and so is what a page does not show.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from runner.core.task import Status
from runner.github_api.issue_types import MARKER, Answer, Event, History, Issue
from runner.issues.rendered_text import rendered_text
from runner.plan.formats.github_issues import Approved, IssuesFile, Refused, Wait
from runner.plan.progress import seconds_between
from runner.plan.view import TaskView
from runner.ui.job_summary import cell

DONE_LABEL, FAILED_LABEL = "fanin:done", "fanin:failed"
AGAIN = "take the label off and put it on again"
_LINK = re.compile(
    r"(?<![\w./-])(?:(?P<repository>[A-Za-z0-9][\w.-]{0,99}/[A-Za-z0-9_][\w.-]{0,99}))?#(?P<number>[1-9]\d{0,8})\b"
)
_WAITS = re.compile(
    r"[\s>*_+`-]*(?:\d+[.)][\s*_`]*)?(?:blocked by|depends on)\b[\s:*_`]*(?P<rest>.*)",
    re.IGNORECASE,
)
_MAX_WAITS = 100  # links of one text; more is no list of dependencies
# seconds for which the page may have stood open before somebody put the label on
_LOOKED_AT = 60


@dataclass(frozen=True)
class LandedWork:
    """Where the work landed, for the comment: the branch, its address, and the commits
    known by task id.
    """

    branch: str
    url: str = ""
    commits: Mapping[str, str] = field(default_factory=dict)


# -- which issues are tasks --
def labelled(events: Sequence[Event], label: str) -> Event | None:
    """The event that put the label on, if it is on: the last one that speaks of it."""
    ours = [
        event
        for event in events
        if event.label and _folded(event.label) == _folded(label)
    ]
    return ours[-1] if ours and ours[-1].kind == "labeled" else None


def approved_text(
    issue: Issue, label: str, history: History, may_write: Callable[[str], bool]
) -> Approved | Refused:
    """The issue with the text that counts, or why it is no task."""
    by = labelled(history.events, label)
    if by is None:
        return _refused(issue, "GitHub does not say who put the label on it", AGAIN)
    if by.actor is None or by.bot or not may_write(by.actor):
        who = "an account that is gone" if by.actor is None else by.actor
        reason = (
            "a bot, which vouches for nobody" if by.bot else "who may not write here"
        )
        return _refused(
            issue, f"the label is from {who}, {reason}", f"somebody who may: {AGAIN}"
        )
    if unsure := _unsure(history, by):
        return _refused(issue, unsure, AGAIN)
    title, body = title_at(history, by.at), body_at(history, by.at)
    if body is None:
        return _refused(
            issue,
            f"its history does not show its text as {by.actor} labelled it",
            AGAIN,
        )
    return Approved(
        number=issue.number,
        title=" ".join(rendered_text(title).split()) or f"Issue {issue.number}",
        body=rendered_text(body).strip(),
        url=issue.url,
        labelled_by=by.actor,
        labelled_at=by.at,
        updated_at=issue.updated_at,
    )


def _unsure(history: History, by: Event) -> str | None:
    """Why nobody can say what the person saw who put the label on."""
    if any(
        event.kind == "transferred" and event.at >= by.at for event in history.events
    ):
        return "it came from another repository after it was labelled"
    # the first one is its opening
    changes = [(edit.at, edit.by) for edit in history.edits[1:]]
    changes += [
        (event.at, event.actor) for event in history.events if event.kind == "renamed"
    ]
    for at, who in changes:
        if -_LOOKED_AT <= _seconds(by.at, at) <= 0 and (who != by.actor or at == by.at):
            return f"it was changed less than {_LOOKED_AT} s before it was labelled, or in that second"
    return None


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


def title_at(history: History, at: str) -> str:
    """The title as it stood: before the first renaming since."""
    later = [
        event for event in history.events if event.kind == "renamed" and event.at > at
    ]
    return later[0].old_title if later else history.title


def body_at(history: History, at: str) -> str | None:
    """The body as it stood; None if the history does not show it.

    GitHub lists no revisions of a body that was never edited; else the first one is the
    body as it was opened, and the last one the body as it is.
    """
    edits = history.edits
    if not edits:
        return history.body if history.edited is None else None
    if edits[-1].body is not None and _plain(edits[-1].body) != _plain(history.body):
        return None
    before = [edit for edit in edits if edit.at <= at]
    return before[-1].body if before else None


def _plain(text: str) -> str:
    return text.replace("\r\n", "\n")


def dependencies_in_text(body: str, repository: str) -> list[tuple[str, int]]:
    """What the text says it waits for: links on lines that begin with `Blocked by` or
    `Depends on`.
    """
    found = []
    for line in body.split("\n"):
        if match := _WAITS.fullmatch(line):
            found += [
                (link["repository"] or repository, int(link["number"]))
                for link in _LINK.finditer(match["rest"])
            ]
    return list(dict.fromkeys(found))[:_MAX_WAITS]


def dependency_on(issue: Issue, said: str) -> Wait:
    """An issue that another one waits for."""
    reason = (
        ("merged" if issue.merged else "not_merged")
        if issue.pull_request
        else issue.state_reason
    )
    state = "open" if issue.state == "open" else "closed"
    return Wait.model_validate(
        {
            "repository": issue.repository,
            "number": issue.number,
            "state": state,
            "reason": reason if state == "closed" else None,
            "said": said,
        }
    )


def unknown_dependency(repository: str, number: int) -> Wait:
    """Something the text names that GitHub does not show us."""
    return Wait(repository=repository, number=number, state="unknown", said="text")


def _refused(issue: Issue, why: str, remedy: str) -> Refused:
    return Refused(number=issue.number, why=f"{why}; {remedy}")


def _folded(label: str) -> str:
    return label.strip().casefold()


def changes(before: IssuesFile | None, after: IssuesFile) -> list[str]:
    """What a person should know of a new file: a line for each issue that came, went or
    changed, and each refused.
    """
    old = {issue.number: issue for issue in before.issues} if before else {}
    new = {issue.number: issue for issue in after.issues}
    lines = [f"+ #{number} {new[number].title}" for number in new if number not in old]
    lines += [
        f"~ #{n} {new[n].title}"
        for n in new
        if n in old and _content(old[n]) != _content(new[n])
    ]
    lines += [f"- #{number} {old[number].title}" for number in old if number not in new]
    return lines + [
        f"! #{refused.number} is no task: {refused.why}" for refused in after.refused
    ]


def _content(issue: Approved) -> tuple[object, ...]:
    return issue.title, issue.body, issue.waits_for


def needs_update(before: IssuesFile | None, after: IssuesFile) -> bool:
    """Whether the file is worth writing anew: comments, our own too, change nothing but
    the time of an update.
    """
    return before is None or _timeless(before) != _timeless(after)


def _timeless(file: IssuesFile) -> IssuesFile:
    issues = tuple(issue.model_copy(update={"updated_at": ""}) for issue in file.issues)
    return file.model_copy(update={"issues": issues})


# -- what each is told --
def answers_for(
    views: Iterable[TaskView], when_done: str, place: LandedWork
) -> list[Answer]:
    """What the issues of finished tasks are told: completed, or failed for good. One
    state, one answer.
    """
    found = []
    for view in views:
        if (
            view.state not in {"completed", "failed"}
            or not view.record.attempts
            or not view.task.id.isdecimal()
        ):
            continue
        done = view.record.status is Status.COMPLETED
        found.append(
            Answer(
                int(view.task.id),
                f"{MARKER}: {view.state} {view.record.attempts} -->",
                _told(view, place, done=done),
                close=done and when_done == "close",
                label=(DONE_LABEL if done else FAILED_LABEL)
                if when_done == "label"
                else None,
                unlabel=(FAILED_LABEL if done else DONE_LABEL)
                if when_done == "label"
                else None,
            )
        )
    return found


def _told(view: TaskView, place: LandedWork, *, done: bool) -> str:
    record = view.record
    used = [f"attempt {record.attempts}", record.agent or ""]
    if record.started and record.finished:
        used.append(f"{seconds_between(record.started, record.finished):.0f} s")
    used.append(f"${record.cost_usd:.2f}" if record.cost_usd is not None else "")
    spent = f"{', '.join(cell(part) for part in used if part)}."
    where = f"[`{place.branch}`]({place.url})" if place.url else f"`{place.branch}`"
    if done:
        commit = place.commits.get(view.task.id)
        landed = f"✅ **Done**: the work is on {where}{f' in {commit}' if commit else ''}; {spent}"
        return "\n\n".join(
            part for part in (landed, cell(record.summary or "")) if part
        )
    return (
        f"❌ **Failed for good** on {where}; {spent}\n\n{cell(view.reason)}\n\n"
        f"Another attempt: change the text if it must, {AGAIN}, and start the workflow with `retry: {view.task.id}`."
    )
