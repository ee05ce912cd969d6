"""The causes that a finding can name, and how to make the two sides the same in each framework."""

from collections.abc import Iterable

CAUSES: dict[str, dict[str, str]] = {
    "layer-missing": {"": "add the layer to the side that lacks it, or take it from the other"},
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
        "Keras": "Embedding has none; mask_zero makes a mask, and row 0 is trained all the same",
        "PyTorch": "Embedding(padding_idx): this row gets no gradient, and starts as zeros",
        "TensorFlow": "leave the row out of the gradient",
    },
    "padding": {
        "Keras": "padding='same' pads the far side more; ZeroPadding2D and 'valid' pad as you say",
        "PyTorch": "padding=n pads n on every side; F.pad pads as you say",
        "TensorFlow": "'SAME' pads the far side more; [[0, 0], [top, bottom], …] pads as you say",
    },
    "pooling": {
        "Keras": "MaxPooling2D or AveragePooling2D",
        "PyTorch": "MaxPool2d or AvgPool2d (count_include_pad=False as TensorFlow)",
        "TensorFlow": "tf.nn.max_pool2d or tf.nn.avg_pool2d",
    },
    "activation": {
        "": "use the same activation function, written out on both sides (PReLU: Keras has a slope "
        "for each number unless shared_axes says otherwise, PyTorch one for each channel or one)"
    },
    "activation-limits": {
        "Keras": "ReLU(max_value, threshold)",
        "PyTorch": "Hardtanh(min_val, max_val), Threshold(threshold, value), clamp(min, max)",
        "TensorFlow": "tf.clip_by_value(x, min, max)",
    },
    "resampling": {
        "Keras": "UpSampling2D(interpolation), nearest if not given; Resizing; half-pixel centres; "
        "depth_to_space has the blocks first",
        "PyTorch": "Upsample(mode, align_corners), nearest if not given; pixel_shuffle has the "
        "channels first",
        "TensorFlow": "tf.image.resize(method), bilinear with half-pixel centres if not given; "
        "depth_to_space has the blocks first",
    },
    "axis": {
        "": "move, cut, join and sum up the same axes, and join the same inputs in the same order; "
        "count axes with the channels where they are"
    },
    "activation-slope": {
        "Keras": "LeakyReLU(negative_slope), 0.3 if not given (ELU: alpha)",
        "PyTorch": "LeakyReLU(negative_slope), 0.01 if not given",
        "TensorFlow": "tf.nn.leaky_relu(alpha), 0.2 if not given",
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
        "TensorFlow": "tf.nn.bias_add with a variable of its own",
    },
    "flatten-order": {
        "Keras": "Permute((3, 1, 2)) before Flatten gives PyTorch's order",
        "PyTorch": "x.permute(0, 2, 3, 1).flatten(1) gives TensorFlow's order; or reorder the rows "
        "of the dense kernel behind it",
        "TensorFlow": "tf.transpose(x, [0, 3, 1, 2]) before tf.reshape gives PyTorch's order",
    },
    "batchnorm-momentum": {
        "Keras": "momentum is the share that is kept (0.99 if not given)",
        "PyTorch": "momentum is the share that is new (0.1 if not given): 1 minus Keras'",
        "TensorFlow": "moving = moving * momentum + new * (1 - momentum)",
    },
    "batchnorm-epsilon": {
        "Keras": "BatchNormalization(epsilon), 0.001 if not given",
        "PyTorch": "BatchNorm2d(eps), 0.00001 if not given",
        "TensorFlow": "tf.nn.batch_normalization(…, variance_epsilon)",
    },
    "batchnorm-initialiser": {"": "start gamma, beta and the moving averages from the same values"},
    "normalisation-axes": {
        "Keras": "LayerNormalization(axis), the last one if not given; GroupNormalization(groups), "
        "32 if not given",
        "PyTorch": "LayerNorm(normalized_shape): the last axes, as many as it has sizes; "
        "GroupNorm(num_groups)",
        "TensorFlow": "tf.nn.moments(x, axes)",
    },
    "normalisation-epsilon": {
        "Keras": "LayerNormalization(epsilon) or GroupNormalization(epsilon), 0.001 if not given; "
        "RMSNormalization(epsilon), 0.000001 if not given",
        "PyTorch": "LayerNorm(eps) or GroupNorm(eps), 0.00001 if not given; RMSNorm(eps), the "
        "smallest step of its type above 1 if not given",
        "TensorFlow": "the number that is added to the variance",
    },
    "normalisation-initialiser": {"": "start the scale and the offset from the same values"},
    "input-scale": {"": "scale the inputs in the same way, once: in the data or in a layer"},
    "input-layout": {
        "Keras": "(n, height, width, channels), unless data_format says otherwise",
        "PyTorch": "(n, channels, height, width): x.permute(0, 3, 1, 2)",
        "TensorFlow": "(n, height, width, channels)",
    },
    "channel-order": {
        "Keras": "keras.applications' preprocess_input with mode 'caffe' makes RGB into BGR; "
        "x[..., ::-1] turns it back",
        "PyTorch": "OpenCV reads BGR, PIL and torchvision RGB; x.flip(1) turns one into the other",
        "TensorFlow": "tf.reverse(x, [-1]) turns RGB into BGR and back",
    },
    "label-encoding": {"": "give both sides the same labels, counted from 0 in the same order"},
    "shared-weights": {
        "Keras": "call one layer twice, or pass its kernel on: ReversibleEmbedding(tie_weights)",
        "PyTorch": "head.weight = embedding.weight, before the optimiser takes the parameters",
        "TensorFlow": "use one variable in both places",
    },
    "kernel-initialiser": {
        "Keras": "kernel_initializer (glorot_uniform if not given); an Embedding's "
        "embeddings_initializer (uniform within 0.05 if not given)",
        "PyTorch": "torch.nn.init, e.g. xavier_uniform_ for Keras' default; PyTorch's own is "
        "uniform within 1/sqrt(fan in), an Embedding's is normal with the deviation 1",
        "TensorFlow": "the initial value of the kernel's variable",
    },
    "slope-initialiser": {
        "Keras": "PReLU(alpha_initializer), zeros if not given",
        "PyTorch": "PReLU(init), 0.25 if not given",
        "TensorFlow": "the initial value of the slopes' variable",
    },
    "bias-initialiser": {
        "Keras": "bias_initializer (zeros if not given)",
        "PyTorch": "torch.nn.init.zeros_(layer.bias) for Keras' default; PyTorch's own is uniform "
        "within 1/sqrt(fan in)",
        "TensorFlow": "the initial value of the bias' variable",
    },
    "kernel-flipped": {"": "turn the convolution's kernels by 180 degrees when they are copied"},
    "weights": {"": "copy this parameter again, and compare"},
    "training-mode": {
        "Keras": "call layers with training=None, so that fit and predict decide; "
        "batch normalisation with trainable=False does not train",
        "PyTorch": "model.train() before training, model.eval() before predicting",
        "TensorFlow": "apply dropout and the batch's own statistics in the training loss, and only "
        "there",
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
        "": "give targets and outputs one shape: (n, 1) minus (n,) is an (n, n) matrix"
    },
    "regularisation": {
        "Keras": "kernel_regularizer: L2(factor) adds factor * sum(w²)",
        "PyTorch": "add it to the loss; weight_decay of SGD is factor 2 * that",
        "TensorFlow": "add it to the loss (tf.nn.l2_loss is half the sum of squares)",
    },
    "weight-constraint": {
        "Keras": "kernel_constraint, bias_constraint",
        "PyTorch": "project the weights after optimizer.step(); Embedding(max_norm)",
        "TensorFlow": "project the variables after the step",
    },
    "frozen-parameter": {
        "Keras": "layer.trainable, set before compile",
        "PyTorch": "requires_grad, no .detach() or no_grad() in the way, and the parameter among "
        "those given to the optimizer",
        "TensorFlow": "trainable, no tf.stop_gradient, and the variable among those of the step",
    },
    "gradient-scale": {"": "train on the gradient of the same loss, times the same factor"},
    "gradients-not-cleared": {
        "PyTorch": "optimizer.zero_grad() before every backward()",
        "Keras": "do not add gradients up over steps",
        "TensorFlow": "do not add gradients up over steps",
    },
    "optimiser": {"": "use the same optimiser"},
    "learning-rate": {"": "use the same learning rate"},
    "momentum": {"": "use the same momentum, and Nesterov's or not on both sides"},
    "beta-1": {"": "use the same beta_1"},
    "beta-2": {"": "use the same beta_2 (RMSprop: rho, PyTorch's alpha)"},
    "epsilon": {
        "Keras": "epsilon, 1e-7 if not given, added to the root before its bias is corrected",
        "PyTorch": "eps, 1e-8 if not given, added to the root after its bias is corrected",
        "TensorFlow": "epsilon as you write it (tf.compat.v1's Adam has 1e-8)",
    },
    "weight-decay": {
        "Keras": "weight_decay is AdamW's, apart from the gradient",
        "PyTorch": "weight_decay is added to the gradient, except in AdamW (0.01 if not given)",
        "TensorFlow": "apart from the gradient or added to it, as you write it",
    },
    "gradient-clipping": {
        "Keras": "clipnorm is for each variable, global_clipnorm for all, clipvalue for a number",
        "PyTorch": "clip_grad_norm_ is for all parameters together",
        "TensorFlow": "tf.clip_by_global_norm is for all, tf.clip_by_norm for one",
    },
    "gradient-accumulation": {
        "Keras": "gradient_accumulation_steps of the optimiser",
        "PyTorch": "call optimizer.step() after the same number of backward()",
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
        "": "draw the same random numbers in training: the same layers at the same rates, for each "
        "example or for the whole batch alike"
    },
    "inference": {
        "Keras": "what call(training=False) does must follow from what call(training=True) does",
        "PyTorch": "look for `if self.training` in forward: what eval() adds, add on both sides",
        "TensorFlow": "use the same function to predict as in training, but for dropout and moving "
        "averages",
    },
    "batch-dependence": {
        "": "make the outputs of one example independent of how many others are in its batch"
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
    "augmentation": {"": "change the training images in the same way, or on neither side"},
    "examples": {"": "train on the same examples; look for a validation split on one side"},
    "precision": {
        "Keras": "keras.config.set_dtype_policy, or the layers' dtype",
        "PyTorch": "autocast, or the module's dtype",
        "TensorFlow": "the casts in the forward pass",
    },
    "unexplained": {
        "": "compare the code of both sides here; none of the known causes explains it"
    },
}
"""By code, by framework (``""`` for any), what the fix is."""


SPECIAL: dict[tuple[str, str], dict[str, str]] = {
    ("epsilon", "rmsprop"): {
        "Keras": "RMSprop(epsilon), 1e-7 if not given, added inside the root",
        "PyTorch": "RMSprop(eps), 1e-8 if not given, added to the root; no setting makes it Keras'",
        "TensorFlow": "epsilon as you write it (tf.compat.v1's RMSProp has 1e-10, inside the root)",
    },
    ("epsilon", "adagrad"): {
        "Keras": "Adagrad(epsilon), 1e-7 if not given, added inside the root",
        "PyTorch": "Adagrad(eps), 1e-10 if not given, added to the root",
    },
    ("epsilon", "adadelta"): {
        "Keras": "Adadelta(epsilon), 1e-7 if not given",
        "PyTorch": "Adadelta(eps), 1e-6 if not given",
    },
    ("weight-decay", "adamw"): {
        "Keras": "AdamW(weight_decay), 0.004 if not given; exclude_from_weight_decay spares some",
        "PyTorch": "AdamW(weight_decay), 0.01 if not given; a group of its own leaves some out",
    },
    ("kernel-initialiser", "embedding"): {
        "Keras": "Embedding(embeddings_initializer), uniform within 0.05 if not given",
        "PyTorch": "nn.init.uniform_(embedding.weight, -0.05, 0.05) for Keras' default; PyTorch's "
        "own is normal with deviation 1",
    },
    ("training-mode", "batch_norm"): {
        "Keras": "layer.trainable = False has batch normalisation use its moving averages; "
        "layer(x, training=False) does too",
        "PyTorch": "backbone.eval() after every model.train(): requires_grad = False alone leaves "
        "batch normalisation in training",
        "TensorFlow": "use the batch's own statistics in the training loss, and only there",
    },
    ("training-mode", "dropout"): {
        "Keras": "call layers with training=None, so that fit and predict decide",
        "PyTorch": "model.train() before training, model.eval() before predicting; F.dropout needs "
        "training=self.training",
        "TensorFlow": "apply dropout in the training loss, and only there",
    },
}
"""What fits better where a cause is found at such a kind of layer, or with such an optimiser."""


def advice(code: str, *frameworks: str, about: Iterable[str] = ()) -> str:
    """How to make the two the same, in the frameworks that the two sides have.

    Args:
        code: of the cause.
        frameworks: of both sides.
        about: the kinds of layers that it is found at, and both sides' kinds of optimisers.
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
