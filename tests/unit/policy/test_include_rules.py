"""The patterns that say which ignored files a checkout gets."""

from __future__ import annotations

import pytest

from runner.policy.include_rules import IncludeRules, problem, read_file


@pytest.mark.parametrize(
    ("pattern", "reason"),
    [
        ("../other", "it leads out of the repository"),
        ("a/../../other", "it leads out of the repository"),
        (".git/config", "no checkout gets files of a .git folder"),
        ("lib/.GIT", "no checkout gets files of a .git folder"),
        (".fanin/", "no checkout gets files of .fanin"),
        ("/.fanin/x", "no checkout gets files of .fanin"),
        ("a[", "it is not a valid gitignore pattern: it has a [ without its ]"),
    ],
)
def test_what_no_checkout_gets(pattern: str, reason: str) -> None:
    assert problem(pattern) == reason


@pytest.mark.parametrize("pattern", ["node_modules", "/a/*.db", "!.git", ".github"])
def test_what_a_checkout_may_get(pattern: str) -> None:
    assert problem(pattern) is None


def test_problems_of_the_file_have_their_lines() -> None:
    patterns, problems = read_file("# ignored files\n\nnode_modules/  \n../x\n")
    assert patterns == ["node_modules/", "../x"]
    assert [str(each.line) + each.what for each in problems] == [
        "4'../x' cannot be included: it leads out of the repository"
    ]


def test_only_a_full_name_names_a_file() -> None:
    rules = IncludeRules([".env.local", "config", "/keys/a.pem", "logs/", "*.key"])
    named = (".env.local", "app/.env.local", "keys/a.pem")
    assert all(map(rules.names, named))
    unnamed = (
        "config/.env.local2",
        "config/.env",
        "logs/.env",
        "x.key",
        "b/keys/a.pem",
    )
    assert not any(map(rules.names, unnamed))
    assert rules.may_name_secrets
    assert not IncludeRules(["*.pem", "node_modules"]).may_name_secrets


def test_a_folder_is_taken_whole_only_without_exceptions() -> None:
    assert IncludeRules(["node_modules"]).includes_all_below("web/node_modules")
    assert IncludeRules(["node_modules/"]).includes_all_below("node_modules")
    with_exception = IncludeRules(["node_modules", "!node_modules/.cache/"])
    assert not with_exception.includes_all_below("node_modules")
    assert with_exception.includes("node_modules/a")
    assert not with_exception.includes("node_modules/.cache/a")
