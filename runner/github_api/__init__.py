"""GitHub's API: calls, refusals, issues."""
