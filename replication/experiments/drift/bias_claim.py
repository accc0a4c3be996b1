"""The claim on the mean NTK at initialization: its statistics, its negative controls and its criterion."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from ...study.claims import Claim, Control
from ...study.experiment import select
from ...study.statistics import Statistic, interval, undecided

SLOPE, ZERO = (0.92, 1.08), (-0.015, 0.015)
"""Allowed slope of the measured bias on the derived one; allowed n × mean bias on ReLU's diagonal."""


def biases(dataset: xr.Dataset, sigma: str) -> list[np.ndarray]:
    """n (E[Θ_n] − Θ_∞) at the two widths, for each block of networks: (blocks, entries) each."""
    groups = [select(dataset, "block", block_nonlinearity=sigma, block_width=width) for width in dataset.attrs["bias"]]
    return [blocks.bias.values for blocks in groups]


def extrapolated(groups: Sequence[np.ndarray], widths: Sequence[int]) -> np.ndarray:
    """The mean of n (E[Θ_n] − Θ_∞) at two widths, extrapolated linearly in 1/n to n = ∞: (entries,)."""
    narrow, wide = (group.mean(axis=0) for group in groups)
    n, m = widths
    limit: np.ndarray = (m * wide - n * narrow) / (m - n)
    return limit


def constants(dataset: xr.Dataset, sigma: str) -> np.ndarray:
    """The derived c: (entries,)."""
    values: np.ndarray = select(dataset, "derived", derived_nonlinearity=sigma).constant.sel(part="c").values[0]
    return values


def _check_bias(dataset: xr.Dataset) -> list[Statistic]:
    statistics, widths = [], dataset.attrs["bias"]
    for sigma in dataset.attrs["bias_nonlinearities"] if widths else ():
        groups, c = biases(dataset, sigma), constants(dataset, sigma)

        def slope(sample: Sequence[np.ndarray], c: np.ndarray = c) -> float:
            return float(extrapolated(sample, widths) @ c / (c @ c))

        statistics.append(Statistic(f"measured on derived bias ({sigma})", *interval(groups, slope), SLOPE))
        if sigma == "relu":
            diagonal = select(dataset, "derived", derived_nonlinearity=sigma).on_diagonal.values[0].astype(bool)
            at = [group[:, diagonal] for group in groups]
            zero = interval(at, lambda sample: float(extrapolated(sample, widths).mean()))
            statistics.append(Statistic("n × mean bias of the diagonal (relu)", *zero, ZERO))
    return statistics or [undecided("measured on derived bias", SLOPE)]


def _independent(dataset: xr.Dataset) -> xr.Dataset:
    if not dataset.attrs["bias"]:
        return dataset
    values = dataset.constant.copy(deep=True)
    values.loc[{"part": "c"}] = dataset.constant.sel(part="independent")
    return dataset.assign(constant=values)


def _first_as_relu(dataset: xr.Dataset) -> xr.Dataset:
    """The blocks of the first nonlinearity in place of those of ReLU."""
    if not dataset.attrs["bias"]:
        return dataset
    values = dataset.bias.copy(deep=True)
    for width in dataset.attrs["bias"]:
        at = dataset.block_width.values == width
        first, relu = (
            np.nonzero(at & (dataset.block_nonlinearity.values == sigma))[0]
            for sigma in (dataset.attrs["bias_nonlinearities"][0], "relu")
        )
        values[relu] = dataset.bias.values[np.resize(first, len(relu))]
    return dataset.assign(bias=values)


INITIAL_BIAS = Claim(
    id="initial.bias",
    place="Theorem 1",
    statement="At initialization the mean NTK of networks of width n differs from the limit by c/n, where c is "
    "derived for any σ (L = 3). For ReLU, c is 0 on the diagonal.",
    paper="the NTK converges in probability (no rate)",
    measure="n (E[Θ_n] − Θ_∞), extrapolated from two widths to n = ∞ and regressed on c over pairs of inputs: the "
    "slope for each σ, and the mean over the diagonal for ReLU",
    figure="initial_bias",
    check=_check_bias,
    controls=(
        Control("a backward pass with weights of its own", _independent),
        Control("another σ in the place of ReLU", _first_as_relu),
    ),
    note="beyond the paper",
)
