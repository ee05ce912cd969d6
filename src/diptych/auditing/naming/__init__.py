"""Naming of differences: the setting that makes the two sides train differently."""
