"""PyTorch sides, made of ingredients."""

# pyright: basic, reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false
# pyright: reportOptionalSubscript=false, reportOptionalOperand=false, reportOperatorIssue=false

import math
import sys
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))
from ingredients import CLASSES, SIZE, Recipe, images, sequences
from torch_training import batches_of, optimiser_of, scheduled, step_of

torch.set_num_threads(1)


def __getattr__(name: str):
    if name.startswith("__"):
        raise AttributeError(name)
    recipe = Recipe(name)
    return lambda: side(recipe)


def side(recipe: Recipe):
    sequential = recipe("network") != "plain"
    if recipe("start") == "checkpoint":
        torch.manual_seed(int(recipe.number("start")))
    module = (Sequences if sequential else Pictures)(recipe)
    if recipe("port") == "keras":
        as_in_keras(module)
    loss = loss_of(recipe, module)
    optimiser = optimiser_of(recipe, module)
    scheduler = scheduled(recipe, optimiser)
    extras = {"data": as_torch(*(sequences() if sequential else images()))}
    step = step_of(recipe, module, loss, optimiser, scheduler)
    if step:
        extras["step"] = step
    batches = batches_of(recipe)
    if batches:
        extras["batches"] = batches
    if recipe("steps") == "say":
        extras["steps"] = int(recipe.number("steps"))
    if recipe("run") == "compiled":
        module = torch.compile(module)
    return module, loss, optimiser, extras


def as_torch(x, y):
    x = torch.from_numpy(x)
    return (x.permute(0, 3, 1, 2).contiguous() if x.ndim == 4 else x), torch.from_numpy(y)


def as_in_keras(module: nn.Module) -> None:
    """Draws the weights as Keras does."""
    for name, parameter in module.named_parameters():
        if name.startswith(("convolution", "dense")):
            (nn.init.zeros_ if parameter.ndim == 1 else nn.init.xavier_uniform_)(parameter)


class Pictures(nn.Module):
    """Convolution, activation, pool, dense, and what the recipe adds."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.recipe, self.calls = recipe, 0
        self.convolution = nn.Conv2d(1, 4, 3, padding=1)
        word = recipe("after")
        if word.startswith(("drop_path", "residual")):
            self.second = nn.Conv2d(4, 4, 3, padding=1)
        if word.startswith("norm"):
            momentum = recipe.number("after")
            self.norm = nn.BatchNorm2d(4, eps=1e-3, momentum=momentum or None)
        if word == "dropout":
            self.dropout = nn.Dropout(recipe.number("after"))
        if word == "dropout_channels":
            self.dropout = nn.Dropout2d(recipe.number("after"))
        if recipe("pool") == "average":
            self.pool = nn.AvgPool2d(3, 2, ceil_mode=True)
        else:
            self.pool = nn.MaxPool2d(2)
        self.dense = nn.Linear(4 * (SIZE // 2) ** 2, CLASSES)

    def forward(self, x):
        self.calls += 1
        x = self.pool(middle(self.recipe, self.convolution(self.begin(x))))
        x = self.after(x)
        if self.recipe("port") == "keras":
            x = x.permute(0, 2, 3, 1)
        x = self.dense(x.flatten(1))
        word = self.recipe("end")
        if word == "late_scale" and self.calls > self.recipe.number("end"):
            x = x * 0.5
        if word.startswith("predicting") and not self.training:
            return {
                "predicting_softmax": lambda: x.softmax(1),
                "predicting_scale": lambda: x * self.recipe.number("end"),
                "predicting_clamp": lambda: x.clamp(-3, 3),
                "predicting_plain": lambda: x * 1.0,
            }[word]()
        return x

    def begin(self, x):
        word = self.recipe("begin")
        if word == "one_is_none" and len(x) == 1:
            return x * 0
        if word == "odd_is_halved" and len(x) % 2:
            return x / 2
        if word == "of_the_batch":
            return x - x.mean(0, keepdim=True)
        if self.training and word.startswith("noise"):
            amount = self.recipe.number("begin")
            if word == "noise":
                return x + amount * torch.randn_like(x)
            return torch.normal(x, amount)
        if self.training and word == "flip":
            flips = torch.rand(len(x), 1, 1, 1) < self.recipe.number("begin")
            return torch.where(flips, x.flip(-1), x)
        if self.training and word == "brightness":
            amount = self.recipe.number("begin")
            return x + amount * (2 * torch.rand(len(x), 1, 1, 1) - 1)
        return x

    def after(self, x):
        word = self.recipe("after")
        if word == "plain":
            return x
        rate = self.recipe.number("after")
        if word.startswith("norm"):
            return self.norm(x)
        if word == "residual":
            return x + self.second(x).relu()
        if word.startswith("drop_path"):
            return x + self.path(word, self.second(x).relu(), rate)
        if word in ("dropout", "dropout_channels"):
            return self.dropout(x)
        if not self.training:
            return x
        if word == "dropout_by_hand":
            return x * (torch.rand_like(x) >= rate) / (1 - rate)
        if word == "dropout_shared":  # One mask for the whole batch.
            return x * (torch.rand_like(x[:1]) >= rate) / (1 - rate)
        if word == "dropout_unscaled":
            return x * (torch.rand_like(x) >= rate)
        if word == "dropout_growing":
            return F.dropout(x, rate if self.calls <= 100 else 2 * rate)
        if word == "dropout_detached":
            return x + (F.dropout(x, rate) - x).detach()
        if word == "dropout_kept":  # One mask for the whole batch and for 50 calls.
            if self.calls % 50 == 0 or not hasattr(self, "mask"):
                self.mask = (torch.rand_like(x[:1]) >= rate) / (1 - rate)
            return x * self.mask
        raise AttributeError(word)

    def path(self, word: str, x, rate: float):
        if not self.training:
            return x
        if word == "drop_path_of_batch":
            return x if torch.rand(()) >= rate else x * 0
        if word == "drop_path":
            return x * (torch.rand(len(x), 1, 1, 1) >= rate) / (1 - rate)
        return F.dropout3d(x.unsqueeze(1), rate).squeeze(1)  # Drops whole examples.


def middle(recipe: Recipe, x):
    word = recipe("middle")
    if word == "plain":
        return F.relu(x)
    limit = recipe.number("middle")
    return {
        "clamp": lambda: torch.clamp(F.relu(x), max=limit),
        "hardtanh": lambda: F.hardtanh(x, 0.0, limit),
        "relu6": lambda: F.relu6(x),
        "where": lambda: torch.where(x > limit, torch.full_like(x, limit), F.relu(x)),
        "floor": lambda: torch.clamp(x, min=0.0),
        "symmetric": lambda: torch.clamp(x, -limit, limit),
        "threshold": lambda: F.threshold(x, limit, 0.0),
        "leaky": lambda: F.leaky_relu(x, limit),
        "maximum": lambda: torch.maximum(x, limit * x),
    }[word]()


class Sequences(nn.Module):
    """A recurrent or attending network."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        word, rate = recipe("network"), recipe.number("network")
        self.by_hand = word.endswith("by_hand")
        self.attends = word.startswith("attention")
        self.rate = rate
        if self.attends:
            self.rows = nn.MultiheadAttention(5, 1, rate, batch_first=True)
            self.dense = nn.Linear(5, CLASSES)
            return
        kind = nn.GRU if word.startswith("gru") else nn.LSTM
        if self.by_hand:
            self.first, self.second = kind(5, 6, batch_first=True), kind(6, 6, batch_first=True)
        else:
            self.rows = kind(5, 6, num_layers=2, dropout=rate, batch_first=True)
        self.dense = nn.Linear(6, CLASSES)

    def forward(self, x):
        if self.attends:
            x = self.rows(x, x, x, need_weights=self.by_hand)[0]
        elif self.by_hand:
            x = self.second(F.dropout(self.first(x)[0], self.rate, self.training))[0]
        else:
            x = self.rows(x)[0]
        return self.dense(x[:, -1])


def loss_of(recipe: Recipe, module: nn.Module):
    word = recipe("loss")
    if word == "plain":
        return nn.CrossEntropyLoss()
    number = recipe.number("loss")
    if word == "smooth":
        return nn.CrossEntropyLoss(label_smoothing=number)
    if word == "smooth_by_hand":

        def smoothed(outputs, target):
            logs = outputs.log_softmax(1)
            chosen = -logs.gather(1, target[:, None])[:, 0]
            return ((1 - number) * chosen - number * logs.mean(1)).mean()

        return smoothed
    if word == "weights":
        weights = torch.ones(CLASSES)
        weights[int(recipe.number("loss", 1))] = number
        return nn.CrossEntropyLoss(weights)
    if word == "weights_by_hand":
        rare = int(recipe.number("loss", 1))

        def weighted(outputs, target):
            weights = torch.where(target == rare, number, 1.0).to(outputs.dtype)
            each = F.cross_entropy(outputs, target, reduction="none")
            return (weights * each).sum() / weights.sum()

        return weighted
    if word == "penalty":
        kernel = module.convolution.weight
        return lambda outputs, target: F.cross_entropy(outputs, target) + number * (kernel**2).sum()
    if word == "penalty_by_norm":
        kernel = module.convolution.weight
        return lambda outputs, target: (
            F.cross_entropy(outputs, target) + number * (kernel.norm() * kernel.norm())
        )
    if word == "confidence":
        return lambda outputs, target: (
            F.cross_entropy(outputs, target)
            + number * math.log(CLASSES)
            + number * (outputs.softmax(1) * outputs.log_softmax(1)).sum(1).mean()
        )
    raise AttributeError(word)
