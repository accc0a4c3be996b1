"""The claims on the depth inference (paper §6.3), their criteria and their negative controls."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr

from ...study.claims import Claim, Control
from ...study.statistics import LEVEL, Statistic, interval, mean, rate, ratio
from .statistics import (
    Samples,
    covariances,
    every_hypothesis,
    finite_width,
    held_out_law,
    log_odds,
    networks_of,
    paper_law,
    recovered,
    reference_index,
    reference_samples,
    rms_bias,
    spread,
)

ODDS = 1000.0
"""The odds above which one of two hypotheses is preferred."""
Z = 2.0
"""An eigenvalue within so many standard deviations is not unusual."""
STOP = 0.25
"""An early stop does not explain λ₃ if it changes ln λ₃ by less than this part of the distance to the paper's value."""


def _odds_statistic(name: str, dataset: xr.Dataset, samples: Samples, axis: int, index: int) -> Statistic:
    observed = np.log(dataset.observed.values)

    def odds(groups: Sequence[np.ndarray]) -> float:
        return log_odds(paper_law(dataset, groups, samples.widths).log_density(observed), axis, index)

    return Statistic(name, *interval(samples.groups, odds), (math.log(ODDS), math.inf))


def _check_depth(dataset: xr.Dataset) -> list[Statistic]:
    depth, _, _ = reference_index(dataset)
    name = f"ln odds of L = {dataset.attrs['reference']['depth']}"
    return [
        _odds_statistic(f"{name}, scaling and σ given", dataset, reference_samples(dataset), 0, depth),
        _odds_statistic(f"{name}, whatever they are", dataset, every_hypothesis(dataset), 0, depth),
    ]


def _check_scaling(dataset: xr.Dataset) -> list[Statistic]:
    _, scaling, _ = reference_index(dataset)
    return [_odds_statistic("ln odds of the scaling", dataset, every_hypothesis(dataset), 1, scaling)]


def _check_nonlinearity(dataset: xr.Dataset) -> list[Statistic]:
    _, _, sigma = reference_index(dataset)
    return [_odds_statistic("ln odds of the nonlinearity", dataset, every_hypothesis(dataset), 2, sigma)]


def _check_compatible(dataset: xr.Dataset) -> list[Statistic]:
    samples = reference_samples(dataset).at_depth(reference_index(dataset)[0])
    observed = np.log(dataset.observed.values)

    def log_ratio(groups: Sequence[np.ndarray]) -> float:
        law = paper_law(dataset, groups, samples.widths)
        return math.log(float(law.distance2(observed)) / law.critical(LEVEL))

    return [ratio(f"d² ÷ its {LEVEL:.1%} quantile", samples.groups, log_ratio, (0.0, 1.0))]


def _check_third(dataset: xr.Dataset) -> list[Statistic]:
    samples = reference_samples(dataset).at_depth(reference_index(dataset)[0])
    observed = math.log(dataset.observed.values[-1])
    width, limits = dataset.attrs["paper_width"], samples.groups[0][:, -1]
    stopped = np.log(dataset.stopped.values[:, -1].astype(float))

    def z(groups: Sequence[np.ndarray]) -> float:
        """Distance of the paper's ln λ_3 from its mean, in standard deviations over digits."""
        law = paper_law(dataset, groups, samples.widths, math.inf)
        return float((observed - law.mean[-1]) / math.sqrt(law.covariance[-1, -1]))

    def explained(groups: Sequence[np.ndarray]) -> float:
        limit, end = groups[0].mean(axis=0)
        return float((end - limit) / (observed - limit))

    def log_share(groups: Sequence[np.ndarray]) -> float:
        network = finite_width(groups[1], samples.widths)[1][-1, -1] / width
        return math.log(network / covariances(groups[0])[-1, -1])

    return [
        Statistic("z of λ₃, digits alone", *interval(samples.groups, z), (-Z, Z)),
        ratio("variance of ln λ₃, network ÷ digits", samples.groups, log_share, (0.0, 1.0)),
        Statistic(
            f"part of the distance that {dataset.attrs['power_steps']} power steps explain",
            *interval([np.stack([limits, stopped], axis=1)], explained),
            (-STOP, STOP),
        ),
    ]


def _check_recovers(dataset: xr.Dataset) -> list[Statistic]:
    odds = recovered(dataset)
    distances = held_out_law(dataset).distance2(np.log(dataset.held_out.values.astype(float))).mean(axis=1)
    return [
        *(
            mean(f"mean ln odds of the true L = {depth}", odds[:, i], (math.log(ODDS), math.inf))
            for i, depth in enumerate(dataset.depth.values)
        ),
        mean("mean d² at the true depth", distances, (1.5, 6.0)),
    ]


def _check_width(dataset: xr.Dataset) -> list[Statistic]:
    networks = networks_of(dataset)
    widths, groups = list(networks), list(networks.values())
    return [
        rate("sd of ln λ", spread, widths, groups, (-0.65, -0.35)),
        rate("bias of ln λ", rms_bias, widths, groups, (-1.35, -0.65)),
    ]


def _typical(**hypothesis: str | int) -> Callable[[xr.Dataset], xr.Dataset]:
    """Replace the paper's eigenvalues by typical ones of another hypothesis."""

    def control(dataset: xr.Dataset) -> xr.Dataset:
        eigenvalues = dataset.limit.sel({**dataset.attrs["reference"], **hypothesis})
        typical = np.exp(np.log(eigenvalues.values.astype(float)).mean(axis=0))
        return dataset.assign(observed=("component", typical))

    return control


def _other_scaling(dataset: xr.Dataset) -> xr.Dataset:
    rivals = [str(name) for name in dataset.scaling.values if name != dataset.attrs["reference"]["scaling"]]
    return _typical(scaling=rivals[0])(dataset)


def _other_nonlinearity(dataset: xr.Dataset) -> xr.Dataset:
    sigma = dataset.attrs["reference"]["nonlinearity"]
    rivals = [str(name) for name in dataset.nonlinearity.values if name != sigma]
    return _typical(nonlinearity=rivals[0])(dataset)


def _other_depth(step: int) -> Callable[[xr.Dataset], xr.Dataset]:
    return lambda dataset: _typical(depth=dataset.attrs["reference"]["depth"] + step)(dataset)


def _narrow_network(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign_attrs(paper_width=100)


def _stopped_at_the_paper(dataset: xr.Dataset) -> xr.Dataset:
    """A power iteration that stops on average at the paper's λ₃. Differences between batches stay the same."""
    stopped = dataset.stopped.values.astype(float)
    stopped[:, -1] *= dataset.observed.values[-1] / np.exp(np.log(stopped[:, -1]).mean())
    return dataset.assign(stopped=(dataset.stopped.dims, stopped))


def _wrong_depths(dataset: xr.Dataset) -> xr.Dataset:
    """Exchange the depths of held-out networks with neighbouring depths."""
    return dataset.assign(held_out=dataset.held_out.copy(data=np.roll(dataset.held_out.values, 1, axis=1)))


def _one_width_as_all(dataset: xr.Dataset) -> xr.Dataset:
    """Use the networks of the narrowest width at every width."""
    size = min(dataset.sizes["reference_seed"], dataset.sizes["sample"])
    narrow = dataset.reference_network.isel(width=[0] * dataset.sizes["width"]).values
    dims = ("sample", "depth", "component")
    return dataset.drop_dims("sample").assign(
        reference_network=(dataset.reference_network.dims, narrow),
        held_out=(dims, narrow[:size, 0]),
        held_out_limit=(dims, dataset.reference_limit.values[:size]),
    )


_FIGURE = "depth_inference"
_PLACE = "§6.3"
_PRECURSOR = "not stated; the first author's precursor scripts have"

CLAIMS = (
    Claim(
        id="depth_inference.depth",
        place=_PLACE,
        statement="The paper's three eigenvalues come from a network of depth L = 5 (four hidden layers).",
        paper=f"{_PRECURSOR} L = 5",
        measure="the logarithm of the odds of L = 5 against the most likely other depth, if all hypotheses are "
        "equally likely beforehand: for ReLU and pixels in [0, 1], and over all scalings and nonlinearities",
        figure=_FIGURE,
        check=_check_depth,
        controls=(
            Control("typical eigenvalues of depth L − 1 in place of the paper's", _other_depth(-1)),
            Control("typical eigenvalues of depth L + 1 in place of the paper's", _other_depth(1)),
        ),
    ),
    Claim(
        id="depth_inference.scaling",
        place=_PLACE,
        statement="The pixels were scaled to [0, 1]; they were not centred, standardized or normalized.",
        paper=f"{_PRECURSOR} pixels in [0, 1]",
        measure="the logarithm of the odds of this scaling against the most likely other one, over all depths and "
        "nonlinearities, if all hypotheses are equally likely beforehand",
        figure=_FIGURE,
        check=_check_scaling,
        controls=(Control("typical eigenvalues of another scaling in place of the paper's", _other_scaling),),
    ),
    Claim(
        id="depth_inference.nonlinearity",
        place=_PLACE,
        statement="The nonlinearity was the ReLU, as the paper says, and not the shifted ReLU of the precursor "
        "scripts.",
        paper="ReLU; the first author's precursor scripts have a shifted leaky ReLU",
        measure="the logarithm of the odds of ReLU, over all depths and scalings, if all hypotheses are equally "
        "likely beforehand",
        figure=_FIGURE,
        check=_check_nonlinearity,
        controls=(Control("typical eigenvalues of the shifted ReLU in place of the paper's", _other_nonlinearity),),
    ),
    Claim(
        id="depth_inference.compatible",
        place=_PLACE,
        statement="The three eigenvalues together agree with L = 5, ReLU, pixels in [0, 1] and β = 0.1.",
        paper="λ₁ = 0.0457, λ₂ = 0.00108, λ₃ = 0.00078",
        measure="the squared distance d² of ln λ from the mean of its predictive law (another batch of digits, one "
        f"network of width 10000, rounding), over the {LEVEL:.1%} quantile of d²",
        figure="depth_inference_eigenvalues",
        check=_check_compatible,
        controls=(
            Control("typical eigenvalues of depth L − 1 in place of the paper's", _other_depth(-1)),
            Control("typical eigenvalues of depth L + 1 in place of the paper's", _other_depth(1)),
        ),
    ),
    Claim(
        id="depth_inference.third_eigenvalue",
        place=_PLACE,
        statement="The paper's third eigenvalue is below its mean at L = 5, but this is not unusual for a batch of "
        "512 digits. The network that estimated the kernel adds less spread than the digits, and an early stop of the "
        "power iteration does not explain the difference.",
        paper="λ₃ = 0.00078",
        measure="the distance of ln λ₃ from its mean, in standard deviations over batches of digits; the variance of "
        "ln λ₃ over networks of width 10000 on one batch, over its variance over batches; the mean change of ln λ₃ by "
        "an early stop, over the paper's distance from the mean",
        figure="depth_inference_eigenvalues",
        check=_check_third,
        controls=(
            Control("the typical λ of depth L + 1 in place of the paper's", _other_depth(1)),
            Control("a network of width 100 in place of one of width 10000", _narrow_network),
            Control("a power iteration that stops at the paper's λ₃ on average", _stopped_at_the_paper),
        ),
        note="these causes suffice to explain λ₃; whether they did cause it is not known",
        history=(
            "also with the network's spread in z, which only makes it smaller; the change by the early stop was "
            "compared with ±2 %, which no control left",
        ),
    ),
    Claim(
        id="depth_inference.recovers",
        place=_PLACE,
        statement="From the eigenvalues of one network of known depth, on a batch that was held out, the procedure "
        "recovers the depth.",
        paper="not discussed",
        measure="for each depth, the mean logarithm of the odds of the true depth against the most likely other one; "
        "the mean of d², which is expected to be 3",
        figure="depth_inference_checks",
        check=_check_recovers,
        controls=(Control("the networks' depths exchanged", _wrong_depths),),
        note="this tests the method, on networks narrower than the paper's",
    ),
    Claim(
        id="depth_inference.width",
        place=_PLACE,
        statement="The difference between the eigenvalues of one network and those of the limit shrinks with the "
        "width as theory predicts, so that it can be scaled to the paper's width.",
        paper="the NTK of one network of width 10000 approximates the limit (no number)",
        measure="the exponents in n of the standard deviation of ln λ over networks, and of its bias",
        figure="depth_inference_checks",
        check=_check_width,
        controls=(Control("one width compared with itself", _one_width_as_all),),
        note="all depths together; below n = 400 the deepest networks do not yet follow these exponents",
    ),
)
