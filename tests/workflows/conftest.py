import os

import pytest

from diptych.data import Data, Split
from diptych.worker import ENVIRONMENT

os.environ.update(ENVIRONMENT)  # Before a framework is imported, as in a worker.


@pytest.fixture(scope="session")
def digits(mnist: Data) -> Data:
    """A few of the real digits: 330 to train with, 60 to validate, 50 to test."""

    def first(split: Split, count: int) -> Split:
        return Split(split.images[:count], split.labels[:count])

    return Data(
        name=mnist.name,
        source=mnist.source,
        train=first(mnist.train, 330),
        validation=first(mnist.validation, 60),
        test=first(mnist.test, 50),
        class_names=mnist.class_names,
    )
