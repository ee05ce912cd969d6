"""The pairs: in each family, sides that train differently where that hides, each with a twin that
trains the same in other words."""

from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
FILES = {"T": "torch_sides.py", "K": "keras_sides.py", "F": "tensorflow_sides.py"}


@dataclass(frozen=True)
class Pair:
    """Two sides, and what an audit of them must find."""

    family: str
    a: str
    b: str
    code: str = ""
    """The first finding's code, alternatives separated by ``|``; empty where they are the same."""

    @property
    def name(self) -> str:
        return f"{self.a} | {self.b}"

    def specs(self) -> tuple[str, str]:
        """What `diptych audit` takes."""
        return _spec(self.a), _spec(self.b)


def _spec(side: str) -> str:
    framework, _, ingredients = side.partition(":")
    return f"{FOLDER / FILES[framework]}:{ingredients}"


ACCUMULATED = "gradient-accumulation|unexplained|optimiser|frozen-parameter"
FUNCTION = "activation|unexplained|layer-missing|layer-kind"
# By family: a side, one that trains differently, the first of all in other words, and the code of
# the first finding. An empty name in the second or third place leaves that pair out.
FAMILIES: dict[str, list[tuple[str, str, str, str]]] = {
    "batches": [
        ("T:batches=scaled(0.5)", "T:batches=shuffled", "T:batches=scaled_by_division(0.5)", ""),
        ("T:batches=scaled(1.02)", "T:batches=shuffled", "", ""),
        ("T:batches=shuffled", "T:batches=mixed_fixed(0.95)", "T:batches=shuffled_by_sort", ""),
        ("T:batches=flip(0.5)", "T:batches=shuffled", "T:batches=flip_by_index(0.5)", ""),
        ("T:batches=flip(0.2)", "T:batches=flip(0.6)", "T:batches=flip_by_index(0.2)", ""),
        ("T:batches=late_flip(2)", "T:batches=shuffled", "T:batches=late_flip(2)", ""),
        ("T:batches=late_flip(1)", "T:batches=flip(0.5)", "", ""),
        ("T:batches=noise(0.1)", "T:batches=noise(0.3)", "T:batches=noise_of_normal(0.1)", ""),
        ("T:batches=noise(0.02)", "T:batches=shuffled", "T:batches=noise_of_normal(0.02)", ""),
        (
            "T:batches=brightness(0.2)",
            "T:batches=shuffled",
            "T:batches=brightness_uniform(0.2)",
            "",
        ),
        (
            "T:batches=brightness(0.1)",
            "T:batches=brightness(0.3)",
            "T:batches=brightness_uniform(0.1)",
            "",
        ),
        (
            "T:batches=contrast(0.5)",
            "T:batches=contrast(0.2)",
            "T:batches=contrast_by_mean(0.5)",
            "",
        ),
        ("T:batches=crop(1)", "T:batches=shuffled", "T:batches=crop_by_roll(1)", ""),
        ("T:batches=crop(1)", "T:batches=crop(2)", "T:batches=crop_by_roll(1)", ""),
        ("T:batches=erase(2)", "T:batches=shuffled", "T:batches=erase(2)", ""),
        ("T:batches=erase(1)", "T:batches=erase(3)", "", ""),
        ("T:batches=mixup(0.4)", "T:batches=shuffled", "T:batches=mixup_by_lerp(0.4)", ""),
        ("T:batches=mixup(0.2)", "T:batches=mixup(4)", "T:batches=mixup_by_lerp(0.2)", ""),
        ("T:batches=cutmix(4)", "T:batches=shuffled", "T:batches=cutmix(4)", ""),
        ("T:batches=cutmix(2)", "T:batches=cutmix(5)", "", ""),
        ("K:batches=flip(0.5)", "K:batches=shuffled", "K:batches=flip_by_index(0.5)", ""),
        (
            "K:batches=noise(0.1)",
            "K:batches=noise(0.3)",
            "T:batches=noise(0.1)+port=keras(0)+optimiser=sgd(0.05)",
            "",
        ),
        (
            "F:batches=flip(0.5)",
            "F:batches=shuffled",
            "T:batches=flip(0.5)+port=keras(0)+optimiser=sgd(0.05)",
            "",
        ),
    ],
    "accumulation": [
        ("T:step=accumulate(4)", "T:step=accumulate(8)", "T:step=accumulate_sum(4)", ACCUMULATED),
        (
            "T:step=accumulate(16)",
            "T:step=accumulate(32)",
            "T:step=accumulate_sum(16)",
            ACCUMULATED,
        ),
        ("T:step=accumulate(32)", "T:step=plain", "T:step=accumulate_sum(32)", ACCUMULATED),
        (
            "T:step=accumulate(16)+optimiser=adam(0.001)",
            "T:step=accumulate(16)+optimiser=sgd(0.5)",
            "T:step=accumulate_sum(16)+optimiser=adam(0.001)",
            "",
        ),
        (
            "T:step=accumulate(32)+optimiser=adam(0.001)",
            "T:step=accumulate(32)+optimiser=adam(0.003)",
            "",
            "",
        ),
        (
            "T:step=accumulate(8)+optimiser=sgd(0.05)",
            "T:step=accumulate_total(8)+optimiser=sgd(0.05)",
            "",
            "",
        ),
        (
            "K:accumulate=steps(4)",
            "K:accumulate=steps(8)",
            "T:step=accumulate(4)+port=keras(0)+optimiser=sgd(0.05)",
            ACCUMULATED,
        ),
        ("K:accumulate=steps(16)", "K:plain", "K:accumulate=steps(16)", ACCUMULATED),
        (
            "F:step=accumulate(16)",
            "F:step=accumulate(32)",
            "F:step=accumulate_sum(16)",
            ACCUMULATED,
        ),
    ],
    "schedules": [
        ("T:schedule=cosine(10000)", "T:plain", "T:schedule=cosine_by_hand(10000)", "schedule"),
        ("T:schedule=cosine(10000)", "T:schedule=cosine(12000)", "", "schedule"),
        ("T:schedule=stairs(100)", "T:plain", "T:schedule=stairs_by_hand(100)", "schedule"),
        ("T:schedule=stairs(5000)", "T:plain", "T:schedule=stairs_by_hand(5000)", "schedule"),
        (
            "T:schedule=stairs(300)",
            "T:schedule=stairs(301)",
            "T:schedule=stairs_by_hand(300)",
            "schedule",
        ),
        (
            "T:schedule=warm(500)",
            "T:schedule=warm(550)",
            "T:schedule=warm_by_hand(500)",
            "schedule",
        ),
        (
            "T:schedule=exponential(2000)",
            "T:plain",
            "T:schedule=exponential_by_hand(2000)",
            "schedule",
        ),
        (
            "T:schedule=one_cycle(2000)",
            "T:schedule=one_cycle(2500)",
            "T:schedule=one_cycle(2000)",
            "schedule|beta-1|training-length",
        ),
        ("T:schedule=polynomial(3000)", "T:plain", "", "schedule"),
        ("T:step=late_rate(20)", "T:plain", "T:step=late_rate(20)", ""),
        ("T:step=late_rate(200)", "T:plain", "T:step=late_rate(200)", ""),
        ("K:schedule=cosine(5000)", "K:plain", "K:schedule=cosine_by_hand(5000)", "schedule"),
        ("K:schedule=stairs(1000)", "K:plain", "K:schedule=stairs_by_hand(1000)", "schedule"),
        (
            "K:schedule=exponential(2000)",
            "K:schedule=exponential(2500)",
            "K:schedule=exponential_by_hand(2000)",
            "schedule",
        ),
        ("K:schedule=piecewise(3000)", "K:plain", "K:schedule=piecewise_by_hand(3000)", "schedule"),
        ("F:schedule=stairs(300)", "F:plain", "F:schedule=stairs_by_hand(300)", "schedule"),
        ("F:schedule=cosine(900)", "F:plain", "F:schedule=cosine_by_hand(900)", "schedule"),
    ],
    "late changes": [
        (
            "T:step=unfreeze(20)",
            "T:plain",
            "T:step=unfreeze_by_gradient(20)",
            "frozen-parameter|unexplained",
        ),
        (
            "T:step=unfreeze(200)",
            "T:plain",
            "T:step=unfreeze_by_gradient(200)",
            "frozen-parameter|unexplained",
        ),
        ("T:step=freeze(50)", "T:plain", "T:step=freeze(50)", "frozen-parameter|unexplained"),
        ("T:step=average_back(25)", "T:plain", "T:step=average_back(25)", ""),
        ("T:end=late_scale(1000)", "T:plain", "", ""),
        ("K:ema=used(0.99)", "K:plain", "K:ema=used(0.99)", ""),
        ("K:ema=used(0.99)", "K:ema=used(0.999)", "", ""),
        ("K:end=late_scale(200)", "K:plain", "", ""),
        ("F:step=unfreeze(50)", "F:plain", "F:step=unfreeze_by_factor(50)", ""),
    ],
    "below rounding": [
        (
            "T:optimiser=adamw(0.0001)",
            "T:optimiser=adam(0.001)",
            "T:optimiser=adam_decoupled(0.0001)",
            "weight-decay|optimiser",
        ),
        (
            "T:optimiser=adamw_small_rate(0.01)",
            "T:optimiser=adam(3e-5)",
            "",
            "weight-decay|optimiser",
        ),
        (
            "T:optimiser=adamw(0.01)",
            "T:optimiser=adamw(0.011)",
            "T:optimiser=adamw_two_groups(0.01)",
            "weight-decay",
        ),
        ("T:optimiser=sgd_decay(1e-6)", "T:optimiser=sgd(0.05)", "", "weight-decay"),
        ("T:loss=penalty(1e-6)", "T:plain", "T:loss=penalty_by_norm(1e-6)", "regularisation|loss"),
        ("T:loss=smooth(0.0001)", "T:plain", "T:loss=smooth_by_hand(0.0001)", "label-smoothing"),
        (
            "T:loss=smooth(0.1)",
            "T:loss=smooth(0.101)",
            "T:loss=smooth_by_hand(0.1)",
            "label-smoothing",
        ),
        ("T:loss=confidence(1e-5)", "T:plain", "", ""),
        (
            "K:optimiser=adamw(0.0001)",
            "K:optimiser=adam(0.001)",
            "K:optimiser=adam_decayed(0.0001)",
            "weight-decay|optimiser",
        ),
        ("K:penalty=l2(1e-6)", "K:plain", "K:penalty=l2_by_hand(1e-6)", "regularisation"),
        (
            "K:loss=smooth(0.0001)",
            "K:plain",
            "T:loss=smooth(0.0001)+port=keras(0)+optimiser=sgd(0.05)",
            "label-smoothing|loss",
        ),
        ("F:penalty=l2(1e-6)", "F:plain", "F:penalty=l2_by_hand(1e-6)", "regularisation"),
        ("F:decay=decoupled(0.0001)", "F:plain", "F:decay=by_factor(0.0001)", ""),
    ],
    "where inputs never go": [
        ("T:middle=clamp(6)", "T:plain", "T:middle=relu6(6)", FUNCTION),
        ("T:middle=clamp(20)", "T:plain", "T:middle=where(20)", FUNCTION),
        ("T:middle=hardtanh(20)", "T:plain", "T:middle=clamp(20)", FUNCTION),
        ("T:middle=symmetric(8)", "T:middle=symmetric(9)", "T:middle=symmetric(8)", FUNCTION),
        ("T:middle=threshold(0.0001)", "T:plain", "", FUNCTION),
        (
            "T:middle=leaky(0.001)",
            "T:plain",
            "T:middle=maximum(0.001)",
            FUNCTION + "|activation-slope",
        ),
        ("T:middle=floor(0)", "T:middle=hardtanh(50)", "T:plain", FUNCTION),
        ("T:loss=weights(3,7)", "T:plain", "T:loss=weights_by_hand(3,7)", ""),
        ("T:loss=weights(1.1,9)", "T:plain", "T:loss=weights_by_hand(1.1,9)", ""),
        ("T:step=clip(1000)", "T:plain", "T:step=clip(1000)", "gradient-clipping"),
        ("T:step=clip_values(100)", "T:plain", "T:step=clip_values(100)", "gradient-clipping"),
        ("T:step=skip_large(64)", "T:plain", "T:step=skip_large(64)", ""),
        (
            "K:middle=limited(20)",
            "K:plain",
            "T:middle=clamp(20)+port=keras(0)+optimiser=sgd(0.05)",
            FUNCTION,
        ),
        ("K:middle=limited(6)", "K:plain", "K:middle=relu6(6)", FUNCTION),
        ("K:middle=threshold(0.001)", "K:plain", "", FUNCTION),
        ("K:clip=norm(1000)", "K:plain", "K:clip=norm(1000)", "gradient-clipping"),
        ("F:middle=limited(20)", "F:plain", "K:middle=limited(20)", FUNCTION),
    ],
    "randomness": [
        (
            "T:after=dropout(0.3)",
            "T:after=dropout(0.4)",
            "T:after=dropout_by_hand(0.3)",
            "dropout-rate|randomness",
        ),
        ("T:after=dropout(0.3)", "T:after=dropout_shared(0.3)", "", "randomness"),
        ("T:after=dropout(0.3)", "T:after=dropout_unscaled(0.3)", "", ""),
        (
            "T:after=dropout(0.3)",
            "T:after=dropout_channels(0.3)",
            "",
            "randomness|layer-kind|dropout-rate",
        ),
        (
            "T:after=drop_path(0.1)",
            "T:after=residual(0.1)",
            "T:after=drop_path_by_dropout(0.1)",
            "randomness|layer-missing",
        ),
        (
            "T:after=drop_path(0.1)",
            "T:after=drop_path(0.3)",
            "T:after=drop_path_by_dropout(0.1)",
            "randomness|dropout-rate",
        ),
        (
            "T:after=drop_path_of_batch(0.2)",
            "T:after=residual(0.2)",
            "T:after=drop_path_of_batch(0.2)",
            "randomness",
        ),
        ("T:network=lstm(0.3)", "T:network=lstm(0)", "T:network=lstm_by_hand(0.3)", ""),
        ("T:network=lstm(0.3)", "T:network=lstm(0.5)", "", ""),
        ("T:network=gru(0.2)", "T:network=gru(0.6)", "T:network=gru_by_hand(0.2)", ""),
        (
            "T:network=attention(0.3)",
            "T:network=attention(0)",
            "T:network=attention_by_hand(0.3)",
            "",
        ),
        ("T:network=attention(0.1)", "T:network=attention(0.5)", "", ""),
        ("T:begin=noise(0.1)", "T:begin=noise(0.2)", "T:begin=noise_of_normal(0.1)", ""),
        ("T:begin=noise(0.1)", "T:plain", "T:begin=noise_of_normal(0.1)", ""),
        ("T:begin=flip(0.5)", "T:plain", "T:begin=flip(0.5)", ""),
        ("T:begin=flip(0.2)", "T:begin=flip(0.5)", "", ""),
        ("T:begin=brightness(0.1)", "T:begin=brightness(0.3)", "T:begin=brightness(0.1)", ""),
        ("K:begin=rotation(0.1)", "K:begin=rotation(0.2)", "K:begin=rotation(0.1)", ""),
        ("K:begin=flip(0.5)", "K:plain", "K:begin=flip_by_hand(0.5)", ""),
        ("K:begin=noise(0.1)", "K:begin=noise(0.3)", "K:begin=noise_by_hand(0.1)", ""),
        ("K:begin=brightness(0.1)", "K:begin=brightness(0.3)", "K:begin=brightness(0.1)", ""),
        (
            "K:after=dropout(0.3)",
            "K:after=dropout(0.4)",
            "T:after=dropout(0.3)+port=keras(0)+optimiser=sgd(0.05)",
            "dropout-rate|randomness",
        ),
        (
            "K:after=dropout_channels(0.3)",
            "K:after=dropout(0.3)",
            "T:after=dropout_channels(0.3)+port=keras(0)+optimiser=sgd(0.05)",
            "",
        ),
        ("K:network=lstm(0.3)", "K:network=lstm(0)", "K:network=lstm(0.3)", ""),
        ("F:after=dropout(0.3)", "F:after=dropout(0.4)", "K:after=dropout(0.3)", ""),
        ("F:after=dropout(0.3)", "F:plain", "F:after=dropout_by_hand(0.3)", ""),
    ],
    "inference": [
        ("T:end=predicting_softmax(0)", "T:plain", "", "inference|unexplained"),
        (
            "T:end=predicting_scale(1.01)",
            "T:plain",
            "T:end=predicting_scale(1.01)",
            "inference|unexplained",
        ),
        ("T:end=predicting_clamp(0)", "T:plain", "", "inference|unexplained"),
        (
            "T:end=predicting_plain(0)",
            "T:end=predicting_scale(0.5)",
            "T:plain",
            "inference|unexplained",
        ),
        ("K:end=predicting_softmax(0)", "K:plain", "", ""),
        ("T:start=checkpoint(3)", "T:start=checkpoint(4)", "T:start=checkpoint(3)", "weights"),
        ("K:start=checkpoint(3)", "K:start=checkpoint(4)", "K:start=checkpoint(3)", "weights"),
        ("F:end=predicting_softmax(0)", "F:plain", "", ""),
    ],
    "normalisation": [
        (
            "T:after=norm(0.1)",
            "T:after=norm(0.01)",
            "T:after=norm_again(0.1)",
            "batchnorm-momentum",
        ),
        ("T:after=norm(0)", "T:after=norm(0.1)", "", ""),
        (
            "T:after=norm(0.01)+port=keras(0)+optimiser=sgd(0.05)",
            "K:after=norm(0.9)",
            "K:after=norm(0.99)",
            "batchnorm-momentum",
        ),
        ("F:after=norm(0.99)", "K:after=norm(0.95)", "K:after=norm(0.99)", "batchnorm-momentum"),
    ],
    "batch size": [
        ("T:begin=one_is_none(0)", "T:plain", "T:begin=one_is_none(0)", ""),
        ("T:begin=odd_is_halved(0)", "T:plain", "T:begin=odd_is_halved(0)", ""),
        ("T:begin=of_the_batch(0)", "T:plain", "T:begin=of_the_batch(0)", ""),
        ("K:begin=one_is_none(0)", "K:plain", "", ""),
    ],
    "handed to fit": [
        ("K:fit=epochs(5)", "K:fit=epochs(50)", "K:fit=epochs(5)", "training-length"),
        ("K:fit=class_weight(3,7)", "K:fit=epochs(2)", "K:fit=class_weight_of_all(3,7)", ""),
        ("K:fit=sample_weight(3)", "K:fit=epochs(2)", "", ""),
        ("K:fit=plateau(2)", "K:fit=epochs(2)", "K:fit=plateau(2)", "settings|schedule"),
        ("K:fit=plateau(2)", "K:fit=plateau(5)", "", "settings|schedule"),
        (
            "K:fit=rate_per_epoch(0.1)",
            "K:fit=epochs(2)",
            "K:fit=rate_per_epoch_by_hand(0.1)",
            "settings|schedule",
        ),
        ("K:fit=stopping(2)", "K:fit=epochs(2)", "", "settings|training-length"),
        ("K:fit=validation(0.2)", "K:fit=epochs(2)", "", ""),
        ("K:fit=steps(3)", "K:fit=epochs(2)", "", ""),
        ("K:fit=unshuffled(0)", "K:fit=epochs(2)", "K:fit=unshuffled(0)", "batch-order"),
        ("T:steps=say(500)", "T:steps=say(5000)", "T:steps=say(500)", "training-length"),
    ],
    "compiled": [
        ("T:pool=average", "T:pool=average+run=compiled", "T:pool=average", "numerics"),
        ("T:run=compiled", "", "T:plain", ""),
        ("T:run=compiled+middle=clamp(20)", "T:plain", "", FUNCTION),
    ],
    "workflows": [
        (
            "K:plain",
            "T:loss=smooth(0.01)+port=keras(0)+optimiser=sgd(0.05)",
            "T:port=keras(0)+optimiser=sgd(0.05)",
            "loss|label-smoothing",
        ),
        ("F:plain", "K:optimiser=sgd(0.06)", "K:optimiser=sgd(0.05)", "learning-rate"),
        (
            "F:plain",
            "T:port=keras(0)+optimiser=sgd(0.04)",
            "T:port=keras(0)+optimiser=sgd(0.05)",
            "learning-rate",
        ),
    ],
}


def pairs() -> list[Pair]:
    """All pairs: those that differ, and those that are the same."""
    result = []
    for family, rows in FAMILIES.items():
        for side, other, again, code in rows:
            if other:
                result.append(Pair(family, side, other, code or "any"))
            if again:
                result.append(Pair(family, side, again))
    return list(dict.fromkeys(result))
