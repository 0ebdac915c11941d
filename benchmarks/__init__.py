"""How fast fanin is, beside its peers and the physical limit: `python -m benchmarks`."""
