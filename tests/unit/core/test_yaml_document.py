"""YAML documents: the line of each value, and files that must be refused."""

from __future__ import annotations

import pytest

from runner.core import yaml_document
from tests.support.builders import problems

TEXT = """\
version: 1
tasks:
  - id: T1
    files: [a,
            b]
  - id: T2
    agent:
      command: [x]
    depends_on:
      - T1
"""


@pytest.mark.parametrize(
    ("loc", "line"),
    [
        ([], 1),
        (["version"], 1),
        (["tasks", 0], 3),
        (["tasks", 0, "files", 1], 5),
        (["tasks", 1], 6),
        (["tasks", 1, "id"], 6),
        (["tasks", 1, "agent", "command"], 8),
        (["tasks", 1, "depends_on", 0], 10),
        (["tasks", 1, "title"], 6),  # what is missing stands where its parent does
        (["tasks", 0, "files", 9], 4),
        (["nothing", "below"], 1),
        # A key's value may begin a line below: the mistake is where the key stands.
        (["tasks"], 2),
        (["tasks", 1, "agent"], 7),
        (["tasks", 1, "depends_on"], 9),
    ],
    ids=repr,
)
def test_the_line_of_a_value_is_that_of_its_key_or_item(
    loc: list[str | int], line: int
) -> None:
    assert yaml_document.load("p", TEXT).line(loc) == line


@pytest.mark.parametrize(
    ("text", "data"),
    [
        ("a: 1\nb: [x]", {"a": 1, "b": ["x"]}),
        ("", None),
        ("# only this\n", None),
        ("7", 7),
    ],
)
def test_the_data_is_plain(text: str, data: object) -> None:
    assert yaml_document.load("p", text).data == data


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: [x\nc: 2\n", "p:3: not valid YAML"),
        ("a: 1\n\tb: 2\n", "p:2: not valid YAML"),
        ("a: *nobody\n", "p:1: not valid YAML"),
        ("a: 1\n---\nb: 2\n", "p:2: not valid YAML"),
        ("a: 1\nb: !!python/object/apply:os.getcwd []\n", "p:2: not valid YAML"),
        ("a: 2026-99-99\n", "p: not valid YAML"),
        ("a: \x00\n", "p: not valid YAML"),
        ("[" * 3000, "not valid YAML"),
        (
            "a: 1\nb: 2\na: 3\n",
            "p:3: duplicate key 'a' (first on line 1); keep one of the two",
        ),
        (
            "t:\n  - {x: 1, x: 2}\n",
            "p:2: duplicate key 'x' (first on line 2)",
        ),
        ("a: &x [*x]\n", "p:1: its aliases expand to too many values"),
        # a template's braces: YAML reads a mapping as a key
        ("a: 1\nb: {{ name }}\n", "p:2: "),
        ("a: 1\n? [x, y]\n: 2\n", "p:2: "),
    ],
    ids=lambda text: repr(text[:20]),
)
def test_invalid_yaml_is_a_problem_with_its_line(text: str, message: str) -> None:
    assert message in problems(lambda: yaml_document.load("p", text))[0]


def test_every_duplicate_key_is_a_problem() -> None:
    listed = problems(
        lambda: yaml_document.load("p", "a: 1\na: 2\nb:\n  c: 1\n  c: 2\na: 3\n")
    )
    assert [problem.split()[0] for problem in listed] == ["p:2:", "p:5:", "p:6:"]


def test_aliases_that_expand_too_far_are_refused() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    assert (
        "its aliases expand to too many values"
        in problems(lambda: yaml_document.load("p", bomb))[0]
    )


def test_an_ordinary_alias_is_fine() -> None:
    assert yaml_document.load("p", "a: &x {k: 1}\nb: *x\nc: {<<: *x, m: 2}\n").data[
        "c"
    ] == {"k": 1, "m": 2}


def test_a_mappings_own_key_wins_over_a_merged_one() -> None:
    document = yaml_document.load("p", "a: &x\n  k: 1\n  m: 1\nc:\n  <<: *x\n  k: 2\n")
    assert document.data["c"] == {"k": 2, "m": 1}
    assert document.line(["c", "k"]) == 6
