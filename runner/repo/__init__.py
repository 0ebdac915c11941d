"""Git: the plan's repository, its objects and its remote."""
