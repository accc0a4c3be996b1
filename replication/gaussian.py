"""Centred Gaussian pairs (u, v), stored so that the angle between u and v is known to rounding."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .shapes import require_shape

_NEAR = 0.05  # where 1 ∓ cosθ is smaller, a difference of unit vectors gives θ more accurately


@dataclass(frozen=True)
class Directions:
    """Lengths and directions of the first layer's inputs, with the bias as one more coordinate.

    variance = |x|²/n_0 + β², (N,); unit = (x/√n_0, β)/√variance, (N, n_0 + 1), or 0 where the variance is 0.

    Paper §2: α̃⁽¹⁾(x) is √variance times the component of a standard Gaussian vector along ``unit``.
    """

    unit: Tensor
    variance: Tensor

    @classmethod
    def of(cls, x: Tensor, beta: float) -> Directions:
        """Lengths and directions of inputs (N, n_0)."""
        bias = torch.full_like(x[:, :1], beta)
        unit = torch.cat([x / x.shape[1] ** 0.5, bias], dim=1)
        variance = unit.square().sum(1)
        unit /= torch.where(variance > 0, variance, 1.0).sqrt_().unsqueeze(1)
        return cls(unit, variance)

    def to(self, dtype: torch.dtype) -> Directions:
        return Directions(self.unit.to(dtype), self.variance.to(dtype))

    def __getitem__(self, rows: slice) -> Directions:
        return Directions(self.unit[rows], self.variance[rows])


@dataclass(frozen=True)
class Moments:
    """Second moments of the activations of one layer, with the bias, for the recursion over layers.

    a = √E[σ(u)²], variance = a² + β²; with the angle φ = arctan(β/a), cosine = cosφ = a/√variance,
    half_cosine = cos(φ/2), half_tangent = tan(φ/2).

    Paper, Proposition 1: the variance is Σ⁽ˡ⁺¹⁾(x, x). All tensors have one value for each input.
    """

    a: Tensor
    variance: Tensor
    cosine: Tensor
    half_cosine: Tensor
    half_tangent: Tensor
    beta: float

    @classmethod
    def of(cls, a: Tensor, beta: float) -> Moments:
        """Moments from a = √E[σ(u)²] and the bias β."""
        phi = torch.atan2(torch.full_like(a, beta), a)
        return cls(a, a.square() + beta**2, phi.cos(), (phi / 2).cos(), (phi / 2).tan(), beta)

    def map(self, function: Callable[[Tensor], Tensor]) -> Moments:
        """Apply a function to every tensor: take rows, reshape, change the precision."""
        return Moments(
            function(self.a),
            function(self.variance),
            function(self.cosine),
            function(self.half_cosine),
            function(self.half_tangent),
            self.beta,
        )


@dataclass(frozen=True)
class GaussianPairs:
    """Centred Gaussian pairs (u, v) with their covariances and the angle between them.

    k11 = E[u²], k22 = E[v²], k12 = E[uv]; cosθ = corr(u, v), one_minus = 1 − cosθ, one_plus = 1 + cosθ.

    The expectations of the paper's Proposition 1 and Theorem 1 are over such pairs. The tensors broadcast against each
    other: (N, 1), (1, N') and (N, N') for a kernel. 1 ∓ cosθ are stored because ReLU's Σ̇ depends on θ, and near θ = 0
    and π, k12 alone gives θ to half the digits only. Where k11 or k22 is 0, θ is 0.
    """

    k11: Tensor
    k12: Tensor
    k22: Tensor
    one_minus: Tensor
    one_plus: Tensor

    @classmethod
    def from_covariance(cls, k11: Tensor, k12: Tensor, k22: Tensor) -> GaussianPairs:
        """Pairs of given covariance in float64. The determinant k11 k22 − k12² is exact up to one rounding.

        sin²θ = max(0, k11 k22 − k12²) / (k11 k22), 1 − |cosθ| = sin²θ/(1 + |cosθ|).

        Units and shapes as in the class. Covariances with k12² > k11 k22 are read as perfectly correlated.
        """
        product, product_error = _two_product(k11, k22)
        square, square_error = _two_product(k12, k12)
        determinant = (product - square) + (product_error - square_error)
        safe = torch.where(product > 0, product, 1.0)
        sin2 = torch.where(product > 0, determinant.div_(safe).clamp_(0.0, 1.0), 0.0)
        larger = 1 + (k12.abs() / safe.sqrt()).clamp_(max=1.0)
        smaller = sin2 / larger
        obtuse = k12 < 0
        return cls(k11, k12, k22, torch.where(obtuse, larger, smaller), torch.where(obtuse, smaller, larger))

    @classmethod
    def from_inputs(cls, x: Directions, x2: Directions) -> GaussianPairs:
        """The pairs (α̃⁽¹⁾(x), α̃⁽¹⁾(x')) of the first layer.

        k12 = xᵀx'/n_0 + β²; with y = (x/√n_0, β)/√k11 of unit length, cosθ = yᵀy', 1 ∓ cosθ = |y ∓ y'|²/2.

        Proposition 1, Σ⁽¹⁾. k11 is (N, 1), k22 is (1, N'), the others (N, N'). Raises ValueError for inputs of
        different n_0.
        """
        require_shape("an input of x with its bias", x.unit.shape[1:], "one of x2", x2.unit.shape[1:])
        cosine = x.unit @ x2.unit.T
        one_minus, one_plus = 1 - cosine, 1 + cosine
        # Near θ = 0 and π only the difference of the unit vectors gives θ to rounding (Kahan).
        for sign, rest in ((1, one_minus), (-1, one_plus)):
            near = torch.nonzero(rest < _NEAR)
            for rows, columns in (index.unbind(1) for index in torch.split(near, max(1, 2**17 // x.unit.shape[1]))):
                rest[rows, columns] = (x.unit[rows] - sign * x2.unit[columns]).square_().sum(1).div_(2)
        k11, k22 = x.variance.unsqueeze(1), x2.variance.unsqueeze(0)
        if not (bool(k11.all()) and bool(k22.all())):
            zero = (k11 == 0) | (k22 == 0)
            one_minus.masked_fill_(zero, 0.0)
            one_plus.masked_fill_(zero, 2.0)
        return cls(k11, cosine.mul_(k11.sqrt()).mul_(k22.sqrt()), k22, one_minus, one_plus)

    @classmethod
    def from_activations(
        cls, value: Tensor, a: Moments, b: Moments, one_minus: Tensor, one_plus: Tensor | None
    ) -> GaussianPairs:
        """The pairs of the next layer from the second moments of the activations of this one.

        With value = E[σ(u)σ(v)] = ab c: k11 = a² + β², k12 = value + β², k22 = b² + β²; with the angles φ, φ' of a, b,
        1 ∓ cosθ = cosφ cosφ' (1 ∓ c) + 2 sin²((φ ∓ φ')/2): no term is negative, so θ is exact to rounding.

        Proposition 1. one_minus and one_plus are 1 ∓ c, and are overwritten; one_plus may be None if c ≥ 0. a has the
        shape of k11, b the shape of k22.
        """
        one_minus = one_minus.mul_(a.cosine).mul_(b.cosine)
        beta = a.beta
        if beta > 0:
            halves = (math.sqrt(2) * a.half_cosine, b.half_cosine)
            sine = (a.half_tangent - b.half_tangent).mul_(halves[0]).mul_(halves[1])
            one_minus.addcmul_(sine, sine)
        if one_plus is None:
            one_plus = 2 - one_minus
        else:
            one_plus = one_plus.mul_(a.cosine).mul_(b.cosine)
            if beta > 0:
                sine = (a.half_tangent + b.half_tangent).mul_(halves[0]).mul_(halves[1])
                one_plus.addcmul_(sine, sine)
        return cls(a.variance, value + beta**2, b.variance, one_minus, one_plus)

    @classmethod
    def identical(cls, variance: Tensor) -> GaussianPairs:
        """The pairs (u, u): k11 = k12 = k22 = E[u²], θ = 0."""
        return cls(variance, variance, variance, torch.zeros_like(variance), torch.full_like(variance, 2))

    @property
    def scale(self) -> Tensor:
        """√(k11 k22), the covariance at θ = 0."""
        return self.k11.sqrt() * self.k22.sqrt()

    @property
    def sin2(self) -> Tensor:
        """sin²θ = 1 − k12²/(k11 k22)."""
        return self.one_minus * self.one_plus

    @property
    def determinant(self) -> Tensor:
        """k11 k22 − k12² = k11 k22 sin²θ."""
        return self.sin2.mul_(self.k11).mul_(self.k22)

    @property
    def correlation(self) -> Tensor:
        """cosθ, up to rounding, which may leave it an ε outside [−1, 1]; 0 where a variance is 0."""
        tiny = torch.finfo(self.k12.dtype).tiny
        return (self.k12 * self.k11.clamp(min=tiny).rsqrt_()).mul_(self.k22.clamp(min=tiny).rsqrt_())

    def acute_angle(self) -> tuple[Tensor, Tensor, Tensor]:
        """ψ = min(θ, π − θ), to rounding at both ends; h(ψ) = sinψ − ψ cosψ, up to the rounding of ψ; and cosθ."""
        sine, cosine = self.sin2.sqrt_(), self.correlation
        acute = cosine.abs()
        psi = torch.atan2(sine, acute)
        return psi, sine.addcmul_(psi, acute, value=-1), cosine


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
