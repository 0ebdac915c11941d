"""What people see: terminal, job summaries, diagrams, JSON."""
