"""The last step of every job: the post steps of the stand-ins, and a record of result
and outputs.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import uuid
from collections.abc import Mapping
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
    record = {
        "job": fields["job"],
        "status": fields["status"],
        "matrix": fields["matrix"] or {},
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
