"""Kernels as operators on functions: products, norms, kernel gradient, definiteness."""

import numpy as np
import pytest
import torch
from kernels_fixtures import F64, M, N, data, every_kernel, limit_kernel, linear, mixing, normal
from scipy.integrate import solve_ivp

from replication.costs import Cost, CrossEntropy, LeastSquares
from replication.kernels import (
    KernelOnData,
    checked_kernel,
    inner,
    norm,
    principal_components,
    tensor_identity,
)


def entry(kernel, a, b):
    """K(a, b) at two points, (n_L, n_L)."""
    return kernel(a[None], b[None])


@every_kernel
def test_products_and_phi_are_the_sums_of_the_definition(kernel, n_outputs):
    x, away = data(), data(M, key="away")
    space = KernelOnData(kernel, x)
    f, g = normal(N, n_outputs, key="f"), normal(N, n_outputs, key="g")
    assert space.n_outputs == n_outputs
    assert inner(f, g).item() == pytest.approx(sum((f[i] @ g[i]).item() for i in range(N)) / N)
    assert norm(f).item() == pytest.approx((f.square().sum() / N).sqrt().item())
    expected = sum(f[i] @ entry(kernel, x[i], x[j]) @ g[j] for i in range(N) for j in range(N)) / N**2
    assert space.inner(f, g).item() == pytest.approx(expected.item(), rel=1e-10)
    for points, values in ((x, space.phi(g)), (x, space.phi(g, x)), (away, space.phi(g, away))):
        for z, value in zip(points, values, strict=True):
            by_hand = sum(entry(kernel, z, x[j]) @ g[j] for j in range(N)) / N
            torch.testing.assert_close(value, by_hand, rtol=1e-10, atol=1e-12)


@every_kernel
def test_pi_is_symmetric_and_kernel_norm_is_its_quadratic_form(kernel, n_outputs):
    space = KernelOnData(kernel, data())
    f, g = normal(N, n_outputs, key="f"), normal(N, n_outputs, key="g")
    assert inner(space.pi(f), g).item() == pytest.approx(inner(f, space.pi(g)).item(), rel=1e-10)
    assert inner(space.pi(f), f).item() == pytest.approx(space.inner(f, f).item(), rel=1e-12)
    torch.testing.assert_close(space.pi(f).flatten(), space.matrix @ f.flatten() / N)


def test_leading_dimensions_are_independent():
    space = KernelOnData(mixing, data())
    f, away = normal(5, 2, N, 2), data(M, key="away")
    for values in (space.phi(f), space.phi(f, away), space.inner(f, f)[..., None, None]):
        assert values.shape[:2] == (5, 2)
    torch.testing.assert_close(space.phi(f, away)[3, 1], space.phi(f[3, 1], away))
    torch.testing.assert_close(space.inner(f, f)[3, 1], space.inner(f[3, 1], f[3, 1]))


def test_blocks_of_points_off_the_data_do_not_change_phi():
    space, away = KernelOnData(limit_kernel, data()), data(1500, key="away")
    d = normal(N, 1)
    torch.testing.assert_close(space.phi(d, away), limit_kernel(away, space.x) @ d / N)


def costs(n_outputs):
    yield LeastSquares(normal(N, n_outputs, key="target"))
    if n_outputs > 1:
        yield CrossEntropy(torch.arange(N) % n_outputs, n_outputs)


@every_kernel
def test_kernel_gradient_against_finite_differences_of_the_cost(kernel, n_outputs):
    """∂_ε C(f + εK(·, z)u) at ε = 0 is ⟨d, K(·, z)u⟩ = u·∇_K C(z), for z on and off the data."""
    space, away = KernelOnData(kernel, data()), data(M, key="away")
    f, step = normal(N, n_outputs, key="f"), 1e-4
    for cost in costs(n_outputs):
        for points in (space.x, away):
            gradient = space.gradient(cost, f, points)
            columns = space.kernel(space.x, points).reshape(N, n_outputs, len(points), n_outputs)
            for i in range(len(points)):
                for k in range(n_outputs):
                    g = columns[:, :, i, k]
                    difference = (cost.value(f + step * g) - cost.value(f - step * g)) / (2 * step)
                    assert gradient[i, k].item() == pytest.approx(difference.item(), rel=1e-6, abs=1e-9)
        torch.testing.assert_close(space.gradient(cost, f), space.gradient(cost, f, space.x))


@every_kernel
def test_cost_falls_at_the_rate_of_the_kernel_norm(kernel, n_outputs):
    """Along ∂_t f = −∇_K C, integrated on and off the data by DOP853: ∂_t C = −‖d‖²_K."""
    space, away = KernelOnData(kernel, data()), data(M, key="away")
    f_0 = normal(N + M, n_outputs, key="f")
    for cost in costs(n_outputs):

        def rate(_, values, cost=cost):
            f = torch.from_numpy(values).reshape(N + M, n_outputs)[:N]
            return -torch.cat([space.gradient(cost, f), space.gradient(cost, f, away)]).flatten().numpy()

        times = np.array([0.0, 0.499, 0.5, 0.501])
        solution = solve_ivp(rate, (0, 1), f_0.flatten().numpy(), "DOP853", t_eval=times, rtol=1e-12, atol=1e-13)
        f = torch.from_numpy(solution.y.T.copy()).reshape(4, N + M, n_outputs)
        d = cost.direction(f[2, :N])
        slope = (cost.value(f[3, :N]) - cost.value(f[1, :N])) / (times[3] - times[1])
        assert slope.item() == pytest.approx(-space.inner(d, d).item(), rel=1e-5)
        # Off the data f is moved by the integral of d, as Cost.frozen_flow has it.
        w = cost.frozen_flow(space.matrix, f_0[:N], 0.6)(0.5)
        torch.testing.assert_close(f[2, :N], f_0[:N] - N * space.phi(w), rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(f[2, N:], f_0[N:] - N * space.phi(w, away), rtol=1e-7, atol=1e-7)


def test_positive_definiteness():
    assert KernelOnData(limit_kernel, data()).is_positive_definite()
    assert KernelOnData(linear, data(3)).is_positive_definite()
    assert not KernelOnData(linear, data(4)).is_positive_definite()  # rank n_0 = 3
    assert not KernelOnData(lambda x, x2=None: -linear(x, x2), data(3)).is_positive_definite()
    assert not KernelOnData(lambda x, x2=None: 0 * linear(x, x2), data(3)).is_positive_definite()


def test_definiteness_is_relative_to_the_largest_eigenvalue():
    """Whatever the unit of K; and a λ_min/λ_max of 1e-8 is resolved by default, not at a tolerance of 1e-6."""
    q = torch.linalg.qr(normal(5, 5)).Q
    points = torch.eye(5, dtype=F64)
    for scale in (1e-30, 1.0, 1e30):
        for smallest, tolerance, expected in ((1e-8, None, True), (1e-8, 1e-6, False), (1e-17, None, False)):
            matrix = scale * (q * torch.tensor([1, 0.5, 0.1, 1e-3, smallest], dtype=F64)) @ q.T
            space = KernelOnData(lambda x, x2=None, k=matrix: x @ k @ (x if x2 is None else x2).T, points)
            assert space.is_positive_definite(tolerance) is expected


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_definiteness_is_with_respect_to_p_in_not_to_the_list_of_inputs(n_outputs):
    """An input that occurs twice makes K̃ singular, but a function has one value there."""
    x = data()[[0, 1, 2, 1, 3]]
    space = KernelOnData(tensor_identity(limit_kernel, n_outputs), x)
    assert space.spectrum[-n_outputs] < 1e-14
    assert space.is_positive_definite()
    assert not KernelOnData(linear, torch.cat([data(4), data(4)])).is_positive_definite()


def test_tensor_identity_is_independent_outputs():
    x, away = data(), data(M, key="away")
    scalar, tensor = KernelOnData(limit_kernel, x), KernelOnData(tensor_identity(limit_kernel, 3), x)
    d = normal(N, 3)
    for points in (None, away):
        expected = torch.cat([scalar.phi(d[:, k : k + 1], points) for k in range(3)], dim=1)
        torch.testing.assert_close(tensor.phi(d, points), expected)
    torch.testing.assert_close(tensor.spectrum, scalar.spectrum.repeat_interleave(3))


BAD_MATRICES = {
    "(N n_L, N n_L)": torch.zeros(0, 0),
    r"not \(2, 3\)": torch.ones(2, 3),
    "not finite": torch.tensor([[1.0, torch.nan], [torch.nan, 1.0]]),
    "not symmetric": torch.tensor([[1.0, 0.5], [0.4, 1.0]]),
    "not positive": torch.tensor([[1.0, 2.0], [2.0, 1.0]]),
}


@pytest.mark.parametrize("message", BAD_MATRICES)
def test_wrong_matrices_are_refused_in_one_line(message):
    with pytest.raises(ValueError, match=message.replace("(N n_L, N n_L)", "N ≥ 1")) as error:
        principal_components(BAD_MATRICES[message])
    assert "\n" not in str(error.value)


def test_wrong_functions_and_data_are_refused():
    space = KernelOnData(limit_kernel, data())
    f = normal(N, 1)
    for wrong in (f[:-1], f.flatten(), normal(N, 2), f[:0]):
        for act in (space.phi, space.pi, lambda g: space.inner(f, g), lambda g: inner(f, g)):
            with pytest.raises(ValueError, match="shape"):
                act(wrong)
        with pytest.raises(ValueError, match="shape"):
            space.gradient(LeastSquares(f), wrong)
    with pytest.raises(ValueError, match="not finite"):
        space.phi(f * torch.inf)
    with pytest.raises(ValueError, match="shape"):
        principal_components(space.matrix).coefficients(f.flatten())
    with pytest.raises(ValueError, match="shape"):
        space.gradient(LeastSquares(normal(N, 3)), f)  # broadcasts to a direction of three outputs
    for x in (torch.zeros(0, 3), torch.full((2, 3), torch.nan), torch.tensor(1.0)):
        with pytest.raises(ValueError, match="N ≥ 1"):
            KernelOnData(limit_kernel, x)
    with pytest.raises(ValueError, match="shape"):
        _ = KernelOnData(lambda x, x2=None: linear(x, x2)[:2, :2], data()).matrix
    with pytest.raises(ValueError, match="n_L = 4"):
        checked_kernel(space.matrix, 4)
    with pytest.raises(ValueError, match="outputs"):
        tensor_identity(limit_kernel, 0)
    for count in (0, N + 1):
        with pytest.raises(ValueError, match="the number of principal components must be in"):
            principal_components(space.matrix, count=count)
    for tolerance in (-1.0, 1.0, torch.nan):
        with pytest.raises(ValueError, match="tolerance"):
            principal_components(space.matrix, tolerance=tolerance)


def test_any_cost_can_be_descended():
    """A cost of the user's own needs a value and a direction; kernel gradient descent lowers it."""

    class Quartic(Cost):
        def value(self, f):
            return f.pow(4).sum(dim=-1).mean(dim=-1) / 4

        def direction(self, f):
            return f.pow(3)

    space, cost, f = KernelOnData(mixing, data()), Quartic(), normal(N, 2)
    values = []
    for _ in range(5):
        values.append(cost.value(f).item())
        f = f - 0.01 * space.gradient(cost, f)
    assert np.all(np.diff(values) < 0)
