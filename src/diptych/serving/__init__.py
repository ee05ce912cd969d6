"""Runs behind an HTTP API and a page: draw a digit, and watch two networks read it."""
