"""The harness itself, proved on small workflows of its own: each rule that a stand-in
claims to have.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import github
import pytest

from tests.support.github import expressions, harness, workflows
from tests.support.github.forge import Dispatch, Forge, Repository
from tests.support.github.forge_git import GitError
from tests.support.github.harness import PROJECT, Harness, Leg, Run, Spec
from tests.support.github.standin import artifacts, cache, checkout, post
from tests.support.github.standin.artifacts import ArtifactError, Store
from tests.support.github.workflows import Finished, WorkflowError

NAME = "octo/work"

# ---- a product in miniature: a reusable workflow, a root action that delegates, the working action

REUSABLE = """
name: Sample
on:
  workflow_call:
    inputs:
      at-once: {type: number, default: 3}
      greeting: {type: string, default: "it's ${{ 'a' }}"}
      state: {type: string, default: '{"round": 1}'}
    secrets:
      key: {required: false}
    outputs:
      commit: {value: "${{ jobs.gather.outputs.commit }}"}
permissions: {contents: read}
env: {WHO: sample}
concurrency: {group: "sample-${{ github.ref_name }}", cancel-in-progress: false}
jobs:
  next:
    runs-on: ubuntu-latest
    outputs:
      matrix: ${{ steps.choose.outputs.matrix }}
      has-work: ${{ steps.choose.outputs.has-work }}
      base: ${{ steps.checkout.outputs.commit }}
    steps:
      - id: checkout
        uses: actions/checkout@0123456789abcdef0123456789abcdef01234567 # v6
        with: {persist-credentials: false, ref: "${{ github.head_ref || github.ref_name }}"}
      - id: choose
        uses: $/
        with: {command: next}
  leg:
    needs: next
    if: needs.next.outputs.has-work == 'true'
    runs-on: ubuntu-latest
    timeout-minutes: ${{ matrix.minutes }}
    strategy:
      fail-fast: false
      max-parallel: ${{ inputs.at-once }}
      matrix: ${{ fromJSON(needs.next.outputs.matrix) }}
    steps:
      - uses: actions/checkout@0123456789abcdef0123456789abcdef01234567
        with: {ref: "${{ needs.next.outputs.base }}", persist-credentials: false}
      - run: |
          mkdir -p out/.hidden && echo "${{ inputs.greeting }} $WHO" > "out/${{ matrix.part }}.txt"
          echo "key is [${{ secrets.key }}]"
          git push origin HEAD:refs/heads/stolen && echo PUSHED-WITHOUT-CREDENTIALS || true
          git -c "http.extraheader=AUTHORIZATION: basic $(printf 'x:%s' '${{ github.token }}' | base64 -w0)" \
            push origin HEAD:refs/heads/stolen && echo PUSHED-WITHOUT-PERMISSION || true
          [ "${{ matrix.part }}" != bad ] || [ "$GITHUB_RUN_ATTEMPT" -gt 1 ]
      - uses: actions/upload-artifact@v7
        with:
          name: part-${{ matrix.part }}-r${{ github.run_attempt }}
          path: out
          if-no-files-found: error
  gather:
    needs: [next, leg]
    if: always() && needs.next.outputs.has-work == 'true'
    runs-on: ubuntu-latest
    permissions: {contents: write}
    outputs:
      commit: ${{ steps.push.outputs.commit }}
      remaining: ${{ steps.push.outputs.remaining }}
    steps:
      - uses: actions/checkout@v6
        with: {ref: "${{ github.head_ref || github.ref_name }}", fetch-depth: 0}
      - uses: actions/download-artifact@v8
        with: {path: "${{ runner.temp }}/in", pattern: part-*}
      - id: push
        uses: $/
        with: {command: gather, folder: "${{ runner.temp }}/in"}
  again:
    needs: gather
    if: always() && !cancelled() && needs.gather.outputs.remaining == 'true'
    runs-on: ubuntu-latest
    permissions: {actions: write}
    steps:
      - env:
          GH_TOKEN: ${{ github.token }}
          FILE: ${{ github.workflow_ref }}
          STATE: ${{ inputs.state }}
        run: |
          file=${FILE%@*}; file=${file##*/}
          round=$(($(printf %s "$STATE" | tr -dc 0-9) + 1))
          curl -sS --fail-with-body -H "Authorization: Bearer $GH_TOKEN" \
            -d "{\\"ref\\": \\"$GITHUB_REF_NAME\\",
                 \\"inputs\\": {\\"state\\": \\"{\\\\\\"round\\\\\\": $round}\\"}}" \
            "$GITHUB_API_URL/repos/$GITHUB_REPOSITORY/actions/workflows/$file/dispatches"
"""

ROOT_ACTION = """
name: Sample
description: Delegates to the action that does the work
inputs:
  command: {description: what to do, required: true}
  folder: {description: where results are, default: ""}
  token: {description: a token, default: "${{ github.token }}"}
outputs:
  matrix: {description: m, value: "${{ steps.work.outputs.matrix }}"}
  has-work: {description: h, value: "${{ steps.work.outputs.has-work }}"}
  commit: {description: c, value: "${{ steps.work.outputs.commit }}"}
  remaining: {description: r, value: "${{ steps.work.outputs.remaining }}"}
runs:
  using: composite
  steps:
    - id: work
      uses: $/.github/actions/work
      with:
        command: ${{ inputs.command }}
        folder: ${{ inputs.folder }}
        token: ${{ inputs.token }}
"""

WORK_ACTION = """
name: Work
description: Does the work
inputs:
  command: {description: what to do, required: true}
  folder: {description: where results are, default: ""}
  token: {description: a token, default: ""}
outputs:
  matrix: {description: m, value: "${{ steps.do.outputs.matrix }}"}
  has-work: {description: h, value: "${{ steps.do.outputs.has-work }}"}
  commit: {description: c, value: "${{ steps.do.outputs.commit }}"}
  remaining: {description: r, value: "${{ steps.do.outputs.remaining }}"}
runs:
  using: composite
  steps:
    - id: do
      shell: bash
      env: {COMMAND: "${{ inputs.command }}", FOLDER: "${{ inputs.folder }}", TOKEN: "${{ inputs.token }}"}
      run: |
        [ "$TOKEN" = "$STANDIN_TOKEN" ] && echo "token of the job"
        exec bash "$GITHUB_ACTION_PATH/../../../work.sh" "$COMMAND"
"""

WORK_SCRIPT = r"""
set -eu; BRANCH=${GITHUB_HEAD_REF:-$GITHUB_REF_NAME}
case $1 in
next)
  parts=$(head -2 todo.txt); entries=; index=0
  for part in $parts; do
    index=$((index + 1)); entries="$entries${entries:+,}{\"index\":$index,\"part\":\"$part\",\"minutes\":5}"
  done
  echo "matrix={\"include\":[$entries]}" >> "$GITHUB_OUTPUT"
  echo "has-work=$([ -n "$parts" ] && echo true || echo false)" >> "$GITHUB_OUTPUT"
  echo "# Next: $parts" >> "$GITHUB_STEP_SUMMARY"
  echo "::notice file=todo.txt,line=1::chose $index" ;;
gather)
  (cd "$FOLDER" && find . -type f | sort | sed 's/^/received /')
  git config user.name bot; git config user.email bot@example.com
  for try in 1 2 3; do
    mkdir -p done; find "$FOLDER" -type f -exec cp {} done/ \;
    for file in done/*; do sed -i "/^$(basename "$file" .txt)\$/d" todo.txt; done
    git add -A; git commit -q -m "Batch by $GITHUB_RUN_ID"
    git push origin "HEAD:$BRANCH" && break
    [ $try -lt 3 ] || exit 1
    git fetch -q origin "$BRANCH"; git reset -q --hard FETCH_HEAD
  done
  echo "commit=$(git rev-parse HEAD)" >> "$GITHUB_OUTPUT"
  echo "remaining=$([ -s todo.txt ] && echo true || echo false)" >> "$GITHUB_OUTPUT" ;;
esac
"""

CALLER = """
name: Caller
on:
  workflow_dispatch:
    inputs:
      at-once: {type: number, default: 2}
      state: {type: string, default: '{"round": 1}'}
  pull_request:
permissions: {}
env: {WHO: the caller, ONLY: caller}
jobs:
  sample:
    permissions: {contents: write, actions: write}
    uses: octo/sample/.github/workflows/sample.yml@v1
    with:
      at-once: ${{ fromJSON(inputs.at-once || '1') }}
      state: ${{ inputs.state }}
    secrets: {key: "${{ secrets.AGENT_KEY }}"}
  after:
    needs: sample
    if: needs.sample.outputs.commit != ''
    runs-on: ubuntu-latest
    steps:
      - env: {COMMIT: "${{ needs.sample.outputs.commit }}", RESULT: "${{ needs.sample.result }}"}
        run: echo "after $COMMIT $RESULT $WHO ${{ github.workflow_ref }}"
"""


@pytest.fixture
def forge(tmp_path: Path) -> Iterator[Forge]:
    with Forge(tmp_path / "forge") as running:
        yield running


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = tmp_path_factory.mktemp("product")
    files = {
        ".github/workflows/sample.yml": REUSABLE,
        "action.yml": ROOT_ACTION,
        "work.sh": WORK_SCRIPT,
        ".github/actions/work/action.yml": WORK_ACTION,
        "tests/left-out": "",
        "ignored/big": "",
        ".gitignore": "ignored\n",
    }
    for name, text in files.items():
        (where / name).parent.mkdir(parents=True, exist_ok=True)
        (where / name).write_text(text.lstrip("\n"), encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", str(where)], check=True)
    return where


@pytest.fixture
def act(forge: Forge, product: Path, tmp_path: Path) -> Harness:
    try:
        harness.find_act()
    except harness.ActMissingError as error:
        pytest.skip(str(error))
    return Harness(
        forge, tmp_path / "work", project=product, secrets={"AGENT_KEY": "s3cret-key"}
    )


def seed(forge: Forge, *parts: str, **files: str) -> Repository:
    """A repository with things to do."""
    return forge.create(
        NAME,
        {
            "todo.txt": "".join(f"{part}\n" for part in parts),
            ".github/workflows/caller.yml": CALLER,
            **files,
        },
    )


# -- rounds --


def test_rounds_run_until_nothing_is_left(forge: Forge, act: Harness) -> None:
    repository = seed(forge, "a", "b", "c")
    act.press(NAME, "caller.yml", {"at-once": "2"})
    first, second = act.run_until_quiet()

    assert repository.git.subjects() == [
        f"Batch by {second.spec.run_id}",
        f"Batch by {first.spec.run_id}",
        "Seed",
    ]
    assert repository.git.read("main", "done/c.txt") == b"it's a sample\n"
    assert repository.git.read("main", "todo.txt") == b""
    assert first.exit_code == 0
    assert first.jobs == {
        "next": "success",
        "leg": "success",
        "gather": "success",
        "again": "success",
        "after": "success",
    }
    assert second.jobs == {**first.jobs, "again": "skipped"}
    assert [(item.by, dict(item.inputs)) for item in repository.dispatches] == [
        ("person", {"at-once": "2"}),
        ("github-actions[bot]", {"state": '{"round": 2}'}),
    ]
    assert forge.unknown == []
    outputs_and_tokens_reach_where_they_should(repository, first)
    one_artifact_has_no_folder_of_its_own(first, second)


def outputs_and_tokens_reach_where_they_should(
    repository: Repository, run: Run
) -> None:
    commit = run.leg("gather").outputs["commit"]
    assert repository.git.resolve(commit) == commit
    ref = f"{NAME}/.github/workflows/caller.yml@refs/heads/main"
    assert f"after {commit} success the caller {ref}" in run.printed("after")
    assert "token of the job" in run.printed("next")
    # A leg has `contents: read`: its token is refused, and without credentials git has
    # nothing to show.
    assert "PUSHED" not in run.printed("leg")
    assert run.printed("leg").count("could not read Username") == 2
    assert run.printed("leg").count("The requested URL returned error: 403") == 2
    assert repository.git.branches() == ["main"]
    assert "s3cret-key" not in run.log
    assert [item.text for item in run.summaries] == [
        "# Next: a b\n".replace("a b", "a\nb")
    ]
    assert [
        (item.level, item.text, item.properties["line"])
        for item in run.annotations
        if item.job == "next"
    ] == [("notice", "chose 2", "1")]


def one_artifact_has_no_folder_of_its_own(first: Run, second: Run) -> None:
    assert sorted(item.name for item in first.artifacts) == ["part-a-r1", "part-b-r1"]
    assert "received ./part-a-r1/a.txt" in first.printed("gather")
    assert "received ./c.txt" in second.printed("gather")
    assert "part-c-r1" not in second.printed("gather")


def test_failed_leg_and_rerun_of_failed_jobs(forge: Forge, act: Harness) -> None:
    repository = seed(forge, "bad", "good")
    first = act.run_act(
        NAME, workflow="caller.yml", inputs={"at-once": "1", "state": '{"round": 9}'}
    )
    assert first.exit_code == 1
    assert first.leg("leg", part="good").result == "success"
    assert first.leg("leg", part="bad").result == "failure"
    assert first.jobs["gather"] == "success"
    assert first.jobs["after"] == "skipped"
    assert repository.git.files() == [
        ".github/workflows/caller.yml",
        "done/good.txt",
        "todo.txt",
    ]

    again = act.rerun_failed(first)
    assert (again.spec.run_id, again.spec.run_attempt, again.spec.sha) == (
        first.spec.run_id,
        2,
        first.spec.sha,
    )
    assert [leg.matrix["part"] for leg in again.legs if leg.job == "leg"] == ["bad"]
    assert "chose" not in again.log
    assert again.leg("next").outputs == first.leg("next").outputs
    assert sorted(item.name for item in again.artifacts) == [
        "part-bad-r2",
        "part-good-r1",
    ]
    assert repository.git.read("main", "todo.txt") == b""
    assert again.jobs["after"] == "success"


def test_endless_dispatching_is_an_error(forge: Forge, tmp_path: Path) -> None:
    lonely = Harness(forge, tmp_path / "work")
    lonely.queue.append(Dispatch(NAME, "caller.yml", "main", {}, 1, "person"))
    with pytest.raises(AssertionError, match="still dispatching after 0 runs"):
        lonely.run_until_quiet(limit=0)


# -- moved, protected, forked, hanging --


@pytest.mark.parametrize(
    ("moment", "words"), [("advertise", "fetch first"), ("update", "cannot lock ref")]
)
def test_rival_push_lands_first(
    forge: Forge, tmp_path: Path, moment: Any, words: str
) -> None:
    repository = seed(forge, "a")
    clone = authorised_clone(
        forge, tmp_path / "clone", forge.mint({"contents": "write"})
    )
    repository.before_push(
        "main",
        lambda: repository.git.commit_files("main", {"rival.txt": "x"}, "Rival"),
        moment=moment,
    )
    commit_in(clone)
    pushed = git(clone, "push", "origin", "HEAD:main")
    assert pushed.returncode == 1
    assert words in pushed.stderr
    assert repository.git.subjects()[0] == "Rival"
    git(clone, "pull", "--quiet", "--rebase", "origin", "main")
    assert git(clone, "push", "origin", "HEAD:main").returncode == 0
    assert repository.git.subjects() == ["Mine", "Rival", "Seed"]


def test_rival_inside_a_run_is_merged_again(forge: Forge, act: Harness) -> None:
    repository = seed(forge, "a")
    repository.before_push(
        "main", lambda: repository.git.commit_files("main", {"rival.txt": "x"}, "Rival")
    )
    run = act.run_act(NAME, workflow="caller.yml", inputs={})
    assert repository.git.subjects() == [f"Batch by {run.spec.run_id}", "Rival", "Seed"]
    assert "cannot lock ref" in run.printed("gather")
    assert run.leg("gather").outputs["commit"] == repository.git.tip()


def test_refused_pushes_speak_as_github(forge: Forge, tmp_path: Path) -> None:
    repository = seed(forge, "a")
    clone = authorised_clone(
        forge, tmp_path / "clone", forge.mint({"contents": "write"})
    )
    commit_in(clone)
    repository.protect("main")
    refused = git(clone, "push", "origin", "HEAD:main")
    assert (
        "remote: error: GH006: Protected branch update failed for refs/heads/main."
        in refused.stderr
    )
    assert git(clone, "push", "origin", "HEAD:fanin/1").returncode == 0
    repository.unprotect("main")
    repository.require_signatures("main")
    assert (
        "Commits must have verified signatures"
        in git(clone, "push", "origin", "HEAD:main").stderr
    )
    repository.unprotect("main")
    assert git(clone, "push", "origin", "HEAD:main").returncode == 0
    commit_in(clone, ".github/workflows/new.yml")
    assert (
        "without `workflows` permission"
        in git(clone, "push", "origin", "HEAD:main").stderr
    )


@pytest.mark.parametrize(
    ("permissions", "status"), [({"contents": "read"}, 403), (None, 401)]
)
def test_push_needs_a_token_that_may(
    forge: Forge, tmp_path: Path, permissions: Any, status: int
) -> None:
    seed(forge, "a")
    reader = authorised_clone(
        forge, tmp_path / "clone", forge.mint({"contents": "read"})
    )
    commit_in(reader)
    token = "wrong" if permissions is None else forge.mint(permissions)
    header = f"http.{forge.server_url}/.extraheader"
    git(reader, "config", header, checkout.auth_header(token))
    assert git(reader, "push", "origin", "HEAD:main").returncode != 0
    assert {
        item.status
        for item in forge.calls("GET", "info/refs", kind="git")
        if item.query["service"].endswith("receive-pack")
    } == {status}


def test_fork_has_no_secrets_and_cannot_write(forge: Forge, act: Harness) -> None:
    repository = seed(forge, "a")
    repository.git.update("refs/heads/feature", repository.git.tip(), None)
    repository.git.commit_files("feature", {"feature.txt": "x"}, "Feature")
    pull = repository.open_pull("feature", fork=True)
    run = act.run_pull_request(NAME, pull, workflow="caller.yml")
    assert "key is []" in run.printed("leg")
    assert run.jobs["gather"] == "failure"
    assert repository.git.subjects("refs/heads/feature") == ["Feature", "Seed"]
    assert "The requested URL returned error: 403" in run.printed("gather")
    assert run.spec.payload["pull_request"]["head"]["repo"]["fork"] is True


EVENT = """
on: [pull_request]
jobs:
  look:
    runs-on: ubuntu-latest
    steps:
      - run: |
          echo "fork=${{ github.event.pull_request.head.repo.fork }}"
          echo "from=${{ github.event.pull_request.head.repo.full_name }}"
          echo "ref=${{ github.ref }} head=${{ github.head_ref }} base=${{ github.base_ref }}"
          echo "actor=${{ github.actor }}"
          grep -o '"action": "labeled"' "$GITHUB_EVENT_PATH"
      - uses: actions/checkout@v6
      - run: cat feature.txt; git log -1 --format=%s
"""


def test_event_payload_is_visible(forge: Forge, act: Harness) -> None:
    repository = forge.create(NAME, {".github/workflows/event.yml": EVENT})
    repository.git.update("refs/heads/feature", repository.git.tip(), None)
    repository.git.commit_files(
        "feature", {"feature.txt": "from the branch\n"}, "Feature"
    )
    run = act.run_pull_request(
        NAME,
        repository.open_pull("feature", fork=True, labels=("fanin",)),
        workflow="event.yml",
        action="labeled",
    )
    text = run.printed("look")
    assert "fork=true\r\nfrom=stranger/fork" in text.replace("\r", "").replace(
        "\n", "\r\n"
    )
    assert "ref=refs/pull/1/merge head=feature base=main" in text
    assert "actor=person" in text
    assert '"action": "labeled"' in text
    assert "from the branch" in text
    assert "Merge " in text


def test_timeout_leaves_no_process(forge: Forge, act: Harness) -> None:
    # No other process of this machine sleeps for so long: other copies of this test may
    # be running beside it.
    seconds = 10_000_000 + secrets.randbelow(10_000_000)
    step = f"{{run: 'trap \"\" HUP; echo started; sleep {seconds}'}}"
    forge.create(
        NAME,
        {
            ".github/workflows/hang.yml": "on: workflow_dispatch\n"
            f"jobs: {{hang: {{runs-on: ubuntu-latest, steps: [{step}]}}}}\n"
        },
    )
    # a busy machine may need a while to come to the step
    for timeout in (3, 10, 30, 90):
        run = act.run_act(NAME, workflow="hang.yml", timeout=timeout)
        assert run.timed_out
        if "started" in run.printed("hang"):
            break
    assert "started" in run.printed("hang")
    assert [words for words in command_lines() if f"sleep\x00{seconds}" in words] == []


# -- artifacts, checkout, cache under act --

RULES = """
on: workflow_dispatch
jobs:
  rules:
    runs-on: ubuntu-latest
    steps:
      - run: mkdir -p left && echo untracked > left/over
      - uses: actions/checkout@v6
      - {uses: ./.github/actions/here, with: {word: local}}
      - run: |
          [ ! -e left ] && echo "untracked files are gone"
          git config --get-all "http.$GITHUB_SERVER_URL/.extraheader" > /dev/null \\
            && echo "credentials persist"
          mkdir -p out/.hid .hidden
          echo 1 > out/plain; echo 2 > out/.dot; echo 3 > out/.hid/x; echo 4 > .hidden/y
          chmod 755 out/plain; touch 'bad:name'
      - {uses: actions/upload-artifact@v7, id: one, with: {name: same, path: out}}
      - {uses: actions/upload-artifact@v7, id: two, with: {name: same, path: out}, continue-on-error: true}
      - uses: actions/upload-artifact@v7
        id: over
        with: {name: same, path: out, overwrite: true, include-hidden-files: true}
      - {uses: actions/upload-artifact@v7, id: slash, with: {name: a/b, path: out}, continue-on-error: true}
      - uses: actions/upload-artifact@v7
        id: hidden
        with: {name: hidden, path: .hidden, if-no-files-found: error}
        continue-on-error: true
      - {uses: actions/upload-artifact@v7, id: warned, with: {name: warned, path: nothing-here}}
      - uses: actions/upload-artifact@v7
        id: file
        with: {name: file, path: "bad:name"}
        continue-on-error: true
      - {uses: actions/download-artifact@v8, id: none, with: {name: absent}, continue-on-error: true}
      - {uses: actions/download-artifact@v8, with: {name: same, path: back}}
      - run: |
          echo "mode $(stat -c %a back/plain)"
          cat <<'X'
          two ${{ steps.two.outcome }}, slash ${{ steps.slash.outcome }}, hidden ${{ steps.hidden.outcome }}
          warned ${{ steps.warned.outcome }}, file ${{ steps.file.outcome }}, none ${{ steps.none.outcome }}
          new id ${{ steps.one.outputs.artifact-id != steps.over.outputs.artifact-id }}
          X
      - {uses: actions/setup-python@v6, id: python, with: {python-version: "3"}}
      - {uses: astral-sh/setup-uv@v7}
      - run: echo "python ${{ steps.python.outputs.python-version != '' }}"
  saves:
    needs: rules
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/cache@v5, id: cache, with: {path: kept, key: "k-1", restore-keys: "k-"}}
      - run: echo "first hit [${{ steps.cache.outputs.cache-hit }}]"; mkdir -p kept; echo saved > kept/file
  fails:
    needs: saves
    runs-on: ubuntu-latest
    steps:
      - {uses: actions/cache/restore@v5, id: cache, with: {path: kept, key: "k-2", restore-keys: "k-"}}
      - {uses: actions/cache@v5, with: {path: kept, key: "k-3"}}
      - run: |
          echo "matched ${{ steps.cache.outputs.cache-matched-key }}"
          echo "hit [${{ steps.cache.outputs.cache-hit }}] and it was $(cat kept/file)"
          exit 1
"""


HERE_ACTION = """
name: Here
description: An action that the checkout brought
inputs: {word: {description: any, required: true}}
runs:
  using: composite
  steps:
    - {run: 'echo "action of the workspace, $WORD"', shell: bash, env: {WORD: "${{ inputs.word }}"}}
"""


def test_stand_ins_keep_the_rules(forge: Forge, act: Harness) -> None:
    forge.create(
        NAME,
        {
            ".github/workflows/rules.yml": RULES,
            ".github/actions/here/action.yml": HERE_ACTION,
        },
    )
    run = act.run_act(NAME, workflow="rules.yml")
    text = run.printed("rules")
    assert "action of the workspace, local" in text
    assert "untracked files are gone" in text
    assert "credentials persist" in text
    assert "two failure, slash failure, hidden failure" in text
    assert "warned success, file failure, none failure" in text
    assert "new id true" in text
    assert "mode 644" in text
    assert "python true" in text
    errors = [item.text for item in run.annotations if item.level == "error"]
    assert any("(409) Conflict" in item for item in errors)
    assert any("The artifact name is not valid: 'a/b'" in item for item in errors)
    assert any("The path is not valid: 'bad:name'" in item for item in errors)
    assert [item.name for item in run.artifacts] == ["same"]
    assert sorted(forge.artifacts.read(run.artifacts[0])) == [".dot", ".hid/x", "plain"]
    assert "first hit []" in run.printed("saves")
    assert "matched k-1" in run.printed("fails")
    assert "hit [false] and it was saved" in run.printed("fails")
    store = act.work / "cache"
    assert (cache.find(store, "k-1", ""), cache.find(store, "k-3", "")) == ("k-1", None)
    assert run.jobs == {"rules": "success", "saves": "success", "fails": "failure"}


def test_artifact_rules(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = store.create(7, "same", {"a": b"1"})
    with pytest.raises(ArtifactError, match="409"):
        store.create(7, "same", {"a": b"2"})
    assert store.create(8, "same", {"a": b"3"}).id != first.id
    assert [store.read(item) for item in store.list(7)] == [{"a": b"1"}]
    for name in ("", "a/b", "a\\b", "a:b", 'a"b', "a\nb", "a*", "a?", "a|", "a<", "a>"):
        with pytest.raises(ArtifactError):
            artifacts.check_name(name)


def test_a_key_of_the_cache_is_never_replaced(tmp_path: Path) -> None:
    env = {"GITHUB_WORKSPACE": str(tmp_path / "work")}
    store, kept = tmp_path / "store", tmp_path / "work" / "kept"
    kept.parent.mkdir()
    saved = []
    for text in ("first", "second"):
        kept.write_text(text, encoding="utf-8")
        saved.append(cache.save(store, "k", str(kept), env))
    kept.unlink()
    asked = {**env, "IN_KEY": "k", "IN_PATH": str(kept)}
    assert cache.restore(asked, store) == "k"
    assert (saved, kept.read_text(encoding="utf-8")) == ([True, False], "first")


@pytest.mark.parametrize(
    ("patterns", "hidden", "found"),
    [
        ("out", False, ["plain", "sub/deep"]),
        ("out", True, [".dot", "plain", "sub/deep"]),
        ("out/plain", False, ["plain"]),
        ("out/*", False, ["plain", "sub/deep"]),
        ("out/**/deep", False, ["sub/deep"]),
        ("out\n!out/sub", False, ["plain"]),
        ("out/plain\nother/file", False, ["other/file", "out/plain"]),
        (".hidden", False, []),
        (".hidden/inside", False, ["file"]),
    ],
)
def test_upload_paths(
    tmp_path: Path, patterns: str, hidden: bool, found: list[str]
) -> None:
    for name in (
        "out/plain",
        "out/.dot",
        "out/sub/deep",
        "other/file",
        ".hidden/inside/file",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x", encoding="utf-8")
    root, files = artifacts.find_files(patterns, tmp_path, hidden)
    assert sorted(str(path.relative_to(root)) for path in files) == found


def test_post_record_keeps_awkward_outputs() -> None:
    text = 'job "a"\nstatus "success"\nmatrix {\n  "x": 1\n}\noutput:one "status \\"x\\"\\nstatus y"\noutput:two \n'
    assert post.parse(text) == {
        "job": "a",
        "status": "success",
        "matrix": {"x": 1},
        "output:one": 'status "x"\nstatus y',
        "output:two": None,
    }


# -- the API --


def client(forge: Forge, **permissions: str) -> Any:
    token = forge.mint(
        {name.replace("_", "-"): level for name, level in permissions.items()}
    )
    return github.Github(
        base_url=forge.api_url,
        auth=github.Auth.Token(token),
        retry=None,
        per_page=3,
        seconds_between_requests=0,
        seconds_between_writes=0,
    ).get_repo(NAME)


def test_comments_are_listed_over_pages_and_edited(forge: Forge) -> None:
    repository = seed(forge, "a")
    repository.git.commit_files("other", {"b": "c"}, "Other")
    issue = client(forge, pull_requests="write").get_issue(
        repository.open_pull("other")["number"]
    )
    for index in range(8):
        issue.create_comment(f"comment {index}")
    assert [item.body for item in issue.get_comments()] == [
        f"comment {index}" for index in range(8)
    ]
    list(issue.get_comments())[5].edit("changed")
    assert [item["body"] for item in repository.comments.values()][5] == "changed"
    issue.add_to_labels("fanin")
    assert [item.name for item in issue.get_labels()] == ["fanin"]
    with pytest.raises(
        github.GithubException, match="Resource not accessible by integration"
    ):
        client(forge, contents="write").get_issue(1).create_comment("no")
    assert forge.unknown == []


def test_commit_by_api_is_signed_only_without_author(forge: Forge) -> None:
    repository = seed(forge, "a")
    repository.require_signatures("main")
    repo = client(forge, contents="write")
    base = repo.get_git_commit(repository.git.tip())
    blob = repo.create_git_blob("aGk=", "base64")
    tree = repo.create_git_tree(
        [
            github.InputGitTreeElement("bin/run", "100755", "blob", sha=blob.sha),
            github.InputGitTreeElement("todo.txt", "100644", "blob", sha=None),
        ],
        base.tree,
    )
    person = github.InputGitAuthor("A", "a@example.com")
    unsigned = repo.create_git_commit("Named", tree, [base], author=person)
    signed = repo.create_git_commit("Signed", tree, [base])
    assert (
        unsigned.raw_data["verification"]["verified"],
        signed.raw_data["verification"]["verified"],
    ) == (
        False,
        True,
    )
    ref = repo.get_git_ref("heads/main")
    with pytest.raises(github.GithubException, match="verified signatures"):
        ref.edit(unsigned.sha)
    ref.edit(signed.sha)
    assert repository.git.tip() == signed.sha
    assert repository.git.git("ls-tree", "-r", "main").split()[:1] == ["100644"]
    assert repository.git.read("main", "bin/run") == b"hi"
    assert "todo.txt" not in repository.git.files()


def test_ref_update_loses_to_a_rival(forge: Forge) -> None:
    repository = seed(forge, "a")
    repo = client(forge, contents="write")
    base = repo.get_git_commit(repository.git.tip())
    mine = repo.create_git_commit("Mine", base.tree, [base])
    repository.before_push(
        "main", lambda: repository.git.commit_files("main", {"rival": "x"}, "Rival")
    )
    with pytest.raises(github.GithubException, match="not a fast forward"):
        repo.get_git_ref("heads/main").edit(mine.sha)
    assert repository.git.subjects() == ["Rival", "Seed"]
    with pytest.raises(github.GithubException, match="already exists"):
        repo.create_git_ref("refs/heads/main", mine.sha)
    repo.create_git_ref("refs/heads/fanin/1", mine.sha)
    assert repository.git.branches() == ["fanin/1", "main"]
    with pytest.raises(GitError):
        repository.git.update("refs/heads/main", mine.sha, base.sha)


@pytest.mark.parametrize(
    ("file", "ref", "inputs", "status", "words"),
    [
        ("nope.yml", "main", {}, 404, "Not Found"),
        ("caller.yml", "nope", {}, 422, "No ref found for: nope"),
        (
            "caller.yml",
            "main",
            {"stray": "1"},
            422,
            "Unexpected inputs provided: ['stray']",
        ),
        ("caller.yml", "main", {"at-once": "many"}, 422, "input at-once is a number"),
        (
            "caller.yml",
            "main",
            {f"i{n}": "" for n in range(26)},
            422,
            "No more than 25",
        ),
        (
            "push.yml",
            "main",
            {},
            422,
            "Workflow does not have 'workflow_dispatch' trigger",
        ),
    ],
)
def test_dispatch_is_checked(
    forge: Forge, file: str, ref: str, inputs: dict[str, str], status: int, words: str
) -> None:
    repository = seed(
        forge, "a", **{".github/workflows/push.yml": "on: push\njobs: {}\n"}
    )
    answer = api(
        forge,
        f"/repos/{NAME}/actions/workflows/{file}/dispatches",
        {"ref": ref, "inputs": inputs},
        forge.mint({"actions": "write"}),
    )
    assert answer[0] == status
    assert words in answer[1]["message"]
    assert repository.dispatches == []


def test_dispatch_calls_back(forge: Forge) -> None:
    seen: list[Dispatch] = []
    forge.on_dispatch = seen.append
    seed(forge, "a")
    path = f"/repos/{NAME}/actions/workflows/caller.yml/dispatches"
    assert api(forge, path, {"ref": "main"}, forge.mint({"actions": "read"}))[0] == 403
    assert api(forge, path, {"ref": "main"}, "wrong")[0] == 401
    assert seen == []
    assert (
        client(forge, actions="write")
        .get_workflow("caller.yml")
        .create_dispatch("main", {"at-once": "3"})
    )
    assert [(item.workflow, item.ref, item.inputs) for item in seen] == [
        ("caller.yml", "main", {"at-once": "3"})
    ]


def test_pull_requests(forge: Forge) -> None:
    repository = seed(forge, "a")
    repository.git.commit_files("other", {"x": "y"}, "Other")
    repo = client(forge, pull_requests="write")
    pull = repo.create_pull("main", "other", title="Take it", body="why")
    assert (pull.number, pull.head.ref, pull.html_url) == (
        1,
        "other",
        f"{forge.server_url}/{NAME}/pull/1",
    )
    assert [
        item.number for item in repo.get_pulls(state="open", head="octo:other")
    ] == [1]
    assert [
        item.number for item in repo.get_pulls(state="open", head="octo:absent")
    ] == []
    with pytest.raises(
        github.GithubException, match="A pull request already exists for octo:other"
    ):
        repo.create_pull("main", "other", title="Twice")
    pull.edit(state="closed")
    assert list(repo.get_pulls()) == []
    repository.may_open_pulls = False
    with pytest.raises(
        github.GithubException, match="not permitted to create or approve"
    ):
        repo.create_pull("main", "other", title="Again")


def test_drafts_of_pull_requests(forge: Forge) -> None:
    repository = seed(forge, "a")
    repository.git.commit_files("other", {"x": "y"}, "Other")
    repo = client(forge, pull_requests="write")
    repository.has_drafts = False
    with pytest.raises(github.GithubException, match="Draft pull requests are not"):
        repo.create_pull("main", "other", title="Take it", draft=True)
    repository.has_drafts = True
    pull = repo.create_pull("main", "other", title="Take it", draft=True)
    with pytest.raises(github.GithubException, match="not accessible by integration"):
        pull.mark_ready_for_review()
    writing = client(forge, pull_requests="write", contents="write")
    writing.get_pull(1).mark_ready_for_review()
    assert not repo.get_pull(1).draft
    with pytest.raises(github.GithubException, match="not accessible by integration"):
        list(client(forge, contents="write").get_pulls())
    pull.edit(state="closed")
    repository.git.git("update-ref", "-d", "refs/heads/other")
    with pytest.raises(github.GithubException, match="head branch was deleted"):
        pull.edit(state="open")


def test_artifacts_of_a_run(forge: Forge) -> None:
    seed(forge, "a")
    kept = forge.artifacts.create(5, "result", {"dir/file": b"content"})
    token = forge.mint({"actions": "read"})
    listed = api(forge, f"/repos/{NAME}/actions/runs/5/artifacts", None, token)[1]
    assert [(item["id"], item["name"]) for item in listed["artifacts"]] == [
        (kept.id, "result")
    ]
    request = urllib.request.Request(
        listed["artifacts"][0]["archive_download_url"],
        headers={"Authorization": f"Bearer {token}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert zipfile.ZipFile(io.BytesIO(answer.read())).read("dir/file") == b"content"


def test_unknown_route_is_noted(forge: Forge) -> None:
    seed(forge, "a")
    assert api(forge, f"/repos/{NAME}/no/such/thing", None, forge.token)[0] == 404
    assert [item.path for item in forge.unknown] == [f"/repos/{NAME}/no/such/thing"]
    assert api(forge, f"/repos/{NAME}/issues/99", None, forge.token)[0] == 404
    assert len(forge.unknown) == 1


# -- transformations --

CALLEE = workflows.load(REUSABLE)


def lifted(**changes: Any) -> workflows.Document:
    """CALLER with its calling job changed, lifted."""
    caller = workflows.load(CALLER)
    caller["jobs"]["sample"].update(changes)
    return workflows.lift(caller, lambda uses: CALLEE)


def test_lift_refuses_what_github_refuses() -> None:
    with pytest.raises(
        WorkflowError,
        match="nested job 'gather' is requesting 'contents: write', but is only allowed 'contents: read'",
    ):
        lifted(permissions={"contents": "read", "actions": "write"})
    with pytest.raises(WorkflowError, match="Unexpected inputs"):
        lifted(**{"with": {"at-onec": 1}})
    with pytest.raises(WorkflowError, match="at-once is a number"):
        lifted(**{"with": {"at-once": "two"}})
    with pytest.raises(WorkflowError, match="Invalid secret"):
        lifted(secrets={"kye": "x"})
    with pytest.raises(WorkflowError, match="both have a job"):
        workflows.lift(
            {"jobs": {"next": {}, "call": {"uses": "x", "permissions": "write-all"}}},
            lambda uses: CALLEE,
        )


CALLED_TWICE = workflows.load("""
on: {workflow_call: {inputs: {given: {type: string}},
  outputs: {made: {value: "${{ jobs.last.outputs.made }}"}}}}
jobs:
  first: {runs-on: x, steps: [{run: "${{ fromJSON(inputs.given).needs }}"}]}
  last: {needs: first, if: "needs.first.result == 'success'", runs-on: x}
""")
CALLS_TWICE = workflows.load("""
on: workflow_dispatch
jobs:
  one: {uses: x, with: {given: a}}
  two:
    needs: one
    if: ${{ !cancelled() && needs.one.outputs.made != '' }}
    uses: x
    with: {given: "${{ needs.one.outputs.made }}"}
  end: {needs: two, if: "needs.two.outputs.made", runs-on: x}
""")


def test_jobs_of_a_second_call_have_ids_of_their_own_and_wait_for_the_first() -> None:
    jobs = workflows.lift(CALLS_TWICE, lambda uses: CALLED_TWICE)["jobs"]
    assert list(jobs) == ["first", "last", "two-first", "two-last", "end"]
    assert jobs["two-first"]["needs"] == ["first", "last"]
    assert jobs["two-last"]["needs"] == ["two-first", "first", "last"]
    assert "needs.two-first.result == 'success'" in jobs["two-last"]["if"]
    assert "needs.last.outputs.made" in jobs["two-first"]["if"]
    # What follows a function is a field, even if a context has its name.
    (step,) = jobs["two-first"]["steps"]
    assert step["run"] == "${{ fromJSON(((needs.last.outputs.made))).needs }}"
    assert jobs["end"]["needs"] == ["two-first", "two-last"]
    assert "needs.two-last.outputs.made" in jobs["end"]["if"]


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        (
            "inputs: {needed: {type: string, required: true}}",
            "Required input 'needed' not provided",
        ),
        ("secrets: {key: {required: true}}", r"Secret \['key'\] is required"),
    ],
)
def test_lift_refuses_a_call_without_a_required_input_or_secret(
    declared: str, words: str
) -> None:
    called = workflows.load(
        f"on: {{workflow_call: {{{declared}}}}}\njobs: {{inner: {{}}}}\n"
    )
    caller: workflows.Document = {
        "jobs": {"call": {"uses": "x", "permissions": "write-all"}}
    }
    with pytest.raises(WorkflowError, match=words):
        workflows.lift(caller, lambda uses: called)


def test_lift_keeps_the_meaning() -> None:
    jobs = lifted(**{"if": "github.actor != 'bot'", "needs": "before"})["jobs"]
    gate = "needs.before.result == 'success' && (github.actor != 'bot')"
    assert jobs["next"]["if"] == gate
    assert (
        jobs["gather"]["if"]
        == f"{gate} && (always() && needs.next.outputs.has-work == 'true')"
    )
    assert jobs["gather"]["needs"] == ["next", "leg", "before"]
    assert jobs["gather"]["permissions"] == {"contents": "write"}
    assert jobs["leg"]["permissions"] == {"contents": "read"}
    assert jobs["leg"]["env"] == {"WHO": "sample"}
    assert jobs["after"]["env"] == {"WHO": "the caller", "ONLY": "caller"}
    assert jobs["after"]["needs"] == ["next", "leg", "gather", "again"]
    assert "(needs.gather.outputs.commit) != ''" in jobs["after"]["if"]
    assert "(secrets.AGENT_KEY)" in jobs["leg"]["steps"][1]["run"]
    assert workflows.load(CALLER)["jobs"]["sample"]["uses"].startswith("octo/")


def test_expressions_are_rewritten_by_token() -> None:
    def replace(path: expressions.Path) -> tuple[str, int] | None:
        return ("X", 2) if path[:2] == ("inputs", "a") else None

    rewrite = expressions.rewrite_text
    assert rewrite("inputs.a ${{ inputs.a }}", replace) == "inputs.a ${{ X }}"
    assert (
        rewrite("${{ 'inputs.a }} it''s' == inputs['a'].b }}", replace)
        == "${{ 'inputs.a }} it''s' == X.b }}"
    )
    assert (
        rewrite("${{ inputs.ab || inputs(a) || x.inputs.a }}", replace)
        == "${{ inputs.ab || inputs(a) || x.inputs.a }}"
    )
    assert expressions.rewrite({"if": "inputs.a == 1", "run": "inputs.a"}, replace) == {
        "if": "X == 1",
        "run": "inputs.a",
    }


@pytest.mark.parametrize(
    ("value", "known"),
    [
        ("${{ 3 }}", 3),
        (2, 2),
        ("${{ fromJSON('4') }}", 4),
        ("${{ ((5) || 1) }}", 5),
        ("${{ needs.a.outputs.b }}", None),
    ],
)
def test_parallelism_is_folded(value: object, known: int | None) -> None:
    document = workflows.with_constant_parallelism(
        {"jobs": {"a": {"strategy": {"max-parallel": value}}}}
    )
    assert document["jobs"]["a"]["strategy"].get("max-parallel") == known


def test_outputs_of_a_skipped_job_are_empty() -> None:
    job = {
        "if": "needs.a.outputs.x == '1'",
        "env": {"Y": "${{ needs.a-b.outputs.y }} ${{ needs.a.result }}"},
    }
    changed = workflows.with_outputs_of_jobs_that_ran({"jobs": {"c": job}})["jobs"]["c"]
    assert (
        changed["if"]
        == "(needs.a.result != 'skipped' && needs.a.outputs.x || '') == '1'"
    )
    assert changed["env"]["Y"] == (
        "${{ (needs.a-b.result != 'skipped' && needs.a-b.outputs.y || '') }} ${{ needs.a.result }}"
    )


SKIPS = """
on: workflow_dispatch
jobs:
  first: {runs-on: ubuntu-latest, outputs: {x: "${{ steps.no.outputs.x }}"}, if: "false", steps: [{run: "true"}]}
  then:
    needs: first
    if: always() && !needs.first.outputs.x
    runs-on: ubuntu-latest
    steps: [{run: "echo [${{ needs.first.outputs.x }}]"}]
"""


def test_outputs_of_a_skipped_job_are_empty_under_act(
    forge: Forge, act: Harness
) -> None:
    forge.create(NAME, {".github/workflows/skips.yml": SKIPS})
    run = act.run_act(NAME, workflow="skips.yml")
    assert run.jobs == {"first": "skipped", "then": "success"}
    assert "[]" in run.printed("then")


def test_dispatch_inputs_have_their_types() -> None:
    document = workflows.load("""
        on: {workflow_dispatch: {inputs: {n: {type: number}, b: {type: boolean}, t: {default: "it's"},
                                          c: {type: choice, options: [x, y]}}}}
        jobs: {a: {if: inputs.b, steps: [{run: "${{ inputs.n }} ${{ inputs.t }} ${{ toJSON(inputs) }}"}]}}
        """)
    job = workflows.with_dispatch_inputs(
        document, "workflow_dispatch", {"n": "3", "b": "true"}
    )["jobs"]["a"]
    assert job["if"] == "true"
    assert job["steps"][0]["run"].startswith(
        "${{ '3' }} ${{ 'it''s' }} ${{ toJSON(fromJSON(format("
    )
    with pytest.raises(WorkflowError, match="not in the list of allowed values"):
        workflows.with_dispatch_inputs(document, "workflow_dispatch", {"c": "z"})
    pulled = workflows.with_dispatch_inputs(document, "pull_request", {})["jobs"]["a"]
    assert pulled["if"] == "''"


EVERY_TYPE = """
on:
  workflow_dispatch:
    inputs:
      text: {default: some}
      count: {type: number, default: 2}
      flag: {type: boolean, default: true}
      pick: {type: choice, options: [x, 1], default: x}
      where: {type: environment}
      bare-flag: {type: boolean}
      bare-count: {type: number}
      needed: {required: true}
"""
AS_DECLARED: dict[str, Any] = {
    "text": "some", "count": "2", "flag": True, "pick": "x", "where": "", "bare-flag": False, "bare-count": "",
}  # fmt: skip


def test_only_a_boolean_of_a_dispatch_is_not_a_string() -> None:
    declared = workflows.dispatch_interface(workflows.load(EVERY_TYPE))
    assert workflows.dispatched(declared, {"needed": "n"}) == {
        **AS_DECLARED,
        "needed": "n",
    }
    given = {
        "needed": "n",
        "count": "2.50",
        "flag": "false",
        "pick": "1",
        "where": "production",
    }
    assert workflows.dispatched(declared, given) == {
        **AS_DECLARED, **given, "flag": False,
    }  # fmt: skip
    # `github.event.inputs` has the same values, all of them strings.
    payload = workflows.dispatch_payload(declared, {"needed": "n"})
    assert payload == {
        **AS_DECLARED,
        "needed": "n",
        "flag": "true",
        "bare-flag": "false",
    }


TYPES_OF_STEPS = (
    EVERY_TYPE
    + """
jobs:
  types:
    runs-on: ubuntu-latest
    steps:
      - if: inputs.flag == false && inputs.count == '2'
        run: |
          cat <<'X'
          inputs ${{ toJSON(inputs.count) }} ${{ toJSON(inputs.flag) }} ${{ toJSON(inputs.pick) }}
          event ${{ toJSON(github.event.inputs.count) }} ${{ toJSON(github.event.inputs.flag) }}
          X
"""
)


def test_steps_see_inputs_as_github_delivers_them(forge: Forge, act: Harness) -> None:
    forge.create(NAME, {".github/workflows/types.yml": TYPES_OF_STEPS})
    act.press(NAME, "types.yml", {"needed": "n", "flag": "false"})
    (run,) = act.run_until_quiet()
    assert 'inputs "2" false "x"' in run.printed("types")
    assert 'event "2" "false"' in run.printed("types")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "Required input 'needed' not provided"),
        ({"needed": "n", "stray": "1"}, r"Unexpected inputs provided: \['stray'\]"),
        ({"needed": "n", "count": "two"}, "count is a number"),
        ({"needed": "n", "flag": "yes"}, "flag is a boolean"),
        ({"needed": "n", "pick": "z"}, "not in the list of allowed values"),
    ],
)
def test_dispatch_refuses_what_is_not_declared(
    given: dict[str, str], words: str
) -> None:
    declared = workflows.dispatch_interface(workflows.load(EVERY_TYPE))
    with pytest.raises(WorkflowError, match=words):
        workflows.dispatched(declared, given)


@pytest.mark.parametrize(
    ("event", "inputs", "words"),
    [
        ("workflow_dispatch", {f"i{number}": {} for number in range(26)}, "up to 25"),
        ("workflow_dispatch", {"a": {"type": "integer"}}, "Unexpected value 'integer'"),
        ("workflow_dispatch", {"a": {"type": "choice"}}, "without options"),
        (
            "workflow_dispatch",
            {"a": {"type": "choice", "options": ["x"], "default": "y"}},
            "allowed values",
        ),
        (
            "workflow_dispatch",
            {"a": {"type": "boolean", "default": "yes"}},
            "is a boolean",
        ),
        ("workflow_call", {"a": {}}, "Required property is missing: type"),
        (
            "workflow_call",
            {"a": {"type": "choice", "options": ["x"]}},
            "Unexpected value 'choice'",
        ),
        (
            "workflow_call",
            {"a": {"type": "number", "default": "3"}},
            "is a number, given may be a string",
        ),
        (
            "workflow_call",
            {"a": {"type": "boolean", "default": 0}},
            "is a boolean, given may be a number",
        ),
    ],
)
def test_file_with_inputs_that_github_refuses_starts_nothing(
    forge: Forge, act: Harness, event: str, inputs: workflows.Document, words: str
) -> None:
    triggers: workflows.Document = {
        "workflow_dispatch": {},
        event: {"inputs": inputs},
        "push": {},
    }
    job = {"runs-on": "ubuntu-latest", "steps": [{"run": "true"}]}
    document = {"on": triggers, "jobs": {"a": job}}
    forge.create(NAME, {".github/workflows/bad.yml": workflows.dump(document)})
    with pytest.raises(WorkflowError, match=f"failed to parse workflow: .*{words}"):
        act.press(NAME, "bad.yml")
    with pytest.raises(WorkflowError, match=words):
        act.run_act(NAME, "push", workflow="bad.yml")
    assert act.runs == []


def test_a_dispatched_number_for_a_called_number_creates_no_job(
    forge: Forge, act: Harness
) -> None:
    caller = CALLER.replace("fromJSON(inputs.at-once || '1')", "inputs.at-once")
    assert caller != CALLER
    forge.create(NAME, {"todo.txt": "a\n", ".github/workflows/caller.yml": caller})
    # the button takes it; the run has no jobs
    act.press(NAME, "caller.yml", {"at-once": "2"})
    with pytest.raises(
        WorkflowError, match="at-once is a number, given may be a string"
    ):
        act.run_until_quiet()
    assert act.runs == []


CALLED = workflows.load("""
on:
  workflow_call:
    inputs:
      number: {type: number, default: 1}
      flag: {type: boolean}
      text: {type: string, default: ""}
jobs: {inner: {runs-on: ubuntu-latest, env: {TEXT: "${{ inputs.text }}"}, steps: [{run: "true"}]}}
""")
NESTED = """
on:
  workflow_call:
    inputs: {number: {type: number}, flag: {type: boolean}, text: {type: string}}
jobs: {outer: {uses: inner, with: {}}}
"""


@pytest.mark.parametrize(
    ("name", "value", "wrong"),
    [
        ("number", 2, None),
        ("number", "2", "string"),
        ("number", True, "boolean"),
        ("number", "${{ 2 }}", None),
        ("number", "${{ fromJSON('2') }}", None),
        ("number", "${{ fromJSON(needs.a.outputs.b) }}", None),
        ("number", "${{ needs.a.outputs.b }}", "string"),
        ("number", "a ${{ 2 }}", "string"),
        ("number", "${{ '' || 2 }}", None),
        ("number", "${{ vars.COUNT || 2 }}", "string"),
        ("number", "${{ github.event_name == 'push' && 1 || 2 }}", None),
        ("number", "${{ github.event_name == 'push' && 1 }}", "boolean"),
        ("flag", True, None),
        ("flag", "true", "string"),
        ("flag", "", "string"),
        ("flag", "${{ github.ref_name == 'main' }}", None),
        ("flag", "${{ !vars.OFF }}", None),
        ("flag", "${{ contains(github.ref, 'x') || false }}", None),
        ("flag", "${{ needs.a.outputs.b }}", "string"),
        ("flag", "${{ null }}", "null"),
        ("text", 3, None),
        ("text", "${{ github.ref_name == 'main' }}", None),
    ],
)
def test_called_workflow_takes_its_types_alone(
    name: str, value: object, wrong: str | None
) -> None:
    caller: workflows.Document = {
        "jobs": {
            "call": {"uses": "x", "with": {name: value}, "permissions": "write-all"}
        }
    }
    if wrong is None:
        workflows.lift(caller, lambda uses: CALLED)
        return
    with pytest.raises(
        WorkflowError,
        match=f"{name} is a {name.replace('flag', 'boolean')}, given may be a {wrong}",
    ):
        workflows.lift(caller, lambda uses: CALLED)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {
                "number": "${{ inputs.number }}",
                "flag": "${{ inputs.flag }}",
                "text": "${{ inputs.number }}",
            },
            None,
        ),
        ({"number": "${{ inputs.text }}"}, "number is a number, given may be a string"),
        ({"flag": "${{ inputs.number }}"}, "flag is a boolean, given may be a number"),
        ({"text": "${{ env.TEXT }}"}, "Unrecognized named-value: 'env'"),
        ({"text": "${{ secrets.KEY }}"}, "Unrecognized named-value: 'secrets'"),
    ],
)
def test_inputs_of_a_nested_call_have_the_types_of_the_call_around_it(
    given: dict[str, str], words: str | None
) -> None:
    middle = workflows.load(NESTED)
    middle["jobs"]["outer"]["with"] = given
    documents = {"inner": CALLED, "middle": middle}
    caller: workflows.Document = {
        "jobs": {"call": {"uses": "middle", "permissions": "write-all"}}
    }
    if words is None:
        workflows.lift(caller, documents.__getitem__)
        return
    with pytest.raises(WorkflowError, match=words):
        workflows.lift(caller, documents.__getitem__)


def test_called_string_has_any_scalar_as_text() -> None:
    caller: workflows.Document = {
        "jobs": {
            "call": {"uses": "x", "with": {"text": False}, "permissions": "write-all"}
        }
    }
    lifted = workflows.lift(caller, lambda uses: CALLED)
    assert lifted["jobs"]["inner"]["env"] == {"TEXT": "${{ format('{0}', false) }}"}


def test_every_action_needs_a_stand_in() -> None:
    def used(uses: str, **given: str) -> workflows.Document:
        return {"jobs": {"a": {"steps": [{"uses": uses, "with": given}]}}}

    with pytest.raises(WorkflowError, match="no stand-in for someone/else@v1"):
        harness.local_repositories([used("someone/else@v1")], Path())
    with pytest.raises(WorkflowError, match=r"does not know \['sparse-checkout'\]"):
        harness.local_repositories(
            [used("actions/checkout@v6", **{"sparse-checkout": "src"})], Path()
        )
    assert list(
        harness.local_repositories(
            [used("fanin/self/x@v0"), used("actions/cache/save@v5")], Path()
        )
    ) == [
        "fanin/self@v0",
        "actions/cache@v5",
    ]


def test_a_copied_module_has_the_bytecode_of_its_own_text(tmp_path: Path) -> None:
    project = tmp_path / "project"
    module = project / "runner" / "module.py"
    module.parent.mkdir(parents=True)
    module.with_name("__init__.py").touch()
    subprocess.run(["git", "init", "-q", str(project)], check=True)
    for number in (1, 2):
        module.write_text(f"value = {number}\n", encoding="utf-8")
        os.utime(module, ns=(number, number))
        copy = tmp_path / f"copy-{number}"
        harness.copy_self(project, copy, {}, tmp_path / "packages")
        found = subprocess.run(
            [
                sys.executable,
                "-v",
                "-c",
                "from runner import module as m; print(m.value)",
            ],
            cwd=copy,
            capture_output=True,
            text=True,
            check=True,
        )
        assert found.stdout == f"{number}\n"
        own = copy / "runner" / "module.py"
        assert f"matches {own}" in found.stderr  # its bytecode is taken


def test_rerun_leaves_green_and_skipped_jobs_alone() -> None:
    document: workflows.Document = {
        "jobs": {
            "a": {},
            "b": {"needs": "a"},
            "c": {"needs": ["b"]},
            "d": {"needs": "a"},
            "left": {"needs": "a", "if": "${{ !cancelled() }}"},
        }
    }
    legs = (
        Leg("a", {}, "success", {"x": "1"}),
        Leg("b", {"i": 1}, "success"),
        Leg("b", {"i": 2}, "failure"),
        Leg("c", {}, "success"),
        Leg("d", {}, "success"),
    )
    spec = Spec(NAME, "w.yml", "push", {}, {}, "refs/heads/main", 1)
    run = Run(spec, document, 1, False, "", (), legs, (), 0.0)
    finished = harness.finished_jobs(run)
    assert finished == {
        "a": Finished({"x": "1"}),
        "b": Finished({}, ({"i": 2},)),
        "d": Finished({}),
        "left": Finished({}, skipped=True),
    }
    left = {job: kept for job, kept in finished.items() if kept.skipped}
    again = workflows.with_finished_jobs(document, left)
    assert again["jobs"]["left"]["if"] == "false"


def test_each_rule_of_github_has_a_source_and_a_test_that_exists() -> None:
    readme = (PROJECT / "tests/e2e/README.md").read_text(encoding="utf-8")
    section = readme.split("## Rules of GitHub")[1].split("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in section.splitlines()
        if line.startswith("| ")
    ]
    rules = [row for row in rows if not row[-1].startswith("test")]
    written = {
        name
        for folder in ("e2e", "integration", "workflows")
        for file in (PROJECT / "tests" / folder).glob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert len(rules) > 25
    for rule, source, tests in rules:
        assert source, rule
        named = set(re.findall(r"`(test_\w+)`", tests))
        assert named or tests == "the same", rule
        assert named <= written, rule


# -- helpers --


def command_lines() -> Iterator[str]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield entry.read_text(errors="replace")


def git(where: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            "git",
            "-C",
            str(where),
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@example.com",
            *args,
        ],
        capture_output=True,
        text=True,
        check=False,
    )


def authorised_clone(forge: Forge, where: Path, token: str) -> Path:
    subprocess.run(
        ["git", "clone", "--quiet", f"{forge.server_url}/{NAME}", str(where)],
        check=True,
    )
    git(
        where,
        "config",
        f"http.{forge.server_url}/.extraheader",
        checkout.auth_header(token),
    )
    return where


def commit_in(clone: Path, name: str = "mine.txt") -> None:
    (clone / name).parent.mkdir(parents=True, exist_ok=True)
    (clone / name).write_text("mine\n", encoding="utf-8")
    git(clone, "add", "-A")
    git(clone, "commit", "--quiet", "-m", "Mine")


def api(forge: Forge, path: str, body: Any, token: str) -> tuple[int, Any]:
    request = urllib.request.Request(
        forge.api_url + path,
        method="GET" if body is None else "POST",
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
