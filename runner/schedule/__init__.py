"""Decides what may run now: selection, manifest, budget, backoff, preflight checks."""
