"""Commands that measure; each prints the figures that a page of docs/ states. Speed:
`python -m benchmarks`.
"""
