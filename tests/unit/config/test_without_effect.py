"""A setting that changes nothing is named at its place, and no other one is."""

from __future__ import annotations

import pytest

from runner.config.settings import FlagValue, load
from runner.config.without_effect import without_effect


def found(
    text: str,
    flags: dict[str, FlagValue | None] | None = None,
    environ: dict[str, str] | None = None,
) -> list[str]:
    return [
        str(each) for each in without_effect(load(flags or {}, environ or {}, text))
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "verify: make\nstart_after: merge\n",
            "start_after: no effect without schedule: rolling",
        ),
        (
            "schedule: rolling\nstart_after: merge\n",
            "start_after: no effect without verify",
        ),
        (
            "on_limit: stop\non_limit_max: 1h\n",
            "on_limit_max: no effect without on_limit: wait",
        ),
    ],
)
def test_it_is_named_with_its_line_and_what_it_needs(text: str, said: str) -> None:
    assert found(text) == [f"fanin.yml:2: {said}; set it, or leave this out"]


def test_all_that_it_needs_is_named_together() -> None:
    what = "start_after: no effect without schedule: rolling and verify"
    [said] = found("start_after: merge\n")
    assert said == f"fanin.yml:1: {what}; set them, or leave this out"


@pytest.mark.parametrize(
    ("name", "value", "other", "needed"),
    [
        ("verify_concurrent", "3", "1", "verify"),
        ("verify_cache", "false", "true", "verify"),
        ("verify_base", "ignore", "check", "verify"),
        ("start_after", "merge", "verify", "verify"),
        ("setup_timeout", "1h", "10m", "setup"),
    ],
)
def test_the_default_and_what_has_an_effect_are_not_named(
    name: str, value: str, other: str, needed: str
) -> None:
    text = "schedule: rolling\n"
    [said] = found(f"{text}{name}: {value}\n")
    assert said.startswith(f"fanin.yml:2: {name}: no effect without {needed};")
    assert found(f"{text}{name}: {other}\n") == []
    assert found(f"{text}{name}: {value}\n{needed}: make\n") == []


def test_the_last_place_that_sets_it_is_named() -> None:
    text, variable = "verify_concurrent: 2\n", {"FANIN_VERIFY_CONCURRENT": "3"}
    rest = "no effect without verify; set it, or leave this out"
    assert found(text, {"verify_concurrent": "4"}, variable) == [
        f"command line: --verify-concurrent: {rest}"
    ]
    assert found(text, environ=variable) == [
        f"environment: FANIN_VERIFY_CONCURRENT: {rest}"
    ]


def test_a_flag_that_turns_something_off_is_named_as_it_was_written() -> None:
    rest = "no effect without verify; set it, or leave this out"
    assert found("", {"verify_cache": False}) == [
        f"command line: --no-verify-cache: {rest}"
    ]
