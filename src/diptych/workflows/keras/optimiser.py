"""Keras' Adam by a recipe, its rates, and metrics of the newest batch."""

# Keras' annotations say less than Keras takes and gives: verbose=0, a schedule as a learning rate,
# parameters of a callback.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalSubscript=false

import keras
import numpy as np

from diptych.recipe import Recipe


class RateTable(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate for each step, looked up in the recipe's table."""

    def __init__(self, rates: np.ndarray) -> None:
        self.rates = rates

    def __call__(self, step):
        rate = keras.ops.take(self.rates, keras.ops.cast(step, "int32"))
        return keras.ops.cast(rate, keras.config.floatx())


class LastBatchLoss(keras.metrics.SparseCategoricalCrossentropy):
    """The loss of the newest batch alone; Keras' own ``loss`` is the mean of the epoch so far."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.reset_state()
        super().update_state(y_true, y_pred, sample_weight)


class LastBatchAccuracy(keras.metrics.SparseCategoricalAccuracy):
    """The accuracy of the newest batch alone."""

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.reset_state()
        super().update_state(y_true, y_pred, sample_weight)


def adam(recipe: Recipe, learning_rate: float | RateTable) -> keras.optimizers.Adam:
    """Keras' Adam; when the averages that it keeps take the weights' place is for us to say."""
    optimizer = keras.optimizers.Adam(
        learning_rate,
        beta_1=recipe.beta_1,
        beta_2=recipe.beta_2,
        epsilon=recipe.epsilon,
        use_ema=recipe.averaging > 0,
        ema_momentum=recipe.averaging,
    )
    # `fit` calls this at its end, which may be that of an epoch that was broken off. No subclass:
    # on PyTorch, Keras has an Adam for all variables at once, but for its own class alone.
    optimizer.finalize_variable_values = lambda trainable_variables: None
    return optimizer


class CaughtGradients(keras.optimizers.Optimizer):
    """Keeps each gradient instead of applying it: Keras' way to gradients on any backend."""

    def __init__(self) -> None:
        super().__init__(learning_rate=1.0)

    def build(self, variables) -> None:
        if not self.built:
            super().build(variables)
            self.caught = self.add_optimizer_variables(variables, "gradient")

    def update_step(self, gradient, variable, learning_rate) -> None:
        self.assign(self.caught[self._get_variable_index(variable)], gradient)
