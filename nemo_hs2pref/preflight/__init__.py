"""Before a run, on each of its nodes: can it work here at all? One check an idea, each with a name and a time limit.

A check is a function that yields what it found (`check`); `runner` runs each in a process of its own, which is given
up at its limit: a file system or driver that hangs must not hang the job that asks about it. `checks` is the list.
What a person sees is printed by cli/preflight.py.
"""
