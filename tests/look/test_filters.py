"""How far training moved a run's kernels, and what is shown of them."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diptych import look, training
from diptych.look.filters import changes, initial_weights
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.render.filters import change_table
from diptych.render.terminal import plain
from diptych.runs import Run
from diptych.whole_files import write_json
from support import diptych


@pytest.fixture
def given(pair: dict[str, Run], tmp_path: Path) -> Run:
    """A finished run of the network `small` whose weights are made by the test."""
    return Run(Path(shutil.copytree(pair["numpy"].folder, tmp_path / "given")))


def test_the_change_of_weights_that_are_known(given: Run) -> None:
    """One kernel doubled, and one turned by a right angle at the same length."""
    initial = given.network.initial_weights(given.seed)
    conv, output = initial["conv_1/kernel"], initial["output/kernel"]
    other = np.random.default_rng(0).standard_normal(output.shape)
    other -= output * (other * output).sum() / (output * output).sum()
    other *= np.linalg.norm(output) / np.linalg.norm(other)
    given.save_weights(
        initial | {"conv_1/kernel": 2 * conv, "output/kernel": other.astype(np.float32)}
    )
    first, last = changes(given)
    assert (first.layer, first.frozen_after) == ("conv_1", None)
    assert (first.change, first.similarity) == pytest.approx((1, 1))
    assert (last.layer, last.frozen_after) == ("output", None)
    assert last.change == pytest.approx(2**0.5, rel=1e-6)
    assert last.similarity == pytest.approx(0, abs=1e-6)


def test_a_layer_that_is_frozen_from_the_start_has_not_changed(
    tmp_path: Path, few_digits: Path, small: Network, quick: Recipe
) -> None:
    recipe = quick.with_changes(frozen_after=[0.0])
    run = training.train("numpy", small, recipe, str(few_digits), 3, runs=tmp_path)
    frozen, trained = changes(run)
    assert (frozen.layer, frozen.change, frozen.frozen_after) == ("conv_1", 0.0, 0.0)
    assert frozen.similarity == pytest.approx(1.0)
    assert trained.change > 0.01
    table = plain(change_table(look.filters(run).facts["changes"])).splitlines()
    assert any(line.split()[:4] == ["conv_1", "0.0%", "1.000", "0%"] for line in table)


def test_initial_kernels_are_shown_beside_the_learned_ones(given: Run) -> None:
    picture = look.filters(given)
    before, after = (axes for axes in picture.figure.axes if axes.images and axes.get_title())
    assert before.get_title() == "initial, seed 0"
    change = changes(given)[0]
    assert after.get_title() == f"learned: {100 * change.change:.0f}% away from the initial ones"
    for axes, weights in ((before, initial_weights(given)), (after, given.weights())):
        assert weights
        pixels: Any = axes.images[0].get_array()
        tiles = np.asarray(pixels.filled(np.nan), float)
        shown = np.sort(tiles[~np.isnan(tiles)])
        np.testing.assert_array_equal(shown, np.sort(weights["conv_1/kernel"].ravel()))
    limits = {axes.images[0].get_clim() for axes in (before, after)}
    assert len(limits) == 1, "the same colour means the same weight in both"


def test_an_imported_run_has_no_initial_weights(given: Run) -> None:
    write_json(given.folder / "run.json", given.description() | {"imported": {"file": "a.onnx"}})
    picture = look.filters(given)
    assert picture.facts["changes"] == []
    assert [axes.get_title() for axes in picture.figure.axes if axes.images] == ["learned"]
    assert "not known" in plain(change_table([]))


def test_the_command_lists_every_layer_with_a_kernel(given: Run, tmp_path: Path) -> None:
    ended = diptych("look", "filters", given.folder, "--out", tmp_path)
    assert ended.returncode == 0
    png, svg, *rest = ended.stdout.splitlines()
    assert (png, svg) == tuple(f"{tmp_path}/filters-conv_1-given.{kind}" for kind in ("png", "svg"))
    rows = [line.split()[0] for line in rest if line.endswith("–")]
    assert rows == ["conv_1", "output"]
