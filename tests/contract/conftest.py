"""The stand-in for GitHub, for every test of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.openapi import Contract


@pytest.fixture
def gh() -> Iterator[Contract]:
    """A mock in which each stub must be used and each call must be stubbed."""
    mock = Contract(assert_all_requests_are_fired=True)
    with mock:
        yield mock
