"""Random functions (paper §3.1): the tangent kernel against P, and functions trained with few and many of them."""

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from ..experiments.random_functions import KERNELS
from ..study.experiment import select
from ..study.statistics import rms
from .palette import BLUE, RED

LABELS = {"ntk": r"$\Theta_\infty$, Gaussian functions", "rbf": "radial kernel, Fourier features"}
COLORS = {"ntk": BLUE, "rbf": RED}


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """random_functions: ‖K̃ − K‖ and the trained functions' distance against P, and trained functions on the circle."""
    figure = Figure(figsize=(9.2, 3.1))
    left, middle, right = figure.subplots(1, 3)
    numbers = np.asarray(dataset.attrs["numbers"])
    for name in KERNELS:
        chosen = [select(dataset, "model", kernel=name, number=number).sel(reference="kernel") for number in numbers]
        left.loglog(numbers, [rms(models.deviation.values) for models in chosen], "o", color=COLORS[name], ms=4,
                    label=LABELS[name])  # fmt: skip
        expected = float(dataset.expected.sel(name=name))
        left.loglog(numbers, expected / np.sqrt(numbers), "--", color=COLORS[name], lw=0.8)
        middle.loglog(numbers, [rms(models.off_data.values) for models in chosen], "o", color=COLORS[name], ms=4)
        wrong = [
            rms(select(dataset, "model", kernel=name, number=n).sel(reference="other").off_data.values) for n in numbers
        ]
        middle.loglog(numbers, wrong, "x", color=COLORS[name], ms=4, alpha=0.6)
    first = rms(select(dataset, "model", kernel="ntk", number=numbers[-1]).sel(reference="kernel").off_data.values)
    middle.loglog(numbers, first * np.sqrt(numbers[-1] / numbers), "--", color="gray", lw=0.8, label="$P^{-1/2}$")
    middle.loglog([], [], "o", color="black", ms=4, label="against $K$")
    middle.loglog([], [], "x", color="black", ms=4, alpha=0.6, label="against another kernel")
    left.set(xlabel="$P$", ylabel=r"$\|\tilde K - K\|_F$", title="tangent kernel")
    left.loglog([], [], "--", color="black", lw=0.8, label="expected from fourth moments")
    left.legend(loc="lower left", fontsize=7)
    middle.set(xlabel="$P$", ylabel="distance after training, off the data", title="trained function")
    middle.legend(loc="lower left", fontsize=7)
    shown = [number for number in (10, 100, 10000) if number in numbers] or list(numbers[:3])
    for shade, number in zip(("0.75", "0.5", BLUE), shown, strict=False):
        for i, curve in enumerate(select(dataset, "model", kernel="ntk", number=number).f.values[:5]):
            right.plot(dataset.angle, curve, color=shade, lw=0.8, label=f"$P = {number}$" if i == 0 else None)
    right.plot(dataset.angle, dataset.limit.sel(name="ntk"), color="black", lw=1.2, label="$K$")
    angles = np.asarray(dataset.attrs["data_angles"])
    right.plot(angles, np.sin(2 * angles) / 2, "o", color="black", ms=4, zorder=3)
    right.set(xlabel=r"$\gamma$", ylabel=r"$f(x(\gamma))$", title=r"trained with $\Theta_\infty$'s random functions")
    right.set_ylim(-0.7, 0.95)
    right.legend(loc="upper left", fontsize=7, ncols=2)
    return {"random_functions": figure}
