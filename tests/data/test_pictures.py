import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diptych.data import Data
from diptych.data.pictures import FORMATS, open_picture, read_images, to_array, to_bytes
from diptych.errors import InputError


@pytest.fixture
def seven(mnist: Data) -> Image.Image:
    return Image.fromarray(mnist.test.images[0, ..., 0])


def saved(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def refused(*paths: str | Path) -> str:
    with pytest.raises(InputError, match=r"^[^\n]+$") as raised:
        list(read_images(paths))
    return str(raised.value)


def test_files_and_folders(tmp_path: Path, seven: Image.Image) -> None:
    (tmp_path / "below").mkdir()
    for name in ("10.png", "2.png", ".hidden.png", "below/a.jpg", "b.bmp"):
        seven.save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture")
    named = list(read_images([tmp_path, tmp_path / "2.png"]))
    expected = ["2.png", "10.png", "b.bmp", "below/a.jpg", "2.png"]
    assert [name for name, _ in named] == [str(tmp_path / name) for name in expected]
    assert np.array_equal(np.asarray(named[0][1]), np.asarray(seven))


def test_standard_input(tmp_path: Path, seven: Image.Image) -> None:
    code = (
        "import sys; from diptych.data.pictures import read_images\n"
        "try: print(*[(name, image.size) for name, image in read_images(['-'])])\n"
        "except ValueError as error: print(error)"
    )

    def answer(contents: bytes) -> str:
        done = subprocess.run([sys.executable, "-c", code], input=contents, capture_output=True)
        assert not done.stderr
        return done.stdout.decode().strip()

    assert answer(saved(seven)) == "('-', (28, 28))"
    assert "standard input is empty" in answer(b"")
    assert "standard input is not a picture" in answer(b"seven")


def test_what_is_not_there_or_no_picture(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "seven.png").write_text("no picture")
    (tmp_path / "none.png").write_bytes(b"")
    assert "no file or folder" in refused(tmp_path / "gone.png")
    assert "holds no pictures" in refused(tmp_path / "empty")
    assert "is not a picture" in refused(tmp_path / "seven.png")
    assert "is not a picture" in refused(tmp_path / "none.png")
    assert "cannot be read" in refused("x" * 5000)


def png_of_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, contents: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + contents))
        return struct.pack(">I", len(contents)) + kind + contents + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body)


@pytest.mark.parametrize("side", [8_001, 10_000, 20_000, 2**31 - 1])
@pytest.mark.filterwarnings("error")
def test_a_decompression_bomb_is_refused(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_of_size(side, side))
    assert "pictures may have 64,000,000" in refused(tmp_path / "bomb.png")


@pytest.mark.parametrize("size", [(0, 28), (28, 0), (0, 0)])
def test_a_picture_without_pixels(size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=r"^the picture (has no pixels|cannot be read|is not)"):
        open_picture(png_of_size(*size))


def test_no_format_that_runs_programs() -> None:
    with pytest.raises(InputError, match="is not a picture"):
        open_picture(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n")


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150)
@given(st.sampled_from(FORMATS), st.data())
def test_a_damaged_picture_is_told_or_shown(form: str, data: st.DataObject) -> None:
    image = Image.fromarray(np.arange(600, dtype=np.uint32).astype(np.uint8).reshape(20, 30))
    contents = bytearray(saved(image.convert("RGB") if form == "WEBP" else image, form))
    for _ in range(data.draw(st.integers(0, 4))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(contents)))
    try:
        shown = open_picture(bytes(contents[:cut]), "it")
    except InputError as error:
        assert str(error).startswith("it ")
    else:
        pixels = to_array(shown, 3)
        assert pixels.shape == (shown.height, shown.width, 3)
        assert pixels.min() >= 0
        assert pixels.max() <= 255


def test_pictures_are_turned_upright(seven: Image.Image) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held a quarter turn to the left
    turned = open_picture(saved(seven.transpose(Image.Transpose.ROTATE_90), exif=exif))
    assert np.array_equal(np.asarray(turned), np.asarray(seven))


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "I", "I;16", "F", "CMYK", "La"])
def test_grey_survives_every_mode(seven: Image.Image, mode: str) -> None:
    expected = np.asarray(seven)
    if mode in ("I;16", "I"):
        deep = Image.fromarray(expected.astype(np.uint16) * 257)
        image = deep if mode == "I;16" else Image.fromarray(expected.astype(np.int32) * 257)
    elif mode == "La":
        image = seven.convert("LA").convert("La")
    else:
        image = seven.convert(mode)
    assert image.mode == mode
    tolerance = 1 if mode in ("P", "CMYK") else 0
    if mode == "P":  # Pillow's own palette for grey pictures
        image = seven.convert("RGB").quantize(256)
    for channels in (1, 3):
        pixels = to_bytes(to_array(image, channels)).astype(int)
        assert pixels.shape == (28, 28, channels)
        assert np.abs(pixels - expected[..., None]).max() <= tolerance


def test_floats_from_0_to_1(seven: Image.Image) -> None:
    image = Image.fromarray(np.asarray(seven).astype(np.float32) / np.float32(255))
    assert np.array_equal(to_bytes(to_array(image, 1))[..., 0], np.asarray(seven))


def test_transparency_lies_on_the_background() -> None:
    image = Image.new("RGBA", (2, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (0, 0, 0, 0))
    assert to_array(image, 3)[0].tolist() == [[255, 0, 0], [255, 255, 255]]
    assert to_array(image, 3, background=0)[0].tolist() == [[255, 0, 0], [0, 0, 0]]
    assert to_array(image, 4)[0].tolist() == [[255, 0, 0, 255], [0, 0, 0, 0]]
