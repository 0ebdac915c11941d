"""The report in a real browser: what it shows, by keys and pointer, and that nothing in it
runs or loads.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from runner.report import data
from runner.report.page import page as report_page
from tests.support.hostile_texts import TEXTS
from tests.support.run_records import record, with_texts

# One browser for all of them.
pytestmark = pytest.mark.xdist_group("browser")

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
_VIEWPORT = {"width": 1280, "height": 800}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    found = next(filter(None, map(shutil.which, _BROWSERS)), None)
    assert found, "no browser: apt-get install chromium"
    with sync_playwright() as playwright:
        # Root has no sandbox of its own; the page under test is in no other way special.
        started = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox"]
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run of 60 tasks."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(report_page(data.report(record(60))), encoding="utf-8")
    return path


class _Opened:
    """A page, and everything in it that should not happen."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.faults: list[str] = []
        page.on("console", lambda message: self.faults.append(message.text))
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        page.on("popup", lambda popup: self.faults.append(popup.url))
        page.on("request", self._note_request)
        page.on("framenavigated", lambda frame: self._note_address(frame.url))
        self._own = path.as_uri()
        page.goto(self._own)

    def _note_request(self, request: Any) -> None:
        self._note_address(request.url)

    def _note_address(self, address: str) -> None:
        if address.partition("#")[0] != self._own:
            self.faults.append(address)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def selected(self) -> str:
        return self.page.locator(".row[aria-current=true] .id").inner_text()

    def listed(self) -> list[str]:
        return self.page.locator("#list li:not([hidden]) .id").all_inner_texts()


@pytest.fixture
def opened(browser: Browser, written: Path) -> Iterator[_Opened]:
    page = browser.new_page(viewport=_VIEWPORT)  # type: ignore[arg-type]
    yield _Opened(page, written)
    page.close()


def test_hostile_texts_run_no_script_and_load_nothing(
    browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "hostile.html"
    report = data.report(with_texts(record(60), TEXTS))
    path.write_text(report_page(report), encoding="utf-8")
    page = browser.new_page(viewport=_VIEWPORT)  # type: ignore[arg-type]
    opened = _Opened(page, path)
    for number in range(len(TEXTS)):
        opened.press("Enter" if number else "j", "j" if number else "Enter")
        # Three of them are in the panel: prompt, log and diff.
        page.wait_for_selector("#panel pre.diff")
        title = page.locator("#panel-title").text_content() or ""
        assert report.tasks[number].title in title
        first = page.locator("#panel pre").nth(-2).text_content()
        assert first
        page.evaluate(
            "document.querySelectorAll('#panel, .row').forEach((e) => e.dispatchEvent(new Event('mouseover')))"
        )
    opened.press("t", "g", "f", "Escape", "Escape")
    page.wait_for_timeout(50)
    assert opened.faults == []
    assert page.evaluate("window.__pwned") is None
    # Of the page's own elements alone.
    assert page.locator("script").count() == 2
    assert (
        page.locator("img, iframe, object, embed, link, video, audio, a").count() == 0
    )
    page.close()


def test_the_policy_stops_a_script_and_a_style_that_got_in(opened: _Opened) -> None:
    opened.page.evaluate(
        """() => {
          const script = document.createElement("script");
          try { script.textContent = "window.__pwned = 1"; } catch {}
          document.body.append(script);
          const style = document.createElement("style");
          style.textContent = "h1 { display: none }";
          document.body.append(style);
        }"""
    )
    assert opened.page.evaluate("window.__pwned") is None
    assert opened.page.locator("h1").is_visible()
    assert any("Content Security Policy" in fault for fault in opened.faults)


def test_keys_go_through_the_tasks_and_open_one(opened: _Opened) -> None:
    opened.press("j", "j")
    assert opened.selected() == "T002"
    opened.press("k", "Enter")
    assert opened.page.locator("#panel-title").inner_text().startswith("T001 ")
    opened.page.wait_for_selector("#panel pre.diff .add")
    opened.press("Escape")
    assert not opened.page.locator("#panel").is_visible()
    opened.press("?")
    assert opened.page.locator("#help").is_visible()
    opened.press("Escape", "t")
    assert opened.page.locator("#timeline .bar").count() > 60
    opened.press("g")
    assert opened.page.locator("#graph .node").count() == 60
    assert opened.faults == []


def test_search_and_filter_leave_what_they_name(opened: _Opened) -> None:
    opened.press("/")
    opened.page.keyboard.type("t01 CLAUDE")
    assert opened.listed() == [f"T01{n}" for n in range(10)]
    assert opened.page.locator("#count").inner_text() == "10 of 60 tasks"
    assert opened.page.locator("#graph .node.unmatched").count() == 50
    opened.press("Enter")
    assert opened.selected() == "T010"
    opened.press("/", "Escape")
    assert len(opened.listed()) == 60
    opened.page.locator(".chip", has_text="failed").click()
    failed = opened.listed()
    assert 0 < len(failed) < 60
    for row in opened.page.locator("#list li:not([hidden])").all():
        assert "(failed)" in (row.text_content() or "")


def test_focus_leaves_a_task_and_all_that_it_waits_for(opened: _Opened) -> None:
    task = max(data.report(record(60)).tasks, key=lambda each: len(each.depends_on))
    opened.page.goto(f"{opened.page.url}#{task.id}")
    opened.page.reload()
    assert opened.selected() == task.id
    opened.press("f")
    shown = opened.page.locator("#graph .node").count()
    assert len(task.depends_on) < shown < 60
    assert (
        f"{task.id} and {shown - 1} tasks" in opened.page.locator("#focus").inner_text()
    )
    opened.page.get_by_role("button", name="Show all").click()
    assert opened.page.locator("#graph .node").count() == 60


def test_the_bar_above_the_views_has_one_row(opened: _Opened) -> None:
    opened.press("j", "j", "j", "Enter", "f")
    opened.page.wait_for_selector("#show-all:visible")
    bar = "document.querySelector('.viewbar').getBoundingClientRect().height"
    button = "document.querySelector('#fit').getBoundingClientRect().height"
    assert opened.page.evaluate(bar) < 2 * opened.page.evaluate(button)


def test_wheel_and_keys_zoom_the_graph(opened: _Opened) -> None:
    scale = "d3.zoomTransform(document.querySelector('#graph svg')).k"
    before = opened.page.evaluate(scale)
    opened.press("+")
    assert opened.page.evaluate(scale) == pytest.approx(before * 1.4)
    opened.page.mouse.move(700, 400)
    opened.page.mouse.wheel(0, 300)
    opened.page.wait_for_function(f"{scale} < {before * 1.4}")
    opened.press("0", "t", "+")
    box = "document.querySelector('#timeline')"
    assert opened.page.evaluate(f"{box}.scrollWidth > {box}.clientWidth")


def test_a_waiting_attempt_says_what_for(opened: _Opened) -> None:
    report = data.report(record(60))
    waiting = next(
        task
        for task in report.tasks
        if task.attempts
        and any("to land" in wait.why for wait in task.attempts[0].waits)
    )
    opened.press("/")
    opened.page.keyboard.type(waiting.id)
    opened.press("Enter", "Enter", "t")
    opened.page.wait_for_selector("#panel pre.diff")
    why = waiting.attempts[0].waits[0].why
    assert why in (opened.page.locator("#panel").text_content() or "")
    assert opened.page.locator("#waits .wait").count() >= 1


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(browser: Browser, tmp_path: Path, theme: Any) -> None:
    path = tmp_path / "report.html"
    report = data.report(record(24))
    path.write_text(report_page(report), encoding="utf-8")
    failed = next(task.id for task in report.tasks if task.state == "failed")
    page = browser.new_page(viewport=_VIEWPORT, color_scheme=theme)  # type: ignore[arg-type]
    opened = _Opened(page, path)
    page.evaluate(_AXE)
    opened.press("/")
    page.keyboard.type(failed)
    opened.press("Enter", "Enter")
    page.wait_for_selector("#panel pre.diff")
    open_all = (
        "document.querySelectorAll('details').forEach((each) => { each.open = true; })"
    )
    page.evaluate(open_all)
    for key in ("g", "t", "?"):
        opened.press(key)
        found = page.evaluate("axe.run().then((results) => results.violations)")
        problems = [
            f"{each['id']}: {node['html'][:150]} {node['failureSummary']}"
            for each in found
            for node in each["nodes"]
        ]
        assert problems == [], key
    page.close()


def test_the_theme_can_be_chosen_and_paper_is_light(opened: _Opened) -> None:
    colour = "getComputedStyle(document.body).backgroundColor"
    white = "rgb(255, 255, 255)"
    opened.page.emulate_media(color_scheme="light")
    assert opened.page.evaluate(colour) == white
    opened.press("d", "d")
    assert opened.page.locator("#theme").inner_text() == "Theme: dark"
    assert opened.page.evaluate(colour) != white
    # On a screen the panel has it.
    reason = opened.page.locator(".row .why").first
    assert not reason.is_visible()
    opened.page.emulate_media(media="print")
    opened.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.page.evaluate(colour) == white
    assert not opened.page.locator("#search").is_visible()
    assert reason.is_visible()
    assert opened.page.locator("#graph").is_visible()
    assert opened.page.locator("#timeline").is_visible()


def _boxes(page: Page, selector: str) -> list[dict[str, float]]:
    """The boxes of these elements, in one step: the page may be drawn anew meanwhile."""
    found: list[dict[str, float]] = page.evaluate(
        "(selector) => [...document.querySelectorAll(selector)]"
        ".map((each) => each.getBoundingClientRect().toJSON())",
        selector,
    )
    return found


def test_nothing_of_the_paper_covers_another_part_or_is_cut_off(
    opened: _Opened,
) -> None:
    page = opened.page
    page.set_viewport_size({"width": 718, "height": 1046})  # A4 within its margins
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    bottom = 0.0
    for part in ("header", "#list", "#graph", "#timeline", "#legend"):
        [box] = _boxes(page, part)
        assert box["height"] > 0
        assert box["top"] >= bottom, part
        bottom = box["bottom"]
    for box in _boxes(page, "#graph > svg, #timeline svg, #graph .node"):
        assert box["right"] <= 718
    [graph] = _boxes(page, "#graph")
    for node in _boxes(page, "#graph .node"):
        assert graph["top"] - 1 <= node["top"]
        assert node["bottom"] <= graph["bottom"] + 1
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#graph > svg[viewBox]").count() == 0


def test_on_a_telephone_a_task_opens_over_the_page(opened: _Opened) -> None:
    page = opened.page
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator(".row").nth(5).click()
    box = page.locator("#panel").bounding_box()
    assert box == {"x": 0, "y": 0, "width": 390, "height": 844}
    assert page.locator("#panel").get_by_text("Close").is_visible()
    page.locator("#panel .tool", has_text="Focus on what it waits for").click()
    assert not page.locator("#panel").is_visible()
    assert "that it waits for" in page.locator("#focus").inner_text()
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_the_lanes_of_the_timeline_take_the_room_that_there_is(
    opened: _Opened,
) -> None:
    heights = {}
    for height in (1000, 300):
        opened.page.set_viewport_size({"width": 1280, "height": height})
        opened.press("t")
        # in one step: a change of the size draws the timeline anew
        heights[height] = opened.page.evaluate(
            "document.querySelector('#timeline svg').getBoundingClientRect().height"
        )
    assert heights[300] < heights[1000] < 1000
