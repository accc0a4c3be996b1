"""The predicted drift of the NTK against exact solutions, automatic differentiation and an adaptive integrator."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from replication.costs import CrossEntropy, LeastSquares
from replication.datasets import circle
from replication.drift import GaussRule, apply, picard_flow, predicted_drift, second_iterate
from replication.network import Network
from replication.randomness import generator
from replication.revealed import revealing
from replication.tangent import Tangent, tangent_kernel
from replication.training import DivergenceError, GradientFlow
from replication.weights import DenseWeight

X = circle(torch.tensor([0.1, 1.2, 2.5, 4.0]))
POINTS = torch.cat([X, circle(torch.tensor([0.7, 3.0]))])
COST = LeastSquares(X[:, :1] * (1 + X[:, 1:]))
T = 8.0


def drawn(width, nonlinearity="erf", *, depth=3, n_outputs=1, seed=0, beta=0.1, n_0=2, weight=DenseWeight.draw):
    widths = [n_0, *[width] * (depth - 1), n_outputs]
    stream = generator("drift", seed, width)
    kind = {"nonlinearity": nonlinearity, "beta": beta, "dtype": torch.float64, "weight": weight}
    return Network.init(widths, generator=stream, **kind)


def after(network, moves, points=POINTS):
    """Θ on the points once the network has moved; it stays there."""
    apply(network, moves)
    return tangent_kernel(network, points)


def relative(error, size):
    return float(error.norm() / size.norm())


# Exact solutions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [16, 256])
def test_two_linear_layers_and_one_input_conserve_a_quantity(width):
    """Θ² − 4f²/n is conserved, so that Θ_∞ is known, and its expansion in 1/n."""
    network = drawn(width, "identity", depth=2, beta=0.0, n_0=1, seed=3)
    x, y = torch.ones(1, 1, dtype=torch.float64), 1.7
    u, m = network(x).item(), tangent_kernel(network, x).item()
    excess = y**2 - u**2
    cost = LeastSquares(y * x)
    first_order = 2 / width * excess / m
    predicted = predicted_drift(network, x, cost, 15.0, x, nodes=24, scale=1e-3)
    assert math.isclose(predicted.total.item(), first_order, rel_tol=1e-6)
    second_order = -2 / width**2 * excess**2 / m**3
    exact = math.sqrt(m**2 + 4 * excess / width) - m
    assert math.isclose(exact - predicted.total.item(), second_order, rel_tol=10 / width)
    flowed = after(network, picard_flow(network, x, cost, 15.0, nodes=24), x).item() - m
    assert math.isclose(flowed, exact, rel_tol=1e-8)


@pytest.mark.parametrize("width", [32, 1000])
def test_two_linear_layers_obey_a_closed_equation(width):
    """u = Wᵀa/√n, G = WᵀW/n and s = |a|²/n obey an equation of their own, and Θ = X(G + s)Xᵀ/n_0."""
    n_0, t = 3, 6.0
    x = torch.randn(6, n_0, generator=generator("inputs"), dtype=torch.float64)
    cost = LeastSquares(x[:, :1] * x[:, 1:2] + 1)
    network = drawn(width, "identity", depth=2, beta=0.0, n_0=n_0)
    w, a = (weight.values.numpy() for weight in network.weights)
    points, target = x.numpy(), cost.target.numpy()[:, 0]

    def rate(_, z):
        u, gram, s = z[:n_0], z[n_0:-1].reshape(n_0, n_0), z[-1]
        g = (points @ u / math.sqrt(n_0) - target) @ points / (len(points) * math.sqrt(n_0))
        return np.concatenate(
            [-(gram @ g + s * g), -(np.outer(g, u) + np.outer(u, g)).ravel() / width, [-2 / width * u @ g]]
        )

    start = np.concatenate([(a @ w)[0] / math.sqrt(width), (w.T @ w / width).ravel(), [(a @ a.T).item() / width]])
    end = solve_ivp(rate, (0, t), start, "DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    exact = points @ (end[n_0:-1].reshape(n_0, n_0) + end[-1] * np.eye(n_0)) @ points.T / n_0
    predicted = predicted_drift(network, x, cost, t, x)
    drift = torch.from_numpy(exact) - predicted.start
    assert relative(drift - predicted.total, drift) < 5 / width
    flowed = after(network, picard_flow(network, x, cost, t), x)
    assert relative(flowed - torch.from_numpy(exact), drift) < 1e-7


# Automatic differentiation and an adaptive integrator -----------------------------------------------------------------


def jets(oracle, network, t):
    """A, B₁ and B₂ by forward derivatives of Θ(θ) and of Jᵀd."""
    truth = oracle(network)
    theta, kernel = truth.theta, truth.kernel(X)
    w = COST.frozen_flow(kernel, network(X), t)
    error = network(X) - COST.target

    def theta_1(s):
        return -truth.jacobian(X).T @ w(s)[:, 0]

    def derivative(function, direction):
        return lambda p: torch.func.jvp(function, (p,), (direction,))[1]

    rule = GaussRule(t, 1.0, 30)
    theta_2 = torch.zeros_like(theta)
    for s, weight in zip(rule.times, rule.weights, strict=True):
        d = (error[:, 0] - kernel @ w(s)[:, 0]).detach()
        change = derivative(lambda p, d=d: d @ truth.jacobian(X, p), theta_1(s))(theta)
        theta_2 = theta_2 - weight / len(X) * change
    at_points = lambda p: truth.kernel(POINTS, theta=p)  # noqa: E731
    first = derivative(at_points, theta_1(t))
    return first(theta), derivative(first, theta_1(t))(theta) / 2, derivative(at_points, theta_2)(theta)


@pytest.mark.filterwarnings("ignore:.*jit.script:DeprecationWarning")  # torch's own, in its forward mode
@pytest.mark.parametrize("nonlinearity", ["erf", "tanh", "softplus", "relu"])
def test_terms_are_those_of_automatic_differentiation(nonlinearity, oracle):
    network = drawn(8, nonlinearity)
    exact = jets(oracle, network, T)
    predicted = predicted_drift(network, X, COST, T, POINTS, nodes=16, scale=1e-4)
    for ours, truth in zip((predicted.linear, predicted.quadratic, predicted.bent), exact, strict=True):
        assert relative(ours - truth, truth) < 1e-5
    assert relative(predicted.total - sum(exact), sum(exact)) < 1e-5


def test_terms_by_differences_at_full_size_err_in_the_next_order():
    errors = []
    for width in (100, 1600):
        network = drawn(width)
        fine, coarse = (predicted_drift(network, X, COST, T, POINTS, scale=scale) for scale in (1e-3, 1.0))
        errors.append(
            [
                relative(getattr(fine, term) - getattr(coarse, term), fine.total)
                for term in ("linear", "quadratic", "bent")
            ]
        )
    assert (np.array(errors[1]) < np.array(errors[0]) / 5).all()


@pytest.mark.parametrize(("nonlinearity", "depth"), [("erf", 3), ("tanh", 4), ("softplus", 3)])
def test_picard_flow_is_the_flow_of_an_adaptive_integrator(nonlinearity, depth, oracle):
    network = drawn(10, nonlinearity, depth=depth)
    truth = oracle(network)
    theta = truth.flow(lambda f: COST.value(f), X, np.array([0.0, T]))[-1]
    before, exact = truth.kernel(POINTS), truth.kernel(POINTS, theta=theta)
    flowed = after(network, picard_flow(network, X, COST, T))
    assert relative(exact - before, before) > 0.01
    assert relative(flowed - exact, exact - before) < 1e-6


def test_picard_flow_with_two_outputs_and_another_factor(oracle):
    network = drawn(12, "tanh", n_outputs=2)
    cost = LeastSquares(torch.cat([X[:, :1], X[:, :1] * X[:, 1:]], dim=1), factor=1.0)
    truth = oracle(network)
    theta = truth.flow(lambda f: cost.value(f), X, np.array([0.0, 4.0]))[-1]
    before, exact = truth.kernel(POINTS), truth.kernel(POINTS, theta=theta)
    predicted = predicted_drift(network, X, cost, 4.0, POINTS)
    assert relative(exact - before - predicted.total, exact - before) < 0.3 * relative(
        exact - before - predicted.linear, exact - before
    )
    flowed = after(network, picard_flow(network, X, cost, 4.0))
    assert relative(flowed - exact, exact - before) < 1e-6


# The order in n -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [DenseWeight.draw, revealing(1e-9)], ids=["dense", "revealed"])
def test_what_is_left_is_of_the_next_order_and_each_term_is_needed(weight):
    left = []
    for width in (100, 800):
        ratios = []
        for seed in range(6):
            network = drawn(width, seed=seed, weight=weight)
            predicted = predicted_drift(network, X, COST, T, POINTS)
            drift = after(network, picard_flow(network, X, COST, T)) - predicted.start
            partial = (0 * drift, predicted.linear, predicted.total - predicted.linear, predicted.straight)
            ratios.append([relative(drift - part, drift) for part in (predicted.total, *partial)])
        left.append(np.exp(np.log(ratios).mean(axis=0)))
    narrow, wide = left
    assert 4 < narrow[0] / wide[0] < 16  # 8 is the ratio of the widths
    assert wide[0] < 4e-3
    assert (wide[1:] > 0.2).all()


def test_flow_of_a_revealed_network_is_that_of_the_adaptive_solver_on_the_same_object():
    network = drawn(800, "softplus", weight=revealing())
    start = tangent_kernel(network, POINTS)
    moves = picard_flow(network, X, COST, T)
    network.begin()
    picard = after(network, moves)
    network.rollback()
    for _ in GradientFlow(T, 1e-9, order=2).states(network, X, COST):
        pass
    flowed = tangent_kernel(network, POINTS)
    assert relative(flowed - picard, flowed - start) < 1e-3


def test_cross_entropy_is_predicted_too():
    cost = CrossEntropy(torch.tensor([0, 1, 1, 0]), 2)
    left = []
    for width in (100, 1600):
        network = drawn(width, n_outputs=2)
        predicted = predicted_drift(network, X, cost, 4.0, POINTS)
        for _ in GradientFlow(4.0, 1e-4 / width, order=2).states(network, X, cost):
            pass
        drift = tangent_kernel(network, POINTS) - predicted.start
        left.append(relative(drift - predicted.total, drift))
    assert left[1] < left[0] / 5
    assert left[1] < 5e-3


# Mechanics ------------------------------------------------------------------------------------------------------------


def test_a_dense_network_is_bit_for_bit_what_it_was():
    network = drawn(50)
    tensors = [*(weight.values for weight in network.weights), *network.biases]
    before, version = [tensor.clone() for tensor in tensors], network.version
    predicted_drift(network, X, COST, T, POINTS, scale=0.5)
    picard_flow(network, X, COST, T)
    with pytest.raises(DivergenceError, match="1 rounds"):
        picard_flow(network, X, COST, T, iterations=1)
    assert all(torch.equal(tensor, saved) for tensor, saved in zip(tensors, before, strict=True))
    assert network.version == version


def test_a_revealed_network_is_what_it_was_in_what_it_answers():
    network = drawn(300, weight=revealing())
    before = tangent_kernel(network, POINTS)
    predicted_drift(network, X, COST, T, POINTS)
    picard_flow(network, X, COST, T)
    hidden = network.weights[1]
    assert hidden.change_norm == 0.0  # exactly
    torch.testing.assert_close(tangent_kernel(network, POINTS), before, rtol=0, atol=1e-13)


def test_moves_together_are_moves_one_after_the_other(copy):
    network = drawn(20, n_outputs=2)
    twin = copy(network)
    cost = LeastSquares(torch.cat([X, X[:, :1]], dim=1)[:, :2])
    moves = second_iterate(network, Tangent(network, X), X, cost, 3.0, nodes=3)
    for tangent, coefficients in moves:
        twin.update(tangent.forward, tangent.weighted(coefficients), 1.0)
    torch.testing.assert_close(after(network, moves), tangent_kernel(twin, POINTS), rtol=1e-12, atol=1e-13)


def test_an_ensemble_is_predicted_like_its_networks(members):
    streams = [generator("ensemble", seed) for seed in range(3)]
    ensemble = Network.init([2, 30, 30, 1], generator=streams, nonlinearity="erf", dtype=torch.float64)
    together = predicted_drift(ensemble, X, COST, T, POINTS)
    for i, network in enumerate(members(ensemble)):
        alone = predicted_drift(network, X, COST, T, POINTS)
        for name in ("start", "total", "linear", "quadratic"):
            torch.testing.assert_close(getattr(together, name)[i], getattr(alone, name), rtol=0, atol=1e-6)


def test_gauss_rule_integrates_decays_up_to_any_node():
    rule = GaussRule(30.0, 0.9, 16)
    for decay in (0.9, 0.1, 0.0):
        values = np.exp(-decay * np.array(rule.times))
        exact = [s if decay == 0 else -np.expm1(-decay * s) / decay for s in [30.0, *rule.times]]
        np.testing.assert_allclose(np.dot(rule.weights, values), exact[0], rtol=1e-9)
        np.testing.assert_allclose(rule.integrals.numpy() @ values, exact[1:], atol=1e-6)


@pytest.mark.parametrize("wrong", [{"t": 0.0}, {"nodes": 0}, {"scale": 0.0}])
def test_bad_arguments_are_refused(wrong):
    arguments = {"t": 1.0, "nodes": 4, "scale": 1.0} | wrong
    with pytest.raises(ValueError, match="must be > 0"):
        predicted_drift(drawn(4), X, COST, arguments.pop("t"), POINTS, **arguments)


@pytest.mark.parametrize("factor", [0.5, 20.0])
def test_a_few_nodes_are_enough_whatever_the_unit_of_time(factor):
    network, cost = drawn(100), LeastSquares(COST.target, factor)
    t = 30.0 / factor
    few, many = (predicted_drift(network, X, cost, t, POINTS, nodes=nodes).total for nodes in (12, 40))
    assert relative(few - many, many) < 5e-8
    few, many = (picard_flow(network, X, cost, t, nodes=nodes) for nodes in (14, 28))
    network.begin()
    coarse = after(network, few)
    network.rollback()
    assert relative(coarse - after(network, many), coarse) < 1e-7
