"""Sources of other people's projects: download, verify, unpack."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

LIST = Path(__file__).with_name("repositories.yml")


class WrongHash(Exception):
    """An archive is not the one that the list names."""


@dataclass(frozen=True)
class Repository:
    """A row of repositories.yml.

    `kind` is "pypi" or "debian"; `archives` maps a file's name to its sha256;
    `packages` are the Debian packages that its tests need.
    """

    name: str
    ecosystem: str
    kind: str
    version: str
    archives: Mapping[str, str]
    packages: tuple[str, ...]


def repositories() -> list[Repository]:
    """The list, in its order."""
    rows = yaml.safe_load(LIST.read_text(encoding="utf-8"))["repositories"]
    return [
        Repository(
            row["name"],
            row["ecosystem"],
            row["kind"],
            str(row["version"]),
            row["archives"],
            tuple(row.get("packages", ())),
        )
        for row in rows
    ]


def run(argv: Sequence[str], cwd: Path | None = None) -> str:
    """The program's output. CalledProcessError if it fails."""
    done = subprocess.run(argv, cwd=cwd, check=True, capture_output=True)
    return done.stdout.decode(errors="replace")


def fetch(repository: Repository, cache: Path) -> list[Path]:
    """The archives, downloaded once. WrongHash if one is not the listed one."""
    folder = cache / repository.kind / repository.name
    files = [folder / name for name in repository.archives]
    if not all(file.exists() for file in files):
        download(repository, cache)
    for file in files:
        wanted = repository.archives[file.name]
        if hashlib.sha256(file.read_bytes()).hexdigest() != wanted:
            raise WrongHash(f"{file} does not have the sha256 {wanted}")
    return files


def download(repository: Repository, cache: Path) -> list[Path]:
    """Fetch the archives by apt or pip; those that lie in the repository's folder.

    CalledProcessError if they are not served.
    """
    folder = cache / repository.kind / repository.name
    folder.mkdir(parents=True, exist_ok=True)
    name, version = repository.name, repository.version
    if repository.kind == "debian":
        argv = ["apt-get", "source", "--tar-only", "-q", f"{name}={version}"]
    else:
        wanted = f"{name}=={version}" if version else name
        argv = [sys.executable, "-m", "pip", "download", "-q", "--no-deps"]
        argv += ["--no-binary", name, wanted]
    if not any(folder.iterdir()):  # not downloaded before
        try:
            run(argv, folder)
        except subprocess.CalledProcessError:
            shutil.rmtree(folder)
            raise
    return sorted(folder.iterdir())


def unpack(files: Sequence[Path], folder: Path) -> Path:
    """The sources in the new folder, as their author published them."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir()
    run(["tar", "xf", str(files[0]), "-C", str(folder), "--strip-components=1"])
    return folder
