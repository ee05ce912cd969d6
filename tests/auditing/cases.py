"""The planted cases: pairs of sides, and the causes that an audit must name."""

from dataclasses import dataclass
from pathlib import Path

SIDES = Path(__file__).with_name("sides")
FRAMEWORKS = {"keras": "K", "torch": "T", "tensorflow": "F", "keras@torch": "P"}
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
    ("layer-missing", "cnn", "extra_True", "KTF", ""),
    ("layer-missing", "cnn", "rate_0.0", "KTF", ""),
    ("layer-kind", "cnn", "instead_dense", "KTF", ""),
    ("units", "cnn", "units_8", "KTF", ""),
    ("units", "regression", "units_8", "T", ""),
    ("units", "words", "units_8", "KTF", ""),
    ("padding-index", "words", "padded_True", "T", ""),
    ("kernel-size", "cnn", "kernel_5", "KTF", ""),
    ("kernel-size", "signal", "kernel_5", "T", ""),
    ("stride", "cnn", "stride_2", "KTF", ""),
    ("padding", "cnn", "padding_valid", "KTF", ""),
    ("padding", "signal", "padding_valid", "KF", ""),
    ("pooling", "cnn", "pool_average", "KTFP", ""),
    ("pooling", "signal", "pool_average", "TF", ""),
    ("activation", "cnn", "activation_relu", "KTF", ""),
    ("activation", "residual", "activation_relu", "TF", ""),
    ("activation", "regression", "activation_relu", "F", ""),
    ("activation-slope", "cnn", "slope_0.2", "KTF", ""),
    ("activation-slope", "cnn", "slope_0.01", "T", "explicit_True"),
    ("activation-limits", "regression", "layer_limit_1.0", "KTF", "layer_clip"),
    ("activation", "regression", "layer_shared_True", "KTF", "layer_prelu"),
    ("dropout-rate", "cnn", "rate_0.5", "KTF", ""),
    ("bias-missing", "cnn", "bias_False", "KTF", ""),
    ("flatten-order", "cnn", "order_first", "KTF", ""),
    ("batchnorm-momentum", "residual", "momentum_0.9", "KTFP", ""),
    ("batchnorm-epsilon", "residual", "bn_epsilon_1e-05", "KTF", ""),
    ("normalisation-epsilon", "regression", "layer_epsilon_1e-05", "KTF", "layer_layer_norm"),
    ("normalisation-epsilon", "regression", "layer_epsilon_1e-05", "KT", "layer_group_norm"),
    ("normalisation-axes", "regression", "layer_groups_3", "KT", "layer_group_norm"),
    ("normalisation-epsilon", "regression", "layer_epsilon_1e-05", "KTF", "layer_rms_norm"),
    ("normalisation-axes", "regression", "layer_axis_0", "KT", "layer_unit_norm"),
    ("input-scale", "cnn", "scale_1.0", "KTF", ""),
    ("input-scale", "residual", "scale_0.0078125", "T", ""),
    ("input-layout", "cnn", "swapped_True", "KTF", ""),
    ("label-encoding", "cnn", "labels_shifted", "KTF", ""),
    ("label-encoding", "residual", "labels_reversed", "KTF", ""),
    ("kernel-initialiser", "cnn", "initialiser_he", "KTF", ""),
    ("kernel-initialiser", "signal", "initialiser_he", "T", ""),
    ("kernel-initialiser", "cnn", "initialiser_normal", "K", ""),
    ("kernel-initialiser", "cnn", "initialiser_pytorch", "T", ""),
    ("bias-initialiser", "cnn", "biases_ones", "KF", ""),
    ("bias-initialiser", "cnn", "biases_pytorch", "T", ""),
    ("training-mode", "cnn", "mode_inference", "KT", ""),
    ("training-mode", "residual", "mode_inference", "KTF", ""),
    ("logits-or-probabilities", "cnn", "softmax_twice", "TFP", ""),
    ("logits-or-probabilities", "cnn", "probabilities_True", "KTF", ""),
    ("loss-reduction", "cnn", "reduction_sum", "KTF", ""),
    ("loss-reduction", "regression", "reduction_sum", "T", ""),
    ("loss-broadcast", "regression", "broadcast_True", "KTF", ""),
    ("regularisation", "cnn", "penalty_0.001", "KTF", ""),
    ("regularisation", "regression", "penalty_0.01", "K", ""),
    ("weight-constraint", "cnn", "constraint_0.5", "KTF", ""),
    ("frozen-parameter", "cnn", "frozen_True", "KTF", ""),
    ("frozen-parameter", "regression", "frozen_True", "K", ""),
    ("gradients-not-cleared", "cnn", "cleared_False", "TFP", ""),
    ("gradients-not-cleared", "regression", "cleared_False", "T", ""),
    ("optimiser", "cnn", ADAM, "KTF", ""),
    ("optimiser", "regression", "optimiser_rmsprop__rate_of_learning_0.001", "T", ""),
    ("learning-rate", "cnn", "rate_of_learning_0.01", "KTFP", ""),
    ("learning-rate", "residual", "rate_of_learning_0.002", "T", ADAM),
    ("beta-1", "cnn", "beta_1_0.8", "KTF", ADAM),
    ("beta-2", "cnn", "beta_2_0.99", "KTF", ADAM),
    ("epsilon", "cnn", "epsilon_1e-08", "KTFP", ADAM),
    ("epsilon", "regression", "epsilon_1e-05", "T", ADAM),
    ("weight-decay", "cnn", "decay_0.01", "KTF", ""),
    ("weight-decay", "regression", "decay_0.01", "K", ADAM),
    ("gradient-clipping", "cnn", "clip_0.5", "KTF", ""),
    ("gradient-clipping", "regression", "clip_1.0", "T", ADAM),
    ("schedule", "cnn", "schedule_True", "KTF", ""),
    ("batch-order", "cnn", "order_of_batches_sequential", "KTF", ""),
    ("last-batch", "cnn", "last_batch_False", "KTF", ""),
    ("precision", "cnn", "precision_bfloat16", "KTF", ""),
    ("activation", "series", "activation_relu", "KT", ""),
    ("activation", "series", "gates_hard_sigmoid", "K", ""),
    ("layer-kind", "series", "reset_before", "K", ""),
    ("units", "attention", "heads_4", "KT", ""),
    ("layer-kind", "attention", "causal_True", "KT", ""),
]

PLANTED_IN_KIND = {
    "activation": "slope_0.2",
    "average_pool": "pool_average",
    "batch_norm": "bn_epsilon_1e-05",
    "conv": "kernel_5",
    "dense": "units_8",
    "dropout": "rate_0.5",
    "embedding": "padded_True",
    "flatten": "order_first",
    "group_norm": "layer_groups_3",
    "gru": "reset_before",
    "layer_norm": "layer_epsilon_1e-05",
    "lstm": "gates_hard_sigmoid",
    "max_pool": "pool_average",
    "multi_head_attention": "heads_4",
    "prelu": "layer_shared_True",
    "rescale": "scale_1.0",
    "rms_norm": "layer_epsilon_1e-05",
    "simple_rnn": "activation_relu",
    "unit_norm": "layer_axis_0",
}
"""By kind of layer, a change above that plants a fault in a layer of that kind."""
NOTHING_TO_PLANT = {
    "dot_product_attention": "it computes as multi_head_attention does, in which one is planted",
    "add": "it has no setting; a missing one changes the network",
    "average": "it has no setting",
    "concatenate": "it has no setting",
    "custom": "it is a layer of the user's own",
    "divide": "it has no setting",
    "glu": "it has no setting",
    "global_average_pool": "it has no setting; another pool in its place is `pooling`",
    "global_max_pool": "it has no setting; another pool in its place is `pooling`",
    "matmul": "it has no setting",
    "maximum": "it has no setting",
    "minimum": "it has no setting",
    "multiply": "it has no setting",
    "learned_offset": "it has no setting; its first value is an initialiser's affair",
    "adaptive_average_pool": "it is planted in test_spatial_kinds.py",
    "adaptive_max_pool": "it is planted in test_spatial_kinds.py",
    "alpha_dropout": "it is planted in test_spatial_kinds.py",
    "augmentation": "it is planted in test_spatial_kinds.py",
    "conv_transpose": "it is planted in test_spatial_kinds.py",
    "depth_to_space": "it is planted in test_spatial_kinds.py",
    "drop_path": "it is planted in test_spatial_kinds.py",
    "gaussian_dropout": "it is planted in test_spatial_kinds.py",
    "gaussian_noise": "it is planted in test_spatial_kinds.py",
    "rearrange": "it is planted in test_spatial_kinds.py",
    "reduce": "it is planted in test_spatial_kinds.py",
    "repeat": "it is planted in test_spatial_kinds.py",
    "resize": "it is planted in test_spatial_kinds.py",
    "roll": "it is planted in test_spatial_kinds.py",
    "slice": "it is planted in test_spatial_kinds.py",
    "space_to_depth": "it is planted in test_spatial_kinds.py",
    "spatial_dropout": "it is planted in test_spatial_kinds.py",
    "stack": "it is planted in test_spatial_kinds.py",
    "pad": "it joins its convolution, in which padding is planted",
    "reshape": "it changes no number",
    "learned_scale": "it has no setting; its first value is an initialiser's affair",
    "subtract": "it has no setting",
}
"""By kind of layer, why no fault is planted in one."""

# Two causes, the network, what plants each, and in which frameworks.
PAIRS = [
    ("activation-slope", "pooling", "cnn", "slope_0.01", "pool_average", "KT"),
    ("padding", "dropout-rate", "cnn", "padding_valid", "rate_0.4", "TF"),
    ("pooling", "epsilon", "cnn", "pool_average", "epsilon_1e-08", "KF"),
    ("activation-slope", "learning-rate", "cnn", "slope_0.2", "rate_of_learning_0.01", "KT"),
    ("input-scale", "kernel-initialiser", "cnn", "scale_1.0", "initialiser_he", "TF"),
    ("kernel-initialiser", "loss-reduction", "cnn", "initialiser_he", "reduction_sum", "KF"),
    ("dropout-rate", "frozen-parameter", "cnn", "rate_0.5", "frozen_True", "KT"),
    ("regularisation", "gradient-clipping", "cnn", "penalty_0.001", "clip_0.5", "TF"),
    ("bias-missing", "batch-order", "cnn", "bias_False", "order_of_batches_sequential", "KF"),
    ("label-encoding", "weight-decay", "cnn", "labels_shifted", "decay_0.01", "KT"),
    ("activation", "regularisation", "regression", "activation_relu", "penalty_0.01", "TF"),
    ("loss-reduction", "weight-decay", "regression", "reduction_sum", "decay_0.01", "KF"),
    ("layer-missing", "optimiser", "cnn", "rate_0.0", ADAM, "KT"),
    ("layer-kind", "schedule", "cnn", "instead_dense", "schedule_True", "TF"),
    ("units", "beta-1", "cnn", "units_8", "beta_1_0.8", "KF"),
    ("kernel-size", "beta-2", "cnn", "kernel_5", "beta_2_0.99", "KT"),
    ("stride", "last-batch", "cnn", "stride_2", "last_batch_False", "TF"),
    ("flatten-order", "bias-initialiser", "cnn", "order_first", "biases_ones", "KF"),
    ("pooling", "precision", "cnn", "pool_average", "precision_bfloat16", "KT"),
    (
        "batchnorm-epsilon",
        "batchnorm-momentum",
        "residual",
        "bn_epsilon_1e-05",
        "momentum_0.9",
        "TF",
    ),
    ("input-layout", "weight-constraint", "cnn", "swapped_True", "constraint_0.5", "KF"),
    ("training-mode", "gradients-not-cleared", "cnn", "mode_inference", "cleared_False", "T"),
    (
        "logits-or-probabilities",
        "learning-rate",
        "cnn",
        "softmax_twice",
        "rate_of_learning_0.01",
        "TF",
    ),
    ("loss-broadcast", "frozen-parameter", "regression", "broadcast_True", "frozen_True", "KF"),
]
NEEDED: dict[str, str] = {"epsilon": ADAM, "beta-1": ADAM, "beta-2": ADAM}
"""What both sides must have for a cause to show."""


def the_same() -> list[Case]:
    """Pairs in which nothing is planted: other frameworks, other words, other seeds."""
    common = {
        "cnn": ("keras", "torch", "tensorflow"),
        "residual": ("keras", "torch", "tensorflow"),
        "regression": ("keras", "torch", "tensorflow"),
        "signal": ("keras", "torch", "tensorflow"),
        "series": ("keras", "torch"),
        "attention": ("keras", "torch"),
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
            others = [f for f, s in FRAMEWORKS.items() if s in letters and f != framework]
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
    for one, other, network, first, second, letters in PAIRS:
        common = NEEDED.get(other, "")
        for framework, letter in FRAMEWORKS.items():
            if letter in letters:
                a = side(framework, network, common)
                found.append(Case(a, side(framework, network, common, first, second), (one, other)))
    return found


def cases() -> list[Case]:
    """All of them."""
    return planted() + pairs() + the_same()
