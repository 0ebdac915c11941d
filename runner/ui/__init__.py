"""Output for people: terminal, job summaries, diagrams, JSON."""
