"""A machine to get out to: its secrets, files, processes and sockets, and who reached
them. A script of its own process, so that it can run as another user.

`python -m tests.support.escape_targets MECHANISM` makes it, runs the table of `escapes`
in a checkout there, and prints the names of the rows that got out as JSON. MECHANISM:
`bubblewrap` (with Landlock inside), `landlock` (alone), or `none`; `bubblewrap-offline` and
`landlock` without the network.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import Any, Literal

from runner.agents import process
from runner.core.sandbox import SandboxSettings
from runner.local import walls as local_walls
from runner.repo.repository import Repository
from runner.sandbox.choose import choose
from runner.sandbox.machine import look
from runner.sandbox.walls import NO_WALLS, Walls
from tests.support import escapes

_VICTIM = """
import ctypes, os, sys, time
os.chdir(os.path.dirname(sys.argv[1]))
files = [open(sys.argv[1]) for _ in range(4)]
buffer = ctypes.create_string_buffer(os.environ["TOKEN"].encode(), 64)
print(ctypes.addressof(buffer), flush=True)
time.sleep(600)
"""
_SECRETS = {
    "ssh_key": "home/.ssh/id_secret",
    "aws_credentials": "home/.aws/credentials",
    "gh_token": "home/.config/gh/hosts.yml",
    "netrc": "home/.netrc",
    "keyring": "home/.local/share/keyrings/login.keyring",
    "browser_profile": "home/.mozilla/firefox/key4.db",
    "login_of_another_agent": "home/.codex/auth.json",
    "neighbours_checkout": "tmp/fanin-run/neighbour/checkout/secret.txt",
    "neighbours_log": "home/project/.git/fanin/runs/1/0/000/agent.log",
    "work_tree_file": "home/project/.env",
    "git_configuration": "home/project/.git/config.token",
    "other_work_tree": "home/other/notes.txt",
    "temporary_file": "tmp/somebody/file",
    "hidden_by_setting": "home/private/diary.txt",
}
_VICTIMS = {
    "change_branch": "home/project/.git/refs/heads/main",
    "add_hook": "home/project/.git/hooks/post-commit",
    "change_configuration": "home/project/.git/config",
    "change_index": "home/project/.git/index",
    "change_pack": "home/project/.git/objects/pack/multi-pack-index",
    "add_object": "home/project/.git/objects/00/new",
    "change_work_tree": "home/project/main.py",
    "change_neighbour": "tmp/fanin-run/neighbour/checkout/main.py",
    "change_result": "home/project/.git/fanin/runs/1/0/000/result.json",
    "change_shell_start": "home/.bashrc",
    "change_git_configuration": "home/.gitconfig",
    "poison_package_cache": "home/.cache/pip/wheel.whl",
    "add_autostart": "home/.config/systemd/user/evil.service",
    "change_settings_of_agent": "home/.claude/settings.json",
    "change_saved_index": "tmp/fanin-run/attempt/checkout.index",
    "change_fanin_state": "home/project/.git/fanin/journal",
}
_PROCESSES = (
    *("end_a_process", "stop_a_process", "signal_by_descriptor", "signal_its_group"),
    *("change_priority_of_a_process", "change_limits_of_a_process"),
    "signal_by_owner_of_a_file",
)
_SOCKETS = {
    "docker_socket": "run/docker.sock",
    "session_bus": "session/bus",
    "ssh_agent": "run/agent",
    "gpg_agent": "home/.gnupg/S.gpg-agent",
    "socket_in_tmp": "tmp/sock",
    "datagram_socket": "session/log",
}
_DATAGRAM = {"datagram_socket", "abstract_datagram_socket"}


def _git(folder: Path, *argv: str) -> str:
    done = subprocess.run(
        ["git", *argv], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@dataclass
class Outside:
    """What is outside of the walls, below the folder `root`."""

    root: Path
    secret: str = field(default_factory=lambda: f"secret-{token_hex(16)}")
    reached: set[str] = field(default_factory=set)
    _open: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.checkout = self.root / "tmp/fanin-run/attempt/checkout"
        self._make_repository()
        for path in _SECRETS.values():
            self._write(path, self.secret)
        self._write("home/private/other.txt", self.secret)
        self.victims = {row: self.root / path for row, path in _VICTIMS.items()}
        for row in escapes.ESCAPES:
            self.victims.setdefault(row.name, self.root / "home/v" / row.name / "file")
        for victim in self.victims.values():
            self._write(str(victim.relative_to(self.root)), "before")
        self.shared_memory = Path("/dev/shm", f"fanin-{token_hex(4)}")
        self._open.callback(self.shared_memory.unlink, missing_ok=True)
        self.shared_memory.write_text(self.secret)
        self._make_processes()
        self._make_sockets()
        self._make_keys()
        self._make_queue_and_terminal()
        self._make_second_mount()
        self._before = {row: _state(path) for row, path in self.victims.items()}

    def _write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def _make_repository(self) -> None:
        project = self.root / "home/project"
        self._write("home/project/main.py", "print()\n")
        self.foreign = self.root / "tmp/fanin-run/foreign"
        for folder in (project, self.foreign):
            folder.mkdir(parents=True, exist_ok=True)
            _git(folder, "init", "-q", "-b", "main")
            (folder / "file").write_text(self.secret if folder != project else "x")
            _git(folder, "add", "-A")
            _git(folder, "commit", "-qm", "first")
        _git(project, "worktree", "add", "-q", str(self.root / "home/other"))
        (self.checkout.parent).mkdir(parents=True)
        _git(self.root, "clone", "-qs", str(project), str(self.checkout))

    def _make_processes(self) -> None:
        key = self.root / _SECRETS["ssh_key"]
        self.mark = token_hex(8)
        argv = [sys.executable, "-I", "-S", "-c", _VICTIM, str(key), self.mark]
        self.victim = subprocess.Popen(
            argv, env={"TOKEN": self.secret}, stdout=subprocess.PIPE, text=True
        )
        assert self.victim.stdout is not None
        self.memory = int(self.victim.stdout.readline())
        self.processes = {
            name: subprocess.Popen(["sleep", "600"], start_new_session=True)
            for name in _PROCESSES
        }
        for started in self.processes.values():
            self._open.callback(started.wait)
            self._open.callback(started.kill)
        self._open.callback(self.victim.wait)
        self._open.callback(self.victim.kill)
        libc = ctypes.CDLL(None)
        libc.shmat.restype = ctypes.c_void_p
        self.segment = int.from_bytes(os.urandom(3), "big") + 1
        number = libc.shmget(self.segment, 64, 0o1666)
        ctypes.memmove(libc.shmat(number, None, 0), self.secret.encode(), 40)
        self._open.callback(libc.shmctl, number, 0, None)

    def _make_keys(self) -> None:
        """In a keyring that this process and its children have as their session's, and in
        the user's.
        """
        libc = ctypes.CDLL(None)
        add, control = (248, 250) if os.uname().machine == "x86_64" else (217, 219)
        ring_number, join, revoke, session, user = 0, 1, 3, -3, -4
        libc.syscall(control, join, None)
        secret = self.secret.encode()
        size = ctypes.c_size_t(len(secret))
        name = token_hex(8).encode()
        self.keys = {"user_ring": libc.syscall(control, ring_number, user, 0)}
        for kind, ring in (("session", session), ("user", user)):
            self.keys[kind] = libc.syscall(add, b"user", name, secret, size, ring)
            self._open.callback(libc.syscall, control, revoke, self.keys[kind])

    def _make_queue_and_terminal(self) -> None:
        library = ctypes.CDLL("librt.so.1")
        self.queue = f"/fanin-{token_hex(4)}"
        name = self.queue.encode()
        queue = library.mq_open(name, os.O_RDWR | os.O_CREAT, 0o600, None)
        library.mq_send(queue, self.secret.encode(), len(self.secret), 0)
        self._open.callback(library.mq_unlink, name)
        self.screen, self.terminal = os.openpty()
        os.set_blocking(self.screen, False)
        self._open.callback(os.close, self.screen)
        self._open.callback(os.close, self.terminal)

    def _make_second_mount(self) -> None:
        """The home folder once more, where this user may mount."""
        self.second_mount = self.root / "second"
        self.second_mount.mkdir()
        mount = ["mount", "--bind", str(self.root / "home"), str(self.second_mount)]
        if (
            subprocess.run(mount, stderr=subprocess.DEVNULL, check=False).returncode
            == 0
        ):
            unmount = ["umount", str(self.second_mount)]
            self._open.callback(subprocess.run, unmount, check=True)

    def _make_sockets(self) -> None:
        self.sockets = {name: str(self.root / path) for name, path in _SOCKETS.items()}
        abstract = token_hex(8)
        self.sockets["abstract_socket"] = f"\0{abstract}"
        self.sockets["abstract_datagram_socket"] = f"\0{abstract}-datagram"
        for name, address in self.sockets.items():
            if not address.startswith("\0"):
                Path(address).parent.mkdir(parents=True, exist_ok=True)
            is_datagram = name in _DATAGRAM
            kind = socket.SOCK_DGRAM if is_datagram else socket.SOCK_STREAM
            server = self._open.enter_context(socket.socket(socket.AF_UNIX, kind))
            server.bind(address)
            if not is_datagram:
                server.listen()
            threading.Thread(target=self._serve, args=(server,), daemon=True).start()

        server = self._open.enter_context(socket.create_server(("127.0.0.1", 0)))
        self.port = server.getsockname()[1]
        threading.Thread(target=self._serve, args=(server,), daemon=True).start()

    def _serve(self, server: socket.socket) -> None:
        with suppress(OSError):
            while True:
                if server.type == socket.SOCK_DGRAM:
                    self.reached.add(server.recv(100).decode())
                else:
                    client, _ = server.accept()
                    with client:
                        self.reached.add(client.recv(100).decode())

    def targets(self, *, spares_machine: bool) -> dict[str, Any]:
        status = self.root.stat()
        blob = _git(self.foreign, "rev-parse", "HEAD:file")
        return {
            "secret": self.secret,
            "home": str(self.root / "home"),
            "secrets": {name: str(self.root / path) for name, path in _SECRETS.items()},
            "victims": {row: str(path) for row, path in self.victims.items()},
            "pid": self.victim.pid,
            "mark": self.mark,
            "memory": [self.memory, 64],
            "processes": {name: each.pid for name, each in self.processes.items()},
            "handle": _handle(self.root / _SECRETS["ssh_key"]).hex(),
            "disk": [os.major(status.st_dev), os.minor(status.st_dev)],
            "foreign_objects": str(self.foreign / ".git/objects"),
            "foreign_blob": blob,
            "shared_memory": str(self.shared_memory),
            "segment": self.segment,
            "sockets": self.sockets,
            "port": self.port,
            "keys": self.keys,
            "queue": self.queue,
            "terminal": os.ttyname(self.terminal),
            "second_mount": str(self.second_mount / ".ssh/id_secret"),
            "spares_machine": spares_machine,
        }

    def escaped(self, texts: dict[str, str]) -> set[str]:
        """The rows that have got out, by what they say and by what they have reached."""
        escaped = {row for row, text in texts.items() if self.secret in text}
        for row, path in self.victims.items():
            if _state(path) != self._before[row]:
                escaped.add(row)
        for row, each in self.processes.items():
            if each.poll() is not None or _is_disturbed(each.pid):
                escaped.add(row)
        with suppress(BlockingIOError):
            escaped.add(os.read(self.screen, 100).decode())
        with Path(f"/proc/{self.victim.pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(self.memory)
            if memory.read(len(self.secret)) != self.secret.encode():
                escaped.add("write_memory_of_a_process")
        if Path(f"/proc/{self.victim.pid}/oom_score_adj").read_text() == "777\n":
            escaped.add("change_fate_of_a_process")
        return escaped | self.reached

    def close(self) -> None:
        self._open.close()


def _state(victim: Path) -> list[object]:
    """All that can be changed of a file and of what is beside it."""
    state: list[object] = []
    if not victim.parent.is_dir():
        return state
    for name in sorted(os.listdir(victim.parent)):
        path = victim.parent / name
        status = path.lstat()
        if path == victim:
            state += [status.st_mode, status.st_mtime_ns, status.st_nlink]
            state += [path.read_bytes(), os.listxattr(path)]
        elif name.startswith("file"):
            state.append(name)
    return state


def _is_disturbed(pid: int) -> bool:
    stopped = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return stopped or os.getpriority(os.PRIO_PROCESS, pid) != 0


def _handle(path: Path) -> bytes:
    size = 128
    buffer = ctypes.create_string_buffer(size.to_bytes(4, sys.byteorder), 8 + size)
    mount = ctypes.c_int()
    name = os.fsencode(path)
    ctypes.CDLL(None).name_to_handle_at(-100, name, buffer, ctypes.byref(mount), 0)
    return buffer.raw


def _walls(outside: Outside, mechanism: str, environ: dict[str, str]) -> Walls:
    if mechanism == "none":
        return NO_WALLS
    network: Literal["on", "off"] = "on" if mechanism == "bubblewrap" else "off"
    settings = SandboxSettings(mode="auto", hide=("~/private",), network=network)
    machine = look(environ, lambda argv: process.first_line(argv, environ))
    if mechanism == "landlock":
        machine = machine._replace(bubblewrap=None)
    choice = choose(settings, machine)
    assert bool(choice.bubblewrap) == (mechanism != "landlock"), machine
    assert choice.landlock
    local_walls._TEMPORARY = ()  # all of this is below /tmp
    tempfile.tempdir = str(outside.root / "tmp")
    repo = Repository(outside.root / "home/project", os.environ)
    return Walls(choice, settings, local_walls.surroundings(repo, environ))


def main(mechanism: str) -> None:
    root = Path(tempfile.mkdtemp(prefix="esc-"))
    outside = Outside(root)
    try:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(root / "home"),
            "DOCKER_HOST": f"unix://{outside.sockets['docker_socket']}",
            "SSH_AUTH_SOCK": outside.sockets["ssh_agent"],
            "XDG_RUNTIME_DIR": str(root / "session"),
        }
        walls = _walls(outside, mechanism, environ)
        targets = outside.checkout / "targets.json"
        spares = mechanism == "none"
        targets.write_text(json.dumps(outside.targets(spares_machine=spares)))
        walled = walls.around(
            outside.checkout,
            environ,
            writable=[root / "home/.claude"],
            protected=[root / "home/.claude/settings.json"],
        )
        log = root / "log"
        outcome = process.run(
            [sys.executable, escapes.__file__, str(targets)],
            cwd=outside.checkout,
            env=environ,
            stdin=None,
            log=log,
            timeout=60,
            walled=walled,
        )
        assert outcome.exit_code == 0, log.read_text()
        time.sleep(1.2)  # a daemon would write by now
        texts = json.loads(log.read_text().splitlines()[-1])
        escaped = outside.escaped(texts)
        said = {row: texts.get(row) for row in escaped}
        print(json.dumps({"texts": texts, "escaped": said}))
    finally:
        outside.close()
        shutil.rmtree(root)


if __name__ == "__main__":
    main(sys.argv[1])
