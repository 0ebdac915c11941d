"""Delivery of a run's work as one pull request, for both executors."""
