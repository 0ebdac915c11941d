"""An address that never answers, for tests of time limits."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.compatibility.sources import run

# Tests of HTTP clients connect to it to see a connection time out. Some networks answer
# for every address.
SILENT = "10.255.255.1"
# A next hop and a hardware address that nobody has: reserved for documentation, and local.
_NOBODY = ("198.51.100.1", "02:00:00:00:00:fe")
_SECONDS = 3.0


@contextmanager
def silent_address() -> Iterator[None]:
    """While it is entered, connections to SILENT get no answer.

    Changes nothing where they get none, or without root: a route for this one address
    is what it adds.
    """
    if not _is_answered() or os.geteuid() != 0:
        yield
        return
    hop, hardware = _NOBODY
    device = _device()
    neighbour = [hop, "lladdr", hardware, "dev", device]
    route = [f"{SILENT}/32", "via", hop, "dev", device, "onlink"]
    run(["ip", "neigh", "replace", *neighbour])
    run(["ip", "route", "replace", *route])
    try:
        yield
    finally:
        run(["ip", "route", "del", *route])
        run(["ip", "neigh", "del", *neighbour])


def _is_answered() -> bool:
    """Whether a connection to SILENT is accepted or refused instead of timing out."""
    try:
        socket.create_connection((SILENT, 80), timeout=_SECONDS).close()
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def _device() -> str:
    """The network interface of the default route."""
    routes = json.loads(run(["ip", "-j", "route", "show", "default"]))
    return str(routes[0]["dev"])
