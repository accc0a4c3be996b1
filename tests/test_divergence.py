"""Training that leaves the finite numbers stops, with its time and its likely cause."""

import math
import re
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from training_fixtures import F64, N, X, network, problem, run

from replication.costs import LeastSquares
from replication.tangent import tangent_kernel
from replication.training import DivergenceError, GradientDescent, GradientFlow


def largest_rate(kernel: Tensor) -> float:
    return torch.linalg.eigvalsh(kernel)[-1].item() / N


class TestDivergence:
    """A linear network under least squares: descent is stable exactly for rates below 2/(2·factor·λ_max(Θ/N))."""

    @pytest.mark.parametrize("kind", ["½", "1"])
    def test_a_rate_just_below_the_bound_converges(self, kind):
        cost, _ = problem(kind, 1)
        net = network([2, 1])
        bound = 2 / (cost.curvature() * largest_rate(tangent_kernel(net, X)))
        values, _ = run(GradientDescent(0.99 * bound, 300), net, cost)
        assert all(after <= before for (_, before), (_, after) in pairwise(values))

    @pytest.mark.parametrize("kind", ["½", "1"])
    def test_a_rate_just_above_the_bound_grows(self, kind):
        cost, _ = problem(kind, 1)
        net = network([2, 1])
        bound = 2 / (cost.curvature() * largest_rate(tangent_kernel(net, X)))
        values, _ = run(GradientDescent(1.05 * bound, 300), net, cost)
        assert values[-1][1] > 1e6 * values[0][1]

    @pytest.mark.parametrize("kind", ["½", "1"])
    @pytest.mark.parametrize("dtype", [torch.float32, F64])
    def test_names_the_rate_and_its_bound_and_the_time(self, kind, dtype):
        cost, _ = problem(kind, 1)
        net = network([2, 1], dtype=dtype)
        largest = largest_rate(tangent_kernel(net, X))
        rate = 20 / (cost.curvature() * largest)
        with pytest.raises(DivergenceError, match="diverged") as raised:
            run(GradientDescent(rate, 1000), net, cost)
        message = str(raised.value)
        assert f"learning rate {rate:g}" in message
        step, t = re.search(r"step (\d+) \(t = ([^)]+)\)", message).groups()
        assert 1 < int(step) < 1000
        assert raised.value.t == pytest.approx(int(step) * rate)
        assert float(t) == pytest.approx(raised.value.t, rel=1e-5)
        bound = float(re.search(r"2/.*λ_max\S* = ([^ ]+)$", message).group(1))
        assert bound == pytest.approx(2 / (cost.curvature() * largest), rel=1e-3)

    def test_lambda_max_is_that_of_the_kernel_over_n(self):
        """With the factor 1 as well as ½: the factor enters the bound, not λ_max."""
        for kind in ("½", "1"):
            cost, _ = problem(kind, 1)
            net = network([2, 1])
            largest = largest_rate(tangent_kernel(net, X))
            with pytest.raises(DivergenceError) as raised:
                run(GradientDescent(20 / largest, 1000), net, cost)
            named = float(re.search(r"λ_max = ([^ ,]+)", str(raised.value)).group(1))
            assert named == pytest.approx(largest, rel=1e-3)

    @pytest.mark.parametrize("solver", [GradientDescent(0.1, 3), GradientFlow(1.0, 1e-3)], ids=type)
    def test_a_network_that_is_not_finite_at_the_start_is_a_divergence_at_zero(self, solver):
        net = network([2, 5, 1])
        net.weights[0].values[0, 0] = math.nan
        with pytest.raises(DivergenceError) as raised:
            run(solver, net, problem("½", 1)[0])
        assert raised.value.t == 0

    def test_a_kernel_that_vanishes_is_trained_nowhere(self):
        """β = 0 at x = 0: f = 0 for ever, no division by λ_max = 0."""
        cost = LeastSquares(torch.ones(2, 1))
        for solver in (GradientDescent(0.1, 3), GradientFlow(1.0, 1e-3)):
            net = network([2, 5, 1], beta=0.0)
            states = [state.f for state in solver.states(net, torch.zeros(2, 2), cost)]
            assert torch.equal(states[-1], torch.zeros(2, 1, dtype=F64))

    def test_a_tolerance_below_the_rounding_is_refused(self):
        with pytest.raises(DivergenceError, match=r"1e-10 at t = .*float32.*raise the tolerance, or use float64"):
            run(GradientFlow(10.0, 1e-10), network([2, 50, 50, 1], dtype=torch.float32), problem("½", 1)[0])

    def test_the_same_tolerance_is_reached_in_double_precision(self):
        run(GradientFlow(1e-3, 1e-10), network([2, 50, 50, 1]), problem("½", 1)[0])

    def test_a_first_step_that_overflows_is_rejected_not_fatal(self):
        """A quadratic network, at outputs of 1e28 and sent to −1000 times them, leaves float32 in one step."""
        x = 1e3 * X
        net = network([2, 20, 20, 20, 1], name="quadratic", dtype=torch.float32)
        f_0 = net(x).double()
        duration = 1 / largest_rate(tangent_kernel(net, x))
        run(GradientFlow(duration, 0.1 * f_0.abs().max().item(), duration), net, LeastSquares(-1000 * f_0), x)
