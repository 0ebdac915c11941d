"""Commands in comments on pull requests, and review comments for an agent."""
