"""How the results of a batch become one tree and a commit."""
