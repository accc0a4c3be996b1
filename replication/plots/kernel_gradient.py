"""Kernel gradient descent (paper §3): cost and function of networks and of their limits, and the distance against n."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ..experiments.kernel_gradient.settings import COSTS
from ..study.experiment import select
from ..study.statistics import geometric
from . import points, trend
from .palette import BLUE, ORANGE, RED

TITLES = {"least_squares": "least squares", "cross_entropy": "cross-entropy"}


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """kernel_gradient: cost against t and f on the circle; kernel_gradient_widths: distances against n."""
    return {"kernel_gradient": _trajectories(dataset), "kernel_gradient_widths": _widths(dataset)}


def _trajectories(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(9.2, 3.1))
    panels = figure.subplots(1, 3)
    widths = (dataset.attrs["widths"][0], dataset.attrs["widths"][-1])
    for axes, name in zip(panels, COSTS, strict=False):
        for color, width in zip((RED, BLUE), widths, strict=True):
            group = select(dataset, cost=name, width=width).isel(network=slice(3))
            for i in range(group.sizes["network"]):
                label = {"label": f"network, $n = {width}$"} if i == 0 else {}
                axes.semilogy(dataset.t, group.cost_network[i], color=color, lw=0.9, alpha=0.8, **label)
                limit = {"label": "kernel gradient descent"} if i == 0 and width == widths[0] else {}
                axes.semilogy(dataset.t, group.cost_limit[i], ":", color="black", lw=0.9, **limit)
        axes.set(xlabel="$t$", ylabel="$C$", title=TITLES[name])
        axes.legend(fontsize=7)
    group = select(dataset, cost="least_squares", width=widths[-1]).isel(network=slice(3))
    axes = panels[2]
    for i in range(group.sizes["network"]):
        axes.plot(dataset.angle, group.f[i], color=BLUE, lw=0.9, label="networks" if i == 0 else None)
        axes.plot(dataset.angle, group.f_limit[i], ":", color="black", lw=1.1,
                  label="kernel gradient descent" if i == 0 else None)  # fmt: skip
    angles = np.asarray(dataset.attrs["data_angles"])
    axes.plot(angles, np.sin(2 * angles) / 2, "o", color="black", ms=4, zorder=3, label="data")
    axes.set(xlabel=r"$\gamma$", ylabel=r"$f_t(x(\gamma))$")
    axes.set_title(f"least squares, $n = {widths[-1]}$, $t = {dataset.t.values[-1]:g}$")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.45 * (high - low))
    axes.legend(loc="upper left", fontsize=7)
    return figure


def _widths(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(9.2, 3.1))
    widths = dataset.attrs["widths"]
    for axes, (name, quantity) in zip(
        figure.subplots(1, 3),
        (("least_squares", "on_data"), ("least_squares", "off_data"), ("cross_entropy", "off_data")),
        strict=True,
    ):
        groups = {
            reference: [select(dataset, cost=name, width=n)[quantity].sel(reference=reference).values for n in widths]
            for reference in ("limit", "initial", "other")
        }
        claimed = f"kernel_gradient.{quantity}:exponent of distance ({name.replace('_', ' ')})"
        trend(axes, widths, groups["limit"], geometric, -0.5, claimed)
        points(axes, widths, groups["initial"], geometric, color=BLUE, label=r"with $\Theta_0$", style="s")
        points(axes, widths, groups["other"], geometric, color=ORANGE, label="limit of depth $L + 1$", style="x")
        axes.set_xticks(widths, labels=[str(n) for n in widths])
        axes.xaxis.minorticks_off()
        axes.set(xlabel="width $n$", title=f"{TITLES[name]}, {quantity.replace('_', ' ')}")
        axes.legend(fontsize=7)
    figure.axes[0].set_ylabel("largest distance to kernel gradient descent")
    return figure
