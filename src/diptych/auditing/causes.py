"""The causes that a finding can name, and how to make the two sides the same in each framework."""

from collections.abc import Iterable

CAUSES: dict[str, dict[str, str]] = {
    "layer-missing": {"": "add the layer to the side that lacks it, or remove it from the other"},
    "layer-order": {"": "put the layers in the same order"},
    "layer-kind": {"": "use the same kind of layer in this place"},
    "units": {
        "Keras": "Conv2D(filters) or Dense(units)",
        "PyTorch": "out_channels or out_features",
        "TensorFlow": "the last axis of the kernel",
    },
    "kernel-size": {
        "Keras": "kernel_size, or pool_size",
        "PyTorch": "kernel_size",
        "TensorFlow": "the kernel's first axes, or ksize",
    },
    "stride": {
        "Keras": "strides (a pooling layer's default is its pool_size)",
        "PyTorch": "stride (a pooling layer's default is its kernel_size)",
        "TensorFlow": "strides",
    },
    "padding-index": {
        "Keras": "Embedding has none; mask_zero makes a mask, but row 0 is still trained",
        "PyTorch": "Embedding(padding_idx): this row gets no gradient and starts at zero",
        "TensorFlow": "set the gradient of this row to zero",
    },
    "repeated-tokens": {
        "Keras": "on TensorFlow, a train_step that hands tf.convert_to_tensor(gradient) to the "
        "optimizer adds up a token's rows first; on JAX and PyTorch, Keras does so by itself",
        "PyTorch": "Embedding adds up a token's rows; no setting squares them one by one",
        "TensorFlow": "tf.convert_to_tensor(gradient) adds up a token's rows",
    },
    "padding": {
        "Keras": "padding='same' pads the bottom and right more; ZeroPadding2D sets each side",
        "PyTorch": "padding=n pads n on every side; F.pad sets each side",
        "TensorFlow": "'SAME' pads the bottom and right more; [[0, 0], [top, bottom], …] sets all",
    },
    "pooling": {
        "Keras": "MaxPooling2D or AveragePooling2D",
        "PyTorch": "MaxPool2d or AvgPool2d (count_include_pad=False as in TensorFlow)",
        "TensorFlow": "tf.nn.max_pool2d or tf.nn.avg_pool2d",
    },
    "activation": {
        "": "use the same activation function with explicit parameters on both sides (PReLU: Keras "
        "has one slope per value unless shared_axes is set, PyTorch one per channel or just one)"
    },
    "activation-limits": {
        "Keras": "ReLU(max_value, threshold)",
        "PyTorch": "Hardtanh(min_val, max_val), Threshold(threshold, value), clamp(min, max)",
        "TensorFlow": "tf.clip_by_value(x, min, max)",
    },
    "resampling": {
        "Keras": "UpSampling2D(interpolation), nearest by default; Resizing; half-pixel centres; "
        "depth_to_space splits the channels into (block, block, channels)",
        "PyTorch": "Upsample(mode, align_corners), nearest by default; pixel_shuffle splits the "
        "channels into (channels, block, block)",
        "TensorFlow": "tf.image.resize(method), bilinear with half-pixel centres by default; "
        "depth_to_space splits the channels into (block, block, channels)",
    },
    "axis": {
        "": "transpose, slice, concatenate and reduce along the same axes, and concatenate in the "
        "same order; axis numbers depend on where the channels are"
    },
    "activation-slope": {
        "Keras": "LeakyReLU(negative_slope), 0.3 by default (ELU: alpha)",
        "PyTorch": "LeakyReLU(negative_slope), 0.01 by default",
        "TensorFlow": "tf.nn.leaky_relu(alpha), 0.2 by default",
    },
    "dropout-rate": {
        "Keras": "Dropout(rate): the share that is dropped",
        "PyTorch": "Dropout(p): the share that is dropped",
        "TensorFlow": "tf.nn.dropout(rate): the share that is dropped (keep_prob was what is kept)",
    },
    "noise": {"": "add noise of the same deviation, at the same place"},
    "bias-missing": {
        "Keras": "use_bias",
        "PyTorch": "bias",
        "TensorFlow": "tf.nn.bias_add with a variable",
    },
    "flatten-order": {
        "Keras": "Permute((3, 1, 2)) before Flatten gives PyTorch's order",
        "PyTorch": "x.permute(0, 2, 3, 1).flatten(1) gives TensorFlow's order; or reorder the rows "
        "of the next dense kernel",
        "TensorFlow": "tf.transpose(x, [0, 3, 1, 2]) before tf.reshape gives PyTorch's order",
    },
    "batchnorm-momentum": {
        "Keras": "momentum is the share of the old average that is kept (0.99 by default)",
        "PyTorch": "momentum is the share of the new value (0.1 by default): 1 minus Keras'",
        "TensorFlow": "moving = moving * momentum + new * (1 - momentum)",
    },
    "batchnorm-epsilon": {
        "Keras": "BatchNormalization(epsilon), 0.001 by default",
        "PyTorch": "BatchNorm2d(eps), 0.00001 by default",
        "TensorFlow": "tf.nn.batch_normalization(…, variance_epsilon)",
    },
    "batchnorm-initialiser": {"": "start gamma, beta and the moving averages from the same values"},
    "normalisation-axes": {
        "Keras": "LayerNormalization(axis), the last one by default; GroupNormalization(groups), "
        "32 by default",
        "PyTorch": "LayerNorm(normalized_shape): the last axes, one per size; "
        "GroupNorm(num_groups)",
        "TensorFlow": "tf.nn.moments(x, axes)",
    },
    "normalisation-epsilon": {
        "Keras": "LayerNormalization(epsilon) or GroupNormalization(epsilon), 0.001 by default; "
        "RMSNormalization(epsilon), 0.000001 by default",
        "PyTorch": "LayerNorm(eps) or GroupNorm(eps), 0.00001 by default; RMSNorm(eps), the "
        "machine epsilon of its dtype by default",
        "TensorFlow": "the epsilon that is added to the variance",
    },
    "normalisation-initialiser": {"": "start the scale and the offset from the same values"},
    "input-scale": {"": "scale the inputs in the same way, once: in the data or in a layer"},
    "input-layout": {
        "Keras": "(n, height, width, channels), unless data_format says otherwise",
        "PyTorch": "(n, channels, height, width): x.permute(0, 3, 1, 2)",
        "TensorFlow": "(n, height, width, channels)",
    },
    "channel-order": {
        "Keras": "keras.applications' preprocess_input with mode 'caffe' converts RGB to BGR; "
        "x[..., ::-1] converts it back",
        "PyTorch": "OpenCV reads BGR, PIL and torchvision RGB; x.flip(1) converts one to the other",
        "TensorFlow": "tf.reverse(x, [-1]) converts RGB to BGR and back",
    },
    "label-encoding": {"": "give both sides the same labels, counted from 0 in the same order"},
    "shared-weights": {
        "Keras": "call one layer twice, or use ReversibleEmbedding(tie_weights)",
        "PyTorch": "head.weight = embedding.weight, before the optimiser is created",
        "TensorFlow": "use one variable in both places",
    },
    "kernel-initialiser": {
        "Keras": "kernel_initializer (glorot_uniform by default); an Embedding's "
        "embeddings_initializer (uniform within ±0.05 by default)",
        "PyTorch": "torch.nn.init, e.g. xavier_uniform_ for Keras' default; PyTorch's own is "
        "uniform within ±1/sqrt(fan in), an Embedding's normal with a standard deviation of 1",
        "TensorFlow": "the initial value of the kernel's variable",
    },
    "slope-initialiser": {
        "Keras": "PReLU(alpha_initializer), zeros by default",
        "PyTorch": "PReLU(init), 0.25 by default",
        "TensorFlow": "the initial value of the variable of the slopes",
    },
    "bias-initialiser": {
        "Keras": "bias_initializer (zeros by default)",
        "PyTorch": "torch.nn.init.zeros_(layer.bias) for Keras' default; PyTorch's own is uniform "
        "within ±1/sqrt(fan in)",
        "TensorFlow": "the initial value of the bias variable",
    },
    "kernel-flipped": {"": "rotate the convolution kernels by 180 degrees when copying them"},
    "weights": {"": "copy this parameter again"},
    "training-mode": {
        "Keras": "call layers with training=None, so that fit and predict decide; "
        "batch normalisation with trainable=False runs in inference mode",
        "PyTorch": "model.train() before training, model.eval() before predicting",
        "TensorFlow": "use dropout and batch statistics in the training loss, and only there",
    },
    "logits-or-probabilities": {
        "Keras": "from_logits=True for a last layer without softmax, False for one with it",
        "PyTorch": "CrossEntropyLoss takes logits: no softmax before it; NLLLoss takes log_softmax",
        "TensorFlow": "…_cross_entropy_with_logits takes logits: no softmax before it",
    },
    "loss": {"": "use the same loss function"},
    "label-smoothing": {"": "use the same label_smoothing"},
    "loss-reduction": {
        "Keras": "reduction='sum_over_batch_size' is the mean",
        "PyTorch": "reduction='mean'",
        "TensorFlow": "tf.reduce_mean over the batch",
    },
    "loss-broadcast": {
        "": "use the same shape for targets and outputs: (n, 1) minus (n,) is an (n, n) matrix"
    },
    "regularisation": {
        "Keras": "kernel_regularizer: L2(factor) adds factor * sum(w²)",
        "PyTorch": "add it to the loss; or SGD with weight_decay = 2 * factor",
        "TensorFlow": "add it to the loss (tf.nn.l2_loss is half the sum of squares)",
    },
    "weight-constraint": {
        "Keras": "kernel_constraint, bias_constraint",
        "PyTorch": "constrain the weights after optimizer.step(); Embedding(max_norm)",
        "TensorFlow": "constrain the variables after the step",
    },
    "frozen-parameter": {
        "Keras": "layer.trainable, set before compile",
        "PyTorch": "requires_grad, no .detach() or no_grad() in the forward pass, the parameter "
        "passed to the optimizer",
        "TensorFlow": "trainable, no tf.stop_gradient, and the variable updated in the step",
    },
    "gradient-scale": {"": "multiply the loss and its gradients by the same factor"},
    "gradients-not-cleared": {
        "PyTorch": "optimizer.zero_grad() before every backward()",
        "Keras": "do not sum gradients over steps",
        "TensorFlow": "do not sum gradients over steps",
    },
    "optimiser": {"": "use the same optimiser"},
    "learning-rate": {"": "use the same learning rate"},
    "momentum": {"": "use the same momentum, with or without Nesterov on both sides"},
    "beta-1": {"": "use the same beta_1"},
    "beta-2": {"": "use the same beta_2 (RMSprop: rho, PyTorch's alpha)"},
    "epsilon": {
        "Keras": "epsilon, 1e-7 by default, added to the root before bias correction",
        "PyTorch": "eps, 1e-8 by default, added to the root after bias correction",
        "TensorFlow": "epsilon as your code adds it (1e-8 in tf.compat.v1's Adam)",
    },
    "weight-decay": {
        "Keras": "weight_decay is decoupled from the gradient, as in AdamW",
        "PyTorch": "weight_decay is added to the gradient, except in AdamW (0.01 by default)",
        "TensorFlow": "decoupled from the gradient or added to it, as your code does it",
    },
    "gradient-clipping": {
        "Keras": "clipnorm is per variable, global_clipnorm over all of them, clipvalue per value",
        "PyTorch": "clip_grad_norm_ uses the norm over all parameters",
        "TensorFlow": "tf.clip_by_global_norm is over all tensors, tf.clip_by_norm per tensor",
    },
    "gradient-accumulation": {
        "Keras": "gradient_accumulation_steps of the optimiser",
        "PyTorch": "call optimizer.step() after the same number of backward() calls",
        "TensorFlow": "apply the gradients after the same number of batches",
    },
    "schedule": {"": "change the learning rate at the same steps, counted in the same way"},
    "training-length": {
        "Keras": "fit(epochs, steps_per_epoch)",
        "PyTorch": "the number of steps or epochs of the training loop",
        "TensorFlow": "the number of steps or epochs of the training loop",
    },
    "settings": {"": "give both trainings the same arguments and callbacks"},
    "randomness": {
        "": "draw random numbers from the same distribution in training: the same layers, the same "
        "rates, and per example or per batch on both sides"
    },
    "inference": {
        "Keras": "compare what call does with training=False and with training=True",
        "PyTorch": "look for `if self.training` in forward; do the same on both sides",
        "TensorFlow": "predict with the same function as in training, except for dropout and "
        "moving averages",
    },
    "batch-dependence": {
        "": "make the outputs for an example independent of the size of its batch"
    },
    "numerics": {
        "Keras": "try compile(jit_compile=False); report the operation to the framework",
        "PyTorch": "try the module without torch.compile; report the operation to the framework",
        "TensorFlow": "try tf.function(jit_compile=False); report the operation to the framework",
    },
    "batch-order": {
        "Keras": "fit(shuffle=True) is the default for arrays, not for a tf.data.Dataset",
        "PyTorch": "DataLoader(shuffle=True); the default is False",
        "TensorFlow": "Dataset.shuffle with a buffer as large as the data",
    },
    "batch-size": {"": "use the same batch size"},
    "last-batch": {
        "Keras": "fit keeps the last, smaller batch",
        "PyTorch": "DataLoader(drop_last=False)",
        "TensorFlow": "Dataset.batch(drop_remainder=False)",
    },
    "augmentation": {"": "augment the training images in the same way, or on neither side"},
    "examples": {"": "train on the same examples; check for a validation split on one side"},
    "precision": {
        "Keras": "keras.config.set_dtype_policy, or the layers' dtype",
        "PyTorch": "autocast, or the module's dtype",
        "TensorFlow": "the casts in the forward pass",
    },
    "unexplained": {
        "": "compare the code of both sides here; no known cause explains the difference"
    },
}
"""The fix per framework (``""``: any framework), by the cause's code."""


SPECIAL: dict[tuple[str, str], dict[str, str]] = {
    ("epsilon", "rmsprop"): {
        "Keras": "RMSprop(epsilon), 1e-7 by default, added inside the root",
        "PyTorch": "RMSprop(eps), 1e-8 by default, added to the root; no setting matches Keras",
        "TensorFlow": "epsilon as your code adds it (tf.compat.v1: 1e-10, inside the root)",
    },
    ("epsilon", "adagrad"): {
        "Keras": "Adagrad(epsilon), 1e-7 by default, added inside the root",
        "PyTorch": "Adagrad(eps), 1e-10 by default, added to the root",
    },
    ("epsilon", "adadelta"): {
        "Keras": "Adadelta(epsilon), 1e-7 by default",
        "PyTorch": "Adadelta(eps), 1e-6 by default",
    },
    ("weight-decay", "adamw"): {
        "Keras": "AdamW(weight_decay), 0.004 by default; exclude_from_weight_decay excludes some",
        "PyTorch": "AdamW(weight_decay), 0.01 by default; a parameter group with 0 excludes some",
    },
    **{
        ("axis", kind): {
            "PyTorch": "batch_first=True in the layer, or x.transpose(0, 1) before and behind it; "
            "another transpose or slice if it has that",
            "Keras": "the steps are the second axis; transpose or slice along the same axes",
        }
        for kind in ("gru", "lstm", "simple_rnn", "multi_head_attention")
    },
    ("kernel-initialiser", "embedding"): {
        "Keras": "Embedding(embeddings_initializer), uniform within ±0.05 by default",
        "PyTorch": "nn.init.uniform_(embedding.weight, -0.05, 0.05) for Keras' default; PyTorch's "
        "own is normal with a standard deviation of 1",
    },
    ("training-mode", "batch_norm"): {
        "Keras": "with layer.trainable = False batch normalisation uses its moving averages; "
        "with layer(x, training=False) too",
        "PyTorch": "backbone.eval() after every model.train(): requires_grad = False alone leaves "
        "batch normalisation in training mode",
        "TensorFlow": "use batch statistics in the training loss, and only there",
    },
    ("training-mode", "dropout"): {
        "Keras": "call layers with training=None, so that fit and predict decide",
        "PyTorch": "model.train() before training, model.eval() before predicting; F.dropout needs "
        "training=self.training",
        "TensorFlow": "apply dropout in the training loss, and only there",
    },
}
"""More specific fixes, by a cause and the kind of layer or optimiser that it is found at."""


def advice(code: str, *frameworks: str, about: Iterable[str] = ()) -> str:
    """The fix of a cause, in the frameworks of the two sides.

    Args:
        code: the code of the cause.
        frameworks: the frameworks of both sides.
        about: the kinds of the layers at which it is found, and of both sides' optimisers.
    """
    texts = CAUSES[code]
    for thing in about:
        texts = SPECIAL.get((code, thing), texts)
    if "" in texts:
        return texts[""]
    families = dict.fromkeys(_family(framework) for framework in frameworks)
    return "; ".join(f"{family}: {texts[family]}" for family in families if family in texts)


def _family(framework: str) -> str:
    for family in ("Keras", "PyTorch", "TensorFlow"):
        if framework.startswith(family):
            return family
    return "TensorFlow"  # The reference and ONNX run what TensorFlow's terms describe.
