"""Names the tests that failed, by the output of the common test runners."""

from __future__ import annotations

import re

from runner.core.message_text import one_line

_MAX_TESTS = 10
_MAX_NAME = 200

# Each is matched at the start of a line, and its first group is the name.
_LINES = (
    re.compile(r"(?:FAILED|ERROR) (\S+::\S+)"),  # pytest
    re.compile(r"(?:FAIL|ERROR): (\w+ \([\w.]+\))"),  # unittest
    re.compile(r"\s*--- FAIL: (\S+)"),  # go test
    re.compile(r"test (\S+) \.\.\. FAILED"),  # cargo test
    re.compile(r"\s*● (\S.*)"),  # jest
    re.compile(r"\s*✖ (\S.*?)(?: \([\d.]+ ?m?s\))?$"),  # node --test, mocha
    re.compile(r"rspec (\S+:\d+)"),
    re.compile(r"not ok \d+ (?:- )?(\S.*)"),  # TAP: bats, prove
    re.compile(r"\s*\d+ - (\S+) \((?:Failed|Timeout)\)"),  # ctest
    re.compile(r"\[ERROR\] +(\w[\w.$]*(?:\.|#)\w+):\d+"),  # Maven's Surefire
)


def failed_tests(output: str) -> tuple[str, ...]:
    """The names of at most ten failed tests, in the order of the output."""
    names: dict[str, None] = {}
    for line in output.splitlines():
        for pattern in _LINES:
            match = pattern.match(line[:1_000])
            if match is not None:
                names[one_line(match[1])[:_MAX_NAME]] = None
                break
    return tuple(names)[:_MAX_TESTS]
