"""The probes: what both sides are asked, each because some difference hides without it."""
