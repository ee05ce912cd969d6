"""Builds of the user's object."""

# TensorFlow has no types of its own, and the stubs for it know neither graphs nor their operations.
# pyright: reportArgumentType=false, reportReturnType=false, reportAttributeAccessIssue=false
# pyright: reportCallIssue=false, reportIndexIssue=false, reportOptionalMemberAccess=false

import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from diptych.auditing.frameworks.tensorflow.submission import Submission
from diptych.auditing.frameworks.tensorflow.twin import DoubleSubmission, Types
from diptych.errors import InputError

Built = Submission | DoubleSubmission


def begin_names_anew() -> None:
    """Has Keras number the layers that a user has not named from the first on, so that operations
    have the same names in every build."""
    state = sys.modules.get("keras.src.backend.common.global_state")
    if hasattr(state, "set_global_attribute"):
        state.set_global_attribute("object_name_uids", defaultdict(int))


class Builds:
    """The user's function, called as often as the audit needs."""

    def __init__(self, function: Callable[[int], Any], types: Types | None = None) -> None:
        """Builds for the first time.

        Args:
            function: gives what the user's function returns, for a seed.
            types: the types of x and y, to build in float64; None to leave what is built as it is.
        """
        tf.get_logger().setLevel("ERROR")  # It warns of tracing again, as each fresh build must.
        self._function, self._types = function, types
        self._names: list[str] = []
        self._kept: dict[str, DoubleSubmission] = {}
        self.first = self.another(0)

    def another(self, seed: int) -> Built:
        """A build that nothing has happened to."""
        tf.random.set_seed(seed)
        begin_names_anew()
        submission = Submission(self._function(seed))
        self._names = self._names or list(submission.variables)
        if len(self._names) == len(submission.variables):
            submission.take_names(self._names)
        return submission if self._types is None else DoubleSubmission(submission, self._types)

    def fresh(self, purpose: str) -> Built:
        """A build with the variables of the first as they are now.

        A side that says of itself that it counts in variables alone is built and traced once for
        each purpose, and then put back.

        Args:
            purpose: what is traced of it; the same for one kind of question.
        """
        kept = self._kept.get(purpose)
        if kept is not None:
            kept.put_back()
        submission = kept or self.another(0)
        shapes = [{n: v.shape for n, v in s.variables.items()} for s in (submission, self.first)]
        if shapes[0] != shapes[1]:
            raise InputError("the function returns other variables each time: expected the same")
        submission.load({name: v.numpy() for name, v in self.first.variables.items()})
        if isinstance(submission, DoubleSubmission) and not submission.counts_in_python:
            self._kept[purpose] = submission
        return submission
