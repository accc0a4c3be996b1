"""Centred Gaussian pairs (u, v), held so that the angle between u and v is known to rounding."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .shapes import require_shape


@dataclass(frozen=True)
class GaussianPairs:
    """Centred Gaussian pairs (u, v) with their covariances and the squared sine of their angle.

    k11 = E[u²], k22 = E[v²], k12 = E[uv], sin2 = 1 − k12²/(k11 k22) = sin²θ, cosθ = corr(u, v).

    The laws under the expectations of the paper's Proposition 1 and Theorem 1. Float64 tensors that broadcast
    against each other, (N, 1), (1, N') and (N, N') for a kernel. sin2 is carried because, near θ = 0 and π, k12 alone
    fixes θ to half the digits only, and ReLU's Σ̇ depends on θ. Where k11 or k22 vanishes, sin2 is 0.
    """

    k11: Tensor
    k12: Tensor
    k22: Tensor
    sin2: Tensor

    @classmethod
    def from_covariance(cls, k11: Tensor, k12: Tensor, k22: Tensor) -> GaussianPairs:
        """Pairs of given covariance, the determinant k11 k22 − k12² taken exactly and rounded once.

        sin²θ = max(0, k11 k22 − k12²) / (k11 k22).

        Units and shapes as in the class. Covariances with k12² > k11 k22 are read as perfectly correlated.
        """
        product, product_error = _two_product(k11, k22)
        square, square_error = _two_product(k12, k12)
        determinant = (product - square) + (product_error - square_error)
        sin2 = determinant.div_(torch.where(product > 0, product, 1.0)).clamp_(0.0, 1.0)
        return cls(k11, k12, k22, torch.where(product > 0, sin2, 0.0))

    @classmethod
    def from_inputs(cls, x: Tensor, x2: Tensor, beta: float) -> GaussianPairs:
        """The pairs (α̃⁽¹⁾(x), α̃⁽¹⁾(x')) of the first layer.

        k12 = xᵀx'/n_0 + β²; with y = (x/√n_0, β)/√k11 of unit length, cosθ = yᵀy', sin²θ = d²(1 − d²/4), d = ‖y ∓ y'‖.

        Proposition 1, Σ⁽¹⁾. x is (N, n_0), x2 is (N', n_0); k11 is (N, 1), k22 is (1, N'), the others (N, N').
        Raises ValueError where they have different n_0.
        """
        require_shape("an input of x", x.shape[1:], "one of x2", x2.shape[1:])
        y, y2 = _augment(x, beta), _augment(x2, beta)
        k11, k22 = y.square().sum(1), y2.square().sum(1)
        norm, norm2 = k11.sqrt().unsqueeze(1), k22.sqrt().unsqueeze(0)
        y.div_(torch.where(norm > 0, norm, 1.0))
        y2.div_(torch.where(norm2 > 0, norm2, 1.0).T)
        cosine = y @ y2.T
        sin2 = (1 - cosine.square()).clamp_(min=0.0)
        # Near θ = 0 and π only the difference of the unit vectors still sees θ to rounding (Kahan).
        near = torch.nonzero(sin2 < 0.1)
        for rows, columns in (index.unbind(1) for index in torch.split(near, max(1, 2**17 // y.shape[1]))):
            opposite = cosine[rows, columns] < 0
            difference = y[rows] - torch.where(opposite.unsqueeze(1), -1.0, 1.0) * y2[columns]
            chord2 = difference.square_().sum(1)
            sin2[rows, columns] = chord2 * (1 - chord2 / 4)
        zero = (norm == 0) | (norm2 == 0)
        return cls(k11.unsqueeze(1), cosine * norm * norm2, k22.unsqueeze(0), sin2.masked_fill_(zero, 0.0))

    @classmethod
    def from_activations(
        cls, value: Tensor, a: Tensor, b: Tensor, one_minus: Tensor, one_plus: Tensor, beta: float
    ) -> GaussianPairs:
        """The pairs of the next layer from the second moments of the activations of this one.

        With a² = E[σ(u)²], b² = E[σ(v)²], ab c = value = E[σ(u)σ(v)]: k11 = a² + β², k12 = value + β², k22 = b² + β²,
        k11 k22 sin²θ = a²b²(1 − c)(1 + c) + β²((a − b)² + 2ab(1 − c)): no term is negative, so θ is exact to rounding.

        Proposition 1. one_minus and one_plus are 1 − c and 1 + c; shapes as in the class.
        """
        k11, k22 = a.square() + beta**2, b.square() + beta**2
        norm, norm2 = k11.sqrt(), k22.sqrt()
        norm, norm2 = torch.where(norm > 0, norm, 1.0), torch.where(norm2 > 0, norm2, 1.0)
        product = (a / norm) * (b / norm2)
        sin2 = (product.square() * one_plus).mul_(one_minus)
        if beta > 0:
            sin2 += ((a - b) * (beta / norm) / norm2).square_()
            sin2 += (product * (beta / norm) * (2 * beta / norm2)).mul_(one_minus)
        return cls(k11, value + beta**2, k22, sin2.clamp_(max=1.0))

    @classmethod
    def identical(cls, variance: Tensor) -> GaussianPairs:
        """The pairs (u, u): k11 = k12 = k22 = E[u²], θ = 0."""
        return cls(variance, variance, variance, torch.zeros_like(variance))

    @property
    def scale(self) -> Tensor:
        """√(k11 k22), the covariance at θ = 0."""
        return self.k11.sqrt() * self.k22.sqrt()

    @property
    def determinant(self) -> Tensor:
        """k11 k22 − k12² = k11 k22 sin²θ."""
        return (self.k11 * self.k22) * self.sin2

    @property
    def correlation(self) -> Tensor:
        """cosθ in [−1, 1]; 0 where a variance vanishes."""
        scale = self.scale
        return (self.k12 / torch.where(scale > 0, scale, 1.0)).clamp_(-1.0, 1.0)

    def acute_angle(self) -> Tensor:
        """min(θ, π − θ), to rounding at both ends."""
        cosine = self.correlation.abs_()
        return torch.atan2(self.sin2.sqrt(), cosine)


def _augment(x: Tensor, beta: float) -> Tensor:
    bias = torch.full_like(x[:, :1], beta)
    return torch.cat([x / x.shape[1] ** 0.5, bias], dim=1)


def _two_product(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """p, e with p = fl(a b) and p + e = a b exactly (Dekker, Veltkamp)."""
    p = a * b
    a_high, a_low = _split(a)
    b_high, b_low = _split(b)
    return p, ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


def _split(a: Tensor) -> tuple[Tensor, Tensor]:
    c = 134217729.0 * a  # 2²⁷ + 1: halves of 26 bits, whose products are exact
    high = c - (c - a)
    return high, a - high
