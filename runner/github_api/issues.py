"""The calls to GitHub's API about issues.

Only `fanin collect` and `fanin answer` need this, with the permissions `issues: read`
and `issues: write`, which no other job has.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from runner.core.errors import UsageProblem
from runner.github_api.client import GitHub
from runner.github_api.errors import GitHubRefused, NotFound, field
from runner.github_api.issue_types import (
    MARKER,
    WRITERS,
    Answer,
    Edit,
    Event,
    History,
    Issue,
)
from runner.github_api.pulls import truncated

if TYPE_CHECKING:
    from github.IssueComment import IssueComment

READ, WRITE = "issues: read", "issues: write"

# One query, so that its parts belong together: an edit between two queries would be
# missed. `diff` is the whole body of a revision, not a difference; a deleted revision
# has none.
HISTORY = """
query($owner: String!, $name: String!, $number: Int!, $edits: String, $events: String) {
  repository(owner: $owner, name: $name) {
    issue(number: $number) {
      title
      body
      lastEditedAt
      userContentEdits(first: 100, after: $edits) {
        nodes { editedAt deletedAt diff editor { login } }
        pageInfo { hasNextPage endCursor }
      }
      timelineItems(
        first: 100, after: $events,
        itemTypes: [LABELED_EVENT, UNLABELED_EVENT, RENAMED_TITLE_EVENT, TRANSFERRED_EVENT]
      ) {
        nodes {
          __typename
          ... on LabeledEvent { createdAt actor { __typename login } label { name } }
          ... on UnlabeledEvent { createdAt actor { __typename login } label { name } }
          ... on RenamedTitleEvent { createdAt actor { __typename login } previousTitle }
          ... on TransferredEvent { createdAt actor { __typename login } }
        }
        pageInfo { hasNextPage endCursor }
      }
    }
  }
}
"""
_KINDS = {
    "LabeledEvent": "labeled",
    "UnlabeledEvent": "unlabeled",
    "RenamedTitleEvent": "renamed",
    "TransferredEvent": "transferred",
}


class IssueApi(GitHub):
    """The issues of one repository. Errors and retries are those of `GitHub`."""

    @cached_property
    def _may_write(self) -> dict[str, bool]:
        """GitHub's answers so far: login → whether the user may write."""
        return {}

    # --- reading

    def labelled(self, label: str, milestone: str | None = None) -> list[Issue]:
        """The open issues that have the label, oldest first.

        `milestone` is a title or number; None for any. Raises UsageProblem for a label
        or milestone that cannot be.
        """
        if "," in label:
            raise UsageProblem(
                f"the label {label!r} has a comma, which GitHub reads as two labels",
                "rename the label",
            )
        query = {
            "state": "open",
            "labels": label,
            "sort": "created",
            "direction": "asc",
        }
        if milestone is not None:
            query["milestone"] = self._milestone_number(milestone)
        items = self._pages(f"{self._root}/issues", needs=READ, query=query)
        issues = [_issue(item) for item in items]
        # GitHub lists pull requests as issues too.
        return [issue for issue in issues if not issue.pull_request]

    def _milestone_number(self, name: str) -> str:
        """Find a milestone by number or title. Raises UsageProblem with the titles."""
        numbers: dict[str, str] = {}
        titles: dict[str, str] = {}
        url = f"{self._root}/milestones"
        for milestone in self._pages(url, needs=READ, query={"state": "all"}):
            number = str(field(milestone, "number"))
            numbers[number] = number
            titles[str(field(milestone, "title"))] = number
        # A title that looks like a number wins.
        number_of = numbers | titles
        if name not in number_of:
            existing = ", ".join(list(titles)[:20]) or "none"
            raise UsageProblem(
                f"{self.repository} has no milestone {name!r}",
                f"its milestones: {existing}",
            )
        return number_of[name]

    def issue(self, repository: str, number: int) -> Issue | None:
        """An issue or pull request of any repository; None if the token sees none."""
        url = f"/repos/{repository}/issues/{number}"
        try:
            return _issue(self._send("GET", url, needs=READ))
        except GitHubRefused as error:
            # Deleted, or in a repository that this token does not reach.
            if error.status in (403, 404, 410):
                return None
            raise

    def history(self, number: int) -> History:
        """An issue's text, all its revisions, and who labelled, renamed or moved it."""
        edits = list[Edit]()
        events = list[Event]()
        edits_cursor: str | None = None
        events_cursor: str | None = None
        more = True
        while more:
            issue = self._history_page(number, edits_cursor, events_cursor)
            edits += map(_edit, field(issue, "userContentEdits", "nodes"))
            events += map(_event, field(issue, "timelineItems", "nodes"))
            edits_page = field(issue, "userContentEdits", "pageInfo")
            events_page = field(issue, "timelineItems", "pageInfo")
            # The shorter list stays at its end, where GitHub gives no new cursor.
            edits_cursor = edits_page.get("endCursor") or edits_cursor
            events_cursor = events_page.get("endCursor") or events_cursor
            more = bool(edits_page.get("hasNextPage") or events_page.get("hasNextPage"))
        return History(
            title=str(field(issue, "title")),
            body=str(issue.get("body") or ""),
            edited=issue.get("lastEditedAt"),
            events=tuple(sorted(events, key=lambda event: event.at)),
            edits=tuple(sorted(edits, key=lambda edit: edit.at)),
        )

    def _history_page(
        self, number: int, edits_cursor: str | None, events_cursor: str | None
    ) -> Mapping[str, Any]:
        owner, _, name = self.repository.partition("/")
        variables = {
            "owner": owner,
            "name": name,
            "number": number,
            "edits": edits_cursor,
            "events": events_cursor,
        }
        query = partial(self._github.requester.graphql_query, HISTORY, variables)
        _, data = self._call(query, needs=READ, repeat=True)
        issue: Mapping[str, Any] = field(data, "data", "repository", "issue")
        return issue

    def blocked_by(self, issue: Issue) -> list[Issue]:
        """The issues that GitHub says it is blocked by, closed ones too."""
        return self._related(issue, "dependencies/blocked_by", issue.blocked_by)

    def sub_issues(self, issue: Issue) -> list[Issue]:
        """The issue's sub-issues, closed ones too."""
        return self._related(issue, "sub_issues", issue.sub_issues)

    def _related(self, issue: Issue, relation: str, number: int | None) -> list[Issue]:
        """Read the issues of a relation that has `number` of them, if GitHub says."""
        if number == 0:
            return []
        url = f"{self._root}/issues/{issue.number}/{relation}"
        try:
            items = self._pages(url, needs=READ)
        except NotFound:
            # An older Enterprise Server knows neither the number nor the relation.
            if number is None:
                return []
            raise
        return [_issue(item) for item in items]

    def may_write(self, login: str) -> bool:
        """Whether a person may write to the repository. Asks GitHub once for each."""
        if login not in self._may_write:
            self._may_write[login] = self.actor_permission(login) in WRITERS
        return self._may_write[login]

    # --- answering

    def post_answer(self, answer: Answer) -> bool:
        """Create or update our comment and change the issue as the answer says.

        Returns False if our comment has this answer already. Whatever happened to the
        issue since, such as reopening it, is left alone then.
        """
        comment = self._own_comment(answer.number, MARKER, needs=WRITE)
        if comment is not None:
            first_line = (comment.body or "").partition("\n")[0]
            if first_line.strip() == answer.stamp:
                return False
        if not answer.changes_issue:
            self._write_answer(answer, comment, answer.stamp)
            return True
        # The comment comes before the issue is closed. It gets its stamp only at the
        # end, so that an interrupted answer is completed by the next run.
        comment = self._write_answer(answer, comment, f"{MARKER}: begun -->")
        self._change_issue(answer)
        self._write_answer(answer, comment, answer.stamp)
        return True

    def _write_answer(
        self, answer: Answer, comment: IssueComment | None, first_line: str
    ) -> IssueComment:
        text = truncated(f"{first_line}\n{answer.body}")
        return self._write_comment(answer.number, comment, text, needs=WRITE)

    def _change_issue(self, answer: Answer) -> None:
        url = f"{self._root}/issues/{answer.number}"
        if answer.label is not None:
            body = {"labels": [answer.label]}
            self._send("POST", f"{url}/labels", body, needs=WRITE)
        if answer.unlabel is not None:
            label = quote(answer.unlabel, safe="")
            with suppress(NotFound):  # the label was not on
                self._send("DELETE", f"{url}/labels/{label}", needs=WRITE)
        if answer.close:
            state = {"state": "closed", "state_reason": "completed"}
            self._send("PATCH", url, state, needs=WRITE)


def _issue(data: Mapping[str, Any]) -> Issue:
    pull = data.get("pull_request")
    # https://api.github.com/repos/OWNER/NAME
    repository_url = str(field(data, "repository_url"))
    blocked_by = data.get("issue_dependencies_summary") or {}
    sub_issues = data.get("sub_issues_summary") or {}
    return Issue(
        number=int(field(data, "number")),
        url=str(field(data, "html_url")),
        updated_at=str(field(data, "updated_at")),
        repository="/".join(repository_url.split("/")[-2:]),
        state=str(field(data, "state")),
        state_reason=data.get("state_reason"),
        pull_request=pull is not None,
        merged=bool(pull and pull.get("merged_at")),
        blocked_by=blocked_by.get("total_blocked_by"),
        sub_issues=sub_issues.get("total"),
    )


def _edit(node: Mapping[str, Any]) -> Edit:
    editor = node.get("editor") or {}
    body = None
    if node.get("deletedAt") is None and node.get("diff") is not None:
        body = str(node["diff"])
    return Edit(str(field(node, "editedAt")), body, editor.get("login"))


def _event(node: Mapping[str, Any]) -> Event:
    actor = node.get("actor") or {}
    label = node.get("label") or {}
    return Event(
        kind=_KINDS[str(field(node, "__typename"))],
        at=str(field(node, "createdAt")),
        actor=actor.get("login"),
        label=label.get("name") or "",
        old_title=node.get("previousTitle") or "",
        bot=actor.get("__typename") == "Bot",
    )
