"""Least squares (paper §5): decay and early stopping, the Gaussian law of f_t, components, the limit of the ridge."""

import math

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..experiments.least_squares.statistics import decay, members, optimal_time
from ..study.experiment import select
from .palette import BLUE, CYAN, ORANGE, PURPLE, RED, TEAL

COLORS = (BLUE, RED, TEAL, PURPLE, ORANGE, CYAN)


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """least_squares: decay, test error, a stopped fit; _gaussian: the law of f_t; _components: the rest."""
    return {
        "least_squares": _stopping(dataset),
        "least_squares_gaussian": _gaussian(dataset),
        "least_squares_components": _components(dataset),
    }


def _stopping(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(9.2, 3.1))
    left, middle, right = figure.subplots(1, 3)
    width, t = dataset.attrs["widths"][-1], dataset.t.values
    networks = select(dataset, variant="noisy", width=width)
    curves = decay(networks.component.values.astype(float))
    fine = np.linspace(0, t[-1], 500)
    for k, rate in enumerate(dataset.rates.sel(reference="theta").values):
        color = COLORS[k % len(COLORS)]
        positive = curves[:, k] > 0
        left.semilogy(t[positive], curves[positive, k], "o", color=color, ms=3, label=f"frequency {k}")
        left.semilogy(fine, np.exp(-rate * fine), color=color, lw=0.9)
    left.set(xlabel="$t$", title="components of $f_t - f^*$", ylim=(1e-2, 1.3))
    left.set_xlim(-5, min(t[-1], 3 / float(dataset.rates.sel(reference="theta").values[-1])))
    left.legend(fontsize=7, title=f"$n = {width}$; lines: $e^{{-t\\lambda_i}}$", title_fontsize=7)

    predicted = dataset.predicted.sel(reference="theta").values
    for color, n in zip(("0.7", "0.55", "0.4", BLUE)[-len(dataset.attrs["widths"]) :], dataset.attrs["widths"],
                        strict=False):  # fmt: skip
        mean = select(dataset, variant="noisy", width=n).error.values.astype(float).mean(axis=0)
        middle.loglog(t[1:], mean[1:], "o", color=color, ms=3, label=f"networks, $n = {n}$")
    middle.loglog(dataset.s, predicted, color="black", lw=1.1, label="closed form")
    middle.loglog(dataset.s, dataset.predicted_clean, ":", color="black", lw=0.9, label="labels without noise")
    best = optimal_time(dataset.s.values, predicted)
    middle.axvline(best, color="gray", lw=0.7, ls="--")
    middle.annotate(f"best time\n{best:.0f}", (best, middle.get_ylim()[1] * 0.5), fontsize=7, ha="right")
    middle.set(xlabel="$t$", title="test error, labels with noise")
    middle.legend(fontsize=6.5, loc="lower left")

    gamma = dataset.gamma.values
    right.plot(gamma, dataset.example.sel(curve="target"), color="gray", lw=1.2, label="$f^*$")
    right.plot(gamma, dataset.example.sel(curve="infinity"), color=RED, lw=0.9, label=r"$t = \infty$")
    right.plot(gamma, dataset.example.sel(curve="stopped"), color=BLUE, lw=1.2, label=f"stopped at $t = {best:.0f}$")
    right.plot(dataset.datum, dataset.example_labels, "o", color="black", ms=3, label="labels")
    right.set(xlabel=r"$\gamma$", title="one draw of labels, closed form")
    low, high = right.get_ylim()
    right.set_ylim(low, high + 0.35 * (high - low))
    right.legend(fontsize=7, ncols=2, loc="upper left")
    return figure


def _gaussian(dataset: xr.Dataset) -> Figure:
    times = dataset.time.values
    figure = Figure(figsize=(9.2, 2.8))
    n_few, angles = dataset.attrs["n_few"], np.asarray(dataset.attrs["few_angles"])
    panels = np.atleast_1d(figure.subplots(1, len(times), sharey=True))
    for i, (axes, t) in enumerate(zip(panels, times, strict=True)):
        mean, sd = dataset.circle_mean.values[i], dataset.circle_sd.values[i]
        axes.fill_between(dataset.gamma, mean - 2 * sd, mean + 2 * sd, color=BLUE, alpha=0.15, lw=0)
        axes.fill_between(dataset.gamma, mean - sd, mean + sd, color=BLUE, alpha=0.2, lw=0)
        axes.plot(dataset.gamma, mean, color=BLUE, lw=1)
        f = members(dataset).f.values[:, i].astype(float)
        axes.errorbar(angles, f.mean(axis=0), f.std(axis=0, ddof=1), fmt="o", color="black", ms=3, lw=1)
        axes.plot(angles[:n_few], dataset.attrs["few_target"], "x", color=RED, ms=6, zorder=4)
        axes.set(xlabel=r"$\gamma$", title=f"$t = {t:g}$", xlim=(-math.pi, math.pi))
    panels[0].set_ylabel(r"$f_t(x(\gamma))$")
    panels[0].plot([], [], "x", color=RED, label="targets")
    panels[0].errorbar(
        [], [], [], fmt="o", color="black", ms=3, label=f"networks, $n = {dataset.attrs['gaussian_width']}$"
    )
    panels[0].fill_between([], [], color=BLUE, alpha=0.3, label="law: mean, 1 and 2 sd")
    panels[0].legend(fontsize=7, loc="upper left")
    low, high = panels[0].get_ylim()
    panels[0].set_ylim(low, high + 0.3 * (high - low))
    return figure


def _components(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(11.5, 2.9))
    left, middle, right, last = figure.subplots(1, 4)
    rate, signal = dataset.rate.values.astype(float).mean(axis=0), dataset.signal.values.astype(float)
    ranks = np.arange(1, len(rate) + 1)
    left.semilogy(ranks, np.exp(np.log(np.maximum(signal, 1e-30)).mean(axis=0)), "o", color=BLUE, ms=3,
                  label="signal $x_1x_2$ (geometric mean)")  # fmt: skip
    size = len(rate)
    left.semilogy(ranks, dataset.noise.values.mean(axis=0) / size, "x", color=ORANGE, ms=4,
                  label="noise of variance 1")  # fmt: skip
    left.semilogy(ranks, rate, color="gray", lw=0.9, label=r"$\lambda_i$")
    left.set(xlabel="component $i$", title="energy by component")
    left.legend(fontsize=7)
    networks, t = select(dataset, variant="linear"), dataset.t.values
    rest = networks.rest.values.astype(float)
    moving = np.sqrt(np.maximum(np.square(networks.norm.values.astype(float)) - rest**2, 0))
    for values, color, label in (
        (moving, BLUE, "outside the null space"),
        (rest, RED, "in the null space"),
    ):
        for i, curve in enumerate(values / values[:, :1]):
            middle.plot(t, curve, color=color, lw=0.8, alpha=0.7, label=label if i == 0 else None)
    middle.set(xlabel="$t$", xscale="symlog", title=r"$\sigma(x) = x$: parts of $f_t - f^*$", ylim=(-0.05, 1.3))
    middle.legend(fontsize=7)
    _frequencies(right, dataset)
    _ridge(last, dataset)
    return figure


def _frequencies(axes: Axes, dataset: xr.Dataset) -> None:
    for color, family in zip(COLORS, dataset.family.values, strict=False):
        chosen = dataset.sel(family=family).isel(sample=0)
        axes.semilogx(chosen.family_rate, chosen.sign_changes, "o", color=color, ms=3, label=str(family))
    axes.invert_xaxis()
    axes.set(xlabel=r"$\lambda_i / \lambda_1$", ylabel="sign changes of $f^{(i)}$", title="frequency")
    axes.legend(fontsize=7)


def _ridge(axes: Axes, dataset: xr.Dataset) -> None:
    rho = 10.0**dataset.decade.values
    labels = {"limit": "from $f_0 = 0$", "start": r"from an $f_0 \neq 0$", "sigma": r"ridge regression with $\Sigma$"}
    for (case, label), color in zip(labels.items(), ("black", BLUE, ORANGE), strict=True):
        axes.loglog(rho, dataset.ridge.sel(case=case), "o-", color=color, ms=3, lw=0.8, label=label)
    first = dataset.ridge.sel(case="limit").values[0]
    axes.loglog(rho, first * rho / rho[0], "--", color="gray", lw=0.8, label=r"$\propto \rho$")
    axes.set(xlabel=r"$\rho\,/\,N\lambda_{\min}$", title=r"‖ridge$(\rho) - f_\infty$‖ ÷ ‖$f_\infty$‖")
    axes.legend(fontsize=7)
