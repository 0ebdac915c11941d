"""What the stand-in actions do. Each module runs as a script, so it imports the
standard library only.
"""
