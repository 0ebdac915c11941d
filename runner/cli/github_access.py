"""How a command on a person's machine reaches the repository on GitHub."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from runner.core.errors import UsageProblem

if TYPE_CHECKING:
    from runner.repo.repository import Repository


@dataclass(frozen=True)
class GitHubAccess:
    """A person's token, the repository as OWNER/NAME, and the address of the API."""

    token: str = field(repr=False)
    repository: str
    api_url: str


def github_access(
    repo: Repository,
    name: str | None = None,
    remedy: str = "set it:  git remote set-url origin ADDRESS",
) -> GitHubAccess:
    """The access by the environment and the remote origin; `name` is another repository,
    as OWNER/NAME.

    Raises UsageProblem if there is no token, and with `remedy` if there is no name.
    """
    from runner.github_api.pulls import web_url
    from runner.github_api.session import DEFAULT_API_URL
    from runner.local.github_access import token_for
    from runner.repo.remote import github_at

    api_url = DEFAULT_API_URL
    origin = github_at(repo.remote_url("origin") or "")
    if origin is not None:
        api_url, origin_name = origin
        name = name or origin_name
    token = token_for(urlsplit(web_url(api_url)).netloc, os.environ)
    if not token:
        raise UsageProblem(
            "fanin has no token for GitHub",
            "log in with  gh auth login  , or set GITHUB_TOKEN",
        )
    if name is None:
        raise UsageProblem(
            "the remote origin is not on GitHub, so fanin does not know the repository",
            remedy,
        )
    return GitHubAccess(token, name, os.environ.get("GITHUB_API_URL") or api_url)
