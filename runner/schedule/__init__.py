"""What may run now: selection, the batch manifest, the budget, the checks before
anything is paid.
"""
