"""Python source, written as ruff formats it.

A call that is too long for a line is written one argument per line with a trailing comma. The
formatter leaves that as it is for any line length, so a script keeps its form in a project with
longer lines.
"""

import re
from collections.abc import Iterable

from diptych.layers import Flatten, Shape
from diptych.network import Network

WIDTH = 88
"""The formatter's line length where nothing else is configured."""


def call(
    function: str, *arguments: str, before: str = "", after: str = "", indent: int = 0
) -> list[str]:
    """The lines of a call.

    Args:
        function: its name, such as ``layers.Dense``; empty for an expression, the only argument.
        arguments: the source of each argument.
        before: what the first line begins with, such as ``x = ``.
        after: what the last line ends with, such as a comma.
        indent: spaces in front of the first line.
    """
    space = " " * indent
    if not function:
        return [f"{space}{before}{arguments[0]}{after}"]
    line = f"{space}{before}{function}({', '.join(arguments)}){after}"
    if len(line) <= WIDTH:
        return [line]
    inner = [f"{space}    {argument}," for argument in arguments]
    return [f"{space}{before}{function}(", *inner, f"{space}){after}"]


def number(value: float) -> str:
    """A number as one writes it by hand: ``1e-7`` rather than ``1e-07``, ``0.1`` for 1 - 0.9."""
    rounded = float(f"{value:.12g}")
    return re.sub(r"e([+-])0+", lambda match: f"e{match[1].strip('+')}", repr(rounded))


def pair(values: tuple[int, int]) -> str:
    """``3`` for (3, 3), else ``(3, 5)``."""
    return str(values[0]) if values[0] == values[1] else str(values)


def statements(steps: Iterable[tuple[str, ...]], indent: int) -> list[str]:
    """The lines of a function's body that sets ``x`` in each step but the last, and returns that.

    Args:
        steps: the function and the arguments of each.
        indent: spaces in front of each line.
    """
    *first, last = steps
    lines = [line for step in first for line in call(*step, before="x = ", indent=indent)]
    return lines + call(*last, before="return ", indent=indent)


def string(text: str) -> str:
    """A string in double quotes."""
    return f'"{text}"'


def is_flatten(layer: object, before: Shape) -> bool:
    """True if the layer changes the shape; a flatten of flat values does nothing."""
    return isinstance(layer, Flatten) and len(before) == 3


def kinds(network: Network) -> set[str]:
    """The kinds of layers and the activations that the network has."""
    layers = set()
    for layer, before, _ in network.steps():
        if layer.kind != "flatten" or is_flatten(layer, before):
            layers.add(layer.kind)
        layers.add(getattr(layer, "activation", layer.kind))
    return layers - {"linear"}


def fan(shape: Shape) -> str:
    """A shape as the arguments of a call: ``3, 3, 1, 64``."""
    return ", ".join(map(str, shape))
