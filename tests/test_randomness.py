"""A random stream is a function of what its key says, not of the type that holds it."""

import enum
import fractions
import hashlib
import json

import numpy as np
import pytest
import torch
import xarray as xr

from replication import LinearModel, generator, theta_inf
from replication.datasets import mnist
from replication.random_functions import fourier_functions


class Kind(str, enum.Enum):  # noqa: UP042
    NETWORK = "n"


class Number(enum.IntEnum):
    THREE = 3


INTEGERS = {
    **{
        name: np.dtype(name).type(3)
        for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
    },
    "array": np.array(3),
    "tensor": torch.tensor(3),
    "xarray": xr.DataArray([1, 3], dims="seed")[1],
    "json": json.loads("3"),
    "enumeration": Number.THREE,
}
STRINGS = {
    "numpy": np.str_("n"),
    "array": np.array("n"),
    "object array": np.array(["n"], dtype=object)[0],
    "xarray": xr.DataArray(["m", "n"], dims="kind")[1],
    "enumeration": Kind.NETWORK,
}
REFUSED = {
    "bool": True,
    "numpy bool": np.bool_(True),
    "tensor bool": torch.tensor(True),
    "xarray bool": xr.DataArray(True),
    "float": 3.0,
    "numpy float": np.float64(3),
    "tensor float": torch.tensor(3.0),
    "fraction": fractions.Fraction(3),
    "complex": 3j,
    "none": None,
    "bytes": b"n",
    "numpy bytes": np.bytes_(b"n"),
    "array of one": np.array([3]),
    "tensor of one": torch.tensor([3]),
    "list": [3],
    "tuple": (3,),
}


def state(*key, **keywords):
    return generator(*key, **keywords).initial_seed()


@pytest.mark.parametrize("name", INTEGERS)
def test_an_integer_of_any_type_is_the_same_key(name):
    three = INTEGERS[name]
    assert state("n", three) == state("n", 3)
    assert state("n", draw=three) == state("n", draw=3)


@pytest.mark.parametrize("name", STRINGS)
def test_a_string_of_any_type_is_the_same_key(name):
    assert state(STRINGS[name], 3) == state("n", 3)


@pytest.mark.parametrize("name", REFUSED)
def test_what_only_looks_like_a_key_is_refused(name):
    with pytest.raises(TypeError, match="string or an integer"):
        generator("n", REFUSED[name])
    with pytest.raises(TypeError, match="draw has to be"):
        generator("n", draw=REFUSED[name])


def test_different_keys_are_different_streams():
    keys = [
        (),
        ("n",),
        ("n", 3),
        ("n", "3"),
        ("n", -3),
        (3, "n"),
        ("n3",),
        ("n", 3, 0),
        ("n", 2**70),
        ("draw", "1"),
        ("",),
    ]
    seeds = [state(*key, draw=draw) for key in keys for draw in (0, 1, -1)]
    assert len(set(seeds)) == len(seeds)
    with pytest.raises(ValueError, match="separator"):
        generator("a\x1fstr:b")  # else the stream of ("a", "b")


def test_the_seed_is_the_head_of_sha_256():
    digest = hashlib.sha256(b"str:n\x1fint:3").digest()
    assert state("n", 3) == torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True)).initial_seed()


def test_seeds_read_back_from_a_file_name_the_same_networks(tmp_path):
    xr.Dataset(coords={"seed": [0, 7], "kind": ["narrow", "wide"]}).to_netcdf(tmp_path / "a.nc")
    with xr.open_dataset(tmp_path / "a.nc") as dataset:
        for kind, name in zip(dataset.kind, ["narrow", "wide"], strict=True):
            for seed, number in zip(dataset.seed, [0, 7], strict=True):
                assert state(kind, seed) == state(kind.values[()], seed.values[()]) == state(name, number)


def test_numbers_of_numpy_are_numbers_everywhere():
    x = torch.ones(2, 2, dtype=torch.float64)
    three = np.int64(3)
    limits = [theta_inf(x, depth=depth, nonlinearity="relu", beta=0.1) for depth in (3, three)]
    assert torch.equal(*limits)
    models = [
        LinearModel(fourier_functions(two, 1.0), number, "n", block=number)
        for two, number in ((2, 3), (np.int64(2), three))
    ]
    assert torch.equal(*(model.tangent_kernel(x) for model in models))
    assert torch.equal(mnist(3, 3).indices, mnist(three, three, draw=np.int64(0)).indices)
    for wrong in (True, np.bool_(True), 3.0, "3"):
        with pytest.raises(ValueError, match="integer ≥ 1"):
            theta_inf(x, depth=wrong, nonlinearity="relu", beta=0.1)
        with pytest.raises(ValueError, match="integer ≥ 1"):
            LinearModel(fourier_functions(2, 1.0), wrong, "n")
