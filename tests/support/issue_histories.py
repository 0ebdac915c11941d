"""An issue's history, as GitHub tells it."""

from __future__ import annotations

from typing import Any

from runner.github_api.issue_types import Edit, Event, History


def history(*events: Event, edits: tuple[Edit, ...] = (), **changes: Any) -> History:
    now = edits[-1].body if edits and edits[-1].body is not None else "now"
    edited = edits[-1].at if edits else None
    return History(
        **{
            "title": "Now",
            "body": now,
            "edited": edited,
            "events": events,
            "edits": edits,
            **changes,
        }
    )
