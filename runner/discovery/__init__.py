"""What a repository says about itself: how it is set up and tested.

Nothing of the repository is run here; its files are read, and may be anybody's.
"""
