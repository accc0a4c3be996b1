"""The claims of Figure 2 (paper §6.2), their criteria and their negative controls."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from ...study.claims import Claim, Control
from ...study.experiment import select
from ...study.statistics import Statistic, interval, mean, rate, ratio, undecided
from .statistics import (
    conditional_kurtosis,
    coverage,
    end_law,
    excess_kurtosis,
    kurtosis_groups,
    law,
    log_spread,
    mean_bias,
    percentile_error,
    samples,
    skewness,
)

MARGIN = 0.03
"""Means within this distance count as close: the targets span 0.7, and Bayesian inference is 0.056 away."""
SPREAD_BAND, COVERAGE_BAND = (0.93, 1.07), (0.76, 0.84)
NARROW_SPREAD, NARROW_COVERAGE = (0.9, 1.1), (0.77, 0.83)
"""Allowed coverage of the narrow networks. With the law of Bayesian inference it would be 0.75 at n = 50."""
FALL_BAND = (0.9, 1.1)
"""Allowed deviation of the sd on the data from the limit's, early in training; with one more layer it is a fifth."""
SHAPE = 0.3
"""Largest skewness and excess kurtosis that count as Gaussian."""
NEGLIGIBLE = 0.02
"""A number below this part of the limit's spread counts as 0."""
ESTIMATE = 0.2
"""An estimated percentile is good if its error is below this part of the limit's largest spread."""


def _spread(dataset: xr.Dataset, width: int, allowed: tuple[float, float]) -> Statistic:
    end, reference = end_law(dataset), law(dataset)
    group = [samples(select(dataset, variant="main", width=width))]
    return ratio(f"sd ÷ limit (n={width})", group, lambda sample: log_spread(sample[0], end, reference), allowed)


def _coverage(dataset: xr.Dataset, width: int, allowed: tuple[float, float]) -> Statistic:
    covered = coverage(samples(select(dataset, variant="main", width=width)), end_law(dataset), law(dataset))
    return mean(f"coverage (n={width})", covered, allowed)


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
    """Replace the law of the limit by another law; the networks stay the same."""

    def data(dataset: xr.Dataset) -> xr.Dataset:
        order = [name if label == "limit" else label for label in dataset.law.values]
        return dataset.sel(law=order).assign_coords(law=dataset.law.values)

    return data


def _stage(index: int) -> Callable[[xr.Dataset], xr.Dataset]:
    """Replace the end of training by an earlier time."""

    def data(dataset: xr.Dataset) -> xr.Dataset:
        order = [*range(dataset.sizes["stage"] - 1), index]
        return dataset.isel(stage=order).assign_coords(stage=dataset.stage.values)

    return data


def _narrow_as_all(dataset: xr.Dataset) -> xr.Dataset:
    """Use the networks of the narrowest width at every width."""
    narrow = select(dataset, variant="main", width=dataset.attrs["widths"][0])
    size = narrow.sizes["network"]
    parts = []
    for variant, key in (("main", "widths"), ("initial", "initial")):
        for width in dataset.attrs[key]:
            parts.append(narrow.assign(variant=("network", [variant] * size), width=("network", [width] * size)))
    return xr.concat(parts, dim="network", data_vars="minimal", coords="minimal", compat="override", join="override")


def _quadratic(dataset: xr.Dataset) -> xr.Dataset:
    """Add a part to f_t that is quadratic in f_0, as if training were not linear in the limit."""
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
        measure="the largest |E f − mean of the limit| over γ, by a simultaneous band, for the widest networks (the "
        "targets span 0.7)",
        figure="fig2_statistics",
        check=_check_mean,
        controls=(_POSTERIOR,),
    ),
    Claim(
        id="fig2.spread",
        place="§6.2, Figure 2",
        statement="The variance of the trained function is close to that of the limit.",
        paper="close (no number)",
        measure="standard deviation ÷ that of the limit (rms over γ), for the widest networks",
        figure="fig2_statistics",
        check=_check_spread,
        controls=(_DEEPER,),
    ),
    Claim(
        id="fig2.coverage",
        place="§6.2, Figure 2",
        statement="On average over the circle, four in five trained functions lie between the 10th and the 90th "
        "percentile of the limit.",
        paper="drawn (no number)",
        measure="the expected share of the circle on which the widest networks lie between the two percentiles; "
        "angles count if the limit's standard deviation there is at least a tenth of its largest",
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
        measure="the standard deviation on the data (rms) at the end ÷ the largest one of the limit, at each width; "
        "the standard deviation on the data at a hundredth of the time ÷ that of the limit's flow from the same f_0, "
        "for the widest networks",
        figure="fig2",
        check=_check_vanishes,
        controls=(_EARLY, _DEEPER),
        history=("sd on the data at the end alone, below 0.02: it held",),
    ),
    Claim(
        id="fig2.converged",
        place="§6.2",
        statement="At the end of training the networks are nearly converged, so that they can be compared with the "
        "limit at t = ∞.",
        paper="t = 1000 is close to convergence",
        measure="the remaining change until t = ∞ ÷ the limit's largest standard deviation: of the limit's law, and "
        "of the networks, by κᵀK̃⁻¹(f* − f_t)",
        figure="fig2",
        check=_check_converged,
        controls=(_EARLY,),
    ),
    Claim(
        id="fig2.estimate",
        place="§6.2",
        statement="One wide network gives a good estimate of the limit's percentiles.",
        paper="n = 10000 (no number)",
        measure="the largest error over γ of an estimated 10th, 50th or 90th percentile ÷ the limit's largest "
        "standard deviation, mean over the estimates",
        figure="fig2",
        check=_check_estimate,
        controls=(Control("estimates from narrow networks", _narrow_estimates),),
    ),
    Claim(
        id="fig2.narrow",
        place="§6.2, Figure 2",
        statement="Even narrow networks follow the law of the limit approximately.",
        paper="a good indication (no number)",
        measure="the expected share of the circle between the limit's 10th and 90th percentile, and the standard "
        "deviation ÷ that of the limit (rms over γ), at the narrowest width",
        figure="fig2",
        check=_check_narrow,
        controls=(_PRIOR, _POSTERIOR),
        history=("coverage in [0.7, 0.9], ratio of sd in [0.75, 1.33]: it held, but so it did with the posterior",),
    ),
)
