"""Names for differences: which setting, and whose, makes the two sides train differently."""
