"""The claims on least squares (paper §5), their criteria and their negative controls."""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy import stats

from ...study.claims import Claim, Control
from ...study.experiment import select
from ...study.statistics import Statistic, exactly, interval, mean, rate, ratio, simultaneous_band
from . import controls
from .statistics import decay, fitted_rates, members, optimal_time, spearman, whitened

RATE_BAND = (0.85, 1.15)
"""Equivalence band of the fitted decay rate ÷ λ_k."""
TIME_FACTOR = 1.5
"""The measured best time has to lie within this factor of the predicted best time."""
GAIN = 1.5
"""Smallest test error at the end ÷ test error at the best time."""
ROUNDING = 1e-5
"""Rounding error of a norm in float32 (machine precision 6e-8) over tens of steps."""
MEAN_BAND, COVARIANCE_BAND, VARIANCE_BAND, NORMAL_BAND = 0.25, 0.35, (0.85, 1.15), 0.06
"""Equivalence bands of the law of f_t: see ``least_squares.gaussian``."""


def _check_decay(dataset: xr.Dataset) -> list[Statistic]:
    components = select(dataset, variant="noisy", width=dataset.attrs["widths"][-1]).component.values.astype(float)
    times, rates = dataset.t.values, dataset.rates.sel(reference="theta").values
    return [
        Statistic(
            f"rate ÷ λ, frequency {k}",
            *interval(
                [components[:, :, k : k + 1]],
                lambda sample, k=k: float(fitted_rates(times, decay(sample[0]), rates[k : k + 1])[0] / rates[k]),  # type: ignore[misc]
            ),
            RATE_BAND,
        )
        for k in range(components.shape[2])
    ]


def _check_width(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    groups = [select(dataset, variant="clean", width=width).deviation.sel(reference="theta").values for width in widths]
    return [rate("distance to the closed form", lambda group: float(group.mean()), widths, groups, (-math.inf, -0.25))]


def _check_null_space(dataset: xr.Dataset) -> list[Statistic]:
    networks = select(dataset, variant="linear")
    rest = networks.rest.values.astype(float)
    changes = np.abs(rest / rest[:, :1] - 1)[:, 1:]
    return [exactly("change in the null space", float(changes.max()), (0.0, ROUNDING), worst_of=changes.size)]


def _check_bounded(dataset: xr.Dataset) -> list[Statistic]:
    widths, times = dataset.attrs["widths"], dataset.t.values
    norms = [select(dataset, variant="clean", width=width).norm.values.astype(float) for width in widths]
    rises = np.concatenate([(np.diff(norm, axis=1) / norm[:, :1]).max(axis=1) for norm in norms])
    integrals = [np.trapezoid(norm, times, axis=1) for norm in norms]
    return [
        exactly("rise of ‖d_t‖ ÷ ‖d_0‖", float(rises.max()), (-1.0, 1e-3), worst_of=len(rises)),
        rate("∫‖d_t‖dt", lambda group: float(group.mean()), widths, integrals, (-math.inf, 0.1)),
    ]


def _check_gaussian(dataset: xr.Dataset) -> list[Statistic]:
    f = members(dataset).f.values.astype(float)
    law = dataset.sel(reference="theta")
    means, covariances, n = law.law_mean.values, law.law_covariance.values, dataset.attrs["n_few"]
    scale = float(np.sqrt(np.diagonal(covariances[0]).mean()))
    seeds, _, points = f.shape
    centred = (f - means) / scale
    upper = np.triu_indices(points)
    products = (centred[..., :, None] * centred[..., None, :])[..., upper[0], upper[1]]
    expected = covariances[:, upper[0], upper[1]] / scale**2
    white = np.stack([whitened(f[:, i, n:], means[i, n:], covariances[i, n:, n:]) for i in range(f.shape[1])], axis=1)
    levels = np.linspace(0.05, 0.95, 19)
    below = (white[..., None] < stats.norm.ppf(levels)).mean(axis=2)
    return [
        _largest("sup|mean − law's| ÷ sd of f_0", centred.reshape(seeds, -1), 0.0, MEAN_BAND),
        _largest(
            "sup|covariance − law's| ÷ variance of f_0",
            products.reshape(seeds, -1),
            expected.reshape(-1),
            COVARIANCE_BAND,
        ),
        *(
            mean(f"variance ÷ law's, t = {t:g}", np.square(white[:, i]).mean(axis=1), VARIANCE_BAND)
            for i, t in enumerate(dataset.time.values)
        ),
        _largest("sup|distribution − normal|", below.reshape(seeds, -1), np.tile(levels, f.shape[1]), NORMAL_BAND),
    ]


def _largest(name: str, samples: np.ndarray, expected: np.ndarray | float, band: float) -> Statistic:
    """The largest distance between the mean of samples (S, M) and its expected value, with a simultaneous band."""
    average, half_width = simultaneous_band(samples)
    distance = np.abs(average - expected)
    low = np.maximum(distance - half_width, 0).max()
    return Statistic(name, float(distance.max()), float(low), float((distance + half_width).max()), (0.0, band))


def _check_variance(dataset: xr.Dataset) -> list[Statistic]:
    captured, expected = members(dataset).captured.values.astype(float), dataset.variance.sel(base="sigma").values
    return [mean(f"captured ÷ λ_{i + 1}", captured[:, i] / expected[i], (0.75, 1.25)) for i in range(captured.shape[1])]


def _check_ridge(dataset: xr.Dataset) -> list[Statistic]:
    distances = dataset.ridge.sel(case="limit").values
    slope = float(np.polyfit(dataset.decade.values, np.log10(distances), 1)[0])
    return [exactly("exponent of ‖ridge − f_∞‖ in ρ", slope, (0.98, 1.02))]


def _check_infinity(dataset: xr.Dataset) -> list[Statistic]:
    gaps = dataset.gap.sel(case="limit").values
    return [
        exactly(f"relative distance ÷ its rounding, {route}", float(gap / bound), (0.0, 1.0))
        for route, gap, bound in zip(dataset.route.values, gaps, dataset.gap_bound.values, strict=True)
    ]


def _check_early_stopping(dataset: xr.Dataset) -> list[Statistic]:
    errors = select(dataset, variant="noisy", width=dataset.attrs["widths"][-1]).error.values.astype(float)
    times, fine, predicted = dataset.t.values, dataset.s.values, dataset.predicted.sel(reference="theta").values
    expected_time = optimal_time(fine, predicted)

    def time(sample: Sequence[np.ndarray]) -> float:
        return math.log(optimal_time(times, sample[0].mean(axis=0)) / expected_time)

    def gain(sample: Sequence[np.ndarray]) -> float:
        curve = sample[0].mean(axis=0)
        return math.log(curve[-1] / _at(times[1:], curve[1:], optimal_time(times, curve)))

    return [
        ratio("best time ÷ predicted", [errors], time, (1 / TIME_FACTOR, TIME_FACTOR)),
        ratio("error at the end ÷ at the best time", [errors], gain, (GAIN, math.inf)),
    ]


def _at(times: np.ndarray, curve: np.ndarray, t: float) -> float:
    return float(np.interp(math.log(t), np.log(times), curve))


def _check_signal_to_noise(dataset: xr.Dataset) -> list[Statistic]:
    noise, signal, rates = (dataset[name].values.astype(float) for name in ("noise", "signal", "rate"))
    ranks = np.array([spearman(s / e, r) for s, e, r in zip(signal, noise, rates, strict=True)])
    return [
        _largest("sup_i|noise energy ÷ (s²/N) − 1|", noise, 1.0, 0.25),
        mean("rank correlation of signal-to-noise and λ", ranks, (0.6, math.inf)),
    ]


def _check_frequency(dataset: xr.Dataset) -> list[Statistic]:
    statistics = []
    for family in ("rbf, interval", "rbf, circle"):
        chosen = dataset.sel(family=family)
        pairs = zip(chosen.family_rate.values, chosen.sign_changes.values, strict=True)
        ranks = np.array([spearman(rates, changes) for rates, changes in pairs])
        statistics.append(mean(f"rank correlation of λ and frequency ({family})", ranks, (-math.inf, -0.95)))
    return statistics


_SIGMA = Control("the closed form of Σ (only the last layer trained)", controls.with_reference("sigma"))
_DEEPER = Control("the closed form of depth L + 1", controls.with_reference("deeper"))
_FIGURE, _GAUSSIAN, _COMPONENTS = (f"least_squares{name}" for name in ("", "_gaussian", "_components"))

CLAIMS = (
    Claim(
        id="least_squares.decay",
        place="§5",
        statement="In wide networks, too, each component of f_t − f* decays at its own rate λ_i.",
        paper="e^{−tλ_i} in the limit",
        measure="for each frequency, the fitted rate of the mean decay of the widest networks, over λ_k of Π",
        figure=_FIGURE,
        check=_check_decay,
        controls=(_DEEPER, _SIGMA, Control("one and the same rate for all components", controls.one_rate)),
    ),
    Claim(
        id="least_squares.width",
        place="§5",
        statement="The wider the network, the closer f_t stays to the closed form f* + e^{−tΠ}(f_0 − f*) with its own "
        "f_0.",
        paper="the limit n → ∞ (no rate)",
        measure="the exponent in n of the largest ‖f_t − closed form‖ on the data over ‖f_0 − f*‖, mean over "
        "networks, for labels without noise",
        note="n^{−1/2} from Θ_0 − Θ_∞ is visible only if this difference is small beside every λ_i that matters. At "
        "these widths components of high frequency lag behind, and label noise, which contains all frequencies, makes "
        "the fall slower",
        figure=_FIGURE,
        check=_check_width,
        controls=(_DEEPER,),
    ),
    Claim(
        id="least_squares.null_space",
        place="§5",
        kind="identity",
        statement="The part of f_0 − f* in the null space of Π does not change.",
        paper="an identity",
        measure="for linear networks (σ is the identity), whose Π has rank 3 on the circle: the largest relative "
        "change of the part with frequencies k ≥ 2, over networks and times",
        figure=_COMPONENTS,
        check=_check_null_space,
        controls=(Control("ReLU networks, whose Π has no null space", controls.as_variant("noisy", "linear")),),
    ),
    Claim(
        id="least_squares.bounded",
        place="§4.2; §5",
        statement="For least squares ‖d_t‖ decreases in training, and its integral stays bounded as the width grows.",
        paper="stochastically bounded, because the norm decreases",
        measure="for labels without noise, the largest rise of a network's ‖d_t‖ from one recorded time to the next "
        "(the solver's steps leave an error), and the exponent in n of the mean of ∫‖d_t‖dt over all of training",
        figure=_FIGURE,
        check=_check_bounded,
        controls=(
            Control("gradient descent at a rate above 2/λ_max", controls.as_variant("descent", "clean")),
            Control("mean-field scaling at a fixed learning rate: 1/n of the speed", controls.slower),
        ),
        history=(
            "for noisy labels, whose noise the flow does not reach by the end, so that the integral hangs too little "
            "on the speed for a control to leave the range; the exponent within ±0.1, though a fall is bounded too",
        ),
    ),
    Claim(
        id="least_squares.gaussian",
        place="§5",
        statement="f_t is Gaussian at every time, with the mean and the covariance of the closed form.",
        paper="Gaussian (no number)",
        measure="at all times and points together, the distances of the ensemble's mean and of each covariance from "
        "those of the law, in units of the standard deviation and the variance of f_0; off the data, at each time, "
        "the variance of C^{−1/2}(f_t − m), and the distance of its distribution function from the normal one at 19 "
        "levels",
        figure=_GAUSSIAN,
        check=_check_gaussian,
        controls=(
            _SIGMA,
            _DEEPER,
            Control("the law of the time before", controls.shifted),
            Control("very narrow networks", controls.narrow),
        ),
    ),
    Claim(
        id="least_squares.variance",
        place="§5",
        statement="The eigenvalue of a kernel principal component is the variance that this component captures.",
        paper="λ_i",
        measure="for networks at t = 0, whose covariance is Σ: the mean of ⟨f⁽ⁱ⁾, f_0⟩² over λ_i of Σ, for every "
        "component on the few points",
        figure=_GAUSSIAN,
        check=_check_variance,
        controls=(Control("the eigenvalues of Θ_∞", controls.theta_spectrum),),
    ),
    Claim(
        id="least_squares.ridge",
        kind="identity",
        place="§5",
        statement="From f_0 = 0, f_∞ is the limit of kernel ridge regression as the ridge ρ tends to 0.",
        paper="the limit ρ → 0",
        measure="the exponent of ‖ridge(ρ) − f_∞‖ in ρ, over six decades of ρ",
        figure=_COMPONENTS,
        check=_check_ridge,
        controls=(
            Control("f_∞ from an f_0 other than 0", controls.with_case("start")),
            Control("ridge regression with Σ", controls.with_case("sigma")),
        ),
    ),
    Claim(
        id="least_squares.infinity",
        kind="identity",
        place="§5",
        statement="f_∞ is the sum of two parts: the kernel interpolant of the labels, which is the MAP estimate, and "
        "f_0 minus the interpolant of its values on the data.",
        paper="an identity",
        measure="the distance of the flow's f_∞ from two other computations, over its rounding error (number of "
        "points × machine precision × condition number): the interpolants by a linear solver and, from f_0 = 0, the "
        "mode of N(0, Θ_∞) given the labels, by its precision matrix",
        figure=_COMPONENTS,
        check=_check_infinity,
        controls=(
            Control("f_0 and its interpolant left out", controls.with_case("start")),
            Control("Σ in the place of Θ_∞", controls.with_case("sigma")),
        ),
        history=("the distance itself, in a range that the data set: a range that no commit can freeze",),
    ),
    Claim(
        id="least_squares.early_stopping",
        place="§5",
        statement="With noisy labels there is a best time to stop, and the closed form predicts it.",
        paper="a motivation of early stopping (no number)",
        measure="the time at which the mean test error of the widest networks is smallest, over the predicted time, "
        "and the error at the end over the error at this time",
        figure=_FIGURE,
        check=_check_early_stopping,
        controls=(Control("labels without noise", controls.as_variant("clean", "noisy")), _SIGMA),
        history=("also that the error at t = 0 is larger than at the best time, which no wrong theory denies",),
    ),
    Claim(
        id="least_squares.signal_to_noise",
        place="§5",
        statement="Components of small eigenvalue are noisier: the signal falls with λ, and white label noise is the "
        "same in all components.",
        paper="typically (no number)",
        measure="for f* = x_1x_2 on samples of N(0, I_2), the mean noise energy of every component over s²/N, for all "
        "components together, and the mean rank correlation of the signal-to-noise ratio and λ",
        figure=_COMPONENTS,
        check=_check_signal_to_noise,
        controls=(
            Control("a target that is white noise itself", controls.white_target),
            Control("label noise with the covariance Θ_∞, as smooth as what is learnt", controls.smooth_noise),
        ),
    ),
    Claim(
        id="least_squares.frequency",
        place="§5",
        statement="For the RBF kernel, small eigenvalues belong to eigenfunctions of high frequency.",
        paper="no number",
        measure="the mean rank correlation of λ and the number of sign changes of its eigenfunction, for random "
        "points on an interval and on the circle",
        figure=_COMPONENTS,
        check=_check_frequency,
        controls=(Control("the RBF kernel times a wave of high frequency", controls.modulated),),
    ),
)  # fmt: skip
