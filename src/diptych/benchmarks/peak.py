"""The machine's limit: how fast it multiplies large matrices."""

import time
from typing import Any

from diptych.worker import Arrays

SIDE = 4096
"""Large enough that the product, not its memory, is what takes time."""
TRIES = 6


def peak_job(parameters: dict[str, Any], *_: object) -> tuple[dict[str, Any], Arrays]:
    """In the worker's process: the fastest of a few products, in GFLOP/s."""
    import tensorflow as tf

    dtype = tf.as_dtype(parameters["precision"])
    a, b = (tf.cast(tf.random.normal([SIDE, SIDE]), dtype) for _side in range(2))
    product = tf.function(tf.matmul)
    seconds = []
    for _try in range(TRIES):
        start = time.perf_counter()
        product(a, b).numpy()
        seconds.append(time.perf_counter() - start)
    return {"measured": 2 * SIDE**3 / min(seconds) / 1e9}, {}
