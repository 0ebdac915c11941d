"""The file of a report: its policy names what it has, and no text of it is markup."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import pytest

from runner.report import data
from runner.report import page as page_module
from runner.report.page import page
from tests.support.hostile_texts import TEXTS
from tests.support.run_records import record, with_texts

VENDOR = Path(page_module.__file__).parent / "vendor"


class _Tags(HTMLParser):
    """Collects the elements with their attributes, and the text in each."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.texts: dict[str, list[str]] = {}
        self._last = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(attrs)))
        self._last = tag

    def handle_data(self, text: str) -> None:
        self.texts.setdefault(self._last, []).append(text)

    def handle_endtag(self, tag: str) -> None:
        self._last = ""


def _parsed(text: str) -> _Tags:
    found = _Tags()
    found.feed(text)
    return found


@cache
def _ordinary() -> str:
    return page(data.report(record(6)))


def _hash(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return f"'sha256-{digest}'"


def test_the_policy_has_the_hashes_of_its_script_and_style_and_no_other_source() -> (
    None
):
    found = _parsed(_ordinary())
    [policy] = [
        dict(attributes)["content"] or ""
        for tag, attributes in found.tags
        if tag == "meta" and ("http-equiv", "Content-Security-Policy") in attributes
    ]
    rules = dict(rule.partition(" ")[::2] for rule in policy.split("; "))
    script = "".join(found.texts["script"][1:])
    assert rules["script-src"] == _hash(script)
    assert rules["style-src"] == _hash("".join(found.texts["style"]))
    assert rules["default-src"] == "'none'"
    assert rules["base-uri"] == rules["form-action"] == "'none'"
    assert not re.search(r"unsafe|https?:|data:|\*", policy)


def test_no_element_loads_anything_or_has_a_style_or_handler_of_its_own() -> None:
    for tag, attributes in _parsed(_ordinary()).tags:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "a"}
        for name, _ in attributes:
            assert name not in {"src", "href", "style", "action"}
            assert not name.startswith("on")


def test_there_are_fifty_hostile_texts() -> None:
    assert len(set(TEXTS)) == 50


@pytest.mark.parametrize("text", TEXTS)
def test_a_hostile_text_adds_no_markup_and_is_shown_as_it_is(text: str) -> None:
    run = with_texts(record(6), [text])
    report = data.report(run)
    written = page(report)
    found, ordinary = _parsed(written), _parsed(_ordinary())
    assert found.tags == ordinary.tags
    stored = written.partition('id="data">')[2].partition("</script>")[0]
    assert not set(stored) & set("<>&\u2028\u2029")
    document = json.loads(stored)
    assert document["tasks"][0]["title"] == report.tasks[0].title
    shown = json.dumps(document, ensure_ascii=False)
    # nothing that acts on a terminal or turns the text around
    assert not re.search(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown
    )
    assert document["tasks"][0]["title"].count("<") == text.count("<")


@pytest.mark.one_python
def test_500_tasks_take_less_than_3_mb() -> None:
    written = page(data.report(record(500, diff=60_000)))
    assert len(written.encode()) < 3_000_000
    assert "only the beginning; all of it" not in written  # it is compressed


def test_the_libraries_are_those_that_were_published() -> None:
    sums = {}
    for line in (VENDOR / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split()
        sums[name] = digest
    files = {path.name for path in VENDOR.glob("*.js")}
    assert files == set(sums) == {f"{name}.min.js" for name in page_module.LIBRARIES}
    for name, wanted in sums.items():
        content = (VENDOR / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == wanted
    assert "Mike Bostock" in _ordinary()
