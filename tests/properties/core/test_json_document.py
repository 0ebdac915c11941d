"""Properties of core.json document, over generated inputs."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.core import json_document
from runner.core.json_document import Node, Number
from tests.support.builders import quick

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


def plain(node: Node) -> Any:
    if node.items is not None:
        return [plain(item) for item in node.items]
    if node.members is not None:
        return {name: plain(member) for name, member in node.members.items()}
    return int(node.value) if isinstance(node.value, Number) else node.value


@quick
@given(VALUES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_values_are_those_of_json_and_lie_where_their_node_says(
    value: Any, indent: Any, escaped: bool
) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=escaped)
    root = json_document.load("x", f" {text}\r\n").root
    assert plain(root) == value
    assert json.loads(f" {text}\r\n"[root.start : root.end]) == value
