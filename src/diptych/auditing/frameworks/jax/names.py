"""Names for the leaves of the user's trees of parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diptych.auditing.graph import Arrays


class Names:
    """The names of a network's parameters: their paths, such as ``conv1/kernel``."""

    def __init__(self, params: Any, state: Any) -> None:
        """Names the leaves.

        Args:
            params: the tree that is trained.
            state: the rest. Its floating-point leaves are moving averages.
        """
        trained, rest = _paths(params), _paths(state)
        taken: set[str] = set()
        self.paths: list[str | None] = []
        """The name of each leaf, of params and then of state; None for leaves that are no
        parameters."""
        for path, leaf in [*trained, *rest]:
            name = path if _is_parameter(leaf) else None
            while name in taken:
                name = f"{name}_"
            self.paths.append(name)
            taken.update([name] if name else [])
        self.count = len(trained)
        self.averages = {name for name in self.paths[self.count :] if name}

    def arrays(self, params: Any, state: Any) -> Arrays:
        """The leaves by name; those of params alone where state is None."""
        leaves = jax.tree.leaves((params, state))
        names = self.paths[: len(leaves)]
        return {n: np.array(leaf) for n, leaf in zip(names, leaves, strict=True) if n}

    def filled(self, params: Any, state: Any, arrays: Arrays) -> tuple[Any, Any]:
        """The trees with other arrays in the named leaves."""
        leaves, tree = jax.tree.flatten((params, state))
        changed = [
            jnp.asarray(arrays[name], leaf.dtype) if name in arrays else leaf
            for name, leaf in zip(self.paths, leaves, strict=True)
        ]
        return jax.tree.unflatten(tree, changed)


def _is_parameter(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.floating)


def _paths(tree: Any) -> list[tuple[str, Any]]:
    """Each leaf with its path, without the collection that Linen has it in."""
    result = []
    for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]:
        keys = [str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path]
        keys = [key for i, key in enumerate(keys) if not (key == "value" and i == len(keys) - 1)]
        if keys and keys[0] == "batch_stats":
            keys = keys[1:]
        result.append(("/".join(keys) or "parameter", leaf))
    return result
