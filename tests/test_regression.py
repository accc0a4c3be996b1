"""The closed forms of §5 against an ODE solver, against the formulas of the paper solved directly, and Monte Carlo."""

import math
from functools import partial

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from scipy.integrate import solve_ivp

from replication.costs import LeastSquares
from replication.datasets import circle
from replication.kernels import KernelOnData, inner, tensor_identity
from replication.limit import sigma_inf, theta_inf
from replication.network import Network
from replication.randomness import generator
from replication.regression import Law, LeastSquaresFlow
from replication.tangent import tangent_kernel

F64 = torch.float64
N, M = 5, 4
TIMES = (0.0, 0.3, 10.0, 1000.0, math.inf)
arguments = {"depth": 3, "nonlinearity": "relu", "beta": 0.3}


def normal(*shape, key="normal"):
    return torch.randn(*shape, generator=generator(key, *shape), dtype=F64)


def points():
    """Data and points off them."""
    return normal(N + M, 3, key="x")


def kernels():
    """The kernel at all points, (N + M) n_L square, and n_L."""
    x = points()
    net = Network.init([3, 20, 20, 2], generator=generator("net"), nonlinearity="tanh", beta=0.3, dtype=F64)
    return {
        "limit": (theta_inf(x, **arguments), 1),
        "limit ⊗ Id": (tensor_identity(partial(theta_inf, **arguments), 3)(x), 3),
        "network": (tangent_kernel(net, x), 2),
        "rank 3": ((x @ x.T), 1),
        "rank 3 ⊗ Id": (torch.kron(x @ x.T, torch.eye(2, dtype=F64)), 2),
    }


every_kernel = pytest.mark.parametrize("name", ["limit", "limit ⊗ Id", "network", "rank 3", "rank 3 ⊗ Id"])
positive_kernels = pytest.mark.parametrize("name", ["limit", "limit ⊗ Id", "network"])


def problem(name):
    kernel, n_outputs = kernels()[name]
    target, f_0 = normal(N, n_outputs, key="target"), normal(N + M, n_outputs, key="f_0")
    return kernel, target, f_0, LeastSquaresFlow(kernel[:, : N * n_outputs], target)


def covariance(n_outputs):
    return torch.kron(sigma_inf(points(), **arguments), torch.eye(n_outputs, dtype=F64))


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
            found = flow.f(t, f_0)[:, 0].numpy()
            np.testing.assert_allclose(found[:n], on, rtol=0, atol=1e-7)
            np.testing.assert_allclose(found[n:], away, rtol=0, atol=1e-5)
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


@every_kernel
def test_propagator_is_the_linear_part_of_the_flow(name):
    _, target, f_0, flow = problem(name)
    size = target.numel()
    for t in TIMES:
        matrix = flow.propagator(t)
        response = torch.eye(f_0.numel(), dtype=F64)[:, :size] - matrix[:, :size]
        expected = matrix @ f_0.flatten() + response @ target.flatten()
        torch.testing.assert_close(flow.f(t, f_0).flatten(), expected, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("name", ["limit", "limit ⊗ Id", "rank 3"])
@pytest.mark.parametrize("t", [0.0, 2.0, 100.0, math.inf])
def test_law_against_monte_carlo(name, t):
    """10⁵ draws of f_0 ∼ N(0, Σ), flowed by a matrix exponential: mean, covariance, percentiles within 5 errors."""
    kernel, target, _, flow = problem(name)
    size, samples = target.numel(), 100_000
    sigma = covariance(flow.n_outputs)
    law = flow.law(t, sigma)
    root = torch.linalg.cholesky(sigma)
    f_0 = normal(samples, len(sigma), key="samples") @ root.T
    generator_ = torch.zeros_like(kernel)
    generator_[:, :size] = -kernel[:, :size] / N
    step = torch.matrix_exp(generator_ * (1e6 if t == math.inf else t))
    goal = torch.cat([target.flatten(), torch.zeros(len(sigma) - size, dtype=F64)])
    f = (f_0 - goal) @ step.T + goal
    mean, variance = law.mean.flatten(), law.covariance.diagonal()
    slack = 1e-7  # of the matrix exponential
    assert ((f.mean(0) - mean).abs() <= 5 * (variance / samples).sqrt() + slack).all()
    centred = f - mean
    error = ((law.covariance.square() + variance[:, None] * variance) / samples).sqrt()
    assert ((centred.T @ centred / samples - law.covariance).abs() <= 5 * error + slack).all()
    for percent in (10, 50, 90):
        below = (f <= law.percentile(percent).flatten() + slack).double().mean(0)
        spread = variance > 1e-8
        assert ((below - percent / 100).abs()[spread] <= 5 * math.sqrt(0.25 / samples)).all()


@positive_kernels
def test_spread_vanishes_on_the_data_at_infinity(name):
    """Exactly on the data, to rounding at points off the data that coincide with one."""
    _, target, _, flow = problem(name)
    law = flow.law(math.inf, covariance(flow.n_outputs))
    assert torch.equal(law.mean[:N], target)
    assert (law.sd[:N] == 0).all()
    assert (law.sd[N:] > 0.01).all()
    assert torch.equal(law.percentile(90)[:N], target)


def test_spread_vanishes_at_a_twin_of_a_data_point():
    gamma = torch.tensor([-2.1944, -0.9314, 0.9630, 2.2260])
    x = circle(torch.cat([gamma, gamma, torch.linspace(-3, 3, 30)]))
    settings = {"depth": 4, "nonlinearity": "relu", "beta": 0.1}
    target = torch.tensor([[-0.4], [-0.2], [0.3], [0.3]], dtype=F64)
    flow = LeastSquaresFlow(theta_inf(x, x[:4], **settings), target)
    law = flow.law(math.inf, sigma_inf(x, **settings))
    torch.testing.assert_close(law.mean[4:8], target, rtol=0, atol=1e-13)
    assert law.sd[4:8].max() < 1e-7
    assert law.sd[8:].max() > 0.05


def test_percentiles_are_those_of_the_normal_law():
    law = Law(torch.tensor([[1.0], [2.0]], dtype=F64), torch.diag(torch.tensor([4.0, 9.0], dtype=F64)))
    for percent in (0.1, 10, 50, 90, 97.5):
        z = stats.norm.ppf(percent / 100)
        torch.testing.assert_close(law.percentile(percent), torch.tensor([[1 + 2 * z], [2 + 3 * z]], dtype=F64))
    for percent in (0, 100, -1, math.nan):
        with pytest.raises(ValueError, match="percentile"):
            law.percentile(percent)


def test_training_only_the_last_layer_samples_the_bayesian_posterior():
    """With K = Σ the law at t = ∞ is N(Σ_*Σ⁻¹y, Σ_** − Σ_*Σ⁻¹Σ_*ᵀ)."""
    sigma, target = covariance(1), normal(N, 1, key="target")
    law = LeastSquaresFlow(sigma[:, :N], target).law(math.inf, sigma)
    cross, solved = sigma[N:, :N], torch.linalg.solve(sigma[:N, :N], sigma[:N, N:])
    torch.testing.assert_close(law.mean[N:], cross @ torch.linalg.solve(sigma[:N, :N], target), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(law.covariance[N:, N:], sigma[N:, N:] - cross @ solved, rtol=1e-9, atol=1e-10)


@every_kernel
@pytest.mark.parametrize("rho", [1e-3, 0.5, 20.0])
def test_ridge_regression_is_the_solution_of_its_equations(name, rho):
    kernel, target, _, flow = problem(name)
    size = target.numel()
    gram = kernel[:size, :size] + rho * torch.eye(size, dtype=F64)
    expected = kernel[:, :size] @ torch.linalg.solve(gram, target.flatten())
    torch.testing.assert_close(flow.ridge(rho).flatten(), expected, rtol=1e-8, atol=1e-9)


@every_kernel
def test_ridge_tends_to_the_flow_from_zero(name):
    """ρ → 0 is f_∞ for f_0 = 0, the MAP estimate; ρ = 0 is it, at a distance of order ρ."""
    _, target, f_0, flow = problem(name)
    limit = flow.f(math.inf, torch.zeros_like(f_0))
    torch.testing.assert_close(flow.ridge(0.0), limit, rtol=1e-12, atol=1e-12)
    distances = [(flow.ridge(rho) - limit).abs().max().item() for rho in (1e-6, 1e-7, 1e-8)]
    np.testing.assert_allclose(np.array(distances[:-1]) / distances[1:], 10, rtol=1e-2)
    if flow.rates[-1] > 0:
        assert torch.equal(flow.ridge(0.0)[:N], target)


def test_early_stopping_filters_as_ridge_does():
    """Componentwise 1 − e^{−tλ} against Nλ/(Nλ + ρ): at ρ = N/t they agree to within 0.3."""
    _, target, f_0, flow = problem("limit")
    t = 30.0
    start = inner(flow.components.functions, target)
    stopped = 1 + flow.coefficients(t, torch.zeros_like(f_0)) / start
    ridged = inner(flow.components.functions, flow.ridge(N / t)[:N]) / start
    torch.testing.assert_close(stopped, -torch.expm1(-t * flow.rates), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(ridged, flow.rates / (flow.rates + 1 / t), rtol=1e-9, atol=1e-10)
    assert (stopped - ridged).abs().max() < 0.3


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
