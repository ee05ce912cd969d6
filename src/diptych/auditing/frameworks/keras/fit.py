"""The user's arguments of ``fit``: how long they train, their callbacks, and other settings."""

# Keras' annotations say less than Keras takes and gives.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

import copy
import hashlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType
from typing import Any

import keras
import numpy as np
from keras import callbacks as known

from diptych.auditing.frameworks.keras.optimisers import optimisers
from diptych.auditing.frameworks.keras.schedule import (
    Rates,
    accumulated,
    as_number,
    changes,
    rates_between,
)
from diptych.errors import InputError

ASSUMED = 60_000
"""Examples that an epoch is taken to have where the user gives none: MNIST's."""
BATCH = 32
"""The defaults of ``fit``."""

WRITERS = (
    known.BackupAndRestore,
    known.CSVLogger,
    known.History,
    known.ModelCheckpoint,
    known.ProgbarLogger,
    known.RemoteMonitor,
    known.TensorBoard,
)
"""Callbacks on which training does not depend."""


def check(fit: dict[str, Any]) -> None:
    """Stops at arguments of ``fit`` that exclude each other or are not what they should be."""
    if fit.get("class_weight") is not None and fit.get("sample_weight") is not None:
        raise InputError(
            "extras['fit'] holds class_weight and sample_weight: expected one of them, as "
            "model.fit takes one; multiply them into sample_weight"
        )
    weights = fit.get("class_weight")
    if weights is not None and not isinstance(weights, dict):
        raise InputError(
            f"extras['fit']['class_weight'] is a {type(weights).__name__}: expected a dict of "
            "classes and their weights, such as {0: 1.0, 1: 2.0}"
        )
    for callback in handed_in(fit):
        if not isinstance(callback, keras.callbacks.Callback):
            raise InputError(
                f"extras['fit']['callbacks'] holds {callback!r}: expected objects of "
                "keras.callbacks.Callback"
            )


def handed_in(fit: dict[str, Any]) -> list[Any]:
    """The callbacks that the user gives to ``fit``."""
    callbacks = fit.get("callbacks")
    callbacks = getattr(callbacks, "callbacks", callbacks)  # A CallbackList.
    return keras.tree.flatten(callbacks) if callbacks else []


# Length.


@dataclass(frozen=True)
class Epoch:
    """The length of an epoch."""

    steps: int
    source: str
    told: bool
    """True if the user's own words say it."""


def epoch(extras: dict[str, Any]) -> Epoch:
    """The steps of an epoch by ``steps_per_epoch``, or by the user's data, or as assumed."""
    fit = extras.get("fit", {})
    if fit.get("steps_per_epoch"):
        return Epoch(int(fit["steps_per_epoch"]), f"{fit['steps_per_epoch']:,} steps", True)
    x, batch = fit.get("x"), int(fit.get("batch_size") or BATCH)
    if x is not None and not hasattr(x, "shape") and not isinstance(x, list | tuple | dict):
        count = getattr(x, "num_batches", None)
        try:
            count = count if isinstance(count, int) else len(x)  # A PyDataset, a tf.data.Dataset.
        except TypeError:
            count = None
        if count and count > 0:
            return Epoch(count, f"{count:,} batches", True)
    elif x is not None or "data" in extras:
        arrays = keras.tree.flatten(x if x is not None else extras["data"][0])
        count = int(len(arrays[0]) * (1 - (fit.get("validation_split") or 0)))
        steps = max(1, -(-count // batch))
        return Epoch(steps, f"{steps:,} steps ({count:,} examples in batches of {batch})", True)
    steps = -(-int(ASSUMED * (1 - (fit.get("validation_split") or 0))) // batch)
    return Epoch(
        steps, f"{steps:,} steps ({ASSUMED:,} examples assumed, in batches of {batch})", False
    )


def horizon(extras: dict[str, Any], optimiser: Any) -> dict[str, Any]:
    """The length of training that the user defines; see the adapter's protocol."""
    if "steps" in extras:
        return {"steps": int(extras["steps"]), "source": "extras['steps']"}
    fit = extras.get("fit", {})
    if fit.get("epochs") is not None:
        one, epochs = epoch(extras), int(fit["epochs"]) - int(fit.get("initial_epoch") or 0)
        return {
            "steps": epochs * one.steps,
            "source": f"fit's {epochs} epoch{'s' * (epochs != 1)} of {one.source}",
        }
    schedules = [each._learning_rate for each in optimisers(optimiser)] if optimiser else []
    if lengths := list(filter(None, map(length, schedules))):
        steps, name = max(lengths)
        return {"steps": steps, "source": f"the length of the schedule {name}"}
    return {"steps": None, "source": ""}


def length(schedule: Any) -> tuple[int, str] | None:
    """The step after which a schedule's rate stays, if it says so, and the schedule's class."""
    end = None
    if isinstance(schedule, keras.optimizers.schedules.CosineDecay):
        end = schedule.decay_steps + (schedule.warmup_steps if schedule.warmup_target else 0)
    elif isinstance(schedule, keras.optimizers.schedules.PolynomialDecay):
        end = None if schedule.cycle else schedule.decay_steps
    elif isinstance(schedule, keras.optimizers.schedules.PiecewiseConstantDecay):
        end = max(schedule.boundaries)
    return None if end is None else (int(end), type(schedule).__name__)


# Callbacks.


def acts(callback: Any) -> bool:
    """True if a callback may do something at the beginning of an epoch or in it.

    Keras' own ones, but for two, write files or act on what an epoch measured.
    """
    if isinstance(callback, known.LearningRateScheduler | known.LambdaCallback):
        return True
    return not type(callback).__module__.startswith("keras.")


class Callbacks:
    """The user's callbacks that act in training, called as ``fit`` calls them.

    They are copies, so that their counters start again each time.
    """

    def __init__(self, extras: dict[str, Any], model: keras.Model) -> None:
        fit = extras.get("fit", {})
        self.epoch = epoch(extras)
        self.first = int(fit.get("initial_epoch") or 0)
        self.callbacks = [copied(each) for each in handed_in(fit) if acts(each)]
        for callback in self.callbacks:
            callback.set_model(model)
            callback.set_params(
                {"verbose": 0, "epochs": fit.get("epochs", 1), "steps": self.epoch.steps}
            )

    @property
    def by_batch(self) -> bool:
        """True if any does something at each batch."""
        hooks = ("on_train_batch_begin", "on_train_batch_end", "on_batch_begin", "on_batch_end")
        return any(
            hook in vars(callback)
            or getattr(type(callback), hook) is not getattr(known.Callback, hook)
            for callback in self.callbacks
            for hook in hooks
        )

    def begin(self) -> None:
        """Called before the first step."""
        for callback in self.callbacks:
            callback.on_train_begin()

    def before_epoch(self, number: int) -> None:
        for callback in self.callbacks:
            callback.on_epoch_begin(self.first + number)

    def after(self, hook: str, number: int, logs: dict[str, float], all_measured: bool) -> None:
        """Calls one that is told what was measured. A callback that asks for what was not (such
        as ``val_loss``) is left out from then on: `settings` has it."""
        for callback in list(self.callbacks):
            try:
                getattr(callback, hook)(number, dict(logs))
            except (KeyError, TypeError):
                if all_measured:
                    raise
                self.callbacks.remove(callback)

    def before_step(self, number: int) -> None:
        """Called before each step; ``number`` counts them from the beginning of training."""
        if number % self.epoch.steps == 0:
            self.before_epoch(number // self.epoch.steps)
        for callback in self.callbacks:
            callback.on_train_batch_begin(number % self.epoch.steps)

    def after_step(self, number: int, logs: dict[str, float]) -> None:
        """Called after each step with its loss and metrics, or with nothing if it was not taken."""
        self.after("on_train_batch_end", number % self.epoch.steps, logs, bool(logs))
        if (number + 1) % self.epoch.steps == 0:
            self.after_epoch(number // self.epoch.steps, logs)

    def after_epoch(self, number: int, logs: dict[str, float]) -> None:
        self.after("on_epoch_end", self.first + number, logs, False)


def copied(callback: Any) -> Any:
    """A callback as it is now: what it appends to and counts in is copied with it."""
    copy_of = copy.copy(callback)
    for name, value in vars(callback).items():
        if isinstance(value, list | dict | set):
            vars(copy_of)[name] = copy.copy(value)
    return copy_of


@contextmanager
def as_it_was(model: keras.Model) -> Iterator[None]:
    """Undoes the effects of callbacks on a model, except on values of variables."""
    optimiser, stops = model.optimizer, model.stop_training
    rates = [(each, each._learning_rate) for each in optimisers(optimiser)] if optimiser else []
    trainable = [(layer, layer._trainable) for layer in model._flatten_layers()]
    try:
        yield
    finally:
        for layer, value in trainable:
            if layer._trainable != value:
                layer.trainable = value
        for each, rate in rates:
            if each._learning_rate is not rate:
                each._learning_rate = rate
        if model.optimizer is not optimiser:
            model.optimizer = optimiser
        model.stop_training = stops


def rates(extras: dict[str, Any], model: keras.Model, steps: int) -> Rates:
    """The learning rates below ``steps``, with the user's callbacks at work; no step is taken.

    The model is left with what the callbacks did to it.
    """
    callbacks, every = Callbacks(extras, model), accumulated(model.optimizer)
    if not callbacks.callbacks:
        return changes(rates_of(model, 0, steps), every)
    callbacks.begin()
    parts, per_epoch = [], callbacks.epoch.steps
    if callbacks.by_batch:
        for step in range(steps):
            for each in optimisers(model.optimizer):
                each._iterations.assign(step)
            callbacks.before_step(step)
            parts.append([[as_number(each.learning_rate) for each in optimisers(model.optimizer)]])
            callbacks.after_step(step, {})
    else:
        for number, start in enumerate(range(0, steps, per_epoch)):
            callbacks.before_epoch(number)
            stop = min(start + per_epoch, steps)
            parts.append(rates_of(model, start, stop))
            if len(parts[-1]) < stop - start:
                break
            callbacks.after_epoch(number, {})
    return changes(np.concatenate(parts), every) if parts else []


def rates_of(model: keras.Model, start: int, stop: int) -> np.ndarray:
    """The rates of a model's optimisers at steps from ``start`` to below ``stop``."""
    of_each = [rates_between(each, start, stop) for each in optimisers(model.optimizer)]
    return np.stack([rates[: min(map(len, of_each))] for rates in of_each], axis=1)


# Settings.

SHOWN = ("batch_size", "shuffle", "validation_split", "steps_per_epoch")
"""Arguments that the adapter's ``batches`` shows, where it makes them by ``fit``."""
UNIMPORTANT = ("x", "y", "verbose", "callbacks", "class_weight")
"""Arguments that do not affect training, or that other methods show: the data, `loss`, and below.
"""
VALIDATION = ("validation_data", "validation_steps", "validation_batch_size", "validation_freq")


def settings(extras: dict[str, Any], optimiser: Any, batches_shown: bool) -> dict[str, str]:
    """Settings that training depends on and that no other method of the adapter shows, in words.

    Args:
        extras: the user's.
        optimiser: the model's, or None.
        batches_shown: whether `batches` shows what ``fit`` makes of its arguments.
    """
    fit, words = extras.get("fit", {}), {}
    defaults = inspect.signature(keras.Model.fit).parameters
    watching = [each for each in handed_in(fit) if not isinstance(each, WRITERS)]
    watching = [each for each in watching if type(each) is not known.LearningRateScheduler]
    for name, value in fit.items():
        if name in UNIMPORTANT or (batches_shown and name in SHOWN):
            continue
        if name in VALIDATION and not watching:
            continue  # Validation without anybody who looks at it changes nothing.
        usual = defaults[name].default
        if name == "epochs" or not (value is usual or (np.isscalar(value) and value == usual)):
            words[name] = worded(value)
    if watching:
        words["callbacks"] = ", ".join(map(worded, watching))
    return words | of_optimiser(optimiser)


SEEN = 20
"""Steps over which the accumulation of gradients shows in an optimiser's first steps."""


def of_optimiser(optimiser: Any) -> dict[str, str]:
    """Behaviour of an optimiser that shows late in training, or only at its end."""
    words: dict[str, str] = {}
    for number, each in enumerate(optimisers(optimiser) if optimiser else []):
        of = f" of optimiser {number}" if number else ""
        if each.use_ema:
            often = each.ema_overwrite_frequency
            when = f"every {often} steps and " if often else ""
            words[f"use_ema{of}"] = (
                f"averages the weights (momentum {each.ema_momentum:g}), and puts the averages in "
                f"their place {when}when training ends"
            )
        if (each.gradient_accumulation_steps or 0) > SEEN:
            words[f"gradient_accumulation_steps{of}"] = str(each.gradient_accumulation_steps)
    if hasattr(optimiser, "inner_optimizer"):
        words["loss scale"] = (
            f"from {optimiser.initial_scale:g}, doubled after {optimiser.dynamic_growth_steps} "
            "steps without overflow"
        )
    return words


def worded(value: Any) -> str:
    """A value as words that two sides can be compared by."""
    if isinstance(value, float | np.floating):
        return f"{value:g}"
    if value is None or isinstance(value, str | int | np.integer):
        return str(value)
    if isinstance(value, keras.callbacks.Callback):
        inside = {
            name: part
            for name, part in vars(value).items()
            if not name.startswith("_") and name not in ("params", "model", "validation_data")
        }
        told = ", ".join(f"{name}={worded(part)}" for name, part in sorted(inside.items()))
        return f"{type(value).__name__}({told})"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {worded(part)}" for key, part in value.items()) + "}"
    if isinstance(value, list | tuple) and len(value) <= 8:
        return "(" + ", ".join(map(worded, value)) + ")"
    code = getattr(value, "__code__", None)
    if isinstance(code, CodeType):
        return f"{value.__name__} (code {digest(code_of(code))})"
    if hasattr(value, "shape") or isinstance(value, list | tuple):
        array = np.asarray(keras.ops.convert_to_numpy(value))
        return f"array of {array.shape} (content {digest(array.tobytes())})"
    return type(value).__name__


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def code_of(code: CodeType) -> bytes:
    """A function's code, without the places where it stands."""
    inner = [code_of(each) if isinstance(each, CodeType) else each for each in code.co_consts]
    return repr((code.co_code, inner, code.co_names)).encode()
