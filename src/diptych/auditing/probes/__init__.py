"""The probes: the questions to both sides. Each exists because some difference is hidden without
it."""
