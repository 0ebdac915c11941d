"""Runs a command beside the scripted model, in a network namespace of its own where
nothing else can be reached.

    unshare --net python alone.py LOG COMMAND...

The port is always the same: the namespace has no other user, and the address can stand
in a settings file.
"""

from __future__ import annotations

import fcntl
import socket
import struct
import subprocess
import sys
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

from scripted_model import Handler  # type: ignore[import-not-found]  # started as a program, from its own folder

PORT = 4100
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


def raise_loopback() -> None:
    """What `ip link set lo up` does; a new network namespace has its loopback down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        found = fcntl.ioctl(
            one, _SIOCGIFFLAGS, struct.pack("16sh", b"lo", 0) + bytes(14)
        )
        (flags,) = struct.unpack_from("h", found, 16)
        fcntl.ioctl(
            one, _SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | _IFF_UP) + bytes(14)
        )


def main() -> int:
    raise_loopback()
    with socket.socket() as outside:
        if outside.connect_ex(("192.0.2.1", 80)) == 0:
            raise SystemExit("the outside can be reached from here")
    Handler.log = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return subprocess.run(sys.argv[2:], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
