"""Kernel gradient descent (paper §3): networks against the flow in function space, on the data and off them.

On N points of the unit circle, for least squares towards x_1x_2 and for cross-entropy with the sign of x_1x_2 as the
class (n_L = 2): a network trained by gradient flow, beside ∂_t f = −∇_K C|_f from the same f_0, with K the limiting
NTK, the network's own NTK at t = 0 or, for a control, the limit of one layer more.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..costs import Cost, CrossEntropy, LeastSquares
from ..datasets import angle_grid, circle
from ..kernels import KernelOnData, inner
from ..limit import theta_inf
from ..network import Network
from ..random_functions import tabulated
from ..randomness import generator
from ..study.claims import Claim, Control
from ..study.experiment import blocks
from ..study.settings import BaseConfig, NetworkConfig, require, require_distinct
from ..study.statistics import Statistic, geometric, rate
from ..tangent import Tangent, tangent_kernel
from ..training import DivergenceError, GradientFlow

NAME = "kernel_gradient"
VERSION = 1
COSTS = ("least_squares", "cross_entropy")
REFERENCES = ("limit", "initial", "other")
BLOCK_SIZE = 20
TIMES = 41
"""Points of the grid of times at which the costs are recorded."""
EPSILON = 1e-5
"""Time step of the central difference for ∂_tC."""


@dataclass(kw_only=True)
class Setting:
    """Networks, N inputs on the circle and a grid of points between them, training to time t with a tolerance."""

    network: NetworkConfig
    n_samples: int
    intervals: int
    t: float
    tolerance: float

    def __post_init__(self) -> None:
        double = self.network.dtype == "float64"
        require(double, "setting.network.dtype", self.network.dtype, "must be float64, for the differences in time")
        require(self.n_samples >= 4, "setting.n_samples", self.n_samples, "must be ≥ 4, more than a plane can fit")
        valid = self.intervals >= 4 and self.intervals % 2 == 0
        require(valid, "setting.intervals", self.intervals, "must be even, and at least 4")
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


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A fixed block of networks of one width, trained on one cost."""

    cost: str
    width: int
    seeds: tuple[int, ...]
    setting: Setting

    @property
    def label(self) -> str:
        """What the cell is, for people."""
        return f"{self.cost}-n{self.width}-seed{self.seeds[0]}-{self.seeds[-1]}"


def cells(config: Config) -> list[Cell]:
    """Every width, the narrowest first, for each cost."""
    return [
        Cell(cost=cost, width=width, seeds=block, setting=config.setting)
        for width in sorted(config.widths)
        for cost in COSTS
        for block in blocks(range(config.seeds), BLOCK_SIZE)
    ]


def work(cell: Cell) -> float:
    """Relative cost of a cell: products with n × n matrices, and an overhead."""
    return len(cell.seeds) * (cell.width**2 + 3e5)


def problem(name: str, setting: Setting) -> tuple[Tensor, Cost, int]:
    """The data x (N, 2), the cost on them, and n_L."""
    drawn = torch.rand(setting.n_samples, generator=generator(NAME, "data"), dtype=torch.float64)
    x = circle((2 * math.pi * drawn - math.pi).sort().values)
    target = x[:, :1] * x[:, 1:]
    if name == "least_squares":
        return x, LeastSquares(target), 1
    return x, CrossEntropy((target[:, 0] > 0).long(), 2), 2


def limit(setting: Setting, x: Tensor, n_outputs: int, depth: int) -> Tensor:
    """Θ_∞ ⊗ Id at a depth: x (M, 2) → (M n_L, M n_L)."""
    network = setting.network
    kernel = theta_inf(x, depth=depth, nonlinearity=network.nonlinearity, beta=network.beta)
    return torch.kron(kernel, torch.eye(n_outputs, dtype=torch.float64))


class FunctionSpaceFlow:
    """∂_t f = −∇_K C|_f from f_0, at all points (the data first), until a given time.

    kernel: K at all points, (M n_L, M n_L); f_0: (M, n_L). f_t = f_0 − N Φ_K(w(t)), w = (1/N)∫ d dt (paper §3).
    """

    def __init__(self, kernel: Tensor, cost: Cost, f_0: Tensor, n: int, t: float):
        self.space = KernelOnData(tabulated(kernel, f_0.shape[-1]), torch.arange(n))
        self.points, self.f_0, self.n = torch.arange(len(f_0)), f_0, n
        self._w = cost.frozen_flow(self.space.matrix, f_0[:n], t)

    def __call__(self, t: float) -> Tensor:
        """f_t, (M, n_L)."""
        return self.f_0 - self.n * self.space.phi(self._w(t), self.points)


def dissipation(network: Network, x: Tensor, cost: Cost, kernels: Sequence[Tensor]) -> list[float]:
    """|∂_tC + ‖d‖²_K| / ‖d‖²_Θ for each K, with ∂_tC a central difference along the network's own gradient flow.

    The parameters move by ∓ε ∂_θC = ∓(ε/N) Jᵀd and come back; Θ is the network's NTK of this moment. kernels: on the
    data, (N n_L, N n_L).
    """
    tangent = Tangent(network, x)
    d = cost.direction(tangent.output)

    def energy(kernel: Tensor) -> float:
        return float(KernelOnData(tabulated(kernel, d.shape[-1]), torch.arange(len(x))).inner(d, d))

    own = energy(tangent.kernel)
    tangent.move(-EPSILON / len(x) * d)
    after = cost.value(network(x))
    tangent.move(2 * EPSILON / len(x) * d)
    before = cost.value(network(x))
    tangent.move(-EPSILON / len(x) * d)
    slope = float(after - before) / (2 * EPSILON)
    return [abs(slope + energy(kernel)) / own for kernel in (tangent.kernel, *kernels)]


def compute(cell: Cell, device: str = "cpu", progress: Callable[[float], None] = lambda fraction: None) -> xr.Dataset:
    """Each network's training, against the flows in function space.

    on_data, off_data (network, reference): sup over the solver's times of the root mean square distance; dissipation
    (network, kernel): ``dissipation`` with Θ_t and, for the control, Θ_∞, the larger of t = 0 and the end;
    cost_network, cost_limit (network, t); f, f_limit (network, angle): the first output at the end. Runs on the CPU.
    Raises DivergenceError, naming width and seed.
    """
    found = []
    for i, seed in enumerate(cell.seeds):
        try:
            found.append(_train(cell, seed))
        except DivergenceError as error:
            raise DivergenceError(f"{cell.cost}, width {cell.width}, seed {seed}: {error}", error.t) from error
        progress((i + 1) / len(cell.seeds))
    return xr.concat(found, dim="network").assign(seed=("network", list(cell.seeds)))


def _train(cell: Cell, seed: int) -> xr.Dataset:
    setting, n = cell.setting, cell.setting.n_samples
    x, cost, n_outputs = problem(cell.cost, setting)
    angles = angle_grid(setting.intervals)
    points = torch.cat([x, circle(angles)])
    stream = generator(NAME, cell.cost, cell.width, seed)
    network = setting.network.draw(2, cell.width, n_outputs, generator=stream)
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
            found = np.array([error[:n].mean().sqrt(), error[n:].mean().sqrt()])
            distances[:, k] = np.maximum(distances[:, k], found)
    gaps.append(dissipation(network, x, cost, [on_data_limit]))
    costs_limit = [float(cost.value(flows[0](t)[:n])) for t in times]
    return xr.Dataset(
        {
            "on_data": ("reference", distances[0]),
            "off_data": ("reference", distances[1]),
            "dissipation": ("kernel", np.max(gaps, axis=0)),
            "cost_network": ("t", np.array(costs, dtype=np.float32)),
            "cost_limit": ("t", np.array(costs_limit, dtype=np.float32)),
            "f": ("angle", f[n:, 0].numpy().astype(np.float32)),
            "f_limit": ("angle", flows[0](setting.t)[n:, 0].numpy().astype(np.float32)),
        },
        coords={"reference": list(REFERENCES), "kernel": ["own", "limit"], "angle": angles.numpy()},
    )


def late_costs(setting: Setting) -> xr.Dataset:
    """Where the cost ends from f_0 = 0: remaining (objective, definite), C(late)/C(0), and stall, stall_predicted.

    With Θ_∞, positive definite on these points, and with the linear kernel xᵀx'/n_0 + β² (L = 1), of rank 3 at most.
    The latter leaves least squares at ½‖f* − its regression on (x, 1)‖²_{p^in}.
    """
    remaining = np.zeros((len(COSTS), 2))
    stall = math.nan
    for i, name in enumerate(COSTS):
        x, cost, n_outputs = problem(name, setting)
        f_0 = torch.zeros(len(x), n_outputs, dtype=torch.float64)
        for j, depth in enumerate((setting.network.depth, 1)):
            space = KernelOnData(tabulated(limit(setting, x, n_outputs, depth), n_outputs), torch.arange(len(x)))
            positive = space.spectrum[space.spectrum > 1e-12 * space.spectrum[0]]
            late = 30 / float(positive[-1])
            flow = FunctionSpaceFlow(space.matrix, cost, f_0, len(x), late)
            remaining[i, j] = float(cost.value(flow(late)) / cost.value(f_0))
            if (name, depth) == ("least_squares", 1):
                stall = float(cost.value(flow(late)))
    x, cost, _ = problem("least_squares", setting)
    assert isinstance(cost, LeastSquares)
    features = np.column_stack([x.numpy(), np.ones(len(x))])
    target = cost.target.numpy()
    residual = torch.from_numpy(target - features @ np.linalg.lstsq(features, target, rcond=None)[0])
    predicted = float(inner(residual, residual)) / 2
    return xr.Dataset(
        {"remaining": (("objective", "kernel_rank"), remaining), "stall": stall, "stall_predicted": predicted},
        coords={"objective": list(COSTS), "kernel_rank": ["definite", "deficient"]},
    )


def assemble(config: Config, results: Sequence[tuple[Cell, xr.Dataset]]) -> xr.Dataset:
    """All networks along one dimension, and the late costs."""
    parts = []
    for cell, dataset in results:
        wanted = dataset.isel(network=dataset.seed.values < config.seeds)
        size = wanted.sizes["network"]
        parts.append(wanted.assign(cost=("network", [cell.cost] * size), width=("network", [cell.width] * size)))
    networks = xr.concat(parts, dim="network", join="exact", combine_attrs="drop")
    x, _, _ = problem("least_squares", config.setting)
    return (
        xr.merge([networks, late_costs(config.setting)])
        .assign_coords(t=np.linspace(0, config.setting.t, TIMES))
        .assign_attrs(
            widths=sorted(config.widths),
            setting=asdict(config.setting),
            data_angles=torch.atan2(x[:, 1], x[:, 0]).tolist(),
        )
    )


def metrics(dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
    """Mean cost of the widest networks, and of their limits, against time."""
    for name in COSTS:
        group = select(dataset, name, dataset.attrs["widths"][-1])
        for i, t in enumerate(dataset.t.values):
            values = {f"{kind}/{name}": float(group[kind][:, i].mean()) for kind in ("cost_network", "cost_limit")}
            yield float(t), values


def select(dataset: xr.Dataset, cost: str, width: int) -> xr.Dataset:
    """The networks of a width, trained on a cost."""
    return dataset.isel(network=np.flatnonzero((dataset.cost == cost) & (dataset.width == width)))


def _rates(dataset: xr.Dataset, quantity: str) -> list[Statistic]:
    widths, chosen = dataset.attrs["widths"], dataset.sel(reference="limit")
    found = []
    for name in COSTS:
        groups = [select(chosen, name, width)[quantity].values for width in widths]
        found.append(rate(f"distance ({name.replace('_', ' ')})", geometric, widths, groups, (-0.7, -0.3)))
    return found


def _check_dissipation(dataset: xr.Dataset) -> list[Statistic]:
    found = []
    for name in COSTS:
        value = float(dataset.dissipation.sel(kernel="own")[(dataset.cost == name).values].max())
        found.append(Statistic(f"largest relative error ({name.replace('_', ' ')})", value, value, value, (0.0, 1e-3)))
    return found


def _check_infimum(dataset: xr.Dataset) -> list[Statistic]:
    found = []
    for name, allowed in zip(COSTS, (1e-12, 1e-2), strict=True):
        value = float(dataset.remaining.sel(objective=name, kernel_rank="definite"))
        found.append(Statistic(f"C(late)/C(0) ({name.replace('_', ' ')})", value, value, value, (0.0, allowed)))
    return found


def _check_stall(dataset: xr.Dataset) -> list[Statistic]:
    ratio = float(dataset.stall / dataset.stall_predicted)
    return [Statistic("C(late) ÷ predicted", ratio, ratio, ratio, (1 - 1e-9, 1 + 1e-9))]


def _swapped(dataset: xr.Dataset, dimension: str, order: list[str]) -> xr.Dataset:
    """What was found for other references, kernels, … in the place of the true ones."""
    return dataset.sel({dimension: order}).assign_coords({dimension: dataset[dimension].values})


_OTHER = Control("the limit of depth L + 1", lambda data: _swapped(data, "reference", ["other", "other", "other"]))

CLAIMS = (
    Claim(
        id="kernel_gradient.dissipation",
        place="§3; §4",
        statement="A network's cost falls at the rate ‖d‖²_Θ, with Θ its own NTK of the moment.",
        paper="∂_tC = −‖d‖²_K",
        criterion="at t = 0 and at the end of training, |∂_tC + ‖d‖²_Θ| ≤ 10⁻³ ‖d‖²_Θ in every network",
        figure="kernel_gradient",
        check=_check_dissipation,
        controls=(Control("Θ_∞ in the place of Θ", lambda data: _swapped(data, "kernel", ["limit", "limit"])),),
    ),
    Claim(
        id="kernel_gradient.on_data",
        place="§3; §4",
        statement="On the data a wide network follows kernel gradient descent with the limiting NTK.",
        paper="in the limit (no rate)",
        criterion="the exponent in n of the largest distance over time (geometric mean over networks) lies in "
        "[−0.7, −0.3] for both costs: the n^{−1/2} of the kernel at initialization",
        figure="kernel_gradient_widths",
        check=lambda data: _rates(data, "on_data"),
        controls=(_OTHER,),
    ),
    Claim(
        id="kernel_gradient.off_data",
        place="§3; §4",
        statement="Between the data it follows the same kernel gradient, extended by the kernel.",
        paper="in the limit (no rate)",
        criterion="as kernel_gradient.on_data, at points of the circle that are not data",
        figure="kernel_gradient_widths",
        check=lambda data: _rates(data, "off_data"),
        controls=(_OTHER,),
    ),
    Claim(
        id="kernel_gradient.infimum",
        place="§3",
        statement="With a positive definite kernel the cost tends to its infimum.",
        paper="as t → ∞",
        criterion="after 30 times the slowest relaxation time the cost is below 10⁻¹² of its start for least squares, "
        "and below 10⁻² for cross-entropy, which has no minimizer and falls like 1/t",
        figure="kernel_gradient",
        check=_check_infimum,
        controls=(
            Control("the linear kernel, of rank 3", lambda data: _swapped(data, "kernel_rank", ["deficient"] * 2)),
        ),
    ),
    Claim(
        id="kernel_gradient.stall",
        place="§3; §5",
        statement="With a kernel that is not positive definite the cost stalls at what its null space holds.",
        paper="implied",
        criterion="with the linear kernel the cost of least squares ends at half the squared residual of a linear "
        "regression, to 10⁻⁹",
        figure="kernel_gradient",
        check=_check_stall,
        controls=(Control("Θ_∞, for which nothing remains", lambda data: data.assign(stall=0 * data.stall)),),
    ),
)
