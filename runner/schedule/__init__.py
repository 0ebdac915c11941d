"""What may run now: selection, batch manifest, budget, backoff and preflight checks."""
