"""Properties of agents.presets, over generated inputs."""

from __future__ import annotations

import json
import string
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import agents
from tests.support.builders import quick
from tests.support.preset_outputs import read_output

_NAMES = [
    "type",
    "result",
    "usage",
    "error",
    "data",
    "part",
    "stats",
    "models",
    "permission_denials",
    "message",
    "item",
]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(string.printable),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4)
    ),
    max_leaves=20,
)


@quick
@given(
    lines=st.lists(
        st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=4), max_size=4
    ),
    status=st.integers(0, 3),
)
def test_no_output_makes_a_preset_raise(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[Mapping[str, object]],
    status: int,
) -> None:
    folder = tmp_path_factory.mktemp("attempt")
    stdout = "\n".join(json.dumps(line) for line in lines)
    for preset in agents.presets():
        read_output(preset, folder, stdout, status=status)
