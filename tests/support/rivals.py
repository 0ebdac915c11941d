"""Others who push to fanin's branch all the time, each from a clone of their own, and
never give up.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from runner.repo.environment import git_environment


@dataclass
class Rivals:
    """`landed` are the commits that the origin took from them."""

    origin: Path
    folder: Path
    landed: list[str] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def work(self, name: str, pause: float) -> None:
        clone = self.folder / name
        self._git(None, "init", "-q", "--bare", str(clone))
        count = 0
        while not self.stopped.wait(pause):
            count += 1
            self._git(clone, "fetch", "-q", str(self.origin), "+main:main")
            self._git(clone, "read-tree", "main")
            blob = self._git(
                clone, "hash-object", "-w", "--stdin", text=f"{name} {count}\n"
            )
            self._git(
                clone,
                "update-index",
                "--add",
                "--cacheinfo",
                f"100644,{blob},{name}/{count}",
            )
            tree = self._git(clone, "write-tree")
            commit = self._git(
                clone, "commit-tree", tree, "-p", "main", "-m", f"{name} {count}"
            )
            if (
                self._status(
                    clone, "push", "-q", str(self.origin), f"{commit}:refs/heads/main"
                )
                == 0
            ):
                self.landed.append(commit)

    def _status(self, clone: Path | None, *argv: str) -> int:
        where = ["-C", str(clone)] if clone else []
        return subprocess.run(
            ["git", *where, *argv], env=self._env, capture_output=True, check=False
        ).returncode

    def _git(self, clone: Path | None, *argv: str, text: str | None = None) -> str:
        where = ["-C", str(clone)] if clone else []
        done = subprocess.run(
            ["git", *where, *argv],
            env=self._env,
            capture_output=True,
            check=True,
            text=True,
            input=text,
        )
        return done.stdout.strip()

    @property
    def _env(self) -> dict[str, str]:
        return git_environment(os.environ)


@contextmanager
def at_work(origin: Path, folder: Path, count: int, pause: float) -> Iterator[Rivals]:
    """Rivals that push while the block runs; each has pushed at least once before it
    begins.
    """
    folder.mkdir(parents=True)
    rivals = Rivals(origin, folder)
    threads = [
        threading.Thread(target=rivals.work, args=(f"rival{number}", pause))
        for number in range(count)
    ]
    for thread in threads:
        thread.start()
    try:
        while len(rivals.landed) < count:
            time.sleep(0.01)
        yield rivals
    finally:
        rivals.stopped.set()
        for thread in threads:
            thread.join()
