"""The statistics behind the claims and the figures on least squares."""

import math

import numpy as np
import xarray as xr
from scipy import stats

from ...study.experiment import select


def members(dataset: xr.Dataset) -> xr.Dataset:
    """The networks on the few points, without the narrow networks of the control."""
    return select(dataset, "member", member_variant="gaussian")


def optimal_time(times: np.ndarray, errors: np.ndarray) -> float:
    """The t > 0 that minimizes a curve (times,): the vertex of a parabola in ln t, limited to the grid.

    The parabola is fitted to the points within a factor 3 of the lowest point. The lowest point itself would be a noisy
    estimate where the minimum is flat. Where the points are too few for a parabola, it is taken all the same.
    """
    t, error = times[times > 0], errors[times > 0]
    i = int(error.argmin())
    near = np.abs(np.log(t / t[i])) <= math.log(3)
    if near.sum() < 3:
        return float(t[i])
    curvature, slope, _ = np.polyfit(np.log(t[near] / t[i]), error[near], 2)
    if curvature <= 0 or abs(vertex := -slope / (2 * curvature)) > math.log(3):
        return float(t[i])
    return float(min(max(t[i] * math.exp(vertex), t[0]), t[-1]))


def decay(components: np.ndarray) -> np.ndarray:
    """Σ⟨P_k e_0, e_t⟩ / Σ‖P_k e_0‖² over networks: (networks, times, modes) → (times, modes), 1 at t = 0."""
    total = components.sum(axis=0)
    curves: np.ndarray = total / total[0]
    return curves


def fitted_rates(times: np.ndarray, curves: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """The rate of each mode, (modes,): the slope of −ln decay against t, by least squares, through the origin.

    The fit uses the times at which the predicted decay is above e^{−1.5} and the curve, (times, modes), is positive.
    """
    fitted = []
    for k, rate in enumerate(rates):
        used = (times > 0) & (times * rate <= 1.5) & (curves[:, k] > 0)
        t = times[used]
        fitted.append(float(-(t * np.log(curves[used, k])).sum() / np.square(t).sum()) if len(t) else math.nan)
    return np.array(fitted)


def whitened(f: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """C^{−1/2}(f − m), standard normal if f ∼ N(m, C): (networks, points) → (networks, points)."""
    values, vectors = np.linalg.eigh(covariance)
    white: np.ndarray = (f - mean) @ vectors / np.sqrt(values)
    return white


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """The rank correlation over the components at which neither is NaN."""
    known = np.isfinite(a) & np.isfinite(b)
    return float(stats.spearmanr(a[known], b[known]).statistic)
