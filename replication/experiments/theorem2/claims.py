"""The claims of Theorem 2 and of Remark 4 (paper §4.2), their criteria and their negative controls."""

import math
from collections.abc import Callable

import numpy as np
import xarray as xr

from ...study.claims import Claim, Control
from ...study.experiment import select
from ...study.statistics import Statistic, geometric, mean, rate

SHARE = 0.05
"""Largest deviation of a layer's share of the learning from that in the limit."""


def runs(dataset: xr.Dataset) -> list[tuple[str, str]]:
    """(direction, nonlinearity): least squares for each nonlinearity, then the other directions for the first."""
    first, *_ = sigmas = dataset.attrs["nonlinearities"]
    others = [direction for direction in dataset.attrs["directions"] if direction != "least_squares"]
    return [*(("least_squares", sigma) for sigma in sigmas), *((direction, first) for direction in others)]


def largest_change(networks: xr.Dataset) -> np.ndarray:
    """sup_t ‖Θ(t) − Θ(0)‖/‖Θ(0)‖ of each network, (seeds,)."""
    changes: np.ndarray = networks.change.values.max(axis=1)
    return changes


def switches(networks: xr.Dataset) -> np.ndarray:
    """Part of all neurons that a training point switches on, and off, mean over the layers: (seeds, 2)."""
    return np.stack([networks[name].values.mean(axis=1) for name in ("switched_on", "switched_off")], axis=1)


def imbalance(counts: np.ndarray) -> np.ndarray:
    """(off − on)/(off + on) of ``switches``, (seeds,)."""
    on, off = counts.T
    part: np.ndarray = (off - on) / np.maximum(off + on, 1e-300)
    return part


def by_width(dataset: xr.Dataset, direction: str, sigma: str) -> list[xr.Dataset]:
    """The networks of each width with this nonlinearity that were trained in this direction."""
    return [select(dataset, direction=direction, nonlinearity=sigma, width=width) for width in dataset.attrs["widths"]]


def _rates(dataset: xr.Dataset, wanted: Callable[[str, str], bool], allowed: tuple[float, float]) -> list[Statistic]:
    statistics = []
    for direction, sigma in runs(dataset):
        if wanted(direction, sigma):
            name = f"change of Θ ({sigma}, {direction.replace('_', ' ')})"
            changes = [largest_change(networks) for networks in by_width(dataset, direction, sigma)]
            statistics.append(rate(name, geometric, dataset.attrs["widths"], changes, allowed))
    return statistics


def relu_switches(dataset: xr.Dataset) -> list[np.ndarray]:
    """``switches`` of the ReLU networks of each width, trained by least squares; none without such networks."""
    if "relu" not in dataset.attrs["nonlinearities"]:
        return []
    return [switches(networks) for networks in by_width(dataset, "least_squares", "relu")]


def _check_switches(dataset: xr.Dataset) -> list[Statistic]:
    widths, groups = dataset.attrs["widths"], relu_switches(dataset)
    if not groups:
        return []
    return [
        rate("part of neurons that switch", total, widths, groups, (-0.6, -0.4)),
        mean(f"(off − on) ÷ (off + on) (n={widths[-1]})", imbalance(groups[-1]), (0.05, 1.0)),
    ]


def total(counts: np.ndarray) -> float:
    """The part that switches on or off, mean over networks; not 0, which has no logarithm."""
    return max(float(counts.sum(axis=1).mean()), 1e-300)


def _exchanged(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.rename(switched_on="switched_off", switched_off="switched_on")


def _narrowest(dataset: xr.Dataset) -> xr.Dataset:
    """The networks of the narrowest width in the place of every width's."""
    narrow = select(dataset, width=dataset.attrs["widths"][0])
    size = narrow.sizes["network"]
    return xr.concat(
        [narrow.assign(width=("network", [width] * size)) for width in dataset.attrs["widths"]], dim="network"
    )


def _mean_field(dataset: xr.Dataset) -> xr.Dataset:
    """The mean-field networks in the place of those of every direction and nonlinearity, at their own widths."""
    control = select(dataset, direction="mean_field")
    size = control.sizes["network"]
    parts = [
        control.assign(direction=("network", [direction] * size), nonlinearity=("network", [sigma] * size))
        for direction, sigma in runs(dataset)
    ]
    return xr.concat(parts, dim="network").assign_attrs(dataset.attrs | {"widths": dataset.attrs["mean_field"]})


_CONTROL = Control("mean-field scaling, in which Θ moves at every width", _mean_field)


def _check_weights(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    statistics = []
    if dataset.sizes["matrix"] == 0:  # L = 2
        return []
    for sigma in dataset.attrs["nonlinearities"]:
        groups = [networks.weights.values for networks in by_width(dataset, "least_squares", sigma)]
        statistics.append(rate(f"‖W(t) − W(0)‖_F/√n ({sigma})", geometric, widths, groups, (-0.6, -0.4)))
    return statistics


def layers(dataset: xr.Dataset) -> range:
    """The hidden layers, from 0."""
    return range(dataset.sizes["layer"])


def _check_activations(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    statistics = []
    for sigma in dataset.attrs["nonlinearities"]:
        for l in layers(dataset):
            groups = [networks.moved.values[:, l] for networks in by_width(dataset, "least_squares", sigma)]
            statistics.append(rate(f"movement of α⁽{l + 1}⁾ ({sigma})", geometric, widths, groups, (-0.65, -0.35)))
    return statistics


def _check_learning(dataset: xr.Dataset) -> list[Statistic]:
    """The deviation of every layer's share at the largest width, and that the function is learned at all."""
    width = dataset.attrs["widths"][-1]
    statistics = []
    for sigma in dataset.attrs["nonlinearities"]:
        networks = by_width(dataset, "least_squares", sigma)[-1]
        gap = (networks.share - networks.share_limit).values
        for l in range(dataset.sizes["parameters"]):
            name = f"share of W⁽{l}⁾, b⁽{l}⁾ less the limit's ({sigma}, n={width})"
            statistics.append(mean(name, gap[:, l], (-SHARE, SHARE)))
        statistics.append(mean(f"rms change of f ({sigma}, n={width})", networks.learned.values, (0.1, math.inf)))
    return statistics


def _last_layer(dataset: xr.Dataset) -> xr.Dataset:
    """As if the last layer alone were trained."""
    share = np.zeros_like(dataset.share.values)
    share[:, -1] = 1
    return dataset.assign(share=(dataset.share.dims, share))


CLAIMS = (
    Claim(
        id="theorem2.constant",
        place="Theorem 2",
        statement="Trained by least squares, the NTK of networks with a smooth σ changes the less the wider they are.",
        paper="uniformly on [0, T], for σ with a bounded second derivative; n^{−1/2} in the proof",
        measure="the exponent in n of the largest relative change of Θ over time (geometric mean over networks) lies "
        "in [−1.25, −0.75] for each σ: faster than the proof's n^{−1/2}, as later theory has it (n^{−1})",
        figure="theorem2",
        check=lambda data: _rates(data, lambda d, sigma: d == "least_squares" and sigma != "relu", (-1.25, -0.75)),
        controls=(_CONTROL,),
    ),
    Claim(
        id="theorem2.relu",
        place="Theorem 2; §6.1",
        statement="The NTK of ReLU networks, which the theorem leaves out, changes less and less too, but more slowly.",
        paper="almost fixed at n = 10000 (§6.1); the theorem wants a bounded second derivative",
        measure="the exponent lies in [−0.95, −0.4]",
        figure="theorem2",
        check=lambda data: _rates(data, lambda d, sigma: sigma == "relu", (-0.95, -0.4)),
        controls=(_CONTROL,),
        note="the wider, the more nearly like n^{−1/2}: see theorem2.switches",
    ),
    Claim(
        id="theorem2.switches",
        place="Theorem 2; footnote 1",
        statement="Why ReLU is slower: at an input, of order √n neurons of a layer switch on or off, and more of them "
        "off, so that their ± 1/n each in Θ add up to n^{−1/2} instead of cancelling.",
        paper="not discussed",
        measure="the exponent in n of the part of the neurons that training switches at a training point lies in "
        "[−0.6, −0.4], and at the largest width (off − on) ÷ (off + on) is above 0.05",
        figure="theorem2_switches",
        check=_check_switches,
        controls=(
            Control("on and off exchanged", _exchanged),
            Control("the narrowest networks in the place of all", _narrowest),
        ),
        note="our own addition: an active neuron is moved by the residual of the point itself too, an inactive one by "
        "those of other points alone, so that more neurons cross 0 downwards; seen first on other networks than those "
        "that decide",
    ),
    Claim(
        id="theorem2.directions",
        place="Theorem 2; §4.2",
        statement="So it does for other training directions: cross-entropy, and one that another network supplies.",
        paper="any direction of stochastically bounded integral",
        measure="as theorem2.constant, for cross-entropy and for a generator that follows ∇D of a discriminator D "
        "trained alongside",
        figure="theorem2",
        check=lambda data: _rates(data, lambda d, sigma: d != "least_squares", (-1.25, -0.75)),
        controls=(_CONTROL,),
    ),
    Claim(
        id="theorem2.weights",
        place="Lemma 1",
        statement="The change of each hidden weight matrix over √n vanishes as the width grows.",
        paper="in operator norm (no rate)",
        measure="the exponent in n of ‖W⁽ˡ⁾(t) − W⁽ˡ⁾(0)‖_F/√n, which bounds the operator norm, lies in [−0.6, −0.4] "
        "for each σ (geometric mean over networks and matrices)",
        figure="theorem2",
        check=_check_weights,
        controls=(_CONTROL,),
    ),
    Claim(
        id="remark4.activations",
        place="Remark 4",
        statement="The wider a hidden layer, the less each of its activations moves during training.",
        paper="of order n^{−1/2} (Appendix A.2)",
        measure="the exponent in n of the rms change of an activation (geometric mean over networks) lies in "
        "[−0.65, −0.35], for every hidden layer and σ",
        figure="remark4",
        check=_check_activations,
        controls=(Control("mean-field scaling", _mean_field),),
    ),
    Claim(
        id="remark4.learning",
        place="Remark 4",
        statement="Together they move enough: what each layer contributes to ∂_tf tends to its term of the recursion.",
        paper="Σ is the last layer's learning, Θ_∞ Σ̇ that of the lower layers",
        measure=f"at the largest width every layer's mean share of dᵀΘd at t = 0 is within {SHARE} of that in the "
        "limit, and f changes by more than 0.1 (rms) in training",
        figure="remark4",
        check=_check_learning,
        controls=(Control("only the last layer trained: Σ alone", _last_layer),),
    ),
)
