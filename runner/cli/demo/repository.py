"""`fanin demo`: a new repository in a temporary folder with the seed's six-task graph
and a scripted agent.
"""

from __future__ import annotations

import sys
from pathlib import Path

import git

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
    """A committed repository in `folder` with the plan, the settings and the agent.
    Returns its path.
    """
    root = folder / "fanin-demo"
    repo = git.Repo.init(root, initial_branch="main")
    (root / "tasks.yml").write_text(PLAN)
    agent = str(Path(__file__).with_name("agent.py"))
    (root / "fanin.yml").write_text(
        f"parallel: true\nagent:\n  command: [{sys.executable!r}, {agent!r}]\n"
    )
    (root / ".gitignore").write_text("__pycache__/\n")
    repo.git.add("-A")
    person = git.Actor("Fanin demo", "demo@example.com")
    with repo.config_writer() as config:
        config.set_value("user", "name", person.name)
        config.set_value("user", "email", person.email)
    repo.index.commit("Start with a plan", author=person, committer=person)
    repo.close()
    return root
