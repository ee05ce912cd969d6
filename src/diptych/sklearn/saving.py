"""A fitted classifier as one safetensors file: the weights, and all else as JSON."""

import json
import math
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from safetensors import SafetensorError, safe_open

from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.sklearn.images import is_table
from diptych.whole_files import read_arrays, write_arrays
from diptych.workflows import registry

SCHEMA = 1
Classifier = TypeVar("Classifier")


def save(fitted: Any, path: str | Path) -> None:
    """Writes a fitted classifier; see `ConvNetClassifier.save`."""
    description = {
        "schema": SCHEMA,
        "parameters": _plain_parameters(fitted),
        "classes": _plain_classes(fitted.classes_),
        "network": fitted.network_.to_dict(),
        "recipe": fitted.recipe_.to_dict(),
        "seed": fitted.seed_,
        "low": fitted.low_.tolist(),
        "high": fitted.high_.tolist(),
        "history": fitted.history_,
    }
    if hasattr(fitted, "feature_names_in_"):
        description["feature_names"] = fitted.feature_names_in_.tolist()
    metadata = {"diptych.sklearn": json.dumps(description, allow_nan=False)}
    try:
        write_arrays(Path(path), fitted.weights_, **metadata)
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror or problem}") from None


def load(kind: type[Classifier], path: str | Path) -> Classifier:
    """The fitted classifier of that class; see `ConvNetClassifier.load`."""
    weights = read_arrays(Path(path))
    try:
        with safe_open(path, framework="numpy") as file:
            description = json.loads((file.metadata() or {})["diptych.sklearn"])
        if description["schema"] != SCHEMA:
            raise InputError(f"{path}: schema {description['schema']!r}, expected {SCHEMA}")
        parameters = description["parameters"]
        for key, described in (("network", Network), ("recipe", Recipe)):
            if isinstance(parameters[key], dict):
                parameters[key] = described.from_dict(parameters[key], f"in {path}")
        if parameters["image_shape"]:
            parameters["image_shape"] = tuple(parameters["image_shape"])
        fitted: Any = kind(**parameters)
        registry.check_name(fitted.workflow)
        fitted.network_ = network = Network.from_dict(description["network"], f"in {path}")
        fitted.recipe_ = Recipe.from_dict(description["recipe"], f"in {path}")
        fitted.seed_ = int(description["seed"])
        fitted.classes_ = _classes(description["classes"])
        fitted.low_ = np.array(description["low"], np.float64)
        fitted.high_ = np.array(description["high"], np.float64)
        fitted.history_ = list(description["history"])
        fitted.n_iter_ = len(fitted.history_)
        fitted.n_features_in_ = count = math.prod(network.input_shape)
        if "feature_names" in description:
            fitted.feature_names_in_ = np.array(description["feature_names"], object)
            if fitted.feature_names_in_.shape != (count,):
                raise ValueError(f"{len(fitted.feature_names_in_)} names for {count} features")
        if fitted.classes_.shape != (network.classes,):
            raise ValueError(f"{len(fitted.classes_)} labels for {network.classes} classes")
        ranges = (count,) if is_table(network.input_shape) else ()
        if not fitted.low_.shape == fitted.high_.shape == ranges:
            raise ValueError(f"ranges of shape {fitted.low_.shape}, expected {ranges}")
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, SafetensorError) as problem:
        what = " ".join(str(problem).split()) or type(problem).__name__
        raise InputError(f"{path}: expected what ConvNetClassifier.save writes; {what}") from None
    try:
        network.check_weights(weights)
    except InputError as problem:
        raise InputError(f"{path}: {problem}") from None
    fitted.weights_ = weights
    return fitted


def _plain_parameters(fitted: Any) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    for key, value in fitted.get_params(deep=False).items():
        if isinstance(value, Network | Recipe):
            plain[key] = value.to_dict()
        elif isinstance(value, Path):
            plain[key] = str(value)
        elif isinstance(value, np.generic):
            plain[key] = value.item()
        elif key == "random_state" and isinstance(value, np.random.RandomState):
            plain[key] = fitted.seed_  # Fitting again then gives the same again.
        else:
            plain[key] = value
    return plain


def _plain_classes(classes: np.ndarray) -> dict[str, Any]:
    """Labels as plain data, from which `_classes` makes the same array."""
    values = classes.tolist()
    if classes.dtype.kind not in "biufU" and not all(isinstance(each, str) for each in values):
        raise InputError(
            f"labels of dtype {classes.dtype}: expected numbers or strings; those can be saved"
        )
    return {"dtype": classes.dtype.str, "values": values}


def _classes(plain: dict[str, Any]) -> np.ndarray:
    dtype = np.dtype(plain["dtype"])
    if dtype.kind not in "biufUO":
        raise ValueError(f"labels of dtype {dtype}")
    return np.array(plain["values"], dtype)
