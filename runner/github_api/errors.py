"""What GitHub's refusals mean: by status and wording they become errors that say what
to do. Pure.

Separate from `github_api`, which asks: GitHub tells cases apart by its words alone, and
these stand here only.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from runner.core.errors import EnvironmentBroken, FaninError, UsageProblem

_SECONDARY_WAIT = 60.0  # what GitHub asks for when a secondary limit names no time
CHECK_ROUTE = (
    "something else may have answered: check GITHUB_API_URL and the proxy settings"
)


# -- what can go wrong --


class GitHubRefused(EnvironmentBroken):
    """GitHub answered no. Carries the `status` and GitHub's own `reason`; the
    subclasses say more.
    """

    def __init__(
        self, message: str, advice: str = "", *, status: int = 0, reason: str = ""
    ) -> None:
        super().__init__(message, advice)
        self.status = status
        self.reason = reason


class BadToken(GitHubRefused):
    """The token is no token, or its job has ended."""


class MissingPermission(GitHubRefused):
    """The token may not do this; the advice names the permission and where to add it."""


class NotFound(GitHubRefused):
    """GitHub has no such thing, or hides it from this token."""


class RateLimited(EnvironmentBroken):
    """GitHub asks for a longer wait than the caller allows. No GitHubRefused: it says
    nothing of the call.
    """


class GitHubUnreachable(EnvironmentBroken):
    """No answer, or a server's failure, also after repeating what may be repeated."""


class UnexpectedAnswer(EnvironmentBroken):
    """An answer that is not GitHub's: a proxy's page, a redirect elsewhere, a field
    that is not there.
    """


class NoDispatchTrigger(UsageProblem):
    """The workflow cannot be started by fanin: it declares no `workflow_dispatch`. The
    advice is the YAML.
    """


class UndeclaredInputs(UsageProblem):
    """The workflow does not declare an input that fanin sends it. The advice is the
    YAML.
    """


class DispatchRefused(UsageProblem):
    """The workflow cannot be started for another reason that the user can mend."""


class NoSuchBranch(EnvironmentBroken):
    """The branch is not there (any more)."""


class HeadMoved(EnvironmentBroken):
    """The branch is no longer where fanin built on; the caller merges again on
    `actual`.
    """

    def __init__(self, branch: str, expected: str, actual: str) -> None:
        super().__init__(
            f"{branch} moved from {expected[:12]} to {actual[:12]} while fanin was merging",
            "nothing was changed; fanin merges again on the new head, or run it again",
        )
        self.branch, self.expected, self.actual = branch, expected, actual


class BranchRefuses(EnvironmentBroken):
    """The branch is where we think it is, but a rule or a protection refuses fanin's
    commit.
    """


class NotVerified(EnvironmentBroken):
    """GitHub did not sign fanin's commit. The branch was left alone: no silent fallback
    to unsigned.
    """


class TreeDiffers(EnvironmentBroken):
    """What GitHub built is not the tree fanin merged, so the branch was left alone."""


class MayNotOpenPulls(EnvironmentBroken):
    """Actions may not open a pull request here; `compare_url` lets a person do it with
    one click.
    """

    def __init__(self, compare_url: str, reason: str, advice: str) -> None:
        super().__init__(
            f"fanin may not open a pull request here ({reason})",
            f"{advice}\nor open it by hand: {compare_url}",
        )
        self.compare_url = compare_url


# -- what an answer means --


def permission_advice(permission: str) -> str:
    """The lines to add for a permission such as `actions: write`."""
    return f"add to the job that calls fanin's workflow:\n    permissions:\n      {permission}"


def dispatch_yaml(inputs: Iterable[str]) -> str:
    """The trigger a workflow needs so that fanin may start it with these inputs."""
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
    status: int, reason: str, headers: Mapping[str, str], *, now: float, strike: int
) -> float | None:
    """Seconds GitHub asks us to wait, or None when this answer is no rate limit.

    The order is GitHub's: `retry-after`, else `x-ratelimit-reset` when nothing remains,
    else a minute that doubles with each `strike`. A 403 alone is a missing permission.
    https://docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api#exceeding-the-rate-limit
    """
    if status not in (403, 429):
        return None
    after = headers.get("retry-after", "")
    if after.isdigit():
        return max(1.0, float(after))
    reset = headers.get("x-ratelimit-reset", "")
    if headers.get("x-ratelimit-remaining") == "0" and reset.isdigit():
        # it is not said when in that second the limit is lifted
        return max(1.0, float(reset) - now + 1)
    if status == 429 or re.search(r"rate limit|abuse detection", reason, re.IGNORECASE):
        return _SECONDARY_WAIT * 2.0**strike
    return None


def reason_of(data: object) -> str:
    """GitHub's own words in an error answer: the message and those of its `errors`."""
    if not isinstance(data, dict):
        return ""
    errors = data.get("errors")
    words = [data.get("message"), *(errors if isinstance(errors, list) else [errors])]
    words = [word.get("message") if isinstance(word, dict) else word for word in words]
    return ": ".join(
        word.strip() for word in words if isinstance(word, str) and word.strip()
    )


def status_of(status: int, data: object) -> int:
    """The status that an answer means: GraphQL says with 200 what REST says with a
    status of its own.

    PyGithub gives such an answer as a 400; the types are those of GitHub's GraphQL
    errors.
    """
    errors = data.get("errors") if isinstance(data, dict) else None
    types = (
        {error.get("type") for error in errors or [] if isinstance(error, dict)}
        if status == 400
        else set()
    )
    means = {
        "RATE_LIMITED": 429,
        "FORBIDDEN": 403,
        "INSUFFICIENT_SCOPES": 403,
        "NOT_FOUND": 404,
    }
    return next(
        (means[kind] for kind in sorted(filter(None, types)) if kind in means), status
    )


def refused(status: int, reason: str, permission: str) -> GitHubRefused:
    """The general error for an answer of 400 and above; `permission` is what the call
    needs.
    """
    said = f"{status} {reason}".strip()
    if status == 401:
        return BadToken(
            f"GitHub does not accept the token ({said})",
            "a GITHUB_TOKEN lives as long as its job; pass `github-token: ${{ github.token }}`",
            status=status,
            reason=reason,
        )
    if status == 403:
        return MissingPermission(
            f"the token may not do this ({said}): it needs `{permission}`",
            permission_advice(permission),
            status=status,
            reason=reason,
        )
    if status == 404:
        return NotFound(
            f"GitHub finds nothing, or hides it from a token without `{permission}` ({said})",
            "check the name; " + permission_advice(permission),
            status=status,
            reason=reason,
        )
    return GitHubRefused(f"GitHub refused ({said})", status=status, reason=reason)


def explain_dispatch(
    error: GitHubRefused, workflow: str, ref: str, inputs: Iterable[str]
) -> FaninError:
    """What a refused dispatch means for the user. GitHub tells the cases apart by their
    words alone.
    """
    place = f".github/workflows/{workflow} on {ref}"
    if error.status == 404:
        return NotFound(
            f"GitHub knows no workflow {workflow} ({error.reason})",
            "its file must be on the default branch too; if it is:\n"
            + permission_advice("actions: write"),
            status=404,
            reason=error.reason,
        )
    if error.status != 422:
        return error
    if "does not have 'workflow_dispatch' trigger" in error.reason:
        return NoDispatchTrigger(
            f"{workflow} has no `workflow_dispatch` trigger, so fanin cannot start it",
            f"add to {place} (keep its other triggers):\n{dispatch_yaml(inputs)}",
        )
    if "Unexpected inputs provided" in error.reason:
        names = re.findall(r'"([^"]+)"', error.reason) or sorted(inputs)
        return UndeclaredInputs(
            f"{workflow} does not declare the input {', '.join(names)}",
            f"add to {place}:\n{dispatch_yaml(names)}",
        )
    if "No ref found" in error.reason:
        return NoSuchBranch(
            f"GitHub does not start {workflow} on {ref}: {error.reason}",
            "push the branch first",
        )
    return DispatchRefused(
        f"GitHub does not start {workflow} on {ref}: {error.reason}",
        "if it is disabled, enable it on the Actions page; give required inputs a default",
    )


def field(data: object, *keys: str) -> Any:
    """The value at `keys` of an answer. UnexpectedAnswer when it is not there."""
    for key in keys:
        if not isinstance(data, dict) or data.get(key) is None:
            raise UnexpectedAnswer(
                f"GitHub's answer has no `{'.'.join(keys)}`", CHECK_ROUTE
            )
        data = data[key]
    return data


def not_verified(sha: str, reason: str) -> NotVerified:
    why = {
        "unsigned": "GitHub signs only for an app's token such as GITHUB_TOKEN, never for a personal one",
        "gpgverify_unavailable": "GitHub's signing is not available just now; run again",
        "gpgverify_error": "GitHub's signing failed; run again",
    }
    return NotVerified(
        f"GitHub did not sign commit {sha[:12]} ({reason}), so the branch was not changed",
        why.get(reason, "use GITHUB_TOKEN, or push a commit that you sign yourself"),
    )
