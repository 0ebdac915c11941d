"""What of long texts a report has."""

from __future__ import annotations

import base64
import io
import json
import random
import zlib

from runner.report import texts
from runner.report.document import TaskText
from runner.report.texts import Excerpt, Share


def test_a_log_ends_with_its_last_200_lines() -> None:
    data = b"".join(b"line %d\n" % number for number in range(1_000))
    found = texts.log_end(io.BytesIO(data))
    assert found.text.splitlines()[0] == "line 800"
    assert found.text.endswith("line 999")
    assert not found.is_whole
    assert texts.log_end(io.BytesIO(b"\x1b[31mred\x1b[0m")) == Excerpt("red")


def test_of_a_long_log_only_the_end_is_read() -> None:
    lines = [b"y" * 999 for _ in range(3_000)]
    found = texts.log_end(io.BytesIO(b"\n".join(lines)))
    assert len(found.text) <= texts.MAX_LOG_BYTES
    assert {len(line) for line in found.text.splitlines()} == {999}
    one_line = texts.log_end(io.BytesIO(b"z" * 10**6))
    assert 0 < len(one_line.text) <= texts.MAX_LOG_BYTES + 10
    assert not one_line.is_whole


def test_a_diff_begins_with_whole_lines_of_at_most_64_kb() -> None:
    patch = b"@@ -1 +1 @@\n" + b"+abcdefg\n" * 20_000
    found = texts.diff_start(patch, str)
    assert texts.MAX_DIFF_BYTES - 10 <= len(found.text) <= texts.MAX_DIFF_BYTES
    assert {*found.text.splitlines()[1:]} == {"+abcdefg"}
    assert not found.is_whole
    assert texts.diff_start(b"+a\n", str) == Excerpt("+a")


def test_a_secret_at_the_place_of_the_cut_is_masked_whole() -> None:
    secret = "k" * 40
    patch = b"+" + b"x" * (texts.MAX_DIFF_BYTES - 20) + secret.encode() + b"\n"
    found = texts.diff_start(patch, lambda text: text.replace(secret, "***"))
    assert "k" not in found.text


def test_a_text_is_stored_as_zlib_in_base64() -> None:
    stored = texts.packed(TaskText(prompt="p", log="é\n"))
    data = zlib.decompress(base64.b64decode(stored))
    assert json.loads(data) == {"prompt": "p", "log": "é\n"}


def test_the_share_of_each_task_shrinks_until_all_fit() -> None:
    noise = random.Random(1)
    words = [noise.randbytes(200).hex() for _ in range(64)]

    def text_of(_place: int, share: Share) -> TaskText:
        return TaskText(diff="".join(words)[: share.diff])

    few, many = texts.all_packed(text_of, 2), texts.all_packed(text_of, 1_500)
    assert len(many) == 1_500
    assert sum(map(len, many)) <= texts.MAX_STORED
    assert 100 < len(many[0]) < len(few[0])
    assert texts.all_packed(text_of, 0) == []


def test_a_few_short_texts_do_not_hide_that_all_are_too_long() -> None:
    noise = random.Random(2)
    words = "".join(noise.randbytes(200).hex() for _ in range(64))

    def text_of(place: int, share: Share) -> TaskText:
        return TaskText(diff=words[: share.diff] if place % 20 else "")

    assert sum(map(len, texts.all_packed(text_of, 400))) <= texts.MAX_STORED
