"""One attempt of one agent: its checkout, its process, its result."""
