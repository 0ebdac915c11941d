"""What may enter a repository: globs, paths, changes, secrets. Pure."""
