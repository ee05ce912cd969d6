"""Functions that a side cannot be made of; each is asked for by its name. See test_bad_sides.py."""

import os
import sys
import time
from typing import Any


def parts(module: Any = None) -> tuple[Any, Any, Any]:
    """What PyTorch's people hand in: 13 numbers in, one out."""
    import torch  # In here, for the functions that need none are tested faster.
    from torch import nn

    module = module or nn.Sequential(nn.Linear(13, 4), nn.ReLU(), nn.Linear(4, 1))
    return module, nn.MSELoss(), torch.optim.SGD(module.parameters(), lr=0.1)


def regression() -> Any:
    return parts()


def raises() -> Any:
    raise RuntimeError("the data base\nis down")


def raises_in_its_loss() -> Any:
    def loss(output: Any, target: Any) -> Any:
        raise KeyError("no such target")

    module, _, optimizer = parts()
    return module, loss, optimizer


def raises_in_its_step() -> Any:
    def step(x: Any, y: Any) -> Any:
        raise ZeroDivisionError("no steps today")

    return *parts(), {"step": step}


def hangs() -> Any:
    while True:
        time.sleep(0.1)


def prints_much() -> Any:
    """200 MB by Python, and 20 MB past it."""
    line = "x" * 2**20
    for _ in range(200):
        print(line)
    for _ in range(20):
        os.write(1, line.encode())
    return parts()


def gives_nothing() -> Any:
    return None


def gives_a_dict() -> Any:
    return {"model": "it"}


def gives_text() -> Any:
    return "model.pt"


def gives_two() -> Any:
    return parts()[:2]


def gives_only_the_module() -> Any:
    return parts()[0]


def gives_what_cannot_be_printed() -> Any:
    class Shy:
        def __repr__(self) -> str:
            raise ValueError("not for your eyes")

    return Shy()


def exits() -> Any:
    sys.exit("so long")


def ends_its_process() -> Any:
    os._exit(3)


def takes_arguments(width: int) -> Any:
    return parts()


def huge() -> Any:
    """A gigabyte of parameters, of which no byte is touched."""
    from torch import nn

    module = nn.Linear(2**14, 2**14, bias=False, device="meta").to_empty(device="cpu")
    return parts(module)


def gives_them_in_another_order() -> Any:
    module, loss, optimizer = parts()
    return loss, module, optimizer


def takes_two_inputs() -> Any:
    from torch import nn

    class Joined(nn.Bilinear):
        def forward(self, left: Any, right: Any) -> Any:  # pyright: ignore
            return super().forward(left, right)

    return parts(Joined(3, 4, 1))


def gives_a_list() -> Any:
    return list(parts())
