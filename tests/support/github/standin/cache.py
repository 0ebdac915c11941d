"""Stand-in for actions/cache, its restore and its save: a folder a key, written once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def say(text: str) -> None:
    """Speak to the log, and to the runner in workflow commands."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _place(store: Path, key: str) -> Path:
    return store / hashlib.sha256(key.encode()).hexdigest()


def _paths(text: str, env: Mapping[str, str]) -> list[Path]:
    workspace = Path(env["GITHUB_WORKSPACE"])
    return [
        workspace / Path(line.strip()).expanduser()
        for line in text.splitlines()
        if line.strip()
    ]


def _anchors(env: Mapping[str, str]) -> dict[str, Path]:
    """Folders that are the same on every machine of GitHub, and other ones in each job
    of act.
    """
    names = ("GITHUB_WORKSPACE", "RUNNER_TEMP", "RUNNER_TOOL_CACHE", "HOME")
    return {
        **{name: Path(env[name]) for name in names if env.get(name)},
        "ROOT": Path("/"),
    }


def _portable(path: Path, env: Mapping[str, str]) -> str:
    """A path as its anchor's name and the rest."""
    name, anchor = next(
        (name, place)
        for name, place in _anchors(env).items()
        if path.is_relative_to(place)
    )
    return str(Path(name) / path.relative_to(anchor))


def save(store: Path, key: str, paths: str, env: Mapping[str, str]) -> bool:
    """Keep the paths under the key, if the key is new and any of them exists."""
    place = _place(store, key)
    present = [path for path in _paths(paths, env) if path.exists()]
    if place.with_suffix(".key").exists() or not present:
        return False
    store.mkdir(parents=True, exist_ok=True)
    part = place.with_suffix(f".{os.getpid()}")
    for path in present:
        _copy(path, part / _portable(path, env))
    try:
        part.rename(place.with_suffix(".kept"))
    except OSError:  # another job was first
        shutil.rmtree(part)
        return False
    place.with_suffix(".key").write_text(key, encoding="utf-8")
    return True


def _copy(source: Path, target: Path, *flags: str) -> None:
    """With links as they are, wherever they point, like the real action's tar: a
    virtual environment has such.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    plain = source.is_dir() and not source.is_symlink()
    if plain:
        target.mkdir(exist_ok=True)
    subprocess.run(
        ["cp", "-a", *flags, f"{source}/." if plain else str(source), str(target)],
        check=True,
    )


# What each `cache-mode` lets a job do. The service enforces it, by the job's cache token.
MAY = {
    "read": {"restore"},
    "write": {"restore", "save"},
    "write-only": {"save"},
    "none": set[str](),
}


def may(env: Mapping[str, str], act: str) -> bool:
    """Whether the job's `cache-mode` allows it to restore or to save."""
    return act in MAY[env.get("STANDIN_CACHE_MODE") or "write"]


def find(store: Path, key: str, restore_keys: str) -> str | None:
    """The exact key, else the newest that starts with one of the restore keys."""
    known = sorted(
        store.glob("*.key"), key=lambda path: path.stat().st_mtime, reverse=True
    )
    keys = [path.read_text(encoding="utf-8") for path in known]
    if key in keys:
        return key
    prefixes = [line.strip() for line in restore_keys.splitlines() if line.strip()]
    return next(
        (name for prefix in prefixes for name in keys if name.startswith(prefix)), None
    )


def restore(env: Mapping[str, str], store: Path) -> str | None:
    """Bring back what the key, or the best prefix, holds of the paths asked for."""
    found = find(store, env["IN_KEY"], env.get("IN_RESTORE_KEYS", ""))
    if found is None:
        return None
    kept = _place(store, found).with_suffix(".kept")
    for path in _paths(env["IN_PATH"], env):
        held = kept / _portable(path, env)
        if held.exists():
            _copy(held, path, "-lf")  # hard links: one environment for a hundred jobs
    return found


def register(env: Mapping[str, str]) -> None:
    """Note for the post step what to save when the job has succeeded."""
    entry = {"key": env["IN_KEY"], "path": env["IN_PATH"]}
    with (Path(env["RUNNER_TEMP"]) / "standin-caches").open(
        "a", encoding="utf-8"
    ) as file:
        file.write(json.dumps(entry) + "\n")


def main(verb: str) -> int:
    """Called by the three actions."""
    env, store = os.environ, Path(os.environ["STANDIN_CACHE"])
    if verb == "save":
        if not may(env, "save"):
            say(f"::warning::Failed to save: cache-mode refuses key {env['IN_KEY']}")
            return 0
        saved = save(store, env["IN_KEY"], env["IN_PATH"], env)
        say(f"Cache {'saved with' if saved else 'not saved for'} key: {env['IN_KEY']}")
        return 0
    found = None
    if not may(env, "restore"):
        say("::warning::Failed to restore: cache-mode refuses it")
    elif env.get("IN_LOOKUP_ONLY") == "true":
        found = find(store, env["IN_KEY"], env.get("IN_RESTORE_KEYS", ""))
    else:
        found = restore(env, store)
    with Path(env["GITHUB_OUTPUT"]).open("a", encoding="utf-8") as file:
        file.write(
            f"cache-hit={str(found == env['IN_KEY']).lower() if found else ''}\n"
        )
        file.write(
            f"cache-matched-key={found or ''}\ncache-primary-key={env['IN_KEY']}\n"
        )
    say(
        f"Cache restored from key: {found}"
        if found
        else f"Cache not found for key: {env['IN_KEY']}"
    )
    if not found and env.get("IN_FAIL_ON_CACHE_MISS") == "true":
        say("::error::Failed to restore cache entry.")
        return 1
    if verb == "cache" and found != env["IN_KEY"]:
        register(env)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
