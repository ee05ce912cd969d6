"""One source of randomness: what is drawn depends on seed, purpose and position alone."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from diptych.randomness import generator


def draws(seed: int, purpose: str, *position: int) -> list[int]:
    return generator(seed, purpose, *position).integers(2**63, size=3).tolist()


@given(st.integers(0, 2**70), st.text(max_size=9), st.lists(st.integers(0, 2**40), max_size=3))
def test_the_same_place_gives_the_same_numbers(seed: int, purpose: str, position: list) -> None:
    assert draws(seed, purpose, *position) == draws(seed, purpose, *position)


def test_every_place_has_numbers_of_its_own() -> None:
    purposes = ["order", "shift", "weights/conv_1/kernel", "dropout/dropout_1"]
    positions = [(0, 0), (0, 1), (1, 0), (1, 1), (2**32, 0), (0, 2**32)]
    places = itertools.product([0, 1, 2, 2**32], purposes, positions)
    found = [tuple(draws(seed, purpose, *position)) for seed, purpose, position in places]
    assert len(set(found)) == len(found)


def test_a_seed_means_the_same_numbers_in_every_version() -> None:
    order = generator(0, "order", 0).permutation(10)
    assert order.tolist() == [8, 3, 9, 0, 6, 2, 1, 5, 4, 7]
    uniform = generator(7, "weights/x").uniform(-1, 1, 2)
    assert uniform.tolist() == [0.7055507007843809, 0.14826960044097803]
