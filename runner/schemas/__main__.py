"""Writes all files, and parts of files, that are generated."""

import json
from pathlib import Path

from runner.schemas import FOLDER, NAMES, generate, settings_files

for name in NAMES:
    (FOLDER / name).write_text(
        json.dumps(generate(name), indent=2) + "\n", encoding="utf-8"
    )

root = Path(__file__).parents[2]
for name in settings_files.FILES:
    path = root / name
    text = path.read_text(encoding="utf-8")
    path.write_text(settings_files.rendered(text), encoding="utf-8")
