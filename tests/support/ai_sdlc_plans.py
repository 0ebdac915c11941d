"""Plans in the ai-sdlc format, and how tests read and write them."""

from __future__ import annotations

from collections.abc import Mapping

from runner.core.task import Plan, Status
from runner.plan.formats.ai_sdlc import AiSdlc
from runner.plan.formats.base import Mark, MemoryTree

SOURCE = AiSdlc()


FAILED = Mark(Status.FAILED, "2026-01-16T10:00:00Z", "2026-01-16T10:05:00Z", "it broke")


TABLE = "## Task Progress\n\n| Task | Status | Started | Completed |\n|------|--------|---------|-----------|\n"


def write_back(text: str, marks: Mapping[str, Mark]) -> str:
    return SOURCE.write_back("plan.md", MemoryTree({"plan.md": text}), marks, {}).get(
        "plan.md", text
    )


def load(text: str) -> Plan:
    return SOURCE.load("plan.md", MemoryTree({"plan.md": text}), {})
