"""Figure 2 (paper §6.2): functions of trained networks on the unit circle, against the Gaussian law of the limit.

Least squares on four points x(γ) = (cos γ, sin γ), to t = 1000. Beside f_t, each network has its linearization in the
limit, A f_0 + m with the A and m of Θ_∞, whose law is known exactly, given the last hidden layer: a control variate,
which takes most of the noise out of what an ensemble says of the mean, the spread and the shape of the law of f_t.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...costs import LeastSquares
from ...datasets import angle_grid, circle
from ...limit import sigma_inf, theta_inf
from ...network import Network
from ...randomness import generator
from ...regression import Law, LeastSquaresFlow
from ...revealed import revealing
from ...study.experiment import blocks
from ...study.settings import NetworkConfig
from ...tangent import tangent_kernel
from ...training import DivergenceError, GradientDescent, GradientFlow, follow
from ...weights import DenseWeight
from .claims import CLAIMS
from .config import Config, DataConfig, TrainingConfig

__all__ = ["CLAIMS", "NAME", "VERSION", "Cell", "Config", "assemble", "cells", "compute", "metrics", "work"]

NAME = "fig2"
VERSION = 1
BATCHED, BLOCK_SIZES = 128, (100, 10)
"""Networks up to this width are one tensor program; networks of a cell, up to this width and above it."""
EARLY = 0.01
"""The part of the training time at which, for a control, training is looked at too."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A fixed block of networks of one kind and width: everything that determines their numbers.

    variant: main, trained; initial, at t = 0 only; estimate, whose own kernels estimate the limit's law, and whose
    weights are revealed, not formed.
    """

    variant: str
    width: int
    seeds: tuple[int, ...]
    network: NetworkConfig
    data: DataConfig
    training: TrainingConfig | None
    intervals: int

    @property
    def label(self) -> str:
        """What the cell is, for people."""
        return f"{self.variant}-n{self.width}-seed{self.seeds[0]}-{self.seeds[-1]}"


def cells(config: Config) -> list[Cell]:
    """The cells of a config, the narrow networks first."""
    found = []
    for (variant, width), seeds in _ensembles(config).items():
        size = BLOCK_SIZES[width > BATCHED]
        for block in blocks(range(seeds), size):
            cell = Cell(
                variant=variant,
                width=width,
                seeds=block,
                network=config.network,
                data=config.data,
                training=config.training if variant == "main" else None,
                intervals=config.intervals,
            )
            found.append(cell)
    return sorted(found, key=lambda cell: (cell.width, cell.variant, cell.seeds))


def _ensembles(config: Config) -> dict[tuple[str, int], int]:
    """(variant, width) → number of seeds."""
    found = {("main", width): seeds for width, seeds in zip(config.widths, config.seeds, strict=True)}
    for variant, ensemble in (
        ("initial", config.initial),
        ("estimate", config.estimate),
        ("estimate", config.narrow_estimate),
    ):
        found |= {(variant, width): ensemble.seeds for width in ensemble.widths}
    return found


def work(cell: Cell) -> float:
    """Relative cost of a cell: draws, products with n × n matrices, and overheads."""
    passes = 500.0 if cell.training is None else 3000.0
    if cell.training is not None and cell.training.solver == "gradient_descent":
        passes += 20.0 * cell.training.steps
    return len(cell.seeds) * (passes * cell.width**2 + 5e6)


class Problem:
    """The data and a grid of the circle, with the limit's law of f_t there at t = ∞ and other times."""

    def __init__(self, network: NetworkConfig, data: DataConfig, intervals: int):
        self.n = len(data.angles)
        self.angles = angle_grid(intervals)
        self.points = circle(torch.cat([torch.tensor(data.angles, dtype=torch.float64), self.angles]))
        self.x = self.points[: self.n]
        self.target = torch.tensor(data.targets, dtype=torch.float64)[:, None]
        self.network = network

    def flow(self, extra_layers: int = 0) -> LeastSquaresFlow:
        """The least-squares flow with Θ_∞, of the network's depth or a larger one."""
        return LeastSquaresFlow(self._limit(theta_inf, extra_layers)[:, : self.n], self.target)

    def sigma(self, extra_layers: int = 0) -> Tensor:
        """Σ, the covariance of f_0 in the limit, at all points."""
        return self._limit(sigma_inf, extra_layers)

    def posterior(self) -> Law:
        """The law of Bayesian inference: the Gaussian process of covariance Σ, given the targets."""
        sigma = self.sigma()
        return LeastSquaresFlow(sigma[:, : self.n], self.target).law(math.inf, sigma)

    def _limit(self, kernel: Callable[..., Tensor], extra_layers: int) -> Tensor:
        network = self.network
        depth = network.depth + extra_layers
        return kernel(self.points, depth=depth, nonlinearity=network.nonlinearity, beta=network.beta)

    def on_circle(self, law: Law) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation on the grid of angles, each (angle,)."""
        return law.mean[self.n :, 0].numpy(), law.sd[self.n :, 0].numpy()


def compute(cell: Cell, device: str = "cpu", progress: Callable[[float], None] = lambda fraction: None) -> xr.Dataset:
    """Train the networks of a cell, or estimate the limit from each; ``progress`` is told the fraction done.

    f (network, angle): f_t at the end; linear (network, angle): A f_0 + m; variance (network, angle): the conditional
    variance of linear given the last hidden layer, diag(A q Aᵀ), q = α α'/n + β²; at_data (network, stage, datum): f_t
    on the data at t = 0, early, and the end. Estimates: mean, sd (network, angle) of the law of f_∞ with the network's
    own Θ and q in the place of Θ_∞ and Σ. Raises DivergenceError, naming the cell.
    """
    problem = Problem(cell.network, cell.data, cell.intervals)
    batched = cell.width <= BATCHED and cell.variant != "estimate"
    groups: list[tuple[int, ...]] = [cell.seeds] if batched else [(seed,) for seed in cell.seeds]
    parts = []
    for i, seeds in enumerate(groups):
        kind = "estimate" if cell.variant == "estimate" else "network"
        streams = [generator(NAME, kind, cell.width, seed) for seed in seeds]
        network = cell.network.draw(
            2,
            cell.width,
            generator=streams if batched else streams[0],
            device=device,
            weight=revealing() if cell.variant == "estimate" else DenseWeight.draw,
        )
        try:
            part = _estimate(problem, network) if cell.variant == "estimate" else _train(problem, network, cell)
        except DivergenceError as error:
            raise DivergenceError(f"width {cell.width}, seeds {seeds[0]} … {seeds[-1]}: {error}", error.t) from error
        parts.append(part if batched else part.expand_dims("network"))
        progress((i + 1) / len(groups))
    return xr.concat(parts, dim="network").assign(seed=("network", list(cell.seeds)))


def _train(problem: Problem, network: Network, cell: Cell) -> xr.Dataset:
    n, training = problem.n, cell.training
    device = network.weights[0].device
    points, target = problem.points.to(device), problem.target.to(device)
    flow, end = problem.flow(), training.t if training else math.inf
    forward = network.forward(points)
    f_0, last = forward.output.double().cpu(), forward.activations[-1].double().cpu()
    linear = flow.f(end, f_0)[..., n:, 0]
    propagator = flow.propagator(end)[n:]
    variance = (propagator @ last).square().mean(dim=-1) + network.beta**2 * propagator.sum(dim=1).square()
    stages = torch.full((3, *f_0.shape[:-2], n), math.nan, dtype=torch.float64)
    stages[0] = f_0[..., :n, 0]
    f = torch.full_like(linear, math.nan)
    if training:
        cost = LeastSquares(target)
        if training.solver == "gradient_flow":
            states = GradientFlow(training.t, training.tolerance).states(network, points[:n], cost)
        else:
            states = GradientDescent(training.learning_rate, training.steps).states(network, points[:n], cost)
        stages = follow(states, [0.0, EARLY * training.t, training.t])[..., 0].cpu()
        f = network(points)[..., n:, 0].double().cpu()
    found = {
        "f": (("network", "angle"), f),
        "linear": (("network", "angle"), linear),
        "variance": (("network", "angle"), variance),
        "at_data": (("network", "stage", "datum"), stages.movedim(0, -2)),
    }
    shift = 1 - (f.ndim - 1)  # one network alone has no dimension of its own
    return xr.Dataset({name: (dims[shift:], v.numpy().astype(np.float32)) for name, (dims, v) in found.items()})


def _estimate(problem: Problem, network: Network) -> xr.Dataset:
    """The law of f_∞ from one network's kernels, as the paper estimates it."""
    device = network.weights[0].device
    theta = tangent_kernel(network, problem.points.to(device)).cpu()
    last = network.forward(problem.points.to(device)).activations[-1].double().cpu()
    sigma = last @ last.mT / last.shape[-1] + network.beta**2
    mean, sd = problem.on_circle(LeastSquaresFlow(theta[:, : problem.n], problem.target).law(math.inf, sigma))
    return xr.Dataset({"mean": ("angle", mean.astype(np.float32)), "sd": ("angle", sd.astype(np.float32))})


def assemble(config: Config, results: Sequence[tuple[Cell, xr.Dataset]]) -> xr.Dataset:
    """All networks along one dimension, the estimates along another, and the limit.

    law_mean, law_sd (law, angle): of f_∞ in the limit (limit), and for controls before training (prior), of Bayesian
    inference (posterior), and of one layer more (deeper); stage_mean, stage_sd (stage, angle): of f_t in the limit;
    extension (angle, datum): κ_xᵀK̃⁻¹, by which what is left on the data at time t is left on the circle.
    """
    ensembles = _ensembles(config)
    networks: list[xr.Dataset] = []
    estimates: list[xr.Dataset] = []
    for cell, dataset in results:
        wanted = dataset.isel(network=dataset.seed.values < ensembles[cell.variant, cell.width])
        size = wanted.sizes["network"]
        wanted = wanted.assign(variant=("network", [cell.variant] * size), width=("network", [cell.width] * size))
        (estimates if cell.variant == "estimate" else networks).append(wanted)
    found = xr.concat(networks, dim="network", join="exact", combine_attrs="drop")
    if estimates:
        joined = xr.concat(estimates, dim="network", join="exact", combine_attrs="drop").drop_vars("variant")
        joined = joined.rename({name: f"estimate_{name}" for name in ("mean", "sd", "width", "seed")})
        found = found.merge(joined.rename(network="estimate"))

    problem = Problem(config.network, config.data, config.intervals)
    flow, sigma = problem.flow(), problem.sigma()
    times = [0.0, EARLY * config.training.t, config.training.t]
    stages = [problem.on_circle(flow.law(t, sigma)) for t in times]
    laws = {
        "limit": problem.on_circle(flow.law(math.inf, sigma)),
        "prior": stages[0],
        "posterior": problem.on_circle(problem.posterior()),
        "deeper": problem.on_circle(problem.flow(1).law(math.inf, problem.sigma(1))),
    }
    extension = -flow.propagator(math.inf)[problem.n :, : problem.n]
    for name, pairs in (("law", list(laws.values())), ("stage", stages)):
        found[f"{name}_mean"] = ((name, "angle"), np.stack([mean for mean, _ in pairs]))
        found[f"{name}_sd"] = ((name, "angle"), np.stack([sd for _, sd in pairs]))
    found["extension"] = (("angle", "datum"), extension.numpy())
    found["target"] = ("datum", problem.target[:, 0].numpy())
    found = found.assign_coords(angle=problem.angles.numpy(), datum=config.data.angles, law=list(laws), stage=times)
    return found.assign_attrs(
        widths=sorted(config.widths),
        drawn=config.drawn,
        initial=sorted(config.initial.widths),
        estimate=max(config.estimate.widths, default=0),
        narrow_estimate=max(config.narrow_estimate.widths, default=0),
        network=asdict(config.network),
        training=asdict(config.training),
    )


def metrics(dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
    """Mean cost of the networks of each width, ½‖f_t − f*‖²_{p^in}, against time."""
    costs = np.square(dataset.at_data - dataset.target).mean(dim="datum") / 2
    for i, t in enumerate(dataset.stage.values):
        yield (
            float(t),
            {
                f"cost/n={width}": float(
                    costs[((dataset.width == width) & (dataset.variant == "main")).values, i].mean()
                )
                for width in dataset.attrs["widths"]
            },
        )
