"""What the tests of the store share: cells, data of every kind, and a process of their own."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from replication.study.store import NOT_IDENTITY


@dataclass(frozen=True)
class Descent:
    learning_rate: float = 1.0


@dataclass(frozen=True)
class Data:
    name: str = "digits"
    folder: str | None = field(default=None, metadata=NOT_IDENTITY)


@dataclass(frozen=True)
class Cell:
    width: int = 500
    seeds: tuple[int, ...] = (0, 1)
    beta: float = 0.1
    sigma: str = "relu"
    bias: bool = True
    target: str | None = None
    solver: Any = Descent()
    options: dict[str, float] = field(default_factory=lambda: {"a": 1.5, "b": 2.5})

    @property
    def label(self) -> str:
        return f"n={self.width} σ/{self.sigma}"

    @property
    def folder(self) -> str:
        return "fig1/v3"


@dataclass(frozen=True)
class Elsewhere:
    folder: str
    label: str = "cell"


def dataset(seed: int = 0, points: int = 2000) -> xr.Dataset:
    generator = np.random.default_rng(seed)
    return xr.Dataset(
        {
            "theta": (("seed", "gamma"), generator.normal(size=(2, points)), {"units": "seconds", "log": False}),
            "loss": ("seed", np.array([np.nan, np.inf], np.float32)),
            "lazy": ("seed", np.array([True, False])),
            "many": ("gamma", generator.normal(size=points) > 0),
            "steps": ("seed", np.array([3, -4], np.int32)),
            "sigma": ("seed", np.array(["relu", "erf"])),
            "empty": ("none", np.zeros(0)),
            "t": ((), 200.0, {"units": "days since 2018-06-20"}),
        },
        {"gamma": ("gamma", np.linspace(-np.pi, np.pi, points), {"symbol": "γ"}), "seed": [0, 1]},
        {"title": "the NTK", "none": None, "true": True, "nested": {"a": [1, 2.5, None]}, "text": "1", "word": "null"},
    )


def assert_same(actual: xr.Dataset | None, expected: xr.Dataset) -> None:
    assert actual is not None
    extra = {"cell", "provenance"} - expected.attrs.keys()
    xr.testing.assert_identical(_without(actual, extra), expected)
    assert {n: v.dtype for n, v in actual.variables.items()} == {n: v.dtype for n, v in expected.variables.items()}


def _without(data: xr.Dataset, attributes: set[str]) -> xr.Dataset:
    data = data.copy()
    data.attrs = {name: value for name, value in data.attrs.items() if name not in attributes}
    return data


def in_fresh_process(function: Callable[..., None], *arguments: Path | str, **environment: str) -> None:
    """Call a function of a module of tests where forking is safe: no thread of another test runs there."""
    module, name = function.__module__, function.__name__
    code = f"import sys; sys.path.insert(0, sys.argv[1]); import {module}; {module}.{name}(*sys.argv[2:])"
    command = [sys.executable, "-W", "ignore", "-c", code, str(Path(__file__).parent), *map(str, arguments)]
    subprocess.run(command, check=True, timeout=600, env=os.environ | environment)


@contextmanager
def small_disk(kibibytes: int) -> Iterator[None]:
    """No file of this process can grow larger, as if the disk were full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * kibibytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
