"""The release workflow's scripts: the notes, and the tag of the major version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.github.workflows import load, needs, permissions, triggers

ROOT = Path(__file__).parents[2]
RELEASE = load((ROOT / ".github/workflows/release.yml").read_text(encoding="utf-8"))
CHANGELOG = """# Changelog

## Unreleased

## 0.2.0 (2026-12-01)

- A fix

### More

- A thing

## 0.1.0

- The first
"""
# Just enough of GitHub's command line: releases and tags in a file.
GH = f"""#!{sys.executable}
import json, os, sys
path = os.environ["GH_STATE"]
state = json.load(open(path))
words = sys.argv[1:]
fields = dict(word.split("=", 1) for flag, word in zip(words, words[1:]) if flag in ("-f", "-F"))
if words[:2] == ["release", "view"]:
    sys.exit(words[2] not in state["releases"])
elif words[:2] == ["release", "create"]:
    assert "--verify-tag" in words and words[2] in state["tags"]
    state["releases"][words[2]] = open(words[words.index("--notes-file") + 1]).read()
else:
    assert words[0] == "api"
    (route,) = [word for word in words if word.startswith("repos/")]
    route = route.removeprefix("repos/o/r/git")
    method = words[words.index("--method") + 1] if "--method" in words else "GET"
    if route.startswith("/matching-refs/tags/"):
        prefix = route.removeprefix("/matching-refs/tags/")
        print("\\n".join(f"refs/tags/{{tag}}" for tag in state["tags"] if tag.startswith(prefix)))
    elif route.startswith("/ref/tags/"):
        sys.exit(route.removeprefix("/ref/tags/") not in state["tags"])
    elif method == "PATCH":
        assert fields["force"] == "true"
        tag = route.removeprefix("/refs/tags/")
        assert tag in state["tags"]
        state["tags"][tag] = fields["sha"]
    elif method == "POST" and route == "/refs":
        tag = fields["ref"].removeprefix("refs/tags/")
        assert tag not in state["tags"]
        state["tags"][tag] = fields["sha"]
    else:
        sys.exit(f"unknown: {{words}}")
json.dump(state, open(path, "w"))
"""
State = dict[str, dict[str, str]]


def released(folder: Path, tag: str, state: State) -> tuple[State, str]:
    """The tags and releases after job `release` for a tag, and what it printed."""
    (folder / "gh").write_text(GH, encoding="utf-8")
    (folder / "gh").chmod(0o755)
    (folder / "notes.md").write_text("The notes\n", encoding="utf-8")
    (folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    printed = ""
    for step in RELEASE["jobs"]["release"]["steps"]:
        if "run" not in step:
            continue
        printed += subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-c", step["run"]],
            cwd=folder,
            env={
                "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
                "GH_STATE": str(folder / "state.json"),
                "GITHUB_REF_NAME": tag,
                "GITHUB_REPOSITORY": "o/r",
                "GITHUB_SHA": "new",
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    return json.loads((folder / "state.json").read_text(encoding="utf-8")), printed


def notes(tag: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / ".github/release_notes.py"), tag],
        input=CHANGELOG,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("v0.2.0", "- A fix\n\n### More\n\n- A thing\n"),
        ("v0.1.0", "- The first\n"),
    ],
)
def test_the_notes_are_the_changelogs_section(tag: str, text: str) -> None:
    finished = notes(tag)
    assert (finished.returncode, finished.stdout) == (0, text), finished.stderr


def test_a_release_without_notes_ends_before_anything_is_published() -> None:
    finished = notes("v0.3.0")
    assert finished.returncode == 2
    assert "no section  ## 0.3.0" in finished.stderr
    steps = [step.get("run", "") for step in RELEASE["jobs"]["build"]["steps"]]
    (position,) = [
        index for index, script in enumerate(steps) if "release_notes.py" in script
    ]
    assert position < next(
        index for index, script in enumerate(steps) if ".ci/run" in script
    )
    assert needs(RELEASE["jobs"]["publish"]) == ["build"]
    assert needs(RELEASE["jobs"]["release"]) == ["publish"]


def test_the_first_release_makes_the_tag_of_the_major_version(tmp_path: Path) -> None:
    state, _ = released(tmp_path, "v0.1.0", {"tags": {"v0.1.0": "new"}, "releases": {}})
    assert state == {
        "tags": {"v0.1.0": "new", "v0": "new"},
        "releases": {"v0.1.0": "The notes\n"},
    }


def test_a_later_release_moves_it(tmp_path: Path) -> None:
    tags = {"v0.9.0": "old", "v0": "old", "v0.10.0": "new"}
    state, _ = released(tmp_path, "v0.10.0", {"tags": tags, "releases": {}})
    assert state["tags"]["v0"] == "new"


def test_a_fix_of_an_older_release_does_not_move_it_back(tmp_path: Path) -> None:
    tags = {"v0.9.1": "new", "v0": "newest", "v0.10.0": "newest"}
    state, printed = released(tmp_path, "v0.9.1", {"tags": tags, "releases": {}})
    assert state["tags"]["v0"] == "newest"
    assert "v0 stays where it is: the newest release is v0.10.0" in printed
    assert "v0.9.1" in state["releases"]


def test_a_job_that_is_run_again_changes_nothing_more(tmp_path: Path) -> None:
    tags = {"v0.1.0": "new", "v0": "new"}
    before: State = {"tags": tags, "releases": {"v0.1.0": "edited by hand"}}
    state, _ = released(tmp_path, "v0.1.0", before)
    assert state == before


def test_only_the_last_job_may_write_and_it_runs_no_code_of_the_repository() -> None:
    writing = {
        job_id: permissions(job["permissions"])
        for job_id, job in RELEASE["jobs"].items()
    }
    assert writing["release"] == {"contents": "write"}
    assert writing["build"] == {"contents": "read"}
    uses = [step.get("uses", "") for step in RELEASE["jobs"]["release"]["steps"]]
    assert not any("checkout" in name for name in uses)


def test_the_tag_of_the_major_version_starts_no_release() -> None:
    assert triggers(RELEASE)["push"]["tags"] == ["v[0-9]+.[0-9]+.[0-9]+"]
