"""The agent of benchmarks/retries: it writes each line of its task that its checkout
lacks, keeps what is there, and resolves a marked conflict by keeping both sides.

A line `PATH: TEXT` of its prompt is a line of its task; `sleep SECONDS` takes time. It
notes each line that it writes in `$LINE_AGENT_LOG`.
"""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

LINE = re.compile(r"(?P<path>[\w./-]+\.txt): (?P<text>line .+)")
MARKER = ("<<<<<<< fanin: ", ">>>>>>> fanin: ")


def without_markers(lines: list[str]) -> list[str]:
    kept: list[str] = []
    inside = False
    for line in lines:
        if line.startswith(MARKER):
            inside = line.startswith("<")
        elif not (inside and line == "======="):
            kept.append(line)
    return kept


def main() -> None:
    wanted: dict[str, list[str]] = {}
    for line in sys.stdin.read().splitlines():
        if line.startswith("sleep "):
            time.sleep(float(line.split()[1]))
        elif match := LINE.fullmatch(line.strip()):
            wanted.setdefault(match["path"], []).append(match["text"])
    written: list[str] = []
    for path, texts in wanted.items():
        file = Path(path)
        there = file.read_text().splitlines() if file.exists() else []
        lines = without_markers(there)
        missing = [text for text in texts if text not in lines]
        file.write_text("\n".join([*lines, *missing]) + "\n")
        written += missing
    with Path(os.environ["LINE_AGENT_LOG"]).open("a") as log:
        log.write("".join(f"{text}\n" for text in written))


if __name__ == "__main__":
    main()
