"""The usual parametrization (paper, Remark 1) in PyTorch: linear layers, autograd and gradient descent.

This module uses nothing of the engine, so that it is an independent check.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...training import DivergenceError
from ...usual import Rates

MODULES = {"relu": nn.ReLU, "tanh": nn.Tanh, "softplus": nn.Softplus, "gelu": nn.GELU}
"""Name of σ → PyTorch's module."""


def usual_network(parameters: Sequence[tuple[Tensor, Tensor]], nonlinearity: str) -> nn.Sequential:
    """The network with parameters Ŵ⁽ˡ⁾, (n_{l+1}, n_l), and b̂⁽ˡ⁾, (n_{l+1},): affine maps with σ between them."""
    modules: list[nn.Module] = []
    for weight, bias in parameters:
        n_out, n_in = weight.shape
        options = {"dtype": weight.dtype, "device": weight.device}
        linear = nn.utils.skip_init(nn.Linear, n_in, n_out, **options)  # type: ignore[no-untyped-call]
        with torch.no_grad():
            linear.weight.copy_(weight)
            linear.bias.copy_(bias)
        modules += [linear, MODULES[nonlinearity]()]
    return nn.Sequential(*modules[:-1])


def linear_layers(model: nn.Sequential) -> list[nn.Linear]:
    """The affine maps, in order."""
    return [module for module in model if isinstance(module, nn.Linear)]


def descend(model: nn.Sequential, rates: Rates, x: Tensor, target: Tensor, steps: int) -> Tensor:
    """f on the data after 0 … steps steps of gradient descent on ½ mean (f − f*)²: (steps + 1, N, 1).

    Raises DivergenceError if f is no longer finite.
    """
    groups = []
    for linear, (weight_rate, bias_rate) in zip(linear_layers(model), rates, strict=True):
        groups += [{"params": [linear.weight], "lr": weight_rate}, {"params": [linear.bias], "lr": bias_rate}]
    optimizer = torch.optim.SGD(groups)
    trajectory = []
    for step in range(steps + 1):
        f = model(x)
        trajectory.append(f.detach())
        if not torch.isfinite(f).all():
            raise DivergenceError(f"descent in the usual parametrization diverged at step {step}, rates {rates}", step)
        if step < steps:
            optimizer.zero_grad()
            (0.5 * (f - target).square().mean()).backward()
            optimizer.step()
    return torch.stack(trajectory)
