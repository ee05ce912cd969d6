"""The HTTP API, and the page's files."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException

from diptych import __version__
from diptych.data import load_data
from diptych.serving.batching import Batcher, Busy
from diptych.serving.guard import Guard, Refused, busy
from diptych.serving.metrics import Metrics
from diptych.serving.models import Model, as_base64
from diptych.serving.reading import from_arrays, from_files
from diptych.serving.settings import Settings

PAGE = Path(__file__).with_name("page")
SMALL_BODY = 64 * 1024
"""JSON of so many bytes is read where it arrives: a thread would cost more."""


class Problem(BaseModel):
    """Why a request was refused, in one sentence."""

    detail: str


class Answer(BaseModel):
    """The prediction of one network for one image."""

    answer: str
    probabilities: list[float]
    """In the order of the classes."""


class Prediction(BaseModel):
    """The predictions of all networks for one image."""

    answers: dict[str, Answer]
    """By the model's name."""
    seen: list[list[list[int]]] | None = None
    """The image as the networks saw it, 0 to 255, where ``seen=true`` asked for it."""


class Predictions(BaseModel):
    """An entry an image, in the order in which they were sent."""

    classes: list[str]
    predictions: list[Prediction]


class Floats(BaseModel):
    """An array: its shape, and its values as little-endian float32 in base64."""

    shape: list[int]
    float32: str


Step = Annotated[
    int | None,
    Query(ge=0, description="As the networks were after that step of their training, if known."),
]


class Layers(BaseModel):
    """Every layer's output for one image, after its activation, by model and layer."""

    input: Floats
    """The image as the first layer gets it: pixels as shares of 255."""
    models: dict[str, dict[str, Floats]]


def _body(model: Model, settings: Settings) -> dict[str, Any]:
    """The request bodies of the image routes, for OpenAPI; the routes parse them themselves, to
    limit them first."""
    height, width, channels = model.network.input_shape

    def rows(items: dict[str, Any], count: int, least: int | None = None) -> dict[str, Any]:
        return {"type": "array", "minItems": least or count, "maxItems": count, "items": items}

    pixel: dict[str, Any] = {"type": "number", "minimum": 0, "maximum": 255}
    image = rows(rows(rows(pixel, channels) if channels > 1 else pixel, width), height)
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "images": {
                                "anyOf": [image, rows(image, settings.most_images, 1)],
                                "description": "Pixels from 0 to 255 of one image, or of several; "
                                "read as they are.",
                            }
                        },
                        "required": ["images"],
                        "additionalProperties": False,
                    }
                },
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {
                            "images": rows(
                                {
                                    "type": "string",
                                    "format": "binary",
                                    "description": "Picture files of any size, dark on light or "
                                    "light on dark; put into the form of the networks' data.",
                                },
                                settings.most_images,
                                1,
                            )
                        },
                        "required": ["images"],
                    }
                },
            },
        }
    }


REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "A body that cannot be parsed"},
    401: {"model": Problem, "description": "The token is missing or wrong"},
    408: {"model": Problem, "description": "The request came in too slowly"},
    413: {"model": Problem, "description": "Too many bytes or pixels"},
    415: {"model": Problem, "description": "Neither JSON nor picture files"},
    421: {"model": Problem, "description": "Another host's name"},
    422: {"model": Problem, "description": "Not images that these networks can read"},
    503: {"model": Problem, "description": "Too many wait; try again after Retry-After seconds"},
}


def create_app(models: list[Model], settings: Settings | None = None) -> FastAPI:
    """The application: every model reads every image.

    Args:
        models: one or more, which take images of one shape.
        settings: the limits.
    """
    settings = settings or Settings()
    metrics, first = Metrics(), models[0]
    body = _body(first, settings)
    batcher = Batcher(
        [model.probabilities for model in models],
        settings.largest_batch,
        settings.most_waiting,
        metrics.batches.observe,
    )
    # Few, for memory: what does not fit waits as bytes, and those are counted.
    workers = ThreadPoolExecutor(settings.workers, "worker")

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        running = asyncio.create_task(batcher.run())
        yield
        batcher.close()
        await running
        workers.shutdown()

    app = FastAPI(
        title="Diptych",
        version=__version__,
        description="Reads images with the networks of one or two runs.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=REFUSALS,
    )
    app.add_middleware(Guard, settings=settings, metrics=metrics)  # type: ignore[arg-type]

    async def in_a_thread(function: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(workers, function, *arguments)

    def from_json(body: bytes) -> np.ndarray:
        return from_arrays(_json(body), first, settings)

    async def images_of(request: Request) -> np.ndarray:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data":
            files = await _files(request, settings)
            return await in_a_thread(from_files, files, first, settings)
        if kind == "application/json":
            body = await request.body()
            if len(body) <= SMALL_BODY:
                return from_json(body)
            return await in_a_thread(from_json, body)
        raise Refused(
            415,
            f"content type {kind or 'missing'}: expected application/json with images, or "
            "multipart/form-data with picture files named images",
        )

    @app.post("/predict", openapi_extra=body)
    async def predict(
        request: Request,
        seen: Annotated[
            bool, Query(description="Give the images as the networks saw them.")
        ] = False,
    ) -> Predictions:
        """Reads one or several images with every model."""
        images = await images_of(request)
        try:
            by_model = await batcher(images)
        except Busy:
            raise busy("too many images wait already") from None
        finally:
            metrics.waiting.set(batcher.waiting)
        return Predictions(
            classes=list(first.class_names),
            predictions=[
                Prediction(
                    answers={
                        model.name: Answer(
                            answer=model.class_names[int(np.argmax(shares[number]))],
                            probabilities=shares[number].tolist(),
                        )
                        for model, shares in zip(models, by_model, strict=True)
                    },
                    seen=images[number].tolist() if seen else None,
                )
                for number in range(len(images))
            ],
        )

    @app.post("/layers", openapi_extra=body)
    async def layers(request: Request, step: Step = None) -> Layers:
        """Every layer's output for one image, in every model."""
        images = await images_of(request)
        if len(images) != 1:
            raise Refused(422, f"images: given {len(images)}, expected one")

        def outputs_of(model: Model) -> dict[str, np.ndarray]:
            return model.after(step).layer_outputs(images[0])

        outputs = [await in_a_thread(outputs_of, model) for model in models]
        return Layers(
            input=Floats(**as_base64(images[0] * np.float32(1 / 255))),
            models={
                model.name: {name: Floats(**as_base64(array)) for name, array in of.items()}
                for model, of in zip(models, outputs, strict=True)
            },
        )

    @app.get("/models")
    async def describe_models() -> list[dict[str, Any]]:
        """The models: their layers, classes and accuracy on the test set."""
        return await in_a_thread(lambda: [model.describe() for model in models])

    @app.get(
        "/models/{model}/weights/{layer}",
        responses={404: {"model": Problem, "description": "No such model, or no such layer"}},
    )
    async def weights(model: str, layer: str, step: Step = None) -> dict[str, Floats]:
        """A layer's weights: kernels are (height, width, in, out) or (in, out)."""
        for one in models:
            if one.name == model:
                earlier = await in_a_thread(one.after, step)
                found = {
                    name.partition("/")[2]: Floats(**as_base64(value))
                    for name, value in earlier.weights.items()
                    if name.partition("/")[0] == layer
                }
                if found:
                    return found
                raise Refused(404, f"model {model}: layer {layer} is not there, or has no weights")
        names = ", ".join(one.name for one in models)
        raise Refused(404, f"model {model} is not there; there are {names}")

    @app.get("/samples")
    async def samples(
        count: Annotated[int, Query(ge=1, le=100)] = 20, start: Annotated[int, Query(ge=0)] = 0
    ) -> list[dict[str, Any]]:
        """Test images of the networks' own data, from number ``start`` on, over and over."""
        try:
            images, labels = await in_a_thread(test_images)
        except Exception:  # The data may be a folder that has gone since.
            raise Refused(404, f"the data {first.data_name} cannot be opened here") from None
        at = [number % len(labels) for number in range(start, start + count)]
        return [
            {
                "number": number,
                "label": first.class_names[int(labels[number])],
                "image": images[number].tolist(),
            }
            for number in at
        ]

    @cache
    def test_images() -> tuple[np.ndarray, np.ndarray]:
        test = load_data(first.data_source).test
        return test.images, test.labels

    @app.get("/health")
    async def health() -> dict[str, str]:
        """That the server answers, and what it runs."""
        return {"status": "ok", "version": __version__}

    @app.get("/metrics", response_class=Response)
    async def measured() -> Response:
        """Counters in Prometheus' format."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "docs.html")

    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    _answer_refusals(app)
    return app


def _answer_refusals(app: FastAPI) -> None:
    """Every refusal is one sentence under ``detail``."""

    @app.exception_handler(Refused)
    async def refused(_: Request, problem: Refused) -> JSONResponse:
        return JSONResponse({"detail": problem.detail}, problem.status, problem.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, problem: RequestValidationError) -> JSONResponse:
        error = problem.errors()[0]
        where = ".".join(str(part) for part in error["loc"][1:])
        said = error["msg"][0].lower() + error["msg"][1:]
        return JSONResponse({"detail": f"{where}: {said}"}, 422)

    @app.exception_handler(HTTPException)
    async def http(_: Request, problem: HTTPException) -> JSONResponse:
        said = str(problem.detail)
        if problem.status_code == 404:
            said = "there is nothing at this address; /docs lists what there is"
        elif problem.status_code == 405:
            said = "this address does not take that method; /docs lists what there is"
        return JSONResponse({"detail": said}, problem.status_code, problem.headers)


async def _files(request: Request, settings: Settings) -> list[tuple[str, bytes]]:
    try:
        form = await request.form(
            max_files=settings.most_images, max_fields=0, max_part_size=settings.most_bytes
        )
    except HTTPException as problem:
        raise Refused(400, f"the form cannot be read: {problem.detail}") from None
    try:
        others = sorted({key for key in form if key != "images"})
        if others:
            raise Refused(422, f"unknown field {others[0]}: expected files named images")
        parts = form.getlist("images")
        if not parts:
            raise Refused(422, "the form has no files: expected some named images")
        return [
            (part.filename or "image", await part.read())
            for part in parts
            if isinstance(part, UploadFile)
        ]
    finally:
        await form.close()


def _json(body: bytes) -> Any:
    """The images of a JSON body; numbers that JSON does not have are refused."""

    def refuse(word: str) -> float:
        raise Refused(422, f"images: {word} is no pixel; expected numbers from 0 to 255")

    try:
        value = json.loads(body, parse_constant=refuse)
    except (ValueError, RecursionError):
        raise Refused(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Refused(422, 'expected {"images": …}')
    unknown = sorted(value.keys() - {"images"})
    if unknown:
        raise Refused(422, f"unknown field {unknown[0]}: expected images alone")
    if "images" not in value:
        raise Refused(422, "images is missing")
    # The one text in a right body is "images", so these can only be where numbers belong, and NumPy
    # would take them for 1 and 0.
    if b"true" in body or b"false" in body:
        raise Refused(422, "images: expected numbers, given true or false")
    return value["images"]
