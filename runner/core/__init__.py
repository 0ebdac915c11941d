"""What every other package builds on: documents, errors, durable files, YAML and JSON
with line numbers.
"""
