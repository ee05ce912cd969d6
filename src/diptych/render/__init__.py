"""Output of results in a terminal, a pipe, a notebook or a file.

There is one file per subject; `terminal` has what they share.
"""
