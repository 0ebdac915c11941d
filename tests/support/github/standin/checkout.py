"""Stand-in for actions/checkout: fetch one ref into the workspace; nothing that was
there survives.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from pathlib import Path

HEADER_KEY = "http.{server}/.extraheader"


def say(text: str) -> None:
    """Speak to the log, and to the runner in workflow commands."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class CheckoutError(Exception):
    """The real action would fail here."""


def auth_header(token: str) -> str:
    """The header that the real action gives to git."""
    return (
        "AUTHORIZATION: basic "
        + base64.b64encode(f"x-access-token:{token}".encode()).decode()
    )


def git(where: Path, *args: str, config: tuple[str, ...] = ()) -> str:
    """Run git in the checkout."""
    options = [word for pair in config for word in ("-c", pair)]
    done = subprocess.run(
        ["git", "-C", str(where), *options, *args],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CheckoutError(
            f"git {args[0]} failed with exit code {done.returncode}: {done.stderr.strip()}"
        )
    return done.stdout.strip()


def destination(workspace: Path, path: str) -> Path:
    """Where to check out; outside the workspace the real action refuses."""
    where = (workspace / path).resolve()
    if where != workspace.resolve() and workspace.resolve() not in where.parents:
        raise CheckoutError(f"Repository path '{where}' is not under '{workspace}'")
    return where


def prepare(where: Path, url: str, clean: bool) -> None:
    """Keep a checkout of the same repository, cleaned; empty the directory of anything
    else.
    """
    where.mkdir(parents=True, exist_ok=True)
    same = (where / ".git").is_dir() and url in git(
        where, "config", "--get-all", "remote.origin.url"
    ).splitlines()
    if same:
        (where / ".git" / "index.lock").unlink(missing_ok=True)
        if clean:
            git(where, "clean", "-ffdx")
            git(where, "reset", "--hard", "--quiet")
        return
    for entry in where.iterdir():
        shutil.rmtree(
            entry
        ) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    git(where, "init", "--quiet", ".")
    git(where, "remote", "add", "origin", url)


def refspec(ref: str, sha: str) -> tuple[str, str, str]:
    """(what to fetch, the branch to be on or empty for a detached head, what to check
    out).
    """
    if ref.startswith("refs/heads/"):
        branch = ref.removeprefix("refs/heads/")
        tracking = f"refs/remotes/origin/{branch}"
        return f"+{sha or ref}:{tracking}", branch, tracking
    if ref.startswith("refs/pull/"):
        tracking = "refs/remotes/" + ref.removeprefix("refs/")
        return f"+{sha or ref}:{tracking}", "", tracking
    if ref.startswith("refs/tags/"):
        return f"+{sha or ref}:{ref}", "", ref
    return sha or ref, "", "FETCH_HEAD"


def resolve(where: Path, ref: str, config: tuple[str, ...]) -> str:
    """An unqualified name is a branch first and a tag second."""
    if ref.startswith("refs/") or re.fullmatch(r"[0-9a-f]{40}", ref):
        return ref
    found = git(
        where,
        "ls-remote",
        "origin",
        f"refs/heads/{ref}",
        f"refs/tags/{ref}",
        config=config,
    )
    names = [line.split()[1] for line in found.splitlines()]
    for candidate in (f"refs/heads/{ref}", f"refs/tags/{ref}"):
        if candidate in names:
            return candidate
    raise CheckoutError(f"A branch or tag with the name '{ref}' could not be found")


def checkout(env: Mapping[str, str]) -> Path:
    """Do what the inputs say."""
    server, token = (
        env["GITHUB_SERVER_URL"],
        env["IN_TOKEN"] or env.get("STANDIN_TOKEN", ""),
    )
    if not token:
        raise CheckoutError("Input required and not supplied: token")
    workspace = Path(env["GITHUB_WORKSPACE"])
    where = destination(workspace, env["IN_PATH"] or ".")
    prepare(
        where,
        f"{server}/{env['IN_REPOSITORY'] or env['GITHUB_REPOSITORY']}",
        env["IN_CLEAN"] != "false",
    )
    key = HEADER_KEY.format(server=server)
    config = (f"{key}={auth_header(token)}",)
    # Without `ref` it is the commit of the event, never the branch's present tip.
    ref, sha = (
        (resolve(where, env["IN_REF"], config), "")
        if env["IN_REF"]
        else (env["GITHUB_REF"], env["GITHUB_SHA"])
    )
    wanted, branch, target = refspec(ref, sha)
    depth = int(env["IN_FETCH_DEPTH"] or 1)
    extent = [f"--depth={depth}", "--no-tags"] if depth > 0 else ["--tags"]
    everything = [] if depth > 0 else ["+refs/heads/*:refs/remotes/origin/*"]
    if everything:
        git(
            where,
            "fetch",
            "--quiet",
            "--prune",
            *extent,
            "origin",
            *everything,
            config=config,
        )
    git(
        where,
        "fetch",
        "--quiet",
        "--no-recurse-submodules",
        *(extent if depth > 0 else ["--no-tags"]),
        "origin",
        wanted,
        config=config,
    )
    place = ["-B", branch, target] if branch else ["--detach", target]
    git(where, "checkout", "--quiet", "--force", *place)
    persist(
        where,
        key,
        token if env["IN_PERSIST_CREDENTIALS"] != "false" else "",
        env["RUNNER_TEMP"],
    )
    return where


def persist(where: Path, key: str, token: str, temp: str) -> None:
    """Leave the credentials for later git commands as v6 and later do, or leave none.

    They stand in a file of their own below RUNNER_TEMP, which the checkout's
    configuration includes under a condition. Both are noted for the post step to
    remove.
    """
    subprocess.run(
        ["git", "-C", str(where), "config", "--local", "--unset-all", key], check=False
    )
    if not token:
        return
    credentials = Path(temp) / f"git-credentials-{uuid.uuid4()}.config"
    git(where, "config", "--file", str(credentials), key, auth_header(token))
    with (Path(temp) / "standin-credentials").open("a", encoding="utf-8") as file:
        for folder in (f"{where}/.git", f"{where}/.git/worktrees/*"):
            include = f"includeIf.gitdir:{folder}.path"
            git(where, "config", "--local", "--add", include, str(credentials))
            file.write(f"{where}\t{include}\t{credentials}\n")


def main() -> int:
    """Called by the action."""
    try:
        where = checkout(os.environ)
    except CheckoutError as error:
        say(f"::error::{error}")
        return 1
    commit = git(where, "rev-parse", "HEAD")
    with Path(os.environ["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(
            f"commit={commit}\nref={os.environ['IN_REF'] or os.environ['GITHUB_REF']}\n"
        )
    say(f"checked out {commit}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
