"""The Gaussian law of the least-squares flow, and ridge regression beside it."""

import math

import numpy as np
import pytest
import torch
from regression_fixtures import F64, TIMES, N, covariance, every_kernel, normal, positive_kernels, problem
from scipy import stats

from replication.datasets import circle
from replication.kernels import inner
from replication.limit import sigma_inf, theta_inf
from replication.regression import Law, LeastSquaresFlow


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
