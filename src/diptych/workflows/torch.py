"""The network in PyTorch: modules, ``torch.optim``, and the loop that one writes around them."""

import math
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.data import Data, Split
from diptych.data.batches import Batches, to_float
from diptych.network import (
    Activate,
    AveragePool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPool,
    Network,
    Shape,
    Weights,
    margins,
)
from diptych.randomness import generator
from diptych.recipe import Recipe
from diptych.workflows import Monitor, Progress, State

IMAGES_A_CALL = 500
"""Images a forward pass at inference."""


def to_tensor(images: np.ndarray) -> Tensor:
    """uint8 images (n, height, width, channels) as float32 (n, channels, height, width).

    The numbers stay where they are, channels last in memory; PyTorch only counts its axes so.
    """
    return torch.from_numpy(to_float(images)).permute(0, 3, 1, 2)


def at_least_float32(x: Tensor) -> Tensor:
    """bfloat16 as float32; float32 and float64 as they are."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class FlattenChannelsLast(nn.Module):
    """`nn.Flatten` puts a channel's pixels side by side; here it is a pixel's channels.

    Around the features of a cropped image come zeros, up to the shape that is expected.
    """

    def __init__(self, expected: Shape) -> None:
        super().__init__()
        self.expected = expected

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return x
        x = x.permute(0, 2, 3, 1)
        if x.shape[1:] != self.expected:
            (top, bottom), (left, right), _ = margins(self.expected, tuple(x.shape[1:]))
            x = F.pad(x, (0, 0, left, right, top, bottom))
        return x.flatten(1)


class BiasedBatchNorm(nn.BatchNorm2d):
    """PyTorch's moving variance is a sample's, n/(n-1) times the batch's; here it is the batch's.

    For images and for flat values.
    """

    unbiased = False

    def forward(self, input: Tensor) -> Tensor:
        mean, variance, momentum = self.running_mean, self.running_var, self.momentum
        assert mean is not None and variance is not None and momentum is not None
        axes = [axis for axis in range(input.ndim) if axis != 1]
        if self.training and input.numel() == input.shape[1]:
            # PyTorch refuses a single value; less its mean, nothing is left of it.
            shape = [1, -1, *[1] * (input.ndim - 2)]
            y = (input - input) * self.weight.view(shape) + self.bias.view(shape)
        else:  # A momentum of 0 leaves the averages to us.
            kept = (mean.clone(), variance.clone())
            y = F.batch_norm(input, *kept, self.weight, self.bias, self.training, 0.0, self.eps)
        if self.training:
            with torch.no_grad():
                new_variance, new_mean = torch.var_mean(at_least_float32(input), axes, correction=0)
                mean.lerp_(new_mean, momentum)
                variance.lerp_(new_variance, momentum)
        return y


def modules(layer: Layer, shape: Shape) -> Iterator[nn.Module]:
    """What the layer does to images of that shape, or flat values, one after the other."""
    match layer:
        case Conv():
            (top, bottom), (left, right) = layer.pads(shape)
            padding = (top, left)
            if (top, left) != (bottom, right):
                yield nn.ZeroPad2d((left, right, top, bottom))
                padding = 0
            yield nn.Conv2d(shape[2], layer.filters, layer.kernel, layer.stride, padding)
        case MaxPool() | AveragePool():
            # PyTorch pads both ends alike, and with ``ceil_mode`` an end as much more as is left.
            # At a stride of 1 that is nothing, so a row too many is made, and cut off.
            ((top, bottom), (left, right)), (down, across) = layer.pads(shape), layer.steps
            padding = (bottom if down == 1 else top, right if across == 1 else left)
            same = layer.padding == "same"
            if isinstance(layer, MaxPool):
                yield nn.MaxPool2d(layer.size, layer.steps, padding, ceil_mode=same)
            else:
                yield nn.AvgPool2d(layer.size, layer.steps, padding, same, count_include_pad=False)
            if padding != (top, left):
                yield nn.ZeroPad2d((left - padding[1], 0, top - padding[0], 0))
        case Dropout():
            yield nn.Dropout(layer.rate)
        case Flatten():
            yield FlattenChannelsLast(shape)
        case Dense():
            yield nn.Linear(shape[0], layer.units)
        case BatchNorm():
            yield BiasedBatchNorm(shape[-1], layer.epsilon, momentum=1 - layer.momentum)
    if isinstance(layer, Conv | Dense | Activate):
        match layer.activation:
            case "relu":
                yield nn.ReLU()
            case "leaky_relu":
                yield nn.LeakyReLU(layer.slope or 0.0)
            case "elu":
                yield nn.ELU()
            case "gelu":
                yield nn.GELU()
            case "tanh":
                yield nn.Tanh()


class Model(nn.Module):
    """The network: float32 images (n, channels, height, width) to float32 logits (n, classes)."""

    def __init__(self, network: Network, precision: str) -> None:
        super().__init__()
        self.precision = precision
        self.layers = nn.Sequential()
        for layer, before, _ in network.steps():
            # A few names, such as ``forward``, are taken by PyTorch itself.
            name = layer.name + "_" * hasattr(self.layers, layer.name)
            self.layers.add_module(name, nn.Sequential(*modules(layer, before)))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            return at_least_float32(self.layers(x))


def shared(tensor: Tensor) -> Tensor:
    """A parameter in the layout that all workflows share: kernels (height, width, from, to)."""
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(tensor.ndim, (0,))
    return tensor.detach().permute(axes)


def to_array(tensor: Tensor) -> np.ndarray:
    """A copy in the shared layout."""
    return np.array(shared(tensor).numpy(), order="C")


class Adam(torch.optim.Adam):
    """PyTorch's Adam, with the epsilon that the recipe means ("epsilon hat") and its rates.

    PyTorch adds epsilon to the root of the second moment after correcting its bias, so what has the
    recipe's effect is another epsilon at each step.
    """

    bias_corrected_epsilon = False

    def __init__(self, parameters: list[nn.Parameter], recipe: Recipe) -> None:
        betas = (recipe.beta_1, recipe.beta_2)
        super().__init__(parameters, recipe.learning_rate, betas, recipe.epsilon, fused=True)
        self.recipe, self.steps_taken = recipe, 0
        self.rates = np.empty(0, np.float32)
        """Of each step; where there are none left it is the recipe's."""

    def step(self, closure=None):
        rate = np.float32(self.recipe.learning_rate)
        if self.steps_taken < len(self.rates):
            rate = self.rates[self.steps_taken]
        self.steps_taken += 1
        bias = math.sqrt(1 - self.recipe.beta_2**self.steps_taken)
        self.param_groups[0] |= {"lr": float(rate), "eps": self.recipe.epsilon / bias}
        return super().step(closure)

    def moments(self) -> dict[str, list[Tensor]]:
        """First and second moments, a tensor a parameter; zero before its first step."""
        states = [(p, self.state[p]) for p in self.param_groups[0]["params"]]
        return {
            key: [state.get(key, torch.zeros_like(p)) for p, state in states]
            for key in ("exp_avg", "exp_avg_sq")
        }


class Workflow:
    """A network as a PyTorch module, and the loop that trains it."""

    def __init__(self, network: Network, recipe: Recipe, seed: int) -> None:
        self.network, self.recipe, self.seed = network, recipe, seed
        self.model = Model(network, recipe.precision)
        self.tensors = self.named_tensors()
        self.load(network.initial_weights(seed))
        self.trained = {k: t for k, t in self.tensors.items() if isinstance(t, nn.Parameter)}
        self.optimizer = Adam(list(self.trained.values()), recipe)
        self.averages = {k: t.detach().clone() for k, t in self.trained.items() if recipe.averaging}
        self.best: Weights = {}

    def named_tensors(self) -> dict[str, Tensor]:
        """Parameters and moving averages by the names that all workflows have for them."""
        names = {"weight": "kernel", "bias": "bias"}
        of_norm = {"weight": "gamma", "bias": "beta"}
        of_norm |= {"running_mean": "moving_mean", "running_var": "moving_variance"}
        found = {}
        for layer, parts in zip(self.network.layers, self.model.layers, strict=True):
            known = of_norm if isinstance(layer, BatchNorm) else names
            for key, tensor in parts.state_dict(keep_vars=True).items():
                if (name := key.split(".")[-1]) in known:
                    found[f"{layer.name}/{known[name]}"] = tensor
        return found

    # One step.

    def loss(
        self, images: np.ndarray, labels: np.ndarray, frozen: frozenset[str] = frozenset()
    ) -> tuple[Tensor, float]:
        """Mean loss in training mode, to be derived with respect to all but the frozen weights, and
        accuracy; there are no gradients yet."""
        for name, parameter in self.trained.items():
            parameter.requires_grad_(name not in frozen)
        # Each step's dropout has a seed of its own, so that a resumed training has the same.
        chance = generator(self.seed, "dropout", self.optimizer.steps_taken)
        torch.manual_seed(int(chance.integers(2**63)))
        self.model.train()
        self.optimizer.zero_grad()
        logits, truth = self.model(to_tensor(images)), torch.from_numpy(labels)
        accuracy = (logits.argmax(1) == truth).float().mean().item()
        return F.cross_entropy(logits, truth), accuracy

    def train_step(
        self, images: np.ndarray, labels: np.ndarray, frozen: frozenset[str] = frozenset()
    ) -> tuple[float, float]:
        """One step of Adam on what is not frozen; returns loss and accuracy before it."""
        loss, accuracy = self.loss(images, labels, frozen)
        loss.backward()
        self.optimizer.step()
        kept = self.recipe.averaging if self.optimizer.steps_taken > 1 else 0.0
        for name, average in self.averages.items():
            share = 1.0 if name in frozen else 1 - kept
            average.lerp_(self.trained[name].detach(), share)
        return loss.item(), accuracy

    # The training.

    def fit(
        self, data: Data, monitor: Monitor, progress: Progress, state: State | None = None
    ) -> None:
        batches = Batches(data.train, self.recipe, self.seed)
        self.optimizer.rates = self.recipe.learning_rates(batches.steps)
        self.optimizer.steps_taken = progress.epoch * batches.steps_per_epoch + progress.step
        self.best = self.restore(state) if state else {}

        while not progress.finished:
            while progress.step < batches.steps_per_epoch:
                start = time.perf_counter()
                images, labels = batches.batch(progress.epoch, progress.step)
                frozen = self.network.frozen_weights(batches.frozen(progress.epoch, progress.step))
                progress.loss, progress.accuracy = self.train_step(images, labels, frozen)
                progress.step += 1
                progress.images += len(labels)
                progress.loss_sum += progress.loss * len(labels)
                progress.correct += progress.accuracy * len(labels)
                progress.seconds += time.perf_counter() - start
                if monitor.advanced(progress, self.state):
                    return

            start = time.perf_counter()
            newest = self.weights()
            self.load(newest | {name: to_array(t) for name, t in self.averages.items()})
            loss, accuracy = self.evaluate(data.validation)
            seconds = time.perf_counter() - start
            if progress.end_epoch(self.recipe, loss, accuracy, seconds):
                self.best = self.weights()
            if not progress.finished:
                self.load(newest)
            elif self.best:
                self.load(self.best)
            if monitor.epoch_ended(progress, self.state):
                return

    def state(self) -> State:
        """All arrays that `restore` needs."""
        state = {f"weights/{name}": value for name, value in self.weights().items()}
        state |= {f"average/{name}": to_array(t) for name, t in self.averages.items()}
        for key, moments in self.optimizer.moments().items():
            state |= {f"{key}/{n}": to_array(m) for n, m in zip(self.trained, moments, strict=True)}
        return state | {f"best/{name}": value for name, value in self.best.items()}

    def restore(self, state: State) -> Weights:
        """Puts a checkpoint's arrays back; returns the best weights so far, if any."""
        self.load({name: state[f"weights/{name}"] for name in self.tensors})
        for name, parameter in self.trained.items():
            moments = {key: torch.empty_like(parameter) for key in ("exp_avg", "exp_avg_sq")}
            for key, moment in moments.items():
                shared(moment).copy_(torch.from_numpy(state[f"{key}/{name}"]))
            step = torch.tensor(float(self.optimizer.steps_taken))
            self.optimizer.state[parameter] = {"step": step, **moments}
        for name, average in self.averages.items():
            shared(average).copy_(torch.from_numpy(state[f"average/{name}"]))
        return {name[5:]: value for name, value in state.items() if name.startswith("best/")}

    # Inference.

    @torch.no_grad()
    def run(self, images: np.ndarray, precision: str) -> Tensor:
        """The logits of images, one batch after the other."""
        self.model.eval()
        self.model.precision = precision
        parts = [
            self.model(to_tensor(images[i : i + IMAGES_A_CALL]))
            for i in range(0, len(images), IMAGES_A_CALL)
        ]
        self.model.precision = self.recipe.precision
        return torch.cat(parts) if parts else torch.empty(0, self.network.classes)

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.run(images, "float32").numpy()

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss and accuracy over a split, in the precision of the training."""
        logits = self.run(split.images, self.recipe.precision)
        labels = torch.from_numpy(split.labels.astype(np.int64))
        right = (logits.argmax(1) == labels).sum().item()
        return F.cross_entropy(logits, labels).item(), right / len(labels)

    # What the other workflows can be held against.

    @torch.no_grad()
    def summary(self) -> dict[str, tuple[Shape, int]]:
        x, found = to_tensor(np.zeros((1, *self.network.input_shape), np.uint8)), {}
        self.model.eval()
        for layer, parts in zip(self.network.layers, self.model.layers, strict=True):
            x = parts(x)
            shape = x.permute(0, 2, 3, 1).shape if x.ndim == 4 else x.shape
            count = sum(
                tensor.numel()
                for name, tensor in self.tensors.items()
                if name.startswith(layer.name + "/")
            )
            found[layer.name] = (tuple(shape[1:]), count)
        return found

    def weights(self) -> Weights:
        return {name: to_array(tensor) for name, tensor in self.tensors.items()}

    def load(self, weights: Weights) -> None:
        self.network.check_weights(weights)
        for name, tensor in self.tensors.items():
            shared(tensor).copy_(torch.from_numpy(weights[name]))

    def loss_and_gradients(self, images: np.ndarray, labels: np.ndarray) -> tuple[float, Weights]:
        before = self.weights()
        loss, _ = self.loss(images, labels)
        loss.backward()
        self.load(before)  # The moving averages have moved.
        gradients = {name: parameter.grad for name, parameter in self.trained.items()}
        return loss.item(), {name: to_array(g) for name, g in gradients.items() if g is not None}

    def step(self, images: np.ndarray, labels: np.ndarray) -> float:
        return self.train_step(images, labels)[0]
