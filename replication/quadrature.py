"""Gaussian expectations of any nonlinearity: Hermite series, and two-dimensional rules where those are too long."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from .gaussian import GaussianPairs

Function = Callable[[Tensor], Tensor]

_ORDER = 1024  # longest Hermite series
_CHUNK = 64  # orders added at a time
_RANGE = 13.0  # |h_k(z)| φ(z) < 1e-17 beyond, for every order k
_PANEL = 0.5  # longest panel: 20 Gauss points still resolve h_1024, of wavelength 2π/32
_WORK = 2**16  # elements of a work array of the two-dimensional rule, per panel
_SETTLED = 5e-14  # relative change from one level to the next
_RANGE_2D = 9.0
_LEVELS = (129, 181, 257, 363, 513, 725)  # nodes a panel in the two-dimensional rule
_TOLERANCE = 2e-14


def second_moment(function: Function, kinks: tuple[float, ...], variance: Tensor) -> Tensor:
    """E[σ(u)²], u ∼ N(0, variance), elementwise."""
    z, weight = _nodes(kinks, variance)
    return (function(variance.sqrt().unsqueeze(-1) * z).square() * weight).sum(-1)


def gaussian_expectations(
    function: Function, derivative: Function, kinks: tuple[float, ...], pairs: GaussianPairs
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """E[σ(u)σ(v)], E[σ̇(u)σ̇(v)] and 1 ∓ corr(σ(u), σ(v)) (uncentred) for any σ and σ̇ that are smooth but at the kinks.

    E[σ(u)σ(v)] = Σ_k a_k(k11) a_k(k22) cosᵏθ, a_k(q) = E[σ(√q z) h_k(z)], h_k normalized Hermite (Mehler);
    1 ∓ corr = E[(σ(u)/a ∓ σ(v)/b)²]/2, a² = E[σ(u)²], b² = E[σ(v)²].

    Proposition 1 and Theorem 1. As many terms as matter to rounding; pairs for which 1024 do not (kinks or
    large variances, and |cosθ| near 1) are integrated one by one, in two dimensions. Warns (RuntimeWarning) when the
    quadrature has not converged, most often because σ has a kink that was not named.
    """
    cosine = pairs.correlation.clamp_(-1.0, 1.0)
    shape = cosine.shape
    results, scales, doubtful = [], [], torch.zeros(shape, dtype=torch.bool, device=cosine.device)
    for f in (function, derivative):
        _check(f, kinks, torch.maximum(pairs.k11.max(), pairs.k22.max()))
        (a1, tail1), (a2, tail2) = (_coefficients(f, kinks, q) for q in (pairs.k11, pairs.k22))
        order = min(len(a1), len(a2))
        value = torch.zeros(shape, dtype=torch.float64, device=cosine.device)
        for k in range(order - 1, -1, -1):
            value.mul_(cosine).addcmul_(a1[k], a2[k])
        error = (tail1[order - 1] * tail2[order - 1]).sqrt_() * cosine.abs().pow_(order)
        doubtful |= error > _TOLERANCE * value.abs()
        results.append(value)
        scales.append([(a[0].square() + tail[0]).sqrt() for a, tail in ((a1, tail1), (a2, tail2))])
    correlation = results[0] / (scales[0][0] * scales[0][1]).clamp(min=1e-300)
    results += [(1 - correlation).clamp_(0.0, 2.0), (1 + correlation).clamp_(0.0, 2.0)]
    where = torch.nonzero(doubtful.view(-1)).squeeze(1)
    if len(where):
        roots = [root.expand(shape).reshape(-1)[where] for pair in scales for root in pair]
        covariance = [part.expand(shape).reshape(-1)[where] for part in (pairs.k11, cosine, pairs.k22, pairs.sin2)]
        exact = _pairwise(function, derivative, kinks, torch.stack(covariance), torch.stack(roots))
        for result, values in zip(results, exact, strict=True):
            result.view(-1)[where] = values
    value, slope, one_minus, one_plus = results
    return value, slope, one_minus, one_plus


def _coefficients(f: Function, kinks: tuple[float, ...], variance: Tensor) -> tuple[Tensor, Tensor]:
    """a_k(q) and the tails Σ_{j>k} a_j(q)², both (order, *variance.shape)."""
    q = variance.reshape(-1)
    z, weight = _nodes(kinks, q)
    values = f(q.sqrt().unsqueeze(1) * z)
    total = (values.square() * weight).sum(1)
    values = values * weight
    shared = len(z) == 1  # the nodes are the same for every variance
    h, h_next, k = torch.ones_like(z), z.clone(), 0
    chunks: list[Tensor] = []
    rest = total
    while k < _ORDER:
        rows = []
        for _ in range(_CHUNK):
            rows.append(h[0] if shared else (values * h).sum(1))
            h, h_next, k = h_next, (z * h_next - math.sqrt(k + 1) * h) / math.sqrt(k + 2), k + 1
        chunks.append(torch.stack(rows) @ values.T if shared else torch.stack(rows))
        last = chunks[-1].square().sum(0)
        rest = (rest - last).clamp_(min=0.0)
        if bool((last <= 1e-17 * total).all()):
            rest = torch.minimum(rest, last)  # total minus the sum of squares is by now rounding only
            break
    a = torch.cat(chunks)
    tail = rest + (a.square().flip(0).cumsum(0).flip(0) - a.square())
    return a.view(-1, *variance.shape), tail.view(-1, *variance.shape)


def _check(f: Function, kinks: tuple[float, ...], variance: Tensor) -> None:
    """Warns unless two rules agree on E[f] and E[f²] at this variance."""
    moments = []
    for panel in (_PANEL, 0.7 * _PANEL):
        z, weight = _nodes(kinks, variance.reshape(1), panel)
        values = f(variance.sqrt() * z)
        moments.append(torch.stack([(values * weight).sum(), (values.square() * weight).sum().sqrt()]))
    defect = float((moments[0] - moments[1]).abs().max() / moments[1][1].clamp(min=1e-300))
    if not defect < 1e-12:
        _report(defect)


def _nodes(kinks: tuple[float, ...], variance: Tensor, panel: float = _PANEL) -> tuple[Tensor, Tensor]:
    """Nodes z and weights (with the normal density) for functions of √q z, panels graded towards 0 and the kinks."""
    centres = torch.tensor(sorted({0.0, *kinks}), dtype=torch.float64, device=variance.device)
    if kinks in ((), (0.0,)):
        breaks = centres.unsqueeze(0)
    else:
        breaks = centres / variance.clamp(min=1e-300).sqrt().unsqueeze(-1)
    end = breaks.new_full((*breaks.shape[:-1], 1), _RANGE)
    breaks = torch.cat([-end, breaks.clamp(-_RANGE, _RANGE), end], -1)
    t, weight = (torch.as_tensor(part, device=variance.device) for part in _graded_rule(panel))
    left, length = breaks[..., :-1, None], breaks.diff(dim=-1).unsqueeze(-1)
    z = (left + length * t).flatten(-2)
    density = (z.square() * -0.5).exp_().mul_(1 / math.sqrt(2 * math.pi))
    return z, (length * weight).flatten(-2) * density


def _graded_rule(panel: float) -> tuple[np.ndarray, np.ndarray]:
    """Composite Gauss rule on [0, 1], panels halving towards both ends."""
    half = 0.5 * 2.0 ** -np.arange(12)
    edges = np.concatenate([[0.0], half[::-1], 1 - half[1:], [1.0]])
    fine = [np.linspace(a, b, 1 + math.ceil((b - a) * 2 * _RANGE / panel)) for a, b in pairwise(edges)]
    edges = np.unique(np.concatenate(fine))
    x, w = np.polynomial.legendre.leggauss(20)
    length = np.diff(edges)[:, None]
    return (edges[:-1, None] + length * (x + 1) / 2).ravel(), (length * w / 2).ravel()


def _pairwise(
    function: Function, derivative: Function, kinks: tuple[float, ...], covariance: Tensor, roots: Tensor
) -> Tensor:
    """What `gaussian_expectations` returns, (4, P), by two-dimensional rules of increasing order for each pair.

    covariance holds k11, cosθ, k22, sin²θ and roots √E[σ(u)²], √E[σ(v)²], √E[σ̇(u)²], √E[σ̇(v)²].
    """
    scale = torch.stack([roots[0] * roots[1], roots[2] * roots[3]])
    out = covariance.new_zeros(4, covariance.shape[1])
    open_, defect = torch.arange(covariance.shape[1], device=out.device), 0.0
    for level, n in enumerate(_LEVELS):
        previous = out[:, open_]
        for index in torch.split(open_, max(1, _WORK // n)):
            out[:, index] = _two_dimensional(function, derivative, kinks, covariance[:, index], roots[:2, index], n)
        if level == 0:
            continue
        size = out[:2, open_].abs() + 1e-3 * scale[:, open_]
        change = (out[:, open_] - previous)[:2].abs() / size.clamp(min=1e-300)
        defect = float(change.max())
        open_ = open_[(change > _SETTLED).any(0)]
        if len(open_) == 0:
            return out
    _report(defect)
    return out


def _report(defect: float) -> None:
    warnings.warn(
        f"a Gaussian expectation is known to {defect:.0e} only: the nonlinearity or its derivative has a kink "
        "that kinks does not name, varies too fast, or grows too fast",
        RuntimeWarning,
        stacklevel=6,
    )


def _two_dimensional(
    function: Function, derivative: Function, kinks: tuple[float, ...], covariance: Tensor, roots: Tensor, n: int
) -> Tensor:
    """One rule with n × n nodes a cell: u = √k11 z, v = √k22 (cosθ z + sinθ w), split at the kinks of both."""
    k11, cosine, k22, sin2 = covariance
    centres = torch.tensor(sorted({0.0, *kinks}), dtype=torch.float64, device=k11.device)
    sd1, mean2, sd2 = k11.sqrt(), k22.sqrt() * cosine, (k22 * sin2).sqrt().unsqueeze(1)
    a, b = roots.clamp(min=1e-300)
    breaks = torch.cat([_divide(centres, sd1.unsqueeze(1)), _divide(centres, mean2.unsqueeze(1))], 1)
    breaks = _bounded(breaks).sort(1).values
    total = covariance.new_zeros(4, len(k11))
    z_all, weight_all = _panels(breaks, n)
    for z, weight in zip(z_all.T, weight_all.T, strict=True):
        if not bool(weight.any()):
            continue
        mean = (mean2 * z).unsqueeze(1)
        w, inner = _panels(_bounded(_divide(centres - mean, sd2)), n)
        v = mean + sd2 * w
        fu, fv = function(sd1 * z), function(v)
        ru, rv = (fu / a).unsqueeze(1), fv / b.unsqueeze(1)
        total[0] += weight * fu * (inner * fv).sum(1)
        total[1] += weight * derivative(sd1 * z) * (inner * derivative(v)).sum(1)
        total[2] += weight * (inner * (ru - rv).square_()).sum(1) / 2
        total[3] += weight * (inner * (ru + rv).square_()).sum(1) / 2
    return total


def _panels(breaks: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Nodes, and weights with the normal density, doubly exponentially dense at every break (Takahasi & Mori)."""
    t = torch.linspace(-3.2, 3.2, n, dtype=torch.float64, device=breaks.device)
    x, rest = torch.sigmoid(math.pi * torch.sinh(t)), torch.sigmoid(-math.pi * torch.sinh(t))
    left, right = breaks[:, :-1, None], breaks[:, 1:, None]
    length = right - left
    # From the nearer end, so that the nodes next to a break are where they should be.
    z = torch.where(t < 0, left + length * x, right - length * rest).flatten(1)
    step = (6.4 / (n - 1)) * math.pi * torch.cosh(t) * x * rest
    return z, (length * step).flatten(1) * (z.square() * -0.5).exp_().mul_(1 / math.sqrt(2 * math.pi))


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return a / torch.where(b.abs() > 1e-300, b, 1e-300)


def _bounded(breaks: Tensor) -> Tensor:
    end = breaks.new_full((len(breaks), 1), _RANGE_2D)
    return torch.cat([-end, breaks.clamp(-_RANGE_2D, _RANGE_2D), end], 1)
