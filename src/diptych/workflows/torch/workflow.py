"""The PyTorch module as a workflow: steps, inference, checkpoints, weights in the shared layout."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diptych.data import Data, Split
from diptych.layers import BatchNorm, Shape
from diptych.network import Network, Weights
from diptych.randomness import generator
from diptych.recipe import Recipe
from diptych.workflows.group import Group
from diptych.workflows.progress import Monitor, Progress, State
from diptych.workflows.torch import training
from diptych.workflows.torch.adam import Adam
from diptych.workflows.torch.model import Model, loss_and_accuracy, to_tensor
from diptych.workflows.torch.parallel import Parallel

IMAGES_A_CALL = 500
"""Images a forward pass at inference."""


def shared(tensor: Tensor) -> Tensor:
    """A parameter in the layout that all workflows share: kernels (height, width, from, to)."""
    axes = {4: (2, 3, 1, 0), 2: (1, 0)}.get(tensor.ndim, (0,))
    return tensor.detach().permute(axes)


def to_array(tensor: Tensor) -> np.ndarray:
    """A copy in the shared layout."""
    return np.array(shared(tensor).numpy(), order="C")


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
        self.parallel: Parallel | None = None

    def join(self, group: Group) -> None:
        """Trains together with the other processes of the group from now on."""
        self.parallel = Parallel(group, self.model)

    def agreed(self, stop: bool) -> bool:
        """True where to stop, which all processes do at the same step."""
        return self.parallel.agreed(stop) if self.parallel else stop

    def fit(
        self, data: Data, monitor: Monitor, progress: Progress, state: State | None = None
    ) -> None:
        training.fit(self, data, monitor, progress, state)

    # One step.

    def loss(
        self, images: np.ndarray, labels: np.ndarray, frozen: frozenset[str] = frozenset()
    ) -> tuple[Tensor, float]:
        """Mean loss and accuracy in training mode, before any gradients are computed.

        Frozen weights get no gradients. In a group both are the share of this process.
        """
        for name, parameter in self.trained.items():
            parameter.requires_grad_(name not in frozen)
        # Each step has its own dropout seed, so that a resumed training draws the same.
        chance = generator(self.seed, "dropout", self.optimizer.steps_taken)
        torch.manual_seed(int(chance.integers(2**63)))
        self.model.train()
        self.optimizer.zero_grad()
        if self.parallel:
            return self.parallel.loss_and_accuracy(images, labels, frozen)
        return loss_and_accuracy(self.model, images, labels)

    def train_step(
        self, images: np.ndarray, labels: np.ndarray, frozen: frozenset[str] = frozenset()
    ) -> tuple[float, float]:
        """One step of Adam on weights that are not frozen; returns loss and accuracy before it."""
        loss, accuracy = self.loss(images, labels, frozen)
        loss.backward()
        self.optimizer.step()
        kept = self.recipe.averaging if self.optimizer.steps_taken > 1 else 0.0
        for name, average in self.averages.items():
            share = 1.0 if name in frozen else 1 - kept
            average.lerp_(self.trained[name].detach(), share)
        if self.parallel:
            whole_loss, whole_accuracy = self.parallel.means(loss.item(), accuracy)
            return whole_loss, whole_accuracy
        return loss.item(), accuracy

    # Checkpoints.

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

    def exact_weights(self) -> Weights:
        return self.weights()

    def averaged_weights(self) -> Weights:
        return {name: to_array(tensor) for name, tensor in self.averages.items()}

    # Inference.

    @torch.no_grad()
    def run(self, images: np.ndarray, precision: str) -> Tensor:
        """The logits of images, one batch after the other."""
        self.model.eval()
        self.model.precision = precision
        parts = []
        for number, first in enumerate(range(0, len(images), IMAGES_A_CALL)):
            chunk = images[first : first + IMAGES_A_CALL]
            if self.parallel and not self.parallel.computes(number):
                parts.append(torch.zeros(len(chunk), self.network.classes))
            else:
                parts.append(self.model(to_tensor(chunk)))
        self.model.precision = self.recipe.precision
        if not parts:
            return torch.empty(0, self.network.classes)
        return self.parallel.together(parts) if self.parallel else torch.cat(parts)

    def logits(self, images: np.ndarray) -> np.ndarray:
        return self.run(images, "float32").numpy()

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Mean loss and accuracy over a split, in the precision of the training."""
        logits = self.run(split.images, self.recipe.precision)
        labels = torch.from_numpy(split.labels.astype(np.int64))
        right = (logits.argmax(1) == labels).sum().item()
        return F.cross_entropy(logits, labels).item(), right / len(labels)

    # What the other workflows can be held against.

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
