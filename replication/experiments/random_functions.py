"""The linear model of random functions (paper §3.1): as P → ∞ its tangent kernel K̃ tends to K.

Its training then tends to kernel gradient descent with K. The model is trained on N points of the unit circle and also
evaluated between them. Two kernels are tried: the limiting NTK, from Gaussian functions, and a radial kernel, from
random Fourier features. The cost is ½‖f − x_1x_2‖²; the descent starts from θ = 0.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..costs import LeastSquares
from ..datasets import angle_grid, circle, random_angles
from ..limit import theta_inf
from ..random_functions import LinearModel, fourier_functions, gaussian_functions, rbf
from ..randomness import generator
from ..study.claims import Claim, Control
from ..study.experiment import Cell, Ensemble, Experiment, Progress, select
from ..study.settings import BaseConfig, NetworkConfig, require, require_distinct
from ..study.statistics import Statistic, exactly, interval, rate, rms

KERNELS = ("ntk", "rbf")
BLOCK_SIZE = 20


@dataclass(kw_only=True)
class Setting:
    """N inputs on the circle, points between them, learning rate and steps of the descent, and the kernels.

    network: depth, nonlinearity and β of the limiting NTK; length: the length scale of the radial kernel.
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
    """Models with each number P of random functions; the seeds are 0 … seeds − 1 for each P."""

    setting: Setting
    numbers: list[int]
    seeds: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_distinct("numbers", self.numbers, 1)
        require(self.seeds >= 1, "seeds", self.seeds, "must be ≥ 1")


def points(setting: Setting, stream: torch.Generator) -> Tensor:
    """The data, at random on the circle, then the grid of points between them: (M, 2)."""
    angles = [random_angles(setting.n_samples, stream), angle_grid(setting.intervals)]
    return circle(torch.cat(angles))


def kernels(name: str, setting: Setting, x: Tensor) -> tuple[Tensor, Tensor]:
    """K, and another kernel for the controls, at the points x (M, 2): (M, M) each."""
    if name == "rbf":
        return rbf(setting.length)(x), rbf(1.5 * setting.length)(x)
    network = setting.network

    def limit(depth: int) -> Tensor:
        return theta_inf(x, depth=depth, nonlinearity=network.nonlinearity, beta=network.beta)

    return limit(network.depth), limit(network.depth + 1)


def kernel_descent(kernel: Tensor, target: Tensor, learning_rate: float, steps: int) -> Tensor:
    """f ← f − η ∇_K C|_f from f = 0 at all points, the data first: K (M, M), f* (N, 1) → (steps + 1, M, 1)."""
    n = len(target)
    f = torch.zeros(len(kernel), 1, dtype=torch.float64, device=kernel.device)
    trajectory = [f]
    for _ in range(steps):
        f = f - learning_rate / n * kernel[:, :n] @ (f[:n] - target)
        trajectory.append(f)
    return torch.stack(trajectory)


def expected_deviation(name: str, kernel: Tensor) -> float:
    """√P · (E‖K̃ − K‖²_F)^½, from the fourth moments of the random functions.

    Its square is Σ_ij Var[f(x_i) f(x_j)]. For Gaussian functions this is (tr K)² + ‖K‖²_F. For Fourier features
    √2 cos(ω·x + b), f(x) f(x') = cos ω·(x − x') + cos(ω·(x + x') + 2b), and it is Σ_ij (1 + K_ij⁴/2 − K_ij²).
    """
    if name == "ntk":
        return float((kernel.trace().square() + kernel.square().sum()).sqrt())
    return float((1 + kernel**4 / 2 - kernel**2).sum().sqrt())


def _groups(dataset: xr.Dataset, kernel: str, quantity: str, reference: str = "kernel") -> list[np.ndarray]:
    chosen = dataset.sel(reference=reference)
    return [
        select(chosen, "model", kernel=kernel, number=number)[quantity].values for number in dataset.attrs["numbers"]
    ]


def _check_law(dataset: xr.Dataset) -> list[Statistic]:
    numbers = dataset.attrs["numbers"]
    return [
        rate(f"‖K̃ − K‖ ({name})", rms, numbers, _groups(dataset, name, "deviation"), (-0.55, -0.45), variable="P")
        for name in KERNELS
    ]


def _check_constant(dataset: xr.Dataset) -> list[Statistic]:
    statistics = []
    numbers = dataset.attrs["numbers"]
    for name in KERNELS:
        expected = float(dataset.expected.sel(name=name))
        ratios = [
            group * math.sqrt(number) / expected
            for number, group in zip(numbers, _groups(dataset, name, "deviation"), strict=True)
        ]
        estimate = interval(ratios, lambda sample: rms(np.concatenate(list(sample))))
        statistics.append(Statistic(f"rms ‖K̃ − K‖ ÷ expected ({name})", *estimate, (0.9, 1.1)))
    return statistics


def _check_descent(dataset: xr.Dataset) -> list[Statistic]:
    scale = float(np.abs(dataset.limit).max())
    bound = 1e-15 * dataset.attrs["setting"]["steps"] * 10
    statistics = []
    for quantity in ("on_data", "off_data"):
        gaps = dataset[quantity].sel(reference="tangent").values / scale
        name = f"distance {quantity.replace('_', ' ')}"
        statistics.append(exactly(name, float(gaps.max()), (0.0, bound), worst_of=len(gaps)))
    return statistics


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
    """The distances to one reference in place of the distances to another."""
    order = [replaced.get(name, name) for name in dataset.reference.values]
    return dataset.sel(reference=order).assign_coords(reference=dataset.reference.values)


_OTHER = Control("another kernel in the place of K (one layer more; half as long again)", _other_kernel)

CLAIMS = (
    Claim(
        id="random_functions.law",
        place="§3.1",
        statement="The tangent kernel of P random functions tends to their covariance K.",
        paper="K̃ → K by the law of large numbers",
        measure="the exponent in P of the rms of ‖K̃ − K‖_F, over all P, for both kernels",
        figure="random_functions",
        check=_check_law,
        controls=(_OTHER,),
    ),
    Claim(
        id="random_functions.constant",
        place="§3.1",
        statement="‖K̃ − K‖ has the size of the error of a mean of P independent terms, without a free constant.",
        paper="not discussed",
        measure="the rms of ‖K̃ − K‖_F over its value from the fourth moments of the functions",
        figure="random_functions",
        check=_check_constant,
        controls=(_OTHER,),
        note="our own addition to the paper's statement",
    ),
    Claim(
        id="random_functions.descent",
        kind="identity",
        place="§3.1",
        statement="Gradient descent on θ is kernel gradient descent with K̃, on the data and between them.",
        paper="an identity",
        measure="the largest difference between the two over all models, over the largest value; rounding is 10⁻¹⁴ a "
        "step",
        figure="random_functions",
        check=_check_descent,
        controls=(Control("K in the place of K̃", lambda dataset: _reference(dataset, tangent="kernel")),),
    ),
    Claim(
        id="random_functions.trajectories",
        place="§3.1",
        statement="As P grows, training the random model tends to kernel gradient descent with K.",
        paper="approximates (no rate)",
        measure="the exponent in P, for P ≥ 100, of the distance to kernel gradient descent with K: on the data (the "
        "largest over the steps) and between them (at the end), for both kernels",
        figure="random_functions",
        check=_check_trajectories,
        controls=(_OTHER,),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Models:
    """Linear models of P = ``number`` random functions with covariance K; None stands for P → ∞, that is, K itself."""

    kernel: str
    number: int | None
    setting: Setting


class RandomFunctions(Experiment[Config, Models]):
    """Models of every P for each kernel, and the predictions of the kernels themselves."""

    name = "random_functions"
    version = 1
    config = Config
    claims = CLAIMS

    def ensembles(self, config: Config) -> Iterator[Ensemble[Models]]:
        for kernel in KERNELS:
            limit = Models(kernel=kernel, number=None, setting=config.setting)
            yield Ensemble(labels={"kernel": kernel}, setting=limit, seeds=(0,), kind="prediction")
        for number in config.numbers:
            for kernel in KERNELS:
                yield Ensemble(
                    labels={"kernel": kernel, "P": number},
                    setting=Models(kernel=kernel, number=number, setting=config.setting),
                    seeds=range(config.seeds),
                    block=BLOCK_SIZE,
                    work=number + 2000,
                    kind="model",
                )

    def measure(self, cell: Cell[Models], seed: int, device: str, progress: Progress) -> xr.Dataset:
        """A model's tangent kernel and its training, or the prediction from K; in float64.

        deviation (model, reference): the distance ‖·‖_F of K̃ to the reference on all points; on_data, off_data (model,
        reference): the distance between the descent on θ and kernel gradient descent with the reference, on the data
        the largest ‖·‖_{p^in} over the steps, between the data the root mean square at the end; f (model, angle): the
        trained function. The references are K̃ itself, K and, for the controls, another kernel.
        The prediction: limit (prediction, angle), the function trained with K; expected (prediction),
        ``expected_deviation``.
        """
        name, number, setting = cell.setting.kernel, cell.setting.number, cell.setting.setting
        x = points(setting, cell.stream("data")).to(device)
        kernel, other = kernels(name, setting, x)
        target = x[: setting.n_samples, :1] * x[: setting.n_samples, 1:]
        if number is None:
            f = kernel_descent(kernel, target, setting.learning_rate, setting.steps)[-1, setting.n_samples :, 0]
            measured = xr.Dataset({"limit": ("angle", f.cpu().numpy()), "expected": expected_deviation(name, kernel)})
        else:
            if name == "ntk":
                sampler, inputs = gaussian_functions(kernel), torch.arange(len(x), device=device)
            else:
                sampler, inputs = fourier_functions(2, setting.length), x
            model = LinearModel(sampler, number, name, number, seed, stream=cell.stream)
            measured = _train(model, inputs, target, [kernel, other], setting)
        return measured.assign_coords(angle=angle_grid(setting.intervals).numpy())

    def assemble(self, config: Config, parts: Mapping[str, xr.Dataset]) -> xr.Dataset:
        """All models along one dimension; limit (name, angle) and expected (name) for each kernel."""
        models = parts["model"].rename(model_kernel="kernel", model_P="number", model_seed="seed")
        predictions = parts["prediction"].rename(prediction_kernel="name").swap_dims(prediction="name")
        angles = random_angles(config.setting.n_samples, generator(self.name, "data", draw=config.draw))
        return models.merge(predictions.drop_vars("prediction_seed"), join="exact").assign_attrs(
            numbers=sorted(config.numbers), setting=asdict(config.setting), data_angles=angles.tolist()
        )

    def metrics(self, dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
        """‖K̃ − K‖_F and the distance between the trained functions, rms over the models, against P."""
        for number in dataset.attrs["numbers"]:
            for name in KERNELS:
                models = select(dataset, "model", kernel=name, number=number).sel(reference="kernel")
                for quantity in ("deviation", "off_data"):
                    yield float(number), {f"{quantity}/{name}": rms(models[quantity].values)}


def _train(model: LinearModel, x: Tensor, target: Tensor, kernels: Sequence[Tensor], setting: Setting) -> xr.Dataset:
    """The model's descent from θ = 0, compared with kernel gradient descent with K̃, K and another kernel."""
    n = len(target)
    tangent = model.tangent_kernel(x)
    theta = torch.zeros(model.number, dtype=torch.float64, device=x.device)
    on_data = []
    descent = model.gradient_descent(theta, x[:n], LeastSquares(target), setting.learning_rate, setting.steps)
    for theta, f in descent:  # noqa: B007
        on_data.append(f)
    trained = model.output(theta, x)
    references = [tangent, *kernels]
    distances = {"on_data": [], "off_data": []}  # type: dict[str, list[float]]
    for reference in references:
        trajectory = kernel_descent(reference, target, setting.learning_rate, setting.steps)
        errors = torch.stack(on_data) - trajectory[:, :n]
        distances["on_data"].append(float(errors.square().mean(dim=(1, 2)).sqrt().max()))
        distances["off_data"].append(float((trained - trajectory[-1])[n:].square().mean().sqrt()))
    return xr.Dataset(
        {
            "deviation": ("reference", [float((tangent - reference).norm()) for reference in references]),
            **{name: ("reference", values) for name, values in distances.items()},
            "f": ("angle", trained[n:, 0].cpu().numpy().astype(np.float32)),
        },
        coords={"reference": ["tangent", "kernel", "other"]},
    )


EXPERIMENT = RandomFunctions()
