"""The subjects, as data: both sides of each, where it is from, and its causes."""

from dataclasses import dataclass

CODES: dict[str, tuple[str, ...]] = {
    "activation": ("activation", "logits-or-probabilities"),
    "loss": ("loss", "loss-reduction", "logits-or-probabilities"),
    "learning rate": ("learning-rate", "schedule"),
    "optimiser": ("optimiser",),
    "epochs": ("training-length",),
    "preprocessing": ("input-scale", "examples"),
    "initialiser": ("kernel-initialiser", "bias-initialiser"),
    "weight decay": ("weight-decay", "regularisation"),
    "padding": ("padding",),
}
"""The benchmarks' labels, and which causes of an audit are the same thing."""


@dataclass(frozen=True)
class Subject:
    """A pair of programs that differ in known ways.

    Attributes:
        name: what the table calls it.
        pair: both sides, as ``file.py:function``.
        labels: its causes, keys of `CODES`; empty where nothing but rounding differs.
        benchmark: what it is from.
    """

    name: str
    pair: tuple[str, str]
    labels: tuple[str, ...]
    benchmark: str


def _deepfd(number: int, *labels: str) -> Subject:
    side = f"deepfd.py:q{number}"
    return Subject(f"Stack Overflow {number}", (side, f"{side}_repaired"), labels, "DeepFD")


def _report(name: str, function: str, *labels: str) -> Subject:
    pair = f"reports_keras.py:{function}", f"reports_torch.py:{function}"
    return Subject(name, pair, labels, "reports")


SUBJECTS: tuple[Subject, ...] = (
    _deepfd(48385830, "activation", "loss"),
    _deepfd(44164749, "activation", "loss", "learning rate", "epochs"),
    _deepfd(31556268, "loss", "learning rate", "epochs"),
    _deepfd(48251943, "activation"),
    _deepfd(33969059, "activation"),
    _deepfd(55328966, "activation", "optimiser", "preprocessing"),
    _deepfd(34311586, "optimiser"),
    _deepfd(48934338, "learning rate"),
    _deepfd(59278771, "activation", "optimiser", "preprocessing"),
    _deepfd(48221692, "activation"),
    _deepfd(45442843, "loss", "optimiser"),
    _deepfd(58609115, "loss"),
    _deepfd(56380303, "optimiser", "learning rate"),
    _deepfd(37624102, "learning rate"),
    _deepfd(37213388, "epochs"),
    _deepfd(39217567, "activation"),
    _report("pytorch/pytorch 170016", "pytorch_170016"),
    _report(
        "benchopt/benchmark_resnet_classif 30",
        "benchopt_30",
        "padding",
        "initialiser",
        "weight decay",
    ),
)
"""The causes of DeepFD's are those that the listed repair changes. Where its label names one more
(another repair that would have helped too), no pair can show it."""
