"""The drift of the NTK in training, predicted network by network to its leading order 1/n (beyond Theorem 2, §4.2).

Gradient flow is θ̇ = −(1/N) Jᵀd, with J = ∂f/∂θ on the N data and d = d|_f (f − f* for least squares). Derivatives
along it form a hierarchy: Θ̇ = −(1/N) K₃ d, K̇₃ = −(1/N) K₄ d, … (Huang and Yau, arXiv 1909.08156). For a smooth σ, K₃
and K₄ are of order 1/n, K₅ and K₆ of order 1/n² (Dyer and Gur-Ari, arXiv 1909.11304; Roberts, Yaida and Hanin, arXiv
2106.10165). Theorem 2 is the order 1 of this expansion: Θ stays what it was, d_s follows the flow at the network's own
fixed Θ_0, w(s) = (1/N) ∫₀ˢ d, and the parameters move by θ₁(s) = −J_0ᵀ w(s). The order 1/n has three terms:

    Θ_t − Θ_0 = −K₃ w(t) + (1/N²) ∬_{s' < s < t} K₄ d_s d_s' ds' ds + O(n⁻²) = A + B₁ + B₂ + O(n⁻²),
    A = DΘ[θ₁],    B₁ = ½ D²Θ[θ₁, θ₁],    B₂ = DΘ[θ₂],    θ₂ = −(1/N) ∫₀ᵗ (DJ[θ₁(s)])ᵀ d_s ds.

A comes from K₃. It changes its sign with the last layer, so that its mean at fixed w is 0; in a single network it is of
size 1/n. B₁ + B₂ come from K₄. The change of Θ changes d_s by a part of order 1/n, which enters through K₃ at order n⁻²
only. So the second Picard iterate of the flow holds all terms of order 1/n. It needs no automatic differentiation and
no σ̈:

    P(t) = Θ(θ_0 − (1/N) ∫₀ᵗ J(θ_0 + θ₁(s))ᵀ d_s ds) − Θ_0.

w(s) and d_s are known in closed form (paper §5), and the integral is a Gauss sum. For each node, move to θ_0 + θ₁(s),
linearize there, and move back exactly; at the end, move along all these linearizations at once. A few dozen passes
predict the change in training, and nothing is fitted. The sum runs over the change of J only, so that its error affects
B₂ only.

Signs tell the terms apart. If all d_s are multiplied by ε, then P(ε) = εA + ε²(B₁ + B₂) + O(ε³n⁻²), and the first
iterate is Q(ε) = Θ(θ_0 + εθ₁) − Θ_0 = εA + ε²B₁ + O(ε³n⁻²). So A is the odd part of Q and B₁ the even one. At ε = 1
this is exact up to order n⁻², which is left out anyway. As ε → 0 it is exact. For a σ with kinks no unit then switches:
the terms are made of the derivatives that exist almost everywhere.

Prediction and training are compared on the same network object: predict first, then train it. This matters for revealed
weights, because the directions that they reveal depend on the nodes.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .costs import Cost, LeastSquares
from .network import Forward, Network
from .tangent import Tangent, tangent_kernel
from .training import DivergenceError

Moves = list[tuple[Tangent, Tensor]]
"""A change of the parameters, Σ_i J_iᵀ c_i: linearizations J_i and coefficients c_i, (N, n_L)."""


@dataclass(frozen=True)
class Drift:
    """The prediction of Θ_t − Θ_0 to order 1/n, and its terms: each (M n_L, M n_L), float64.

    start: Θ_0; total: P(t); linear: A = DΘ[θ₁]; quadratic: B₁ = ½ D²Θ[θ₁, θ₁]. See the module's docstring.
    """

    start: Tensor
    total: Tensor
    linear: Tensor
    quadratic: Tensor

    @property
    def bent(self) -> Tensor:
        """B₂ = DΘ[θ₂]: the path of the parameters bends because J changes along it."""
        return self.total - self.linear - self.quadratic

    @property
    def straight(self) -> Tensor:
        """A + B₁, which is the first Picard iterate Θ(θ_0 + θ₁) − Θ_0 to this order."""
        return self.linear + self.quadratic


def predicted_drift(
    network: Network, x: Tensor, cost: Cost, t: float, points: Tensor, *, nodes: int = 12, scale: float = 1.0
) -> Drift:
    """Predict Θ_t − Θ_0 on the points, (M, n_0), for gradient flow of a cost at the inputs x, (N, n_0), to time t.

    The second Picard iterate and its terms (see the module's docstring), with ``nodes`` Gauss nodes in time.
    scale: ε of the differences that tell the terms apart. At 1 the total is P(t) itself; otherwise it is the odd part
    of P(ε) over ε plus the even part over ε². The network is unchanged afterwards.
    Raises ValueError for t ≤ 0, nodes < 1 or scale ≤ 0.
    """
    if not (t > 0 and nodes >= 1 and scale > 0):
        raise ValueError(f"t must be > 0, nodes ≥ 1 and scale > 0, not {t}, {nodes} and {scale}")
    base = _linearized(network, x)
    w = cost.frozen_flow(base.kernel, base.output, t)
    start = tangent_kernel(network, points)

    def change(moves: Moves) -> Tensor:
        with moved(network, moves):
            return tangent_kernel(network, points) - start

    def second(sign: int) -> Tensor:
        return change(second_iterate(network, base, x, cost, t, nodes=nodes, scale=sign * scale))

    linear, quadratic = _odd_and_even(change([(base, -scale * w(t))]), change([(base, scale * w(t))]), scale)
    total = second(1) if scale == 1 else torch.stack(_odd_and_even(second(1), second(-1), scale)).sum(dim=0)
    return Drift(start, total, linear, quadratic)


def second_iterate(
    network: Network, base: Tangent, x: Tensor, cost: Cost, t: float, *, nodes: int = 12, scale: float = 1.0
) -> Moves:
    """−(ε/N) ∫₀ᵗ J(θ_0 + ε θ₁(s))ᵀ d_s ds as moves along linearizations; ``base`` is the one at θ_0, ε is ``scale``."""
    w = cost.frozen_flow(base.kernel, base.output, t)
    moves: Moves = []
    unbent = -scale * w(t)
    rule = GaussRule(t, _fastest(base, cost), nodes)
    for s, weight in zip(rule.times, rule.weights, strict=True):
        with moved(network, [(base, -scale * w(s))]):
            there = _linearized(network, x)
        coefficients = -scale * weight / x.shape[-2] * cost.direction(base.output - _act(base.kernel, w(s)))
        moves.append((there, coefficients))
        unbent = unbent - coefficients
    return [(base, unbent), *moves]


def picard_flow(
    network: Network,
    x: Tensor,
    cost: LeastSquares,
    t: float,
    *,
    nodes: int = 16,
    tolerance: float = 1e-11,
    iterations: int = 60,
) -> Moves:
    """The change of the parameters by gradient flow of least squares until time t: Picard's iteration, converged.

    θ(s) = θ_0 − (c/N) ∫₀ˢ J(θ(s'))ᵀ e_{s'} ds', e = f − f*, c = 2·factor, on Gauss nodes: a collocation method, of
    spectral order in the nodes for a smooth σ. Each iteration takes the path of J from the one before and solves
    ė = −(c/N) JJᵀe exactly at the nodes; at width n it reduces the error by a factor of order 1/n. The iteration ends
    when f at the nodes changes by less than ``tolerance``. The network is unchanged afterwards.
    Raises DivergenceError if it has not converged after ``iterations`` rounds.
    """
    base = _linearized(network, x)
    rule = GaussRule(t, _fastest(base, cost), nodes)
    error, scale = base.output - cost.target, 2 * cost.factor / x.shape[-2]
    path, before = [base] * nodes, None
    for _ in range(iterations):
        errors = _errors(path, error, scale * rule.integrals)
        if before is not None and float((errors - before).abs().max()) < tolerance:
            return [(there, -scale * weight * e) for there, weight, e in zip(path, rule.weights, errors, strict=True)]
        before, following = errors, []
        for row in rule.integrals:
            with moved(network, [(there, -scale * a * e) for there, a, e in zip(path, row, errors, strict=True)]):
                following.append(_linearized(network, x))
        path = following
    raise DivergenceError(f"Picard's iteration has not converged in {iterations} rounds: shorten t, or widen n", t)


def apply(network: Network, moves: Moves) -> None:
    """θ ← θ + Σ_i J_iᵀ c_i in place: one update of each weight for all linearizations together."""
    forwards = [tangent.forward for tangent, _ in moves]
    weighted = [tangent.weighted(coefficients) for tangent, coefficients in moves]
    joined = Forward(
        activations=[torch.cat(rows, dim=-2) for rows in zip(*(f.activations for f in forwards), strict=True)],
        slopes=[],
        output=torch.cat([f.output for f in forwards], dim=-2),
    )
    network.update(joined, [torch.cat(rows, dim=-2) for rows in zip(*weighted, strict=True)], 1.0)


class GaussRule:
    """Gauss nodes of [0, t] in u = ln(1 + rate · s): dense at early times, at which the fastest component decays.

    times, weights: the rule for ∫₀ᵗ; integrals (count, count): row j has the weights of ∫₀^{s_j} of the polynomial
    through the nodes. All are float64.
    """

    def __init__(self, t: float, rate: float, count: int):
        x, w = np.polynomial.legendre.leggauss(count)
        half = math.log1p(rate * t) / 2
        u = half * (1 + x)
        density = half * np.exp(u) / rate  # ds/dx
        self.times: list[float] = (np.expm1(u) / rate).tolist()
        self.weights: list[float] = (w * density).tolist()
        values = np.polynomial.legendre.legvander(x, count)  # P_k(x_j)
        below = np.hstack([-np.ones((count, 1)), values[:, : count - 1]])  # P_{k−1}, with P_{−1} = −1
        primitives = (values[:, 1:] - below) / (2 * np.arange(count) + 1)  # ∫_{−1}^{x_j} P_k
        self.integrals = torch.from_numpy(primitives @ np.linalg.inv(values[:, :count]) * density)


def _errors(path: Sequence[Tangent], error: Tensor, integrals: Tensor) -> Tensor:
    """e at the nodes, (nodes, N, n_L), from e_j = e_0 − Σ_i a_ji K_i e_i, K_i = J_i J_iᵀ."""
    kernels = torch.stack([there.kernel for there in path], dim=-3)
    *ensemble, nodes, size, _ = kernels.shape
    system = torch.einsum("ji,...iab->...jaib", integrals.to(kernels), kernels)
    system = system.reshape(*ensemble, nodes * size, nodes * size)
    system.diagonal(dim1=-2, dim2=-1).add_(1)
    right = error.reshape(*ensemble, 1, size).expand(*ensemble, nodes, size).reshape(*ensemble, -1, 1)
    solution: Tensor = torch.linalg.solve(system, right)
    return solution.reshape(*ensemble, nodes, *error.shape[-2:]).movedim(-3, 0)


@contextmanager
def moved(network: Network, moves: Moves) -> Iterator[None]:
    """Move the parameters inside the ``with`` block; afterwards they are exactly what they were."""
    network.begin()
    try:
        apply(network, moves)
        yield
    finally:
        network.rollback()


def _linearized(network: Network, x: Tensor) -> Tangent:
    """The linearization at the present parameters, with its derivatives: it stays usable after the network moves."""
    tangent = Tangent(network, x)
    _ = tangent.derivatives
    return tangent


def _fastest(base: Tangent, cost: Cost) -> float:
    """The largest rate of decay of a component, over all networks of an ensemble."""
    return float(torch.linalg.eigvalsh(base.kernel).max()) / base.output.shape[-2] * cost.curvature()


def _odd_and_even(plus: Tensor, minus: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """From the values of a function at ±ε: its odd part over ε and its even part over ε²."""
    return (plus - minus) / (2 * scale), (plus + minus) / (2 * scale**2)


def _act(kernel: Tensor, w: Tensor) -> Tensor:
    return (kernel @ w.reshape(*w.shape[:-2], -1, 1)).reshape(w.shape)
