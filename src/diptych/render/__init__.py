"""What comparisons, runs, evaluations and the rest look like in a terminal, a pipe or a notebook.

One file per subject; `terminal` has what they share.
"""
