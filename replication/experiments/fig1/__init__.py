"""Figure 1 (paper §6.1): the NTK of finite networks at initialization and after training, along the unit circle.

Θ⁽ᴸ⁾(x_0, x(γ)) with x_0 = (1, 0) and x(γ) = (cos γ, sin γ), at t = 0 and after least-squares training to t = 200 on
f*(x) = x_1 x_2 at N(0, I_2) inputs, for independent initializations at each width.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import count

import numpy as np
import torch
import xarray as xr

from ...costs import LeastSquares
from ...datasets import angle_grid, circle, gaussian
from ...limit import theta_inf
from ...network import Network
from ...randomness import generator
from ...study.experiment import blocks
from ...study.settings import NetworkConfig
from ...tangent import tangent_kernel
from ...training import DivergenceError, GradientDescent, GradientFlow, State
from .claims import CLAIMS
from .config import Config, TrainingConfig
from .statistics import select

__all__ = ["CLAIMS", "NAME", "VERSION", "Cell", "Config", "assemble", "cells", "compute", "metrics", "work"]

NAME = "fig1"
VERSION = 1
TIMES = 41
"""Points of the grid of times at which the cost is recorded."""
BLOCK_SIZE, INITIAL_SIZE, BLOCK_WIDTH = 10, 30, 2000
"""Networks up to this width are computed and stored this many at a time; more where they are not trained."""


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A fixed block of networks of one kind and width: everything that determines their numbers."""

    variant: str
    width: int
    seeds: tuple[int, ...]
    network: NetworkConfig
    training: TrainingConfig | None
    intervals: int

    @property
    def label(self) -> str:
        """What the cell is, for people."""
        seeds = f"{self.seeds[0]}-{self.seeds[-1]}" if len(self.seeds) > 1 else f"{self.seeds[0]}"
        return f"{self.variant}-n{self.width}-seed{seeds}"


def cells(config: Config) -> list[Cell]:
    """The cells of a config, the narrow ones first.

    Above ``BLOCK_WIDTH`` each network is a cell.
    """
    found = []
    for (variant, width), seeds in _ensembles(config).items():
        size = 1 if width > BLOCK_WIDTH else INITIAL_SIZE if variant == "initial" else BLOCK_SIZE
        for block in blocks(seeds, size):
            cell = Cell(
                variant=variant,
                width=width,
                seeds=block,
                network=config.network,
                training=_training(config, variant),
                intervals=config.intervals,
            )
            found.append(cell)
    return sorted(found, key=lambda cell: (cell.width, cell.variant, cell.seeds))


def _ensembles(config: Config) -> dict[tuple[str, int], set[int]]:
    """The networks of a config: (variant, width) → seeds."""
    narrow = min(config.widths)
    alternative_seeds = set(range(config.alternative_seeds))
    found = {("main", width): set(config.seeds) for width in config.widths}
    for width in config.trend.widths:
        found["main", width] = found.get(("main", width), set()) | set(range(config.trend.seeds))
    found["main", narrow] |= set(range(config.narrow_seeds)) | alternative_seeds
    found |= {(name, narrow): alternative_seeds for name in config.alternatives}
    for variant, ensemble in (("initial", config.initial), ("mean_field", config.mean_field)):
        found |= {(variant, width): set(range(ensemble.seeds)) for width in ensemble.widths}
    return found


def _training(config: Config, variant: str) -> TrainingConfig | None:
    """Alternatives change what they name; the mean-field control always flows, with steps that fit its longer time."""
    if variant == "initial":
        return None
    if variant == "mean_field":
        tolerance = config.mean_field.tolerance
        return replace(
            config.training, solver="gradient_flow", tolerance=tolerance, fresh_inputs=False, normalize_hidden=False
        )
    return replace(config.training, **config.alternatives.get(variant, {}))


def work(cell: Cell) -> float:
    """Relative cost of a cell, for the time left: draws, products with n × n matrices, and overheads."""
    training = cell.training
    passes = 1000.0 * cell.width**2
    if training is not None:
        flow_steps = 50 if cell.variant == "mean_field" else 10
        steps = training.steps if training.solver == "gradient_descent" else flow_steps
        passes += steps * (3 * cell.width**2 * training.n_samples + 3e7)
    return len(cell.seeds) * passes


def compute(cell: Cell, device: str = "cpu", progress: Callable[[float], None] = lambda fraction: None) -> xr.Dataset:
    """Θ along the circle before and after training each network; ``progress`` is told the fraction done.

    theta (network, time, angle): Θ(x_0, x(γ)); theta_rotated (network, turn, angle): Θ before training along the circle
    turned by quarters, Θ(x(φ), x(φ + γ)), whose law is that of φ = 0 because the weights are Gaussian; cost
    (network, t); steps (network). In the mean-field scaling the whole output is × n^{−1/2} and time × n; Θ is given per
    unit of that time, × n. Raises DivergenceError, naming width, seed and time, if the training diverges.
    """
    found = []
    for i, seed in enumerate(cell.seeds):
        try:
            found.append(_train(cell, seed, device, lambda fraction: progress((i + fraction) / len(cell.seeds))))  # noqa: B023
        except DivergenceError as error:
            raise DivergenceError(f"{cell.variant}, width {cell.width}, seed {seed}: {error}", error.t) from error
    return xr.concat(found, dim="network").assign(seed=("network", list(cell.seeds)))


def _train(cell: Cell, seed: int, device: str, progress: Callable[[float], None]) -> xr.Dataset:
    speed = cell.width if cell.variant == "mean_field" else 1
    stream = generator(NAME, "network", cell.width, seed)
    network = cell.network.draw(2, cell.width, generator=stream, device=device, output_scale=speed**-0.5)
    angles = angle_grid(cell.intervals)
    quarter = cell.intervals // 4

    def turned(turns: int) -> np.ndarray:
        """Θ(x(φ), x(φ + γ)) for φ = 0, π/2, …: (turns, angles)."""
        # The first and the last angle are the same point: one of them is enough.
        kernel = speed * tangent_kernel(network, circle(angles[:-1])).cpu().numpy()
        if not np.isfinite(kernel).all():
            raise DivergenceError("the NTK is not finite", math.nan)
        rows = [(2 * quarter + turn * quarter) % cell.intervals for turn in range(turns)]
        circles = np.stack([np.roll(kernel[row], 2 * quarter - row) for row in rows])
        return np.concatenate([circles, circles[:, :1]], axis=1)

    before = turned(4)
    after = np.full_like(before[0], np.nan)
    end = cell.training.t if cell.training else math.nan
    times = np.linspace(0, end, TIMES)
    costs: list[float] = []
    steps = 0
    if cell.training:
        for state in _states(cell.training, cell.width, seed, network, speed):
            t = state.t / speed
            steps += t > 0
            while len(costs) < TIMES and times[len(costs)] <= t * (1 + 1e-9):
                costs.append(state.cost_at(times[len(costs)] * speed))
            progress(t / end)
        after = turned(1)[0]
    return xr.Dataset(
        {
            "theta": (("time", "angle"), np.stack([before[0], after]).astype(np.float32)),
            "theta_rotated": (("turn", "angle"), before.astype(np.float32)),
            "cost": ("t", costs or np.full(TIMES, np.nan)),
            "steps": ((), steps),
        },
        coords={"angle": angles.numpy()},
    )


def assemble(config: Config, results: Sequence[tuple[Cell, xr.Dataset]]) -> xr.Dataset:
    """The networks' kernels along one dimension, with the limit: what the figures and the claims read.

    theta (network, time, angle); theta_inf (depth, angle) at depth L and, for a control, L + 1; cost (network, t).
    """
    ensembles = _ensembles(config)
    parts = []
    for cell, dataset in results:
        wanted = dataset.isel(network=np.isin(dataset.seed.values, list(ensembles[cell.variant, cell.width])))
        size = wanted.sizes["network"]
        parts.append(wanted.assign(variant=("network", [cell.variant] * size), width=("network", [cell.width] * size)))
    networks = xr.concat(parts, dim="network", join="exact", combine_attrs="drop")
    network = config.network
    angles = torch.tensor(networks.angle.values)
    depths = [network.depth, network.depth + 1]
    limits = [
        theta_inf(
            circle(torch.zeros(1)), circle(angles), depth=depth, nonlinearity=network.nonlinearity, beta=network.beta
        )[0].numpy()
        for depth in depths
    ]
    networks["theta_inf"] = (("depth", "angle"), np.stack(limits))
    end = config.training.t
    return networks.assign_coords(depth=depths, time=[0.0, end], t=np.linspace(0, end, TIMES)).assign_attrs(
        widths=sorted(config.widths),
        seeds=config.seeds,
        trend=sorted(config.trend.widths),
        initial=sorted(config.initial.widths),
        alternatives=sorted(config.alternatives),
        network=asdict(network),
        training=asdict(config.training),
    )


def metrics(dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
    """Mean training cost of each drawn width against time, then the mean NTK's inflation at its end."""
    main = {width: select(dataset, width=width) for width in dataset.attrs["widths"]}
    for i, t in enumerate(dataset.t.values):
        yield float(t), {f"cost/n={width}": float(group.cost[:, i].mean()) for width, group in main.items()}
    for i, t in enumerate(dataset.time.values):
        theta = {width: float(group.theta[:, i].sel(angle=0).mean()) for width, group in main.items()}
        yield float(t), {f"theta(x0,x0)/n={width}": value for width, value in theta.items()}


def target(x: torch.Tensor) -> torch.Tensor:
    """f*(x) = x_1 x_2: (…, 2) → (…, 1)."""
    return x[..., :1] * x[..., 1:]


def _states(training: TrainingConfig, width: int, seed: int, network: Network, speed: int) -> Iterator[State]:
    device = network.weights[0].device

    def batch(stream: torch.Generator) -> tuple[torch.Tensor, LeastSquares]:
        x = gaussian(training.n_samples, 2, stream).to(device)
        return x, LeastSquares(target(x), training.loss_factor)

    sample = batch(generator(NAME, "sample", training.sample_seed))
    if training.solver == "gradient_flow":
        return GradientFlow(training.t * speed, training.tolerance).states(network, *sample)
    descent = GradientDescent(training.learning_rate, training.steps, training.normalize_hidden)
    if not training.fresh_inputs:
        return descent.states(network, *sample)
    stream = generator(NAME, "fresh inputs", width, seed)
    return descent.states_on(network, (batch(stream) for _ in count()))
