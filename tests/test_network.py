"""A network's description: its shapes, its costs, its first weights, and what it refuses."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from diptych import zoo
from diptych.errors import InputError
from diptych.layers import Conv, margins
from diptych.network import Network
from diptych.recipe import Recipe
from diptych.workflows.numpy.workflow import Workflow as Reference

CONV = {"kind": "conv", "filters": 3, "kernel": 3, "padding": "same"}
FLATTEN = {"kind": "flatten"}
DENSE = {"kind": "dense", "units": 10}


def network(*layers: Any, **others: Any) -> Network:
    return Network.from_dict({"input_shape": [28, 28, 1], "layers": [*layers]} | others)


# What a network costs.

ARTICLE = [  # As Keras printed it for the article; multiply-adds are positions × kernel × channels.
    ("conv_1", (28, 28, 64), 640, 28 * 28 * 64 * 9),
    ("conv_2", (28, 28, 64), 36928, 28 * 28 * 64 * 9 * 64),
    ("max_pool_1", (14, 14, 64), 0, 0),
    ("dropout_1", (14, 14, 64), 0, 0),
    ("conv_3", (14, 14, 32), 18464, 14 * 14 * 32 * 9 * 64),
    ("conv_4", (14, 14, 32), 9248, 14 * 14 * 32 * 9 * 32),
    ("max_pool_2", (7, 7, 32), 0, 0),
    ("dropout_2", (7, 7, 32), 0, 0),
    ("flatten_1", (1568,), 0, 0),
    ("dense_1", (256,), 401664, 1568 * 256),
    ("dropout_3", (256,), 0, 0),
    ("output", (10,), 2570, 256 * 10),
]


@pytest.mark.parametrize("name", ["article", "article-keras"])
def test_the_articles_network_is_as_the_articles_keras_printed_it(name: str) -> None:
    article = Network.load(name)
    found = [
        (row.name, row.output_shape, row.parameters, row.multiply_adds) for row in article.summary()
    ]
    assert found == ARTICLE
    assert article.parameters == article.trained_parameters == 469_514
    assert article.classes == 10


def test_the_articles_two_networks_differ_in_their_pooling_alone() -> None:
    def kinds(name: str) -> list[str]:
        return [layer.kind for layer in Network.load(name).layers]

    assert "average_pool" in kinds("article-tensorflow")
    averages = [kind.replace("max", "average") for kind in kinds("article-keras")]
    assert kinds("article-tensorflow") == averages
    rest = [
        [layer for layer in Network.load(name).layers if "pool" not in layer.kind]
        for name in ("article-tensorflow", "article-keras")
    ]
    assert rest[0] == rest[1]


def test_padding_valid_shrinks_the_maps_of_the_article() -> None:
    rows = Network.load("article-valid").summary()
    sides = [row.output_shape[0] for row in rows if len(row.output_shape) == 3]
    assert sides == [26, 24, 12, 12, 10, 8, 4, 4]


@pytest.mark.parametrize(
    ("size", "window", "stride", "pads"),
    [
        (28, 3, 1, (1, 1)),
        (28, 3, 2, (0, 1)),  # The odd pixel goes to the bottom and the right.
        (28, 4, 1, (1, 2)),
        (7, 3, 2, (1, 1)),
        (5, 2, 2, (0, 1)),
        (6, 1, 3, (0, 0)),
    ],
)
def test_padding_same_is_that_of_tensorflow(
    size: int, window: int, stride: int, pads: tuple[int, int]
) -> None:
    layer = Conv(filters=3, kernel=(window, 1), stride=(stride, 1), padding="same")
    assert layer.pads((size, 1, 1)) == (pads, (0, 0))
    assert layer.output_shape((size, 1, 1)) == (-(-size // stride), 1, 3)


def test_moving_averages_are_parameters_that_no_gradient_trains() -> None:
    normalised = network(CONV, {"kind": "batch_norm"}, FLATTEN, DENSE)
    assert normalised.summary()[1].parameters == 4 * 3
    assert normalised.parameters - normalised.trained_parameters == 2 * 3


ACTIVATIONS = st.sampled_from(
    [{"activation": a} for a in ("linear", "relu", "elu", "gelu", "tanh")]
    + [{"activation": "leaky_relu", "slope": 0.25}]
)
SIDES = st.integers(1, 3)
PAIRS = st.one_of(SIDES, st.lists(SIDES, min_size=2, max_size=2))
WINDOWED = st.fixed_dictionaries({"padding": st.sampled_from(["same", "valid"]), "stride": PAIRS})
POOLS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["max_pool", "average_pool"]), "size": PAIRS}
)
CONVS = st.fixed_dictionaries({"kind": st.just("conv"), "filters": SIDES, "kernel": PAIRS})
ANYWHERE = st.one_of(
    st.fixed_dictionaries({"kind": st.just("dropout"), "rate": st.floats(0, 0.9)}),
    st.just({"kind": "batch_norm", "momentum": 0.5}),
    ACTIVATIONS.map(lambda activation: {"kind": "activation"} | activation),
)
ON_IMAGES = st.one_of(
    st.tuples(CONVS, WINDOWED, ACTIVATIONS).map(lambda parts: parts[0] | parts[1] | parts[2]),
    st.tuples(POOLS, WINDOWED).map(lambda parts: parts[0] | parts[1]),
    ANYWHERE,
)
ON_VALUES = st.one_of(
    st.tuples(SIDES, ACTIVATIONS).map(
        lambda parts: {"kind": "dense", "units": parts[0]} | parts[1]
    ),
    ANYWHERE,
)


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Any layers in any order that there can be."""
    layers = [
        *draw(st.lists(ON_IMAGES, max_size=5)),
        FLATTEN,
        *draw(st.lists(ON_VALUES, max_size=3)),
        {"kind": "dense", "units": draw(st.integers(2, 4))},
    ]
    shape = [draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 3))]
    try:
        return Network.from_dict({"input_shape": shape, "layers": layers})
    except InputError as problem:
        assert "window is larger than its" in str(problem)
        assume(False)
        raise


@given(networks())
def test_a_network_comes_back_from_its_plain_data(made: Network) -> None:
    assert Network.from_dict(json.loads(json.dumps(made.to_dict()))) == made


@settings(max_examples=60)
@given(networks())
def test_layers_have_the_shapes_and_parameters_that_the_description_says(made: Network) -> None:
    reference = Reference(made, Recipe(), seed=0)
    outputs = reference.forward(np.full((2, *made.input_shape), 9, np.uint8), training=True)
    rows = made.summary()
    assert {name: y.shape for name, y in outputs.items()} == {
        row.name: (2, *row.output_shape) for row in rows
    }
    weights = made.initial_weights(0)
    assert made.parameters == sum(value.size for value in weights.values())
    assert made.parameters == sum(row.parameters for row in rows)
    trained = [v.size for k, v in weights.items() if "moving" not in k]
    assert made.trained_parameters == sum(trained)


# The first weights.


def test_kernels_start_uniform_within_glorots_limits_and_biases_at_zero() -> None:
    article = Network.load("article")
    weights = article.initial_weights(0)
    assert {name: value.shape for name, value in weights.items()} == article.weight_shapes()
    limits = {
        "conv_1": math.sqrt(6 / (9 * 1 + 9 * 64)),
        "conv_2": math.sqrt(6 / (9 * 64 + 9 * 64)),
        "conv_3": math.sqrt(6 / (9 * 64 + 9 * 32)),
        "conv_4": math.sqrt(6 / (9 * 32 + 9 * 32)),
        "dense_1": math.sqrt(6 / (1568 + 256)),
        "output": math.sqrt(6 / (256 + 10)),
    }
    for layer, limit in limits.items():
        kernel = weights[f"{layer}/kernel"]
        assert kernel.dtype == np.float32
        assert 0.97 * limit < np.abs(kernel).max() <= np.float32(limit)
        # Five standard errors of a uniform variable's mean and, roughly, of its deviation.
        error = 5 / math.sqrt(kernel.size)
        assert abs(kernel.mean()) < limit / math.sqrt(3) * error
        assert kernel.std() == pytest.approx(limit / math.sqrt(3), rel=error)
        assert not weights[f"{layer}/bias"].any()


def test_normalisation_starts_as_the_identity() -> None:
    weights = network(CONV, {"kind": "batch_norm"}, FLATTEN, DENSE).initial_weights(0)
    found = [weights[f"batch_norm_1/{name}"] for name in ("gamma", "moving_variance")]
    assert all((value == 1).all() for value in found)
    found = [weights[f"batch_norm_1/{name}"] for name in ("beta", "moving_mean")]
    assert not any(value.any() for value in found)


def test_first_weights_depend_on_the_seed_and_the_layer_alone() -> None:
    one, two = ({"name": name, **CONV, "filters": 1} for name in ("one", "two"))
    both = network(one, two, FLATTEN, DENSE)
    weights = both.initial_weights(3)
    again, other = both.initial_weights(3), both.initial_weights(4)
    assert all(np.array_equal(value, again[name]) for name, value in weights.items())
    assert not np.array_equal(weights["one/kernel"], weights["two/kernel"])
    assert not np.array_equal(weights["one/kernel"], other["one/kernel"])
    # Another layer before it changes nothing for a layer.
    longer = network(one, two, {"kind": "batch_norm"}, FLATTEN, DENSE).initial_weights(3)
    assert np.array_equal(longer["output/kernel"], weights["output/kernel"])


# Names, files and other data.


def test_layers_are_named_by_kind_and_number_and_keep_given_names() -> None:
    named = network(CONV, CONV | {"name": "middle"}, CONV, FLATTEN, DENSE)
    assert [layer.name for layer in named.layers] == [
        *("conv_1", "middle", "conv_3"),
        *("flatten_1", "output"),
    ]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
def test_a_network_loads_from_a_persons_file(tmp_path: Path, mark: bytes) -> None:
    path = tmp_path / "mine.toml"
    text = 'input_shape = [8, 9, 3]\nlayers = [{kind = "flatten"}, {kind = "dense", units = 4}]\n'
    path.write_bytes(mark + text.encode())
    mine = Network.load(path)
    assert (mine.name, mine.input_shape, mine.classes) == ("mine", (8, 9, 3), 4)
    assert mine.parameters == 8 * 9 * 3 * 4 + 4


@pytest.mark.parametrize("name", zoo.names("networks"))
def test_every_network_of_the_zoo_reads_mnist(name: str) -> None:
    loaded = Network.load(name)
    assert loaded.name == name
    assert loaded.description
    loaded.check_data((28, 28, 1), 10, "mnist")
    if loaded.recipe:
        Recipe.load(loaded.recipe)


def test_an_adapted_network_fits_the_data() -> None:
    article = Network.load("article")
    adapted = article.adapted((32, 30, 3), 7)
    adapted.check_data((32, 30, 3), 7, "others")
    assert adapted.summary()[0].parameters == (9 * 3 + 1) * 64
    assert adapted.layers[:-1] == article.layers[:-1]


def test_margins_put_what_is_smaller_in_the_middle() -> None:
    assert margins((7, 7, 32), (5, 4, 32)) == [(1, 1), (1, 2), (0, 0)]
    assert margins((10,), (10,)) == [(0, 0)]


def test_layers_that_cannot_take_cropped_images_are_named() -> None:
    article = Network.load("article-valid")
    article.check_cropped((20, 20, 1))
    with pytest.raises(InputError) as problem:
        article.check_cropped((9, 9, 1))
    assert str(problem.value) == (
        "network article-valid, layer 5 (conv_3), for images cropped to 9×9×1: its 3×3 window is "
        "larger than its 2×2 input: make the window smaller or use padding same; or let the recipe "
        "crop less (crop = 0 for nothing)"
    )


def test_what_is_frozen_goes_up_to_a_convolution() -> None:
    layers = [
        {"kind": "batch_norm"},
        {"kind": "conv", "filters": 2, "kernel": 3, "padding": "same"},
        {"kind": "batch_norm"},
        {"kind": "conv", "filters": 2, "kernel": 3, "padding": "same"},
        {"kind": "flatten"},
        {"kind": "dense", "units": 3},
    ]
    network = Network.from_dict({"input_shape": [8, 8, 1], "layers": layers})
    one = {"batch_norm_1/gamma", "batch_norm_1/beta", "conv_1/kernel", "conv_1/bias"}
    two = one | {"batch_norm_2/gamma", "batch_norm_2/beta", "conv_2/kernel", "conv_2/bias"}
    assert [network.frozen_weights(n) for n in range(4)] == [set(), one, two, two]
    assert Network.load("dense").frozen_weights(1) == set()


def test_scaled_dropout_changes_the_rates_alone() -> None:
    article = Network.load("article")
    halved = article.with_dropout_scaled(0.5)
    assert [layer.rate for layer in halved.layers if layer.kind == "dropout"] == [
        *(0.125, 0.125, 0.25)
    ]
    assert halved.with_dropout_scaled(2) == article
    assert article.with_dropout_scaled(1) == article


@pytest.mark.parametrize(
    ("shape", "classes", "said"),
    [
        ((28, 28, 3), 10, "takes 28×28×1 images (height×width×channels), data cats has 28×28×3"),
        ((28, 28, 1), 7, "layer 12 (output): 10 units, data cats has 7 classes"),
    ],
)
def test_data_that_do_not_fit_are_refused(shape: Any, classes: int, said: str) -> None:
    with pytest.raises(InputError) as raised:
        Network.load("article").check_data(shape, classes, "cats")
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"output/bias": None}, "output/bias is missing"),
        ({"other/bias": np.zeros(3)}, "other/bias belongs to no layer"),
        ({"output/bias": np.zeros(3)}, "output/bias has shape (3,), expected (10,)"),
    ],
)
def test_weights_of_another_network_are_refused(changes: dict[str, Any], said: str) -> None:
    dense = network(FLATTEN, DENSE)
    weights = {k: v for k, v in (dense.initial_weights(0) | changes).items() if v is not None}
    with pytest.raises(InputError) as raised:
        dense.check_weights(weights)
    assert said in str(raised.value)


# What cannot be.

POOL = {"kind": "max_pool", "size": 2}
BAD_LAYERS = [
    ([POOL | {"size": 29}, FLATTEN, DENSE], "layer 1 (max_pool_1): its 29×29 window is larger"),
    (
        [*[POOL] * 4, CONV | {"kernel": 2, "padding": "valid"}, FLATTEN, DENSE],
        "layer 5 (conv_1): its 2×2 window is larger than its 1×1 input",
    ),
    ([DENSE, DENSE], "layer 1 (dense_1): needs flat values, gets images of shape (28, 28, 1)"),
    ([FLATTEN, CONV, FLATTEN, DENSE], "layer 2 (conv_1): needs images"),
    ([FLATTEN, POOL, DENSE], "layer 2 (max_pool_1): needs images"),
    ([CONV | {"filters": 0}, FLATTEN, DENSE], "layer 1 (conv): filters = 0"),
    ([CONV | {"filters": -1}, FLATTEN, DENSE], "layer 1 (conv): filters = -1"),
    ([CONV | {"filters": True}, FLATTEN, DENSE], "layer 1 (conv): filters = True"),
    ([CONV | {"filters": 2.0}, FLATTEN, DENSE], "layer 1 (conv): filters = 2.0"),
    ([CONV | {"filters": 2**40}, FLATTEN, DENSE], "layer 1 (conv): filters = 1099511627776"),
    ([CONV | {"kernel": True}, FLATTEN, DENSE], "layer 1 (conv): kernel = True"),
    ([CONV | {"kernel": [3, 0]}, FLATTEN, DENSE], "layer 1 (conv): kernel.1 = 0"),
    ([CONV | {"kernel": [3, 3, 3]}, FLATTEN, DENSE], "layer 1 (conv): kernel = (3, 3, 3)"),
    ([CONV | {"padding": "full"}, FLATTEN, DENSE], "layer 1 (conv): padding = 'full'"),
    ([CONV | {"activation": "swish"}, FLATTEN, DENSE], "layer 1 (conv): activation = 'swish'"),
    (
        [CONV | {"activation": "leaky_relu"}, FLATTEN, DENSE],
        "layer 1 (conv): activation leaky_relu",
    ),
    ([CONV | {"slope": 0.1}, FLATTEN, DENSE], "layer 1 (conv): activation linear has no slope"),
    (
        [CONV | {"filterz": 3}, FLATTEN, DENSE],
        "layer 1 (conv): unknown key 'filterz' (did you mean",
    ),
    (
        [{"kind": "conv", "filter": 3, "kernel": 3, "padding": "same"}, FLATTEN, DENSE],
        "layer 1 (conv): unknown key 'filter' (did you mean filters?)",
    ),
    ([CONV | {"name": "a/b"}, FLATTEN, DENSE], "layer 1 (conv): name = 'a/b'"),
    ([CONV | {"name": "output"}, FLATTEN, DENSE], "layer 3 (output): its name is taken"),
    ([FLATTEN, {"kind": "dense"}], "layer 2 (dense): units is missing"),
    ([FLATTEN, {"kind": "dens"}], "layer 2: unknown kind 'dens'; the kinds of layers are conv, "),
    (
        [FLATTEN, {"units": 10}],
        "layer 2: kind is missing; the kinds of layers are conv, max_pool, ",
    ),
    ([FLATTEN, 3], "layer 2: "),
    ([FLATTEN, {"kind": "dropout", "rate": 1.0}, DENSE], "layer 2 (dropout): rate = 1.0"),
    ([FLATTEN, {"kind": "dropout", "rate": -0.1}, DENSE], "layer 2 (dropout): rate = -0.1"),
    ([FLATTEN, {"kind": "dropout", "rate": math.nan}, DENSE], "layer 2 (dropout): rate = nan"),
    ([FLATTEN, {"kind": "dropout", "rate": False}, DENSE], "layer 2 (dropout): rate = False"),
    ([FLATTEN, {"kind": "dropout", "rate": "0.5"}, DENSE], "layer 2 (dropout): rate = '0.5'"),
    ([FLATTEN, {"kind": "batch_norm", "epsilon": 0}, DENSE], "layer 2 (batch_norm): epsilon = 0"),
    ([FLATTEN], "layer 1 (output): the last layer must be dense"),
    ([FLATTEN, DENSE | {"activation": "relu"}], "layer 2 (output): the last layer must be dense"),
    ([FLATTEN, DENSE | {"units": 1}], "layer 2 (output): units = 1"),
    ([], "it has no layers"),
]


@pytest.mark.parametrize(("layers", "said"), BAD_LAYERS, ids=[said for _, said in BAD_LAYERS])
def test_layers_that_cannot_be_are_refused_in_one_line(layers: list[Any], said: str) -> None:
    with pytest.raises(InputError) as raised:
        network(*layers, name="odd")
    assert str(raised.value).startswith(f"network odd: {said}")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"input_shape": [28, 28]}, "input_shape.2 is missing"),
        ({"input_shape": [28, 0, 1]}, "input_shape.1 = 0"),
        ({"input_shape": 28}, "input_shape = 28"),
        ({"layers": "flatten"}, "layers = 'flatten'"),
        ({"optimiser": "adam"}, "unknown key 'optimiser' (known are description, input_shape"),
        ({"layer": []}, "unknown key 'layer' (did you mean layers?)"),
    ],
)
def test_other_keys_are_refused_by_name(changes: dict[str, Any], said: str) -> None:
    data = {"name": "odd", "input_shape": [28, 28, 1], "layers": [FLATTEN, DENSE]} | changes
    with pytest.raises(InputError) as raised:
        Network.from_dict(data)
    assert str(raised.value).startswith(f"network odd: {said}")


@pytest.mark.parametrize("kind", [Network, Recipe])
def test_files_that_cannot_be_read_are_refused_in_one_line(kind: Any, tmp_path: Path) -> None:
    (tmp_path / "torn.toml").write_text("epochs = [")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "folder.toml").mkdir()
    for name, said in {
        "torn.toml": "not TOML",
        "binary.toml": "not a text file",
        "folder.toml": "a folder, expected a file",
        "missing.toml": "no such file",
        "folder": "no such name",
    }.items():
        with pytest.raises(InputError) as raised:
            kind.load(tmp_path / name)
        message = str(raised.value)
        assert said in message
        assert str(tmp_path / name) in message
        assert "\n" not in message


def test_a_misspelt_name_is_answered_with_the_close_one() -> None:
    with pytest.raises(InputError, match=r"network 'artcle': .*did you mean article\?"):
        Network.load("artcle")
    with pytest.raises(InputError, match=r"network 'zzz': .*there are article, "):
        Network.load("zzz")
