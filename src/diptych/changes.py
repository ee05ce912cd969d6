"""Values for a recipe's keys as people write them: ``KEY=VALUE``, or ``KEY=VALUE,VALUE``."""

from collections.abc import Sequence
from typing import Any

from diptych import toml, zoo
from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run


def parse(settings: Sequence[str]) -> dict[str, list[Any]]:
    """The values of each key.

    Args:
        settings: such as ``learning_rate=0.002``, ``dropout_scale=0,1`` or
            ``frozen_after=[0.1, 0.4]``. Values are TOML; what is not TOML is text.

    Raises:
        InputError: a setting has no key or no value, or a key or a value is given twice.
    """
    values: dict[str, list[Any]] = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        key = key.strip()
        if not equals or not key or not text.strip():
            raise InputError(f"--set {setting}: expected KEY=VALUE, such as learning_rate=0.002")
        if key in values:
            raise InputError(f"--set {setting}: {key} is given twice")
        values[key] = _values(text)
        if any(value in values[key][:i] for i, value in enumerate(values[key])):
            raise InputError(f"--set {setting}: a value is given twice")
    return values


def with_options(values: dict[str, list[Any]], **options: Any) -> dict[str, list[Any]]:
    """Adds the options that have a name of their own, such as ``--epochs``.

    Raises:
        InputError: a key is given in both ways.
    """
    combined = dict(values)
    for key, value in options.items():
        if value is None:
            continue
        if key in values:
            option = "--" + key.replace("_", "-")
            given = ",".join(map(str, values[key]))
            raise InputError(f"{option} {value} and --set {key}={given}: expected one of them")
        combined[key] = [value]
    return combined


def single(values: dict[str, list[Any]]) -> dict[str, Any]:
    """The one value of each key.

    Raises:
        InputError: a key has several.
    """
    for key, several in values.items():
        if len(several) > 1:
            given = ",".join(map(str, several))
            raise InputError(
                f"--set {key}={given}: expected one value; `diptych compare` takes several"
            )
    return {key: several[0] for key, several in values.items()}


def changed_keys(recipe: Recipe, other: Recipe) -> dict[str, Any]:
    """The keys whose values differ, with those of ``recipe``; names and descriptions aside."""
    ours, theirs = recipe.model_dump(), other.model_dump()
    aside = {"name", "description", "made_for"}
    return {key: ours[key] for key in ours if key not in aside and ours[key] != theirs[key]}


def of_run(run: Run) -> str:
    """The changes of a run to the network and the recipe that it names, in words.

    Empty if there are none, and for networks and recipes that are not in the zoo.
    """
    description = run.description()
    network, recipe = run.network, run.recipe
    parts = []
    if network.name in zoo.names("networks"):
        known = Network.load(network.name)
        if network.input_shape != known.input_shape:
            parts.append(f"images {'×'.join(map(str, network.input_shape))}")
        if network.classes != known.classes:
            parts.append(f"{network.classes} classes")
        adapted = known.adapted(network.input_shape, network.classes)
        if network.layers != adapted.layers:
            parts.append("other layers")
    if recipe.name in zoo.names("recipes"):
        known = Recipe.load(recipe.name)
        if known.precision == "auto":  # A run says what that was on its machine.
            has_bfloat16 = description["machine"].get("bfloat16")
            precision = "bfloat16" if has_bfloat16 else "float32"
            known = known.with_changes(precision=precision)
        parts.append(words(changed_keys(recipe, known)))
    return ", ".join(filter(None, parts))


def words(values: dict[str, Any]) -> str:
    """The values in the form ``dropout_scale=0, shift=2``."""
    return ", ".join(f"{key}={_word(value)}" for key, value in values.items())


def _word(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_word, value))}]"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _values(text: str) -> list[Any]:
    try:
        return toml.parse(f"values = [{text}]")["values"]
    except ValueError:
        return [_value(part) for part in _split(text)]


def _value(text: str) -> Any:
    try:
        return toml.parse(f"value = {text}")["value"]
    except ValueError:
        return text.strip()


def _split(text: str) -> list[str]:
    """The parts between the commas that are in no bracket."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts
