"""One attempt of one agent: its checkout, its process, what it left."""
