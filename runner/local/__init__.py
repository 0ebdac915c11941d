"""The executor on one machine: the loop, the landing, the journal, recovery."""
