"""E[Θ_n] − Θ_∞ = c/n + O(n⁻²) at initialization, L = 3: c derived, and measured on many small networks.

The mean over all parameters above the first hidden layer is E[Θ_n | α⁽¹⁾] = F(Ŝ) + β² + Ŝ₁₂ Ḟ(Ŝ) + Σ⁽¹⁾ (D̂ Ḟ(Ŝ) +
(2/n) Ê·∇Ḟ(Ŝ)). Here F(S) = E[σ(u)σ(v)] and Ḟ(S) = E[σ̇(u)σ̇(v)] for (u, v) ∼ N(0, S). Three means are over the first
hidden layer: Ŝ of the products σσ', plus β²; D̂ of σ̇σ̇'; Ê of σ̇σ̇' times (σ², σσ', σ'²). The last term arises because
both passes use the same weights: E[W² g(u, v)] = E[g] + E[∂²g/∂W²]. An expansion about the limit gives

    c = ½ C:∇²(F + S₁₂ Ḟ) + Σ⁽¹⁾ (½ Σ̇⁽²⁾ C:∇²Ḟ + D·∇Ḟ + 2 E·∇Ḟ),

where C is the covariance of the three products of one neuron, D their covariance with σ̇σ̇', and E = E[Ê]. The formula
needs σ and σ̇ only, so that it holds for ReLU too; on ReLU's diagonal c = 0. For L = 2 the mean over the last layer is
linear in Ŝ and D̂, so that c = 0. Misof, Kessel and Gerken (arXiv 2508.11522) derive such corrections by diagrams; they
show that the diagonal has none for scale-invariant σ. New here are a formula by quadrature for any σ, kinks included,
also off the diagonal, and its measurement to a few percent.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ...gaussian import GaussianPairs
from ...limit import Limit, limit
from ...network import Network
from ...nonlinearities import nonlinearity
from ...sigma import Nonlinearity
from ...tangent import Tangent
from ...weights import DenseWeight

POINTS = ((1.0, 0.3), (0.2, -0.9), (-0.7, -0.8))
"""The three inputs; the kernel has six entries."""
PARTS = ("c", "independent")
"""c, and c for a backward pass with independent weights, which lacks the term of E."""
# Of the differences that ∇ and ∇² are taken with, of order 4.
_STEP = 4e-3
_CENTER = (0.0, 0.0, 1.0, 0.0, 0.0)
_SLOPE = (1 / 12, -2 / 3, 0.0, 2 / 3, -1 / 12)
_CURVATURE = (-1 / 12, 4 / 3, -5 / 2, 4 / 3, -1 / 12)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A block of networks: width, number, σ and β."""

    width: int
    networks: int
    nonlinearity: str
    beta: float


@dataclass(frozen=True, kw_only=True)
class Derived:
    """The theory for σ and β."""

    nonlinearity: str
    beta: float


def pairs_of_points() -> tuple[Tensor, list[tuple[int, int]]]:
    """The points, (3, 2), and their pairs i ≤ j."""
    x = torch.tensor(POINTS, dtype=torch.float64)
    return x, [(i, j) for i in range(len(x)) for j in range(i, len(x))]


def derived(setting: Derived) -> xr.Dataset:
    """constant (entry, part): c for each pair of points, with ``PARTS``; on_diagonal (entry): whether i = j."""
    x, pairs = pairs_of_points()
    sigma = nonlinearity(setting.nonlinearity)
    kernels = limit(x, depth=2, nonlinearity=setting.nonlinearity, beta=setting.beta)
    first, second = kernels.sigma
    constants = [_constant(sigma, _covariance(first, pair), _covariance(second, pair)) for pair in pairs]
    return xr.Dataset(
        {"constant": (("entry", "part"), np.array(constants)), "on_diagonal": ("entry", [i == j for i, j in pairs])},
        coords={"part": list(PARTS)},
    )


@cache
def _limit(name: str, beta: float) -> Limit:
    x, _ = pairs_of_points()
    return limit(x, depth=3, nonlinearity=name, beta=beta)


def _covariance(kernel: Tensor, pair: tuple[int, int]) -> Tensor:
    i, j = pair
    return torch.stack([kernel[i, i], kernel[i, j], kernel[j, j]]) if i != j else kernel[i, i].reshape(1)


def _constant(sigma: Nonlinearity, s1: Tensor, s2: Tensor) -> tuple[float, float]:
    """c, and c without the term with E, at a pair of inputs: covariances (S₁₁, S₁₂, S₂₂), or (S₁₁,) for one input."""
    same = len(s1) == 1
    u, v, weight = gaussian_rule(*(s1.expand(3) if same else s1))
    slope = sigma.derivative(u) * sigma.derivative(v)
    products = torch.stack([sigma(u) ** 2] if same else [sigma(u) ** 2, sigma(u) * sigma(v), sigma(v) ** 2])
    mean, slope_mean = products @ weight, slope @ weight
    centred = products - mean[:, None]
    covariance = (centred * weight) @ centred.mT
    with_slope, weighted = centred @ (slope * weight), products @ (slope * weight)
    middle = 0 if same else 1  # the position of S₁₂

    def smooth(s: Tensor) -> tuple[Tensor, Tensor]:
        value, derivative = sigma.expectations(GaussianPairs.from_covariance(s[..., 0], s[..., middle], s[..., -1]))
        return value + s[..., middle] * derivative, derivative

    _, curved = _derivatives(lambda s: smooth(s)[0], s2)
    gradient, slope_curved = _derivatives(lambda s: smooth(s)[1], s2)
    independent = (covariance * curved).sum() / 2
    independent += s1[middle] * (slope_mean * (covariance * slope_curved).sum() / 2 + with_slope @ gradient)
    shared = s1[middle] * 2 * weighted @ gradient
    return float(independent + shared), float(independent)


def _derivatives(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """∇, (k,), and ∇², (k, k), of a function of (…, k), by differences of order 4; the function is called once."""
    size = len(at)
    grid = torch.cartesian_prod(*[torch.arange(-2, 3)] * size).reshape(-1, size)
    values = function(at + _STEP * grid.to(at.dtype))
    center, slope, curvature = (torch.tensor(w, dtype=at.dtype) for w in (_CENTER, _SLOPE, _CURVATURE))

    def along(*directions: int) -> Tensor:
        """The derivative in these directions, by the product of the stencils of all coordinates."""
        orders = [directions.count(i) for i in range(size)]
        weights = [(center, slope, curvature)[order][grid[:, i] + 2] for i, order in enumerate(orders)]
        return torch.stack(weights).prod(dim=0) @ values / _STEP ** len(directions)

    gradient = torch.stack([along(i) for i in range(size)])
    return gradient, torch.stack([along(i, j) for i in range(size) for j in range(size)]).reshape(size, size)


def gaussian_rule(k11: Tensor, k12: Tensor, k22: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Nodes u, v and weights for (u, v) ∼ N(0, K), in polar coordinates, split at the angles where u or v is 0."""
    a = k11.sqrt()
    r, b = k12 / a, (k22 - k12.square() / k11).clamp(min=0).sqrt()
    zero = math.atan2(-float(r), float(b)) if b > 0 else math.pi / 2  # v = 0 there
    breaks = sorted({(angle + turn) % math.pi for angle, turn in ((math.pi / 2, 0.0), (zero, 0.0))})
    edges = [*breaks, breaks[0] + math.pi]
    edges = [edge + turn for turn in (0.0, math.pi) for edge in edges[:-1]] + [breaks[0] + 2 * math.pi]
    x, w = np.polynomial.legendre.leggauss(48)
    angles, shares = [], []
    for begin, end in pairwise(edges):
        angles.append((begin + end) / 2 + (end - begin) / 2 * x)
        shares.append((end - begin) / 2 * w)
    x, w = np.polynomial.legendre.leggauss(96)
    radii = 6.5 * (1 + x)
    radial = 6.5 * w * radii * np.exp(-(radii**2) / 2) / (2 * math.pi)
    angle, radius = torch.from_numpy(np.concatenate(angles)), torch.from_numpy(radii)
    z1, z2 = (radius[:, None] * part for part in (angle.cos(), angle.sin()))
    weight = torch.from_numpy(radial)[:, None] * torch.from_numpy(np.concatenate(shares))
    return (a * z1).flatten(), (r * z1 + b * z2).flatten(), weight.flatten()


def measured(sample: Sample, stream: torch.Generator) -> xr.Dataset:
    """n (E[Θ_n] − Θ_∞) for each pair of points, from the mean over many networks: bias (entry).

    Control variates, whose means are exactly 0, reduce the noise, with coefficients by least squares: Ŝ and D̂ minus
    their limits; α̃⁽²⁾·α̃⁽²⁾'/n − Ŝ; the parts of σσ' and σ̇σ̇' in the second layer that are odd in α̃⁽²⁾; Θ minus its
    mean over the last layer.
    """
    n, size, beta = sample.width, sample.networks, sample.beta
    x, pairs = pairs_of_points()
    sigma = nonlinearity(sample.nonlinearity)

    def normal(*shape: int) -> Tensor:
        return torch.randn(size, *shape, generator=stream, dtype=torch.float64)

    weights = [DenseWeight(normal(n, 2)), DenseWeight(normal(n, n)), DenseWeight(normal(1, n))]
    network = Network(weights, [normal(1, n), normal(1, n), normal(1, 1)], sigma, beta)
    tangent = Tangent(network, x)
    (_, alpha_1, alpha_2), (slope_1, slope_2) = tangent.forward.activations, tangent.forward.slopes
    i, j = (torch.tensor(part) for part in zip(*pairs, strict=True))

    def mean(rows: Tensor) -> Tensor:
        """The mean over a layer of the product of two rows, for each pair: (networks, pairs)."""
        return (rows @ rows.mT)[:, i, j] / n

    preactivation = weights[1].apply(alpha_1) / math.sqrt(n) + beta * network.biases[1]
    odd = [mean(rows) - mean(f(-preactivation)) for rows, f in ((alpha_2, sigma), (slope_2, sigma.derivative))]
    s_hat = mean(alpha_1) + beta**2
    # δ⁽²⁾·δ⁽²⁾' and δ⁽¹⁾·δ⁽¹⁾', where the mean, 1, replaces the squares of the last weights.
    back = (slope_2[:, i] * slope_2[:, j]) @ weights[1].values.square() / n**2
    last = (back * slope_1[:, i] * slope_1[:, j]).sum(dim=-1) * (x @ x.mT / 2 + beta**2)[i, j]
    averaged = mean(alpha_2) + beta**2 + s_hat * mean(slope_2) + last
    kernels = _limit(sample.nonlinearity, beta)
    theta = tangent.kernel[:, i, j]
    variates = [
        s_hat - kernels.sigma[1][i, j],
        mean(slope_1) - kernels.sigma_dot[1][i, j],
        mean(preactivation) - s_hat,
        *odd,
        theta - averaged,
    ]
    design = torch.cat([torch.ones(size, 1, dtype=torch.float64), *variates], dim=1).numpy()
    values = n * (theta - kernels.theta[-1][i, j]).numpy()
    solution, *_ = np.linalg.lstsq(design, values, rcond=None)
    return xr.Dataset({"bias": ("entry", solution[0])})
