"""Reads the names of sides: ingredients joined by ``+``, such as ``middle=clamp(6)+step=clip(1)``.

An ingredient that is not named is the plain one, so that two sides that train differently differ in
one ingredient, and two that are the same have it in other words.
"""

import re

import numpy as np

SIZE, CLASSES, EXAMPLES = 8, 10, 64
_PATTERN = re.compile(r"(\w+)=(\w+)(?:\((.*)\))?")


class Recipe:
    """The ingredients of one side."""

    def __init__(self, name: str) -> None:
        self.ingredients: dict[str, tuple[str, list[float]]] = {}
        for text in name.split("+") if name != "plain" else ():
            match = _PATTERN.fullmatch(text)
            if not match:
                raise AttributeError(f"no ingredient {text!r} in {name!r}")
            numbers = [float(number) for number in (match[3] or "").split(",") if number]
            self.ingredients[match[1]] = (match[2], numbers)

    def __call__(self, what: str) -> str:
        """The ingredient's word; ``plain`` where it is not named."""
        return self.ingredients.get(what, ("plain", []))[0]

    def number(self, what: str, index: int = 0) -> float:
        """A number in the ingredient's parentheses."""
        return self.ingredients[what][1][index]


def images() -> tuple[np.ndarray, np.ndarray]:
    """Small images of noise around a bright spot, whose place is their class."""
    chance = np.random.default_rng(5)
    labels = np.arange(EXAMPLES) % CLASSES
    x = chance.random((EXAMPLES, SIZE, SIZE, 1), np.float32) / 2
    x[np.arange(EXAMPLES), labels % SIZE, labels // SIZE] += 0.5
    return x, labels.astype(np.int64)


def sequences() -> tuple[np.ndarray, np.ndarray]:
    """Sequences of six steps with five numbers each."""
    x = np.random.default_rng(6).normal(size=(EXAMPLES, 6, 5)).astype(np.float32)
    return x, (np.arange(EXAMPLES) % CLASSES).astype(np.int64)
