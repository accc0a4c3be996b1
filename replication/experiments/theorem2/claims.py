"""The claims on Theorem 2 and Remark 4 (paper §4.2), their criteria and their negative controls."""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from ...study.claims import Claim, Control
from ...study.experiment import select
from ...study.statistics import Statistic, exponent, geometric, interval, mean, rate

SHARE = 0.02
"""Largest deviation of a layer's share of the learning from its share in the limit. These shares are 0.1 to 0.5."""
LATER_THEORY = (-1.25, -0.75)
"""Allowed exponents in n of the change of Θ: closer to the −1 of later theory than to the −1/2 of the paper's proof."""
AT_START = (-0.6, -0.4)
"""Allowed exponents in n of ‖Θ(t) − Θ_∞‖, about −1/2: at initialization it falls like n^{−1/2}."""
SLOWER = (0.2, 0.6)
"""Allowed difference between ReLU's exponent and that of a smooth σ. As n → ∞ it grows to 1/2, because only switches
then move Θ. It would be 0 if ReLU were like a smooth σ, and about −0.1 if the smooth σ had the proof's n^{−1/2}."""


def runs(dataset: xr.Dataset) -> list[tuple[str, str]]:
    """(direction, nonlinearity): least squares for each nonlinearity, then the other directions for the first."""
    first, *_ = sigmas = dataset.attrs["nonlinearities"]
    others = [direction for direction in dataset.attrs["directions"] if direction != "least_squares"]
    return [*(("least_squares", sigma) for sigma in sigmas), *((direction, first) for direction in others)]


def largest_change(networks: xr.Dataset) -> np.ndarray:
    """sup_t ‖Θ(t) − Θ(0)‖/‖Θ(0)‖ for each network, (seeds,)."""
    changes: np.ndarray = networks.change.values.max(axis=1)
    return changes


def largest_distance(networks: xr.Dataset, of: str = "distance") -> np.ndarray:
    """sup_t ‖Θ(t) − Θ_∞‖/‖Θ_∞‖ for each network, (seeds,)."""
    distances: np.ndarray = networks[of].values.max(axis=1)
    return distances


def switches(networks: xr.Dataset) -> np.ndarray:
    """The fractions of neurons that switch on, and off, at a training point, averaged over layers: (seeds, 2)."""
    return np.stack([networks[name].values.mean(axis=1) for name in ("switched_on", "switched_off")], axis=1)


def imbalance(counts: np.ndarray) -> np.ndarray:
    """(off − on)/(off + on), from ``switches``: (seeds,)."""
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


def smooth(dataset: xr.Dataset) -> list[str]:
    """The nonlinearities to which Theorem 2 applies."""
    return [sigma for sigma in dataset.attrs["nonlinearities"] if sigma != "relu"]


def _check_limit(dataset: xr.Dataset) -> list[Statistic]:
    widths, statistics = dataset.attrs["widths"], []
    for sigma in smooth(dataset):
        groups = [largest_distance(networks) for networks in by_width(dataset, "least_squares", sigma)]
        statistics.append(rate(f"sup ‖Θ(t) − Θ_∞‖ ({sigma})", geometric, widths, groups, AT_START))
    return statistics


def _check_relu(dataset: xr.Dataset) -> list[Statistic]:
    """The exponent of the change for ReLU, and this exponent minus that for the first smooth σ."""
    widths, others = dataset.attrs["widths"], smooth(dataset)
    if "relu" not in dataset.attrs["nonlinearities"] or not others:
        return []
    pairs = [by_width(dataset, "least_squares", sigma) for sigma in ("relu", others[0])]
    groups = [largest_change(networks) for networks in (*pairs[0], *pairs[1])]
    seeds = [len(group) for group in groups]

    def difference(sample: Sequence[np.ndarray]) -> float:
        values, size = [geometric(group) for group in sample], len(widths)
        relu, other = (exponent(widths, values[part], seeds[part]) for part in (slice(size), slice(size, None)))
        return relu - other

    name = f"exponent of change of Θ, relu's less {others[0]}'s, n={widths[0]}…{widths[-1]}"
    return [
        *_rates(dataset, lambda _, sigma: sigma == "relu", (-0.95, -0.4)),
        Statistic(name, *interval(groups, difference), SLOWER),
    ]


def relu_switches(dataset: xr.Dataset) -> list[np.ndarray]:
    """``switches`` of the ReLU networks of each width, trained by least squares; empty if there are none."""
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
    """The fraction of neurons that switch on or off, averaged over networks; kept above 0 for its logarithm."""
    return max(float(counts.sum(axis=1).mean()), 1e-300)


def _proof(dataset: xr.Dataset) -> xr.Dataset:
    """The change of Θ × √n for a smooth σ: a change like 1/n becomes one like n^{−1/2}."""
    factor = np.sqrt(dataset.width / dataset.attrs["widths"][0]).where(dataset.nonlinearity != "relu", 1.0)
    return dataset.assign(change=dataset.change * factor)


def _deeper(dataset: xr.Dataset) -> xr.Dataset:
    """The Θ_∞ of one layer more in place of the Θ_∞ of the network's depth."""
    return dataset.assign(distance=dataset.elsewhere)


def _exchanged(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.rename(switched_on="switched_off", switched_off="switched_on")


def _narrowest(dataset: xr.Dataset) -> xr.Dataset:
    """The narrowest networks in place of the networks of every width."""
    narrow = select(dataset, width=dataset.attrs["widths"][0])
    size = narrow.sizes["network"]
    return xr.concat(
        [narrow.assign(width=("network", [width] * size)) for width in dataset.attrs["widths"]], dim="network"
    )


def _mean_field(dataset: xr.Dataset) -> xr.Dataset:
    """The mean-field networks, at their own widths, in place of the networks of every direction and nonlinearity."""
    control = select(dataset, direction="mean_field")
    size = control.sizes["network"]
    parts = [
        control.assign(direction=("network", [direction] * size), nonlinearity=("network", [sigma] * size))
        for direction, sigma in runs(dataset)
    ]
    return xr.concat(parts, dim="network").assign_attrs(dataset.attrs | {"widths": dataset.attrs["mean_field"]})


_MEAN_FIELD = Control("mean-field scaling, in which Θ moves at every width", _mean_field)
_PROOF = Control("smooth σ with the rate of the paper's proof, n^{−1/2}", _proof)


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
    """The hidden layers, numbered from 0."""
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
    """The exponent of the change of f by the lower layers, and each layer's share of it at the largest width."""
    widths = dataset.attrs["widths"]
    statistics = []
    for sigma in dataset.attrs["nonlinearities"]:
        groups = by_width(dataset, "least_squares", sigma)
        name = f"change of f by the lower layers ({sigma})"
        statistics.append(rate(name, geometric, widths, [group.lower.values for group in groups], (-0.15, 0.15)))
        gap = (groups[-1].share - groups[-1].share_limit).values
        for l in range(dataset.sizes["parameters"]):
            name = f"share of W⁽{l}⁾, b⁽{l}⁾ less the limit's ({sigma}, n={widths[-1]})"
            statistics.append(mean(name, gap[:, l], (-SHARE, SHARE)))
    return statistics


def _last_layer(dataset: xr.Dataset) -> xr.Dataset:
    """Only the last layer has learned; the features below it have not changed."""
    share = np.zeros_like(dataset.share.values)
    share[:, -1] = 1
    return dataset.assign(share=(dataset.share.dims, share))


def _each_for_itself(dataset: xr.Dataset) -> xr.Dataset:
    """The activations move independently of each other: together they change f by a factor ∝ √n less."""
    return dataset.assign(lower=dataset.lower * np.sqrt(dataset.attrs["widths"][0] / dataset.width))


CLAIMS = (
    Claim(
        id="theorem2.constant",
        place="Theorem 2",
        statement="When networks with a smooth σ are trained by least squares, their NTK changes less as the width "
        "grows.",
        paper="uniformly on [0, T], for σ with a bounded second derivative; n^{−1/2} in the proof",
        measure="for each smooth σ, the exponent in n of the largest relative change of Θ over time (geometric mean "
        "over networks); later theory predicts −1, and the paper's proof guarantees −1/2 or less",
        figure="theorem2",
        check=lambda data: _rates(data, lambda d, sigma: d == "least_squares" and sigma != "relu", LATER_THEORY),
        controls=(_MEAN_FIELD, _PROOF),
        history=("softplus was undecided with 20 networks a width (−0.93 ± 0.46); since then up to 60",),
    ),
    Claim(
        id="theorem2.limit",
        place="Theorem 2",
        statement="So the NTK stays near Θ_∞ during all of training: its largest distance from Θ_∞ vanishes as the "
        "width grows, as fast as at initialization.",
        paper="Θ(t) → Θ_∞ ⊗ Id uniformly on [0, T] (no rate)",
        measure="for each smooth σ, the exponent in n of sup_t ‖Θ(t) − Θ_∞‖ over five times from 0 to T (geometric "
        "mean over networks that are trained by least squares)",
        figure="theorem2",
        check=_check_limit,
        controls=(_MEAN_FIELD, Control("the Θ_∞ of a network with one layer more", _deeper)),
    ),
    Claim(
        id="theorem2.relu",
        place="Theorem 2; §6.1",
        statement="The NTK of ReLU networks, to which the theorem does not apply, also changes less as the width "
        "grows, but its change falls more slowly than for a smooth σ.",
        paper="almost fixed at n = 10000 (§6.1); the theorem requires a bounded second derivative",
        measure="the exponent in n of the largest change of Θ, in training by least squares, and its difference from "
        "the exponent of the first smooth σ",
        figure="theorem2",
        check=_check_relu,
        controls=(_MEAN_FIELD, _PROOF),
        note="at larger widths the change is closer to n^{−1/2}: see theorem2.switches",
    ),
    Claim(
        id="theorem2.switches",
        place="Theorem 2; footnote 1",
        statement="At an input, training switches of order √n neurons of a ReLU layer on or off, and more of them off "
        "than on.",
        paper="not discussed",
        measure="the exponent in n of the share of the neurons that training switches at a training point, and (off − "
        "on) ÷ (off + on) at the largest width",
        figure="theorem2_switches",
        check=_check_switches,
        controls=(
            Control("on and off exchanged", _exchanged),
            Control("the narrowest networks in the place of all", _narrowest),
        ),
        note="our own addition, and a possible reason why ReLU is slower: each switch changes Θ by ± 1/n, and these "
        "changes add up to n^{−1/2} instead of cancelling. The residual of the point itself moves only active "
        "neurons; inactive ones are moved by the residuals of other points. So more neurons cross 0 downwards. This "
        "was first seen on other networks than these",
    ),
    Claim(
        id="theorem2.directions",
        place="Theorem 2; §4.2",
        statement="The same holds for other training directions: cross-entropy, and a direction that another network "
        "supplies.",
        paper="any direction of stochastically bounded integral",
        measure="as theorem2.constant, for cross-entropy and for generators that follow ∇D of a discriminator D, "
        "which is trained at the same time; each generator has a discriminator of its own",
        figure="theorem2",
        check=lambda data: _rates(data, lambda d, sigma: d != "least_squares", LATER_THEORY),
        controls=(_MEAN_FIELD, _PROOF),
        history=("at first with one initialization of the discriminator for all networks, and six networks a width",),
    ),
    Claim(
        id="theorem2.weights",
        place="Lemma 1",
        statement="The change of each hidden weight matrix over √n vanishes as the width grows.",
        paper="in operator norm (no rate)",
        measure="for each σ, the exponent in n of ‖W⁽ˡ⁾(t) − W⁽ˡ⁾(0)‖_F/√n, which bounds the operator norm (geometric "
        "mean over networks and matrices)",
        figure="theorem2",
        check=_check_weights,
        controls=(_MEAN_FIELD,),
    ),
    Claim(
        id="remark4.activations",
        place="Remark 4",
        statement="The wider a hidden layer, the less each of its activations moves during training.",
        paper="of order n^{−1/2} (Appendix A.2)",
        measure="for every hidden layer and σ, the exponent in n of the rms change of an activation (geometric mean "
        "over networks)",
        figure="remark4",
        check=_check_activations,
        controls=(Control("mean-field scaling", _mean_field),),
    ),
    Claim(
        id="remark4.learning",
        place="Remark 4",
        statement="Together the activations move enough for the lower layers to learn: the lower layers change f as "
        "much at every width, and the share of each layer in the change of f is that of the limit.",
        paper="Σ is the learning of the last layer, Θ_∞ Σ̇ that of the lower layers",
        measure="over all of training, the exponent in n of the rms change of f on the training points by the layers "
        "below the last; at the largest width, the mean share of each layer in the change of f, minus the share of "
        "its term of the recursion along the same path of d_t",
        figure="remark4",
        check=_check_learning,
        controls=(
            Control("only the last layer has learned: Σ alone", _last_layer),
            Control("activations that move independently, not together", _each_for_itself),
        ),
        history=("at first the shares of dᵀΘd at t = 0, before anything had learned",),
    ),
)
