"""A bare repository on disk, driven by git plumbing: the only truth about commits that
the forge has.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ZERO = "0" * 40
BOT = "github-actions[bot] <41898282+github-actions[bot]@users.noreply.github.com>"

# GitHub's wording; git puts `remote: ` before each line. The hook reads data, so no
# rule is ever shell text.
_HOOK = r"""#!/bin/sh
status=0
while read -r old new ref; do
  while IFS="$(printf '\t')" read -r name code reason; do
    [ "$name" = "$ref" ] || continue
    [ "${FORGE_MAY_BYPASS:-0}" = 0 ] || continue
    echo "error: $code: Protected branch update failed for $ref."
    echo "error: $reason"
    status=1
  done < forge-refusals
  if [ "${FORGE_MAY_WORKFLOWS:-1}" = 0 ] && [ "$new" != 0000000000000000000000000000000000000000 ]; then
    touched=$(git log --format= --name-only "$new" --not --all -- .github/workflows | head -1)
    if [ -n "$touched" ]; then
      echo "refusing to allow a GitHub App to create or update workflow" \
        "\`$touched\` without \`workflows\` permission"
      status=1
    fi
  fi
done
exit $status
"""


class GitError(Exception):
    """A git command failed."""


@dataclass(frozen=True)
class Refusal:
    """A rule of a protected branch."""

    ref: str
    code: str
    reason: str


class BareRepository:
    """One bare repository."""

    def __init__(self, path: Path, default_branch: str = "main") -> None:
        self.path = path
        self.refusals: list[Refusal] = []
        subprocess.run(
            ["git", "init", "--quiet", "--bare", "-b", default_branch, str(path)],
            check=True,
        )
        # As GitHub: any commit that is here can be fetched by its id, and pushing over
        # HTTP is allowed.
        for key in (
            "http.receivepack",
            "uploadpack.allowAnySHA1InWant",
            "uploadpack.allowFilter",
        ):
            self.git("config", key, "true")
        hook = path / "hooks" / "pre-receive"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(_HOOK, encoding="utf-8")
        hook.chmod(0o755)
        self.set_refusals([])

    def set_refusals(self, refusals: list[Refusal]) -> None:
        """Replace the rules that the pre-receive hook enforces."""
        self.refusals = refusals
        lines = [f"{rule.ref}\t{rule.code}\t{rule.reason}\n" for rule in refusals]
        (self.path / "forge-refusals").write_text("".join(lines), encoding="utf-8")

    def raw(
        self,
        *args: str,
        stdin: bytes | None = None,
        env: Mapping[str, str] | None = None,
    ) -> bytes:
        """A git command's output."""
        done = subprocess.run(
            ["git", "--git-dir", str(self.path), *args],
            input=stdin,
            capture_output=True,
            check=False,
            env={**os.environ, **(env or {})},
        )
        if done.returncode:
            raise GitError(
                f"git {args[0]}: {done.stderr.decode(errors='replace').strip()}"
            )
        return done.stdout

    def git(
        self, *args: str, stdin: str | None = None, env: Mapping[str, str] | None = None
    ) -> str:
        """A git command's output as text without the last newline."""
        return (
            self.raw(*args, stdin=None if stdin is None else stdin.encode(), env=env)
            .decode()
            .rstrip("\n")
        )

    def resolve(self, name: str, kind: str = "commit") -> str | None:
        """The object that a ref or an id names."""
        try:
            return self.git("rev-parse", "--verify", "--quiet", f"{name}^{{{kind}}}")
        except GitError:
            return None

    def kind(self, sha: str) -> str | None:
        """The type of an object, None if it is not here."""
        try:
            return self.git("cat-file", "-t", sha)
        except GitError:
            return None

    def tip(self, branch: str = "main") -> str:
        """The commit at the head of a branch."""
        found = self.resolve(f"refs/heads/{branch}")
        if found is None:
            raise GitError(f"no branch {branch}")
        return found

    def read(self, ref: str, path: str) -> bytes:
        """A file's content at a commit."""
        return self.raw("cat-file", "blob", f"{ref}:{path}")

    def files(self, ref: str = "refs/heads/main") -> list[str]:
        """The paths of a commit's tree."""
        return self.git("ls-tree", "-r", "--name-only", ref).splitlines()

    def subjects(self, ref: str = "refs/heads/main") -> list[str]:
        """Commit subjects, newest first."""
        return self.git("log", "--format=%s", ref).splitlines()

    def branches(self) -> list[str]:
        """Names of all branches."""
        return self.git(
            "for-each-ref", "--format=%(refname:lstrip=2)", "refs/heads"
        ).splitlines()

    @contextmanager
    def _index(self, tree: str | None) -> Iterator[dict[str, str]]:
        with tempfile.TemporaryDirectory() as folder:
            env = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
            if tree:
                self.git("read-tree", tree, env=env)
            yield env

    def write_tree(
        self, base: str | None, entries: Mapping[str, tuple[str, str] | None]
    ) -> str:
        """A tree: `base` with (mode, object) put at each path, or the path removed for
        None.
        """
        with self._index(base) as env:
            for path, entry in entries.items():
                if entry is None:
                    self.git(
                        "rm",
                        "--cached",
                        "--quiet",
                        "-r",
                        "--",
                        path,
                        env={**env, "GIT_WORK_TREE": str(self.path)},
                    )
                elif entry[0] == "040000":
                    self.git("read-tree", f"--prefix={path}/", entry[1], env=env)
                else:
                    self.git(
                        "update-index",
                        "--add",
                        "--replace",
                        "--cacheinfo",
                        f"{entry[0]},{entry[1]},{path}",
                        env=env,
                    )
            return self.git("write-tree", env=env)

    def blob(self, content: bytes) -> str:
        """Keep a blob."""
        return self.raw("hash-object", "-w", "--stdin", stdin=content).decode().strip()

    def write_commit(
        self,
        tree: str,
        parents: list[str],
        message: str,
        author: str = BOT,
        committer: str = BOT,
    ) -> str:
        """Keep a commit."""
        env: dict[str, str] = {}
        for role, person in (("AUTHOR", author), ("COMMITTER", committer)):
            name, _, mail = person.rpartition(" <")
            env |= {f"GIT_{role}_NAME": name, f"GIT_{role}_EMAIL": mail.rstrip(">")}
        words = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", tree, *words, stdin=message, env=env)

    def commit_files(
        self, branch: str, files: Mapping[str, str | bytes | None], message: str
    ) -> str:
        """Commit changed files straight to a branch, as somebody else's push would;
        None deletes.
        """
        parent = self.resolve(f"refs/heads/{branch}")
        entries: dict[str, tuple[str, str] | None] = {}
        for path, content in files.items():
            data = content.encode() if isinstance(content, str) else content
            entries[path] = None if data is None else ("100644", self.blob(data))
        tree = self.write_tree(parent, entries)
        commit = self.write_commit(
            tree,
            [parent] if parent else [],
            message,
            "Rival <rival@example.com>",
            "Rival <rival@example.com>",
        )
        self.update(f"refs/heads/{branch}", commit, parent)
        return commit

    def update(self, ref: str, new: str, old: str | None) -> None:
        """Move a ref only if it is where the caller thinks it is; None means that it
        does not exist yet.
        """
        self.git("update-ref", ref, new, old or ZERO)

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether moving from old to new is a fast-forward."""
        try:
            self.git("merge-base", "--is-ancestor", old, new)
        except GitError:
            return False
        return True

    def merged(self, base: str, head: str, message: str | None = None) -> str | None:
        """A merge commit of two commits like `refs/pull/N/merge`, None if they
        conflict.
        """
        try:
            tree = self.git("merge-tree", "--write-tree", base, head).splitlines()[0]
        except GitError:
            return None
        return self.write_commit(
            tree,
            [base, head],
            message or f"Merge {head} into {base}",
            committer="GitHub <noreply@github.com>",
        )

    def rebased(self, base: str, head: str) -> str:
        """The commits of `head` anew on top of `base`; GitError if they conflict."""
        tip = base
        missing = self.git("rev-list", "--reverse", "--no-merges", f"{base}..{head}")
        for commit in missing.split():
            root = self.write_commit(
                str(self.resolve(f"{commit}^", "tree")), [], "base"
            )
            sides = [
                self.write_commit(str(self.resolve(side, "tree")), [root], "side")
                for side in (tip, commit)
            ]
            tree = self.git("merge-tree", "--write-tree", *sides).splitlines()[0]
            message = self.git("log", "-1", "--format=%B", commit)
            tip = self.write_commit(tree, [tip], message)
        return tip
