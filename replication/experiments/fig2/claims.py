"""The claims of Figure 2 (paper §6.2), their criteria and their negative controls.

A statistic of f_t is that statistic of its linearization A f_0 + m, plus the difference between the two over the same
networks. Given a network's last hidden layer, the linearization is normal with mean m and the network's ``variance``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import stats
from scipy.special import ndtr

from ...study.claims import Claim, Control
from ...study.experiment import select
from ...study.statistics import Statistic, interval, mean, rate, ratio, simultaneous_band, undecided

TENTH = float(stats.norm.ppf(0.9))
"""The 10th and the 90th percentile are this many standard deviations from the mean."""
MARGIN = 0.03
"""Largest deviation of a mean that counts as close: the targets span 0.7, and Bayesian inference is 0.056 away."""
SPREAD_BAND, COVERAGE_BAND = (0.93, 1.07), (0.76, 0.84)
NARROW_SPREAD, NARROW_COVERAGE = (0.9, 1.1), (0.77, 0.83)
"""The law of Bayesian inference covers 0.75 of the circle at n = 50."""
FALL_BAND = (0.9, 1.1)
"""Allowed ratio of the early sd on the data to the limit's. One layer more changes this sd by a fifth."""
SHAPE = 0.3
"""Largest skewness and excess kurtosis that count as Gaussian."""
NEGLIGIBLE = 0.02
"""A fraction of the limit's spread below which a number counts as zero."""
ESTIMATE = 0.2
"""Largest error of a good estimate of a percentile, as a fraction of the limit's largest spread."""


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
    """ln of sd(f)/sd(linear), over the same networks, times √E[variance]/sd of the reference: rms over γ each."""
    f, linear, variance = np.moveaxis(sample, 1, 0)
    paired = f.var(axis=0, ddof=1).mean() / linear.var(axis=0, ddof=1).mean()
    return 0.5 * math.log(paired * variance.mean() / np.square(reference.sd).mean())


def coverage(sample: np.ndarray, end: Law, reference: Law) -> np.ndarray:
    """The fraction of the circle on which f lies between the reference's 10th and 90th percentiles: (seeds,).

    Only angles at which the reference is loose count. For each network: the fraction for f minus the fraction for
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


def _spread(dataset: xr.Dataset, width: int, allowed: tuple[float, float]) -> Statistic:
    end, reference = end_law(dataset), law(dataset)
    group = [samples(select(dataset, variant="main", width=width))]
    return ratio(f"sd ÷ limit (n={width})", group, lambda sample: log_spread(sample[0], end, reference), allowed)


def _coverage(dataset: xr.Dataset, width: int, allowed: tuple[float, float]) -> Statistic:
    covered = coverage(samples(select(dataset, variant="main", width=width)), end_law(dataset), law(dataset))
    return mean(f"coverage (n={width})", covered, allowed)


def mean_bias(dataset: xr.Dataset, width: int) -> tuple[np.ndarray, np.ndarray]:
    """E f minus the limit's mean, and the half-width of its simultaneous band: (angle,) each."""
    f, linear, _ = np.moveaxis(samples(select(dataset, variant="main", width=width)), 1, 0)
    estimate, half_width = simultaneous_band(f - linear)
    return estimate + end_law(dataset).mean - law(dataset).mean, half_width


def _check_mean(dataset: xr.Dataset) -> list[Statistic]:
    width = dataset.attrs["widths"][-1]
    bias, half_width = mean_bias(dataset, width)
    low, high = np.abs(bias) - half_width, np.abs(bias) + half_width
    name = f"sup|mean − limit| (n={width})"
    return [Statistic(name, float(np.abs(bias).max()), max(0.0, float(low.max())), float(high.max()), (0.0, MARGIN))]


def _check_spread(dataset: xr.Dataset) -> list[Statistic]:
    return [_spread(dataset, dataset.attrs["widths"][-1], SPREAD_BAND)]


def _check_coverage(dataset: xr.Dataset) -> list[Statistic]:
    return [_coverage(dataset, dataset.attrs["widths"][-1], COVERAGE_BAND)]


def _check_narrow(dataset: xr.Dataset) -> list[Statistic]:
    width = dataset.attrs["widths"][0]
    return [_coverage(dataset, width, NARROW_COVERAGE), _spread(dataset, width, NARROW_SPREAD)]


def _check_gaussian(dataset: xr.Dataset) -> list[Statistic]:
    width, loose = dataset.attrs["widths"][-1], law(dataset).loose
    group = [samples(select(dataset, variant="main", width=width))[:, :, loose]]
    shape = [
        Statistic(f"{name} (n={width})", *interval(group, lambda sample: measure(sample[0])), (-SHAPE, SHAPE))  # noqa: B023
        for name, measure in (("skewness", skewness), ("excess kurtosis", excess_kurtosis))
    ]
    return [*shape, rate("excess kurtosis", conditional_kurtosis, *kurtosis_groups(dataset), (-1.2, -0.8))]


def _check_vanishes(dataset: xr.Dataset) -> list[Statistic]:
    scale, decay = law(dataset).sd.max(), dataset.decay.sel(law="limit").values
    statistics = []
    for width in dataset.attrs["widths"]:
        on_data = select(dataset, variant="main", width=width).at_data.values.astype(float)
        spread = interval([on_data[:, -1] / scale], lambda sample: math.sqrt(sample[0].var(axis=0, ddof=1).mean()))
        statistics.append(Statistic(f"sd on the data ÷ largest (n={width})", *spread, (-math.inf, NEGLIGIBLE)))

    def log_ratio(groups: Sequence[np.ndarray]) -> float:
        start, early = groups[0][:, 0], groups[0][:, 1]
        return 0.5 * math.log(early.var(axis=0).mean() / (start @ decay.T).var(axis=0).mean())

    name = f"sd on the data at t = {float(dataset.stage[1]):g} ÷ that of the limit from the same f_0 (n={width})"
    return [*statistics, ratio(name, [on_data], log_ratio, FALL_BAND)]


def _check_converged(dataset: xr.Dataset) -> list[Statistic]:
    limit, end = law(dataset), end_law(dataset)
    scale = limit.sd.max()
    change = max(float(np.abs(end.mean - limit.mean).max()), float(np.abs(end.sd - limit.sd).max())) / scale
    statistics = [Statistic("change of the limit's law from t to ∞ ÷ sd", change, change, change, (0.0, NEGLIGIBLE))]
    for width in dataset.attrs["widths"]:
        left = dataset.target.values - select(dataset, variant="main", width=width).at_data.values[:, -1].astype(float)
        ahead = np.sqrt(np.square(left @ dataset.extension.values.T).mean(axis=1)) / scale
        statistics.append(mean(f"rms change of f ahead ÷ sd (n={width})", ahead, (-math.inf, NEGLIGIBLE)))
    return statistics


def _check_estimate(dataset: xr.Dataset) -> list[Statistic]:
    width = dataset.attrs["estimate"]
    name = f"largest error of a percentile ÷ sd (n={width})"
    if not width:
        return [undecided(name, (0.0, ESTIMATE))]
    return [mean(name, percentile_error(dataset, width), (0.0, ESTIMATE))]


def _reference(name: str) -> Callable[[xr.Dataset], xr.Dataset]:
    """Another law in place of the limit; the networks stay."""

    def data(dataset: xr.Dataset) -> xr.Dataset:
        order = [name if label == "limit" else label for label in dataset.law.values]
        return dataset.sel(law=order).assign_coords(law=dataset.law.values)

    return data


def _stage(index: int) -> Callable[[xr.Dataset], xr.Dataset]:
    """An earlier time in place of the end of training."""

    def data(dataset: xr.Dataset) -> xr.Dataset:
        order = [*range(dataset.sizes["stage"] - 1), index]
        return dataset.isel(stage=order).assign_coords(stage=dataset.stage.values)

    return data


def _narrow_as_all(dataset: xr.Dataset) -> xr.Dataset:
    """The narrowest networks in place of the networks of every width."""
    narrow = select(dataset, variant="main", width=dataset.attrs["widths"][0])
    size = narrow.sizes["network"]
    parts = []
    for variant, key in (("main", "widths"), ("initial", "initial")):
        for width in dataset.attrs[key]:
            parts.append(narrow.assign(variant=("network", [variant] * size), width=("network", [width] * size)))
    return xr.concat(parts, dim="network", data_vars="minimal", coords="minimal", compat="override", join="override")


def _quadratic(dataset: xr.Dataset) -> xr.Dataset:
    """f_t plus a term quadratic in f_0, as if f_t were not linear in f_0 in the limit."""
    end = end_law(dataset)
    z = (dataset.f - end.mean) / np.maximum(end.sd, 1e-9)
    return dataset.assign(f=dataset.f + 0.25 * (z**2 - 1) * end.sd)


def _narrow_estimates(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign_attrs(estimate=dataset.attrs["narrow_estimate"])


_POSTERIOR = Control("the law of Bayesian inference, N(0, Σ) given the targets", _reference("posterior"))
_DEEPER = Control("the limit of depth L + 1", _reference("deeper"))
_PRIOR = Control("the law before training", _reference("prior"))
_EARLY = Control("training to a hundredth of the time", _stage(1))

CLAIMS = (
    Claim(
        id="fig2.mean",
        place="§6.2, Figure 2",
        statement="The mean of the trained function is close to that of the limit.",
        paper="close (no number)",
        measure="the largest |E f − mean of the limit| over γ, with a simultaneous band, for the widest networks; the "
        "targets span 0.7",
        figure="fig2_statistics",
        check=_check_mean,
        controls=(_POSTERIOR,),
    ),
    Claim(
        id="fig2.spread",
        place="§6.2, Figure 2",
        statement="Its variance is close to that of the limit.",
        paper="close (no number)",
        measure="sd ÷ sd of the limit (rms over γ), for the widest networks",
        figure="fig2_statistics",
        check=_check_spread,
        controls=(_DEEPER,),
    ),
    Claim(
        id="fig2.coverage",
        place="§6.2, Figure 2",
        statement="Four in five trained functions lie between the 10th and the 90th percentile of the limit.",
        paper="drawn (no number)",
        measure="the expected fraction of the circle on which f lies between them, for the widest networks; it counts "
        "the angles at which the limit's sd exceeds a tenth of its largest value",
        figure="fig2",
        check=_check_coverage,
        controls=(_DEEPER, _PRIOR),
    ),
    Claim(
        id="fig2.gaussian",
        place="§6.2; §5",
        statement="The trained function is Gaussian in the limit, and its excess kurtosis falls like 1/n.",
        paper="Gaussian in the limit",
        measure="skewness and excess kurtosis (means over γ) for the widest networks; the exponent in n of the excess "
        "kurtosis that the spread of the last hidden layer causes",
        figure="fig2_statistics",
        check=_check_gaussian,
        controls=(
            Control("the narrow networks in the place of all", _narrow_as_all),
            Control("a function quadratic in f_0: f_t + (f_t − mean)²/(4 sd)", _quadratic),
        ),
    ),
    Claim(
        id="fig2.vanishes",
        place="§5; §6.2, Figure 2",
        statement="On the data the variance of the trained function vanishes, at the rate of the limit.",
        paper="the variance vanishes on the data",
        measure="sd on the data (rms) at the end ÷ the limit's largest sd, at each width; for the widest networks, sd "
        "on the data at a hundredth of the time ÷ the sd that the limit's flow gives from the same f_0",
        figure="fig2",
        check=_check_vanishes,
        controls=(_EARLY, _DEEPER),
        history=("sd on the data at the end alone, below 0.02: it held",),
    ),
    Claim(
        id="fig2.converged",
        place="§6.2",
        statement="At the end of training the networks are near convergence, so that t → ∞ is the limit to compare "
        "with.",
        paper="t = 1000 is close to convergence",
        measure="the change still to come until t = ∞ ÷ the limit's largest sd: for the limit's law and, as "
        "κᵀK̃⁻¹(f* − f_t), for the networks",
        figure="fig2",
        check=_check_converged,
        controls=(_EARLY,),
    ),
    Claim(
        id="fig2.estimate",
        place="§6.2",
        statement="One wide network estimates the limit's percentiles well enough.",
        paper="n = 10000 (no number)",
        measure="the largest error over γ of the estimated 10th, 50th and 90th percentiles ÷ the limit's largest sd, "
        "averaged over the estimates",
        figure="fig2",
        check=_check_estimate,
        controls=(Control("estimates from narrow networks", _narrow_estimates),),
    ),
    Claim(
        id="fig2.narrow",
        place="§6.2, Figure 2",
        statement="Already the narrow networks are distributed about as the limit says.",
        paper="a good indication (no number)",
        measure="at the narrowest width, the expected fraction of the circle on which f lies between the limit's 10th "
        "and 90th percentile, and sd ÷ sd of the limit (rms over γ)",
        figure="fig2",
        check=_check_narrow,
        controls=(_PRIOR, _POSTERIOR),
        history=("coverage in [0.7, 0.9], ratio of sd in [0.75, 1.33]: it held, but so it did with the posterior",),
    ),
)
