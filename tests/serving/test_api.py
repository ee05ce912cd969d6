"""What the API answers, and what it refuses: a sentence, never a 500."""

import base64
import io
import json
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pen import drawings
from PIL import Image

from diptych.activations import layer_outputs
from diptych.data import Data
from diptych.data.drawing import prepare_image
from diptych.serving.models import Model

Client = TestClient
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
THREE = 18  # A test image that both networks read.


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def floats(of: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(base64.b64decode(of["float32"]), "<f4").reshape(of["shape"])


def answers(response: Any, model: Model) -> list[str]:
    assert response.status_code == 200, response.text
    return [each["answers"][model.name]["answer"] for each in response.json()["predictions"]]


def test_arrays_are_read_as_they_are(client: Client, models: list[Model], mnist: Data) -> None:
    images = mnist.test.images[:40, ..., 0]
    response = client.post("/predict", json={"images": images.tolist()})
    assert response.json()["classes"] == list("0123456789")
    for model in models:
        shares = model.probabilities(mnist.test.images[:40])
        found = [each["answers"][model.name] for each in response.json()["predictions"]]
        np.testing.assert_allclose([each["probabilities"] for each in found], shares, atol=1e-5)
        assert [each["answer"] for each in found] == [str(i) for i in shares.argmax(axis=1)]
    one = client.post("/predict?seen=true", json={"images": images[0].tolist()}).json()
    assert np.array_equal(np.array(one["predictions"][0]["seen"])[..., 0], images[0])


def test_embedded_runs_read_as_well_as_they_say(models: list[Model], mnist: Data) -> None:
    for model in models:
        # All at once their feature maps would take 8 GB.
        parts = np.split(mnist.test.images, 20)
        read = np.concatenate([model.logits(part) for part in parts]).argmax(axis=1)
        assert np.mean(read == mnist.test.labels) == pytest.approx(model.test_accuracy)
        assert model.test_accuracy
        assert model.test_accuracy > 0.99


def test_pen_drawings_are_read(client: Client, models: list[Model]) -> None:
    """200 drawings of varied width, size, place, slant and polarity, sent as files."""
    made = list(drawings(200, seed=0))
    right = dict.fromkeys((model.name for model in models), 0)
    for start in range(0, 200, 50):
        part = made[start : start + 50]
        files = [("images", ("drawing.png", png(image))) for _, image in part]
        response = client.post("/predict", files=files)
        for model in models:
            pairs = zip(answers(response, model), part, strict=True)
            right[model.name] += sum(read == str(digit) for read, (digit, _) in pairs)
    assert min(right.values()) >= 194, right


def test_pictures_are_seen_as_predict_sees_them(client: Client) -> None:
    _, drawing = next(drawings(1, seed=5))
    response = client.post("/predict?seen=true", files={"images": ("a.png", png(drawing))})
    seen = np.array(response.json()["predictions"][0]["seen"])
    assert np.array_equal(seen, prepare_image(drawing))


def test_every_layer_is_the_references(client: Client, models: list[Model], mnist: Data) -> None:
    image = mnist.test.images[THREE]
    response = client.post("/layers", json={"images": image[..., 0].tolist()}).json()
    np.testing.assert_array_equal(floats(response["input"]), image * np.float32(1 / 255))
    for model in models:
        right = layer_outputs(model.network, model.weights, image[None])
        for name, of in response["models"][model.name].items():
            np.testing.assert_allclose(floats(of), right[name][0], rtol=1e-3, atol=1e-4)
        assert set(response["models"][model.name]) == {x.name for x in model.network.layers}


def test_models_and_weights(client: Client, models: list[Model]) -> None:
    listed = client.get("/models").json()
    assert [each["name"] for each in listed] == [model.name for model in models]
    assert listed[0]["parameters"] == 469_514
    path = f"/models/{models[0].name}/weights"
    kernel = floats(client.get(f"{path}/conv_2").json()["kernel"])
    np.testing.assert_array_equal(kernel, models[0].weights["conv_2/kernel"])
    assert client.get(f"{path}/max_pool_1").status_code == 404
    assert client.get("/models/nobody/weights/conv_1").status_code == 404


def test_samples_are_test_images(client: Client, mnist: Data) -> None:
    found = client.get("/samples?start=9999&count=2").json()
    assert [each["number"] for each in found] == [9999, 0]
    assert found[1]["label"] == str(mnist.test.labels[0])
    assert np.array_equal(found[1]["image"], mnist.test.images[0])


def test_metrics_count_what_was_answered(client_with: Callable[..., Client]) -> None:
    client = client_with()
    client.get("/health")
    client.post("/predict", content=b"{", headers={"content-type": "application/json"})
    client.get("/made/up/by/a/client")
    client.post("/predict", json={"images": np.zeros((3, 28, 28)).tolist()})
    text = client.get("/metrics").text
    assert 'diptych_requests_total{path="/health",status="200"} 1.0' in text
    assert 'diptych_requests_total{path="/predict",status="400"} 1.0' in text
    assert 'diptych_requests_total{path="other",status="404"} 1.0' in text
    assert "diptych_batch_images_sum 3.0" in text
    assert "made" not in text


def header_of(width: int, height: int) -> bytes:
    """A PNG that says how large it is, and has nothing behind that."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    size = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", zlib.compress(b""))


def jpeg_cut_short() -> bytes:
    file = io.BytesIO()
    next(drawings(1, seed=0))[1].save(file, "JPEG")
    return file.getvalue()[: len(file.getvalue()) // 2]


FILES = {
    "not a picture": (b"hello", 4, "not a picture"),
    "nothing in it": (b"", 4, "not a picture|empty"),
    "50,000 by 50,000": (header_of(50_000, 50_000), 413, "pixels"),
    "8,000 by 8,000": (header_of(8_000, 8_000), 413, "8,000×8,000 pixels"),
    "nothing behind the header": (header_of(28, 28), 422, "a.png"),
    "a JPEG cut short": (jpeg_cut_short(), 422, "truncated|cut|damaged"),
    "a blank sheet": (png(Image.new("L", (90, 90), 255)), 422, "blank"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files(name: str, client: Client) -> None:
    contents, status, words = FILES[name]
    response = client.post("/predict", files={"images": ("a.png", contents)})
    assert_refused(response, status, words)


BODIES = {
    "empty": (b"", 400, "not JSON"),
    "half": (b'{"images": [[1,', 400, "not JSON"),
    "bytes": (b"\xff\xfe\x00", 400, "not JSON"),
    "deep": (b'{"images": ' + b"[" * 9000 + b"]" * 9000 + b"}", 4, "JSON|numbers|given"),
    "a list": (b"[]", 422, "expected"),
    "no images": (b"{}", 422, "images is missing"),
    "unknown": (b'{"images": [], "more": 1}', 422, "unknown field more"),
    "a word": (b'{"images": "abc"}', 422, "numbers"),
    "null": (b'{"images": null}', 422, "numbers|given|pixels"),
    "a number": (b'{"images": 5}', 422, "a single number"),
    "none": (b'{"images": []}', 422, "expected"),
    "ragged": (b'{"images": [[1, 2], [3]]}', 422, "numbers"),
    "another shape": (b'{"images": [[1, 2], [3, 4]]}', 422, "given 2×2, expected 28×28"),
    "NaN": (json.dumps({"images": [[float("nan")] * 28] * 28}).encode(), 422, "NaN is no pixel"),
    "infinite": (b'{"images": ' + json.dumps([["x"] * 28] * 28).replace('"x"', "1e999").encode()
    + b"}", 422, "0 to 255"),
    "negative": (json.dumps({"images": [[-1] * 28] * 28}).encode(), 422, "0 to 255"),
    "too bright": (json.dumps({"images": [[256] * 28] * 28}).encode(), 422, "0 to 255"),
    "too many": (json.dumps({"images": [[[0] * 28] * 28] * 65}).encode(), 422, "given 65"),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
@pytest.mark.parametrize("path", ["/predict", "/layers"])
def test_bad_bodies(path: str, name: str, client: Client) -> None:
    body, status, words = BODIES[name]
    headers = {"content-type": "application/json"}
    assert_refused(client.post(path, content=body, headers=headers), status, words)


def test_other_content(client: Client) -> None:
    for headers in ({}, {"content-type": "image/png"}, {"content-type": "text/json"}):
        assert_refused(client.post("/predict", content=b"x", headers=headers), 415, "content type")
    form = {"content-type": "multipart/form-data"}
    assert_refused(client.post("/predict", content=b"x", headers=form), 400, "form")
    assert_refused(client.post("/predict", files={"other": b"x"}), 422, "unknown field other")
    assert_refused(client.post("/layers", json={"images": [[[0] * 28] * 28] * 2}), 422, "one")


def test_bodies_are_bounded(client_with: Callable[..., Client]) -> None:
    client = client_with(most_bytes=10_000)
    headers = {"content-type": "application/json"}
    assert_refused(client.post("/predict", content=b" " * 10_001, headers=headers), 413, "bytes")

    def trickle():  # Chunked: nothing says beforehand how much will come.
        for _ in range(200):
            yield b" " * 100

    assert_refused(client.post("/predict", content=trickle(), headers=headers), 413, "bytes")


def test_a_token_is_asked_for(client_with: Callable[..., Client]) -> None:
    client = client_with(token="right")
    body = {"images": [[0] * 28] * 28}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic right"}):
        response = client.post("/predict", json=body, headers=headers)
        assert_refused(response, 401, "token")
        assert response.headers["www-authenticate"] == "Bearer"
    assert client.get("/metrics").status_code == 401
    allowed = {"authorization": "Bearer right"}
    assert client.post("/predict", json=body, headers=allowed).status_code == 200
    for path in ("/", "/health", "/page/main.js"):
        assert client.get(path).status_code == 200


def test_other_hosts_are_refused(client_with: Callable[..., Client]) -> None:
    """A page elsewhere that points its own name at this machine does not get in."""
    client = client_with(hosts=("127.0.0.1", "localhost", "[::1]"))
    for host in ("127.0.0.1:8000", "localhost", "[::1]:8000", "LOCALHOST:1"):
        assert client.get("/health", headers={"host": host}).status_code == 200
    others = ["evil.example", "127.0.0.1.evil.example", "[::2]:80", "", "::1", "[::1"]
    others += ["[::1]evil.example", "localhost:evil.example", "localhost:80:80", "localhost:"]
    others += ["[::1]:evil.example", "[localhost]", "evil.example:[::1]", "localhost evil.example"]
    for host in others:
        assert_refused(client.get("/health", headers={"host": host}), 421, "expected")


def test_the_last_answers_say_that_they_are(client_with: Callable[..., Client]) -> None:
    client = client_with()
    assert "connection" not in client.get("/health").headers
    client.app.state.ending = True  # type: ignore[attr-defined]
    for response in (client.get("/health"), client.post("/predict"), client.get("/nothing")):
        assert response.headers.get_list("connection") == ["close"]


@pytest.mark.parametrize("path", ["/", "/health", "/models", "/page/main.js", "/openapi.json"])
def test_head_is_get_without_the_body(client: Client, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code == 200
    for name in ("content-type", "content-length", "x-content-type-options"):
        assert head.headers[name] == got.headers[name]
    assert client.head("/predict").status_code == 405
    assert client.head("/nothing").status_code == 404


@settings(max_examples=60, suppress_health_check=SLOW)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=30)
            | st.dictionaries(st.sampled_from(["images", "x"]), inner, max_size=2)
        ),
        max_leaves=40,
    )
)
def test_whatever_json_is_sent_is_no_fault_of_the_server(client: Client, value: Any) -> None:
    body = json.dumps({"images": value}).encode()
    response = client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert_refused(response, 4, ".")


def assert_refused(response: Any, status: int, words: str) -> None:
    code = response.status_code
    assert code == status or code // 100 == status, (code, response.text)
    answer = response.json()
    assert set(answer) == {"detail"}
    assert re.search(words, answer["detail"]), answer["detail"]
    assert "\n" not in answer["detail"]
