"""fanin's command line in processes of its own that need no time to start.

A process that has imported all of fanin forks another one for each command. That one is
as if it had been started: its own number, locks, environment, folder and streams. What a
start itself does is not shown by it: tests of imports, locales and signals start Python.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import selectors
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel

ROOT = Path(__file__).resolve().parents[2]
_START = "from tests.support import forked_fanin; forked_fanin.serve()"
# What commands import when they need it.
_LATER = (
    *("github", "markdown_it", "networkx", "requests"),
    *("rich.console", "rich.live", "rich.table", "yaml"),
)


def run(
    argv: Sequence[str], cwd: Path, env: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run `fanin ARGV` to its end; nothing is on its standard input."""
    server = _take()
    answer = server.ask({"argv": list(argv), "cwd": str(cwd), "env": dict(env)})
    _idle.append(server)
    stdout, stderr = (
        text.encode("latin-1").decode().replace("\r\n", "\n")
        for text in (answer["stdout"], answer["stderr"])
    )
    return subprocess.CompletedProcess(["fanin", *argv], answer["code"], stdout, stderr)


class _Server:
    """A process that forks; it runs one command at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._process.communicate)

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


# Two commands of a test may run at the same time.
_idle: list[_Server] = []


def _take() -> _Server:
    try:
        return _idle.pop()
    except IndexError:
        return _Server()


# -- the process that forks --


def serve() -> None:
    """Answer requests until there are no more."""
    sys.path[0] = str(ROOT)  # instead of the folder that it is in
    _import_everything()
    for line in sys.stdin:
        print(json.dumps(_fork(json.loads(line))), flush=True)  # noqa: T201


def _import_everything() -> None:
    package = importlib.import_module("runner")
    for found in pkgutil.walk_packages(package.__path__, "runner."):
        # Programs do something when they are imported.
        if not found.name.endswith(("__main__", "demo.agent", "supervisor")):
            importlib.import_module(found.name)
    for name in _LATER:
        importlib.import_module(name)
    _build_validators()
    # Nothing of this is garbage in any command.
    gc.collect()
    gc.freeze()


def _build_validators() -> None:
    """Each would be built at its first use, in every command anew."""
    from runner.core.documents import Document, UserDocument

    classes: list[type[BaseModel]] = [Document, UserDocument]
    for document in classes:
        document.model_rebuild()
        classes += document.__subclasses__()


def _fork(request: Mapping[str, Any]) -> dict[str, Any]:
    """Run one command in a child; its exit code and all that it and its children wrote."""
    out, err = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        code = 70
        with contextlib.suppress(BaseException):
            code = _command(request, out[1], err[1])
        os._exit(code)
    os.close(out[1])
    os.close(err[1])
    written = _read_all(out[0], err[0])
    _, status = os.waitpid(child, 0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "stdout": written[out[0]].decode("latin-1"),
        "stderr": written[err[0]].decode("latin-1"),
    }


def _read_all(*streams: int) -> dict[int, bytes]:
    written = dict.fromkeys(streams, b"")
    with selectors.DefaultSelector() as selector:
        for stream in streams:
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                if data := os.read(key.fd, 2**16):
                    written[key.fd] += data
                else:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return written


def _command(request: Mapping[str, Any], out: int, err: int) -> int:
    """In the child: become the process that would have been started."""
    for source, number in ((out, 1), (err, 2)):
        os.dup2(source, number)
    os.closerange(3, 256)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = (
        open(0, encoding="utf-8"),  # noqa: SIM115
        open(1, "w", encoding="utf-8"),  # noqa: SIM115
        open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1),  # noqa: SIM115
    )
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    # Plugins that a test has written.
    folders = request["env"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [folder for folder in folders if folder and folder != str(ROOT)]
    time.tzset()
    tempfile.tempdir = None
    sys.argv = ["fanin", *request["argv"]]
    code = _exit_code()
    threading._shutdown()  # type: ignore[attr-defined]  # as at the end of any process
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


def _exit_code() -> int:
    from runner.cli import main

    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001  Python itself would print it
        traceback.print_exc()
        return 1
