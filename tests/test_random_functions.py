"""The linear model: its functions have the covariance K, and its gradient descent is kernel gradient descent."""

import math
from functools import partial

import numpy as np
import pytest
import torch

from replication.costs import CrossEntropy, LeastSquares
from replication.kernels import KernelOnData, tensor_identity
from replication.limit import theta_inf
from replication.random_functions import (
    LinearModel,
    fourier_functions,
    gaussian_functions,
    rbf,
    tabulated,
)
from replication.randomness import generator
from replication.training import DivergenceError

F64 = torch.float64
N, M = 5, 3
LENGTH = 1.3


def normal(*shape, key="normal"):
    return torch.randn(*shape, generator=generator(key, *shape), dtype=F64)


def everywhere(n_outputs=1):
    """Data and points off them, and Θ_∞ ⊗ Id on both together."""
    x = normal(N + M, 3, key="x")
    limit = partial(theta_inf, depth=3, nonlinearity="relu", beta=0.3)
    return x, tensor_identity(limit, n_outputs)(x)


def samplers(n_outputs):
    """Sampler, the points it is used on (data first), the kernel's matrix there."""
    x, matrix = everywhere(n_outputs)
    return {
        "gaussian": (gaussian_functions(matrix, n_outputs), torch.arange(N + M), matrix),
        "fourier": (fourier_functions(3, LENGTH, n_outputs), x, tensor_identity(rbf(LENGTH), n_outputs)(x)),
    }


every_sampler = pytest.mark.parametrize("name", ["gaussian", "fourier"])
outputs = pytest.mark.parametrize("n_outputs", [1, 3])


@outputs
@every_sampler
def test_functions_have_the_covariance_of_the_kernel(name, n_outputs):
    """Over 10⁵ functions every entry of the second moment is within 5 of its standard errors of K."""
    sampler, x, matrix = samplers(n_outputs)[name]
    number = 100_000
    values = sampler(number, generator("functions"))(x).flatten(1)
    assert values.dtype == F64
    second = values.T @ values / number
    fourth = values.square().T @ values.square() / number
    error = ((fourth - second.square()) / number).sqrt()
    assert ((second - matrix).abs() <= 5 * error).all()
    assert (error < 0.01 * matrix.diagonal().max()).all()
    mean_error = (matrix.diagonal() / number).sqrt()
    assert (values.mean(0).abs() <= 5 * mean_error).all()


@outputs
@every_sampler
def test_tangent_kernel_is_the_mean_of_the_products(name, n_outputs):
    sampler, x, _ = samplers(n_outputs)[name]
    model = LinearModel(sampler, 7, "model", block=7)
    values = sampler(7, generator("model", "functions", 0))(x)
    matrix = sum(torch.kron(v.reshape(-1, 1), v.reshape(1, -1)) for v in values) / 7
    torch.testing.assert_close(model.tangent_kernel(x), matrix)
    torch.testing.assert_close(model.tangent_kernel(x[:N], x[N:]), matrix[: N * n_outputs, N * n_outputs :])
    theta = normal(7)
    expected = sum(t * v for t, v in zip(theta, values, strict=True)) / math.sqrt(7)
    torch.testing.assert_close(model.output(theta, x), expected)


@every_sampler
def test_blocks_and_repeated_use_draw_the_same_functions(name):
    sampler, x, _ = samplers(2)[name]
    model = LinearModel(sampler, 50, "model", 3, block=8)
    twin = LinearModel(sampler, 50, "model", 3, block=8)
    theta = model.initial()
    assert torch.equal(model.tangent_kernel(x), twin.tangent_kernel(x))
    assert torch.equal(model.output(theta, x), twin.output(twin.initial(), x))
    # On part of the points the functions are the same ones.
    torch.testing.assert_close(model.output(theta, x[2:4]), model.output(theta, x)[2:4])
    torch.testing.assert_close(model.tangent_kernel(x[:2]), model.tangent_kernel(x)[:4, :4])
    other = LinearModel(sampler, 50, "model", 4, block=8)
    assert (other.tangent_kernel(x) - model.tangent_kernel(x)).abs().max() > 1e-3
    values = list(model.blocks(x))
    assert [len(block) for block in values] == [8] * 6 + [2]
    assert (values[0] - values[1]).abs().max() > 1e-3


def test_functions_come_from_the_stream_that_is_given():
    """Those of another draw are others, wherever the model draws."""
    sampler, x, _ = samplers(1)["fourier"]
    first, same, second = (
        LinearModel(sampler, 20, "model", stream=partial(generator, draw=draw), block=8) for draw in (0, 0, 1)
    )
    assert torch.equal(first.tangent_kernel(x), same.tangent_kernel(x))
    assert torch.equal(first.tangent_kernel(x), LinearModel(sampler, 20, "model", block=8).tangent_kernel(x))
    for block, other in zip(first.blocks(x), second.blocks(x), strict=True):
        assert not torch.isin(block, other).any()
    assert not torch.isin(first.initial(), second.initial()).any()


@every_sampler
def test_functions_are_evaluated_on_the_device_of_the_points(name):
    sampler, x, _ = samplers(2)[name]
    functions = sampler(7, generator("functions"))
    assert functions(x.to("meta")).device.type == "meta"
    assert functions(x.to("meta")).shape == functions(x).shape


def costs(n_outputs):
    yield LeastSquares(normal(N, n_outputs, key="target"))
    if n_outputs > 1:
        yield CrossEntropy(torch.arange(N) % n_outputs, n_outputs)


@outputs
@every_sampler
@pytest.mark.parametrize("kept", [True, False])
def test_gradient_descent_on_theta_is_kernel_gradient_descent(name, n_outputs, kept, monkeypatch):
    """f_{k+1} = f_k − η ∇_K̃ C on the data and off them, to rounding, for P below and above what one block holds."""
    if not kept:
        monkeypatch.setattr("replication.random_functions._KEPT", 0)
    sampler, x, _ = samplers(n_outputs)[name]
    data, away, rate = x[:N], x[N:], 0.1
    for number in (2, 100):
        model = LinearModel(sampler, number, "model", number, block=32)
        space = KernelOnData(model.tangent_kernel, data)
        for cost in costs(n_outputs):
            theta_0 = model.initial()
            f, g = model.output(theta_0, data), model.output(theta_0, away)
            states = 0
            for theta, moved in model.gradient_descent(theta_0, data, cost, rate, 20):
                states += 1
                torch.testing.assert_close(moved, f, rtol=0, atol=1e-12)
                torch.testing.assert_close(model.output(theta, away), g, rtol=0, atol=1e-12)
                f, g = f - rate * space.gradient(cost, f), g - rate * space.gradient(cost, f, away)
            assert states == 21
            assert torch.equal(theta_0, model.initial())
            assert cost.value(moved) < cost.value(model.output(theta_0, data))


def test_gradient_descent_follows_the_gradient_of_the_cost():
    """θ₁ − θ₀ = −η ∂_θ C(f_θ), with ∂_θ by autograd through the sum over functions."""
    sampler, x, _ = samplers(3)["fourier"]
    model = LinearModel(sampler, 40, "model", block=16)
    cost, values = CrossEntropy(torch.arange(N) % 3, 3), torch.cat(list(model.blocks(x[:N])))
    theta_0 = model.initial().requires_grad_()
    cost.value(torch.einsum("p,pik->ik", theta_0, values) / math.sqrt(40)).backward()
    (_, (theta, _)) = list(model.gradient_descent(theta_0.detach(), x[:N], cost, 0.3, 1))
    torch.testing.assert_close(theta, theta_0.detach() - 0.3 * theta_0.grad, rtol=1e-12, atol=1e-14)


def test_small_steps_are_the_flow_at_the_tangent_kernel():
    sampler, x, _ = samplers(1)["fourier"]
    model, cost = LinearModel(sampler, 30, "model"), next(costs(1))
    theta_0 = model.initial()
    f_0 = model.output(theta_0, x[:N])
    kernel = model.tangent_kernel(x[:N])
    (*_, (_, f)) = model.gradient_descent(theta_0, x[:N], cost, 1e-3, 2000)
    flow = f_0 - kernel @ cost.frozen_flow(kernel, f_0, 2.0)(2.0)
    torch.testing.assert_close(f, flow, rtol=0, atol=2e-3 * f_0.abs().max().item())


@outputs
@every_sampler
def test_tangent_kernel_converges_as_the_root_of_the_number(name, n_outputs):
    """‖K̃ − K‖_F² over 40 models at each P: the exponent of its root within 4 standard errors of −½."""
    sampler, x, matrix = samplers(n_outputs)[name]
    numbers, models = (10, 100, 1000), 40
    squares = np.array(
        [
            [
                (LinearModel(sampler, number, "rate", seed).tangent_kernel(x) - matrix).square().sum().item()
                for seed in range(models)
            ]
            for number in numbers
        ]
    )
    means = squares.mean(1)
    errors = squares.std(1, ddof=1) / math.sqrt(models) / means / 2
    exponent = np.polyfit(np.log(numbers), np.log(means) / 2, 1)[0]
    assert abs(exponent + 0.5) < 4 * math.hypot(errors[0], errors[-1]) / math.log(100)
    assert math.hypot(errors[0], errors[-1]) / math.log(100) < 0.05


def test_error_of_gaussian_functions_is_the_wishart_variance():
    """E‖K̃ − K‖_F² = (tr(K)² + ‖K‖_F²)/P."""
    sampler, x, matrix = samplers(1)["gaussian"]
    squares = [(LinearModel(sampler, 50, seed).tangent_kernel(x) - matrix).square().sum().item() for seed in range(300)]
    expected = (matrix.trace() ** 2 + matrix.square().sum()).item() / 50
    assert abs(np.mean(squares) - expected) < 4 * np.std(squares) / math.sqrt(300)


def test_many_functions_are_accumulated_block_by_block():
    """What is drawn at once is one block, whatever P."""
    sizes = []
    sampler, x, matrix = samplers(1)["gaussian"]

    def counting(number, stream):
        sizes.append(number)
        return sampler(number, stream)

    kernel = LinearModel(counting, 100_001, "many", block=10_000).tangent_kernel(x)
    assert sizes == [10_000] * 10 + [1]
    assert (kernel - matrix).abs().max() < 0.02 * matrix.abs().max()


@pytest.mark.slow
def test_a_million_functions():
    sampler, x, matrix = samplers(1)["gaussian"]
    error = LinearModel(sampler, 10**6, "million").tangent_kernel(x) - matrix
    expected = (matrix.trace() ** 2 + matrix.square().sum()).sqrt().item() / 1000
    assert error.square().sum().sqrt().item() < 3 * expected


def test_gaussian_functions_of_a_singular_kernel_stay_in_its_range():
    factor = normal(6, 2)
    values = gaussian_functions(factor @ factor.T)(100, generator("singular"))(torch.arange(6))[:, :, 0]
    assert torch.linalg.matrix_rank(values) == 2
    outside = values.T - factor @ torch.linalg.lstsq(factor, values.T).solution
    assert outside.abs().max() < 1e-7


@outputs
def test_tabulated_is_the_table(n_outputs):
    _, matrix = everywhere(n_outputs)
    kernel = tabulated(matrix, n_outputs)
    assert torch.equal(kernel(torch.arange(N + M)), matrix)
    i, j = torch.tensor([4, 0]), torch.tensor([1, 4, 6])
    block = kernel(i, j).reshape(2, n_outputs, 3, n_outputs)
    for a in range(2):
        for b in range(3):
            rows = slice(i[a] * n_outputs, (i[a] + 1) * n_outputs)
            columns = slice(j[b] * n_outputs, (j[b] + 1) * n_outputs)
            assert torch.equal(block[a, :, b], matrix[rows, columns])


def test_rbf_by_hand():
    kernel = rbf(2.0)(torch.tensor([[0.0, 0.0]]), torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    torch.testing.assert_close(kernel, torch.tensor([[1.0, math.exp(-25 / 8)]], dtype=F64))


def test_wrong_arguments_are_refused():
    sampler, x, matrix = samplers(1)["fourier"]
    model, cost = LinearModel(sampler, 10, "model"), LeastSquares(normal(N, 1))
    theta = model.initial()
    for number, block in ((0, 1), (10, 0), (2.5, 1)):
        with pytest.raises(ValueError, match="integer ≥ 1"):
            LinearModel(sampler, number, block=block)
    for length in (0.0, -1.0, math.nan, math.inf):
        for build in (rbf, lambda value: fourier_functions(3, value)):
            with pytest.raises(ValueError, match="length"):
                build(length)
    for n_0, n_outputs in ((0, 1), (3, 0)):
        with pytest.raises(ValueError, match="integer ≥ 1"):
            fourier_functions(n_0, 1.0, n_outputs)
    for wrong in (theta[1:], theta[:, None], theta * math.inf):
        with pytest.raises(ValueError, match="θ has to be"):
            model.output(wrong, x)
        with pytest.raises(ValueError, match="θ has to be"):
            next(model.gradient_descent(wrong, x[:N], cost, 0.1, 1))
    for rate, steps in ((0.0, 1), (math.nan, 1), (0.1, 0)):
        with pytest.raises(ValueError, match="has to be"):
            next(model.gradient_descent(theta, x[:N], cost, rate, steps))
    with pytest.raises(ValueError, match=r"f has shape \(5, 1\), the target f\* \(5, 2\)"):
        list(model.gradient_descent(theta, x[:N], LeastSquares(normal(N, 2)), 0.1, 1))
    with pytest.raises(ValueError, match="not finite"):
        model.output(theta, x * math.nan)
    with pytest.raises(ValueError, match="≥ 1 points"):
        model.tangent_kernel(x[:0])
    with pytest.raises(ValueError, match="cannot be"):
        LinearModel(lambda number, stream: lambda x: torch.ones(number, len(x)), 3).tangent_kernel(x)
    with pytest.raises(ValueError, match="not symmetric"):
        gaussian_functions(matrix.triu())
    with pytest.raises(ValueError, match="not positive"):
        gaussian_functions(-matrix)
    with pytest.raises(ValueError, match="N ≥ 1"):
        tabulated(torch.zeros(0, 0))
    with pytest.raises(DivergenceError, match="learning rate"):
        list(model.gradient_descent(theta, x[:N], cost, 1e200, 5))
