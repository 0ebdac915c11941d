"""The plan: its formats, its graph, its progress, and what one commit says of them."""
