"""Fan coding agents out over a task graph; fan their work in to one commit."""

__version__ = "0.1.0"
