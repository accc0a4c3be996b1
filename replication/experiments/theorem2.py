"""Theorem 2 (paper §4.2): during training the NTK stays what it was, the more so the wider the network.

Θ on training points and probes of the unit circle, along training in three directions d_t: the gradient of least
squares, that of cross-entropy, and one that another network supplies, as the discriminator of a generative adversarial
network does. Hidden matrices are revealed where they are wide.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..costs import Cost, CrossEntropy, LeastSquares
from ..datasets import circle
from ..limit import limit
from ..network import Network
from ..nonlinearities import NONLINEARITIES
from ..randomness import generator
from ..revealed import RevealedWeight, rank, truncation
from ..study.claims import Claim, Control
from ..study.experiment import blocks
from ..study.settings import BaseConfig, SeedsAtWidths, WideNetworkConfig, require, require_distinct
from ..study.statistics import Statistic, geometric, mean, rate
from ..tangent import Tangent
from ..training import DivergenceError, GradientFlow
from ..weights import DenseWeight, Weight

NAME = "theorem2"
VERSION = 3
DIRECTIONS = {"least_squares": 1, "cross_entropy": 2, "adversarial": 2}
"""Training direction → n_L."""
DENSE, BLOCK_SIZE, WIDE = 1000, 5, 30_000
"""Networks up to DENSE are tensors; networks of a cell, 1 above WIDE."""
TIMES = 5
"""Times at which Θ is seen, t = 0 included: equally spaced."""


@dataclass(kw_only=True)
class Setting:
    """Training to time t on n_samples points of the circle, with as many probes.

    tolerance: of gradient flow; learning_rate: of the two networks' descent where one supplies the other's direction,
    until adversarial_t; discriminator: the width of that network.
    """

    n_samples: int
    t: float
    tolerance: float
    adversarial_t: float
    learning_rate: float
    discriminator: int

    def __post_init__(self) -> None:
        require(self.n_samples >= 2, "setting.n_samples", self.n_samples, "must be ≥ 2")
        for key in ("t", "tolerance", "adversarial_t", "learning_rate"):
            require(0 < getattr(self, key) < math.inf, f"setting.{key}", getattr(self, key), "must be > 0")
        require(self.discriminator >= 1, "setting.discriminator", self.discriminator, "must be ≥ 1")
        steps = self.adversarial_t / self.learning_rate / (TIMES - 1)
        whole = math.isclose(steps, round(steps)) and steps >= 1
        allowed = f"must be a multiple of {TIMES - 1} steps of rate {self.learning_rate}"
        require(whole, "setting.adversarial_t", self.adversarial_t, allowed)


@dataclass(kw_only=True)
class MeanField(SeedsAtWidths):
    """The negative control: the output × n^{−1/2}, time × n, trained with a tolerance of its own."""

    tolerance: float


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Networks of every width: of each nonlinearity trained by least squares, of the first in the other directions too.

    seeds: networks of each width; direction_seeds: at most so many of them in those other directions.
    """

    network: WideNetworkConfig
    setting: Setting
    nonlinearities: list[str]
    directions: list[str]
    widths: list[int]
    seeds: list[int]
    direction_seeds: int
    mean_field: MeanField

    def __post_init__(self) -> None:
        super().__post_init__()
        known = len(set(self.nonlinearities) & set(NONLINEARITIES)) == len(self.nonlinearities) > 0
        allowed = f"must be distinct, among {', '.join(NONLINEARITIES)}"
        require(known, "nonlinearities", list(self.nonlinearities), allowed)
        first = self.nonlinearities[0] == self.network.nonlinearity
        require(first, "nonlinearities", list(self.nonlinearities), "must start with network.nonlinearity")
        known = "least_squares" in self.directions and set(self.directions) <= set(DIRECTIONS)
        allowed = f"must hold least_squares and be among {', '.join(DIRECTIONS)}"
        require(known, "directions", list(self.directions), allowed)
        require_distinct("widths", self.widths, 1)
        valid = len(self.seeds) == len(self.widths) and min(self.seeds, default=0) >= 1
        require(valid, "seeds", list(self.seeds), f"must be {len(self.widths)} integers ≥ 1, one for each width")
        require(self.direction_seeds >= 1, "direction_seeds", self.direction_seeds, "must be ≥ 1")
        require_distinct("mean_field.widths", self.mean_field.widths, 1)
        require(max(self.mean_field.widths) <= DENSE, "mean_field.widths", self.mean_field.widths, f"must be ≤ {DENSE}")
        require(self.mean_field.seeds >= 1, "mean_field.seeds", self.mean_field.seeds, "must be ≥ 1")
        require(
            0 < self.mean_field.tolerance < math.inf, "mean_field.tolerance", self.mean_field.tolerance, "must be > 0"
        )


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A fixed block of networks of one width, nonlinearity and direction; mean_field: in that scaling."""

    direction: str
    mean_field: bool
    width: int
    seeds: tuple[int, ...]
    network: WideNetworkConfig
    setting: Setting

    @property
    def label(self) -> str:
        """What the cell is, for people."""
        kind = "mean_field" if self.mean_field else self.direction
        return f"{kind}-{self.network.nonlinearity}-n{self.width}-seed{self.seeds[0]}-{self.seeds[-1]}"


def cells(config: Config) -> list[Cell]:
    """The cells of a config, the narrow networks first."""
    found = []
    for (direction, sigma, width, mean_field), seeds in _ensembles(config).items():
        setting = config.setting
        if mean_field:
            setting = replace(setting, tolerance=config.mean_field.tolerance)
        network = replace(config.network, nonlinearity=sigma)
        if width <= DENSE:
            network = replace(network, weights="dense")
        for block in blocks(range(seeds), BLOCK_SIZE if width <= WIDE else 1):
            cell = Cell(
                direction=direction,
                mean_field=mean_field,
                width=width,
                seeds=block,
                network=network,
                setting=setting,
            )
            found.append(cell)
    return sorted(found, key=lambda cell: (cell.width, cell.label))


def _ensembles(config: Config) -> dict[tuple[str, str, int, bool], int]:
    """(direction, nonlinearity, width, mean-field scaling) → number of seeds."""
    first = config.network.nonlinearity
    found: dict[tuple[str, str, int, bool], int] = {}
    for width, seeds in zip(config.widths, config.seeds, strict=True):
        fewer = min(seeds, config.direction_seeds)
        found |= {(direction, first, width, False): fewer for direction in config.directions}
        found |= {("least_squares", sigma, width, False): seeds for sigma in config.nonlinearities}
    return found | {
        ("least_squares", first, width, True): config.mean_field.seeds for width in config.mean_field.widths
    }


def work(cell: Cell) -> float:
    """Relative cost of a cell: products with the hidden matrices, and an overhead."""
    passes = 300.0 if cell.mean_field else 60.0 if cell.direction != "adversarial" else 100.0
    size = float(cell.width) * (cell.width if cell.width <= DENSE else 2000)
    return len(cell.seeds) * passes * (size + 1e6)


def points(setting: Setting) -> tuple[Tensor, int]:
    """Training points and as many probes, alternating around the circle: (2 N, 2), the training points first; N."""
    n = setting.n_samples
    angles = torch.arange(2 * n, dtype=torch.float64) * math.pi / n + 0.3 * torch.rand(
        2 * n, generator=generator(NAME, "points", n), dtype=torch.float64
    )
    return circle(torch.cat([angles[::2], angles[1::2]])), n


def cost_of(direction: str, x: Tensor) -> Cost:
    """Least squares towards x_1x_2, or cross-entropy with the sign of x_1x_2 as the class."""
    product = x[:, :1] * x[:, 1:]
    return LeastSquares(product) if direction == "least_squares" else CrossEntropy((product[:, 0] > 0).long(), 2)


def compute(cell: Cell, device: str = "cpu", progress: Callable[[float], None] = lambda fraction: None) -> xr.Dataset:
    """Train each network, and see what moves.

    change (network, time): ‖Θ(t) − Θ(0)‖_F/‖Θ(0)‖_F on training points and probes; moved (network, layer): rms over
    points and neurons of α⁽ˡ⁾ − α⁽ˡ⁾_0 at the end; weights (network, matrix): ‖W⁽ˡ⁾(t) − W⁽ˡ⁾(0)‖_F/√n_l at the end,
    of the hidden n × n matrices; share, share_limit (network, parameters): dᵀΘ_l d/dᵀΘd at t = 0, with Θ_l what the
    parameters of layer l contribute to Θ, or to Θ_∞, and d the direction on the training points; learned (network): rms
    change of f there; switched_on, switched_off (network, layer): part of all pairs of neuron and training point in
    which σ̇ is 0 at the start and positive at the end, and the other way round; rank, truncation (network): of revealed
    weights.
    Raises DivergenceError, naming width and seed, and MemoryError, naming the largest width that fits.
    """
    found = []
    for i, seed in enumerate(cell.seeds):
        try:
            found.append(_train(cell, seed, device))
        except DivergenceError as error:
            raise DivergenceError(f"{cell.label}, seed {seed}: {error}", error.t) from error
        progress((i + 1) / len(cell.seeds))
    return xr.concat(found, dim="network").assign(seed=("network", list(cell.seeds)))


def _train(cell: Cell, seed: int, device: str) -> xr.Dataset:
    setting = cell.setting
    at, n = points(setting)
    at = at.to(device)
    n_outputs = DIRECTIONS[cell.direction]
    network = cell.network.draw_wide(
        2,
        cell.width,
        n_outputs,
        inputs=2 * n,
        directions=n_outputs * n * (2 * TIMES + _steps(cell)),
        generator=generator(NAME, cell.direction, cell.network.nonlinearity, cell.width, seed),
        device=device,
        output_scale=cell.width**-0.5 if cell.mean_field else 1.0,
    )
    drawn = [weight.values.clone() if isinstance(weight, DenseWeight) else None for weight in network.weights]
    trained = _adversarial if cell.direction == "adversarial" else _flow
    changes: list[float] = []
    start: Tangent | None = None
    for direction in trained(cell, network, at[:n]):
        tangent = Tangent(network, at)
        kernel = tangent.kernel
        if start is None:
            start, first = tangent, kernel
            layers = torch.stack([layer[: n * n_outputs, : n * n_outputs] for layer in tangent.layers_with(tangent)])
            d = direction.flatten().double()
            energies = [torch.einsum("i,lij,j->l", d, terms, d) for terms in (layers, limit_layers(cell, at[:n]))]
        changes.append(float((kernel - first).norm() / first.norm()))
    assert start is not None
    pairs = list(zip(tangent.forward.activations[1:], start.forward.activations[1:], strict=True))
    moved = [float((after - before).double().square().mean().sqrt()) for after, before in pairs]
    weights = [_change(weight, before) for weight, before in zip(network.weights[1:-1], drawn[1:-1], strict=True)]
    slopes = [
        (before[:n] > 0, after[:n] > 0)
        for before, after in zip(start.forward.slopes, tangent.forward.slopes, strict=True)
    ]
    return xr.Dataset(
        {
            "change": ("time", changes),
            "moved": ("layer", moved),
            "weights": ("matrix", weights),
            "share": ("parameters", (energies[0] / energies[0].sum()).cpu().numpy()),
            "share_limit": ("parameters", (energies[1] / energies[1].sum()).cpu().numpy()),
            "learned": ((), float((tangent.output - start.output)[:n].square().mean().sqrt())),
            "switched_on": ("layer", [float((~before & after).double().mean()) for before, after in slopes]),
            "switched_off": ("layer", [float((before & ~after).double().mean()) for before, after in slopes]),
            "rank": ((), rank(network.weights)),
            "truncation": ((), truncation(network.weights)),
        }
    )


def _change(weight: Weight, before: Tensor | None) -> float:
    """‖W(t) − W(0)‖_F/√n_l of a dense matrix, given W(0), or of a revealed one."""
    if isinstance(weight, RevealedWeight):
        change = weight.change_norm
    else:
        assert isinstance(weight, DenseWeight)
        assert before is not None
        change = float((weight.values - before).double().norm())
    return change / math.sqrt(weight.shape[1])


def _steps(cell: Cell) -> int:
    """Steps of descent; or of the flow, at most 12 to t = 30 at a tolerance of 2·10⁻³ where networks are wide."""
    setting = cell.setting
    if cell.direction == "adversarial":
        return round(setting.adversarial_t / setting.learning_rate)
    return math.ceil(12 * max(1, setting.t / 30) * max(1, math.sqrt(2e-3 / setting.tolerance)))


def limit_layers(cell: Cell, x: Tensor) -> Tensor:
    """What the parameters of each layer contribute to Θ_∞⁽ᴸ⁾ ⊗ Id: Σ⁽ˡ⁾ Σ̇⁽ˡ⁺¹⁾ ⋯ Σ̇⁽ᴸ⁾, (L, N n_L, N n_L)."""
    network = cell.network
    kernels = limit(x, depth=network.depth, nonlinearity=network.nonlinearity, beta=network.beta)
    terms, below = [], torch.ones_like(kernels.sigma[0])
    for sigma, sigma_dot in zip(kernels.sigma.flip(0), kernels.sigma_dot.flip(0), strict=True):
        terms.append(sigma * below)
        below = below * sigma_dot
    identity = torch.eye(DIRECTIONS[cell.direction], dtype=torch.float64, device=x.device)
    return torch.stack([torch.kron(term, identity) for term in reversed(terms)])


def _flow(cell: Cell, network: Network, x: Tensor) -> Iterator[Tensor]:
    """Gradient flow of a cost; yields the direction −d at each of the times."""
    cost = cost_of(cell.direction, x)
    speed = cell.width if cell.mean_field else 1
    yield -cost.direction(network(x).double())
    for begin, end in pairwise(np.linspace(0, cell.setting.t * speed, TIMES)):
        for state in GradientFlow(float(end - begin), cell.setting.tolerance).states(network, x, cost):
            f = state.f
        yield -cost.direction(f)


def _adversarial(cell: Cell, network: Network, z: Tensor) -> Iterator[Tensor]:
    """The network is a generator z ↦ f(z) ∈ ℝ²; d_t(z) = ∇D(f(z)) comes from a discriminator D trained alongside.

    D is trained by least squares, to +1 on eight points of a circle of radius 2 and to −1 on the generated ones. Both
    take steps of gradient descent at once.
    """
    setting = cell.setting
    discriminator = replace(cell.network, depth=3, weights="dense").draw(
        2, setting.discriminator, generator=generator(NAME, "discriminator"), device=str(z.device)
    )
    real = 2 * circle(torch.arange(8, dtype=torch.float64) * math.pi / 4).to(z.device)
    labels = torch.cat([torch.ones(8, 1), -torch.ones(len(z), 1)]).to(real)
    eta = setting.learning_rate
    steps = round(setting.adversarial_t / eta)
    for step in range(steps + 1):
        tangent = Tangent(network, z)
        judged = Tangent(discriminator, torch.cat([real, tangent.output]))
        gradient = input_gradient(discriminator, judged)[8:]
        if not torch.isfinite(gradient).all():
            raise DivergenceError("the generated points are no longer finite", step * eta)
        if step % (steps // (TIMES - 1)) == 0:
            yield gradient
        if step < steps:
            judged.move(-eta / len(labels) * (judged.output - labels))
            tangent.move(eta / len(z) * gradient)


def input_gradient(network: Network, tangent: Tangent) -> Tensor:
    """∇_x f(x) of a network with one output, (N, n_0): W⁽⁰⁾ᵀδ⁽¹⁾/√n_0."""
    weight = network.weights[0]
    gradient: Tensor = weight.apply_transpose(tangent.derivatives[0]).double() * weight.shape[1] ** -0.5
    return gradient


def assemble(config: Config, results: Sequence[tuple[Cell, xr.Dataset]]) -> xr.Dataset:
    """All networks along one dimension."""
    ensembles, parts = _ensembles(config), []
    for cell, dataset in results:
        key = (cell.direction, cell.network.nonlinearity, cell.width, cell.mean_field)
        wanted = dataset.isel(network=dataset.seed.values < ensembles[key])
        size = wanted.sizes["network"]
        names = {
            "direction": "mean_field" if cell.mean_field else cell.direction,
            "nonlinearity": cell.network.nonlinearity,
            "width": cell.width,
        }
        parts.append(wanted.assign({name: ("network", [value] * size) for name, value in names.items()}))
    networks = xr.concat(parts, dim="network", join="exact", combine_attrs="drop")
    return networks.assign_coords(time=np.linspace(0, 1, TIMES)).assign_attrs(
        widths=sorted(config.widths),
        nonlinearities=config.nonlinearities,
        directions=config.directions,
        mean_field=sorted(config.mean_field.widths),
        network=asdict(config.network),
        setting=asdict(config.setting),
        largest_rank=int(networks["rank"].max()),
        largest_truncation=float(networks.truncation.max()),
    )


def metrics(dataset: xr.Dataset) -> Iterator[tuple[float, Mapping[str, float]]]:
    """Mean relative change of Θ against n, for each nonlinearity and direction."""
    for width in dataset.attrs["widths"]:
        for direction, sigma in runs(dataset):
            value = geometric(largest_change(select(dataset, direction, sigma, width)))
            yield float(width), {f"change/{direction}/{sigma}": value}


def runs(dataset: xr.Dataset) -> list[tuple[str, str]]:
    """(direction, nonlinearity): least squares for each nonlinearity, then the other directions for the first."""
    first, *_ = sigmas = dataset.attrs["nonlinearities"]
    others = [direction for direction in dataset.attrs["directions"] if direction != "least_squares"]
    return [*(("least_squares", sigma) for sigma in sigmas), *((direction, first) for direction in others)]


def select(dataset: xr.Dataset, direction: str, nonlinearity: str, width: int) -> xr.Dataset:
    """The networks of a width, trained in a direction."""
    chosen = (dataset.direction == direction) & (dataset.nonlinearity == nonlinearity) & (dataset.width == width)
    return dataset.isel(network=np.flatnonzero(chosen))


def largest_change(networks: xr.Dataset) -> np.ndarray:
    """sup_t ‖Θ(t) − Θ(0)‖/‖Θ(0)‖ of each network, (seeds,)."""
    found: np.ndarray = networks.change.values.max(axis=1)
    return found


def switches(networks: xr.Dataset) -> np.ndarray:
    """Part of all neurons that a training point switches on, and off, mean over the layers: (seeds, 2)."""
    return np.stack([networks[name].values.mean(axis=1) for name in ("switched_on", "switched_off")], axis=1)


def imbalance(counts: np.ndarray) -> np.ndarray:
    """(off − on)/(off + on) of ``switches``, (seeds,)."""
    on, off = counts.T
    found: np.ndarray = (off - on) / np.maximum(off + on, 1e-300)
    return found


def _groups(dataset: xr.Dataset, direction: str, sigma: str) -> list[np.ndarray]:
    return [largest_change(select(dataset, direction, sigma, width)) for width in dataset.attrs["widths"]]


def _rates(dataset: xr.Dataset, wanted: Callable[[str, str], bool], allowed: tuple[float, float]) -> list[Statistic]:
    found = []
    for direction, sigma in runs(dataset):
        if wanted(direction, sigma):
            name = f"change of Θ ({sigma}, {direction.replace('_', ' ')})"
            found.append(rate(name, geometric, dataset.attrs["widths"], _groups(dataset, direction, sigma), allowed))
    return found


def relu_switches(dataset: xr.Dataset) -> list[np.ndarray]:
    """``switches`` of the ReLU networks of each width, trained by least squares; none without such networks."""
    if "relu" not in dataset.attrs["nonlinearities"]:
        return []
    return [switches(select(dataset, "least_squares", "relu", width)) for width in dataset.attrs["widths"]]


def _check_switches(dataset: xr.Dataset) -> list[Statistic]:
    widths, groups = dataset.attrs["widths"], relu_switches(dataset)
    if not groups:
        return []
    return [
        rate("part of neurons that switch", total, widths, groups, (-0.6, -0.4)),
        mean(f"(off − on) ÷ (off + on) (n={widths[-1]})", imbalance(groups[-1]), (0.05, 1.0)),
    ]


def total(counts: np.ndarray) -> float:
    """The part that switches on or off, mean over networks; not 0, which has no logarithm."""
    return max(float(counts.sum(axis=1).mean()), 1e-300)


def _exchanged(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.rename(switched_on="switched_off", switched_off="switched_on")


def _narrowest(dataset: xr.Dataset) -> xr.Dataset:
    """The networks of the narrowest width in the place of every width's."""
    narrow = dataset.isel(network=np.flatnonzero(dataset.width == dataset.attrs["widths"][0]))
    size = narrow.sizes["network"]
    return xr.concat(
        [narrow.assign(width=("network", [width] * size)) for width in dataset.attrs["widths"]], dim="network"
    )


def _mean_field(dataset: xr.Dataset) -> xr.Dataset:
    """The mean-field networks in the place of those of every direction and nonlinearity, at their own widths."""
    control = dataset.isel(network=np.flatnonzero(dataset.direction == "mean_field"))
    size = control.sizes["network"]
    parts = [
        control.assign(direction=("network", [direction] * size), nonlinearity=("network", [sigma] * size))
        for direction, sigma in runs(dataset)
    ]
    return xr.concat(parts, dim="network").assign_attrs(dataset.attrs | {"widths": dataset.attrs["mean_field"]})


_CONTROL = Control("mean-field scaling, in which Θ moves at every width", _mean_field)


def _check_weights(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    found = []
    if dataset.sizes["matrix"] == 0:  # L = 2
        return []
    for sigma in dataset.attrs["nonlinearities"]:
        groups = [select(dataset, "least_squares", sigma, width).weights.values for width in widths]
        found.append(rate(f"‖W(t) − W(0)‖_F/√n ({sigma})", geometric, widths, groups, (-0.6, -0.4)))
    return found


CLAIMS = (
    Claim(
        id="theorem2.constant",
        place="Theorem 2",
        statement="Trained by least squares, the NTK of networks with a smooth σ changes the less the wider they are.",
        paper="uniformly on [0, T], for σ with a bounded second derivative; n^{−1/2} in the proof",
        criterion="the exponent in n of the largest relative change of Θ over time (geometric mean over networks) lies "
        "in [−1.25, −0.75] for each σ: faster than the proof's n^{−1/2}, as later theory has it (n^{−1})",
        figure="theorem2",
        check=lambda data: _rates(data, lambda d, sigma: d == "least_squares" and sigma != "relu", (-1.25, -0.75)),
        controls=(_CONTROL,),
    ),
    Claim(
        id="theorem2.relu",
        place="Theorem 2; §6.1",
        statement="The NTK of ReLU networks, which the theorem leaves out, changes less and less too, but more slowly.",
        paper="almost fixed at n = 10000 (§6.1); the theorem wants a bounded second derivative",
        criterion="the exponent lies in [−0.95, −0.4]",
        figure="theorem2",
        check=lambda data: _rates(data, lambda d, sigma: sigma == "relu", (-0.95, -0.4)),
        controls=(_CONTROL,),
        note="the wider, the more nearly like n^{−1/2}: see theorem2.switches",
    ),
    Claim(
        id="theorem2.switches",
        place="Theorem 2; footnote 1",
        statement="Why ReLU is slower: at an input, of order √n neurons of a layer switch on or off, and more of them "
        "off, so that their ± 1/n each in Θ add up to n^{−1/2} instead of cancelling.",
        paper="not discussed",
        criterion="the exponent in n of the part of the neurons that training switches at a training point lies in "
        "[−0.6, −0.4], and at the largest width (off − on) ÷ (off + on) is above 0.05",
        figure="theorem2_switches",
        check=_check_switches,
        controls=(
            Control("on and off exchanged", _exchanged),
            Control("the narrowest networks in the place of all", _narrowest),
        ),
        note="our own addition: an active neuron is moved by the residual of the point itself too, an inactive one by "
        "those of other points alone, so that more neurons cross 0 downwards; seen first on other networks than those "
        "that decide",
    ),
    Claim(
        id="theorem2.directions",
        place="Theorem 2; §4.2",
        statement="So it does for other training directions: cross-entropy, and one that another network supplies.",
        paper="any direction of stochastically bounded integral",
        criterion="as theorem2.constant, for cross-entropy and for a generator that follows ∇D of a discriminator D "
        "trained alongside",
        figure="theorem2",
        check=lambda data: _rates(data, lambda d, sigma: d != "least_squares", (-1.25, -0.75)),
        controls=(_CONTROL,),
    ),
    Claim(
        id="theorem2.weights",
        place="Lemma 1",
        statement="The change of each hidden weight matrix over √n vanishes as the width grows.",
        paper="in operator norm (no rate)",
        criterion="the exponent in n of ‖W⁽ˡ⁾(t) − W⁽ˡ⁾(0)‖_F/√n, which bounds the operator norm, lies in [−0.6, −0.4] "
        "for each σ (geometric mean over networks and matrices)",
        figure="theorem2",
        check=_check_weights,
        controls=(_CONTROL,),
    ),
)
