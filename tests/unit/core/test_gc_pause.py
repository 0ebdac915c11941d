"""The cyclic collector is off inside the block, and afterwards as it was before."""

from __future__ import annotations

import gc

import pytest

from runner.core import gc_pause


def test_it_is_paused_inside_and_goes_on_afterwards() -> None:
    assert gc.isenabled()
    with gc_pause.paused():
        assert not gc.isenabled()
        with gc_pause.paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


def test_an_error_inside_lets_it_go_on_as_well() -> None:
    with pytest.raises(ValueError, match="inside"), gc_pause.paused():
        raise ValueError("inside")
    assert gc.isenabled()


def test_who_had_switched_it_off_finds_it_off() -> None:
    gc.disable()
    try:
        with gc_pause.paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    finally:
        gc.enable()
