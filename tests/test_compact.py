"""Published data are rounded as far as no claim can tell, and no further."""

import numpy as np
import pytest
import xarray as xr

from replication.study.claims import Claim, Control, decide
from replication.study.compact import BITS, compact, rounded
from replication.study.record import criterion
from replication.study.statistics import Statistic, exactly


def claim(*names: str) -> Claim:
    """Of the sum of squared differences of two columns, and of one of them."""

    def check(dataset: xr.Dataset) -> list[Statistic]:
        values = dataset[names[0]] - (dataset[names[1]] if len(names) > 1 else 0)
        return [exactly("size", float(np.square(values).mean()), (0.0, 10.0))]

    return Claim("a.b", "", "", "", "", "", check, [Control("much larger", lambda dataset: dataset + 100)])


@pytest.fixture
def dataset() -> xr.Dataset:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(30_000).astype(np.float32)
    near = x * (1 + 1e-5 * rng.standard_normal(30_000).astype(np.float32))
    return xr.Dataset({"x": ("i", x), "near": ("i", near), "seed": ("i", np.arange(30_000)), "few": ("i", x > 0)})


def test_rounding_keeps_so_many_bits(dataset: xr.Dataset) -> None:
    dataset["x"][:3] = [np.nan, np.inf, 0.0]
    for bits in BITS:
        fewer = rounded(dataset, bits)
        assert fewer.x.dtype == np.float32
        assert np.array_equal(fewer.x[:3], dataset.x[:3], equal_nan=True)
        error = np.abs(fewer.x[3:].astype(float) / dataset.x[3:].astype(float) - 1)
        assert 2.0 ** -(bits + 3) < error.max() <= 2.0**-bits
        xr.testing.assert_identical(fewer.drop_vars(["x", "near"]), dataset.drop_vars(["x", "near"]))


def test_what_claims_say_does_not_change(dataset: xr.Dataset) -> None:
    """The mean square takes the fewest bits; the difference of two columns that nearly agree takes more."""
    plain = compact(dataset, [claim("x")])
    assert plain.attrs["significant_bits"] == BITS[0]
    difficult = compact(dataset, [claim("x", "near")])
    assert difficult.attrs.get("significant_bits", 24) > BITS[0]
    for names, fewer in ((("x",), plain), (("x", "near"), difficult)):
        (before,), (after,) = decide([claim(*names)], dataset), decide([claim(*names)], fewer)
        assert f"{before.statistics[0].estimate:.4g}" == f"{after.statistics[0].estimate:.4g}"
        assert criterion(before) == criterion(after)


def test_it_is_rounded_once(dataset: xr.Dataset) -> None:
    fewer = compact(dataset, [claim("x")])
    assert compact(fewer, [claim("x")]) is fewer
    small = dataset.isel(i=slice(100))
    assert compact(small, [claim("x")]) is small
