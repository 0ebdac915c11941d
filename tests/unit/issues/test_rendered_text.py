"""An agent gets what a page shows, and nothing that it does not show."""

from __future__ import annotations

import pytest

from runner.issues.rendered_text import rendered_text

H = "HIDDEN"


@pytest.mark.parametrize(
    "text",
    [
        f"a <!-- {H} --> b",
        f"<!--\n{H}\n-->\nb",
        f"a\n\n<!-- never closed\n{H}",
        f"- ```\n  x\n  ```\n\n<!-- {H} -->",
        f"``` x`y\n<!-- {H} -->",
        f"<div>\n```\n</div>\n\n<!-- {H} -->",
        f"```\nx\n```\u00a0\n```\n\n<!-- {H} -->",
        f"a\r<!-- {H} -->\rb",
        f"```text {H}\nx\n```",
        f"[{H} words]: https://e.org",
        f"[x]: <{H} words>",
        f'see [x]\n\n[x]: https://e.org "{H}"',
        f"see [x]\n\n[x]: https://e.org\n'{H}\nmore'",
        f"> [x]: # ({H})",
        f"- [x]: # '{H}'",
        f"[x]: https://e.org\n[x]: https://e.org/{H}",
        f"<? {H} ?>",
        f"a <? {H} ?> b",
        f"a <![CDATA[ {H} ]]> b",
        f"<!X {H}>",
        f"![{H}](a.png)",
        f"![a ![{H}](x) b](a.png)",
        f'[a](https://e.org "{H}")',
        f"[a](https://e.org '{H}')",
        f'<img alt="{H}" src="a.png">',
        f'a <span title="{H}">b</span>',
        f"a\n\n[^n]: {H}",
        f"a\n\n[^n]: one\n\n    {H}",
        f"```mermaid\n%% {H}\ngraph LR\n```",
        f"| a | b |\n|---|---|\n| <!-- {H} --> | c |",
        f"# Title <!-- {H} -->",
        f"- [ ] item <!-- {H} -->",
        f"> quoted\n> <!--\n> {H}\n> -->",
    ],
)
def test_hidden_text_is_left_out(text: str) -> None:
    assert H not in rendered_text(text)


@pytest.mark.parametrize(
    "text",
    [
        "plain\n\ntext with *emphasis* and `code`",
        "```html\n<!-- shown -->\n```",
        "```php\n<?php echo 1; ?>\n```",
        "    <!-- an indented block -->",
        "Support `<!--` in titles.\nDo not touch X",
        "~~~\n<!-- shown\n~~~\nafter",
        "a < b and c > d",
        "see [x]\n\n[x]: https://e.org",
        "a[^1]\n\n[^1]: a note",
        "- one\n  - two\n\n1. three",
        "| a | b |\n|---|---|\n| c | d |",
        "日本語の本文",
        "",
    ],
)
def test_visible_text_stays_as_it_is(text: str) -> None:
    assert rendered_text(text) == text


def test_characters_without_width_are_left_out() -> None:
    assert (
        rendered_text("zero\u200bwidth\u00ad, \U000e0041tags and \u202eturned\u3164")
        == "zerowidth, tags and turned"
    )


def test_addresses_of_links_and_images_stay() -> None:
    assert (
        rendered_text('<a href="https://e.org" title="t">b</a>')
        == '<a href="https://e.org">b</a>'
    )
    assert (
        rendered_text("![alt](a.png) [b](https://e.org)")
        == "![](a.png) [b](https://e.org)"
    )
