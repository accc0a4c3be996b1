"""The linear model of random functions (paper §3.1): its tangent kernel K̃ tends to K, and its training to that with K.

On N points of the unit circle, with points between them, for two kernels: the limiting NTK, from Gaussian functions,
and a radial kernel, from random Fourier features. The cost is ½‖f − x_1x_2‖², the descent starts from θ = 0.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..costs import LeastSquares
from ..datasets import angle_grid, circle
from ..limit import theta_inf
from ..random_functions import LinearModel, Sampler, fourier_functions, gaussian_functions, rbf
from ..randomness import generator
from ..study.claims import Claim, Control
from ..study.experiment import blocks
from ..study.settings import BaseConfig, NetworkConfig, require, require_distinct
from ..study.statistics import Statistic, interval, rate, rms

NAME = "random_functions"
VERSION = 1
KERNELS = ("ntk", "rbf")
BLOCK_SIZE = 20


@dataclass(kw_only=True)
class Setting:
    """Data and training: N inputs on the circle, points between them, rate and steps of the descent, the kernels.

    network: depth, nonlinearity and β of the limiting NTK; length: of the radial kernel.
    """

    n_samples: int
    intervals: int
    learning_rate: float
    steps: int
    length: float
    network: NetworkConfig

    def __post_init__(self) -> None:
        require(self.n_samples >= 2, "setting.n_samples", self.n_samples, "must be ≥ 2")
        valid = self.intervals >= 4 and self.intervals % 2 == 0
        require(valid, "setting.intervals", self.intervals, "must be even, and at least 4")
        require(0 < self.learning_rate < math.inf, "setting.learning_rate", self.learning_rate, "must be > 0")
        require(self.steps >= 1, "setting.steps", self.steps, "must be ≥ 1")
        require(0 < self.length < math.inf, "setting.length", self.length, "must be > 0")


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Models of each number P of random functions, with seeds 0 … seeds − 1 at each."""

    setting: Setting
    numbers: list[int]
    seeds: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_distinct("numbers", self.numbers, 1)
        require(self.seeds >= 1, "seeds", self.seeds, "must be ≥ 1")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A fixed block of models of one kernel and one P."""

    kernel: str
    number: int
    seeds: tuple[int, ...]
    setting: Setting

    @property
    def label(self) -> str:
        """What the cell is, for people."""
        return f"{self.kernel}-P{self.number}-seed{self.seeds[0]}-{self.seeds[-1]}"


def cells(config: Config) -> list[Cell]:
    """Every P, the smallest first, for each kernel."""
    return [
        Cell(kernel=kernel, number=number, seeds=block, setting=config.setting)
        for number in sorted(config.numbers)
        for kernel in KERNELS
        for block in blocks(range(config.seeds), BLOCK_SIZE)
    ]


def work(cell: Cell) -> float:
    """Relative cost of a cell: functions drawn, and an overhead."""
    return len(cell.seeds) * (cell.number + 2000.0)


def compute(cell: Cell, device: str = "cpu", progress: Callable[[float], None] = lambda fraction: None) -> xr.Dataset:
    """Each model's tangent kernel and training, against those of K and, for the controls, of another kernel.

    deviation (model, reference): ‖K̃ − K‖_F on all points; on_data, off_data (model, reference): the largest distance
    in ‖·‖_{p^in} over the steps, and the root mean square between the data at the end, between the descent on θ and
    kernel gradient descent with the reference: K̃ itself, K, or another kernel; f (model, angle): the trained function.
    Runs on the CPU, in float64.
    """
    problem = _problem(cell.kernel, cell.setting)
    found = []
    for i, seed in enumerate(cell.seeds):
        found.append(_train(cell, seed, *problem))
        progress((i + 1) / len(cell.seeds))
    return xr.concat(found, dim="model").assign(seed=("model", list(cell.seeds)))


def _train(cell: Cell, seed: int, kernel: Tensor, other: Tensor, sampler: Sampler, x: Tensor) -> xr.Dataset:
    setting, n = cell.setting, cell.setting.n_samples
    model = LinearModel(sampler, cell.number, NAME, cell.kernel, cell.number, seed)
    tangent = model.tangent_kernel(x)
    target = _target(_points(setting)[:n])
    theta = torch.zeros(cell.number, dtype=torch.float64)
    on_data = []
    descent = model.gradient_descent(theta, x[:n], LeastSquares(target), setting.learning_rate, setting.steps)
    for theta, f in descent:  # noqa: B007
        on_data.append(f)
    trained = model.output(theta, x)
    distances = {"on_data": [], "off_data": []}  # type: dict[str, list[float]]
    for reference in (tangent, kernel, other):
        trajectory = kernel_descent(reference, target, setting.learning_rate, setting.steps)
        errors = torch.stack(on_data) - trajectory[:, :n]
        distances["on_data"].append(float(errors.square().mean(dim=(1, 2)).sqrt().max()))
        distances["off_data"].append(float((trained - trajectory[-1])[n:].square().mean().sqrt()))
    deviations = [float((tangent - reference).norm()) for reference in (tangent, kernel, other)]
    return xr.Dataset(
        {
            "deviation": ("reference", deviations),
            **{name: ("reference", values) for name, values in distances.items()},
            "f": ("angle", trained[n:, 0].numpy().astype(np.float32)),
        },
        coords={"reference": ["tangent", "kernel", "other"], "angle": angle_grid(setting.intervals).numpy()},
    )


def kernel_descent(kernel: Tensor, target: Tensor, learning_rate: float, steps: int) -> Tensor:
    """f ← f − η ∇_K C|_f from f = 0 at all points, the data first: K (M, M), f* (N, 1) → (steps + 1, M, 1)."""
    n = len(target)
    f = torch.zeros(len(kernel), 1, dtype=torch.float64)
    found = [f]
    for _ in range(steps):
        f = f - learning_rate / n * kernel[:, :n] @ (f[:n] - target)
        found.append(f)
    return torch.stack(found)


def expected_deviation(name: str, kernel: Tensor) -> float:
    """√P · (E‖K̃ − K‖²_F)^½, from the fourth moments of the random functions.

    Gaussian functions: Σ_ij Var[f(x_i) f(x_j)] = (tr K)² + ‖K‖²_F; Fourier features √2 cos(ω·x + b), for which
    f(x) f(x') = cos ω·(x − x') + cos(ω·(x + x') + 2b): Σ_ij (1 + K_ij⁴/2 − K_ij²).
    """
    if name == "ntk":
        return float((kernel.trace().square() + kernel.square().sum()).sqrt())
    return float((1 + kernel**4 / 2 - kernel**2).sum().sqrt())


def assemble(config: Config, results: Sequence[tuple[Cell, xr.Dataset]]) -> xr.Dataset:
    """All models along one dimension; limit (kernel, angle): the function trained with K; expected (kernel)."""
    parts = []
    for cell, dataset in results:
        wanted = dataset.isel(model=dataset.seed.values < config.seeds)
        size = wanted.sizes["model"]
        parts.append(wanted.assign(kernel=("model", [cell.kernel] * size), number=("model", [cell.number] * size)))
    models = xr.concat(parts, dim="model", join="exact", combine_attrs="drop")
    setting, limits, expected = config.setting, [], []
    for name in KERNELS:
        kernel = _problem(name, setting)[0]
        target = _target(_points(setting)[: setting.n_samples])
        trained = kernel_descent(kernel, target, setting.learning_rate, setting.steps)[-1, setting.n_samples :, 0]
        limits.append(trained.numpy())
        expected.append(expected_deviation(name, kernel))
    models["limit"] = (("name", "angle"), np.stack(limits))
    models["expected"] = ("name", expected)
    return models.assign_coords(name=list(KERNELS)).assign_attrs(
        numbers=sorted(config.numbers), setting=asdict(setting), data_angles=_data_angles(setting).tolist()
    )


def metrics(dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
    """‖K̃ − K‖_F and the distance of the trained functions, root mean squares over the models, against P."""
    for number in dataset.attrs["numbers"]:
        for name in KERNELS:
            models = select(dataset, name, number).sel(reference="kernel")
            for quantity in ("deviation", "off_data"):
                yield float(number), {f"{quantity}/{name}": rms(models[quantity].values)}


def select(dataset: xr.Dataset, kernel: str, number: int) -> xr.Dataset:
    """The models of a kernel with P functions."""
    return dataset.isel(model=np.flatnonzero((dataset.kernel == kernel) & (dataset.number == number)))


def _data_angles(setting: Setting) -> Tensor:
    drawn = torch.rand(setting.n_samples, generator=generator(NAME, "data"), dtype=torch.float64)
    return (2 * math.pi * drawn - math.pi).sort().values


def _points(setting: Setting) -> Tensor:
    return torch.cat([circle(_data_angles(setting)), circle(angle_grid(setting.intervals))])


def _target(x: Tensor) -> Tensor:
    return x[:, :1] * x[:, 1:]


def _problem(name: str, setting: Setting) -> tuple[Tensor, Tensor, Sampler, Tensor]:
    """K on all points, another kernel there, the sampler of K, and the points as the sampler wants them."""
    points, network = _points(setting), setting.network
    if name == "rbf":
        kernel, other = (rbf(length)(points) for length in (setting.length, 1.5 * setting.length))
        return kernel, other, fourier_functions(2, setting.length), points
    kernel, other = (
        theta_inf(points, depth=depth, nonlinearity=network.nonlinearity, beta=network.beta)
        for depth in (network.depth, network.depth + 1)
    )
    return kernel, other, gaussian_functions(kernel), torch.arange(len(points))


def _groups(dataset: xr.Dataset, kernel: str, quantity: str, reference: str = "kernel") -> list[np.ndarray]:
    chosen = dataset.sel(reference=reference)
    return [select(chosen, kernel, number)[quantity].values for number in dataset.attrs["numbers"]]


def _check_law(dataset: xr.Dataset) -> list[Statistic]:
    numbers = dataset.attrs["numbers"]
    return [
        rate(f"‖K̃ − K‖ ({name})", rms, numbers, _groups(dataset, name, "deviation"), (-0.55, -0.45), variable="P")
        for name in KERNELS
    ]


def _check_constant(dataset: xr.Dataset) -> list[Statistic]:
    found = []
    numbers = dataset.attrs["numbers"]
    for name in KERNELS:
        expected = float(dataset.expected.sel(name=name))
        ratios = [
            group * math.sqrt(number) / expected
            for number, group in zip(numbers, _groups(dataset, name, "deviation"), strict=True)
        ]
        estimate = interval(ratios, lambda sample: rms(np.concatenate(list(sample))))
        found.append(Statistic(f"rms ‖K̃ − K‖ ÷ expected ({name})", *estimate, (0.9, 1.1)))
    return found


def _check_descent(dataset: xr.Dataset) -> list[Statistic]:
    scale = float(np.abs(dataset.limit).max())
    bound = 1e-15 * dataset.attrs["setting"]["steps"] * 10
    found = []
    for quantity in ("on_data", "off_data"):
        gap = float(dataset[quantity].sel(reference="tangent").max()) / scale
        found.append(Statistic(f"largest distance, {quantity.replace('_', ' ')}", gap, gap, gap, (0.0, bound)))
    return found


def _check_trajectories(dataset: xr.Dataset) -> list[Statistic]:
    numbers = [number for number in dataset.attrs["numbers"] if number >= 100]
    chosen = dataset.assign_attrs(numbers=numbers)
    return [
        rate(
            f"distance {quantity.replace('_', ' ')} ({name})",
            rms,
            numbers,
            _groups(chosen, name, quantity),
            (-0.6, -0.4),
            variable="P",
        )
        for name in KERNELS
        for quantity in ("on_data", "off_data")
    ]


def _other_kernel(dataset: xr.Dataset) -> xr.Dataset:
    return _reference(dataset, kernel="other")


def _reference(dataset: xr.Dataset, **replaced: str) -> xr.Dataset:
    """Distances to one reference in the place of those to another."""
    order = [replaced.get(name, name) for name in dataset.reference.values]
    return dataset.sel(reference=order).assign_coords(reference=dataset.reference.values)


_OTHER = Control("another kernel in the place of K (one layer more; half as long again)", _other_kernel)

CLAIMS = (
    Claim(
        id="random_functions.law",
        place="§3.1",
        statement="The tangent kernel of P random functions tends to their covariance K.",
        paper="K̃ → K by the law of large numbers",
        measure="the exponent in P of the rms of ‖K̃ − K‖_F lies in [−0.55, −0.45] over all P, for both kernels",
        figure="random_functions",
        check=_check_law,
        controls=(_OTHER,),
    ),
    Claim(
        id="random_functions.constant",
        place="§3.1",
        statement="The size of ‖K̃ − K‖ is that of a mean of P independent terms, without a free constant.",
        paper="not discussed",
        measure="the rms of ‖K̃ − K‖_F over its value from the functions' fourth moments lies in [0.9, 1.1]",
        figure="random_functions",
        check=_check_constant,
        controls=(_OTHER,),
        note="our own addition to the paper's statement",
    ),
    Claim(
        id="random_functions.descent",
        place="§3.1",
        statement="Gradient descent on θ is kernel gradient descent with K̃, on the data and between them.",
        paper="an identity",
        measure="the two differ, in every model, by at most 10⁻¹⁴ × steps of the largest value: by rounding",
        figure="random_functions",
        check=_check_descent,
        controls=(Control("K in the place of K̃", lambda dataset: _reference(dataset, tangent="kernel")),),
    ),
    Claim(
        id="random_functions.trajectories",
        place="§3.1",
        statement="Training the random model tends to kernel gradient descent with K.",
        paper="approximates (no rate)",
        measure="the exponent in P ≥ 100 of the distance to kernel gradient descent with K lies in [−0.6, −0.4], on "
        "the data (largest over the steps) and between them (at the end), for both kernels",
        figure="random_functions",
        check=_check_trajectories,
        controls=(_OTHER,),
    ),
)
