"""Raises while it is imported."""

from typing import Any

CLASSES = int("ten")


def model() -> Any:
    return None
