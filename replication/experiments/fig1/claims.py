"""The claims of Figure 1 (paper §6.1), their criteria and their negative controls."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from ...study.claims import Claim, Control
from ...study.experiment import select
from ...study.statistics import Statistic, fall, mean, rate, simultaneous_band, undecided
from .statistics import change, initial_kernels, roughness, spread

INFLATION = 1.05
"""Growth of Θ(x_0, x_0) that counts as inflation: a one-sided margin above 1."""
FALL = 1.5
"""Ratio between the narrowest and the widest network that counts as a fall: a one-sided margin above 1."""
BAND = 0.1
"""Equivalence band of the mean kernel, as a fraction of Θ_∞(x_0, x_0)."""


def _check_variance(dataset: xr.Dataset) -> list[Statistic]:
    widths, trend = dataset.attrs["widths"], dataset.attrs["initial"]
    drawn = [initial_kernels(dataset, width) for width in widths]
    counted = [initial_kernels(dataset, width) for width in trend]
    return [
        fall("sd", spread, widths, drawn, (FALL, math.inf)),
        rate("sd", spread, trend, counted, (-0.6, -0.4)),
    ]


def _check_smoother(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    drawn = [initial_kernels(dataset, width) for width in widths]
    return [fall("roughness", _roughness(dataset), widths, drawn, (FALL, math.inf))]


def _check_smoothness_is_variance(dataset: xr.Dataset) -> list[Statistic]:
    trend, rough = dataset.attrs["initial"], _roughness(dataset)
    groups = [initial_kernels(dataset, width) for width in trend]
    return [rate("roughness/sd", lambda group: rough(group) / spread(group), trend, groups, (-0.1, 0.1))]


def _roughness(dataset: xr.Dataset) -> Callable[[np.ndarray], float]:
    limit, angles = dataset.theta_inf.values[0], dataset.angle.values
    return lambda kernels: roughness(kernels, limit, angles)


def _mean_statistic(name: str, kernels: np.ndarray, limit: np.ndarray) -> Statistic:
    """sup_γ|E Θ − Θ_∞| as a fraction of sup_γ Θ_∞, from a band that covers E Θ at all γ at once."""
    mean, half_width = simultaneous_band(kernels.mean(axis=1))
    distance = np.abs(mean - limit)
    low = np.maximum(distance - half_width, 0).max()
    scale = limit.max()
    high = (distance + half_width).max()
    return Statistic(name, float(distance.max() / scale), float(low / scale), float(high / scale), (0.0, BAND))


def _check_mean(dataset: xr.Dataset) -> list[Statistic]:
    limit = dataset.theta_inf.values[0]
    return [
        _mean_statistic(f"sup|mean − limit| (n={width})", initial_kernels(dataset, width), limit)
        for width in dataset.attrs["widths"]
    ]


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
        rate("change", average, every, [change(dataset, width) for width in every], (-math.inf, -0.4)),
    ]


def _check_open_choices(dataset: xr.Dataset) -> list[Statistic]:
    narrow = select(dataset, variant="main", width=dataset.attrs["widths"][0])
    statistics = []
    for name in dataset.attrs["alternatives"]:
        group = select(dataset, variant=name)
        statistics.append(_inflation_statistic(f"{name}: mean inflation", group))
        # The same networks before training: fig1.mean then keeps its verdict because its data are the same.
        same = np.isin(narrow.seed.values, group.seed.values)
        distance = float(np.abs(group.theta.values[:, 0] - narrow.theta.values[same, 0]).max())
        statistics.append(Statistic(f"{name}: sup|Θ_0 − main|", distance, distance, distance, (0.0, 1e-12)))
    return statistics or [undecided("no alternatives", (INFLATION, math.inf))]


def _one_width_as_all(dataset: xr.Dataset) -> xr.Dataset:
    """The narrowest drawn width stands for every width: one width compared with itself."""
    narrow = select(dataset, variant="main", width=dataset.attrs["widths"][0])
    every = sorted({*dataset.attrs["widths"], *dataset.attrs["initial"]})
    return _concat([_relabel(narrow, "main", width) for width in every])


def _widest_as_narrowest(dataset: xr.Dataset) -> xr.Dataset:
    widths = dataset.attrs["widths"]
    return _relabel(select(dataset, variant="main", width=widths[-1]), "main", widths[0])


def _widest_as_alternatives(dataset: xr.Dataset) -> xr.Dataset:
    widths = dataset.attrs["widths"]
    widest = select(dataset, variant="main", width=widths[-1])
    # In the place of the main networks too, so that it is the inflation that has to be rejected.
    main = _relabel(widest, "main", widths[0])
    return _concat([main, *(_relabel(widest, name) for name in dataset.attrs["alternatives"])])


def _mean_field(dataset: xr.Dataset) -> xr.Dataset:
    networks = select(dataset, variant="mean_field")
    widths = sorted({int(width) for width in networks.width})
    return _relabel(networks, "main").assign_attrs(widths=widths, trend=widths)


def _deeper_limit(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.isel(depth=[1, 0])


def _smoothed_with_width(dataset: xr.Dataset) -> xr.Dataset:
    """Kernels blurred along γ the more the wider the network: what "smoother" would mean beyond less variance."""
    deviation = dataset.theta_rotated - dataset.theta_inf[0]
    kernel = np.array([0.25, 0.5, 0.25])
    values = deviation.values.copy()
    for i, width in enumerate(dataset.width.values):
        for _ in range(int(4 * np.log2(width / dataset.width.values.min()))):
            for curve in values[i]:
                curve[:-1] = np.convolve(np.r_[curve[-2], curve[:-1], curve[0]], kernel, "valid")
                curve[-1] = curve[0]
    return dataset.assign(theta_rotated=deviation.copy(data=values) + dataset.theta_inf[0])


def _relabel(networks: xr.Dataset, variant: str, width: int | None = None) -> xr.Dataset:
    size = networks.sizes["network"]
    changed = networks.assign(variant=("network", [variant] * size))
    return changed if width is None else changed.assign(width=("network", [width] * size))


def _concat(parts: Sequence[xr.Dataset]) -> xr.Dataset:
    return xr.concat(parts, dim="network", data_vars="minimal", coords="minimal", compat="override", join="override")


_SELF = Control("one width compared with itself", _one_width_as_all)

CLAIMS = (
    Claim(
        id="fig1.variance",
        place="§6.1, Figure 1",
        statement="At initialization the NTK varies less between wider networks.",
        paper="less variance for the wider network (no number)",
        measure=f"the standard deviation falls by more than a factor {FALL} from the narrowest to the widest network "
        "(√(n'/n) is expected), and its exponent in n lies in [−0.6, −0.4]",
        figure="fig1_widths",
        check=_check_variance,
        controls=(_SELF,),
    ),
    Claim(
        id="fig1.smoother",
        place="§6.1, Figure 1",
        statement="The NTK of a single wide network is a smoother function of γ.",
        paper="smoother for the wider network (no number)",
        measure=f"the roughness (rms slope of Θ − Θ_∞) falls by more than a factor {FALL} from the narrowest to the "
        "widest network (√(n'/n) is expected)",
        figure="fig1_widths",
        check=_check_smoother,
        controls=(_SELF,),
    ),
    Claim(
        id="fig1.smoothness_is_variance",
        place="§6.1, Figure 1",
        statement="“Smoother” says nothing beyond “less variance”: roughness ÷ sd does not depend on n.",
        paper="not discussed",
        measure="the exponent in n of roughness ÷ sd lies in [−0.1, 0.1]",
        figure="fig1_widths",
        check=_check_smoothness_is_variance,
        controls=(Control("kernels blurred in γ the more the wider the network", _smoothed_with_width),),
        note="our own addition to the paper's statement",
    ),
    Claim(
        id="fig1.mean",
        place="§6.1, Figure 1",
        statement="At initialization the mean kernel is very close for both widths, and to the limit.",
        paper="the means are very close (no number)",
        measure=f"a simultaneous band for the mean kernel lies within ±{BAND:.0%} of Θ_∞(x_0, x_0) at every γ, at "
        "each width",
        figure="fig1",
        check=_check_mean,
        controls=(Control("the limit of depth L + 1", _deeper_limit),),
    ),
    Claim(
        id="fig1.inflation",
        place="§6.1, Figure 1",
        statement="Training inflates the NTK of a narrow network.",
        paper="the kernel inflates (no number)",
        measure=f"E[Θ_t(x_0, x_0)/Θ_0(x_0, x_0)] > {INFLATION} at the narrowest width",
        figure="fig1",
        check=_check_inflation,
        controls=(Control("the widest networks in place of the narrowest", _widest_as_narrowest),),
    ),
    Claim(
        id="fig1.inflation_width",
        place="§6.1, Figure 1",
        statement="The NTK of a wide network changes much less during training.",
        paper="almost fixed at n = 10000 (no number)",
        measure="the relative change sup_γ|Θ_t − Θ_0|/sup_γ|Θ_0| is more than twice as large at the narrowest width "
        "as at the widest, and its exponent in n is below −0.4",
        figure="fig1_widths",
        check=_check_inflation_width,
        controls=(Control("mean-field scaling", _mean_field),),
    ),
    Claim(
        id="fig1.open_choices",
        place="§6.1",
        statement="Inflation and mean do not depend on what the paper leaves open: loss factor, fixed or fresh inputs, "
        "sample size, rescaled hidden weights.",
        paper="not discussed",
        measure="under every alternative the criterion of fig1.inflation holds at the narrowest width, and the "
        "kernels at t = 0, hence the verdict of fig1.mean, are the same to 1e-12",
        figure="fig1_choices",
        check=_check_open_choices,
        controls=(Control("the widest networks in place of the alternatives", _widest_as_alternatives),),
    ),
)
