"""The scripted agent: `agent.py FOLDER SUFFIX`, in a checkout of somebody's project whose
sources mostly end in SUFFIX.

In the task "edit" it adds a comment to a source file and runs the project's tests, whose
output it keeps in the folder. In "break" it adds one line that fails when it is run, to
one file after another until the tests are red. Only the standard library: it runs on
whatever python3 the machine has.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

MOST_FILES = 6
# What is no source of the project itself. Perl's lib/Test is.
ELSEWHERE = re.compile(
    r"(^|[/_.-])(tests?|t|specs?|xt|docs?|examples?|benchmarks?|bench|benches|inc|lib/inc"
    r"|node_modules|vendor|debian|build|_build|dist|setup|conf|conftest|gulpfile"
    r"|[Gg]runtfile|perf|man|m4|scripts?|tools|fixtures|contrib|typings)([/_.-]|$)"
)
# suffix → (a harmless line, a line that fails when the file's code is used)
LINES = {
    ".py": ("# an edit", 'raise RuntimeError("broken")'),
    ".js": ("// an edit", 'throw new Error("broken");'),
    ".mjs": ("// an edit", 'throw new Error("broken");'),
    ".go": ("// an edit", 'func init() { panic("broken") }'),
    ".rb": ("# an edit", 'raise "broken"'),
    ".pm": ("# an edit", 'die "broken";'),
    ".c": (
        "/* an edit */",
        "__attribute__((constructor)) static void broken(void) { __builtin_trap(); }",
    ),
}


def main() -> int:
    folder = Path(sys.argv[1])
    files = sources(sys.argv[2])[:MOST_FILES]
    if not files:
        print("no source file was found")
        return 1
    if os.environ["FANIN_TASK"] == "edit":
        insert(files[0], broken=False)
        return test(folder / "edit.log")
    for file in files:
        before = file.read_bytes()
        insert(file, broken=True)
        if test(folder / "break.log"):
            print(f"the tests are red with a broken line in {file}")
            (folder / "broken").write_text(str(file))
            return 0
        file.write_bytes(before)
    print("the tests notice no broken line in:", *files)
    return 1


def sources(suffix: str) -> list[Path]:
    """The project's source files: those of its main language, the largest first."""
    listed = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True)
    paths = [Path(os.fsdecode(name)) for name in listed.stdout.split(b"\0") if name]
    found: dict[str, list[Path]] = {}
    for path in paths:
        if path.suffix not in LINES or ELSEWHERE.search(path.as_posix()):
            continue
        if path.suffix == ".go" and re.search(r"_[a-z0-9]+$", path.stem):
            continue  # may be for one system only, as file_linux.go
        if path.is_file() and not path.is_symlink():
            found.setdefault(path.suffix, []).append(path)
    if not found:
        return []
    chosen = found.get(suffix) or max(found.values(), key=total_size)
    return sorted(chosen, key=lambda path: -path.stat().st_size)


def total_size(paths: list[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


def insert(file: Path, *, broken: bool) -> None:
    """Add the line: after a Perl module's `package`, else at the end."""
    data = file.read_bytes()
    line = in_style_of(data, file.suffix, LINES[file.suffix][broken].encode())
    package = re.search(rb"^package [\w:]+[^;{]*;.*\n", data, re.MULTILINE)
    if file.suffix == ".pm" and package:
        data = data[: package.end()] + line + b"\n" + data[package.end() :]
    else:
        data = data.rstrip(b"\n") + b"\n" + line + b"\n"
    file.write_bytes(data)


def in_style_of(data: bytes, suffix: str, line: bytes) -> bytes:
    """The line as the file's lines are written, so that no linter objects to its looks."""
    if suffix not in {".js", ".mjs"}:
        return line
    if data.count(b"'") > data.count(b'"'):
        line = line.replace(b'"', b"'")
    if b";\n" not in data:
        line = line.removesuffix(b";")
    return line


def test(log: Path) -> int:
    """Run the project's tests as fanin.yml says; their exit code."""
    text = Path("fanin.yml").read_text(encoding="utf-8")
    verify = re.search(r"^verify: (.*)$", text, re.MULTILINE)
    if verify is None:
        print("fanin.yml has no verify")
        return 1
    command = verify[1]
    if command[0] in "\"'":
        command = shlex.split(command)[0]
    # `go test` says which tests it ran only if it is asked.
    environment = {**os.environ, "GOFLAGS": "-v"}
    with log.open("wb") as stream:
        done = subprocess.run(
            ["sh", "-c", command],
            stdout=stream,
            stderr=stream,
            env=environment,
            check=False,
        )
    print(log.read_bytes()[-3000:].decode(errors="replace"))
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
