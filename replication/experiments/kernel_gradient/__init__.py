"""Kernel gradient descent (paper §3): networks against the flow in function space, on the data and off them.

A network is trained by gradient flow on N points of the unit circle. It is compared with ∂_t f = −∇_K C|_f from the
same f_0, where K is the limiting NTK, the network's own NTK at t = 0 or, for a control, the limit of one layer more.
The costs are least squares towards x_1x_2, and cross-entropy (n_L = 2) with the sign of x_1x_2 as the class.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...costs import Cost, CrossEntropy, LeastSquares
from ...datasets import angle_grid, circle, random_angles
from ...kernels import KernelOnData, inner
from ...limit import theta_inf
from ...network import Network
from ...random_functions import tabulated
from ...randomness import generator
from ...study.experiment import Cell, Ensemble, Experiment, Progress, select
from ...tangent import Tangent, tangent_kernel
from ...training import GradientFlow
from .claims import CLAIMS
from .settings import COSTS, Config, Setting

REFERENCES = ("limit", "initial", "other")
BLOCK_SIZE = 20
TIMES = 41
"""Number of times at which the costs are recorded."""
EPSILON = 1e-5
"""Time step of the central difference for ∂_tC."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Networks of one width, trained on one cost."""

    cost: str
    width: int
    setting: Setting


class KernelGradient(Experiment[Config, Setting | Trained]):
    """Networks of every width, trained on each cost, and the final cost for kernels of full and of small rank."""

    name = "kernel_gradient"
    version = 1
    config = Config
    claims = CLAIMS
    constants: ClassVar = {"times": TIMES, "epsilon": EPSILON}

    def ensembles(self, config: Config) -> Iterator[Ensemble[Setting | Trained]]:
        yield Ensemble(labels={}, setting=config.setting, seeds=(0,), kind="late")
        for width in sorted(config.widths):
            for cost in COSTS:
                yield Ensemble(
                    labels={"cost": cost, "width": width},
                    setting=Trained(cost=cost, width=width, setting=config.setting),
                    seeds=range(config.seeds),
                    block=BLOCK_SIZE,
                    work=width**2 + 3e5,
                )

    def measure(self, cell: Cell[Setting | Trained], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """A network's training compared with the flows in function space, or ``late_costs``.

        on_data, off_data (network, reference): the root mean square distance, its sup over the solver's times;
        dissipation (network, kernel): ``dissipation`` with Θ_t and, for the control, Θ_∞, at t = 0 or at the end,
        whichever is larger; cost_network, cost_limit (network, t): the costs; f, f_limit (network, angle): the first
        output at the end.
        """
        setting = cell.setting
        if not isinstance(setting, Trained):
            return late_costs(setting, data(setting, cell.stream("data")).to(device))
        x = data(setting.setting, cell.stream("data")).to(device)
        return _train(setting, x, cell.stream(setting.cost, setting.width, seed))

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """All networks along one dimension, and ``late_costs``."""
        x = data(config.setting, generator(self.name, "data", draw=config.draw))
        late = parts["late"].isel(late=0, drop=True).drop_vars("late_seed", errors="ignore")
        return (
            parts["network"]
            .merge(late)
            .assign_coords(t=np.linspace(0, config.setting.t, TIMES))
            .assign_attrs(
                widths=sorted(config.widths),
                setting=asdict(config.setting),
                data_angles=torch.atan2(x[:, 1], x[:, 0]).tolist(),
            )
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """The mean cost of the widest networks, and the mean cost in the limit, against time."""
        for name in COSTS:
            group = select(dataset, cost=name, width=dataset.attrs["widths"][-1])
            for i, t in enumerate(dataset.t.values):
                values = {f"{kind}/{name}": float(group[kind][:, i].mean()) for kind in ("cost_network", "cost_limit")}
                yield float(t), values


def data(setting: Setting, stream: torch.Generator) -> Tensor:
    """The inputs, at random on the circle: (N, 2)."""
    return circle(random_angles(setting.n_samples, stream))


def cost_on(name: str, x: Tensor) -> tuple[Cost, int]:
    """The cost on the data x (N, 2), and n_L."""
    target = x[:, :1] * x[:, 1:]
    if name == "least_squares":
        return LeastSquares(target), 1
    return CrossEntropy((target[:, 0] > 0).long(), 2), 2


def limit(setting: Setting, x: Tensor, n_outputs: int, depth: int) -> Tensor:
    """Θ_∞ ⊗ Id at a depth: x (M, 2) → (M n_L, M n_L)."""
    network = setting.network
    kernel = theta_inf(x, depth=depth, nonlinearity=network.nonlinearity, beta=network.beta)
    return torch.kron(kernel, torch.eye(n_outputs, dtype=torch.float64, device=x.device))


class FunctionSpaceFlow:
    """∂_t f = −∇_K C|_f from f_0, at all points (data first), until a given time.

    kernel: K at all points, (M n_L, M n_L); f_0: (M, n_L). f_t = f_0 − N Φ_K(w(t)), w = (1/N)∫ d dt (paper §3).
    """

    def __init__(self, kernel: Tensor, cost: Cost, f_0: Tensor, n: int, t: float):
        self.space = KernelOnData(tabulated(kernel, f_0.shape[-1]), torch.arange(n, device=f_0.device))
        self.points, self.f_0, self.n = torch.arange(len(f_0), device=f_0.device), f_0, n
        self._w = cost.frozen_flow(self.space.matrix, f_0[:n], t)

    def __call__(self, t: float) -> Tensor:
        """f_t, (M, n_L)."""
        return self.f_0 - self.n * self.space.phi(self._w(t), self.points)


def dissipation(network: Network, x: Tensor, cost: Cost, kernels: Sequence[Tensor]) -> list[float]:
    """|∂_tC + ‖d‖²_K| / ‖d‖²_Θ for each K, where ∂_tC is a central difference along the network's own gradient flow.

    The parameters move by ∓ε ∂_θC = ∓(ε/N) Jᵀd and return. Θ is the network's present NTK. kernels: the K on the data,
    (N n_L, N n_L) each.
    """
    tangent = Tangent(network, x)
    d = cost.direction(tangent.output)

    def energy(kernel: Tensor) -> float:
        return float(KernelOnData(tabulated(kernel, d.shape[-1]), torch.arange(len(x), device=x.device)).inner(d, d))

    own = energy(tangent.kernel)
    tangent.move(-EPSILON / len(x) * d)
    after = cost.value(network(x))
    tangent.move(2 * EPSILON / len(x) * d)
    before = cost.value(network(x))
    tangent.move(-EPSILON / len(x) * d)
    slope = float(after - before) / (2 * EPSILON)
    return [abs(slope + energy(kernel)) / own for kernel in (tangent.kernel, *kernels)]


def _train(trained: Trained, x: Tensor, stream: torch.Generator) -> xr.Dataset:
    setting, n = trained.setting, len(x)
    cost, n_outputs = cost_on(trained.cost, x)
    angles = angle_grid(setting.intervals)
    points = torch.cat([x, circle(angles).to(x.device)])
    network = setting.network.draw(2, trained.width, n_outputs, generator=stream, device=str(x.device))
    depth = setting.network.depth
    limits = [limit(setting, points, n_outputs, l) for l in (depth, depth + 1)]
    f_0 = network(points)
    kernels = (limits[0], tangent_kernel(network, points), limits[1])
    flows = [FunctionSpaceFlow(kernel, cost, f_0, n, setting.t) for kernel in kernels]
    on_data_limit = limits[0][: n * n_outputs, : n * n_outputs]
    gaps = [dissipation(network, x, cost, [on_data_limit])]
    times = np.linspace(0, setting.t, TIMES)
    costs: list[float] = []
    distances = np.zeros((2, len(REFERENCES)))
    f = f_0
    for state in GradientFlow(setting.t, setting.tolerance).states(network, x, cost):
        while len(costs) < TIMES and times[len(costs)] <= state.t * (1 + 1e-9):
            costs.append(state.cost_at(times[len(costs)]))
        f = network(points)
        for k, flow in enumerate(flows):
            error = (f - flow(state.t)).square().sum(dim=1)
            now = np.array([float(part.mean().sqrt()) for part in (error[:n], error[n:])])
            distances[:, k] = np.maximum(distances[:, k], now)
    gaps.append(dissipation(network, x, cost, [on_data_limit]))
    costs_limit = [float(cost.value(flows[0](t)[:n])) for t in times]
    return xr.Dataset(
        {
            "on_data": ("reference", distances[0]),
            "off_data": ("reference", distances[1]),
            "dissipation": ("kernel", np.max(gaps, axis=0)),
            "cost_network": ("t", np.array(costs, dtype=np.float32)),
            "cost_limit": ("t", np.array(costs_limit, dtype=np.float32)),
            "f": ("angle", f[n:, 0].cpu().numpy().astype(np.float32)),
            "f_limit": ("angle", flows[0](setting.t)[n:, 0].cpu().numpy().astype(np.float32)),
        },
        coords={"reference": list(REFERENCES), "kernel": ["own", "limit"], "angle": angles.numpy()},
    )


def late_costs(setting: Setting, x: Tensor) -> xr.Dataset:
    """The late cost of the flow from f_0 = 0.

    remaining (objective, definite): C(late)/C(0) with Θ_∞, which is positive definite on these points, and with the
    linear kernel xᵀx'/n_0 + β² (L = 1), of rank 3 at most. stall: the late least-squares cost with the linear kernel;
    stall_predicted: ½‖f* − g‖²_{p^in}, where g is the linear regression of f* on (x, 1).
    """
    remaining = np.zeros((len(COSTS), 2))
    stall = math.nan
    for i, name in enumerate(COSTS):
        cost, n_outputs = cost_on(name, x)
        f_0 = torch.zeros(len(x), n_outputs, dtype=torch.float64, device=x.device)
        for j, depth in enumerate((setting.network.depth, 1)):
            kernel = limit(setting, x, n_outputs, depth)
            space = KernelOnData(tabulated(kernel, n_outputs), torch.arange(len(x), device=x.device))
            positive = space.spectrum[space.spectrum > 1e-12 * space.spectrum[0]]
            late = 30 / float(positive[-1])
            flow = FunctionSpaceFlow(space.matrix, cost, f_0, len(x), late)
            remaining[i, j] = float(cost.value(flow(late)) / cost.value(f_0))
            if (name, depth) == ("least_squares", 1):
                stall = float(cost.value(flow(late)))
    features, target = np.column_stack([x.cpu().numpy(), np.ones(len(x))]), (x[:, :1] * x[:, 1:]).cpu().numpy()
    residual = torch.from_numpy(target - features @ np.linalg.lstsq(features, target, rcond=None)[0])
    predicted = float(inner(residual, residual)) / 2
    return xr.Dataset(
        {"remaining": (("objective", "kernel_rank"), remaining), "stall": stall, "stall_predicted": predicted},
        coords={"objective": list(COSTS), "kernel_rank": ["definite", "deficient"]},
    )


EXPERIMENT = KernelGradient()
