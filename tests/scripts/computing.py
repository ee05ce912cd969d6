"""What a script computes in float64: ``python computing.py FORM FOLDER``.

A program of its own, in which Diptych cannot be imported. FOLDER holds, for each network, the
script NAME.py and NAME.npz with a batch ``x`` and ``y``, the weights by their shared names, and
``flat/LAYER``: the shape that a dense layer's input had before it was made flat. The answer goes to
NAME.answer.npz: ``logits``, ``loss``, ``gradient/WEIGHT``, and ``after/WEIGHT`` after three steps.
"""

# TensorFlow has no types of its own, and what a script makes has none either.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

sys.modules["diptych"] = None  # type: ignore[assignment]  # An import of it fails.
Arrays = dict[str, np.ndarray]
STEPS = 3
MOVING = ("moving_mean", "moving_variance")


def trained(weights: Arrays) -> list[str]:
    return [name for name in weights if name.split("/")[1] not in MOVING]


def tensorflow(script: Any, x: np.ndarray, y: np.ndarray, weights: Arrays, _: Any) -> Arrays:
    import tensorflow as tf

    network = script.build()

    def load() -> None:
        for name, variable in network.variables.items():
            variable.assign(weights[name])

    load()
    answer = {"logits": network.logits(x).numpy()}
    with tf.GradientTape() as tape:
        loss = network.loss(x, y)
    live = {name: network.variables[name] for name in trained(weights)}
    gradients = tape.gradient(loss, live)
    answer |= {"loss": loss.numpy()}
    answer |= {f"gradient/{name}": gradient.numpy() for name, gradient in gradients.items()}
    load()
    for _ in range(STEPS):
        network.step(x, y)
    return answer | {f"after/{name}": v.numpy() for name, v in network.variables.items()}


def keras_answer(
    model: Any, loss_of: Any, step: Any, x: np.ndarray, y: np.ndarray, weights: Arrays
) -> Arrays:
    import tensorflow as tf

    model.set_weights(list(weights.values()))
    answer = {"logits": model(x, training=False).numpy()}
    with tf.GradientTape() as tape:
        loss = loss_of(y, model(x, training=True))
    live = [variable.value for variable in model.trainable_weights]
    gradients = zip(trained(weights), tape.gradient(loss, live), strict=True)
    answer |= {"loss": loss.numpy()} | {f"gradient/{n}": g.numpy() for n, g in gradients}
    model.set_weights(list(weights.values()))
    for _ in range(STEPS):
        step(x, y)
    return answer | {f"after/{n}": v for n, v in zip(weights, model.get_weights(), strict=True)}


def layers(script: Any, x: np.ndarray, y: np.ndarray, weights: Arrays, _: Any) -> Arrays:
    network = script.build()
    loss_of = script.cross_entropy
    return keras_answer(network.model, loss_of, network.step, x, y, weights)


def keras(script: Any, x: np.ndarray, y: np.ndarray, weights: Arrays, _: Any) -> Arrays:
    model = script.build()
    return keras_answer(model, model.loss, model.train_on_batch, x, y, weights)


def torch(script: Any, x: np.ndarray, y: np.ndarray, weights: Arrays, flat: Any) -> Arrays:
    import torch

    names = {"weight": "kernel", "bias": "bias"}
    norm = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean"}
    norm |= {"running_var": "moving_variance"}
    model, loss_of, optimizer = script.build()
    layers = dict.fromkeys(name.split("/")[0] for name in weights)
    found = [module for module in model if list(module.state_dict())]
    tensors = {}
    for layer, module in zip(layers, found, strict=True):
        known = norm if hasattr(module, "running_mean") else names
        for key, tensor in module.state_dict(keep_vars=True).items():
            if key in known:
                tensors[f"{layer}/{known[key]}"] = tensor

    def there(name: str, value: np.ndarray) -> np.ndarray:
        if value.ndim == 4:
            return value.transpose(3, 2, 0, 1)
        if value.ndim == 2:
            if shape := flat.get(name.split("/")[0]):
                value = value.reshape(*shape, -1).transpose(2, 0, 1, 3).reshape(value.shape)
            return value.T
        return value

    def back(name: str, tensor: Any) -> np.ndarray:
        value = tensor.detach().numpy()
        if value.ndim == 4:
            return value.transpose(2, 3, 1, 0)
        if value.ndim == 2:
            value = value.T
            if shape := flat.get(name.split("/")[0]):
                height, width, channels = shape
                value = value.reshape(channels, height, width, -1).transpose(1, 2, 0, 3)
                return value.reshape(height * width * channels, -1)
        return value

    def load() -> None:
        with torch.no_grad():
            for name, tensor in tensors.items():
                tensor.copy_(torch.from_numpy(np.ascontiguousarray(there(name, weights[name]))))

    load()
    model.eval()
    images, labels = script.tensors(x, y)
    answer = {"logits": model(images).detach().numpy()}
    model.train()
    loss = loss_of(model(images), labels)
    loss.backward()
    answer |= {"loss": loss.detach().numpy()}
    answer |= {f"gradient/{n}": back(n, tensors[n].grad) for n in trained(weights)}
    load()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss_of(model(images), labels).backward()
        optimizer.step()
    # PyTorch's own moving variance is another one, as the script's head says.
    return answer | {
        f"after/{n}": back(n, t) for n, t in tensors.items() if not n.endswith("moving_variance")
    }


def jax(script: Any, x: np.ndarray, y: np.ndarray, weights: Arrays, _: Any) -> Arrays:
    import jax

    params: dict[str, Arrays] = {}
    averages: dict[str, Any] = {}
    for name in weights:
        layer, weight = name.split("/")
        if weight in MOVING:
            averages[layer] = tuple(weights[f"{layer}/{average}"] for average in MOVING)
        else:
            params.setdefault(layer, {})[weight] = weights[name]
    moving: Any = (averages,) if averages else ()
    forward, _, optimizer, start = script.build()
    assert jax.tree.map(np.shape, start["params"]) == jax.tree.map(np.shape, params)
    logits, key = forward(params, *moving, x), jax.random.key(0)
    answer = {"logits": np.asarray(logits[0] if averages else logits)}
    gradient = jax.value_and_grad(script.loss_of, has_aux=True)
    (loss, _), gradients = gradient(params, *moving, x, y, key)
    answer |= {"loss": np.asarray(loss)}
    for name in trained(weights):
        layer, weight = name.split("/")
        answer[f"gradient/{name}"] = np.asarray(gradients[layer][weight])
    state = optimizer.init(params)
    for _ in range(STEPS):
        params, *moving, state, _, _ = script.step(params, *moving, state, x, y, key)
    for name in weights:
        layer, weight = name.split("/")
        of = dict(zip(MOVING, moving[0][layer], strict=True)) if weight in MOVING else params[layer]
        answer[f"after/{name}"] = np.asarray(of[weight])
    return answer


def flax(script: Any, x: np.ndarray, y: np.ndarray, weights: Arrays, _: Any) -> Arrays:
    import jax.numpy as jnp
    from flax import nnx

    known = {"gamma": "scale", "beta": "bias", "moving_mean": "mean", "moving_variance": "var"}
    model, _, optimizer = script.build()

    def place(name: str) -> tuple[str, str]:
        """A layer that is named as one of ``nnx.Module``'s methods has a _ after its name."""
        layer, weight = name.split("/")
        return layer + "_" * (layer == "train"), known.get(weight, weight)

    def variable(name: str) -> Any:
        layer, weight = place(name)
        return getattr(getattr(model, layer), weight)

    def load() -> None:
        for name, value in weights.items():
            assert variable(name).shape == value.shape
            variable(name).value = jnp.asarray(value)

    load()
    model.eval()
    answer = {"logits": np.asarray(model(x))}
    model.train()
    (loss, _), gradients = nnx.value_and_grad(script.loss_of, has_aux=True)(model, x, y)
    answer |= {"loss": np.asarray(loss)}
    for name in trained(weights):
        layer, weight = place(name)
        answer[f"gradient/{name}"] = np.asarray(gradients[layer][weight][...])
    load()
    for _ in range(STEPS):
        script.step(model, optimizer, x, y)
    return answer | {f"after/{n}": np.asarray(variable(n)[...]) for n in weights}


def numpy(script: Any, x: np.ndarray, y: np.ndarray, weights: Arrays, _: Any) -> Arrays:
    network = script.build()
    places: list[np.ndarray] = []
    for layer in network.layers:
        places += [*layer.weights, *getattr(layer, "moving", ())]

    def load() -> None:
        for place, value in zip(places, weights.values(), strict=True):
            place[...] = value

    load()
    answer = {"logits": network.logits(x)}
    loss, _, gradients = network.gradients(x, y)
    answer |= {"loss": np.array(loss)}
    answer |= {f"gradient/{n}": g for n, g in zip(trained(weights), gradients, strict=True)}
    load()
    for _ in range(STEPS):
        network.step(x, y)
    return answer | {f"after/{n}": place for n, place in zip(weights, places, strict=True)}


def in_float64(form: str) -> None:
    """Has the framework compute in float64, so that a difference of meaning stands out."""
    if form == "tensorflow":
        import tensorflow as tf

        for module, name in ((tf, "zeros"), (tf, "ones"), (tf.random, "uniform")):
            make = getattr(module, name)
            setattr(
                module,
                name,
                lambda *arguments, make=make: make(*arguments, dtype=tf.float64),
            )
        tf.float32 = tf.float64
    if form in ("keras", "tensorflow+layers"):
        import keras

        keras.config.set_floatx("float64")
    if form == "torch":
        import torch

        torch.set_default_dtype(torch.float64)
    if form in ("jax", "flax"):
        import jax

        jax.config.update("jax_enable_x64", True)


def main(form: str, folder: Path) -> None:
    in_float64(form)
    for file in sorted(folder.glob("*.py")):
        given = dict(np.load(file.with_suffix(".npz")))
        x, y = given.pop("x"), given.pop("y")
        flat = {n[5:]: tuple(given.pop(n)) for n in list(given) if n.startswith("flat/")}
        script = SimpleNamespace(**runpy.run_path(str(file)))
        compute = {"tensorflow+layers": layers}.get(form) or globals()[form]
        answer: Any = compute(script, x, y, given, flat)
        np.savez(file.with_suffix(".answer.npz"), **answer)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
