"""Lines that stay above a frame that is drawn anew, in a terminal that may be resized."""

from __future__ import annotations

from runner.ui.screen import Screen
from runner.ui.shown_text import Line
from tests.support.small_terminal import SmallTerminal


def lines(*texts: str) -> list[Line]:
    return [Line.of(text) for text in texts]


def test_a_frame_replaces_the_one_before_and_lines_stay_above_it() -> None:
    terminal = SmallTerminal(40, 10)
    screen = Screen(terminal, None, {})
    screen.draw(lines("first"), lines("a long frame", "of two"), 40)
    assert terminal.text == ["first", "a long frame", "of two"]
    screen.draw(lines("second", "third"), lines("short"), 40)
    assert terminal.text == ["first", "second", "third", "short"]
    screen.draw([], [], 40)
    assert terminal.text == ["first", "second", "third"]


def test_long_lines_wrap_and_stay_whole_and_a_frame_is_cut() -> None:
    terminal = SmallTerminal(20, 10)
    screen = Screen(terminal, None, {})
    text = "x" * 45
    for _ in range(2):
        screen.draw(lines(text), lines("y" * 45, "z"), 20)
    joined = "".join(terminal.text[:-2])
    assert joined == text * 2
    assert terminal.text[-2:] == ["y" * 18 + "…", "z"]


def test_no_line_is_lost_when_more_come_than_the_terminal_has_rows() -> None:
    terminal = SmallTerminal(40, 6)
    screen = Screen(terminal, None, {})
    expected = []
    for number in range(20):
        texts = [f"line {number}.{part}" for part in range(number)]
        expected += texts
        screen.draw(lines(*texts), lines("frame", "of", "three"), 40)
    screen.draw([], [], 40)
    assert terminal.text == expected


def test_a_narrower_terminal_leaves_nothing_of_the_frame_and_loses_no_line() -> None:
    terminal = SmallTerminal(60, 30)
    screen = Screen(terminal, None, {})
    screen.draw(lines("before", "w" * 50), lines("f" * 70, "g" * 30, ""), 60)
    terminal.resize(25)
    screen.draw(lines("after"), lines("f" * 70, "g"), 25)
    assert terminal.text == ["before", "w" * 25, "w" * 25, "after", "f" * 23 + "…", "g"]
    terminal.resize(50)
    screen.draw([], lines("end"), 50)
    assert terminal.text[-2:] == ["after", "end"]


def test_a_terminal_that_cuts_rows_when_it_becomes_narrower_loses_no_line() -> None:
    terminal = SmallTerminal(60, 30)
    screen = Screen(terminal, None, {"XTERM_VERSION": "XTerm(379)"})
    screen.draw(lines("before"), lines("f" * 50), 60)
    terminal.columns = 25  # nothing is wrapped
    screen.draw(lines("after"), lines("f"), 25)
    assert terminal.text == ["before", "after", "f"]


def test_a_terminal_that_keeps_the_length_of_rows_wraps_none_that_were_drawn_over() -> (
    None
):
    terminal = SmallTerminal(60, 30, keeps_lengths=True)
    screen = Screen(terminal, None, {"TMUX": "/tmp/tmux-0/default,1,0"})
    screen.draw([], lines(*["f" * 59] * 4), 60)
    screen.draw(lines("short", "w" * 61), lines("g"), 60)
    screen.draw([], lines("h", "i" * 59), 60)
    screen.draw([], lines("h", "i"), 60)
    terminal.resize(40)
    screen.draw([], lines("end", "of it"), 40)
    assert terminal.text == ["short", "w" * 40, "w" * 20, "w", "end", "of it"]


def test_a_row_that_is_wider_than_it_was_measured_to_be_takes_one_row_and_lines_wrap() -> (
    None
):
    terminal = SmallTerminal(20, 10)
    screen = Screen(terminal, None, {})
    # Here each of the two characters takes a column, as in tmux; measured, both take one.
    wide = "\u270c\U0001f3fd" * 30
    for number in range(3):
        screen.draw(lines(f"line {number}", "w" * 25), lines(wide, "end"), 20)
    above = terminal.text[:-2]
    assert above[::3] == ["line 0", "line 1", "line 2"]
    assert above[1::3] == ["w" * 20] * 3
    assert above[2::3] == ["w" * 5] * 3
    assert terminal.text[-1] == "end"
