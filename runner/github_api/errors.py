"""GitHub's refusals as errors that say what to do. Pure.

GitHub often tells two cases apart by its wording alone. Its wording is used only here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from runner.core.errors import EnvironmentBroken, FaninError, UsageProblem

# GitHub's advice for a secondary limit that names no time.
_SECONDARY_WAIT_SECONDS = 60.0
# The types of GitHub's GraphQL errors; the first one counts.
_GRAPHQL_STATUS = {
    "FORBIDDEN": 403,
    "INSUFFICIENT_SCOPES": 403,
    "NOT_FOUND": 404,
    "RATE_LIMITED": 429,
}
_SIGNING_REMEDIES = {
    "unsigned": (
        "GitHub signs only for an app's token such as GITHUB_TOKEN, "
        "never for a personal one"
    ),
    "gpgverify_unavailable": "GitHub cannot sign at the moment; run again",
    "gpgverify_error": "GitHub failed to sign; run again",
}
CHECK_ROUTE = (
    "something else may have answered: check GITHUB_API_URL and the proxy settings"
)


class GitHubRefused(EnvironmentBroken):
    """GitHub refused a request, with an HTTP `status` and its own `reason`."""

    def __init__(
        self, message: str, advice: str = "", *, status: int = 0, reason: str = ""
    ) -> None:
        super().__init__(message, advice)
        self.status = status
        self.reason = reason


class BadToken(GitHubRefused):
    """The token is invalid, or its job has ended."""


class MissingPermission(GitHubRefused):
    """The token lacks a permission; the advice says where to add it."""


class NotFound(GitHubRefused):
    """GitHub has no such object, or hides it from this token."""


class RateLimited(EnvironmentBroken):
    """GitHub asks for a longer wait than the caller allows.

    Not a GitHubRefused: it says nothing about the request.
    """


class GitHubUnreachable(EnvironmentBroken):
    """No answer or a failure of the server, after all attempts."""


class UnexpectedAnswer(EnvironmentBroken):
    """An answer that is not GitHub's: a proxy's page, a redirect, a missing field."""


class NoDispatchTrigger(UsageProblem):
    """The workflow has no `workflow_dispatch` trigger; the advice has the YAML."""


class UndeclaredInputs(UsageProblem):
    """The workflow does not declare fanin's input; the advice has the YAML."""


class DispatchRefused(UsageProblem):
    """The workflow cannot be started, for another reason that the user can fix."""


class NoSuchBranch(EnvironmentBroken):
    """The branch does not exist, or does not exist any more."""


class HeadMoved(EnvironmentBroken):
    """The branch moved from `expected` to `actual`; the caller merges again."""

    def __init__(self, branch: str, expected: str, actual: str) -> None:
        super().__init__(
            f"{branch} moved from {expected[:12]} to {actual[:12]} while fanin was merging",
            "nothing was changed; fanin merges again on the new head, or run it again",
        )
        self.branch, self.expected, self.actual = branch, expected, actual


class BranchRefuses(EnvironmentBroken):
    """A rule or a protection of the branch refused fanin's commit."""


class NotVerified(EnvironmentBroken):
    """GitHub did not sign fanin's commit.

    The branch is unchanged: there is no silent fallback to unsigned commits.
    """


class TreeDiffers(EnvironmentBroken):
    """GitHub built another tree than fanin merged; the branch is unchanged."""


class MayNotOpenPulls(EnvironmentBroken):
    """Actions may not open a pull request; a person can, at `compare_url`."""

    def __init__(self, compare_url: str, reason: str, advice: str) -> None:
        super().__init__(
            f"fanin may not open a pull request here ({reason})",
            f"{advice}\nor open it by hand: {compare_url}",
        )
        self.compare_url = compare_url


def permission_advice(permission: str) -> str:
    """The advice to add a permission such as `actions: write`."""
    return f"add to the job that calls fanin's workflow:\n    permissions:\n      {permission}"


def dispatch_yaml(inputs: Iterable[str]) -> str:
    """The trigger that lets fanin start a workflow with these inputs, as YAML."""
    lines = ["on:", "  workflow_dispatch:"]
    names = sorted(inputs)
    if names:
        lines.append("    inputs:")
    for name in names:
        lines += [
            f"      {name}:",
            "        description: Written by fanin; leave it empty",
            "        type: string",
            "        required: false",
            '        default: ""',
        ]
    return "\n".join(lines)


def rate_limit_wait(
    status: int,
    reason: str,
    headers: Mapping[str, str],
    *,
    now: float,
    rate_limits: int,
) -> float | None:
    """The seconds that GitHub asks to wait; None if the answer is not a rate limit.

    `headers` have lower-case names; `now` is in seconds since the epoch; `rate_limits`
    counts those that this request met before. The order is GitHub's: `retry-after`,
    else `x-ratelimit-reset` when nothing remains, else a minute that doubles each time.
    A 403 alone is a missing permission.
    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
    """
    if status not in (403, 429):
        return None
    after = headers.get("retry-after", "")
    if after.isdigit():
        return max(1.0, float(after))
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") == "0" and reset.isdigit():
        # The reset is in whole seconds: the limit may be lifted late in that second.
        return max(1.0, float(reset) - now + 1)
    if status == 429 or re.search(r"rate limit|abuse detection", reason, re.IGNORECASE):
        return _SECONDARY_WAIT_SECONDS * 2.0**rate_limits
    return None


def error_reason(data: object) -> str:
    """GitHub's own words in an error answer: its message and those of its errors."""
    if not isinstance(data, dict):
        return ""
    errors = data.get("errors")
    parts = [data.get("message")]
    parts += errors if isinstance(errors, list) else [errors]
    words = []
    for part in parts:
        word = part.get("message") if isinstance(part, dict) else part
        if isinstance(word, str) and word.strip():
            words.append(word.strip())
    return ": ".join(words)


def status_of(status: int, data: object) -> int:
    """The status that REST would give for an answer.

    GraphQL answers errors with 200 and a type, and PyGithub raises them with 400.
    """
    if status != 400 or not isinstance(data, dict):
        return status
    errors = data.get("errors") or []
    types = {error.get("type") for error in errors if isinstance(error, dict)}
    for graphql_type, rest_status in _GRAPHQL_STATUS.items():
        if graphql_type in types:
            return rest_status
    return status


def refusal(status: int, reason: str, permission: str) -> GitHubRefused:
    """The error for an answer of 400 and above; `permission` is what the call needs."""
    answer = f"{status} {reason}".strip()
    if status == 401:
        return BadToken(
            f"GitHub does not accept the token ({answer})",
            "a GITHUB_TOKEN expires with its job; pass `github-token: ${{ github.token }}`",
            status=status,
            reason=reason,
        )
    if status == 403:
        return MissingPermission(
            f"the token may not do this ({answer}): it needs `{permission}`",
            permission_advice(permission),
            status=status,
            reason=reason,
        )
    if status == 404:
        return NotFound(
            f"not found on GitHub, or hidden from a token without `{permission}` "
            f"({answer})",
            "check the name; " + permission_advice(permission),
            status=status,
            reason=reason,
        )
    return GitHubRefused(f"GitHub refused ({answer})", status=status, reason=reason)


def dispatch_error(
    error: GitHubRefused, workflow: str, ref: str, inputs: Iterable[str]
) -> FaninError:
    """The error for a refused dispatch, with what to change."""
    if error.status == 404:
        return NotFound(
            f"GitHub has no workflow {workflow} ({error.reason})",
            "its file must be on the default branch too; if it is:\n"
            + permission_advice("actions: write"),
            status=404,
            reason=error.reason,
        )
    if error.status != 422:
        return error
    file = f".github/workflows/{workflow} on {ref}"
    if "does not have 'workflow_dispatch' trigger" in error.reason:
        return NoDispatchTrigger(
            f"{workflow} has no `workflow_dispatch` trigger, so fanin cannot start it",
            f"add to {file} (keep its other triggers):\n{dispatch_yaml(inputs)}",
        )
    if "Unexpected inputs provided" in error.reason:
        names = re.findall(r'"([^"]+)"', error.reason) or sorted(inputs)
        return UndeclaredInputs(
            f"{workflow} does not declare the input {', '.join(names)}",
            f"add to {file}:\n{dispatch_yaml(names)}",
        )
    message = f"GitHub did not start {workflow} on {ref}: {error.reason}"
    if "No ref found" in error.reason:
        return NoSuchBranch(message, "push the branch first")
    return DispatchRefused(
        message,
        "if it is disabled, enable it on the Actions page; "
        "give its required inputs a default",
    )


def field(data: object, *keys: str) -> Any:
    """The value at `keys` of an answer. Raises UnexpectedAnswer if it is missing."""
    for key in keys:
        if not isinstance(data, dict) or data.get(key) is None:
            raise UnexpectedAnswer(
                f"GitHub's answer has no `{'.'.join(keys)}`", CHECK_ROUTE
            )
        data = data[key]
    return data


def not_verified(sha: str, reason: str) -> NotVerified:
    """The error for a commit that GitHub did not sign; `reason` is GitHub's word."""
    remedy = _SIGNING_REMEDIES.get(
        reason, "use GITHUB_TOKEN, or push a commit that you sign yourself"
    )
    return NotVerified(
        f"GitHub did not sign commit {sha[:12]} ({reason}), "
        "so the branch was not changed",
        remedy,
    )
