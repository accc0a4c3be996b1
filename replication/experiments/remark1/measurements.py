"""What Remark 1's experiment measures on one network (paper §2)."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...costs import LeastSquares
from ...datasets import gaussian
from ...network import Network
from ...randomness import generator
from ...tangent import Tangent
from ...training import GradientDescent, follow
from ...usual import descent_kernel, exact_rates, layer_kernels, one_rate
from ...weights import DenseWeight
from .claims import RUNS, SLOW
from .config import NAME, Cell
from .usual import descend, linear_layers, parameters, usual_network


def problem(n_0: int, n_samples: int) -> tuple[Tensor, Tensor]:
    """Inputs of random directions with ‖x‖² = n_0/2, points of the unit circle for n_0 = 2, (N, n_0); x_1x_2, (N, 1).

    Σ⁽¹⁾(x, x), and with it the whole diagonal of Θ_∞, is then the same for all n_0.
    """
    x = gaussian(n_samples, n_0, generator(NAME, "inputs", n_0, n_samples))
    x *= math.sqrt(n_0 / 2) / x.norm(dim=1, keepdim=True)
    return x, x[:, :1] * x[:, 1:2]


def draw(cell: Cell, seed: int, device: str) -> Network:
    """A network of the cell at initialization, the same for every β and σ."""
    return Network.init(
        [cell.n_0, *cell.hidden, 1],
        generator=generator(NAME, "network", cell.kind, cell.n_0, *cell.hidden, seed),
        nonlinearity=cell.network.nonlinearity,
        beta=cell.network.beta,
        dtype=torch.float64,
        device=device,
    )


def variant(network: Network, beta: float | None = None, biases: float = 1.0) -> Network:
    """A copy of a network with another β, or with its biases times a factor."""
    copies = [(values.clone(), biases * bias) for values, bias in parameters(network)]
    return Network(
        [DenseWeight(values) for values, _ in copies],
        [bias for _, bias in copies],
        network.nonlinearity,
        network.beta if beta is None else beta,
    )


def map_to_usual(cell: Cell, network: Network) -> xr.Dataset:
    """A network beside its counterpart in the usual parametrization.

    start, unmapped: largest |f − f̂| at t = 0 over the rms of f, with Ŵ = W/√n_l and b̂ = βb, and with W and b;
    derivative, unscaled: largest distance of a layer's ∂C/∂W, ∂C/∂b to 1/√n_l and β times ∂C/∂Ŵ, ∂C/∂b̂, or to those
    themselves, over its norm; exact, single: largest |f − f̂| over the steps, over the rms change of f, with the rates
    of ``exact_rates`` and with one rate η/n, n the largest width.
    """
    x, target = (values.to(network.biases[0].device) for values in problem(cell.n_0, cell.n_samples))
    sigma, rate = cell.network.nonlinearity, cell.learning_rate
    scaled, unscaled = _derivatives(network, usual_network(network, sigma), x, target)
    f = _trajectory(variant(network), x, target, cell)
    runs = {
        name: descend(usual_network(network, sigma), rates, x, target, cell.steps)
        for name, rates in (
            ("exact", exact_rates(network, rate)),
            ("single", one_rate(network, rate / max(cell.hidden))),
        )
    }
    change = float((f[-1] - f[0]).square().mean().sqrt())
    found = {name: float((run - f).abs().max()) / change for name, run in runs.items()}
    unmapped = usual_network(network, sigma)
    with torch.no_grad():
        for linear, (w, b) in zip(linear_layers(unmapped), parameters(network), strict=True):
            linear.weight.copy_(w)
            linear.bias.copy_(b[0])
        starts = {"start": runs["exact"][0], "unmapped": unmapped(x)}
    size = float(f[0].square().mean().sqrt())
    found |= {name: float((start - f[0]).abs().max()) / size for name, start in starts.items()}
    return xr.Dataset({**found, "derivative": scaled, "unscaled": unscaled})


def _derivatives(network: Network, model: torch.nn.Sequential, x: Tensor, target: Tensor) -> tuple[float, float]:
    """Largest relative distance of the derivatives of C to those of the model, scaled by 1/√n_l and β, and unscaled."""
    (0.5 * (model(x) - target).square().mean()).backward()
    moved = variant(network)
    tangent = Tangent(moved, x)
    large = 2.0**30  # beside which the rounding of W + ∂C/∂W is nothing
    tangent.move((tangent.output - target) * (large / len(x)))
    scaled, unscaled = [], []
    for (w, b), (w_0, b_0), linear in zip(parameters(moved), parameters(network), linear_layers(model), strict=True):
        n_in = w.shape[1]
        for ours, theirs, factor in (
            ((w - w_0) / large, linear.weight.grad, n_in**-0.5),
            ((b - b_0)[0] / large, linear.bias.grad, network.beta),
        ):
            assert theirs is not None
            scaled.append(float((ours - factor * theirs).norm() / ours.norm()))
            unscaled.append(float((ours - theirs).norm() / ours.norm()))
    return max(scaled), max(unscaled)


def _trajectory(network: Network, x: Tensor, target: Tensor, cell: Cell) -> Tensor:
    """f on the data after each step of the engine's gradient descent, (steps + 1, N, 1)."""
    solver = GradientDescent(cell.learning_rate, cell.steps)
    times = [cell.learning_rate * step for step in range(cell.steps + 1)]
    return follow(solver.states(network, x, LeastSquares(target)), times)


def compare(cell: Cell, network: Network) -> xr.Dataset:
    """A network with rate η beside usual networks of its width n with the one rate η/n.

    The runs: scaled, biases N(0, β²), hence the same f at t = 0; zero, no biases; unit, biases N(0, 1); slow, a tenth
    of the rate from where scaled starts. doublings (run): log₂ of the ratio of their initial speeds −∂_tC/2C to the
    network's; first: as scaled, but with rate η/n_0 for the first layer's weights; beta_one (run): of the speeds of
    unit (for zero, of zero) to the network's with β = 1 and rate η. distance (run): rms over steps and data of the
    difference of f, over the rms change of f; pace (run): log₂ of the ratio of the steps that the network and the usual
    one take to the larger of their last costs; cost (trained, step): C, the network's first.
    """
    x, target = (values.to(network.biases[0].device) for values in problem(cell.n_0, cell.n_samples))
    rate, n = cell.learning_rate, max(cell.hidden)
    starts = {
        "scaled": network,
        "zero": variant(network, biases=0.0),
        "unit": (unit := variant(network, beta=1.0)),
        "slow": network,
    }
    rates = {name: one_rate(network, rate / n * (SLOW if name == "slow" else 1)) for name in RUNS}
    own = _speed(network, exact_rates(network, rate), x, target)
    speeds = {name: _speed(starts[name], rates[name], x, target) for name in RUNS}
    own_at_one = _speed(unit, exact_rates(unit, rate), x, target)
    beta_one = {name: speeds["zero" if name == "zero" else "unit"] / own_at_one for name in RUNS}
    first = _speed(network, [(rate / cell.n_0, rate / n), *rates["scaled"][1:]], x, target) / own
    distances, paces = np.full(len(RUNS), np.nan), np.full(len(RUNS), np.nan)
    costs = np.full((1 + len(RUNS), cell.steps + 1), np.nan)
    if cell.trained:
        f = _trajectory(variant(network), x, target, cell)
        change = float((f[-1] - f[0]).square().mean().sqrt())
        costs[0] = _costs(f, target)
        for i, name in enumerate(RUNS):
            run = descend(usual_network(starts[name], cell.network.nonlinearity), rates[name], x, target, cell.steps)
            distances[i] = float((run - f).square().mean().sqrt()) / change
            costs[1 + i] = _costs(run, target)
            paces[i] = _pace(costs[0], costs[1 + i])
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


def _speed(network: Network, rates: Sequence[tuple[float, float]], x: Tensor, target: Tensor) -> float:
    """dᵀKd/(N dᵀd), half the relative decrease of C in a short step: −∂_tC/2C."""
    tangent = Tangent(network, x)
    d = tangent.output - target
    kernel = descent_kernel(*layer_kernels(tangent), rates)
    return float((d.mT @ kernel @ d) / (len(x) * d.square().sum()))


def _costs(f: Tensor, target: Tensor) -> np.ndarray:
    found: np.ndarray = (0.5 * (f - target).square().mean(dim=(1, 2))).cpu().numpy()
    return found


def _pace(ours: np.ndarray, usual: np.ndarray) -> float:
    """log₂ of the ratio of the steps after which two costs first are at the larger of their last values."""
    level = max(ours[-1], usual[-1])
    steps = [max(int(np.argmax(cost <= level)), 1) for cost in (ours, usual)]
    return math.log2(steps[0] / steps[1])


def parts(cell: Cell, network: Network) -> xr.Dataset:
    """The parts of the kernels of a network at initialization, for each β.

    weights, biases (beta, layer): mean over the data of what the weights, and the biases, of layer l contribute to
    Θ(x, x); largest, largest_usual (beta): λ_max of Θ/N, and of the kernel of a usual network with rate 1.
    """
    x = problem(cell.n_0, cell.n_samples)[0].to(network.biases[0].device)
    weights, biases = [], []
    largest: list[float] = []
    largest_usual: list[float] = []
    for beta in cell.betas:
        network.beta = beta  # the parameters do not depend on it, and a copy would take as long as a pass
        by_layer = layer_kernels(Tangent(network, x))
        w, b = (torch.stack([kernel.diagonal().mean() for kernel in kernels]) for kernels in by_layer)
        weights.append(w / torch.tensor(network.widths[:-1], dtype=w.dtype, device=w.device))
        biases.append(beta**2 * b)
        for values, rates in ((largest, exact_rates(network, 1.0)), (largest_usual, one_rate(network, 1.0))):
            values.append(float(torch.linalg.eigvalsh(descent_kernel(*by_layer, rates))[-1]) / len(x))
    return xr.Dataset(
        {
            "weights": (("beta", "layer"), torch.stack(weights).cpu().numpy()),
            "biases": (("beta", "layer"), torch.stack(biases).cpu().numpy()),
            "largest": ("beta", largest),
            "largest_usual": ("beta", largest_usual),
        },
        coords={"beta": list(cell.betas)},
    )
