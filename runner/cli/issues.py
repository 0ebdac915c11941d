"""GitHub issues as the plan: `collect` reads them into a file, `answer` tells them their results.

Both are jobs of GitHub Actions, and both work on a developer's machine too.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from runner.cli.shared import opened, repository, settings_options
from runner.errors import EXIT_DONE, UsageProblem

if TYPE_CHECKING:
    from runner.config import Settings
    from runner.gitrepo import Repository
    from runner.issue_api import IssueApi


def _query_options(command: Any) -> Any:
    """What `plan: {options: …}` may say of a plan of issues, as flags."""
    options = [
        click.option("--label", envvar="FANIN_LABEL", metavar="NAME", help="The label that makes an issue a task."),
        click.option("--milestone", envvar="FANIN_MILESTONE", metavar="NAME", help="Only issues of this milestone."),
        click.option("--repository", envvar="GITHUB_REPOSITORY", metavar="OWNER/NAME", help="Whose issues."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@click.command()
@_query_options
@click.option("--state", envvar="FANIN_STATE", default="", help="On Actions: what the round before handed on.")
@click.option("--commit-via", envvar="FANIN_COMMIT_VIA", type=click.Choice(["git", "api"]), default="git")
@settings_options
@click.pass_obj
def collect(
    where: str,
    /,
    label: str | None,
    milestone: str | None,
    repository: str | None,
    state: str,
    commit_via: str,
    **flags: Any,
) -> int:
    """Read the labelled issues into the plan's file (.fanin/issues.json).

    Only issues whose label somebody with write access put there, with the text they had then. On this machine the
    file is written for you to commit; on GitHub Actions it is committed to the branch. The token is GITHUB_TOKEN's.
    """
    asked = {"label": label, "milestone": milestone}
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return _collect_on_actions(where, state, commit_via, asked, flags)
    repo, settings = opened(where, flags)
    planned = settings.plan.source == "github-issues"
    return _collect_here(repo, _asking(settings, asked), repository, planned=planned)


def _collect_here(repo: Repository, settings: Settings, named: str | None, *, planned: bool) -> int:
    from runner import issue_jobs, issues
    from runner.sources.github_issues import render

    path = settings.plan.path
    file = repo.root / path
    before = issue_jobs.known_file(path, file.read_text(encoding="utf-8") if file.is_file() else None)
    after = issue_jobs.gather(_api(repo, settings, named), before, issue_jobs.wanted(settings.plan.options))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render(after), encoding="utf-8", newline="")
    for line in issues.changes(before, after):
        click.echo(line)
    click.echo(f"{path}: {len(after.issues)} issues are tasks")
    click.echo(f"next:  git add {path} && git commit -m 'Take over the labelled issues',  then  fanin run")
    if not planned:
        click.echo("      and say in fanin.yml that they are the plan:  plan: {source: github-issues}")
    return EXIT_DONE


def _collect_on_actions(
    where: str, state: str, commit_via: str, asked: dict[str, str | None], flags: dict[str, Any]
) -> int:
    from runner import actions, actions_io, config, issue_jobs
    from runner.gitremote import Remote
    from runner.issue_api import IssueApi
    from runner.publishing import Publisher

    context, machine = actions_io.read_context(os.environ), actions_io.Machine(os.environ, sys.stdout)
    handed = actions.round_state(state, context)
    repo = repository(where)
    environ = {**os.environ, **{f"FANIN_{name.upper()}": value for name, value in handed.inputs.items()}}
    settings = _asking(config.load(flags, environ, config.file_in(repo.root)), asked)
    remote = Remote(repo, context.token, context.server_url)
    api = IssueApi(context.token, context.repository, context.api_url)
    branch = handed.branch or settings.branch or context.ref_name
    publisher = Publisher(repo, remote, api, machine, run=handed.run, branch=branch, commit_via=commit_via)
    return issue_jobs.collect_job(repo, settings, handed, machine, remote, api, publisher)


@click.command()
@click.option(
    "--when-done",
    envvar="FANIN_WHEN_DONE",
    type=click.Choice(["comment", "close", "label"]),
    help="Beside the comment: close completed issues, or label completed and failed ones.",
)
@click.option("--repository", envvar="GITHUB_REPOSITORY", metavar="OWNER/NAME", help="Whose issues.")
@click.option("--state", envvar="FANIN_STATE", default="", help="On Actions: what the round before handed on.")
@settings_options
@click.pass_obj
def answer(where: str, /, when_done: str | None, repository: str | None, state: str, **flags: Any) -> int:
    """Tell the issues of finished tasks their result: one comment each, written once.

    Completed, or failed for good, as the branch says. The token is GITHUB_TOKEN's.
    """
    asked = {"when_done": when_done}
    if os.environ.get("GITHUB_ACTIONS") == "true":
        return _answer_on_actions(where, state, asked, flags)
    from runner import issue_jobs
    from runner.cli.shared import branch_commit
    from runner.issues import Place

    repo, settings = opened(where, flags)
    settings = _asking(settings, asked)
    branch, head = branch_commit(repo, settings)
    place = Place(branch, "", repo.landed_in(head))
    told, missed = issue_jobs.answer_all(repo, settings, head, _api(repo, settings, repository), place)
    click.echo(f"told their result: {', '.join(told) or 'none; every finished issue knows it'}")
    for line in missed:
        click.echo(line, err=True)
    return EXIT_DONE


def _answer_on_actions(where: str, state: str, asked: dict[str, str | None], flags: dict[str, Any]) -> int:
    from runner import actions, actions_io, config, issue_jobs
    from runner.gitremote import Remote
    from runner.issue_api import IssueApi

    context, machine = actions_io.read_context(os.environ), actions_io.Machine(os.environ, sys.stdout)
    handed = actions.round_state(state, context)
    repo = repository(where)
    environ = {**os.environ, **{f"FANIN_{name.upper()}": value for name, value in handed.inputs.items()}}
    settings = _asking(config.load(flags, environ, config.file_in(repo.root)), asked)
    branch = settings.branch or handed.branch or context.ref_name
    head = Remote(repo, context.token, context.server_url).fetch(branch)
    api = IssueApi(context.token, context.repository, context.api_url)
    return issue_jobs.answer_job(repo, settings, head, branch, api, machine, context)


def _asking(settings: Settings, asked: dict[str, str | None]) -> Settings:
    """The settings of a plan of issues: what was not named is the default of such a plan, flags come first."""
    from runner.models import ISSUES_PATH, PlanSettings

    plan = settings.plan
    if plan == PlanSettings():  # nobody named a plan
        plan = PlanSettings(path=ISSUES_PATH)
    options = plan.options | {name: value for name, value in asked.items() if value}
    return settings.model_copy(update={"plan": plan.model_copy(update={"options": options, "source": "github-issues"})})


def _api(repo: Repository, settings: Settings, named: str | None) -> IssueApi:
    """The repository's issues, with the user's token."""
    from runner.github_api import DEFAULT_API_URL
    from runner.gitremote import github_at
    from runner.issue_api import IssueApi

    token = os.environ.get("GITHUB_TOKEN") or os.environ.get("GH_TOKEN") or ""
    if not token:
        raise UsageProblem("fanin has no token for GitHub", "GITHUB_TOKEN=$(gh auth token) fanin …")
    found = github_at(repo.remote_url("origin") or "")
    name = named or settings.plan.options.get("repository") or (found[1] if found else None)
    if name is None:
        raise UsageProblem("it is not known whose issues these are", "give  --repository OWNER/NAME")
    api_url = os.environ.get("GITHUB_API_URL") or (found[0] if found else DEFAULT_API_URL)
    return IssueApi(token, name, api_url)


COMMANDS = (collect, answer)
