"""Several outputs (paper §6): a wide network with n_L outputs behaves like n_L scalar networks trained independently.

A network with three outputs is compared with three scalar networks, drawn independently of it and of each other. All
are trained by gradient flow on least squares; for a control, the first is trained on a quadratic cost that couples the
outputs. Each scalar network starts from the residual of its output. In the limit both have the same kernel, so that
both change in the same way.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..costs import Cost, FrozenFlow, LeastSquares
from ..datasets import circle, random_angles
from ..network import Network
from ..shapes import require_shape
from ..study.claims import Claim, Control
from ..study.experiment import Cell, Ensemble, Experiment, Progress, select
from ..study.settings import BaseConfig, NetworkConfig, require, require_distinct
from ..study.statistics import Statistic, geometric, rate
from ..training import GradientFlow

COSTS = ("least_squares", "coupled")
OUTPUTS = 3
COUPLING = 0.8
"""M_kk' for k ≠ k' in the control's cost; M_kk = 1."""
BLOCK_SIZE = 20
TIMES = 9
"""Number of times at which the functions are compared, t = 0 included."""
RATE = (-0.65, -0.35)
"""Allowed exponents in n, about −1/2: the distance between two independent kernels falls like n^{−1/2}."""


@dataclass(kw_only=True)
class Setting:
    """The networks, N inputs on the circle and as many probes, and gradient flow to time t with a tolerance."""

    network: NetworkConfig
    n_samples: int
    t: float
    tolerance: float

    def __post_init__(self) -> None:
        require(self.n_samples >= 3, "setting.n_samples", self.n_samples, "must be ≥ 3")
        require(0 < self.t < math.inf, "setting.t", self.t, "must be > 0")
        require(0 < self.tolerance < math.inf, "setting.tolerance", self.tolerance, "must be > 0")


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Networks of each width for both costs; the seeds are 0 … seeds − 1 at each width."""

    setting: Setting
    widths: list[int]
    seeds: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_distinct("widths", self.widths, 1)
        require(self.seeds >= 1, "seeds", self.seeds, "must be ≥ 1")


def problem(setting: Setting, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs and probes (2 N, 2), at random on the circle, and three targets (N, 3): x_1x_2, x_1 and x_2² − ½."""
    x, probes = (circle(random_angles(setting.n_samples, stream)) for _ in range(2))
    return torch.cat([x, probes]), torch.stack([x[:, 0] * x[:, 1], x[:, 0], x[:, 1] ** 2 - 0.5], dim=1)


class Coupled(Cost):
    """C(f) = ½ E_{p^in}[(f − f*)ᵀ M (f − f*)] with M_kk = 1 and M_kk' = ``COUPLING``. M = Id is least squares."""

    def __init__(self, target: Tensor):
        self.target = target
        identity = torch.eye(target.shape[1]).to(target)
        self.matrix = COUPLING * torch.ones_like(identity) + (1 - COUPLING) * identity
        values, vectors = torch.linalg.eigh(self.matrix)
        self.root = (vectors * values.sqrt()) @ vectors.mT

    def value(self, f: Tensor) -> Tensor:
        return 0.5 * (self.direction(f) * (f - self.target)).sum(dim=-1).mean(dim=-1)

    def direction(self, f: Tensor) -> Tensor:
        require_shape("f", f.shape, "the target f*", self.target.shape)
        return (f - self.target) @ self.matrix

    def curvature(self) -> float:
        return 1 + (len(self.matrix) - 1) * COUPLING

    def frozen_flow(self, kernel: Tensor, f_0: Tensor, duration: float) -> FrozenFlow:
        """Least squares in the coordinates f M^{1/2}, in which the kernel is (Id ⊗ M^{1/2}) K (Id ⊗ M^{1/2})."""
        require_shape("f", f_0.shape, "the target f*", self.target.shape)
        root = torch.kron(torch.eye(len(f_0)).to(self.root), self.root)
        flow = LeastSquares(self.target @ self.root).frozen_flow(root @ kernel @ root, f_0 @ self.root, duration)
        return lambda s, moment=0: flow(s, moment) @ self.root


def _changes(network: Network, at: Tensor, cost: Cost, setting: Setting) -> Tensor:
    """Train on the inputs; return f_t − f_0 at inputs and probes for each time, (times, 2 N, n_L)."""
    x, functions = at[: setting.n_samples], [network(at).double()]
    for begin, end in pairwise(np.linspace(0, setting.t, TIMES)):
        for _ in GradientFlow(float(end - begin), setting.tolerance).states(network, x, cost):
            pass
        functions.append(network(at).double())
    return torch.stack(functions) - functions[0]


def _check(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    groups = [select(dataset, cost="least_squares", width=width).distance.values for width in widths]
    return [rate("distance to scalar networks", geometric, widths, groups, RATE)]


def _coupled(dataset: xr.Dataset) -> xr.Dataset:
    """The networks trained on the coupled cost, in place of the networks trained on least squares."""
    coupled = select(dataset, cost="coupled")
    return coupled.assign(cost=("network", ["least_squares"] * coupled.sizes["network"]))


CLAIMS = (
    Claim(
        id="multi_output.independent",
        place="§6",
        statement="A wide network with several outputs behaves like as many scalar networks that are trained "
        "independently.",
        paper="asymptotically (no rate)",
        measure="for least squares, the exponent in n of the largest distance over time, on and off the data, between "
        "the changes of the outputs and those of scalar networks (geometric mean over networks). The scalar networks "
        "are drawn independently and start from the same residuals; n^{−1/2} is expected from their kernels",
        figure="multi_output",
        check=_check,
        controls=(Control("a quadratic cost that couples the outputs", _coupled),),
        note="because the networks are drawn independently, their f_0 differ, too; prop1.independence compares these",
        history=(
            "at first with scalar networks that had the hidden initialization of the one with several outputs, on the "
            "data alone, and exponents from −0.7 to −0.3",
        ),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Networks of one width, trained on one cost."""

    cost: str
    width: int
    setting: Setting


class MultiOutput(Experiment[Config, Trained]):
    """Outputs of one network compared with scalar networks, for both costs and every width."""

    name = "multi_output"
    version = 3
    config = Config
    claims = CLAIMS
    constants: ClassVar = {"outputs": OUTPUTS, "coupling": COUPLING, "times": TIMES}

    def ensembles(self, config: Config) -> Iterator[Ensemble[Trained]]:
        for width in sorted(config.widths):
            for cost in COSTS:
                yield Ensemble(
                    labels={"cost": cost, "width": width},
                    setting=Trained(cost=cost, width=width, setting=config.setting),
                    seeds=range(config.seeds),
                    block=BLOCK_SIZE,
                    work=width**2 + 3e5,
                )

    def measure(self, cell: Cell[Trained], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """Train the network on the cell's cost, and the scalar networks by least squares.

        f (network, time, point, output): f_t at inputs and probes; scalar, of the same shape: f_0 plus the changes of
        the scalar networks; distance (network): the root mean square distance of the two, its sup over the times.
        """
        trained, setting = cell.setting, cell.setting.setting
        at, target = (values.to(device) for values in problem(setting, cell.stream("data")))
        n = setting.n_samples
        draw = partial(setting.network.draw, 2, trained.width, device=device)
        network = draw(OUTPUTS, generator=cell.stream(trained.width, seed))
        start = network(at).double()
        cost = LeastSquares(target) if trained.cost == "least_squares" else Coupled(target)
        together = _changes(network, at, cost, setting)
        scalars = []
        for k in range(OUTPUTS):
            one = draw(1, generator=cell.stream("scalar", trained.width, seed, k))
            same_residual = LeastSquares(one(at[:n]).double() + (target - start[:n])[:, k : k + 1])
            scalars.append(_changes(one, at, same_residual, setting))
        apart = torch.cat(scalars, dim=2)
        return xr.Dataset(
            {
                "f": (("time", "point", "output"), (start + together).cpu().numpy().astype(np.float32)),
                "scalar": (("time", "point", "output"), (start + apart).cpu().numpy().astype(np.float32)),
                "distance": ((), float((together - apart).square().mean(dim=(1, 2)).sqrt().max())),
            }
        )

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """All networks along one dimension; f and scalar of the first network of each width only."""
        networks = parts["network"]
        first = networks.seed == 0
        return (
            networks.assign({name: networks[name].where(first) for name in ("f", "scalar")})
            .assign_coords(time=np.linspace(0, config.setting.t, TIMES))
            .assign_attrs(widths=sorted(config.widths), setting=asdict(config.setting))
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """The mean distance between the outputs and the scalar networks, against n."""
        for width in dataset.attrs["widths"]:
            groups = {cost: select(dataset, cost=cost, width=width).distance.values for cost in COSTS}
            yield float(width), {f"distance/{cost}": geometric(distances) for cost, distances in groups.items()}


EXPERIMENT = MultiOutput()
