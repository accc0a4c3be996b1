"""The measurements on one network that is trained in one of three directions d_t (paper §4.2)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...costs import Cost, CrossEntropy, LeastSquares
from ...datasets import circle
from ...limit import Limit, limit
from ...network import Network
from ...revealed import RevealedWeight, rank, truncation
from ...study.experiment import Cell
from ...study.settings import WideNetworkConfig
from ...tangent import Tangent
from ...training import DivergenceError, GradientFlow, State
from ...weights import DenseWeight, Weight
from .settings import DIRECTIONS, TIMES, TrainingConfig

GAPS = ("change", "distance", "elsewhere")
"""The distances of Θ that are recorded at each time: see ``trained_network``."""


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Networks of one width, σ and training direction; mean_field: whether they have the mean-field scaling."""

    direction: str
    mean_field: bool
    width: int
    network: WideNetworkConfig
    training: TrainingConfig


class Learning:
    """The change of f on the training points by the parameters of each layer, which move by J_kᵀw_k in step k.

    by_layer (L, N n_L): Σ_k Θ_l(θ_k) w_k, where Θ_l is the part of Θ from layer l; path (N n_L): Σ_k w_k, which equals
    (1/N) ∫ d_t dt.
    """

    def __init__(self) -> None:
        self.by_layer = torch.zeros(())
        self.path = torch.zeros(())

    def add(self, tangent: Tangent, w: Tensor) -> None:
        """Add a step w, taken from this linearization."""
        rows = w.flatten().double()
        self.by_layer = self.by_layer + torch.stack([layer @ rows for layer in tangent.layers_with(tangent)])
        self.path = self.path + rows


def points(cell: Cell[Trained]) -> Tensor:
    """n training points and n probes, which alternate around the circle: (2 n, 2), training points first."""
    n = cell.setting.training.n_samples
    angles = torch.arange(2 * n, dtype=torch.float64) * math.pi / n
    angles += 0.3 * torch.rand(2 * n, generator=cell.stream("points", n), dtype=torch.float64)
    return circle(torch.cat([angles[::2], angles[1::2]]))


def cost_of(direction: str, x: Tensor) -> Cost:
    """Least squares towards x_1x_2, or cross-entropy with the sign of x_1x_2 as the class."""
    product = x[:, :1] * x[:, 1:]
    return LeastSquares(product) if direction == "least_squares" else CrossEntropy((product[:, 0] > 0).long(), 2)


def trained_network(cell: Cell[Trained], seed: int, device: str) -> xr.Dataset:
    """Train a network, and measure what moves.

    change, distance, elsewhere (time): on training points and probes, ‖Θ(t) − Θ(0)‖_F/‖Θ(0)‖_F,
    ‖Θ(t) − Θ_∞ ⊗ Id‖_F/‖Θ_∞ ⊗ Id‖_F, and the latter with the Θ_∞ of one layer more (n Θ(t) in mean-field scaling);
    moved (layer): rms over points and neurons of α⁽ˡ⁾ − α⁽ˡ⁾_0 at the end; weights (matrix): ‖W⁽ˡ⁾(t) − W⁽ˡ⁾(0)‖_F/√n_l
    at the end, for the hidden n × n matrices; share (parameters): c_l·Σc/‖Σc‖², where c_l is the change of f on the
    training points by the parameters of layer l over all of training; share_limit: the same with the layer's part of
    Θ_∞ at all times, along the same path of d_t; lower: rms there of the change by all layers but the last; learned:
    rms there of the whole change of f; switched_on (layer): the fraction of pairs (neuron, training point) whose σ̇ is
    0 at the start and positive at the end; switched_off: the reverse; rank, truncation: see ``revealed``.
    Raises DivergenceError, and MemoryError, naming the largest width that fits.
    """
    trained = cell.setting
    n, n_outputs = trained.training.n_samples, DIRECTIONS[trained.direction]
    at = points(cell).to(device)
    network = trained.network.draw_wide(
        2,
        trained.width,
        n_outputs,
        inputs=2 * n,
        directions=n_outputs * n * (2 * TIMES + _steps(trained)),
        generator=cell.stream(trained.direction, trained.network.nonlinearity, trained.width, seed),
        device=device,
        output_scale=trained.width**-0.5 if trained.mean_field else 1.0,
    )
    drawn = [weight.values.clone() if isinstance(weight, DenseWeight) else None for weight in network.weights]
    learning = Learning()
    if trained.direction == "adversarial":
        directions = adversarial(trained, network, at[:n], cell.stream("discriminator", seed), learning)
    else:
        directions = flow(trained, network, at[:n], learning)
    scale = trained.width if trained.mean_field else 1
    limits = [limit_kernel(trained, at, depth) for depth in (trained.network.depth, trained.network.depth + 1)]
    changes: list[tuple[float, ...]] = []
    start: Tangent | None = None
    for _ in directions:
        tangent = Tangent(network, at)
        kernel = tangent.kernel
        if start is None:
            start, first = tangent, kernel
        gaps = [((scale * kernel - there).norm() / there.norm()).item() for there in limits]
        changes.append((float((kernel - first).norm() / first.norm()), *gaps))
    assert start is not None
    in_limit = limit_layers(trained, at[:n]) @ learning.path
    pairs = list(zip(tangent.forward.activations[1:], start.forward.activations[1:], strict=True))
    moved = [float((after - before).double().square().mean().sqrt()) for after, before in pairs]
    weights = [_change(weight, before) for weight, before in zip(network.weights[1:-1], drawn[1:-1], strict=True)]
    slopes = [
        (before[:n] > 0, after[:n] > 0)
        for before, after in zip(start.forward.slopes, tangent.forward.slopes, strict=True)
    ]
    return xr.Dataset(
        {
            **{name: ("time", list(values)) for name, values in zip(GAPS, zip(*changes, strict=True), strict=True)},
            "moved": ("layer", moved),
            "weights": ("matrix", weights),
            "share": ("parameters", _shares(learning.by_layer)),
            "share_limit": ("parameters", _shares(in_limit)),
            "lower": ((), float(learning.by_layer[:-1].sum(dim=0).square().mean().sqrt())),
            "learned": ((), float((tangent.output - start.output)[:n].square().mean().sqrt())),
            "switched_on": ("layer", [float((~before & after).double().mean()) for before, after in slopes]),
            "switched_off": ("layer", [float((before & ~after).double().mean()) for before, after in slopes]),
            "rank": ((), rank(network.weights)),
            "truncation": ((), truncation(network.weights)),
        }
    )


def _shares(parts: Tensor) -> np.ndarray:
    """c_l·Σc/‖Σc‖² for the parts c_l, (L, N n_L). These shares add up to 1."""
    total = parts.sum(dim=0)
    shares: np.ndarray = (parts @ total / total.square().sum()).cpu().numpy()
    return shares


def _change(weight: Weight, before: Tensor | None) -> float:
    """‖W(t) − W(0)‖_F/√n_l of a dense matrix, which needs W(0), or of a revealed one."""
    if isinstance(weight, RevealedWeight):
        change = weight.change_norm
    else:
        assert isinstance(weight, DenseWeight)
        assert before is not None
        change = float((weight.values - before).double().norm())
    return change / math.sqrt(weight.shape[1])


def _steps(trained: Trained) -> int:
    """The steps of descent, or a bound on the steps of the flow: 12 to t = 30 for wide networks at tolerance 2·10⁻³."""
    training = trained.training
    if trained.direction == "adversarial":
        return round(training.adversarial_t / training.learning_rate)
    return math.ceil(12 * max(1, training.t / 30) * max(1, math.sqrt(2e-3 / training.tolerance)))


@cache
def _limits(x: tuple[tuple[float, ...], ...], depth: int, nonlinearity: str, beta: float) -> Limit:
    """The limit kernels up to ``depth``. Cached, because all networks of a cell share them and some σ take a second."""
    return limit(torch.tensor(x, dtype=torch.float64), depth=depth, nonlinearity=nonlinearity, beta=beta)


def _limit(trained: Trained, x: Tensor) -> Limit:
    """The limit kernels up to one layer more than the network has."""
    network = trained.network
    return _limits(tuple(map(tuple, x.tolist())), network.depth + 1, network.nonlinearity, network.beta)


def _for_outputs(trained: Trained, kernels: Tensor, x: Tensor) -> Tensor:
    """K ⊗ Id on the device of x."""
    return torch.kron(kernels, torch.eye(DIRECTIONS[trained.direction], dtype=torch.float64)).to(x.device)


def limit_kernel(trained: Trained, x: Tensor, depth: int) -> Tensor:
    """Θ_∞ ⊗ Id of the network's depth, or of one layer more, (N n_L, N n_L)."""
    return _for_outputs(trained, _limit(trained, x).theta[depth - 1], x)


def limit_layers(trained: Trained, x: Tensor) -> Tensor:
    """The part of Θ_∞⁽ᴸ⁾ ⊗ Id from each layer's parameters: Σ⁽ˡ⁾ Σ̇⁽ˡ⁺¹⁾ ⋯ Σ̇⁽ᴸ⁾, (L, N n_L, N n_L)."""
    kernels, depth = _limit(trained, x), trained.network.depth
    terms, below = [], torch.ones_like(kernels.sigma[0])
    for sigma, sigma_dot in zip(kernels.sigma[:depth].flip(0), kernels.sigma_dot[:depth].flip(0), strict=True):
        terms.append(sigma * below)
        below = below * sigma_dot
    return torch.stack([_for_outputs(trained, term, x) for term in reversed(terms)])


def flow(trained: Trained, network: Network, x: Tensor, learning: Learning) -> Iterator[Tensor]:
    """Gradient flow of a cost; yields the direction −d at each of ``TIMES``."""
    cost = cost_of(trained.direction, x)
    speed = trained.width if trained.mean_field else 1
    yield -cost.direction(network(x).double())
    for begin, end in pairwise(np.linspace(0, trained.training.t * speed, TIMES)):
        before: State | None = None
        for state in GradientFlow(float(end - begin), trained.training.tolerance).states(network, x, cost):
            if before is not None:
                step = state.t - before.t
                learning.add(before.tangent, -cost.frozen_flow(before.tangent.kernel, before.f, step)(step))
            before = state
        assert before is not None
        yield -cost.direction(before.f)


def adversarial(
    trained: Trained, network: Network, z: Tensor, stream: torch.Generator, learning: Learning
) -> Iterator[Tensor]:
    """The network is a generator z ↦ f(z) ∈ ℝ²; d_t(z) = ∇D(f(z)) comes from a discriminator D trained alongside.

    D is drawn from the stream and trained by least squares: towards +1 on eight points of a circle of radius 2, and
    towards −1 on the generated points. Both networks take their steps of gradient descent at the same time.
    """
    training = trained.training
    discriminator = replace(trained.network, depth=3, weights="dense").draw(
        2, training.discriminator, generator=stream, device=str(z.device)
    )
    real = 2 * circle(torch.arange(8, dtype=torch.float64) * math.pi / 4).to(z.device)
    labels = torch.cat([torch.ones(8, 1), -torch.ones(len(z), 1)]).to(real)
    eta = training.learning_rate
    steps = round(training.adversarial_t / eta)
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
            learning.add(tangent, eta / len(z) * gradient)
            tangent.move(eta / len(z) * gradient)


def input_gradient(network: Network, tangent: Tangent) -> Tensor:
    """∇_x f(x) of a network with one output, (N, n_0): W⁽⁰⁾ᵀδ⁽¹⁾/√n_0."""
    weight = network.weights[0]
    gradient: Tensor = weight.apply_transpose(tangent.derivatives[0]).double() * weight.shape[1] ** -0.5
    return gradient
