"""`python -m benchmarks.compatibility.selection CACHE`: the list of repositories by the rule
at the head of repositories.yml, found in Debian's indexes and the sources themselves.

Runs nothing of a project but what pip runs to download a source distribution. Needs
deb-src lines in apt's sources. The list was written once; this shows how.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from benchmarks.compatibility import sources

MAX_ARCHIVE = 1_500_000  # bytes
MIN_TESTS = 10
LOOKED_AT = 120
PACKAGE_NAME = re.compile(r"[a-z0-9][a-z0-9+.\-]+")
CLASSIFIER = "Programming Language :: Python :: 3.11\n"
BUILD_FIELDS = ("Build-Depends", "Build-Depends-Indep", "Build-Depends-Arch")


@dataclass
class Index:
    """Debian's packages, and who depends on whom."""

    sources: dict[str, dict[str, str]] = field(default_factory=dict)
    packages: dict[str, dict[str, str]] = field(default_factory=dict)
    owner: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of_apt(cls) -> Index:
        index = cls()
        for source in stanzas("Sources"):
            index.sources[source["Package"]] = source
            for binary in PACKAGE_NAME.findall(source["Binary"]):
                index.owner[binary] = source["Package"]
        for package in stanzas("Packages"):
            index.packages[package["Package"]] = package
            for name in names(package.get("Provides", "")):
                index.owner.setdefault(name, source_of(package))
        return index

    @cached_property
    def dependents(self) -> dict[str, set[str]]:
        """Source package → the other source packages that need one of its binaries."""
        found: dict[str, set[str]] = defaultdict(set)
        for source in self.sources.values():
            needed = " , ".join(source.get(each, "") for each in BUILD_FIELDS)
            self._add(found, source["Package"], needed)
        for package in self.packages.values():
            needed = package.get("Depends", "") + "," + package.get("Pre-Depends", "")
            self._add(found, source_of(package), needed)
        return found

    def _add(self, found: dict[str, set[str]], user: str, needed: str) -> None:
        for name in names(needed):
            owner = self.owner.get(name, user)
            if owner != user:
                found[owner].add(user)

    def ranked(self, kind: Kind) -> list[str]:
        """The source packages of one kind, the most depended-on first."""
        found = []
        for name, source in self.sources.items():
            if not re.match(kind.pattern, name) or kind.binary not in source["Binary"]:
                continue
            if not kind.on_pypi or self._is_pure_python(source["Binary"]):
                found.append(name)
        return sorted(found, key=lambda name: (-len(self.dependents[name]), name))

    def _is_pure_python(self, binaries: str) -> bool:
        for name in re.findall(r"python3-[\w.+\-]+", binaries):
            if self.packages.get(name, {}).get("Architecture") == "all":
                return True
        return False

    def build_needs(self, source: str, pattern: str) -> list[str]:
        """The packages that match, of those that the source needs to be built."""
        text = ",".join(self.sources[source].get(each, "") for each in BUILD_FIELDS)
        return sorted(name for name in names(text) if re.fullmatch(pattern, name))


def stanzas(kind: str) -> Iterator[dict[str, str]]:
    """The stanzas of apt's indexes of this kind, field → text."""
    argv = ["apt-get", "indextargets", "--format", "$(FILENAME)", f"Created-By: {kind}"]
    for file in sources.run(argv).split():
        text = sources.run(["/usr/lib/apt/apt-helper", "cat-file", file])
        for block in filter(None, text.split("\n\n")):
            pairs = re.findall(r"^([\w-]+):((?:.*\n?)(?:[ \t].*\n?)*)", block, re.M)
            yield {name: value.strip() for name, value in pairs}


def names(relations: str) -> set[str]:
    """The package names of a dependency field."""
    parts = re.split(r"[,|]", relations)
    matches = [PACKAGE_NAME.match(part.strip()) for part in parts]
    return {match[0] for match in matches if match}


def source_of(package: dict[str, str]) -> str:
    return package.get("Source", package["Package"]).split()[0]


# -- the kinds: each gives the apt packages that a project needs, or None if it is out --


@dataclass(frozen=True)
class Project:
    """An unpacked source."""

    source: str
    root: Path
    index: Index

    def text(self, pattern: str) -> str:
        """The texts of the files that match."""
        files = [each for each in sorted(self.root.glob(pattern)) if each.is_file()]
        return "\n".join(each.read_text(errors="replace") for each in files)

    def count(self, file_pattern: str, test_pattern: str) -> int:
        return len(re.findall(test_pattern, self.text(file_pattern), re.MULTILINE))


def pytest_project(project: Project) -> list[str] | None:
    if CLASSIFIER not in project.text("PKG-INFO"):
        return None
    named = "".join(map(project.text, ("tox.ini", "pyproject.toml", "noxfile.py")))
    if "pytest" not in named + project.text("setup.cfg") + project.text("pytest.ini"):
        return None
    return _if_tested([], project, "**/test*/**/*.py", r"^\s*def test_")


def unittest_project(project: Project) -> list[str] | None:
    if CLASSIFIER not in project.text("PKG-INFO"):
        return None
    named = "".join(map(project.text, ("tox.ini", "pyproject.toml", "noxfile.py")))
    named += "".join(map(project.text, ("setup.cfg", "Makefile", "setup.py")))
    runners = r"\b(unittest|stestr|trial|nose2|zope-testrunner|runtests?\.py)\b"
    if "pytest" in named or not re.search(runners, named):
        return None
    return _if_tested([], project, "**/test*/**/*.py", r"^\s*def test_")


def node_project(project: Project) -> list[str] | None:
    package = json.loads(project.text("package.json") or "{}")
    script = package.get("scripts", {}).get("test", "")
    if not script or "no test specified" in script:
        return None
    test = r"^\s*(?:\w+\.)?(?:it|test)\("
    in_folder = project.count("**/*test*/**/*.*js", test)
    return [] if in_folder + project.count("*test*.*js", test) >= MIN_TESTS else None


def go_project(project: Project) -> list[str] | None:
    manifest = project.text("go.mod")
    if not manifest or re.search(
        r"^\s*(require\b|[\w.\-]+\.\w+/\S+ v\d)", manifest, re.M
    ):
        return None
    return _if_tested(["golang-go"], project, "**/*_test.go", r"^func Test")


def ruby_project(project: Project) -> list[str] | None:
    text = project.text("Gemfile") + "\n" + project.text("*.gemspec")
    pattern = (
        r"^\s*(?:gem|\w+\.add_\w*dependency)[\s(]+[\"']([\w\-]+)[\"']"
        r"((?:\s*,\s*\[?\s*[\"'][<>=~ ]*[\d.]+[\"'])*)"
    )
    needs = ["bundler", "rake", "ruby"]
    for gem, wanted in re.findall(pattern, text, re.MULTILINE):
        candidates = [f"ruby-{gem.lower().replace('_', '-')}", gem]
        known = [each for each in candidates if each in project.index.packages]
        if not known or not _satisfies(project.index.packages[known[0]], wanted):
            return None
        needs.append(known[0])
    tests = "**/*[ts][ep][se][tc]*/**/*.rb"  # in a folder of tests or specs
    return _if_tested(
        sorted(set(needs)),
        project,
        tests,
        r"^\s*(?:def test_|(?:it|test|should)\s+[\"'])",
    )


def _satisfies(package: dict[str, str], wanted: str) -> bool:
    """Whether Debian's version is one that the gem's requirements allow."""
    version = _numbers(package["Version"].partition(":")[2] or package["Version"])
    for sign, text in re.findall(r"[\"']\s*([<>=~]*)\s*([\d.]+)[\"']", wanted):
        bound = _numbers(text)
        if sign == "~>":
            fits = bound <= version and version[: len(bound) - 1] == bound[:-1]
        elif sign in {"<", "<="}:
            fits = version < bound or (sign == "<=" and version == bound)
        elif sign in {">", ">="}:
            fits = version >= bound
        else:
            fits = version == bound
        if not fits:
            return False
    return True


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", re.split(r"[-+~]", version)[0])]


def perl_project(project: Project) -> list[str] | None:
    if not any((project.root / each).exists() for each in ("Makefile.PL", "Build.PL")):
        return None
    needs = project.index.build_needs(project.source, r"lib[\w\-]+-perl")
    return _if_tested(
        ["perl", *needs], project, "t/**/*.t", r"^\s*(is|ok|like|is_deeply)\b"
    )


def c_project(project: Project) -> list[str] | None:
    needs = project.index.build_needs(project.source, r"lib[\w.+\-]+-dev|cmake|gperf")
    cmake = project.count("**/CMakeLists.txt", r"^\s*add_test\s*\(")
    if cmake >= MIN_TESTS and project.text("CMakeLists.txt"):
        return sorted({"cmake", "gcc", "make", *needs})
    text = project.text("**/Makefile.am").replace("\\\n", " ")
    named = re.findall(r"^(?:TESTS|\w*PROGRAMS\w*|[a-z_]*tests)\s*\+?=(.*)", text, re.M)
    listed = re.findall(r"^TESTS\s*\+?=", text, re.M)
    if listed and len({word for line in named for word in line.split()}) >= MIN_TESTS:
        return sorted({"autoconf", "automake", "gcc", "libtool", "make", *needs})
    return None


def _if_tested(
    needs: list[str], project: Project, files: str, pattern: str
) -> list[str] | None:
    return needs if project.count(files, pattern) >= MIN_TESTS else None


@dataclass(frozen=True)
class Kind:
    """One ecosystem: its source packages, how many of them, which are suitable."""

    name: str
    pattern: str
    binary: str
    count: int
    suitable: Callable[[Project], list[str] | None]
    on_pypi: bool = False


KINDS = (
    Kind("Python, pytest", r"", "python3-", 5, pytest_project, on_pypi=True),
    Kind("Python, other", r"", "python3-", 3, unittest_project, on_pypi=True),
    Kind("Node", r"node-", "node-", 7, node_project),
    Kind("Go", r"golang-", "golang-", 6, go_project),
    Kind("Ruby", r"ruby-", "ruby-", 3, ruby_project),
    Kind("Perl", r"lib.*-perl$", "-perl", 7, perl_project),
    Kind(
        "C", r"(?!golang-|rust-|haskell-|python|ruby|php|qt|gcc)", "-dev", 5, c_project
    ),
)


def choose(kind: Kind, index: Index, cache: Path) -> Iterator[dict[str, Any]]:
    """The rows of repositories.yml of one ecosystem."""
    found = 0
    for source in index.ranked(kind)[:LOOKED_AT]:
        if found == kind.count:
            return
        row = _row(kind, index, source, cache)
        if row is not None:
            found += 1
            print(
                kind.name, row["name"], len(index.dependents[source]), file=sys.stderr
            )
            yield row


def _row(kind: Kind, index: Index, source: str, cache: Path) -> dict[str, Any] | None:
    sizes = re.findall(
        r"^ *\w{64} (\d+) \S*orig\S*$",
        index.sources[source].get("Checksums-Sha256", ""),
        re.M,
    )
    if not kind.on_pypi and (len(sizes) != 1 or int(sizes[0]) > MAX_ARCHIVE):
        return None
    repository = sources.Repository(
        name=source.removeprefix("python-") if kind.on_pypi else source,
        ecosystem=kind.name,
        kind="pypi" if kind.on_pypi else "debian",
        version="" if kind.on_pypi else index.sources[source]["Version"],
        archives={},
        packages=(),
    )
    try:
        files = sources.download(repository, cache)
        root = sources.unpack(files, cache / "unpacked" / source)
    except subprocess.CalledProcessError as error:
        print(source, "not served:", error.cmd[0], file=sys.stderr)
        return None
    size = sum(file.stat().st_size for file in files)
    needs = kind.suitable(Project(source, root, index))
    if needs is None or size > MAX_ARCHIVE:
        return None
    archives = {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    version = repository.version or re.sub(r".*-|\.tar.*", "", files[0].name)
    return {
        "name": repository.name,
        "ecosystem": kind.name,
        "kind": repository.kind,
        "version": version,
        "dependents": len(index.dependents[source]),
        "archives": archives,
        **({"packages": needs} if needs else {}),
    }


def main() -> None:
    cache = Path(sys.argv[1]).resolve()
    index = Index.of_apt()
    rows: list[dict[str, Any]] = []
    for kind in KINDS:
        if sys.argv[2:] and kind.name not in sys.argv[2:]:
            continue
        rows += choose(kind, index, cache)
    print(yaml.safe_dump({"repositories": rows}, sort_keys=False, width=80))


if __name__ == "__main__":
    main()
