"""Properties of issues.approval, over generated inputs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.github_api.issue_types import Edit
from runner.issues import approval
from tests.support.issue_histories import history


@given(
    st.lists(
        st.tuples(st.integers(0, 59), st.text(max_size=3)),
        min_size=1,
        max_size=6,
        unique_by=lambda revision: revision[0],
    ),
    st.integers(0, 59),
)
def test_the_body_is_the_newest_revision_that_is_not_later(
    revisions: list[tuple[int, str]], minute: int
) -> None:
    edits = tuple(
        Edit(f"2026-01-01T00:{at:02}:00Z", f"{at} {text}")
        for at, text in sorted(revisions)
    )
    body = approval.body_at(history(edits=edits), f"2026-01-01T00:{minute:02}:30Z")
    earlier = [at for at, _ in sorted(revisions) if at <= minute]
    assert (body.split()[0] if body else None) == (
        str(earlier[-1]) if earlier else None
    )
