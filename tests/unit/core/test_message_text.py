"""What GitHub acts on is spelt so that people read the same and GitHub reads nothing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner import agents
from runner.core.message_text import one_line, several_lines
from tests.support.builders import quick

# As GitHub's documents say, and wider.
COMMANDS = re.compile(
    r"(?:^|[^A-Za-z0-9_])@[A-Za-z0-9]|#[0-9]+\b|\bgh-[0-9]|\[[^\[\]]*skip[^\[\]]*\]"
    r"|\[(?:no ci|ci)\]|skip-checks\s*:\s*true|[/.]\w+/\w+/\w+/(?:issues|pull)/[0-9]",
    re.IGNORECASE | re.ASCII,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("done [skip ci]", "done (skip ci)"),
        ("[ci skip]", "(ci skip)"),
        ("[no ci]", "(no ci)"),
        ("[skip actions]", "(skip actions)"),
        ("[actions skip]", "(actions skip)"),
        ("[Skip CI] [skip-ci] [noci] [skip netlify]", "(Skip CI) (skip-ci) (noci) (skip netlify)"),
        ("[skip\nci]", "(skip ci)"),
        ("[sk\u200bip ci]", "(skip ci)"),
        ("***NO_CI***", "(NO_CI)"),
        ("skip-checks: true", "skip-checks true"),
        ("Skip-Checks:true", "Skip-Checks true"),
        ("closes #3", "closes no. 3"),
        ("closes #3é", "closes no. 3é"),
        ("Fixes: #3, resolves o/r#4", "Fixes: no. 3, resolves o/r no. 4"),
        ("resolved GH-5", "resolved no. 5"),
        (
            "closes https://github.com/o/r/issues/6",
            "closes https://github.com/o/r issue no. 6",
        ),
        ("see ghe.corp/o/r/pull/7", "see ghe.corp/o/r pull no. 7"),
        ("@name", "name"),
        ("(@org/team) -@name @@name", "(org/team) -name name"),
        ("[@skip ci] #@3 @#3", "(skip ci) no. 3 no. 3"),
    ],
)  # fmt: skip
def test_a_command_is_spelt_so_that_github_reads_none(text: str, shown: str) -> None:
    assert one_line(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "feat: add login",
        "a@b.example",
        "array[0], [link](x), [WIP]",
        "#123abc and # heading",
        "src/issues/7 and docs/a/pull/8.md",
        "skip the checks",
        "C# and F#",
        "naïve ☃ 👩\N{VARIATION SELECTOR-16}",
    ],
)
def test_other_text_stays_as_it_is(text: str) -> None:
    assert one_line(text) == text


@pytest.mark.parametrize(
    "character",
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u180e\u200d\u2064\u206a\u2800\u3164\ufe00\uffa0"
    "\U0001d173\U000e0041\U000e0100\U000e01ef",
)
def test_no_character_is_invisible(character: str) -> None:
    assert one_line(f"a{character}b[sk{character}ip ci]") == "ab(skip ci)"


@pytest.mark.parametrize("name", agents.presets())
def test_the_advice_to_install_an_agent_stays_right(name: str) -> None:
    install = agents.presets()[name].traits.install
    assert one_line(f"install it:  {install} (see @{name})").startswith(
        f"install it: {install}"
    )


def test_a_team_whose_name_begins_like_a_package_is_not_mentioned() -> None:
    assert one_line("@openai/codex-team @openai/codexx") == (
        "openai/codex-team openai/codexx"
    )


def test_lines_are_kept_where_they_may_be() -> None:
    assert several_lines("a\n\n  @b #1\r\n[skip ci]") == "a\n\n  b no. 1\n(skip ci)"


PARTS = ["@", "#", "3", "[", "]", "skip", "ci", "no", " ", "gh-", "a", "/", ".", "\n",
         "skip-checks", ":", "true", "issues", "\u200b", "***", "é", "(", "_"]  # fmt: skip


@given(st.lists(st.sampled_from(PARTS), max_size=20).map("".join))
@quick
def test_no_text_however_composed_is_a_command(text: str) -> None:
    line = one_line(text)
    assert not COMMANDS.search(line)
    assert one_line(line) == line
    assert line.isprintable() or not line
