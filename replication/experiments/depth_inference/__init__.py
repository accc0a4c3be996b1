"""Which depth, pixel scaling and nonlinearity do the three eigenvalues of the paper's §6.3 come from?

The paper states λ_1, λ_2, λ_3 of Θ⁽ᴸ⁾/N for 512 MNIST digits, from one network of width 10000, but neither L nor the
scaling of the pixels. For every hypothesis: the eigenvalues of Θ_∞/N over many batches of digits, and how those of one
finite network differ from them on the same batch.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
import xarray as xr
from scipy.sparse.linalg import eigsh

from ...datasets import mnist
from ...limit import limit
from ...network import Network
from ...randomness import generator
from ...study.experiment import blocks
from ...tangent import tangent_kernel
from .claims import CLAIMS
from .config import SOURCE_SIZE, Config
from .nonlinearity import NONLINEARITIES
from .statistics import COMPONENTS, OBSERVED, ROUNDING, networks_of, reference_index

__all__ = ["CLAIMS", "NAME", "VERSION", "Cell", "Config", "assemble", "cells", "compute", "metrics", "work"]

NAME = "depth_inference"
VERSION = 1
BLOCK_SIZE = 5
"""Batches to a cell."""
HELD_OUT = 1_000_000
"""Seeds from here on are those of the batches and networks that are held out."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A fixed block of batches under one scaling and nonlinearity, at every depth: everything that fixes its numbers.

    seeds: of the batches, and of the networks, one on each; no width: the limit, with the power iteration's steps.
    """

    scaling: str
    nonlinearity: str
    depths: tuple[int, ...]
    width: int | None
    seeds: tuple[int, ...]
    n_samples: int
    beta: float
    dtype: str
    power_steps: int

    @property
    def label(self) -> str:
        """What the cell is, for people."""
        kind = "limit" if self.width is None else f"n{self.width}"
        return f"{kind}-{self.scaling}-{self.nonlinearity}-seed{self.seeds[0]}-{self.seeds[-1]}"


def cells(config: Config) -> list[Cell]:
    """The cells of a config: the limit, then the networks, the narrow ones first."""
    reference = _reference(config)
    every = [(scaling, sigma) for scaling in config.scalings for sigma in config.nonlinearities]
    others = [hypothesis for hypothesis in every if hypothesis != reference]
    held_out = range(HELD_OUT, HELD_OUT + config.held_out.seeds)
    more = config.reference_networks
    wanted: list[tuple[int | None, list[tuple[str, str]], range]] = [
        (None, others, range(config.batches)),
        (None, [reference], range(config.reference_batches)),
        (None, [reference], held_out),
        (config.networks.width, every, range(config.networks.seeds)),
        *((width, [reference], range(more.seeds)) for width in more.widths),
        (config.held_out.width, [reference], held_out),
    ]
    return [
        Cell(
            scaling=scaling,
            nonlinearity=sigma,
            depths=tuple(sorted(config.depths)),
            width=width,
            seeds=block,
            n_samples=config.n_samples,
            beta=config.beta,
            dtype="float64" if width is None else config.dtype,
            power_steps=config.power_steps if width is None else 0,
        )
        for width, hypotheses, seeds in wanted
        for scaling, sigma in hypotheses
        for block in blocks(seeds, BLOCK_SIZE)
    ]


def work(cell: Cell) -> float:
    """Relative cost of a cell, for the time left: the recursion, or draws, products and Gram matrices."""
    n, pairs = cell.n_samples, cell.n_samples**2
    if cell.width is None:
        return len(cell.seeds) * max(cell.depths) * pairs * 70.0
    layers = sum(cell.depths)
    return len(cell.seeds) * layers * (cell.width**2 * (30 + n / 10) + cell.width * pairs / 10)


def compute(cell: Cell, device: str = "cpu", progress: Callable[[float], None] = lambda fraction: None) -> xr.Dataset:
    """The three largest eigenvalues of Θ/N on each batch; ``progress`` is told the fraction done.

    eigenvalues (batch, depth, component); for the limit, where all depths are one recursion, also stopped: those that
    a power iteration of ``power_steps`` steps a component finds.
    """
    sigma = NONLINEARITIES[cell.nonlinearity]
    shape = (len(cell.seeds), len(cell.depths), COMPONENTS)
    eigenvalues, stopped = np.full(shape, np.nan), np.full(shape, np.nan)
    for i, seed in enumerate(cell.seeds):
        x = mnist(cell.n_samples, seed, scaling=cell.scaling).images.to(device)
        if cell.width is None:
            theta = limit(x, depth=max(cell.depths), nonlinearity=sigma, beta=cell.beta).theta
        for j, depth in enumerate(cell.depths):
            if cell.width is None:
                kernel = theta[depth - 1]
                stream = generator(NAME, "power iteration", depth, seed)
                stopped[i, j] = _power_iteration(kernel.cpu() / cell.n_samples, cell.power_steps, stream)
            else:
                network = Network.init(
                    [x.shape[1], *[cell.width] * (depth - 1), 1],
                    generator=generator(NAME, "network", depth, cell.width, seed),
                    nonlinearity=sigma,
                    beta=cell.beta,
                    dtype=torch.float32 if cell.dtype == "float32" else torch.float64,
                    device=device,
                )
                kernel = tangent_kernel(network, x)
            eigenvalues[i, j] = _largest(kernel.cpu().numpy() / cell.n_samples)
            progress((i + (j + 1) / len(cell.depths)) / len(cell.seeds))
    found = xr.Dataset({"eigenvalues": (("batch", "depth", "component"), eigenvalues)})
    if cell.width is None:
        found["stopped"] = (("batch", "depth", "component"), stopped)
    return found.assign_coords(batch=list(cell.seeds), depth=list(cell.depths))


def _largest(matrix: np.ndarray) -> np.ndarray:
    """The largest eigenvalues, descending: by Lanczos iteration, which takes a tenth of the time of all 512."""
    found = eigsh(matrix, COMPONENTS, v0=np.ones(len(matrix)), tol=1e-10, return_eigenvectors=False)
    descending: np.ndarray = np.sort(found)[::-1]
    return descending


def _power_iteration(matrix: torch.Tensor, steps: int, stream: torch.Generator) -> np.ndarray:
    """Rayleigh quotients after so many steps of power iteration for each component, orthogonal to those before."""
    basis = torch.zeros(0, len(matrix), dtype=torch.float64)
    quotients = []
    for start in torch.randn(COMPONENTS, len(matrix), generator=stream, dtype=torch.float64):
        v = start
        for _ in range(steps):
            v = matrix @ v
            v = v - (basis @ v) @ basis
            v = v / v.norm()
        quotients.append(float(v @ (matrix @ v)))
        basis = torch.cat([basis, v[None]])
    return np.array(quotients)


def assemble(config: Config, results: Sequence[tuple[Cell, xr.Dataset]]) -> xr.Dataset:
    """Every hypothesis's eigenvalues, and the paper's: what the figures and the claims read.

    limit (batch, depth, scaling, nonlinearity, component): λ_i of Θ_∞/N; network (seed, …): of one network on each of
    the first batches; reference_limit (reference_batch, depth, component) and reference_network (reference_seed,
    width, depth, component): more of both at the reference's scaling and nonlinearity; held_out and held_out_limit
    (sample, depth, component), likewise; stopped (reference_batch, component): of the early-stopped power iteration
    at the reference; observed and rounding (component): the paper's numbers, half a unit of their last digits.
    """
    found: dict[tuple[str, str, int | None, int], np.ndarray] = {}
    stopped: dict[tuple[str, str, int | None, int], np.ndarray] = {}
    for cell, dataset in results:
        key = (cell.scaling, cell.nonlinearity, cell.width)
        found |= {(*key, seed): values for seed, values in zip(cell.seeds, dataset.eigenvalues.values, strict=True)}
        if cell.width is None:
            at_depth = dataset.stopped.sel(depth=config.reference.depth).values
            stopped |= {(*key, seed): values for seed, values in zip(cell.seeds, at_depth, strict=True)}
    reference, held_out = _reference(config), range(HELD_OUT, HELD_OUT + config.held_out.seeds)
    batches, seeds = range(config.reference_batches), range(config.reference_networks.seeds)
    widths, depths = sorted(config.reference_networks.widths), sorted(config.depths)

    def values(width: int | None, wanted: range, hypothesis: tuple[str, str] = reference) -> np.ndarray:
        """(seeds, depth, component)."""
        return np.stack([found[*hypothesis, width, seed] for seed in wanted]).astype(np.float32)

    def every(width: int | None, wanted: range) -> np.ndarray:
        """(seeds, depth, scaling, nonlinearity, component)."""
        grid = [[values(width, wanted, (k, m)) for m in config.nonlinearities] for k in config.scalings]
        return np.moveaxis(np.array(grid), (0, 1), (2, 3))

    power = np.stack([stopped[*reference, None, seed] for seed in batches])
    hypothesis = ("depth", "scaling", "nonlinearity", "component")
    return xr.Dataset(
        {
            "limit": (("batch", *hypothesis), every(None, range(config.batches))),
            "network": (("seed", *hypothesis), every(config.networks.width, range(config.networks.seeds))),
            "reference_limit": (("reference_batch", "depth", "component"), values(None, batches)),
            "reference_network": (
                ("reference_seed", "width", "depth", "component"),
                np.stack([values(width, seeds) for width in widths], axis=1),
            ),
            "stopped": (("reference_batch", "component"), power.astype(np.float32)),
            "held_out": (("sample", "depth", "component"), values(config.held_out.width, held_out)),
            "held_out_limit": (("sample", "depth", "component"), values(None, held_out)),
            "observed": ("component", list(OBSERVED)),
            "rounding": ("component", list(ROUNDING)),
        },
        coords={
            "depth": depths,
            "scaling": config.scalings,
            "nonlinearity": config.nonlinearities,
            "width": widths,
        },
        attrs={
            "reference": asdict(config.reference),
            "paper_width": config.width,
            "network_width": config.networks.width,
            "held_out_width": config.held_out.width,
            "n_samples": config.n_samples,
            "source_size": SOURCE_SIZE,
            "power_steps": config.power_steps,
        },
    )


def _reference(config: Config) -> tuple[str, str]:
    return config.reference.scaling, config.reference.nonlinearity


def metrics(dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
    """Bias and spread of ln λ_i of one network against its width, at the reference."""
    depth, _, _ = reference_index(dataset)
    for width, deviations in networks_of(dataset).items():
        values = zip(deviations[:, depth].mean(axis=0), deviations[:, depth].std(axis=0), strict=True)
        for i, (bias, sd) in enumerate(values, 1):
            yield float(width), {f"bias/ln lambda_{i}": float(bias), f"sd/ln lambda_{i}": float(sd)}
