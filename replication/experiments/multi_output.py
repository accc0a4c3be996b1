"""Several outputs (paper §6): a wide network with n_L outputs behaves like n_L scalar networks trained independently.

A network with three outputs, and three scalar networks that share its hidden initialization, each with one row of its
last matrix: trained side by side by gradient flow, for least squares and, for a control, for a quadratic cost that
couples the outputs.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..costs import Cost, FrozenFlow, LeastSquares
from ..datasets import circle, random_angles
from ..network import Network
from ..study.claims import Claim, Control
from ..study.experiment import Cell, Ensemble, Experiment, Progress, select
from ..study.settings import BaseConfig, NetworkConfig, require, require_distinct
from ..study.statistics import Statistic, geometric, rate
from ..training import GradientFlow
from ..weights import DenseWeight

COSTS = ("least_squares", "coupled")
OUTPUTS = 3
COUPLING = 0.8
"""M_kk' of the control's cost for k ≠ k', where M_kk = 1."""
BLOCK_SIZE = 20
TIMES = 9
"""Times at which the functions are compared, t = 0 included."""


@dataclass(kw_only=True)
class Setting:
    """Networks, N inputs on the circle, gradient flow to time t with a tolerance."""

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
    """Networks of each width, with seeds 0 … seeds − 1 at each, for both costs."""

    setting: Setting
    widths: list[int]
    seeds: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_distinct("widths", self.widths, 1)
        require(self.seeds >= 1, "seeds", self.seeds, "must be ≥ 1")


def problem(setting: Setting, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    """The inputs x (N, 2), at random on the circle, and three targets (N, 3): x_1x_2, x_1 and x_2² − ½."""
    x = circle(random_angles(setting.n_samples, stream))
    return x, torch.stack([x[:, 0] * x[:, 1], x[:, 0], x[:, 1] ** 2 - 0.5], dim=1)


class Coupled(Cost):
    """C(f) = ½ E_{p^in}[(f − f*)ᵀ M (f − f*)] with M_kk = 1 and M_kk' = ``COUPLING``; for M = Id least squares."""

    def __init__(self, target: Tensor):
        self.target = target
        identity = torch.eye(target.shape[1]).to(target)
        self.matrix = COUPLING * torch.ones_like(identity) + (1 - COUPLING) * identity
        values, vectors = torch.linalg.eigh(self.matrix)
        self.root = (vectors * values.sqrt()) @ vectors.mT

    def value(self, f: Tensor) -> Tensor:
        return 0.5 * ((f - self.target) * self.direction(f)).sum(dim=-1).mean(dim=-1)

    def direction(self, f: Tensor) -> Tensor:
        return (f - self.target) @ self.matrix

    def curvature(self) -> float:
        return 1 + (len(self.matrix) - 1) * COUPLING

    def frozen_flow(self, kernel: Tensor, f_0: Tensor, duration: float) -> FrozenFlow:
        """Least squares in the coordinates f M^{1/2}, in which the kernel is (Id ⊗ M^{1/2}) K (Id ⊗ M^{1/2})."""
        root = torch.kron(torch.eye(len(f_0)).to(self.root), self.root)
        flow = LeastSquares(self.target @ self.root).frozen_flow(root @ kernel @ root, f_0 @ self.root, duration)
        return lambda s, moment=0: flow(s, moment) @ self.root


def scalar_networks(network: Network) -> list[Network]:
    """A scalar network for each output: the same hidden parameters, and the output's row of the last ones."""
    *hidden, last = (weight.values for weight in network.weights if isinstance(weight, DenseWeight))
    *biases, last_bias = network.biases
    return [
        Network(
            [DenseWeight(values.clone()) for values in (*hidden, last[k : k + 1])],
            [bias.clone() for bias in (*biases, last_bias[:, k : k + 1])],
            network.nonlinearity,
            network.beta,
        )
        for k in range(network.widths[-1])
    ]


def _trajectory(network: Network, x: Tensor, cost: Cost, setting: Setting) -> Tensor:
    """f_t on the data at each of the times, (times, N, n_L)."""
    functions = [network(x).double()]
    for begin, end in pairwise(np.linspace(0, setting.t, TIMES)):
        for state in GradientFlow(float(end - begin), setting.tolerance).states(network, x, cost):
            f = state.f
        functions.append(f)
    return torch.stack(functions)


def _check(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    groups = [select(dataset, cost="least_squares", width=width).distance.values for width in widths]
    return [rate("distance to scalar networks", geometric, widths, groups, (-0.7, -0.3))]


def _coupled(dataset: xr.Dataset) -> xr.Dataset:
    """The networks trained on the cost that couples the outputs, in the place of the others."""
    coupled = select(dataset, cost="coupled")
    return coupled.assign(cost=("network", ["least_squares"] * coupled.sizes["network"]))


CLAIMS = (
    Claim(
        id="multi_output.independent",
        place="§6",
        statement="A wide network with several outputs behaves like as many scalar networks trained independently.",
        paper="asymptotically (no rate)",
        measure="for least squares, the exponent in n of the largest distance over time on the data between the "
        "outputs and scalar networks with the same hidden initialization (geometric mean over networks) lies in "
        "[−0.7, −0.3]: the n^{−1/2} of the NTK's blocks of two outputs",
        figure="multi_output",
        check=_check,
        controls=(Control("a quadratic cost that couples the outputs", _coupled),),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Networks of one width, trained on one cost."""

    cost: str
    width: int
    setting: Setting


class MultiOutput(Experiment[Config, Trained]):
    """Outputs of one network against scalar networks, for both costs and every width."""

    name = "multi_output"
    version = 2
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
        """Train the network on the cell's cost, and its scalar counterparts by least squares.

        f (network, time, point, output), scalar (…): the functions on the data; distance (network): sup over the times
        of their root mean square distance.
        """
        trained, setting = cell.setting, cell.setting.setting
        x, target = (values.to(device) for values in problem(setting, cell.stream("data")))
        network = setting.network.draw(
            2, trained.width, OUTPUTS, generator=cell.stream(trained.width, seed), device=device
        )
        apart = scalar_networks(network)
        cost = LeastSquares(target) if trained.cost == "least_squares" else Coupled(target)
        together = _trajectory(network, x, cost, setting)
        scalars = [_trajectory(one, x, LeastSquares(target[:, k : k + 1]), setting) for k, one in enumerate(apart)]
        scalar = torch.cat(scalars, dim=2)
        distance = (together - scalar).square().mean(dim=(1, 2)).sqrt().max()
        return xr.Dataset(
            {
                "f": (("time", "point", "output"), together.cpu().numpy().astype(np.float32)),
                "scalar": (("time", "point", "output"), scalar.cpu().numpy().astype(np.float32)),
                "distance": ((), float(distance)),
            }
        )

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """All networks along one dimension; f and scalar of the first of each width alone."""
        networks = parts["network"]
        first = networks.seed == 0
        return (
            networks.assign({name: networks[name].where(first) for name in ("f", "scalar")})
            .assign_coords(time=np.linspace(0, config.setting.t, TIMES))
            .assign_attrs(widths=sorted(config.widths), setting=asdict(config.setting))
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """Mean distance between the outputs and the scalar networks against n."""
        for width in dataset.attrs["widths"]:
            groups = {cost: select(dataset, cost=cost, width=width).distance.values for cost in COSTS}
            yield float(width), {f"distance/{cost}": geometric(distances) for cost, distances in groups.items()}


EXPERIMENT = MultiOutput()
