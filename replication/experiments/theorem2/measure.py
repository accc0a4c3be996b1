"""What is measured on one network that is trained in one of three directions d_t (paper §4.2)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...costs import Cost, CrossEntropy, LeastSquares
from ...datasets import circle
from ...limit import limit
from ...network import Network
from ...revealed import RevealedWeight, rank, truncation
from ...study.experiment import Cell
from ...study.settings import WideNetworkConfig
from ...tangent import Tangent
from ...training import DivergenceError, GradientFlow
from ...weights import DenseWeight, Weight
from .settings import DIRECTIONS, TIMES, TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Networks of one width, σ and training direction; mean_field: in that scaling."""

    direction: str
    mean_field: bool
    width: int
    network: WideNetworkConfig
    training: TrainingConfig


def points(cell: Cell[Trained]) -> Tensor:
    """n training points and as many probes, alternating around the circle: (2 n, 2), the training points first."""
    n = cell.setting.training.n_samples
    angles = torch.arange(2 * n, dtype=torch.float64) * math.pi / n
    angles += 0.3 * torch.rand(2 * n, generator=cell.stream("points", n), dtype=torch.float64)
    return circle(torch.cat([angles[::2], angles[1::2]]))


def cost_of(direction: str, x: Tensor) -> Cost:
    """Least squares towards x_1x_2, or cross-entropy with the sign of x_1x_2 as the class."""
    product = x[:, :1] * x[:, 1:]
    return LeastSquares(product) if direction == "least_squares" else CrossEntropy((product[:, 0] > 0).long(), 2)


def trained_network(cell: Cell[Trained], seed: int, device: str) -> xr.Dataset:
    """Train a network, and see what moves.

    change (time): ‖Θ(t) − Θ(0)‖_F/‖Θ(0)‖_F on training points and probes; moved (layer): rms over points and neurons of
    α⁽ˡ⁾ − α⁽ˡ⁾_0 at the end; weights (matrix): ‖W⁽ˡ⁾(t) − W⁽ˡ⁾(0)‖_F/√n_l at the end, of the hidden n × n matrices;
    share, share_limit (parameters): dᵀΘ_l d/dᵀΘd at t = 0, with Θ_l what the parameters of layer l contribute to Θ, or
    to Θ_∞, and d the direction on the training points; learned: rms change of f there; switched_on, switched_off
    (layer): part of all pairs of neuron and training point in which σ̇ is 0 at the start and positive at the end, and
    the other way round; rank, truncation: of revealed weights.
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
    if trained.direction == "adversarial":
        directions = adversarial(trained, network, at[:n], cell.stream("discriminator"))
    else:
        directions = flow(trained, network, at[:n])
    changes: list[float] = []
    start: Tangent | None = None
    for direction in directions:
        tangent = Tangent(network, at)
        kernel = tangent.kernel
        if start is None:
            start, first = tangent, kernel
            layers = torch.stack([layer[: n * n_outputs, : n * n_outputs] for layer in tangent.layers_with(tangent)])
            d = direction.flatten().double()
            energies = [torch.einsum("i,lij,j->l", d, terms, d) for terms in (layers, limit_layers(trained, at[:n]))]
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


def _steps(trained: Trained) -> int:
    """Steps of descent; or of the flow, at most 12 to t = 30 at a tolerance of 2·10⁻³ where networks are wide."""
    training = trained.training
    if trained.direction == "adversarial":
        return round(training.adversarial_t / training.learning_rate)
    return math.ceil(12 * max(1, training.t / 30) * max(1, math.sqrt(2e-3 / training.tolerance)))


def limit_layers(trained: Trained, x: Tensor) -> Tensor:
    """What the parameters of each layer contribute to Θ_∞⁽ᴸ⁾ ⊗ Id: Σ⁽ˡ⁾ Σ̇⁽ˡ⁺¹⁾ ⋯ Σ̇⁽ᴸ⁾, (L, N n_L, N n_L)."""
    network = trained.network
    kernels = limit(x, depth=network.depth, nonlinearity=network.nonlinearity, beta=network.beta)
    terms, below = [], torch.ones_like(kernels.sigma[0])
    for sigma, sigma_dot in zip(kernels.sigma.flip(0), kernels.sigma_dot.flip(0), strict=True):
        terms.append(sigma * below)
        below = below * sigma_dot
    identity = torch.eye(DIRECTIONS[trained.direction], dtype=torch.float64, device=x.device)
    return torch.stack([torch.kron(term, identity) for term in reversed(terms)])


def flow(trained: Trained, network: Network, x: Tensor) -> Iterator[Tensor]:
    """Gradient flow of a cost; yields the direction −d at each of the times."""
    cost = cost_of(trained.direction, x)
    speed = trained.width if trained.mean_field else 1
    yield -cost.direction(network(x).double())
    for begin, end in pairwise(np.linspace(0, trained.training.t * speed, TIMES)):
        for state in GradientFlow(float(end - begin), trained.training.tolerance).states(network, x, cost):
            f = state.f
        yield -cost.direction(f)


def adversarial(trained: Trained, network: Network, z: Tensor, stream: torch.Generator) -> Iterator[Tensor]:
    """The network is a generator z ↦ f(z) ∈ ℝ²; d_t(z) = ∇D(f(z)) comes from a discriminator D trained alongside.

    D, drawn from the stream, is trained by least squares, to +1 on eight points of a circle of radius 2 and to −1 on
    the generated ones. Both take steps of gradient descent at once.
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
            tangent.move(eta / len(z) * gradient)


def input_gradient(network: Network, tangent: Tangent) -> Tensor:
    """∇_x f(x) of a network with one output, (N, n_0): W⁽⁰⁾ᵀδ⁽¹⁾/√n_0."""
    weight = network.weights[0]
    gradient: Tensor = weight.apply_transpose(tangent.derivatives[0]).double() * weight.shape[1] ** -0.5
    return gradient
