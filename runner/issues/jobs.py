"""The work of `fanin collect` and `fanin answer`.

`collect` writes the labelled issues into the plan's file; `answer` comments the results
on the issues. `approval` decides; the API and the branch arrive as arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from runner.actions.publisher import TRIES
from runner.core.errors import EXIT_DONE, EnvironmentBroken, InvalidInput, UsageProblem
from runner.core.task import ISSUES_PATH, PlanSettings
from runner.github_api.issue_types import Issue
from runner.issues import approval
from runner.issues.approval import LandedWork
from runner.plan import view
from runner.plan.formats import check_options
from runner.plan.formats.github_issues import (
    NAME,
    Approved,
    GithubIssues,
    IssuesFile,
    Refused,
    Wait,
    parse,
    render,
)
from runner.ui import job_summary

if TYPE_CHECKING:
    from runner.actions.publisher import Publisher
    from runner.actions.round_state import RoundState
    from runner.actions.workflow_io import JobIO, WorkflowContext
    from runner.config.settings import Settings
    from runner.github_api.issues import IssueApi
    from runner.repo.remote import Remote
    from runner.repo.repository import Repository

LABEL = "fanin"
SUBJECT = "Take over the labelled issues"


@dataclass(frozen=True)
class IssueOptions:
    """The options of a plan of issues.

    `label` makes an issue a task; `milestone` is a title or number, None for any.
    `when_done`: comment, close or label.
    """

    label: str = LABEL
    milestone: str | None = None
    when_done: str = "comment"


def issue_options(options: Mapping[str, str]) -> IssueOptions:
    """Read the options of the setting `plan`. Raises InvalidInput for an unknown one."""
    plan = PlanSettings(path=ISSUES_PATH, source=NAME, options=dict(options))
    check_options(GithubIssues(), plan)
    return IssueOptions(
        label=options.get("label") or LABEL,
        milestone=options.get("milestone") or None,
        when_done=options.get("when_done") or "comment",
    )


# -- collect --


def collect_issues(
    api: IssueApi, before: IssuesFile | None, options: IssueOptions
) -> IssuesFile:
    """Read the labelled issues; return the plan's file as it should be now.

    The text of an issue that GitHub says is unchanged since `before` is not read again.
    So pass `before` only if this run itself wrote that file.
    """
    previous: dict[int, Approved] = {}
    if before is not None and _same_query(before, api, options):
        previous = {issue.number: issue for issue in before.issues}

    tasks = list[tuple[Issue, Approved]]()
    refused = list[Refused]()
    for issue in api.labelled(options.label, options.milestone):
        answer = _approve(api, issue, previous.get(issue.number), options.label)
        if isinstance(answer, Refused):
            refused.append(answer)
        else:
            tasks.append((issue, answer))

    dependencies = _Dependencies(api, {issue.number: issue for issue, _ in tasks})
    approved_issues = [
        approved.model_copy(update={"waits_for": dependencies.of(issue, approved)})
        for issue, approved in tasks
    ]
    return IssuesFile(
        fanin=NAME,
        version=1,
        repository=api.repository,
        label=options.label,
        milestone=options.milestone,
        issues=tuple(approved_issues),
        refused=tuple(refused),
    )


def _same_query(before: IssuesFile, api: IssueApi, options: IssueOptions) -> bool:
    return before.repository == api.repository and before.label == options.label


def _approve(
    api: IssueApi, issue: Issue, previous: Approved | None, label: str
) -> Approved | Refused:
    unchanged = previous is not None and previous.updated_at == issue.updated_at
    # Losing write access does not update an issue.
    if previous is not None and unchanged and api.may_write(previous.labelled_by):
        return previous
    history = api.history(issue.number)
    return approval.approved_text(issue, label, history, api.may_write)


@dataclass(frozen=True)
class _Dependencies:
    """Looks up what issues wait for.

    `listed`: the issues whose state is known, by number. Each of the others is asked
    for once and kept in `fetched`.
    """

    api: IssueApi
    listed: Mapping[int, Issue]
    fetched: dict[tuple[str, int], Issue | None] = field(default_factory=dict)

    def of(self, issue: Issue, approved: Approved) -> tuple[Wait, ...]:
        """The dependencies of an issue: by GitHub's relations, then by its text."""
        waits: dict[tuple[str, int], Wait] = {}
        for blocker in self.api.blocked_by(issue):
            wait = approval.dependency_on(blocker, "blocked_by")
            waits.setdefault(_key(blocker.repository, blocker.number), wait)
        for child in self.api.sub_issues(issue):
            wait = approval.dependency_on(child, "sub_issue")
            waits.setdefault(_key(child.repository, child.number), wait)
        links = approval.dependencies_in_text(approved.body, self.api.repository)
        for repository, number in links:
            if _key(repository, number) not in waits:
                waits[_key(repository, number)] = self._linked(repository, number)
        # An issue that names itself does not wait for itself.
        waits.pop(_key(self.api.repository, issue.number), None)
        return tuple(waits.values())

    def _linked(self, repository: str, number: int) -> Wait:
        issue = None
        if repository.casefold() == self.api.repository.casefold():
            issue = self.listed.get(number)
        if issue is None:
            issue = self._fetch(repository, number)
        if issue is None:
            return approval.unknown_dependency(repository, number)
        return approval.dependency_on(issue, "text")

    def _fetch(self, repository: str, number: int) -> Issue | None:
        key = _key(repository, number)
        if key not in self.fetched:
            self.fetched[key] = self.api.issue(repository, number)
        return self.fetched[key]


def _key(repository: str, number: int) -> tuple[str, int]:
    return repository.casefold(), number


def parse_previous(path: str, text: str | None) -> IssuesFile | None:
    """Parse the plan's file; None if it is missing (`text` None) or invalid.

    Raises UsageProblem if it is another plan, which must not be overwritten.
    """
    if text is None:
        return None
    if not GithubIssues().looks_like(text):
        raise UsageProblem(
            f"{path} was not written by  fanin collect, so it is not overwritten",
            "name another file:  plan: {source: github-issues, path: .fanin/issues.json}",
        )
    try:
        return parse(path, text)
    except InvalidInput:
        return None


def collect_job(
    repo: Repository,
    settings: Settings,
    state: RoundState,
    job_io: JobIO,
    remote: Remote,
    api: IssueApi,
    publisher: Publisher,
    *,
    dry_run: bool = False,
) -> int:
    """Commit the labelled issues to the branch and report them; return the exit code.

    No commit is made for a dry run, or if nothing changed.
    """
    from runner.actions.next_job import refuse_unmerged_run

    path = settings.plan.path
    head = remote.fetch(publisher.branch)
    before = parse_previous(path, _decode(repo.file(head, path)))
    if state.round == 1:
        refuse_unmerged_run(repo, remote, settings, head)
    written_by_this_run = before if state.round > 1 else None
    options = issue_options(settings.plan.options)
    after = collect_issues(api, written_by_this_run, options)
    commit = None
    if approval.needs_update(before, after) and not dry_run:
        commit = _land(repo, remote, publisher, path, render(after), head)

    pull_requests = {**state.pull_requests, **publisher.pull_requests}
    next_state = state.model_copy(
        update={"branch": publisher.branch, "pull_requests": pull_requests}
    )
    job_io.output(
        {
            "branch": publisher.branch,
            "state": next_state.model_dump_json(),
            "commit": commit or "",
            "plan": path,
            "progress": settings.progress,
        }
    )
    changes = approval.changes(before, after)
    job_io.summary(
        job_summary.collection_summary(after.repository, changes, len(after.issues))
    )
    for refused in after.refused:
        message = f"#{refused.number} is not a task: {refused.why}"
        job_io.annotate("warning", message, title="fanin")
    for sentence in publisher.open_pull_requests(publisher.pull_requests):
        job_io.annotate("notice", sentence, title="fanin")
    return EXIT_DONE


def _land(
    repo: Repository,
    remote: Remote,
    publisher: Publisher,
    path: str,
    text: str,
    head: str,
) -> str | None:
    """Commit the file to the branch, again whenever the branch moves.

    Returns the commit; None if the branch has that text already.
    """
    for _ in range(TRIES):
        if _decode(repo.file(head, path)) == text:
            return None
        commit = repo.commit_files(head, {path: text.encode()}, f"{SUBJECT}\n")
        update = publisher.put([commit], head)
        if update.landed:
            return commit
        if update.refused:
            publisher.switch_branch(update)
        head = remote.fetch(publisher.branch)
    raise EnvironmentBroken(
        f"{publisher.branch} moved {TRIES} times while {path} was committed",
        "re-run this job when the branch is quiet",
    )


def _decode(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "replace")


# -- answer --


@dataclass
class AnswerReport:
    """Issues that got a new answer, as `#7`, and a message for each that could not."""

    answered: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def answer_job(
    repo: Repository,
    settings: Settings,
    head: str,
    branch: str,
    api: IssueApi,
    job_io: JobIO,
    context: WorkflowContext,
) -> int:
    """Answer the issues of finished tasks; return the exit code.

    An issue that cannot be answered is a warning: the work has landed by now.
    """
    url = f"{context.server_url}/{context.repository}/commits/{quote(branch)}"
    work = LandedWork(branch, url, repo.landing_commits(head))
    report = post_answers(repo, settings, head, api, work)
    for message in report.failures:
        job_io.annotate("warning", message, title="fanin")
    answered = ", ".join(report.answered) or "none"
    job_io.annotate("notice", f"answered issues: {answered}", title="fanin")
    return EXIT_DONE


def post_answers(
    repo: Repository, settings: Settings, head: str, api: IssueApi, work: LandedWork
) -> AnswerReport:
    """Answer the issues of the tasks that are finished at commit `head`.

    A failure does not stop the others, except for a bad token, which raises BadToken.
    """
    from runner.github_api.errors import BadToken, GitHubRefused, GitHubUnreachable
    from runner.plan.snapshot import read_snapshot

    snapshot = read_snapshot(
        repo, head, settings.plan, settings.progress, settings.task_rules
    )
    views = view.views(
        snapshot.plan, snapshot.graph, snapshot.progress, settings.max_attempts
    )
    when_done = issue_options(settings.plan.options).when_done
    report = AnswerReport()
    for answer in approval.answers_for(views, when_done, work):
        try:
            is_new = api.post_answer(answer)
        except BadToken:
            raise
        except (GitHubRefused, GitHubUnreachable) as error:
            report.failures.append(
                f"could not answer #{answer.number}: {error.message}"
            )
            continue
        if is_new:
            report.answered.append(f"#{answer.number}")
    return report
