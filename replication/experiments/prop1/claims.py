"""The claims on Proposition 1 (paper §4.1), and the statistics behind these claims and the figure."""

import numpy as np
import xarray as xr

from ...study.claims import Claim, Control
from ...study.experiment import select
from ...study.statistics import Statistic, interval, mean, rate, rms, undecided
from .settings import JOINT

FEWER = 100
"""Number of bootstrap resamples where thousands of networks are compared."""


def relative(dataset: xr.Dataset, variant: str, depth: int, width: int) -> np.ndarray:
    """q(x, x)/Σ(x, x) of each network, (seeds, points)."""
    diagonal = np.flatnonzero(dataset.diagonal)
    q = select(dataset, variant=variant, L=depth, width=width).q.values[:, diagonal]
    ratios: np.ndarray = q / dataset.sigma.sel(depth=depth).values[diagonal]
    return ratios


def distance(dataset: xr.Dataset, depth: int, width: int) -> np.ndarray:
    """‖q − Σ‖/‖Σ‖ over all pairs of points, of each network: (seeds,)."""
    sigma = dataset.sigma.sel(depth=depth).values
    gaps = select(dataset, variant="main", L=depth, width=width).q.values - sigma
    distances: np.ndarray = np.sqrt(np.square(gaps).mean(axis=1) / np.square(sigma).mean())
    return distances


def kurtosis(q: np.ndarray) -> float:
    """Excess kurtosis 3 Var(q)/E[q]² of an output, averaged over points: q is (seeds, points)."""
    return float((3 * q.var(axis=0, ddof=1) / np.square(q.mean(axis=0))).mean())


def correlation(outputs: np.ndarray, power: int) -> float:
    """Correlation over networks of f_1^power and f_2^power, averaged over points: outputs are (seeds, 2, points)."""
    first, second = np.moveaxis(outputs**power, 1, 0)
    first, second = first - first.mean(axis=0), second - second.mean(axis=0)
    return float(((first * second).mean(axis=0) / (first.std(axis=0) * second.std(axis=0))).mean())


def dependence(sample: np.ndarray) -> float:
    """Cov(f_1², f_2²) ÷ Var(q), each averaged over points: sample (seeds, 3, points) has f_1, f_2 and q."""
    first, second, q = np.moveaxis(sample, 1, 0)
    products = (first**2 - (first**2).mean(axis=0)) * (second**2 - (second**2).mean(axis=0))
    return float(products.mean() / q.var(axis=0).mean())


def outputs_and_q(dataset: xr.Dataset, variant: str, depth: int, width: int) -> np.ndarray:
    """f_1, f_2 and q(x, x), (seeds, 3, points)."""
    networks = select(dataset, variant=variant, L=depth, width=width)
    q = networks.q.values[:, np.flatnonzero(dataset.diagonal)]
    return np.concatenate([networks.f.values.astype(float), q[:, None]], axis=1)


def products(dataset: xr.Dataset, depth: int) -> np.ndarray:
    """f_kᵀ Σ⁻¹ f_k' ÷ points of wide networks, (seeds, 3) for kk' = 11, 22, 12; f_k holds the values at all points."""
    networks = select(dataset, variant="main", L=depth)
    wide = networks.isel(network=np.flatnonzero(networks.width.isin(dataset.attrs.get("joint", []))))
    f = wide.f.values.astype(float)
    sigma = np.zeros((f.shape[-1],) * 2)
    sigma[np.triu_indices(len(sigma))] = dataset.sigma.sel(depth=depth).values
    inverse = np.linalg.inv(sigma + np.triu(sigma, 1).T)
    pairs = np.einsum("ski,ij,slj->skl", f, inverse, f) / len(sigma)
    return np.stack([pairs[:, 0, 0], pairs[:, 1, 1], pairs[:, 0, 1]], axis=1)


def fourth_moment(sizes: np.ndarray, points: int) -> float:
    """E[(fᵀΣ⁻¹f)²]/E[fᵀΣ⁻¹f]² ÷ its value for a Gaussian vector, (P + 2)/P with P points; sizes: from ``products``."""
    return float(np.square(sizes).mean() / sizes.mean() ** 2 * points / (points + 2))


def _check_joint(dataset: xr.Dataset) -> list[Statistic]:
    statistics = []
    for depth in dataset.depth.values:
        values, points = products(dataset, depth)[:, :2], int(dataset.diagonal.sum())
        second, fourth = f"E[fᵀΣ⁻¹f] ÷ {points} (L={depth})", f"E[(fᵀΣ⁻¹f)²] over a Gaussian's (L={depth})"
        if not len(values):
            statistics += [undecided(name, (0.9, 1.1)) for name in (second, fourth)]
            continue
        statistics.append(mean(second, values.mean(axis=1), (0.9, 1.1)))
        moment = interval([values], lambda groups, points=points: fourth_moment(groups[0], points))  # type: ignore[misc]
        statistics.append(Statistic(fourth, *moment, (0.9, 1.1)))
    return statistics


def _check_covariance(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    statistics = []
    for depth in dataset.depth.values:
        groups = [distance(dataset, depth, width) for width in widths]
        statistics.append(rate(f"‖q − Σ‖ (L={depth})", rms, widths, groups, (-0.55, -0.45)))
        last = interval([groups[-1]], lambda sample: rms(sample[0]))
        statistics.append(Statistic(f"‖q − Σ‖ ÷ ‖Σ‖ (L={depth}, n={widths[-1]})", *last, (0.0, 0.03)))
    return statistics


def _check_gaussian(dataset: xr.Dataset) -> list[Statistic]:
    widths = dataset.attrs["widths"]
    return [
        rate(f"excess kurtosis (L={depth})", kurtosis, widths,
             [relative(dataset, "main", depth, width) for width in widths], (-1.1, -0.9))
        for depth in dataset.depth.values
    ]  # fmt: skip


def _check_outputs(dataset: xr.Dataset) -> list[Statistic]:
    width = dataset.attrs["outputs"][0]
    statistics = []
    for depth in dataset.depth.values:
        sample = outputs_and_q(dataset, "outputs", depth, width)
        zero = interval([sample[:, :2]], lambda groups: correlation(groups[0], 1), resamples=FEWER)
        statistics.append(Statistic(f"correlation of two outputs (L={depth}, n={width})", *zero, (-0.05, 0.05)))
        ratio = interval([sample], lambda groups: dependence(groups[0]), resamples=FEWER)
        statistics.append(Statistic(f"Cov(f_1², f_2²) ÷ Var(q) (L={depth}, n={width})", *ratio, (0.6, 1.5)))
    return statistics


def _check_independence(dataset: xr.Dataset) -> list[Statistic]:
    statistics = []
    for depth in dataset.depth.values:
        values = products(dataset, depth)
        product, sizes = f"E[f_1ᵀΣ⁻¹f_2] ÷ points (L={depth})", f"correlation of f_1ᵀΣ⁻¹f_1 and f_2ᵀΣ⁻¹f_2 (L={depth})"
        if not len(values):
            statistics += [undecided(product, (-0.1, 0.1)), undecided(sizes, (-0.2, 0.2))]
            continue
        statistics.append(mean(product, values[:, 2], (-0.1, 0.1)))
        together = interval([values], lambda groups: float(np.corrcoef(groups[0][:, 0], groups[0][:, 1])[0, 1]))
        statistics.append(Statistic(sizes, *together, (-0.2, 0.2)))
    return statistics


def _shared(dataset: xr.Dataset) -> xr.Dataset:
    """The networks of the control, at the widths that they have, in place of the main networks."""
    control = select(dataset, variant="shared")
    size = control.sizes["network"]
    return control.assign(variant=("network", ["main"] * size)).assign_attrs(
        dataset.attrs | {"widths": dataset.attrs["shared"], "joint": dataset.attrs["shared"]}
    )


def _scaled(dataset: xr.Dataset) -> xr.Dataset:
    """The outputs × n^{−1/2}, as if the last layer were scaled by 1/n instead of 1/√n."""
    return dataset.assign(q=dataset.q / dataset.width)


def _copied(dataset: xr.Dataset) -> xr.Dataset:
    """The first output in place of both outputs."""
    return dataset.assign(f=dataset.f.isel(output=[0, 0]))


def _mirrored(dataset: xr.Dataset) -> xr.Dataset:
    """In place of the second output, the first output, with its sign changed in every other network."""
    first = dataset.f.isel(output=0)
    signs = np.where(np.arange(first.sizes["network"]) % 2 == 0, 1, -1)
    mirrored = first * xr.DataArray(signs, dims="network")
    return dataset.assign(f=xr.concat([first, mirrored], dim="output").transpose(*dataset.f.dims))


def _apart(dataset: xr.Dataset) -> xr.Dataset:
    """The value at each input comes from another network: the law at each input stays, the joint law does not."""
    networks = dataset.f.values
    values = np.stack([np.roll(networks[..., i], i, axis=0) for i in range(networks.shape[-1])], axis=-1)
    return dataset.assign(f=(dataset.f.dims, values))


_SHARED = Control("one weight that all neurons of the last hidden layer share", _shared)

CLAIMS = (
    Claim(
        id="prop1.covariance",
        place="Proposition 1",
        statement="The covariance of the outputs tends to Σ.",
        paper="in the limit (no rate)",
        measure="for each depth, the exponent in n of the rms of ‖q − Σ‖, where q is the covariance given the last "
        "hidden layer, and its size at the largest width",
        figure="prop1",
        check=_check_covariance,
        controls=(Control("1/n in the place of 1/√n in the last layer: the variance vanishes", _scaled), _SHARED),
    ),
    Claim(
        id="prop1.gaussian",
        place="Proposition 1",
        statement="Each output tends to a Gaussian: its excess kurtosis falls like 1/n.",
        paper="in law (no rate)",
        measure="for each depth, the exponent in n of 3 Var(q)/E[q]²: this is the excess kurtosis of f(x)",
        figure="prop1",
        check=_check_gaussian,
        controls=(_SHARED,),
        note="for f itself see prop1.joint",
    ),
    Claim(
        id="prop1.joint",
        place="Proposition 1",
        statement="The values of an output at several inputs follow the Gaussian process with covariance Σ, by their "
        "second and fourth moments.",
        paper="in law (no rate)",
        measure=f"for networks with n ≥ {JOINT} and for each depth: the mean of fᵀΣ⁻¹f over the number of inputs, and "
        "its second moment over its squared mean, compared with a Gaussian vector (Mardia's kurtosis)",
        figure="prop1",
        check=_check_joint,
        controls=(_SHARED, Control("the value at each input from another network", _apart)),
    ),
    Claim(
        id="prop1.outputs",
        place="Proposition 1; Appendix A.1",
        statement="Two outputs of a narrow network are uncorrelated but dependent, as much as Var(q) predicts.",
        paper="independent given the last hidden layer",
        measure="for narrow networks, the correlation of two outputs, and Cov(f_1², f_2²) ÷ Var(q)",
        figure="prop1",
        check=_check_outputs,
        controls=(Control("one output in the place of both", _copied),),
    ),
    Claim(
        id="prop1.independence",
        place="Proposition 1",
        statement="Two outputs of a wide network are uncorrelated, and so are their sizes.",
        paper="i.i.d. in the limit",
        measure=f"for networks with n ≥ {JOINT} and for each depth: the mean of f_1ᵀΣ⁻¹f_2 over the number of inputs, "
        "and the correlation over networks of f_1ᵀΣ⁻¹f_1 and f_2ᵀΣ⁻¹f_2",
        figure="prop1",
        check=_check_independence,
        controls=(
            Control("one output in the place of both", _copied),
            Control("one output, and by turns itself or its negative: uncorrelated, not independent", _mirrored),
        ),
        history=(
            "at first Var(q)/E[q]² at the largest width, which is the number of prop1.gaussian over 3",
            "undecided in two draws, because a control was too small to be rejected: 800 networks that share a weight, "
            "whose sizes have a correlation of only 0.3",
        ),
    ),
)
