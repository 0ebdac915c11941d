"""The foundation of every other package: documents, errors, durable files, YAML and
JSON with line numbers.
"""
