"""The measurements on one network for Remark 1 (paper §2)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...costs import LeastSquares
from ...datasets import circle, gaussian
from ...limit import limit
from ...network import Network
from ...study.settings import NetworkConfig
from ...tangent import Tangent
from ...training import GradientDescent, follow
from ...usual import Rates, descent_kernel, exact_rates, layer_kernels, one_rate
from ...weights import DenseWeight
from .settings import RUNS, SLOW
from .usual import descend, linear_layers, usual_network


@dataclass(frozen=True, kw_only=True)
class Initialized:
    """Networks at initialization with the same hidden widths and inputs."""

    hidden: tuple[int, ...]
    n_0: int
    network: NetworkConfig
    n_samples: int

    def draw(self, stream: torch.Generator, device: str) -> Network:
        """A network at initialization, with the same parameters for every β and σ."""
        return Network.init(
            [self.n_0, *self.hidden, 1],
            generator=stream,
            nonlinearity=self.network.nonlinearity,
            beta=self.network.beta,
            dtype=self.network.torch_dtype,
            device=device,
        )

    def inputs(self, stream: torch.Generator) -> Tensor:
        """Inputs of random directions with ‖x‖² = n_0/2, (N, n_0): points of the unit circle for n_0 = 2.

        This norm makes Σ⁽¹⁾(x, x), and so the whole diagonal of Θ_∞, the same for all n_0.
        """
        x = gaussian(self.n_samples, self.n_0, stream)
        x *= math.sqrt(self.n_0 / 2) / x.norm(dim=1, keepdim=True)
        return x


@dataclass(frozen=True, kw_only=True)
class BesideUsual(Initialized):
    """Networks compared with usual ones. trained: False if only the initial speed is measured."""

    learning_rate: float
    steps: int
    trained: bool


@dataclass(frozen=True, kw_only=True)
class WithBetas(Initialized):
    """Networks at initialization, each with all of ``betas``."""

    betas: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Limit:
    """The limit of infinite width for each β."""

    network: NetworkConfig
    betas: tuple[float, ...]


def variant(network: Network, beta: float | None = None, biases: float = 1.0) -> Network:
    """A network that shares the weights, with another β or with its biases times a factor."""
    scaled = [biases * bias for bias in network.biases]
    return Network(network.weights, scaled, network.nonlinearity, network.beta if beta is None else beta)


def copied(network: Network) -> Network:
    """A copy of the network with its own parameters, which can be trained."""
    layers = parameters(network)
    weights, biases = [DenseWeight(w.clone()) for w, _ in layers], [b[None].clone() for _, b in layers]
    return Network(weights, biases, network.nonlinearity, network.beta)


def parameters(network: Network) -> list[tuple[Tensor, Tensor]]:
    """W⁽ˡ⁾, (n_{l+1}, n_l), and b⁽ˡ⁾, (n_{l+1},), of each layer of a network with dense matrices; not copied."""
    weights = [weight.values for weight in network.weights if isinstance(weight, DenseWeight)]
    return list(zip(weights, (bias[0] for bias in network.biases), strict=True))


def counterpart(network: Network) -> torch.nn.Sequential:
    """PyTorch's network with the same function: Ŵ⁽ˡ⁾ = W⁽ˡ⁾/√n_l and b̂⁽ˡ⁾ = βb⁽ˡ⁾ (paper, Remark 1)."""
    mapped = [(w / math.sqrt(w.shape[1]), network.beta * b) for w, b in parameters(network)]
    return usual_network(mapped, network.nonlinearity.name)


def map_to_usual(mapped: BesideUsual, network: Network, x: Tensor, target: Tensor) -> xr.Dataset:
    """Compare a network, whose output is f, with its counterpart in the usual parametrization, whose output is f̂.

    start: the largest |f − f̂| at t = 0 ÷ the rms of f, with Ŵ = W/√n_l and b̂ = βb; unmapped: the same with Ŵ = W and
    b̂ = b; derivative: the largest relative distance of a layer's ∂C/∂W, ∂C/∂b to ∂C/∂Ŵ/√n_l, β ∂C/∂b̂; unscaled: the
    same without these factors; exact: the largest |f − f̂| over the steps ÷ the rms change of f, with ``exact_rates``;
    single: the same with one rate η/n, where n is the largest width.
    """
    rate = mapped.learning_rate
    scaled, unscaled = _derivatives(network, counterpart(network), x, target)
    f = _trajectory(network, x, target, rate, mapped.steps)
    runs = {
        name: descend(counterpart(network), rates, x, target, mapped.steps)
        for name, rates in (
            ("exact", exact_rates(network, rate)),
            ("single", one_rate(network, rate / max(mapped.hidden))),
        )
    }
    change = float((f[-1] - f[0]).square().mean().sqrt())
    distances = {name: float((run - f).abs().max()) / change for name, run in runs.items()}
    with torch.no_grad():
        starts = {
            "start": runs["exact"][0],
            "unmapped": usual_network(parameters(network), network.nonlinearity.name)(x),
        }
    size = float(f[0].square().mean().sqrt())
    distances |= {name: float((start - f[0]).abs().max()) / size for name, start in starts.items()}
    return xr.Dataset({**distances, "derivative": scaled, "unscaled": unscaled})


def _derivatives(network: Network, model: torch.nn.Sequential, x: Tensor, target: Tensor) -> tuple[float, float]:
    """Largest relative distance of the derivatives of C to the model's, scaled by 1/√n_l and β, and unscaled."""
    (0.5 * (model(x) - target).square().mean()).backward()
    moved = copied(network)
    tangent = Tangent(moved, x)
    large = 2.0**30  # so large that the rounding of W + ∂C/∂W does not matter
    tangent.move((tangent.output - target) * (large / len(x)))
    scaled, unscaled = [], []
    for (w, b), (w_0, b_0), linear in zip(parameters(moved), parameters(network), linear_layers(model), strict=True):
        n_in = w.shape[1]
        for ours, theirs, factor in (
            ((w - w_0) / large, linear.weight.grad, n_in**-0.5),
            ((b - b_0) / large, linear.bias.grad, network.beta),
        ):
            assert theirs is not None
            scaled.append(float((ours - factor * theirs).norm() / ours.norm()))
            unscaled.append(float((ours - theirs).norm() / ours.norm()))
    return max(scaled), max(unscaled)


def _trajectory(network: Network, x: Tensor, target: Tensor, learning_rate: float, steps: int) -> Tensor:
    """f on the data after 0 … steps steps of the engine's gradient descent, (steps + 1, N, 1)."""
    states = GradientDescent(learning_rate, steps).states(copied(network), x, LeastSquares(target))
    return follow(states, [learning_rate * step for step in range(steps + 1)])


def compare(compared: BesideUsual, network: Network, x: Tensor, target: Tensor) -> xr.Dataset:
    """Compare a network, with rate η, with usual networks of its width n, with the one rate η/n.

    The runs of usual networks: scaled, with biases from N(0, β²), hence with the same f at t = 0; zero, with biases 0;
    unit, with biases from N(0, 1); slow, as scaled, but with a tenth of the rate. doublings (run): log₂ of the initial
    speed −∂_tC/2C of the run ÷ that of the network; first: the same for scaled, with the rate η/n_0 for the weights of
    the first layer; beta_one (run): log₂ of the speed of unit (for the run zero: of zero) ÷ that of the network with
    β = 1 and rate η. distance (run): the rms difference of f over steps and data ÷ the rms change of f; pace (run):
    log₂ of the steps of the network ÷ the steps of the run, each until the larger of their last costs; cost (trained,
    step): C, with the network first.
    """
    rate, n = compared.learning_rate, max(compared.hidden)
    starts = {
        "scaled": network,
        "zero": variant(network, biases=0.0),
        "unit": (unit := variant(network, beta=1.0)),
        "slow": network,
    }
    rates = {name: one_rate(network, rate / n * (SLOW if name == "slow" else 1)) for name in RUNS}
    own = initial_speed(network, exact_rates(network, rate), x, target)
    speeds = {name: initial_speed(starts[name], rates[name], x, target) for name in RUNS}
    own_at_one = initial_speed(unit, exact_rates(unit, rate), x, target)
    beta_one = {name: speeds["zero" if name == "zero" else "unit"] / own_at_one for name in RUNS}
    first = initial_speed(network, [(rate / compared.n_0, rate / n), *rates["scaled"][1:]], x, target) / own
    distances, paces = np.full(len(RUNS), np.nan), np.full(len(RUNS), np.nan)
    costs = np.full((1 + len(RUNS), compared.steps + 1), np.nan)
    if compared.trained:
        f, cost = _trajectory(network, x, target, rate, compared.steps), LeastSquares(target)
        change = float((f[-1] - f[0]).square().mean().sqrt())
        costs[0] = cost.value(f).cpu()
        for i, name in enumerate(RUNS):
            run = descend(counterpart(starts[name]), rates[name], x, target, compared.steps)
            distances[i] = float((run - f).square().mean().sqrt()) / change
            costs[1 + i] = cost.value(run).cpu()
            paces[i] = log_pace_ratio(costs[0], costs[1 + i])
    return xr.Dataset(
        {
            "doublings": ("run", [math.log2(speeds[name] / own) for name in RUNS]),
            "first": math.log2(first),
            "beta_one": ("run", [math.log2(beta_one[name]) for name in RUNS]),
            "distance": ("run", distances),
            "pace": ("run", paces),
            "cost": (("trained", "step"), costs.astype(np.float32)),
        },
        coords={"run": list(RUNS), "trained": ["ours", *RUNS]},
    )


def initial_speed(network: Network, rates: Rates, x: Tensor, target: Tensor) -> float:
    """The initial speed −∂_tC/2C = dᵀKd/(N dᵀd), which is half the relative decrease of C per unit of time."""
    tangent = Tangent(network, x)
    d = tangent.output - target
    kernel = descent_kernel(*layer_kernels(tangent), rates)
    return float((d.mT @ kernel @ d) / (len(x) * d.square().sum()))


def log_pace_ratio(ours: np.ndarray, theirs: np.ndarray) -> float:
    """log₂ of the ratio of the steps after which two costs first reach the larger of their last values."""
    level = max(ours[-1], theirs[-1])
    steps = [max(int(np.argmax(cost <= level)), 1) for cost in (ours, theirs)]
    return math.log2(steps[0] / steps[1])


def kernel_parts(betas: Sequence[float], network: Network, x: Tensor) -> xr.Dataset:
    """The parts of the kernels of a network at initialization, for each β.

    weights, biases (beta, layer): the parts of Θ(x, x) from the weights and from the biases of layer l, averaged over
    the data; largest, largest_usual (beta): λ_max of Θ/N, and of the kernel of a usual network with rate 1.
    """
    weights, biases = [], []
    largest: list[float] = []
    largest_usual: list[float] = []
    for beta in betas:
        with_beta = variant(network, beta)
        by_layer = layer_kernels(Tangent(with_beta, x))
        w, b = (torch.stack([kernel.diagonal().mean() for kernel in kernels]) for kernels in by_layer)
        weights.append(w / torch.tensor(network.widths[:-1], dtype=w.dtype, device=w.device))
        biases.append(beta**2 * b)
        for values, rates in ((largest, exact_rates(with_beta, 1.0)), (largest_usual, one_rate(network, 1.0))):
            values.append(float(torch.linalg.eigvalsh(descent_kernel(*by_layer, rates))[-1]) / len(x))
    return xr.Dataset(
        {
            "weights": (("beta", "layer"), torch.stack(weights).cpu().numpy()),
            "biases": (("beta", "layer"), torch.stack(biases).cpu().numpy()),
            "largest": ("beta", largest),
            "largest_usual": ("beta", largest_usual),
        },
        coords={"beta": list(betas)},
    )


def share_in_limit(network: NetworkConfig, betas: Sequence[float]) -> xr.Dataset:
    """share_inf (beta): the biases' share of Θ_∞(x, x), β² Σ_l Π_{k>l} Σ̇⁽ᵏ⁾ ÷ Θ_∞, for ‖x‖ = 1."""
    shares = []
    for beta in betas:
        kernels = limit(circle(torch.zeros(1)), depth=network.depth, nonlinearity=network.nonlinearity, beta=beta)
        slopes = kernels.sigma_dot[1:].flatten().tolist()
        products = sum(math.prod(slopes[l:]) for l in range(network.depth))
        shares.append(beta**2 * products / float(kernels.theta_inf))
    return xr.Dataset({"share_inf": ("beta", shares)}, coords={"beta": list(betas)})
