"""The page as static files: any file server will do, and the networks compute in the browser.

Everything is the page that the server has, except for `api.js`: that one asks ONNX Runtime Web
instead of the server. The runtime comes with the package; ``onnxruntime/README.md`` says which, and
why.
"""

import base64
import html
import json
import lzma
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from diptych.data import Data, load_data
from diptych.errors import InputError
from diptych.formats.onnx.model import onnx_model
from diptych.serving.models import Model
from diptych.whole_files import write_whole

HERE = Path(__file__).parent
PAGE, STATIC, RUNTIME = HERE / "page", HERE / "static", HERE / "onnxruntime"
SERVERS_OWN = {"docs.html", "docs.js", "docs.css", "index.html"}
"""Files of the page that only a server has, or has elsewhere."""
MODELS = "data/models.json"
SAMPLES = 120
"""Images of the test set that the page can show."""
API_LINK = '<a href="docs" id="api">API</a>'


def export_page(models: list[Model], folder: Path) -> None:
    """Writes the page and its networks as static files.

    Args:
        models: one or two that take the same images.
        folder: a new or empty folder, or one that holds an earlier export, which is replaced.

    Raises:
        InputError: the folder holds something else, or cannot be written to.
    """
    try:
        _clear(folder)
        for name, contents in _files(models).items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, contents)
    except OSError as problem:
        raise InputError(f"--export {folder}: {problem.strerror or problem}") from None


def _clear(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--export {folder}: a file, expected a folder")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (folder / MODELS).is_file():
        raise InputError(
            f"--export {folder}: there is something else in it; expected a new folder, an empty "
            "one, or an earlier export"
        )
    for name in ("data", "page"):
        shutil.rmtree(folder / name)


def _files(models: list[Model]) -> dict[str, bytes]:
    data = load_data(models[0].data_source)
    files = {f"page/{path.name}": path.read_bytes() for path in PAGE.iterdir()}
    files = {name: file for name, file in files.items() if Path(name).name not in SERVERS_OWN}
    files |= {f"page/{path.name}": path.read_bytes() for path in STATIC.iterdir()}
    for path in RUNTIME.iterdir():
        packed = path.suffix == ".xz"
        contents = lzma.decompress(path.read_bytes()) if packed else path.read_bytes()
        files[f"page/onnxruntime/{path.stem if packed else path.name}"] = contents
    descriptions = [
        model.describe() | {"data": model.data_name, "snapshots": []} for model in models
    ]
    files[MODELS] = json.dumps(descriptions).encode()
    files["data/samples.json"] = json.dumps(_samples(data)).encode()
    for model in models:
        graph = onnx_model(model.network, model.weights, every_layer=True, uint8_input=True)
        files[f"data/{model.name}.onnx"] = graph.SerializeToString()
        weights = {name: np.ascontiguousarray(w, "<f4") for name, w in model.weights.items()}
        files[f"data/{model.name}.safetensors"] = save(weights)
    files["index.html"] = _index(data.notice).encode()
    return files


def _samples(data: Data) -> dict[str, Any]:
    images = np.ascontiguousarray(data.test.images[:SAMPLES])
    return {
        "shape": list(images.shape[1:]),
        "labels": [data.class_names[int(label)] for label in data.test.labels[:SAMPLES]],
        "pixels": base64.b64encode(images.tobytes()).decode(),
        "notice": data.notice,
    }


def _index(notice: str) -> str:
    page = (PAGE / "index.html").read_text()
    said = f" The test images: {html.escape(notice)}." if notice else ""
    footer = (
        '<footer><p class="note">Nothing leaves this page: your browser computes, with ONNX '
        'Runtime Web (<a href="page/onnxruntime/LICENSE">MIT licence</a>, <a href="page/'
        f'onnxruntime/ThirdPartyNotices.txt">notices of what it uses</a>).{said}</p></footer>'
    )
    for old, new in ((API_LINK, ""), ("</main>", f"</main>\n    {footer}")):
        if page.count(old) != 1:
            raise AssertionError(f"the page has changed: {old}")
        page = page.replace(old, new)
    return page
