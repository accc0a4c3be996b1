"""Several outputs: their distance to scalar networks, against the width and during training."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ..study.experiment import select
from ..study.statistics import geometric
from . import trend
from .palette import BLUE, ORANGE, RED, TEAL

COLORS = (BLUE, TEAL, RED)


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """multi_output: distance against n; f_t of a narrow and of a wide network beside their scalar counterparts."""
    figure = Figure(figsize=(9.2, 3.2))
    left, *panels = figure.subplots(1, 3)
    widths = dataset.attrs["widths"]
    distances = [select(dataset, cost="least_squares", width=n).distance.values for n in widths]
    trend(left, widths, distances, geometric, -0.5, "multi_output.independent:exponent of distance to scalar networks")
    coupled = [geometric(select(dataset, cost="coupled", width=n).distance.values) for n in widths]
    left.loglog(widths, coupled, "x", color=ORANGE, ms=5, label="a cost that couples them")
    left.set(xlabel="width $n$", title="distance to scalar networks")
    left.set_xticks(widths, labels=[str(width) for width in widths])
    left.xaxis.minorticks_off()
    left.legend(fontsize=7)
    for axes, width in zip(panels, (widths[0], widths[-1]), strict=True):
        network = select(dataset, cost="least_squares", width=width)
        network = network.isel(network=int(np.flatnonzero(network.seed.values == 0)[0]))
        for k, color in enumerate(COLORS):
            for point in range(min(3, dataset.sizes["point"])):
                label = {"label": f"output {k + 1}"} if point == 0 else {}
                axes.plot(dataset.time, network.f[:, point, k], "o-", color=color, ms=2, lw=0.9, **label)
                axes.plot(dataset.time, network.scalar[:, point, k], ":", color=color, lw=1.6)
        axes.plot([], [], ":", color="black", lw=1.6, label="scalar networks")
        axes.set(xlabel="$t$", title=f"$f_t$ at three points, $n = {width}$")
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(low - 0.4 * (high - low), high)
    panels[0].legend(fontsize=7, loc="lower left")
    return {"multi_output": figure}
