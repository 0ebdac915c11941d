"""Properties of issues.rendered text, over generated inputs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.issues.rendered_text import rendered_text


@given(
    st.lists(
        st.sampled_from(
            [
                "<!--",
                "-->",
                "```",
                "\n",
                "> ",
                "- ",
                "    ",
                "[x]: ",
                "a",
                '"',
                "<",
                "?>",
            ]
        ),
        max_size=14,
    )
)
def test_any_text_is_rendered_without_an_error_and_gets_no_longer(
    parts: list[str],
) -> None:
    once = rendered_text("".join(parts))
    assert len(once) <= len("".join(parts)) + 1
    rendered_text(once)
