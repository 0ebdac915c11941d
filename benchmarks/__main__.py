"""`python -m benchmarks [NAME…] [--smoke]`: print every figure as a table, and write
docs/performance.md.

With names only these parts run, and only their sections of the document are written
anew. The longest parts run only by name.
"""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import (
    ROOT,
    Effort,
    Report,
    Unavailable,
    as_markdown,
    as_text,
    disk,
    machine,
)

PARTS = (
    "planning",
    "simulate",
    "fan_in",
    "scheduling",
    "realistic",
    "dispatch",
    "task_counts",
    "cold_start",
    "starts",
    "job_setup",
    "job_starts",
    "ready_checkouts",
    "pooled_checkouts",
    "checkout_watch",
    "live_view",
    "report",
    "walls",
    "growth",
    "big_repository",
)
# Only by name: they take hours, or a disk of their own.
LONG = ("realistic", "growth", "big_repository")
DOCUMENT = ROOT / "docs" / "performance.md"
HEAD = """# Performance

Written by `python -m benchmarks` (or `python -m benchmarks NAME…` for some parts); do not edit by hand, but for the
part "What is missed, and why" at the end.

Every figure is a ratio inside one run, the median of interleaved rounds (five unless said otherwise), because machines
are noisy: seconds of one run say little about another. Outputs are verified before a time counts.
"""
TAIL = "## What is missed, and why"


def main(argv: Sequence[str] | None = None) -> int:
    options = _options(argv)
    cache = Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "fanin-benchmarks"
    )
    found: dict[str, str] = {}
    missed = 0
    with tempfile.TemporaryDirectory(prefix="fanin-benchmarks-") as work:
        effort = Effort(
            Path(work),
            options.cache or cache,
            options.smoke,
            1 if options.smoke else options.repeats,
            options.small,
        )
        effort.cache.mkdir(parents=True, exist_ok=True)
        where = disk(effort.work)
        for name in options.parts or [each for each in PARTS if each not in LONG]:
            report = _measured(name, effort)
            print(as_text(report), flush=True)
            missed += sum(not target.met for target in report.targets)
            found[name] = as_markdown(report)
    if options.write:
        ran = f"rounds: {options.repeats}; parts: {', '.join(found)}"
        options.write.write_text(
            document(_text(options.write), found, (where, ran)), encoding="utf-8"
        )
    print(f"{missed} targets are missed" if missed else "every target is met")
    return 0


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="NAME",
        help=f"one of {', '.join(PARTS)}; without any, all but {' and '.join(LONG)}",
    )
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="tiny sizes, once: whether the benchmarks themselves work",
    )
    parser.add_argument(
        "--small",
        action="store_true",
        help=f"smaller sizes of {' and '.join(LONG)}; their figures are not for the document",
    )
    parser.add_argument("--repeats", type=int, default=5, help="rounds (default 5)")
    parser.add_argument("--cache", type=Path, help="where the peers are installed")
    parser.add_argument(
        "--write",
        type=Path,
        help="the document to write (default docs/performance.md, smoke: none)",
    )
    options = parser.parse_args(argv)
    if unknown := set(options.parts) - set(PARTS):
        parser.error(
            f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}"
        )
    if options.write is None and not options.smoke and not options.small:
        options.write = DOCUMENT
    return options


def _measured(name: str, effort: Effort) -> Report:
    part = importlib.import_module(f"benchmarks.{name}")
    try:
        report: Report = part.measure(effort)
    except Unavailable as reason:
        report = Report(name, notes=[f"left out: {reason}"])
    return report


def document(before: str, found: dict[str, str], about: Sequence[str] = ()) -> str:
    """The document with the sections of the parts that ran put in, the others and what
    people wrote kept.
    """
    sections = (
        dict(
            re.findall(r"<!-- part: (\w+) -->\n(.*?)\n<!-- end -->", before, re.DOTALL)
        )
        | found
    )
    _, written, tail = before.partition(TAIL)
    lines = [
        HEAD,
        "Machine of the last run:",
        "",
        *(f"- {line}" for line in [*machine(), *about]),
        "",
    ]
    for name in PARTS:
        if name in sections:
            lines += [
                f"<!-- part: {name} -->",
                sections[name].rstrip("\n"),
                "<!-- end -->",
                "",
            ]
    return "\n".join(lines) + "\n" + (TAIL + tail if written else f"{TAIL}\n")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main())
