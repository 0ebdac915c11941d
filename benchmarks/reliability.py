"""`python -m benchmarks.reliability [--quick]`: the figures of docs/reliability.md,
found anew.

Kills fanin at its durable steps and runs it again, feeds the fan-in hostile results,
lets it race rivals. Exit 1 if anything was lost, done twice or left behind.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support import crashes, rivals
from tests.support.attacks import ATTACKS, DOCUMENTS, PACKS, Batch
from tests.support.jobs import Jobs
from tests.support.project import Project

POINTS = {
    "batch": 110,
    "individual": 70,
    "waiting": 60,
    "rolling": 120,
    "rolling individual": 80,
    "rolling waiting": 90,
}
TWICE = {  # points at which the recovery is killed as well
    "batch": [[80 + 4 * n, 6 + 4 * n] for n in range(8)],
    "rolling": [[100 + 25 * n, 10 + 15 * n] for n in range(8)],
    "rolling waiting": [[100 + 25 * n, 10 + 15 * n] for n in range(8)],
}
RACES = 3
QUICK = 20  # how many times fewer with --quick


@dataclass
class Figures:
    points: int = 0
    hostile: int = 0
    let_in: int = 0
    pushes: int = 0
    races: int = 0
    wrong: list[str] = field(default_factory=list)

    def table(self) -> str:
        count = {
            kind: sum(f": {kind}:" in line for line in self.wrong)
            for kind in ("lost", "double", "left behind")
        }
        rows = {
            "fault points tried (SIGKILL, then a new run)": self.points,
            "hostile inputs tried": self.hostile,
            "hostile inputs let in, or that held up the task beside them": self.let_in,
            "rivals' pushes survived": self.pushes,
            "races won by the fan-in": f"{self.races} of {RACES}",
            "lost results": count["lost"],
            "double commits or attempts": count["double"],
            "clones, locks or temporary files left": count["left behind"],
        }
        return "\n".join(
            [
                "| what | figure |",
                "|---|---|",
                *(f"| {what} | {figure} |" for what, figure in rows.items()),
            ]
        )


def crash(figures: Figures, folder: Path, divisor: int) -> None:
    points: list[tuple[crashes.Undisturbed, list[int]]] = []
    for variant, count in POINTS.items():
        end = crashes.undisturbed(folder, variant)
        points += [
            (end, [step])
            for step in crashes.sample(max(2, count // divisor), len(end.steps))
        ]
        twice = TWICE.get(variant, [])
        points += [(end, steps) for steps in twice[: max(1, len(twice) // divisor)]]
    with ThreadPoolExecutor(2) as pool:
        found = pool.map(
            lambda point: crashes.try_point(point[0], point[1], folder), points
        )
        for number, tried in enumerate(found, 1):
            figures.wrong += tried.wrong
            # a run that had fewer steps this time was not killed
            figures.points += bool(tried.died_at)
            for line in tried.wrong:
                tell(line)
            if number % 20 == 0:
                tell(f"{number} of {len(points)} fault points")


def attack(figures: Figures, folder: Path) -> None:
    packs = Batch.of(new_project(folder / "packs"), list(PACKS), folder / "packs-batch")
    for name, told in PACKS.items():
        packs.leave_pack(name, (ATTACKS / f"{name}.pack").read_bytes(), told["tree"])
    documents = Batch.of(
        new_project(folder / "documents"), list(DOCUMENTS), folder / "documents-batch"
    )
    for name, text in DOCUMENTS.items():
        documents.leave_document(name, text)
    for batch in (packs, documents):
        landed = batch.fan_in().landed
        figures.hostile += len(batch.manifest.entries) - 1
        figures.let_in += len(set(landed) - {"GOOD"}) + ("GOOD" not in landed)


def race(figures: Figures, folder: Path) -> None:
    for number in range(RACES):
        place = folder / f"race{number}"
        project = new_project(place / "project")
        project.plan([{"id": name, "do": [f"write {name}: x"]} for name in "AB"])
        jobs = Jobs(project, place)
        jobs.publish()
        chosen = jobs.next()
        jobs.tasks(chosen)
        with rivals.at_work(
            jobs.origin, place / "rivals", count=3, pause=0.1
        ) as others:
            merged = jobs.merge(chosen)
        history = set(jobs.git("rev-list", "main").splitlines())
        figures.pushes += len(others.landed)
        figures.races += merged.code == 0
        subjects = jobs.git("log", "--format=%s", "main").splitlines()
        if set(others.landed) - history:
            figures.wrong.append(f"race {number}: lost: a rival's commit")
        if subjects.count("Fan in A, B") > 1:
            figures.wrong.append(f"race {number}: double: commits")


def new_project(folder: Path) -> Project:
    project = Project(folder / "repo", folder / "agent.log")
    project.root.mkdir(parents=True)
    project.git("init", "-q", "-b", "main")
    project.git("config", "user.name", "test")
    project.git("config", "user.email", "test@example.com")
    project.write("README.md", "hello\n")
    project.commit("start")
    return project


def tell(line: str) -> None:
    sys.stderr.write(line + "\n")


@contextmanager
def scratch() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(
        prefix="reliability-", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a sample of the fault points"
    )
    divisor = QUICK if parser.parse_args().quick else 1
    figures = Figures()
    with scratch() as folder:
        attack(figures, folder)
        race(figures, folder)
        crash(figures, folder, divisor)
    git = subprocess.run(
        ["git", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    sys.stdout.write(
        f"{figures.table()}\n\n{git}, Python {sys.version.split()[0]}, {sys.platform}\n"
    )
    for line in figures.wrong:
        sys.stdout.write(f"{line}\n")
    return 1 if figures.wrong or figures.let_in or figures.races < RACES else 0


if __name__ == "__main__":
    sys.exit(main())
