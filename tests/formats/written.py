"""Files to test with: networks with lively weights, written by a format's module."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import lively_weights

from diptych.errors import InputError
from diptych.formats import registry
from diptych.formats.protocol import Content
from diptych.network import Network
from diptych.recipe import Recipe


def format_module(name: str) -> Any:
    """The format's module; skips the test where its extra is not installed."""
    try:
        registry.check_format(name)
    except InputError as problem:
        pytest.skip(str(problem))
    return registry.load(name)


def content_of(network: Network, **values: Any) -> Content:
    about = {
        "schema": 1,
        "network": network.to_dict(),
        "class_names": list("0123456789"),
        "licence": "none",
        "recipe": Recipe().to_dict(),
        "seed": 3,
        "workflow": "numpy",
    }
    return Content(network, lively_weights(network), about, **values)


def written(name: str, folder: Path, content: Content) -> Path:
    path = folder / f"model{registry.FORMATS[name].suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The frameworks' own affairs.
        format_module(name).write(content, path)
    return path


def same_weights(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> bool:
    """Whether they are the same bit for bit."""
    return found.keys() == expected.keys() and all(
        value.dtype == np.float32 and np.array_equal(found[name], value)
        for name, value in expected.items()
    )
