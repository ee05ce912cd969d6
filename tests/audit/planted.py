"""A second suite of planted cases, over the networks in ``models``, which were written after the
audit and without it: what it finds in ``cases`` it must find in code that nobody fitted it to.

`suite.py` takes them like those of `cases`.
"""

from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path

MODELS = Path(__file__).with_name("models")
FRAMEWORKS = {"K": "keras", "T": "torch", "F": "tensorflow"}
ADAM = "optimiser=adam__rate=0.001"
RMSPROP = "optimiser=rmsprop__rate=0.001"


@dataclass(frozen=True)
class Case:
    """Two sides; the second has planted what is expected, the first finding first."""

    a: str
    b: str
    expected: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        short = (side.rpartition("/")[2].replace("_models.py", "") for side in (self.a, self.b))
        return f"{','.join(self.expected) or 'same'}: {' | '.join(short)}"

    @property
    def framework(self) -> str:
        return Path(self.b.rpartition(":")[0]).name.split("_models")[0]

    def specs(self) -> tuple[str, str]:
        """What `diptych audit` takes."""
        return self.a, self.b


def side(letter: str, network: str, *changes: str, backend: str = "") -> str:
    """A model's specification; the framework is a letter of `FRAMEWORKS`."""
    function = "__".join([network, *(change for change in changes if change)])
    return f"{MODELS / FRAMEWORKS[letter]}_models.py{backend}:{function}"


# The causes, the network, what plants them, in which frameworks, and what both sides have besides.
# A framework in lower case has its first side in another framework, which is the next one here.
PLANTED = [
    ("layer-missing", "digits", "dropout=0.0", "Kf", ""),
    ("layer-missing", "block", "norm=none", "kTF", ""),
    ("layer-kind", "block", "norm=group", "KT", ""),
    ("units", "house", "units=7", "kTF", ""),
    ("units", "beat", "units=4", "KF", ""),
    ("kernel-size", "digits", "kernel=5", "KtF", ""),
    ("kernel-size", "beat", "kernel=5", "kTF", ""),
    ("stride", "beat", "stride=2", "KTF", ""),
    ("padding", "digits", "padding=valid", "KtF", ""),
    ("padding", "block", "padding=symmetric", "KTt", ""),
    ("padding", "beat", "padding=valid", "kTF", ""),
    ("pooling", "digits", "pooling=average", "Ktf", ""),
    ("pooling", "block", "pooling=average", "kTF", ""),
    ("pooling", "beat", "pooling=average", "KTf", ""),
    ("activation", "house", "activation=tanh", "KtF", ""),
    ("activation", "block", "activation=gelu", "KF", ""),
    ("activation", "beat", "activation=relu", "kTf", ""),
    ("activation-slope", "digits", "slope=0.01", "KtF", ""),
    ("activation-slope", "digits", "slope=0.1", "kTf", "spelled=True"),
    ("dropout-rate", "digits", "dropout=0.75", "KTf", ""),
    ("bias-missing", "digits", "bias=False", "kTF", ""),
    ("flatten-order", "digits", "flatten=first", "KTF", ""),
    ("batchnorm-momentum", "block", "momentum=0.9", "KtF", ""),
    ("batchnorm-momentum", "block", "momentum=0.01", "T", ""),
    ("batchnorm-epsilon", "block", "norm_epsilon=1e-5", "kTF", ""),
    ("input-scale", "digits", "scaling=none", "KTf", ""),
    ("input-scale", "digits", "scaling=symmetric", "kTF", ""),
    ("input-layout", "block", "transposed=True", "KtF", ""),
    ("label-encoding", "digits", "labels=shifted", "kTF", ""),
    ("label-encoding", "block", "labels=swapped", "KTf", ""),
    ("kernel-initialiser", "digits", "initialiser=glorot_normal", "KtF", ""),
    ("kernel-initialiser", "digits", "initialiser=own", "Tf", ""),
    ("kernel-initialiser", "house", "initialiser=he_normal", "kT", ""),
    ("bias-initialiser", "house", "bias_start=0.05", "KtF", ""),
    ("bias-initialiser", "digits", "bias_start=-1.0", "T", ""),
    ("training-mode", "digits", "inference=True", "TF", ""),
    ("training-mode", "block", "inference=True", "tF", ""),
    ("training-mode,frozen-parameter", "block", "inference=True", "Kk", ""),
    ("logits-or-probabilities", "digits", "head=twice", "TF", ""),
    ("logits-or-probabilities", "digits", "head=never", "Kt", ""),
    ("logits-or-probabilities", "beat", "head=never", "K", ""),
    ("logits-or-probabilities", "beat", "head=twice", "F", ""),
    ("loss-reduction", "beat", "reduction=sum", "KtF", ""),
    ("loss-reduction", "house", "reduction=sum", "kTf", ""),
    ("loss-broadcast", "house", "column=False", "TFt", ""),
    ("regularisation", "digits", "l1=0.0005", "KtF", ""),
    ("regularisation", "house", "l2=0.02", "kTF", ""),
    ("weight-constraint", "digits", "largest=0.05", "KTf", ""),
    ("weight-constraint", "house", "largest=0.2", "KTF", ""),
    ("frozen-parameter", "digits", "frozen=last", "KTF", ""),
    ("frozen-parameter", "house", "frozen=first", "ktF", ""),
    ("gradients-not-cleared", "digits", "cleared=False", "TF", ""),
    ("gradients-not-cleared", "beat", "cleared=False", "tF", ""),
    ("optimiser", "house", "optimiser=adam__rate=0.001", "KTF", ""),
    ("optimiser", "digits", "optimiser=rmsprop__rate=0.001", "kT", ""),
    ("optimiser", "beat", "optimiser=adagrad", "K", ""),
    ("learning-rate", "house", "rate=0.04", "KtF", ""),
    ("learning-rate", "digits", "rate=0.003", "KTF", ADAM),
    ("momentum", "digits", "beta_1=0.8", "KtF", ""),
    ("beta-1", "house", "beta_1=0.5", "KTF", ADAM),
    ("beta-2", "house", "beta_2=0.99", "KTf", ADAM),
    ("beta-2", "digits", "beta_2=0.9", "KT", RMSPROP),
    ("epsilon", "house", "epsilon=1e-3", "KTF", ADAM),
    ("epsilon", "digits", "epsilon=1e-8", "KT", ADAM),
    ("weight-decay", "house", "decay=0.05", "KTF", ""),
    ("weight-decay", "digits", "decay=0.1", "KTF", ADAM),
    ("gradient-clipping", "house", "clip=0.2", "KtF", ""),
    ("gradient-clipping", "digits", "clip_value=0.002", "kTF", ""),
    ("schedule", "digits", "halved=True", "KTf", ""),
    ("schedule", "house", "halved=True", "KTF", ADAM),
    ("batch-order", "digits", "shuffle=False", "KtF", ""),
    ("last-batch", "digits", "drop_last=True", "kTf", ""),
    ("precision", "digits", "bfloat16=True", "KTF", ""),
    ("precision", "house", "bfloat16=True", "KT", ""),
    # Two at once.
    ("padding,dropout-rate", "digits", "padding=valid__dropout=0.5", "kT", ""),
    ("pooling,batchnorm-momentum", "block", "pooling=average__momentum=0.9", "KF", ""),
    ("activation-slope,batch-order", "digits", "slope=0.2__shuffle=False", "Tf", ""),
    ("activation,loss-reduction", "beat", "activation=selu__reduction=sum", "KT", ""),
    ("input-scale,learning-rate", "digits", "scaling=none__rate=0.01", "Kt", ""),
    ("label-encoding,frozen-parameter", "digits", "labels=swapped__frozen=first", "KF", ""),
    ("kernel-initialiser,epsilon", "house", "initialiser=he_normal__epsilon=1e-4", "KF", ADAM),
    ("kernel-initialiser,bias-initialiser", "digits", "initialiser=own__bias_start=-1.0", "tT", ""),
    ("batchnorm-epsilon,weight-decay", "block", "norm_epsilon=1e-5__decay=0.01", "KT", ""),
    ("loss-broadcast,learning-rate", "house", "column=False__rate=0.01", "TF", ""),
    ("regularisation,gradient-clipping", "house", "l2=0.05__clip=0.2", "KT", ""),
    ("bias-missing,last-batch", "digits", "bias=False__drop_last=True", "TF", ""),
]

SAME_EVERYWHERE = [
    ("digits", "spelled=True"),
    ("digits", "padding=explicit__slope=0.05"),
    ("digits", "l2=0.001__optimiser=rmsprop__rate=0.001"),
    ("block", "initialiser=he_normal__beta_1=0.0"),
    ("house", "clip=0.2"),
    ("house", "halved=True__bias_start=0.1"),
    ("beat", "stride=2__activation=elu"),
]
"""What all frameworks can have alike."""

# The framework, the network, and what the first and the second side say otherwise.
SAME_WORDS = [
    ("K", "digits", "", "spelled=True"),
    ("K", "digits", "", "padding=explicit"),
    ("K", "digits", "", "scaling=layer"),
    ("K", "digits", "", "labels=one_hot"),
    ("K", "block", "", "padding=explicit"),
    ("K", "block", "", "spelled=True"),
    ("K", "house", "", "column=False"),
    ("K", "house", ADAM, ADAM),
    ("T", "digits", "", "spelled=True"),
    ("T", "digits", "", "padding=explicit__scaling=layer"),
    ("T", "block", "", "spelled=True"),
    ("T", "digits", ADAM, ADAM + "__spelled=True"),
    ("F", "digits", "", "spelled=True__scaling=layer"),
    ("F", "digits", "", "padding=explicit"),
    ("F", "digits", "", "labels=one_hot"),
]


def planted() -> list[Case]:
    """One or two causes in each framework that can have them."""
    found = []
    for codes, network, change, letters, common in PLANTED:
        for number, letter in enumerate(letters):
            here = letter.upper()
            others = [other for other in FRAMEWORKS if other != here]
            first = others[number % 2] if letter.islower() else here
            a, b = side(first, network, common), side(here, network, common, change)
            found.append(Case(a, b, tuple(codes.split(","))))
    return found


def the_same() -> list[Case]:
    """Pairs in which nothing is planted."""
    networks = ("digits", "block", "house", "beat")
    pairs = list(combinations(FRAMEWORKS, 2))
    found = [Case(side(a, n), side(b, n)) for n, (a, b) in product(networks, pairs)]
    for number, (network, common) in enumerate(SAME_EVERYWHERE):
        for a, b in (pairs[number % 3], pairs[(number + 1) % 3]):
            found.append(Case(side(a, network, common), side(b, network, common)))
    for letter, network, one, other in SAME_WORDS:
        found.append(Case(side(letter, network, one), side(letter, network, other)))
    found += [
        Case(side("K", network), side("K", network, backend="@torch")) for network in networks
    ]
    found += [
        Case(side("K", "digits", ADAM), side("F", "digits", ADAM)),
        Case(side("K", "digits", "labels=one_hot"), side("T", "digits", "spelled=True")),
        Case(side("K", "house", "column=False"), side("T", "house")),
    ]
    return found


def on_another_backend() -> list[Case]:
    """Causes in Keras on PyTorch."""
    planted = [
        ("pooling", "digits", "pooling=average"),
        ("logits-or-probabilities", "digits", "head=twice"),
        ("learning-rate", "house", "rate=0.04"),
        ("batchnorm-momentum", "block", "momentum=0.9"),
    ]
    return [
        Case(side("K", network), side("K", network, change, backend="@torch"), (code,))
        for code, network, change in planted
    ]


def cases() -> list[Case]:
    """All of them."""
    return planted() + on_another_backend() + the_same()
