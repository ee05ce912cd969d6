"""The change of each layer's kernel in training."""

from typing import Any

from rich.console import Group, RenderableType

from diptych.render.terminal import table


def change_table(of_layers: list[dict[str, Any]]) -> RenderableType:
    """One row per layer, from `diptych.look.filters.Change` as plain data."""
    if not of_layers:
        return "\nThe run was imported: its initial weights are not known."
    rows = table("Layer", "Change", "Similarity", "Frozen after")
    for one in of_layers:
        share = one["frozen_after"]
        rows.add_row(
            one["layer"],
            f"{100 * one['change']:.1f}%",
            f"{one['similarity']:.3f}",
            "–" if share is None else f"{100 * share:g}% of the steps",
        )
    return Group(
        "",
        "Learned and initial kernels",
        rows,
        "",
        "Change: the norm of learned minus initial kernel, relative to that of the initial one.",
        "Similarity: the cosine of the two; 1 if they have the same direction, 0 if nothing of the "
        "initial kernel is left.",
    )
