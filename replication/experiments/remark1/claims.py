"""The claims on Remark 1 (paper §2), their criteria and their negative controls."""

import math

import numpy as np
import xarray as xr

from ...study.claims import Claim, Control
from ...study.experiment import select
from ...study.statistics import Statistic, exactly, geometric, mean, rate

ROUNDING, TRAINED_ROUNDING = 1e-12, 1e-9
"""Allowed distance between the two parametrizations before training, and during training."""
DOUBLINGS, DISTANCE = 1.0, 0.25
"""Two networks are alike if their speeds agree within a factor 2, and f within a quarter of its change."""
FIRST_LAYER = 0.1
"""The rate of the first layer matters if |log₂| of the ratio of speeds is at least this."""
SMALL_SHARE = 0.1
"""The biases' share of Θ counts as small up to this value."""


def compared(dataset: xr.Dataset, width: int, n_0: int) -> xr.Dataset:
    """The networks of a width and input dimension that are compared with usual networks with one rate."""
    return select(dataset, "compared", compared_width=width, compared_n_0=n_0)


def initial(dataset: xr.Dataset, width: int, beta: float) -> xr.Dataset:
    """The networks of a width at initialization, with one β."""
    return select(dataset, "initial", initial_width=width).sel(beta=beta)


def share(networks: xr.Dataset) -> np.ndarray:
    """The biases' share of Θ(x, x), averaged over x, for each network."""
    biases, weights = networks.biases.values.sum(axis=-1), networks.weights.values.sum(axis=-1)
    shares: np.ndarray = biases / (biases + weights)
    return shares


def usual_share(networks: xr.Dataset) -> np.ndarray:
    """The biases' share for usual networks with one rate, in which the weights of layer l have n_l times their part."""
    return share(_with_one_rate(networks))


def single_ratio(networks: xr.Dataset) -> np.ndarray:
    """Rms derivative of f in one weight ÷ that in one bias of a hidden or last layer: (networks, layers 1 … L − 1)."""
    n = networks.initial_width.values[:, None]
    ratios: np.ndarray = np.sqrt(networks.weights.values[:, 1:] / n / networks.biases.values[:, 1:])
    return ratios


def usual_single_ratio(networks: xr.Dataset) -> np.ndarray:
    """``single_ratio`` in the usual parametrization."""
    return single_ratio(_with_one_rate(networks))


def _with_one_rate(dataset: xr.Dataset) -> xr.Dataset:
    """The parts and λ_max of the kernel in the usual parametrization with one rate for all parameters."""
    n_in = np.repeat(dataset.initial_width.values[:, None], dataset.sizes["layer"], axis=1)
    n_in[:, 0] = 2
    scale = xr.DataArray(n_in, dims=("initial", "layer"))
    weights = (dataset.weights * scale).transpose(*dataset.weights.dims)
    return dataset.assign(
        weights=weights,
        biases=dataset.biases / dataset.beta**2,
        largest=dataset.largest_usual,
        largest_usual=dataset.largest,
    )


def _largest(name: str, values: xr.DataArray, allowed: float) -> Statistic:
    """The largest value over all networks; it is 0 up to rounding if the identity holds."""
    return exactly(name, float(values.max(skipna=False)), (0.0, allowed), worst_of=values.size)


def _check_functions(dataset: xr.Dataset) -> list[Statistic]:
    return [_largest("distance of f at t = 0 ÷ rms of f", dataset.start, ROUNDING)]


def _check_map(dataset: xr.Dataset) -> list[Statistic]:
    return [_largest("largest distance of f over training ÷ rms change of f", dataset.exact, TRAINED_ROUNDING)]


def _check_derivatives(dataset: xr.Dataset) -> list[Statistic]:
    return [_largest("relative distance of a layer's derivatives", dataset.derivative, ROUNDING)]


def _check_classical(dataset: xr.Dataset) -> list[Statistic]:
    width = dataset.attrs["width"]
    networks = compared(dataset, width, 2)
    statistics = []
    for run, biases in (("zero", "b = 0"), ("scaled", "b from N(0, β²)")):
        chosen = networks.sel(run=run)
        name = f"log₂ of the ratio of initial speeds (n={width}, {biases})"
        statistics.append(mean(name, chosen.doublings.values, (-DOUBLINGS, DOUBLINGS)))
        name = f"log₂ of the ratio of speeds over training ({biases})"
        statistics.append(mean(name, chosen.pace.values, (-DOUBLINGS, DOUBLINGS)))
        statistics.append(mean(f"distance of f ÷ change ({biases})", chosen.distance.values, (0.0, DISTANCE)))
    return statistics


def _check_biases(dataset: xr.Dataset) -> list[Statistic]:
    values = compared(dataset, dataset.attrs["width"], 2).sel(run="unit").doublings.values
    return [mean("log₂ of the ratio of initial speeds (b from N(0, 1))", values, (DOUBLINGS, math.inf))]


def _check_inputs(dataset: xr.Dataset) -> list[Statistic]:
    """One statistic for each n_0 ≠ n. For n_0 = n both networks are the same."""
    width = dataset.attrs["width"]
    statistics = []
    for n_0 in dataset.attrs["inputs"]:
        if n_0 != width:
            values = compared(dataset, width, n_0).sel(run="scaled").doublings.values
            allowed = (-math.inf, -FIRST_LAYER) if n_0 < width else (FIRST_LAYER, math.inf)
            statistics.append(mean(f"log₂ of the ratio of initial speeds (n_0={n_0})", values, allowed))
    return statistics


def _slow(dataset: xr.Dataset) -> xr.Dataset:
    """The runs with a tenth of the rate in place of all runs."""
    slow = dataset[["doublings", "pace", "distance"]].sel(run="slow", drop=True)
    return dataset.assign({name: slow[name].expand_dims(run=dataset.run, axis=1) for name in slow})


def _beta_one(dataset: xr.Dataset) -> xr.Dataset:
    """Initial speeds of usual networks (biases from N(0, β²), or 0) relative to networks with β = 1 and rate 1.0."""
    return dataset.assign(doublings=dataset.beta_one)


def _with_first_layer(dataset: xr.Dataset) -> xr.Dataset:
    """Usual networks with the rate 1/n_0 for the weights of the first layer."""
    return dataset.assign(doublings=dataset["first"].expand_dims(run=dataset.run, axis=1))


def _without_biases(dataset: xr.Dataset) -> xr.Dataset:
    """The runs that start without biases in place of all runs."""
    zero = dataset.doublings.sel(run="zero", drop=True)
    return dataset.assign(doublings=zero.expand_dims(run=dataset.run, axis=1))


def _check_beta(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    statistics = []
    for beta, expected in zip(dataset.attrs["betas"], dataset.share_inf.values, strict=True):
        name = f"share of the biases ÷ {expected:.3g} of the limit (β={beta}, n={widths[-1]})"
        statistics.append(mean(name, share(initial(dataset, widths[-1], beta)) / expected, (0.9, 1.1)))
    return statistics


def _check_balance(dataset: xr.Dataset) -> list[Statistic]:
    widths, beta = dataset.attrs["widths"], dataset.attrs["network"]["beta"]
    groups = [initial(dataset, width, beta) for width in widths]
    ratios = [single_ratio(group) for group in groups]
    return [
        rate("the derivative in one weight ÷ that in one bias", geometric, widths, ratios, (-0.55, -0.45)),
        mean(f"share of the biases in Θ (β={beta}, n={widths[-1]})", share(groups[-1]), (0.0, SMALL_SHARE)),
    ]


def _large_beta(dataset: xr.Dataset) -> xr.Dataset:
    """The networks with β = 1 in place of all networks."""
    parts = dataset[["weights", "biases"]].sel(beta=1.0, drop=True)
    return dataset.assign({name: parts[name].expand_dims(beta=dataset.beta, axis=1) for name in parts})


def _check_limit(dataset: xr.Dataset) -> list[Statistic]:
    widths, beta = dataset.attrs["widths"], dataset.attrs["network"]["beta"]
    groups = [initial(dataset, width, beta) for width in widths]
    return [
        rate("λ_max of Θ", geometric, widths, [group.largest.values for group in groups], (-0.1, 0.1)),
        rate("λ_max without 1/√n_l", geometric, widths, [group.largest_usual.values for group in groups], (0.9, 1.1)),
    ]


CLAIMS = (
    Claim(
        id="remark1.functions",
        place="Remark 1",
        statement="Both parametrizations represent the same functions: W/√n_l and βb are the usual parameters.",
        paper="the same set of functions",
        measure="the rms distance on the data between f of a network and of its usual counterpart before training, "
        "over the rms of f: for equal and unequal widths, every σ and β",
        kind="identity",
        figure="remark1",
        check=_check_functions,
        controls=(Control("the same parameters without the factors", lambda data: data.assign(start=data.unmapped)),),
    ),
    Claim(
        id="remark1.derivatives",
        place="Remark 1",
        statement="The derivatives are the usual ones times 1/√n_l for the weights of layer l and times β for biases.",
        paper="scaled by 1/√n_l and β",
        measure="∂C/∂W and ∂C/∂b of every layer of every network, compared with the usual derivatives, by automatic "
        "differentiation, times these factors",
        kind="identity",
        figure="remark1",
        check=_check_derivatives,
        controls=(
            Control("the usual derivatives without the factors", lambda data: data.assign(derivative=data.unscaled)),
        ),
    ),
    Claim(
        id="remark1.map",
        place="Remark 1",
        statement="Training with rate η is the same as usual training with rates η/n_l for weights and ηβ² for biases.",
        paper="follows from the factors of the derivatives",
        measure="the distance of f from that of the usual network, at every step and every data point, over the rms "
        "change of f in training",
        kind="identity",
        figure="remark1",
        check=_check_map,
        controls=(Control("one rate η/n for all parameters", lambda data: data.assign(exact=data.single)),),
    ),
    Claim(
        id="remark1.classical",
        place="Remark 1",
        statement="β = 0.1 with rate 1.0 is like a usual network of width 100 with rate 0.01, on the unit circle and "
        "with biases that start at 0 or as small as βb.",
        paper="similar (no number)",
        measure="for both kinds of biases, means over networks: log₂ of the usual network's initial speed −∂_tC/2C "
        "over ours; the same for the speed over all of training (steps to the same cost); the rms distance of f over "
        "steps and data, over the rms change of f",
        figure="remark1",
        check=_check_classical,
        controls=(
            Control("usual networks with rate 0.001", _slow),
            Control("β = 1 instead of 0.1, with rate 1.0", _beta_one),
        ),
        note="hidden weights and biases have the same rates in both. The usual first layer has rate 0.01 instead of "
        "1/n_0 = 0.5, which reduces the speed by a fifth at first and by a third over training",
    ),
    Claim(
        id="remark1.biases",
        place="Remark 1",
        statement="It is not like this network if the usual biases start from N(0, 1): that network is faster at "
        "first.",
        paper="b from N(0, 1), or 0; the comparison does not say which",
        measure="log₂ of the initial speed of the usual network with rate 0.01 ÷ ours, mean over networks",
        figure="remark1",
        check=_check_biases,
        controls=(Control("biases that start at 0", _without_biases),),
        note="these biases make the kernel larger and f nearly the same at all inputs, a component that is learned in "
        "a few steps; to reach the same cost at the end the usual network needs about twice as many steps",
    ),
    Claim(
        id="remark1.inputs",
        place="Remark 1",
        statement="The similarity depends on the dimension n_0 of the inputs, because the rates of the first layer "
        "are 1/n_0 and 1/n: the usual network is slower for n_0 < n and faster for n_0 > n.",
        paper="the first layer is not discussed",
        measure="log₂ of the initial speed of the usual network over ours, biases from N(0, β²), mean over networks",
        figure="remark1",
        check=_check_inputs,
        controls=(Control("rate 1/n_0 for the first layer of usual networks too", _with_first_layer),),
        note="for n_0 = n they are the same; for n_0 = 784, the dimension of digits, the usual network is about twice "
        "as fast",
    ),
    Claim(
        id="remark1.beta",
        place="§2; Remark 1",
        statement="β sets the influence of the biases: at every β their share of Θ is that of the limit.",
        paper="β tunes the influence of the biases (no number)",
        measure="the mean share of the biases in Θ(x, x) at the largest width, over that of the limit, β² Σ_l Π_{k>l} "
        "Σ̇⁽ᵏ⁾ ÷ Θ_∞",
        figure="remark1",
        check=_check_beta,
        controls=(Control("the usual parametrization with one rate", _with_one_rate),),
    ),
    Claim(
        id="remark1.balance",
        place="Remark 1",
        statement="The factor 1/√n_l makes each weight of a wide layer less important than a bias; a small β balances "
        "this.",
        paper="the factors reduce the influence of the weights when n_l is large",
        measure="the exponent in n of the rms derivative in one weight over that in one bias, after a hidden layer; "
        "the mean share of the biases in Θ(x, x) at the paper's β",
        figure="remark1",
        check=_check_balance,
        controls=(
            Control("the usual parametrization", _with_one_rate),
            Control("β = 1", _large_beta),
        ),
    ),
    Claim(
        id="remark1.limit",
        place="Remark 1",
        statement="Without the factors 1/√n_l there is no limit with one rate for all widths: the kernel grows with n.",
        paper="the factors are key to a consistent limit (no rate)",
        measure="the exponent in n of λ_max of the kernel on the data, which bounds stable rates by 2/λ_max: with the "
        "factors, and in the usual parametrization with one rate",
        figure="remark1",
        check=_check_limit,
        controls=(Control("the two parametrizations exchanged", _with_one_rate),),
    ),
)
