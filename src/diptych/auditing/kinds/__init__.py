"""The kinds of layers, one file per family: what is known of them apart from any framework."""
