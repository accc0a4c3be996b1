"""Revealed weights beside dense ones, against the width."""

from collections.abc import Iterator
from functools import partial

from torch import Tensor

from replication.datasets import gaussian
from replication.network import Network
from replication.randomness import generator
from replication.revealed import revealing
from replication.study.machine import free_memory
from replication.study.statistics import exponent
from replication.tangent import tangent_kernel
from replication.weights import DenseWeight, WeightDraw

from . import harness
from .harness import NOTHING, Row, race

SETTLED = 10_000  # below this width the number of calls dominates the time
_revealed: dict[int, Row] = {}
"""The rows of ``revealed`` so far, by width."""


def revealed(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """Drawing [2, n, n, n, 1] and its NTK, revealed and dense (where it fits); exponents over the two decades to n"""
    fits = 16 * n**2 < free_memory("cpu")  # two hidden matrices, with room to work
    ways = {"revealed": revealing(), **({"dense": DenseWeight.draw} if fits else {})}
    times = race({name: partial(initial_kernel, n, n_inputs, weight) for name, weight in ways.items()}, repeats)
    row: Row = {}
    for name in ("revealed", "dense"):
        row[f"{name} s"] = times.get(name, NOTHING)
        row[f"{name} MiB"] = NOTHING
        if name in ways:
            row[f"{name} MiB"] = max(0.01, (harness.peak_of(name, n, n_inputs) - harness.peak_of(name, 8, 1)) / 2**20)
    _revealed[n] = row
    widths = sorted(width for width in _revealed if n / 100 <= width <= n)
    known = len(widths) > 2 and widths[0] == n / 100 >= SETTLED
    for column in ("revealed s", "revealed MiB"):
        values = [_revealed[width][column] for width in widths]
        row[f"exponent({column.split()[-1]})"] = exponent(widths, values, [1] * len(widths)) if known else NOTHING
    yield row


def initial_kernel(n: int, n_inputs: int, weight: WeightDraw) -> Tensor:
    """Draw the network of Figure 1 and compute its NTK on N inputs."""
    network = Network.init([2, n, n, n, 1], generator=generator("revealed", n), weight=weight)
    return tangent_kernel(network, gaussian(n_inputs, 2, generator("fig1", "sample", 0)))
