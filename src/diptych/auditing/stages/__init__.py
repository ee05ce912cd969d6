"""The stages of an audit: one module each, with a function ``check(pair)`` that gives a `Stage`."""
