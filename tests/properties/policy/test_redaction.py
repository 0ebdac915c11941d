"""Properties of policy.redaction, over generated inputs."""

from __future__ import annotations

import base64
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from runner.policy.masking import Masker
from runner.policy.redaction import MASK, Secrets
from tests.support.builders import quick
from tests.support.masked_secret import SECRET
from tests.support.searched_secrets import KEY, SECRETS


@given(st.text(min_size=8, max_size=60).filter(lambda t: len(t.strip().encode("utf-8", "replace")) >= 8),
       st.binary(max_size=20), st.binary(max_size=20))  # fmt: skip
def test_base64_is_found_at_every_alignment(
    value: str, before: bytes, after: bytes
) -> None:
    value = value.strip().encode("utf-8", "replace").decode()
    secrets = Secrets({value: "S"})
    assert secrets.find([base64.b64encode(before + value.encode() + after)]) == "S"
    assert secrets.find([before + value.encode() + after]) == "S"


@given(st.lists(st.integers(0, 200), max_size=6))
def test_found_over_every_border_of_pieces(cuts: list[int]) -> None:
    data = b"x" * 60 + KEY.encode() + b"y" * 60
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[one:other] for one, other in pairwise(edges)]
    assert SECRETS.find(pieces) == "KEY"


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
