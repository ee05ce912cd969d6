"""Words for the directions and the results of recurrent layers. This module needs only Python."""

FORWARD, BACKWARD, BOTH = "forward", "backward", "both"
SEQUENCE, STATE, CELL, STEP = "sequence", "state", "cell", "step"
RECURRENT = ("lstm", "gru", "simple_rnn")
"""The recurrent kinds, whose computations are in `diptych.auditing.kinds.recurrent`."""
