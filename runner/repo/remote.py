"""The repository's remote on GitHub: fetch what is needed, push only if the branch is
where we think it is.

The token reaches git through its environment configuration: never in argv, never in a
file of the checkout.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass

from runner.core import durable
from runner.core.errors import EnvironmentBroken, UsageProblem
from runner.repo.repository import Repository


@dataclass(frozen=True)
class Push:
    """How a push ended: `moved` = the branch is not where it was thought to be;
    `refused` = why the server refused.
    """

    landed: bool
    moved: bool = False
    refused: str = ""

    @property
    def reason(self) -> str:
        """What kind of refusal it is: `workflows`, `secret`, `signatures`, `protected`,
        `permission` or `other`.
        """
        return next(
            (
                kind
                for kind, pattern in _REASONS
                if re.search(pattern, self.refused, re.IGNORECASE)
            ),
            "other",
        )


_ADDRESS = re.compile(
    r"(?:(?:https?|ssh|git)://(?:[^@/]+@)?(?P<host>[\w.-]+)(?::\d+)?/|(?:[^@/:]+@)(?P<short>[\w.-]+):)"
    r"(?P<name>[\w.-]+/[\w.-]+?)(?:\.git)?/?"
)
# GitHub's own words, from public threads; the first that matches names the reason.
_REASONS = (
    ("workflows", r"create or update workflow|without `?workflows?`? permission"),
    ("secret", r"push protection|contain secrets"),
    (
        "signatures",
        r"verified signature|must have.*signature|GH006.*sign|commit.*not.*verified",
    ),
    ("protected", r"GH006|GH013|protected branch|rule violations|hook declined"),
    (
        "permission",
        r"permission .*denied|access to repository not granted|403|Authentication failed|not authorized",
    ),
)


def github_at(url: str) -> tuple[str, str] | None:
    """(API address, owner/name) of a repository on GitHub by its remote's address; None
    for a path or another form.

    github.com, `<name>.ghe.com` or an Enterprise Server, by https, ssh or the short
    form of ssh.
    """
    match = _ADDRESS.fullmatch(url.strip())
    if match is None:
        return None
    host = (match["host"] or match["short"]).casefold().removeprefix("ssh.")
    hosted = host == "github.com" or host.endswith(".ghe.com")
    return f"https://api.{host}" if hosted else f"https://{host}/api/v3", match["name"]


class Remote:
    """One remote of a checkout, by name (`origin`), with the token it is spoken to
    with.
    """

    def __init__(
        self, repo: Repository, token: str, server_url: str, name: str = "origin"
    ) -> None:
        self._repo, self._name = repo, name
        self._env = _authorization(token, server_url) if token else {}

    def fetch(self, revision: str) -> str:
        """Fetch one branch or commit without its history; its commit id. UsageProblem
        if the remote has none.
        """
        status, _, words = self._repo.attempt(
            [
                "fetch",
                "-q",
                "--no-tags",
                "--no-recurse-submodules",
                "--depth=1",
                self._name,
                revision,
            ],
            env=self._env,
        )
        if status and ("couldn't find remote ref" in words or "not our ref" in words):
            raise UsageProblem(
                f"the remote has no {revision}", "name a branch that exists:  branch:"
            )
        if status:
            raise EnvironmentBroken(
                f"cannot fetch {revision}: {words}", "run the workflow again"
            )
        commit = self._repo.commit("FETCH_HEAD")
        assert commit is not None
        return commit

    def branches(self, prefix: str) -> dict[str, str]:
        """The remote's branches that begin with `prefix`, with their commits."""
        status, out, words = self._repo.attempt(
            ["ls-remote", "--heads", self._name, f"refs/heads/{prefix}*"], env=self._env
        )
        if status:
            raise EnvironmentBroken(
                f"cannot list the remote's branches: {words}", "run the workflow again"
            )
        pairs = (line.split("\t") for line in out.decode().splitlines())
        return {ref.removeprefix("refs/heads/"): commit for commit, ref in pairs}

    def push(self, branch: str, new: str, old: str | None) -> Push:
        """Point the remote's branch at `new` if it is at `old` (None: if there is
        none). Exact compare-and-swap.
        """
        durable.checkpoint("before push")
        status, out, words = self._repo.attempt(
            [
                "push",
                "--porcelain",
                "--no-verify",
                f"--force-with-lease=refs/heads/{branch}:{old or ''}",
                self._name,
                f"{new}:refs/heads/{branch}",
            ],
            env=self._env,
        )
        durable.checkpoint("after push")
        if status == 0:
            return Push(landed=True)
        told = f"{out.decode('utf-8', 'replace')}\n{words}"
        if (
            "stale info" in told
            or "fetch first" in told
            or "cannot lock ref" in told
            or "non-fast-forward" in told
        ):
            return Push(landed=False, moved=True)
        if "remote rejected" in told or "remote: error" in told or "403" in told:
            return Push(landed=False, refused=_gist(told))
        raise EnvironmentBroken(
            f"cannot push to {branch}: {words}",
            "the results are kept as artifacts; run the job again",
        )


def _authorization(token: str, server_url: str) -> dict[str, str]:
    """Environment variables that make git send this token and no other credentials.

    actions/checkout leaves a header of its own by default: up to v5 in the repository's
    configuration, from v6 on in a file that it includes. GitHub answers 400 to two. An
    empty value resets the list, and git reads the environment after every file.
    """
    key = f"http.{server_url}/.extraheader"
    secret = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": key,
        "GIT_CONFIG_VALUE_0": "",
        "GIT_CONFIG_KEY_1": key,
        "GIT_CONFIG_VALUE_1": f"AUTHORIZATION: basic {secret}",
    }


def _gist(told: str) -> str:
    """The server's own sentences of a refused push."""
    lines = [
        line.removeprefix("remote:").strip()
        for line in told.splitlines()
        if line.startswith(("remote:", "!", "fatal:"))
    ]
    return " ".join(line for line in lines if line)[:600]
