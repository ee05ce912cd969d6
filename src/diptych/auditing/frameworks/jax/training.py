"""The loss, its gradients and training steps with optax, with dropout off."""

import contextlib
from collections.abc import Collection, Iterable, Iterator
from functools import cached_property, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from diptych.auditing.frameworks.jax.marks import without_dropout
from diptych.auditing.frameworks.jax.network import Network
from diptych.auditing.frameworks.jax.reader import random
from diptych.auditing.frameworks.jax.trace import Trace
from diptych.auditing.frameworks.users import users_code
from diptych.auditing.gradients import Gradients, Keep, at, whole
from diptych.auditing.graph import Arrays


class Training:
    """Trains a build's network from the parameters that were loaded last; they stay as they are."""

    def __init__(self, network: Network) -> None:
        """Takes the network, which knows its build."""
        self.network, self.side = network, network.side

    def loss(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """As `Adapter.loss`."""
        network = self.network
        own = jnp.asarray(network.layout.from_graph(outputs), network.dtype)
        with users_code("the loss"):
            return float(self.side.loss_of(network.params, own, network.target(targets)))

    def loss_and_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        """As `Adapter.loss_and_gradients`."""
        self._check_dropout()
        network = self.network
        run = network.jitted(("gradients", len(x)), lambda: self._gradients)
        with self._dropless(), users_code("the loss"):
            value, _, gradients = run(
                network.params, network.state, network.input(x), network.target(targets)
            )
        return float(value), network.named(gradients, None)

    def drawn_gradients(self, x: np.ndarray, targets: np.ndarray) -> tuple[float, Arrays]:
        """As `Adapter.drawn_gradients`."""
        network = self.network
        run = network.jitted(("drawn gradients", len(x)), lambda: self._gradients)
        given = network.input(x), network.target(targets), network.next_key()
        with users_code("the loss"):
            value, _, gradients = run(network.params, network.state, *given)
        return float(value), network.named(gradients, None)

    def updates(self, gradients: Iterable[Gradients], keep: Keep = whole) -> Iterator[Arrays]:
        """As `Adapter.updates`, from the parameters at the time of the call."""
        network = self.network
        params, state = network.params, network.state
        step = network.jitted("update", lambda: self._stepped)
        with jax.enable_x64(network.dtype == np.float64):
            moments = self.side.optimiser.init(params)
            zeros = jax.tree.map(jnp.zeros_like, params)

        def steps(params: Any, moments: Any) -> Iterator[Arrays]:
            for step_gradients in gradients:
                with jax.enable_x64(network.dtype == np.float64):
                    given = at(step_gradients, partial(network.named, params, state))
                    own, _ = network.filled(zeros, given)
                    with users_code("the optimiser"):
                        params, moments = step(params, moments, own)
                    after = keep(network.named(params, state))
                yield after

        return steps(params, moments)

    def steps(
        self, batches: Iterable[tuple[np.ndarray, np.ndarray]], keep: Keep = whole
    ) -> tuple[list[float], list[Arrays]]:
        """As `Adapter.steps`."""
        losses, after, _ = self._steps(batches, keep)
        return losses, after

    def steps_then_predict(
        self,
        batches: Iterable[tuple[np.ndarray, np.ndarray]],
        keep: Keep,
        x: np.ndarray,
        averages: Collection[str],
    ) -> tuple[list[float], list[Arrays], np.ndarray]:
        """As `Adapter.steps_then_predict`."""
        network, before = self.network, self.network.parameters()
        losses, after, state = self._steps(batches, keep)
        put_back = {name: before[name] for name in averages}
        _, state = network.filled(network.params, put_back, state)
        return losses, after, network.output(state, x, jax.random.key(0), training=False)

    def _steps(
        self, batches: Iterable[tuple[np.ndarray, np.ndarray]], keep: Keep
    ) -> tuple[list[float], list[Arrays], Any]:
        """The losses, what is kept after each step, and the state after the last."""
        self._check_dropout()

        def step(params: Any, state: Any, moments: Any, x: Any, y: Any) -> Any:
            value, state, gradients = self._gradients(params, state, x, y)
            return value, state, *self._stepped(params, moments, gradients)

        network = self.network
        params, state = network.params, network.state
        moments = self.side.optimiser.init(params)
        losses, after = [], []
        with self._dropless(), users_code("a training step"):
            for x, targets in batches:
                run = network.jitted(("step", len(x)), lambda: step)
                given = network.input(x), network.target(targets)
                value, state, params, moments = run(params, state, moments, *given)
                losses.append(float(value))
                after.append(keep(network.named(params, state)))
        return losses, after, state

    def later_outputs(
        self, batches: Iterable[tuple[np.ndarray, np.ndarray]], x: np.ndarray, seeds: Iterable[int]
    ) -> np.ndarray:
        """As `Adapter.later_outputs`."""

        def step(params: Any, state: Any, moments: Any, x: Any, y: Any, key: Any) -> Any:
            _, state, gradients = self._gradients(params, state, x, y, key)
            return state, *self._stepped(params, moments, gradients)

        network = self.network
        params, state = network.params, network.state
        moments = self.side.optimiser.init(params)
        with users_code("a training step"):
            for batch, targets in batches:
                run = network.jitted(("drawing step", len(batch)), lambda: step)
                given = network.input(batch), network.target(targets), network.next_key()
                state, params, moments = run(params, state, moments, *given)
        return np.stack([network.output(state, x, jax.random.key(seed)) for seed in seeds])

    def counts(self) -> dict[str, bool]:
        """Tells whether anything sets one step apart from another, in ``steps`` and in ``updates``.

        Functions of arrays can do so only by a number in their state, such as the count of an optax
        schedule. The counts of nnx' random numbers are none.
        """
        network = self.network
        moments = jax.tree.leaves(jax.eval_shape(self.side.optimiser.init, network.params))
        state = jax.tree.leaves(network.state, is_leaf=lambda v: type(v).__name__ == "RngCount")
        updates = any(leaf.shape == () for leaf in moments)
        numbers = [v for v in state if type(v).__name__ != "RngCount" and v.shape == ()]
        keys = [jnp.issubdtype(number.dtype, jax.dtypes.prng_key) for number in numbers]
        return {"steps": updates or not all(keys), "updates": updates}

    def _gradients(self, params: Any, state: Any, x: Any, y: Any, key: Any = None) -> Any:
        """The loss, the state after it, and the gradients."""

        def loss(params: Any) -> Any:
            outputs, after = self.network.apply(params, state, x, True, key)
            return self.side.loss_of(params, outputs, y), after

        (value, after), gradients = jax.value_and_grad(loss, has_aux=True)(params)
        return value, after, gradients

    def _stepped(self, params: Any, moments: Any, gradients: Any) -> Any:
        import optax

        updates, moments = self.side.optimiser.update(gradients, moments, params)
        return optax.apply_updates(params, updates), moments

    @contextlib.contextmanager
    def _dropless(self) -> Iterator[None]:
        """Has the network's dropout drop nothing meanwhile."""
        with without_dropout():
            if self.network.users_jit:
                jax.clear_caches()
            yield
        if self.network.users_jit:
            jax.clear_caches()

    def _check_dropout(self) -> None:
        """Raises NotImplementedError where random numbers are drawn that cannot be left out."""
        if self._draws:
            raise NotImplementedError("it draws random numbers in a way that cannot be left out")

    @cached_property
    def _draws(self) -> bool:
        """True where it draws random numbers with its frameworks' dropout off."""
        network = self.network
        x = network.inputs.x
        with self._dropless():
            trace = Trace(
                lambda params, state, x: network.apply(params, state, x, True),
                (network.params, network.state, x.astype(network.type_of(x))),
                lambda *_: None,
            )
        return random(trace, trace.outputs[:1])
