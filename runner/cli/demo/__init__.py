"""The demo: a repository, a plan, a scripted agent."""
