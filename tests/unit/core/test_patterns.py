from __future__ import annotations

import re

import pytest

from runner.core.patterns import lazy_pattern


def test_a_pattern_is_compiled_at_its_first_use_and_only_then() -> None:
    broken = lazy_pattern("(")
    with pytest.raises(re.error):
        broken()
    pattern = lazy_pattern(rb"a+", re.IGNORECASE)
    assert pattern().fullmatch(b"aA")
    assert pattern() is pattern()
