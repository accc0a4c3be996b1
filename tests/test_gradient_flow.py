"""Gradient flow against a Runge–Kutta integration: orders of the error, the defect, dense output."""

import math
from dataclasses import dataclass
from itertools import islice, pairwise

import numpy as np
import pytest
import torch
from torch import Tensor
from training_fixtures import EXACT, F64, PROBES, N, T, TooLongFirst, X, both_orders, network, normal, problem, run

from replication.costs import Cost, LeastSquares
from replication.network import Network
from replication.randomness import generator
from replication.tangent import Tangent, tangent_kernel
from replication.training import GradientDescent, GradientFlow, follow
from replication.weights import DeferredWeight, DenseWeight


@dataclass
class Exact:
    """The solution of the parameter ODE: f on the data at ``times``; at the end off the data, and Θ between the two."""

    kind: str
    name: str
    widths: list[int]
    cost: Cost
    times: np.ndarray
    f: Tensor
    f_probes: Tensor
    theta: Tensor

    def network(self) -> Network:
        return network(self.widths, name=self.name)

    def errors(self, net: Network) -> np.ndarray:
        """Largest deviations at the end: f on the data, f off the data, Θ."""
        pairs = (net(X), self.f[-1]), (net(PROBES), self.f_probes), (tangent_kernel(net, PROBES, X), self.theta)
        return np.array([(actual - exact).abs().max().item() for actual, exact in pairs])


@pytest.fixture(scope="module", params=[("½", "tanh"), ("1", "erf"), ("cross-entropy", "erf")], ids=" ".join)
def exact(request, oracle):
    kind, name = request.param
    n_outputs = 3 if kind == "cross-entropy" else 2
    cost, loss = problem(kind, n_outputs)
    widths = [2, 8, 8, n_outputs]
    solver = oracle(network(widths, name=name))
    times = np.linspace(0, T, 81)
    path = solver.flow(loss, X, times)
    f = torch.stack([solver.f(theta, X) for theta in path])
    return Exact(kind, name, widths, cost, times, f, solver.f(path[-1], PROBES), solver.kernel(PROBES, X, path[-1]))


class EqualSteps(GradientFlow):
    """The same scheme with equal steps: the tolerance is never reached and steps do not grow."""

    _growth = 1.0

    def __init__(self, t: float, steps: int, order: int = 1):
        super().__init__(t, math.inf, t / steps, order)


class TestGradientFlow:
    @both_orders
    def test_the_error_of_equal_steps_falls_at_its_order(self, exact, order):
        """Global error ∝ Δt^order on and off the data and in Θ. Measured 0.97 … 1.01 and 1.90 … 2.02."""
        errors = []
        for steps in (32, 64):
            net = exact.network()
            assert run(EqualSteps(T, steps, order), net, exact.cost)[1] == steps
            errors.append(exact.errors(net))
        observed = np.log2(errors[0] / errors[1])
        assert (abs(observed - order) < 0.1 * order).all()

    @both_orders
    def test_the_defect_of_equal_steps_is_of_the_local_errors_order(self, exact, order):
        """O(Δt^(order + 1)); the first step has no state before it and is of order 1 whatever the order."""
        largest, first = [], []
        for steps in (32, 64):
            _, one, *others = (
                state.defect for state in EqualSteps(T, steps, order).states(exact.network(), X, exact.cost)
            )
            first.append(one)
            largest.append(max(others))
        assert np.log2(first[0] / first[1]) == pytest.approx(2, abs=0.2)
        assert np.log2(largest[0] / largest[1]) == pytest.approx(order + 1, abs=0.2)

    @both_orders
    def test_the_error_falls_with_a_root_of_the_tolerance(self, exact, order):
        """At a local error O(Δt^{p+1}), steps ∝ tolerance^{−1/(p+1)} and error ∝ tolerance^{p/(p+1)}, within 0.1."""
        errors, steps, tolerances = [], [], [10.0**-digits for digits in range(2, 4 + 2 * order)]
        for tolerance in tolerances:
            net = exact.network()
            steps.append(run(GradientFlow(T, tolerance, order=order), net, exact.cost)[1])
            errors.append(exact.errors(net))
        assert all((fine < coarse).all() for coarse, fine in pairwise(errors))
        # The last two: there the first and the last step, which are not chosen by the tolerance, no longer count.
        span = math.log(tolerances[-2] / tolerances[-1])
        exponents = np.log(errors[-2] / errors[-1]) / span
        assert (abs(exponents - order / (order + 1)) < 0.1).all()
        assert math.log(steps[-1] / steps[-2]) / span == pytest.approx(1 / (order + 1), abs=0.1)

    def test_the_global_error_is_about_steps_times_tolerance(self, exact):
        """The calibration: the defect is of the local error's order, so the error stays below 5 × steps × tolerance."""
        for tolerance in (1e-3, 1e-5):
            net = exact.network()
            steps = run(GradientFlow(T, tolerance), net, exact.cost)[1]
            assert exact.errors(net)[0] < 5 * steps * tolerance

    @both_orders
    def test_dense_output_is_continuous_and_as_accurate_as_the_steps(self, exact, order):
        solver = GradientFlow(T, 1e-3, order=order)
        previous, at_steps = None, []
        for state in solver.states(exact.network(), X, exact.cost):
            if previous is not None:
                torch.testing.assert_close(state.between(previous[0]), previous[1], rtol=1e-9, atol=1e-9)
                torch.testing.assert_close(state.between(state.t), state.f, rtol=1e-9, atol=1e-9)
            previous = state.t, state.f
            closest = np.abs(exact.times - state.t).argmin()
            if abs(exact.times[closest] - state.t) < 1e-9:
                at_steps.append((state.f - exact.f[closest]).abs().max().item())
        followed = follow(solver.states(exact.network(), X, exact.cost), exact.times)
        # The error at the end is typical of the steps'; in between it may be larger by the curvature of one step.
        assert (followed - exact.f).abs().max().item() < 2 * max(at_steps)

    def test_the_cost_falls_all_along(self, exact):
        """Strictly, at the steps and at four times in each, over 20 times the time that is compared."""
        costs, last = [math.inf], 0.0
        for state in GradientFlow(20 * T, 1e-3).states(exact.network(), X, exact.cost):
            costs += [state.cost_at(t) for t in np.unique(np.linspace(last, state.t, 5)[1:])]
            last = state.t
        assert len(costs) > 20
        assert all(after < before for before, after in pairwise(costs))

    def test_the_cost_falls_at_the_rate_of_the_kernel_gradient(self, exact):
        """∂_tC = −‖d|_f‖²_Θ = −dᵀΘd/N² (paper §3), over a step of 1e-5."""
        net = exact.network()
        kernel, d = tangent_kernel(net, X), exact.cost.direction(net(X)).flatten()
        expected = -(d @ kernel @ d).item() / N**2
        values, steps = run(EqualSteps(1e-5, 1), net, exact.cost)
        assert steps == 1
        assert (values[1][1] - values[0][1]) / 1e-5 == pytest.approx(expected, rel=1e-4)

    def test_the_limit_of_small_rates_of_gradient_descent_is_the_flow(self, exact):
        """Euler's error ∝ rate: halving it halves the error, 2 within 0.1."""
        errors = []
        for steps in (200, 400):
            net = exact.network()
            run(GradientDescent(T / steps, steps), net, exact.cost)
            errors.append(exact.errors(net))
        ratio = errors[0] / errors[1]
        assert (abs(ratio - 2) < 0.1).all()

    def test_steps_use_the_tolerance_and_stay_below_it(self, exact, monkeypatch):
        """Steps are aimed at 0.81 of it: all but the first and the last two, cut to the end, come near.

        None but the first, whose length is a guess, is taken back; that one at most four times.
        """
        net, passes = exact.network(), []
        monkeypatch.setattr(net, "forward", lambda x: passes.append(x) or Network.forward(net, x))
        defects = [state.defect for state in GradientFlow(T, 1e-4).states(net, X, exact.cost)]
        assert max(defects) <= 1e-4
        assert min(defects[2:-2]) > 0.5e-4
        assert len(passes) <= len(defects) + 4

    def test_one_step_moves_the_parameters_by_the_filtered_residual(self, exact, oracle):
        """θ − Jᵀw with w of the frozen flow at J's kernel, for every parameter."""
        net = exact.network()
        j = oracle(net).jacobian(X)
        w = exact.cost.frozen_flow(j @ j.T, net(X), 0.5)(0.5)
        expected = oracle(net).theta - j.T @ w.flatten()
        run(EqualSteps(0.5, 1), net, exact.cost)
        torch.testing.assert_close(oracle(net).theta, expected, rtol=1e-8, atol=1e-8)

    def test_a_step_of_order_2_extrapolates_the_jacobian(self, exact, oracle):
        """θ − Jᵀw_0 − (J − J_before)ᵀw_1/h, with w of the frozen flow at K + (K − K_before)/2, of the step's middle."""
        net, h = exact.network(), 0.5
        before = oracle(net).jacobian(X)
        run(EqualSteps(h, 1), net, exact.cost)
        j, f, theta = oracle(net).jacobian(X), net(X), oracle(net).theta
        w = exact.cost.frozen_flow(1.5 * j @ j.T - 0.5 * before @ before.T, f, h)
        expected = theta - j.T @ w(h).flatten() - (j - before).T @ w(h, 1).flatten() / h
        net = exact.network()
        run(EqualSteps(2 * h, 2, order=2), net, exact.cost)
        torch.testing.assert_close(oracle(net).theta, expected, rtol=1e-8, atol=1e-8)

    @pytest.mark.parametrize(("step", "power"), [(1, 2), (2, 3)])
    def test_dense_output_is_the_frozen_flow_and_the_defect_as_it_grows(self, exact, step, power):
        """Halfway, f − Kw + defect/2^power: in the first step, of order 1, and in the second, of order 2."""
        net, h = exact.network(), 0.5
        solver = EqualSteps(2 * h, 2, order=2)
        kernels, outputs = [], []
        for state in islice(solver.states(net, X, exact.cost), step):
            kernels.append(state.tangent.kernel)
            outputs.append(state.f)
        kernel = kernels[0] if step == 1 else 1.5 * kernels[1] - 0.5 * kernels[0]
        w = exact.cost.frozen_flow(kernel, outputs[-1], h)
        half, whole = (outputs[-1] - (kernel @ w(s).flatten()).reshape(outputs[-1].shape) for s in (h / 2, h))
        *_, last = islice(solver.states(exact.network(), X, exact.cost), step + 1)
        expected = half + (last.f - whole) / 2**power
        torch.testing.assert_close(last.between((step - 0.5) * h), expected, rtol=1e-9, atol=1e-9)


@both_orders
@pytest.mark.parametrize("kind", ["½", "1"])
@pytest.mark.parametrize("tolerance", [1e-1, 1e-6])
def test_a_linear_network_takes_few_steps_and_is_exact_at_all_times(kind, tolerance, order):
    """L = 1: Θ is constant, f_t = f* + e^{−2·factor·tΘ/N}(f_0 − f*) whatever the tolerance, between the steps too."""
    cost, _ = problem(kind, 2)
    net = network([2, 2])
    kernel, f_0 = tangent_kernel(net, X), net(X)
    states = list(GradientFlow(30.0, tolerance, order=order).states(net, X, cost))
    assert len(states) <= 5
    times = np.linspace(0, 30, 41)
    for t, f in zip(times, follow(states, times), strict=True):
        decay = torch.linalg.matrix_exp(-t * cost.curvature() * kernel / N)
        expected = cost.target + (decay @ (f_0 - cost.target).flatten()).reshape(N, 2)
        torch.testing.assert_close(f, expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(net(X), states[-1].f, **EXACT)


@pytest.mark.parametrize("t", [0.1, 1 / 3, 0.7, 7.7])
def test_the_run_ends_at_its_time_exactly(t):
    *_, last = GradientFlow(t, 1e-5).states(network([2, 8, 1]), X, problem("½", 1)[0])
    assert last.t == t


@both_orders
def test_deferred_weights_are_trained_as_dense_ones(order):
    """Rejected steps included, and with fewer updates kept than there are steps."""
    cost, _ = problem("½", 2)
    nets = []
    for weight in (DeferredWeight, DenseWeight):
        nets.append(Network.init([2, 60, 60, 2], generator=generator("deferred"), dtype=F64, weight=weight.draw))
        run(TooLongFirst(T, 1e-3, order=order), nets[-1], cost)
    hidden = nets[0].weights[1]
    assert [right.shape[0] for _, right in hidden.factors] == [N] * 3
    torch.testing.assert_close(nets[0](PROBES), nets[1](PROBES), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(tangent_kernel(nets[0], PROBES), tangent_kernel(nets[1], PROBES), rtol=1e-10, atol=1e-10)


def test_the_linearization_at_the_start_can_be_given():
    cost, _ = problem("½", 1)
    one, other = network([2, 9, 1]), network([2, 9, 1])
    solver = GradientFlow(1.0, 1e-4)
    tangent = Tangent(one, X)
    first, *_, last = solver.states(one, X, cost, tangent)
    assert first.tangent is tangent
    *_, expected = solver.states(other, X, cost)
    assert torch.equal(last.f, expected.f)


@both_orders
@pytest.mark.parametrize("kind", ["½", "cross-entropy"])
def test_equal_steps_of_an_ensemble_are_those_of_each_network(kind, order, members, oracle):
    cost, _ = problem(kind, 2)
    net = network([2, 8, 8, 2], seeds=3)
    single = members(net)
    run(EqualSteps(2.0, 4, order), net, cost)
    for member, trained in zip(single, members(net), strict=True):
        run(EqualSteps(2.0, 4, order), member, cost)
        torch.testing.assert_close(oracle(trained).theta, oracle(member).theta, rtol=1e-7, atol=1e-7)


def test_an_ensemble_is_each_network_to_the_tolerance(members):
    """The worst network chooses the steps of all; both errors are below steps × tolerance, so is their difference."""
    cost, _ = problem("½", 2)
    tolerance = 1e-5
    net = network([2, 16, 16, 2], seeds=4)
    single = members(net)
    steps = run(GradientFlow(T, tolerance), net, cost)[1]
    alone = []
    for member, trained in zip(single, members(net), strict=True):
        alone.append(run(GradientFlow(T, tolerance), member, cost)[1])
        assert (member(X) - trained(X)).abs().max() < 5 * (steps + alone[-1]) * tolerance
    assert steps >= max(alone) - 1


def test_wide_networks_take_fewer_steps():
    """The number of steps measures laziness: the kernel's drift ∝ n^{−1/2} … n^{−1} lengthens the steps."""
    cost = LeastSquares(normal(N, 1, key="target"))
    counts = {}
    for n in (64, 2048):
        net = network([2, n, n, 1], dtype=torch.float32)
        counts[n] = run(GradientFlow(100.0, 1e-4), net, cost)[1]
    assert counts[2048] < counts[64] / 2


@pytest.mark.parametrize("arguments", [(0.0, 1e-3), (-1.0, 1e-3), (math.nan, 1e-3), (1.0, 0.0), (1.0, -1.0)])
def test_gradient_flow_refuses(arguments):
    with pytest.raises(ValueError, match="must be > 0"):
        GradientFlow(*arguments)


@pytest.mark.parametrize("first_step", [0.0, -1.0])
def test_gradient_flow_refuses_a_first_step_that_is_not_positive(first_step):
    with pytest.raises(ValueError, match="first_step"):
        GradientFlow(1.0, 1e-3, first_step=first_step)


@pytest.mark.parametrize("order", [0, 3])
def test_gradient_flow_refuses_another_order(order):
    with pytest.raises(ValueError, match=f"order must be 1 or 2, not {order}"):
        GradientFlow(1.0, 1e-3, order=order)
