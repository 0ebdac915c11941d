"""A batch's results are imported, compared and united at once: the answer is as if each
had been taken alone.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner import pipeline
from runner.actions.held_batch import hold_batch
from runner.actions.replay import replay
from runner.config.settings import load, read_settings_file
from runner.core import result_folder
from runner.core.manifest import Manifest
from runner.core.result import Failure, FailureKind, Result
from runner.fan_in.inputs import BatchResults
from runner.fan_in.outcome import FanIn
from runner.plan.snapshot import read_snapshot
from runner.repo import pack_writer
from runner.repo.repository import Repository
from tests.support.git_calls import recorded_git_calls
from tests.support.project import Project


@dataclass
class Batch:
    """A batch whose results are written by hand."""

    project: Project
    results: Path
    manifest: Manifest

    def leave(self, index: int, tree: str, pack: bytes) -> None:
        entry = self.manifest.entries[index]
        folder = self.results / entry.folder
        folder.mkdir(parents=True)
        (folder / result_folder.PACK).write_bytes(pack)
        result = Result(
            batch=self.manifest.batch,
            manifest=self.manifest.digest,
            task=entry.task.id,
            attempt=1,
            base=self.manifest.base,
            started="2026-01-02T03:04:05Z",
            finished="2026-01-02T03:04:06Z",
            agent="a",
            succeeded=True,
            tree=tree,
            pack="change.pack",
        )
        (folder / result_folder.RESULT).write_text(result.model_dump_json())

    def change(self, files: dict[str, str]) -> tuple[str, bytes]:
        """The tree with these files added to the base, and its thin pack."""
        self.project.git("checkout", "-q", "--detach", self.manifest.base)
        for path, text in files.items():
            self.project.write(path, text)
        self.project.git("add", "-A")
        tree = self.project.git("write-tree")
        self.project.git("reset", "-q", "--hard", self.manifest.base)
        self.project.git("checkout", "-q", "main")
        return tree, self.pack(tree)

    def pack(self, tree: str) -> bytes:
        argv = [
            "git",
            "pack-objects",
            "-q",
            "--thin",
            "--stdout",
            "--revs",
            "--delta-base-offset",
        ]
        revisions = f"{tree}\n^{self.manifest.base}^{{tree}}\n".encode()
        return subprocess.run(
            argv,
            cwd=self.project.root,
            input=revisions,
            capture_output=True,
            check=True,
        ).stdout

    def forget(self) -> None:
        """Drop all that the results brought: only their packs have it now."""
        self.project.git("reflog", "expire", "--expire=now", "--all")
        self.project.git("-c", "gc.pruneExpire=now", "gc", "-q", "--prune=now")

    def merge(self) -> FanIn:
        repo = Repository(self.project.root, os.environ)
        return pipeline.merge_batch(
            repo, BatchResults(self.manifest, self.results), self.manifest.base
        )


def batch_of(project: Project, count: int, tmp_path: Path, **settings: Any) -> Batch:
    project.write("base.txt", "".join(f"line {number}\n" for number in range(30)))
    project.plan(
        [{"id": f"T{index}"} for index in range(count)], max_concurrent=256, **settings
    )
    head = project.git("rev-parse", "HEAD")
    known = load({}, {}, read_settings_file(project.root))
    snapshot = read_snapshot(
        Repository(project.root, os.environ),
        head,
        known.plan,
        known.progress,
        known.task_rules,
    )
    manifest = pipeline.next_batch(
        snapshot,
        known,
        pipeline.BatchRequest(run="r", round_number=1, branch="main", slots=count),
    )
    assert manifest is not None
    return Batch(project, tmp_path / "results", manifest)


def calls_for(project: Project, count: int, tmp_path: Path, name: str) -> list[str]:
    batch = batch_of(project, count, tmp_path / str(count))
    for index in range(count):
        batch.leave(index, *batch.change({f"new{count}/{name}{index}": f"{index}\n"}))
    with recorded_git_calls() as calls:
        made = batch.merge()
    assert len(made.landed) == count
    return calls


@pytest.mark.parametrize("name", ["plain", "\u00e9"])
def test_twice_as_many_results_need_no_more_git_processes(
    project: Project, tmp_path: Path, name: str
) -> None:
    few = calls_for(project, 6, tmp_path, name)
    many = calls_for(project, 12, tmp_path, name)
    assert sorted(few) == sorted(many)
    # git checks what is not plain, and says what it changes
    expected = 0 if name == "plain" else 1
    assert many.count("index-pack") == expected
    assert many.count("diff-tree") == expected


def test_two_results_may_bring_the_same_object(
    project: Project, tmp_path: Path
) -> None:
    batch = batch_of(project, 3, tmp_path)
    for index in range(3):
        batch.leave(
            index,
            *batch.change({f"p{index}/__init__.py": "", f"p{index}/same.py": "same\n"}),
        )
    batch.forget()
    made = batch.merge()
    assert (made.landed, made.failed) == (("T0", "T1", "T2"), {})
    assert project.git("show", f"{made.tip}:p2/same.py") == "same"
    assert project.git("fsck", "--strict", made.tip) == ""


def broken(batch: Batch, kind: str) -> tuple[str, bytes]:
    """A tree's id and a pack with this fault."""
    tree, pack = batch.change({"bad.txt": "bad\n"})
    if kind == "damaged":
        return tree, pack[:30] + bytes([pack[30] ^ 255]) + pack[31:]
    if kind == "cut short":
        return tree, pack[:-25]
    if kind == "another tree":
        return "1" * len(tree), pack
    if kind == "no tree but a blob":
        data = b"I am no tree\n"
        blob = subprocess.run(
            ["git", "hash-object", "--stdin"],
            input=data,
            cwd=batch.project.root,
            capture_output=True,
            check=True,
        ).stdout.decode()
        return blob.strip(), pack_writer.make_pack([("blob", data)], "sha1")
    entries = {
        "names what is not there": b"100644 bad.txt\0" + bytes.fromhex("ab" * 20),
        "calls a tree a file": b"100644 bad.txt\0"
        + bytes.fromhex(batch.project.git("rev-parse", "HEAD^{tree}")),
        "a .git folder": b"40000 .git\0"
        + bytes.fromhex(batch.project.git("rev-parse", "HEAD^{tree}")),
    }
    return object_of(batch.project, entries[kind])


def object_of(project: Project, data: bytes) -> tuple[str, bytes]:
    """The id of a tree of this content, and a pack that holds it, whatever git thinks
    of it.
    """
    argv = ["git", "hash-object", "-t", "tree", "--literally", "--stdin"]
    made = subprocess.run(
        argv, input=data, cwd=project.root, capture_output=True, check=True
    )
    return made.stdout.decode().strip(), pack_writer.make_pack([("tree", data)], "sha1")


@pytest.mark.parametrize(
    "kind",
    [
        "damaged",
        "cut short",
        "another tree",
        "no tree but a blob",
        "names what is not there",
        "calls a tree a file",
        "a .git folder",
    ],
)
def test_one_bad_pack_among_many_fails_its_own_task_only(
    project: Project, tmp_path: Path, kind: str
) -> None:
    batch = batch_of(project, 6, tmp_path)
    for index in range(6):
        made = (
            batch.change({f"good{index}.txt": f"{index}\n"})
            if index != 3
            else broken(batch, kind)
        )
        batch.leave(index, *made)
    batch.forget()
    fan_in = batch.merge()
    assert fan_in.landed == ("T0", "T1", "T2", "T4", "T5")
    assert {task: str(failure.kind) for task, failure in fan_in.failed.items()} == {
        "T3": "corrupt"
    }
    assert project.git("show", f"{fan_in.tip}:good5.txt") == "5"
    assert project.git("fsck", "--strict", fan_in.tip) == ""


def test_two_bad_packs_do_not_complete_each_other(
    project: Project, tmp_path: Path
) -> None:
    batch = batch_of(project, 4, tmp_path)
    hollow = b"100644 bad.txt\0" + bytes.fromhex("ab" * 20)
    inner, pack = object_of(project, hollow)
    outer = object_of(project, b"40000 sub\0" + bytes.fromhex(inner))
    for index, made in enumerate(
        [(inner, pack), batch.change({"good.txt": "x\n"}), outer, (inner, pack)]
    ):
        batch.leave(index, *made)
    batch.forget()
    fan_in = batch.merge()
    assert fan_in.landed == ("T1",)
    assert {
        task: str(failure.kind) for task, failure in fan_in.failed.items()
    } == dict.fromkeys(["T0", "T2", "T3"], "corrupt")


def test_a_conflict_has_its_hunk_and_its_work_is_kept(
    project: Project, tmp_path: Path
) -> None:
    batch = batch_of(project, 4, tmp_path)
    lines = [f"line {number}\n" for number in range(30)]
    for index in range(4):
        mine = list(lines)
        mine[5] = f"changed by {index}\n" if index in {1, 3} else mine[5]
        mine[25 if index == 2 else 5] = "also 2\n" if index == 2 else mine[5]
        files = (
            {f"own{index}.txt": "x\n"} if index == 0 else {"base.txt": "".join(mine)}
        )
        batch.leave(index, *batch.change(files))
    batch.forget()
    made = batch.merge()
    assert made.landed == ("T0", "T1", "T2")
    assert made.failed["T3"].kind == "conflict"
    assert "changed by 1" in made.failed["T3"].log_tail
    assert "changed by 3" in made.failed["T3"].log_tail
    assert (
        project.git("show", f"{made.kept_refs['T3']}:base.txt").splitlines()[5]
        == "changed by 3"
    )
    landed = project.git("show", f"{made.tip}:base.txt").splitlines()
    assert (landed[5], landed[25]) == ("changed by 1", "also 2")


def test_comparing_many_trees_equals_comparing_each_alone(
    project: Project, tmp_path: Path
) -> None:
    batch = batch_of(project, 3, tmp_path)
    project.git("config", "core.symlinks", "true")
    trees = [
        batch.change({"new\nline.txt": "x\n", "dir/a": "a\n"})[0],
        project.git("rev-parse", "HEAD^{tree}"),
    ]
    (project.root / "link").symlink_to("base.txt")
    project.git("add", "-A")
    trees.append(project.git("write-tree"))
    base = project.git("rev-parse", "HEAD^{tree}")
    repo = Repository(project.root, os.environ)
    assert repo.changes_to(base, trees) == [repo.changes(base, tree) for tree in trees]
    assert repo.changes_to(base, trees)[2][0].target == "base.txt"
    assert repo.diffstats(base, trees) == [
        ["dir/a +1 -0", "new\nline.txt +1 -0"],
        [],
        ["link +1 -0"],
    ]


def test_a_pack_far_over_the_size_limit_is_refused_before_git_expands_it(
    project: Project, tmp_path: Path
) -> None:
    batch = batch_of(project, 2, tmp_path, limits={"size": 1000})
    batch.leave(0, "1" * 40, b"PACK" + bytes(2 * 2**20))
    batch.leave(1, *batch.change({"good.txt": "x\n"}))
    fan_in = batch.merge()
    assert fan_in.landed == ("T1",)
    failure = fan_in.failed["T0"]
    assert failure.kind == "policy"
    assert "far more than limits.size = 1,000" in failure.message
    assert str(batch.results) in failure.message
    assert "raise the limit in fanin.yml or split the task" in failure.message


def test_a_pack_without_the_tree_that_its_result_names_is_refused(
    project: Project, tmp_path: Path
) -> None:
    batch = batch_of(project, 1, tmp_path)
    batch.leave(0, *broken(batch, "another tree"))
    message = batch.merge().failed["T0"].message
    assert message == "the pack does not hold the tree that the result names"


def test_one_bad_pack_does_not_make_the_others_be_imported_one_by_one(
    project: Project, tmp_path: Path
) -> None:
    batch = batch_of(project, 16, tmp_path)
    batch.leave(0, *broken(batch, "another tree"))
    for index in range(1, 16):
        batch.leave(index, *batch.change({f"good{index}.txt": f"{index}\n"}))
    batch.forget()
    with recorded_git_calls() as calls:
        fan_in = batch.merge()
    assert len(fan_in.landed) == 15
    # halving 16 packs: two imports for each of four levels, the whole, and the bad one
    assert calls.count("index-pack") <= 2 * 4 + 2


def test_a_fan_in_that_runs_twice_grants_an_attempt_only_once(
    project: Project, tmp_path: Path
) -> None:
    no_result = Failure(kind=FailureKind.NO_RESULT, message="the job left no result")
    batch = batch_of(project, 1, tmp_path, max_attempts=1)
    repo = Repository(project.root, os.environ)

    def merge(manifest: Manifest, head: str) -> FanIn:
        results = BatchResults(manifest, batch.results, missing=no_result)
        return pipeline.merge_batch(repo, results, head)

    failed = merge(batch.manifest, batch.manifest.base)
    assert failed.snapshot is not None
    settings = load({}, {}, read_settings_file(project.root))
    request = pipeline.BatchRequest("r", 2, "main", slots=1, retry=("T0",))
    retry = pipeline.next_batch(failed.snapshot, settings, request)
    assert retry is not None
    first = merge(retry, failed.tip)
    again = merge(retry, first.tip)
    assert first.snapshot is not None
    assert again.snapshot is not None
    assert (first.failed["T0"].kind, again.failed["T0"].kind) == ("no_result", "stale")
    assert again.commits == ()
    assert again.snapshot.progress.records["T0"].allowed == 2
    assert again.snapshot.progress == first.snapshot.progress


@pytest.mark.parametrize(
    ("rival_path", "replayed"),
    [
        ("other.txt", True),
        ("new.txt", False),
        ("new.txt/inside", False),
        ("NEW.txt", False),
        ("tasks.yml", False),
        ("fanin.yml", False),
    ],
)
def test_a_fan_in_is_replayed_only_on_a_head_that_changed_unrelated_paths(
    project: Project, tmp_path: Path, rival_path: str, replayed: bool
) -> None:
    batch = batch_of(project, 1, tmp_path)
    batch.leave(0, *batch.change({"new.txt": "new\n"}))
    repo = Repository(project.root, os.environ)
    fan_in = batch.merge()
    existing = project.root / rival_path
    text = existing.read_text() if existing.exists() else ""
    project.write(rival_path, text + "# rival\n")
    rival = project.commit()
    newer = replay(repo, batch.manifest, fan_in, rival)
    assert (newer is not None) is replayed
    if newer is not None:
        results = BatchResults(batch.manifest, batch.results)
        merged = pipeline.merge_batch(repo, results, rival)
        assert repo.tree(newer.tip) == repo.tree(merged.tip)


def test_a_batch_is_held_although_one_of_its_tasks_is_not_in_the_plan_any_more(
    project: Project, tmp_path: Path
) -> None:
    batch = batch_of(project, 2, tmp_path)
    for index in range(2):
        batch.leave(index, *batch.change({f"{index}.txt": "x\n"}))
    project.plan([{"id": "T1"}], max_concurrent=256)
    hold, held_work = hold_batch(
        Repository(project.root, os.environ),
        BatchResults(batch.manifest, batch.results),
        project.git("rev-parse", "HEAD"),
        held_branch="fanin/held/r.1",
        failures={},
    )
    assert hold.snapshot is not None
    assert hold.snapshot.progress.records["T1"].held == "fanin/held/r.1"
    assert (hold.landed, held_work.landed) == ((), ("T1",))
    assert hold.failed["T0"].kind == held_work.failed["T0"].kind == "stale"
