"""Writes the shipped schemas anew."""

import json

from runner.schemas import FILES, FOLDER, generate

for name in FILES:
    (FOLDER / name).write_text(
        json.dumps(generate(name), indent=2) + "\n", encoding="utf-8"
    )
