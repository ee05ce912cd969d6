"""The classifier, as scikit-learn expects one."""

# scikit-learn's annotations say less than it takes and gives: validate_data, n_features_in_.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false

import warnings
from pathlib import Path
from typing import Any, Self

import numpy as np
from scipy import special

from diptych import extras, in_memory
from diptych.data import Split
from diptych.defaults import default_recipe, mismatch
from diptych.errors import InputError
from diptych.lines import epoch_line
from diptych.network import Network
from diptych.printing import say
from diptych.recipe import Recipe
from diptych.sklearn import saving
from diptych.sklearn.images import by, is_table, rows_of, sample_shape, to_images, value_range
from diptych.training import check_cropping, with_known_precision
from diptych.workflows import registry
from diptych.workflows.progress import Epoch

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

ARRAYS = "arrays"
"""The name of the data in messages."""
SEEDS = 2**31
MOVES = ("shift", "rotation", "scaling", "shear", "elastic", "crop")
"""The settings of recipes for images, which make no sense for the columns of a table."""


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
        """Trains from scratch on samples X and their labels y (n,); see the class for their form.

        Raises:
            InputError: a parameter is wrong, or the network cannot take what X holds.
            KeyboardInterrupt: Ctrl-C; what was fitted before stays.
            TrainingFailed: the loss stopped being a number.
        """
        registry.check_name(self.workflow)
        network = self._network()
        recipe = self._recipe(network)
        share = self._validation_share(recipe)
        rows, given = rows_of(X)
        rows, y = validate_data(self, rows, y)
        check_classification_targets(y)
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise InputError(f"y has 1 class ({classes[0]}), expected 2 or more")
        shape = sample_shape(self.image_shape, network, rows.shape[1], given)
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

        def report(epoch: Epoch) -> None:
            if share:
                say(epoch_line(epoch))
            else:
                say(
                    f"Epoch {epoch.epoch} | Train Loss: {epoch.train_loss:.4f} | "
                    f"Train Accuracy: {epoch.train_accuracy:.4f}"
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
        rows, given = rows_of(X)
        if given and given != shape:
            raise InputError(f"X holds {by(given)} images, expected {by(shape)} as in fit")
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
        saving.save(self, path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The fitted classifier that `save` wrote; nothing in the file is executed.

        Raises:
            InputError: there is no such file, or it is another or a damaged one.
        """
        return saving.load(cls, path)

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
