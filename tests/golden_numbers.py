"""The numbers that golden.py keeps: of the engine and of the cells of every reduced preset, computed now."""

import dataclasses
import itertools
import math
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

Arrays = dict[str, np.ndarray]
Numbers = dict[str, dict[str, list[float]]]
"""By entry and variable: the values if they are one or two, else [size, root mean square, projection]."""
Part = tuple[dict[str, int], dict[str, Callable[[], Arrays]]]
"""A part of the file: the version of its experiment, if it is of one, and what computes each of its entries."""


# The part that knows the experiments' interface -----------------------------------------------------------------------


def presets() -> list[str]:
    """The reduced presets."""
    from compose import presets

    return [name for name in presets() if name.startswith("ci/")]


def cells_of(preset_name: str) -> tuple[str, int, list[tuple[str, Any, Callable[[Any, int], Arrays]]]]:
    """An experiment's name, its version and, narrow ones first, its cells.

    Each with its label and a function that computes it, but no more than so many of its networks.
    """
    from compose import preset, typed

    experiment, config = typed(preset(preset_name))

    def compute(cell: Any, networks: int) -> Arrays:
        cell = dataclasses.replace(cell, seeds=cell.seeds[:networks])
        return {str(name): variable.values for name, variable in experiment.compute(cell).data_vars.items()}

    return experiment.name, experiment.version, [(cell.label, cell, compute) for cell in experiment.cells(config)]


def engine_version() -> int:
    """The version of the engine."""
    from replication.engine import ENGINE

    return ENGINE


# What is computed -----------------------------------------------------------------------------------------------------

_SEEDS = re.compile(r"-?seed[-\d]+$")
_WIDTH = re.compile(r"(^|-)[nP]\d+(-\d+)*(?=-|$)")


def of_preset(name: str) -> Part:
    """Of each kind of cell: two networks of the narrowest as they are, and one of the widest in float64.

    Where there is but one width, two networks in float64. The networks are the first ones of their width: a preset that
    gets more of them keeps its numbers.
    """
    experiment, version, cells = cells_of(name)
    kinds: dict[str, dict[str, tuple[Any, Callable[[Any, int], Arrays]]]] = {}
    for label, cell, compute in cells:
        label = _SEEDS.sub("", label) or "cell"
        kinds.setdefault(_WIDTH.sub("", label), {}).setdefault(label, (cell, compute))
    entries = {}
    for kind in kinds.values():
        narrow, wide = next(iter(kind)), next(reversed(kind))
        (first, compute), (last, _) = kind[narrow], kind[wide]
        last = _in_float64(last)
        chosen = [(narrow, last, 2)] if wide == narrow else [(narrow, first, 2), (wide, last, 1)]
        for label, cell, networks in chosen:
            entries[f"{label}-{_dtype(cell)}"] = partial(compute, cell, networks)
    return {experiment: version}, entries


def _dtype(cell: Any) -> str:
    return "float64" if _in_float64(cell) == cell else "float32"


def _in_float64(cell: Any) -> Any:
    """A cell whose networks, in it or in what it is made of, have dtype float64."""
    changed = {}
    for field in dataclasses.fields(cell):
        value = getattr(cell, field.name)
        if field.name == "dtype":
            changed["dtype"] = "float64"
        elif dataclasses.is_dataclass(value):
            changed[field.name] = _in_float64(value)
    return dataclasses.replace(cell, **changed)


SIGMAS = ("relu", "erf", "tanh")
N_0, N, PROBES = 20, 4, 2  # more coordinates than ``revealed.SMALL``, so that the first matrix is revealed too
WIDTHS = {"dense": 100, "deferred": 200, "revealed": 1000}


def of_engine(nonlinearity: str) -> Part:
    """Θ and f on the data and off it, the rank and the number of steps.

    For each depth, dtype and way to hold the weights, before training and after each solver.
    """
    cases = itertools.product((2, 3, 4, 5), ("float32", "float64"), WIDTHS, ("initial", "flow1", "flow2", "descent"))
    return {}, {"L{}-{}-{}-{}".format(*case): partial(_engine, nonlinearity, *case) for case in cases}


def _engine(nonlinearity: str, depth: int, dtype: str, weights: str, stage: str) -> Arrays:
    from replication.costs import LeastSquares
    from replication.network import Network
    from replication.randomness import generator
    from replication.revealed import rank, revealing
    from replication.tangent import tangent_kernel
    from replication.training import GradientDescent, GradientFlow
    from replication.weights import DeferredWeight, DenseWeight

    revealed = revealing(1e-2 if dtype == "float32" else 1e-4)
    draws = {"dense": DenseWeight.draw, "deferred": DeferredWeight.draw, "revealed": revealed}
    solvers: dict[str, Any] = {
        "flow1": GradientFlow(20.0, 2e-3, first_step=20.0),  # a first step that is rejected
        "flow2": GradientFlow(20.0, 2e-3, first_step=20.0, order=2),
        "descent": GradientDescent(0.1, 20),
    }

    network = Network.init(
        [N_0, *[WIDTHS[weights]] * (depth - 1), 1],
        generator=generator("golden", nonlinearity, depth),
        nonlinearity=nonlinearity,
        dtype=getattr(torch, dtype),
        weight=draws[weights],
    )
    points = torch.arange(1, N + PROBES + 1).outer(torch.arange(1, N_0 + 1)).double().cos()
    x, targets = points[:N], torch.arange(N).double().mul(3).cos()[:, None]
    arrays = {}
    if stage in solvers:
        states = solvers[stage].states(network, x, LeastSquares(targets))
        arrays["steps"] = np.array(sum(1 for _ in states) - 1)
    arrays["theta"] = tangent_kernel(network, points).numpy()
    arrays["f"] = network(points).double().numpy()
    if weights == "revealed":
        arrays["rank"] = np.array(rank(network.weights))
    return arrays


def groups() -> dict[str, Callable[[], Part]]:
    """The parts of the file by name."""
    parts: dict[str, Callable[[], Part]] = {f"engine/{name}": partial(of_engine, name) for name in SIGMAS}
    return parts | {name: partial(of_preset, name) for name in presets()}


def summary(values: np.ndarray) -> list[float]:
    """One or two values as they are; of more [size, root mean square, projection], of those that are finite."""
    flat = np.asarray(values, dtype=float).ravel()
    flat = flat[np.isfinite(flat)]
    if flat.size <= 2:
        return flat.tolist()
    vector = np.cos(1.0 + np.arange(flat.size))
    return [flat.size, math.sqrt(np.square(flat).mean()), float(flat @ vector) / math.sqrt(flat.size)]


def numbers(entries: dict[str, Callable[[], Arrays]]) -> Numbers:
    """The numbers of every entry, computed now."""
    return {
        entry: {
            name: summary(array) for name, array in compute().items() if name != "seed" and array.dtype.kind in "biuf"
        }
        for entry, compute in entries.items()
    }
