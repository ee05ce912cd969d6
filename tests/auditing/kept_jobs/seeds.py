"""The job of a kept worker between two audits."""

import random
import sys

import numpy as np


def forget_job(parameters, arrays, report, stopping):
    """Has all random numbers begin anew, as in a process that has just started.

    An audit seeds the builds of both sides alike. The first builds of the next audit would then
    have the same weights on both sides, and those count as copied.
    """
    random.seed()
    np.random.seed()  # noqa: NPY002 (users' code draws from it)
    if torch := sys.modules.get("torch"):
        torch.seed()
    if tf := sys.modules.get("tensorflow"):
        tf.random.set_seed(None)
    return {}, {}
