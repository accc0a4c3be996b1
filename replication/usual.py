"""The usual parametrization (paper, Remark 1): Ŵ⁽ˡ⁾ = W⁽ˡ⁾/√n_l and b̂⁽ˡ⁾ = βb⁽ˡ⁾, without factors in the network.

The function is the same; its derivatives in the parameters are not. Gradient descent there has a kernel of its own, the
sum of the parts of the layers weighted by their learning rates.
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
    """What the rate η is in the usual parametrization: η/n_l for the weights of layer l and ηβ² for the biases.

    An NTK-parametrized step moves Ŵ = W/√n_l by 1/√n_l of the step of W, which is itself η/√n_l times the derivative in
    Ŵ; likewise β twice for b̂ (paper, Remark 1: each derivative is scaled by 1/√n_l or β).
    """
    return [(learning_rate / n_in, learning_rate * network.beta**2) for n_in in network.fans]


def one_rate(network: Network, learning_rate: float) -> Rates:
    """One rate for all parameters, as is usual."""
    return [(learning_rate, learning_rate)] * network.depth


def layer_kernels(tangent: Tangent) -> tuple[list[Tensor], list[Tensor]]:
    """Σ over the weights, and over the biases, of layer l of ∂f ⊗ ∂f in Ŵ⁽ˡ⁾ and b̂⁽ˡ⁾.

    Each (N n_L, N n_L), for l = 0 … L − 1: A_l G_l and G_l, where A_l and G_l are the Gram matrices of α⁽ˡ⁾
    and δ⁽ˡ⁺¹⁾, and Θ = Σ_l G_l (A_l/n_l + β²).
    """
    network = tangent.network
    biases = [delta.double() @ delta.double().mT for delta in tangent.derivatives]
    weights = [
        fan * (layer - network.beta**2 * bias)
        for fan, layer, bias in zip(network.fans, tangent.layers_with(tangent), biases, strict=True)
    ]
    return weights, biases


def descent_kernel(weights: Sequence[Tensor], biases: Sequence[Tensor], rates: Rates) -> Tensor:
    """K, (N n_L, N n_L), of a step of descent in the usual parametrization: f ← f − K d/N to first order.

    Raises ValueError where the layers' kernels are not of one shape, or not as many as the rates.
    """
    for kernel in (*weights, *biases):
        require_shape("the kernel of a layer", kernel.shape, "that of another", weights[0].shape)
    parts = zip(weights, biases, rates, strict=True)
    return torch.stack([weight_rate * w + bias_rate * b for w, b, (weight_rate, bias_rate) in parts]).sum(dim=0)
