"""What fanin asks GitHub about issues, and what it tells them: reading the labelled ones, their history, answering.

Separate from `github_api` because only `fanin collect` and `fanin answer` need it, with `issues: read` and
`issues: write`, which no other job has.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from runner.errors import UsageProblem
from runner.github_api import GitHub, bounded
from runner.issues import MARKER, WRITERS, Answer, Edit, Event, Issue
from runner.refusals import GitHubRefused, NotFound, field

READ, WRITE = "issues: read", "issues: write"

# `diff` is the whole body of that revision, not a difference; a deleted revision has none.
EDITS = """
query($owner: String!, $name: String!, $number: Int!, $after: String) {
  repository(owner: $owner, name: $name) {
    issue(number: $number) {
      userContentEdits(first: 100, after: $after) {
        nodes { editedAt deletedAt diff }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
}
"""


class IssueApi(GitHub):
    """The issues of one repository. Errors, waiting and repeating as in `GitHub`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._writers: dict[str, bool] = {}

    def labelled(self, label: str, milestone: str | None = None) -> list[Issue]:
        """The open issues with the label, oldest first; of that milestone, by title or number, if one is named."""
        query = {"state": "open", "labels": label, "sort": "created", "direction": "asc"}
        if milestone is not None:
            query["milestone"] = self._milestone(milestone)
        found = self._pages(f"{self._root}/issues", needs=READ, query=query)
        return [issue for issue in map(self._issue, found) if not issue.pull_request]

    def _milestone(self, named: str) -> str:
        """The number of a milestone. UsageProblem with the titles there are."""
        there = self._pages(f"{self._root}/milestones", needs=READ, query={"state": "all"})
        by_name = {str(field(one, "number")): str(field(one, "number")) for one in there}
        by_name |= {str(field(one, "title")): str(field(one, "number")) for one in there}
        if named not in by_name:
            titles = ", ".join(str(field(one, "title")) for one in there[:20]) or "none"
            raise UsageProblem(f"{self.repository} has no milestone {named!r}", f"milestones there: {titles}")
        return by_name[named]

    def issue(self, repository: str, number: int) -> Issue | None:
        """One issue or pull request of any repository; None if there is none that we may see."""
        try:
            return self._issue(self._send("GET", f"/repos/{repository}/issues/{number}", needs=READ))
        except GitHubRefused as error:
            if error.status in (403, 404, 410):  # gone, or in a repository that this token does not reach
                return None
            raise

    def events(self, number: int) -> list[Event]:
        """Who labelled, unlabelled and renamed the issue, oldest first."""
        found = self._pages(f"{self._root}/issues/{number}/events", needs=READ)
        kinds = ("labeled", "unlabeled", "renamed")
        return [_event(event) for event in found if field(event, "event") in kinds]

    def edits(self, number: int) -> list[Edit]:
        """Every revision of the issue's body, oldest first; none if it was never edited."""
        owner, _, name = self.repository.partition("/")
        found: list[Edit] = []
        after = None
        while True:
            variables = {"owner": owner, "name": name, "number": number, "after": after}
            ask = partial(self._github.requester.graphql_query, EDITS, variables)
            _, data = self._call(ask, needs=READ, repeat=True)
            page = field(data, "data", "repository", "issue", "userContentEdits")
            for node in field(page, "nodes"):
                kept = node.get("deletedAt") is None and node.get("diff") is not None
                found.append(Edit(str(field(node, "editedAt")), str(node["diff"]) if kept else None))
            after = field(page, "pageInfo").get("endCursor")
            if not field(page, "pageInfo").get("hasNextPage"):
                return sorted(found, key=lambda edit: edit.at)

    def blocked_by(self, issue: Issue) -> list[Issue]:
        """The issues that GitHub says it is blocked by, closed ones too."""
        return self._related(issue, "dependencies/blocked_by", issue.blocked_by)

    def sub_issues(self, issue: Issue) -> list[Issue]:
        """Its sub-issues, closed ones too."""
        return self._related(issue, "sub_issues", issue.sub_issues)

    def _related(self, issue: Issue, what: str, known: int | None) -> list[Issue]:
        """Not asked where GitHub says that there are none; servers that know no such thing have none."""
        if known == 0:
            return []
        try:
            return list(map(self._issue, self._pages(f"{self._root}/issues/{issue.number}/{what}", needs=READ)))
        except NotFound:
            if known is None:
                return []
            raise

    def may_write(self, login: str) -> bool:
        """Whether this person may write to the repository. Asked once for each."""
        if login not in self._writers:
            self._writers[login] = self.actor_permission(login) in WRITERS
        return self._writers[login]

    def tell(self, answer: Answer) -> bool:
        """Do to the issue what the answer says, then write the comment, in place if ours is there.

        False if our comment says it already: the comment is written last, and whoever changed the issue since then,
        such as reopened it, is not overruled.
        """
        ours = self._own_comment(answer.number, MARKER, needs=WRITE)
        if ours is not None and (ours.body or "").partition("\n")[0].strip() == answer.stamp:
            return False
        url = f"{self._root}/issues/{answer.number}"
        if answer.label is not None:
            self._send("POST", f"{url}/labels", {"labels": [answer.label]}, needs=WRITE)
        if answer.close:
            self._send("PATCH", url, {"state": "closed", "state_reason": "completed"}, needs=WRITE)
        text = bounded(f"{answer.stamp}\n{answer.body}")
        if ours is not None:
            with suppress(NotFound):  # deleted since we looked
                self._call(lambda: ours.edit(text), needs=WRITE, repeat=True)
                return True
        self._send("POST", f"{url}/comments", {"body": text}, needs=WRITE, repeat=False)
        return True

    def _issue(self, data: Mapping[str, Any]) -> Issue:
        pull = data.get("pull_request")
        return Issue(
            number=int(field(data, "number")),
            title=str(field(data, "title")),
            body=str(data.get("body") or ""),
            url=str(field(data, "html_url")),
            updated_at=str(field(data, "updated_at")),
            repository="/".join(str(field(data, "repository_url")).rsplit("/", 2)[-2:]),
            state=str(field(data, "state")),
            state_reason=data.get("state_reason"),
            pull_request=pull is not None,
            merged=bool(pull and pull.get("merged_at")),
            blocked_by=(data.get("issue_dependencies_summary") or {}).get("total_blocked_by"),
            sub_issues=(data.get("sub_issues_summary") or {}).get("total"),
        )


def _event(data: Mapping[str, Any]) -> Event:
    return Event(
        kind=str(field(data, "event")),
        at=str(field(data, "created_at")),
        actor=(data.get("actor") or {}).get("login"),
        label=(data.get("label") or {}).get("name") or "",
        old_title=(data.get("rename") or {}).get("from") or "",
    )
