"""Properties of policy.masking, over generated inputs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.policy.redaction import MASK, Masker
from tests.support.builders import quick
from tests.support.masked_secret import SECRET


@quick
@given(cuts=st.lists(st.integers(1, 20), max_size=20), noise=st.binary(max_size=30))
def test_a_secret_that_is_torn_across_pieces_is_masked(
    cuts: list[int], noise: bytes
) -> None:
    whole, masker, shown = (
        noise + SECRET.encode() + noise + SECRET.encode(),
        Masker([SECRET]),
        b"",
    )
    for cut in cuts:
        shown += masker.feed(whole[:cut])
        whole = whole[cut:]
    shown += masker.feed(whole) + masker.flush()
    assert SECRET.encode() not in shown
    assert shown == noise + MASK.encode() + noise + MASK.encode()
