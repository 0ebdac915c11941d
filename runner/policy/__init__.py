"""The rules for what may enter a repository: globs, paths, changes, secrets. Pure."""
