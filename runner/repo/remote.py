"""The repository's remote on GitHub: fetch what is needed, push only if the branch is
at the expected commit.

The token reaches git through its environment configuration: never in argv, never in a
file of the checkout.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence

from runner.core import durable
from runner.core.errors import EnvironmentBroken, UsageProblem
from runner.repo import ref_update
from runner.repo.ref_update import Reason, RefUpdate
from runner.repo.repository import Repository

_URL = re.compile(
    r"(?:(?P<scheme>https?|ssh|git)://(?:[^@/]+@)?(?P<host>[\w.-]+)(?P<port>:\d+)?/"
    r"|(?:[^@/:]+@)(?P<short>[\w.-]+):)"
    r"(?P<name>[\w.-]+/[\w.-]+?)(?:\.git)?/?"
)
# GitHub's own words, from public threads; the first that matches names the reason.
_REASONS = (
    (
        Reason.WORKFLOWS,
        r"create or update workflow|without `?workflows?`? permission",
    ),
    (Reason.SECRET, r"push protection|contain secrets"),
    (
        Reason.SIGNATURES,
        r"verified signature|must have.*signature|GH006.*sign|commit.*not.*verified",
    ),
    (Reason.PROTECTED, r"GH006|GH013|protected branch|rule violations|hook declined"),
    (
        Reason.PERMISSION,
        r"permission .*denied|access to repository not granted|403|Authentication failed|not authorized",
    ),
)
_MOVED = ("stale info", "fetch first", "cannot lock ref", "non-fast-forward")
_REFUSED = ("remote rejected", "remote: error", "403")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ALL = 2**31 - 1  # git's depth that stands for the whole history
_MAX_TEXT = 600  # characters of a server's message


def github_at(url: str) -> tuple[str, str] | None:
    """(API address, owner/name) of a repository on GitHub by its remote's address; None
    for a path or another form.

    github.com, `<name>.ghe.com` or an Enterprise Server, by https, ssh or the short
    form of ssh.
    """
    match = _URL.fullmatch(url.strip())
    if match is None:
        return None
    host = (match["host"] or match["short"]).casefold().removeprefix("ssh.")
    if host == "github.com" or host.endswith(".ghe.com"):
        return f"https://api.{host}", match["name"]
    if match["scheme"] == "http":
        return f"http://{host}{match['port'] or ''}/api/v3", match["name"]
    return f"https://{host}/api/v3", match["name"]


def refusal_reason(text: str) -> Reason:
    """Return why a server refused a push, by what it answered."""
    for reason, pattern in _REASONS:
        if re.search(pattern, text, re.IGNORECASE):
            return reason
    return Reason.OTHER


class Remote:
    """One remote of a checkout, by name, and the token that git authenticates with.

    `whole`: whether to fetch all history. Without it a repository becomes a shallow one,
    as a job's is.
    """

    def __init__(
        self,
        repo: Repository,
        token: str,
        server_url: str,
        name: str = "origin",
        *,
        whole: bool = False,
    ) -> None:
        self._repo, self._name, self._whole = repo, name, whole
        self._env = _authorization(token, server_url) if token else {}

    def fetch(self, revision: str, *, history: bool = False) -> str:
        """Fetch one branch or commit, and return its commit id; without its `history`
        unless that is asked for.

        A tag with the same name as the branch is ignored.

        Raises UsageProblem if the remote has none, EnvironmentBroken if git fails
        otherwise.
        """
        argv = ["fetch", "-q", "--no-tags", "--no-recurse-submodules"]
        if not self._whole:
            depth = _ALL if history else 1
            argv.append(f"--depth={depth}")
        source = revision
        if not _COMMIT.fullmatch(revision):
            # git would take a tag of that name first
            source = f"refs/heads/{revision}"
        argv += [self._name, source]
        done = self._repo.git.run_unchecked(argv, env=self._env)
        if done.status:
            message = done.stderr
            if "couldn't find remote ref" in message or "not our ref" in message:
                raise UsageProblem(
                    f"the remote has no {revision}",
                    "set  branch:  to a branch that exists",
                )
            raise EnvironmentBroken(
                f"cannot fetch {revision}: {message}", "run the workflow again"
            )
        commit = self._repo.commit("FETCH_HEAD")
        assert commit is not None
        return commit

    def fetch_refs(self, patterns: Sequence[str]) -> None:
        """Fetch the refs that match patterns of git, under their own names: each commit
        with its parents, without more history.

        Raises EnvironmentBroken if git fails; none need exist.
        """
        refs = self.refs(patterns)
        if not refs:
            return
        argv = ["fetch", "-q", "--no-tags", "--no-recurse-submodules", "--depth=2"]
        refspecs = [f"+{ref}:{ref}" for ref in refs]
        done = self._repo.git.run_unchecked(
            [*argv, self._name, *refspecs], env=self._env
        )
        if done.status:
            raise EnvironmentBroken(
                f"cannot fetch {', '.join(refs)}: {done.stderr}",
                "run the workflow again",
            )

    def branches(self, prefix: str) -> dict[str, str]:
        """The remote's branches that begin with `prefix`, with their commits."""
        done = self._repo.git.run_unchecked(
            ["ls-remote", "--heads", self._name, f"refs/heads/{prefix}*"], env=self._env
        )
        if done.status:
            raise EnvironmentBroken(
                f"cannot list the remote's branches: {done.stderr}",
                "run the workflow again",
            )
        branches = {}
        for line in done.stdout.decode().splitlines():
            commit, ref = line.split("\t")
            branches[ref.removeprefix("refs/heads/")] = commit
        return branches

    def push(self, branch: str, new: str, old: str | None) -> RefUpdate:
        """Set the remote's branch to `new` if it is at `old` (None: if it does not
        exist): an exact compare-and-swap.

        Raises EnvironmentBroken if the server cannot be reached.
        """
        return self.push_together([(branch, new, old)])

    def push_together(
        self, updates: Sequence[tuple[str, str, str | None]]
    ) -> RefUpdate:
        """`push` for several branches (name, new, old): all of them move or none does."""
        durable.checkpoint("before push")
        atomic = ["--atomic"] if len(updates) > 1 else []
        leases, refspecs = [], []
        for branch, new, old in updates:
            leases.append(f"--force-with-lease=refs/heads/{branch}:{old or ''}")
            refspecs.append(f"{new}:refs/heads/{branch}")
        argv = ["push", "--porcelain", "--no-verify", *atomic, *leases]
        done = self._repo.git.run_unchecked(
            [*argv, self._name, *refspecs], env=self._env
        )
        durable.checkpoint("after push")
        if done.status == 0:
            return ref_update.LANDED
        answer = f"{done.stdout.decode('utf-8', 'replace')}\n{done.stderr}"
        if any(words in answer for words in _MOVED):
            return ref_update.MOVED
        if any(words in answer for words in _REFUSED):
            text = _server_message(answer)
            return ref_update.refusal(text, refusal_reason(text))
        names = " and ".join(branch for branch, _, _ in updates)
        raise EnvironmentBroken(
            f"cannot push to {names}: {done.stderr}",
            "the results are kept as artifacts; run the job again",
        )

    def refs(self, patterns: Sequence[str]) -> list[str]:
        """The remote's refs that match one of git's patterns; none if it cannot say."""
        argv = ["ls-remote", "-q", self._name, *patterns]
        done = self._repo.git.run_unchecked(argv, env=self._env)
        lines = done.stdout.decode("utf-8", "replace").splitlines()
        return [line.partition("\t")[2] for line in lines] if done.status == 0 else []

    def set_refs(self, commits: Mapping[str, str | None]) -> str | None:
        """Point refs that are no branches at commits, wherever they were; None deletes
        one. Returns what went wrong, None if nothing did.
        """
        if not commits:
            return None
        durable.checkpoint("before push")
        refspecs = [f"{commit or ''}:{ref}" for ref, commit in commits.items()]
        argv = ["push", "--porcelain", "--no-verify", "--force", self._name]
        done = self._repo.git.run_unchecked([*argv, *refspecs], env=self._env)
        durable.checkpoint("after push")
        if done.status == 0:
            return None
        answer = f"{done.stdout.decode('utf-8', 'replace')}\n{done.stderr}"
        return _server_message(answer) or done.stderr

    def delete(self, branch: str, old: str) -> None:
        """Delete the remote's branch if it is at `old`; a failure leaves it there."""
        self._repo.git.run_unchecked(
            [
                *("push", "--porcelain", "--no-verify"),
                f"--force-with-lease=refs/heads/{branch}:{old}",
                *(self._name, f":refs/heads/{branch}"),
            ],
            env=self._env,
        )


def _authorization(token: str, server_url: str) -> dict[str, str]:
    """Environment variables that make git send this token and no other credentials."""
    # actions/checkout leaves a header of its own by default: up to v5 in the
    # repository's configuration, from v6 on in a file that it includes. GitHub answers
    # 400 to two. An empty value resets the list, and git reads the environment last.
    key = f"http.{server_url}/.extraheader"
    secret = base64.b64encode(f"x-access-token:{token}".encode()).decode()
    return {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": key,
        "GIT_CONFIG_VALUE_0": "",
        "GIT_CONFIG_KEY_1": key,
        "GIT_CONFIG_VALUE_1": f"AUTHORIZATION: basic {secret}",
    }


def _server_message(answer: str) -> str:
    """The server's own sentences in the output of a refused push."""
    sentences = []
    for line in answer.splitlines():
        if line.startswith(("remote:", "!", "fatal:")):
            sentence = line.removeprefix("remote:").strip()
            if sentence:
                sentences.append(sentence)
    return " ".join(sentences)[:_MAX_TEXT]
