"""Short names for how a task stands."""

from __future__ import annotations

from runner.core.task import Standing

OPEN, DONE, STUCK = Standing.OPEN, Standing.COMPLETED, Standing.STUCK
