"""The limit kernels against golden numbers, a 40-digit recursion, and themselves computed otherwise."""

import math

import mpmath as mp
import numpy as np
import pytest
import torch

from replication.limit import limit, sigma_inf, theta_inf
from replication.nonlinearities import NONLINEARITIES, from_function, nonlinearity

F64 = torch.float64


def circle(*angles: float) -> torch.Tensor:
    gamma = torch.tensor(angles, dtype=F64)
    return torch.stack([gamma.cos(), gamma.sin()], 1)


def gaussian(n: int, n_0: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, n_0, dtype=F64, generator=torch.Generator().manual_seed(seed))


def test_golden_numbers():
    quarter = math.pi / 4
    kernels = limit(
        circle(0), circle(0, quarter, 2 * quarter, 3 * quarter, 4 * quarter), depth=4, nonlinearity="relu", beta=0.1
    )
    assert kernels.theta[-1, 0].tolist() == pytest.approx([0.28250, 0.16997, 0.09270, 0.06604, 0.06435], abs=5.1e-6)
    assert float(kernels.sigma[-1, 0, 0]) == pytest.approx(0.08125, rel=1e-14, abs=0)


def relu_recursion(x, y, depth, beta):
    """(Σ, Σ̇, Θ) of every layer at the working precision, straight from the paper's recursion and Cho & Saul."""
    n_0, bias = len(x), mp.mpf(beta) ** 2

    def dot(p, q):
        return mp.fdot(map(mp.mpf, p.tolist()), map(mp.mpf, q.tolist())) / n_0 + bias

    k11, k12, k22 = dot(x, x), dot(x, y), dot(y, y)
    theta, layers = k12, [(k12, mp.mpf(0), k12)]
    for _ in range(depth - 1):
        size = mp.sqrt(k11 * k22)
        angle = mp.acos(max(-1, min(1, k12 / size)))
        k12 = size * (mp.sin(angle) + (mp.pi - angle) * mp.cos(angle)) / (2 * mp.pi) + bias
        k11, k22 = k11 / 2 + bias, k22 / 2 + bias
        slope = (mp.pi - angle) / (2 * mp.pi)
        theta = theta * slope + k12
        layers.append((k12, slope, theta))
    return layers


def edge_cases() -> tuple[torch.Tensor, torch.Tensor]:
    x, d = gaussian(2, 3)
    moved = [sign * x + t * d for t in (1e-16, 1e-12, 1e-8, 1e-4, 1e-2) for sign in (1, -1)]
    return x.unsqueeze(0), torch.stack([x, -x, (1 + 1e-9) * x, 30 * x, -1e-3 * x, d, *moved])


@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0])
def test_relu_recursion_at_nearly_equal_opposite_and_radially_different_inputs(beta):
    """Within 1e-13 of the 60-digit recursion, relative to |K(x,x')| + √(K(x,x) K(x',x'))/1000."""
    x, x2 = edge_cases()
    actual = limit(x, x2, depth=6, nonlinearity="relu", beta=beta)
    with mp.workdps(60):
        for i, other in enumerate(x2):
            between, first, second = (
                relu_recursion(*p, 6, beta) for p in ((x[0], other), (x[0], x[0]), (other, other))
            )
            for layer in range(6):
                for kernel, exact, one, two in zip(
                    (actual.sigma, actual.sigma_dot, actual.theta),
                    between[layer],
                    first[layer],
                    second[layer],
                    strict=True,
                ):
                    size = abs(exact) + mp.sqrt(one * two) / 1000
                    assert abs(float(kernel[layer, 0, i]) - exact) <= 1e-13 * size


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_recursion_is_the_papers(name):
    """The kernels of every layer follow from the expectations over the layer before."""
    from replication.gaussian import GaussianPairs

    choice, beta = nonlinearity(name), 0.3
    x, x2 = gaussian(3, 4), gaussian(2, 4, seed=1)
    actual = limit(x, x2, depth=3, nonlinearity=choice, beta=beta)
    k12, k11, k22 = (p @ q.T / 4 + beta**2 for p, q in ((x, x2), (x, x), (x2, x2)))
    theta = k12
    for layer in range(3):
        torch.testing.assert_close(actual.sigma[layer], k12, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(actual.theta[layer], theta, rtol=1e-12, atol=1e-14)
        pairs = GaussianPairs.from_covariance(k11.diagonal().unsqueeze(1), k12, k22.diagonal().unsqueeze(0))
        k12, slope = choice.expectations(pairs)
        k12 = k12 + beta**2
        k11, k22 = (choice.expectations(GaussianPairs.identical(k.diagonal()))[0].diag() + beta**2 for k in (k11, k22))
        theta = theta * slope + k12


@pytest.mark.parametrize("name", NONLINEARITIES)
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_zero_and_repeated_inputs_are_ordinary(name, beta):
    x = torch.cat([torch.zeros(1, 3, dtype=F64), gaussian(2, 3), gaussian(1, 3)])
    actual = limit(x, depth=3, nonlinearity=name, beta=beta)
    for kernel in (actual.sigma, actual.sigma_dot, actual.theta):
        assert torch.isfinite(kernel).all()
        torch.testing.assert_close(kernel[:, 1], kernel[:, 3], rtol=1e-13, atol=1e-15)
        torch.testing.assert_close(kernel[:, 1, 1], kernel[:, 1, 3], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", ["relu", "erf", "tanh"])
def test_kernels_are_symmetric_and_do_not_depend_on_blocks(name):
    x = gaussian(23, 5)
    whole = limit(x, depth=3, nonlinearity=name, beta=0.1)
    for kernel in (whole.sigma, whole.sigma_dot, whole.theta):
        assert torch.equal(kernel, kernel.mT)
    for other in (
        limit(x, depth=3, nonlinearity=name, beta=0.1, block=4),
        limit(x, x, depth=3, nonlinearity=name, beta=0.1, block=7),
    ):
        for kernel, expected in ((other.sigma, whole.sigma), (other.theta, whole.theta)):
            torch.testing.assert_close(kernel, expected, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("x2", [None, gaussian(300, 5, seed=1)])
def test_blocks_at_once_give_the_numbers_of_one_after_another(x2):
    """To the last digit, but for the products of the inputs; what torch's threads are set to stays."""
    x, before = gaussian(400, 5), torch.get_num_threads()
    actual = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            actual.append(limit(x, x2, depth=3, nonlinearity="relu", beta=0.1))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(actual[0].theta, actual[1].theta, rtol=1e-14, atol=0)


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_single_precision_on_request(name):
    """Within 1e-6 of the largest entry, for equal, opposite and nearly equal inputs too; exactly symmetric."""
    x, d = gaussian(50, 5), gaussian(1, 5, seed=1)
    x = torch.cat([x, x[:1], -x[:1], x[:1] + 1e-4 * d])
    exact = limit(x, depth=4, nonlinearity=name, beta=0.1)
    actual = limit(x, depth=4, nonlinearity=name, beta=0.1, dtype=torch.float32)
    for kernel, expected in zip(
        (actual.sigma, actual.sigma_dot, actual.theta), (exact.sigma, exact.sigma_dot, exact.theta), strict=True
    ):
        assert kernel.dtype == torch.float32
        assert torch.equal(kernel, kernel.mT)
        for layer, expected_layer in zip(kernel, expected, strict=True):
            scale = max(float(expected_layer.abs().max()), 1e-30)
            torch.testing.assert_close(layer.double(), expected_layer, rtol=0, atol=1e-6 * scale)


def test_helpers_are_the_last_layer():
    x, x2 = gaussian(4, 5), gaussian(3, 5, seed=1)
    kernels = limit(x, x2, depth=4, nonlinearity="relu", beta=0.1)
    assert torch.equal(kernels.theta_inf, theta_inf(x, x2, depth=4, nonlinearity="relu", beta=0.1))
    assert torch.equal(kernels.sigma_inf, sigma_inf(x, x2, depth=4, nonlinearity="relu", beta=0.1))


def test_depth_one_is_linear():
    x = gaussian(4, 5)
    kernels = limit(x, depth=1, nonlinearity="relu", beta=0.5)
    torch.testing.assert_close(kernels.theta[0], x @ x.T / 5 + 0.25, rtol=1e-14, atol=1e-14)
    assert torch.equal(kernels.theta, kernels.sigma)


def test_a_deep_identity_network_is_linear():
    """σ(x) = x, β = 0: Σ⁽ˡ⁾ = xᵀx'/n_0 and Θ_∞⁽ˡ⁾ = l xᵀx'/n_0."""
    x = gaussian(6, 3)
    kernels = limit(x, depth=5, nonlinearity="identity", beta=0.0)
    for layer in range(5):
        torch.testing.assert_close(kernels.sigma[layer], x @ x.T / 3, rtol=1e-13, atol=1e-15)
        torch.testing.assert_close(kernels.theta[layer], (layer + 1) * x @ x.T / 3, rtol=1e-13, atol=1e-15)


def test_relu_by_quadrature_follows_the_closed_form_through_the_layers():
    x = circle(0.0, 1e-9, 1e-3, 2.0, math.pi)
    relu = nonlinearity("relu")
    mine = from_function("mine", relu, relu.derivative, kinks=(0.0,))
    expected = limit(x, depth=3, nonlinearity=relu, beta=0.1)
    actual = limit(x, depth=3, nonlinearity=mine, beta=0.1)
    torch.testing.assert_close(actual.theta, expected.theta, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(actual.sigma_dot, expected.sigma_dot, rtol=1e-13, atol=1e-15)


def test_numpy_and_single_precision_inputs_are_taken():
    x = gaussian(3, 4).float()
    expected = theta_inf(x.double(), depth=3, nonlinearity="relu", beta=0.1)
    for inputs in (x, x.numpy(), np.asarray(x.tolist())):
        actual = theta_inf(inputs, depth=3, nonlinearity="relu", beta=0.1)
        assert actual.dtype == F64
        assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": torch.zeros(3)}, r"x has shape \(3,\)"),
        ({"x": torch.zeros(0, 3)}, r"x has shape \(0, 3\)"),
        ({"x": torch.zeros(3, 0)}, r"x has shape \(3, 0\)"),
        ({"x2": torch.zeros(2, 4)}, "3 and 4 coordinates"),
        ({"x2": torch.full((1, 3), math.nan)}, "x2 has values that are not finite"),
        ({"x": torch.zeros(2, 3, dtype=torch.complex64)}, "complex"),
        ({"depth": 0}, "depth is 0"),
        ({"depth": 2.5}, "depth is 2.5"),
        ({"beta": -0.1}, "beta is -0.1"),
        ({"beta": math.inf}, "beta is inf"),
        ({"block": 0}, "block is 0"),
        ({"dtype": torch.float16}, "dtype is torch.float16"),
        ({"nonlinearity": "rleu"}, "'rleu'"),
    ],
)
def test_refusals_are_one_line(change, message):
    arguments = {"x": torch.ones(2, 3), "depth": 3, "nonlinearity": "relu", "beta": 0.1} | change
    with pytest.raises(ValueError, match=message) as raised:
        limit(**arguments)
    assert "\n" not in str(raised.value)


def test_a_kernel_that_overflows_is_an_error():
    x, deep = torch.full((2, 1), 2.0), {"nonlinearity": "quadratic", "beta": 0.1}
    assert torch.isfinite(theta_inf(x, depth=8, **deep)).all()
    for compute in (limit, sigma_inf, theta_inf):
        with pytest.raises(OverflowError, match=r"depth 12 leaves torch.float64: σ = quadratic, β = 0.1"):
            compute(x, depth=12, **deep)
