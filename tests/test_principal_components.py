"""Kernel principal components by power iteration and by eigh, on the data and off them."""

from functools import partial

import numpy as np
import pytest
import torch
from kernels_fixtures import F64, M, N, data, every_kernel, limit_kernel, linear, normal

from replication.kernels import (
    KernelOnData,
    PrincipalComponents,
    inner,
    norm,
    power_iteration,
    principal_components,
)
from replication.limit import theta_inf
from replication.random_functions import tabulated


@every_kernel
def test_at_most_n_outputs_times_n_eigenvalues_are_positive(kernel, n_outputs):
    space = KernelOnData(kernel, data())
    assert space.spectrum.shape == (N * n_outputs,)
    expected = np.linalg.eigvalsh(space.matrix.numpy() / N)[::-1]
    np.testing.assert_allclose(space.spectrum.numpy(), expected, rtol=1e-8, atol=1e-13)


def assert_components(components: PrincipalComponents, space, tolerance):
    """Πf⁽ⁱ⁾ = λ_i f⁽ⁱ⁾, ⟨f⁽ⁱ⁾, f⁽ʲ⁾⟩ = δ_ij, λ descending."""
    functions = components.functions
    residual = norm(space.pi(functions) - components.eigenvalues[:, None, None] * functions)
    assert (residual <= tolerance * components.eigenvalues).all()
    torch.testing.assert_close(inner(functions[:, None], functions), torch.eye(len(functions), dtype=F64))
    assert (components.eigenvalues.diff() <= 1e-12).all()


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
    components = power_iteration(space.pi, (n, n_outputs), 5)
    assert_components(components, space, 1.01e-8)
    torch.testing.assert_close(components.eigenvalues, torch.tensor(spectrum[:5], dtype=F64), rtol=1e-9, atol=0)


def test_power_iteration_needs_products_only():
    """With the factor of a kernel of rank 8 on 3000 points: an N × N matrix of 72 MB is never there."""
    factor = normal(3000, 8) * torch.arange(1, 9)
    products = 0

    def pi(v):
        nonlocal products
        products += 1
        return factor @ (factor.T @ v) / 3000

    components = power_iteration(pi, (3000, 1), 8)
    expected = torch.linalg.eigvalsh(factor.T @ factor / 3000).flip(0)
    torch.testing.assert_close(components.eigenvalues, expected, rtol=1e-10, atol=0)
    assert products < 350  # 413 without deflation
    products = 0
    power_iteration(pi, (3000, 1), 3, tolerance=1e-2)
    assert products < 60


def test_power_iteration_on_rows_of_the_kernel_never_forms_the_matrix():
    space = KernelOnData(limit_kernel, data(20))
    components = power_iteration(lambda v: space.pi(v, space.x), (20, 1), 2)
    assert "matrix" not in vars(space)
    torch.testing.assert_close(components.eigenvalues, space.spectrum[:2])


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
    components = power_iteration(lambda v: diagonal * v, (400, 1), 2, tolerance=1e-2)
    assert components.eigenvalues[1].item() == pytest.approx(1e-12, rel=1e-3)


@every_kernel
def test_eigenfunctions_off_the_data(kernel, n_outputs):
    """At the data themselves the extension is the eigenfunction; elsewhere Πf⁽ⁱ⁾ = λ_i f⁽ⁱ⁾ holds too."""
    space, away = KernelOnData(kernel, data()), data(M, key="away")
    components = principal_components(space.matrix, n_outputs, 4)
    torch.testing.assert_close(space.extend(components, space.x), components.functions, rtol=1e-7, atol=1e-9)
    extended = space.extend(components, away)
    assert extended.shape == (4, M, n_outputs)
    torch.testing.assert_close(components.eigenvalues[:, None, None] * extended, space.pi(components.functions, away))
    f = normal(5, N, n_outputs)
    every = principal_components(space.matrix, n_outputs)
    back = torch.einsum("si,ink->snk", every.coefficients(f), every.functions)
    torch.testing.assert_close(back, f)


def test_nystroem_extension_approaches_the_eigenfunctions_of_the_circle():
    """On an even grid of the circle the eigenfunctions are cos and sin of kγ, also between the points of the grid."""
    angles = torch.arange(64, dtype=F64) * 2 * torch.pi / 64
    kernel = partial(theta_inf, depth=3, nonlinearity="relu", beta=0.1)
    space = KernelOnData(kernel, torch.stack([angles.cos(), angles.sin()], 1))
    components = principal_components(space.matrix, count=3)
    middle = angles + torch.pi / 64
    extended = space.extend(components, torch.stack([middle.cos(), middle.sin()], 1))[:, :, 0]
    torch.testing.assert_close(extended[0], torch.ones(64, dtype=F64), rtol=1e-3, atol=0)
    plane = torch.stack([middle.cos(), middle.sin()], 1)
    fit = torch.linalg.lstsq(plane, extended[1:].T)
    assert (plane @ fit.solution - extended[1:].T).abs().max() < 1e-2
    torch.testing.assert_close(fit.solution.norm(dim=0), torch.full((2,), 2.0**0.5, dtype=F64), rtol=1e-2, atol=0)


def test_zero_eigenvalues_are_exactly_zero_and_do_not_extend():
    space = KernelOnData(linear, data())
    components = principal_components(space.matrix)
    assert (components.eigenvalues > 0).sum() == 3
    assert (components.eigenvalues[3:] == 0).all()
    torch.testing.assert_close(inner(components.functions[:, None], components.functions), torch.eye(N, dtype=F64))
    with pytest.raises(ValueError, match="λ_i > 0"):
        space.extend(components, data(M, key="away"))
