"""The tests' agent: a real program that does what its prompt's lines say. No model, no network.

    write PATH: TEXT | append PATH: TEXT | replace PATH: OLD -> NEW | delete PATH | rename OLD: NEW
    binary PATH | executable PATH | link PATH: TARGET | mkrepo PATH | commit MESSAGE | git ARGS
    sleep SECONDS | hang | stubborn | daemon SECONDS | spam BYTES | print TEXT
    fail REASON | fail once REASON | fail until N | report JSON | expect TEXT (fails unless the prompt holds it)

It writes when it began and ended to `$FAKE_AGENT_LOG`, one JSON line each, so that tests can see who overlapped.
"""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

ATTEMPT = int(os.environ["FANIN_ATTEMPT"])


def note(event):
    log = os.environ.get("FAKE_AGENT_LOG")
    if log:
        line = {"event": event, "task": os.environ["FANIN_TASK"], "attempt": ATTEMPT, "at": time.monotonic()}
        with open(log, "a") as stream:
            stream.write(json.dumps(line) + "\n")


def put(path, data, mode="w"):
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with open(path, mode) as stream:
        stream.write(data)


def act(line, prompt):
    verb, _, rest = line.partition(" ")
    path, _, text = rest.partition(": ")
    text = text.replace("\\n", "\n")
    if verb == "write":
        put(path, text + "\n")
    elif verb == "append":
        put(path, text + "\n", "a")
    elif verb == "replace":
        old, _, new = text.partition(" -> ")
        put(path, Path(path).read_text().replace(old, new))
    elif verb == "delete":
        Path(rest).unlink()
    elif verb == "rename":
        Path(text).parent.mkdir(parents=True, exist_ok=True)
        Path(path).rename(text)
    elif verb == "binary":
        put(rest, bytes(range(256)), "wb")
    elif verb == "executable":
        put(rest, "#!/bin/sh\n")
        Path(rest).chmod(0o755)
    elif verb == "link":
        Path(path).symlink_to(text)
    elif verb == "mkrepo":
        subprocess.run(["git", "init", "-q", rest], check=True)
        put(f"{rest}/file", "nested\n")
        subprocess.run(["git", "-C", rest, "add", "-A"], check=True)
        subprocess.run(
            ["git", "-C", rest, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"], check=True
        )
    elif verb == "commit":
        subprocess.run(["git", "add", "-A"], check=True)
        subprocess.run(["git", "commit", "-qm", rest], check=True)
    elif verb == "git":
        subprocess.run(["git", *shlex.split(rest)], check=True)
    elif verb == "sleep":
        time.sleep(float(rest))
    elif verb == "hang":
        time.sleep(3600)
    elif verb == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(3600)
    elif verb == "daemon":
        subprocess.Popen(["sleep", rest], start_new_session=True)
    elif verb == "spam":
        for _ in range(int(rest) // 65536):
            sys.stdout.write("x" * 65535 + "\n")
    elif verb == "print":
        print(rest)
    elif line.startswith("fail once"):
        if ATTEMPT == 1:
            sys.exit(line.removeprefix("fail once").strip())
    elif line.startswith("fail until"):
        if int(line.split()[-1]) > ATTEMPT:
            sys.exit(f"not before attempt {line.split()[-1]}")
    elif verb == "fail":
        sys.exit(rest)
    elif verb == "report":
        put(os.environ["FANIN_REPORT"], rest)
    elif verb == "expect":
        if rest not in prompt.replace(line, ""):
            sys.exit(f"the prompt does not say {rest!r}")
    else:
        return


if __name__ == "__main__":
    note("began")
    try:
        said = sys.stdin.read()
        for each in said.splitlines():
            act(each.strip(), said)
            sys.stdout.flush()
    finally:
        note("ended")
