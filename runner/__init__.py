"""Run coding agents in parallel over a plan of tasks; land each batch as one commit."""

__version__ = "0.1.0"
