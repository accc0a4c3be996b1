"""The claims of Figure 1 (paper §6.1), their criteria and their negative controls."""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr

from ...study.claims import Claim, Control
from ...study.experiment import select
from ...study.measures import Measure, Quotient
from ...study.statistics import Statistic, fall, interval, mean, rate, simultaneous_band, undecided
from .statistics import change, changes, common, initial_kernels, roughness, spread

INFLATION = 1.1
"""Growth of Θ(x_0, x_0) that counts as inflation: a one-sided margin above 1."""
FALL = 1.5
"""sd(n) ÷ sd(n') that counts as a fall, where √(n'/n) is expected: of sd, the ten networks drawn say no more."""
SMOOTHER = 4 / 3
"""Factor to within which the roughness falls by √(n'/n)."""
BAND = 0.15
"""Equivalence band of a mean kernel, relative to Θ_∞ at each angle: less than half of what a layer more changes."""
RATE = (-1.25, -0.75)
"""Exponent of the change in training: about the 1/n of smooth σ, as far as half-way to n^{−1/2}."""
COMMON, OWN = (-1.15, -0.85), (-0.97, -0.6)
"""Exponents of the common part of the change, about −1, and of the networks' own parts: neither −1 nor −1/2."""
ALIKE = (1 / 2, 2)
"""Ratio of two inflations that counts as alike; between the widths drawn it is 20."""


def _check_variance(dataset: xr.Dataset) -> list[Statistic]:
    widths, trend = dataset.attrs["widths"], dataset.attrs["initial"]
    drawn = [initial_kernels(dataset, width) for width in widths]
    counted = [initial_kernels(dataset, width) for width in trend]
    return [
        fall("sd", spread, widths, drawn, (FALL, math.inf)),
        rate("sd", spread, trend, counted, (-0.6, -0.4)),  # −1/2, and neither 0 nor −1
    ]


def _check_smoother(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    drawn = [initial_kernels(dataset, width) for width in widths]
    expected = math.sqrt(widths[-1] / widths[0])
    return [fall("roughness", _roughness(dataset), widths, drawn, (expected / SMOOTHER, expected * SMOOTHER))]


def _check_smoothness_is_variance(dataset: xr.Dataset) -> list[Statistic]:
    trend = dataset.attrs["initial"]
    groups = [initial_kernels(dataset, width) for width in trend]
    return [rate("roughness/sd", Quotient(_roughness(dataset), spread), trend, groups, (-0.1, 0.1))]


def _roughness(dataset: xr.Dataset) -> Measure:
    return roughness(dataset.theta_inf.values[0], dataset.angle.values)


def _distance(
    name: str, kernels: np.ndarray, limit: np.ndarray, reference: np.ndarray, minus: np.ndarray | None = None
) -> Statistic:
    """sup_γ|E Θ − reference| / Θ_∞, from a band that covers E Θ at all γ at once; ``minus`` as there."""
    mean, half_width = simultaneous_band(kernels.mean(axis=1), None if minus is None else minus.mean(axis=1))
    distance, half_width = np.abs(mean - reference) / limit, half_width / limit
    low, high = np.maximum(distance - half_width, 0).max(), (distance + half_width).max()
    return Statistic(name, float(distance.max()), float(low), float(high), (0.0, BAND))


def _check_mean(dataset: xr.Dataset) -> list[Statistic]:
    limit, widths = dataset.theta_inf.values[0], dataset.attrs["widths"]
    drawn = [initial_kernels(dataset, width) for width in widths]
    name = "sup|mean − {}| ÷ limit (n={})".format
    distances = [_distance(name("limit", n), kernels, limit, limit) for n, kernels in zip(widths, drawn, strict=True)]
    if len(widths) < 2:
        return [*distances, undecided(name("that of the widest", widths[0]), (0.0, BAND))]
    apart = _distance(name(f"that of n={widths[-1]}", widths[0]), drawn[0], limit, 0 * limit, drawn[-1])
    return [*distances, apart]


def _inflation_statistic(name: str, group: xr.Dataset) -> Statistic:
    at_x_0 = group.theta.sel(angle=0).values
    return mean(name, at_x_0[:, -1] / at_x_0[:, 0], (INFLATION, math.inf))


def _check_inflation(dataset: xr.Dataset) -> list[Statistic]:
    narrow = dataset.attrs["widths"][0]
    return [_inflation_statistic(f"mean inflation (n={narrow})", select(dataset, variant="main", width=narrow))]


def _check_inflation_width(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    every = sorted({*widths, *dataset.attrs["trend"]})

    def average(changes: np.ndarray) -> float:
        return float(changes.mean())

    return [
        fall("change", average, widths, [change(dataset, width) for width in widths], (2.0, math.inf)),
        rate("change", average, every, [change(dataset, width) for width in every], RATE),
    ]


def _check_two_parts(dataset: xr.Dataset) -> list[Statistic]:
    widths = sorted({*dataset.attrs["widths"], *dataset.attrs["trend"]})
    groups = [changes(dataset, width) for width in widths]
    return [
        rate("the mean change", common, widths, groups, COMMON),
        rate("the own parts", spread, widths, groups, OWN),
    ]


def _check_open_choices(dataset: xr.Dataset) -> list[Statistic]:
    narrow = select(dataset, variant="main", width=dataset.attrs["widths"][0])
    statistics = []
    for name in dataset.attrs["alternatives"]:
        group = select(dataset, variant=name)
        _, own, main = np.intersect1d(group.seed.values, narrow.seed.values, return_indices=True)
        growths = np.stack([_growth(group)[own], _growth(narrow)[main]], axis=1)
        ratio = interval([growths], lambda sample: float(sample[0][:, 0].mean() / sample[0][:, 1].mean()))
        statistics.append(Statistic(f"{name}: mean (inflation − 1) ÷ that of the main networks", *ratio, ALIKE))
    return statistics or [undecided("no alternatives", ALIKE)]


def _growth(group: xr.Dataset) -> np.ndarray:
    """Θ_t/Θ_0 − 1 at (x_0, x_0), (seeds,)."""
    at_x_0 = group.theta.sel(angle=0).values.astype(float)
    growth: np.ndarray = at_x_0[:, -1] / at_x_0[:, 0] - 1
    return growth


def _one_width_as_all(dataset: xr.Dataset) -> xr.Dataset:
    """Networks of the narrowest drawn width stand for every width, those at t = 0 only if there are any."""
    narrow = select(dataset, variant="initial", width=dataset.attrs["widths"][0])
    if narrow.sizes["network"] == 0:
        narrow = select(dataset, variant="main", width=dataset.attrs["widths"][0])
    every = sorted({*dataset.attrs["widths"], *dataset.attrs["initial"]})
    return _concat([_relabel(narrow, "initial", width) for width in every])


def _widest_as_narrowest(dataset: xr.Dataset) -> xr.Dataset:
    widths = dataset.attrs["widths"]
    return _relabel(select(dataset, variant="main", width=widths[-1]), "main", widths[0])


def _widest_as_alternatives(dataset: xr.Dataset) -> xr.Dataset:
    main = select(dataset, variant="main")
    widest = select(main, width=dataset.attrs["widths"][-1])
    return _concat([main, *(_relabel(widest, name) for name in dataset.attrs["alternatives"])])


def _slower(dataset: xr.Dataset) -> xr.Dataset:
    """Θ_t − Θ_0 times √n: a change that falls like n^{−1/2} where it falls like 1/n."""
    before = dataset.theta.isel(time=0, drop=True)
    return dataset.assign(theta=(dataset.theta - before) * np.sqrt(dataset.width / dataset.attrs["widths"][0]) + before)


def _averaged(dataset: xr.Dataset) -> xr.Dataset:
    """Own parts of the change that fall by a further n^{−2/3}, faster than the mean change."""
    theta = dataset.theta.values.astype(float)
    for width in np.unique(dataset.width.values):
        networks = np.flatnonzero((dataset.width.values == width) & (dataset.variant.values == "main"))
        difference = theta[networks, -1] - theta[networks, 0]
        mean = difference.mean(axis=0) if len(networks) else 0.0
        smaller = (width / dataset.attrs["widths"][0]) ** (-2 / 3)
        theta[networks, -1] = theta[networks, 0] + mean + smaller * (difference - mean)
    return dataset.assign(theta=(dataset.theta.dims, theta))


def _faster(dataset: xr.Dataset) -> xr.Dataset:
    """Θ_0 − Θ_∞ divided by √n: a deviation that falls like 1/n where it falls like n^{−1/2}."""
    limit = dataset.theta_inf[0]
    deviation = (dataset.theta_rotated - limit) / np.sqrt(dataset.width / dataset.attrs["widths"][0])
    return dataset.assign(theta_rotated=deviation + limit)


def _narrow_deeper(dataset: xr.Dataset) -> xr.Dataset:
    """Narrow networks with the mean of one layer more."""
    limit, deeper = dataset.theta_inf
    narrow = dataset.width == dataset.attrs["widths"][0]
    return dataset.assign(theta_rotated=dataset.theta_rotated + narrow * (deeper - limit))


def _mean_field(dataset: xr.Dataset) -> xr.Dataset:
    networks = select(dataset, variant="mean_field")
    widths = sorted({int(width) for width in networks.width})
    return _relabel(networks, "main").assign_attrs(widths=widths, trend=widths)


def _deeper_limit(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.isel(depth=[1, 0])


def _smoothed_with_width(dataset: xr.Dataset) -> xr.Dataset:
    """Kernels blurred along γ the more the wider the network: what "smoother" would mean beyond less variance."""
    deviation = (dataset.theta_rotated - dataset.theta_inf[0]).transpose(*dataset.theta_rotated.dims)
    values, widths = deviation.values, dataset.width.values
    for width in np.unique(widths):
        chosen = widths == width
        curves = values[chosen, :, :-1]  # the last point is the first one again
        for _ in range(int(4 * np.log2(width / widths.min()))):
            curves = curves / 2 + (np.roll(curves, 1, axis=-1) + np.roll(curves, -1, axis=-1)) / 4
        values[chosen] = np.concatenate([curves, curves[..., :1]], axis=-1)
    return dataset.assign(theta_rotated=deviation.copy(data=values) + dataset.theta_inf[0])


def _relabel(networks: xr.Dataset, variant: str, width: int | None = None) -> xr.Dataset:
    size = networks.sizes["network"]
    changed = networks.assign(variant=("network", [variant] * size))
    return changed if width is None else changed.assign(width=("network", [width] * size))


def _concat(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    return xr.concat(parts, dim="network", data_vars="minimal", coords="minimal", compat="override", join="override")


_SELF = Control("a law that does not depend on the width", _one_width_as_all)
_FASTER = Control("deviations from the limit that fall like 1/n", _faster)

CLAIMS = (
    Claim(
        id="fig1.variance",
        place="§6.1, Figure 1",
        statement="At initialization the NTK varies less between wider networks.",
        paper="less variance for the wider network (no number)",
        measure="the standard deviation over networks (rms over γ) at the narrowest ÷ that at the widest width, which "
        "√(n'/n) is expected of, and its exponent in n",
        figure="fig1_widths",
        check=_check_variance,
        controls=(_SELF, _FASTER),
    ),
    Claim(
        id="fig1.smoother",
        place="§6.1, Figure 1",
        statement="The NTK of a single wide network is a smoother function of γ.",
        paper="smoother for the wider network (no number)",
        measure="the roughness (rms slope of Θ − Θ_∞) at the narrowest ÷ that at the widest width: √(n'/n), to within "
        f"a factor {SMOOTHER:.2f}",
        figure="fig1_widths",
        check=_check_smoother,
        controls=(_SELF, _FASTER),
    ),
    Claim(
        id="fig1.smoothness_is_variance",
        place="§6.1, Figure 1",
        statement="“Smoother” says nothing beyond “less variance”: roughness ÷ sd does not depend on n.",
        paper="not discussed",
        measure="the exponent in n of roughness ÷ sd",
        figure="fig1_widths",
        check=_check_smoothness_is_variance,
        controls=(Control("kernels blurred in γ the more the wider the network", _smoothed_with_width),),
        note="our own addition to the paper's statement",
    ),
    Claim(
        id="fig1.mean",
        place="§6.1, Figure 1",
        statement="At initialization the mean kernels of both widths are close to each other, and to the limit, at "
        "every angle.",
        paper="the means are very close (no number)",
        measure="a simultaneous band for the mean kernel less the limit, ÷ the limit at the same γ, at each width, and "
        "one for the difference between the means of the narrowest and the widest",
        figure="fig1",
        check=_check_mean,
        controls=(
            Control("the limit of depth L + 1", _deeper_limit),
            Control("narrow networks with the mean of depth L + 1", _narrow_deeper),
        ),
    ),
    Claim(
        id="fig1.inflation",
        place="§6.1, Figure 1",
        statement="Training inflates the NTK of a narrow network.",
        paper="the kernel inflates (no number)",
        measure="E[Θ_t(x_0, x_0)/Θ_0(x_0, x_0)] at the narrowest width",
        figure="fig1",
        check=_check_inflation,
        controls=(Control("the widest networks in place of the narrowest", _widest_as_narrowest),),
    ),
    Claim(
        id="fig1.inflation_width",
        place="§6.1, Figure 1",
        statement="The NTK of a wide network changes much less during training: the change falls like 1/n rather than "
        "n^{−1/2}, on a sample of this size and at these widths.",
        paper="almost fixed at n = 10000 (no number)",
        measure="the relative change sup_γ|Θ_t − Θ_0|/sup_γ|Θ_0|, mean over networks: at the narrowest ÷ at the widest "
        "width, and its exponent in n",
        figure="fig1_widths",
        check=_check_inflation_width,
        controls=(
            Control("mean-field scaling", _mean_field),
            Control("a change that falls like n^{−1/2}", _slower),
        ),
    ),
    Claim(
        id="fig1.two_parts",
        place="§6.1; Theorem 2",
        statement="What training changes of a ReLU network's NTK has a part that all networks have in common, which "
        "falls like 1/n, and a part of each network's own, which falls more slowly.",
        paper="not discussed",
        measure="of Θ_t − Θ_0 along the circle, the exponents in n of the mean over networks and of the standard "
        "deviation over networks, rms over γ",
        figure="fig1_widths",
        check=_check_two_parts,
        controls=(
            Control("a change that falls like n^{−1/2}", _slower),
            Control("own parts that fall faster, as if many neurons averaged them out", _averaged),
        ),
        note="our own addition: the larger part decides the exponent that is seen. In Figure 1 it is the common one",
    ),
    Claim(
        id="fig1.open_choices",
        place="§6.1",
        statement="What the paper leaves open changes the inflation of a narrow network by less than a factor of two, "
        "each by itself: the loss factor, fixed or fresh inputs, the sample size, rescaled hidden weights.",
        paper="not discussed",
        measure="E[Θ_t(x_0, x_0)/Θ_0(x_0, x_0)] − 1 under each alternative ÷ that of the same networks trained as in "
        "Figure 1, at the narrowest width",
        figure="fig1_choices",
        check=_check_open_choices,
        controls=(Control("alternatives that inflate as little as the widest networks", _widest_as_alternatives),),
    ),
)
