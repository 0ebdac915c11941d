"""Which tasks a batch's base has, by the order of merging and choosing."""

from __future__ import annotations

from runner.local.merge_order import MergeOrder


def test_a_base_has_what_was_merged_before_the_batch_was_chosen() -> None:
    order = MergeOrder()
    order.add_chosen("first")
    order.add_merged("A")
    order.add_chosen("second")
    order.add_merged("B")
    assert not order.is_in_base("first", "A")
    assert order.is_in_base("second", "A")
    assert not order.is_in_base("second", "B")
    assert not order.is_in_base("unknown", "A")


def test_a_task_that_was_merged_again_is_in_later_bases_only() -> None:
    order = MergeOrder()
    order.add_merged("A")
    order.add_chosen("first")
    order.add_merged("A")
    order.add_merged("B")
    order.add_chosen("second")
    assert not order.is_in_base("first", "A")
    assert order.is_in_base("second", "A")


def test_work_that_is_merged_later_is_in_a_base_that_was_made_of_it() -> None:
    order = MergeOrder()
    order.add_chosen("ahead", ["A", "B"])
    order.add_merged("A")
    order.add_sent_back("B")
    order.add_merged("B")  # another attempt's
    assert order.is_in_base("ahead", "A")
    assert not order.is_in_base("ahead", "B")
