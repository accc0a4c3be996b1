"""The least-squares flow at a fixed kernel: f_t on the data and off them, at every time."""

import math

import mpmath
import numpy as np
import pytest
import torch
from regression_fixtures import F64, TIMES, N, covariance, every_kernel, normal, points, positive_kernels, problem
from scipy.integrate import solve_ivp

from replication.costs import LeastSquares
from replication.kernels import KernelOnData, inner
from replication.regression import LeastSquaresFlow


@every_kernel
@pytest.mark.parametrize("t", [0.3, 10.0, 300.0])
def test_flow_against_a_high_order_solver(name, t):
    """On and off the data, ∂_t f(x) = −(1/N) Σ_j K(x, x_j)(f − f*)(x_j) by DOP853."""
    kernel, target, f_0, flow = problem(name)
    size = target.numel()
    columns, goal = kernel[:, :size].numpy() / N, target.flatten().numpy()
    solution = solve_ivp(
        lambda _, f: -columns @ (f[:size] - goal), (0, t), f_0.flatten().numpy(), "DOP853", rtol=1e-12, atol=1e-13
    )
    expected = torch.from_numpy(solution.y[:, -1].copy()).reshape(f_0.shape)
    torch.testing.assert_close(flow.f(t, f_0), expected, rtol=1e-9, atol=1e-9)


@every_kernel
@pytest.mark.parametrize("factor", [0.5, 1.0])
def test_flow_is_that_of_the_cost_at_a_frozen_kernel(name, factor):
    """f_0 − K w(t) of costs.LeastSquares; its factor c is a time 2c·t."""
    kernel, target, f_0, flow = problem(name)
    w = LeastSquares(target, factor).frozen_flow(kernel[: target.numel(), : target.numel()], f_0[:N], 20.0)
    for t in (0.0, 0.1, 20.0):
        moved = f_0 - (kernel[:, : target.numel()] @ w(t).flatten()).reshape(f_0.shape)
        torch.testing.assert_close(flow.f(2 * factor * t, f_0), moved, rtol=1e-9, atol=1e-10)


@every_kernel
def test_time_zero_is_exactly_the_start(name):
    kernel, _, f_0, flow = problem(name)
    assert torch.equal(flow.f(0, f_0), f_0)
    assert torch.equal(flow.propagator(0), torch.eye(len(kernel), dtype=F64))
    sigma = covariance(f_0.shape[1])
    law = flow.law(0, sigma)
    assert torch.equal(law.mean, torch.zeros_like(f_0))
    torch.testing.assert_close(law.covariance, sigma, rtol=1e-15, atol=0)


@positive_kernels
def test_time_infinity_is_the_formula_of_the_paper(name):
    """f* exactly on the data; κᵀK̃⁻¹y* + (f_0(x) − κᵀK̃⁻¹y_0) off them."""
    kernel, target, f_0, flow = problem(name)
    size = target.numel()
    limit = flow.f(math.inf, f_0)
    assert torch.equal(limit[:N], target)
    cross, gram = kernel[size:, :size], kernel[:size, :size]
    expected = cross @ torch.linalg.solve(gram, target.flatten())
    expected = expected + f_0[N:].flatten() - cross @ torch.linalg.solve(gram, f_0[:N].flatten())
    torch.testing.assert_close(limit[N:].flatten(), expected, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(flow.f(1e9, f_0), limit, rtol=1e-12, atol=1e-12)


@every_kernel
def test_flow_continues_from_where_it_is(name):
    _, _, f_0, flow = problem(name)
    for s, t in ((0.2, 3.0), (5.0, 500.0), (1.0, math.inf)):
        torch.testing.assert_close(flow.f(t, flow.f(s, f_0)), flow.f(s + t, f_0), rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(
            flow.propagator(t) @ flow.propagator(s), flow.propagator(s + t), rtol=1e-9, atol=1e-9
        )


@pytest.mark.parametrize("t", [1e-3, 1.0, 1e5, 1e20, math.inf])
def test_directions_without_an_eigenvalue_keep_their_start(t):
    """Of a kernel of rank 3 on 5 data: f_t − f* stays f_0 − f* along the two, at t = ∞ too; nothing blows up."""
    _, target, f_0, flow = problem("rank 3")
    assert (flow.rates > 0).sum() == 3
    error = flow.f(t, f_0)[:N] - target
    stay = flow.components.functions[3:]
    torch.testing.assert_close(inner(stay, error), inner(stay, f_0[:N] - target), rtol=0, atol=1e-12)
    # f moves by Kw with w unique up to the kernel of K̃: the pseudo-inverse gives the same function off the data.
    x = points()
    moved = flow.f(math.inf, f_0) - f_0
    slope = torch.linalg.lstsq(x[:N], target - f_0[:N], driver="gelsd").solution
    torch.testing.assert_close(moved, x @ slope, rtol=1e-9, atol=1e-9)
    assert flow.f(t, f_0).abs().max() < 50
    assert flow.coefficients(math.inf, f_0)[:3].abs().max() == 0
    torch.testing.assert_close(flow.coefficients(math.inf, f_0)[3:], flow.coefficients(0, f_0)[3:])


def test_tolerance_decides_which_directions_count_as_zero():
    """Same kernel, λ_5/λ_1 = 1e-9: moved to f* at t = ∞ by default, left where it is with a tolerance of 1e-6."""
    q = torch.linalg.qr(normal(N, N)).Q
    kernel = (q * torch.tensor([1, 0.5, 0.1, 0.01, 1e-9], dtype=F64)) @ q.T
    target, f_0 = normal(N, 1, key="target"), normal(N, 1, key="f_0")
    assert torch.equal(LeastSquaresFlow(kernel, target).f(math.inf, f_0), target)
    left = LeastSquaresFlow(kernel, target, tolerance=1e-6).f(math.inf, f_0) - target
    expected = q[:, 4:] @ q[:, 4:].T @ (f_0 - target)
    torch.testing.assert_close(left, expected, rtol=0, atol=1e-8)
    assert left.abs().max() > 0.01


def test_nearly_singular_kernel_against_200_digits():
    """Hilbert's matrix on 7 + 3 points, λ_max/λ_min = 5e8: as accurate as rounding of K lets anything be."""
    n, off = 7, 3
    kernel = torch.tensor([[1 / (i + j + 1) for j in range(n + off)] for i in range(n + off)], dtype=F64)
    target, f_0 = normal(n, 1, key="target"), normal(n + off, 1, key="f_0")
    flow = LeastSquaresFlow(kernel[:, :n], target)
    with mpmath.workdps(200):
        gram = mpmath.matrix(kernel[:n, :n].tolist())
        cross = mpmath.matrix(kernel[n:, :n].tolist())
        error = mpmath.matrix((f_0[:n] - target).tolist())
        start = mpmath.matrix(f_0[n:].tolist())
        for t in (1e-6, 1.0, 1e4, 1e8):
            decayed = mpmath.expm(-gram * t / n) * error
            w = mpmath.lu_solve(gram, error - decayed)
            on = np.array([float(v) for v in decayed]) + target[:, 0].numpy()
            away = np.array([float(v) for v in start - cross * w])
            values = flow.f(t, f_0)[:, 0].numpy()
            np.testing.assert_allclose(values[:n], on, rtol=0, atol=1e-7)
            np.testing.assert_allclose(values[n:], away, rtol=0, atol=1e-5)
    # Rounding errors of K̃ itself, of relative size 1e-16, move the answer as much.
    assert torch.isfinite(flow.f(math.inf, f_0)).all()


def test_short_times_do_not_cancel():
    """f_t − f_0 off the data at t = 1e-12 is −t∇_K C to seven digits, all that f_0 of order 1e-8 leaves room for."""
    kernel, target, f_0, flow = problem("limit")
    f_0[N:] *= 1e-12
    space_gradient = kernel[N:, :N] @ (f_0[:N] - target) / N
    torch.testing.assert_close(flow.f(1e-12, f_0)[N:] - f_0[N:], -1e-12 * space_gradient, rtol=1e-7, atol=0)


@every_kernel
def test_components_decay_each_at_its_rate(name):
    kernel, target, f_0, flow = problem(name)
    size = target.numel()
    space = KernelOnData(lambda x, x2=None: kernel[: len(x) * flow.n_outputs, :size], torch.arange(N))
    torch.testing.assert_close(flow.rates, space.spectrum.clamp(min=0), rtol=1e-9, atol=1e-14)
    for t in TIMES:
        error = flow.f(t, f_0)[:N] - target
        coefficients = flow.coefficients(t, f_0)
        torch.testing.assert_close(coefficients, inner(flow.components.functions, error), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(coefficients, flow.coefficients(t, f_0[:N]))
        back = torch.einsum("i,ink->nk", coefficients, flow.components.functions)
        torch.testing.assert_close(back, error, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(coefficients.square().sum(), inner(error, error))
    half = flow.coefficients(2.0, f_0) / flow.coefficients(1.0, f_0)
    torch.testing.assert_close(half, torch.exp(-flow.rates), rtol=1e-9, atol=0)
    # The largest first: the order in which the components are learned.
    assert (flow.rates.diff() <= 0).all()


@every_kernel
def test_an_ensemble_is_each_member(name):
    _, _, f_0, flow = problem(name)
    ensemble = normal(2, 3, *f_0.shape)
    for t in TIMES:
        together = flow.f(t, ensemble)
        assert together.shape == ensemble.shape
        torch.testing.assert_close(together[1, 2], flow.f(t, ensemble[1, 2]), rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(flow.coefficients(t, ensemble)[0, 1], flow.coefficients(t, ensemble[0, 1]))


def test_no_points_off_the_data():
    kernel, target, f_0, flow = problem("limit")
    alone = LeastSquaresFlow(kernel[:N, :N], target)
    for t in TIMES:
        torch.testing.assert_close(alone.f(t, f_0[:N]), flow.f(t, f_0)[:N], rtol=1e-12, atol=1e-12)
    assert alone.law(1.0, covariance(1)[:N, :N]).mean.shape == (N, 1)
    assert alone.ridge(1.0).shape == (N, 1)


def test_inputs_in_float32_are_computed_in_float64():
    kernel, target, f_0, _ = problem("limit")
    flow = LeastSquaresFlow(kernel[:, :N].float(), target.float())
    assert flow.f(1.0, f_0.float()).dtype == F64
    assert flow.law(1.0, covariance(1).float()).covariance.dtype == F64


def test_wrong_arguments_are_refused():
    kernel, target, f_0, flow = problem("limit")
    columns, sigma = kernel[:, :N], covariance(1)
    bad = kernel.clone()
    bad[0, 1] += 0.1
    for wrong, message in (
        (columns[: N - 1], "data first"),
        (columns[:, :-1], "data first"),
        (columns[0], "data first"),
        (columns * math.nan, "not finite"),
        (bad[:, :N], "not symmetric"),
        (-columns, "not positive"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            LeastSquaresFlow(wrong, target)
        assert "\n" not in str(error.value)
    for wrong in (target[:0], target.flatten(), target * math.inf):
        with pytest.raises(ValueError, match=r"f\* has to be"):
            LeastSquaresFlow(columns, wrong)
    with pytest.raises(ValueError, match="data first"):
        LeastSquaresFlow(columns[:-1].repeat(1, 2), target.repeat(1, 2))  # an odd number of rows for n_L = 2
    for t in (-1.0, math.nan, -math.inf):
        for act in (lambda t: flow.f(t, f_0), flow.propagator, lambda t: flow.law(t, sigma)):
            with pytest.raises(ValueError, match="t has to be"):
                act(t)
    for wrong in (f_0[1:], f_0.flatten(), f_0.repeat(1, 2), f_0 * math.nan):
        for act in (flow.f, flow.coefficients):
            with pytest.raises(ValueError, match="f_0"):
                act(1.0, wrong)
    with pytest.raises(ValueError, match="f_0"):
        flow.f(1.0, f_0[:N])
    for wrong, message in (
        (sigma[:N, :N], "at all points"),
        (sigma.triu(), "not symmetric"),
        (-sigma, "not a covariance"),
        (sigma * math.inf, "not finite"),
    ):
        with pytest.raises(ValueError, match=message):
            flow.law(1.0, wrong)
    for rho in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="ridge"):
            flow.ridge(rho)
