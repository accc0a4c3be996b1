"""The bias of the NTK at initialization, by another derivation and by networks."""

import numpy as np
import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss

from replication.experiments.drift import bias
from replication.gaussian import GaussianPairs
from replication.limit import limit
from replication.nonlinearities import nonlinearity


def times(p, q):
    return lambda u, v: p(u, v) * q(u, v)


def stein(beta: float) -> np.ndarray:
    """c for erf, with the derivatives of expectations as expectations of derivatives of σ, by a product rule."""
    z, weight = hermegauss(100)
    weight = np.outer(weight, weight) / weight.sum() ** 2

    def hermite(k):  # (d/dx)^k of erf
        density = [lambda x: 1, lambda x: -2 * x, lambda x: 4 * x**2 - 2, lambda x: -8 * x**3 + 12 * x]
        more = [lambda x: 16 * x**4 - 48 * x**2 + 12]
        if k == 0:
            return lambda x: torch.erf(torch.as_tensor(x)).numpy()
        return lambda x: 2 / np.sqrt(np.pi) * (density + more)[k - 1](x) * np.exp(-(x**2))

    derivative = [hermite(k) for k in range(6)]
    x, pairs = bias.pairs_of_points()
    kernels = limit(x, depth=2, nonlinearity="erf", beta=beta).sigma.numpy()

    def constant(i, j):
        s1, s2 = (np.array([kernel[i, i], kernel[i, j], kernel[j, j]]) for kernel in kernels)

        def mean(s, function):
            a = np.sqrt(s[0])
            u, v = a * z[:, None] + 0 * z, s[1] / a * z[:, None] + np.sqrt(max(s[2] - s[1] ** 2 / s[0], 0)) * z
            return (weight * function(u, v)).sum()

        def e(i, j):
            return mean(s2, lambda u, v: derivative[i](u) * derivative[j](v))

        f, g = derivative[:2]
        products = [lambda u, v: f(u) ** 2, lambda u, v: f(u) * f(v), lambda u, v: f(v) ** 2]
        m = np.array([mean(s1, p) for p in products])
        c = np.array([[mean(s1, times(p, q)) for q in products] for p in products]) - np.outer(m, m)
        slopes = lambda u, v: g(u) * g(v)  # noqa: E731
        slope = mean(s1, slopes)
        shared = np.array([mean(s1, times(slopes, p)) for p in products])
        steps = [((2, 0), 0.5), ((1, 1), 1.0), ((0, 2), 0.5)]

        def gradient(k):
            return np.array([w * e(k + p[0], k + p[1]) for p, w in steps])

        def hessian(k):
            return np.array([[w * v * e(k + p[0] + q[0], k + p[1] + q[1]) for q, v in steps] for p, w in steps])

        middle = s2[1] * hessian(1)
        middle[1] += gradient(1)
        middle[:, 1] += gradient(1)
        first = 0.5 * (c * (hessian(0) + middle)).sum()
        return first + s1[1] * (
            0.5 * slope * (c * hessian(1)).sum() + (shared - slope * m) @ gradient(1) + 2 * shared @ gradient(1)
        )

    return np.array([constant(i, j) for i, j in pairs])


def test_derived_bias_is_that_of_another_derivation():
    ours = bias.derived(bias.Derived(nonlinearity="erf", beta=0.1)).constant.sel(part="c")
    np.testing.assert_allclose(ours, stein(0.1), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("name", ["erf", "softplus", "relu"])
def test_derived_bias_is_that_of_networks(name):
    stream = torch.Generator().manual_seed(0)
    sample = bias.Sample(width=24, networks=3000, nonlinearity=name, beta=0.1)
    values = np.array([bias.measured(sample, stream).bias for _ in range(6)])
    c = bias.derived(bias.Derived(nonlinearity=name, beta=0.1)).constant.sel(part="c").values
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    assert (np.abs(values.mean(axis=0) - c) < 5 * error + 0.08 * np.abs(c).max()).all()
    assert np.abs(values.mean(axis=0) @ c / (c @ c) - 1) < 0.15


def test_relu_has_no_bias_on_the_diagonal_and_the_identity_none_at_all():
    relu = bias.derived(bias.Derived(nonlinearity="relu", beta=0.1))
    on = relu.on_diagonal.values
    np.testing.assert_allclose(relu.constant.values[on], 0, atol=1e-9)
    assert (np.abs(relu.constant.sel(part="c").values[~on]) > 0.01).all()
    np.testing.assert_allclose(bias.derived(bias.Derived(nonlinearity="identity", beta=0.1)).constant, 0, atol=1e-8)


@pytest.mark.parametrize("correlation", [0.9, -0.3, 0.0])
def test_gaussian_rule_has_the_moments_of_smooth_and_of_kinked_functions(correlation):
    k = torch.tensor([0.8, correlation * np.sqrt(0.8 * 1.3), 1.3], dtype=torch.float64)
    u, v, weight = bias.gaussian_rule(*k)
    torch.testing.assert_close(weight.sum(), torch.ones((), dtype=torch.float64))
    torch.testing.assert_close((weight * u**2 * v**2).sum(), k[0] * k[2] + 2 * k[1] ** 2)
    for name in ("relu", "erf"):
        sigma = nonlinearity(name)
        exact = sigma.expectations(GaussianPairs.from_covariance(*k))
        ours = ((weight * sigma(u) * sigma(v)).sum(), (weight * sigma.derivative(u) * sigma.derivative(v)).sum())
        torch.testing.assert_close(torch.stack(ours), torch.stack(exact), rtol=1e-9, atol=1e-10)
