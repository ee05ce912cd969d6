"""The object's description of its training: optimiser, rates, length and settings."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

from typing import Any

import numpy as np
import tensorflow as tf

from diptych.auditing.frameworks.defaults import as_written
from diptych.auditing.frameworks.tensorflow.builds import Built
from diptych.auditing.frameworks.tensorflow.drafts import clean
from diptych.errors import InputError


def keras_optimizer(submission: Built) -> Any:
    """The Keras optimiser that the object holds, None where it has none."""
    held = vars(submission.returned) if hasattr(submission.returned, "__dict__") else {}
    for value in held.values():
        if hasattr(value, "get_config") and hasattr(value, "apply_gradients"):
            return value
    return None


def optimiser(submission: Built) -> dict[str, Any]:
    """The object's description of its optimiser; see the protocol."""
    if keras_optimizer(submission) is not None:
        return of_optimiser(keras_optimizer(submission))
    known = ("learning_rate", "beta_1", "beta_2", "epsilon", "momentum", "weight_decay")
    said = {name: getattr(submission.returned, name, None) for name in known}
    found = {
        name: float(value)
        for name, value in said.items()
        if isinstance(value, int | float | tf.Variable | np.number)
    }
    return ({"kind": "adam"} if "beta_2" in found else {}) | found


def of_optimiser(optimizer: Any) -> dict[str, Any]:
    """The settings that a Keras optimiser reports, in the audit's terms."""
    config = optimizer.get_config()
    names = {"clipnorm": "clip_norm", "clipvalue": "clip_value"} | {
        "global_clipnorm": "clip_global_norm"
    }
    known = ("beta_1", "beta_2", "epsilon", "momentum", "nesterov", "weight_decay")
    names |= {name: name for name in known}
    found = {ours: config[theirs] for theirs, ours in names.items() if config.get(theirs)}
    rate = clean(float(np.asarray(optimizer.learning_rate)))
    return {"kind": type(optimizer).__name__.lower(), "learning_rate": rate} | found


def schedule(submission: Built) -> Any:
    """The schedule of the Keras optimiser, None where its rate is a number or unknown."""
    rate = getattr(keras_optimizer(submission), "_learning_rate", None)
    return rate if hasattr(rate, "get_config") and callable(rate) else None


def horizon(submission: Built) -> dict[str, Any]:
    """The length of training that the object defines: by ``steps``, a number, or by a schedule."""
    steps = submission.extra("steps")
    if isinstance(steps, int | np.integer):
        return {"steps": int(steps), "source": "steps"}
    config = schedule(submission).get_config() if schedule(submission) is not None else {}
    name = type(schedule(submission)).__name__
    if config.get("decay_steps") and not config.get("staircase"):
        last = config["decay_steps"] + (config.get("warmup_steps") or 0)
        return {"steps": int(last), "source": f"decay_steps of {name}"}
    if config.get("boundaries"):
        return {"steps": int(config["boundaries"][-1]) + 1, "source": f"boundaries of {name}"}
    return {"steps": None, "source": ""}


def rates(submission: Built, steps: int) -> list[tuple[int, list[float]]]:
    """The learning rates, from the Keras optimiser or from ``rates``, a number per step.

    Raises:
        NotImplementedError: the object shows neither: only its step knows.
    """
    table = submission.extra("rates")
    if table is not None:
        every = np.asarray(table, np.float64)[:steps]
    elif schedule(submission) is not None:
        every = np.array([float(schedule(submission)(np.int64(step))) for step in range(steps)])
    elif keras_optimizer(submission) is not None:
        rate = as_written(float(np.asarray(keras_optimizer(submission).learning_rate)))
        return [(0, [float(rate)])]
    else:
        raise NotImplementedError(
            "its step computes its own learning rate: give the object rates, a number per step"
        )
    return [
        (step, [float(rate)])
        for step, rate in enumerate(every)
        if step == 0 or rate != every[step - 1]
    ]


def settings(submission: Built) -> dict[str, str]:
    """The object's ``epochs`` and ``batch_size``, where it has them as numbers, and what it
    calls ``settings``."""
    plain = {name: getattr(submission.returned, name, None) for name in ("epochs", "batch_size")}
    said = {n: str(v) for n, v in plain.items() if isinstance(v, int | float | np.number)}
    more = submission.extra("settings")
    if more is not None and not isinstance(more, dict):
        raise InputError(f"settings is a {type(more).__name__}: expected a dict")
    return said | {str(name): str(value) for name, value in (more or {}).items()}
