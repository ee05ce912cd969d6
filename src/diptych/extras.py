"""Packages that not everybody has, the extras that bring them, and how to install those."""

import json
import shlex
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlparse

from diptych.errors import InputError

_TENSORFLOW, _ONNX = ("tensorflow", "keras", "h5py"), ("onnx", "onnxruntime")
EXTRAS = {
    "tensorflow": _TENSORFLOW,
    "torch": ("torch",),
    "jax": ("jax", "optax"),
    "flax": ("flax", "jax", "optax"),
    "onnx": _ONNX,
    "export": ("ai_edge_litert", *_ONNX, *_TENSORFLOW),
    "look": ("matplotlib",),
    "serve": ("fastapi", "multipart", "prometheus_client", "uvicorn", *_ONNX),
    "tensorboard": ("tensorboard",),
    "sklearn": ("sklearn",),
    "study": ("fsspec", "matplotlib", "optuna", "ray", "statsmodels"),
}
"""Each extra of ``pyproject.toml`` and the modules that it brings, by the names they import by."""


def missing(modules: Iterable[str]) -> list[str]:
    """Those of the modules that are not installed; imports none of them."""
    return [module for module in modules if find_spec(module) is None]


def require(what: str, *modules: str) -> None:
    """Checks that modules are installed; imports none of them.

    Args:
        what: needs them, such as ``workflow torch``; it begins the message.
        modules: of `EXTRAS`.

    Raises:
        InputError: some are not; the message says which, and how to install them.
    """
    absent = missing(modules)
    if absent:
        names = " and ".join([", ".join(absent[:-1]), absent[-1]] if absent[1:] else absent)
        verb = "are" if absent[1:] else "is"
        raise InputError(f"{what} needs {names}, which {verb} not installed: {advice(*absent)}")


def advice(*modules: str) -> str:
    """The command, in backquotes, that installs the extras with these modules.

    It names the source that this package was installed from. The name alone is not registered on
    the index, so anybody could have registered another package by it.
    """
    brackets = f"[{','.join(_extras_with(set(modules)))}]"
    url, editable = _source()
    scheme = urlparse(url).scheme
    if not url:
        target = f".{brackets}"
    elif scheme == "file" and not url.endswith((".whl", ".gz", ".zip")):
        folder = Path(unquote(urlparse(url).path))
        target = f"{'.' if folder == Path.cwd() else folder}{brackets}"
    else:
        target = f"diptych{brackets} @ {url}"
    command = ["pip", "install", *(["-e"] if editable else []), target]
    return f"`{' '.join(shlex.quote(word) if word == target else word for word in command)}`"


def _extras_with(modules: set[str]) -> list[str]:
    """The smallest extra that brings all modules, or else the smallest with each of them."""
    by_size = sorted(EXTRAS, key=lambda extra: len(EXTRAS[extra]))
    for extra in by_size:
        if modules <= set(EXTRAS[extra]):
            return [extra]
    smallest = {next(e for e in by_size if module in EXTRAS[e]) for module in modules}
    return [extra for extra in EXTRAS if extra in smallest]


def _source() -> tuple[str, bool]:
    """The URL that the package was installed from and whether that is editable; "" if unknown.

    https://packaging.python.org/specifications/direct-url-data-structure/
    """
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        record = json.loads(distribution("diptych").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return "", False
    url = record.get("url", "")
    if "vcs_info" in record:
        commit = record["vcs_info"].get("commit_id", "")
        url = f"{record['vcs_info']['vcs']}+{url}{'@' * bool(commit)}{commit}"
    return url, bool(record.get("dir_info", {}).get("editable"))
