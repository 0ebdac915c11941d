"""Downloads the uv that uv.lock names for this machine, without pip, which takes three
times as long. Usage: python3 -I fetch_uv.py UV_LOCK PROGRAM

Only the standard library is used. PROGRAM is written only if the wheel has the hash of
the lock; any other end is exit 1 with the reason, and install.sh asks pip instead.
"""

from __future__ import annotations

import hashlib
import io
import platform
import re
import sys
import tomllib
import urllib.request
import zipfile
from pathlib import Path

# For the connection and for each read: a network that drops packets ends here.
TIMEOUT_SECONDS = 5


def wheel_tag(system: str, libc: str) -> str:
    """The start of the platform tag of a wheel; `libc` as platform.libc_ver names it."""
    if system == "Darwin":
        return "macosx"
    return "manylinux" if libc == "glibc" else "musllinux"


def choose_wheel(lock: str, system: str, machine: str, libc: str) -> tuple[str, str]:
    """The address and the SHA-256 (hex) of uv's wheel for the machine.

    Raises LookupError if the lock has none.
    """
    packages = tomllib.loads(lock)["package"]
    (uv,) = (package for package in packages if package["name"] == "uv")
    tag = wheel_tag(system, libc)
    fits = re.compile(rf"[-.]{tag}_[0-9]+_[0-9]+_{re.escape(machine)}[.]")
    for wheel in uv["wheels"]:
        if fits.search(wheel["url"]):
            return wheel["url"], wheel["hash"].removeprefix("sha256:")
    raise LookupError(f"no wheel of uv for {system} on {machine}")


def fetch(lock: str, program: Path) -> None:
    url, digest = choose_wheel(
        lock, platform.system(), platform.machine(), platform.libc_ver()[0]
    )
    with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
        wheel = answer.read()
    if hashlib.sha256(wheel).hexdigest() != digest:
        raise ValueError(f"{url} does not have the hash of the lock")
    archive = zipfile.ZipFile(io.BytesIO(wheel))
    (name,) = (each for each in archive.namelist() if each.endswith("/scripts/uv"))
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_bytes(archive.read(name))
    program.chmod(0o755)


if __name__ == "__main__":
    try:
        fetch(Path(sys.argv[1]).read_text(encoding="utf-8"), Path(sys.argv[2]))
    except (OSError, LookupError, ValueError, zipfile.BadZipFile) as error:
        sys.exit(f"uv was not downloaded directly, pip will be asked: {error}")
