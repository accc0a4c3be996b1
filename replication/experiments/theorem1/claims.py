"""Theorem 1's claims, and the statistics that they and the figures are made of."""

import math
from collections.abc import Sequence

import numpy as np
import xarray as xr

from ...study.claims import Claim, Control
from ...study.experiment import select
from ...study.statistics import Statistic, interval, rate, rms

DEPTH = 0.1
"""Largest relative deviation from what ``second_moment`` predicts."""


def relative(networks: xr.Dataset) -> np.ndarray:
    """(Θ − Θ_∞) ÷ rms of Θ_∞, for each network and entry."""
    deviations: np.ndarray = networks.deviation.values.astype(float) / networks.scale.values[:, None]
    return deviations


def variance(networks: np.ndarray) -> float:
    """Variance over networks, (seeds, …), the mean over the rest."""
    return float(networks.var(axis=0, ddof=1).mean())


def bias(values: np.ndarray) -> float:
    """|E Θ − Θ_∞|, (seeds, entries), the mean over entries weighted by their precision: far from the diagonal."""
    weights = 1 / np.maximum(values.var(axis=0, ddof=1), 1e-12)
    return float(abs((values.mean(axis=0) * weights).sum() / weights.sum()))


def on_diagonal(networks: xr.Dataset) -> np.ndarray:
    """Θ(x, x)/Θ_∞(x, x), (seeds, points)."""
    chosen = networks.isel(entry=np.flatnonzero(networks.diagonal))
    ratios: np.ndarray = 1 + chosen.deviation.values.astype(float) / chosen.limit.values
    return ratios


def log_second_moment(ratios: np.ndarray) -> float:
    """ln E[Θ(x, x)²]/E[Θ(x, x)]², the mean over points, of ratios (seeds, points)."""
    return float(np.log(np.square(ratios).mean(axis=0) / np.square(ratios.mean(axis=0))).mean())


def second_moment(depth: int) -> float:
    """c of ln E[Θ(x, x)²]/E[Θ(x, x)]² = c Σ_l 1/n_l to first order, for ReLU, β = 0 and equal widths.

    Θ has L terms of equal mean, the l-th a product of squared norms: of α below layer l, of δ above. A hidden layer
    adds E[σ⁴]/E[σ²]² − 1 = 5 over n to the covariance of two terms if it is on the same side of both, and
    E[σ²σ̇²]/(E[σ²]E[σ̇²]) − 1 = 1 over n if it is between them, as |l − l'| of the L − 1 are, (L² − 1)/(3L) on
    average: c = 5 − (4/3)(1 + 1/L), from 3 for L = 2 to 11/3.
    """
    return 5 - 4 / 3 * (1 + 1 / depth)


def arrangements(dataset: xr.Dataset) -> tuple[list[float], list[np.ndarray]]:
    """Σ_l 1/n_l and ``relative`` of the networks of each arrangement of unequal widths."""
    networks = select(dataset, variant="unequal")
    groups = [select(networks, hidden=name) for name in sorted(set(networks.hidden.values))]
    return [float(group.inverse_widths[0]) for group in groups], [relative(group) for group in groups]


def _check_convergence(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    groups = [relative(select(dataset, variant="main", width=width)) for width in widths]
    exponents = [
        rate("‖Θ − Θ_∞‖", rms, widths, groups, (-0.55, -0.45)),
        rate("sd of Θ", lambda group: math.sqrt(variance(group)), widths, groups, (-0.55, -0.45)),
    ]
    last = interval([groups[-1]], lambda sample: rms(sample[0]))
    return [*exponents, Statistic(f"rms of ‖Θ − Θ_∞‖ ÷ ‖Θ_∞‖ (n={widths[-1]})", *last, (0.0, 0.03))]


def _check_nonlinearities(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["others"]
    return [
        rate(
            f"‖Θ − Θ_∞‖ ({name})",
            rms,
            widths,
            [relative(select(dataset, variant=name, width=n)) for n in widths],
            (-0.6, -0.4),
        )
        for name in dataset.attrs["nonlinearities"]
    ]


def _check_outputs(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["others"]
    groups = [select(dataset, variant="outputs", width=width) for width in widths]
    return [
        rate("blocks of two outputs", rms, widths, [group.off_diagonal.values for group in groups], (-0.6, -0.4)),
        rate("blocks of one output − Θ_∞", rms, widths, [relative(group) for group in groups], (-0.6, -0.4)),
    ]


def _check_bias(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["narrow"]
    groups = [relative(select(dataset, variant="narrow", width=width)) for width in widths]
    return [rate("bias of Θ", bias, widths, groups, (-1.25, -0.75))]


def _check_depth(dataset: xr.Dataset) -> list[Statistic]:
    statistics = []
    for depth in dataset.attrs["depths"]:
        networks = select(dataset, variant="deep", depth=depth)
        expected = second_moment(depth) * float(networks.inverse_widths[0])
        estimate = interval([on_diagonal(networks)], lambda s, c=expected: log_second_moment(s[0]) / c)  # type: ignore[misc]
        name = f"ln(E[Θ²]/E[Θ]²) ÷ {second_moment(depth):.3g} Σ1/n (L={depth})"
        statistics.append(Statistic(name, *estimate, (1 - DEPTH, 1 + DEPTH)))
    depths = dataset.attrs["depths"]
    groups = [on_diagonal(select(dataset, variant="biased", depth=depth)) for depth in (depths[-1], depths[0])]
    beta = dataset.attrs["network"]["beta"]
    name = f"ln(E[Θ²]/E[Θ]²), β = {beta:g}: L = {depths[-1]} ÷ L = {depths[0]}"
    growth = interval(groups, lambda pair: log_second_moment(pair[0]) / log_second_moment(pair[1]))
    return [*statistics, Statistic(name, *growth, (2.0, math.inf))]


def _check_unequal(dataset: xr.Dataset) -> list[Statistic]:
    sums, groups = arrangements(dataset)

    def power(sample: Sequence[np.ndarray]) -> float:
        return float(np.polyfit(np.log(sums), np.log([variance(group) for group in sample]), 1)[0])

    def scatter(sample: Sequence[np.ndarray]) -> float:
        ratios = np.array([variance(group) / value for group, value in zip(sample, sums, strict=True)])
        return float(np.log(ratios).std())

    return [
        Statistic("exponent of Var Θ in Σ 1/n_l", *interval(groups, power), (0.8, 1.2)),
        Statistic("scatter of ln(Var Θ ÷ Σ 1/n_l)", *interval(groups, scatter), (-math.inf, 0.4)),
    ]


def _standard(dataset: xr.Dataset) -> xr.Dataset:
    """The kernel of the standard parametrization in the place of Θ."""
    spread = dataset.standard.values[:, None] / math.sqrt(dataset.sizes["entry"])
    values = np.broadcast_to(spread, dataset.deviation.shape)
    return dataset.assign(deviation=(dataset.deviation.dims, values))


def _one_width(dataset: xr.Dataset) -> xr.Dataset:
    """The narrowest networks of each variant in the place of all of its widths."""
    variants = ["narrow", "outputs", *dataset.attrs["nonlinearities"]]
    parts = [dataset.isel(network=np.flatnonzero(~dataset.variant.isin(variants)))]
    for variant in variants:
        widths = dataset.attrs["narrow" if variant == "narrow" else "others"]
        narrow = select(dataset, variant=variant, width=widths[0])
        parts += [narrow.assign(width=("network", [n] * narrow.sizes["network"])) for n in widths]
    return xr.concat(parts, dim="network", data_vars="minimal", coords="minimal", compat="override", join="override")


def _one_output(dataset: xr.Dataset) -> xr.Dataset:
    """The blocks of one output in the place of those of two: as if all outputs were the same."""
    return dataset.assign(off_diagonal=("network", dataset.scale.values))


def _depth_free(dataset: xr.Dataset) -> xr.Dataset:
    """The shallowest networks in the place of all depths."""
    parts = []
    for variant in ("deep", "biased"):
        shallow = select(dataset, variant=variant, depth=dataset.attrs["depths"][0])
        for depth in dataset.attrs["depths"]:
            size = shallow.sizes["network"]
            sums = [(depth - 1) / dataset.attrs["deep"]] * size
            parts.append(shallow.assign(depth=("network", [depth] * size), inverse_widths=("network", sums)))
    return xr.concat(parts, dim="network", data_vars="minimal", coords="minimal", compat="override", join="override")


def _widest_layer(dataset: xr.Dataset) -> xr.Dataset:
    """As if the widest layer alone counted."""
    return dataset.assign(inverse_widths=("network", 1 / dataset.width.values))


_NARROW = Control("one width in the place of all", _one_width)

CLAIMS = (
    Claim(
        id="theorem1.convergence",
        place="Theorem 1",
        statement="At initialization the NTK tends to Θ_∞ as the width grows.",
        paper="in probability (no rate)",
        measure="the exponents in n of the rms of ‖Θ − Θ_∞‖ and of the sd of Θ lie in [−0.55, −0.45] over all "
        "widths, and at the largest the former is below 3 % of ‖Θ_∞‖",
        figure="theorem1",
        check=_check_convergence,
        controls=(Control("the standard parametrization, whose kernel grows with n", _standard),),
    ),
    Claim(
        id="theorem1.nonlinearities",
        place="Theorem 1",
        statement="So it does for other Lipschitz nonlinearities.",
        paper="for every Lipschitz σ",
        measure="the exponent lies in [−0.6, −0.4] for each of them",
        figure="theorem1",
        check=_check_nonlinearities,
        controls=(_NARROW,),
    ),
    Claim(
        id="theorem1.outputs",
        place="Theorem 1",
        statement="With several outputs it tends to Θ_∞ ⊗ Id: each output has the same kernel, two have none.",
        paper="Θ_∞ ⊗ Id",
        measure="for n_L = 3 the exponents in n of the blocks of two outputs, and of those of one less Θ_∞, lie in "
        "[−0.6, −0.4]",
        figure="theorem1",
        check=_check_outputs,
        controls=(Control("one output three times", _one_output),),
    ),
    Claim(
        id="theorem1.bias",
        place="Theorem 1",
        statement="The mean of Θ approaches the limit faster than a single Θ does, like 1/n.",
        paper="not discussed",
        measure="the exponent in n of the bias of narrow networks, averaged over entries by their precision, lies in "
        "[−1.25, −0.75]",
        figure="theorem1_structure",
        check=_check_bias,
        controls=(_NARROW,),
        note="our own addition; later theory has O(1/n) off the diagonal",
    ),
    Claim(
        id="theorem1.depth",
        place="Theorem 1",
        statement="The relative spread of Θ(x, x) without biases grows with the depth as e^{c Σ 1/n_l} − 1, with "
        "c = 5 − (4/3)(1 + 1/L): 3 for one hidden layer, and towards 11/3 for many.",
        paper="not discussed",
        measure=f"for ReLU and β = 0, ln(E[Θ²]/E[Θ]²) is within {DEPTH:.0%} of c Σ_l 1/n_l at every depth; with the "
        "paper's β it is at least twice as large for the deepest networks as for the shallowest",
        figure="theorem1_structure",
        check=_check_depth,
        controls=(Control("the shallowest networks in the place of all", _depth_free),),
        note="our own addition, and exact to order 1/n; Hanin and Nica (2019) bound E[Θ²]/E[Θ]² by constants times "
        "e^{5 Σ 1/n_l}, for depths comparable with the width too",
    ),
    Claim(
        id="theorem1.unequal",
        place="Theorem 1",
        statement="With unequal widths, Σ_l 1/n_l is what the spread depends on.",
        paper="the widths go to infinity one after the other",
        measure="over arrangements of hidden widths the exponent of Var Θ in Σ_l 1/n_l lies in [0.8, 1.2], and the "
        "standard deviation of ln(Var Θ ÷ Σ_l 1/n_l) between them is below 0.4",
        figure="theorem1_structure",
        check=_check_unequal,
        controls=(Control("1/n of the widest layer in the place of the sum", _widest_layer),),
        note="our own addition",
    ),
)
