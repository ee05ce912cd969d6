"""The planted cases: pairs of sides, and the causes that an audit must name, first to last."""

from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

SIDES = Path(__file__).with_name("sides")
FRAMEWORKS = {"keras": "K", "torch": "T", "tensorflow": "F"}
ADAM = "optimiser_adam__rate_of_learning_0.001"


@dataclass(frozen=True)
class Case:
    """Two sides; the second has what is expected planted in it."""

    a: str
    b: str
    expected: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        short = [side.replace("_side.py", "") for side in (self.a, self.b)]
        return f"{','.join(self.expected) or 'same'}: {short[0]} | {short[1]}"

    @property
    def framework(self) -> str:
        return self.b.split("_side")[0]

    def specs(self) -> tuple[str, str]:
        """What `diptych audit` takes."""
        a, b = (side.replace("keras@torch_side", "keras_side") for side in (self.a, self.b))
        found = [str(SIDES / side) for side in (a, b)]
        for number, side in enumerate((self.a, self.b)):
            if side.startswith("keras@torch"):
                found[number] = found[number].replace("keras_side.py", "keras_side.py@torch")
        return found[0], found[1]


def side(framework: str, network: str, *changes: str) -> str:
    return "__".join([f"{framework}_side.py:{network}", *(c for c in changes if c)])


# The cause, the network, what plants it, in which frameworks, and what both sides have besides.
PLANTED = [
    ("layer-missing", "cnn", "extra_True", "KT", ""),
    ("layer-missing", "cnn", "rate_0.0", "KTF", ""),
    ("layer-kind", "cnn", "instead_dense", "KT", ""),
    ("units", "cnn", "units_8", "KTF", ""),
    ("units", "regression", "units_8", "T", ""),
    ("kernel-size", "cnn", "kernel_5", "KTF", ""),
    ("kernel-size", "signal", "kernel_5", "T", ""),
    ("stride", "cnn", "stride_2", "KT", ""),
    ("padding", "cnn", "padding_valid", "KTF", ""),
    ("padding", "signal", "padding_valid", "K", ""),
    ("pooling", "cnn", "pool_average", "KTF", ""),
    ("pooling", "signal", "pool_average", "T", ""),
    ("activation", "cnn", "activation_relu", "KTF", ""),
    ("activation", "residual", "activation_relu", "T", ""),
    ("activation", "regression", "activation_relu", "F", ""),
    ("activation-slope", "cnn", "slope_0.2", "KTF", ""),
    ("activation-slope", "cnn", "slope_0.01", "T", "explicit_True"),
    ("dropout-rate", "cnn", "rate_0.5", "KTF", ""),
    ("bias-missing", "cnn", "bias_False", "KTF", ""),
    ("flatten-order", "cnn", "order_first", "KTF", ""),
    ("batchnorm-momentum", "residual", "momentum_0.9", "KT", ""),
    ("batchnorm-epsilon", "residual", "bn_epsilon_1e-05", "KT", ""),
    ("input-scale", "cnn", "scale_1.0", "KTF", ""),
    ("input-scale", "residual", "scale_0.0078125", "T", ""),
    ("input-layout", "cnn", "swapped_True", "KTF", ""),
    ("label-encoding", "cnn", "labels_shifted", "KTF", ""),
    ("label-encoding", "residual", "labels_reversed", "KT", ""),
    ("kernel-initialiser", "cnn", "initialiser_he", "KTF", ""),
    ("kernel-initialiser", "signal", "initialiser_he", "T", ""),
    ("kernel-initialiser", "cnn", "initialiser_normal", "K", ""),
    ("kernel-initialiser", "cnn", "initialiser_pytorch", "T", ""),
    ("bias-initialiser", "cnn", "biases_ones", "KF", ""),
    ("bias-initialiser", "cnn", "biases_pytorch", "T", ""),
    ("training-mode", "cnn", "mode_inference", "T", ""),
    ("training-mode", "residual", "mode_inference", "KT", ""),
    ("logits-or-probabilities", "cnn", "softmax_twice", "TF", ""),
    ("logits-or-probabilities", "cnn", "probabilities_True", "KT", ""),
    ("loss-reduction", "cnn", "reduction_sum", "KTF", ""),
    ("loss-reduction", "regression", "reduction_sum", "T", ""),
    ("loss-broadcast", "regression", "broadcast_True", "TF", ""),
    ("regularisation", "cnn", "penalty_0.001", "KTF", ""),
    ("regularisation", "regression", "penalty_0.01", "K", ""),
    ("weight-constraint", "cnn", "constraint_0.5", "KTF", ""),
    ("frozen-parameter", "cnn", "frozen_True", "KTF", ""),
    ("frozen-parameter", "regression", "frozen_True", "K", ""),
    ("gradients-not-cleared", "cnn", "cleared_False", "TF", ""),
    ("gradients-not-cleared", "regression", "cleared_False", "T", ""),
    ("optimiser", "cnn", ADAM, "KTF", ""),
    ("optimiser", "regression", "optimiser_rmsprop__rate_of_learning_0.001", "T", ""),
    ("learning-rate", "cnn", "rate_of_learning_0.01", "KTF", ""),
    ("learning-rate", "residual", "rate_of_learning_0.002", "T", ADAM),
    ("beta-1", "cnn", "beta_1_0.8", "KTF", ADAM),
    ("beta-2", "cnn", "beta_2_0.99", "KTF", ADAM),
    ("epsilon", "cnn", "epsilon_1e-08", "KTF", ADAM),
    ("epsilon", "regression", "epsilon_1e-05", "T", ADAM),
    ("weight-decay", "cnn", "decay_0.01", "KTF", ""),
    ("weight-decay", "regression", "decay_0.01", "K", ADAM),
    ("gradient-clipping", "cnn", "clip_0.5", "KTF", ""),
    ("gradient-clipping", "regression", "clip_1.0", "T", ADAM),
    ("schedule", "cnn", "schedule_True", "KTF", ""),
    ("batch-order", "cnn", "order_of_batches_sequential", "KTF", ""),
    ("last-batch", "cnn", "last_batch_False", "KTF", ""),
    ("precision", "cnn", "precision_bfloat16", "KTF", ""),
]

PAIRS = [
    ("pooling", "activation-slope", "cnn", "pool_average", "slope_0.01"),
    ("padding", "dropout-rate", "cnn", "padding_valid", "rate_0.4"),
    ("pooling", "epsilon", "cnn", "pool_average", "epsilon_1e-08"),
    ("activation-slope", "learning-rate", "cnn", "slope_0.2", "rate_of_learning_0.01"),
    ("input-scale", "kernel-initialiser", "cnn", "scale_1.0", "initialiser_he"),
    ("kernel-initialiser", "loss-reduction", "cnn", "initialiser_he", "reduction_sum"),
    ("dropout-rate", "frozen-parameter", "cnn", "rate_0.5", "frozen_True"),
    ("regularisation", "gradient-clipping", "cnn", "penalty_0.001", "clip_0.5"),
    ("bias-missing", "batch-order", "cnn", "bias_False", "order_of_batches_sequential"),
    ("label-encoding", "weight-decay", "cnn", "labels_shifted", "decay_0.01"),
    ("activation", "regularisation", "regression", "activation_relu", "penalty_0.01"),
    ("loss-reduction", "weight-decay", "regression", "reduction_sum", "decay_0.01"),
]
NOT_TOGETHER = {"epsilon": ADAM}


def the_same() -> list[Case]:
    """Pairs in which nothing is planted: other frameworks, other words, other seeds."""
    common = {
        "cnn": ("keras", "torch", "tensorflow"),
        "residual": ("keras", "torch"),
        "regression": ("keras", "torch", "tensorflow"),
        "signal": ("keras", "torch"),
    }
    found = []
    for network, frameworks in common.items():
        found += [
            Case(side(one, network), side(other, network))
            for one in frameworks
            for other in frameworks
        ]
    for one, other in [("keras", "torch"), ("torch", "tensorflow"), ("tensorflow", "keras")]:
        changes = ("explicit_True", "initialiser_he", "pool_average__slope_0.1__penalty_0.001")
        found += [Case(side(one, "cnn", c), side(other, "cnn", c)) for c in changes]
    found += [
        Case(side("keras", "cnn"), side("keras", "cnn", "explicit_True")),
        Case(side("torch", "cnn"), side("torch", "cnn", "explicit_True")),
        Case(side("tensorflow", "cnn"), side("tensorflow", "cnn", "explicit_True")),
        Case(side("keras", "residual"), side("keras", "residual", "explicit_True")),
        Case(side("keras", "cnn", ADAM), side("tensorflow", "cnn", ADAM)),
        Case(side("torch", "cnn", ADAM), side("torch", "cnn", ADAM)),
        Case(side("keras", "cnn"), side("keras", "cnn", "softmax_loss")),
        Case(side("keras", "cnn", "softmax_loss"), side("torch", "cnn", "softmax_loss")),
        # On TensorFlow, Keras takes the logits behind a softmax, whatever `from_logits` says.
        Case(side("keras", "cnn"), side("keras", "cnn", "softmax_twice")),
        Case(side("keras", "cnn", "clip_0.5"), side("keras", "cnn", "clip_0.5")),
        Case(side("keras@torch", "cnn"), side("keras", "cnn")),
        Case(side("keras@torch", "residual"), side("torch", "residual")),
    ]
    return found


def planted() -> list[Case]:
    """Each cause alone, in each framework that can have it."""
    found, number = [], 0
    for code, network, change, letters, common in PLANTED:
        for framework, letter in FRAMEWORKS.items():
            if letter not in letters:
                continue
            # Every other case has its first side in another framework.
            others = [f for f, short in FRAMEWORKS.items() if short in letters and f != framework]
            number += 1
            apart = number % 2 and others and comparable(code, change, common)
            first = others[number // 2 % len(others)] if apart else framework
            a, b = side(first, network, common), side(framework, network, common, change)
            found.append(Case(a, b, (code,)))
    return found


def comparable(code: str, change: str, common: str) -> bool:
    """Whether the base of the case is the same in all frameworks: PyTorch's Adam is another one,
    and so is its order of flattening."""
    return "adam" not in common and code not in ("flatten-order", "stride")


def pairs() -> list[Case]:
    """Two causes at once."""
    found = []
    letters = cycle(["KT", "TF", "KF"])
    for one, other, network, first, second in PAIRS:
        common = NOT_TOGETHER.get(other, "")
        here = next(letters)
        for framework, letter in FRAMEWORKS.items():
            if letter in here:
                a = side(framework, network, common)
                found.append(Case(a, side(framework, network, common, first, second), (one, other)))
    return found


def cases() -> list[Case]:
    """All of them."""
    return planted() + pairs() + the_same()
