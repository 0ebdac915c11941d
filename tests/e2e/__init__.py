"""End-to-end tests: the shipped workflow files under nektos/act in host mode, against a
loopback forge.
"""
