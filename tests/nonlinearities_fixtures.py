"""Covariances, and the dual activations at them to 40 digits."""

import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import torch
from scipy import special

from replication.gaussian import GaussianPairs

VARIANCES = [(1.0, 1.0), (0.3, 1.7), (2.0, 2.0000001), (1e-6, 1e-6), (1e-6, 1e3), (1e3, 1e3), (40.0, 0.02)]


GAPS = [0.0, 1e-16, 1e-13, 1e-9, 1e-5, 1e-2, 0.4]


CORRELATIONS = [0.0, 1e-8] + [sign * (1 - gap) for sign in (1, -1) for gap in GAPS]


def covariances(variances=VARIANCES, correlations=CORRELATIONS) -> list[tuple[float, float, float]]:
    """Positive semi-definite (k11, k12, k22) in float64: products of correlated floats are shrunk until they are."""
    triples = []
    for q1, q2 in variances:
        for c in correlations:
            k12 = c * math.sqrt(q1 * q2)
            while Fraction(k12) ** 2 > Fraction(q1) * Fraction(q2):
                k12 = math.nextafter(k12, 0.0)
            triples.append((q1, k12, q2))
    return triples


def pairs_of(triples) -> GaussianPairs:
    return GaussianPairs.from_covariance(*torch.tensor(triples, dtype=torch.float64).T)


def angle(k11, k12, k22):
    determinant = mp.mpf(k11) * mp.mpf(k22) - mp.mpf(k12) ** 2
    return mp.atan2(mp.sqrt(determinant), mp.mpf(k12))


POINTWISE = {
    "erf": (special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x)),
    "tanh": (np.tanh, lambda x: np.cosh(np.clip(x, -5000, 5000)) ** -2.0),
    "gelu": (lambda x: x * special.ndtr(x), lambda x: special.ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)),
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda x: -np.sin(x)),
    "softplus": (lambda x: np.logaddexp(0, x), lambda x: 1 / (1 + np.exp(-x))),
    "quadratic": (np.square, lambda x: 2 * x),
}


def integral(name: str, k11: float, k12: float, k22: float) -> tuple[float, float]:
    """E[σ(u)σ(v)], E[σ̇(u)σ̇(v)] by the trapezoidal rule in two dimensions, spectrally accurate for an analytic σ.

    80-bit floats where numpy's σ has them (not erf, gelu). u = √k11 z, v = √k22 (cosθ z + sinθ w).
    """
    function, derivative = POINTWISE[name]
    real = np.float64 if name in ("erf", "gelu") else np.longdouble
    theta = angle(k11, k12, k22)
    c, s, sd1, sd2 = (real(mp.nstr(t, 25)) for t in (mp.cos(theta), mp.sin(theta), mp.sqrt(k11), mp.sqrt(k22)))
    step1 = min(0.2, 0.22 / math.sqrt(max(k11, float(c) ** 2 * k22)))
    step2 = min(0.2, 0.22 / (math.sqrt(k22) * float(s)) if s > 1e-30 else 1.0)
    z, w = (np.arange(-math.ceil(9.5 / h), math.ceil(9.5 / h) + 1).astype(real) * real(h) for h in (step1, step2))
    normal = [np.exp(-t * t / 2) * real(h) / np.sqrt(2 * real(mp.nstr(mp.pi, 25))) for t, h in ((z, step1), (w, step2))]
    sums = [real(0), real(0)]
    for rows in np.array_split(np.arange(len(z)), 1 + len(z) * len(w) // 10**6):
        v = sd2 * (c * z[rows, None] + s * w)
        for i, f in enumerate((function, derivative)):
            sums[i] += ((normal[0] * f(sd1 * z))[rows] * (f(v) * normal[1]).sum(1)).sum()
    return float(sums[0]), float(sums[1])


MODERATE = covariances([(1.0, 1.0), (0.3, 1.7), (1e-6, 4.0)], [0.0, 0.5, 1.0, -1.0, 1 - 1e-9, -0.999])
