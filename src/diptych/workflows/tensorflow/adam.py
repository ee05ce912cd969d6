"""Adam in low-level TensorFlow."""

# TensorFlow has no types of its own; the stubs for it take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportReturnType=false

import tensorflow as tf

from diptych.recipe import Recipe


class Adam:
    """Adam (Kingma & Ba, 2015) in TensorFlow's form, with "epsilon hat"."""

    def __init__(self, recipe: Recipe, variables: dict[str, tf.Variable]) -> None:
        self.recipe = recipe
        self.m = {name: tf.Variable(tf.zeros_like(v)) for name, v in variables.items()}
        self.v = {name: tf.Variable(tf.zeros_like(v)) for name, v in variables.items()}

    def apply(
        self,
        variables: dict[str, tf.Variable],
        gradients: dict[str, tf.Tensor],
        rate: tf.Tensor,
        step: tf.Tensor,
    ) -> None:
        """One update; ``step`` counts from 0."""
        beta_1, beta_2 = self.recipe.beta_1, self.recipe.beta_2
        t = tf.cast(step + 1, tf.float32)
        rate = rate * tf.sqrt(1 - tf.pow(beta_2, t)) / (1 - tf.pow(beta_1, t))
        for name, gradient in gradients.items():
            variable, m, v = variables[name], self.m[name], self.v[name]
            m.assign_add((gradient - m) * (1 - beta_1))
            v.assign_add((tf.square(gradient) - v) * (1 - beta_2))
            variable.assign_sub(rate * m / (tf.sqrt(v) + self.recipe.epsilon))
