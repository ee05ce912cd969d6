"""See `diptych.readers`, which formats use as well."""

from diptych.readers import Readers

__all__ = ["Readers"]
