"""One source of randomness: every random number of a run comes from its seed through Philox.

Philox is a counter-based generator (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3",
SC 2011), so the numbers of epoch 7 can be had without drawing those of epochs 0 to 6. That is what
lets a resumed run see exactly the batches that an uninterrupted run would have seen.
"""

import zlib

import numpy as np


def generator(seed: int, purpose: str, *position: int) -> np.random.Generator:
    """A generator of its own for one purpose at one position of a run.

    Args:
        seed: the run's seed, zero or more.
        purpose: what the numbers are for, such as ``"order"`` or ``"weights/conv_1"``.
        position: where in the run, such as the epoch; zero or more each, and always as many for
            the same purpose: NumPy's seeds take no notice of zeros at the end.
    """
    entropy = (seed, zlib.crc32(purpose.encode()), *position)
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy)))
