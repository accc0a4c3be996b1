"""Remark 1 (paper §2): the NTK parametrization beside the usual one, and what β and the factors 1/√n_l do.

Three kinds of networks: some trained beside their counterparts in the usual parametrization, with the rates that make
the two the same (map); some beside usual networks with one rate for all parameters, as the paper compares them
(classical); and wide ones at initialization, of which the parts of the kernel are wanted (kernel).
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace

import xarray as xr

from ...limit import limit
from ...study.experiment import blocks
from ...study.settings import NetworkConfig
from ...study.statistics import geometric
from ...training import DivergenceError
from .claims import CLAIMS, RUNS, compared, initial, share, usual_share
from .config import NAME, Cell, Config
from .measurements import compare, draw, map_to_usual, parts, problem

__all__ = ["CLAIMS", "NAME", "VERSION", "Cell", "Config", "assemble", "cells", "compute", "metrics", "work"]

VERSION = 1
BLOCK_SIZES = {"map": 2, "classical": 10, "kernel": 20}
"""Networks of a cell."""
DIMENSIONS = {"map": "mapped", "classical": "compared", "kernel": "initial"}
"""The dimension along which the networks of each kind are joined."""


def cells(config: Config) -> list[Cell]:
    """The cells of a config, the quick ones first."""
    found = []
    for cell, seeds in _ensembles(config):
        found += [replace(cell, seeds=block) for block in blocks(range(seeds), BLOCK_SIZES[cell.kind])]
    return sorted(found, key=lambda cell: (work(cell) / len(cell.seeds), cell.label, cell.seeds))


def _ensembles(config: Config) -> Iterator[tuple[Cell, int]]:
    """A cell of no seeds for each kind of network, with how many seeds are wanted."""
    hidden = config.network.depth - 1
    base = Cell(kind="", hidden=(), n_0=2, seeds=(), network=config.network, n_samples=config.n_samples)
    for widths in config.map.hidden:
        for sigma in config.map.nonlinearities:
            for beta in config.map.betas:
                network = replace(config.network, nonlinearity=sigma, beta=beta)
                cell = replace(base, kind="map", hidden=tuple(widths), network=network, trained=True)
                cell = replace(cell, learning_rate=config.map.learning_rate, steps=config.map.steps)
                yield cell, config.map.seeds
    sizes = {(width, 2) for width in config.classical.widths} | {(config.width, n_0) for n_0 in config.classical.inputs}
    for width, n_0 in sorted(sizes):
        named = width == config.width
        network = replace(config.network, beta=config.network.beta if named else width**-0.5)
        cell = replace(base, kind="classical", hidden=(width,) * hidden, n_0=n_0, network=network)
        cell = replace(cell, learning_rate=config.classical.learning_rate, steps=config.classical.steps)
        yield replace(cell, trained=named and n_0 == 2), config.classical.seeds
    for width, seeds in zip(config.kernel.widths, config.kernel.seeds, strict=True):
        cell = replace(base, kind="kernel", hidden=(width,) * hidden, betas=tuple(sorted(config.kernel.betas)))
        yield cell, seeds


def work(cell: Cell) -> float:
    """Relative cost of a cell: steps of all runs, or draws and the passes of each β."""
    steps = (1 + len(RUNS)) * cell.steps if cell.trained else 20
    return len(cell.seeds) * steps * (max(cell.hidden) ** 2 + 5e4)


def compute(cell: Cell, device: str = "cpu", progress: Callable[[float], None] = lambda fraction: None) -> xr.Dataset:
    """What ``map_to_usual``, ``compare`` or ``parts`` measure on each network of a cell, by its kind.

    Raises DivergenceError, naming the cell and the seed.
    """
    measure = {"map": map_to_usual, "classical": compare, "kernel": parts}[cell.kind]
    found = []
    for i, seed in enumerate(cell.seeds):
        try:
            found.append(measure(cell, draw(cell, seed, device)))
        except DivergenceError as error:
            raise DivergenceError(f"{cell.label}, seed {seed}: {error}", error.t) from error
        progress((i + 1) / len(cell.seeds))
    dimension = DIMENSIONS[cell.kind]
    return xr.concat(found, dim=dimension).assign({f"{dimension}_seed": (dimension, list(cell.seeds))})


def share_inf(network: NetworkConfig, beta: float) -> float:
    """Part of Θ_∞(x, x) that is due to the biases, β² Σ_l Π_{k>l} Σ̇⁽ᵏ⁾ over Θ_∞, at the inputs of ``problem``."""
    kernels = limit(problem(2, 2)[0][:1], depth=network.depth, nonlinearity=network.nonlinearity, beta=beta)
    slopes = kernels.sigma_dot[1:].flatten().tolist()
    products = sum(math.prod(slopes[l:]) for l in range(network.depth))
    return beta**2 * float(products) / float(kernels.theta_inf)


def assemble(config: Config, results: Sequence[tuple[Cell, xr.Dataset]]) -> xr.Dataset:
    """The networks of each kind along a dimension of their own: mapped, compared, initial."""
    wanted = {"map": config.map.seeds, "classical": config.classical.seeds}
    widest = dict(zip(config.kernel.widths, config.kernel.seeds, strict=True))
    groups: dict[str, list[xr.Dataset]] = {kind: [] for kind in DIMENSIONS}
    for cell, dataset in results:
        dimension = DIMENSIONS[cell.kind]
        seeds = wanted[cell.kind] if cell.kind in wanted else widest[cell.hidden[0]]
        kept = dataset.isel({dimension: dataset[f"{dimension}_seed"].values < seeds})
        names = {
            "width": max(cell.hidden),
            "hidden": "-".join(map(str, cell.hidden)),
            "n_0": cell.n_0,
            "beta": cell.network.beta,
            "sigma": cell.network.nonlinearity,
        }
        labels = {f"{dimension}_{name}": (dimension, [value] * kept.sizes[dimension]) for name, value in names.items()}
        groups[cell.kind].append(kept.assign(labels))
    joined = [
        xr.concat(parts, dim=DIMENSIONS[kind], join="exact", combine_attrs="drop") for kind, parts in groups.items()
    ]
    betas = sorted(config.kernel.betas)
    return xr.merge(joined, combine_attrs="drop").assign_attrs(
        network=asdict(config.network),
        width=config.width,
        widths=sorted(config.kernel.widths),
        compared=sorted(config.classical.widths),
        inputs=sorted(config.classical.inputs),
        betas=betas,
        share_inf=[share_inf(config.network, beta) for beta in betas],
        learning_rate=config.classical.learning_rate,
    )


def metrics(dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
    """Share of the biases in Θ for each β, λ_max in both parametrizations, and the ratio of speeds, against n."""
    beta = dataset.attrs["network"]["beta"]
    for width in sorted({*dataset.attrs["widths"], *dataset.attrs["compared"]}):
        found = {}
        if width in dataset.attrs["widths"]:
            for value in dataset.attrs["betas"]:
                found[f"bias_share/beta={value}"] = float(share(initial(dataset, width, value)).mean())
            networks = initial(dataset, width, beta)
            found["bias_share/usual"] = float(usual_share(networks).mean())
            found["lambda_max/ntk"] = geometric(networks.largest.values)
            found["lambda_max/usual"] = geometric(networks.largest_usual.values)
        if width in dataset.attrs["compared"]:
            networks = compared(dataset, width, 2)
            found |= {f"speed_ratio/{run}": float(2 ** networks.doublings.sel(run=run).mean()) for run in RUNS}
        yield float(width), found
