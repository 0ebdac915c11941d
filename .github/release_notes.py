"""Print the changelog's section on a release: `release_notes.py v0.1.0 < CHANGELOG.md`.

Ends with status 2 if the section is missing or empty, so that nothing is published.
"""

from __future__ import annotations

import sys


def notes(changelog: str, version: str) -> str:
    """The text of the section `## <version>`; "" if there is none."""
    lines: list[str] = []
    inside = False
    for line in changelog.splitlines():
        if line.startswith("## "):
            title = line.removeprefix("## ").split()
            inside = bool(title) and title[0].strip("[]") == version
        elif inside:
            lines.append(line)
    return "\n".join(lines).strip()


if __name__ == "__main__":
    tag = sys.argv[1]
    text = notes(sys.stdin.read(), tag.removeprefix("v"))
    if not text:
        sys.stderr.write(
            f"CHANGELOG.md has no section  ## {tag.removeprefix('v')}  for {tag}: "
            "rename  ## Unreleased\n"
        )
        sys.exit(2)
    sys.stdout.write(f"{text}\n")
