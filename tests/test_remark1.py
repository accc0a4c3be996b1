"""Remark 1: the usual parametrization against the engine, and the parts of the kernel."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scripts_fixtures import cell_of

from replication.costs import LeastSquares
from replication.experiments.remark1 import EXPERIMENT, claims, measure
from replication.experiments.remark1.measure import BesideUsual, Initialized, Limit, WithBetas
from replication.experiments.remark1.settings import SLOW
from replication.limit import limit
from replication.network import Network
from replication.randomness import generator
from replication.study.experiment import Cell
from replication.study.settings import NetworkConfig
from replication.tangent import Tangent, tangent_kernel
from replication.training import DivergenceError, GradientDescent
from replication.usual import descent_kernel, exact_rates, layer_kernels, one_rate


def network_of(hidden=(20, 50, 10), beta=0.3, sigma="relu") -> NetworkConfig:
    return NetworkConfig(depth=len(hidden) + 1, nonlinearity=sigma, beta=beta, dtype="float64")


def beside(kind="mapped", hidden=(20, 50, 10), beta=0.3, sigma="relu", seeds=(0,), **changes) -> Cell:
    fields = {"n_0": 2, "n_samples": 6, "learning_rate": 0.2, "steps": 20, "trained": True} | changes
    setting = BesideUsual(hidden=hidden, network=network_of(hidden, beta, sigma), **fields)
    return cell_of(EXPERIMENT, setting, seeds, kind, hidden="-".join(map(str, hidden)))


def with_betas(hidden=(16, 16, 16), seeds=(0,)) -> Cell:
    betas = (0.1, 1.0)
    setting = WithBetas(hidden=hidden, n_0=2, network=network_of(hidden, 0.1), n_samples=6, betas=betas)
    return cell_of(EXPERIMENT, setting, seeds, "initial", width=hidden[0])


def example(n_0=2) -> tuple[Network, torch.Tensor, torch.Tensor]:
    """A network, inputs and targets."""
    setting = Initialized(hidden=(20, 50, 10), n_0=n_0, network=network_of(), n_samples=6)
    x = setting.inputs(generator("inputs"))
    return setting.draw(generator("network"), "cpu"), x, x[:, :1] * x[:, 1:2]


def share_inf(beta: float) -> float:
    """For depth 4 and ReLU."""
    setting = Limit(network=network_of(), betas=(beta,))
    return float(EXPERIMENT.compute(cell_of(EXPERIMENT, setting, kind="limit")).share_inf[0, 0])


@pytest.mark.parametrize(("sigma", "beta", "n_0"), [("relu", 0.1, 2), ("tanh", 1.0, 3), ("gelu", 0.5, 5)])
def test_both_parametrizations_train_alike(sigma, beta, n_0):
    measured = EXPERIMENT.compute(beside(beta=beta, sigma=sigma, n_0=n_0))
    for name, bound in (("start", 1e-13), ("derivative", 1e-13), ("exact", 1e-12)):
        assert float(measured[name].max()) < bound, name
    for name in ("unmapped", "unscaled", "single"):
        assert float(measured[name].min()) > 1e-2, name


@pytest.mark.parametrize(
    "wrong",
    [
        lambda network, rate: [(rate / n, rate * network.beta) for n in network.widths[:-1]],
        lambda network, rate: [(rate / n, rate * network.beta**2) for n in network.widths[1:]],
        lambda network, rate: [(rate / n**0.5, rate * network.beta**2) for n in network.widths[:-1]],
        lambda network, rate: [(rate, rate)] * network.depth,
    ],
    ids=["beta", "fan-out", "root", "one rate"],
)
def test_a_wrong_map_of_the_rates_is_caught(monkeypatch, wrong):
    monkeypatch.setattr(measure, "exact_rates", wrong)
    measured = EXPERIMENT.compute(beside(learning_rate=0.02))
    assert float(measured.exact.max()) > 1e-4


def test_a_kernel_is_the_sum_of_its_parts():
    """Θ from the exact rates; that of one rate is the NTK by automatic differentiation of the usual network."""
    network, x, _ = example()
    by_layer = layer_kernels(Tangent(network, x))
    theta = descent_kernel(*by_layer, exact_rates(network, 1.0))
    torch.testing.assert_close(theta, tangent_kernel(network, x))
    model = measure.counterpart(network)
    rows = []
    for value in model(x)[:, 0]:
        gradients = torch.autograd.grad(value, list(model.parameters()), retain_graph=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    jacobian = torch.stack(rows)
    torch.testing.assert_close(descent_kernel(*by_layer, one_rate(network, 0.5)), 0.5 * jacobian @ jacobian.T)


def test_the_speed_is_that_of_a_short_step():
    network, x, target = example()
    short = 1e-6
    speed = measure.initial_speed(network, exact_rates(network, short), x, target)
    costs = []
    for state in GradientDescent(short, 1).states(network, x, LeastSquares(target)):
        costs.append(state.cost_at(state.t))
    assert (1 - costs[1] / costs[0]) / 2 == pytest.approx(speed, rel=1e-4)


def test_usual_networks_agree_where_the_input_has_as_many_dimensions_as_layers_have_neurons():
    measured = EXPERIMENT.compute(beside("compared", (16, 16, 16), beta=0.25, n_0=16, learning_rate=0.1))
    assert abs(float(measured.doublings.sel(run="scaled").max())) < 1e-12
    assert float(measured.distance.sel(run="scaled").max()) < 1e-12
    assert float(measured.doublings.sel(run="slow").max()) == pytest.approx(math.log2(SLOW))
    for run in ("zero", "unit", "slow"):
        assert float(measured.distance.sel(run=run).min()) > 1e-3


def test_pace():
    ours, usual = np.array([8.0, 4, 2, 1, 0.5]), np.array([8.0, 6, 4, 3, 2])
    assert measure.log_pace_ratio(ours, usual) == -1 == -measure.log_pace_ratio(usual, ours)
    assert measure.log_pace_ratio(ours, ours) == 0


def test_only_the_first_layer_is_apart_for_other_inputs():
    measured = EXPERIMENT.compute(beside("compared", (16, 16, 16), beta=0.25, learning_rate=0.1, trained=False))
    assert float(measured.doublings.sel(run="scaled").max()) < -0.01
    assert abs(float(measured["first"].max())) < 1e-12
    assert np.isnan(measured.distance).all()


@pytest.mark.parametrize("n_0", [2, 7])
def test_the_bias_share_of_the_limit(n_0):
    """From a sum over the layers, and as what β b alone adds to Θ_∞ of one layer after another, at every input."""
    _, x, _ = example(n_0)
    kernels = limit(x[:1], depth=4, nonlinearity="relu", beta=0.3)
    biases = 0.0
    for layer in range(4):
        biases = biases * (float(kernels.sigma_dot[layer]) if layer else 1.0) + 0.3**2
    assert share_inf(0.3) == pytest.approx(biases / float(kernels.theta_inf))


def test_a_wide_network_has_the_shares_of_the_limit():
    measured = EXPERIMENT.compute(with_betas((2000,) * 3, seeds=(0, 1)))
    for beta in (0.1, 1.0):
        np.testing.assert_allclose(claims.share(measured.sel(beta=beta)), share_inf(beta), rtol=0.1)


def test_the_parts_of_a_kernel_are_those_of_the_network_with_each_beta():
    network, x, _ = example()
    betas = (0.3, 1.0, 0.1)
    measured = measure.kernel_parts(betas, network, x)
    assert network.beta == 0.3
    for beta in betas:
        parts = measured.sel(beta=beta)
        theta = tangent_kernel(measure.variant(network, beta), x)
        assert float((parts.weights + parts.biases).sum()) == pytest.approx(float(theta.diagonal().mean()))
        assert float(parts.largest) == pytest.approx(float(torch.linalg.eigvalsh(theta)[-1]) / len(x))


def test_inputs_have_the_size_of_the_circle_s():
    for n_0 in (2, 7):
        _, x, _ = example(n_0)
        torch.testing.assert_close(x.square().mean(dim=1), torch.full((6,), 0.5, dtype=torch.float64))


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        (beside(), ("single", "unmapped")),
        (beside("compared", (16, 16, 16)), ("doublings", "beta_one", "distance", "cost")),
        (with_betas(), ("weights", "biases", "largest", "largest_usual")),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
@pytest.mark.parametrize("fixed", ["draw", "inputs"])
def test_another_draw_has_other_networks_and_other_inputs(cell, names, fixed, monkeypatch):
    """With the networks fixed, and with the inputs fixed."""
    drawn = getattr(Initialized, fixed)
    monkeypatch.setattr(Initialized, fixed, lambda setting, stream, *rest: drawn(setting, generator("fixed"), *rest))
    first, second = (EXPERIMENT.compute(dataclasses.replace(cell, draw=draw)) for draw in (0, 1))
    for name in names:
        assert not np.isclose(first[name], second[name], rtol=1e-6).all(), name


def test_divergence_names_the_network():
    with pytest.raises(DivergenceError, match=r"mapped-20-50-10-seed4, seed 4: "):
        EXPERIMENT.compute(beside(seeds=(4,), learning_rate=1e4, steps=200))
