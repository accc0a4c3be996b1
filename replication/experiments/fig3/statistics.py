"""The statistics behind the claims and the figures of Figure 3."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy import stats

from ...study.experiment import select
from ...study.statistics import LEVEL, MIN_SEEDS, exponent

Measure = Callable[[xr.Dataset], np.ndarray]
"""Maps networks to one number for each, (seeds,)."""


def trained(dataset: xr.Dataset, width: int) -> xr.Dataset:
    """The trained networks of a width."""
    return select(dataset, variant="main", width=width)


def drawn(dataset: xr.Dataset, width: int) -> xr.Dataset:
    """The trained networks of a width that the figure draws."""
    networks = trained(dataset, width)
    return networks.isel(network=np.flatnonzero(networks.seed.isin(dataset.attrs["seeds"])))


def predicted(dataset: xr.Dataset) -> list[int]:
    """The drawn widths beyond the trend."""
    return [width for width in dataset.attrs["widths"] if width > max(dataset.attrs["trend"], default=math.inf)]


def trend_widths(dataset: xr.Dataset) -> list[int]:
    """The widths of the trend that have enough networks for an interval, in ascending order."""
    return [width for width in dataset.attrs["trend"] if trained(dataset, width).sizes["network"] >= MIN_SEEDS]


def groups(dataset: xr.Dataset, measure: Measure) -> tuple[list[int], list[np.ndarray]]:
    """``trend_widths``, and the measure of the networks at each of them."""
    widths = trend_widths(dataset)
    return widths, [measure(trained(dataset, width)) for width in widths]


def at_start(dataset: xr.Dataset, width: int) -> xr.Dataset:
    """The networks of a width at t = 0, whether they are trained later or not, each seed once."""
    networks = select(dataset, width=width)
    _, first = np.unique(networks.seed.values, return_index=True)
    return networks.isel(network=first)


def groups_at_start(dataset: xr.Dataset, measure: Measure) -> tuple[list[int], list[np.ndarray]]:
    """All widths that have enough networks at t = 0 for an interval, and the measure of the networks at each."""
    widths = sorted({*dataset.attrs["trend"], *dataset.attrs["initial"]})
    networks = {width: at_start(dataset, width) for width in widths}
    enough = {width: group for width, group in networks.items() if group.sizes["network"] >= MIN_SEEDS}
    return list(enough), [measure(group) for group in enough.values()]


@dataclass(frozen=True)
class Prediction:
    """The prediction of the trend for one more network, of width n: ln q = a + b ln n + c (ln n)² + noise.

    This is a power law whose exponent changes with n, because narrow networks saturate and wide ones do not. log: the
    prediction of ln q; half_width: half the length of its interval at ``LEVEL``, which covers the error of the fit and
    the noise.
    """

    log: float
    half_width: float

    def __str__(self) -> str:
        low, high = (math.exp(self.log + sign * self.half_width) for sign in (-1, 1))
        return f"{low:.3g}–{high:.3g}"

    def position(self, values: np.ndarray) -> np.ndarray:
        """The positions of values in the interval; −1 and 1 are its ends."""
        position: np.ndarray = (np.log(values) - self.log) / self.half_width
        return position


def predict(dataset: xr.Dataset, measure: Measure, width: int) -> Prediction:
    """The prediction for a width from all networks of the trend, even at widths with fewer than ``MIN_SEEDS``."""
    samples = {n: measure(trained(dataset, n)) for n in dataset.attrs["trend"]}
    samples = {n: values for n, values in samples.items() if len(values)}
    logs = np.concatenate([np.log(values) for values in samples.values()]) if samples else np.zeros(0)
    x = np.repeat([math.log(n / width) for n in samples], [len(values) for values in samples.values()])
    freedom = len(logs) - 3
    if len(samples) < 3 or freedom < 1 or not np.isfinite(logs).all():
        return Prediction(math.nan, math.nan)
    design = np.vander(x, 3)
    coefficients = np.linalg.lstsq(design, logs)[0]
    variance = float(np.square(logs - design @ coefficients).sum() / freedom)
    leverage = float(np.linalg.inv(design.T @ design)[-1, -1])
    quantile = float(stats.t.ppf((1 + LEVEL) / 2, freedom))
    return Prediction(float(coefficients[-1]), quantile * math.sqrt(variance * (1 + leverage)))


def limit_curve(dataset: xr.Dataset) -> np.ndarray:
    """‖g_t‖ in the limit, goal · e^{−λ₂t}, (t,)."""
    rate = float(dataset.eigenvalues_inf[1])
    curve: np.ndarray = dataset.attrs["training"]["goal"] * np.exp(-rate * dataset.t.values)
    return curve


def largest_h(networks: xr.Dataset) -> np.ndarray:
    """max_t ‖h_t‖_{p^in} of each network, (seeds,)."""
    largest: np.ndarray = networks.h.values.astype(float).max(axis=1)
    return largest


def distance(dataset: xr.Dataset, networks: xr.Dataset) -> np.ndarray:
    """sup_t |‖g_t‖ − goal · e^{−λ₂t}| of each network, (seeds,)."""
    apart: np.ndarray = np.abs(np.abs(networks.g.values.astype(float)) - limit_curve(dataset)).max(axis=1)
    return apart


def crossing(t: np.ndarray, g: np.ndarray, part: float) -> float:
    """The first time at which |g| has fallen to ``part`` of its value at t = 0, interpolated; NaN if there is none."""
    ratio = np.abs(g) / abs(g[0])
    below = np.flatnonzero(ratio <= part)
    if len(below) == 0 or not np.isfinite(ratio).all():
        return math.nan
    i = below[0]
    return float(np.interp(part, [ratio[i], ratio[i - 1]], [t[i], t[i - 1]]))


def _between(t: np.ndarray, g: np.ndarray, start: float, stop: float) -> np.ndarray | None:
    """The times at which |g| has fallen to ``start`` and to ``stop`` of its value at t = 0; None if there are none.

    stop = 0 stands for the end of training.
    """
    a = 0.0 if start == 1 else crossing(t, g, start)
    b = crossing(t, g, stop) if stop > 0 else t[-1]
    return np.concatenate([[a], t[(t > a) & (t < b)], [b]]) if math.isfinite(a) and math.isfinite(b) else None


def half_times(networks: xr.Dataset, part: float = 0.5) -> np.ndarray:
    """The time at which ‖g_t‖ has fallen to half (or another part) of ‖g_0‖, for each network: (seeds,)."""
    t = networks.t.values
    return np.array([crossing(t, g, part) for g in networks.g.values.astype(float)])


@dataclass(frozen=True)
class SpeedUp:
    """Why ‖g‖ falls faster than in the limit: the terms of ∫(−ġ/g − λ₂^∞)dt for each network, (seeds,).

    As ġ = −λ₂(t) g − ⟨f⁽²⁾, h⟩_{Θ_t}, over [a, b] total = ln(g_a/g_b) − λ₂^∞ (b − a) = spread + inflation + cross +
    error. The first three are the integrals of λ₂(0) − λ₂^∞, λ₂(t) − λ₂(0) and ⟨f⁽²⁾, h⟩_{Θ_t}/g; error is due to the
    solver and the grid.
    """

    total: np.ndarray
    spread: np.ndarray
    inflation: np.ndarray
    cross: np.ndarray

    @property
    def error(self) -> np.ndarray:
        error: np.ndarray = self.total - self.spread - self.inflation - self.cross
        return error


def speed_up(dataset: xr.Dataset, networks: xr.Dataset, start: float = 1.0, stop: float = 0.5) -> SpeedUp:
    """The terms of the speed-up while ‖g‖ falls from ``start`` to ``stop`` times ‖g_0‖; NaN where it does not."""
    t = networks.t.values
    limit = float(dataset.eigenvalues_inf[1])
    rows = []
    for g, rate, cross in zip(*(networks[name].values.astype(float) for name in ("g", "rate", "cross")), strict=True):
        times = _between(t, g, start, stop)
        if times is None:
            rows.append([math.nan] * 4)
            continue
        at = {name: np.interp(times, t, values) for name, values in (("g", g), ("rate", rate), ("cross", cross))}
        rows.append(
            [
                math.log(at["g"][0] / at["g"][-1]) - limit * (times[-1] - times[0]),
                (rate[0] - limit) * (times[-1] - times[0]),
                np.trapezoid(at["rate"] - rate[0], times),
                np.trapezoid(at["cross"] / at["g"], times),
            ]
        )
    return SpeedUp(*np.array(rows).reshape(-1, 4).T)


def early(dataset: xr.Dataset, width: int) -> SpeedUp:
    """The terms of the speed-up until ‖g‖ has fallen to half, for each network of a width."""
    return speed_up(dataset, trained(dataset, width))


def cancelled(networks: xr.Dataset, start: float = 0.1, stop: float = 0.0) -> np.ndarray:
    """−∫⟨f⁽²⁾, h⟩_{Θ_t} dt ÷ ∫(λ₂(t) − λ₂(0)) g dt while ‖g‖ falls from ``start`` to ``stop`` times ‖g_0‖: (seeds,).

    This is the fraction of inflation's effect on g that the cross term undoes. stop = 0 stands for the end of training.
    """
    parts = []
    t = networks.t.values
    for g, rate, cross in zip(*(networks[name].values.astype(float) for name in ("g", "rate", "cross")), strict=True):
        times = _between(t, g, start, stop)
        if times is None:
            parts.append(math.nan)
            continue
        undone = np.trapezoid(np.interp(times, t, cross), times)
        parts.append(-undone / np.trapezoid(np.interp(times, t, (rate - rate[0]) * g), times))
    return np.array(parts)


def starts(dataset: xr.Dataset, width: int) -> np.ndarray:
    """ln λ₂(0)/λ₂^∞ for each trained network of a width: (seeds,)."""
    logs: np.ndarray = np.log(trained(dataset, width).rate_0.values / float(dataset.eigenvalues_inf[1]))
    return logs


def at_equal_start(sample: np.ndarray) -> np.ndarray:
    """The expected columns for a network that starts at the limit's λ₂: (networks, 1 + k) → (k,).

    The first column is ``starts``. The others are regressed on it, and the fit is evaluated at 0. So the spread of
    λ₂(0) over networks, which every NTK has at initialization, enters neither the estimates nor their noise.
    """
    start, values = sample[:, 0], sample[:, 1:]
    centred = start - start.mean()
    at_zero: np.ndarray = values.mean(axis=0) - start.mean() * (centred @ values) / (centred @ centred)
    return at_zero


def half_times_with_starts(dataset: xr.Dataset, width: int) -> np.ndarray:
    """``starts``, and ln of half-time ÷ the limit's half-time ln 2/λ₂^∞: (seeds, 2)."""
    limit = math.log(2) / float(dataset.eigenvalues_inf[1])
    return np.stack([starts(dataset, width), np.log(half_times(trained(dataset, width)) / limit)], axis=1)


def speed_up_exponent(widths: Sequence[int], samples: Sequence[np.ndarray]) -> float:
    """The exponent in n of −ln(half-time ÷ limit) for networks that start at the limit's λ₂; NaN unless all are faster.

    samples: ``half_times_with_starts`` of each width.
    """
    gains = [-float(at_equal_start(sample)[0]) for sample in samples]
    return exponent(widths, gains, [len(sample) for sample in samples]) if min(gains) > 0 else math.nan


def speed_ups_with_starts(dataset: xr.Dataset, width: int) -> np.ndarray:
    """``starts``, and the speed-up until half-time: its total, its inflation term and its error: (seeds, 4)."""
    terms = early(dataset, width)
    rest = terms.total - terms.inflation - terms.cross
    return np.stack([starts(dataset, width), terms.total, terms.inflation, rest], axis=1)


def rate_ratio(dataset: xr.Dataset, width: int) -> np.ndarray:
    """The largest learning rate with monotone descent ÷ the bound 2/max_t λ₁(t), for each network: (seeds,)."""
    networks = select(dataset, kind="rates", rates_width=width)
    ratios: np.ndarray = np.sqrt(networks.rates_monotone.values * networks.rates_broken.values)
    return ratios


def largest_rates(dataset: xr.Dataset, width: int) -> np.ndarray:
    """The largest learning rate with monotone descent, for each network: (seeds,)."""
    bounds = select(dataset, kind="rates", rates_width=width).rates_bound
    rates: np.ndarray = rate_ratio(dataset, width) * bounds.values
    return rates


def descent_errors(dataset: xr.Dataset) -> np.ndarray:
    """sup_t of |g − g_flow| and |‖h‖ − ‖h_flow‖|, for each network trained by both solvers: (seeds,)."""
    errors = []
    flows = trained(dataset, dataset.attrs["descent"]["width"])
    times = dataset.descent_t.values
    compared = times <= flows.t.values[-1]
    for i, seed in enumerate(dataset.descent_seed.values):
        (flow,) = np.flatnonzero(flows.seed.values == seed)
        apart = [
            dataset[f"descent_{name}"].values[i] - np.interp(times, flows.t.values, flows[name].values[flow])
            for name in ("g", "h")
        ]
        errors.append(float(np.abs(np.array(apart)[:, compared]).max()))
    return np.array(errors)


def apart(networks: xr.Dataset) -> np.ndarray:
    """1 − ⟨f⁽²⁾, f_∞⁽²⟩² for each network's f⁽²⁾, by power iteration, and f_∞⁽²⁾ of the limit: (seeds,)."""
    parts: np.ndarray = 1 - np.square(networks.overlap.values[:, 1].astype(float))
    return parts


def gap(sample: np.ndarray) -> float:
    """The mean of ln λ_1/λ_2 over batches: eigenvalues are (batches, components)."""
    return float(np.log(sample[:, 0] / sample[:, 1]).mean())
