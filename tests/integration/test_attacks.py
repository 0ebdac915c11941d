"""Results that were made to harm: the corpus of tests/resources/attacks, and what
hypothesis makes of it.

Nothing crashes the fan-in, nothing reaches outside its folder, and the task beside it
lands. Tricks with tar and zip have no hold: fanin unpacks no archive, artifacts are
unpacked by GitHub's own action into a folder fanin only reads.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.core import result_folder
from runner.core.result import FailureKind, Result
from runner.repo import pack_guard
from tests.resources.attacks import make
from tests.support.attacks import ATTACKS, DOCUMENTS, PACKS, Batch
from tests.support.builders import entry, manifest
from tests.support.project import Project

fuzz = settings(deadline=None, max_examples=60, database=None, derandomize=True)


def outside(project: Project) -> str:
    """All that an attack might want to change: refs, config, files."""
    return (
        project.git("for-each-ref", "refs/heads", "refs/tags")
        + (project.root / ".git" / "config").read_text()
        + project.git("status", "-s")
    )


def test_every_hostile_pack_is_refused_and_the_task_beside_it_lands(
    project: Project, tmp_path: Path
) -> None:
    batch = Batch.of(project, list(PACKS), tmp_path / "batch")
    for name, told in PACKS.items():
        batch.leave_pack(name, (ATTACKS / f"{name}.pack").read_bytes(), told["tree"])
    before = outside(project)
    found = batch.fan_in()
    assert found.landed == ("GOOD",)
    assert {name: str(failure.kind) for name, failure in found.failed.items()} == {
        name: told["refused"] for name, told in PACKS.items()
    }
    assert outside(project) == before
    assert (
        project.git("ls-tree", "-r", "--name-only", found.tip)
        .splitlines()
        .count("good")
        == 1
    )
    assert (
        project.git("fsck", "--strict", "--no-dangling", check=False).find(".git") == -1
    )


def test_pack_that_stands_for_gigabytes_takes_little_memory(
    project: Project, tmp_path: Path
) -> None:
    batch = Batch.of(project, ["delta-bomb"], tmp_path / "batch")
    batch.leave_pack(
        "delta-bomb",
        (ATTACKS / "delta-bomb.pack").read_bytes(),
        PACKS["delta-bomb"]["tree"],
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    assert (
        batch.fan_in()
        .failed["delta-bomb"]
        .message.startswith("the pack is refused: it expands to more than")
    )
    # KiB
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss - before < 200 * 2**10


def test_every_absurd_document_is_corrupt_and_the_task_beside_it_lands(
    project: Project, tmp_path: Path
) -> None:
    batch = Batch.of(project, list(DOCUMENTS), tmp_path / "batch")
    for name, text in DOCUMENTS.items():
        batch.leave_document(name, text)
    found = batch.fan_in()
    assert found.landed == ("GOOD",)
    assert {str(failure.kind) for failure in found.failed.values()} == {"corrupt"}
    assert set(found.failed) == set(DOCUMENTS)


def test_corpus_is_what_its_script_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(make, "HERE", tmp_path)
    make.main()
    assert (tmp_path / "packs.json").read_text() == (ATTACKS / "packs.json").read_text()
    assert (tmp_path / "documents.json").read_text() == (
        ATTACKS / "documents.json"
    ).read_text()
    assert {path.name for path in tmp_path.iterdir()} == {p.name for p in ATTACKS.iterdir()} - {
        "make.py", "__init__.py", "__pycache__"}  # fmt: skip


def test_fetching_the_bundle_alone_would_have_let_a_git_entry_in(
    project: Project, tmp_path: Path
) -> None:
    tree = make.entry(b"40000", b".git", make.CONFIG_ID)
    commit = (
        b"tree %s\nauthor a <a@b> 1 +0000\ncommitter a <a@b> 1 +0000\n\nx\n"
        % make.object_id(2, tree).hex().encode()
    )
    objects = [*make.COMMON, (make.TREE, tree), (make.COMMIT, commit)]
    pack = make.pack([make.whole(kind, data) for kind, data in objects])
    tip = make.object_id(make.COMMIT, commit).hex()
    bundle = tmp_path / "work.bundle"
    bundle.write_bytes(b"# v2 git bundle\n" + f"{tip} refs/heads/x\n\n".encode() + pack)
    project.git("fetch", "-q", str(bundle), "refs/heads/x")
    assert ".git/config" in project.git("ls-tree", "-r", "--name-only", "FETCH_HEAD")
    clean = tmp_path / "clean"
    subprocess.run(["git", "init", "-q", str(clean)], check=True)
    told = subprocess.run(
        [
            "git",
            "-C",
            str(clean),
            "index-pack",
            "--strict",
            "--fsck-objects",
            "--fix-thin",
            "--stdin",
        ],
        input=pack,
        capture_output=True,
        check=False,
    )
    assert told.returncode != 0
    assert b"hasDotgit" in told.stderr


@fuzz
@given(
    st.binary(max_size=300)
    | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass"))
)
def test_fuzzed_documents_never_raise(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    root = tmp_path_factory.mktemp("fuzz")
    (root / "000").mkdir()
    for name in (result_folder.RESULT, result_folder.ATTEMPT):
        (root / "000" / name).write_bytes(data)
    one = entry()
    reading = result_folder.read(root, manifest(one), one)
    assert reading.result is None
    assert reading.failure is not None
    assert reading.failure.kind is FailureKind.CORRUPT
    result_folder.attempts(root)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=10,
)


@fuzz
@given(st.sampled_from(sorted(Result.model_fields)), JSON)
def test_fuzzed_fields_never_raise(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: object
) -> None:
    root, one = tmp_path_factory.mktemp("fuzz"), entry()
    of = manifest(one)
    folder = root / one.folder
    folder.mkdir()
    good = {
        "batch": of.batch, "manifest": of.digest, "task": one.task.id, "attempt": 1, "base": of.base,
        "started": "2026-01-02T03:04:05Z", "finished": "2026-01-02T03:04:05Z", "agent": "a", "succeeded": True,
    }  # fmt: skip
    (folder / result_folder.RESULT).write_text(json.dumps({**good, field: value}))
    reading = result_folder.read(root, of, one)
    if reading.result is None:
        assert reading.failure is not None
        assert reading.failure.kind is FailureKind.CORRUPT


GOOD_PACK = make.pack(
    [make.whole(make.BLOB, make.FILE), make.whole(make.TREE, make.plain(b"a"))]
)


@fuzz
@given(
    st.lists(
        st.tuples(st.integers(0, len(GOOD_PACK) - 1), st.integers(0, 255)), max_size=6
    ),
    st.integers(0, 200),
)
def test_fuzzed_packs_are_sized_or_refused(
    changes: list[tuple[int, int]], cut: int
) -> None:
    data = bytearray(GOOD_PACK)
    for place, byte in changes:
        data[place] = byte
    with contextlib.suppress(pack_guard.PackRefused):
        assert (
            pack_guard.expanded_size(io.BytesIO(bytes(data[: len(data) - cut])), 10_000)
            <= 10_000
        )


def test_fuzzed_packs_never_stop_the_fan_in(project: Project, tmp_path: Path) -> None:
    names = [f"F{number}" for number in range(24)]
    batch = Batch.of(project, names, tmp_path / "batch")
    tree = make.object_id(make.TREE, make.plain(b"a")).hex()
    for number, name in enumerate(names):
        data = bytearray(GOOD_PACK)
        data[(number * 7) % len(data)] ^= 1 << number % 8
        batch.leave_pack(name, bytes(data), tree)
    found = batch.fan_in()
    assert found.landed == ("GOOD",)
    assert {failure.kind for failure in found.failed.values()} == {FailureKind.CORRUPT}


@pytest.mark.parametrize(("objects", "size"), [
    ([make.whole(3, b"x" * 100)], 100),
    ([make.whole(3, b"x" * 100), make.delta(b"\1" * 20, 500, make.copies(100, 5), 100)], 100 + 500 + 14),
])  # fmt: skip
def test_size_is_told_with_deltas_applied(objects: list[bytes], size: int) -> None:
    found = pack_guard.expanded_size(io.BytesIO(make.pack(objects)), 10_000)
    assert found == pytest.approx(size, abs=8)
    with pytest.raises(pack_guard.PackRefused, match="more than"):
        pack_guard.expanded_size(io.BytesIO(make.pack(objects)), size - 20)


def test_deflated_more_than_it_says_is_refused_in_pieces() -> None:
    with pytest.raises(pack_guard.PackRefused, match="larger than it says"):
        pack_guard.expanded_size(
            io.BytesIO(make.pack([make.header(3, 5) + zlib.compress(bytes(10**7))])),
            10**9,
        )
