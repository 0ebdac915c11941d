"""Which changes of the base can change what set-up makes of a checkout.

What a script reads cannot be known. Taken are the files by which package managers and
build tools know what to install, those that say what git ignores or writes, and those
that the script names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase

# Names, in any folder.
_NAMES = (
    *(".gitignore", ".gitattributes", ".gitmodules", ".worktreeinclude"),
    *("*.lock", "*.lockb", "*-lock.*", "*.lockfile", "*shrinkwrap.json"),
    *("package.json", ".npmrc", ".yarnrc*", ".pnpmfile.cjs", "pnpm-workspace.yaml"),
    *("bunfig.toml", "deno.json*", "lerna.json", "nx.json", "turbo.json"),
    *("pyproject.toml", "setup.py", "setup.cfg", "Pipfile", "environment*.y*ml"),
    *("*requirements*.txt", "*requirements*.in", "*constraints*.txt", "tox.ini"),
    *("noxfile.py", "uv.toml", "pdm.toml", "poetry.toml", "MANIFEST.in"),
    *("Cargo.toml", "rust-toolchain*", "go.mod", "go.sum", "go.work*"),
    *("Gemfile*", "*.gemspec", "Rakefile", "composer.json", "mix.exs", "rebar.config"),
    *("pom.xml", "*.gradle", "*.gradle.kts", "gradle.properties", "libs.versions.toml"),
    *("*.csproj", "*.fsproj", "*.sln", "*.props", "*.targets", "packages.config"),
    *("global.json", "NuGet.Config", "nuget.config", "Package.swift", "pubspec.yaml"),
    *("Package.resolved", "dune-project", "*.opam", "*.cabal", "cabal.project*"),
    *("stack.yaml", "cpanfile*", "Makefile.PL", "Build.PL", "DESCRIPTION"),
    *("CMakeLists.txt", "*.cmake", "meson.build", "meson_options.txt", "configure*"),
    *("Makefile*", "makefile", "GNUmakefile", "*.mk", "*.am", "conanfile.*"),
    *("vcpkg.json", "justfile", "Justfile", ".justfile", "Taskfile.y*ml"),
    *("WORKSPACE*", "MODULE.bazel", "flake.nix", "shell.nix", "default.nix"),
    *(".tool-versions", "mise.toml", ".mise.toml", ".envrc", ".nvmrc"),
    *(".node-version", ".python-version", ".ruby-version", ".java-version"),
    *(".go-version", "runtime.txt", "Dockerfile*", "compose*.y*ml"),
    "docker-compose*.y*ml",
)


# Names of folders with such files.
_FOLDERS = frozenset({"requirements"})


def first_input(paths: Iterable[str], script: str) -> str | None:
    """The first of these changed paths that can change what the script makes; None if
    none can.
    """
    words = frozenset(re.split(r"[^\w.-]+", script)) - {""}
    for path in paths:
        *folders, name = path.split("/")
        # A script names a file by its path, by its name alone or by a folder above it.
        if not words.isdisjoint((*folders, name)) or not _FOLDERS.isdisjoint(folders):
            return path
        if any(fnmatchcase(name, pattern) for pattern in _NAMES):
            return path
    return None
