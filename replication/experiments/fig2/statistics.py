"""Statistics of Figure 2 (paper §6.2): the law of f_t over networks, compared with its law in the limit.

A statistic of f_t is that statistic of its linearization A f_0 + m, plus the difference between the two over the same
networks. Given a network's last hidden layer, the linearization is normal with mean m and the network's ``variance``.
"""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import stats
from scipy.special import ndtr

from ...study.experiment import select
from ...study.statistics import simultaneous_band

TENTH = float(stats.norm.ppf(0.9))
"""The 10th and the 90th percentile are this many standard deviations from the mean."""


@dataclass(frozen=True)
class Law:
    """The mean and standard deviation of f on the circle, (angle,) each, in the limit or another law."""

    mean: np.ndarray
    sd: np.ndarray

    @property
    def loose(self) -> np.ndarray:
        """Whether the sd exceeds a tenth of its largest value, as it does away from the data: (angle,)."""
        where: np.ndarray = self.sd > 0.1 * self.sd.max()
        return where


def law(dataset: xr.Dataset, name: str = "limit") -> Law:
    """The law of f_∞ in the limit, or another law named in ``dataset.law``."""
    chosen = dataset.sel(law=name)
    return Law(chosen.law_mean.values, chosen.law_sd.values)


def end_law(dataset: xr.Dataset) -> Law:
    """The law of f_t in the limit at the end of training."""
    return Law(dataset.stage_mean.values[-1], dataset.stage_sd.values[-1])


def samples(networks: xr.Dataset) -> np.ndarray:
    """f, linear and variance of each network: (seeds, 3, angle)."""
    return np.stack([networks[name].values.astype(float) for name in ("f", "linear", "variance")], axis=1)


def log_spread(sample: np.ndarray, end: Law, reference: Law) -> float:
    """ln of the networks' sd of f over the sd of a reference law, both rms over γ.

    The ratio is sd(f)/sd(linear) on the same networks, times √E[variance]/sd of the reference.
    """
    f, linear, variance = np.moveaxis(sample, 1, 0)
    paired = f.var(axis=0, ddof=1).mean() / linear.var(axis=0, ddof=1).mean()
    return 0.5 * math.log(paired * variance.mean() / np.square(reference.sd).mean())


def coverage(sample: np.ndarray, end: Law, reference: Law) -> np.ndarray:
    """The fraction of the circle on which f lies between the reference's 10th and 90th percentiles: (seeds,).

    Only angles at which the reference is loose count. For each network it is the fraction for f minus the fraction for
    linear, plus the expected fraction for linear.
    """
    f, linear, variance = np.moveaxis(sample[:, :, reference.loose], 1, 0)
    centre, sd = reference.mean[reference.loose], reference.sd[reference.loose]
    low, high = centre - TENTH * sd, centre + TENTH * sd
    inside, inside_linear = ((low < values) & (values < high) for values in (f, linear))
    own, root = end.mean[reference.loose], np.sqrt(variance)
    expected = ndtr((high - own) / root) - ndtr((low - own) / root)
    covered: np.ndarray = (inside.astype(float) - inside_linear + expected).mean(axis=1)
    return covered


def conditional_kurtosis(variance: np.ndarray) -> float:
    """Excess kurtosis of linear, 3 Var(v)/E[v]², averaged over γ; v is its conditional variance, (seeds, angle)."""
    return float((3 * variance.var(axis=0, ddof=1) / np.square(variance.mean(axis=0))).mean())


def excess_kurtosis(sample: np.ndarray) -> float:
    """Excess kurtosis of f, averaged over γ."""
    f, linear, variance = np.moveaxis(sample, 1, 0)
    difference = stats.kurtosis(f, axis=0) - stats.kurtosis(linear, axis=0)
    return float(difference.mean()) + conditional_kurtosis(variance)


def skewness(sample: np.ndarray) -> float:
    """Skewness of f, averaged over γ. The skewness of linear is 0."""
    f, linear, _ = np.moveaxis(sample, 1, 0)
    return float((stats.skew(f, axis=0) - stats.skew(linear, axis=0)).mean())


def percentile_error(dataset: xr.Dataset, width: int) -> np.ndarray:
    """Largest error over γ of an estimated 10th, 50th or 90th percentile ÷ the limit's largest sd: (estimates,)."""
    reference = law(dataset)
    chosen = dataset.isel(estimate=np.flatnonzero(dataset.estimate_width == width))
    errors = []
    for quantile in (-TENTH, 0.0, TENTH):
        estimated = chosen.estimate_mean.values.astype(float) + quantile * chosen.estimate_sd.values
        errors.append(np.abs(estimated - reference.mean - quantile * reference.sd).max(axis=1))
    worst: np.ndarray = np.max(errors, axis=0) / reference.sd.max()
    return worst


def kurtosis_groups(dataset: xr.Dataset) -> tuple[list[int], list[np.ndarray]]:
    """The widths in ascending order, and the networks' conditional variances at the angles where the limit is loose."""
    loose = law(dataset).loose
    widths = sorted({*dataset.attrs["widths"], *dataset.attrs["initial"]})
    groups = []
    for width in widths:
        variant = "main" if width in dataset.attrs["widths"] else "initial"
        groups.append(select(dataset, variant=variant, width=width).variance.values.astype(float)[:, loose])
    return widths, groups


def mean_bias(dataset: xr.Dataset, width: int) -> tuple[np.ndarray, np.ndarray]:
    """E f minus the limit's mean, and the half-width of its simultaneous band: (angle,) each."""
    f, linear, _ = np.moveaxis(samples(select(dataset, variant="main", width=width)), 1, 0)
    estimate, half_width = simultaneous_band(f - linear)
    return estimate + end_law(dataset).mean - law(dataset).mean, half_width
