"""Gaussian expectations of any nonlinearity: Hermite series, or two-dimensional rules if a series would be too long."""

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
_REACH = 13.0  # largest |z|: beyond, |h_k(z)| φ(z) < 1e-17 for every order k; farther if σ grows fast
_LONGEST = 38.0  # the normal density underflows here
_NEGLIGIBLE = -75.0  # the rule may end at this ln of f(√q z)² φ(z) over its maximum: |f h_k φ| is its root (Cramér)
_PANEL = 0.5  # longest panel: 20 Gauss points still resolve h_1024, of wavelength 2π/32
_HALVINGS = 12  # how often the panels are halved towards 0 and the kinks
_WORK = 2**16  # elements of a work array of the two-dimensional rule, per panel
_SETTLED = 5e-14  # relative change from one level to the next
_REACH_2D = 9.0  # reach and negligible logarithm in two dimensions, where f enters squared
_NEGLIGIBLE_2D = -35.0
_LEVELS = (129, 181, 257, 363, 513, 725)  # nodes a panel in the two-dimensional rule
_TOLERANCE = 2e-14


def second_moment(function: Function, kinks: tuple[float, ...], variance: Tensor) -> Tensor:
    """E[σ(u)²], u ∼ N(0, variance), elementwise. Warns and raises as `gaussian_expectations` does."""
    z, weight = _nodes(kinks, variance, _reach(function, kinks, [variance]))
    moment = (function(variance.sqrt().unsqueeze(-1) * z).square() * weight).sum(-1)
    _require_finite(moment, variance)
    return moment


def gaussian_expectations(
    function: Function, derivative: Function, kinks: tuple[float, ...], pairs: GaussianPairs
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """E[σ(u)σ(v)], E[σ̇(u)σ̇(v)] and 1 ∓ corr(σ(u), σ(v)) (uncentred), for σ and σ̇ that are smooth except at the kinks.

    E[σ(u)σ(v)] = Σ_k a_k(k11) a_k(k22) cosᵏθ, a_k(q) = E[σ(√q z) h_k(z)], h_k normalized Hermite (Mehler);
    1 ∓ corr = E[(σ(u)/a ∓ σ(v)/b)²]/2, a² = E[σ(u)²], b² = E[σ(v)²].

    Proposition 1 and Theorem 1. The series has as many terms as rounding can see. For some pairs 1024 terms are not
    enough (kinks or large variances, with |cosθ| near 1), or the terms cancel because σ grows fast; these pairs are
    integrated one by one, in two dimensions. Warns (RuntimeWarning) if the quadrature has not converged, most often
    because σ has a kink that was not named. Raises ValueError if E[σ(u)²] or E[σ̇(u)²] is not finite.
    """
    cosine = pairs.correlation.clamp_(-1.0, 1.0)
    shape = cosine.shape
    results, scales, doubtful = [], [], torch.zeros(shape, dtype=torch.bool, device=cosine.device)
    variances = [pairs.k11, pairs.k22]
    for f in (function, derivative):
        reach = _reach(f, kinks, variances)
        (a1, tail1, noise1), (a2, tail2, noise2) = (_coefficients(f, kinks, q, reach) for q in variances)
        order = min(len(a1), len(a2))
        value = _series(a1, a2, order, cosine)
        error = (tail1[order - 1] * tail2[order - 1]).sqrt_() * cosine.abs().pow_(order)
        doubtful |= ~(error <= _TOLERANCE * value.abs())
        if noise1 is not None and noise2 is not None:
            noise = _series(a1.abs(), noise2, order, cosine.abs()) + _series(noise1, a2.abs(), order, cosine.abs())
            doubtful |= ~(noise <= _TOLERANCE * value.abs())
        results.append(value)
        scales.append([(a[0].square() + tail[0]).sqrt() for a, tail in ((a1, tail1), (a2, tail2))])
    correlation = results[0] / (scales[0][0] * scales[0][1]).clamp(min=1e-300)
    results += [(1 - correlation).clamp_(0.0, 2.0), (1 + correlation).clamp_(0.0, 2.0)]
    where = torch.nonzero(doubtful.view(-1)).squeeze(1)
    if len(where):
        roots = [root.expand(shape).reshape(-1)[where] for pair in scales for root in pair]
        covariance = [part.expand(shape).reshape(-1)[where] for part in (pairs.k11, cosine, pairs.k22, pairs.sin2)]
        reaches = [_scan(f, variances, _NEGLIGIBLE_2D, _REACH_2D)[0] for f in (function, derivative)]
        exact = _pairwise(function, derivative, kinks, torch.stack(covariance), torch.stack(roots), max(reaches))
        for result, values in zip(results, exact, strict=True):
            result.view(-1)[where] = values
    value, slope, one_minus, one_plus = results
    return value, slope, one_minus, one_plus


def _series(a1: Tensor, a2: Tensor, order: int, x: Tensor) -> Tensor:
    """Σ_{k < order} a1_k a2_k xᵏ."""
    value = torch.zeros_like(x)
    for k in range(order - 1, -1, -1):
        value.mul_(x).addcmul_(a1[k], a2[k])
    return value


def _coefficients(
    f: Function, kinks: tuple[float, ...], variance: Tensor, reach: float
) -> tuple[Tensor, Tensor, Tensor | None]:
    """a_k(q), the tails Σ_{j>k} a_j(q)² and, if f grows fast, the rounding of a_k(q): (order, *variance.shape) each."""
    q = variance.reshape(-1)
    z, weight = _nodes(kinks, q, reach)
    values = f(q.sqrt().unsqueeze(1) * z)
    total = (values.square() * weight).sum(1)
    _require_finite(total, q)
    values = values * weight
    shared = len(z) == 1  # the nodes are the same for every variance
    h, h_next, k = torch.ones_like(z), z.clone(), 0
    chunks: list[Tensor] = []
    sizes: list[Tensor] = []  # E|f h_k|
    rest = total
    while k < _ORDER:
        rows = []
        for _ in range(_CHUNK):
            rows.append(h[0] if shared else (values * h).sum(1))
            if reach > _REACH:
                sizes.append((values * h).abs().sum(1))
            h, h_next, k = h_next, (z * h_next - math.sqrt(k + 1) * h) / math.sqrt(k + 2), k + 1
        chunks.append(torch.stack(rows) @ values.T if shared else torch.stack(rows))
        last = chunks[-1].square().sum(0)
        rest = (rest - last).clamp_(min=0.0)
        if bool((last <= 1e-17 * total).all()):
            rest = torch.minimum(rest, last)  # total minus the sum of squares is only rounding now
            break
    a = torch.cat(chunks)
    tail = rest + (a.square().flip(0).cumsum(0).flip(0) - a.square())
    noise = torch.stack(sizes).mul_(torch.finfo(torch.float64).eps).view(-1, *variance.shape) if sizes else None
    return a.view(-1, *variance.shape), tail.view(-1, *variance.shape), noise


def _reach(f: Function, kinks: tuple[float, ...], variances: list[Tensor]) -> float:
    """The largest |z| of the rule at these variances. Warns if it is not large enough, or if another rule disagrees."""
    reach, missing = _scan(f, variances, _NEGLIGIBLE, _REACH)
    q = torch.cat([variance.reshape(-1) for variance in variances])
    positive = q[q > 0]
    defects = [missing]
    for variance in (positive.min(), positive.max()) if len(positive) else ():
        moments = []
        for panel, halvings in ((_PANEL, _HALVINGS), (0.7 * _PANEL, _HALVINGS + 1)):
            z, weight = _nodes(kinks, variance.reshape(1), reach, panel, halvings)
            values = f(variance.sqrt() * z)
            moments.append(torch.stack([(values * weight).sum(), (values.square() * weight).sum().sqrt()]))
        _require_finite(moments[1][1:], variance.reshape(1))
        defects.append(float((moments[0] - moments[1]).abs().max() / moments[1][1].clamp(min=1e-300)))
    if not max(defects) < 1e-12:
        _report(max(defects))
    return reach


def _scan(f: Function, variances: list[Tensor], negligible: float, shortest: float) -> tuple[float, float]:
    """Where the rule may end, and what it misses.

    The first number is the |z| beyond which f(√q z)² φ(z) is below e^negligible of its maximum, at least ``shortest``.
    The second is roughly the part of f's root mean square beyond ``_LONGEST``; it is 0 if the rule ends before. Raises
    ValueError if the maximum itself lies beyond, or if f overflows before.
    """
    q = torch.cat([variance.reshape(-1) for variance in variances])
    q = q[q > 0].unsqueeze(1)
    z = torch.arange(0.25, _LONGEST, 0.5, dtype=q.dtype, device=q.device)
    sizes = torch.stack([2 * f(sign * q.sqrt() * z).abs().log() - z.square() / 2 for sign in (1, -1)])
    usable = (sizes.isfinite() | sizes.isneginf()).all(0).cumprod(1).bool()
    sizes = torch.where(usable, sizes, -math.inf).amax(0)
    largest = sizes.amax(1, keepdim=True)
    matters = (sizes - largest > negligible) & largest.isfinite()
    edge = usable.sum(1, keepdim=True) - 1  # the last usable point
    beyond = matters.gather(1, edge.clamp(min=0)) | (edge < 0)
    lost = torch.where(beyond, (sizes.gather(1, edge.clamp(min=0)) - largest).exp().sqrt(), 0.0)
    lost = torch.where(beyond & (edge < len(z) - 1), 1.0, lost)
    if bool((lost == 1).any()):
        _require_finite(torch.where(lost == 1, math.inf, 0.0), q)
    far = z[matters.any(0)]
    reach = max(shortest, float(far.max()) + 0.25 if len(far) else 0.0)
    return min(reach, _LONGEST), float(lost.max()) if len(q) else 0.0


def _require_finite(moment: Tensor, variance: Tensor) -> None:
    if not bool(torch.isfinite(moment).all()):
        worst = float(variance[~torch.isfinite(moment)].min())
        raise ValueError(
            f"E[σ(u)²] or E[σ̇(u)²] is not finite, or too large for float64, at the variance {worst:.3g} of u: "
            "σ grows too fast, or is not defined everywhere"
        )


def _nodes(
    kinks: tuple[float, ...], variance: Tensor, reach: float, panel: float = _PANEL, halvings: int = _HALVINGS
) -> tuple[Tensor, Tensor]:
    """Nodes z and weights (with the normal density) for functions of √q z, denser towards 0 and the kinks."""
    centres = torch.tensor(sorted({0.0, *kinks}), dtype=torch.float64).to(variance.device)
    if kinks in ((), (0.0,)):
        breaks = centres.unsqueeze(0)
    else:
        breaks = centres / variance.clamp(min=1e-300).sqrt().unsqueeze(-1)
    breaks = _bounded(breaks, reach)
    t, weight = (torch.from_numpy(part).to(variance.device) for part in _graded_rule(panel, halvings, reach))
    left, length = breaks[..., :-1, None], breaks.diff(dim=-1).unsqueeze(-1)
    z = (left + length * t).flatten(-2)
    density = (z.square() * -0.5).exp_().mul_(1 / math.sqrt(2 * math.pi))
    return z, (length * weight).flatten(-2) * density


def _graded_rule(panel: float, halvings: int, reach: float) -> tuple[np.ndarray, np.ndarray]:
    """Composite Gauss rule on [0, 1]; the panels are halved towards both ends."""
    half = 0.5 * 2.0 ** -np.arange(halvings)
    edges = np.concatenate([[0.0], half[::-1], 1 - half[1:], [1.0]])
    fine = [np.linspace(a, b, 1 + math.ceil((b - a) * 2 * reach / panel)) for a, b in pairwise(edges)]
    edges = np.unique(np.concatenate(fine))
    x, w = np.polynomial.legendre.leggauss(20)
    length = np.diff(edges)[:, None]
    return (edges[:-1, None] + length * (x + 1) / 2).ravel(), (length * w / 2).ravel()


def _pairwise(
    function: Function,
    derivative: Function,
    kinks: tuple[float, ...],
    covariance: Tensor,
    roots: Tensor,
    reach: float,
) -> Tensor:
    """The four numbers of `gaussian_expectations`, (4, P), by two-dimensional rules of increasing order for each pair.

    covariance holds k11, cosθ, k22, sin²θ and roots √E[σ(u)²], √E[σ(v)²], √E[σ̇(u)²], √E[σ̇(v)²].
    """
    scale = torch.stack([roots[0] * roots[1], roots[2] * roots[3]])
    out = covariance.new_zeros(6, covariance.shape[1])
    open_, defect = torch.arange(covariance.shape[1], device=out.device), 0.0
    for level, n in enumerate(_LEVELS):
        previous = out[:, open_]
        for index in torch.split(open_, max(1, _WORK // n)):
            rule = (covariance[:, index], roots[:2, index], reach, n)
            out[:, index] = _two_dimensional(function, derivative, kinks, *rule)
        if level == 0:
            continue
        size = out[:2, open_].abs() + (1e-3 * scale[:, open_] if reach <= _REACH else out[4:, open_])
        change = (out[:, open_] - previous)[:2].abs() / size.clamp(min=1e-300)
        defect = float(change.max())
        open_ = open_[~(change <= _SETTLED).all(0)]
        if len(open_) == 0:
            return out[:4]
    _report(defect)
    return out[:4]


def _report(defect: float) -> None:
    warnings.warn(
        f"a Gaussian expectation is known to {defect:.0e} only: the nonlinearity or its derivative varies too fast, "
        "grows too fast, or has a kink that is not listed in kinks",
        RuntimeWarning,
        stacklevel=6,
    )


def _two_dimensional(
    function: Function,
    derivative: Function,
    kinks: tuple[float, ...],
    covariance: Tensor,
    roots: Tensor,
    reach: float,
    n: int,
) -> Tensor:
    """One rule with n × n nodes in each cell: u = √k11 z, v = √k22 (cosθ z + sinθ w), split at the kinks of both.

    Returns the four expectations, E|σ(u)σ(v)| and E|σ̇(u)σ̇(v)|.
    """
    k11, cosine, k22, sin2 = covariance
    centres = torch.tensor(sorted({0.0, *kinks}), dtype=torch.float64).to(k11.device)
    sd1, mean2, sd2 = k11.sqrt(), k22.sqrt() * cosine, (k22 * sin2).sqrt().unsqueeze(1)
    a, b = roots.clamp(min=1e-300)
    breaks = torch.cat([_divide(centres, sd1.unsqueeze(1)), _divide(centres, mean2.unsqueeze(1))], 1)
    breaks = _bounded(breaks, reach).sort(1).values
    total = covariance.new_zeros(6, len(k11))
    z_all, weight_all = _panels(breaks, n)
    for z, weight in zip(z_all.T, weight_all.T, strict=True):
        if not bool(weight.any()):
            continue
        mean = (mean2 * z).unsqueeze(1)
        w, inner = _panels(_bounded(_divide(centres - mean, sd2), reach), n)
        v = mean + sd2 * w
        fu, fv = function(sd1 * z), function(v)
        ru, rv = (fu / a).unsqueeze(1), fv / b.unsqueeze(1)
        slopes = weight * derivative(sd1 * z), inner * derivative(v)
        values = weight * fu, inner * fv
        for row, (left, right) in enumerate((values, slopes)):
            total[row] += left * right.sum(1)
            total[4 + row] += left.abs() * right.abs().sum(1)
        total[2] += weight * (inner * (ru - rv).square_()).sum(1) / 2
        total[3] += weight * (inner * (ru + rv).square_()).sum(1) / 2
    return total


def _panels(breaks: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights (with the normal density), doubly exponentially dense at every break (Takahasi & Mori)."""
    t = torch.linspace(-3.2, 3.2, n, dtype=torch.float64, device=breaks.device)
    x, rest = torch.sigmoid(math.pi * torch.sinh(t)), torch.sigmoid(-math.pi * torch.sinh(t))
    left, right = breaks[:, :-1, None], breaks[:, 1:, None]
    length = right - left
    # Measured from the nearer end, so that nodes next to a break are exact.
    z = torch.where(t < 0, left + length * x, right - length * rest).flatten(1)
    step = (6.4 / (n - 1)) * math.pi * torch.cosh(t) * x * rest
    return z, (length * step).flatten(1) * (z.square() * -0.5).exp_().mul_(1 / math.sqrt(2 * math.pi))


def _divide(a: Tensor, b: Tensor) -> Tensor:
    return a / torch.where(b.abs() > 1e-300, b, 1e-300)


def _bounded(breaks: Tensor, reach: float) -> Tensor:
    end = breaks.new_full((*breaks.shape[:-1], 1), reach)
    return torch.cat([-end, breaks.clamp(-reach, reach), end], -1)
