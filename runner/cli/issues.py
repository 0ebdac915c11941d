"""GitHub issues as the plan: `collect` reads them into a file, `answer` tells them
their results.

Both are jobs of GitHub Actions, and both work on a developer's machine too.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from runner.cli.context import branch_commit, opened, repository
from runner.cli.options import settings_options
from runner.core.errors import EXIT_DONE, UsageProblem

if TYPE_CHECKING:
    from runner.config.settings import Settings
    from runner.github_api.issues import IssueApi
    from runner.repo.repository import Repository

_whose = click.option(
    "--repository",
    envvar="GITHUB_REPOSITORY",
    metavar="OWNER/NAME",
    help="Whose issues.",
)
_when_done = click.option(
    "--when-done",
    envvar="FANIN_WHEN_DONE",
    type=click.Choice(["comment", "close", "label"]),
    help="Beside the comment: close completed issues, or label completed and failed ones.",
)
_state = click.option(
    "--state",
    envvar="FANIN_STATE",
    default="",
    help="On Actions: what the round before handed on.",
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
@_whose
@click.option(
    "--dry-run",
    is_flag=True,
    envvar="FANIN_DRY_RUN",
    help="Only say which issues are tasks.",
)
@_state
@click.option(
    "--commit-via",
    envvar="FANIN_COMMIT_VIA",
    type=click.Choice(["git", "api"]),
    default="git",
)
@settings_options("collect")
@click.pass_obj
def collect(
    repo_path: str,
    /,
    label: str | None,
    milestone: str | None,
    when_done: str | None,
    repository: str | None,
    dry_run: bool,
    state: str,
    commit_via: str,
    **flags: Any,
) -> int:
    """Read the labelled GitHub issues into the plan's file.

    Only issues whose label somebody with write access put there, with the text they had
    then. On this machine .fanin/issues.json is written for you to commit; on GitHub
    Actions it is committed to the branch. The token is taken from GITHUB_TOKEN.
    """
    from runner.actions.publisher import Publisher
    from runner.issues import jobs

    asked = _given(label=label, milestone=milestone, when_done=when_done)
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return _collect_here(repo_path, asked, repository, flags, dry_run=dry_run)
    job = _Job(repo_path, state, asked, flags)
    branch = job.moved or job.named
    publisher = Publisher(
        job.repo,
        job.remote,
        job.api,
        job.job_io,
        run=job.state.run,
        branch=branch,
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


def _collect_here(
    repo_path: str,
    asked: dict[str, str],
    whose: str | None,
    flags: dict[str, Any],
    *,
    dry_run: bool,
) -> int:
    from runner.issues import approval, jobs
    from runner.plan.formats.github_issues import render

    repo, usual = opened(repo_path, flags)
    settings = _of_issues(usual, asked, named=bool(flags.get("plan")))
    path = settings.plan.path
    file = repo.root / path
    if file.is_dir():
        raise UsageProblem(
            f"{path} is a folder", "name a file:  --plan .fanin/issues.json"
        )
    before = jobs.parse_previous(
        path, file.read_bytes().decode("utf-8", "replace") if file.is_file() else None
    )
    after = jobs.collect_issues(
        _api(repo, settings, whose), None, jobs.issue_options(settings.plan.options)
    )
    for line in approval.changes(before, after):
        click.echo(line)
    click.echo(f"{path}: {len(after.issues)} issues are tasks")
    if dry_run:
        return EXIT_DONE
    if approval.needs_update(before, after):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(render(after), encoding="utf-8", newline="")
    click.echo(
        f"next:  git add {path} && git commit -m 'Take over the labelled issues',  then  fanin run"
    )
    if usual.plan.path != path:
        click.echo(
            "and say in fanin.yml that they are the plan:  plan: {source: github-issues}"
        )
    return EXIT_DONE


@click.command()
@_when_done
@_whose
@_state
@settings_options("answer")
@click.pass_obj
def answer(
    repo_path: str,
    /,
    when_done: str | None,
    repository: str | None,
    state: str,
    **flags: Any,
) -> int:
    """Tell the GitHub issues of finished tasks their result.

    One comment each, written once: completed, or failed for good, as the branch says.
    The token is taken from GITHUB_TOKEN.
    """
    from runner.issues import jobs
    from runner.issues.approval import LandedWork

    asked = _given(when_done=when_done)
    if os.environ.get("GITHUB_ACTIONS") == "true":
        job = _Job(repo_path, state, asked, flags)
        # as the merge left it
        branch = (
            flags.get("branch")
            or os.environ.get("FANIN_BRANCH")
            or job.moved
            or job.named
        )
        head = job.remote.fetch(branch)
        return jobs.answer_job(
            job.repo, job.settings, head, branch, job.api, job.job_io, job.context
        )
    repo, usual = opened(repo_path, flags)
    settings = _of_issues(usual, asked, named=bool(flags.get("plan")))
    branch, head = branch_commit(repo, settings)
    place = LandedWork(branch, commits=repo.landed_in(head))
    told, missed = jobs.post_answers(
        repo, settings, head, _api(repo, settings, repository), place
    )
    click.echo(
        f"told their result: {', '.join(told) or 'none; every finished issue knows it'}"
    )
    for line in missed:
        click.echo(line, err=True)
    return EXIT_DONE


class _Job:
    """What a job of GitHub Actions that deals with issues works with: the edges, the
    settings and the branch.
    """

    def __init__(
        self, repo_path: str, state: str, asked: dict[str, str], flags: dict[str, Any]
    ) -> None:
        from runner.actions import workflow_io
        from runner.actions.round_state import round_state, with_inputs
        from runner.config.settings import file_in, load
        from runner.github_api.issues import IssueApi
        from runner.repo.remote import Remote

        self.context = workflow_io.read_context(os.environ)
        self.job_io = workflow_io.JobIO(os.environ, sys.stdout)
        handed = round_state(state, self.context)
        # As the inputs of the other jobs: those of the run's first round count.
        self.state = (
            handed if handed.issues else handed.model_copy(update={"issues": asked})
        )
        self.repo = repository(repo_path)
        environ = with_inputs(os.environ, handed.inputs)
        settings = load(flags, environ, file_in(self.repo.root))
        named = bool(flags.get("plan") or environ.get("FANIN_PLAN"))
        self.settings = _of_issues(settings, self.state.issues, named=named)
        if (
            whose := self.settings.plan.options.get(
                "repository", self.context.repository
            )
        ) != self.context.repository:
            raise UsageProblem(
                f"on Actions only the issues of {self.context.repository} can be read, not those of {whose}",
                "take the option repository out of fanin.yml",
            )
        self.remote = Remote(self.repo, self.context.token, self.context.server_url)
        self.api = IssueApi(
            self.context.token, self.context.repository, self.context.api_url
        )
        self.moved = handed.branch  # where an earlier round or job put the run
        self.named = settings.branch or self.context.ref_name


def _given(**options: str | None) -> dict[str, str]:
    return {name: value for name, value in options.items() if value}


def _of_issues(settings: Settings, asked: dict[str, str], *, named: bool) -> Settings:
    """The settings with a plan of issues. Where nobody named one it is beside the usual
    plan, with its own progress.
    """
    from runner.core.task import ISSUES, ISSUES_PATH, ISSUES_PROGRESS, PlanSettings

    plan, progress = settings.plan, settings.progress
    if not named and not plan.of_issues:
        plan, progress = PlanSettings(path=ISSUES_PATH), ISSUES_PROGRESS
    chosen = plan.model_copy(update={"options": plan.options | asked, "source": ISSUES})
    return settings.model_copy(update={"plan": chosen, "progress": progress})


def _api(repo: Repository, settings: Settings, named: str | None) -> IssueApi:
    """The repository's issues, with the user's token."""
    from runner.github_api.client import DEFAULT_API_URL
    from runner.github_api.issues import IssueApi
    from runner.repo.remote import github_at

    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN") or ""
    if not token:
        raise UsageProblem(
            "fanin has no token for GitHub",
            "set GITHUB_TOKEN, for example to what  gh auth token  says",
        )
    found = github_at(repo.remote_url("origin") or "")
    name = (
        named
        or settings.plan.options.get("repository")
        or (found[1] if found else None)
    )
    if name is None:
        raise UsageProblem(
            "it is not known whose issues these are", "give  --repository OWNER/NAME"
        )
    api_url = os.environ.get("GITHUB_API_URL") or (
        found[0] if found else DEFAULT_API_URL
    )
    return IssueApi(token, name, api_url)


COMMANDS = (collect, answer)
