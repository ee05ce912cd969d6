"""The kinds of layers, one file per family: everything about them that is independent of a
framework."""
