"""Adam in NumPy."""

import numpy as np

from diptych.network import Weights
from diptych.recipe import Recipe


class Adam:
    """Adam (Kingma & Ba, 2015) as TensorFlow and Keras have it, with "epsilon hat"."""

    def __init__(self, recipe: Recipe, values: Weights) -> None:
        self.beta_1, self.beta_2, self.epsilon = recipe.beta_1, recipe.beta_2, recipe.epsilon
        self.m = {name: np.zeros_like(value) for name, value in values.items()}
        self.v = {name: np.zeros_like(value) for name, value in values.items()}

    def apply(self, values: Weights, gradients: Weights, rate: float, t: int) -> None:
        """One update of the values, in place; ``t`` counts from 1."""
        rate = rate * np.sqrt(1 - self.beta_2**t) / (1 - self.beta_1**t)
        for name, gradient in gradients.items():
            m, v = self.m[name], self.v[name]
            m += (1 - self.beta_1) * (gradient - m)
            v += (1 - self.beta_2) * (gradient**2 - v)
            values[name] -= rate * m / (np.sqrt(v) + self.epsilon)
