"""The paper's three eigenvalues beside those of every hypothesis, and checks of the comparison."""

import math

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from scipy import stats

from ..experiments.depth_inference.claims import ODDS
from ..experiments.depth_inference.statistics import (
    Law,
    every_hypothesis,
    networks_of,
    paper_law,
    recovered,
    reference_index,
    reference_samples,
    rms_bias,
    spread,
)
from ..study.statistics import LEVEL
from . import trend
from .palette import BLUE, CYAN, ORANGE, PURPLE, RED, TEAL

COLORS = (BLUE, TEAL, PURPLE, ORANGE, CYAN)
PAPER = RED
SCALINGS = {
    "unit_interval": "[0, 1]",
    "centred": "centred",
    "standardized": "standardized",
    "unit_norm": "unit norm",
    "symmetric": "[−1, 1]",
}
NONLINEARITIES = {"relu": "ReLU", "shifted_relu": "shifted ReLU"}


def figures(dataset: xr.Dataset) -> dict[str, Figure]:
    """depth_inference: the answer; depth_inference_eigenvalues: λ_i against L; depth_inference_checks: the method."""
    return {
        "depth_inference": _answer(dataset),
        "depth_inference_eigenvalues": _eigenvalues(dataset),
        "depth_inference_checks": _checks(dataset),
    }


def _answer(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(10.6, 3.9))
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.25))
    samples = every_hypothesis(dataset)
    law = paper_law(dataset, samples.groups, samples.widths)
    typical = np.exp(law.mean)
    observed = dataset.observed.values
    depth, scaling, sigma = reference_index(dataset)
    frame = np.concatenate([observed[0] * np.array([0.62, 1.5]), observed[1] * np.array([0.35, 5])])
    inside = frame * np.array([1.1, 0.9, 1.1, 0.85])
    for k in range(dataset.sizes["scaling"]):
        for m, line in zip(range(dataset.sizes["nonlinearity"]), ("-", ":"), strict=False):
            curve = typical[:, k, m]
            left.loglog(curve[:, 0], curve[:, 1], line, marker="o", ms=2.5, lw=0.8, color=COLORS[k])
            # The smallest depth, to show which way the curves run.
            left.loglog(*curve[0, :2], "o", ms=6, mfc="none", mew=0.8, color=COLORS[k])
        for i, value in enumerate(dataset.depth.values):
            cloud = dataset.limit.values[:, i, k, sigma]
            middle.loglog(cloud[:, 0], cloud[:, 1], ".", ms=2.5, color=COLORS[k], alpha=0.5)
            x, y = typical[i, k, sigma, :2]
            if inside[0] < x < inside[1] and inside[2] < y < inside[3]:  # each label on the side away from the others
                place, side = ((22 if i == depth else 9, -2), "left") if k == scaling else ((-7, -2), "right")
                middle.annotate(
                    f"$L={value}$", (x, y), place, textcoords="offset points", ha=side, fontsize=7, color=COLORS[k]
                )
    reference = Law(law.mean[depth, scaling, sigma], law.covariance[depth, scaling, sigma], law.networks)
    middle.plot(*np.exp(_ellipse(reference)), color="black", lw=0.9)
    for axes in (left, middle):
        axes.plot(*observed[:2], "*", color=PAPER, ms=9, mec="white", mew=0.5, zorder=5)
        axes.set(xlabel=r"$\lambda_1$", ylabel=r"$\lambda_2$")
    left.set_title("every hypothesis, mean over batches")
    handles = [
        Line2D([], [], color=color, label=SCALINGS[str(name)])
        for color, name in zip(COLORS, dataset.scaling.values, strict=False)
    ]
    handles += [
        Line2D([], [], color="gray", ls=line, label=NONLINEARITIES[str(name)])
        for line, name in zip(("-", ":"), dataset.nonlinearity.values, strict=False)
    ]
    first = f"$L = {dataset.depth.values[0]}$, the other end $L = {dataset.depth.values[-1]}$"
    handles.append(Line2D([], [], ls="", marker="o", color="gray", mfc="none", ms=6, mew=0.8, label=first))
    star = Line2D([], [], ls="", marker="*", color=PAPER, ms=8, label="the paper's network")
    left.set_ylim(bottom=1e-6)
    left.legend(handles=[*handles, star], loc="lower right", fontsize=6.5, ncols=2, handlelength=1.3, columnspacing=0.8)
    middle.set(xlim=frame[:2], ylim=frame[2:])
    middle.set_title(f"{NONLINEARITIES[str(dataset.nonlinearity.values[sigma])]}: a dot is a batch of digits")
    ellipse = Line2D(
        [], [], color="black", lw=0.9, label=f"{LEVEL:.1%} of one network, $L={dataset.depth.values[depth]}$"
    )
    middle.legend(handles=[star, ellipse], loc="upper left", fontsize=7, handlelength=1.3)
    middle.xaxis.set_minor_formatter(FuncFormatter(lambda value, _: f"{value:.2f}"))
    middle.tick_params(axis="x", which="minor", labelsize=7)
    _odds_table(right, dataset, law.log_density(np.log(observed)))
    return figure


def _ellipse(law: Law) -> np.ndarray:
    """The contour of ln λ_1 and ln λ_2 that contains ``LEVEL`` of the law, (2, points)."""
    m = law.networks
    radius = math.sqrt(stats.f.ppf(LEVEL, 2, m - 2) * 2 * (m - 1) / (m - 2))
    angles = np.linspace(0, 2 * math.pi, 200)
    root = np.linalg.cholesky(law.covariance[:2, :2])
    contour: np.ndarray = law.mean[:2, None] + radius * root @ np.stack([np.cos(angles), np.sin(angles)])
    return contour


def _odds_table(axes: Axes, dataset: xr.Dataset, densities: np.ndarray) -> None:
    depths, scalings, sigmas = (dataset[name].values for name in ("depth", "scaling", "nonlinearity"))
    reference = reference_index(dataset)
    # Rows: the scalings with the first nonlinearity, then with the next one.
    table = np.moveaxis(densities - densities[reference], 2, 0).transpose(0, 2, 1).reshape(-1, len(depths)) / math.log(
        10
    )
    axes.imshow(np.clip(table, -15, 0), cmap="Blues", aspect="auto", vmin=-15, vmax=5)
    for (row, column), value in np.ndenumerate(table):
        text = "1" if value == 0 else f"$10^{{{value:.0f}}}$"
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if value > -3 else "black")
    row = reference[2] * len(scalings) + reference[1]
    axes.add_patch(Rectangle((reference[0] - 0.5, row - 0.5), 1, 1, fill=False, color=PAPER, lw=1.8))
    labels = [f"{SCALINGS[str(k)]}, {NONLINEARITIES[str(m)]}" for m in sigmas for k in scalings]
    axes.set_yticks(range(len(labels)), labels=labels)
    axes.set_xticks(range(len(depths)), labels=[f"{depth}" for depth in depths])
    axes.set(xlabel="depth $L$", title="odds relative to the framed one")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)


def _eigenvalues(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(8.6, 3.1))
    samples = reference_samples(dataset)
    observed, rounding = dataset.observed.values, dataset.rounding.values
    depths = dataset.depth.values
    for i, axes in enumerate(figure.subplots(1, 3)):
        axes.axhspan(observed[i] - rounding[i], observed[i] + rounding[i], color=PAPER, alpha=0.4, lw=0)
        axes.axhline(observed[i], color=PAPER, lw=1, label=f"paper: {observed[i]:g}")
        for width, color, thickness, label in (
            (dataset.attrs["paper_width"], BLUE, 1.2, "of networks on such batches"),
            (math.inf, "black", 4, "of batches of digits"),
        ):
            law = paper_law(dataset, samples.groups, samples.widths, width)
            reach = stats.t.ppf((1 + LEVEL) / 2, law.networks - 1) * np.sqrt(law.covariance[:, i, i])
            low, high = np.exp(law.mean[:, i] - reach), np.exp(law.mean[:, i] + reach)
            axes.vlines(depths, low, high, color=color, lw=thickness, alpha=0.8, label=label)
        axes.semilogy(depths, np.exp(law.mean[:, i]), "o", color="white", mec="black", ms=4)
        axes.set(xlabel="depth $L$", ylabel=rf"$\lambda_{i + 1}$")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5, 7) if i else tuple(range(1, 10))))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_xticks(depths)
    axes.legend(loc="lower left", title=f"intervals: {LEVEL:.1%}", fontsize=7, title_fontsize=7)
    reference = dataset.attrs["reference"]
    name = f"{NONLINEARITIES[reference['nonlinearity']]}, pixels {SCALINGS[reference['scaling']]}"
    figure.suptitle(f"{name}, $N = {dataset.attrs['n_samples']}$", fontsize=9)
    return figure


def _checks(dataset: xr.Dataset) -> Figure:
    figure = Figure(figsize=(8.6, 3.1))
    left, middle, right = figure.subplots(1, 3)
    odds = recovered(dataset) / math.log(10)
    depths = dataset.depth.values
    for depth, values in zip(depths, odds.T, strict=True):
        left.plot(np.full(len(values), depth), values, "_", color=BLUE, ms=9, alpha=0.6)
    left.plot(depths, odds.mean(axis=0), "o", color="black", ms=4, label="mean")
    left.axhline(math.log10(ODDS), color="gray", lw=0.8, ls="--", label=f"criterion: mean > {math.log10(ODDS):g}")
    left.axhline(0, color="gray", lw=0.8)
    finite = odds[np.isfinite(odds)]  # very narrow networks have eigenvalues that are 0
    left.set(
        xlabel="true depth $L$",
        ylabel=r"$\log_{10}$ odds of the true depth",
        ylim=(finite.min(initial=-1), finite.max(initial=1) * 1.35),
    )
    left.set(title=f"held-out networks, $n = {dataset.attrs['held_out_width']}$")
    left.set_xticks(depths)
    left.legend(loc="upper center", ncols=2)
    networks = networks_of(dataset)
    for axes, measure, theory, name, claimed in (
        (middle, spread, -0.5, r"sd of $\ln\lambda_i^{(n)} - \ln\lambda_i^{(\infty)}$", "sd"),
        (right, rms_bias, -1.0, r"mean of the same (rms over $i$ and $L$)", "bias"),
    ):
        claimed = f"depth_inference.width:exponent of {claimed} of ln λ"
        trend(axes, list(networks), list(networks.values()), measure, theory, claimed)
        axes.set(xlabel="width $n$", ylabel=name)
        axes.set_xticks(list(networks), labels=[str(width) for width in networks])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_minor_formatter(NullFormatter())
        axes.legend()
    middle.set_title("spread of one network's eigenvalues")
    right.set_title("their bias")
    return figure
