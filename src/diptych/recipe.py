"""Recipes: how a network is trained, with optimiser, schedule, batches, augmentation, precision."""

from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from diptych import zoo
from diptych.shown import as_html
from diptych.validation import Described

Count = Annotated[int, Field(strict=True, ge=1, le=2**31)]
Positive = Annotated[float, Field(strict=True, gt=0)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Decay = Annotated[float, Field(strict=True, ge=0, lt=1)]


class MadeFor(BaseModel):
    """The networks and the data that a recipe is tuned to."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    networks: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names in the zoo."""
    data: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of data sets, such as ``mnist``."""

    @field_validator("networks")
    @classmethod
    def _names_are_in_the_zoo(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        known = zoo.names("networks")
        for name in names:
            if name not in known:
                raise ValueError(
                    f"made_for.networks: no network {name!r} ({zoo.hint(name, known)})"
                )
        return names


class Recipe(Described):
    """A recipe's values; every one of them can be set in a TOML file or on the command line.

    Raises:
        InputError: from `load`, `from_dict` and `with_changes`, with one line that names the key.
    """

    shelf = "recipes"

    name: str = "recipe"
    made_for: MadeFor | None = None
    """The networks and data that this recipe is tuned to; None for a recipe that holds for any."""
    epochs: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 10
    batch_size: Count = 50

    learning_rate: Positive = 0.001
    """The rate throughout, or the peak of a schedule."""
    schedule: Literal["constant", "one-cycle"] = "constant"
    """``one-cycle`` (Smith, 2018): linearly up to the peak, then linearly down to nearly zero."""
    warmup: Decay = 0.25
    """The share of all steps in which ``one-cycle`` rises."""

    beta_1: Decay = 0.9
    beta_2: Decay = 0.999
    epsilon: Positive = 1e-7
    """Adam's epsilon where TensorFlow and Keras have it: added to the square root of the second
    moment before its bias is corrected (the "epsilon hat" of Kingma & Ba, 2015, section 2)."""

    dropout_scale: Share = 1.0
    """Every dropout rate of the network is multiplied by this while it trains."""
    shift: Annotated[int, Field(strict=True, ge=0, le=64)] = 0
    """Each training image is shifted by up to this number of pixels in each direction, randomly in
    every epoch."""

    rotation: Annotated[float, Field(strict=True, ge=0, le=180)] = 0.0
    """Each training image turns by up to so many degrees in each direction."""
    scaling: Annotated[float, Field(strict=True, ge=0, le=4)] = 0.0
    """It grows or shrinks by up to this share, in height and in width."""
    shear: Annotated[float, Field(strict=True, ge=0, le=4)] = 0.0
    """It slants by up to so many pixels sideways a pixel of height."""
    elastic: Annotated[float, Field(strict=True, ge=0, le=64)] = 0.0
    """It bends: its control points move by so many pixels (the standard deviation)."""
    crop: Annotated[float, Field(strict=True, ge=0, le=0.9)] = 0.0
    """At first the images are without this share of their height and width, half of it at each
    edge, which costs the less time the more it is; 0.28 leaves the middle 20×20 pixels of MNIST,
    which hold 97% of the ink. What is missing before the dense layers is zeros."""
    crop_share: Share = 0.75
    """The share of all steps, from the first on, that see cropped images."""
    frozen_after: tuple[Share, ...] = ()
    """The shares of all steps after which the first, the second … convolution, and what is before
    it, stay as they are (Brock et al., 2017), so they do not descend. That saves their gradients; 0
    freezes a layer as it is initialised."""
    averaging: Decay = 0.0
    """The decay a step of a running average of the weights (Polyak & Juditsky, 1992), which
    validates and is kept in place of the last weights; 0 keeps the last ones. A frozen layer has
    none: its weights are kept."""

    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    """The arithmetic of training; the weights stay float32. ``auto`` is bfloat16 where the
    processor computes with it and float32 where it does not."""
    early_stopping: Annotated[int, Field(strict=True, ge=1)] | None = None
    """Stop after so many epochs without a smaller validation loss, and keep the best weights."""

    @field_validator("frozen_after")
    @classmethod
    def _first_layers_freeze_first(cls, shares: tuple[float, ...]) -> tuple[float, ...]:
        if list(shares) != sorted(shares):
            raise ValueError(
                f"frozen_after = {list(shares)}: a convolution cannot freeze before those in front "
                f"of it; expected shares that do not descend, such as {sorted(shares)}"
            )
        return shares

    def __repr__(self) -> str:
        values = ", ".join(f"{key}={value!r}" for key, value in self._changed().items())
        return f"<Recipe {self.name}: {values or 'all values are the defaults'}>"

    __str__ = __repr__

    _repr_html_ = as_html("description:recipe_values")

    def _changed(self) -> dict[str, Any]:
        """The values that differ from the defaults."""
        fields = type(self).model_fields
        return {
            key: getattr(self, key)
            for key in fields
            if key not in ("name", "description") and getattr(self, key) != fields[key].default
        }

    def with_changes(self, **changes: Any) -> Self:
        """The same recipe with other values for the given keys."""
        return self.from_dict(self.to_dict() | changes)

    def cropped_steps(self, steps: int) -> int:
        """The number of first steps of a training that use cropped images."""
        if not self.crop:
            return 0
        # However short a training is: what is to see whole images at its end does.
        return min(round(self.crop_share * steps), steps - (self.crop_share < 1))

    def freezing_steps(self, steps: int) -> list[int]:
        """The step from which each convolution of `frozen_after` is frozen, of so many steps."""
        # However short a training is: what is to be trained at all is.
        return [max(round(share * steps), share > 0) for share in self.frozen_after]

    def cropped(self, height: int, width: int) -> tuple[slice, slice]:
        """The rows and the columns that cropping leaves of an image of that size."""
        cuts = [min(round(size * self.crop / 2), (size - 1) // 2) for size in (height, width)]
        rows, columns = (slice(c, n - c) for c, n in zip(cuts, (height, width), strict=True))
        return rows, columns

    def learning_rates(self, steps: int, dtype: type = np.float32) -> np.ndarray:
        """The learning rate of each step of a training of that many steps, (steps,).

        A table rather than a formula, so that no workflow can have a schedule of its own.
        """
        if self.schedule == "constant":
            return np.full(steps, self.learning_rate, dtype)
        position = (np.arange(steps) + 1) / (steps + 1)
        rise = position / self.warmup if self.warmup else np.ones(steps)
        fall = (1 - position) / (1 - self.warmup)
        return (self.learning_rate * np.minimum(rise, fall)).astype(dtype)
