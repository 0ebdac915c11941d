"""What the HTML file of a report has for its page."""

from __future__ import annotations

import base64
import json
import re
import zlib
from typing import Any


def data_of(page: str) -> dict[str, Any]:
    """The data of the report in the text of its file."""
    match = re.search(r'id="data">(.*?)</script>', page)
    assert match is not None
    found: dict[str, Any] = json.loads(match[1])
    return found


def texts_of(report: dict[str, Any], task: str) -> dict[str, Any]:
    """The long texts of a task."""
    [row] = [row for row in report["tasks"] if row["id"] == task]
    found: dict[str, Any] = json.loads(zlib.decompress(base64.b64decode(row["text"])))
    return found
