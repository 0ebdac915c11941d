"""The summary of a round and the pull request's comment: what a person must see is first.

Pure. Every text of a plan, an agent or a log is escaped.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from runner.core.fanin_commands import typed
from runner.core.plurals import pluralize
from runner.core.result import Failure, FailureKind
from runner.core.rough_time import cost
from runner.plan.view import TaskView, counts
from runner.ui.attempt_text import (
    MAX_LOG_LINES,
    duration,
    end_of_log,
    failure_kind,
    failure_text,
)
from runner.ui.diagrams import is_readable, mermaid
from runner.ui.markdown import (
    block,
    cell,
    code,
    folded,
    html,
    line_breaks,
    paragraphs,
    shortened,
    table,
    with_links,
)
from runner.ui.states import LOOKS

MARKER = "<!-- fanin -->"

# GitHub drops a larger summary or comment. The rest is for what others add.
SUMMARY_LIMIT = 1_000_000  # bytes
COMMENT_LIMIT = 64_000  # bytes; GitHub counts 65,536 characters

_MAX_TITLE, _MAX_REASON = 80, 200  # characters
_MAX_IDS = 12  # in a sentence
_MAX_OPEN_LOGS = 5
_MAX_WARNINGS = 20
_MAX_OPEN_ROWS = 20
_AGAIN = "🔁"


@dataclass(frozen=True)
class RoundReport:
    """The outcome of one round.

    `number` counts the rounds of a run from 1. `commit` is the commit that landed,
    `landed` the ids of the tasks in it. `jobs` are the jobs of this round's attempts by
    task id, as in `Result.job`. `repository_url` and `run_url` are addresses, "" if
    unknown. `acceptable`: task id → the commit with work that a person may accept.
    `has_comments`: there is a pull request on which commands count, if the
    repository has the workflow for them. `note`, `warnings`, `usage` and `next_step` are
    sentences for people.
    """

    batch: str
    branch: str
    number: int | None = None
    commit: str | None = None
    landed: Sequence[str] = ()
    failed: Mapping[str, Failure] = field(default_factory=dict)
    jobs: Mapping[str, str] = field(default_factory=dict)
    acceptable: Mapping[str, str] = field(default_factory=dict)
    repository_url: str = ""
    run_url: str = ""
    has_comments: bool = False
    note: str = ""
    warnings: Sequence[str] = ()
    usage: str = ""
    next_step: str = ""


# GitHub lets the checks of a push by GITHUB_TOKEN to a pull request wait (docs "When
# GITHUB_TOKEN triggers workflow runs", June 2026); those of other tokens start at once.
_APPROVAL = (
    "<sub>If the checks of this commit wait, start them with "
    "*Approve workflows to run*.</sub>"
)


# Of a task whose attempt failed, by the state that it has now.
_NEXT_STEPS = {
    "held": "merge or close the pull request that holds its work.",
    "completed": "nothing: the task is done.",
    "gated": "approve it; no other attempt starts before.",
}


@dataclass(frozen=True)
class _Detail:
    """The detail of a summary: failures, lines of each log, rows of each table."""

    failures: int
    log_lines: int
    rows: int


# The first that fits is shown.
_DETAILS = (
    _Detail(failures=256, log_lines=MAX_LOG_LINES, rows=1_000),
    _Detail(failures=256, log_lines=5, rows=300),
    _Detail(failures=50, log_lines=5, rows=100),
    _Detail(failures=20, log_lines=0, rows=50),
    _Detail(failures=5, log_lines=0, rows=20),
)


def round_summary(
    views: Sequence[TaskView], report: RoundReport, limit: int = SUMMARY_LIMIT
) -> str:
    """The summary of a round, and of the plan after it, at most `limit` bytes."""
    text = ""
    for detail in _DETAILS:
        text = _RoundPage(views, report, detail).text()
        if len(text.encode()) <= limit:
            break
    return text


def round_start(
    views: Sequence[TaskView], report: RoundReport, task_ids: Sequence[str]
) -> str:
    """The summary of a round that starts these tasks."""
    page = _RoundPage(views, report, _DETAILS[-1])
    agents = pluralize(len(task_ids), "agent")
    return paragraphs([f"## {page.headline()}", f"Starts {agents}: {_ids(task_ids)}."])


def not_done(views: Sequence[TaskView], rows: int) -> str:
    """The table of the unfinished tasks with the reasons, at most so many `rows`."""
    detail = _Detail(failures=0, log_lines=0, rows=rows)
    return _RoundPage(views, RoundReport("", ""), detail).unfinished()


def tally(views: Sequence[TaskView]) -> str:
    """The number of tasks in each state: the legend of the icons too."""
    states = counts(views)
    figures = [
        f"{look.icon} {states[state]} {look.word}"
        for state, look in LOOKS.items()
        if state in states
    ]
    return " · ".join(figures)


def sticky_comment(views: Sequence[TaskView], report: RoundReport) -> str:
    """The pull request's comment. `MARKER` tells which comment to update."""
    approval = f"\n{_APPROVAL}\n" if report.commit else ""
    limit = COMMENT_LIMIT - len(MARKER) - 1 - len(approval)
    return f"{MARKER}\n{round_summary(views, report, limit)}{approval}"


class _RoundPage:
    """The page of one round, in one degree of detail."""

    def __init__(
        self, views: Sequence[TaskView], report: RoundReport, detail: _Detail
    ) -> None:
        self._views = views
        self._report = report
        self._detail = detail
        self._by_id = {view.task.id: view for view in views}
        self._completed = {view.task.id for view in views if view.state == "completed"}

    def text(self) -> str:
        parts = [
            f"## {self.headline()}",
            tally(self._views),
            self._note(),
            self._warnings(),
            self._what_happened(),
            self._questions(),
            self._failures(),
            self._earlier_failures(),
            self.unfinished(),
            self._finished(),
            self._graph(),
            self._legend(),
            self._footer(),
        ]
        return paragraphs(parts)

    def headline(self) -> str:
        """E.g. `Round 4: 5 of 12 done, 1 failed`."""
        states = counts(self._views)
        figures = [f"{len(self._completed)} of {len(self._views)} done"]
        if "failed" in states:
            figures.append(f"{states['failed']} failed")
        if "asking" in states:
            figures.append(f"{states['asking']} asking")
        again = 0
        for task_id in self._report.failed:
            again += self._state(task_id) not in {"failed", "asking"}
        if again:
            figures.append(f"{again} to try again")
        title = "Fanin"
        if self._report.number is not None:
            title = f"Round {self._report.number}"
        return f"{title}: {', '.join(figures)}"

    def _state(self, task_id: str) -> str:
        """The task's state; "" if it has left the plan."""
        view = self._by_id.get(task_id)
        return view.state if view is not None else ""

    def _has_failed(self, task_id: str) -> bool:
        return self._state(task_id) == "failed"

    def _warnings(self) -> str:
        warnings = self._report.warnings
        lines = [f"- ⚠️ {html(text)}" for text in warnings[:_MAX_WARNINGS]]
        if len(warnings) > len(lines):
            lines.append(
                f"- and {pluralize(len(warnings) - len(lines), 'more warning')}"
            )
        return "\n".join(lines)

    def _note(self) -> str:
        """The note, with a link for each address of a page of the repository."""
        return with_links(self._report.note, self._report.repository_url)

    def _what_happened(self) -> str:
        """A line each for what landed, what it used, and what comes next."""
        report = self._report
        lines = []
        if report.commit is not None:
            lines.append(f"**Landed:** {self._landed(report.commit)}")
        lines.append(_labelled("Usage", report.usage))
        lines.append(_labelled("Next", report.next_step))
        return line_breaks(lines)

    def _landed(self, commit: str) -> str:
        report = self._report
        link = f"`{commit[:10]}`"
        if report.repository_url:
            link = f"[{link}]({report.repository_url}/commit/{commit})"
        commit_and_branch = f"{link} on `{code(report.branch)}`"
        if report.landed:
            return f"{_ids(report.landed)} in {commit_and_branch}."
        return f"no work; {commit_and_branch} records the failed attempts."

    # -- questions --

    def _questions(self) -> str:
        """What agents ask, of this round and before, and how to answer."""
        asking = [view for view in self._views if view.state == "asking"]
        parts = []
        for view in asking[: self._detail.failures]:
            question = view.record.open_question
            if question is None:
                continue
            parts.append(self._failure_heading(view.task.id))
            parts.append("Its agent asks:")
            parts.append(block(question.text))
            parts.append(self._how_to_answer(view.task.id))
        if len(asking) > self._detail.failures:
            parts.append(and_more(len(asking) - self._detail.failures, "question"))
        return "\n\n".join(parts)

    def _how_to_answer(self, task_id: str) -> str:
        command = code(typed("reply", [task_id], last='"…"'))
        text = f"`{command}` in a clone, then push the commit."
        if self._report.has_comments:
            text = f"the comment `/{command}` on the pull request, or {text}"
        return f"**To answer:** {text}"

    # -- failures --

    def _failures(self) -> str:
        """The failures of this round, each with the end of its log and the next step."""
        failed = self._report.failed
        ids = [task_id for task_id in failed if self._state(task_id) != "asking"]
        # What needs a person comes before what is tried again.
        ids.sort(key=lambda task_id: not self._has_failed(task_id))
        ids_in_full = ids[: self._detail.failures]
        parts = []
        for position, task_id in enumerate(ids_in_full):
            failure = failed[task_id]
            parts.append(self._failure_heading(task_id))
            parts.append(self._failure_body(task_id, failure, self._log_link(task_id)))
            log = end_of_log(
                failure, self._detail.log_lines, opened=position < _MAX_OPEN_LOGS
            )
            parts.append(log)
        if len(ids_in_full) < len(ids):
            parts.append(and_more(len(ids) - len(ids_in_full), "failure"))
        return "\n\n".join(part for part in parts if part)

    def _failure_heading(self, task_id: str) -> str:
        view = self._by_id.get(task_id)
        if view is None:
            return f"### ❌ {cell(task_id)}"
        icon = _failure_icon(view)
        title = cell(shortened(view.task.title, _MAX_TITLE))
        return f"### {icon} {cell(task_id)}: {title}"

    def _failure_body(self, task_id: str, failure: Failure, link: str) -> str:
        next_step = f"**Next:** {self._next_step(task_id, failure)}"
        lines = [failure_text(failure), next_step, self._how_to_accept(task_id), link]
        return line_breaks(lines)

    def _how_to_accept(self, task_id: str) -> str:
        """How a person lets refused work land; "" if nobody can from here."""
        kept = self._report.acceptable.get(task_id)
        if kept is None:
            return ""
        quoted = shlex.quote(task_id)
        command = code(typed("accept", [task_id], f"--from {kept}"))
        text = f"`{command}` in a clone"
        if self._report.has_comments and quoted == task_id:
            comment = code(f"/{typed('accept', [task_id], last=kept)}")
            text = f"the comment `{comment}` on the pull request, or {text}"
        return f"**To let it land:** {text}"

    def _log_link(self, task_id: str) -> str:
        """The log of an attempt of this round: its job, or else the run's page."""
        link = self._job_link(self._report.jobs.get(task_id, ""), "Log of its job")
        if not link and self._report.run_url:
            run = f"[this run]({self._report.run_url})"
            return f"Log: job “task {cell(task_id)}” of {run}"
        return link

    def _next_step(self, task_id: str, failure: Failure) -> str:
        view = self._by_id.get(task_id)
        if view is None:
            return "nothing: the task has left the plan."
        if view.state in _NEXT_STEPS:
            return _NEXT_STEPS[view.state]
        retry = f"start the workflow with `retry: {code(task_id)}`"
        if view.state == "failed":
            cause = "fix the cause in the plan, the prompt or the settings"
            if not failure.retryable:
                return (
                    f"another attempt would end the same. First {cause}, then {retry}."
                )
            return f"no attempt is left. To grant one more, {cause} and {retry}."
        if failure.kind is FailureKind.NOT_READY:
            return "provide what is missing and start the workflow again."
        if failure.kind is FailureKind.BASE_RED:
            return "make the branch itself pass, then start the workflow again."
        if not failure.counted:
            return "it is tried again, and this attempt does not count."
        if failure.excused:
            return (
                "it is tried again with this conflict in its prompt, and not beside "
                "tasks that change the same files."
            )
        return "it is tried again by itself, with this error in its prompt."

    def _earlier_failures(self) -> str:
        """Failures of earlier rounds that no later attempt has made good."""
        views = [
            view
            for view in self._with_failure()
            if view.task.id not in self._report.failed
        ]
        if not views:
            return ""
        views.sort(key=lambda view: view.state != "failed")
        parts = ["### Failed in earlier rounds"]
        in_full = views[: self._detail.failures]
        for view in in_full:
            failure = view.record.error
            assert failure is not None
            icon = _failure_icon(view)
            title = f"{icon} {html(view.task.id)}: {failure_kind(failure)}"
            link = self._job_link(view.record.job or "", "Log of its job")
            body = self._failure_body(view.task.id, failure, link)
            log = end_of_log(failure, self._detail.log_lines, opened=True)
            parts.append(folded(title, f"{body}\n\n{log}".rstrip()))
        if len(in_full) < len(views):
            parts.append(and_more(len(views) - len(in_full), "failure"))
        return "\n\n".join(parts)

    # -- tables --

    def unfinished(self) -> str:
        """The table of what is not completed, with the reasons; "" if all is."""
        views = [view for view in self._views if view.state != "completed"]
        if not views:
            return ""
        # States in the order of their looks: what a person must see comes first.
        order = list(LOOKS)
        views.sort(key=lambda view: order.index(view.state))
        rows = []
        for view in views[: self._detail.rows]:
            look = LOOKS[view.state]
            rows.append((look.icon, look.word, task_cell(view), self._reason(view)))
        text = table(("", "state", "task", "why"), rows)
        if len(rows) < len(views):
            text += f"\n\n{and_more(len(views) - len(rows), 'task')}"
        if len(views) > _MAX_OPEN_ROWS:
            text = folded(f"{len(views)} tasks", text)
        # A heading in any case: what stands above has one too.
        return f"### Not done\n\n{text}"

    def _reason(self, view: TaskView) -> str:
        if view.record.error is not None and view.state in {"failed", "ready"}:
            error = view.record.error
            what = cell(shortened(error.message.partition("\n")[0], _MAX_REASON))
            if error.kind is not FailureKind.CONFLICT:  # its message says so itself
                what = f"{failure_kind(error)}: {what}"
            return f"attempt {view.record.attempts}: {what}"
        if view.reason:
            return cell(shortened(view.reason, _MAX_REASON))
        if view.state != "pending":
            return ""
        missing = [
            task_id for task_id in view.task.waits_for if task_id not in self._completed
        ]
        return f"after {_ids(missing)}" if missing else ""

    def _finished(self) -> str:
        views = [view for view in self._views if view.state == "completed"]
        if not views:
            return ""
        look = LOOKS["completed"]
        rows = [self._finished_row(view) for view in views[: self._detail.rows]]
        text = table(("", "task", "attempts", "time", "cost", "log"), rows)
        if len(rows) < len(views):
            text += f"\n\n{and_more(len(views) - len(rows), 'task')}"
        summary = f"{look.icon} {pluralize(len(views), 'task')}"
        return f"### Done\n\n{folded(summary, text)}"

    def _finished_row(self, view: TaskView) -> tuple[str, ...]:
        record = view.record
        task = task_cell(view)
        if record.skipped:
            task += " (skipped as satisfied)"
        attempts = str(record.attempts) if record.attempts > 1 else ""
        return (
            LOOKS[view.state].icon,
            task,
            attempts,
            duration(record.seconds),
            cost(record.cost_usd),
            self._job_link(record.job or "", "job"),
        )

    # -- the rest --

    def _job_link(self, job: str, text: str) -> str:
        return job_link(job, text, self._report.repository_url)

    def _graph(self) -> str:
        if not is_readable(self._views):
            return ""
        return f"```mermaid\n{mermaid(self._views)}```"

    def _footer(self) -> str:
        parts = [f"Batch {cell(self._report.batch)} on `{code(self._report.branch)}`"]
        if self._report.run_url:
            parts.append(f"[this run]({self._report.run_url}), one job for each task")
        if not is_readable(self._views) and len(self._views) > 1:
            parts.append("draw the graph with `fanin graph`")
        return f"<sub>{' · '.join(parts)}</sub>"

    def _legend(self) -> str:
        """The meanings of the states whose words do not explain themselves."""
        states = counts(self._views)
        meanings = [
            f"{look.icon} {look.word}: {look.meaning}"
            for state, look in LOOKS.items()
            if state in states and look.meaning
        ]
        if any(_failure_icon(view) == _AGAIN for view in self._with_failure()):
            meanings.append(f"{_AGAIN} failed, and may be tried again")
        return f"<sub>{' · '.join(meanings)}</sub>" if meanings else ""

    def _with_failure(self) -> list[TaskView]:
        """The tasks whose latest attempt has failed, in this round or before."""
        return [
            view
            for view in self._views
            if view.task.id in self._report.failed
            or (view.record.error is not None and view.state != "completed")
        ]


def job_link(job: str, text: str, repository_url: str) -> str:
    """A link to the page of a job, `RUN/JOB`; "" if the address is unknown."""
    if not job or not repository_url:
        return ""
    run, _, job_id = job.partition("/")
    return f"[{text}]({repository_url}/actions/runs/{run}/job/{job_id})"


def _labelled(label: str, text: str) -> str:
    return f"**{label}:** {cell(text)}" if text else ""


def _failure_icon(view: TaskView) -> str:
    """The state's icon, or that of another attempt if one follows."""
    return _AGAIN if view.state in {"ready", "pending"} else LOOKS[view.state].icon


def _ids(task_ids: Sequence[str]) -> str:
    text = cell(", ".join(task_ids[:_MAX_IDS]))
    if len(task_ids) > _MAX_IDS:
        text += f" and {len(task_ids) - _MAX_IDS} more"
    return text


def and_more(count: int, noun: str) -> str:
    """The last line of a list that has been cut."""
    return f"… and {pluralize(count, noun)} more, which `fanin status` shows."


def task_cell(view: TaskView) -> str:
    """A task's id and title."""
    title = shortened(view.task.title, _MAX_TITLE)
    return f"{cell(view.task.id)}: {cell(title)}"
