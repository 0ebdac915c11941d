"""Which moves of the head a verdict survives."""

from __future__ import annotations

import os

import pytest

from runner.config.settings import load, read_settings_file
from runner.core.manifest import Manifest
from runner.core.result import Verdict
from runner.fan_in.verdict_binding import is_verified
from runner.pipeline import BatchRequest, next_batch
from runner.plan.snapshot import read_snapshot
from runner.repo.repository import Repository
from tests.support.project import Project

PLAN = "# Plan\n\n- [ ] **T1**: one\n- [ ] **T2**: two\n"


@pytest.fixture
def planned(project: Project) -> Project:
    project.write("plan.md", PLAN)
    project.write("fanin.yml", 'plan: plan.md\nagent: {command: ["true"]}\n')
    project.commit("plan")
    return project


def test_a_verdict_survives_progress_and_marks_and_nothing_else(
    planned: Project,
) -> None:
    repo = Repository(planned.root, os.environ)
    settings = load({}, {}, read_settings_file(planned.root))
    rules = settings.task_rules

    def at_head() -> tuple[str, Manifest, str]:
        """The head, a batch that starts from it, and its tree with work on top."""
        head = planned.git("rev-parse", "HEAD")
        snapshot = read_snapshot(repo, head, settings.plan, settings.progress, rules)
        request = BatchRequest(run="1", round_number=1, branch="main", slots=1)
        batch = next_batch(snapshot, settings, request)
        assert batch is not None
        blob = repo.objects().write("blob", b"work\n")
        return head, batch, repo.write_tree(head, {"work": ("100644", blob)})

    head, manifest, tree = at_head()
    verdict = Verdict(batch="1.1", manifest=manifest.digest, head=head, tree=tree)

    def holds(tree_now: str | None = None, **changes: str) -> bool:
        now, _, merged = at_head()
        snapshot = read_snapshot(repo, now, settings.plan, settings.progress, rules)
        said = verdict.model_copy(update=changes)
        with repo.quarantine() as quarantine:
            return is_verified(
                repo, quarantine, manifest, said, snapshot, tree_now or merged
            )

    assert holds()
    assert not holds(repo.tree(head))
    assert not holds(manifest="0" * 64)

    assert planned.cli("skip", "T2").returncode == 0
    changed = planned.git("diff", "--name-only", head).splitlines()
    assert changed == [".fanin/progress.json", "plan.md"]
    assert holds()
    assert not holds(repo.tree("HEAD"))
    assert not holds(head="f" * 40)
    assert not holds(head="main")

    text = (planned.root / "plan.md").read_text()
    planned.write("plan.md", f"{text}\nA word of a person.\n")
    planned.commit("words in the plan")
    assert not holds(), "the plan has more than marks"
    planned.git("reset", "-q", "--hard", "HEAD~1")
    planned.write("other", "by a person\n")
    planned.commit("another file")
    assert not holds()
