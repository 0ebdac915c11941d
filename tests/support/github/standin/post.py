"""The last step of every job: the post steps of the stand-ins, and a record of result
and outputs.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import urllib.parse
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

FIELD = re.compile(r"^(job|status|matrix|output:\S+) ", re.MULTILINE)


def parse(text: str) -> dict[str, Any]:
    """`name JSON` entries; the JSON may run over several lines, but within a string it
    never does.
    """
    pieces = FIELD.split(text)
    return {
        name: json.loads(value) if value.strip() else None
        for name, value in zip(pieces[1::2], pieces[2::2], strict=True)
    }


def remove_credentials(temp: Path) -> None:
    """What checkout's post step does."""
    notes = temp / "standin-credentials"
    for line in (
        notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
    ):
        where, key, credentials = line.split("\t")
        subprocess.run(
            ["git", "-C", where, "config", "--local", "--unset-all", key], check=False
        )
        Path(credentials).unlink(missing_ok=True)


def save_caches(temp: Path, status: str, env: Mapping[str, str]) -> None:
    """What cache's post step does, only after success."""
    notes = temp / "standin-caches"
    for line in (
        notes.read_text(encoding="utf-8").splitlines()
        if notes.exists() and status == "success"
        else []
    ):
        entry = json.loads(line)
        code = Path(env["STANDIN_CODE"]) / "cache.py"
        subprocess.run(
            [sys.executable, "-I", str(code), "save"],
            check=False,
            env={**env, "IN_KEY": entry["key"], "IN_PATH": entry["path"]},
        )


SECRET = "STANDIN_SECRET_"


def masks_of(value: str) -> Iterator[str]:
    """What the runner masks for one secret: all of it and each of its lines, however
    short, and the forms in which programs print them.
    """
    for text in [value.strip(), *(line.strip() for line in value.splitlines())]:
        if text:
            yield text
            yield json.dumps(text)[1:-1]
            yield urllib.parse.quote(text, safe="")
            yield base64.b64encode(text.encode()).decode()


def masks_added(log: Path, job: object, matrix: object) -> Iterator[str]:
    """The values that the job's steps gave to `::add-mask::`, by act's log."""
    # Other jobs write to the log too: its last line may not be complete.
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    for line in lines:
        if '"command":"add-mask"' not in line:
            continue
        event = json.loads(line)
        if (event.get("jobID"), event.get("matrix") or {}) == (job, matrix):
            yield str(event["arg"])


def without_masked(
    outputs: Mapping[str, str], masks: Iterable[str]
) -> tuple[dict[str, str], list[str]]:
    """The outputs that leave the job, and the names of those that the runner drops."""
    masks = set(masks)
    dropped = [
        name
        for name, value in outputs.items()
        if value and any(mask in value for mask in masks)
    ]
    allowed = {name: text for name, text in outputs.items() if name not in dropped}
    return allowed, dropped


def set_outputs(file: Path, outputs: Mapping[str, str]) -> None:
    """Set the step's outputs, which are the job's."""
    with file.open("a", encoding="utf-8") as stream:
        for name, value in outputs.items():
            delimiter = f"standin-{uuid.uuid4()}"
            stream.write(f"{name}<<{delimiter}\n{value}\n{delimiter}\n")


def main() -> int:
    """Called by the step that the harness appends."""
    fields = parse(sys.stdin.read())
    outputs = {
        name.removeprefix("output:"): ""
        if value is None
        else value
        if isinstance(value, str)
        else json.dumps(value)
        for name, value in fields.items()
        if name.startswith("output:")
    }
    matrix = fields["matrix"] or {}
    masks = set(masks_added(Path(os.environ["STANDIN_ACT_LOG"]), fields["job"], matrix))
    for name, value in os.environ.items():
        if name.startswith(SECRET):
            masks.update(masks_of(value))
    outputs, dropped = without_masked(outputs, masks)
    for name in dropped:
        sys.stdout.write(
            f"::warning::Skip output '{name}' since it may contain secret.\n"
        )
    set_outputs(Path(os.environ["GITHUB_OUTPUT"]), outputs)
    record = {
        "job": fields["job"],
        "status": fields["status"],
        "matrix": matrix,
        "outputs": outputs,
    }
    temp = Path(os.environ["RUNNER_TEMP"])
    save_caches(temp, str(record["status"]), os.environ)
    remove_credentials(temp)
    records = Path(os.environ["STANDIN_RECORDS"])
    records.mkdir(parents=True, exist_ok=True)
    (records / f"{uuid.uuid4()}.json").write_text(json.dumps(record), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
