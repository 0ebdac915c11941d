"""The commands for GitHub issues as the plan: collect and answer.

Both are jobs of GitHub Actions, and both work on a developer's machine too.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import branch_commit, open_project, open_repository
from runner.cli.job_errors import reports_errors
from runner.cli.options import settings_options
from runner.core.errors import EXIT_DONE, UsageProblem

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.github_api.issues import IssueApi
    from runner.repo.repository import Repository

_github_repository = click.option(
    "--repository",
    "github_repository",
    envvar="GITHUB_REPOSITORY",
    metavar="OWNER/NAME",
    help="The GitHub repository that has the issues.",
)
_when_done = click.option(
    "--when-done",
    envvar="FANIN_WHEN_DONE",
    type=click.Choice(["comment", "close", "label"]),
    help="Besides the comment: close completed issues, or label finished ones.",
)
_state = click.option(
    "--state",
    envvar="FANIN_STATE",
    default="",
    help="On Actions: the state that the previous round handed on.",
)


@click.command()
@click.option(
    "--label",
    envvar="FANIN_LABEL",
    metavar="NAME",
    help="The label that makes an issue a task.",
)
@click.option(
    "--milestone",
    envvar="FANIN_MILESTONE",
    metavar="NAME",
    help="Only issues of this milestone.",
)
@_when_done
@_github_repository
@click.option(
    "--dry-run",
    is_flag=True,
    envvar="FANIN_DRY_RUN",
    help="Only print which issues are tasks.",
)
@_state
@click.option(
    "--commit-via",
    envvar="FANIN_COMMIT_VIA",
    type=click.Choice(["git", "api"]),
    default="git",
    help="On Actions: push the commit, or create it with the API so that GitHub signs it.",
)
@settings_options("collect")
@click.pass_obj
@reports_errors
def collect(
    repo_path: str,
    /,
    label: str | None,
    milestone: str | None,
    when_done: str | None,
    github_repository: str | None,
    dry_run: bool,
    state: str,
    commit_via: str,
    **flags: Any,
) -> int:
    """Read the labelled GitHub issues into the plan's file.

    Takes only issues whose label was put on by somebody with write access, with the
    text they had then. On this machine it writes .fanin/issues.json for you to commit;
    on GitHub Actions it commits the file to the branch. The token is taken from
    GITHUB_TOKEN.
    """
    from runner.actions.publisher import Publisher
    from runner.issues import jobs

    options = _given(label=label, milestone=milestone, when_done=when_done)
    if not _on_actions():
        return _collect_on_this_machine(
            repo_path, options, github_repository, flags, dry_run=dry_run
        )
    job = _Job(repo_path, state, options, flags)
    publisher = Publisher(
        job.repo,
        job.remote,
        job.api,
        job.job_io,
        run=job.state.run,
        branch=job.state.branch or job.branch,
        commit_via=commit_via,
    )
    return jobs.collect_job(
        job.repo,
        job.settings,
        job.state,
        job.job_io,
        job.remote,
        job.api,
        publisher,
        dry_run=dry_run,
    )


def _collect_on_this_machine(
    repo_path: str,
    options: dict[str, str],
    github_repository: str | None,
    flags: dict[str, Any],
    *,
    dry_run: bool,
) -> int:
    from runner.core import typed_paths
    from runner.core.plurals import pluralize
    from runner.issues import approval, jobs
    from runner.plan.formats.github_issues import render

    repo, configured = open_project(repo_path, flags)
    settings = _issue_settings(configured, options, explicit=bool(flags.get("plan")))
    path = settings.plan.path
    file = repo.root / path
    if file.is_dir():
        raise UsageProblem(
            f"{path} is a folder", "name a file:  --plan .fanin/issues.json"
        )
    text = file.read_bytes().decode("utf-8", "replace") if file.is_file() else None
    before = jobs.parse_previous(path, text)
    api = _api(repo, settings, github_repository)
    # The file here may have been edited, so no text is taken over from it.
    after = jobs.collect_issues(api, None, jobs.issue_options(settings.plan.options))
    for line in approval.changes(before, after):
        click.echo(line)
    click.echo(f"{path}: {pluralize(len(after.issues), 'task')}")
    if dry_run:
        return EXIT_DONE
    if approval.needs_update(before, after):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(render(after), encoding="utf-8", newline="")
    click.echo(
        f"next:  {typed_paths.git_add(repo.root, [path])} && "
        f"{typed_paths.git_commit(repo.root, jobs.SUBJECT)},  then  fanin run"
    )
    if configured.plan.path != path:
        click.echo(
            "to use the issues as the plan, write in fanin.yml:  "
            "plan: {source: github-issues}"
        )
    return EXIT_DONE


@click.command()
@_when_done
@_github_repository
@_state
@settings_options("answer")
@click.pass_obj
@reports_errors
def answer(
    repo_path: str,
    /,
    when_done: str | None,
    github_repository: str | None,
    state: str,
    **flags: Any,
) -> int:
    """Comment the results on the GitHub issues of finished tasks.

    Writes one comment on each issue whose task completed or failed for good, and
    changes it only when the result changes. The token is taken from GITHUB_TOKEN.
    """
    from runner.issues import jobs
    from runner.issues.approval import LandedWork

    options = _given(when_done=when_done)
    if _on_actions():
        job = _Job(repo_path, state, options, flags)
        # The merge may have switched branches, so its output comes first.
        branch = flags.get("branch") or os.environ.get("FANIN_BRANCH")
        branch = branch or job.state.branch or job.branch
        head = job.remote.fetch(branch)
        return jobs.answer_job(
            job.repo, job.settings, head, branch, job.api, job.job_io, job.context
        )
    repo, configured = open_project(repo_path, flags)
    settings = _issue_settings(configured, options, explicit=bool(flags.get("plan")))
    branch, head = branch_commit(repo, settings)
    work = LandedWork(branch, commits=repo.landing_commits(head))
    api = _api(repo, settings, github_repository)
    report = jobs.post_answers(repo, settings, head, api, work)
    answered = ", ".join(report.answered) or "none, all are up to date"
    click.echo(f"answered: {answered}")
    for message in report.failures:
        click.echo(message, err=True)
    return EXIT_DONE


class _Job:
    """The inputs of a job about issues: the repository, GitHub and the settings."""

    def __init__(
        self,
        repo_path: str,
        state: str,
        options: dict[str, str],
        flags: dict[str, Any],
    ) -> None:
        from runner.actions.round_state import round_state, with_inputs
        from runner.actions.workflow_io import JobIO, read_context
        from runner.config.settings import load, read_settings_file
        from runner.github_api.issues import IssueApi
        from runner.repo.remote import Remote

        self.context = read_context(os.environ)
        self.context.refuse_tag()
        self.job_io = JobIO(os.environ, sys.stdout)
        self.state = round_state(state, self.context)
        # Like the other inputs, the options of the run's first round count.
        if not self.state.issues:
            self.state = self.state.model_copy(update={"issues": options})
        self.repo = open_repository(repo_path)
        environ = with_inputs(os.environ, self.state.inputs)
        settings = load(flags, environ, read_settings_file(self.repo.root))
        explicit = bool(flags.get("plan") or environ.get("FANIN_PLAN"))
        self.settings = _issue_settings(settings, self.state.issues, explicit=explicit)
        _refuse_foreign_issues(self.settings, self.context.repository)
        self.remote = Remote(self.repo, self.context.token, self.context.server_url)
        self.api = IssueApi(
            self.context.token, self.context.repository, self.context.api_url
        )
        self.branch = settings.branch or self.context.ref_name


def _on_actions() -> bool:
    return os.environ.get("GITHUB_ACTIONS") == "true"


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value}


def _refuse_foreign_issues(settings: Settings, github_repository: str) -> None:
    # The job's token reaches no other repository.
    named = settings.plan.options.get("repository", github_repository)
    if named != github_repository:
        raise UsageProblem(
            f"on Actions fanin can read only the issues of {github_repository}, "
            f"not those of {named}",
            "remove the option repository from fanin.yml",
        )


def _issue_settings(
    settings: Settings, options: dict[str, str], *, explicit: bool
) -> Settings:
    """The settings with a plan of issues.

    `explicit`: somebody named the plan's path. Otherwise the issues become a second
    plan beside the configured one, with its own progress.
    """
    from runner.core.task import ISSUES, ISSUES_PATH, ISSUES_PROGRESS, PlanSettings

    plan, progress = settings.plan, settings.progress
    if not explicit and not plan.of_issues:
        plan, progress = PlanSettings(path=ISSUES_PATH), ISSUES_PROGRESS
    merged_options = plan.options | options
    issue_plan = plan.model_copy(update={"options": merged_options, "source": ISSUES})
    return settings.model_copy(update={"plan": issue_plan, "progress": progress})


def _api(repo: Repository, settings: Settings, name: str | None) -> IssueApi:
    """The issues of the repository, read with the user's token.

    `name` is OWNER/NAME; by default that of fanin.yml, else that of the remote origin.
    Raises UsageProblem if there is no token or no name.
    """
    from runner.github_api.issues import IssueApi
    from runner.local.github_access import github_access

    name = name or settings.plan.options.get("repository")
    access = github_access(repo, os.environ, name, "name it:  --repository OWNER/NAME")
    return IssueApi(access.token, access.repository, access.api_url)


COMMANDS = (collect, answer)
