"""Trees rewritten along the changed paths: the result is that of git's index, and it takes
few reads, whatever the size of the repository.
"""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.core.errors import GitFailed
from runner.repo.objects import Objects
from tests.support.builders import quick

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
        self.objects = Objects(where / "objects", "sha1", self.read, self.store)

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


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


names = st.sampled_from(["a", "b", "a.b", "ä"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


def without_clashes(files: dict[str, str]) -> dict[str, str]:
    """The files whose folders are not files themselves."""
    return {
        p: t
        for p, t in files.items()
        if not any(p.startswith(f"{other}/") for other in files)
    }


@given(
    st.dictionaries(paths, st.sampled_from("xyz")),
    st.dictionaries(paths, st.sampled_from(["x", "w", None])),
)
@quick
def test_an_edited_tree_is_the_one_that_git_makes_of_the_same_files(
    tmp_path_factory: pytest.TempPathFactory,
    before: dict[str, str],
    changes: dict[str, str | None],
) -> None:
    where = tmp_path_factory.getbasetemp() / "objects.git"
    where.mkdir(exist_ok=True)
    store = Store(where)
    before = without_clashes(before)
    added = without_clashes(
        {path: text for path, text in changes.items() if text is not None}
    )
    changes = {
        path: text for path, text in changes.items() if text is None or path in added
    }
    # A path that is added may be a folder or a file in the way of an old one.
    replaced = {
        p
        for p in before
        if any(a.startswith(f"{p}/") or p.startswith(f"{a}/") for a in added)
    }
    changes |= dict.fromkeys(replaced - added.keys())
    after = {p: t for p, t in before.items() if p not in changes} | added
    blobs = {
        path: None if text is None else (REGULAR, store.blob(text))
        for path, text in changes.items()
    }
    assert store.objects.edited(store.tree(before), blobs) == store.tree(after)


def test_trees_are_read_level_by_level_and_written_in_one_pack(
    store: Store,
) -> None:
    files = {
        f"one{i}/two{j}/f{k}": f"{i}{j}"
        for i in range(6)
        for j in range(6)
        for k in range(3)
    }
    base = store.tree(files)
    store.questions.clear()
    blob = store.blob("new")
    changes = dict.fromkeys(list(files)[::3], (REGULAR, blob))
    tree = store.objects.edited(base, changes)
    assert tree == store.tree(
        {path: "new" if path in changes else text for path, text in files.items()}
    )
    assert [len(asked) for asked in store.questions] == [1, 6, 36]
    assert store.packs == 1


def test_folders_that_did_not_change_are_never_read(store: Store) -> None:
    base = store.tree({f"folder{place}/file": f"{place}" for place in range(50)})
    store.questions.clear()
    store.objects.edited(base, {"folder7/file": (REGULAR, store.blob("new"))})
    assert [len(asked) for asked in store.questions] == [1, 1]


def test_a_new_file_replaces_a_folder_and_a_new_folder_a_file(
    store: Store,
) -> None:
    base, blob = (
        store.tree({"a": "x", "b/c": "x", "b/d": "x"}),
        (REGULAR, store.blob("new")),
    )
    assert store.objects.edited(base, {"a/below": blob}) == store.tree(
        {"a/below": "new", "b/c": "x", "b/d": "x"}
    )
    assert store.objects.edited(base, {"b": blob}) == store.tree({"a": "x", "b": "new"})


def test_removing_everything_leaves_the_empty_tree(store: Store) -> None:
    assert store.objects.edited(store.tree({"a/b": "x"}), {"a/b": None}) == store.tree(
        {}
    )


@pytest.mark.parametrize(
    "changes",
    [
        {".git/config": "x"},
        {"a/../b": "x"},
        {"a": "x", "a/b": "x"},
    ],
)
def test_paths_that_git_would_not_take_are_refused(
    store: Store, changes: dict[str, str]
) -> None:
    base = store.tree({"z": "x"})
    with pytest.raises(GitFailed):
        store.objects.edited(
            base, {path: (REGULAR, store.blob(text)) for path, text in changes.items()}
        )


def test_the_entry_at_a_path(store: Store) -> None:
    tree = store.tree({"a/b/c": "x"})
    assert store.objects.find(tree, "a/b/c") == (REGULAR, store.blob("x"))
    assert store.objects.find(tree, "a/b/c/d") is None
    assert store.objects.find(tree, "a/x") is None
    assert store.objects.content(store.blob("x")) == b"x"


def test_a_commit_for_merge_tree_is_always_the_same_and_git_accepts_it(
    store: Store,
) -> None:
    tree = store.tree({"a": "x"})
    root = store.objects.commit(tree)
    side = store.objects.commit(tree, root)
    assert root == store.objects.commit(tree)
    assert git(store.where, "rev-parse", f"{side}^") == root
    git(store.where, "fsck", "--strict", side)
