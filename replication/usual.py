"""The usual parametrization (paper, Remark 1): Ŵ⁽ˡ⁾ = W⁽ˡ⁾/√n_l and b̂⁽ˡ⁾ = βb⁽ˡ⁾, without factors in the network.

The function is the same, but its derivatives with respect to the parameters are not. Gradient descent in this
parametrization has its own kernel: the sum of the layers' kernels, each times its learning rate.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .network import Network
from .shapes import require_shape
from .tangent import Tangent

Rates = Sequence[tuple[float, float]]
"""Learning rates of the weights and of the biases of each layer l = 0 … L − 1, in the usual parametrization."""


def exact_rates(network: Network, learning_rate: float) -> Rates:
    """The rates in the usual parametrization that do the same as η: η/n_l for weights of layer l, ηβ² for biases.

    The derivative with respect to W is 1/√n_l times the one with respect to Ŵ, and Ŵ moves 1/√n_l times as far as W:
    the factor enters twice. So does β for b̂ (paper, Remark 1: each derivative is scaled by 1/√n_l or β).
    """
    return [(learning_rate / n_in, learning_rate * network.beta**2) for n_in in network.fans]


def one_rate(network: Network, learning_rate: float) -> Rates:
    """The same rate for all parameters, which is usual."""
    return [(learning_rate, learning_rate)] * network.depth


def layer_kernels(tangent: Tangent) -> tuple[list[Tensor], list[Tensor]]:
    """The kernels Σ ∂f ⊗ ∂f of each layer in the usual parametrization: over Ŵ⁽ˡ⁾, and over b̂⁽ˡ⁾.

    Each is (N n_L, N n_L), for l = 0 … L − 1. They are A_l G_l and G_l, where A_l and G_l are the Gram matrices of α⁽ˡ⁾
    and δ⁽ˡ⁺¹⁾; Θ = Σ_l G_l (A_l/n_l + β²).
    """
    network = tangent.network
    biases = [delta.double() @ delta.double().mT for delta in tangent.derivatives]
    weights = [
        fan * (layer - network.beta**2 * bias)
        for fan, layer, bias in zip(network.fans, tangent.layers_with(tangent), biases, strict=True)
    ]
    return weights, biases


def descent_kernel(weights: Sequence[Tensor], biases: Sequence[Tensor], rates: Rates) -> Tensor:
    """The kernel K, (N n_L, N n_L), of descent in the usual parametrization: a step is f ← f − K d/N to first order.

    Raises ValueError if the kernels differ in shape, or if there are not as many as rates.
    """
    for kernel in (*weights, *biases):
        require_shape("the kernel of a layer", kernel.shape, "that of another", weights[0].shape)
    parts = zip(weights, biases, rates, strict=True)
    return torch.stack([weight_rate * w + bias_rate * b for w, b, (weight_rate, bias_rate) in parts]).sum(dim=0)
