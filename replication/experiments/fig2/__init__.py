"""Figure 2 (paper §6.2): functions of trained networks on the unit circle, against the Gaussian law of the limit.

Networks are trained by least squares on four points x(γ) = (cos γ, sin γ), to t = 1000. Beside f_t, each network has a
control variate: A f_0 + m with the A and m of Θ_∞. Given the last hidden layer its law is known exactly. It removes
most of the noise from an ensemble's mean, spread and shape of the law of f_t.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...costs import LeastSquares
from ...datasets import angle_grid, circle
from ...limit import sigma_inf, theta_inf
from ...network import Network
from ...regression import Law, LeastSquaresFlow
from ...revealed import revealing
from ...study.experiment import Cell, Ensemble, Experiment, Progress, silent
from ...study.settings import NetworkConfig
from ...tangent import tangent_kernel
from ...training import DivergenceError, GradientDescent, GradientFlow, follow
from ...weights import DenseWeight
from .claims import CLAIMS
from .config import Config, DataConfig, TrainingConfig

BATCHED, BLOCK_SIZES = 128, (100, 10)
"""Networks up to this width are one tensor program; numbers of networks in a cell, up to this width and above."""
EARLY = 0.01
"""An intermediate time, as a part of the training time, at which f is also recorded."""
THINNING = 2
"""The statistics use every so many of the angles at which the drawn networks are evaluated."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Networks of one width; 0 is the limit. training: None for t = 0 only.

    t: the time of training, at which the law of the limit is computed, too.
    """

    width: int
    network: NetworkConfig
    data: DataConfig
    training: TrainingConfig | None
    t: float
    intervals: int

    @property
    def work(self) -> float:
        """Relative cost of a network: drawing, products with n × n matrices, and a fixed overhead."""
        passes = 500.0 if self.training is None else 3000.0
        if self.training is not None and self.training.solver == "gradient_descent":
            passes += 20.0 * self.training.steps
        return passes * self.width**2 + 5e6


class Figure2(Experiment[Config, Setting]):
    """Trained networks (network), estimates of the limit from one wide network each (estimate), and the limit."""

    name = "fig2"
    version = 2
    config = Config
    claims = CLAIMS
    constants: ClassVar = {"batched": BATCHED, "early": EARLY}

    def ensembles(self, config: Config) -> Iterator[Ensemble[Setting]]:
        def setting(width: int, training: TrainingConfig | None = None) -> Setting:
            return Setting(
                width=width,
                network=config.network,
                data=config.data,
                training=training,
                t=config.training.t,
                intervals=config.intervals,
            )

        def networks(variant: str, width: int, seeds: int) -> Ensemble[Setting]:
            own = setting(width, config.training if variant == "main" else None)
            return Ensemble(
                labels={"variant": variant, "width": width} if variant != "estimate" else {"width": width},
                setting=own,
                seeds=range(seeds),
                block=BLOCK_SIZES[width > BATCHED],
                work=own.work,
                kind="estimate" if variant == "estimate" else "network",
            )

        for width, seeds in zip(config.widths, config.seeds, strict=True):
            yield networks("main", width, seeds)
        for width in config.initial.widths:
            yield networks("initial", width, config.initial.seeds)
        estimates: dict[int, int] = {}
        for asked in (config.estimate, config.narrow_estimate):
            estimates |= dict.fromkeys(asked.widths, asked.seeds)
        for width, seeds in estimates.items():
            yield networks("estimate", width, seeds)
        yield Ensemble(labels={}, setting=setting(0), seeds=(0,), kind="limit")

    def measure(self, cell: Cell[Setting], seed: int, device: str, progress: Progress) -> xr.Dataset:
        return self._measure(cell, (seed,), device)

    def compute(self, cell: Cell[Setting], device: str = "cpu", progress: Progress = silent) -> xr.Dataset:
        """Train the networks of a cell (narrow ones as one ensemble), or estimate the limit from each network.

        f (network, angle): f_t at the end; linear (network, angle): A f_0 + m; variance (network, angle): the
        conditional variance of linear given the last hidden layer, diag(A q Aᵀ), q = α α'/n + β²; at_data (network,
        stage, datum): f_t on the data at t = 0, at an early time, and at the end. Estimates: mean, sd (estimate, angle)
        of the law of f_∞ with the network's own Θ and q instead of Θ_∞ and Σ. The limit: see ``_limit``.
        """
        batched = cell.kind == "network" and cell.setting.width <= BATCHED
        if not batched or len(cell.seeds) == 1:
            return super().compute(cell, device, progress)
        try:
            return self._measure(cell, cell.seeds, device)
        except DivergenceError as error:
            raise DivergenceError(f"{cell.label}: {error}", error.t) from error

    def _measure(self, cell: Cell[Setting], seeds: tuple[int, ...], device: str) -> xr.Dataset:
        setting = cell.setting
        problem = Problem(setting.network, setting.data, setting.intervals)
        if cell.kind == "limit":
            return _limit(problem, setting)
        streams = [cell.stream(cell.kind, setting.width, seed) for seed in seeds]
        network = setting.network.draw(
            2,
            setting.width,
            generator=streams if len(streams) > 1 else streams[0],
            device=device,
            weight=revealing() if cell.kind == "estimate" else DenseWeight.draw,
        )
        return _estimate(problem, network) if cell.kind == "estimate" else train(problem, network, setting.training)

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """All networks along one dimension, all estimates along another, the functions for the figure, and the limit.

        curve (drawn, curve_angle): f_t of the networks in the figure, on a finer grid than that of the statistics.
        """
        limit = parts["limit"].isel(limit=0, drop=True).drop_vars("limit_seed", errors="ignore")
        networks = parts["network"]
        drawn = networks.isel(network=(networks.variant == "main") & (networks.seed < config.drawn))
        curves = {
            "curve": (("drawn", "curve_angle"), drawn.f.values),
            "curve_width": ("drawn", drawn.width.values),
            "curve_angle": limit.angle.values,
        }
        joined = networks.merge(limit)
        if "estimate" in parts:
            joined = joined.merge(parts["estimate"])
        return (
            joined.isel(angle=slice(None, None, THINNING))
            .assign(curves)
            .assign_attrs(
                widths=sorted(config.widths),
                drawn=config.drawn,
                initial=sorted(config.initial.widths),
                estimate=max(config.estimate.widths, default=0),
                narrow_estimate=max(config.narrow_estimate.widths, default=0),
                network=asdict(config.network),
                training=asdict(config.training),
            )
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """The cost ½‖f_t − f*‖²_{p^in}, averaged over the networks of each width, against time."""
        costs = np.square(dataset.at_data - dataset.target).mean(dim="datum") / 2
        main = {
            width: ((dataset.width == width) & (dataset.variant == "main")).values for width in dataset.attrs["widths"]
        }
        for i, t in enumerate(dataset.stage.values):
            yield float(t), {f"cost/n={width}": float(costs[chosen, i].mean()) for width, chosen in main.items()}


class Problem:
    """The data and a grid on the circle, with the law of f_t in the limit, at t = ∞ and other times."""

    def __init__(self, network: NetworkConfig, data: DataConfig, intervals: int):
        self.n = len(data.angles)
        self.angles = angle_grid(intervals)
        self.points = circle(torch.cat([torch.tensor(data.angles, dtype=torch.float64), self.angles]))
        self.x = self.points[: self.n]
        self.target = torch.tensor(data.targets, dtype=torch.float64)[:, None]
        self.network = network

    def flow(self, extra_layers: int = 0) -> LeastSquaresFlow:
        """The least-squares flow with Θ_∞ of the network's depth, plus extra layers."""
        return LeastSquaresFlow(self._limit(theta_inf, extra_layers)[:, : self.n], self.target)

    def sigma(self, extra_layers: int = 0) -> Tensor:
        """Σ, the covariance of f_0 in the limit, at all points."""
        return self._limit(sigma_inf, extra_layers)

    def posterior(self) -> Law:
        """The law of Bayesian inference: the Gaussian process with covariance Σ, conditioned on the targets."""
        sigma = self.sigma()
        return LeastSquaresFlow(sigma[:, : self.n], self.target).law(math.inf, sigma)

    def _limit(self, kernel: Callable[..., Tensor], extra_layers: int) -> Tensor:
        network = self.network
        depth = network.depth + extra_layers
        return kernel(self.points, depth=depth, nonlinearity=network.nonlinearity, beta=network.beta)

    def on_circle(self, law: Law) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation on the grid of angles, each (angle,)."""
        return law.mean[self.n :, 0].numpy(), law.sd[self.n :, 0].numpy()


def train(problem: Problem, network: Network, training: TrainingConfig | None) -> xr.Dataset:
    n = problem.n
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
    variables = {
        "f": (("network", "angle"), f),
        "linear": (("network", "angle"), linear),
        "variance": (("network", "angle"), variance),
        "at_data": (("network", "stage", "datum"), stages.movedim(0, -2)),
    }
    shift = 1 - (f.ndim - 1)  # a single network has no dimension for networks
    return xr.Dataset({name: (dims[shift:], v.numpy().astype(np.float32)) for name, (dims, v) in variables.items()})


def _estimate(problem: Problem, network: Network) -> xr.Dataset:
    """The law of f_∞ with one network's kernels, as the paper estimates it."""
    device = network.weights[0].device
    theta = tangent_kernel(network, problem.points.to(device)).cpu()
    last = network.forward(problem.points.to(device)).activations[-1].double().cpu()
    sigma = last @ last.mT / last.shape[-1] + network.beta**2
    mean, sd = problem.on_circle(LeastSquaresFlow(theta[:, : problem.n], problem.target).law(math.inf, sigma))
    return xr.Dataset(
        {"estimate_mean": ("angle", mean.astype(np.float32)), "estimate_sd": ("angle", sd.astype(np.float32))}
    )


def _limit(problem: Problem, setting: Setting) -> xr.Dataset:
    """Laws of the limit along the circle.

    law_mean, law_sd (law, angle): f_∞ in the limit (limit), and for controls: before training (prior), by Bayesian
    inference (posterior), and with one more layer (deeper); stage_mean, stage_sd (stage, angle): f_t in the limit;
    decay (law, datum, start): e^{−tΘ/N} at the early time, which maps f_0 − f* to f_t − f* on the data, for laws that
    have it; extension (angle, datum): κ_xᵀK̃⁻¹, which extends the remaining error on the data to the circle.
    """
    flow, sigma = problem.flow(), problem.sigma()
    deeper, deeper_sigma = problem.flow(1), problem.sigma(1)
    times = [0.0, EARLY * setting.t, setting.t]
    stages = [problem.on_circle(flow.law(t, sigma)) for t in times]
    laws = {
        "limit": problem.on_circle(flow.law(math.inf, sigma)),
        "prior": stages[0],
        "posterior": problem.on_circle(problem.posterior()),
        "deeper": problem.on_circle(deeper.law(math.inf, deeper_sigma)),
    }
    n, early = problem.n, times[1]
    decay = {
        "limit": flow.propagator(early)[:n, :n].numpy(),
        "prior": np.eye(n),
        "posterior": np.full((n, n), math.nan),
        "deeper": deeper.propagator(early)[:n, :n].numpy(),
    }
    extension = -flow.propagator(math.inf)[n:, :n]
    curves: dict[str, tuple[tuple[str, str], np.ndarray]] = {}
    for name, pairs in (("law", list(laws.values())), ("stage", stages)):
        curves[f"{name}_mean"] = ((name, "angle"), np.stack([mean for mean, _ in pairs]))
        curves[f"{name}_sd"] = ((name, "angle"), np.stack([sd for _, sd in pairs]))
    return xr.Dataset(
        curves
        | {
            "decay": (("law", "datum", "start"), np.stack([decay[name] for name in laws])),
            "extension": (("angle", "datum"), extension.numpy()),
            "target": ("datum", problem.target[:, 0].numpy()),
        },
        coords={"angle": problem.angles.numpy(), "datum": setting.data.angles, "law": list(laws), "stage": times},
    )


EXPERIMENT = Figure2()
