"""How a run on this machine reaches the repository on GitHub: the remote and a token."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from runner.agents import process
from runner.core.errors import UsageProblem
from runner.repo.remote import github_at

if TYPE_CHECKING:
    from runner.repo.repository import Repository

REMOTE = "origin"
# In the order in which GitHub's own command line takes them.
_TOKEN_VARIABLES = ("GH_TOKEN", "GITHUB_TOKEN")
_MAX_TOKEN = 1_000  # characters
# Where it keeps the token.
_GH_VARIABLES = ("GH_CONFIG_DIR", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS")


@dataclass(frozen=True)
class GitHubAccess:
    """The repository's name and the address of its API, and a token for both."""

    api_url: str
    repository: str
    server_url: str
    token: str = field(repr=False)


def github_access(repo: Repository, environ: Mapping[str, str]) -> GitHubAccess:
    """The access through the remote `origin`. Raises UsageProblem that says how to get it."""
    from runner.github_api.pulls import web_url

    url = repo.remote_url(REMOTE)
    found = github_at(url or "")
    if found is None:
        problem = f"there is no remote {REMOTE}"
        if url is not None:
            problem = f"the remote {REMOTE} is not a repository on GitHub"
        raise UsageProblem(
            f"deliver: pull-request opens a pull request, but {problem}",
            f"git remote add {REMOTE} https://github.com/OWNER/NAME.git  , or set  "
            "deliver: branch",
        )
    api_url, repository = found
    server_url = web_url(api_url)
    token = token_for(urlsplit(server_url).netloc, environ)
    if token is None:
        raise UsageProblem(
            f"deliver: pull-request needs a token for {server_url}",
            "log in with  gh auth login  , or set GITHUB_TOKEN to a token that may write "
            "contents and pull requests of the repository",
        )
    return GitHubAccess(api_url, repository, server_url, token)


def token_for(host: str, environ: Mapping[str, str]) -> str | None:
    """A token from the environment, else that of GitHub's command line `gh`."""
    for name in _TOKEN_VARIABLES:
        if token := environ.get(name, "").strip():
            return token
    program = shutil.which("gh", path=environ.get("PATH"))
    if program is None:
        return None
    argv = [program, "auth", "token", "--hostname", host]
    return process.first_line(argv, environ, _GH_VARIABLES, _MAX_TOKEN)
