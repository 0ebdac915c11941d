"""Merges the results of a batch into one tree and a commit."""
