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
"""The least growth of Θ(x_0, x_0) that counts as inflation."""
FALL = 1.5
"""The least sd(n) ÷ sd(n') that counts as a decrease; √(n'/n) is expected, but ten networks give no narrower range."""
SMOOTHER = 4 / 3
"""The roughness decreases by √(n'/n) up to this factor."""
BAND = 0.15
"""Equivalence band of a mean kernel, relative to Θ_∞ at each angle: less than half of the effect of one more layer."""
RATE = (-1.25, -0.75)
"""Exponents of the change in training: around −1, as for smooth σ, and up to half-way to −1/2."""
COMMON, OWN = (-1.15, -0.85), (-0.97, -0.6)
"""Allowed exponents in n of the change: of its common part, about −1, and of the networks' own parts, above −1."""
ALIKE = (1 / 2, 2)
"""Range of the ratio of two inflations that count as alike; between the drawn widths the ratio is 20."""


def _check_variance(dataset: xr.Dataset) -> list[Statistic]:
    widths, trend = dataset.attrs["widths"], dataset.attrs["initial"]
    drawn = [initial_kernels(dataset, width) for width in widths]
    counted = [initial_kernels(dataset, width) for width in trend]
    return [
        fall("sd", spread, widths, drawn, (FALL, math.inf)),
        rate("sd", spread, trend, counted, (-0.6, -0.4)),  # about −1/2: excludes 0 and −1
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
    """sup_γ|E Θ − reference| / Θ_∞, from a simultaneous band for E Θ; ``minus`` as in that band's function."""
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
    """Use networks of the narrowest drawn width at every width; at t = 0, untrained ones if there are any."""
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
    """Θ_t − Θ_0 times √n: a change like 1/n becomes one like n^{−1/2}."""
    before = dataset.theta.isel(time=0, drop=True)
    return dataset.assign(theta=(dataset.theta - before) * np.sqrt(dataset.width / dataset.attrs["widths"][0]) + before)


def _averaged(dataset: xr.Dataset) -> xr.Dataset:
    """The own parts of the change × n^{−2/3}: they then fall faster than the mean change."""
    theta = dataset.theta.values.astype(float)
    for width in np.unique(dataset.width.values):
        networks = np.flatnonzero((dataset.width.values == width) & (dataset.variant.values == "main"))
        difference = theta[networks, -1] - theta[networks, 0]
        mean = difference.mean(axis=0) if len(networks) else 0.0
        smaller = (width / dataset.attrs["widths"][0]) ** (-2 / 3)
        theta[networks, -1] = theta[networks, 0] + mean + smaller * (difference - mean)
    return dataset.assign(theta=(dataset.theta.dims, theta))


def _faster(dataset: xr.Dataset) -> xr.Dataset:
    """Θ_0 − Θ_∞ divided by √n: a deviation like n^{−1/2} becomes one like 1/n."""
    limit = dataset.theta_inf[0]
    deviation = (dataset.theta_rotated - limit) / np.sqrt(dataset.width / dataset.attrs["widths"][0])
    return dataset.assign(theta_rotated=deviation + limit)


def _narrow_deeper(dataset: xr.Dataset) -> xr.Dataset:
    """Narrow networks whose mean is that of one more layer."""
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
    """Kernels that are blurred along γ, more for wider networks: they would be smoother beyond having less variance."""
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
        measure="the standard deviation over networks (rms over γ) at the narrowest ÷ that at the widest width, for "
        "which √(n'/n) is expected, and its exponent in n",
        figure="fig1_widths",
        check=_check_variance,
        controls=(_SELF, _FASTER),
    ),
    Claim(
        id="fig1.smoother",
        place="§6.1, Figure 1",
        statement="The NTK of a single wide network is a smoother function of γ.",
        paper="smoother for the wider network (no number)",
        measure="the roughness (rms slope of Θ − Θ_∞) at the narrowest ÷ that at the widest width; √(n'/n) is "
        f"expected, and a factor {SMOOTHER:.2f} either way is allowed",
        figure="fig1_widths",
        check=_check_smoother,
        controls=(_SELF, _FASTER),
    ),
    Claim(
        id="fig1.smoothness_is_variance",
        place="§6.1, Figure 1",
        statement="“Smoother” means no more than “less variance”: roughness ÷ standard deviation does not depend on n.",
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
        statement="At initialization the mean kernels of both widths are close to each other and to the limit at "
        "every angle.",
        paper="the means are very close (no number)",
        measure="the largest distance of the mean kernel from the limit, ÷ the limit at the same γ, by a simultaneous "
        "band, at each width; likewise the distance between the means of the narrowest and the widest networks",
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
        statement="Training inflates the NTK of a narrow network: Θ_t(x_0, x_0) becomes larger than Θ_0(x_0, x_0).",
        paper="the kernel inflates (no number)",
        measure="E[Θ_t(x_0, x_0)/Θ_0(x_0, x_0)] at the narrowest width",
        figure="fig1",
        check=_check_inflation,
        controls=(Control("the widest networks in place of the narrowest", _widest_as_narrowest),),
    ),
    Claim(
        id="fig1.inflation_width",
        place="§6.1, Figure 1",
        statement="The NTK of a wide network changes much less during training. With this sample size and at these "
        "widths the change falls like 1/n rather than n^{−1/2}.",
        paper="almost fixed at n = 10000 (no number)",
        measure="the relative change sup_γ|Θ_t − Θ_0|/sup_γ|Θ_0|, mean over networks: its value at the narrowest ÷ "
        "that at the widest width, and its exponent in n",
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
        statement="The change of a ReLU network's NTK in training has two parts. One is common to all networks and "
        "falls like 1/n; the other differs between networks and falls more slowly.",
        paper="not discussed",
        measure="for Θ_t − Θ_0 along the circle (rms over γ), the exponents in n of its mean over networks, and of "
        "its standard deviation over networks",
        figure="fig1_widths",
        check=_check_two_parts,
        controls=(
            Control("a change that falls like n^{−1/2}", _slower),
            Control("own parts that fall faster, as if many neurons averaged them out", _averaged),
        ),
        note="our own addition: the larger part determines the exponent of the whole change; in Figure 1 it is the "
        "common part",
    ),
    Claim(
        id="fig1.open_choices",
        place="§6.1",
        statement="Each choice that the paper leaves open (the loss factor, fixed or fresh inputs, the sample size, "
        "rescaled hidden weights) changes the inflation of a narrow network by less than a factor of two.",
        paper="not discussed",
        measure="E[Θ_t(x_0, x_0)/Θ_0(x_0, x_0)] − 1 under each alternative ÷ the same for the networks of Figure 1, "
        "at the narrowest width",
        figure="fig1_choices",
        check=_check_open_choices,
        controls=(Control("alternatives that inflate as little as the widest networks", _widest_as_alternatives),),
    ),
)
