"""Each number has one holder at a time, and the smallest free one is given."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from runner.attempt.slots import Slots


def test_the_smallest_free_number_is_given() -> None:
    slots = Slots()
    held = [slots.take() for _ in range(3)]
    assert [slot.number for slot in held] == [0, 1, 2]
    held[1].release()
    assert slots.take().number == 1
    assert slots.take().number == 3


def test_a_preferred_number_is_given_where_it_is_free_and_no_avoided_one() -> None:
    slots = Slots()
    assert slots.take(preferred=(2, 1)).number == 2
    assert slots.take(preferred=(2, 1)).number == 1
    assert slots.take(preferred=(2, 1), avoided=(0, 3)).number == 4


def test_a_slot_that_is_released_twice_does_not_free_its_number_for_two() -> None:
    slots = Slots()
    with slots.take() as first:
        first.release()
        second = slots.take()
    assert (second.number, slots.take().number) == (0, 1)


def test_threads_that_hold_one_at_once_have_different_numbers() -> None:
    slots, together = Slots(), Barrier(8)

    def hold(_: int) -> int:
        with slots.take() as slot:
            together.wait(timeout=60)
            return slot.number

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(hold, range(8))) == list(range(8))
    assert slots.take().number == 0
