"""What each signal asks for, and who may press Ctrl-C."""

from __future__ import annotations

import os
import signal

import pytest

from runner.local.stopping import (
    Stop,
    StopRequests,
    is_at_keyboard,
    next_stop,
    stops_on_signals,
)


def steps(*numbers: int, at_keyboard: bool) -> list[Stop]:
    stop, found = Stop.NOT, []
    for number in numbers:
        stop = next_stop(stop, number, at_keyboard=at_keyboard)
        found.append(stop)
    return found


def test_a_person_at_the_keyboard_is_asked_again() -> None:
    ctrl_c = [signal.SIGINT] * 3
    assert steps(*ctrl_c, at_keyboard=True) == [Stop.DRAIN, Stop.CANCEL, Stop.AT_ONCE]
    assert steps(*ctrl_c, at_keyboard=False) == [
        Stop.CANCEL,
        Stop.AT_ONCE,
        Stop.AT_ONCE,
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_stop_the_agents(number: int) -> None:
    assert steps(number, signal.SIGINT, at_keyboard=True) == [Stop.CANCEL, Stop.AT_ONCE]
    assert steps(signal.SIGINT, number, at_keyboard=True) == [Stop.DRAIN, Stop.CANCEL]


def test_nobody_is_at_a_terminal_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def tcgetpgrp(_stream: int) -> int:
        raise OSError

    monkeypatch.setattr(os, "tcgetpgrp", tcgetpgrp)
    assert not is_at_keyboard()


def test_nobody_is_there_for_a_process_in_the_background(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for group, expected in ((os.getpgrp(), True), (os.getpgrp() + 1, False)):
        monkeypatch.setattr(os, "tcgetpgrp", lambda _, group=group: group)
        assert is_at_keyboard() is expected


def test_signals_are_obeyed_one_after_another_and_then_as_before() -> None:
    requests, told = StopRequests(), list[str]()
    before = signal.getsignal(signal.SIGTERM)
    with stops_on_signals(requests, told.append, lambda: True):
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.draining.wait(30)
        assert not requests.cancel.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert requests.cancel.wait(30)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before
    assert [text.split(";")[0] for text in told] == [
        "finishing what runs",
        "stopping the agents, at no cost of an attempt",
        "ending at once",
    ]
