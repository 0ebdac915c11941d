"""Test commands that Makefile, justfile and Taskfile name."""

from __future__ import annotations

import re

from runner.discovery.files import Files, Found

# file → (the command that runs a target, the pattern of a target `test` or `check`)
_RECIPES = {
    "Makefile": ("make", r"^(test|check)\s*:(?!=)"),
    "GNUmakefile": ("make", r"^(test|check)\s*:(?!=)"),
    "makefile": ("make", r"^(test|check)\s*:(?!=)"),
    "justfile": ("just", r"^@?(test|check)(?:\s[^:\n]*)?:(?!=)"),
    "Justfile": ("just", r"^@?(test|check)(?:\s[^:\n]*)?:(?!=)"),
    ".justfile": ("just", r"^@?(test|check)(?:\s[^:\n]*)?:(?!=)"),
    "Taskfile.yml": ("task", r"^  (test|check):"),
    "Taskfile.yaml": ("task", r"^  (test|check):"),
}


def recipe_test(files: Files) -> Found | None:
    """The target or recipe that tests the project; None if there is none."""
    for path, (program, pattern) in _RECIPES.items():
        targets = re.findall(pattern, files.read(path), re.MULTILINE)
        for target in ("test", "check"):
            if target in targets:
                return Found(f"{program} {target}", path, f"target {target}")
    return None
