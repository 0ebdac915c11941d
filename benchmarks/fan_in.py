"""Fan-in: a batch's results to one commit, against a chain of `git merge-tree` and `git
commit-tree`.

The repository has 20,000 files. Each of 250 results edits four of them and adds one; in
the second case every tenth conflicts with the one before it. The chain gets its
branches as commits that are in the repository already; fanin gets what it gets in life:
a folder for each result with a pack it does not trust, and a progress file to write.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import yaml

from benchmarks.harness import (
    Effort,
    Report,
    Samples,
    Table,
    Target,
    environment,
    expect,
    folder,
    interleaved,
    run,
)
from runner import pipeline
from runner.config.settings import Settings
from runner.core import result_folder
from runner.core.clock import timestamp
from runner.core.manifest import BatchEntry, Manifest
from runner.core.result import Result
from runner.core.task import AgentSettings, PlanSettings
from runner.fan_in.admission import Admission
from runner.fan_in.batch_merge import BatchMerge
from runner.fan_in.context import BatchContext
from runner.fan_in.inputs import BatchResults
from runner.fan_in.union import Candidate
from runner.plan.snapshot import read_snapshot
from runner.repo.repository import Repository

WHO = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", "b"),
        ("EMAIL", "b@localhost"),
        ("DATE", "1700000000 +0000"),
    )
}
ENV = environment(**WHO, GIT_CONFIG_NOSYSTEM="1", GIT_CONFIG_GLOBAL="/dev/null")


def git(where: Path, *argv: str, stdin: bytes = b"") -> str:
    whole = ["git", "-c", "gc.auto=0", *argv]
    return run(whole, where, stdin=stdin, env=ENV, timeout=None).decode().strip()


@dataclass(frozen=True)
class Case:
    """A repository with a branch for each result, and the folders in which fanin finds
    the same results.
    """

    name: str
    repo: Path
    results: Path
    manifest: Manifest
    trees: Sequence[str]
    conflicts: frozenset[str]


def _lines(drawn: random.Random, count: int) -> list[str]:
    return [
        f"name_{drawn.randrange(400)} = value({drawn.getrandbits(96)})"
        for _ in range(count)
    ]


def _stream(files: int, tasks: int, *, conflicting: bool) -> Iterator[bytes]:
    """What `git fast-import` makes the repository of; `refs/heads/t/NNN` are the
    results.
    """
    drawn = random.Random(5)
    content = {
        f"pkg{place // 1000:02d}/mod{place // 50 % 20:02d}/f{place:05d}.py": _lines(
            drawn, drawn.randint(20, 100)
        )
        for place in range(files)
    }
    plan = {
        "version": 1,
        "tasks": [
            {"id": f"T{place:03d}", "title": f"Task {place}"} for place in range(tasks)
        ],
    }
    yield _commit("refs/heads/main", 1, "base", None)
    yield from (_file(path, lines) for path, lines in content.items())
    yield _file("tasks.yml", [yaml.safe_dump(plan, sort_keys=False)])
    paths = list(content)
    drawn.shuffle(paths)
    for place in range(tasks):
        yield _commit(f"refs/heads/t/{place:03d}", place + 2, f"task {place}", ":1")
        mine = paths[place * 4 : place * 4 + 4]
        shared = (
            paths[tasks * 4 + place // 10]
            if conflicting and place % 10 in {8, 9}
            else None
        )
        for path in mine:
            lines = list(content[path])
            lines[10:12] = _lines(drawn, 4)
            yield _file(path, lines)
        if shared:
            lines = list(content[shared])
            lines[5] = f"conflicting = {place}"
            yield _file(shared, lines)
        yield _file(f"new/t{place:03d}.py", _lines(drawn, 60))


def _commit(ref: str, mark: int, text: str, parent: str | None) -> bytes:
    above = f"from {parent}\n" if parent else ""
    return f"commit {ref}\nmark :{mark}\ncommitter b <b@b> 1700000000 +0000\ndata {len(text)}\n{text}\n{above}".encode()


def _file(path: str, lines: Sequence[str]) -> bytes:
    data = ("\n".join(lines) + "\n").encode()
    return b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(data), data)


def make(where: Path, name: str, files: int, tasks: int, *, conflicting: bool) -> Case:
    repo = where / "repo"
    git(where, "init", "-q", "-b", "main", str(repo))
    git(
        repo,
        "fast-import",
        "--quiet",
        stdin=b"".join(_stream(files, tasks, conflicting=conflicting)),
    )
    git(repo, "repack", "-adq", "--window=0")
    git(repo, "pack-refs", "--all")
    head = git(repo, "rev-parse", "main")
    settings = Settings(
        parallel=True, max_concurrent=256, agent=AgentSettings(command=("true",))
    )
    snapshot = read_snapshot(
        Repository(repo, ENV),
        head,
        settings.plan,
        settings.progress,
        settings.task_rules,
    )
    manifest = pipeline.next_batch(
        snapshot,
        settings,
        pipeline.BatchRequest(run="bench", round_number=1, branch="main", slots=tasks),
    )
    assert manifest is not None
    names = [f"t/{entry.index:03d}" for entry in manifest.entries]
    trees = git(repo, "rev-parse", *(f"{name_}^{{tree}}" for name_ in names)).split(
        "\n"
    )
    for entry, tree in zip(manifest.entries, trees, strict=True):
        _leave_result(repo, where / "results", manifest, entry, tree)
    lost = frozenset(
        f"T{place:03d}" for place in range(tasks) if conflicting and place % 10 == 9
    )
    return Case(name, repo, where / "results", manifest, trees, lost)


def _leave_result(
    repo: Path, results: Path, manifest: Manifest, entry: BatchEntry, tree: str
) -> None:
    into = results / entry.folder
    into.mkdir(parents=True)
    revisions = f"{tree}\n^{manifest.base}^{{tree}}\n".encode()
    argv = [
        "git",
        "pack-objects",
        "-q",
        "--thin",
        "--stdout",
        "--revs",
        "--delta-base-offset",
    ]
    (into / result_folder.PACK).write_bytes(run(argv, repo, stdin=revisions, env=ENV))
    now = timestamp()
    made = Result(
        batch=manifest.batch,
        manifest=manifest.digest,
        task=entry.task.id,
        attempt=1,
        base=manifest.base,
        started=now,
        finished=now,
        agent="true",
        succeeded=True,
        tree=tree,
        pack="change.pack",
    )
    (into / result_folder.RESULT).write_text(made.model_dump_json())


class Contest:
    """The competitors on one case; each round gets a fresh clone that borrows the
    objects.
    """

    def __init__(self, case: Case, where: Path) -> None:
        self.case, self.where = case, where
        self.tree, self.files = "", ""  # what the chain made of the results

    def _clone(self) -> Path:
        into = self.where / "clone"
        shutil.rmtree(into, ignore_errors=True)
        git(
            self.where,
            "clone",
            "-q",
            "--no-checkout",
            "--shared",
            str(self.case.repo),
            str(into),
        )
        return into

    def chain(self) -> float:
        """N `merge-tree --write-tree`, each followed by `commit-tree`, and one commit
        of the last tree.
        """
        clone, lost = self._clone(), set()
        names = [f"origin/t/{entry.index:03d}" for entry in self.case.manifest.entries]
        began = perf_counter()
        at, tree = self.case.manifest.base, ""
        for entry, name in zip(self.case.manifest.entries, names, strict=True):
            merged = _merge(clone, at, name)
            if merged is None:
                lost.add(entry.task.id)
                continue
            tree = merged
            at = git(clone, "commit-tree", tree, "-p", at, "-m", name)
        git(clone, "commit-tree", tree, "-p", self.case.manifest.base, "-m", "batch")
        seconds = perf_counter() - began
        expect(lost, self.case.conflicts, "conflicts of the chain")
        self.tree, self.files = tree, _files(clone, tree)
        return seconds

    def merge(self) -> float:
        """`fanin merge` from the result folders to the commit, in this process."""
        repo = Repository(self._clone(), ENV)
        began = perf_counter()
        made = pipeline.merge_batch(
            repo,
            BatchResults(self.case.manifest, self.case.results),
            self.case.manifest.base,
        )
        seconds = perf_counter() - began
        expect(set(made.failed), self.case.conflicts, "conflicts of fanin")
        expect(len(made.commits), 1, "commits")
        expect(
            _files(repo.root, made.tip) == self.files,
            True,
            "fanin has the chain's files",
        )
        git(repo.root, "fsck", "--connectivity-only", "--no-dangling", made.tip)
        return seconds

    def core(self) -> float:
        """Comparing the results with the base and uniting them, their objects being
        there already.
        """
        repo = Repository(self._clone(), ENV)
        snapshot = read_snapshot(
            repo,
            self.case.manifest.base,
            PlanSettings(),
            ".fanin/progress.json",
            self.case.manifest.task_rules,
        )
        with repo.quarantine() as quarantine:
            results = BatchResults(self.case.manifest, self.case.results)
            batch = BatchContext(repo, quarantine, results, snapshot)
            merge = BatchMerge(batch, Admission(batch))
            began = perf_counter()
            found = quarantine.changes_to(batch.base_tree, self.case.trees)
            rows = zip(self.case.manifest.entries, self.case.trees, found, strict=True)
            outcomes = merge.unite([Candidate(*row) for row in rows])
            tree = batch.last_tree(outcomes)
            seconds = perf_counter() - began
        expect(
            {f.entry.task.id for f in outcomes if f.failure},
            self.case.conflicts,
            "conflicts of the union",
        )
        expect(tree, self.tree, "tree of the union")
        return seconds


def _merge(clone: Path, ours: str, theirs: str) -> str | None:
    try:
        return git(
            clone,
            "merge-tree",
            "--write-tree",
            "--name-only",
            "--no-messages",
            ours,
            theirs,
        ).split("\n")[0]
    except Exception as error:
        if "ended with 1" in str(error):
            return None
        raise


def _files(clone: Path, tree: str) -> str:
    """Every path with its mode and content, but fanin's own progress file."""
    listed = git(clone, "ls-tree", "-r", tree).split("\n")
    return "\n".join(
        line for line in listed if not line.endswith("\t.fanin/progress.json")
    )


def measure(effort: Effort) -> Report:
    report = Report("Fan-in")
    files, tasks = (200, 12) if effort.smoke else (20_000, 250)
    rows = []
    for conflicting in (False, True):
        name = "10 % conflicts" if conflicting else "disjoint"
        with folder(effort, "fan-in") as where:
            case = make(where, name, files, tasks, conflicting=conflicting)
            contest = Contest(case, where)
            contest.chain()  # gives the tree that all must give, and warms the files
            samples = interleaved(
                {
                    "chain": contest.chain,
                    "fanin merge": contest.merge,
                    "union core": contest.core,
                },
                effort.repeats,
            )
        rows += _rows(name, tasks, samples)
        core, whole = (
            samples.ratio("union core", "chain"),
            samples.ratio("fanin merge", "chain"),
        )
        if conflicting:
            report.targets.append(
                Target(
                    f"union core of {tasks} with 10 % conflicts ÷ the chain", core, 0.35
                )
            )
        else:
            report.targets.append(
                Target(
                    f"`fanin merge` of {tasks} disjoint results ÷ the chain", whole, 1.0
                )
            )
            report.targets.append(
                Target(
                    f"union core of {tasks} disjoint results ÷ the chain", core, 0.15
                )
            )
    report.tables.append(
        Table(
            f"{tasks} results on {files:,} files: same tree, same conflicts",
            ["case", "", "seconds", "÷ chain", "ms a result"],
            rows,
        )
    )
    report.notes.append(
        "`chain`: one `git merge-tree --write-tree` and one `git commit-tree` for each result. `fanin merge`: read the "
        "result folders, check every object of every pack, policy, merge, commit with progress, make durable. "
        "`union core`: compare the trees with the base and unite them."
    )
    return report


def _rows(name: str, tasks: int, samples: Samples) -> list[list[str]]:
    return [
        [
            name,
            who,
            f"{samples.median(who):.3f}",
            f"{samples.ratio(who, 'chain'):.2f}",
            f"{samples.median(who) / tasks * 1e3:.1f}",
        ]
        for who in samples.seconds
    ]
