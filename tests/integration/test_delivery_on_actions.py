"""`deliver: pull-request` on GitHub Actions: the jobs as real processes, the pull requests
on the stand-in of GitHub.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forge_jobs import ForgeJobs
from tests.support.github.forge import Forge
from tests.support.jobs import Job
from tests.support.project import Project

CHAIN = [
    {"id": "A", "do": ["write a: a"]},
    {"id": "B", "do": ["write b: b"], "depends_on": ["A"]},
]


@pytest.fixture
def jobs(project: Project, tmp_path: Path) -> Iterator[ForgeJobs]:
    folder = tmp_path / "actions"
    folder.mkdir()
    with Forge(tmp_path / "forge") as forge:
        yield ForgeJobs(project, folder, forge)


def start(jobs: ForgeJobs, **settings: str) -> None:
    jobs.project.plan(CHAIN, deliver="pull-request", **settings)
    jobs.publish()


def round_of(jobs: ForgeJobs, chosen: Job, **env: str) -> Job:
    """The rest of the round that was chosen, and the choice of the next."""
    jobs.tasks(chosen)
    merged = jobs.merge(chosen, FANIN_LATER_ROUNDS="4", **env)
    assert merged.code == 0, merged.log
    return merged


def test_a_run_lands_on_its_own_branch_and_keeps_one_pull_request(
    jobs: ForgeJobs, tmp_path: Path
) -> None:
    start(jobs, verify="true")
    chosen = jobs.next()
    assert chosen.outputs["has-work"] == "true", chosen.log
    assert (chosen.outputs["branch"], jobs.pulls) == ("main", [])
    jobs.tasks(chosen)
    verdict = tmp_path / "verdict.json"
    jobs.verify(chosen, verdict)
    # the base moves after the verdict: what lands elsewhere is still what was verified
    jobs.repository.git.commit_files("main", {"rival": "x"}, "Rival")
    base = jobs.git("rev-parse", "main")
    merged = jobs.merge(
        chosen, FANIN_VERDICT=str(verdict), FANIN_LAST="false", FANIN_LATER_ROUNDS="4"
    )
    assert merged.outputs["landed"] == "true", merged.log
    assert merged.outputs["branch"] == "fanin/4711"
    assert jobs.git("rev-parse", "main") == base, "nothing is pushed to the base"
    assert jobs.states("fanin/4711") == {"A": "completed", "B": "pending"}
    taken_in = "Merge main into fanin/4711"
    assert jobs.git("log", "-1", "--format=%s", "fanin/4711") == taken_in
    assert jobs.git("show", "fanin/4711:rival") == "x"
    (pull,) = jobs.pulls
    assert (pull["head"]["ref"], pull["base"]["ref"]) == ("fanin/4711", "main")
    assert pull["title"] == "Fanin: 2 tasks of tasks.yml"
    assert pull["draft"]
    assert "| ✅ | A: do A | a +1 -0 | true | " in pull["body"], pull["body"]
    assert "| 🔵 | ready | B: do B |" in pull["body"]
    assert f"the work is in <{jobs.forge.server_url}/o/r/pull/1>" in merged.summary

    pull["body"] = f"Please look at b.\n\n{pull['body']}\n\nThank you."
    chosen = jobs.as_chosen(merged)
    assert chosen.outputs["branch"] == "fanin/4711"
    jobs.tasks(chosen)
    jobs.verify(chosen, verdict)
    merged = jobs.merge(chosen, FANIN_VERDICT=str(verdict), FANIN_LATER_ROUNDS="4")
    assert jobs.states("fanin/4711")["B"] == "completed", merged.log
    (pull,) = jobs.pulls
    assert not pull["draft"], "the run has ended"
    assert "| ✅ | B: do B | b +1 -0 | true | " in pull["body"]
    assert pull["body"].startswith("Please look at b.")
    assert pull["body"].endswith("Thank you.")
    assert jobs.forge.unknown == []

    jobs.repository.merge_pull(1, "squash")
    jobs.run_id = "4712"
    after = jobs.next()
    assert (after.code, after.outputs["has-work"]) == (0, "false"), after.log
    assert json.loads(after.outputs["state"])["delivery"] == "fanin/4712"


def test_the_next_run_goes_on_unless_the_base_conflicts_or_the_request_was_closed(
    jobs: ForgeJobs,
) -> None:
    start(jobs)
    chosen = jobs.next()
    jobs.tasks(chosen)
    jobs.repository.git.commit_files("main", {"a": "other"}, "Rival")
    merged = jobs.merge(chosen, FANIN_LATER_ROUNDS="4")
    assert merged.code == 2
    assert "main and fanin/4711 have both changed the same lines" in merged.log
    assert (merged.outputs["landed"], merged.outputs["again"]) == ("true", "false")
    assert merged.outputs["round"] == ""
    (pull,) = jobs.pulls
    jobs.run_id = "4712"
    told = jobs.next()
    assert told.code == 2
    assert "git switch fanin/4711 && git merge main" in told.log

    jobs.repository.git.commit_files("main", {"a": None}, "Take the rival back")
    pull["state"] = "closed"
    asked = jobs.next()
    assert asked.code == 2
    assert "/o/r/pull/1 was closed, and main lacks the work of its branch" in asked.log
    assert "fanin run --abandon" in asked.log
    assert asked.outputs == {}

    pull["state"] = "open"
    chosen = jobs.next()
    assert "going on with fanin/4711, pull request 1" in chosen.log
    assert chosen.outputs["branch"] == "fanin/4711"
    assert chosen.outputs["base-sha"] == jobs.git("rev-parse", "fanin/4711")
    assert [entry["task"] for entry in jobs.matrix(chosen)] == ["B"]
    round_of(jobs, chosen)
    assert jobs.states("fanin/4711") == {"A": "completed", "B": "completed"}
    assert len(jobs.pulls) == 1
    assert not pull["draft"]

    jobs.repository.merge_pull(1)
    jobs.run_id = "4713"
    after = jobs.next()
    assert (after.code, after.outputs["has-work"]) == (0, "false"), after.log
    assert json.loads(after.outputs["state"])["delivery"] == "fanin/4713"


def test_a_token_that_may_not_end_a_draft_is_a_warning(jobs: ForgeJobs) -> None:
    jobs.project.plan(CHAIN[:1], deliver="pull-request")
    jobs.publish()
    chosen = jobs.next()
    jobs.repository.may_open_pulls = False
    merged = round_of(jobs, chosen)
    assert "open its pull request: " in merged.summary
    assert "/compare/main...fanin/4711" in merged.summary
    jobs.repository.may_open_pulls = True
    pull = jobs.repository.open_pull("fanin/4711")
    pull["draft"] = True
    jobs.environ["FANIN_TOKEN"] = jobs.forge.mint(
        {"contents": "read", "pull-requests": "write"}
    )
    merged = jobs.merge(chosen)  # the job is run again
    assert merged.code == 0, merged.log
    assert "could not mark" in merged.log
    assert "as ready for review: the token may not do this" in merged.log
    assert pull["draft"]
