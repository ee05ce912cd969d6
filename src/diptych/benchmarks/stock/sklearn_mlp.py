"""scikit-learn's ``MLPClassifier`` with its defaults, on pixels in [0, 1].

Source: scikit-learn's reference of `sklearn.neural_network.MLPClassifier`. Its defaults are one
hidden layer of 100 units, Adam at 0.001, batches of 200, and up to 200 iterations, which end once
the loss has not improved by 0.0001 for ten.
"""

import warnings
from collections.abc import Callable

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from diptych.benchmarks.stopwatch import Stopwatch


def rows(images: np.ndarray) -> np.ndarray:
    """An image a row, float32 (n, 784)."""
    return images.reshape(len(images), -1).astype(np.float32) / 255


def trained(
    images: np.ndarray, labels: np.ndarray, seed: int, length: int, clock: Stopwatch
) -> Callable[[np.ndarray], np.ndarray]:
    clock.start()
    classifier = MLPClassifier(random_state=seed, max_iter=length)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # Where the length is the limit.
        classifier.fit(rows(images), labels)
    clock.stop()
    return lambda images: np.asarray(classifier.predict(rows(images)))
