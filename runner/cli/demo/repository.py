"""The repository of `fanin demo`: a plan of six tasks and a scripted agent."""

from __future__ import annotations

import sys
from pathlib import Path

from runner.repo.command import isolated_git

_NAME, _EMAIL = "Fanin demo", "demo@example.com"
PLAN = """\
version: 1
defaults: {max_attempts: 2}
tasks:
  - id: T1
    title: Start the shop
    prompt: |
      sleep 0.5
      write shop.py: PRICE = 10\\n\\n\\ndef total(count):\\n    return PRICE * count\\n\\n\\nCURRENCY = "EUR"
    files: [shop.py]
  - id: T2
    title: Sell in dozens
    depends_on: [T1]
    prompt: |
      sleep 1
      write dozen.py: from shop import total\\n\\n\\ndef dozen():\\n    return total(12)
    files: [dozen.py]
  - id: T3
    title: Raise the price
    depends_on: [T2]
    prompt: |
      sleep 1
      replace shop.py: PRICE = 10 -> PRICE = 12
  - id: T4
    title: Trade in dollars
    depends_on: [T2]
    prompt: |
      sleep 1
      replace shop.py: CURRENCY = "EUR" -> CURRENCY = "USD"
  - id: T5
    title: Describe the shop
    depends_on: [T1]
    prompt: |
      sleep 1
      fail once: the agent lost its train of thought
      write README.md: # The shop
    files: [README.md]
  - id: T6
    title: Open the doors
    depends_on: [T3, T4, T5]
    prompt: |
      sleep 0.5
      write open.txt: open
    files: [open.txt]
"""


def make_repository(folder: Path) -> Path:
    """Create and commit the demo's repository in `folder`; return its path."""
    root = folder / "fanin-demo"
    root.mkdir()
    agent = str(Path(__file__).with_name("agent.py"))
    files = {
        "tasks.yml": PLAN,
        "fanin.yml": "parallel: true\n"
        f"agent:\n  command: [{sys.executable!r}, {agent!r}]\n",
        ".gitignore": "__pycache__/\n",
    }
    for name, text in files.items():
        (root / name).write_text(text)
    person = {}
    for role in ("AUTHOR", "COMMITTER"):
        person[f"GIT_{role}_NAME"] = _NAME
        person[f"GIT_{role}_EMAIL"] = _EMAIL
    git = isolated_git(root, person)
    git.run(["init", "-q", "-b", "main"])
    git.run(["config", "user.name", _NAME])
    git.run(["config", "user.email", _EMAIL])
    git.run(["add", "-A"])
    git.run(["commit", "-q", "-m", "Start with a plan"])
    return root
