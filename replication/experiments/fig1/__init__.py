"""Figure 1 (paper §6.1): the NTK of finite networks at initialization and after training, along the unit circle.

The kernel is Θ⁽ᴸ⁾(x_0, x(γ)) with x_0 = (1, 0) and x(γ) = (cos γ, sin γ), at t = 0 and at t = 200. Networks of each
width are initialized independently and trained by least squares on f*(x) = x_1 x_2 at N(0, I_2) inputs.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import count
from typing import ClassVar

import numpy as np
import torch
import xarray as xr

from ...costs import LeastSquares
from ...datasets import angle_grid, circle, gaussian
from ...limit import theta_inf
from ...network import Network
from ...study.experiment import Cell, Ensemble, Experiment, Label, Progress, select
from ...study.settings import NetworkConfig
from ...tangent import tangent_kernel
from ...training import DivergenceError, GradientDescent, GradientFlow, State
from .claims import CLAIMS
from .config import Config, TrainingConfig

TIMES = 41
"""Number of times at which the cost is recorded."""
BLOCK_SIZE, INITIAL_SIZE, BLOCK_WIDTH = 10, 30, 2000
"""Networks up to this width are computed and stored this many at a time, and more if they are not trained."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Networks of one width; 0 is the limit. training: None for t = 0 only; mean_field: in mean-field scaling."""

    width: int
    network: NetworkConfig
    training: TrainingConfig | None
    mean_field: bool
    intervals: int

    @property
    def work(self) -> float:
        """Relative cost of a network: drawing, products with n × n matrices, and a fixed overhead."""
        passes = 1000.0 * self.width**2
        if self.training is not None:
            flow_steps = 50 if self.mean_field else 10
            steps = self.training.steps if self.training.solver == "gradient_descent" else flow_steps
            passes += steps * (3 * self.width**2 * self.training.n_samples + 3e7)
        return passes


class Figure1(Experiment[Config, Setting]):
    """The NTK along the circle before and after training, for every width and every choice left open by the paper."""

    name = "fig1"
    version = 1
    config = Config
    claims = CLAIMS
    constants: ClassVar = {"times": TIMES}

    def ensembles(self, config: Config) -> Iterator[Ensemble[Setting]]:
        for (variant, width), seeds in _seeds(config).items():
            setting = Setting(
                width=width,
                network=config.network,
                training=_training(config, variant),
                mean_field=variant == "mean_field",
                intervals=config.intervals,
            )
            block = 1 if width > BLOCK_WIDTH else INITIAL_SIZE if variant == "initial" else BLOCK_SIZE
            labels: dict[str, Label] = {"variant": variant, "width": width}
            yield Ensemble(labels=labels, setting=setting, seeds=seeds, block=block, work=setting.work)
        limit = Setting(width=0, network=config.network, training=None, mean_field=False, intervals=config.intervals)
        yield Ensemble(labels={}, setting=limit, seeds=(0,), kind="limit")

    def measure(self, cell: Cell[Setting], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """Θ along the circle before and after training a network.

        theta (network, time, angle): Θ(x_0, x(γ)); theta_rotated (network, turn, angle): Θ(x(φ), x(φ + γ)) before
        training, for φ = 0 and quarter turns, which all have the same law because the weights are Gaussian; cost
        (network, t); steps (network). In mean-field scaling the output is × n^{−1/2} and the time × n; Θ is given per
        unit of that time, × n. The limit: theta_inf (depth, angle) at depth L and, for a control, L + 1.
        """
        setting = cell.setting
        angles = angle_grid(setting.intervals)
        if cell.kind == "limit":
            return _limit(setting.network, angles)
        speed = setting.width if setting.mean_field else 1
        stream = cell.stream("network", setting.width, seed)
        network = setting.network.draw(2, setting.width, generator=stream, device=device, output_scale=speed**-0.5)
        before = speed * _along_circle(network, angles, turns=4)
        after = np.full_like(before[0], np.nan)
        end = setting.training.t if setting.training else math.nan
        times = np.linspace(0, end, TIMES)
        costs: list[float] = []
        steps = 0
        if setting.training:
            for state in _states(cell, setting.training, seed, network, speed):
                t = state.t / speed
                steps += t > 0
                while len(costs) < TIMES and times[len(costs)] <= t * (1 + 1e-9):
                    costs.append(state.cost_at(times[len(costs)] * speed))
                progress(t / end)
            after = speed * _along_circle(network, angles, turns=1)[0]
        return xr.Dataset(
            {
                "theta": (("time", "angle"), np.stack([before[0], after]).astype(np.float32)),
                "theta_rotated": (("turn", "angle"), before.astype(np.float32)),
                "cost": ("t", costs or np.full(TIMES, np.nan)),
                "steps": ((), steps),
            },
            coords={"angle": angles.numpy()},
        )

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """The kernels of all networks along one dimension, and the limit, for figures and claims."""
        end = config.training.t
        limit = parts["limit"].isel(limit=0, drop=True)
        networks = parts["network"].assign(theta_inf=limit.theta_inf).assign_coords(depth=limit.depth)
        return networks.assign_coords(time=[0.0, end], t=np.linspace(0, end, TIMES)).assign_attrs(
            widths=sorted(config.widths),
            seeds=config.seeds,
            trend=sorted(config.trend.widths),
            initial=sorted(config.initial.widths),
            alternatives=sorted(config.alternatives),
            network=asdict(config.network),
            training=asdict(config.training),
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """Mean training cost of each drawn width against time, and at the end the inflation of the mean NTK."""
        main = {width: select(dataset, variant="main", width=width) for width in dataset.attrs["widths"]}
        for i, t in enumerate(dataset.t.values):
            yield float(t), {f"cost/n={width}": float(group.cost[:, i].mean()) for width, group in main.items()}
        for i, t in enumerate(dataset.time.values):
            theta = {width: float(group.theta[:, i].sel(angle=0).mean()) for width, group in main.items()}
            yield float(t), {f"theta(x0,x0)/n={width}": value for width, value in theta.items()}


def _seeds(config: Config) -> dict[tuple[str, int], set[int]]:
    """The networks of a config: (variant, width) → seeds."""
    narrow = min(config.widths)
    alternative_seeds = set(range(config.alternative_seeds))
    seeds = {("main", width): set(config.seeds) for width in config.widths}
    for width in config.trend.widths:
        seeds["main", width] = seeds.get(("main", width), set()) | set(range(config.trend.seeds))
    seeds["main", max(config.widths)] |= set(range(config.wide_seeds))
    seeds["main", narrow] |= set(range(config.narrow_seeds)) | alternative_seeds
    seeds |= {(name, narrow): alternative_seeds for name in config.alternatives}
    for variant, ensemble in (("initial", config.initial), ("mean_field", config.mean_field)):
        seeds |= {(variant, width): set(range(ensemble.seeds)) for width in ensemble.widths}
    return seeds


def _training(config: Config, variant: str) -> TrainingConfig | None:
    """Alternatives change the settings that they name. The mean-field control always uses gradient flow."""
    if variant == "initial":
        return None
    if variant == "mean_field":
        tolerance = config.mean_field.tolerance
        return replace(
            config.training, solver="gradient_flow", tolerance=tolerance, fresh_inputs=False, normalize_hidden=False
        )
    return replace(config.training, **config.alternatives.get(variant, {}))


def _limit(network: NetworkConfig, angles: torch.Tensor) -> xr.Dataset:
    x_0, x = circle(torch.zeros(1)), circle(angles)
    depths = [network.depth, network.depth + 1]
    limits = [theta_inf(x_0, x, depth=depth, nonlinearity=network.nonlinearity, beta=network.beta) for depth in depths]
    return xr.Dataset({"theta_inf": (("depth", "angle"), torch.cat(limits).numpy())}, coords={"depth": depths})


def _along_circle(network: Network, angles: torch.Tensor, turns: int) -> np.ndarray:
    """Θ(x(φ), x(φ + γ)) for φ = 0, π/2, …: (turns, angles)."""
    # The first and the last angle are the same point: leave one of them out.
    kernel = tangent_kernel(network, circle(angles[:-1])).cpu().numpy()
    if not np.isfinite(kernel).all():
        raise DivergenceError("the NTK is not finite", math.nan)
    intervals = len(kernel)
    quarter = intervals // 4
    rows = [(2 * quarter + turn * quarter) % intervals for turn in range(turns)]
    circles = np.stack([np.roll(kernel[row], 2 * quarter - row) for row in rows])
    return np.concatenate([circles, circles[:, :1]], axis=1)


def target(x: torch.Tensor) -> torch.Tensor:
    """f*(x) = x_1 x_2: (…, 2) → (…, 1)."""
    return x[..., :1] * x[..., 1:]


def _states(cell: Cell[Setting], training: TrainingConfig, seed: int, network: Network, speed: int) -> Iterator[State]:
    device = network.weights[0].device

    def batch(stream: torch.Generator) -> tuple[torch.Tensor, LeastSquares]:
        x = gaussian(training.n_samples, 2, stream).to(device)
        return x, LeastSquares(target(x), training.loss_factor)

    own = (cell.setting.width, seed) if training.sample_seed is None else (training.sample_seed,)
    sample = batch(cell.stream("sample", *own))
    if training.solver == "gradient_flow":
        return GradientFlow(training.t * speed, training.tolerance).states(network, *sample)
    descent = GradientDescent(training.learning_rate, training.steps, training.normalize_hidden)
    if not training.fresh_inputs:
        return descent.states(network, *sample)
    stream = cell.stream("fresh inputs", cell.setting.width, seed)
    return descent.states_on(network, (batch(stream) for _ in count()))


EXPERIMENT = Figure1()
