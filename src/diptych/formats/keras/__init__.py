"""Keras' own files."""
