"""The tests' agent: a real program that does what its prompt's lines say. No model, no network.

    write PATH: TEXT | append PATH: TEXT | replace PATH: OLD -> NEW | delete PATH | rename OLD: NEW
    binary PATH | sparse PATH: BYTES | mode PATH: OCTAL | executable PATH | link PATH: TARGET | mkrepo PATH | commit MESSAGE | git ARGS
    sleep SECONDS | hang | stubborn | daemon SECONDS | spam BYTES | print TEXT | report JSON
    fail REASON | fail once REASON | fail until N | expect TEXT (fails unless the prompt holds it)
    ask TEXT (ends with this question unless the prompt has an answer) | ask always TEXT
    limit SECONDS (a usage limit that resets then; 0: it does not say when), until the file
    `$FAKE_AGENT_LOG.reset` exists or the agent is started with `unlimited`

Where its checkout has earlier work, it keeps both sides of each marked conflict, and appends no line that is there.

It is started thousands of times, so each verb imports what only that verb needs.

It writes when it began and ended to `$FAKE_AGENT_LOG`, one JSON line each, so that tests can see who overlapped.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

ATTEMPT = int(os.environ["FANIN_ATTEMPT"])


def note(event: str) -> None:
    log = os.environ.get("FAKE_AGENT_LOG")
    if log:
        line = {
            "event": event,
            "task": os.environ["FANIN_TASK"],
            "attempt": ATTEMPT,
            "at": time.monotonic(),
        }
        with Path(log).open("a") as stream:
            stream.write(json.dumps(line) + "\n")


def put(path: str, text: str, mode: str = "w") -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open(mode) as stream:
        stream.write(text)


def pair(rest: str) -> tuple[str, str]:
    path, _, text = rest.partition(": ")
    return path, text.replace("\\n", "\n")


def write(rest: str) -> None:
    path, text = pair(rest)
    put(path, text + "\n")


def keep_both_sides() -> None:
    """Take the markers of fanin's conflicts out of the files that git knows or could add."""
    import subprocess

    listed = subprocess.run(
        ["git", "ls-files", "-z", "-c", "-o", "--exclude-standard"],
        capture_output=True,
        check=False,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        path = Path(name)
        if not path.is_file() or path.is_symlink():
            continue
        lines = path.read_bytes().splitlines(keepends=True)
        kept, inside = [], False
        for line in lines:
            if line.startswith((b"<<<<<<< fanin: ", b">>>>>>> fanin: ")):
                inside = line.startswith(b"<")
            elif not (inside and line.rstrip() == b"======="):
                kept.append(line)
        if kept != lines:
            path.write_bytes(b"".join(kept))


def append(rest: str) -> None:
    path, text = pair(rest)
    is_there = ATTEMPT > 1 and Path(path).exists()
    if is_there and text in Path(path).read_text(errors="replace").splitlines():
        return
    put(path, text + "\n", "a")


def replace(rest: str) -> None:
    path, text = pair(rest)
    old, _, new = text.partition(" -> ")
    put(path, Path(path).read_text().replace(old, new))


def rename(rest: str) -> None:
    old, new = pair(rest)
    Path(new).parent.mkdir(parents=True, exist_ok=True)
    Path(old).rename(new)


def executable(rest: str) -> None:
    put(rest, "#!/bin/sh\n")
    Path(rest).chmod(0o755)


def sparse(rest: str) -> None:
    path, size = pair(rest)
    put(path, "")
    os.truncate(path, int(size))


def mode(rest: str) -> None:
    path, octal = pair(rest)
    Path(path).chmod(int(octal, 8))


def link(rest: str) -> None:
    path, target = pair(rest)
    Path(path).symlink_to(target)


def git(*argv: str) -> None:
    import subprocess

    subprocess.run(
        ["git", "-c", "user.name=agent", "-c", "user.email=agent@example.com", *argv],
        check=True,
    )


def mkrepo(rest: str) -> None:
    git("init", "-q", rest)
    put(f"{rest}/file", "nested\n")
    git("-C", rest, "add", "-A")
    git("-C", rest, "commit", "-qm", "nested")


def git_line(rest: str) -> None:
    import shlex

    git(*shlex.split(rest))


def daemon(rest: str) -> None:
    import subprocess

    subprocess.Popen(["sleep", rest], start_new_session=True)


def commit(rest: str) -> None:
    git("add", "-A")
    git("commit", "-qm", rest)


def stubborn(_: str) -> None:
    import signal

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(3600)


def spam(rest: str) -> None:
    for _ in range(int(rest) // 65536):
        sys.stdout.write("x" * 65535 + "\n")


def fail(rest: str) -> None:
    word, _, reason = rest.partition(" ")
    if word == "once" and ATTEMPT > 1:
        return
    if word == "until" and int(reason) <= ATTEMPT:
        return
    sys.exit(rest)


def limit(rest: str) -> None:
    is_reset = Path(f"{os.environ['FAKE_AGENT_LOG']}.reset").exists()
    if is_reset or "unlimited" in sys.argv:
        return
    report: dict[str, object] = {"status": "usage_limited"}
    if rest != "0":
        from datetime import UTC, datetime, timedelta

        resets = datetime.now(UTC) + timedelta(seconds=float(rest))
        report["resets_at"] = resets.isoformat()
    put(os.environ["FANIN_REPORT"], json.dumps(report))
    sys.exit(1)


VERBS: dict[str, Callable[[str], object]] = {
    "write": write,
    "append": append,
    "replace": replace,
    "rename": rename,
    "delete": lambda rest: Path(rest).unlink(),
    "binary": lambda rest: Path(rest).write_bytes(bytes(range(256))),
    "executable": executable,
    "sparse": sparse,
    "mode": mode,
    "link": link,
    "mkrepo": mkrepo,
    "commit": commit,
    "git": git_line,
    "sleep": lambda rest: time.sleep(float(rest)),
    "hang": lambda _: time.sleep(3600),
    "stubborn": stubborn,
    "daemon": daemon,
    "spam": spam,
    "print": lambda rest: sys.stdout.write(rest + "\n"),
    "report": lambda rest: put(os.environ["FANIN_REPORT"], rest),
    "fail": fail,
    "limit": limit,
}


def act(line: str, prompt: str) -> None:
    verb, _, rest = line.partition(" ")
    if verb == "expect" and rest not in prompt.replace(line, ""):
        sys.exit(f"the prompt does not say {rest!r}")
    if verb == "ask" and (rest.startswith("always") or "answers:" not in prompt):
        put(".fanin/question.md", rest + "\n")
        sys.exit(0)
    if verb in VERBS:
        VERBS[verb](rest)
        sys.stdout.flush()


if __name__ == "__main__":
    note("began")
    try:
        said = sys.stdin.read()
        if ATTEMPT > 1 and "conflict markers" in said and "leave markers" not in said:
            keep_both_sides()
        for each in said.splitlines():
            act(each.strip(), said)
    finally:
        note("ended")
