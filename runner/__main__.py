"""`python -m runner` is the same as `fanin`."""

from runner.cli import main

main()
