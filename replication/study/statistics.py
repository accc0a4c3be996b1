"""Statistics of independent networks and their intervals: bootstrap, simultaneous bands, exponents.

A statistic holds if its whole interval lies in the allowed range, fails if its whole interval lies outside, and is
otherwise undecided. So more noise can make a claim undecided, but never lets it pass. Intervals have level 99.9 %,
because dozens of claims are decided at once.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from scipy.special import stdtrit

from ..shapes import require_shape
from .measures import MeanOf, Measure, of_groups

LEVEL = 0.999
MIN_SEEDS = 5
"""With fewer independent networks there is no interval, hence no verdict."""

_draw = ContextVar("draw", default=0)

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True)
class Statistic:
    """A number with its interval at ``LEVEL``, and the range that the claim allows.

    worst_of: the number is the worst of so many. low = high: it has no interval. solver: the interval was widened
    on both sides by this much for the solver's error; NaN if the error is not known.
    """

    name: str
    estimate: float
    low: float
    high: float
    allowed: tuple[float, float]
    worst_of: int = 1
    solver: float = 0.0

    def widened(self, error: float) -> "Statistic":
        """The statistic with its interval widened on both sides by the solver's error."""
        known = error if math.isfinite(error) else 0.0
        return replace(self, low=self.low - known, high=self.high + known, solver=error)

    @property
    def verdict(self) -> Verdict:
        if not (math.isfinite(self.estimate) and self.low <= self.estimate <= self.high):
            return "undecided"
        minimum, maximum = self.allowed
        if minimum <= self.low and self.high <= maximum:
            return "holds"
        return "fails" if self.high < minimum or self.low > maximum else "undecided"

    @property
    def title(self) -> str:
        """The name, with the number of values that it is the worst of."""
        return self.name if self.worst_of == 1 else f"{self.name}, the worst of {self.worst_of}"

    @property
    def exact(self) -> bool:
        """Whether it has no interval."""
        return self.low == self.high

    def __str__(self) -> str:
        if math.isinf(self.low) and math.isinf(self.high):
            return f"{self.title} = {self.estimate:.3g} (too few seeds for an interval; allowed: {words(self.allowed)})"
        interval = "" if self.exact else f" [{self.low:.3g}, {self.high:.3g}]"
        if self.solver > 0.01 * (self.high - self.low):
            interval = f"{interval[:-1]}, {number(self.solver, 2)} of it the solver's]"
        return f"{self.title} = {self.estimate:.3g}{interval} (allowed: {words(self.allowed)})"


def words(allowed: tuple[float, float]) -> str:
    """A range of numbers in words.

    >>> words((-math.inf, 0.02)), words((1.5, math.inf)), words((-0.3, 0.3)), words((0.76, 0.84))
    ('≤ 0.02', '≥ 1.5', 'within ±0.3', '0.76 to 0.84')
    >>> words((1 - 1e-9, 1 + 1e-9))
    '1 to within 1e−09'
    """
    low, high = (number(bound, 4) for bound in allowed)
    if low == high:
        return f"{low} to within {number((allowed[1] - allowed[0]) / 2, 1)}"
    if math.isinf(allowed[0]):
        return f"≤ {high}" if math.isfinite(allowed[1]) else "any number"
    if math.isinf(allowed[1]):
        return f"≥ {low}"
    return f"within ±{high}" if allowed[0] == -allowed[1] else f"{low} to {high}"


def number(value: float, digits: int = 3) -> str:
    """A number for people, to the given number of significant digits, with a real minus sign."""
    return f"{value:.{digits}g}".replace("-", "−")


@contextmanager
def resampling(draw: int) -> Iterator[None]:
    """Inside the ``with`` block, bootstraps use the random numbers of this draw."""
    token = _draw.set(draw)
    try:
        yield
    finally:
        _draw.reset(token)


@contextmanager
def silent() -> Iterator[None]:
    """In the block, what data do not have is NaN without a word: a variance of one network, a logarithm of 0."""
    with np.errstate(all="ignore"), warnings.catch_warnings():
        for message in ("Degrees of freedom", "Mean of empty slice", "Polyfit may be", "Data has no positive values"):
            warnings.filterwarnings("ignore", message)
        yield


def interval(
    groups: Sequence[np.ndarray],
    statistic: Callable[[Sequence[np.ndarray]], float],
    *,
    resamples: int = 400,
) -> tuple[float, float, float]:
    """Estimate and bootstrap interval of a statistic of independent groups, each (seeds, …), resampled over the seeds.

    The interval is estimate ± t·se: se is the bootstrap's standard error times √(S/(S−1)), t the Student quantile with
    S − 1 degrees of freedom, and S the number of seeds of the smallest group. (With the paper's ten seeds, percentiles
    of a bootstrap cannot reach 99.9 %.) Use it on a scale on which the statistic is about normal: logarithms of ratios,
    exponents, means. Returns (estimate, −∞, ∞) if a group has fewer than ``MIN_SEEDS`` seeds.
    """
    estimate = statistic(groups)
    seeds = min(len(group) for group in groups)
    if seeds < MIN_SEEDS:
        return estimate, -math.inf, math.inf
    rng = np.random.default_rng(_draw.get())
    replicates = [statistic([group[_resampled(len(group), rng)] for group in groups]) for _ in range(resamples)]
    error = float(np.std(replicates, ddof=1)) * math.sqrt(seeds / (seeds - 1))
    margin = float(stdtrit(seeds - 1, (1 + LEVEL) / 2)) * error
    return estimate, estimate - margin, estimate + margin


def _resampled(size: int, rng: np.random.Generator) -> np.ndarray:
    """Indices drawn with replacement, but not all the same: copies of one network have spread 0, and no logarithm."""
    while True:
        indices = rng.integers(size, size=size)
        if (indices != indices[0]).any():
            return indices


def simultaneous_band(
    samples: np.ndarray, minus: np.ndarray | None = None, *, draws: int = 20_000
) -> tuple[np.ndarray, np.ndarray]:
    """Mean curve and half-width of a band that covers the expected curve everywhere at once.

    samples (S, M): S independent curves on M points; minus (S', M): other curves, whose mean is subtracted. The
    half-width is q·se. q is the ``LEVEL`` quantile of the maximum over the points of a multivariate t with the
    correlations of the samples and S − 1 degrees of freedom; with ``minus``, the smallest of Welch's degrees of
    freedom. The half-width is infinite for fewer than ``MIN_SEEDS`` curves. Raises ValueError, with both shapes, for
    another number of points.
    """
    if minus is not None:
        require_shape("a curve", samples.shape[1:], "one of those that are subtracted", minus.shape[1:])
    groups = [samples] if minus is None else [samples, minus]
    mean = samples.mean(axis=0) - (0 if minus is None else minus.mean(axis=0))
    if min(map(len, groups)) < MIN_SEEDS:
        return mean, np.full_like(mean, np.inf)
    centred = [(group - group.mean(axis=0)) / math.sqrt(len(group) * (len(group) - 1)) for group in groups]
    variances = [np.square(group).sum(axis=0) for group in centred]
    error = np.sqrt(sum(variances))
    freedom = float(len(samples) - 1)
    if minus is not None:
        squares = sum(variance**2 / (len(group) - 1) for variance, group in zip(variances, groups, strict=True))
        varies = error > 0
        freedom = float((error[varies] ** 4 / squares[varies]).min(initial=sum(map(len, groups)) - 2))
    rng = np.random.default_rng(_draw.get())
    root = np.concatenate(centred) / np.where(error > 0, error, 1)
    if len(root) > root.shape[1]:
        root = np.asarray(np.linalg.qr(root, mode="r"))  # the same correlations from fewer rows
    gaussian = rng.standard_normal((draws, len(root))) @ root
    scale = np.sqrt(rng.chisquare(freedom, draws) / freedom)
    quantile = np.quantile(np.abs(gaussian).max(axis=1) / scale, LEVEL)
    return mean, quantile * error


def exponent(widths: Sequence[int], values: Sequence[float], seeds: Sequence[int]) -> float:
    """Exponent a of value ∝ n^a: weighted least squares of ln value on ln n, weights ∝ seeds; NaN for one width."""
    return float(_slope(widths, seeds) @ np.log(values)) if len(widths) > 1 else math.nan


def _slope(widths: Sequence[int], seeds: Sequence[int]) -> np.ndarray:
    """The slope of the fit of ``exponent``, as weights of the ln value."""
    x = np.log(widths)
    centred = x - np.average(x, weights=seeds)
    weights: np.ndarray = seeds * centred / (seeds * centred**2).sum()
    return weights


def fall(
    quantity: str,
    measure: Measure,
    widths: Sequence[int],
    groups: Sequence[np.ndarray],
    allowed: tuple[float, float],
    *,
    variable: str = "n",
) -> Statistic:
    """A positive measure of the narrowest group over that of the widest; the interval is taken on the logarithm.

    groups: independent networks, (seeds, …), for each width (or other ``variable``) in ascending order. Raises
    ValueError unless there are as many groups as widths.
    """
    _require_as_many(widths, groups)
    if len(widths) < 2:
        return undecided(f"fall of {quantity}", allowed)
    name = f"{quantity}({variable}={widths[0]})/{quantity}({variable}={widths[-1]})"
    indices, values = of_groups(measure, (groups[0], groups[-1]))

    def log_fall(chosen: Sequence[np.ndarray]) -> float:
        first, last = values(chosen).tolist()
        return math.log(first / last)

    return ratio(name, indices, log_fall, allowed)


def rate(
    quantity: str,
    measure: Measure,
    widths: Sequence[int],
    groups: Sequence[np.ndarray],
    allowed: tuple[float, float],
    *,
    variable: str = "n",
) -> Statistic:
    """The exponent of a positive measure in the width n, or another ``variable``; groups and errors as in ``fall``."""
    _require_as_many(widths, groups)
    if len(widths) < 2:
        return undecided(f"exponent of {quantity}", allowed)
    slope, (indices, values) = _slope(widths, [len(group) for group in groups]), of_groups(measure, groups)
    bounds = interval(indices, lambda chosen: float(slope @ np.log(values(chosen))))
    return Statistic(f"exponent of {quantity}, {variable}={widths[0]}…{widths[-1]}", *bounds, allowed)


def _require_as_many(widths: Sequence[int], groups: Sequence[np.ndarray]) -> None:
    if len(widths) != len(groups):
        raise ValueError(f"{len(groups)} groups of networks for {len(widths)} widths: they have to agree")


def ratio(
    name: str,
    groups: Sequence[np.ndarray],
    log: Callable[[Sequence[np.ndarray]], float],
    allowed: tuple[float, float],
) -> Statistic:
    """A positive number whose interval is taken on the logarithm."""
    estimate, low, high = interval(groups, log)
    if math.isinf(high):  # too few seeds
        return Statistic(name, math.exp(estimate), low, high, allowed)
    return Statistic(name, math.exp(estimate), math.exp(low), math.exp(min(high, 700)), allowed)


def exactly(name: str, value: float, allowed: tuple[float, float], *, worst_of: int = 1) -> Statistic:
    """A number without an interval: it has no uncertainty, or the allowed range accounts for it."""
    return Statistic(name, value, value, value, allowed, worst_of)


def _rest(values: np.ndarray) -> tuple[int, ...]:
    return tuple(range(1, values.ndim))


geometric = MeanOf(lambda values: np.log(np.maximum(values, 1e-300)).mean(axis=_rest(values)), math.exp)
"""The geometric mean: the mean on the scale of exponents and ratios. 0 counts as 10⁻³⁰⁰."""

rms = MeanOf(lambda values: np.square(values).mean(axis=_rest(values)), math.sqrt)
"""Root mean square."""


def mean(name: str, values: np.ndarray, allowed: tuple[float, float]) -> Statistic:
    """The mean of a number measured on independent networks, (seeds,)."""
    return Statistic(name, *interval([values], lambda sample: float(sample[0].mean())), allowed)


def undecided(name: str, allowed: tuple[float, float]) -> Statistic:
    """A statistic without a value, such as a comparison of widths with fewer than two of them."""
    return Statistic(name, math.nan, -math.inf, math.inf, allowed)
