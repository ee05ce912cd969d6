"""Needs a package that is not there."""

import package_that_nobody_has  # type: ignore[import-not-found]  # noqa: F401


def model() -> None:
    """Nothing."""
