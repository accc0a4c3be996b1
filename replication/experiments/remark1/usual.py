"""The usual parametrization (paper, Remark 1), as PyTorch has it: linear layers, autograd and its own gradient descent.

Nothing of the engine is used but the parameters to start from, so that the two can be held against each other.
"""

import math

import torch
from torch import Tensor, nn

from ...network import Network
from ...training import DivergenceError
from ...usual import Rates
from ...weights import DenseWeight

MODULES = {"relu": nn.ReLU, "tanh": nn.Tanh, "softplus": nn.Softplus, "gelu": nn.GELU}
"""σ → PyTorch's module."""


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
