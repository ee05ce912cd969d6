"""The networks in PyTorch, with whatever a variant plants in them."""

# The frameworks' annotations say less than they take and give.
# pyright: basic, reportArgumentType=false, reportOptionalMemberAccess=false
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportOperatorIssue=false

import torch
from torch import nn
from torch.nn import functional
from variants import (
    Variant,
    batches_of,
    houses,
    parse,
    prepare_images,
    short_signals,
    signals,
    texts,
)


def __getattr__(name: str):
    if name.startswith("__"):
        raise AttributeError(name)
    network, v = parse(name)
    return lambda: side(v, NETWORKS[network](v), network)


def initialised(v: Variant, layer):
    """Keras' initialisers, where the variant does not say PyTorch's own."""
    if v.initialiser == "glorot":
        nn.init.xavier_uniform_(layer.weight)
    elif v.initialiser == "he":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    if layer.bias is not None and v.biases == "zeros":
        nn.init.zeros_(layer.bias)
    return layer


def activation(v: Variant, other: str = "") -> nn.Module:
    if v.activation == "leaky_relu":
        return {"selu": nn.SELU, "tanh": nn.Tanh}[other]() if other else nn.LeakyReLU(v.slope)
    return {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU}[v.activation]()


class Cnn(nn.Module):
    def __init__(self, v: Variant) -> None:
        super().__init__()
        self.v = v
        padding = v.kernel // 2 if v.padding == "same" else 0
        first = nn.Conv2d(1, v.units, v.kernel, stride=v.stride, padding=padding, bias=v.bias)
        self.first = initialised(v, first)
        self.activation = activation(v)
        self.pool = nn.MaxPool2d(2) if v.pool == "max" else nn.AvgPool2d(2)
        self.dropout = nn.Dropout(v.rate)
        if v.instead == "conv":
            self.second = initialised(v, nn.Conv2d(v.units, 8, 3))
        else:
            self.second = initialised(v, nn.Linear(v.units, 8))
        self.extra = initialised(v, nn.Linear(self.flat(), 10)) if v.extra else None
        self.last = initialised(v, nn.Linear(10 if v.extra else self.flat(), 10))

    def flat(self) -> int:
        width = (28 + (0 if self.v.padding == "same" else 1 - self.v.kernel)) // self.v.stride // 2
        return 8 * ((width - (2 if self.v.instead == "conv" else 0)) // 2) ** 2

    def forward(self, x):
        if self.v.explicit:  # The same, in functions.
            x = functional.conv2d(x, self.first.weight, self.first.bias, padding=1)
            x = torch.maximum(x, self.v.slope * x)
            x = functional.max_pool2d(x, 2)
        else:
            x = self.pool(self.activation(self.first(x)))
        x = self.dropout(x) if self.v.rate else x
        if self.v.instead == "conv":
            x = self.second(x)
        else:
            x = self.second(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = functional.max_pool2d(functional.relu(x), 2)
        if self.v.order == "last":
            x = x.permute(0, 2, 3, 1)
        x = x.flatten(1)
        x = self.extra(x) if self.extra is not None else x
        x = self.last(x)
        return x if self.v.softmax == "none" else x.softmax(1)


class Residual(nn.Module):
    def __init__(self, v: Variant) -> None:
        super().__init__()
        self.v = v
        norm = {"momentum": 1 - v.momentum, "eps": v.bn_epsilon}
        self.first = initialised(v, nn.Conv2d(1, v.units, v.kernel, stride=2))
        self.norm_1 = nn.BatchNorm2d(v.units, **norm)
        self.activation = activation(v, "selu")
        self.second = initialised(v, nn.Conv2d(v.units, v.units, 3, padding=1))
        self.norm_2 = nn.BatchNorm2d(v.units, **norm)
        self.last = initialised(v, nn.Linear(v.units, 10))

    def forward(self, x):
        # TensorFlow pads the far side where the stride is two.
        x = (
            functional.pad(x, (0, 1, 0, 1))
            if self.v.kernel == 3
            else functional.pad(x, (1, 2, 1, 2))
        )
        x = self.activation(self.norm_1(self.first(x)))
        x = functional.relu(x + self.norm_2(self.second(x)))
        return self.last(x.mean((2, 3)))


class UnitNorm(nn.Module):
    def __init__(self, v: Variant) -> None:
        super().__init__()
        self.axis = v.layer_axis

    def forward(self, x):
        return functional.normalize(x, dim=self.axis)


LAYERS = {
    "clip": lambda v: nn.Hardtanh(0.0, v.layer_limit),
    "group_norm": lambda v: nn.GroupNorm(v.layer_groups, v.units, v.layer_epsilon),
    "layer_norm": lambda v: nn.LayerNorm(v.units, v.layer_epsilon),
    "prelu": lambda v: nn.PReLU(1 if v.layer_shared else v.units),
    "rms_norm": lambda v: nn.RMSNorm(v.units, v.layer_epsilon),
    "unit_norm": UnitNorm,
}
"""By kind, the layer behind the hidden one of the regression."""


class Regression(nn.Module):
    def __init__(self, v: Variant) -> None:
        super().__init__()
        self.hidden = initialised(v, nn.Linear(13, v.units))
        self.layer = LAYERS[v.layer](v) if v.layer else nn.Identity()
        self.activation = activation(v, "tanh")
        self.last = initialised(v, nn.Linear(v.units, 1))

    def forward(self, x):
        return self.last(self.activation(self.layer(self.hidden(x))))


class Signal(nn.Module):
    def __init__(self, v: Variant) -> None:
        super().__init__()
        padding = v.kernel // 2 if v.padding == "same" else 0
        self.first = initialised(v, nn.Conv1d(2, v.units, v.kernel, padding=padding))
        self.pool = nn.MaxPool1d(2) if v.pool == "max" else nn.AvgPool1d(2)
        width = (40 + 2 * padding - v.kernel + 1) // 2
        self.last = initialised(v, nn.Linear(width * v.units, 3))

    def forward(self, x):
        return self.last(self.pool(functional.relu(self.first(x))).flatten(1))


def as_in_keras(layer: nn.RNNBase, forget: bool = False, freeze: bool = True) -> nn.RNNBase:
    """A recurrent layer that starts as Keras' does, and trains one of its two biases."""
    for name, parameter in layer.named_parameters():
        if name.startswith("weight_ih"):
            nn.init.xavier_uniform_(parameter)
        elif name.startswith("weight_hh"):
            nn.init.orthogonal_(parameter)
        else:
            nn.init.zeros_(parameter)
            if forget and name.startswith("bias_ih"):
                with torch.no_grad():
                    parameter[layer.hidden_size : 2 * layer.hidden_size] = 1.0
            parameter.requires_grad_(not (freeze and name.startswith("bias_hh")))
    return layer


class Series(nn.Module):
    def __init__(self, v: Variant) -> None:
        super().__init__()
        self.v = v
        function = "tanh" if v.activation == "leaky_relu" else v.activation
        first = nn.RNN(2, v.units, nonlinearity=function, batch_first=True)
        self.first = as_in_keras(first)
        self.second = as_in_keras(nn.LSTM(v.units, 5, batch_first=True), forget=True)
        third = nn.GRU(5, 4, batch_first=True, bidirectional=True)
        self.third = as_in_keras(third, freeze=False)
        self.last = initialised(v, nn.Linear(8, 3))

    def forward(self, x):
        x, _ = self.first(x.flip(1) if self.v.backwards else x)
        x, _ = self.second(x)
        x, states = self.third(x)
        x = x[:, -1] if self.v.taken == "step" else torch.cat((states[0], states[1]), 1)
        return self.last(x)


class Attention(nn.Module):
    def __init__(self, v: Variant) -> None:
        super().__init__()
        self.v = v
        self.first = initialised(v, nn.Linear(2, 8))
        self.attention = nn.MultiheadAttention(8, v.heads, batch_first=True)
        for weight in (*self.attention.in_proj_weight.chunk(3), self.attention.out_proj.weight):
            nn.init.xavier_uniform_(weight)
        self.last = initialised(v, nn.Linear(80, 3))

    def forward(self, x):
        x = self.first(x)
        later = nn.Transformer.generate_square_subsequent_mask(10) if self.v.causal else None
        x, _ = self.attention(x, x, x, attn_mask=later, need_weights=False)
        return self.last(x.flatten(1))


class Words(nn.Module):
    def __init__(self, v: Variant) -> None:
        super().__init__()
        self.first = nn.Embedding(20, v.units, padding_idx=0 if v.padded else None)
        nn.init.uniform_(self.first.weight, -0.05, 0.05)
        self.last = initialised(v, nn.Linear(12 * v.units, 3))

    def forward(self, x):
        return self.last(self.first(x).flatten(1))


class InBfloat16(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.module(x).float()


NETWORKS = {
    "cnn": Cnn,
    "residual": Residual,
    "regression": Regression,
    "signal": Signal,
    "series": Series,
    "attention": Attention,
    "words": Words,
}


def side(v: Variant, module: nn.Module, network: str):
    first = module.hidden if network == "regression" else module.first
    if v.frozen:
        first.requires_grad_(False)
    if v.precision == "bfloat16":
        module = InBfloat16(module)
    if v.mode == "inference":
        module.eval()
    optimiser = optimiser_of(v, [p for p in module.parameters() if p.requires_grad])
    loss = loss_of(v, network, first)
    extras = {"batches": batches_of(v, 32, seed=2)}
    if network == "regression":
        x, y = houses()
        extras["data"] = (x, y[:, 0] if v.broadcast else y)
    elif network == "signal":
        x, y = signals()
        extras["data"] = (x.transpose(0, 2, 1).copy(), y)
    elif network in ("series", "attention"):
        extras["data"] = short_signals()
    elif network == "words":
        extras["data"] = texts()
    else:
        extras["prepare"] = lambda images, labels: prepared(v, images, labels)
    if v.schedule or not v.cleared or v.clip or v.constraint:
        extras["step"] = step_of(v, module, loss, optimiser)
    return module, loss, optimiser, extras


def prepared(v: Variant, images, labels):
    x, y = prepare_images(v, images, labels)
    return x.transpose(0, 3, 1, 2), y


def loss_of(v: Variant, network: str, first):
    if network == "regression":

        def error(output, target):
            squares = (output - target) ** 2
            return squares.sum() if v.reduction == "sum" else squares.mean()

        base = error
    elif v.softmax == "loss":

        def base(output, target):
            return functional.nll_loss(output.log(), target)
    elif v.probabilities:
        base = nn.NLLLoss()
    else:
        base = nn.CrossEntropyLoss(reduction=v.reduction)
    if not v.penalty:
        return base
    return lambda output, target: base(output, target) + v.penalty * first.weight.square().sum()


def optimiser_of(v: Variant, parameters):
    rate = v.rate_of_learning
    if v.optimiser == "sgd":
        return torch.optim.SGD(parameters, rate, momentum=v.beta_1, weight_decay=v.decay)
    if v.optimiser == "rmsprop":
        return torch.optim.RMSprop(parameters, rate, eps=v.epsilon)
    kind = torch.optim.AdamW if v.decay else torch.optim.Adam
    return kind(parameters, rate, (v.beta_1, v.beta_2), v.epsilon, weight_decay=v.decay)


def step_of(v: Variant, module: nn.Module, loss, optimiser):
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.9) if v.schedule else None

    def step(x, y):
        if v.cleared:
            optimiser.zero_grad()
        value = loss(module(x), y)
        value.backward()
        if v.clip:
            nn.utils.clip_grad_norm_(module.parameters(), v.clip)
        optimiser.step()
        if schedule:
            schedule.step()
        if v.constraint:
            with torch.no_grad():
                module.last.weight.clamp_(-v.constraint, v.constraint)
        return value

    return step
