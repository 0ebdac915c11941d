"""The data of a report become one HTML file.

Nothing in it may load or run but its own script and style, which its policy names by
their hashes (Content Security Policy Level 3). The data stand in an element that browsers
do not run, and the script shows them as text alone.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from functools import cache
from pathlib import Path
from string import Template

from runner.report.document import Report

_HERE = Path(__file__).parent
# In the order in which each needs those before it.
LIBRARIES = (
    "d3-dispatch",
    "d3-selection",
    "d3-color",
    "d3-interpolate",
    "d3-timer",
    "d3-ease",
    "d3-transition",
    "d3-drag",
    "d3-zoom",
)
# What would end the element, or a line of a script in older browsers.
_ESCAPES = str.maketrans(
    {
        "<": "\\u003c",
        ">": "\\u003e",
        "&": "\\u0026",
        "\u2028": "\\u2028",
        "\u2029": "\\u2029",
    }
)


def page(report: Report) -> str:
    """The whole file."""
    script, style = _script(), _asset("page.css")
    return Template(_asset("page.html")).substitute(
        policy=_policy(script, style),
        title=html.escape(report.run.title),
        data=inert_json(report),
        style=style,
        script=script,
    )


def inert_json(report: Report) -> str:
    """The data as JSON that stands in an element without markup."""
    document = report.model_dump(mode="json", exclude_defaults=True)
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES)


def _policy(script: str, style: str) -> str:
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_hash(script)}'",
            f"style-src '{_hash(style)}'",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


@cache
def _script() -> str:
    licences = (_HERE / "vendor" / "LICENSES.txt").read_text(encoding="utf-8")
    parts = [f"/*\n{licences}*/"]
    for name in LIBRARIES:
        path = _HERE / "vendor" / f"{name}.min.js"
        parts.append(path.read_text(encoding="utf-8"))
    return "\n".join([*parts, _asset("page.js")])


@cache
def _asset(name: str) -> str:
    return (_HERE / "assets" / name).read_text(encoding="utf-8")
