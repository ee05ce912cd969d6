"""Events cross the boundary between processes as plain data."""

import json
from typing import get_args

import pytest

from diptych.events import (
    Auditing,
    Done,
    EpochEnded,
    Evaluating,
    Event,
    Loading,
    Planned,
    Started,
    Stepped,
    WeightsKept,
    WeightsSummarised,
    from_plain,
    to_plain,
)
from diptych.workflows.progress import Epoch

EVENTS: list[Event] = [
    Planned(trainings=4),
    Loading("runs/a", "keras", "article", "fast", "bfloat16", 3),
    Started(epoch=2, epochs=5, step=7, steps=9),
    Stepped(epoch=2, epochs=5, step=8, steps=9, loss=0.1, accuracy=1 / 3),
    EpochEnded(Epoch(2, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 1 / 3)),
    WeightsSummarised(2, {"output/bias": {"min": -1.5, "bucket": [1.0, 2.0]}}),
    WeightsKept(epoch=2, epochs=4, early=True),
    Evaluating(),
    Auditing("gradients"),
    Done(test_accuracy=0.9932, epoch_of_the_weights=2),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_out_as_it_went_in(event: Event) -> None:
    assert from_plain(json.loads(json.dumps(to_plain(event)))) == event


def test_every_kind_of_event_is_among_them() -> None:
    assert {type(event) for event in EVENTS} == set(get_args(Event))
