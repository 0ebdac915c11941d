"""Runs one program, and ends everything that it has started: a script of its own process.

A process that calls setsid and clears its environment leaves no trace of who started it.
But on Linux each orphan goes to the nearest ancestor that asks for orphans, and here
that is this process. Were it fanin, the orphans of parallel attempts would be mixed, and
a program that embeds fanin would get children that are not its own.

Within bubblewrap it is the first process of a process namespace: the kernel ends what is
left there with it, and no signal from inside reaches it.

It starts often, so it imports no more than it needs: nothing of fanin but the one module
that confines a program, and that only where a program is to be confined.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress

# of prctl(2)
_PARENT_DEATH_SIGNAL, _DUMPABLE, _NAME, _CHILD_SUBREAPER = 1, 4, 15, 36
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP)
# What may be ignored here and would be by the program: the first two by Python, SIGHUP by
# nohup, the others by a shell that starts fanin in the background.
_IGNORED = (
    *(signal.SIGPIPE, signal.SIGXFSZ),
    *(signal.SIGHUP, signal.SIGINT, signal.SIGQUIT),
)
# Seconds after which a process that cannot be killed, one of another user for example,
# is left alone.
END_SECONDS = 5.0
_POLL_SECONDS = 0.05


def main(request: int, parent: int, grace: float, report: int) -> None:
    """Run the program that the socket `request` describes, and exit as it does.

    SIGTERM ends it, with `grace` seconds between SIGTERM and SIGKILL; SIGHUP, which
    comes if `parent` dies, ends it at once. If it cannot be started, `request` gets the
    errno.

    `parent` is 0 within bubblewrap, which kills it if fanin dies. The pipe `report` gets
    a line once this process runs and one with the program's exit code then, a negative
    one for a signal: the first process of a namespace cannot die of one.
    """
    os.set_inheritable(request, False)
    os.set_inheritable(report, False)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    _prctl(_NAME, b"fanin-attempt")
    _prctl(_CHILD_SUBREAPER, 1)
    if parent:
        _prctl(_PARENT_DEATH_SIGNAL, signal.SIGHUP)
    if os.getppid() != parent:
        return  # it died before the signal was asked for
    _report(report, "\n")
    argv, env, confinement = _read_request(request)
    program = os.fork()
    if program == 0:
        _become(argv, env, confinement, request)
    os.close(request)
    status = _wait(program, grace)
    _end_children()
    code = os.waitstatus_to_exitcode(status)
    _report(report, str(code))
    _exit_as(code)


def _report(report: int, text: str) -> None:
    with suppress(OSError):  # nobody reads it any more
        os.write(report, text.encode())


def encode_request(
    argv: list[str], env: dict[str, str], confinement: list[str]
) -> bytes:
    """The request for a program. ValueError for a text with a NUL.

    confinement: the file of the module that confines it and what its `confine` is called
    with, or nothing.
    """
    lists = (argv, [f"{name}={env[name]}" for name in env], confinement)
    texts = []
    for each in lists:
        texts += [str(len(each)), *each]
    if any("\0" in text for text in texts):
        raise ValueError("embedded null byte")
    return b"".join(os.fsencode(text) + b"\0" for text in texts)


def _read_request(request: int) -> tuple[list[str], dict[str, str], list[str]]:
    data = b""
    while piece := os.read(request, 2**16):
        data += piece
    texts = os.fsdecode(data).split("\0")[:-1]
    lists = []
    while texts:
        count = int(texts[0])
        lists.append(texts[1 : count + 1])
        texts = texts[count + 1 :]
    argv, variables, confinement = lists
    env = {}
    for text in variables:
        name, _, value = text.partition("=")
        env[name] = value
    return argv, env, confinement


def _confine(confinement: list[str]) -> None:
    from importlib.machinery import SourceFileLoader

    file, *texts = confinement
    module: dict[str, object] = {"__name__": "landlock"}
    code = SourceFileLoader("landlock", file).get_code("landlock")
    assert code is not None
    exec(code, module)  # noqa: S102 - fanin's own; this process has no path to import from
    confine = module["confine"]
    assert callable(confine)
    confine(texts)


def _become(
    argv: list[str], env: dict[str, str], confinement: list[str], request: int
) -> None:
    """Be the program, in a session of its own."""
    try:
        os.setsid()
        # it must not outlive this process
        _prctl(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        for number in _IGNORED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        if confinement:
            _confine(confinement)
        os.execvpe(argv[0], argv, env)  # noqa: S606
    except OSError as error:
        os.write(request, str(error.errno).encode())
    finally:
        os._exit(127)


def _wait(program: int, grace: float) -> int:
    """Wait for the program, and end it when a signal asks for that; its wait status."""
    deadline: float | None = None
    while (status := _reap(program)) is None:
        if deadline is None:
            number: int | None = signal.sigwait(_SIGNALS)
        else:
            info = signal.sigtimedwait(_SIGNALS, max(0.0, deadline - time.monotonic()))
            number = info.si_signo if info else None
        if number == signal.SIGTERM and deadline is None:
            _kill_group(program, signal.SIGTERM)
            deadline = time.monotonic() + grace
        elif number in {None, signal.SIGHUP}:
            _kill_group(program, signal.SIGKILL)
            deadline = time.monotonic() + END_SECONDS
    return status


def _reap(program: int) -> int | None:
    """Reap every child that has ended; the wait status of the program if it has."""
    status = None
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == program:
                status = ended[1]
    return status


def _kill_group(leader: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _end_children() -> None:
    """Kill all children until there are none. The children of one that is killed become
    children of this process, so none is missed.
    """
    deadline = time.monotonic() + END_SECONDS
    while _has_children() and time.monotonic() < deadline:
        for child in _children():
            # Nobody but this process reaps it, so its id is not another's yet.
            with suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGKILL)
        signal.sigtimedwait((signal.SIGCHLD,), _POLL_SECONDS)


def _has_children() -> bool:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _children() -> list[int]:
    own = str(os.getpid()).encode()
    children = []
    for name in os.listdir("/proc"):  # noqa: PTH208 - pathlib takes long to import
        if not name.isdecimal():
            continue
        with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
            # the name in parentheses, which may be any text, the state, the parent
            fields = file.read().rpartition(b")")[2].split()
            if fields[1] == own:
                children.append(int(name))
    return children


def _exit_as(code: int) -> None:
    """Exit with the code; a negative one is the signal to die of."""
    if code >= 0:
        os._exit(code)
    _prctl(_DUMPABLE, 0)  # the program has dumped its core already
    with suppress(OSError):  # SIGKILL has no handler
        signal.signal(-code, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.kill(os.getpid(), -code)
    os._exit(128 - code)


def _prctl(option: int, value: int | bytes) -> None:
    # a kernel that lacks an option runs the program all the same
    ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
