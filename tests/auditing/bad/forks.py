"""Sides whose code forks, burns, hides and writes where it should not; see test_forks.py."""

import multiprocessing
import os
import subprocess
import sys
import time
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def parts() -> tuple[Any, Any, Any]:
    """A regression of 13 numbers."""
    module = nn.Sequential(nn.Linear(13, 4), nn.ReLU(), nn.Linear(4, 1))
    return module, nn.MSELoss(), torch.optim.SGD(module.parameters(), lr=0.1)


class Pairs(Dataset[Any]):
    """Examples as a person's own data set has them."""

    def __init__(self, x: Any, y: Any) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        return self.x[index], self.y[index]


def loads_in_two_processes() -> Any:
    def batches(x: Any, y: Any) -> Any:
        return DataLoader(Pairs(x, y), batch_size=32, shuffle=True, num_workers=2)

    return *parts(), {"batches": batches}


def loads_and_keeps_its_processes() -> Any:
    def batches(x: Any, y: Any) -> Any:
        loader = DataLoader(Pairs(x, y), batch_size=32, num_workers=2, persistent_workers=True)
        kept.append(loader)
        return loader

    return *parts(), {"batches": batches}


kept: list[Any] = []


def forks_a_sleeper() -> Any:
    if not os.fork():
        time.sleep(1000)
    return parts()


def forks_a_daemon() -> Any:
    if not os.fork():
        os.setsid()
        if os.fork():
            os._exit(0)
        while True:
            pass
    return parts()


def keeps_a_pool() -> Any:
    kept.append(multiprocessing.get_context("fork").Pool(2))
    return parts()


def starts_a_program() -> Any:
    subprocess.Popen([sys.executable, "-c", "while True: pass"], start_new_session=True)
    return parts()


def writes_to_every_descriptor() -> Any:
    for number in range(3, 400):
        try:
            os.write(number, b"hello\n")
        except OSError:
            continue
    return parts()


def hangs() -> Any:
    while True:
        time.sleep(0.1)
