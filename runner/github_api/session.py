"""Requests to GitHub's API: rate limits, retries, and refusals as errors.

PyGithub's own retrying and pacing are off: they sleep without a limit and repeat calls
that must not be repeated.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from runner.core.errors import FaninError, UsageProblem
from runner.github_api.errors import (
    CHECK_ROUTE,
    GitHubUnreachable,
    RateLimited,
    UnexpectedAnswer,
    error_reason,
    rate_limit_wait,
    refusal,
    status_of,
)

if TYPE_CHECKING:
    from github import Github, GithubException
    from github.Repository import Repository

DEFAULT_API_URL = "https://api.github.com"

T = TypeVar("T")


@dataclass(frozen=True)
class Retry:
    """The limits on a session's waiting and on repeats of a failing call.

    `budget_seconds` limits all waiting of the session together. `now` returns seconds
    since the epoch.
    """

    budget_seconds: float = 600.0
    max_attempts: int = 4
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.time


class ApiSession:
    """A connection to one repository on GitHub.

    `timeout` limits each request, in seconds. Rate limits are waited out within the
    budget of `retry`. Every method raises only errors of `runner.core.errors`.
    """

    def __init__(
        self,
        token: str,
        repository: str,
        api_url: str = DEFAULT_API_URL,
        *,
        timeout: float = 30.0,
        retry: Retry | None = None,
    ) -> None:
        if not token:
            raise UsageProblem(
                "fanin has no token for GitHub",
                "set GITHUB_TOKEN to ${{ github.token }}",
            )
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
            raise UsageProblem(
                f"{repository!r} is not a valid repository", "write it as owner/name"
            )
        self.repository = repository
        self._retry = retry or Retry()
        self._waited_seconds = 0.0
        self._api_url = api_url.rstrip("/")
        self._token, self._timeout = token, timeout
        self._root = f"/repos/{repository}"

    @cached_property
    def _github(self) -> Github:
        # Not at the top: PyGithub is a third of what a job imports, and
        # many jobs ask nothing of GitHub.
        from github import Auth, Github

        return Github(
            auth=Auth.Token(self._token),
            base_url=self._api_url,
            timeout=max(1, int(self._timeout)),
            user_agent="fanin",
            per_page=100,
            retry=None,
            lazy=True,
            seconds_between_requests=None,
            seconds_between_writes=None,
        )

    @cached_property
    def _repo(self) -> Repository:
        return self._github.get_repo(self.repository)

    def close(self) -> None:
        """Close the connections."""
        if "_github" in vars(self):
            self._github.close()

    def _send(
        self,
        verb: str,
        url: str,
        body: Mapping[str, object] | None = None,
        *,
        needs: str,
        repeat: bool = True,
    ) -> Any:
        """Send one request; return the answer's JSON.

        `needs` is the permission that the request needs, e.g. "contents: write".
        """
        request = partial(
            self._github.requester.requestJsonAndCheck, verb, url, input=body
        )
        _, data = self._call(request, needs=needs, repeat=repeat)
        return data

    def _pages(
        self, url: str, *, needs: str, query: Mapping[str, str] | None = None
    ) -> list[Any]:
        """Read all items of a paginated list."""
        items: list[Any] = []
        for page in count(1):
            parameters = {**(query or {}), "per_page": 100, "page": page}
            request = partial(
                self._github.requester.requestJsonAndCheck, "GET", url, parameters
            )
            headers, data = self._call(request, needs=needs, repeat=True)
            if not isinstance(data, list):
                raise UnexpectedAnswer("GitHub's answer is not a list", CHECK_ROUTE)
            items += data
            if 'rel="next"' not in headers.get("link", ""):
                break
        return items

    def _call(self, request: Callable[[], T], *, needs: str, repeat: bool) -> T:
        """Make a request; wait out rate limits and, if `repeat`, repeat failures.

        A rate-limited request had no effect, so it is always safe to send again.
        """
        import requests
        from github import GithubException

        rate_limits = failures = 0
        while True:
            try:
                return request()
            except GithubException as error:
                status = status_of(error.status, error.data)
                reason = error_reason(error.data)
                wait = self._rate_limit_wait(error, status, reason, rate_limits)
                if wait is not None:
                    rate_limits += 1
                    self._wait_for_rate_limit(wait, f"{status} {reason}")
                elif status < 500:
                    raise refusal(status, reason, needs) from error
                else:
                    failures += 1
                    self._wait_after_failure(f"{status} {reason}", failures, repeat)
            except requests.RequestException as error:
                failures += 1
                failure = f"{type(error).__name__}: {error}"
                self._wait_after_failure(failure, failures, repeat)
            except (AssertionError, RuntimeError, ValueError) as error:
                # PyGithub raises these for an answer that is not JSON, and for a
                # redirect or a next page on another host.
                raise UnexpectedAnswer(
                    f"GitHub's answer makes no sense ({error})", CHECK_ROUTE
                ) from error

    def _rate_limit_wait(
        self, error: GithubException, status: int, reason: str, rate_limits: int
    ) -> float | None:
        headers = {
            str(name).lower(): str(value)
            for name, value in (error.headers or {}).items()
        }
        return rate_limit_wait(
            status, reason, headers, now=self._retry.now(), rate_limits=rate_limits
        )

    def _wait_for_rate_limit(self, seconds: float, reason: str) -> None:
        error = RateLimited(
            f"GitHub asks to wait {seconds:.0f} s ({reason})",
            "run again after that time",
        )
        self._wait(seconds, error)

    def _wait_after_failure(self, failure: str, failures: int, repeat: bool) -> None:
        """Wait before the next attempt; raise GitHubUnreachable after the last."""
        failure = failure.strip()
        if not repeat:
            raise GitHubUnreachable(
                f"GitHub failed ({failure}) and may or may not have done it",
                "look at the repository, then run again",
            )
        error = GitHubUnreachable(
            f"GitHub did not answer ({failure}), asked {failures} times",
            "see https://www.githubstatus.com; run again, nothing is lost",
        )
        if failures >= self._retry.max_attempts:
            raise error
        self._wait(2.0 ** (failures - 1), error)

    def _wait(self, seconds: float, error: FaninError) -> None:
        """Wait, or raise `error` if that would exceed the budget."""
        if self._waited_seconds + seconds > self._retry.budget_seconds:
            raise error
        self._waited_seconds += seconds
        self._retry.sleep(seconds)
