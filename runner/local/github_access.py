"""How a person's machine reaches the repository on GitHub: the remote and a token."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from runner.agents import process
from runner.core.errors import UsageProblem
from runner.repo.remote import github_at

if TYPE_CHECKING:
    from runner.repo.repository import Repository

REMOTE = "origin"
_TOKEN_VARIABLES = ("GITHUB_TOKEN", "GH_TOKEN")
_MAX_TOKEN = 1_000  # characters
# Where it keeps the token.
_GH_VARIABLES = ("GH_CONFIG_DIR", "XDG_CONFIG_HOME", "DBUS_SESSION_BUS_ADDRESS")


@dataclass(frozen=True)
class GitHubAccess:
    """A person's token, the repository as OWNER/NAME, and the address of the API."""

    token: str = field(repr=False)
    repository: str
    api_url: str

    @property
    def server_url(self) -> str:
        """The address of the pages, which is that of git too."""
        from runner.github_api.pulls import web_url

        return web_url(self.api_url)


def github_access(
    repo: Repository,
    environ: Mapping[str, str],
    name: str | None = None,
    remedy: str = f"set it:  git remote set-url {REMOTE} ADDRESS",
) -> GitHubAccess:
    """The access by the environment and the remote; `name` is another repository, as
    OWNER/NAME.

    Raises UsageProblem if there is no token, and with `remedy` if there is no name.
    """
    from runner.github_api.session import DEFAULT_API_URL

    api_url = DEFAULT_API_URL
    origin = github_at(repo.remote_url(REMOTE) or "")
    if origin is not None:
        api_url, origin_name = origin
        name = name or origin_name
    if name is None:
        raise UsageProblem(
            f"the remote {REMOTE} is not on GitHub, so fanin does not know the repository",
            remedy,
        )
    access = GitHubAccess("", name, environ.get("GITHUB_API_URL") or api_url)
    token = token_for(urlsplit(access.server_url).netloc, environ)
    if token is None:
        raise UsageProblem(
            f"fanin has no token for {access.server_url}",
            "log in with  gh auth login  , or set GITHUB_TOKEN to a token that may write "
            "to the repository",
        )
    return replace(access, token=token)


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
