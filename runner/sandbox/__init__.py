"""Walls around what agents run, on Linux: bubblewrap, Landlock, or both.

`machine` asks what this machine can, `choose` decides which mechanism holds a run and
says what it does not hold. `rules` says what a program may read, write and reach,
`bubblewrap` and `landlock` put that into practice, `walls` does so for one attempt.
`refusals` recognises in a log what the walls have refused.
"""
