"""A network as a scikit-learn classifier: in pipelines, cross-validation and searches.

>>> from diptych.sklearn import ConvNetClassifier
>>> ConvNetClassifier("dense", workflow="numpy", epochs=3).fit(X, y).predict(X)  # doctest: +SKIP
"""

# scikit-learn's annotations say less than it takes and gives: validate_data, n_features_in_.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

import json
import math
import warnings
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors import SafetensorError, safe_open
from scipy import special

from diptych import extras, in_memory
from diptych.data import Split
from diptych.defaults import default_recipe, mismatch
from diptych.errors import InputError
from diptych.network import AveragePool, Conv, MaxPool, Network, Shape
from diptych.printing import say
from diptych.recipe import Recipe
from diptych.runs import read_arrays, write_arrays
from diptych.training import check_cropping, line_of, with_known_precision
from diptych.workflows import registry

try:
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ModuleNotFoundError:
    raise InputError(
        f"diptych.sklearn needs scikit-learn, which is not installed: {extras.advice('sklearn')}"
    ) from None

SCHEMA = 1
ARRAYS = "arrays"
"""What the data are called in a message."""
SEEDS = 2**31
LEVELS = 255
ROWS_A_CALL = 1000
"""Rows that are scaled at once; more only need more memory."""
MOVES = ("shift", "rotation", "scaling", "shear", "elastic", "crop")
"""What recipes do to images that makes no sense of a table's columns."""


class ConvNetClassifier(ClassifierMixin, BaseEstimator):
    """Trains a network by a workflow, behind scikit-learn's ``fit`` and ``predict``.

    **X** is images, (n, height, width) or (n, height, width, channels), or rows of values, (n,
    height * width * channels) with channels fastest. Rows get a shape by the first of these that
    applies: ``image_shape``; the network's own input shape, if it has as many values; and for a
    network without convolution and pooling 1 × columns × 1, a *table*. The network is then adapted
    to that shape and to the number of classes.

    **Values** become the package's own form, uint8. uint8 is taken as it is. Of anything else the
    lowest value in the training data becomes 0 and the highest 255, rounded between; in a table
    each column has its own range, in images all pixels share one. What is outside that range at
    prediction is clipped. So images that have been divided by 255, or standardised as a whole, lose
    nothing, and a column of a table is told apart in 256 steps, which an outlier makes coarse.
    The columns of a table are never shifted, turned or bent, whatever the recipe says.

    **y** is any labels of two classes or more.

    The workflow's framework runs in a process of its own, which stays for the next call and ends
    with this process; `numpy` has none and runs here. A search with ``n_jobs`` starts one each.

    Args:
        network: a `Network`, or its name in the zoo, or a TOML file.
        recipe: a `Recipe`, or its name, or a TOML file; by default the one that the network names,
            else ``plain``.
        workflow: one of `diptych.workflows.registry.NAMES`.
        epochs: in place of the recipe's, as are the next two; so that a search can set them.
        batch_size: in place of the recipe's.
        learning_rate: in place of the recipe's.
        image_shape: (height, width) or (height, width, channels) of the rows of X; one of them may
            be -1, for what is left.
        validation_fraction: the share of the training data, of each class alike, that is not
            trained on but validated on after each epoch. A recipe that stops early needs it.
        random_state: where all random numbers come from. A whole number below 2**31 is the seed
            that it is for `diptych.train`.
        verbose: print a line an epoch.

    Attributes:
        classes_: the labels, sorted (classes,).
        n_features_in_: values a sample: height × width × channels.
        feature_names_in_: where X was a data frame.
        network_: the network, adapted.
        recipe_: the recipe, as it was followed.
        seed_: the seed.
        low_: the value that became 0: one number, or (columns,) for a table. float64.
        high_: the value that became 255.
        weights_: float32 arrays in the layout that all workflows share.
        history_: what was measured, a dict an epoch (`diptych.workflows.progress.Epoch`); without
            ``validation_fraction`` nothing about validation.
        n_iter_: epochs trained.

    Everything that was fitted is arrays and plain data, so that copies, pickles, joblib and skops
    work; `save` and `load` keep it in a file that can be read without running anything from it.
    """

    def __init__(
        self,
        network: Network | str | Path = "article",
        recipe: Recipe | str | Path | None = None,
        workflow: str = "tensorflow",
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        image_shape: tuple[int, ...] | None = None,
        validation_fraction: float = 0.0,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = False,
    ) -> None:
        self.network = network
        self.recipe = recipe
        self.workflow = workflow
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.image_shape = image_shape
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    def fit(self, X: Any, y: Any) -> Self:
        """Trains anew on samples X and their labels y (n,); see the class for their form.

        Raises:
            InputError: a parameter is wrong, or the network cannot take what X holds.
            KeyboardInterrupt: Ctrl-C; what was fitted before stays.
            TrainingFailed: the loss stopped being a number.
        """
        registry.check_name(self.workflow)
        network = self._network()
        recipe = self._recipe(network)
        share = self._validation_share(recipe)
        rows, given = _rows(X)
        rows, y = validate_data(self, rows, y)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise InputError(f"y has 1 class ({classes[0]}), expected 2 or more")
        shape = self._shape(network, rows.shape[1], given)
        table = is_table(shape)
        if table:
            recipe = recipe.with_changes(**dict.fromkeys(MOVES, 0))
        network = network.adapted(shape, len(classes))
        check_cropping(network, recipe)
        seed = self._seed()

        low, high = value_range(rows, table)
        images = to_images(rows, low, high, shape)
        labels = labels.astype(np.int64)
        if share:
            parts = train_test_split(
                images, labels, test_size=share, stratify=labels, random_state=seed
            )
            train, validation = Split(parts[0], parts[2]), Split(parts[1], parts[3])
        else:
            # Workflows validate on something. One image costs nothing, and its numbers are dropped.
            train, validation = Split(images, labels), Split(images[:1], labels[:1])

        def report(event: dict[str, Any]) -> None:
            if share:
                say(line_of(event))
            else:
                say(
                    f"Epoch {event['epoch']} | Train Loss: {event['train_loss']:.4f} | "
                    f"Train Accuracy: {event['train_accuracy']:.4f}"
                )

        watch = {"report": report} if self.verbose else {}
        weights, history = in_memory.fit(
            self.workflow, network, recipe, seed, train, validation, **watch
        )
        if not share:
            history = [
                {key: value for key, value in epoch.items() if not key.startswith("validation")}
                for epoch in history
            ]
        self.classes_, self.network_, self.recipe_, self.seed_ = classes, network, recipe, seed
        self.low_, self.high_, self.weights_ = low, high, weights
        self.history_, self.n_iter_ = history, len(history)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class for each sample of X, float64 (n, classes).

        Raises:
            InputError: the samples are not of the shape that was fitted.
            sklearn.exceptions.NotFittedError: before `fit`.
        """
        check_is_fitted(self)
        shape = self.network_.input_shape
        rows, given = _rows(X)
        if given and given != shape:
            raise InputError(f"X holds {_by(given)} images, expected {_by(shape)} as in fit")
        rows = validate_data(self, rows, reset=False)
        images = to_images(rows, self.low_, self.high_, shape)
        logits = in_memory.logits(self.workflow, self.network_, self.weights_, images)
        return special.softmax(logits.astype(np.float64), axis=1)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable label for each sample of X (n,); raises what `predict_proba` does."""
        shares = self.predict_proba(X)
        return self.classes_[shares.argmax(axis=1)]

    def save(self, path: str | Path) -> None:
        """Writes what was fitted as one safetensors file: the weights, and all else as JSON.

        Raises:
            InputError: the labels or parameters are not plain data, or the file cannot be written.
            sklearn.exceptions.NotFittedError: before `fit`.
        """
        check_is_fitted(self)
        description = {
            "schema": SCHEMA,
            "parameters": self._plain_parameters(),
            "classes": _plain_classes(self.classes_),
            "network": self.network_.to_dict(),
            "recipe": self.recipe_.to_dict(),
            "seed": self.seed_,
            "low": self.low_.tolist(),
            "high": self.high_.tolist(),
            "history": self.history_,
        }
        if hasattr(self, "feature_names_in_"):
            description["feature_names"] = self.feature_names_in_.tolist()
        metadata = {"diptych.sklearn": json.dumps(description, allow_nan=False)}
        try:
            write_arrays(Path(path), self.weights_, **metadata)
        except OSError as problem:
            raise InputError(f"{path}: {problem.strerror or problem}") from None

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The fitted classifier that `save` wrote; nothing in the file is executed.

        Raises:
            InputError: there is no such file, or it is another or a damaged one.
        """
        weights = read_arrays(Path(path))
        try:
            with safe_open(path, framework="numpy") as file:
                found = json.loads((file.metadata() or {})["diptych.sklearn"])
            if found["schema"] != SCHEMA:
                raise InputError(f"{path}: schema {found['schema']!r}, expected {SCHEMA}")
            parameters = found["parameters"]
            for key, kind in (("network", Network), ("recipe", Recipe)):
                if isinstance(parameters[key], dict):
                    parameters[key] = kind.from_dict(parameters[key], f"in {path}")
            if parameters["image_shape"]:
                parameters["image_shape"] = tuple(parameters["image_shape"])
            fitted = cls(**parameters)
            registry.check_name(fitted.workflow)
            fitted.network_ = network = Network.from_dict(found["network"], f"in {path}")
            fitted.recipe_ = Recipe.from_dict(found["recipe"], f"in {path}")
            fitted.seed_ = int(found["seed"])
            fitted.classes_ = _classes(found["classes"])
            fitted.low_ = np.array(found["low"], np.float64)
            fitted.high_ = np.array(found["high"], np.float64)
            fitted.history_ = list(found["history"])
            fitted.n_iter_ = len(fitted.history_)
            fitted.n_features_in_ = count = math.prod(network.input_shape)
            if "feature_names" in found:
                fitted.feature_names_in_ = np.array(found["feature_names"], object)
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
            raise InputError(
                f"{path}: expected what ConvNetClassifier.save writes; {what}"
            ) from None
        try:
            network.check_weights(weights)
        except InputError as problem:
            raise InputError(f"{path}: {problem}") from None
        fitted.weights_ = weights
        return fitted

    def _network(self) -> Network:
        return self.network if isinstance(self.network, Network) else Network.load(self.network)

    def _recipe(self, network: Network) -> Recipe:
        """The recipe, with what the parameters say in place of its own."""
        recipe = self.recipe
        if not isinstance(recipe, Recipe):
            recipe = Recipe.load(recipe) if recipe else default_recipe(network, ARRAYS)
        if warning := mismatch(recipe, network, ARRAYS):
            warnings.warn(warning, stacklevel=3)
        given = {
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
        }
        # NumPy's numbers, of which searches are made, become Python's own.
        changes = {
            key: value.item() if isinstance(value, np.generic) else value
            for key, value in given.items()
            if value is not None
        }
        return with_known_precision(recipe.with_changes(**changes))

    def _validation_share(self, recipe: Recipe) -> float:
        share = self.validation_fraction
        try:
            valid = 0 <= share < 1
        except TypeError:
            valid = False
        if not valid:
            raise InputError(
                f"validation_fraction = {share!r}: expected a share of the training data, from 0 "
                "to less than 1"
            )
        if recipe.early_stopping and not share:
            raise InputError(
                f"recipe {recipe.name} stops early, by its loss on data that are not trained on: "
                "give validation_fraction, such as 0.1"
            )
        return float(share)

    def _seed(self) -> int:
        given = self.random_state
        if isinstance(given, int | np.integer) and 0 <= given < SEEDS:
            return int(given)
        return int(check_random_state(given).randint(SEEDS - 1))

    def _shape(self, network: Network, columns: int, given: Shape | None) -> Shape:
        """The shape of each sample; ``given`` is that of images, None for rows."""
        wanted = self.image_shape
        if wanted is not None:
            shape = _whole_shape(wanted, columns)
            if math.prod(shape) != columns or given not in (None, shape):
                holds = f"{_by(given)} images" if given else f"{columns} columns"
                raise InputError(
                    f"image_shape = {wanted!r}: {math.prod(shape)} values, but X has {holds}"
                )
            return shape
        if given:
            return given
        if columns == math.prod(network.input_shape):
            return network.input_shape
        if not any(isinstance(layer, Conv | MaxPool | AveragePool) for layer in network.layers):
            return 1, columns, 1
        side = math.isqrt(columns)
        such = f"({side}, {side})" if side**2 == columns else "(height, width)"
        raise InputError(
            f"X has {columns} columns, network {network.name} takes {_by(network.input_shape)} "
            f"images: say how they lie by image_shape={such}, or give X as (n, height, width)"
        )

    def _plain_parameters(self) -> dict[str, Any]:
        plain: dict[str, Any] = {}
        for key, value in self.get_params(deep=False).items():
            if isinstance(value, Network | Recipe):
                plain[key] = value.to_dict()
            elif isinstance(value, Path):
                plain[key] = str(value)
            elif isinstance(value, np.generic):
                plain[key] = value.item()
            elif key == "random_state" and isinstance(value, np.random.RandomState):
                plain[key] = self.seed_  # Fitting again then gives the same again.
            else:
                plain[key] = value
        return plain


def _whole_shape(wanted: Any, columns: int) -> Shape:
    """The (height, width, channels) that ``image_shape`` means for so many columns."""
    try:
        sizes = [int(size) for size in wanted]
    except (TypeError, ValueError):
        sizes = []
    if len(sizes) not in (2, 3) or sizes.count(-1) > 1 or any(s < 1 and s != -1 for s in sizes):
        raise InputError(
            f"image_shape = {wanted!r}: expected (height, width) or (height, width, channels), one "
            "of which may be -1 for what is left"
        )
    height, width, channels = sizes if len(sizes) == 3 else (*sizes, 1)
    rest = columns // abs(height * width * channels)
    height, width, channels = (rest if size == -1 else size for size in (height, width, channels))
    return height, width, channels


def is_table(shape: Shape) -> bool:
    """Whether samples of that shape are a table's rows: one pixel high, with one channel."""
    return shape[0] == shape[2] == 1


def value_range(rows: np.ndarray, table: bool) -> tuple[np.ndarray, np.ndarray]:
    """The values that become 0 and 255, float64: one for all, or for each column of a table.

    Args:
        rows: (n, columns), numbers.
        table: whether each column has its own.
    """
    if rows.dtype == np.uint8:
        ends = np.zeros(rows.shape[1]), np.full(rows.shape[1], LEVELS, float)
        return ends if table else (ends[0][0], ends[1][0])
    axis = 0 if table else None
    low, high = rows.min(axis=axis), rows.max(axis=axis)
    return np.asarray(low, np.float64), np.asarray(high, np.float64)


def to_images(rows: np.ndarray, low: np.ndarray, high: np.ndarray, shape: Shape) -> np.ndarray:
    """Rows (n, columns) as uint8 images (n, \\*shape): low becomes 0, high 255, clipped outside."""
    images = np.empty(rows.shape, np.uint8)
    if rows.dtype == np.uint8 and np.all(low == 0) and np.all(high == LEVELS):
        images[:] = rows
    else:
        # Halves: the difference of two float64 can be more than a float64.
        span = high / 2 - low / 2
        span = np.where(span > 0, span, 1)
        for start in range(0, len(rows), ROWS_A_CALL):
            here = slice(start, start + ROWS_A_CALL)
            share = (np.clip(rows[here].astype(np.float64), low, high) / 2 - low / 2) / span
            images[here] = np.rint(share * LEVELS)
    return images.reshape(len(rows), *shape)


def _rows(X: Any) -> tuple[Any, Shape | None]:
    """X with a row a sample, and the shape of its images, None where it had rows."""
    if getattr(X, "ndim", None) == 2:  # Data frames keep their names.
        return X, None
    array = np.asarray(X)
    if array.ndim not in (3, 4):
        return X, None  # For scikit-learn's own words, unless it is rows.
    height, width, channels = shape = (*array.shape[1:], 1)[:3]
    return array.reshape(len(array), height * width * channels), shape


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


def _by(shape: Shape) -> str:
    return "×".join(map(str, shape))
