"""The display of a task's state: an icon, a word and its meaning."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Look:
    """`meaning` is empty if the word says it all."""

    icon: str
    word: str
    meaning: str = ""


# In the order in which people want to see them.
LOOKS = {
    "failed": Look("❌", "failed", "no attempt is left"),
    "held": Look("✋", "held", "the work waits in a pull request"),
    "asking": Look("❓", "asking", "its agent waits for a person's answer"),
    "gated": Look("🚦", "gated", "it waits for a person's approval"),
    "blocked": Look("⛔", "blocked", "a task it depends on cannot run"),
    "in_progress": Look("⏳", "running"),
    "ready": Look("🔵", "ready", "nothing it depends on is missing"),
    "pending": Look("⚪", "waiting", "for the tasks it depends on"),
    "skipped": Look("⏭️", "skipped", "by the plan or a person"),
    "completed": Look("✅", "done"),
}
