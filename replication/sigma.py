"""The interface of a nonlinearity σ: its values, its derivative, and the Gaussian expectations behind the limit."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from .gaussian import GaussianPairs, Moments


class Nonlinearity(ABC):
    """An elementwise nonlinearity σ with the two Gaussian expectations that determine the infinite-width limit.

    σ(x), σ̇(x), E[σ(u)σ(v)], E[σ̇(u)σ̇(v)] for centred Gaussian pairs (u, v).

    Paper §2 (σ) and Proposition 1, Theorem 1 (the expectations). σ and σ̇ act on tensors of any shape, floating dtype
    and device; expectations are in the dtype of the pairs.
    """

    name: str

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """σ(x), elementwise."""

    @abstractmethod
    def derivative(self, x: Tensor) -> Tensor:
        """σ̇(x), elementwise, in the dtype of x."""

    def compact_derivative(self, x: Tensor) -> Tensor:
        """σ̇(x) in little memory: booleans if it is 0 or 1 only, otherwise as ``derivative``."""
        return self.derivative(x)

    @abstractmethod
    def expectations(self, pairs: GaussianPairs) -> tuple[Tensor, Tensor]:
        """E[σ(u)σ(v)] and E[σ̇(u)σ̇(v)].

        Proposition 1 and Theorem 1. Two tensors of the pairs' broadcast shape. In float64 the relative error is below
        1e-13 for variances up to 1e3 (relative to √(E[σ(u)²]E[σ(v)²]) near a zero of the expectation). A σ of
        `from_function` warns or raises ValueError if it cannot reach this accuracy.
        """

    def propagate(self, pairs: GaussianPairs, a: Moments, b: Moments) -> tuple[GaussianPairs, Tensor]:
        """From the pairs of this layer, the pairs of the next one, and Σ̇.

        Σ⁽ˡ⁺¹⁾ = E[σ(u)σ(v)] + β², Σ̇⁽ˡ⁺¹⁾ = E[σ̇(u)σ̇(v)].

        Proposition 1, Theorem 1. a and b: moments of σ(u) and σ(v) (`root_mean_square`), of the shapes of k11 and k22.
        """
        value, slope = self.expectations(pairs)
        correlation = value / (a.a * b.a)
        if not (bool(a.a.all()) and bool(b.a.all())):
            correlation = torch.where((a.a == 0) | (b.a == 0), 1.0, correlation)
        one_minus, one_plus = (1 - correlation).clamp_(min=0.0), (1 + correlation).clamp_(min=0.0)
        return GaussianPairs.from_activations(value, a, b, one_minus, one_plus), slope

    def root_mean_square(self, variance: Tensor) -> Tensor:
        """√E[σ(u)²] for u ∼ N(0, variance), elementwise."""
        return self.expectations(GaussianPairs.identical(variance))[0].sqrt()
