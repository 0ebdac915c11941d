"""A simulated run is the run: the same attempts, in the same order, at the same second.

`python -m benchmarks.simulation` compares 1,000 plans; here are a few of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from benchmarks.simulation import difference
from runner import schemas
from tests.support.project import Project

# Even ones are batch by batch, odd ones rolling. Among them are plans where failures,
# retries, files that overlap, and a start before a merge decide the order.
SEEDS = (0, 4, 6, 20, 1, 5, 9, 27)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_real_run_starts_what_the_simulation_says_and_when(
    seed: int, tmp_path: Path
) -> None:
    assert difference(seed, tmp_path) is None


def test_simulate_prints_a_table_and_json_by_its_schema_and_starts_nothing(
    project: Project,
) -> None:
    project.plan(
        [
            {"id": "LONG", "estimate": "20m"},
            {"id": "A"},
            {"id": "B", "depends_on": ["A"]},
        ],
        max_concurrent=2,
    )
    head = project.git("rev-parse", "HEAD")
    shown = project.cli("simulate", "-j", "2", "--guess", "1m", "--job-start", "10")
    assert shown.returncode == 0
    rows = [line.split("  ") for line in shown.stdout.splitlines()]
    cells = [[cell.strip() for cell in row if cell.strip()] for row in rows]
    assert ["→ 2", "21 min", "2", "48%", "20 min", "45%", "22 min", "5"] in cells
    assert max(map(len, shown.stdout.splitlines())) <= 80
    printed = project.cli("simulate", "--json", "--until", "B").stdout
    document = json.loads(printed)
    jsonschema.validate(document, schemas.generate("simulate.schema.json"))
    assert (document["tasks"], document["seconds"]) == (2, 600)
    for option in ("--guess", "--job-start"):
        refused = project.cli("simulate", option, "soon")
        assert refused.returncode == 2
        assert "like 45s, 30m or 1h30m" in refused.stderr
    assert project.git("rev-parse", "HEAD") == head
    assert project.git("status", "--porcelain") == ""


def test_a_plan_with_nothing_left_says_how_to_simulate_it_all(
    project: Project,
) -> None:
    project.plan([{"id": "A"}])
    project.cli("skip", "A")
    assert "--all" in project.cli("simulate").stdout
