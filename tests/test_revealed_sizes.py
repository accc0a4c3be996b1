"""What revealed weights take of memory, and how a config chooses them."""

import weakref

import pytest
import torch
from revealed_fixtures import network, stream, weight

from replication.datasets import angle_grid, circle, gaussian
from replication.revealed import RevealedWeight, nbytes, rank, truncation
from replication.study import machine
from replication.study.machine import require_memory
from replication.study.settings import ConfigError, WideNetworkConfig
from replication.tangent import tangent_kernel
from replication.weights import DenseWeight


def test_what_is_small_is_held_as_a_tensor_and_sizes_are_reported():
    revealed = network(n_0=2, width=100)
    assert [type(w) for w in revealed.weights] == [DenseWeight, RevealedWeight, DenseWeight]
    held = nbytes(revealed.weights)
    revealed(circle(angle_grid(6)[:-1]))
    assert rank(revealed.weights) == 6
    assert nbytes(revealed.weights) - held == 6 * 200 * 8
    assert rank([DenseWeight(torch.ones(2, 2))]) == truncation([DenseWeight(torch.ones(2, 2))]) == 0


def test_memory_is_given_back_at_once():
    w = weight()
    w.apply(gaussian(2, 25, stream()))
    reference = weakref.ref(w)
    del w
    assert reference() is None


def wide(**changes):
    fields = {"depth": 4, "nonlinearity": "relu", "beta": 0.1, "dtype": "float32", "weights": "revealed"}
    return WideNetworkConfig(**fields | {"tolerance": 0.0} | changes)


def test_the_config_chooses_how_weights_are_held():
    revealed = wide().draw_wide(2, 50, inputs=10, directions=10, generator=stream())
    assert {type(w) for w in revealed.weights} == {DenseWeight, RevealedWeight}
    held = wide(weights="dense").draw_wide(2, 50, inputs=10, directions=10, generator=stream())
    assert {type(w) for w in held.weights} == {DenseWeight}
    for key, value in (("weights", "sparse"), ("tolerance", 1.0), ("tolerance", -1.0)):
        with pytest.raises(ConfigError, match=f"network.{key}="):
            wide(**{key: value})


def test_what_does_not_fit_is_refused_before_it_is_allocated_naming_what_does():
    with pytest.raises(MemoryError, match="width 100000000 needs"):
        wide(weights="dense").draw_wide(2, 10**8, inputs=10, directions=10, generator=stream())
    with pytest.raises(MemoryError, match=r"largest width that fits is \d+") as error:
        wide().draw_wide(2, 10**12, inputs=64, directions=64, generator=stream())
    largest = int(str(error.value).split()[-1])
    assert largest > 10**5
    require_memory(largest // 2, lambda n: wide().nbytes(2, n, 1, 64, 64), "cpu")


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    unlimited = machine.free_memory("cpu")
    assert unlimited > 2**20
    for limit, expected in (("max", unlimited), (str(2**30), 2**29), (str(2**28), 0)):
        (tmp_path / "memory.max").write_text(limit, encoding="ascii")
        (tmp_path / "memory.current").write_text(str(2**29), encoding="ascii")
        assert machine.free_memory("cpu") == pytest.approx(expected, rel=0.5)


def test_a_wide_network_costs_what_the_bound_says():
    config, x = wide(), circle(angle_grid(16)[:-1])
    net = config.draw_wide(2, 20_000, inputs=16, directions=16, generator=stream())
    tangent_kernel(net, x)
    assert nbytes(net.weights) < config.nbytes(2, 20_000, 1, 16, 16)
    assert nbytes(net.weights) > 0.2 * config.nbytes(2, 20_000, 1, 16, 16)  # the rest: δ, activations, room to work
