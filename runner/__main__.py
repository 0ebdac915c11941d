"""`python -m runner` is the same door as `fanin`."""

from runner.cli import main

main()
