"""The neural tangent kernel Θ⁽ᴸ⁾(θ) of a finite network (paper §4), from its activations and derivatives.

Θ_kk'(x, x') = Σ_p ∂_{θ_p}f_k(x) ∂_{θ_p}f_k'(x') = Σ_l (δ_k⁽ˡ⁺¹⁾(x)·δ_k'⁽ˡ⁺¹⁾(x')) (α⁽ˡ⁾(x)·α⁽ˡ⁾(x')/n_l + β²), because
the derivative of f_k(x) in W⁽ˡ⁾ is the outer product δ_k⁽ˡ⁺¹⁾(x) α⁽ˡ⁾(x)ᵀ/√n_l. So the P-dimensional gradients are
never formed, and a kernel on N inputs takes two passes and O(nN) memory.

Kernel matrices are (N n_L, N' n_L) with row i n_L + k for output k at x_i, matching ``f.reshape(-1)`` of outputs
(N, n_L); for n_L = 1 this is the plain N × N' matrix.
"""

from collections.abc import Iterator
from functools import cached_property
from itertools import product

import torch
from torch import Tensor

from .network import Network
from .shapes import require_shape

_CHUNK = 8192


class Tangent:
    """The linearization of a network at its present parameters, on N inputs: the output and the factors of J.

    J is the Jacobian ∂f/∂θ on the inputs, (N n_L, P). The derivatives are computed when they are first needed. This
    raises RuntimeError if the network has changed in between: old activations and new weights do not fit together.
    """

    def __init__(self, network: Network, x: Tensor):
        self.network = network
        self.forward = network.forward(x)
        self._version = network.version

    @cached_property
    def output(self) -> Tensor:
        """f_θ on the inputs, (N, n_L), float64."""
        return self.forward.output.double()

    @cached_property
    def derivatives(self) -> list[Tensor]:
        """δ⁽¹⁾ … δ⁽ᴸ⁾ of every output, each (N n_L, n_l)."""
        if self.network.version != self._version:
            raise RuntimeError(
                "the network has moved since this linearization was made: use its derivatives or kernel before, or "
                "make a new Tangent"
            )
        return self.network.backward(self.forward)

    @cached_property
    def kernel(self) -> Tensor:
        """Θ = JJᵀ on the inputs, (N n_L, N n_L), float64."""
        return self.kernel_with(self)

    def kernel_with(self, other: "Tangent") -> Tensor:
        """Θ between these inputs (rows) and the inputs of ``other`` (columns), (N n_L, N' n_L), float64.

        Raises ValueError if ``other`` belongs to a network of other widths.
        """
        return torch.stack(list(self.layers_with(other))).sum(dim=0)

    def average_with(self, other: "Tangent") -> Tensor:
        """The mean over outputs (1/n_L) Σ_k Θ_kk between these inputs and those of ``other``, (N, N'), float64.

        No (N n_L, N' n_L) matrix is formed. In the limit every Θ_kk is Θ_∞, so that the mean estimates Θ_∞.
        """
        return torch.stack(list(self.layers_with(other, average=True))).sum(dim=0)

    def layers_with(self, other: "Tangent", *, average: bool = False) -> Iterator[Tensor]:
        """The contributions of the layers l = 0 … L − 1 to ``kernel_with``, whose sum is Θ.

        average: the contributions to ``average_with`` instead.
        """
        require_shape("the widths of one network", self.network.widths, "those of the other", other.network.widths)
        if self.network.parametrization != other.network.parametrization:
            raise ValueError("two networks of different parametrizations have no kernel in common")
        n_outputs = self.forward.output.shape[-1]
        for l, (alpha, other_alpha) in enumerate(zip(self.forward.activations, other.forward.activations, strict=True)):
            activations = _of_activations(self.network, l, alpha, other_alpha)
            yield _layer(activations, self.derivatives[l], other.derivatives[l], n_outputs, average)

    def move(self, coefficients: Tensor) -> None:
        """θ ← θ + Jᵀc in place for c of shape (N, n_L): one low-rank update of each weight, no gradient buffer.

        Raises ValueError if c does not have the shape of f.
        """
        self.network.update(self.forward, self.weighted(coefficients), 1.0)

    def weighted(self, coefficients: Tensor) -> list[Tensor]:
        """Σ_k c_ik δ_k⁽ˡ⁾(x_i) for c of shape (N, n_L), each (N, n_l): the factors of Jᵀc beside the activations."""
        require_shape("c", coefficients.shape, "f", self.forward.output.shape)
        rows = coefficients.to(self.forward.output.dtype)
        derivatives = []
        for delta in self.derivatives:
            scaled = rows.reshape(*rows.shape[:-2], -1, 1) * delta
            if rows.shape[-1] > 1:
                scaled = scaled.reshape(*scaled.shape[:-2], *rows.shape[-2:], -1).sum(dim=-2)
            derivatives.append(scaled)
        return derivatives


def tangent_kernel(
    network: Network, x: Tensor, x2: Tensor | None = None, *, average: bool = False, block: int = 512
) -> Tensor:
    """NTK of a network between two sets of inputs.

    Θ⁽ᴸ⁾(θ) = Σ_p ∂_{θ_p}F ⊗ ∂_{θ_p}F (paper §4). x (N, n_0) and x2 (N', n_0), x2 = x by default, give
    (N n_L, N' n_L) in float64; with ``average``, the mean over outputs (1/n_L) Σ_k Θ_kk, (N, N'). Inputs are taken
    ``block`` at a time, so that the working memory stays O(n · n_L · block). Raises ValueError for a wrong input shape.
    """
    for inputs in (x, x if x2 is None else x2):
        if inputs.ndim < 2:
            raise ValueError(f"inputs must be (N, {network.widths[0]}), not {tuple(inputs.shape)}")
    if x2 is None and x.shape[-2] <= block:
        return _in_two_passes(network, x, average)
    rows = torch.split(x, block, dim=-2)
    columns = rows if x2 is None else torch.split(x2, block, dim=-2)
    blocks: list[list[Tensor]] = [[] for _ in rows]
    # To bound the memory, blocks of columns are not kept: each is computed again for every block of rows.
    left = None
    for i, j in product(range(len(rows)), range(len(columns))):
        if j == 0:
            left = Tangent(network, rows[i])
        assert left is not None
        if x2 is None and j < i:
            blocks[i].append(blocks[j][i].mT)
        else:
            right = left if x2 is None and i == j else Tangent(network, columns[j])
            blocks[i].append(left.average_with(right) if average else left.kernel_with(right))
    return torch.cat([torch.cat(row, dim=-1) for row in blocks], dim=-2)


def _in_two_passes(network: Network, x: Tensor, average: bool) -> Tensor:
    """The kernel on N inputs at once. Activations and derivatives of a layer are dropped as soon as possible."""
    activations, slopes, values = [], [], x
    for l, (values, slope) in enumerate(network.propagate(x, network.nonlinearity.compact_derivative)):
        if l < network.depth:
            activations.append(_of_activations(network, l, values, values))
        if slope is not None:
            slopes.append(slope)
    layers = []
    for delta in network.backpropagate(values, slopes):
        layers.append(_layer(activations.pop(), delta, delta, values.shape[-1], average))
    return torch.stack(layers[::-1]).sum(dim=0)


def _of_activations(network: Network, l: int, alpha: Tensor, other: Tensor) -> Tensor:
    """α⁽ˡ⁾(x)·α⁽ˡ⁾(x')/n_l + β²."""
    return _gram(alpha, other) / network.fans[l] + network.beta**2


def _layer(activations: Tensor, left: Tensor, right: Tensor, n_outputs: int, average: bool) -> Tensor:
    """A layer's part of the kernel, from ``_of_activations`` and the derivatives of both sides."""
    if average:  # Σ_k δ_k(x)·δ_k(x') is the product of two rows with all outputs side by side
        own = left.reshape(*left.shape[:-2], -1, n_outputs * left.shape[-1])
        other = own if right is left else right.reshape(*right.shape[:-2], -1, n_outputs * right.shape[-1])
        return activations * _gram(own, other) / n_outputs
    if n_outputs > 1:
        activations = activations.repeat_interleave(n_outputs, dim=-2).repeat_interleave(n_outputs, dim=-1)
    return activations * _gram(left, right)


def _gram(a: Tensor, b: Tensor) -> Tensor:
    """A Bᵀ in float64. The sums have up to millions of terms; they are taken in pieces that fit into a cache."""
    total: Tensor | None = None
    for part, other in zip(torch.split(a, _CHUNK, dim=-1), torch.split(b, _CHUNK, dim=-1), strict=True):
        left = part.double()
        term = left @ (left if b is a else other.double()).mT
        total = term if total is None else total.add_(term)
    assert total is not None
    return total
