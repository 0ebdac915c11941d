"""Failed tests are named as the common test runners print them."""

from __future__ import annotations

import pytest

from runner.local.failed_tests import failed_tests


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (
            "FAILED tests/test_a.py::test_b[x] - assert 1 == 2",
            "tests/test_a.py::test_b[x]",
        ),
        ("ERROR tests/test_a.py::test_c - boom", "tests/test_a.py::test_c"),
        ("FAIL: test_b (tests.test_a.Case)", "test_b (tests.test_a.Case)"),
        ("    --- FAIL: TestA/sub (0.00s)", "TestA/sub"),
        ("test module::works ... FAILED", "module::works"),
        ("  ● adds › two numbers", "adds › two numbers"),
        ("✖ adds two (12.5ms)", "adds two"),
        ("rspec ./spec/a_spec.rb:3 # A works", "./spec/a_spec.rb:3"),
        ("not ok 3 - reads a file", "reads a file"),
        ("\t  3 - unit_test (Failed)", "unit_test"),
        ("[ERROR]   CalculatorTest.adds:12 expected 1", "CalculatorTest.adds"),
    ],
)
def test_a_failed_test_is_named(line: str, name: str) -> None:
    assert failed_tests(f"collecting\n{line}\ndone\n") == (name,)


@pytest.mark.parametrize(
    "line", ["PASSED a::b", "ok 3 - reads", "FAILED", "1 failed", ""]
)
def test_other_lines_name_none(line: str) -> None:
    assert failed_tests(line) == ()


def test_names_are_few_and_short_and_safe_to_show() -> None:
    output = "".join(f"FAILED t::\x1b[31m{n}{'x' * 900}\n" for n in range(30))
    names = failed_tests(output * 2)
    assert len(names) == 10
    assert max(map(len, names)) <= 200
    assert not any("\x1b" in name for name in names)
