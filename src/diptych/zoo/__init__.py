"""The named networks, recipes, studies and searches, as TOML files."""

from diptych.zoo.shelves import ONE_OF, Shelf, hint, names, read

__all__ = ["ONE_OF", "Shelf", "hint", "names", "read"]
