"""Which GitHub issues are tasks, with which text, and what each is told of its result. Pure: the API is elsewhere.

Anybody may open an issue on a public repository, and its author may edit it at any time. So an issue is a task only
while it has the label, if the person who put it there may write to the repository, and its text is the one that this
person could see then: later edits of title and body are left out, and so is what a page does not show.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from runner.models import Status
from runner.pictures import View
from runner.progress import seconds_between
from runner.sources.github_issues import Approved, IssuesFile, Refused, Wait
from runner.summary import cell

MARKER = "<!-- fanin issue"
DONE_LABEL, FAILED_LABEL = "fanin:done", "fanin:failed"
WRITERS = frozenset({"admin", "maintain", "write"})  # of GitHub's permissions of a collaborator
AGAIN = "take the label off and put it on again"

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
# Characters a page does not show: zero width, soft hyphen, tags (U+E0000…), variation selectors' supplement.
_UNSEEN = re.compile("[\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufeff\U000e0000-\U000e01ef]")
_DEFINITION = re.compile(r" {0,3}\[[^\]]+\]:[ \t]*(?P<target><[^>]*>|\S+)[ \t]*(?P<title>[\"'(].*)?")
_LINK = re.compile(r"(?:(?P<repository>[\w.-]+/[\w.-]+))?#(?P<number>[1-9]\d{0,8})\b")
_WAITS = re.compile(r"[\s>*_+-]*(?:\d+[.)]\s*)?[*_`]*(?:blocked by|depends on)\b[\s:*_`]*(?P<rest>.*)", re.IGNORECASE)
_MAX_WAITS = 100  # links of one text; more is no list of dependencies


@dataclass(frozen=True)
class Issue:
    """An issue as GitHub gives it now; `blocked_by` and `sub_issues` say how many it has, None if GitHub does not say.

    Times are ISO 8601 UTC with seconds. `merged` is for pull requests, which have numbers of the same series.
    """

    number: int
    title: str
    body: str
    url: str
    updated_at: str
    repository: str = ""
    state: str = "open"
    state_reason: str | None = None
    pull_request: bool = False
    merged: bool = False
    blocked_by: int | None = None
    sub_issues: int | None = None


@dataclass(frozen=True)
class Event:
    """Something that happened to an issue: labeled, unlabeled or renamed; other kinds are passed over."""

    kind: str
    at: str
    actor: str | None
    label: str = ""
    old_title: str = ""


@dataclass(frozen=True)
class Edit:
    """A state of the body: what it was from `at` on; None if that revision was deleted from the history."""

    at: str
    body: str | None


@dataclass(frozen=True)
class Answer:
    """What one issue is told: a comment that begins with `stamp`, and what is done to it before."""

    number: int
    stamp: str
    body: str
    close: bool = False
    label: str | None = None


@dataclass(frozen=True)
class Place:
    """Where the work landed, for the comment: the branch, its address, and the commits known by task id."""

    branch: str
    url: str = ""
    commits: Mapping[str, str] = field(default_factory=dict)


# -- which issues are tasks -----------------------------------------------------------------------------------------


def labelled(events: Sequence[Event], label: str) -> Event | None:
    """The event that put the label on, if it is on: the last one that speaks of it."""
    ours = [event for event in events if _folded(event.label) == _folded(label)]
    last = max(ours, key=lambda event: event.at, default=None)
    return last if last is not None and last.kind == "labeled" else None


def vouched(
    issue: Issue,
    label: str,
    events: Sequence[Event],
    edits: Sequence[Edit],
    may_write: Callable[[str], bool],
) -> Approved | Refused:
    """The issue with the text that counts, or why it is no task. `events` and `edits` are all there are."""
    by = labelled(events, label)
    if by is None:
        return _refused(issue, "GitHub does not say who put the label on it", AGAIN)
    if by.actor is None or not may_write(by.actor):
        who = by.actor or "an account that is gone"
        return _refused(issue, f"the label is from {who}, who may not write here", f"somebody who may: {AGAIN}")
    body = body_at(issue.body, edits, by.at)
    if body is None:
        return _refused(issue, f"its history does not show its text as {by.actor} labelled it", AGAIN)
    return Approved(
        number=issue.number,
        title=seen(title_at(issue.title, events, by.at)).strip() or f"Issue {issue.number}",
        body=seen(body).strip(),
        url=issue.url,
        labelled_by=by.actor,
        labelled_at=by.at,
        updated_at=issue.updated_at,
    )


def title_at(title: str, events: Sequence[Event], at: str) -> str:
    """The title as it stood: before the first renaming since. A renaming in the same second counts as later."""
    later = [event for event in events if event.kind == "renamed" and event.at >= at]
    return min(later, key=lambda event: event.at).old_title if later else title


def body_at(body: str, edits: Sequence[Edit], at: str) -> str | None:
    """The body as it stood; None if the history does not show it, or an edit in the very second makes it unsure.

    GitHub lists no edits of a body that was never edited; else the first one is the body as it was opened.
    """
    if not any(edit.at >= at for edit in edits):
        return body
    if any(edit.at == at for edit in edits):
        return None
    before = [edit for edit in edits if edit.at < at]
    return max(before, key=lambda edit: edit.at).body if before else None


def seen(text: str) -> str:
    """The text as a page shows it: without HTML comments outside of code, and without characters that take no room."""
    parts: list[str] = []
    prose: list[str] = []
    fence = ""
    for line in text.replace("\r\n", "\n").split("\n"):
        mark = _FENCE.match(line)
        if fence:
            parts.append(line)
            fence = "" if mark and line.strip() == mark[1] and mark[1].startswith(fence) else fence
        elif mark and not _opens_comment(prose):
            parts += [_without_comments(prose), line] if prose else [line]
            prose, fence = [], mark[1]
        else:
            prose.append(line)
    parts += [_without_comments(prose)] if prose else []
    return _UNSEEN.sub("", "\n".join(parts))


def _opens_comment(lines: Sequence[str]) -> bool:
    text = "\n".join(lines)
    return text.rfind("<!--") > text.rfind("-->")


def _without_comments(lines: Sequence[str]) -> str:
    """Without comments, and without link definitions that define nothing and the titles of the others."""
    kept = []
    for line in _COMMENT.sub("", "\n".join(lines)).split("\n"):
        definition = _DEFINITION.fullmatch(line)
        if definition is None:
            kept.append(line)
        elif definition["target"] not in {"#", "<>"}:
            kept.append(line[: definition.end("target")])
    return "\n".join(kept)


def mentioned(body: str, repository: str) -> list[tuple[str, int]]:
    """What the text says it waits for: links on lines that begin with `Blocked by` or `Depends on`."""
    found = []
    for line in body.splitlines():
        if match := _WAITS.fullmatch(line):
            found += [(link["repository"] or repository, int(link["number"])) for link in _LINK.finditer(match["rest"])]
    return list(dict.fromkeys(found))[:_MAX_WAITS]


def wait_for(issue: Issue, said: str) -> Wait:
    """An issue that another one waits for."""
    reason = ("merged" if issue.merged else "not_merged") if issue.pull_request else issue.state_reason
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


def unseen_wait(repository: str, number: int) -> Wait:
    """Something the text names that GitHub does not show us."""
    return Wait(repository=repository, number=number, state="unknown", said="text")


def _refused(issue: Issue, why: str, remedy: str) -> Refused:
    return Refused(number=issue.number, title=seen(issue.title), why=f"{why}; {remedy}")


def _folded(label: str) -> str:
    return label.strip().casefold()


def changes(before: IssuesFile | None, after: IssuesFile) -> list[str]:
    """What a person should know of a new file: a line for each issue that came, went or changed, and each refused."""
    old = {issue.number: issue for issue in before.issues} if before else {}
    new = {issue.number: issue for issue in after.issues}
    lines = [f"+ #{number} {new[number].title}" for number in new if number not in old]
    lines += [f"~ #{n} {new[n].title}" for n in new if n in old and _content(old[n]) != _content(new[n])]
    lines += [f"- #{number} {old[number].title}" for number in old if number not in new]
    return lines + [f"! #{refused.number} is no task: {refused.why}" for refused in after.refused]


def _content(issue: Approved) -> tuple[object, ...]:
    return issue.title, issue.body, issue.waits_for


# -- what each is told ----------------------------------------------------------------------------------------------


def answers(views: Iterable[View], when_done: str, place: Place) -> list[Answer]:
    """What the issues of finished tasks are told: completed, or failed for good. One state, one answer."""
    found = []
    for view in views:
        if view.state not in {"completed", "failed"} or not view.record.attempts or not view.task.id.isdecimal():
            continue
        done = view.record.status is Status.COMPLETED
        found.append(
            Answer(
                int(view.task.id),
                f"{MARKER}: {view.state} {view.record.attempts} -->",
                _told(view, place, done=done),
                close=done and when_done == "close",
                label=(DONE_LABEL if done else FAILED_LABEL) if when_done == "label" else None,
            )
        )
    return found


def _told(view: View, place: Place, *, done: bool) -> str:
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
        return "\n\n".join(part for part in (landed, cell(record.summary or "")) if part)
    return (
        f"❌ **Failed for good** on {where}; {spent}\n\n{cell(view.reason)}\n\n"
        f"Another attempt: change the text if it must, {AGAIN}, and start the workflow with `retry: {view.task.id}`."
    )
