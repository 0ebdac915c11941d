"""A stand-in of sudo for an unprivileged process, and what it needs on the way: root runs
the commands, in the process of the tests.

As sudo does by sudo(8) and sudoers(5): `-n` never asks and fails where a password is
needed, `-K` takes no command, of all rules the last one that matches counts, and files
with a dot in their names are not read. `visudo -c` refuses what is no rule or has another
mode than 0440; `gpasswd -d` fails for a user that is no member.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
from pathlib import Path

USER = "nobody"
_SUDO = """#!/bin/sh
printf '%s\\0' "$@" >{folder}/request
read status <{folder}/reply
exit "$status"
"""
_GPASSWD = """#!/bin/sh
test "$#" = 3 && test "$1" = -d && test "$2" = nobody || exit 2
grep -qx "$3" {folder}/groups || exit 3
sed -i "/^$3\\$/d" {folder}/groups
"""
_VISUDO = """#!/bin/sh
test "$#" = 2 && test "$1" = -cqf || exit 1
test "$(stat -c %a "$2")" = 440 || exit 1
! grep -vqE '^[a-z]+ ALL=\\(ALL:ALL\\) !?ALL$' "$2"
"""


class SudoStandIn:
    """Runs until `stop`. `folder` can be entered by everybody."""

    def __init__(self, folder: Path, *, with_visudo: bool = True) -> None:
        self.programs, self.rules = folder / "bin", folder / "sudoers.d"
        self.groups = folder / "groups"
        self.rule = self.rules / "zzzz-fanin"
        self.commands: list[list[str]] = []
        self._request, self._reply = folder / "request", folder / "reply"
        for each in (self.programs, self.rules):
            each.mkdir()
        (self.rules / "runner").write_text(f"{USER} ALL=(ALL:ALL) ALL\n")
        (self.rules / "zzzzz.off").write_text(f"{USER} ALL=(ALL:ALL) ALL\n")
        self.groups.write_text("docker\nusers\n")
        programs = {"sudo": _SUDO, "gpasswd": _GPASSWD}
        if with_visudo:
            programs["visudo"] = _VISUDO
        for name, text in programs.items():
            program = self.programs / name
            program.write_text(text.replace("{folder}", str(folder)))
            program.chmod(0o755)
        for fifo in (self._request, self._reply):
            os.mkfifo(fifo)
            fifo.chmod(0o666)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._request.write_bytes(b"stop\0")
        self._thread.join()

    def _serve(self) -> None:
        while True:
            argv = self._request.read_bytes().decode().split("\0")[:-1]
            if argv == ["stop"]:
                return
            self._reply.write_text(f"{self._run(argv)}\n")

    def _run(self, argv: list[str]) -> int:
        self.commands.append(argv)
        if argv == ["-K"]:
            return 0
        if argv[:1] != ["-n"] or len(argv) < 2 or not self._is_allowed():
            return 1
        env = {"PATH": f"{self.programs}:/usr/sbin:/usr/bin:/sbin:/bin"}
        return subprocess.run(argv[1:], env=env, check=False).returncode

    def _is_allowed(self) -> bool:
        allowed = False
        for file in sorted(self.rules.iterdir()):
            if "." in file.name or file.name.endswith("~"):
                continue
            for line in file.read_text().splitlines():
                if match := re.fullmatch(rf"{USER} ALL=\(ALL:ALL\) (!?)ALL", line):
                    allowed = not match[1]
        return allowed
