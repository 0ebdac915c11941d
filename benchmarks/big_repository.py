"""Big repositories: 100,000 files and 5 GB of history, generated. What fanin does for one
task beside the command of git that does the same: checkout, capture, merge, landing.

Then whole runs of one task: in a clone that is whole, sparse, partial or shallow, and
how much memory fanin itself takes, beside a run in a small repository.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import NamedTuple

from benchmarks.fan_in import ENV, git
from benchmarks.harness import (
    PYTHON,
    Effort,
    Report,
    Samples,
    Table,
    Target,
    Unavailable,
    environment,
    expect,
    folder,
    interleaved,
    run,
    seconds_of,
)
from runner.attempt import capture, trusted_times, workspace
from runner.attempt.workspace import Workspace
from runner.core.manifest import BatchEntry
from runner.core.task import AgentSettings, Task
from runner.fan_in.union import Candidate, unite
from runner.repo import work_tree
from runner.repo.quarantine import Quarantine
from runner.repo.repository import Repository

BOUND = 1.2
FILES_A_FOLDER = 100
LINES_A_FILE = 10
CHANGED = 10  # files of one task
EDITED = b"changed\n"  # what is in them then
_BLOB, _BLOBS_A_COMMIT = 2**20, 8
_MIB, _GIB = 2**20, 2**30
_SEED = 7
PLAN = '{"version": 1, "tasks": [{"id": "A", "title": "a"}]}\n'
AGENT = f"for n in $(seq {CHANGED}); do echo changed >>d00000/f$n; done"
SETTINGS = f'sandbox: off\nagent: {{command: [sh, -c, "{AGENT}"]}}\n'
CLONES = {
    "whole": ("--no-local",),
    "sparse": ("--no-local", "--sparse"),
    "partial": ("--filter=blob:none",),
    "shallow": ("--depth=1",),
}
# Prints the peak of fanin's own process, in KiB.
_PEAK = (
    "import atexit, resource\n"
    "usage = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
    "atexit.register(lambda: print(usage()))\n"
    "from runner.cli import main\n"
    "main()\n"
)


class Size(NamedTuple):
    files: int
    history: int  # bytes


FULL = Size(100_000, 5 * _GIB)
SMALL = Size(20_000, 200 * _MIB)
SMOKE = Size(200, 16 * _MIB)
TINY = Size(FILES_A_FOLDER, 0)


def measure(effort: Effort) -> Report:
    size = SMALL if effort.small else FULL
    if effort.smoke:
        size = SMOKE
    with folder(effort, "big-repository") as work:
        free = shutil.disk_usage(work).free
        # the repository and one clone at a time, and their checkouts
        needed = 2 * size.history + 20 * size.files * 4096
        if free < needed:
            raise Unavailable(f"it needs {needed / _GIB:.0f} GiB of disk")
        root = make(work / "big", size)
        report = Report("Big repositories")
        _steps(report, work, root, size, effort)
        _runs(report, work, root, effort)
        return report


def make(root: Path, size: Size) -> Path:
    """A repository of that size, checked out."""
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    # what is random is not compressed by anybody
    argv = ["git", "-c", "core.compression=0", "fast-import", "--quiet", "--depth=0"]
    with subprocess.Popen(argv, cwd=root, stdin=subprocess.PIPE, env=ENV) as process:
        assert process.stdin is not None
        for part in _stream(size):
            process.stdin.write(part)
    expect(process.returncode, 0, "exit of git fast-import")
    git(root, "reset", "-q", "--hard")
    git(root, "pack-refs", "--all")
    return root


def _stream(size: Size) -> Iterator[bytes]:
    drawn = random.Random(_SEED)
    commits = size.history // (_BLOB * _BLOBS_A_COMMIT)
    for number in range(commits):
        yield _commit(f"assets {number}")
        for place in range(_BLOBS_A_COMMIT):
            yield _file(f"assets/{place}.bin", drawn.randbytes(_BLOB))
    yield _commit("files")
    if commits:
        yield b"D assets\n"
    for number in range(size.files):
        name = f"d{number // FILES_A_FOLDER:05}/f{number % FILES_A_FOLDER}"
        lines = [f"{drawn.randbytes(30).hex()}\n" for _ in range(LINES_A_FILE)]
        yield _file(name, "".join(lines).encode())
    yield _file("tasks.yml", PLAN.encode())
    yield _file("fanin.yml", SETTINGS.encode())


def _commit(text: str) -> bytes:
    who = "committer b <b@localhost> 1700000000 +0000"
    return f"commit refs/heads/main\n{who}\ndata {len(text)}\n{text}\n".encode()


def _file(path: str, data: bytes) -> bytes:
    return b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)


class _Contest:
    """Each step of a task, by fanin and by git."""

    def __init__(self, work: Path, root: Path) -> None:
        self._work, self.root = work, root
        self._numbers = count()
        self.repo = Repository(root, ENV)
        self.head = git(root, "rev-parse", "HEAD")
        self._base = git(root, "rev-parse", "HEAD^{tree}")
        # Another one, whose answers the one that is measured does not have.
        self._maker = Repository(root, ENV)
        blob = self._maker.write_blob(EDITED)
        changes = {f"d00000/f{place}": blob for place in range(CHANGED)}
        self._tree = self._maker.write_tree(self._base, changes)
        (self._tip,) = self._tips_of([self._tree])
        self._entries = [_entry(index) for index in range(2)]

    def _place(self) -> Path:
        return self._work / f"place-{next(self._numbers)}"

    # -- checkout and capture --

    def worktree(self) -> float:
        place = self._place()
        argv = ("worktree", "add", "-q", "--detach", str(place), self.head)
        seconds = seconds_of(partial(git, self.root, *argv))
        self._drop(place)
        return seconds

    def checkout(self) -> float:
        place = self._place()
        seconds = seconds_of(partial(self._workspace, place))
        shutil.rmtree(place)
        return seconds

    def _workspace(self, place: Path) -> Workspace:
        return workspace.create(self.repo.origin, self.head, place, "fanin/task-000")

    def add(self) -> float:
        place = self._place()
        git(self.root, "worktree", "add", "-q", "--detach", str(place), self.head)
        _edit(place)

        def add_all() -> None:
            git(place, "add", "-A")
            expect(git(place, "write-tree"), self._tree, "tree of git add -A")

        seconds = seconds_of(add_all)
        self._drop(place)
        return seconds

    def capture(self) -> float:
        place = self._place()
        space = self._workspace(place)
        # as an attempt does before its agent starts
        now = self._work / "now"
        now.touch()
        space = trusted_times.trust_times(space, now)
        _edit(space.checkout)
        captured: list[str | None] = []
        seconds = seconds_of(lambda: captured.append(capture.capture(space).tree))
        expect(captured, [self._tree], "captured tree")
        shutil.rmtree(place)
        return seconds

    def _drop(self, place: Path) -> None:
        git(self.root, "worktree", "remove", "--force", str(place))

    # -- merge and landing --

    def _pair(self, *, same_files: bool) -> list[str]:
        """The trees of two tasks that nobody has merged: the objects that a merge makes
        are there afterwards, and the next one of the same trees would write none.
        """
        number = next(self._numbers)
        trees = []
        for task in range(2):
            folder = 0 if same_files else task
            changes = {}
            for place in range(CHANGED):
                path = f"d{folder:05}/f{place}"
                lines = self._lines(path)
                # one task changes the first line, the other the last
                lines[-task] = b"changed %d\n" % number
                changes[path] = self._maker.write_blob(b"".join(lines))
            trees.append(self._maker.write_tree(self._base, changes))
        return trees

    def _lines(self, path: str) -> list[bytes]:
        content = self._maker.file(self.head, path)
        assert content is not None
        return content.splitlines(keepends=True)

    def merge_tree(self, *, same_files: bool) -> float:
        tips = self._tips_of(self._pair(same_files=same_files))
        return seconds_of(partial(self._git_merge, tips))

    def unite(self) -> float:
        """Compare the trees of two tasks with the base and unite them."""

        def unite_both(quarantine: Quarantine, pair: Sequence[str]) -> str | None:
            changes = quarantine.changes_to_each(self._base, pair)
            rows = zip(self._entries, pair, changes, strict=True)
            candidates = [Candidate(*row) for row in rows]
            outcomes = unite(
                self._base, self._base, candidates, quarantine, tree_per_task=False
            )
            return outcomes[-1].tree

        return self._merged(unite_both, same_files=False)

    def merge(self) -> float:
        """Have git merge the trees of two tasks that overlap."""
        return self._merged(
            lambda quarantine, pair: quarantine.merge_trees(self._base, *pair),
            same_files=True,
        )

    def _merged(
        self, merge: Callable[[Quarantine, Sequence[str]], object], *, same_files: bool
    ) -> float:
        pair = self._pair(same_files=same_files)
        merged: list[object] = []
        with self.repo.quarantine() as quarantine:
            seconds = seconds_of(lambda: merged.append(merge(quarantine, pair)))
        expect(merged, [self._git_merge(self._tips_of(pair))], "merged tree")
        return seconds

    def _tips_of(self, trees: Sequence[str]) -> list[str]:
        argv = ("-p", self.head, "-m", "side")
        return [git(self.root, "commit-tree", tree, *argv) for tree in trees]

    def _git_merge(self, tips: Sequence[str]) -> str:
        return git(self.root, "merge-tree", "--write-tree", *tips)

    def fast_forward(self) -> float:
        seconds = seconds_of(
            partial(git, self.root, "merge", "-q", "--ff-only", self._tip)
        )
        return self._landed(seconds)

    def land(self) -> float:
        def land() -> None:
            landing = work_tree.plan_landing(self.repo, "main", self.head, self._tip)
            expect(work_tree.land(self.repo, landing).landed, True, "landing")

        return self._landed(seconds_of(land))

    def _landed(self, seconds: float) -> float:
        expect(git(self.root, "rev-parse", "main"), self._tip, "head")
        expect(git(self.root, "status", "--porcelain"), "", "status")
        git(self.root, "reset", "-q", "--hard", self.head)
        return seconds


def _entry(index: int) -> BatchEntry:
    task = Task(id=f"T{index}", title="a")
    return BatchEntry(
        index=index,
        task=task,
        task_digest=task.digest,
        attempt=1,
        agent=AgentSettings(command=("true",)),
        timeout=60,
    )


def _edit(place: Path) -> None:
    """What one task does."""
    for number in range(CHANGED):
        (place / f"d00000/f{number}").write_bytes(EDITED)


def _steps(report: Report, work: Path, root: Path, size: Size, effort: Effort) -> None:
    contest = _Contest(work, root)
    pairs: list[tuple[str, str, Callable[[], float], Callable[[], float]]] = [
        ("checkout", "git worktree add", contest.checkout, contest.worktree),
        ("capture", "git add -A", contest.capture, contest.add),
        (
            "merge",
            "git merge-tree",
            contest.unite,
            partial(contest.merge_tree, same_files=False),
        ),
        (
            "merge of the same files",
            "git merge-tree",
            contest.merge,
            partial(contest.merge_tree, same_files=True),
        ),
        ("landing", "git merge --ff-only", contest.land, contest.fast_forward),
    ]
    rows = []
    for step, command, ours, gits in pairs:
        ours(), gits()  # both find the files in memory
        samples = interleaved({step: ours, command: gits}, effort.repeats)
        ratio = samples.ratio(step, command)
        rows.append([step, command, *_milliseconds(samples), f"{ratio:.2f}"])
        report.targets.append(Target(f"{step} ÷ `{command}`", ratio, BOUND))
    title = f"{size.files:,} files, {size.history / _GIB:.1f} GiB of history"
    report.tables.append(Table(title, ["", "beside", "ms", "its ms", "÷"], rows))
    report.notes.append(
        f"The task changes {CHANGED} files. `git add -A` is followed by `git write-tree`, "
        "which a capture does as well. A merge compares the trees of two tasks with "
        "their base and unites them; each round has two new ones. What overlaps is merged "
        "by git, here other lines of the same files. A landing looks at what is not "
        "committed in the checkout first."
    )


def _milliseconds(samples: Samples) -> list[str]:
    return [f"{samples.median(name) * 1e3:.0f}" for name in samples.seconds]


def _runs(report: Report, work: Path, root: Path, effort: Effort) -> None:
    """A run of one task in each kind of clone, and the memory of one."""
    git(root, "config", "uploadpack.allowFilter", "true")
    tiny = make(work / "tiny", TINY)
    names = ["small", "whole", "partial"] if effort.smoke else ["small", *CLONES]
    peaks: dict[str, list[int]] = {name: [] for name in names}
    missing: dict[str, tuple[int, int]] = {}

    def go(name: str) -> float:
        clone = work / "clone"
        source = tiny if name == "small" else root
        how = CLONES.get(name, ("--no-local",))
        git(work, "clone", "-q", *how, f"file://{source}", str(clone))
        _settle(clone)
        before = _missing(clone) if name == "partial" else 0
        output: list[bytes] = []
        argv = [PYTHON, "-c", _PEAK, "run"]
        env = environment(**ENV)
        seconds = seconds_of(lambda: output.append(run(argv, clone, env=env)))
        peaks[name].append(int(output[0].split()[-1]))
        changes = git(clone, "diff", "--name-only", "HEAD~1", "HEAD", "--", "d00000")
        expect(len(changes.splitlines()), CHANGED, "changed files that landed")
        if name == "partial":
            missing[name] = before, _missing(clone)
        shutil.rmtree(clone)
        return seconds

    competitors = {name: partial(go, name) for name in peaks}
    samples = interleaved(competitors, min(effort.repeats, 3))
    rows = []
    for name in peaks:
        seconds, ratio = samples.median(name), samples.ratio(name, "whole")
        peak = max(peaks[name]) * 1024 / _MIB
        rows.append([name, f"{seconds:.2f}", f"{ratio:.2f}", f"{peak:.0f}"])
        if name not in {"small", "whole"}:
            report.targets.append(
                Target(f"run in a {name} clone ÷ in a whole one", ratio, BOUND)
            )
    ratio = max(peaks["whole"]) / max(peaks["small"])
    report.targets.append(
        Target("peak memory of fanin ÷ in a small repository", ratio, BOUND)
    )
    columns = ["clone", "seconds", "÷ whole", "fanin's peak, MiB"]
    report.tables.append(Table("`fanin run` of one task", columns, rows))
    before, after = missing["partial"]
    report.notes.append(
        f"`small` is a repository of {TINY.files} files without history. The partial "
        f"clone lacked {before:,} objects before its run and {after:,} after it."
    )


def _settle(clone: Path) -> None:
    """Let the clone's index be newer than its files, as where anybody has worked.

    Else git reads all files or some, as many as were written in the second of the index.
    """
    index = clone / ".git/index"
    while int(time.time()) <= int(index.stat().st_mtime):
        time.sleep(0.05)
    git(clone, "status", "--porcelain")


def _missing(clone: Path) -> int:
    """How many objects of the history the clone lacks."""
    listed = git(clone, "rev-list", "--objects", "--all", "--missing=print")
    return sum(line.startswith("?") for line in listed.splitlines())
