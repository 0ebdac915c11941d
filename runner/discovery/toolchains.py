"""Which toolchains a repository has at its root, by the files that each one requires."""

from __future__ import annotations

import re
from collections.abc import Iterator

from runner.discovery.files import Files, Found, Toolchain, read_json, table
from runner.discovery.node import node_toolchain
from runner.discovery.python import python_toolchain
from runner.discovery.recipes import recipe_test

# `go test` runs a part of `go vet` first and starts no test if it complains. Go 1.15 added
# checks that older code was never held to (https://go.dev/doc/go1.15#vet).
_OLDEST_VETTED_GO = 15


def _ignored_folder(name: str) -> str:
    """The command that makes the folder: what a build writes there is nobody's change."""
    return f"mkdir -p {name} && echo '*' > {name}/.gitignore"


_NEW_BUILD = _ignored_folder("_build")


def toolchains(files: Files) -> list[Toolchain]:
    """All toolchains of the repository, the one that its tests are named in first.

    A target `test` of a Makefile stands for a project that names no test elsewhere.
    """
    found = [*_found(files)]
    found.sort(key=_has_no_test)
    recipe = recipe_test(files)
    if recipe is None or any(each.test and each.test.is_sure for each in found):
        return found
    setup = found[0].setup if found else None
    return [Toolchain(recipe.source, setup, recipe), *found]


def _has_no_test(toolchain: Toolchain) -> bool:
    return toolchain.test is None or not toolchain.test.is_sure


def _found(files: Files) -> Iterator[Toolchain]:
    for find in (
        *(node_toolchain, python_toolchain, _cargo, _go, _ruby, _php, _maven, _gradle),
        *(_mix, _dune, _cabal, _perl, _cmake, _meson, _autotools),
    ):
        toolchain = find(files)
        if toolchain is not None:
            yield toolchain


def _cargo(files: Files) -> Toolchain | None:
    if "Cargo.toml" not in files:
        return None
    setup = None
    if "Cargo.lock" in files:
        setup = Found("cargo fetch --locked", "Cargo.lock")
    return Toolchain("Cargo", setup, Found("cargo test", "Cargo.toml"))


def _go(files: Files) -> Toolchain | None:
    if "go.mod" not in files:
        return None
    setup = Found("go mod download", "go.sum") if "go.sum" in files else None
    language = re.search(r"^go 1\.(\d+)", files.read("go.mod"), re.MULTILINE)
    if language and int(language[1]) < _OLDEST_VETTED_GO:
        what = f"{language[0]} is older than the checks of today's go vet"
        return Toolchain("Go", setup, Found("go test -vet=off ./...", "go.mod", what))
    return Toolchain("Go", setup, Found("go test ./...", "go.mod"))


def _ruby(files: Files) -> Toolchain | None:
    if "Gemfile" not in files and "Rakefile" not in files:
        return None
    setup = None
    if "Gemfile" in files:
        # Where every gem is installed already, the check needs no network.
        setup = Found("bundle check || bundle install", "Gemfile")
    prefix = "bundle exec " if setup else ""
    test = None
    rakefile = files.read("Rakefile")
    if re.search(
        r"Rake::TestTask|Minitest::TestTask|task\s*\(?:?[\"']?test\b", rakefile
    ):
        test = Found(f"{prefix}rake test", "Rakefile", "task test")
    elif ".rspec" in files or files.below("spec"):
        test = Found(f"{prefix}rspec", ".rspec" if ".rspec" in files else "spec")
    return Toolchain("Ruby", setup, test)


def _php(files: Files) -> Toolchain | None:
    if "composer.json" not in files:
        return None
    test = None
    if "test" in table(read_json(files, "composer.json"), "scripts"):
        test = Found("composer test", "composer.json", "scripts.test")
    else:
        for path in ("phpunit.xml", "phpunit.xml.dist", "phpunit.dist.xml"):
            if path in files:
                test = Found("vendor/bin/phpunit", path)
    return Toolchain("Composer", Found("composer install", "composer.json"), test)


def _maven(files: Files) -> Toolchain | None:
    if "pom.xml" not in files:
        return None
    program = "./mvnw" if "mvnw" in files else "mvn"
    return Toolchain("Maven", None, Found(f"{program} -q test", "pom.xml"))


def _gradle(files: Files) -> Toolchain | None:
    for path in ("build.gradle", "build.gradle.kts"):
        if path in files:
            program = "./gradlew" if "gradlew" in files else "gradle"
            return Toolchain("Gradle", None, Found(f"{program} test", path))
    return None


def _mix(files: Files) -> Toolchain | None:
    if "mix.exs" not in files:
        return None
    setup = Found("mix deps.get", "mix.lock") if "mix.lock" in files else None
    return Toolchain("Mix", setup, Found("mix test", "mix.exs"))


def _dune(files: Files) -> Toolchain | None:
    if "dune-project" not in files:
        return None
    return Toolchain("dune", None, Found("dune test", "dune-project"))


def _cabal(files: Files) -> Toolchain | None:
    if "cabal.project" not in files:
        return None
    return Toolchain("Cabal", None, Found("cabal test all", "cabal.project"))


def _perl(files: Files) -> Toolchain | None:
    """Built in place, as CPAN's clients do; `make test` brings blib up to date itself."""
    if "Makefile.PL" in files:
        source, build, command = "Makefile.PL", "perl Makefile.PL && make", "make test"
    elif "Build.PL" in files:
        source, build, command = "Build.PL", "perl Build.PL && ./Build", "./Build test"
    else:
        return None
    if not any(path.endswith(".t") for path in files.below("t")):
        return Toolchain("Perl")
    # A module that is new after set-up would be in a task's change a second time.
    setup = Found(f"{_ignored_folder('blib')} && {build}", source)
    return Toolchain("Perl", setup, Found(command, source, "tests in t"))


def _cmake(files: Files) -> Toolchain | None:
    text = files.read("CMakeLists.txt")
    if not re.search(
        r"enable_testing\s*\(|include\s*\(\s*CTest\s*\)", text, re.IGNORECASE
    ):
        return None
    build = f"{_NEW_BUILD} && cmake -S . -B _build && cmake --build _build"
    test = "cmake --build _build && ctest --test-dir _build --output-on-failure"
    source = "CMakeLists.txt"
    return Toolchain("CMake", Found(build, source), Found(test, source, "CTest"))


def _meson(files: Files) -> Toolchain | None:
    if "meson.build" not in files:
        return None
    paths = ["meson.build", *files.below("test"), *files.below("tests")]
    scripts = [path for path in paths if path.endswith("meson.build")]
    if not any(
        re.search(r"^\s*test\(", files.read(path), re.MULTILINE) for path in scripts
    ):
        return None
    build = f"{_NEW_BUILD} && meson setup _build && meson compile -C _build"
    test = "meson test -C _build"
    source = "meson.build"
    return Toolchain("Meson", Found(build, source), Found(test, source))


# git keeps no times, and make would make anew what seems older than its sources.
_TOUCH = (
    "find . -name aclocal.m4 -exec touch {} +"
    " && find . '(' -name configure -o -name '*.in' ')' -exec touch {} +"
)


def _autotools(files: Files) -> Toolchain | None:
    """Built beside the sources (VPATH), so that no object file is a task's change."""
    makefile = files.read("Makefile.am")
    if "configure.ac" not in files and "configure" not in files:
        return None
    if not re.search(r"^(TESTS|SUBDIRS|check[-_])", makefile, re.MULTILINE):
        return None
    prepare = _TOUCH if "configure" in files else "autoreconf -fi"
    build = f"{prepare} && {_NEW_BUILD} && cd _build && ../configure && make"
    source = "configure" if "configure" in files else "configure.ac"
    test = Found("make -C _build check", "Makefile.am", "target check")
    return Toolchain("Autotools", Found(build, source), test)
