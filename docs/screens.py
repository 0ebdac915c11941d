"""`python docs/screens.py [FOLDER]`: make the screens of docs/watching.md,
docs/report.md and docs/walkthrough.md anew.

Runs the plan of `fanin demo`, one with a task that fails, and the walkthrough of twelve
tasks, with scripted agents in a pseudo-terminal. What a terminal of 80x24 then shows is
written to FOLDER (default: docs/screens) as text and as a picture. Only the path and the
address of the repository are replaced. Chromium shows the report and the pull request.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pyte
from pyte.screens import Char

from runner.cli.demo.repository import make_repository

if TYPE_CHECKING:
    from PIL.Image import Image

    from tests.support.walkthrough import Walkthrough

COLUMNS, ROWS = 80, 24
SHOWN_PATH = "/home/me/shop"
# Rows that the emulator keeps, so that what scrolls off the terminal is shown too.
_KEPT_ROWS = 200
_TASKS = [
    {
        "id": "prices",
        "title": "Read the price list",
        "prompt": "Read prices.csv into a table by product.",
        "files": ["shop/prices.py"],
        "estimate": "20m",
    },
    {
        "id": "rounding",
        "title": "Round to whole cents",
        "prompt": "Round prices half up: 2.675 becomes 2.68.",
        "files": ["shop/rounding.py"],
        "verify": "python3 check.py",
        "estimate": "10m",
    },
    {
        "id": "stock",
        "title": "Count the stock",
        "files": ["shop/stock.py"],
        "estimate": "15m",
    },
    {
        "id": "cart",
        "title": "Show prices in the cart",
        "files": ["shop/cart.py"],
        "depends_on": ["prices", "rounding"],
        "estimate": "30m",
    },
    {
        "id": "receipt",
        "title": "Print a receipt",
        "files": ["shop/receipt.py"],
        "depends_on": ["cart"],
        "estimate": "10m",
    },
]
_SETTINGS = {
    # the header would name the walls of the machine
    "sandbox": "off",
    "agent": {"command": ["python3", "agent.py"]},
    "parallel": True,
    "max_attempts": 1,
}
_CHECK = """\
import sys
from shop.rounding import rounded

for price, expected in ((1.25, "1.25"), (2.675, "2.68")):
    if rounded(price) != expected:
        sys.exit(f"FAIL: rounded({price}) is {rounded(price)}, expected {expected}")
"""
_AGENT = '''\
"""A scripted agent: says what it does, and writes a file."""
import os
import time
from pathlib import Path

task = os.environ["FANIN_TASK"]
path = Path(f"shop/{task}.py")
text = f"# {task}\\n"
print("reading the code of the shop")
if task == "rounding":
    print("Python rounds when it formats: two digits are enough here")
    text = 'def rounded(price):\\n    return f"{price:.2f}"\\n'
time.sleep(0.2)
path.parent.mkdir(exist_ok=True)
path.write_text(text)
print(f"wrote {path}")
'''


@dataclass(frozen=True)
class Shown:
    """What a terminal shows: rows of cells, without the empty ones at the end.

    `exit_code`: that of the command, None if it was not waited for.
    """

    rows: Sequence[Sequence[Char]]
    exit_code: int | None = None

    @property
    def text(self) -> str:
        lines = ["".join(cell.data for cell in row).rstrip() for row in self.rows]
        return "\n".join(lines) + "\n"


class _Emulator(pyte.Screen):
    """A screen that knows faint text: it is grey here, as in most terminals."""

    def select_graphic_rendition(self, *attributes: int) -> None:
        super().select_graphic_rendition(
            *[90 if attribute == 2 else attribute for attribute in attributes]
        )


class Terminal:
    """A terminal that a command writes to."""

    def __init__(self, columns: int = COLUMNS) -> None:
        self._screen = _Emulator(columns, _KEPT_ROWS)
        self._screen.set_mode(pyte.modes.LNM)
        self._stream = pyte.ByteStream(self._screen)

    def write(self, data: bytes) -> None:
        self._stream.feed(data)

    def shown(self) -> Shown:
        cells = self._screen.buffer
        rows = [
            [cells[y][x] for x in range(self._screen.columns)]
            for y in range(_KEPT_ROWS)
        ]
        while rows and not any(cell.data.strip() for cell in rows[-1]):
            rows.pop()
        return Shown(rows)


def run_fanin(
    root: Path,
    arguments: str,
    until: Callable[[str], bool] | None = None,
    size: tuple[int, int] = (COLUMNS, ROWS),
    environ: Mapping[str, str] | None = None,
    replaced: Mapping[str, str] | None = None,
) -> Shown:
    """What a terminal shows once `fanin ARGUMENTS` has ended in the folder `root`.

    `environ` are further variables, `replaced` texts that are shown as others. With
    `until`, what it shows at the first moment at which that is true of its text;
    ValueError if there was none.
    """
    terminal = Terminal(size[0])
    terminal.write(f"\x1b[1m$\x1b[0m fanin {arguments}\n".encode())
    reached: Shown | None = None
    written = bytearray()
    process = _Process(
        [sys.executable, "-m", "runner", *shlex.split(arguments)],
        root,
        size,
        environ or {},
    )
    for data in process.output():
        written += data
        if until is not None and reached is None:
            terminal.write(data)
            now = terminal.shown()
            reached = now if until(now.text) else None
    if until is not None:
        if reached is None:
            raise ValueError(f"fanin {arguments} never showed what was waited for")
        return reached
    # As a whole: a path may be torn between two pieces.
    text = bytes(written)
    for now, shown_as in {str(root): SHOWN_PATH, **(replaced or {})}.items():
        text = text.replace(now.encode(), shown_as.encode())
    terminal.write(text)
    return Shown(terminal.shown().rows, process.exit_code)


class _Process:
    """A program in a terminal of its own."""

    def __init__(
        self,
        argv: list[str],
        root: Path,
        size: tuple[int, int],
        environ: Mapping[str, str],
    ) -> None:
        self.exit_code: int | None = None
        self._ours, theirs = pty.openpty()
        columns, rows = size
        window = struct.pack("HHHH", rows, columns, 0, 0)
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, window)
        self._process = subprocess.Popen(
            argv,
            cwd=root,
            env={**environment(root), **environ},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)

    def output(self) -> Iterator[bytes]:
        """What it writes, piece by piece, until it ends."""
        try:
            while data := os.read(self._ours, 2**16):
                yield data
        except OSError:  # the other side is closed
            pass
        finally:
            os.close(self._ours)
            self.exit_code = self._process.wait()


def environment(root: Path) -> Mapping[str, str]:
    """Without the settings of the person who runs this."""
    programs = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return {
        "PATH": os.pathsep.join(programs),
        "PYTHONPATH": str(Path(__file__).parents[1]),
        "HOME": str(root.parent),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PAGER": "cat",
    }


def make_shop(folder: Path) -> Path:
    """A repository with a plan of which one task fails; its path."""
    root = folder / "shop"
    root.mkdir()
    files = {
        "tasks.yml": json.dumps({"version": 1, "tasks": _TASKS}, indent=1),
        "fanin.yml": json.dumps(_SETTINGS),
        "agent.py": _AGENT,
        "check.py": _CHECK,
        ".gitignore": "__pycache__/\n",
    }
    for name, text in files.items():
        (root / name).write_text(text, encoding="utf-8")
    for command in (
        ["init", "-q", "-b", "main"],
        ["config", "user.name", "Fanin"],
        ["config", "user.email", "fanin@example.com"],
        ["add", "-A"],
        ["commit", "-q", "-m", "A plan"],
    ):
        subprocess.run(
            ["git", *command],
            cwd=root,
            env={**environment(root), "GIT_CONFIG_NOSYSTEM": "1"},
            check=True,
        )
    return root


# What is run in the shop, in this order; name of the screen → arguments.
SHOP = {
    "simulate": "simulate -j 3",
    "failure": "run",
    "status": "status",
    "show": "show rounding",
    "log": "log rounding",
    "diff": "diff rounding",
    "kept": "kept",
}


def is_in_the_middle(text: str) -> bool:
    """Whether the demo has landed something, and three agents are at work."""
    return "2/6 landed" in text and len(re.findall(r"▶.* working ", text)) == 3


def comparable(text: str, columns: int = COLUMNS) -> list[str]:
    """The lines of a screen in an order of their own, without what differs from run to
    run: times, commits, names of runs. The line of a run's time is left out: a fast run
    has none.
    """
    lines = []
    joined = ""
    for line in text.splitlines():
        joined += line
        # The terminal has broken a line that fills its width.
        if len(line) < columns:
            lines.append(joined)
            joined = ""
    lines.append(joined)
    return sorted(
        _without_times(line) for line in lines if not line.startswith("time: ")
    )


def _without_times(line: str) -> str:
    line = re.sub(r"a1-[0-9]{8}-[0-9]{6}-[0-9a-f]+", "RUN", line)
    line = re.sub(r"[0-9]{8}-[0-9]{6}-[0-9a-f]+", "RUN", line)
    line = re.sub(r"\b(?=[a-f]*[0-9])[0-9a-f]{7,40}\b", "COMMIT", line)
    line = re.sub(r"[0-9.]+ (s|seconds?)( ago)?(?![a-z])", "TIME", line)
    return " ".join(line.split())


def screens() -> Iterator[tuple[str, Shown]]:
    """Every screen of the pages but those of docs/walkthrough.md, with its name."""
    with tempfile.TemporaryDirectory(prefix="fanin-screens-") as folder:
        demo = make_repository(Path(folder))
        yield "live", run_fanin(demo, "run", is_in_the_middle)
        root = make_shop(Path(folder))
        for name, arguments in SHOP.items():
            yield name, run_fanin(root, arguments)


def walkthrough_screens(folder: Path) -> Iterator[tuple[str, Shown, Walkthrough]]:
    """Every screen of docs/walkthrough.md with its name, and the repository as it then
    is. AssertionError if a command ends with another exit code than it should.
    """
    from tests.support.github.forge import Forge
    from tests.support.walkthrough import Walkthrough

    with Forge(folder / "forge") as forge:
        walkthrough = Walkthrough(folder, forge, environment(folder / "clone"))
        replaced = {forge.server_url: "https://github.com"}
        for step in walkthrough.steps():
            rows: list[Sequence[Char]] = []
            for typed in step.typed:
                shown = run_fanin(
                    walkthrough.root,
                    typed.arguments,
                    environ=walkthrough.token,
                    replaced=replaced,
                )
                assert shown.exit_code == typed.exit_code, shown.text
                rows += shown.rows
            yield step.screen, Shown(rows), walkthrough


_FONT = "DejaVuSansMono.ttf"
_FONT_SIZE, _MARGIN = 22, 18
_BACKGROUND, _FOREGROUND = "#0d1117", "#d0d7de"
_COLOURS = {
    "black": "#484f58",
    "red": "#ff7b72",
    "green": "#3fb950",
    "brown": "#d29922",
    "blue": "#58a6ff",
    "magenta": "#bc8cff",
    "cyan": "#39c5cf",
    "white": "#d0d7de",
    "brightblack": "#8b949e",
}


def write_picture(shown: Shown, path: Path) -> None:
    """Draw the screen and write it as PNG. OSError if the font is not installed."""
    from PIL import Image, ImageDraw, ImageFont

    try:
        plain = ImageFont.truetype(_FONT, _FONT_SIZE)
        bold = ImageFont.truetype(_FONT.replace(".", "-Bold."), _FONT_SIZE)
    except OSError:
        raise OSError(f"no font {_FONT}: apt-get install fonts-dejavu-core") from None
    width, height = round(plain.getlength("x")), round(_FONT_SIZE * 1.25)
    size = (
        len(shown.rows[0]) * width + 2 * _MARGIN,
        len(shown.rows) * height + 2 * _MARGIN,
    )
    image = Image.new("RGB", size, _BACKGROUND)
    draw = ImageDraw.Draw(image)
    for y, row in enumerate(shown.rows):
        for x, cell in enumerate(row):
            if not cell.data.strip():
                continue
            draw.text(
                (_MARGIN + x * width, _MARGIN + y * height),
                cell.data,
                fill=_COLOURS.get(cell.fg, _FOREGROUND),
                font=bold if cell.bold else plain,
            )
    # Few colours make a small file.
    image.quantize(palette=_palette(), dither=Image.Dither.NONE).save(
        path, optimize=True
    )


def _palette() -> Image:
    """A palette of every colour in a few steps from the background's."""
    from PIL import Image, ImageColor

    background = ImageColor.getrgb(_BACKGROUND)
    steps: list[int] = []
    for name in sorted({*_COLOURS.values(), _FOREGROUND}):
        colour = ImageColor.getrgb(name)
        for step in range(7):
            for low, high in zip(background, colour, strict=True):
                steps.append(low + (high - low) * step // 6)
    palette = Image.new("P", (1, 1))
    palette.putpalette(steps)
    return palette


def write_report_picture(path: Path) -> None:
    """Show the report of the shop's run in a browser, and write that as PNG."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(prefix="fanin-screens-") as folder:
        root = make_shop(Path(folder))
        for arguments in ("run", "report -o ../report.html"):
            run_fanin(root, arguments)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            page = browser.new_page(viewport={"width": 1200, "height": 640})
            page.goto(Path(folder, "report.html").as_uri())
            page.locator(".row .id", has_text="rounding").click()
            page.wait_for_selector("#panel pre.diff")
            page.screenshot(path=path)
            browser.close()


_PAGE_STYLE = """
body { font: 14px/1.5 "DejaVu Sans", "Noto Color Emoji", sans-serif; color: #1f2328; margin: 24px; }
h1 { font-size: 26px; font-weight: normal; }
table { border-collapse: collapse; }
th, td { border: 1px solid #d1d9e0; padding: 5px 12px; text-align: left; }
tr:nth-child(even) { background: #f6f8fa; }
"""


def write_description_picture(title: str, description: str, path: Path) -> None:
    """Show the description of a pull request in a browser, and write that as PNG.

    It is Markdown as CommonMark has it, with GitHub's tables, in a style of its own.
    """
    from markdown_it import MarkdownIt
    from playwright.sync_api import sync_playwright

    rendered = MarkdownIt("commonmark").enable("table").render(description)
    html = f"<style>{_PAGE_STYLE}</style><h1>{escape(title)}</h1>{rendered}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": 1000, "height": 100})
        page.set_content(html)
        page.screenshot(path=path, full_page=True)
        browser.close()


def write_screen(folder: Path, name: str, shown: Shown) -> None:
    """Write a screen into the folder, as text and as a picture."""
    (folder / f"{name}.txt").write_text(shown.text, encoding="utf-8")
    write_picture(shown, folder / f"{name}.png")


def write_walkthrough(folder: Path) -> None:
    """Write the screens of docs/walkthrough.md, and the draft of its pull request."""
    # What it is made of is a test's too.
    sys.path.insert(0, str(Path(__file__).parents[1]))
    with tempfile.TemporaryDirectory(prefix="fanin-screens-") as work:
        for name, shown, walkthrough in walkthrough_screens(Path(work)):
            write_screen(folder, name, shown)
            pull = walkthrough.pull
            if name == "twelve-run":
                picture = folder / "twelve-pull-request.png"
                write_description_picture(pull["title"], pull["body"], picture)


def main() -> None:
    folder = Path(__file__).parent / "screens"
    if len(sys.argv) > 1:
        folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, shown in screens():
        write_screen(folder, name, shown)
    write_report_picture(folder / "report.png")
    write_walkthrough(folder)


if __name__ == "__main__":
    main()
