"""The results on other people's projects: results.json and docs/compatibility.md."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import yaml

from benchmarks.compatibility import sources
from benchmarks.harness import ROOT, machine

RESULTS = Path(__file__).with_name("results.json")
# Why projects are not green: name → a sentence, found by looking at what failed.
REASONS = Path(__file__).with_name("reasons.yml")
DOCUMENT = ROOT / "docs" / "compatibility.md"
HEAD = """\
# Compatibility

Written by `python -m benchmarks.compatibility` (with names, only these are tried anew); do not edit by hand.

Other people's projects, as they are published: unpacked, committed, and then without any edit of `fanin.yml`:

1. `fanin init --yes --agent-command …` proposes set-up and test command.
2. `fanin doctor` runs both on the untouched branch.
3. `fanin run edit`: a scripted agent adds a comment to the project's largest source file and runs the tests in its
   checkout; `verify` runs them again on what lands. At least ten tests ran.
4. `fanin run break`: the agent adds one line that fails when it is used; its tests and `verify` are red, so that
   nothing lands.

Those that are green are tried once more within [walls](sandbox.md), by
`python -m benchmarks.compatibility --sandbox auto`, with bubblewrap and Landlock.

The projects were chosen, before the first try, by the rule at the head of `benchmarks/compatibility/repositories.yml`;
that file has their versions and hashes.
"""
# How test runners tell how many tests ran, summed over all lines that match.
COUNTS = (
    r"^Files=\d+, Tests=(\d+)",  # prove, Test::Harness
    # automake and, in the same output, DejaGnu
    r"^# (?:TOTAL:|of (?:un)?expected (?:passes|failures))\s+(\d+)",
    r"tests passed, \d+ tests failed out of (\d+)",  # ctest
    r"^(?:Ok|(?:Expected )?Fail|Unexpected Pass):\s+(\d+)\s*$",  # meson
    r"^=*.*?\b(\d+) passed\b.* in [\d.]+s",  # pytest
    r"^Ran:? (\d+) tests? in",  # unittest, stestr
    r"^\s*(\d+) passing\b",  # mocha
    r"^Tests:.*\b(\d+) total",  # jest
    r"^\s*(\d+) (?:tests? )?passed\b",  # ava
    r"^[#ℹ] tests\s+(\d+)",  # tape, node --test; `# pass` says the same again
    r"^# pass\s+(\d+)",  # tap
    r"^(\d+) (?:runs|tests), \d+ assertions",  # minitest, test-unit
    r"^(\d+) examples?, \d+ failures?",  # RSpec
)
GREEN = "green"
GO_TEST = r"^\s*--- (?:PASS|FAIL): "


@dataclass
class Result:
    """What came out for one repository; it is green if there is no `reason`.

    walls: what came out within walls: `GREEN`, why it is not, or "" if it was not tried.
    """

    name: str
    ecosystem: str
    version: str
    setup: str = ""
    verify: str = ""
    tests: int = 0
    reason: str = ""
    walls: str = ""


def merged(before: Result | None, result: Result, *, within: bool) -> Result:
    """The row of a repository after another try, `within` walls or without."""
    if within and before is not None:
        return replace(before, walls=result.reason or GREEN)
    return replace(result, walls=before.walls if before is not None else "")


def tests_in(output: str) -> int:
    """How many tests ran, by the output of their runner."""
    plain = re.sub(r"\x1b\[[\d;]*m", "", output)
    for pattern in COUNTS:
        counts = [int(number) for number in re.findall(pattern, plain, re.MULTILINE)]
        if counts:
            return sum(counts)
    return len(re.findall(GO_TEST, plain, re.MULTILINE))


def log_text(log: Path) -> str:
    """The text of the log; "" if there is none."""
    return log.read_text(errors="replace") if log.exists() else ""


def settings(file: Path) -> tuple[str, str]:
    """The set-up and the verify that the settings file has; "" if it has none."""
    found = yaml.safe_load(file.read_text(encoding="utf-8"))
    return found.get("setup") or "", found.get("verify") or ""


def read() -> dict[str, Result]:
    """The results of earlier runs, by name."""
    if not RESULTS.exists():
        return {}
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))
    return {row["name"]: Result(**row) for row in rows}


def write(results: Mapping[str, Result]) -> None:
    """Write the results and the document, in the order of the list."""
    rows = []
    for repository in sources.repositories():
        if repository.name in results:
            rows.append(results[repository.name])
    text = json.dumps([asdict(row) for row in rows], indent=1)
    RESULTS.write_text(text + "\n", encoding="utf-8")
    listed = len(sources.repositories())
    reasons = yaml.safe_load(REASONS.read_text(encoding="utf-8")) or {}
    DOCUMENT.write_text(document(rows, listed, reasons), encoding="utf-8")


def document(rows: list[Result], listed: int, reasons: Mapping[str, str]) -> str:
    """docs/compatibility.md, for these results of `listed` projects."""
    green = sum(not row.reason for row in rows)
    counts = f"{listed} are listed, {len(rows)} of them were tried, {green} are green"
    lines = [HEAD, f"{counts}, on {', '.join(machine()[:2])}.", _within_walls(rows), ""]
    lines += ["| project | ecosystem | test command | tests | result | within walls |"]
    lines += ["|---|---|---|---:|---|---|"]
    for row in rows:
        cells = [f"{row.name} {row.version}", row.ecosystem, f"`{row.verify}`"]
        cells += [str(row.tests), row.reason or GREEN, _cell_of_walls(row)]
        escaped = [cell.replace("|", "\\|") for cell in cells]
        lines.append(f"| {' | '.join(escaped)} |")
    known = [row.name for row in rows if row.reason and row.name in reasons]
    if known:
        lines += ["", "Why these are not green:", ""]
        lines += [f"- {name}: {reasons[name]}" for name in known]
    return "\n".join(lines) + "\n"


def _within_walls(rows: list[Result]) -> str:
    tried = [row for row in rows if row.walls and not row.reason]
    green = sum(row.walls == GREEN for row in tried)
    return f"Within walls {len(tried)} of the green ones were tried, {green} are green."


def _cell_of_walls(row: Result) -> str:
    if row.reason:
        return ""
    return row.walls or "not tried"
