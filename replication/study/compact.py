"""Published data in fewer bytes: numbers rounded as far as no claim can tell, to the digits of claims.json."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from .claims import Claim, decide
from .record import update

BITS = (14, 16, 18, 20)
"""Significant bits that are tried, of the 24 of float32 and the 53 of float64; the rest are noise to compression."""
_MANY = 10_000


def compact(dataset: xr.Dataset, claims: Sequence[Claim]) -> xr.Dataset:
    """The dataset with its large columns rounded to the fewest of ``BITS`` that leave what claims.json says as it is.

    The attribute ``significant_bits`` has their number: each value is within a factor 1 ± 2^−bits of the computed one.
    The dataset itself if it has no large columns, is rounded already, or if no number of bits will do.
    """
    if "significant_bits" in dataset.attrs or not _large(dataset):
        return dataset
    before = _said(dataset, claims)
    for bits in BITS:
        candidate = rounded(dataset, bits)
        if _said(candidate, claims) == before:
            return candidate.assign_attrs(significant_bits=bits)
    return dataset


def rounded(dataset: xr.Dataset, bits: int) -> xr.Dataset:
    """The dataset with so many significant bits in each of its columns of many different numbers."""
    return dataset.assign(
        {name: dataset[name].copy(data=_round(dataset[name].values, bits)) for name in _large(dataset)}
    )


def _large(dataset: xr.Dataset) -> list[str]:
    """Names of the variables of many different real numbers."""
    floats = [str(name) for name, values in dataset.data_vars.items() if values.dtype.kind == "f"]
    return [name for name in floats if dataset[name].size > _MANY and np.unique(dataset[name].values).size > _MANY]


def _round(values: np.ndarray, bits: int) -> np.ndarray:
    mantissa, exponent = np.frexp(values)
    result: np.ndarray = np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits).astype(values.dtype)
    return result


def _said(dataset: xr.Dataset, claims: Sequence[Claim]) -> object:
    """What claims.json says of a dataset's claims."""
    attrs = {"experiment": "", "version": 0, "engine": 0, "draw": dataset.attrs.get("draw", 0), "provenance": []}
    return update({}, "", {}, attrs, decide(claims, dataset))
