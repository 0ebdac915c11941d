"""`fanin collect` and `fanin answer`: the labelled issues become the plan's file, its
results become comments.

The glue between `issues`, which decides, and the API and the branch, which arrive as
arguments.
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
    """What the plan's options say: which label makes an issue a task, a milestone, what
    is done with finished ones.
    """

    label: str = LABEL
    milestone: str | None = None
    when_done: str = "comment"


def issue_options(options: Mapping[str, str]) -> IssueOptions:
    """The options of the setting `plan`. InvalidInput for one that a plan of issues
    does not have.
    """
    check_options(
        GithubIssues(),
        PlanSettings(path=ISSUES_PATH, source=NAME, options=dict(options)),
    )
    return IssueOptions(
        options.get("label") or LABEL,
        options.get("milestone") or None,
        options.get("when_done") or "comment",
    )


# -- collect --


def collect_issues(
    api: IssueApi, before: IssuesFile | None, asked: IssueOptions
) -> IssuesFile:
    """The file as it should be now. Of what GitHub says is unchanged since `before`,
    the history is not asked again: give it only where this run itself wrote it.
    """
    known = (
        {issue.number: issue for issue in before.issues}
        if before and _same_query(before, api, asked)
        else {}
    )
    found, refused = list[tuple[Issue, Approved]](), list[Refused]()
    for issue in api.labelled(asked.label, asked.milestone):
        verdict = _verdict(api, issue, known.get(issue.number), asked.label)
        if isinstance(verdict, Refused):
            refused.append(verdict)
        else:
            found.append((issue, verdict))
    waiting = _Waiting(api, {issue.number: issue for issue, _ in found})
    return IssuesFile(
        fanin=NAME,
        version=1,
        repository=api.repository,
        label=asked.label,
        milestone=asked.milestone,
        issues=tuple(
            approved.model_copy(update={"waits_for": waiting.of(issue, approved)})
            for issue, approved in found
        ),
        refused=tuple(refused),
    )


def _same_query(before: IssuesFile, api: IssueApi, asked: IssueOptions) -> bool:
    return before.repository == api.repository and before.label == asked.label


def _verdict(
    api: IssueApi, issue: Issue, old: Approved | None, label: str
) -> Approved | Refused:
    """Asked anew if anything happened to the issue since, or who vouched for it may not
    write any more.
    """
    if (
        old is not None
        and old.updated_at == issue.updated_at
        and api.may_write(old.labelled_by)
    ):
        return old
    return approval.approved_text(
        issue, label, api.history(issue.number), api.may_write
    )


@dataclass(frozen=True)
class _Waiting:
    """What issues wait for: `listed` are those whose state is known, all others are
    asked for.
    """

    api: IssueApi
    listed: Mapping[int, Issue]
    asked: dict[tuple[str, int], Issue | None] = field(default_factory=dict)

    def of(self, issue: Issue, approved: Approved) -> tuple[Wait, ...]:
        found: dict[tuple[str, int], Wait] = {}
        related = [(one, "blocked_by") for one in self.api.blocked_by(issue)]
        related += [(one, "sub_issue") for one in self.api.sub_issues(issue)]
        for other, said in related:
            found.setdefault(
                _key(other.repository, other.number),
                approval.dependency_on(other, said),
            )
        for repository, number in approval.dependencies_in_text(
            approved.body, self.api.repository
        ):
            if _key(repository, number) not in found:
                found[_key(repository, number)] = self._named(repository, number)
        found.pop(_key(self.api.repository, issue.number), None)
        return tuple(found.values())

    def _named(self, repository: str, number: int) -> Wait:
        here = repository.casefold() == self.api.repository.casefold()
        other = self.listed.get(number) if here else None
        if other is None:
            if _key(repository, number) not in self.asked:
                self.asked[_key(repository, number)] = self.api.issue(
                    repository, number
                )
            other = self.asked[_key(repository, number)]
        return (
            approval.dependency_on(other, "text")
            if other
            else approval.unknown_dependency(repository, number)
        )


def _key(repository: str, number: int) -> tuple[str, int]:
    return repository.casefold(), number


def parse_previous(path: str, text: str | None) -> IssuesFile | None:
    """What `text` holds, None if there is nothing, or nothing that can be read.
    UsageProblem if it is another plan.
    """
    if text is None:
        return None
    if not GithubIssues().looks_like(text):
        raise UsageProblem(
            f"{path} is no file of fanin's issues, so it is not overwritten",
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
    """Put the issues that are tasks on the branch, in one commit if anything changed;
    say what came and went.
    """
    from runner.actions.next_job import refuse_unmerged_run

    path = settings.plan.path
    head = remote.fetch(publisher.branch)
    before = parse_previous(path, _text(repo.file(head, path)))
    if state.round == 1:
        refuse_unmerged_run(repo, remote, settings, head)
    after = collect_issues(
        api, before if state.round > 1 else None, issue_options(settings.plan.options)
    )
    commit = None
    if approval.needs_update(before, after) and not dry_run:
        commit = _land(repo, remote, publisher, path, render(after), head)
    handed = state.model_copy(update={"branch": publisher.branch})
    job_io.output(
        {
            "branch": publisher.branch,
            "state": handed.model_dump_json(),
            "commit": commit or "",
            "plan": path,
            "progress": settings.progress,
        }
    )
    job_io.summary(
        job_summary.collected(
            after.repository, approval.changes(before, after), len(after.issues)
        )
    )
    for refused in after.refused:
        job_io.annotate(
            "warning", f"#{refused.number} is no task: {refused.why}", title="fanin"
        )
    if note := publisher.open_pull_request_if_switched():
        job_io.annotate("notice", note, title="fanin")
    return EXIT_DONE


def _land(
    repo: Repository,
    remote: Remote,
    publisher: Publisher,
    path: str,
    text: str,
    head: str,
) -> str | None:
    """Commit the file on the branch as it is when it is pushed; None if it holds that
    text already.
    """
    for _ in range(TRIES):
        if _text(repo.file(head, path)) == text:
            return None
        commit = repo.commit_files(head, {path: text.encode()}, f"{SUBJECT}\n")
        put = publisher.put([commit], head)
        if put.landed:
            return commit
        if put.refused:
            publisher.switch_branch(put)
        head = remote.fetch(publisher.branch)
    raise EnvironmentBroken(
        f"{publisher.branch} moved {TRIES} times meanwhile",
        "re-run this job when the branch is quiet",
    )


def _text(data: bytes | None) -> str | None:
    return None if data is None else data.decode("utf-8", "replace")


# -- answer --


def answer_job(
    repo: Repository,
    settings: Settings,
    head: str,
    branch: str,
    api: IssueApi,
    job_io: JobIO,
    context: WorkflowContext,
) -> int:
    """Tell the issues of finished tasks their result, each once."""
    url = f"{context.server_url}/{context.repository}/commits/{quote(branch)}"
    place = LandedWork(branch, url, repo.landed_in(head))
    told, missed = post_answers(repo, settings, head, api, place)
    for line in missed:
        job_io.annotate("warning", line, title="fanin")
    job_io.annotate(
        "notice",
        f"issues told their result: {', '.join(told) or 'none'}",
        title="fanin",
    )
    return EXIT_DONE


def post_answers(
    repo: Repository, settings: Settings, head: str, api: IssueApi, place: LandedWork
) -> tuple[list[str], list[str]]:
    """The issues that were told something new, and what could not be told; one that
    fails does not stop the others.
    """
    from runner.github_api.errors import BadToken, GitHubRefused, GitHubUnreachable
    from runner.plan.snapshot import read_snapshot

    snapshot = read_snapshot(repo, head, settings.plan, settings.progress)
    found = view.views(
        snapshot.plan, snapshot.graph, snapshot.progress, settings.max_attempts
    )
    told, missed = list[str](), list[str]()
    for answer in approval.answers_for(
        found, issue_options(settings.plan.options).when_done, place
    ):
        try:
            told += [f"#{answer.number}"] if api.post_answer(answer) else []
        except BadToken:
            raise
        except (GitHubRefused, GitHubUnreachable) as error:
            missed.append(
                f"#{answer.number} could not be told its result: {error.message}"
            )
    return told, missed
