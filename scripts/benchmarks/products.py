"""Products with an n × n matrix, and the gradient step that consists of them."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from replication.training import GradientDescent
from replication.weights import DenseWeight

from . import harness
from .figure_1 import NO_CHANGE, figure_1, tensors
from .harness import Row, Work, race


def ways(matrix: Tensor, n_inputs: int) -> dict[str, dict[str, Work]]:
    """Product with a square matrix W → way to compute it → the work. V is (N, n), stored by rows and by columns."""
    n = len(matrix)
    weight = DenseWeight(matrix)
    v = torch.randn(n_inputs, n)
    columns = v.mT.contiguous()

    def blocks(right: Tensor, size: int) -> Tensor:
        out = torch.empty(n_inputs, n)
        for start in range(0, n, size):
            torch.mm(v, right[:, start : start + size], out=out[:, start : start + size])
        return out

    def column_blocks(right: Tensor, size: int) -> Tensor:
        out = torch.empty(n, n_inputs)
        for start in range(0, n, size):
            torch.mm(right[:, start : start + size].mT, columns, out=out[start : start + size])
        return out

    def update(size: int) -> None:
        for start in range(0, n, size):
            matrix[start : start + size].addmm_(v[:, start : start + size].mT, v, alpha=NO_CHANGE)

    def update_columns(size: int) -> None:
        for start in range(0, n, size):
            matrix[start : start + size].addmm_(columns[start : start + size], columns.mT, alpha=NO_CHANGE)

    ways: dict[str, dict[str, Work]] = {}
    for name, right, used in (("V Wᵀ", matrix.mT, weight.apply), ("V W", matrix, weight.apply_transpose)):
        ways[name] = {"whole": partial(torch.mm, v, right), "by columns": partial(torch.mm, right.mT, columns)}
        ways[name] |= {f"blocks of {size}": partial(blocks, right, size) for size in (500, 1000, 2000)}
        ways[name] |= {f"by columns, {size}": partial(column_blocks, right, size) for size in (1000, 2000)}
        ways[name]["DenseWeight"] = partial(used, v)
    ways["W += VᵀV"] = {
        "whole": partial(matrix.addmm_, v.mT, v, alpha=NO_CHANGE),
        "by columns": partial(matrix.addmm_, columns, columns.mT, alpha=NO_CHANGE),
        **{f"blocks of {size}": partial(update, size) for size in (500, 1000, 2000)},
        **{f"by columns, {size}": partial(update_columns, size) for size in (1000, 2000)},
        "DenseWeight": partial(weight.update, v, v, NO_CHANGE),
    }
    return ways


def products(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """GFLOP/s of products with W (n × n), V (N × n)"""
    for name, works in ways(torch.randn(n, n), n_inputs).items():
        rates = {way: 2e-9 * n**2 * n_inputs / seconds for way, seconds in race(works, repeats).items()}
        best = max(rate for way, rate in rates.items() if way != "DenseWeight")
        yield {"product": name, **rates, "ratio": rates["DenseWeight"] / best}


def step(n: int, n_inputs: int, repeats: int) -> Iterator[Row]:
    """GFLOP/s of a gradient step, over its 6 wide products; peak memory = a × parameters + b × nN floats"""
    peak, least = (harness.peak_of("step", n, size) - harness.peak_of("step", 8, 1) for size in (n_inputs, 1))
    network, x, cost = figure_1(n, n_inputs)
    wide = ways(tensors(network)[1], n_inputs)
    plain = {f"{name}, {way}": wide[name][way] for name in wide for way in wide[name] if way != "DenseWeight"}
    states = GradientDescent(1e-3, repeats + 1).states(network, x, cost)
    next(states)  # from here to the next state: backward pass, update, forward pass
    times = race({"step": partial(next, states), **plain}, repeats)
    best_of_each = [min(times[way] for way in plain if way.startswith(f"{name},")) for name in wide]
    flops = 2e-9 * n**2 * n_inputs
    yield {
        "step": 6 * flops / times["step"],
        "best product": flops / min(best_of_each),
        "ratio": 6 * min(best_of_each) / times["step"],
        "to the best of each product": 2 * sum(best_of_each) / times["step"],
        "peak MiB": peak / 2**20,
        "a": least / (4 * network.num_parameters),
        "b": (peak - least) / (4 * n * max(1, n_inputs - 1)),
    }
