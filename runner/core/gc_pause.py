"""Python's cyclic collector, paused while a large document is read.

Reading a plan makes hundreds of thousands of objects and no garbage. The collector
looks through all of them again and again: of the seconds that PyYAML needs for 10,000
tasks, four in five are its.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused() -> Iterator[None]:
    """No collection inside the block. Whoever paused first is the one who ends it, so
    blocks may be nested.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
