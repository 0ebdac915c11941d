"""The plan's repository, the only importer of GitPython: short questions and short
deeds, each one git command.

Nothing of a batch enters the repository's own objects until `adopt`: results are
imported and merged in a quarantine, a folder of objects that only sees the repository's
as alternates.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import git

from runner.core import durable
from runner.core.errors import EnvironmentBroken, GitFailed, UsageProblem
from runner.policy.change import EXECUTABLE, GITLINK, REGULAR, SYMLINK, Change
from runner.policy.redaction import Secrets
from runner.repo import pack_writer
from runner.repo.batch_process import Moves, Questions
from runner.repo.command import AUTHOR
from runner.repo.objects import Objects, Read, read_only
from runner.repo.origin import Origin, alternates
from runner.repo.secret_search import leak_in_blobs

_CONFIG = (
    "core.hooksPath=/dev/null",
    "core.quotePath=false",
    "merge.directoryRenames=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "merge.autoStash=false",
    "submodule.recurse=false",
    "commit.gpgSign=false",
    "merge.verifySignatures=false",
    "merge.renames=true",
    "diff.renames=true",
    "advice.detachedHead=false",
)
_FULL_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# of these the last few are kept: a plan and its progress at two commits, and some trees
_ANSWERS = 16
T = TypeVar("T")
# questions that surely fit into a pipe, so that both sides never wait for each other
_ASKED_AT_ONCE = 256
# names that mean only themselves, however git is asked
_PLAIN = re.compile(r"[A-Za-z0-9/_.-]+")
_PIPE = -1  # subprocess.PIPE, for GitPython
UNPACK_LIMIT = 100  # git's own fetch.unpackLimit
# what diff-tree says before a pair's changes
_PAIR = re.compile(rb"[0-9a-f]{40,64} [0-9a-f]{40,64}\n")
_DIFF_TREE = ("diff-tree", "-r", "-z", "--no-renames", "--raw", "--no-abbrev")


@dataclass(frozen=True)
class Conflict:
    """What a real merge could not decide: the paths, git's own words, and the marked
    hunks.
    """

    paths: tuple[str, ...]
    messages: tuple[str, ...]
    hunks: str


@dataclass(frozen=True)
class Landing:
    """How a landing ended: `moved` = the branch is not where it was thought to be;
    `obstacle` = files in the way.
    """

    landed: bool
    moved: bool = False
    obstacle: str = ""


@dataclass
class Quarantine:
    """A folder of objects beside the repository's own; `env` makes git read both and
    write only here.
    """

    folder: Path
    env: dict[str, str] = field(default_factory=dict)


class Repository:
    """A git repository with a work tree."""

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        """UsageProblem if `path` is in no repository, or in one without a work tree."""
        try:
            self._repo = git.Repo(path, search_parent_directories=True)
        except (git.InvalidGitRepositoryError, git.NoSuchPathError):
            raise UsageProblem(
                f"{path} is in no git repository",
                "run  git init  there, or give --repo PATH",
            ) from None
        if self._repo.bare or self._repo.working_tree_dir is None:
            raise UsageProblem(
                f"{path} is a bare repository", "run fanin in a clone of it"
            )
        self.root = Path(self._repo.working_tree_dir)
        self.git_dir = Path(self._repo.common_dir)
        # Inherited GIT_* variables (a hook's, another tool's) would point git
        # elsewhere; identity is let through.
        kept = {
            k: v
            for k, v in environ.items()
            if not k.startswith("GIT_")
            or k.startswith(("GIT_AUTHOR", "GIT_COMMITTER", "GIT_CONFIG"))
        }
        self._quarantined: dict[str, Objects] = {}
        self._answers: dict[tuple[str, ...], Any] = {}
        self._answering = threading.Lock()
        self._env = {
            **kept,
            "LC_ALL": "C",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_OPTIONAL_LOCKS": "0",
        }
        # Not from the work tree's folder: someone may delete that while they live.
        own = {**self._env, "GIT_DIR": str(Path(self._repo.git_dir).resolve())}
        self._questions = Questions(_command([]), self.git_dir, own)
        self._moves = Moves(_command(["-c", "core.fsync=all"]), self.git_dir, own)

    # -- questions --

    @property
    def origin(self) -> Origin:
        named = self._text(["config", "--path", "core.excludesFile"], ok=(0, 1)).strip()
        default = Path(
            self._env.get("XDG_CONFIG_HOME")
            or Path(self._env.get("HOME", "/"), ".config"),
            "git",
            "ignore",
        )
        return Origin(
            self.git_dir.resolve(),
            self._format,
            excludes=(Path(named) if named else default,),
        )

    def current_branch(self) -> str | None:
        """The checked-out branch's name, also before its first commit; None when HEAD
        is detached.
        """
        # what git itself reads, unless refs are kept in another way
        with suppress(OSError, UnicodeDecodeError):
            said = (
                Path(self._repo.git_dir, "HEAD")
                .read_text(encoding="utf-8")
                .removesuffix("\n")
            )
            name = said.removeprefix("ref: refs/heads/")
            if name != said and _plain(name) and not name.startswith("."):
                return name
        # Not --short: where a tag has the branch's name that prints heads/NAME.
        return (
            self._text(["symbolic-ref", "-q", "HEAD"], ok=(0, 1))
            .strip()
            .removeprefix("refs/heads/")
            or None
        )

    def commit(self, revision: str) -> str | None:
        """The full id of the commit that `revision` names, or None."""
        if revision.startswith("refs/heads/") and _plain(revision):
            answer = self._questions.info(f"{revision}^{{commit}}")
            return answer[0] if answer else None
        return (
            self._text(
                [
                    "rev-parse",
                    "-q",
                    "--verify",
                    "--end-of-options",
                    f"{revision}^{{commit}}",
                ],
                ok=(0, 1, 128),
            ).strip()
            or None
        )

    def tree(self, revision: str, env: Mapping[str, str] | None = None) -> str:
        return self._known(("tree", revision), lambda: self._tree(revision, env))

    def _tree(self, revision: str, env: Mapping[str, str] | None) -> str:
        answer = (
            self._questions.info(f"{revision}^{{tree}}")
            if _FULL_ID.fullmatch(revision)
            else None
        )
        return (
            answer[0]
            if answer
            else self._text(["rev-parse", f"{revision}^{{tree}}"], env=env).strip()
        )

    def _known(self, question: tuple[str, ...], ask: Callable[[], T]) -> T:
        """The answer, asked once for a full object id: what such a name stands for
        never changes.
        """
        if not _FULL_ID.fullmatch(question[1]):
            return ask()
        with self._answering:
            if question in self._answers:
                known: T = self._answers[question]
                return known
        answer = ask()
        with self._answering:
            while len(self._answers) >= _ANSWERS:
                self._answers.pop(next(iter(self._answers)))
            self._answers[question] = answer
        return answer

    def file(self, commit: str, path: str) -> bytes | None:
        """The content of a regular file in a commit, or None."""
        return self._known(("file", commit, path), lambda: self._file(commit, path))

    def _file(self, commit: str, path: str) -> bytes | None:
        entry = self._run(["ls-tree", "-z", commit, "--", f":(literal){path}"])
        if not entry or not entry.startswith(b"100"):
            return None
        return self.blob(entry.split(b"\t")[0].split()[2].decode())

    def files(
        self, commit: str, path: str, env: Mapping[str, str] | None = None
    ) -> dict[str, tuple[str, int]]:
        """The regular files at or below `path` in a commit: path → (object id, size in
        bytes).
        """
        return self._known(
            ("files", commit, path), lambda: self._files(commit, path, env)
        )

    def _files(
        self, commit: str, path: str, env: Mapping[str, str] | None
    ) -> dict[str, tuple[str, int]]:
        entries = self._run(
            ["ls-tree", "-r", "-z", "-l", commit, "--", f":(literal){path}"], env=env
        ).split(b"\0")
        found = {}
        for entry in entries:
            meta, _, name = entry.partition(b"\t")
            if meta.startswith(b"100"):
                _, _, object_id, size = meta.split()
                found[os.fsdecode(name)] = (object_id.decode(), int(size))
        return found

    def blobs(
        self, object_ids: Sequence[str], env: Mapping[str, str] | None = None
    ) -> dict[str, bytes]:
        """The content of each blob, in one process whatever their number."""
        lines = "\n".join(object_ids).encode() + b"\n"
        out = (
            self._run(["cat-file", "--batch"], env=env, stdin=lines)
            if object_ids
            else b""
        )
        found, at = {}, 0
        while at < len(out):
            end = out.index(b"\n", at)
            object_id, _, size = out[at:end].split()
            found[object_id.decode()] = out[end + 1 : end + 1 + int(size)]
            at = end + 2 + int(size)
        return found

    def blob(self, object_id: str, env: Mapping[str, str] | None = None) -> bytes:
        return self._known(("blob", object_id), lambda: self._blob(object_id, env))

    def _blob(self, object_id: str, env: Mapping[str, str] | None) -> bytes:
        kind, data = self._questions.content(object_id) or ("missing", b"")
        return (
            data
            if kind == "blob"
            else self._run(["cat-file", "blob", object_id], env=env)
        )

    def message(self, commit: str) -> str:
        return self._text(["log", "-1", "--format=%B", commit]).rstrip() + "\n"

    def paths(self, revision: str, env: Mapping[str, str] | None = None) -> list[str]:
        return [
            os.fsdecode(p)
            for p in self._run(
                ["ls-tree", "-r", "-z", "--name-only", revision], env=env
            ).split(b"\0")
            if p
        ]

    def unfinished(self, where: Path) -> str | None:
        """What a person has begun and not ended in that work tree (a merge, a rebase,
        …), or None.
        """
        own = Path(
            self._text(["-C", str(where), "rev-parse", "--absolute-git-dir"]).strip()
        )
        marks = {
            "MERGE_HEAD": "merge",
            "CHERRY_PICK_HEAD": "cherry-pick",
            "REVERT_HEAD": "revert",
            "rebase-merge": "rebase",
            "rebase-apply": "rebase",
            "BISECT_LOG": "bisect",
        }
        return next(
            (what for name, what in marks.items() if (own / name).exists()), None
        )

    def filtered(self, tree: str, paths: Sequence[str]) -> list[str]:
        """Those of the paths that the attributes in `tree` send through a filter that
        is configured here (Git LFS).
        """
        if not paths or not self._filters:
            return []
        with tempfile.TemporaryDirectory(dir=self._own_folder()) as folder:
            own = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
            self._run(["read-tree", tree], env=own)
            stdin = b"".join(os.fsencode(path) + b"\0" for path in paths)
            fields = self._run(
                ["check-attr", "-z", "--cached", "--stdin", "filter"],
                env=own,
                stdin=stdin,
            ).split(b"\0")
        told = zip(fields[0::3], fields[2::3], strict=False)
        return [
            os.fsdecode(path)
            for path, name in told
            if name.decode("utf-8", "replace") in self._filters
        ]

    @cached_property
    def _filters(self) -> frozenset[str]:
        """The filters that the user's configuration defines."""
        lines = self._text(
            ["config", "--name-only", "--get-regexp", r"^filter\..*\.(clean|process)$"],
            ok=(0, 1),
        ).splitlines()
        return frozenset(line.split(".", 1)[1].rpartition(".")[0] for line in lines)

    def changed_paths(self, old: str, new: str) -> list[str]:
        """Paths that differ from `old` to `new`, renames as both their paths."""
        out = self._run(
            ["diff-tree", "-r", "-z", "--no-renames", "--name-only", old, new]
        )
        return [os.fsdecode(path) for path in out.split(b"\0") if path]

    def dirty_paths(self, where: Path | None = None) -> list[str]:
        """Tracked paths whose content, mode or stage differs from HEAD; submodules' own
        dirt left aside.
        """
        there = ["-C", str(where)] if where else []
        out = self._run(
            [
                *there,
                "status",
                "--porcelain=v1",
                "-z",
                "--untracked-files=no",
                "--ignore-submodules=dirty",
                "--no-renames",
            ],
            # a git that dies here (a full disk) would leave index.lock
            env={"GIT_OPTIONAL_LOCKS": "0"},
        )
        return [os.fsdecode(line[3:]) for line in out.split(b"\0") if line]

    def may_be_branch(self, name: str) -> bool:
        """Whether git takes the name for a branch, and it is neither HEAD nor a full
        ref.
        """
        plain = name not in {"HEAD", "@"} and not name.startswith(("-", "refs/"))
        return plain and self._status(["check-ref-format", f"refs/heads/{name}"]) == 0

    def is_ancestor(self, older: str, newer: str) -> bool:
        return self._status(["merge-base", "--is-ancestor", older, newer]) == 0

    def log(self, since: str | None, until: str) -> list[tuple[str, str]]:
        """(short id, subject) of the commits of `until` that are not in `since`, newest
        first.
        """
        span = until if since is None else f"{since}..{until}"
        return [
            (i, s)
            for i, _, s in (
                line.partition("\t")
                for line in self._text(["log", "--format=%h%x09%s", span]).splitlines()
            )
        ]

    def remote_url(self, name: str) -> str | None:
        """The address of a remote, None if there is none of that name."""
        status, out, _ = self.attempt(["remote", "get-url", name])
        return None if status else out.decode("utf-8", "replace").strip()

    def landed_in(self, head: str, most: int = 1000) -> dict[str, str]:
        """Task id → short id of the newest commit that says in its trailers that it
        landed the task.

        Of the newest `most` commits, or what is there of them in a shallow clone: for
        people, not for decisions.
        """
        form = "--format=%h%x09%(trailers:key=Fanin-Task,valueonly,separator=%x09)"
        found: dict[str, str] = {}
        for line in self._text(["log", f"-{most}", form, head]).splitlines():
            commit, *ids = line.split("\t")
            for task_id in filter(None, ids):
                found.setdefault(task_id, commit)
        return found

    # -- trees and commits, in a quarantine --

    @contextmanager
    def quarantine(self) -> Iterator[Quarantine]:
        """A quarantine that is gone when the block ends; `adopt` what is to stay."""
        folder = Path(tempfile.mkdtemp(prefix="quarantine-", dir=self._own_folder()))
        try:
            (folder / "pack").mkdir()
            (folder / "info").mkdir()
            (folder / "info" / "alternates").write_bytes(
                alternates([self.git_dir.resolve() / "objects"])
            )
            env = {"GIT_OBJECT_DIRECTORY": str(folder)}
            with self._objects(env) as objects:
                self._quarantined[str(folder)] = objects
                yield Quarantine(folder, env)
        finally:
            self._quarantined.pop(str(folder), None)
            shutil.rmtree(folder, ignore_errors=True)

    @contextmanager
    def _objects(self, env: Mapping[str, str]) -> Iterator[Objects]:
        """The objects that git reads and writes in this environment: a quarantine's, or
        the repository's own.
        """
        folder = env.get("GIT_OBJECT_DIRECTORY", "")
        if folder in self._quarantined:
            yield self._quarantined[folder]
            return

        def store(pack: bytes) -> None:
            self._run(["index-pack", "--stdin"], env=env, stdin=pack)

        with self._reader(env) as read:
            if folder:
                yield Objects(Path(folder), self._format, read, store)
            else:
                yield Objects(
                    self.git_dir / "objects",
                    self._format,
                    read,
                    store,
                    put=self._put_object,
                )

    def _put_object(self, path: Path, data: bytes) -> None:
        """A file among the repository's own objects: made in fanin's folder, where what
        a crash leaves is swept.
        """
        first = self._own_folder() / f"tmp_obj_{os.getpid()}-{time.monotonic_ns()}"
        with open(first, "xb", opener=read_only) as file:
            file.write(data)
            file.flush()
            durable.sync(file.fileno())
        durable.checkpoint("before rename")
        first.replace(path)
        durable.checkpoint("after rename")

    def index_pack(self, pack: Path, into: Quarantine, max_bytes: int) -> None:
        """Import an untrusted pack, every object checked. GitFailed if one is not what
        git itself would write.
        """
        with pack.open("rb") as stream:
            self._run(
                [
                    "index-pack",
                    "--strict",
                    "--fsck-objects",
                    "--fix-thin",
                    "--stdin",
                    f"--max-input-size={max_bytes}",
                ],
                env=into.env,
                stdin=stream,
            )

    def index_packs(
        self, named: Mapping[str, tuple[Path, int]], base: str, into: Quarantine
    ) -> list[list[Change]]:
        """Import untrusted packs at once: tree → the pack that brings it and the bytes
        it may have. Gives what each tree changes from tree `base`.

        As strict as `index_pack` one by one: every object is checked, every tree is
        there with all that it links. ValueError or GitFailed if any of them is bad, and
        then nothing of them has come in: what is wrong with one would otherwise pass as
        known when another is looked at alone.
        """
        with self._staging(into) as (stage, env):
            with tempfile.TemporaryFile(dir=stage) as joined:
                size = pack_writer.join(list(named.values()), joined, self._format)
                joined.flush()
                joined.seek(0)
                # Not --strict: that refuses an object that two results share. rev-list
                # finds what is missing instead.
                argv = [
                    "index-pack",
                    "--fsck-objects",
                    "--fix-thin",
                    "--stdin",
                    f"--max-input-size={size + 1}",
                ]
                self._run(argv, env=env, stdin=joined)
            if set(self._kinds(list(named), env)) != {"tree"}:
                raise ValueError("a pack does not hold the tree that its result names")
            revisions = "".join(f"{tree}\n" for tree in named) + f"^{base}\n"
            self._run(
                ["rev-list", "--objects", "--quiet", "--stdin"],
                env=env,
                stdin=revisions.encode(),
            )
            changes = self.changes_to(base, list(named), env)
            # it comes last
            for file in sorted(
                (stage / "pack").iterdir(), key=lambda file: file.suffix == ".idx"
            ):
                file.rename(into.folder / "pack" / file.name)
            return changes

    @contextmanager
    def _staging(self, quarantine: Quarantine) -> Iterator[tuple[Path, dict[str, str]]]:
        """A folder of objects in front of the quarantine, and the environment that
        makes git write there.
        """
        stage = Path(tempfile.mkdtemp(prefix="staging-", dir=quarantine.folder))
        (stage / "pack").mkdir()
        (stage / "info").mkdir()
        seen = alternates([self.git_dir.resolve() / "objects", quarantine.folder])
        (stage / "info" / "alternates").write_bytes(seen)
        try:
            yield stage, {"GIT_OBJECT_DIRECTORY": str(stage)}
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def is_tree(self, object_id: str, env: Mapping[str, str]) -> bool:
        """Whether the object is there and is a tree; `index_pack` has seen to it that
        all it links is there too.
        """
        return self._kinds([object_id], env) == ["tree"]

    def _kinds(self, ids: Sequence[str], env: Mapping[str, str]) -> list[str]:
        """The type of each object, `missing` if it is not there."""
        lines = "".join(f"{object_id}\n" for object_id in ids).encode()
        told = self._text(
            ["cat-file", "--batch-check=%(objectname) %(objecttype)"],
            env=env,
            stdin=lines,
        )
        return [line.split()[-1] for line in told.splitlines()]

    def changes(self, old: str, new: str, env: Mapping[str, str]) -> list[Change]:
        """What differs from `old` to `new`, by path, with the sizes and link targets
        policy asks for.
        """
        if old == new:
            return []
        out = self._run([*_DIFF_TREE, old, new], env=env)
        return self._measured(_diffs(b"\n" + out), env)[0]

    def changes_to(
        self, old: str, trees: Sequence[str], env: Mapping[str, str]
    ) -> list[list[Change]]:
        """`changes` from tree `old` to each of the trees. ValueError if what a tree
        calls a file is none.
        """
        pairs = "".join(f"{old} {tree}\n" for tree in trees).encode()
        found = _diffs(self._run([*_DIFF_TREE, "--stdin"], env=env, stdin=pairs))
        if len(found) != len(trees):
            raise ValueError("git did not compare every tree")
        return self._measured(found, env, strict=True)

    def _measured(
        self,
        found: Sequence[Sequence[Change]],
        env: Mapping[str, str],
        *,
        strict: bool = False,
    ) -> list[list[Change]]:
        """The changes with the sizes of their blobs and the targets of their links."""
        blobs = dict.fromkeys(
            c.new[1] for each in found for c in each if c.new and c.new[0] != GITLINK
        )
        sizes = self._sizes(list(blobs), env)
        if strict and len(sizes) < len(blobs):
            raise ValueError("a tree names an object as a file that is none")
        return [
            [
                replace(
                    c,
                    size=sizes.get(c.new[1], 0) if c.new else 0,
                    target=self._target(c, env),
                )
                for c in each
            ]
            for each in found
        ]

    def diffstats(
        self, old: str, trees: Sequence[str], env: Mapping[str, str]
    ) -> list[list[str]]:
        """For each of the trees the paths that differ from tree `old`, with their added
        and removed lines (`src/a.py +3 -1`, `-` where it is no text).
        """
        # No renames: a pair of paths costs a comparison of contents, and the prompt
        # needs names.
        pairs = "".join(f"{old} {tree}\n" for tree in trees).encode()
        out = self._run(
            ["diff-tree", "--stdin", "-r", "-z", "--numstat", "--no-renames"],
            env=env,
            stdin=pairs,
        )
        found: list[list[str]] = []
        for field_ in out.split(b"\0"):
            while pair := _PAIR.match(field_):
                found.append([])
                field_ = field_[pair.end() :]
            if field_:
                added, removed, path = os.fsdecode(field_).split("\t", 2)
                found[-1].append(f"{path} +{added} -{removed}")
        return found

    def leak(
        self, changes: Sequence[Change], secrets: Secrets, env: Mapping[str, str]
    ) -> tuple[str, str] | None:
        """(path, secret's name) of the first new file or new path that holds a secret;
        read in pieces.
        """
        paths = {
            change.new[1]: change.path
            for change in changes
            if change.new and change.new[0] != GITLINK
        }
        where = {"GIT_DIR": str(self.git_dir.resolve()), **env}
        named = (
            (change.path, name)
            for change in changes
            if change.new and (name := secrets.find_in_text(change.path))
        )
        return next(named, None) or leak_in_blobs(paths, secrets, self.root, where)

    def write_tree(
        self,
        base: str,
        changes: Mapping[str, tuple[str, str] | None],
        env: Mapping[str, str],
    ) -> str:
        """The tree that is `base` with each path set to (mode, object id), or removed
        where None.
        """
        with self._objects(env) as objects:
            tree = objects.edited(self.tree(base, env), changes)
        return self._known(("tree", tree), lambda: tree)

    def write_blob(self, data: bytes, env: Mapping[str, str]) -> tuple[str, str]:
        """(mode, object id) of a new regular file."""
        with self._objects(env) as objects:
            return REGULAR, objects.write("blob", data)

    def merge_trees(
        self, base: str, ours: str, theirs: str, env: Mapping[str, str]
    ) -> str | Conflict:
        """The three-way merge of trees, by git's own merge, or what it could not
        decide.

        git 2.39's merge-tree takes commits only and finds the base itself, so synthetic
        ones are given to it.
        """
        with self._objects(env) as objects:
            root = objects.commit(base)
            sides = [objects.commit(tree, root) for tree in (ours, theirs)]
            argv = ["merge-tree", "--write-tree", "-z", "--messages", *sides]
            status, out, words = self.attempt(argv, env=env)
            if status not in {0, 1}:
                raise GitFailed(argv, status, words)
            tree, _, rest = out.partition(b"\0")
            if status == 0:
                return tree.decode()
            listing, _, messages = rest.partition(b"\0\0")
            lines = [line for line in listing.split(b"\0") if line]
            paths = tuple(
                dict.fromkeys(os.fsdecode(line.partition(b"\t")[2]) for line in lines)
            )
            return Conflict(
                paths,
                _conflict_messages(messages),
                _hunks(objects, tree.decode(), paths),
            )

    def commit_tree(
        self, tree: str, parents: Sequence[str], message: str, env: Mapping[str, str]
    ) -> str:
        """A commit in the user's name where one is configured, in fanin's own
        otherwise.
        """
        commit = self._commit_tree(tree, parents, message, env)
        self._known(("tree", commit), lambda: tree)
        return commit

    def commit_files(self, head: str, files: Mapping[str, bytes], message: str) -> str:
        """A commit on `head` in which these files have this content."""
        with self.quarantine() as quarantine:
            blobs = {
                path: self.write_blob(data, quarantine.env)
                for path, data in files.items()
            }
            tree = self.write_tree(self.tree(head), blobs, quarantine.env)
            commit = self.commit_tree(tree, [head], message, quarantine.env)
            self.adopt(quarantine, [commit], [head])
        return commit

    def adopt(
        self, quarantine: Quarantine, tips: Sequence[str], known: Sequence[str]
    ) -> None:
        """Move what the tips reach, and the known commits or trees do not, into the
        repository's own objects.
        """
        if not tips:
            return
        if not any((quarantine.folder / "pack").iterdir()) and self._private:
            self._adopt_files(quarantine.folder)
            return
        revisions = "\n".join([*tips, *(f"^{known_tip}" for known_tip in known)]) + "\n"
        with tempfile.TemporaryFile(dir=self._own_folder()) as pack:
            pack.write(
                self._run(
                    ["pack-objects", "-q", "--stdout", "--revs", "--delta-base-offset"],
                    env=quarantine.env,
                    stdin=revisions.encode(),
                )
            )
            pack.flush()
            pack.seek(0)
            durable.checkpoint("before objects")
            count = int.from_bytes(os.pread(pack.fileno(), 4, 8))
            # As git does with what it fetches: few objects become files of their own,
            # many stay in one.
            argv = (
                ["unpack-objects", "-q"]
                if count < UNPACK_LIMIT
                else ["index-pack", "--stdin"]
            )
            self._run(["-c", "core.fsync=all", *argv], stdin=pack)
            durable.checkpoint("after objects")

    def _adopt_files(self, folder: Path) -> None:
        """Move objects that lie in files of their own: without a pack they are all
        fanin's own.
        """
        durable.checkpoint("before objects")
        objects = self.git_dir / "objects"
        files = [
            file
            for file in folder.glob("[0-9a-f][0-9a-f]/*")
            if not (objects / file.parent.name / file.name).exists()
        ]
        durable.sync_files(files)
        for file in files:
            (objects / file.parent.name).mkdir(exist_ok=True)
            file.replace(objects / file.parent.name / file.name)
        # one for all renames: git itself is content without any
        durable.sync_folder(objects)
        durable.checkpoint("after objects")

    @cached_property
    def _private(self) -> bool:
        """Whether objects may have the modes of their folders: git gives others where
        users share a repository.
        """
        return not self._text(["config", "core.sharedRepository"], ok=(0, 1)).strip()

    # -- refs and the user's files --

    def set_ref(self, ref: str, new: str, old: str | None = None) -> bool:
        """Point a ref at `new`, only if it is at `old` (ABSENT: only if there is none);
        whether that was so.
        """
        expected = [old] if old is not None else []
        durable.checkpoint("before ref")
        done = _plain(ref) and self._moves.commit(
            [" ".join(("update", ref, new, *expected))]
        )
        if not done:  # so that git refuses in its own words and by its own status
            argv = [
                "-c",
                "core.fsync=all",
                "update-ref",
                "--create-reflog",
                "-m",
                "fanin",
                ref,
                new,
                *expected,
            ]
            done = self._status(argv) == 0
        durable.checkpoint("after ref")
        return done

    def delete_ref(self, ref: str) -> None:
        self.delete_refs([ref])

    def delete_refs(self, refs: Sequence[str]) -> None:
        """Delete them, in one go where git agrees."""
        durable.checkpoint("before ref")
        if not (
            all(_plain(ref) for ref in refs)
            and self._moves.commit([f"delete {ref}" for ref in refs])
        ):
            for ref in refs:
                self._run(["update-ref", "-d", ref])
        durable.checkpoint("after ref")

    def refs(self, prefix: str) -> dict[str, str]:
        """Every ref below `prefix`, with its object id."""
        lines = self._text(
            ["for-each-ref", "--format=%(refname) %(objectname)", prefix]
        ).splitlines()
        return dict(tuple(line.split(" ", 1)) for line in lines)  # type: ignore[misc]

    def checked_out_at(self, branch: str) -> Path | None:
        """The work tree that has the branch checked out, the main one or a linked one."""
        if self.current_branch() == branch:
            return self.root
        where: Path | None = None
        for field_ in self._run(["worktree", "list", "--porcelain", "-z"]).split(b"\0"):
            key, _, value = field_.partition(b" ")
            if key == b"worktree":
                where = Path(os.fsdecode(value))
            elif key == b"branch" and os.fsdecode(value) == f"refs/heads/{branch}":
                # a linked work tree that was deleted by hand
                return where if where and where.is_dir() else None
        return None

    def land(self, branch: str, old: str, new: str) -> Landing:
        """Move the branch from `old` to `new`, and where it is checked out its files,
        as `git merge --ff-only` would.

        Untracked files, ignored ones too, are never overwritten; dirty tracked files in
        the way are an obstacle.
        """
        head = self.commit(f"refs/heads/{branch}")
        if head != old:
            return Landing(landed=head == new, moved=head != new)
        where = self.checked_out_at(branch)
        if where is None:
            landed = self.set_ref(f"refs/heads/{branch}", new, old)
            return Landing(
                landed, moved=not landed and self.commit(f"refs/heads/{branch}") != old
            )
        durable.checkpoint("before landing")
        for pause in (0.1, 0.3, 1.0, 3.0, 0.0):
            status, _, words = self.attempt(
                [
                    "-C",
                    str(where),
                    "merge",
                    "-q",
                    "--ff-only",
                    "--no-squash",
                    "--no-overwrite-ignore",
                    new,
                ]
            )
            if status == 0 or "index.lock" not in words or not pause:
                break
            # an editor or prompt asks git for the status at this moment
            time.sleep(pause)
        durable.checkpoint("after landing")
        now = self.commit(f"refs/heads/{branch}")
        return Landing(landed=now == new, moved=now not in {old, new}, obstacle=words)

    def undo_interrupted(self, branch: str, old: str, new: str) -> list[str]:
        """Take back a landing whose process died before the branch moved, so that it
        can be done over again.

        A killed fast-forward leaves the old HEAD, some new files and `index.lock`
        (seen). Paths with exactly the new content get the old one back; those that hold
        something else are left alone and returned.
        """
        where = self.checked_out_at(branch)
        if where is None or self.commit(f"refs/heads/{branch}") != old:
            return []
        own = Path(
            self._text(["-C", str(where), "rev-parse", "--absolute-git-dir"]).strip()
        )
        for lock in (
            own / "index.lock",
            own / "HEAD.lock",
            self.git_dir / f"refs/heads/{branch}.lock",
        ):
            lock.unlink(missing_ok=True)
        # collected since: what of it stands there, if any does, is a person's to say
        if self.commit(new) is None:
            return []
        changes = self.changes(old, new, {})
        listed = b"\0".join(os.fsencode(change.path) for change in changes)
        self._run(
            [
                "-C",
                str(where),
                "reset",
                "-q",
                old,
                "--pathspec-from-file=-",
                "--pathspec-file-nul",
            ],
            env={"GIT_LITERAL_PATHSPECS": "1"},
            stdin=listed,
        )
        left = []
        for change in changes:
            found = self._content(where / change.path)
            if found == change.new and found != change.old:
                self._put_back(where, change, old)
            elif found != change.old:
                left.append(change.path)
        return left

    def _put_back(self, where: Path, change: Change, old: str) -> None:
        if change.old is None:
            (where / change.path).unlink(missing_ok=True)
        else:
            self._run(
                ["-C", str(where), "checkout", "-q", old, "--", change.path],
                env={"GIT_LITERAL_PATHSPECS": "1"},
            )

    def _content(self, path: Path) -> tuple[str, str] | None:
        """(mode, object id) of what stands at `path` now, None if nothing does."""
        if path.is_symlink():
            return SYMLINK, self._text(
                ["hash-object", "--stdin"], stdin=os.fsencode(path.readlink())
            ).strip()
        if not path.is_file():
            return None
        mode = EXECUTABLE if os.access(path, os.X_OK) else REGULAR
        return mode, self._text(["hash-object", "--", str(path)]).strip()

    # -- details --

    def _own_folder(self) -> Path:
        folder = self.git_dir / "fanin"
        folder.mkdir(exist_ok=True)
        return folder

    @cached_property
    def _format(self) -> str:
        """The repository's object format: sha1 or sha256."""
        return self._text(["rev-parse", "--show-object-format"]).strip()

    @contextmanager
    def _reader(self, env: Mapping[str, str]) -> Iterator[Read]:
        """Reads objects through one `git cat-file` for as long as the block lasts; it
        starts with the first question.

        KeyError for an object that is not there.
        """
        running: list[Any] = []

        def start() -> Any:
            how: dict[str, Any] = {
                "istream": _PIPE,
                "as_process": True,
                "start_new_session": True,
            }
            return self._repo.git.execute(
                _command(["cat-file", "--batch"]), env={**self._env, **env}, **how
            )

        packs = (
            Path(env["GIT_OBJECT_DIRECTORY"], "pack")
            if "GIT_OBJECT_DIRECTORY" in env
            else None
        )

        def read(ids: Sequence[str]) -> list[tuple[str, bytes]]:
            # most of it is the repository's own
            if not running and (packs is None or not any(packs.iterdir())):
                known = [answer for answer in self._questions.contents(ids) if answer]
                if len(known) == len(ids):
                    return known
            if not running:
                running.append(start())
            found = []
            for at in range(0, len(ids), _ASKED_AT_ONCE):
                asked = ids[at : at + _ASKED_AT_ONCE]
                running[0].stdin.write(
                    "".join(f"{object_id}\n" for object_id in asked).encode()
                )
                running[0].stdin.flush()
                found += [_answer(running[0].stdout, object_id) for object_id in asked]
            return found

        try:
            yield read
        finally:
            for process in running:
                process.stdin.close()
                process.stdout.close()
                process.stderr.close()
                process.proc.wait()

    @cached_property
    def _identity(self) -> dict[str, str]:
        """Fanin's own name where the user has configured none."""
        known = all(
            self._text(["config", f"user.{part}"], ok=(0, 1)).strip()
            or f"GIT_AUTHOR_{part.upper()}" in self._env
            for part in ("name", "email")
        )
        return {} if known else AUTHOR

    def _commit_tree(
        self, tree: str, parents: Sequence[str], message: str, env: Mapping[str, str]
    ) -> str:
        if (who := self._people) is None or "\0" in message:
            flags = [part for parent in parents for part in ("-p", parent)]
            whole = {**env, **self._identity}
            return self._text(
                ["commit-tree", tree, *flags, "-F", "-"],
                env=whole,
                stdin=message.encode(),
            ).strip()
        when = f"{int(time.time())} {time.strftime('%z')}"
        above = "".join(f"parent {parent}\n" for parent in parents)
        told = f"tree {tree}\n{above}author {who[0]} {when}\ncommitter {who[1]} {when}\n\n{message}"
        with self._objects(env) as objects:
            return objects.write(
                "commit",
                told.encode() if told.endswith("\n") else told.encode() + b"\n",
            )

    @cached_property
    def _people(self) -> tuple[str, str] | None:
        """Author and committer as git itself would write them; None if it must be asked
        each time.
        """
        if "GIT_AUTHOR_DATE" in self._env or "GIT_COMMITTER_DATE" in self._env:
            return None
        found = []
        for name in ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT"):
            status, out, _ = self.attempt(["var", name], env=self._identity)
            ident = out.decode("utf-8", "replace").strip().rsplit(" ", 2)
            if status or len(ident) != 3 or "\ufffd" in ident[0]:
                return None
            found.append(ident[0])
        return found[0], found[1]

    def _sizes(self, blobs: Sequence[str], env: Mapping[str, str]) -> dict[str, int]:
        """The size of each of the objects that is a blob."""
        if not blobs:
            return {}
        argv = ["cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)"]
        lines = self._text(
            argv, env=env, stdin="\n".join(blobs).encode() + b"\n"
        ).splitlines()
        told = [line.split() for line in lines]
        return {
            fields[0]: int(fields[2])
            for fields in told
            if len(fields) == 3 and fields[1] == "blob"
        }

    def _target(self, change: Change, env: Mapping[str, str]) -> str | None:
        if change.new is None or change.new[0] != SYMLINK:
            return None
        return os.fsdecode(self._run(["cat-file", "blob", change.new[1]], env=env))

    def _text(self, argv: Sequence[str], **how: Any) -> str:
        return self._run(argv, **how).decode("utf-8", "replace")

    def _status(self, argv: Sequence[str], env: Mapping[str, str] | None = None) -> int:
        return self.attempt(argv, env=env)[0]

    def _run(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: Any = None,
        ok: Sequence[int] = (0,),
    ) -> bytes:
        """One git command; its output. GitFailed if its status is not among `ok`."""
        status, out, words = self.attempt(argv, env=env, stdin=stdin)
        if status not in ok:
            raise GitFailed(argv, status, words)
        return out

    def attempt(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        stdin: Any = None,
    ) -> tuple[int, bytes, str]:
        """One git command; its status, output and words."""
        try:
            status, out, err = self._execute(
                _command(argv), {**self._env, **(env or {})}, stdin
            )
        except git.GitCommandNotFound:
            raise EnvironmentBroken(
                "git is not installed or not on PATH", "install git 2.38 or newer"
            ) from None
        return status, out, err.decode("utf-8", "replace").strip()

    def _execute(
        self, argv: list[str], env: dict[str, str], stdin: Any
    ) -> tuple[int, bytes, bytes]:
        """Through GitPython; bytes for standard input go through a temporary file,
        which it needs.
        """
        with tempfile.TemporaryFile() as spool:
            if isinstance(stdin, bytes):
                spool.write(stdin)
                spool.seek(0)
                stdin = spool
            status, out, err = self._repo.git.execute(
                argv,
                istream=stdin,
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                strip_newline_in_stdout=False,
                env=env,
                start_new_session=True,
            )  # Ctrl-C is fanin's to handle: a merge must not die of it half-way
        return int(status), _bytes(out), _bytes(err)


def _command(argv: Sequence[str]) -> list[str]:
    return ["git", *(part for setting in _CONFIG for part in ("-c", setting)), *argv]


def _plain(name: str) -> bool:
    return _PLAIN.fullmatch(name) is not None


def _bytes(value: Any) -> bytes:
    return (
        value
        if isinstance(value, bytes)
        else str(value).encode("utf-8", "surrogateescape")
    )


def _answer(stream: Any, object_id: str) -> tuple[str, bytes]:
    """The type and content of an object, as `cat-file --batch` tells them. KeyError if
    there is none.
    """
    head = stream.readline().split()
    if len(head) != 3:
        raise KeyError(object_id)
    return head[1].decode(), stream.read(int(head[2]) + 1)[:-1]


def _diffs(out: bytes) -> list[list[Change]]:
    """What `diff-tree -z --raw --stdin` answers: a line for each pair of trees, before
    its changes.
    """
    fields, found = out.split(b"\0"), list[list[Change]]()
    # meta and path in turn, new pairs before a meta
    for at in range(0, len(fields), 2):
        *pairs, meta = fields[at].split(b"\n")
        found += [[] for _ in pairs]
        if meta:
            found[-1].append(_change(meta.decode(), os.fsdecode(fields[at + 1])))
    return found


def _hunks(
    objects: Objects, tree: str, paths: Sequence[str], limit: int = 4_000
) -> str:
    """The regions between conflict markers of the merged files, bounded."""
    found = []
    for path in paths:
        entry = objects.find(tree, path)
        if entry is not None and entry[0].startswith("100"):
            marked = re.findall(
                rb"^<{7} .*?^>{7} [^\n]*$",
                objects.content(entry[1]),
                re.DOTALL | re.MULTILINE,
            )
            found += [f"{path}:\n{hunk.decode('utf-8', 'replace')}" for hunk in marked]
    return "\n".join(found)[:limit]


def _change(meta: str, path: str) -> Change:
    old_mode, new_mode, old_id, new_id, _ = meta.removeprefix(":").split()
    return Change(
        path,
        None if old_mode == "000000" else (old_mode, old_id),
        None if new_mode == "000000" else (new_mode, new_id),
    )


def _conflict_messages(raw: bytes) -> tuple[str, ...]:
    """The conflict messages of `merge-tree -z`: count, paths, type, text, each ended by
    NUL (its manual).
    """
    fields, found = raw.split(b"\0"), []
    while len(fields) > 1:
        count = int(fields[0] or 0)
        kind, text = fields[count + 1], fields[count + 2]
        if kind.startswith(b"CONFLICT"):
            found.append(text.decode("utf-8", "replace").strip())
        fields = fields[count + 3 :]
    return tuple(found)
