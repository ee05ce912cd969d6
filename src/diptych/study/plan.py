"""A study's folder: its plan, which names its runs, and the runs themselves.

The plan is written before anything is trained. After any interruption, the study continues with the
unfinished runs.
"""

import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diptych import training
from diptych.comparison.sides import setting
from diptych.data import Data, Split, load_data
from diptych.data.saving import save_idx_folder
from diptych.errors import InputError, command
from diptych.network import Network
from diptych.randomness import generator
from diptych.recipe import Recipe
from diptych.runs import Run, described, find
from diptych.study.description import Arm, Study
from diptych.whole_files import write_json
from diptych.workflows import registry

PLAN = "plan.json"
SCHEMA = 1
SHUFFLED = "shuffled-pixels"


@dataclass(frozen=True)
class Planned:
    """One run of a study."""

    arm: str
    seed: int
    run: str
    """The run's folder, relative to the folder of all runs."""


@dataclass(frozen=True)
class Plan:
    """A study with its runs."""

    study: Study
    quick: bool
    runs: list[Planned]
    root: Path
    """The folder of all runs."""

    @property
    def folder(self) -> Path:
        """The study's own folder."""
        return folder_of(self.root, self.study.name, self.quick)

    def opened(self) -> Iterator[tuple[Planned, Run]]:
        """Each run, in the order of the plan.

        Raises:
            InputError: a run is not there any more, or is damaged.
        """
        for planned in self.runs:
            yield planned, Run.open(self.root / planned.run)

    def unfinished(self) -> list[Run]:
        """The runs that have not ended, each once."""
        runs = {run.folder: run for _, run in self.opened() if run.status != "done"}
        return list(runs.values())


def folder_of(root: Path, name: str, quick: bool) -> Path:
    """The folder of a study of that name."""
    return root / f"study-{name}{'-quick' if quick else ''}"


def planned(study: Study, root: Path, quick: bool = False, seeds: int | None = None) -> Plan:
    """The plan of a study: the one that is there, or a new one, written.

    A run that another study has made already, of the same settings and seed, is taken.

    Args:
        study: the study.
        root: the folder of all runs.
        quick: with fewer seeds, and what else the study says of ``--quick``.
        seeds: another number of seeds.

    Raises:
        InputError: an arm cannot be trained, or the study has changed since its plan was made.
            Nothing is written then.
    """
    folder = folder_of(root, study.name, quick)
    count = seeds or (study.quick_seeds if quick else study.seeds)
    if (folder / PLAN).exists():
        known = read(folder)
        if known.study != study or len({run.seed for run in known.runs}) != count:
            raise InputError(
                f"study {study.name}: {folder} holds one with other arms or seeds: remove that "
                f"folder, or give this one another name"
            )
        return known
    arms = study.complete_arms(quick)
    ready = {name: prepared(name, arm, root) for name, arm in arms.items()}  # Checks them all.
    shared = SharedRuns(root)
    runs = []
    for seed in range(count):
        for name, arm in ready.items():
            run = shared.run(arm, seed)
            runs.append(Planned(name, seed, str(run.folder.relative_to(root))))
    plan = Plan(study, quick, runs, root)
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "schema": SCHEMA,
        "study": study.model_dump(mode="json", exclude_unset=True),
        "quick": quick,
        "runs": [asdict(run) for run in runs],
    }
    write_json(folder / PLAN, content)
    return plan


def read(folder: Path) -> Plan:
    """The plan in a study's folder.

    Raises:
        InputError: there is none, or it is damaged.
    """
    try:
        content: dict[str, Any] = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        runs = [Planned(**run) for run in content["runs"]]
        study = Study.from_dict(content["study"], str(folder))
        return Plan(study, content["quick"], runs, folder.parent)
    except FileNotFoundError:
        raise InputError(
            f"study {folder}: no {PLAN} there; {command('study', 'run', folder.name)} makes one"
        ) from None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{folder / PLAN}: the file is damaged") from None


@dataclass(frozen=True)
class Prepared:
    """An arm that is ready to be trained: its parts are known to fit each other."""

    network: Network
    recipe: Recipe
    data: Data
    workflow: str


def prepared(name: str, arm: Arm, root: Path) -> Prepared:
    """An arm, ready to train; data that it changes are saved below the folder of all runs.

    Raises:
        InputError: there is none of a name, a value is wrong, the parts do not fit, or the
            workflow's framework is not installed.
    """
    workflow = registry.check(arm.workflow or "tensorflow")
    data = load_data(arm.data or "mnist")
    if arm.images is not None:
        data = _first(data, arm.images, root / f"first-{arm.images}-images" / data.name)
    if arm.shuffled:
        data = _shuffled(data, root / SHUFFLED / data.name)
    network, recipe = training.fitted(arm.described_network(name), arm.described_recipe(), data)
    return Prepared(network, recipe, data, workflow)


class SharedRuns:
    """All runs of a folder: one of the same settings and seed is made once.

    Args:
        root: the folder of all runs.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.existing = {(setting(run.description()), run.seed): run for run in find(root)}

    def run(self, arm: Prepared, seed: int) -> Run:
        """The run of an arm and a seed: the one that is there, or a new one."""
        parts = arm.network, arm.recipe, arm.workflow, arm.data, seed
        key = setting(described(*parts)), seed
        if key not in self.existing:
            self.existing[key] = Run.create(self.root, *parts)
        return self.existing[key]


def _first(data: Data, count: int, folder: Path) -> Data:
    """The data with the first training images alone, and an eleventh as many that validate."""
    if count > len(data.train):
        raise InputError(
            f"images = {count}: {data.name} has {len(data.train)} training images; expected no more"
        )

    def changed() -> Data:
        # The form of the folder wants a twelfth of all these images to validate.
        validation = _few(data.validation, max(1, count // 11))
        return replace(data, train=_few(data.train, count), validation=validation)

    return _saved(changed, folder)


def _few(split: Split, count: int) -> Split:
    return Split(np.asarray(split.images[:count]), split.labels[:count])


def _shuffled(data: Data, folder: Path) -> Data:
    """The data with the pixels of all images in one other order, the same for every study."""
    pixels = int(np.prod(data.image_shape[:2]))
    order = generator(0, "study/pixels").permutation(pixels)

    def shuffled(split: Split) -> Split:
        rows = np.asarray(split.images).reshape(len(split), pixels, -1)
        return Split(rows[:, order].reshape(split.images.shape), split.labels)

    def changed() -> Data:
        train, validation, test = map(shuffled, (data.train, data.validation, data.test))
        return replace(data, train=train, validation=validation, test=test)

    return _saved(changed, folder)


def untested(data: Data, folder: Path) -> Data:
    """The data without the test images: the validation images stand in their place."""
    return _saved(lambda: replace(data, test=data.validation), folder)


def _saved(changed: Callable[[], Data], folder: Path) -> Data:
    """Data that a study has made of others, in a folder that is there as a whole or not at all."""
    if not folder.exists():
        partial = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}.partial")
        save_idx_folder(changed(), partial)
        try:
            partial.rename(folder)
        except OSError:
            shutil.rmtree(partial)
            if not folder.exists():  # Another process was faster, and its data are the same.
                raise
    return load_data(folder)
