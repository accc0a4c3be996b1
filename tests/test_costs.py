"""Costs against automatic differentiation, and their flows at a fixed kernel against a Runge–Kutta integration."""

from itertools import product

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from replication import costs
from replication.costs import Cost, CrossEntropy, LeastSquares, moment_of_decay
from replication.randomness import generator

F64 = torch.float64
N = 5


def normal(*shape, key="normal"):
    return torch.randn(*shape, generator=generator(key, *shape), dtype=F64)


def least_squares(n_outputs=1, factor=0.5):
    return LeastSquares(normal(N, n_outputs, key="target"), factor)


def cross_entropy(n_outputs=3):
    return CrossEntropy(torch.arange(N) % n_outputs, n_outputs)


def positive(size, rank=None, key="kernel"):
    """A kernel of the given rank, its eigenvalues of order N."""
    factor = normal(size, rank or size, key=key)
    return N * factor @ factor.T / size


class Quartic(Cost):
    """A cost without a closed-form flow: C(f) = ¼ Σ_k ⟨f_k⁴⟩."""

    def value(self, f):
        return f.pow(4).sum(dim=-1).mean(dim=-1) / 4

    def direction(self, f):
        return f.pow(3)


COSTS = {
    "least squares, ½": lambda: least_squares(3),
    "least squares, 1": lambda: least_squares(3, factor=1.0),
    "one output": lambda: least_squares(1),
    "cross-entropy": lambda: cross_entropy(3),
    "two classes": lambda: cross_entropy(2),
    "quartic": Quartic,
}
OUTPUTS = {"one output": 1, "two classes": 2}
every_cost = pytest.mark.parametrize("name", COSTS)


def outputs_of(name):
    return OUTPUTS.get(name, 3)


def reference_flow(cost, kernel, f_0, s):
    """w_0(s) and w_1(s) by DOP853 at tolerances far below those that are asserted."""
    size = f_0.numel()

    def rate(s, w):
        f = f_0 - (kernel @ torch.from_numpy(w[:size])).reshape(f_0.shape)
        d = (cost.direction(f) / f_0.shape[0]).flatten().numpy()
        return np.concatenate([d, s * d])

    solution = solve_ivp(rate, (0, s), np.zeros(2 * size), "DOP853", rtol=1e-12, atol=1e-14)
    assert solution.success
    return torch.from_numpy(solution.y[:, -1].copy()).reshape(2, *f_0.shape)


@every_cost
def test_direction_is_n_times_the_derivative_of_the_value(name):
    """∂_{f_k(x_i)} C = d_k(x_i)/N, by autograd."""
    cost, f = COSTS[name](), normal(N, outputs_of(name)).requires_grad_()
    (gradient,) = torch.autograd.grad(cost.value(f), f)
    torch.testing.assert_close(cost.direction(f.detach()), N * gradient, rtol=1e-13, atol=1e-13)


@every_cost
def test_value_and_direction_of_an_ensemble_are_each_ones(name):
    cost, f = COSTS[name](), normal(4, N, outputs_of(name))
    assert cost.value(f).shape == (4,)
    for s in range(4):
        torch.testing.assert_close(cost.value(f)[s], cost.value(f[s]))
        torch.testing.assert_close(cost.direction(f)[s], cost.direction(f[s]))


@pytest.mark.parametrize("name", [name for name in COSTS if name != "quartic"])
def test_curvature_bounds_the_second_derivative(name):
    """Of the per-input cost: the largest eigenvalue of ∂d/∂f at random outputs."""
    cost = COSTS[name]()
    for scale in (0.0, 1.0, 10.0):
        hessian = torch.func.jacrev(cost.direction)(scale * normal(N, outputs_of(name)))
        size = N * outputs_of(name)
        assert torch.linalg.eigvalsh(hessian.reshape(size, size)).max() <= cost.curvature() * (1 + 1e-12)


def test_least_squares_by_hand():
    cost = LeastSquares(torch.tensor([[1.0, 0.0], [0.0, 2.0]]))
    f = torch.tensor([[2.0, 0.0], [0.0, 5.0]], dtype=F64)
    assert cost.value(f).item() == pytest.approx(0.5 * (1 + 9) / 2)
    assert LeastSquares(cost.target, 1.0).value(f).item() == pytest.approx((1 + 9) / 2)
    assert cost.direction(f).tolist() == [[1.0, 0.0], [0.0, 3.0]]


def test_cross_entropy_is_torchs():
    f, labels = normal(N, 3), torch.arange(N) % 3
    expected = torch.nn.functional.cross_entropy(f, labels)
    assert CrossEntropy(labels, 3).value(f).item() == pytest.approx(expected.item(), rel=1e-13)


def test_cross_entropy_of_large_outputs_is_finite():
    cost, f = cross_entropy(), 1e4 * normal(N, 3)
    assert torch.isfinite(cost.value(f))
    assert torch.isfinite(cost.direction(f)).all()


class TestFrozenFlow:
    """w_m(s) = (1/N)∫₀ˢ s'^m d ds' with f(s) = f_0 − K w_0(s)."""

    @every_cost
    @pytest.mark.parametrize("rank", [None, 2])
    @pytest.mark.parametrize("s", [0.1, 3.0, 30.0])
    def test_is_that_of_a_fine_integration(self, name, rank, s):
        """Closed form to rounding through an eigendecomposition; the generic flow to its stated 1e-9 per step."""
        cost, n_outputs = COSTS[name](), outputs_of(name)
        f_0, kernel = normal(N, n_outputs), positive(N * n_outputs, rank)
        expected = reference_flow(cost, kernel, f_0, s)
        closed = isinstance(cost, LeastSquares)
        w = cost.frozen_flow(kernel, f_0, 1.5 * s)
        for moment in (0, 1):
            error = (w(s, moment) - expected[moment]).abs().max() / expected[moment].abs().max()
            assert error < (1e-10 if closed else 1e-7)

    @pytest.mark.parametrize("factor", [0.5, 1.0])
    @pytest.mark.parametrize("rank", [None, 4])
    def test_closed_form_is_the_generic_flow(self, factor, rank):
        cost, f_0, kernel = least_squares(3, factor), normal(N, 3), positive(3 * N, rank)
        closed, generic = cost.frozen_flow(kernel, f_0, 4.0), Cost.frozen_flow(cost, kernel, f_0, 4.0)
        for s in (0.0, 0.01, 1.0, 4.0):
            torch.testing.assert_close(closed(s), generic(s), rtol=1e-7, atol=1e-8)
            torch.testing.assert_close(closed(s, 1), generic(s, 1), rtol=1e-7, atol=1e-8)

    @pytest.mark.parametrize("name", ["cross-entropy", "quartic"])
    @pytest.mark.parametrize("stiff", [0.0, np.inf], ids=["implicit", "explicit"])
    def test_large_systems_have_the_same_flow(self, name, stiff, monkeypatch):
        """Of every system here, as if it were a large one: with and without the cost's own second derivative."""
        monkeypatch.setattr(costs, "LARGE", 0)
        monkeypatch.setattr(costs, "STIFF", stiff)
        cost, n_outputs = COSTS[name](), outputs_of(name)
        f_0, kernel = normal(N, n_outputs), positive(N * n_outputs)
        expected = reference_flow(cost, kernel, f_0, 3.0)
        w = cost.frozen_flow(kernel, f_0, 4.0)
        for moment in (0, 1):
            assert (w(3.0, moment) - expected[moment]).abs().max() < 1e-6 * expected[moment].abs().max()

    def test_the_second_derivative_of_cross_entropy_is_that_of_autograd(self):
        cost, f = cross_entropy(), normal(N, 3)
        whole = torch.autograd.functional.jacobian(cost.direction, f)
        expected = torch.stack([whole[i, :, i] for i in range(N)])
        torch.testing.assert_close(cost.hessian(f), expected, rtol=1e-12, atol=1e-12)

    @every_cost
    def test_the_rate_of_w_is_the_direction_along_the_way(self, name):
        """ẇ(s) = d|_{f_0 − Kw(s)}/N, by central differences with error O(h²) + (flow's error)/h."""
        cost, n_outputs = COSTS[name](), outputs_of(name)
        f_0, kernel = normal(N, n_outputs), positive(N * n_outputs)
        w = cost.frozen_flow(kernel, f_0, 2.0)
        for s in (0.1, 1.0, 1.9):
            h = 1e-3
            f = f_0 - (kernel @ w(s).flatten()).reshape(f_0.shape)
            rate = (w(s + h) - w(s - h)) / (2 * h)
            scale = cost.direction(f_0).abs().max() / N
            assert (rate - cost.direction(f) / N).abs().max() < 1e-4 * scale

    @every_cost
    def test_starts_at_zero(self, name):
        cost, n_outputs = COSTS[name](), outputs_of(name)
        f_0, kernel = normal(N, n_outputs), positive(N * n_outputs)
        for moment, duration in product((0, 1), (0.0, 1.0)):
            w = cost.frozen_flow(kernel, f_0, duration)
            assert torch.equal(w(0.0, moment), torch.zeros_like(f_0))

    @every_cost
    def test_ensemble_is_each_one(self, name):
        cost, n_outputs = COSTS[name](), outputs_of(name)
        f_0 = normal(3, N, n_outputs)
        kernel = torch.stack([positive(N * n_outputs, key=f"member {s}") for s in range(3)])
        together = cost.frozen_flow(kernel, f_0, 2.0)
        for s in range(3):
            alone = cost.frozen_flow(kernel[s], f_0[s], 2.0)
            for moment in (0, 1):
                torch.testing.assert_close(together(1.3, moment)[s], alone(1.3, moment), rtol=1e-7, atol=1e-8)

    @pytest.mark.parametrize("name", ["least squares, 1", "one output", "quartic"])
    def test_nothing_moves_where_the_direction_is_zero(self, name):
        cost, n_outputs = COSTS[name](), outputs_of(name)
        f_0 = cost.target.clone() if isinstance(cost, LeastSquares) else torch.zeros(N, n_outputs, dtype=F64)
        assert torch.equal(cost.frozen_flow(positive(N * n_outputs), f_0, 5.0)(5.0), torch.zeros_like(f_0))

    def test_a_very_long_time_solves_the_linear_system(self):
        """s·rate = 1e8 and more: w → K⁻¹(f_0 − f*), f → f*, to the rounding of the solution."""
        cost, f_0, kernel = least_squares(2), normal(N, 2), positive(2 * N)
        slowest = torch.linalg.eigvalsh(kernel)[0] / N
        w = cost.frozen_flow(kernel, f_0, 1e30)
        expected = torch.linalg.solve(kernel, (f_0 - cost.target).flatten()).reshape(N, 2)
        condition = torch.linalg.cond(kernel)
        for s in (1e8 / slowest.item(), 1e30):
            torch.testing.assert_close(w(s), expected, rtol=1e-14 * condition, atol=0)

    @pytest.mark.parametrize("s", [1e-14, 1e-9, 1.0, 1e6])
    def test_a_null_direction_grows_linearly(self, s):
        """Two equal inputs with different targets: their mean decays, their difference stays, w grows as s."""
        kernel = torch.ones(2, 2, dtype=F64)
        cost, f_0 = LeastSquares(torch.tensor([[1.0], [-1.0]])), torch.tensor([[2.0], [0.5]], dtype=F64)
        mean, difference = 1.25, -0.25  # the errors are 1 and 1.5; λ_max(K/N) = 1
        expected_mean = -mean * np.expm1(-s) / 2
        expected = torch.tensor([[expected_mean + difference * s / 2], [expected_mean - difference * s / 2]])
        torch.testing.assert_close(cost.frozen_flow(kernel, f_0, s)(s), expected.double(), rtol=1e-9, atol=0)

    def test_a_zero_kernel_integrates_a_constant(self):
        cost, f_0, kernel = least_squares(2), normal(N, 2), torch.zeros(2 * N, 2 * N, dtype=F64)
        torch.testing.assert_close(cost.frozen_flow(kernel, f_0, 7.0)(7.0), 7 * cost.direction(f_0) / N)

    def test_cross_entropy_keeps_falling_over_a_very_long_time(self):
        """Separable: the cost falls as about 1/s, and w stays finite."""
        cost, f_0, kernel = cross_entropy(), normal(N, 3), positive(3 * N)
        w = cost.frozen_flow(kernel, f_0, 1e5)
        values = [cost.value(f_0 - (kernel @ w(s).flatten()).reshape(f_0.shape)).item() for s in (0, 1, 1e2, 1e4, 1e5)]
        assert values == sorted(values, reverse=True)
        assert values[-1] == pytest.approx(values[-2] / 10, rel=0.2)


@pytest.mark.parametrize("moment", [0, 1])
def test_moments_of_a_decay_for_small_and_large_rates(moment):
    """∫₀¹ uᵐ e^{−zu} du by Gauss–Legendre quadrature, around the places where a series takes over and at 0."""
    z = torch.tensor([0.0, 1e-300, 1e-13, 1e-11, 1e-6, 0.999e-3, 1.001e-3, 0.1, 1.0, 30.0], dtype=F64)
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(60))
    u = (1 + nodes) / 2
    expected = (torch.exp(-z[:, None] * u) * u**moment) @ weights / 2
    torch.testing.assert_close(moment_of_decay(z, moment), expected, rtol=1e-11, atol=0)


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan")])
def test_refuses_a_factor_that_is_not_positive(factor):
    with pytest.raises(ValueError, match="factor"):
        LeastSquares(torch.zeros(2, 1), factor)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_refuses_a_target_that_is_not_finite(bad):
    with pytest.raises(ValueError, match="finite"):
        LeastSquares(torch.tensor([[0.0], [bad]]))


@pytest.mark.parametrize(("labels", "n_classes"), [([0, 0], 1), ([0, 1], 1), ([0, 3], 3), ([-1, 0], 3)])
def test_refuses_labels_out_of_range(labels, n_classes):
    with pytest.raises(ValueError, match="labels"):
        CrossEntropy(torch.tensor(labels), n_classes)
