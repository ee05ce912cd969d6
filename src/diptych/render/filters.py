"""How far training moved each layer's kernel from where it started."""

from typing import Any

from rich.console import Group, RenderableType

from diptych.render.terminal import table


def change_table(of_layers: list[dict[str, Any]]) -> RenderableType:
    """A row per layer, from `diptych.look.filters.Change` as plain data."""
    if not of_layers:
        return "\nThe run was imported: the weights that its training started from are not known."
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
        "Learned against initial kernels",
        rows,
        "",
        "Change: the length of what training added, to the length of the initial kernel.",
        "Similarity: their cosine; 1 if the learned kernel is the initial one, 0 if nothing of it "
        "is left.",
    )
