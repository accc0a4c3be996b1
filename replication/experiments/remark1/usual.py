"""The usual parametrization (paper, Remark 1), as PyTorch has it: linear layers, autograd and its own gradient descent.

Nothing of the engine is used but the parameters to start from, so that the two can be held against each other.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...network import Network
from ...tangent import Tangent
from ...training import DivergenceError
from ...weights import DenseWeight

MODULES = {"relu": nn.ReLU, "tanh": nn.Tanh, "softplus": nn.Softplus, "gelu": nn.GELU}
"""σ → PyTorch's module."""

Rates = Sequence[tuple[float, float]]
"""Learning rates of the weights and of the biases of each layer l = 0 … L − 1, in the usual parametrization."""


def usual_network(network: Network, nonlinearity: str) -> nn.Sequential:
    """The same function in the usual parametrization: Ŵ⁽ˡ⁾ = W⁽ˡ⁾/√n_l and b̂⁽ˡ⁾ = βb⁽ˡ⁾ (paper, Remark 1)."""
    modules: list[nn.Module] = []
    for values, bias in parameters(network):
        n_out, n_in = values.shape
        options = {"dtype": values.dtype, "device": values.device}
        linear = nn.utils.skip_init(nn.Linear, n_in, n_out, **options)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            linear.weight.copy_(values / math.sqrt(n_in))
            linear.bias.copy_(network.beta * bias[0])
        modules += [linear, MODULES[nonlinearity]()]
    return nn.Sequential(*modules[:-1])


def parameters(network: Network) -> list[tuple[Tensor, Tensor]]:
    """W⁽ˡ⁾ and b⁽ˡ⁾ of each layer of a network of dense matrices, as they are held."""
    weights = [weight.values for weight in network.weights if isinstance(weight, DenseWeight)]
    return list(zip(weights, network.biases, strict=True))


def linear_layers(model: nn.Sequential) -> list[nn.Linear]:
    """The affine maps, the first one first."""
    return [module for module in model if isinstance(module, nn.Linear)]


def exact_rates(network: Network, learning_rate: float) -> Rates:
    """What the rate η is in the usual parametrization: η/n_l for the weights of layer l and ηβ² for the biases.

    An NTK-parametrized step moves Ŵ = W/√n_l by 1/√n_l of the step of W, which is itself η/√n_l times the derivative in
    Ŵ; likewise β twice for b̂ (paper, Remark 1: each derivative is scaled by 1/√n_l or β).
    """
    return [(learning_rate / n_in, learning_rate * network.beta**2) for n_in in network.widths[:-1]]


def one_rate(network: Network, learning_rate: float) -> Rates:
    """One rate for all parameters, as is usual."""
    return [(learning_rate, learning_rate)] * network.depth


def descend(model: nn.Sequential, rates: Rates, x: Tensor, target: Tensor, steps: int) -> Tensor:
    """f on the data after 0 … steps steps of gradient descent on ½ mean (f − f*)²: (steps + 1, N, 1).

    Raises DivergenceError where it is no longer finite.
    """
    groups = []
    for linear, (weight_rate, bias_rate) in zip(linear_layers(model), rates, strict=True):
        groups += [{"params": [linear.weight], "lr": weight_rate}, {"params": [linear.bias], "lr": bias_rate}]
    optimizer = torch.optim.SGD(groups)
    found = []
    for step in range(steps + 1):
        f = model(x)
        found.append(f.detach())
        if not torch.isfinite(f).all():
            raise DivergenceError(f"descent in the usual parametrization diverged at step {step}, rates {rates}", step)
        if step < steps:
            optimizer.zero_grad()
            (0.5 * (f - target).square().mean()).backward()
            optimizer.step()
    return torch.stack(found)


def layer_kernels(tangent: Tangent) -> tuple[list[Tensor], list[Tensor]]:
    """Σ over the weights, and over the biases, of layer l of ∂f ⊗ ∂f in Ŵ⁽ˡ⁾ and b̂⁽ˡ⁾: each (N, N), l = 0 … L − 1.

    With Θ = Σ_l G_l (A_l/n_l + β²), A_l and G_l the Gram matrices of α⁽ˡ⁾ and δ⁽ˡ⁺¹⁾: A_l G_l, and G_l.
    """
    network = tangent.network
    biases = [delta.double() @ delta.double().mT for delta in tangent.derivatives]
    weights = [
        n_in * (layer - network.beta**2 * bias)
        for n_in, layer, bias in zip(network.widths, tangent.layers_with(tangent), biases, strict=False)
    ]
    return weights, biases


def descent_kernel(weights: Sequence[Tensor], biases: Sequence[Tensor], rates: Rates) -> Tensor:
    """K of a step of descent in the usual parametrization, f ← f − K d/N to first order, from its parts: (N, N)."""
    parts = zip(weights, biases, rates, strict=True)
    return torch.stack([weight_rate * w + bias_rate * b for w, b, (weight_rate, bias_rate) in parts]).sum(dim=0)
