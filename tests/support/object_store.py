"""A repository's objects, with every question and every pack counted."""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

from runner.repo.objects import Objects, stored_in

REGULAR = "100644"


def git(where: Path, *argv: str, stdin: bytes = b"") -> str:
    done = subprocess.run(
        ["git", *argv], cwd=where, input=stdin, capture_output=True, check=True
    )
    return done.stdout.decode().strip()


class Store:
    """A repository's objects, with every question and every pack counted."""

    def __init__(self, where: Path) -> None:
        self.where, self.questions, self.packs = where, list[Sequence[str]](), 0
        if not (where / "HEAD").exists():
            git(where, "init", "-q", "--bare", str(where))
        store = stored_in(where / "objects", "sha1", self.store)
        self.objects = Objects("sha1", self.read, store)

    def read(self, ids: Sequence[str]) -> list[tuple[str, bytes]]:
        self.questions.append(ids)
        found = []
        for object_id in ids:
            raw = zlib.decompress(
                (self.where / "objects" / object_id[:2] / object_id[2:]).read_bytes()
            )
            head, _, data = raw.partition(b"\0")
            found.append((head.split()[0].decode(), data))
        return found

    def store(self, pack: bytes) -> None:
        self.packs += 1
        git(self.where, "unpack-objects", "-q", stdin=pack)

    def tree(self, files: dict[str, str]) -> str:
        """The tree that git itself makes of these files (path → content)."""
        lines = [
            (f"{REGULAR} {self.blob(text)}\t{path}\0") for path, text in files.items()
        ]
        index = self.where / "an-index"
        index.unlink(missing_ok=True)
        env = {
            "GIT_INDEX_FILE": str(index),
            "GIT_DIR": str(self.where),
            "PATH": "/usr/bin:/bin:/usr/local/bin",
        }
        for argv, stdin in (
            (["update-index", "-z", "--index-info"], "".join(lines).encode()),
            (["write-tree"], b""),
        ):
            done = subprocess.run(
                ["git", *argv], input=stdin, env=env, capture_output=True, check=True
            )
        return done.stdout.decode().strip()

    def blob(self, text: str) -> str:
        return self.objects.write("blob", text.encode())
