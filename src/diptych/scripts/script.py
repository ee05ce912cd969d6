"""Writes a network and its training as one plain file of a framework."""

import functools
import importlib
import importlib.resources
import textwrap
from dataclasses import dataclass

import jinja2

from diptych.errors import InputError
from diptych.layers import BatchNorm
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.scripts.files import Files, files_of
from diptych.scripts.source import WIDTH, call, fan, kinds, number

DEFAULT_RECIPE = "article"
"""The recipe of a script if neither the network nor the caller names one."""


@dataclass(frozen=True)
class Form:
    """A form in which scripts are written."""

    title: str
    """The text after "The network … in" at the head of the script."""
    needs: str
    layers: str
    """The module beside this one that writes the layers."""


FORMS = {
    "tensorflow": Form(
        "low-level TensorFlow: variables, tf.nn, GradientTape",
        "TensorFlow and NumPy",
        "tensorflow",
    ),
    "tensorflow+layers": Form(
        "TensorFlow with Keras' layers and a loop of its own",
        "TensorFlow and NumPy",
        "keras",
    ),
    "keras": Form("Keras: Sequential, compile, fit", "Keras and NumPy", "keras"),
    "torch": Form("PyTorch", "PyTorch and NumPy", "torch"),
    "jax": Form("JAX: pure functions of a dictionary of weights", "JAX, optax and NumPy", "jax"),
    "flax": Form("Flax NNX", "JAX, Flax, optax and NumPy", "flax"),
    "numpy": Form("NumPy: forwards, backwards, and Adam, in float64; slow", "NumPy alone", "numpy"),
}
"""The workflows that have a script, by name."""


def write(
    workflow: str,
    network: Network | str = "article",
    recipe: Recipe | str | None = None,
    data: str | Files = "mnist",
) -> str:
    """The script of a network in a workflow.

    Args:
        workflow: one of `FORMS`; ``keras@jax`` and ``keras@torch`` have the script of ``keras``.
        network: a network, a name in the zoo, or a TOML file.
        recipe: likewise; where not given, the network's own, else ``article``.
        data: ``"mnist"``, a folder of four IDX files, or what the script reads.

    Returns:
        Python source, as ruff formats it. Its head says which values of the recipe it leaves out.

    Raises:
        InputError: there is no such workflow, network or recipe, or the network does not fit the
            data.
    """
    form = FORMS[check(workflow)]
    if not isinstance(network, Network):
        network = Network.load(network)
    if not isinstance(recipe, Recipe):
        recipe = Recipe.load(recipe or network.recipe or DEFAULT_RECIPE)
    files = data if isinstance(data, Files) else files_of(data)
    network.check_data(files.image_shape, files.classes, files.folder)
    name = check(workflow)
    scaled = network.with_dropout_scaled(recipe.dropout_scale)
    return (
        _environment()
        .get_template(f"{name}.py.jinja")
        .render(
            form=name,
            head=_head(name, form, network, recipe, files),
            adam=_adam(recipe),
            layers=importlib.import_module(f"diptych.scripts.{form.layers}"),
            network=scaled,
            kinds=kinds(scaled),
            norms=any(isinstance(layer, BatchNorm) for layer in scaled.layers),
            recipe=recipe,
            files=files,
            steps=-(-files.training // recipe.batch_size),
        )
    )


def check(workflow: str) -> str:
    """The name in `FORMS` of a workflow's script.

    Raises:
        InputError: there is none.
    """
    name = workflow.partition("@")[0] if workflow.startswith("keras@") else workflow
    if name not in FORMS:
        raise InputError(f"workflow {workflow}: it has no script; expected {', '.join(FORMS)}")
    return name


def left_out(workflow: str, recipe: Recipe) -> list[str]:
    """The values of a recipe that a script leaves out, in words."""
    words = {
        "rotation": bool(recipe.rotation),
        "scaling": bool(recipe.scaling),
        "shear": bool(recipe.shear),
        "elastic": bool(recipe.elastic),
        "crop": bool(recipe.crop),
        "frozen_after": bool(recipe.frozen_after),
        "averaging": bool(recipe.averaging) and workflow != "keras",
        "precision": recipe.precision != "float32",
        "early_stopping": recipe.early_stopping is not None and workflow != "keras",
    }
    return [word for word, left in words.items() if left]


def _adam(recipe: Recipe) -> list[str]:
    """The arguments of Keras' Adam after the learning rate that differ from its defaults."""
    usual = {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7}
    return [
        f"{name}={number(getattr(recipe, name))}"
        for name, value in usual.items()
        if getattr(recipe, name) != value
    ]


def _head(workflow: str, form: Form, network: Network, recipe: Recipe, files: Files) -> str:
    """The script's docstring, without its quotes."""
    words = left_out(workflow, recipe)
    listed = " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
    without = f", without its {listed}" if words else ""
    paragraphs = [
        f"The network {network.name} in {form.title}.",
        f"It trains by the recipe {recipe.name}{without}. It needs {form.needs}.",
    ]
    if files.mirror:
        paragraphs[1] += " It reads MNIST's four IDX files in the folder that is its argument, or"
        paragraphs[1] += f" in {files.folder}, and downloads what is missing there."
    else:
        paragraphs[1] += " It reads four IDX files in the folder that is its argument, or in"
        paragraphs[1] += f" {files.folder}."
    if workflow == "torch" and any(isinstance(layer, BatchNorm) for layer in network.layers):
        paragraphs[1] += " Its moving variances are those of a sample, as PyTorch has them."
    return "\n\n".join(
        textwrap.fill(text, WIDTH - 3, break_on_hyphens=False) for text in paragraphs
    )


@functools.cache  # Most of the time goes into compiling the templates.
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_template),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "fan": fan}
    environment.globals |= {"call": call}
    return environment


def _template(name: str) -> str:
    folder = importlib.resources.files("diptych.scripts") / "templates"
    return (folder / name).read_text(encoding="utf-8")
