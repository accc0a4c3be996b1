"""Nonlinearities σ, their derivatives σ̇, and the Gaussian expectations E[σ(u)σ(v)] and E[σ̇(u)σ̇(v)].

Expectations have closed forms where these exist, and are computed by quadrature otherwise (`replication.quadrature`).
All sums are arranged so that only small terms cancel: the closed forms are accurate to about 1e-14 at every correlation
from −1 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .gaussian import GaussianPairs, Moments
from .quadrature import gaussian_expectations, second_moment
from .sigma import Nonlinearity as Nonlinearity


@dataclass(frozen=True)
class PiecewiseLinear(Nonlinearity):
    """σ(x) = max(x, 0) + s min(x, 0): ReLU (s = 0), leaky ReLU, the identity (s = 1).

    With ψ = min(θ, π − θ), h(ψ) = sinψ − ψ cosψ: E[relu relu] = max(k12, 0)/2 + √(k11 k22) h(ψ)/2π,
    P(u > 0, v > 0) = (π − θ)/2π, and E[σσ] = s k12 + (1 − s)² E[relu relu], E[σ̇σ̇] = s + (1 − s)² P(u > 0, v > 0).

    These are the arc-cosine kernels of Cho & Saul (2009), written so that nothing cancels. By convention σ̇(0) = s. A
    Gaussian of variance 0 is identically 0, so that σ̇ of it is s.
    """

    name: str
    negative_slope: float

    def __call__(self, x: Tensor) -> Tensor:
        if self.negative_slope == 0:
            return x.clamp(min=0)
        return x if self.negative_slope == 1 else torch.where(x > 0, x, self.negative_slope * x)

    def derivative(self, x: Tensor) -> Tensor:
        positive = x.detach().clone().gt_(0)  # eight times as fast as a comparison and a conversion
        if self.negative_slope == 0:
            return positive
        return positive.mul_(1 - self.negative_slope).add_(self.negative_slope)

    def compact_derivative(self, x: Tensor) -> Tensor:
        return x.detach() > 0 if self.negative_slope == 0 else self.derivative(x)

    def expectations(self, pairs: GaussianPairs) -> tuple[Tensor, Tensor]:
        psi, _, _ = pairs.acute_angle()
        s = self.negative_slope
        relu = (_h(psi) * pairs.scale).div_(math.pi).add_(pairs.k12.clamp(min=0))
        value = relu.mul_((1 - s) ** 2 / 2)
        if s != 0:
            value += s * pairs.k12
        return value, self._slope(pairs, psi)

    def propagate(self, pairs: GaussianPairs, a: Moments, b: Moments) -> tuple[GaussianPairs, Tensor]:
        """As `Nonlinearity.propagate`, with E[σσ] = ab c, c = (1 − g) cosθ + g (max(cosθ, 0) + h(ψ)/π).

        g = (1 − s)²/(1 + s²) is the weight of |x| in σ: 0 for the identity, 1 for ReLU, 2 for |x|. h is accurate to ε·ψ
        here, which gives the next angle to ε.
        """
        psi, h, cosine = pairs.acute_angle()
        g = (1 - self.negative_slope) ** 2 / (1 + self.negative_slope**2)
        bend = h.mul_(g / math.pi)
        one_plus: Tensor | None = None
        value = cosine.clamp(min=0.0)
        if g == 1:  # no correlation is negative
            value += bend
            one_minus = pairs.one_minus.clamp(max=1.0).sub_(bend)
        else:
            value.mul_(g).add_(bend).add_(cosine, alpha=1 - g)
            obtuse = pairs.one_minus > 1
            one_minus = torch.where(obtuse, (g - 1) * pairs.one_plus + (2 - g), pairs.one_minus).sub_(bend)
            one_plus = torch.where(obtuse, (1 - g) * pairs.one_plus + g, pairs.one_plus).add_(bend)
        value.mul_(a.a).mul_(b.a)
        return GaussianPairs.from_activations(value, a, b, one_minus.clamp_(min=0.0), one_plus), self._slope(pairs, psi)

    def _slope(self, pairs: GaussianPairs, psi: Tensor) -> Tensor:
        """E[σ̇σ̇]; ψ = min(θ, π − θ)."""
        s = self.negative_slope
        half = (1 - s) ** 2 / 2
        slope = torch.rsub(psi, half, alpha=half / math.pi)
        if bool(pairs.one_minus.max() > 1):
            slope = torch.where(pairs.one_minus > 1, psi * (half / math.pi), slope)
        if s != 0:
            slope += s
        if not (bool(pairs.k11.all()) and bool(pairs.k22.all())):
            zero1, zero2 = pairs.k11 == 0, pairs.k22 == 0
            slope = torch.where(zero1 | zero2, s * (1 + s) / 2, slope)
            slope = torch.where(zero1 & zero2, s * s, slope)
        return slope

    def root_mean_square(self, variance: Tensor) -> Tensor:
        return ((1 + self.negative_slope**2) / 2 * variance).sqrt_()


@dataclass(frozen=True)
class Erf(Nonlinearity):
    """The error function, σ(x) = erf(x).

    With Δ = 1 + 2k11 + 2k22 + 4(k11 k22 − k12²): E[σσ] = (2/π) arctan(2k12/√Δ), E[σ̇σ̇] = 4/(π√Δ) (Williams 1997).
    """

    name: str = "erf"

    def __call__(self, x: Tensor) -> Tensor:
        return torch.erf(x)

    def derivative(self, x: Tensor) -> Tensor:
        return x.square().neg_().exp_().mul_(2 / math.sqrt(math.pi))

    def expectations(self, pairs: GaussianPairs) -> tuple[Tensor, Tensor]:
        root = (1 + 2 * pairs.k11 + 2 * pairs.k22 + 4 * pairs.determinant).sqrt_()
        return torch.atan2(2 * pairs.k12, root).mul_(2 / math.pi), (4 / math.pi) / root


@dataclass(frozen=True)
class Gelu(Nonlinearity):
    """The Gaussian error linear unit, σ(x) = x Φ(x), Φ the normal distribution function.

    With M = (1 + k11)(1 + k22), Δ = M − k12², 2πP = 1/√Δ: E[ΦΦ] = arctan2(√Δ, −k12)/2π,
    E[σσ] = k12 E[ΦΦ] + P (k11 k22 Δ + k12²)/M, E[σ̇σ̇] = E[ΦΦ] + P k12 (1/(1 + k11) + 1/(1 + k22) + 1/Δ) (Stein's lemma).
    """

    name: str = "gelu"

    def __call__(self, x: Tensor) -> Tensor:
        return torch.nn.functional.gelu(x)

    def derivative(self, x: Tensor) -> Tensor:
        density = x.square().mul_(-0.5).exp_().mul_(1 / math.sqrt(2 * math.pi))
        distribution: Tensor = torch.special.ndtr(x)
        return distribution.add_(density.mul_(x))

    def expectations(self, pairs: GaussianPairs) -> tuple[Tensor, Tensor]:
        k11, k12, k22 = pairs.k11, pairs.k12, pairs.k22
        delta = 1 + k11 + k22 + pairs.determinant
        root = delta.sqrt()
        m = (1 + k11) * (1 + k22)
        angle = torch.atan2(root, -k12)
        direct = k12 * angle + (k11 * k22 * root + k12.square() / root) / m
        # √Δ + k12 angle cancels to √M h(angle) for large, nearly opposite u and v.
        opposite = m.sqrt() * _h(angle.clamp(max=math.pi / 2)) + (1 / root - (2 + k11 + k22) * root / m)
        value = torch.where(-k12 > root, opposite, direct).div_(2 * math.pi)
        slope = angle + k12 / root * (1 / (1 + k11) + 1 / (1 + k22) + 1 / delta)
        return value, slope.div_(2 * math.pi)


@dataclass(frozen=True)
class Sin(Nonlinearity):
    """The sine, σ(x) = sin(x).

    E[sin u sin v] = e^{−(k11 + k22)/2} sinh k12, E[cos u cos v] = e^{−(k11 + k22)/2} cosh k12.
    """

    name: str = "sin"

    def __call__(self, x: Tensor) -> Tensor:
        return torch.sin(x)

    def derivative(self, x: Tensor) -> Tensor:
        return torch.cos(x)

    def expectations(self, pairs: GaussianPairs) -> tuple[Tensor, Tensor]:
        k = pairs.k12.abs()
        # The exponents are added first: k11 + k22 − 2|k12| ≥ 0, so that nothing overflows.
        half = ((pairs.k11 - k) + (pairs.k22 - k)).mul_(-0.5).exp_().mul_(0.5)
        odd = torch.expm1(-2 * k)
        return (half * odd).mul_(-torch.sign(pairs.k12)), half.mul_(odd + 2)


@dataclass(frozen=True)
class Cos(Nonlinearity):
    """The cosine, σ(x) = cos(x). Its two expectations are those of the sine, exchanged."""

    name: str = "cos"

    def __call__(self, x: Tensor) -> Tensor:
        return torch.cos(x)

    def derivative(self, x: Tensor) -> Tensor:
        return torch.sin(x).neg_()

    def expectations(self, pairs: GaussianPairs) -> tuple[Tensor, Tensor]:
        value, slope = Sin().expectations(pairs)
        return slope, value


@dataclass(frozen=True)
class Quadratic(Nonlinearity):
    """The square, σ(x) = x² (a polynomial, which Proposition 2 excludes): E[σσ] = k11 k22 + 2k12², E[σ̇σ̇] = 4k12."""

    name: str = "quadratic"

    def __call__(self, x: Tensor) -> Tensor:
        return x.square()

    def derivative(self, x: Tensor) -> Tensor:
        return 2 * x

    def expectations(self, pairs: GaussianPairs) -> tuple[Tensor, Tensor]:
        return pairs.k11 * pairs.k22 + 2 * pairs.k12.square(), 4 * pairs.k12


@dataclass(frozen=True)
class Quadrature(Nonlinearity):
    """A σ given as a function, with expectations by quadrature: tanh, softplus and the results of `from_function`."""

    name: str
    function: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor], Tensor] | None = None
    kinks: tuple[float, ...] = field(default=())

    def __call__(self, x: Tensor) -> Tensor:
        return self.function(x)

    def derivative(self, x: Tensor) -> Tensor:
        if self.slope is not None:
            return self.slope(x)
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(self.function(leaf).sum(), leaf)
        return gradient

    def expectations(self, pairs: GaussianPairs) -> tuple[Tensor, Tensor]:
        value, slope, _, _ = gaussian_expectations(self, self.derivative, self.kinks, pairs)
        return value, slope

    def propagate(self, pairs: GaussianPairs, a: Moments, b: Moments) -> tuple[GaussianPairs, Tensor]:
        value, slope, one_minus, one_plus = gaussian_expectations(self, self.derivative, self.kinks, pairs)
        return GaussianPairs.from_activations(value, a, b, one_minus, one_plus), slope

    def root_mean_square(self, variance: Tensor) -> Tensor:
        return second_moment(self, self.kinks, variance).sqrt_()


def leaky_relu(negative_slope: float = 0.01) -> PiecewiseLinear:
    """The leaky ReLU with slope s on the negative half-line, σ(x) = max(x, 0) + s min(x, 0).

    Raises ValueError if the slope is not finite.
    """
    if not math.isfinite(negative_slope):
        raise ValueError(f"negative_slope is {negative_slope}; it has to be finite")
    return PiecewiseLinear("leaky_relu", float(negative_slope))


def from_function(
    name: str,
    function: Callable[[Tensor], Tensor],
    derivative: Callable[[Tensor], Tensor] | None = None,
    kinks: tuple[float, ...] = (),
) -> Quadrature:
    """A nonlinearity from any elementwise function on tensors; its expectations are computed by quadrature.

    σ = function, σ̇ = derivative. Without a derivative, σ̇ is found by automatic differentiation.

    `kinks` are the points at which σ or σ̇ is not smooth; the quadrature is split there. With kinks, nearly equal and
    nearly opposite inputs take about 10 ms a pair, and so do many pairs if σ grows fast, like eˣ.

    Raises ValueError if a kink is not finite. The expectations warn (RuntimeWarning) if they are not accurate, and
    raise ValueError if E[σ(u)²] or E[σ̇(u)²] is not finite in float64: for eˣ, from a variance of about 120.
    """
    points = tuple(sorted({float(kink) for kink in kinks}))
    if not all(math.isfinite(point) for point in points):
        raise ValueError(f"kinks are {kinks}; they have to be finite")
    return Quadrature(name, function, derivative, points)


def nonlinearity(name: str) -> Nonlinearity:
    """The named nonlinearity, one of `NONLINEARITIES`.

    Raises ValueError if there is no such name.
    """
    if name not in _REGISTRY:
        raise ValueError(f"nonlinearity is {name!r}; it has to be one of {', '.join(NONLINEARITIES)}")
    return _REGISTRY[name]


def _h(psi: Tensor) -> Tensor:
    """sinψ − ψ cosψ for 0 ≤ ψ ≤ π/2 by its Taylor series, whose terms hardly cancel: accurate relative to its size."""
    square = psi.square()
    series = torch.full_like(psi, _H_COEFFICIENTS[-1])
    for coefficient in _H_COEFFICIENTS[-2::-1]:
        series.mul_(square).add_(coefficient)
    return series.mul_(square).mul_(psi)


_H_COEFFICIENTS = [(-1) ** (k + 1) * 2 * k / math.factorial(2 * k + 1) for k in range(1, 14)]


def _tanh_derivative(x: Tensor) -> Tensor:
    return torch.tanh(x).square_().neg_().add_(1)


def _softplus(x: Tensor) -> Tensor:
    # torch's default threshold, 20, replaces softplus(x) by x with an error of 2e-9.
    return torch.nn.functional.softplus(x, threshold=40.0)


_REGISTRY: dict[str, Nonlinearity] = {
    "relu": PiecewiseLinear("relu", 0.0),
    "leaky_relu": leaky_relu(),
    "erf": Erf(),
    "tanh": Quadrature("tanh", torch.tanh, _tanh_derivative),
    "gelu": Gelu(),
    "sin": Sin(),
    "cos": Cos(),
    "softplus": Quadrature("softplus", _softplus, torch.sigmoid),
    "identity": PiecewiseLinear("identity", 1.0),
    "quadratic": Quadratic(),
}
NONLINEARITIES: tuple[str, ...] = tuple(_REGISTRY)
