"""Data sets: the named ones, and the content of one."""

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType

from diptych.data import Data, KnownData
from diptych.render.terminal import table, words


def data_list(known: Iterable[KnownData]) -> RenderableType:
    """One row per named data set."""
    rows = table("Data", "Available", "Description", left=3)
    words(rows, 2)
    for data in known:
        rows.add_row(data.name, "yes" if data.offline else "to download", data.description)
    return Group(
        rows, "", "Or a folder: of four IDX files, or of one subfolder of pictures per class."
    )


def data_facts(data: Data) -> dict[str, Any]:
    """The facts that `data_info` shows, as plain data."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {
        "schema": 1,
        "name": data.name,
        "source": data.source,
        "image_shape": list(data.image_shape),
        "class_names": list(data.class_names),
        "images": {name: len(split.labels) for name, split in splits.items()},
        "images_by_class": {
            name: [int((split.labels == number).sum()) for number in range(data.classes)]
            for name, split in splits.items()
        },
        "notice": data.notice,
    }


def data_info(data: Data) -> RenderableType:
    """The number of images of each class in each split."""
    facts = data_facts(data)
    height, width, channels = data.image_shape
    rows = table("Class", *facts["images"])
    for number, name in enumerate(data.class_names):
        counts = [str(by_class[number]) for by_class in facts["images_by_class"].values()]
        rows.add_row(name, *counts)
    rows.add_row("all", *(str(count) for count in facts["images"].values()))
    return Group(
        f"Data {data.name}: {height}×{width}×{channels} images, {data.classes} classes",
        "",
        rows,
        *(["", data.notice] if data.notice else []),
    )
