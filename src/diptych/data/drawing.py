"""Putting any picture of a digit into MNIST's own form, and other pictures into a network's.

How MNIST's images were made: "The original black and white (bilevel) images from NIST were size
normalized to fit in a 20x20 pixel box while preserving their aspect ratio. The resulting images
contain grey levels as a result of the anti-aliasing technique used by the normalization algorithm.
The images were centered in a 28x28 image by computing the center of mass of the pixels, and
translating the image so as to position this point at the center of the 28x28 field." (Y. LeCun,
C. Cortes, C. J. C. Burges, http://yann.lecun.com/exdb/mnist/.) In the files, that point is the
pixel with index 14 in both directions, reached by whole-pixel steps; ink is 255 on 0.
"""

import numpy as np
from PIL import Image

from diptych.data.pictures import BLACK, WHITE, plain, scaled, to_array, to_bytes
from diptych.errors import InputError

SIDE = 28
BOX = 20
CENTRE = 14

# Larger pictures are first averaged down to about this; 50 times the box keeps all that counts.
WORKING_SIDE = 1000
# Paper and pen differ by more than this, out of 255, in any picture that a person can read, even
# when it is averaged down to a glance, where grain is gone and a stroke is still there.
LEAST_CONTRAST = 12.0
GLANCE_SIDE = 100
# The digit ends where its ink falls below this share of the darkest. Half would be right for a
# blurred edge and zero for MNIST's own images; measured on both, this loses least on either.
EXTENT = 0.25
# A spot with less of the ink than this is dirt, not a stroke.
SPECK = 0.01
# Ink that covers more than this of the picture's outermost pixels is a frame, not a digit.
FRAME = 0.6


def prepare_digit(image: Image.Image) -> np.ndarray:
    """Put a picture of one digit into MNIST's form.

    Cropped to the ink, scaled with its aspect kept to fit 20x20, centred by its mass in 28x28,
    white on black. An image of MNIST comes back as it was, but for its faintest pixels.

    Args:
        image: any size and mode; dark on light or light on dark, on a background that is plain or
            shaded evenly across the picture, and that fills most of the picture's border; a thin
            frame around it is left out.

    Returns:
        ``(28, 28)`` uint8.

    Raises:
        InputError: the picture is blank: nothing stands out from the background.
    """
    ink, noise = _ink(_grey(image))
    ink = _strokes(np.where(ink > noise, ink, 0))
    rows, columns = _extent(ink > EXTENT * ink.max())
    ink = ink[rows, columns]
    box = _fit(ink / ink.max())
    return to_bytes(255 * _centred(box / box.max()))


def prepare_image(
    image: Image.Image, shape: tuple[int, int, int] = (28, 28, 1), data_name: str = "mnist"
) -> np.ndarray:
    """Put a picture into the form of a network's input.

    For MNIST's shape and name, as ``prepare_digit``. For any other the whole picture is resized,
    aspect not kept, and turned to grey, colour or colour with alpha as the channels say. For
    ``fashion-mnist`` a light background is made dark, as its authors did.

    Args:
        image: any size and mode.
        shape: height, width and channels (1, 3 or 4) of the network's input.
        data_name: the data that the network was trained on.

    Returns:
        ``(height, width, channels)`` uint8.

    Raises:
        InputError: a blank picture of a digit, or channels that a picture cannot have.
    """
    height, width, channels = shape
    if data_name == "mnist" and shape == (SIDE, SIDE, 1):
        return prepare_digit(image)[..., np.newaxis]
    if channels not in (1, 3, 4):
        raise InputError(
            f"the network takes images of {channels} channels, a picture has 1, 3 or 4; "
            "give it arrays instead"
        )
    pixels = to_bytes(to_array(scaled(image, (width, height)), channels))
    if data_name == "fashion-mnist" and channels == 1 and np.median(_border(pixels[..., 0])) > 127:
        pixels = 255 - pixels
    return pixels


def _grey(image: Image.Image) -> np.ndarray:
    """``(height, width)`` float32; transparent parts get what the visible parts are not."""
    image = _reduced_image(plain(image), WORKING_SIDE)
    if "A" not in image.mode:
        return to_array(image, 1)[..., 0]
    on_white, on_black = (to_array(image, 1, behind)[..., 0] for behind in (WHITE, BLACK))
    opacity = 1 - (on_white - on_black) / np.float32(WHITE)
    visible = on_black.sum() / max(opacity.sum(), 1e-6)
    return on_white if visible < (BLACK + WHITE) / 2 else on_black


def _reduced_image(image: Image.Image, side: int) -> Image.Image:
    factor = -(-max(image.size) // side)
    if factor == 1:
        return image
    return image.reduce((min(factor, image.width), min(factor, image.height)))


def _reduced(pixels: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(_reduced_image(Image.fromarray(pixels.astype(np.float32)), side))


def _ink(grey: np.ndarray) -> tuple[np.ndarray, float]:
    """The distance of each pixel from the paper towards the pen, and the level below which it is
    noise."""
    difference = grey - _paper(grey)
    spread = np.abs(_border(difference))
    noise = 4 * 1.4826 * float(np.median(spread))  # four standard deviations, were it Gaussian
    light, dark = (float(np.maximum(each - noise, 0).sum()) for each in (difference, -difference))
    ink = np.maximum(difference if light > dark else -difference, 0)
    if ink.max() < 1.5 * noise or _reduced(ink, GLANCE_SIDE).max() < LEAST_CONTRAST:
        raise _blank()
    return ink, noise


def _blank() -> InputError:
    return InputError(
        "the picture is blank: nothing stands out from its background; "
        "draw the digit darker or crop closer to it"
    )


def _paper(grey: np.ndarray) -> np.ndarray:
    """The background's grey at each pixel: a plane through the border, whatever lies on it."""
    height, width = grey.shape
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    terms = np.stack([np.ones_like(x), x, y], axis=-1)
    edge, values = _border(terms), _border(grey)
    plane = np.array([np.median(values), 0, 0])
    for _ in range(5):
        error = np.abs(values - edge @ plane)
        near = error <= max(3 * float(np.median(error)), 2.0)
        plane = np.linalg.lstsq(edge[near], values[near], rcond=None)[0]
    return terms @ plane


def _border(pixels: np.ndarray) -> np.ndarray:
    """The pixels of a frame, a twentieth of the picture wide: ``(n,)``, or ``(n, k)`` of ``k``."""
    height, width = pixels.shape[:2]
    frame = max(1, min(height, width) // 20)
    inside = np.zeros((height, width), bool)
    inside[frame:-frame, frame:-frame] = True
    return pixels[~inside]


def _strokes(ink: np.ndarray) -> np.ndarray:
    """The ink without dirt and without a frame drawn around the picture."""
    from scipy import ndimage

    spots, count = ndimage.label(ink, np.ones((3, 3)))  # pyright: ignore[reportGeneralTypeIssues]
    mass = np.bincount(spots.ravel(), ink.ravel(), count + 1)
    outermost = np.concatenate([spots[0], spots[-1], spots[1:-1, 0], spots[1:-1, -1]])
    mass[np.bincount(outermost, minlength=count + 1) > FRAME * len(outermost)] = 0
    mass[0] = 0
    if not mass.any():
        raise _blank()
    return np.where((mass >= SPECK * mass.max())[spots] & (spots > 0), ink, 0)


def _extent(ink: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _fit(ink: np.ndarray) -> np.ndarray:
    """Scaled so that the longer side is 20, the other in proportion, at least 1."""
    height, width = ink.shape
    scale = BOX / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return ink
    # Averaging over areas is what turns bilevel ink into greys; enlarging has to interpolate.
    how = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    resized = Image.fromarray(ink.astype(np.float32)).resize(size, how)
    return np.asarray(resized).clip(0, 1)


def _centred(box: np.ndarray) -> np.ndarray:
    """In 28x28, moved by whole pixels so that the centre of mass is at the centre."""
    field = np.zeros((SIDE, SIDE), np.float32)
    place = []
    for axis, size in enumerate(box.shape):
        mass = box.sum(axis=1 - axis)
        centre = float(mass @ np.arange(size)) / float(mass.sum())
        start = min(max(round(CENTRE - centre), 0), SIDE - size)
        place.append(slice(start, start + size))
    field[tuple(place)] = box
    return field
