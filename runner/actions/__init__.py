"""The executor on GitHub Actions: one module per job, and how jobs hand over."""
