"""The settings that a PyTorch optimizer reports."""

from typing import Any

import torch

NUMBERS = {
    "lr": "learning_rate",
    "eps": "epsilon",
    "alpha": "rho",
    "rho": "rho",
    "momentum_decay": "momentum_decay",
    "initial_accumulator_value": "accumulator",
    "momentum": "momentum",
    "dampening": "dampening",
    "weight_decay": "weight_decay",
}
"""PyTorch's names of settings and the audit's."""
FLAGS = ("nesterov", "amsgrad", "centered")


def described(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The kind and the settings of the first parameter group, as `Adapter.optimiser` gives them."""
    kind = type(optimizer).__name__.lower()
    group = optimizer.param_groups[0]
    known: dict[str, Any] = {"kind": kind}
    known |= {
        ours: float(group[name])
        for name, ours in NUMBERS.items()
        if isinstance(group.get(name), int | float)
    }
    known |= {name: bool(group[name]) for name in FLAGS if name in group}
    if "betas" in group:
        known["beta_1"], known["beta_2"] = map(float, group["betas"])
    if kind in ("adam", "adamw", "nadam"):
        known["bias_corrected_epsilon"] = getattr(optimizer, "bias_corrected_epsilon", True)
    return known
