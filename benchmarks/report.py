"""Report: the size of the file, and how long a browser takes until it shows a run of 500
tasks, each with the longest log and diff that a report has.

Each round opens an empty page too, so that the figures of two machines can be compared.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.harness import (
    Effort,
    Report,
    Samples,
    Table,
    Target,
    Unavailable,
    expect,
    folder,
    interleaved,
)
from runner.report import data
from runner.report.page import page
from tests.support.run_records import record

TASKS, SMOKE_TASKS = 500, 12
DIFF = 60_000  # bytes
MOST_SECONDS, MOST_MB = 1.5, 3.0
EMPTY, OPENED = "an empty page", "the report"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# The frame behind the one in which everything is there.
_SHOWN = (
    "new Promise((then) => requestAnimationFrame(() => requestAnimationFrame(then)))"
)


def measure(effort: Effort) -> Report:
    tasks = SMOKE_TASKS if effort.smoke else TASKS
    run = record(tasks, diff=DIFF)
    start = time.perf_counter()
    text = page(data.report(run))
    made = time.perf_counter() - start
    with folder(effort, "report") as work:
        report, empty = work / "report.html", work / "empty.html"
        report.write_text(text, encoding="utf-8")
        empty.write_text("<!doctype html><title>empty</title>", encoding="utf-8")
        samples, own = _opened(report, empty, tasks, effort.repeats)
    return _report(samples, tasks, len(text.encode()) / 1e6, made, own)


def _opened(
    report: Path, empty: Path, tasks: int, repeats: int
) -> tuple[Samples, float]:
    """Seconds of each round, and the processor time of the report's main thread."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise Unavailable("playwright is not installed") from None
    program = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if program is None:
        raise Unavailable("there is no chromium on the PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"]
        )

        def seconds(path: Path, rows: int) -> float:
            tab = browser.new_page(viewport={"width": 1440, "height": 900})
            cdp = tab.context.new_cdp_session(tab)
            cdp.send("Performance.enable", {"timeDomain": "threadTicks"})
            begin = time.perf_counter()
            tab.goto(path.as_uri())
            tab.evaluate(_SHOWN)
            taken = time.perf_counter() - begin
            metrics = cdp.send("Performance.getMetrics")["metrics"]
            own.append(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))
            expect(tab.locator(".row").count(), rows, "tasks in the list")
            expect(tab.locator(".node").count(), rows, "tasks in the graph")
            tab.close()
            return taken

        own: list[float] = []
        contest: dict[str, Callable[[], float]] = {
            EMPTY: partial(seconds, empty, 0),
            OPENED: partial(seconds, report, tasks),
        }
        found = interleaved(contest, repeats)
        browser.close()
    # The report takes more of it than an empty page, in every round.
    return found, statistics.median(sorted(own)[repeats:])


def _report(
    samples: Samples, tasks: int, size: float, made: float, own: float
) -> Report:
    rows = [[name, f"{samples.median(name):.2f}"] for name in samples.seconds]
    note = (
        "From the start of the navigation to the second frame, in headless Chromium, "
        f"with all tasks in list and graph. Its main thread uses the processor "
        f"for {own:.2f} s. Making the file took {made:.1f} s."
    )
    opening = f"opening a report of {tasks} tasks"
    return Report(
        "Report",
        tables=[Table(f"Until {tasks} tasks are shown, s", ["page", "median"], rows)],
        targets=[
            Target(opening, samples.median(OPENED), MOST_SECONDS, "s"),
            Target(f"size of a report of {tasks} tasks", size, MOST_MB, "MB"),
        ],
        notes=[note],
    )
