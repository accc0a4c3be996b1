"""Kernels on data against sums written out, their gradient against finite differences, power iteration against eigh."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp

from replication.costs import Cost, CrossEntropy, LeastSquares
from replication.kernels import (
    KernelOnData,
    PrincipalComponents,
    checked_kernel,
    inner,
    norm,
    power_iteration,
    principal_components,
    tensor_identity,
)
from replication.limit import theta_inf
from replication.network import Network
from replication.random_functions import tabulated
from replication.randomness import generator
from replication.tangent import tangent_kernel

F64 = torch.float64
N, M = 6, 4
limit_kernel = partial(theta_inf, depth=3, nonlinearity="relu", beta=0.3)


def normal(*shape, key="normal"):
    return torch.randn(*shape, generator=generator(key, *shape), dtype=F64)


def network_kernel(n_outputs):
    widths = [3, 12, 12, n_outputs]
    net = Network.init(widths, generator=generator("net"), nonlinearity="tanh", beta=0.3, dtype=F64)
    return partial(tangent_kernel, net)


def mixing(x, x2=None):
    """A kernel whose outputs interact differently at every pair: K(x, x') = A(x) A(x')ᵀ, A(x) of shape (2, 30)."""
    weights = normal(2, 30, 3, key="mixing")
    rows, columns = (torch.einsum("oij,xj->xoi", weights, z).tanh().flatten(0, 1) for z in (x, x if x2 is None else x2))
    return rows @ columns.T


KERNELS = {
    "limit": (limit_kernel, 1),
    "limit ⊗ Id": (tensor_identity(limit_kernel, 3), 3),
    "network": (network_kernel(1), 1),
    "network, 3 outputs": (network_kernel(3), 3),
    "mixing": (mixing, 2),
}
every_kernel = pytest.mark.parametrize(("kernel", "n_outputs"), KERNELS.values(), ids=KERNELS)


def data(n=N, key="data"):
    return normal(n, 3, key=key)


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


@every_kernel
def test_at_most_n_outputs_times_n_eigenvalues_are_positive(kernel, n_outputs):
    space = KernelOnData(kernel, data())
    assert space.spectrum.shape == (N * n_outputs,)
    expected = np.linalg.eigvalsh(space.matrix.numpy() / N)[::-1]
    np.testing.assert_allclose(space.spectrum.numpy(), expected, rtol=1e-8, atol=1e-13)


def linear(x, x2=None):
    return x @ (x if x2 is None else x2).T


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


def assert_components(found: PrincipalComponents, space, tolerance):
    """Πf⁽ⁱ⁾ = λ_i f⁽ⁱ⁾, ⟨f⁽ⁱ⁾, f⁽ʲ⁾⟩ = δ_ij, λ descending."""
    functions = found.functions
    residual = norm(space.pi(functions) - found.eigenvalues[:, None, None] * functions)
    assert (residual <= tolerance * found.eigenvalues).all()
    torch.testing.assert_close(inner(functions[:, None], functions), torch.eye(len(functions), dtype=F64))
    assert (found.eigenvalues.diff() <= 1e-12).all()


def test_power_iteration_starts_where_its_stream_says():
    space, multiplied = KernelOnData(limit_kernel, data(30)), []

    def pi(v):
        multiplied.append(v)
        return space.pi(v)

    power_iteration(pi, (30, 1), 1, stream=torch.Generator().manual_seed(3))
    start = torch.randn(2, 30, generator=torch.Generator().manual_seed(3), dtype=F64)
    torch.testing.assert_close(multiplied[0][:, 0], start[0])


@every_kernel
def test_power_iteration_is_eigh(kernel, n_outputs):
    space = KernelOnData(kernel, data(12))
    by_eigh = principal_components(space.matrix, n_outputs, 5)
    by_power = power_iteration(space.pi, (12, n_outputs), 5, 1e-9)
    assert_components(by_eigh, space, 1e-10)
    assert_components(by_power, space, 1.1e-9)
    torch.testing.assert_close(by_power.eigenvalues, by_eigh.eigenvalues, rtol=1e-10, atol=0)


def test_power_iteration_finds_the_same_functions_with_the_same_signs():
    space = KernelOnData(limit_kernel, data(30))
    by_eigh = principal_components(space.matrix, count=4)
    by_power = power_iteration(space.pi, (30, 1), 4, 1e-10)
    torch.testing.assert_close(by_power.functions, by_eigh.functions, rtol=0, atol=1e-7)
    largest = by_eigh.functions.flatten(1).abs().argmax(1)
    assert (by_eigh.functions.flatten(1)[torch.arange(4), largest] > 0).all()


def test_signs_do_not_hang_on_rounding_where_the_largest_entries_tie():
    """On symmetric data f⁽ⁱ⁾ takes ±its largest value at several inputs: the first of them decides."""
    matrix = torch.tensor([[2.0, -1.0], [-1.0, 2.0]], dtype=F64)
    for bump in (-1e-15, 0.0, 1e-15):
        noisy = matrix + torch.tensor([[bump, 0.0], [0.0, -bump]], dtype=F64)
        functions = principal_components(noisy).functions.flatten(1)
        torch.testing.assert_close(functions, torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=F64))


def with_spectrum(eigenvalues, n_outputs=1):
    """A kernel matrix on N = len/n_L points whose K̃/N has the given eigenvalues."""
    n = len(eigenvalues) // n_outputs
    q = torch.linalg.qr(normal(len(eigenvalues), len(eigenvalues))).Q
    return n * (q * torch.tensor(eigenvalues, dtype=F64)) @ q.T


@pytest.mark.parametrize("n_outputs", [1, 2])
@pytest.mark.parametrize(
    "spectrum",
    [
        [1, 1, 1, 0.5, 0.2, 0.2, 0.1, 0.1],
        [1, 1, 1, 1, 1, 1, 1, 1],
        [1, 0.98, 0.5, 0.49, 0.1, 0, 0, 0],
        [1, 1e-3, 0.9e-3, 0.5e-3, 1e-4, 0, 0, 0],
        [1e6, 1, 0.5, 0.3, 0.1, 0.01, 0, 0],
    ],
    ids=["degenerate", "identity", "close", "gap", "wide gap"],
)
def test_power_iteration_on_hard_spectra(spectrum, n_outputs):
    """To 1e-8 in the residual of Π itself, also where λ_1/λ_i is so large that f⁽¹⁾'s error drowns f⁽ⁱ⁾."""
    matrix = with_spectrum(spectrum, n_outputs)
    n = len(spectrum) // n_outputs
    space = KernelOnData(tabulated(matrix, n_outputs), torch.arange(n))
    found = power_iteration(space.pi, (n, n_outputs), 5)
    assert_components(found, space, 1.01e-8)
    torch.testing.assert_close(found.eigenvalues, torch.tensor(spectrum[:5], dtype=F64), rtol=1e-9, atol=0)


def test_power_iteration_needs_products_only():
    """With the factor of a kernel of rank 8 on 3000 points: an N × N matrix of 72 MB is never there."""
    factor = normal(3000, 8) * torch.arange(1, 9)
    products = 0

    def pi(v):
        nonlocal products
        products += 1
        return factor @ (factor.T @ v) / 3000

    found = power_iteration(pi, (3000, 1), 8)
    expected = torch.linalg.eigvalsh(factor.T @ factor / 3000).flip(0)
    torch.testing.assert_close(found.eigenvalues, expected, rtol=1e-10, atol=0)
    assert products < 350  # 413 without deflation
    products = 0
    power_iteration(pi, (3000, 1), 3, tolerance=1e-2)
    assert products < 60


def test_power_iteration_on_rows_of_the_kernel_never_forms_the_matrix():
    space = KernelOnData(limit_kernel, data(20))
    found = power_iteration(lambda v: space.pi(v, space.x), (20, 1), 2)
    assert "matrix" not in vars(space)
    torch.testing.assert_close(found.eigenvalues, space.spectrum[:2])


def test_power_iteration_says_what_is_wrong():
    low = KernelOnData(linear, data(10))
    assert power_iteration(low.pi, (10, 1), 3).eigenvalues[-1] > 0
    with pytest.raises(ValueError, match="only 3 positive"):
        power_iteration(low.pi, (10, 1), 4)
    with pytest.raises(ValueError, match="only 0 positive"):
        power_iteration(lambda v: 0 * v, (10, 1), 1)
    with pytest.raises(ValueError, match="not positive"):
        power_iteration(lambda v: v - 5 * v.mean(), (10, 1), 3)
    with pytest.raises(ValueError, match="not symmetric"):
        power_iteration(lambda v: v.cumsum(0), (10, 1), 1)
    with pytest.raises(ValueError, match="not finite"):
        power_iteration(lambda v: v / 0, (10, 1), 1)
    with pytest.raises(ValueError, match="shape"):
        power_iteration(lambda v: v[1:], (10, 1), 1)
    with pytest.raises(RuntimeError, match=r"component 1: .* after 3 iterations"):
        power_iteration(KernelOnData(limit_kernel, data(10)).pi, (10, 1), 2, limit=3)
    for shape, count in (((0, 1), 1), ((10, 1), 0), ((10, 1), 11)):
        with pytest.raises(ValueError, match="count"):
            power_iteration(lambda v: v, shape, count)


def test_power_iteration_knows_what_rounding_leaves_it():
    """λ = 1e-15·λ_1 is not told from 0; 1e-12·λ_1 is, although a random start hardly sees it at first."""
    diagonal = torch.tensor([1.0, 1.0, 1.0] + [1e-15] * 7, dtype=F64)[:, None]
    with pytest.raises(ValueError, match="only 3 positive"):
        power_iteration(lambda v: diagonal * v, (10, 1), 4)
    diagonal = torch.zeros(400, 1, dtype=F64)
    diagonal[:2, 0] = torch.tensor([1.0, 1e-12])
    found = power_iteration(lambda v: diagonal * v, (400, 1), 2, tolerance=1e-2)
    assert found.eigenvalues[1].item() == pytest.approx(1e-12, rel=1e-3)


@every_kernel
def test_eigenfunctions_off_the_data(kernel, n_outputs):
    """At the data themselves the extension is the eigenfunction; elsewhere Πf⁽ⁱ⁾ = λ_i f⁽ⁱ⁾ holds too."""
    space, away = KernelOnData(kernel, data()), data(M, key="away")
    found = principal_components(space.matrix, n_outputs, 4)
    torch.testing.assert_close(space.extend(found, space.x), found.functions, rtol=1e-7, atol=1e-9)
    extended = space.extend(found, away)
    assert extended.shape == (4, M, n_outputs)
    torch.testing.assert_close(found.eigenvalues[:, None, None] * extended, space.pi(found.functions, away))
    f = normal(5, N, n_outputs)
    every = principal_components(space.matrix, n_outputs)
    back = torch.einsum("si,ink->snk", every.coefficients(f), every.functions)
    torch.testing.assert_close(back, f)


def test_nystroem_extension_approaches_the_eigenfunctions_of_the_circle():
    """On an even grid of the circle the eigenfunctions are cos and sin of kγ, also between the points of the grid."""
    angles = torch.arange(64, dtype=F64) * 2 * torch.pi / 64
    kernel = partial(theta_inf, depth=3, nonlinearity="relu", beta=0.1)
    space = KernelOnData(kernel, torch.stack([angles.cos(), angles.sin()], 1))
    found = principal_components(space.matrix, count=3)
    middle = angles + torch.pi / 64
    extended = space.extend(found, torch.stack([middle.cos(), middle.sin()], 1))[:, :, 0]
    torch.testing.assert_close(extended[0], torch.ones(64, dtype=F64), rtol=1e-3, atol=0)
    plane = torch.stack([middle.cos(), middle.sin()], 1)
    fit = torch.linalg.lstsq(plane, extended[1:].T)
    assert (plane @ fit.solution - extended[1:].T).abs().max() < 1e-2
    torch.testing.assert_close(fit.solution.norm(dim=0), torch.full((2,), 2.0**0.5, dtype=F64), rtol=1e-2, atol=0)


def test_tensor_identity_is_independent_outputs():
    x, away = data(), data(M, key="away")
    scalar, tensor = KernelOnData(limit_kernel, x), KernelOnData(tensor_identity(limit_kernel, 3), x)
    d = normal(N, 3)
    for points in (None, away):
        expected = torch.cat([scalar.phi(d[:, k : k + 1], points) for k in range(3)], dim=1)
        torch.testing.assert_close(tensor.phi(d, points), expected)
    torch.testing.assert_close(tensor.spectrum, scalar.spectrum.repeat_interleave(3))


def test_zero_eigenvalues_are_exactly_zero_and_do_not_extend():
    space = KernelOnData(linear, data())
    found = principal_components(space.matrix)
    assert (found.eigenvalues > 0).sum() == 3
    assert (found.eigenvalues[3:] == 0).all()
    torch.testing.assert_close(inner(found.functions[:, None], found.functions), torch.eye(N, dtype=F64))
    with pytest.raises(ValueError, match="λ_i > 0"):
        space.extend(found, data(M, key="away"))


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
        with pytest.raises(ValueError, match="can be asked for"):
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
