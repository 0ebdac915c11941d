"""GitHub issues as a plan: which ones are tasks, and the prompt of each."""
