"""PyTorch's Adam with the epsilon and the rates of a recipe."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from diptych.recipe import Recipe


class Adam(torch.optim.Adam):
    """PyTorch's Adam, with the epsilon that the recipe means ("epsilon hat") and its rates.

    PyTorch adds epsilon to the root of the second moment after correcting its bias, so what has the
    recipe's effect is another epsilon at each step.
    """

    bias_corrected_epsilon = False

    def __init__(self, parameters: list[nn.Parameter], recipe: Recipe) -> None:
        betas = (recipe.beta_1, recipe.beta_2)
        super().__init__(parameters, recipe.learning_rate, betas, recipe.epsilon, fused=True)
        self.recipe, self.steps_taken = recipe, 0
        self.rates = np.empty(0, np.float32)
        """Of each step; where there are none left it is the recipe's."""

    def step(self, closure=None):
        rate = np.float32(self.recipe.learning_rate)
        if self.steps_taken < len(self.rates):
            rate = self.rates[self.steps_taken]
        self.steps_taken += 1
        bias = math.sqrt(1 - self.recipe.beta_2**self.steps_taken)
        self.param_groups[0] |= {"lr": float(rate), "eps": self.recipe.epsilon / bias}
        return super().step(closure)

    def moments(self) -> dict[str, list[Tensor]]:
        """First and second moments, a tensor a parameter; zero before its first step."""
        states = [(p, self.state[p]) for p in self.param_groups[0]["params"]]
        return {
            key: [state.get(key, torch.zeros_like(p)) for p, state in states]
            for key in ("exp_avg", "exp_avg_sq")
        }
