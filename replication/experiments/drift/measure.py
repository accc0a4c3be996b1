"""Measurements on networks whose drift is predicted before they are trained."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...costs import LeastSquares
from ...datasets import angle_grid, circle, gaussian
from ...drift import Drift, moved, picard_flow, predicted_drift
from ...network import Network
from ...revealed import rank, truncation
from ...study.experiment import Cell
from ...study.settings import NetworkConfig, WideNetworkConfig
from ...tangent import Tangent, tangent_kernel
from ...training import GradientFlow
from ...weights import DeferredWeight, DenseWeight
from .settings import DENSE, TrainingConfig

PREDICTIONS = ("second", "without_k3", "without_k4", "first")
"""P; P − A, which lacks the contribution of K₃; A, which lacks that of K₄; A + B₁, the first Picard iterate."""
TERMS = ("flow", "second", "linear", "quadratic", "bent")
"""Θ_t − Θ_0, P, A, B₁ and B₂."""
DIAGONAL = 16
"""Number of points of the circle over which the inflation of Figure 1 is averaged."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Networks of one width and σ."""

    width: int
    network: WideNetworkConfig
    training: TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Networks trained by two solvers; tolerance: that of the adaptive one."""

    trained: Trained
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class OnCircle:
    """Networks whose kernel is evaluated along the circle."""

    trained: Trained
    intervals: int


@dataclass(frozen=True, kw_only=True)
class WithKinks:
    """Networks with a σ that has kinks; see ``settings.Kinked``."""

    trained: Trained
    tolerance: float
    scale: float


@dataclass(frozen=True, kw_only=True)
class Inflated:
    """Networks of one width, trained as in Figure 1."""

    width: int
    network: NetworkConfig
    n_samples: int
    t: float
    nodes: int
    tolerance: float


def points(cell: Cell[Any], n: int) -> Tensor:
    """n training points and n probes, which alternate around the circle: (2 n, 2), training points first."""
    angles = torch.arange(2 * n, dtype=torch.float64) * math.pi / n
    angles += 0.3 * torch.rand(2 * n, generator=cell.stream("points", n), dtype=torch.float64)
    return circle(torch.cat([angles[::2], angles[1::2]]))


class Problem:
    """One network or an ensemble at initialization, with data, the cost of f* = x_1, and points at which Θ is taken."""

    def __init__(self, cell: Cell[Any], trained: Trained, seeds: Sequence[int], device: str):
        setting, n = trained.training, trained.training.n_samples
        self.at = points(cell, n).to(device)
        self.x = self.at[:n]
        self.cost = LeastSquares(self.x[:, :1])
        self.setting = setting
        streams = [cell.stream("network", trained.network.nonlinearity, trained.width, seed) for seed in seeds]
        if len(seeds) > 1:
            self.network = trained.network.draw(2, trained.width, generator=streams, device=device)
        else:
            self.network = trained.network.draw_wide(
                2,
                trained.width,
                inputs=2 * n,
                directions=n * (setting.nodes + 2 * setting.flow_nodes + 10),
                generator=streams[0],
                device=device,
            )

    def predicted(self, at: Tensor, scale: float = 1.0) -> Drift:
        return predicted_drift(
            self.network, self.x, self.cost, self.setting.t, at, nodes=self.setting.nodes, scale=scale
        )

    @contextmanager
    def trained(self, nodes: int | None = None) -> Iterator[None]:
        """Inside the ``with`` block the networks are trained; afterwards they are as before."""
        nodes = nodes or self.setting.flow_nodes
        moves = picard_flow(self.network, self.x, self.cost, self.setting.t, nodes=nodes)
        with moved(self.network, moves):
            yield

    def kernel(self) -> Tensor:
        return tangent_kernel(self.network, self.at)

    def value(self) -> Tensor:
        """C(f)."""
        return self.cost.value(self.network(self.x).double())


def left(drift: Tensor, prediction: Tensor) -> Tensor:
    """‖Θ_t − Θ_0 − prediction‖_F/‖Θ_t − Θ_0‖_F, for each network."""
    return _norm(drift - prediction) / _norm(drift)


def _norm(matrix: Tensor) -> Tensor:
    norms: Tensor = matrix.flatten(-2).norm(dim=-1)
    return norms


def _of_each(*values: Tensor) -> np.ndarray:
    """Numbers of all networks, (networks, …); for a single network (1, …)."""
    stacked = torch.stack(values, dim=-1).cpu().numpy()
    return stacked.reshape(-1, len(values)) if len(values) > 1 else stacked.reshape(-1)


def trained_networks(cell: Cell[Any], trained: Trained, seeds: Sequence[int], device: str) -> xr.Dataset:
    """Predict the drift, then train.

    drift: ‖Θ_t − Θ_0‖_F/‖Θ_0‖_F on training points and probes; left (prediction): the part of the drift that each of
    ``PREDICTIONS`` does not predict; cost: C(t)/C(0); rank, truncation: of revealed weights. All (network, …).
    """
    problem = Problem(cell, trained, seeds, device)
    predicted = problem.predicted(problem.at)
    before = problem.value()
    with problem.trained():
        drift = problem.kernel() - predicted.start
        after = problem.value()
    parts = (predicted.total, predicted.total - predicted.linear, predicted.linear, predicted.straight)
    return xr.Dataset(
        {
            "drift": ("network", _of_each(_norm(drift) / _norm(predicted.start))),
            "left": (("network", "prediction"), _of_each(*(left(drift, part) for part in parts))),
            "cost": ("network", _of_each(after / before)),
            "rank": ("network", [rank(problem.network.weights)] * len(seeds)),
            "truncation": ("network", [truncation(problem.network.weights)] * len(seeds)),
        },
        coords={"prediction": list(PREDICTIONS)},
    )


def pairs_of_networks(cell: Cell[Any], trained: Trained, seeds: Sequence[int], device: str) -> xr.Dataset:
    """Pairs of networks whose last layers have opposite signs, and hence f_0.

    diagonal (pair, term): n times each of ``TERMS``, averaged over the diagonal and over both networks.
    """
    both = []
    for sign in (1, -1):
        problem = Problem(cell, trained, seeds, device)
        last = problem.network.weights[-1]
        assert isinstance(last, DenseWeight)
        last.values *= sign
        problem.network.biases[-1] *= sign
        predicted = problem.predicted(problem.at)
        with problem.trained():
            flow = problem.kernel() - predicted.start
        terms = (flow, predicted.total, predicted.linear, predicted.quadratic, predicted.bent)
        both.append(_of_each(*(term.diagonal(dim1=-2, dim2=-1).mean(dim=-1) for term in terms)))
    return xr.Dataset(
        {"diagonal": (("pair", "term"), trained.width * np.mean(both, axis=0))}, coords={"term": list(TERMS)}
    )


def checked_network(cell: Cell[Any], checked: Checked, seed: int, device: str) -> xr.Dataset:
    """The distance of the flow from the same flow with two fewer nodes, and from the adaptive solver.

    coarse, solver, second: ‖Θ_t − Θ_t'‖_F/‖Θ_t − Θ_0‖_F, where Θ_t' comes from fewer nodes, the adaptive solver, or the
    prediction.
    """
    problem = Problem(cell, checked.trained, [seed], device)
    predicted = problem.predicted(problem.at)
    with problem.trained():
        drift = problem.kernel() - predicted.start
    with problem.trained(problem.setting.flow_nodes - 2):
        coarse = problem.kernel() - predicted.start
    solver = GradientFlow(problem.setting.t, checked.tolerance, order=2)
    for _ in solver.states(problem.network, problem.x, problem.cost):
        pass
    values = {"coarse": coarse, "solver": problem.kernel() - predicted.start, "second": predicted.total}
    return xr.Dataset({name: ((), float(left(drift, value))) for name, value in values.items()})


def curve_of_network(cell: Cell[Any], curve: OnCircle, seed: int, device: str) -> xr.Dataset:
    """Θ_t(x_0, x(γ)) − Θ_0(x_0, x(γ)) along the circle, measured and predicted: change (term, angle)."""
    problem = Problem(cell, curve.trained, [seed], device)
    angles = angle_grid(curve.intervals)
    at = circle(angles).to(device)
    predicted = problem.predicted(at)
    with problem.trained():
        flow = tangent_kernel(problem.network, at) - predicted.start
    row = curve.intervals // 2
    terms = (flow, predicted.total, predicted.linear, predicted.quadratic, predicted.bent)
    values = np.stack([term[row].cpu().numpy() for term in terms])
    return xr.Dataset({"change": (("term", "angle"), values)}, coords={"term": list(TERMS), "angle": angles.numpy()})


def network_with_kinks(cell: Cell[Any], kinked: WithKinks, seed: int, device: str) -> xr.Dataset:
    """Two predictions for a σ with kinks, compared with the adaptive solver.

    kinked_left (formula): the part of the drift that the derivatives almost everywhere do not predict, and the part
    that P does not predict; kinked_drift: ‖Θ_t − Θ_0‖_F/‖Θ_0‖_F; switched: the share of pairs (hidden neuron, training
    point) whose σ̇ changes.
    """
    problem = Problem(cell, kinked.trained, [seed], device)
    second = problem.predicted(problem.at)
    everywhere = problem.predicted(problem.at, kinked.scale)
    before = Tangent(problem.network, problem.x).forward.slopes
    solver = GradientFlow(problem.setting.t, kinked.tolerance, order=2)
    for _ in solver.states(problem.network, problem.x, problem.cost):
        pass
    drift = problem.kernel() - second.start
    after = Tangent(problem.network, problem.x).forward.slopes
    changed = [float((a != b).double().mean()) for a, b in zip(before, after, strict=True)]
    return xr.Dataset(
        {
            "kinked_left": ("formula", [float(left(drift, part)) for part in (everywhere.total, second.total)]),
            "kinked_drift": ((), float(drift.norm() / second.start.norm())),
            "switched": ((), float(np.mean(changed))),
        },
        coords={"formula": ["almost_everywhere", "second"]},
    )


def inflated_network(cell: Cell[Any], inflated: Inflated, seed: int, device: str) -> xr.Dataset:
    """The inflation of Figure 1, predicted without training, and measured.

    inflation (origin): mean over the circle of Θ_t(x, x)/Θ_0(x, x): measured; by P; by θ₁ alone. matrix_left: the part
    of Θ_t − Θ_0 on the circle that P does not predict, as ``left``; steps: number of steps of the adaptive solver.
    """
    x = gaussian(inflated.n_samples, 2, cell.stream("sample")).to(device)
    cost = LeastSquares(x[:, :1] * x[:, 1:])
    at = circle(torch.arange(DIAGONAL, dtype=torch.float64) * 2 * math.pi / DIAGONAL).to(device)
    weight = DenseWeight.draw if inflated.width <= DENSE else DeferredWeight.draw
    stream = cell.stream("figure1", inflated.width, seed)
    network: Network = inflated.network.draw(2, inflated.width, generator=stream, device=device, weight=weight)
    predicted = predicted_drift(network, x, cost, inflated.t, at, nodes=inflated.nodes)
    steps = -1
    for _ in GradientFlow(inflated.t, inflated.tolerance, order=2).states(network, x, cost):
        steps += 1
    drift = tangent_kernel(network, at) - predicted.start
    inflation = [
        float((1 + part.diagonal() / predicted.start.diagonal()).mean())
        for part in (drift, predicted.total, predicted.straight)
    ]
    return xr.Dataset(
        {
            "inflation": ("origin", inflation),
            "matrix_left": ((), float(left(drift, predicted.total))),
            "steps": ((), steps),
        },
        coords={"origin": ["trained", "second", "first"]},
    )
