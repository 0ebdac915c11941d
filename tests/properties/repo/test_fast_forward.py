"""A landing leaves what `git merge --ff-only` leaves: the same branch, index and files, or
the same refusal.

Random commits, settings and states of a person's work tree. `FANIN_LANDINGS=1000 pytest
tests/properties/repo/test_fast_forward.py` tries more.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from runner.repo import work_tree
from runner.repo.command import Git, isolated_git
from runner.repo.landing import Landing
from runner.repo.repository import Repository

LANDINGS = int(os.environ.get("FANIN_LANDINGS", "16"))
NAMES = ("a", "b", "d/x", "d/y", "e/f/g", "link", "run.sh", "d.txt", ".gitattributes")
TEXTS = ("one\n", "two\n", "x\r\ny\r\n", "no end")
ATTRIBUTES = ("* text=auto\n", "a eol=crlf\n", "")
CONFIGURATION = {
    "core.autocrlf": ("false", "false", "true", "input"),
    "core.filemode": ("true", "true", "false"),
    "index.version": ("2", "4"),
    "core.splitIndex": ("false", "false", "true"),
    "core.untrackedCache": ("false", "true"),
}


class Drawn:
    """A repository on `main`, whose commit is `old`, and a commit `new` to land."""

    def __init__(self, root: Path, seed: int) -> None:
        root.mkdir()
        self._root, self._random = root, random.Random(seed)
        self._git = isolated_git(root)
        object_format = self._random.choice(("sha1", "sha1", "sha256"))
        self._run("init", "-q", "-b", "main", f"--object-format={object_format}")
        for name, values in CONFIGURATION.items():
            self._run("config", name, self._random.choice(values))
        (root / "keep").write_text("keep\n")
        (root / ".gitignore").write_text("*.ign\n/ign\n")
        self.old = self._commit(12)
        self.new = self._commit(self._random.randint(1, 8))
        self._run("reset", "-q", "--hard", self.old)
        self._run("clean", "-fdxq")
        if self._random.random() < 0.2:
            how = self._random.choice(("--cone", "--no-cone", "--sparse-index"))
            self._run("sparse-checkout", "set", how, "d")
        for _ in range(self._random.randint(0, 3)):
            # Some are not possible at what is there now.
            with suppress(OSError):
                self._random.choice(PERSONS)(self, self._file())

    def _run(self, *argv: str) -> str:
        return self._git.run_unchecked([*argv]).stdout.decode()

    def _commit(self, changes: int) -> str:
        for _ in range(changes):
            with suppress(OSError):
                self._random.choice(CHANGES)(self, self._file())
        self._run("add", "-A", "-f")
        self._run("commit", "-q", "--allow-empty", "-m", "drawn")
        return self._run("rev-parse", "HEAD").strip()

    def _file(self) -> Path:
        file = self._root / self._random.choice(NAMES)
        file.parent.mkdir(parents=True, exist_ok=True)
        return file

    def write(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        texts = ATTRIBUTES if file.name == ".gitattributes" else TEXTS
        file.write_bytes(self._random.choice(texts).encode())

    def remove(self, file: Path) -> None:
        shutil.rmtree(file) if file.is_dir() else file.unlink()

    def change_mode(self, file: Path) -> None:
        file.chmod(file.stat().st_mode ^ 0o111)

    def link(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        file.symlink_to("target")

    def make_folder(self, file: Path) -> None:
        file.unlink(missing_ok=True)
        file.mkdir()
        (file / "in").write_text("in\n")

    # -- what a person does to the work tree --

    def edit(self, file: Path) -> None:
        file.write_text("mine\n")

    def stage(self, file: Path) -> None:
        file.write_text("staged\n")
        self._run("add", "-f", str(file))

    def leave_untracked(self, file: Path) -> None:
        (file.parent / "new").write_text("mine\n")

    def leave_ignored(self, file: Path) -> None:
        file.with_name("mine.ign").write_text("mine\n")
        if not file.exists():
            file.mkdir()
            (file / "mine.ign").write_text("mine\n")

    def touch(self, file: Path) -> None:
        os.utime(file, ns=(1, 1))

    def hide_from_git(self, file: Path) -> None:
        how = self._random.choice(("--assume-unchanged", "--skip-worktree"))
        self._run("update-index", how, str(file))

    def intend_to_add(self, file: Path) -> None:
        (file.parent / "later").write_text("mine\n")
        self._run("add", "-N", str(file.parent / "later"))

    def forget(self, file: Path) -> None:
        self._run("rm", "-q", "--cached", str(file))


Step = Callable[[Drawn, Path], None]
CHANGES: tuple[Step, ...] = (
    *(Drawn.write, Drawn.write, Drawn.write),
    *(Drawn.remove, Drawn.change_mode, Drawn.link, Drawn.make_folder),
)
PERSONS: tuple[Step, ...] = (
    *(Drawn.edit, Drawn.stage, Drawn.leave_untracked, Drawn.leave_ignored),
    *(Drawn.touch, Drawn.hide_from_git, Drawn.intend_to_add, Drawn.forget),
)


def landed(folder: Path, drawn: Drawn) -> list[object]:
    """Land in a repository; the outcome and all that is there then."""
    repo = Repository(folder, os.environ)
    planned = work_tree.plan_landing(repo, "main", drawn.old, drawn.new)
    update = work_tree.land(repo, planned)
    git = isolated_git(folder)
    return [
        update.outcome,
        update.undone,
        _files(folder),
        *(git.run_unchecked(argv).stdout for argv in LISTINGS),
    ]


LISTINGS = (
    ["ls-files", "-s", "-v"],
    ["status", "--porcelain", "-uall", "--ignored"],
    ["rev-parse", "HEAD", "main"],
    ["log", "-g", "--format=%H", "HEAD"],
    ["log", "-g", "--format=%H", "main"],
)


def _files(folder: Path) -> dict[str, object]:
    files: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name == ".git" or name.startswith(".git/"):
            continue
        if path.is_symlink():
            files[name] = os.readlink(path)  # noqa: PTH115
        elif path.is_file():
            files[name] = (path.read_bytes(), path.stat().st_mode)
        else:
            files[name] = None
    return files


def _merge(repo: Repository, folder: Path, landing: Landing) -> str:
    git: Git = repo.git
    argv = ["-C", str(folder), "merge", "-q", "--ff-only", "--no-overwrite-ignore"]
    return git.run_unchecked([*argv, landing.new]).stderr


@pytest.mark.timeout(max(300, LANDINGS))
def test_a_landing_leaves_what_a_fast_forward_of_git_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = set()
    for seed in range(LANDINGS):
        drawn = Drawn(tmp_path / f"{seed}", seed)
        mine, gits = tmp_path / f"{seed}-mine", tmp_path / f"{seed}-git"
        for folder in (mine, gits):
            shutil.copytree(tmp_path / f"{seed}", folder, symlinks=True)
        found = landed(mine, drawn)
        with monkeypatch.context() as patched:
            patched.setattr(work_tree, "_fast_forward", _merge)
            expected = landed(gits, drawn)
        assert found == expected, f"seed {seed}"
        outcomes.add(found[0])
    # both ways are tried
    assert len(outcomes) > 1
