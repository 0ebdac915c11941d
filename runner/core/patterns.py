"""Regular expressions that are compiled at their first use.

A command uses few of those in the modules that it imports, and one takes longer to
compile than a small module to import.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache, partial
from typing import AnyStr


def lazy_pattern(
    text: AnyStr, flags: re.RegexFlag = re.NOFLAG
) -> Callable[[], re.Pattern[AnyStr]]:
    """A function that returns the compiled pattern."""
    return cache(partial(re.compile, text, flags))
