"""Studies: many runs to answer one question."""
