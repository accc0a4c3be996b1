"""Revealed weights: exactly the dense network that they could be, and a matrix of i.i.d. N(0, 1) entries."""

import math

import numpy as np
import pytest
import torch
from revealed_fixtures import N_0, network, stream, weight
from scipy import stats

from replication.costs import LeastSquares
from replication.datasets import angle_grid, circle, gaussian
from replication.network import Network
from replication.revealed import RevealedWeight, rank, revealing, truncation
from replication.tangent import Tangent, tangent_kernel
from replication.training import GradientDescent, GradientFlow
from replication.weights import DenseWeight


def dense(revealed, biases, trained=True):
    """The dense network that agrees with all that a network has revealed; biases: of the moment that is meant."""
    weights = [
        DenseWeight(w.completed(stream(9), trained=trained) if isinstance(w, RevealedWeight) else w.values.clone())
        for w in revealed.weights
    ]
    return Network(weights, [b.clone() for b in biases], revealed.nonlinearity, revealed.beta)


def inputs(n=6, seed=1):
    """Inputs with a duplicate, a nearly dependent one and zero."""
    x = gaussian(n, N_0, stream(seed))
    x[1] = x[0]
    x[2] = x[0] + 1e-9 * x[3]
    x[-1] = 0
    return x


@pytest.mark.parametrize("sigma", ["relu", "erf", "tanh"])
@pytest.mark.parametrize("depth", [2, 3, 4, 5])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_a_revealed_network_is_a_dense_one(sigma, depth, n_outputs):
    x, revealed = inputs(), network(sigma, depth, n_outputs)
    f, kernel = revealed(x), tangent_kernel(revealed, x)
    other = dense(revealed, revealed.biases)
    torch.testing.assert_close(other(x), f, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(tangent_kernel(other, x), kernel, rtol=1e-10, atol=1e-11)
    # Every parameter's action: the outputs after a step along Jᵀw, and the kernel there.
    w = torch.randn(len(x), n_outputs, generator=stream(2), dtype=torch.float64)
    moved, probes = (Tangent(net, x) for net in (revealed, other)), gaussian(3, N_0, stream(3))
    for tangent in moved:
        tangent.move(0.3 * w)
    after = revealed(torch.cat([x, probes])), tangent_kernel(revealed, x)
    # What the probes revealed since then has to be completed anew, before the step that both take.
    again = dense(revealed, revealed.biases)
    torch.testing.assert_close(again(torch.cat([x, probes])), after[0], rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(tangent_kernel(again, x), after[1], rtol=1e-9, atol=1e-10)


def trained_pair(tolerance, sigma, solver, width=48, depth=4, n_outputs=1):
    """f_t at data and probes, and Θ_t there, of a revealed network and of the dense one that it could have been."""
    x, probes = circle(angle_grid(10)[:-1]), circle(angle_grid(6)[:-1] + 0.1)
    points = torch.cat([x, probes])
    cost = LeastSquares(torch.cat([x[:, :1] * x[:, 1:], x[:, :1]], dim=1)[:, :n_outputs])
    revealed = network(sigma, depth, n_outputs, width=width, tolerance=tolerance, n_0=2)
    # The first matrix is dense here, and moves.
    first = [w.values.clone() if isinstance(w, DenseWeight) else None for w in revealed.weights]
    biases = [b.clone() for b in revealed.biases]
    revealed(points)
    steps = [state.t for state in solver.states(revealed, x, cost)]
    actual = revealed(points), tangent_kernel(revealed, points)
    other = dense(revealed, biases, trained=False)
    for w, values in zip(other.weights, first, strict=True):
        if values is not None:
            w.values.copy_(values)
    assert [state.t for state in solver.states(other, x, cost)] == pytest.approx(steps, rel=0.2)
    return revealed, actual, (other(points), tangent_kernel(other, points)), len(steps) - 1


@pytest.mark.parametrize("sigma", ["relu", "erf", "tanh"])
@pytest.mark.parametrize("depth", [2, 3, 4, 5])
@pytest.mark.parametrize("n_outputs", [1, 2])
def test_trained_by_descent_it_is_the_dense_network_to_rounding(sigma, depth, n_outputs):
    revealed, actual, expected, _ = trained_pair(0.0, sigma, GradientDescent(0.5, 4), depth=depth, n_outputs=n_outputs)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-9)
    assert truncation(revealed.weights) < 1e-12


@pytest.mark.parametrize("sigma", ["relu", "erf"])
def test_the_error_of_a_trained_network_falls_with_the_tolerance(sigma):
    errors, ranks = [], []
    for tolerance in (1e-1, 1e-2, 1e-3, 1e-4):
        revealed, actual, expected, _ = trained_pair(tolerance, sigma, GradientDescent(0.5, 8), width=200)
        # One ReLU that changes sign moves Θ by about 1/n, however small the error: there, f alone.
        compared = list(zip(actual, expected, strict=True))[: 1 if sigma == "relu" else 2]
        errors.append(max(float((a - b).norm() / b.norm()) for a, b in compared))
        ranks.append(rank(revealed.weights))
        assert errors[-1] < tolerance
        assert 0 < truncation(revealed.weights) <= tolerance
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01 * errors[0]
    assert ranks[-1] > 1.3 * ranks[0]


def test_gradient_flow_reveals_no_more_than_the_inputs_of_each_step():
    revealed, actual, expected, steps = trained_pair(0.0, "relu", GradientFlow(5, 5e-2), width=400)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    n, probes = 10, 6
    # A rejected step evaluates the data once more.
    assert rank(revealed.weights) <= n * (1 + 2 * steps) + 2 * probes


def test_the_completed_matrix_is_that_of_independent_normal_entries():
    """Over many draws: covariance and fourth moments of all entries, with vectors that depend on the answers."""
    n_out, n_in, draws, entries = 4, 5, 1500, []
    for seed in range(draws):
        w = weight(n_out, n_in, seed=seed)
        v = torch.tensor([[1.0, 2.0, 0.0, -1.0, 0.5]], dtype=torch.float64)
        for _ in range(2):
            image = w.apply(v)
            v = w.apply_transpose(torch.nn.functional.relu(image) + 0.1 * image)
        entries.append(w.completed(stream(10_000 + seed)).flatten().numpy())
    values = np.array(entries)
    size = n_out * n_in
    error = 1 / math.sqrt(draws)
    assert np.abs(values.mean(axis=0)).max() < 4.5 * error
    covariance = values.T @ values / draws
    off = covariance[~np.eye(size, dtype=bool)]
    assert np.abs(off).max() < 5 * error
    assert np.abs(np.diag(covariance) - 1).max() < 4.5 * math.sqrt(2) * error
    assert abs((values**4).mean() - 3) < 5 * math.sqrt(96 / values.size)
    # The squares too are uncorrelated: what was revealed says nothing of the size of the rest.
    squares = values**2 - 1
    off = (squares.T @ squares / draws)[~np.eye(size, dtype=bool)]
    assert np.abs(off).max() < 6 * 2 * error
    assert stats.kstest(values.flatten(), "norm").pvalue > 1e-4


def test_the_spectrum_is_that_of_marchenko_and_pastur():
    n_out, n_in = 500, 250
    w = weight(n_out, n_in)
    v = gaussian(40, n_in, stream(3))
    for _ in range(2):
        v = w.apply_transpose(torch.tanh(w.apply(v)))
        v = v / v.norm(dim=1, keepdim=True)
    assert w.rank == 80
    matrix = w.completed(stream(4))
    squares = torch.linalg.svdvals(matrix).square().numpy() / n_out
    q = n_in / n_out
    low, high = (1 - math.sqrt(q)) ** 2, (1 + math.sqrt(q)) ** 2
    grid = np.linspace(low, high, 4001)
    density = np.sqrt(np.maximum((high - grid) * (grid - low), 0)) / (2 * math.pi * q * grid)
    cumulative = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2 * np.diff(grid))])
    assert cumulative[-1] == pytest.approx(1, abs=1e-3)
    # Eigenvalues repel: their distribution function is rigid to about 1/n, not 1/√n.
    expected = np.interp(np.sort(squares), grid, cumulative)
    assert np.abs(expected - (np.arange(n_in) + 0.5) / n_in).max() < 0.02


def test_duplicates_near_duplicates_and_zero_reveal_nothing_twice():
    w, v = weight(tolerance=1e-6), gaussian(3, 25, stream(1))
    v = torch.cat([v, v[:1], -2 * v[1:2], v[2:] + 1e-9 * gaussian(1, 25, stream(2)), 0 * v[:1], v[:1] + v[1:2]])
    image = w.apply(v)
    assert w.rank == 3
    assert 1e-12 < w.truncation < 1e-6
    torch.testing.assert_close(image[3], image[0])
    torch.testing.assert_close(image[4], -2 * image[1])
    torch.testing.assert_close(image[5], image[2], rtol=1e-6, atol=1e-6)
    assert (image[6] == 0).all()
    torch.testing.assert_close(image[7], image[0] + image[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("tolerance", [0.0, 1e-3])
@pytest.mark.parametrize("batch", ["independent", "orthonormal", "duplicates", "near duplicates", "symmetric"])
def test_a_product_is_continuous_in_its_input(batch, dtype, tolerance):
    """Two matrices of one seed, asked for the same vectors to rounding, are the same to rounding.

    Orthonormal vectors have equal singular values, whose directions rounding alone decides; duplicates have singular
    values that are rounding. A vector that lies ε off the others has its new direction to rounding ÷ ε.
    """
    v = gaussian(8, 200, stream(1))
    if batch == "orthonormal":
        v = torch.linalg.qr(v.mT).Q.mT
    if batch == "duplicates":
        v[3:] = v[:5].clone()
    if batch == "near duplicates":
        v[3:] = v[:5].clone() + 1e-2 * v[3:]
    if batch == "symmetric":
        v = torch.cat([v[:4], v[:4] @ torch.eye(200, dtype=v.dtype).flip(0)])
    eps, images = torch.finfo(dtype).eps, []
    for k in range(2):
        w = weight(150, 200, dtype=dtype, tolerance=tolerance)
        noise = 1 + 4 * k * eps * torch.rand(v.shape, generator=stream(2), dtype=torch.float64)
        forward = w.apply((v * noise).to(dtype))
        backward = w.apply_transpose(torch.tanh(forward / 14))
        again = w.apply(torch.tanh(backward / 12))
        images.append((forward, backward, again, torch.tensor([float(w.rank)])))
    bound = 100 * eps / (1e-2 if batch == "near duplicates" else 1)
    for one, other in zip(*images, strict=True):
        assert float((one - other).norm() / one.norm()) < max(bound, 3 * tolerance * (batch == "duplicates"))


def test_what_one_product_reveals_changes_no_number_of_the_others():
    """Each product has a stream of its own: a part just above the tolerance is revealed, one just below is not."""
    v, q, later = torch.linalg.qr(gaussian(3, 25, stream(1)).mT).Q.mT.split(1)
    images = []
    for part in (0.9e-3, 1.1e-3):
        w = weight(tolerance=1e-3)
        w.apply(v), w.apply(v + part * q)
        images.append(w.apply(later))
        assert w.rank == (2 if part < 1e-3 else 3)
    torch.testing.assert_close(*images)


def test_products_are_adjoint_and_repeat_themselves():
    w, v, u = weight(), gaussian(4, 25, stream(1)), gaussian(5, 30, stream(2))
    first = w.apply(v)
    torch.testing.assert_close(u @ first.mT, (v @ w.apply_transpose(u).mT).mT)
    w.update(u[:4], v, 0.7)
    torch.testing.assert_close(w.apply(v), first + 0.7 * (v @ v.mT) @ u[:4], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(u @ w.apply(v).mT, (v @ w.apply_transpose(u).mT).mT, rtol=1e-10, atol=1e-10)


def test_all_directions_revealed_it_is_a_matrix():
    w = weight(7, 5)
    identity = torch.eye(5, dtype=torch.float64)
    matrix = w.apply(identity).mT
    assert w.rank == 5
    v = gaussian(9, 5, stream(1))
    torch.testing.assert_close(w.apply(v), v @ matrix.mT)
    torch.testing.assert_close(w.completed(stream(2)), matrix)


def test_single_precision_is_accurate():
    w = weight(3000, 20_000, torch.float32)
    v = gaussian(50, 20_000, stream(1)).float()
    images = [w.apply(v), w.apply(v + 1e-3 * gaussian(50, 20_000, stream(2)).float())]
    assert images[0].dtype == torch.float32
    combination = torch.randn(50, 50, generator=stream(3))
    together = combination @ images[0]
    torch.testing.assert_close(w.apply(combination @ v), together, rtol=0, atol=1e-4 * float(together.abs().max()))
    torch.testing.assert_close(w.apply(v), images[0], rtol=1e-4, atol=1e-3)
    assert float((images[1] - images[0]).norm() / images[0].norm()) == pytest.approx(1e-3, rel=0.1)


def test_a_batch_that_is_not_finite_reveals_nothing():
    w = weight()
    assert torch.isnan(w.apply(torch.full((2, 25), math.inf, dtype=torch.float64))).all()
    assert w.rank == 0


def test_bad_tolerances_and_ensembles_are_refused():
    with pytest.raises(ValueError, match="tolerance"):
        weight(tolerance=1.0)
    with pytest.raises(ValueError, match="one by one"):
        Network.init([2, 30, 30, 1], generator=[stream(0), stream(1)], weight=revealing())
