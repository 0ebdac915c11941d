"""Which changed paths ask for another set-up."""

from __future__ import annotations

import pytest

from runner.attempt.setup_inputs import first_input


@pytest.mark.parametrize(
    "path",
    [
        *("package.json", "web/package-lock.json", "yarn.lock", "bun.lockb"),
        *("pnpm-lock.yaml", "npm-shrinkwrap.json", "pyproject.toml", "uv.lock"),
        *("requirements-dev.txt", "dev-requirements.txt", "requirements/test.txt"),
        *("a/Cargo.toml", "Cargo.lock", "go.sum", "Gemfile.lock", "x.gemspec"),
        *("gradle/libs.versions.toml", "gradle.lockfile", "src/.gitignore"),
        *(".gitattributes", ".nvmrc", "lib/CMakeLists.txt", "Makefile.in"),
        *("tools/prepare.sh", "data/words.txt"),
    ],
)
def test_manifests_and_what_the_script_names_are_inputs(path: str) -> None:
    script = "sh tools/prepare.sh --from=./data\n"
    assert first_input(["src/a.py", path], script) == path


@pytest.mark.parametrize("path", ["src/a.py", "locks/b.c", "docs/package.json.md"])
def test_other_files_are_none(path: str) -> None:
    assert first_input([path], "npm ci && pip install -e .") is None
    assert first_input([], "npm ci") is None
