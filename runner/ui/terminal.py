"""Output in a terminal: a run while it goes on, or plain lines without a terminal."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from enum import Enum
from queue import Empty, SimpleQueue
from types import MappingProxyType

from runner.core.events import RunEvent
from runner.core.run_view import RunView
from runner.ui.console import RunConsole
from runner.ui.live_frame import frame
from runner.ui.run_lines import Verbosity, event_lines
from runner.ui.screen import Screen
from runner.ui.shown_text import Line, Span

_PAUSE = 0.05  # seconds from one drawing to the next
_TICK = 1.0  # seconds after which the times on the screen are drawn anew


class _Notice(Enum):
    """What the output thread hears of besides events."""

    RESIZED = "resized"
    OVER = "over"


class TerminalView:
    """Shows a run in progress: a line for each event, and in a terminal what is going on.

    Implements `RunObserver`. A context: what was observed inside it is shown when it
    ends. One thread does all of the output, so that no line is lost or torn, and no
    agent waits for a terminal that is stopped.
    """

    def __init__(
        self,
        console: RunConsole,
        verbosity: Verbosity = Verbosity.NORMAL,
        environ: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.run = RunView()
        self._console, self._verbosity = console, verbosity
        self._is_live = verbosity > Verbosity.QUIET and _shows_frames(console, environ)
        self._screen = Screen(console.file, console.colours, environ)
        self._heard: SimpleQueue[RunEvent | _Notice] = SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(
            target=self._show_all, name="fanin-output", daemon=True
        )
        self._context = ExitStack()

    def __enter__(self) -> TerminalView:
        self._thread.start()
        if self._is_live:
            self._context.enter_context(_on_resize(self._hear_of_resize))
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()
        self._closing.set()
        self._heard.put(_Notice.OVER)
        self._thread.join()

    def observe(self, event: RunEvent) -> None:
        self._heard.put(event)

    def _hear_of_resize(self) -> None:
        # The handler of a signal may interrupt `observe`: such a queue allows that.
        self._heard.put(_Notice.RESIZED)

    def _show_all(self) -> None:
        """Show events until the end: at once, then for a moment no others, so that many
        cost no more than a few.
        """
        is_over = False
        while not is_over:
            events, is_over = self._next_events()
            lines: list[Line] = []
            for event in events:
                self.run.apply(event)
                lines += self._lines(event)
            self._show(lines, is_over)
            if not is_over:
                self._closing.wait(_PAUSE)

    def _next_events(self) -> tuple[list[RunEvent], bool]:
        """The events since the last call, and whether they are the last ones.

        Waits for one; where times run on the screen, for no longer than a second, and
        no longer than until the terminal is resized.
        """
        events: list[RunEvent] = []
        with suppress(Empty):
            heard = self._heard.get(timeout=_TICK if self._is_live else None)
            while heard is not _Notice.OVER:
                if not isinstance(heard, _Notice):
                    events.append(heard)
                heard = self._heard.get_nowait()
            return events, True
        return events, False

    def _lines(self, event: RunEvent) -> list[Line]:
        shown = event_lines(event, self.run)
        if shown.verbosity > self._verbosity or (shown.live and self._is_live):
            return []
        if self._is_live:
            return list(shown.lines)
        time = datetime.fromisoformat(event.time).astimezone()
        stamp = Span(f"{time:%H:%M:%S} ", "dim")
        return [Line.of(stamp, *line.spans) for line in shown.lines]

    def _show(self, lines: Sequence[Line], is_over: bool) -> None:
        if self._console.quiet:
            return
        try:
            if self._is_live:
                columns, rows = self._screen.size
                drawn: Sequence[Line] = ()
                if not is_over:
                    drawn = frame(self.run, columns, rows, time.time())
                self._screen.draw(lines, drawn, columns)
            elif lines:
                self._screen.write(lines)
        except (OSError, ValueError):
            # The reader, the terminal or the room on the disk is gone; the run goes on.
            self._console.on_broken_pipe()


@contextmanager
def _on_resize(hear: Callable[[], object]) -> Iterator[None]:
    """Call `hear` when the terminal is resized. Only the main thread can ask for that;
    elsewhere a resize is seen at the next drawing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGWINCH, lambda *_: hear())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before or signal.SIG_DFL)


def _shows_frames(console: RunConsole, environ: Mapping[str, str]) -> bool:
    """Whether standard output is a terminal that a person looks at."""
    return (
        console.is_terminal
        and environ.get("TERM") not in {"dumb", "unknown"}
        and not environ.get("CI")
    )
