"""The real command in a process that kills its own group at one numbered durable step.

    python crash_driver.py STEP COUNT_FILE fanin-arguments…

STEP may be the name of a step: the first one of that name. STEP 0 kills nothing;
COUNT_FILE gets one line per step passed. Else COUNT_FILE.killed
gets the name of the step at which it died: where threads pass their steps beside each
other, the number does not tell that. A wait for a usage limit takes no time.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path

from runner.cli import main
from runner.core import durable
from runner.local import run
from tests.support.virtual_clock import VirtualClock

_lock = threading.Lock()
_passed = 0


def count(step: str, count_file: str, name: str) -> None:
    global _passed
    with _lock:
        _passed += 1
        if step == "0":
            note(count_file, name)
        elif step in (str(_passed), name):
            note(f"{count_file}.killed", name)
            os.killpg(0, signal.SIGKILL)


def note(file: str, name: str) -> None:
    with open(file, "a", encoding="utf-8") as stream:  # noqa: PTH123
        stream.write(name + "\n")


def let_agents_work_again(_clock: VirtualClock) -> None:
    Path(f"{os.environ['FAKE_AGENT_LOG']}.reset").touch()


if __name__ == "__main__":
    vars(run)["SystemClock"] = lambda: VirtualClock(let_agents_work_again)
    step, count_file = sys.argv[1], sys.argv[2]
    durable.checkpoint = lambda name: count(step, count_file, name)
    sys.argv = ["fanin", *sys.argv[3:]]
    main()
