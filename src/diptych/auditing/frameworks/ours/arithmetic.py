"""The arithmetic of two trainings of ours: what an audit of them computes in, and where the two
differ.

Runs and workflows that train in bfloat16 are audited in float32: rounding in bfloat16 would hide
much of what an audit looks for, and the workflows infer in float32 in any case. What is left to say
is where the arithmetic of the trainings differs, and that is read from the frameworks themselves:
the type of the numbers that each layer passes on in training.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from diptych.auditing.causes import advice
from diptych.auditing.frameworks.ours.submission import Training
from diptych.auditing.report import Finding
from diptych.auditing.spec import Spec
from diptych.errors import InputError
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.runs import Run
from diptych.worker import Arrays, Report, Worker
from diptych.workflows import registry

FLOAT32 = "float32"


@dataclass(frozen=True)
class Ours:
    """A training of ours: that of a run, or the one that a workflow has for a network."""

    workflow: str
    network: Network
    recipe: Recipe

    @classmethod
    def of(cls, spec: Spec) -> "Ours":
        """Reads it; raises InputError if it is not there, or not whole."""
        if spec.form == "run":
            run = Run.open(spec.where)
            return cls(run.workflow, run.network, run.recipe)
        network = Network.load(spec.name)
        return cls(spec.where, network, Training(network, None).recipe)

    @property
    def precision(self) -> str:
        return registry.precision(self.workflow, self.recipe)


def in_one_arithmetic(specs: list[Spec]) -> tuple[list[Spec], list[str], list[Finding]]:
    """Has two trainings of ours that compute in bfloat16 audited in float32.

    Args:
        specs: the two sides' specifications, as `diptych.auditing.spec.parse` gives them.

    Returns:
        The specifications to open, notes on the arithmetic, and a finding where that differs.
        Sides that are not both ours stay as they are.
    """
    if any(spec.form not in ("run", "workflow") for spec in specs):
        return specs, [], []
    try:
        ours = [Ours.of(spec) for spec in specs]
    except InputError:  # Opening the side tells it with the side's name.
        return specs, [], []
    used = [one.precision for one in ours]
    if "bfloat16" not in used:
        return specs, [], []
    lowered = [replace(spec, arithmetic=FLOAT32) for spec in specs]
    if used[0] != used[1]:
        effect = "the audit itself computed on both sides in float32"
        finding = Finding(
            "forward", "precision", None, used[0], used[1], effect, advice("precision")
        )
        return lowered, [], [finding]
    types = [number_types(one) for one in ours]
    return lowered, [_note(*types)], []


def number_types(ours: Ours) -> dict[str, str]:
    """The type of the numbers that each layer of the network passes on in training, by the layer's
    name, such as ``bfloat16``."""
    parameters = {
        "workflow": ours.workflow,
        "network": ours.network.to_dict(),
        "recipe": ours.recipe.to_dict(),
    }
    with Worker(registry.environment(ours.workflow)) as worker:
        answer, _ = worker.call(types_job, parameters)
    return answer["types"]


def _note(a: dict[str, str], b: dict[str, str]) -> str:
    told = "both sides train in bfloat16 and were audited in float32, which hides less; "
    differing = [(name, a[name], b[name]) for name in a if name in b and a[name] != b[name]]
    if differing:
        places = ", ".join(f"{name} ({one} in A, {other} in B)" for name, one, other in differing)
        return f"{told}in training their layers pass on other numbers at {places}"
    if a.keys() != b.keys():
        return f"{told}their layers are not the same, so the numbers they pass on were not compared"
    kinds = " and ".join(dict.fromkeys(a.values()))
    return f"{told}in training each of the {len(a)} layers passes on {kinds} numbers in both"


# What follows happens in the worker's process.


def types_job(
    parameters: dict[str, Any], _: Arrays, __: Report, ___: Callable[[], bool]
) -> tuple[dict[str, Any], Arrays]:
    """Builds the workflow and asks its framework."""
    network = Network.from_dict(parameters["network"])
    recipe = Recipe.from_dict(parameters["recipe"])
    name = parameters["workflow"]
    workflow = registry.load(name)(network, recipe, 0)
    images = np.zeros((2, *network.input_shape), np.uint8)
    readers = {"tensorflow": _tensorflow, "keras": _keras, "torch": _torch, "jax": _jax}
    return {"types": readers[registry.module(name)](workflow, images)}, {}


def _tensorflow(workflow: Any, images: np.ndarray) -> dict[str, str]:
    outputs: dict[str, Any] = {}
    workflow.forward(images, workflow.dtype, training=True, outputs=outputs)
    return {name: output.dtype.name for name, output in outputs.items()}


def _keras(workflow: Any, _: np.ndarray) -> dict[str, str]:
    by_name = {layer.name: layer.compute_dtype for layer in workflow.model.layers}
    return {layer.name: by_name[layer.name] for layer in workflow.network.layers}


def _torch(workflow: Any, images: np.ndarray) -> dict[str, str]:
    from diptych.workflows.torch.model import to_tensor

    types: dict[str, str] = {}
    for layer, module in zip(workflow.network.layers, workflow.model.layers, strict=True):
        module.register_forward_hook(
            lambda _, __, output, name=layer.name: types.update(
                {name: str(output.dtype).removeprefix("torch.")}
            )
        )
    workflow.model.train()
    workflow.model(to_tensor(images))
    return types


def _jax(workflow: Any, images: np.ndarray) -> dict[str, str]:
    import jax

    from diptych.workflows.jax.model import forward

    weights = workflow.training.trained | workflow.training.moving
    key = jax.random.key(0)
    outputs, _ = jax.eval_shape(
        lambda w, x, k: forward(workflow.network, workflow.recipe.precision, w, x, k),
        weights,
        images,
        key,
    )
    return {name: output.dtype.name for name, output in outputs.items()}
