"""GitHub issues as a plan: which ones are tasks, and what each is told."""
