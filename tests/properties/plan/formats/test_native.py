"""Properties of plan.formats.native, over generated inputs."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.core.task import PlanSettings
from runner.plan import formats
from runner.plan.formats import MemoryTree, native
from runner.policy import globs
from tests.support.builders import plan as make_plan
from tests.support.builders import quick, task

TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"])
    | st.sampled_from("\n\t #:-'\"%@|>{}[]")
)


LISTS = st.none() | st.lists(
    TEXT.map(lambda text: f"a{text}".replace("\n", "")).filter(
        lambda glob: globs.invalid(glob) is None
    ),
    max_size=2,
).map(tuple)


@quick
@given(
    st.lists(
        st.fixed_dictionaries(
            {"title": TEXT.map(lambda text: f"x{text}".strip()), "prompt": TEXT, "files": LISTS},
            optional={
                "verify": TEXT, "timeout": st.floats(1, 1e6), "max_attempts": st.integers(1, 100),
                "priority": st.integers(-9, 9), "allow_empty": st.booleans(), "estimate": st.integers(1, 9).map(float),
                "agent": st.sampled_from([{"preset": "claude"}, {"command": ["a", "b c"], "env": ["KEY"]}]),
            },
        ),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_a_rendered_plan_is_read_back_unchanged(
    fields: list[dict[str, Any]],
) -> None:
    ids = ["1.10", "null", "T 3", "x: y"]
    tasks = [
        task(ids[n], **each, depends_on=tuple(ids[:n])) for n, each in enumerate(fields)
    ]
    text = native.render(make_plan(*tasks, path="from\nhere"))
    again = formats.load(PlanSettings(), MemoryTree({"tasks.yml": text}))
    assert [each.model_dump() for each in again.tasks] == [
        each.model_dump() for each in tasks
    ]
