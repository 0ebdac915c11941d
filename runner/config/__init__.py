"""The settings: their sources, their precedence, their checks."""
