"""What fanin asks GitHub about issues, and what it tells them: reading the labelled
ones, their history, answering.

Separate from `github_api` because only `fanin collect` and `fanin answer` need it, with
`issues: read` and `issues: write`, which no other job has.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import quote

from runner.core.errors import UsageProblem
from runner.github_api.client import GitHub, bounded
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

READ, WRITE = "issues: read", "issues: write"

# One question, so that its parts belong together: what was edited between two questions
# would go by unseen. `diff` is the whole body of that revision, not a difference; a
# deleted revision has none.
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
    """The issues of one repository. Errors, waiting and repeating as in `GitHub`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._writers: dict[str, bool] = {}

    def labelled(self, label: str, milestone: str | None = None) -> list[Issue]:
        """The open issues with the label, oldest first; of that milestone, by title or
        number, if one is named.
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
            query["milestone"] = self._milestone(milestone)
        found = self._pages(f"{self._root}/issues", needs=READ, query=query)
        return [issue for issue in map(self._issue, found) if not issue.pull_request]

    def _milestone(self, named: str) -> str:
        """The number of a milestone. UsageProblem with the titles there are."""
        there = self._pages(
            f"{self._root}/milestones", needs=READ, query={"state": "all"}
        )
        by_name = {
            str(field(one, "number")): str(field(one, "number")) for one in there
        }
        by_name |= {
            str(field(one, "title")): str(field(one, "number")) for one in there
        }
        if named not in by_name:
            titles = ", ".join(str(field(one, "title")) for one in there[:20]) or "none"
            raise UsageProblem(
                f"{self.repository} has no milestone {named!r}",
                f"milestones there: {titles}",
            )
        return by_name[named]

    def issue(self, repository: str, number: int) -> Issue | None:
        """One issue or pull request of any repository; None if there is none that we
        may see.
        """
        try:
            return self._issue(
                self._send("GET", f"/repos/{repository}/issues/{number}", needs=READ)
            )
        except GitHubRefused as error:
            # gone, or in a repository that this token does not reach
            if error.status in (403, 404, 410):
                return None
            raise

    def history(self, number: int) -> History:
        """The issue's text, every revision of it, and who labelled, unlabelled, renamed
        and transferred it.
        """
        owner, _, name = self.repository.partition("/")
        asked: dict[str, Any] = {
            "owner": owner,
            "name": name,
            "number": number,
            "edits": None,
            "events": None,
        }
        edits, events = list[Edit](), list[Event]()
        more = True
        while more:
            ask = partial(self._github.requester.graphql_query, HISTORY, dict(asked))
            _, data = self._call(ask, needs=READ, repeat=True)
            issue = field(data, "data", "repository", "issue")
            edits += map(_edit, field(issue, "userContentEdits", "nodes"))
            events += map(_event, field(issue, "timelineItems", "nodes"))
            pages = {
                "edits": field(issue, "userContentEdits", "pageInfo"),
                "events": field(issue, "timelineItems", "pageInfo"),
            }
            asked |= {
                name: page.get("endCursor") or asked[name]
                for name, page in pages.items()
            }
            more = any(page.get("hasNextPage") for page in pages.values())
        return History(
            title=str(field(issue, "title")),
            body=str(issue.get("body") or ""),
            edited=issue.get("lastEditedAt"),
            events=tuple(sorted(events, key=lambda event: event.at)),
            edits=tuple(sorted(edits, key=lambda edit: edit.at)),
        )

    def blocked_by(self, issue: Issue) -> list[Issue]:
        """The issues that GitHub says it is blocked by, closed ones too."""
        return self._related(issue, "dependencies/blocked_by", issue.blocked_by)

    def sub_issues(self, issue: Issue) -> list[Issue]:
        """Its sub-issues, closed ones too."""
        return self._related(issue, "sub_issues", issue.sub_issues)

    def _related(self, issue: Issue, what: str, known: int | None) -> list[Issue]:
        """Not asked where GitHub says that there are none; servers that know no such
        thing have none.
        """
        if known == 0:
            return []
        try:
            return list(
                map(
                    self._issue,
                    self._pages(
                        f"{self._root}/issues/{issue.number}/{what}", needs=READ
                    ),
                )
            )
        except NotFound:
            if known is None:
                return []
            raise

    def may_write(self, login: str) -> bool:
        """Whether this person may write to the repository. Asked once for each."""
        if login not in self._writers:
            self._writers[login] = self.actor_permission(login) in WRITERS
        return self._writers[login]

    def post_answer(self, answer: Answer) -> bool:
        """Write the comment, in place if ours is there, and do to the issue what the
        answer says.

        False if our comment says it already: whoever changed the issue since then, such
        as reopened it, is not overruled. The comment is there before the issue is
        closed, and says that all is done only afterwards.
        """
        ours = self._own_comment(answer.number, MARKER, needs=WRITE)
        if (
            ours is not None
            and (ours.body or "").partition("\n")[0].strip() == answer.stamp
        ):
            return False
        begun = f"{MARKER}: begun -->" if answer.deeds else answer.stamp
        ours = self._comment(
            answer.number, ours, bounded(f"{begun}\n{answer.body}"), needs=WRITE
        )
        if answer.deeds:
            self._do(answer)
            self._comment(
                answer.number,
                ours,
                bounded(f"{answer.stamp}\n{answer.body}"),
                needs=WRITE,
            )
        return True

    def _do(self, answer: Answer) -> None:
        url = f"{self._root}/issues/{answer.number}"
        if answer.label is not None:
            self._send("POST", f"{url}/labels", {"labels": [answer.label]}, needs=WRITE)
        if answer.unlabel is not None:
            with suppress(NotFound):
                self._send(
                    "DELETE",
                    f"{url}/labels/{quote(answer.unlabel, safe='')}",
                    needs=WRITE,
                )
        if answer.close:
            self._send(
                "PATCH",
                url,
                {"state": "closed", "state_reason": "completed"},
                needs=WRITE,
            )

    def _issue(self, data: Mapping[str, Any]) -> Issue:
        pull = data.get("pull_request")
        return Issue(
            number=int(field(data, "number")),
            url=str(field(data, "html_url")),
            updated_at=str(field(data, "updated_at")),
            repository="/".join(str(field(data, "repository_url")).rsplit("/", 2)[-2:]),
            state=str(field(data, "state")),
            state_reason=data.get("state_reason"),
            pull_request=pull is not None,
            merged=bool(pull and pull.get("merged_at")),
            blocked_by=(data.get("issue_dependencies_summary") or {}).get(
                "total_blocked_by"
            ),
            sub_issues=(data.get("sub_issues_summary") or {}).get("total"),
        )


def _edit(node: Mapping[str, Any]) -> Edit:
    kept = node.get("deletedAt") is None and node.get("diff") is not None
    by = (node.get("editor") or {}).get("login")
    return Edit(str(field(node, "editedAt")), str(node["diff"]) if kept else None, by)


def _event(node: Mapping[str, Any]) -> Event:
    actor = node.get("actor") or {}
    return Event(
        kind=_KINDS[str(field(node, "__typename"))],
        at=str(field(node, "createdAt")),
        actor=actor.get("login"),
        label=(node.get("label") or {}).get("name") or "",
        old_title=node.get("previousTitle") or "",
        bot=actor.get("__typename") == "Bot",
    )
