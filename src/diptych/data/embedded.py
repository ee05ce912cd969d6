"""MNIST, inside the package.

The authors' four IDX files (LeCun, Cortes, Burges; CC BY-SA 3.0, see ``mnist/NOTICE``), each
compressed with xz. liblzma lets go of Python's global lock, so they decompress side by side.
"""

import lzma
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from diptych.data.dataset import Data
from diptych.data.idx import parse_idx
from diptych.data.idx_folder import IDX_NAMES, split_in_order
from diptych.errors import InputError

FOLDER = Path(__file__).parent / "mnist"


def load_mnist() -> Data:
    """MNIST: 55,000 training, 5,000 validation and 10,000 test images, 28x28, one channel.

    Raises:
        InputError: the package's own files are damaged or gone.
    """
    with ThreadPoolExecutor(len(IDX_NAMES)) as pool:
        train_images, train_labels, test_images, test_labels = pool.map(_read, IDX_NAMES)
    train, validation, test = split_in_order(train_images, train_labels, test_images, test_labels)
    return Data(
        name="mnist",
        source="mnist",
        train=train,
        validation=validation,
        test=test,
        class_names=tuple("0123456789"),
        notice="MNIST by Yann LeCun, Corinna Cortes and Christopher J. C. Burges, CC BY-SA 3.0",
        files=tuple(FOLDER / f"{name}.xz" for name in IDX_NAMES),
    )


def _read(name: str) -> np.ndarray:
    path = FOLDER / f"{name}.xz"
    try:
        return parse_idx(lzma.decompress(path.read_bytes()), path)
    except (OSError, lzma.LZMAError) as error:
        raise InputError(f"{path} is damaged ({error}); install diptych again") from error
