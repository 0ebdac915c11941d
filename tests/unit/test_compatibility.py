"""The compatibility benchmark's own decisions: how many tests ran, what is green, what
docs/compatibility.md says.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks.compatibility import __main__ as benchmark
from benchmarks.compatibility import agent, network, report, sources
from benchmarks.compatibility.__main__ import NotGreen, tried, try_project
from benchmarks.compatibility.report import Result, document
from benchmarks.compatibility.sources import Repository

REPOSITORY = Repository("calc", "Python, pytest", "pypi", "1", {}, ())


@pytest.mark.parametrize(
    ("output", "count"),
    [
        ("a.py ...\n===== 12 passed, 1 skipped in 0.5s =====", 12),
        ("12 passed, 3 warnings in 61.20s (0:01:01)", 12),
        ("1 failed, 11 passed in 2.03s", 11),
        ("Ran 12 tests in 0.001s\n\nOK", 12),
        ("Ran: 12 tests in 4.5 sec.\n - Passed: 12", 12),
        ("\x1b[32m  12 passing\x1b[39m (20ms)", 12),
        ("Tests:       1 skipped, 11 passed, 12 total", 12),
        ("  12 tests passed\n", 12),
        ("1..12\n# tests 12\n# pass  12\n# ok", 12),
        ("ℹ tests 12\nℹ pass 11\nℹ fail 1", 12),
        ("# pass 12", 12),
        ("--- PASS: TestA (0.00s)\n    --- PASS: TestA/b (0.00s)\n--- FAIL: TestC", 3),
        ("All tests successful.\nFiles=3, Tests=12,  1 wallclock secs", 12),
        ("Files=1, Tests=5, 0 s\nFiles=1, Tests=7, 0 s", 12),
        ("# TOTAL: 12\n# PASS:  12", 12),
        ("# of expected passes\t\t9\n# of unexpected failures\t1\n# TOTAL: 2", 12),
        ("100% tests passed, 0 tests failed out of 12", 12),
        ("Ok:                 11  \nExpected Fail:      0\nFail:               1", 12),
        ("12 runs, 30 assertions, 0 failures", 12),
        ("12 examples, 0 failures", 12),
        ("ok  \texample.org/calc\t0.002s\n30 files passed the lint\n", 0),
        ("", 0),
    ],
)
def test_tests_are_counted_by_what_their_runner_prints(output: str, count: int) -> None:
    assert report.tests_in(output) == count


@pytest.mark.parametrize(
    ("verify", "tests", "broken", "reason"),
    [
        ("make test", 10, True, None),
        ("make test", 9, True, "only 9 tests were counted"),
        ("make test", 10, False, "stay green with a broken line"),
        ("", 10, True, "no test command was found"),
    ],
)
def test_green_is_ten_tests_of_a_named_command_that_notice_a_broken_line(
    verify: str,
    tests: int,
    broken: bool,
    reason: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    root, logs = tmp_path / "project", tmp_path / "logs"
    for folder in (root, logs):
        folder.mkdir()
    codes = []

    def expect(code: int, root: Path, *argv: str) -> None:
        codes.append((argv[0], code))
        if argv[0] == "init":
            (root / "fanin.yml").write_text(f"verify: {verify}\n")
        if argv[-1] == "edit":
            (logs / "edit.log").write_text(f"Ran {tests} tests in 0.1s\n")
        if argv[-1] == "break" and broken:
            (logs / "broken").write_text("calc.py")

    monkeypatch.setattr(benchmark, "_expect", expect)
    monkeypatch.setattr(benchmark, "_git", lambda *argv: None)
    result = Result("calc", "Python", "1")
    if reason is None:
        try_project(root, "Python", logs, result)
        # the broken line must not land
        assert codes == [("init", 0), ("doctor", 0), ("run", 0), ("run", 1)]
    else:
        with pytest.raises(NotGreen, match=reason):
            try_project(root, "Python", logs, result)


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("const a = 'a'\n", "throw new Error('broken')"),
        ("const a = 'a';\n", "throw new Error('broken');"),
        ('const a = "a";\n', 'throw new Error("broken");'),
    ],
)
def test_a_broken_line_is_in_the_style_of_its_file(
    text: str, broken: str, tmp_path: Path
) -> None:
    file = tmp_path / "a.js"
    file.write_text(text)
    agent.insert(file, broken=True)
    assert file.read_text() == f"{text}{broken}\n"


def test_a_source_that_cannot_be_had_is_a_reason_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(repository: Repository, cache: Path) -> list[Path]:
        argv = ["pip", "download", repository.name]
        raise subprocess.CalledProcessError(1, argv, stderr=b"line\nno such version\n")

    monkeypatch.setattr(sources, "fetch", fetch)
    result = tried(REPOSITORY, tmp_path, installs=False)
    assert result.reason == "pip download calc: no such version"


@pytest.mark.parametrize("is_answered", [True, False])
def test_an_address_that_is_answered_gets_a_route_that_is_removed(
    is_answered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[str] = []

    def run(argv: list[str]) -> str:
        commands.append(" ".join(argv[1:3]))
        return '[{"dst": "default", "dev": "eth0"}]'

    monkeypatch.setattr(network, "run", run)
    monkeypatch.setattr(network, "_is_answered", lambda: is_answered)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    with pytest.raises(KeyboardInterrupt), network.silent_address():
        raise KeyboardInterrupt
    added = ["-j route", "neigh replace", "route replace"]
    assert commands == ([*added, "route del", "neigh del"] if is_answered else [])


def test_walls_have_a_column_of_their_own() -> None:
    """A try within walls changes nothing else, and one without keeps it."""
    rows = {
        "a": Result("a", "Go", "1", tests=10),
        "b": Result("b", "Go", "1", reason="red"),
        "c": Result("c", "Go", "1", tests=10),
    }
    refused = Result("a", "Go", "9", tests=3, reason="the walls refused x")
    first = report.merged(rows["a"], refused, within=True)
    assert (first.version, first.tests, first.reason) == ("1", 10, "")
    assert first.walls == "the walls refused x"
    again = report.merged(first, Result("a", "Go", "9"), within=False)
    assert (again.version, again.walls) == ("9", first.walls)
    rows |= {"a": first, "c": report.merged(rows["c"], rows["c"], within=True)}
    text = document(list(rows.values()), 3, {})
    assert "Within walls 2 of the green ones were tried, 1 are green." in text
    assert "| 10 | green | the walls refused x |" in text
    assert "| 0 | red |  |" in text
    assert benchmark.summary(rows, within=True) == 1
    assert benchmark.summary({"c": rows["c"]}, within=True) == 0


def test_the_document_counts_what_is_listed_tried_and_green_and_says_why_not() -> None:
    rows = [
        Result("a", "Node", "1", verify="npm test", tests=12),
        Result("b", "Go", "2", verify="a | b", reason="doctor: exit 2"),
        Result("c", "Go", "3", verify="go test", tests=10),
    ]
    text = document(rows, 5, {"a": "an old reason", "b": "needs a newer go"})
    assert "5 are listed, 3 of them were tried, 2 are green" in text
    assert "| b 2 | Go | `a \\| b` | 0 | doctor: exit 2 |" in text
    assert "- b: needs a newer go" in text
    assert "an old reason" not in text


def test_the_document_is_that_of_the_results() -> None:
    rows = report.read()
    names = [repository.name for repository in sources.repositories()]
    assert list(rows) == [name for name in names if name in rows]
    green = sum(not row.reason for row in rows.values())
    text = report.DOCUMENT.read_text(encoding="utf-8")
    counts = (
        f"{len(names)} are listed, {len(rows)} of them were tried, {green} are green"
    )
    assert counts in text
    for row in rows.values():
        assert f"| {row.name} {row.version} | {row.ecosystem} |" in text
