"""The infinite-width limit: the kernels Σ⁽ˡ⁾, Σ̇⁽ˡ⁾ and Θ_∞⁽ˡ⁾ of every layer."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .gaussian import GaussianPairs
from .nonlinearities import Nonlinearity, nonlinearity
from .shapes import require_count

Inputs = Tensor | np.ndarray
_BLOCK_ELEMENTS = 2**20  # 8 MB an array, of which one layer needs about a dozen


@dataclass(frozen=True)
class Limit:
    """The limit kernels of every layer l = 1, …, L between N and N' inputs.

    sigma[l − 1] = Σ⁽ˡ⁾, theta[l − 1] = Θ_∞⁽ˡ⁾, sigma_dot[l − 1] = Σ̇⁽ˡ⁾; so sigma[-1], theta[-1] are those of depth L.

    Paper, Proposition 1 and Theorem 1. Float64 tensors of shape (L, N, N'). There is no Σ̇⁽¹⁾: sigma_dot[0] is 0,
    as if Θ_∞⁽¹⁾ = Σ⁽¹⁾ were a step of the recursion too.
    """

    sigma: Tensor
    sigma_dot: Tensor
    theta: Tensor

    @property
    def sigma_inf(self) -> Tensor:
        """Σ⁽ᴸ⁾, (N, N')."""
        return self.sigma[-1]

    @property
    def theta_inf(self) -> Tensor:
        """Θ_∞⁽ᴸ⁾, (N, N')."""
        return self.theta[-1]


def limit(
    x: Inputs,
    x2: Inputs | None = None,
    *,
    depth: int,
    nonlinearity: str | Nonlinearity,
    beta: float,
    block: int | None = None,
) -> Limit:
    """The kernels Σ⁽ˡ⁾, Σ̇⁽ˡ⁾, Θ_∞⁽ˡ⁾ of the infinitely wide network, for l = 1, …, depth.

    Σ⁽¹⁾ = xᵀx'/n_0 + β², Σ⁽ˡ⁺¹⁾ = E[σ(u)σ(v)] + β², Σ̇⁽ˡ⁺¹⁾ = E[σ̇(u)σ̇(v)] with (u, v) ∼ N(0, Σ⁽ˡ⁾);
    Θ_∞⁽¹⁾ = Σ⁽¹⁾, Θ_∞⁽ˡ⁺¹⁾ = Θ_∞⁽ˡ⁾ Σ̇⁽ˡ⁺¹⁾ + Σ⁽ˡ⁺¹⁾.

    Paper, Proposition 1 and Theorem 1. x is (N, n_0), x2 is (N', n_0) and by default x; the kernels are then exactly
    symmetric. Computed in float64 on the device of x, `block` rows at a time.

    Raises ValueError if a shape, the depth (≥ 1), β (≥ 0), the block (≥ 1) or the name of σ is out of its domain, or if
    an input is not finite.
    """
    recursion = _Recursion(x, x2, depth, nonlinearity, beta, block)
    out = torch.empty(3, recursion.depth, *recursion.shape, dtype=torch.float64, device=recursion.x.device)
    for rows, columns in recursion.blocks():
        for layer, kernels in enumerate(recursion.layers(rows, columns)):
            for kernel, values in zip(out, kernels, strict=True):
                kernel[layer, rows, columns] = values
    return Limit(*(recursion.symmetrized(kernel) for kernel in out))


def sigma_inf(
    x: Inputs, x2: Inputs | None = None, *, depth: int, nonlinearity: str | Nonlinearity, beta: float
) -> Tensor:
    """The output covariance Σ⁽ᴸ⁾, L = depth, of the infinitely wide network: `limit(...).sigma[-1]` in less memory.

    Paper, Proposition 1. Arguments and errors as in `limit`; float64, (N, N').
    """
    return _last(x, x2, depth, nonlinearity, beta, 0)


def theta_inf(
    x: Inputs, x2: Inputs | None = None, *, depth: int, nonlinearity: str | Nonlinearity, beta: float
) -> Tensor:
    """The limit Θ_∞⁽ᴸ⁾, L = depth, of the neural tangent kernel: `limit(...).theta[-1]` in less memory.

    Paper, Theorem 1. Arguments and errors as in `limit`; float64, (N, N').
    """
    return _last(x, x2, depth, nonlinearity, beta, 2)


def _last(
    x: Inputs, x2: Inputs | None, depth: int, nonlinearity: str | Nonlinearity, beta: float, which: int
) -> Tensor:
    recursion = _Recursion(x, x2, depth, nonlinearity, beta, None)
    out = torch.empty(recursion.shape, dtype=torch.float64, device=recursion.x.device)
    for rows, columns in recursion.blocks():
        for layer in recursion.layers(rows, columns):
            last = layer
        out[rows, columns] = last[which]
    return recursion.symmetrized(out)


class _Recursion:
    """The recursion over layers, for one block of rows and columns at a time."""

    def __init__(
        self,
        x: Inputs,
        x2: Inputs | None,
        depth: int,
        choice: str | Nonlinearity,
        beta: float,
        block: int | None,
    ) -> None:
        if not (math.isfinite(beta) and beta >= 0):
            raise ValueError(f"beta is {beta!r}; it has to be a finite number ≥ 0")
        if block is not None:
            require_count("block", block)
        self.nonlinearity = nonlinearity(choice) if isinstance(choice, str) else choice
        self.beta, self.depth, self.symmetric = float(beta), require_count("depth", depth), x2 is None
        self.x = _inputs("x", x)
        self.x2 = self.x if x2 is None else _inputs("x2", x2)
        if self.x.shape[1] != self.x2.shape[1]:
            raise ValueError(f"x and x2 have {self.x.shape[1]} and {self.x2.shape[1]} coordinates; they have to agree")
        if self.x.device != self.x2.device:
            raise ValueError(f"x and x2 are on {self.x.device} and {self.x2.device}; they have to agree")
        self.shape = (len(self.x), len(self.x2))
        self.block = block or max(1, _BLOCK_ELEMENTS // len(self.x2))
        self.scales = self._scales(self.x)
        self.scales2 = self.scales if x2 is None else self._scales(self.x2)

    def _scales(self, x: Tensor) -> list[Tensor]:
        """√E[σ(u)²], u ∼ N(0, Σ⁽ˡ⁾(x, x)), for l = 1, …, L − 1, each (N,): the diagonal recursion."""
        scales: list[Tensor] = []
        variance = x.square().mean(1) + self.beta**2
        while len(scales) < self.depth - 1:
            scales.append(self.nonlinearity.root_mean_square(variance))
            variance = scales[-1].square() + self.beta**2
        return scales

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        for start in range(0, self.shape[0], self.block):
            # Below the diagonal a symmetric kernel is mirrored, not computed.
            yield slice(start, start + self.block), slice(start if self.symmetric else 0, self.shape[1])

    def layers(self, rows: slice, columns: slice) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """(Σ⁽ˡ⁾, Σ̇⁽ˡ⁾, Θ_∞⁽ˡ⁾) on a block, for l = 1, …, L."""
        pairs = GaussianPairs.from_inputs(self.x[rows], self.x2[columns], self.beta)
        theta = pairs.k12
        yield pairs.k12, torch.zeros_like(theta), theta
        for a, b in zip(self.scales, self.scales2, strict=True):
            pairs, slope = self.nonlinearity.propagate(pairs, a[rows].unsqueeze(1), b[columns].unsqueeze(0), self.beta)
            theta = theta * slope + pairs.k12
            yield pairs.k12, slope, theta

    def symmetrized(self, kernel: Tensor) -> Tensor:
        return kernel.triu() + kernel.triu(1).mT if self.symmetric else kernel


def _inputs(name: str, x: Inputs) -> Tensor:
    tensor = torch.as_tensor(x).detach()
    if tensor.ndim != 2 or 0 in tensor.shape:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it has to be (N, n_0) with N ≥ 1 and n_0 ≥ 1")
    if tensor.is_complex():
        raise ValueError(f"{name} is complex; it has to be real")
    tensor = tensor.to(torch.float64)
    if not bool(torch.isfinite(tensor).all()):
        raise ValueError(f"{name} has values that are not finite")
    return tensor
