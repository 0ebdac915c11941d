"""The plan's repository: its refs, commits and work tree."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

from runner.core import durable
from runner.core.patterns import lazy_pattern
from runner.repo.answer_cache import AnswerCache, is_full_id
from runner.repo.batch_process import ObjectReader, RefUpdater
from runner.repo.command import Git
from runner.repo.configuration import Configuration
from runner.repo.discovery import discover
from runner.repo.environment import repository_config, repository_environment
from runner.repo.object_database import WritableDatabase, folders_of
from runner.repo.objects import Objects, commit_links, read_only, stored_in
from runner.repo.own_packs import OwnPacks

if TYPE_CHECKING:
    from runner.repo.origin import Origin
    from runner.repo.quarantine import Quarantine

# names that mean only themselves, however git is asked
_PLAIN_NAME = lazy_pattern(r"[A-Za-z0-9/_.-]+")

# Folders whose .gitattributes is read without a process of its own.
_MAX_ATTRIBUTE_FOLDERS = 256


class Repository(WritableDatabase):
    """A git repository with a work tree.

    `root` is the work tree, `git_dir` the folder that all linked work trees share, and
    `own_git_dir` the work tree's own one.
    """

    def __init__(self, path: Path, environ: Mapping[str, str]) -> None:
        """Open the repository that `path` is in.

        Raises UsageProblem if there is none, or if it has no work tree.
        """
        self.root, self.git_dir, own_git_dir = discover(path)
        self.own_git_dir = own_git_dir
        self._head_file = own_git_dir / "HEAD"
        self._own_modules: tuple[Path, ...] = ()
        if own_git_dir != self.git_dir:
            self._own_modules = (own_git_dir.resolve() / "modules",)
        env = repository_environment(environ)
        git = Git(self.root, env, repository_config(environ, self.root))
        # Not from the work tree's folder, for processes that live long: someone may
        # delete it meanwhile.
        self.own_git = Git(
            self.git_dir,
            {**env, "GIT_DIR": str(own_git_dir.resolve())},
            git.config,
        )
        self._lfs_answer: tuple[str, bool] | None = None
        self.answers = AnswerCache()
        super().__init__(
            git, ObjectReader(self.own_git), self.answers, Configuration(git)
        )
        self.own_packs = OwnPacks(self)
        self._ref_updater = RefUpdater(self.own_git.with_config("core.fsync=all"))

    @cached_property
    def object_folder(self) -> Path:
        """The folder of the repository's own objects, absolute."""
        return self.git_dir.resolve() / "objects"

    def private_folder(self) -> Path:
        """Fanin's own folder in the repository; leftovers of crashes are deleted."""
        folder = self.git_dir / "fanin"
        folder.mkdir(exist_ok=True)
        return folder

    @property
    def origin(self) -> Origin:
        """The repository that agents' checkouts borrow from."""
        from runner.repo.origin import Origin

        return Origin(
            self.git_dir.resolve(),
            self.configuration.object_format,
            excludes=(self.configuration.excludes_file,),
            work_tree=self.root,
            modules=self._own_modules,
        )

    def current_branch(self) -> str | None:
        """The checked-out branch's name, also before its first commit; None when HEAD
        is detached.
        """
        # the file that git itself reads, unless refs are stored in another format
        with suppress(OSError, UnicodeDecodeError):
            text = self._head_file.read_text(encoding="utf-8").removesuffix("\n")
            name = text.removeprefix("ref: refs/heads/")
            if name != text and _is_plain(name) and not name.startswith("."):
                return name
        # Not --short: where a tag has the branch's name that prints heads/NAME.
        ref = self.git.text(["symbolic-ref", "-q", "HEAD"], ok=(0, 1)).strip()
        return ref.removeprefix("refs/heads/") or None

    def commit(self, revision: str) -> str | None:
        """The full id of the commit that `revision` names, or None."""
        if revision == "HEAD" and (branch := self.current_branch()):
            revision = f"refs/heads/{branch}"
        name = f"{revision}^{{commit}}"
        # A branch's full name means the same in every work tree; HEAD does not.
        if revision.startswith("refs/heads/") and _is_plain(revision):
            info = self.reader.info(name)
            return info.object_id if info else None
        argv = ["rev-parse", "-q", "--verify", "--end-of-options", name]
        return self.git.text(argv, ok=(0, 1, 128)).strip() or None

    def message(self, commit: str) -> str:
        """The commit's message, with one line end."""
        return self.git.text(["log", "-1", "--format=%B", commit]).rstrip() + "\n"

    def log(self, since: str | None, until: str) -> list[tuple[str, str]]:
        """(short id, subject) of the commits of `until` that are not in `since`, newest
        first.
        """
        span = until if since is None else f"{since}..{until}"
        commits = []
        for line in self.git.text(["log", "--format=%h%x09%s", span]).splitlines():
            short_id, _, subject = line.partition("\t")
            commits.append((short_id, subject))
        return commits

    def landing_commits(self, head: str, max_commits: int = 1000) -> dict[str, str]:
        """Task id → short id of the newest commit whose trailers name the task, unless a
        later one says that it was taken out.

        Looks at the newest `max_commits` commits only, and a shallow clone may have
        fewer. So the answer is for display, not for decisions.
        """
        trailers = "%(trailers:key={},valueonly,separator=%x09)"
        names = ("Fanin-Task", "Fanin-Undo")
        form = "%x00".join(["%h", *map(trailers.format, names)])
        commits: dict[str, str] = {}
        log = self.git.text(["log", f"-{max_commits}", f"--format={form}", head])
        for line in log.splitlines():
            commit, landed, undone = line.split("\0")
            for task_id in filter(None, undone.split("\t")):
                commits.setdefault(task_id, "")
            for task_id in filter(None, landed.split("\t")):
                commits.setdefault(task_id, commit)
        return {task_id: commit for task_id, commit in commits.items() if commit}

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` is `older` or follows it."""
        # mostly it is one of these, which needs no process
        if is_full_id(older) and (older == newer or older in self._parents(newer)):
            return True
        return self.git.status(["merge-base", "--is-ancestor", older, newer]) == 0

    def _parents(self, commit: str) -> list[str]:
        """The parents of a commit; none where its id is not given in full."""
        (content,) = self.contents([commit]) if is_full_id(commit) else (None,)
        if content is None or content.kind != "commit":
            return []
        return [each for name, each in commit_links(content.data) if name == "parent"]

    def is_commit(self, commit: str, tree: str, parent: str, message: str) -> bool:
        """Whether the commit is one of the tree on that parent alone, with the message."""
        (content,) = self.contents([commit])
        if content is None or content.kind != "commit":
            return False
        _, _, text = content.data.partition(b"\n\n")
        links = [("tree", tree), ("parent", parent)]
        return commit_links(content.data) == links and text == message.encode()

    def is_valid_branch_name(self, name: str) -> bool:
        """Whether git accepts the name for a branch. HEAD and full refs are refused."""
        if name in {"HEAD", "@"} or name.startswith(("-", "refs/")):
            return False
        # what there is has a valid name
        if _is_plain(name) and self.commit(f"refs/heads/{name}") is not None:
            return True
        return self.git.status(["check-ref-format", f"refs/heads/{name}"]) == 0

    def remote_url(self, name: str) -> str | None:
        """The URL of a remote; None if there is no remote of that name."""
        done = self.git.run_unchecked(["remote", "get-url", name])
        if done.status:
            return None
        return done.stdout.decode("utf-8", "replace").strip()

    def ignored_files(self, path: str) -> list[str]:
        """The files at or below `path` that git ignores and does not track."""
        if self._is_tracked_file(path) and (self.root / path).is_file():
            return []
        argv = ["ls-files", "-z", "--others", "--ignored", "--exclude-standard"]
        output = self.git.run([*argv, "--", f":(top,literal){path}"], ok=(0, 128))
        return [os.fsdecode(name) for name in output.split(b"\0") if name]

    def unignored_files(self) -> list[str]:
        """The files that are or could be in a commit: tracked ones, and others that git
        does not ignore.
        """
        argv = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        output = self.git.run([*argv, "--", ":(top)"])
        return sorted({os.fsdecode(name) for name in output.split(b"\0") if name})

    def is_submodule(self, path: str) -> bool:
        """Whether the index has a submodule at `path`, checked out or not."""
        if self._is_tracked_file(path):
            return False
        argv = ["ls-files", "-z", "--stage", "--", f":(top,literal){path}"]
        output = self.git.run(argv, ok=(0, 128))
        return output.startswith(b"160000 ") and output.count(b"\0") == 1

    def _is_tracked_file(self, path: str) -> bool:
        """Whether the index had a file at `path` when it was first asked for."""
        if "\n" in path:
            return False
        info = self.reader.info(f":0:{path}")
        return info is not None and info.kind == "blob"

    def filtered_paths(
        self, tree: str, paths: Sequence[str], git: Git | None = None
    ) -> list[str]:
        """The paths that .gitattributes in `tree` assigns to a filter configured here,
        or to Git LFS.

        Git LFS counts even if it is not configured here, because whoever checks the
        work out later may have it. `git` is one that has the tree; None: it is here.
        """
        if not paths:
            return []
        filters = self.configuration.filters
        if "lfs" not in filters and self._mentions_lfs(tree, paths, git):
            filters |= {"lfs"}
        git = git or self.git
        if not filters:
            return []
        import tempfile

        # With a temporary index, git reads the attributes from the tree and not from the
        # checked-out files.
        with tempfile.TemporaryDirectory(dir=self.private_folder()) as folder:
            index = {"GIT_INDEX_FILE": str(Path(folder, "index"))}
            indexed = git.with_env(index)
            indexed.run(["read-tree", tree])
            output = indexed.run(
                ["check-attr", "-z", "--cached", "--stdin", "filter"],
                stdin=b"".join(os.fsencode(path) + b"\0" for path in paths),
            )
        # path, attribute, value; each ends with NUL
        fields = output.split(b"\0")
        filtered = []
        for path, value in zip(fields[0::3], fields[2::3], strict=False):
            if value.decode("utf-8", "replace") in filters:
                filtered.append(os.fsdecode(path))
        return filtered

    def ignored_paths(
        self, tree: str, folder: str, patterns: Sequence[str], git: Git
    ) -> list[str]:
        """The paths in `tree` that these lines of a .gitignore in `folder` match.

        Git itself matches them: a pattern of an agent may take any other matcher long.
        """
        subtree = f"{tree}:{folder}"
        if git.status(["cat-file", "-e", subtree]) != 0:
            return []
        import tempfile

        with tempfile.TemporaryDirectory(dir=self.private_folder()) as temporary:
            lines = Path(temporary, "lines")
            text = "".join(f"{pattern}\n" for pattern in patterns)
            lines.write_bytes(text.encode("utf-8", "surrogateescape"))
            indexed = git.with_env({"GIT_INDEX_FILE": str(Path(temporary, "index"))})
            indexed.run(["read-tree", subtree])
            argv = ["ls-files", "-z", "-c", "-i", "-X", str(lines)]
            names = indexed.run(argv).split(b"\0")[:-1]
        return [f"{folder}/{os.fsdecode(name)}".lstrip("/") for name in names]

    def _mentions_lfs(self, tree: str, paths: Sequence[str], git: Git | None) -> bool:
        """Whether a .gitattributes in the tree that counts for one of the paths names Git
        LFS. With many paths, or another `git`: whether any does, cached for one tree.
        """
        folders = {folder for path in paths for folder in folders_of(path)}
        # a line end would break the question in two
        is_plain = not any("\n" in folder for folder in folders)
        if git is None and is_plain and len(folders) <= _MAX_ATTRIBUTE_FOLDERS:
            names = [f"{tree}:{folder}.gitattributes" for folder in sorted(folders)]
            there = [info.object_id for info in self.infos(names) if info is not None]
            contents = self.contents(there)
            return any(each and b"filter=lfs" in each.data for each in contents)
        if self._lfs_answer is None or self._lfs_answer[0] != tree:
            argv = ["grep", "-q", "-F", "filter=lfs", tree]
            git = git or self.git
            status = git.status([*argv, "--", ":(glob)**/.gitattributes"])
            self._lfs_answer = (tree, status == 0)
        return self._lfs_answer[1]

    # -- objects and commits --

    def objects(self) -> Objects:
        # A new one each time, as `tree_reader`.
        algorithm = self.configuration.object_format
        store = stored_in(
            self.object_folder, algorithm, self.store_pack, self._write_object
        )
        return Objects(algorithm, self.read, store)

    def _write_object(self, path: Path, data: bytes) -> None:
        """Write an object where other processes read: it is there whole or not at all."""
        name = f"tmp_obj_{os.getpid()}-{time.monotonic_ns()}"
        # not beside the objects: what a crash leaves there, nobody sweeps
        temporary = self.private_folder() / name
        with open(temporary, "xb", opener=read_only) as file:
            file.write(data)
            file.flush()
            durable.sync(file.fileno())
        durable.checkpoint("before rename")
        temporary.replace(path)
        durable.checkpoint("after rename")
        durable.sync_files([path.parent, self.object_folder])

    def object_folders(self) -> dict[Path, int]:
        """The folders of objects, with the times of their last changes in ns."""
        return {
            folder: folder.stat().st_mtime_ns
            for folder in self.object_folder.iterdir()
            if folder.is_dir()
        }

    @contextmanager
    def quarantine(self) -> Iterator[Quarantine]:
        """A quarantine that is gone when the block ends; `adopt` what is to stay."""
        from runner.repo.quarantine import Quarantine

        folder = self.private_folder() / f"quarantine-{token_hex(8)}"
        quarantine = Quarantine(self, folder)
        try:
            yield quarantine
        finally:
            quarantine.remove()

    def commit_files(self, head: str, files: Mapping[str, bytes], message: str) -> str:
        """A commit on `head` in which these files have this content."""
        with self.quarantine() as quarantine:
            blobs = {path: quarantine.write_blob(data) for path, data in files.items()}
            tree = quarantine.write_tree(self.tree(head), blobs)
            commit = quarantine.commit_tree(tree, [head], message)
            quarantine.adopt([commit], [head])
        return commit

    def fetch_missing(self, commit: str) -> list[str]:
        """Fetch the objects of the commit's tree that a partial clone lacks.

        Returns the ids of those that are still missing.
        """
        remotes = self.configuration.promisor_remotes
        if not remotes:
            return []
        missing = self._missing(commit)
        # twice: the trees that a first fetch brings may show that blobs are missing
        for remote in (*remotes, *remotes):
            if not missing:
                break
            # as git itself fetches them, but all at once
            argv = [
                *("-c", "fetch.negotiationAlgorithm=noop", "fetch", "-q", remote),
                *("--no-tags", "--no-write-fetch-head", "--recurse-submodules=no"),
                *("--filter=blob:none", "--stdin"),
            ]
            self.git.run_unchecked(argv, stdin="\n".join(missing).encode())
            missing = self._missing(commit)
        return missing

    def _missing(self, commit: str) -> list[str]:
        argv = ["rev-list", "--objects", "--missing=print", "--no-object-names"]
        lines = self.git.text([*argv, f"{commit}^{{tree}}"]).splitlines()
        return [line.removeprefix("?") for line in lines if line.startswith("?")]

    # -- refs --

    def refs(self, prefix: str) -> dict[str, str]:
        """Every ref below `prefix`, with its object id."""
        if not self._may_have_refs(prefix):
            return {}
        argv = ["for-each-ref", "--format=%(refname) %(objectname)", prefix]
        refs = {}
        for line in self.git.text(argv).splitlines():
            ref, _, object_id = line.partition(" ")
            refs[ref] = object_id
        return refs

    def _may_have_refs(self, prefix: str) -> bool:
        """Whether there may be refs below `prefix`; False needs no process."""
        folder = prefix.rstrip("/")
        if (self.git_dir / "reftable").exists() or (self.git_dir / folder).is_file():
            return True
        # git leaves empty folders
        if any(files for _, _, files in os.walk(self.git_dir / folder)):
            return True
        try:
            packed = (self.git_dir / "packed-refs").read_bytes()
        except FileNotFoundError:
            return False
        return f" {folder}".encode() in packed

    def set_ref(self, ref: str, new: str, old: str | None = None) -> bool:
        """Point a ref at `new` if it is at `old`, and return whether it was.

        An `old` of zeros means that the ref must not exist, None that any value is fine.
        """
        return self.ref_refusal(ref, new, old) is None

    def ref_refusal(self, ref: str, new: str, old: str | None = None) -> str | None:
        """As `set_ref`; returns None if the ref is at `new` now, else what git says."""
        expected = [] if old is None else [old]
        durable.checkpoint("before ref")
        command = " ".join(["update", ref, new, *expected])
        refusal = None
        if not (_is_plain(ref) and self._ref_updater.commit([command])):
            # once more on its own: the batch process does not say why it refused
            argv = ["update-ref", "--create-reflog", "-m", "fanin", ref, new, *expected]
            done = self.git.with_config("core.fsync=all").run_unchecked(argv)
            if done.status != 0:
                refusal = done.stderr.strip() or "(no message)"
        durable.checkpoint("after ref")
        return refusal

    def sync_refs(self, refs: Iterable[str]) -> None:
        """Make the names of these refs' files durable: git syncs only their content."""
        folders: dict[Path, None] = {}
        for ref in refs:
            if ref.rpartition("/")[0] == "refs/heads":
                # git never removes this folder, so its own name is there already
                folders[self.git_dir / "refs/heads"] = None
                continue
            above = durable.folders_above(self.git_dir / ref, self.git_dir / "refs")
            folders.update(dict.fromkeys(above))
        # A ref may be packed, or the repository may keep its refs in another format.
        durable.sync_files([folder for folder in folders if folder.is_dir()])

    def pin(self, ref: str, commit: str) -> None:
        """Keep the commit from being collected by a ref that no other program writes.

        Without fsync, as git writes refs by default: a power failure may leave a broken
        one, which `remove_broken_refs` takes away.
        """
        file = self.git_dir / ref
        if (self.git_dir / "reftable").exists():
            self.set_ref(ref, commit)
            return
        durable.checkpoint("before ref")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = file.with_name(f"{file.name}.lock")
            with lock.open("x") as stream:
                stream.write(f"{commit}\n")
            lock.replace(file)
        except OSError:
            self.set_ref(ref, commit)
        durable.checkpoint("after ref")

    def remove_broken_refs(self, prefix: str) -> None:
        """Remove what a power failure, or the end of the process, may have left of `pin`
        below the prefix: a file without the name of a commit, a lock.
        """
        for parent, _, names in os.walk(self.git_dir / prefix.rstrip("/")):
            for file in [Path(parent, name) for name in names]:
                with suppress(OSError):
                    commit = file.read_text(errors="replace").rstrip("\n")
                    if not is_full_id(commit) or file.name.endswith(".lock"):
                        file.unlink()

    def delete_ref(self, ref: str) -> None:
        """Delete a ref, if there is one."""
        self.delete_refs([ref])

    def delete_refs(self, refs: Sequence[str]) -> None:
        """Delete refs, all at once where git agrees."""
        durable.checkpoint("before ref")
        commands = [f"delete {ref}" for ref in refs]
        plain = all(_is_plain(ref) for ref in refs)
        if not (plain and self._ref_updater.commit(commands)):
            for ref in refs:
                self.git.run(["update-ref", "-d", ref])
        durable.checkpoint("after ref")


def _is_plain(name: str) -> bool:
    return _PLAIN_NAME().fullmatch(name) is not None
