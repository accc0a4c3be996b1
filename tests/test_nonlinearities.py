"""Dual activations in closed form, at every correlation and variance."""

import math
from collections.abc import Callable

import mpmath as mp
import pytest
import torch
from nonlinearities_fixtures import MODERATE, angle, covariances, integral, pairs_of

from replication.gaussian import Directions, GaussianPairs, Moments
from replication.nonlinearities import NONLINEARITIES, PiecewiseLinear, leaky_relu, nonlinearity

SMOOTH = ("erf", "tanh", "gelu", "sin", "cos", "softplus", "quadratic")


@pytest.fixture(autouse=True)
def _digits():
    with mp.workdps(50):
        yield


def relu_reference(slope: float) -> Callable:
    """Cho & Saul's formulas as they are usually written, at 50 digits."""
    s = mp.mpf(slope)

    def reference(k11, k12, k22):
        theta = angle(k11, k12, k22)
        k12 = mp.mpf(k12)
        size = mp.sqrt(mp.mpf(k11) * mp.mpf(k22))
        relu = size * (mp.sin(theta) + (mp.pi - theta) * mp.cos(theta)) / (2 * mp.pi)
        step = (mp.pi - theta) / (2 * mp.pi)
        return s * k12 + (1 - s) ** 2 * relu, s + (1 - s) ** 2 * step

    return reference


def erf_reference(k11, k12, k22):
    k11, k12, k22 = mp.mpf(k11), mp.mpf(k12), mp.mpf(k22)
    value = 2 / mp.pi * mp.asin(2 * k12 / mp.sqrt((1 + 2 * k11) * (1 + 2 * k22)))
    return value, 4 / (mp.pi * mp.sqrt((1 + 2 * k11) * (1 + 2 * k22) - 4 * k12**2))


def sin_reference(k11, k12, k22):
    k11, k12, k22 = mp.mpf(k11), mp.mpf(k12), mp.mpf(k22)
    return mp.exp(-(k11 + k22) / 2) * mp.sinh(k12), mp.exp(-(k11 + k22) / 2) * mp.cosh(k12)


def gelu_reference(k11, k12, k22):
    k11, k12, k22 = mp.mpf(k11), mp.mpf(k12), mp.mpf(k22)
    m = (1 + k11) * (1 + k22)
    delta = m - k12**2
    p = 1 / (2 * mp.pi * mp.sqrt(delta))
    both = mp.mpf(1) / 4 + mp.asin(k12 / mp.sqrt(m)) / (2 * mp.pi)
    value = k12 * both + p * (k11 * k22 + k12**2 * (1 - k11 * k22) / m)
    return value, both + p * k12 * (1 / (1 + k11) + 1 / (1 + k22) + 1 / delta)


def quadratic_reference(k11, k12, k22):
    k11, k12, k22 = mp.mpf(k11), mp.mpf(k12), mp.mpf(k22)
    return k11 * k22 + 2 * k12**2, 4 * k12


CLOSED = {
    "relu": relu_reference(0.0),
    "leaky_relu": relu_reference(0.01),
    "identity": relu_reference(1.0),
    "erf": erf_reference,
    "gelu": gelu_reference,
    "sin": sin_reference,
    "cos": lambda *k: sin_reference(*k)[::-1],
    "quadratic": quadratic_reference,
}


def errors(name_or_nonlinearity, reference, triples, mixed=False) -> list[list[float]]:
    """Relative errors; at k12 ≤ 0, where most expectations have a zero, relative to |E| + √(E[σ(u)²]E[σ(v)²])/100."""
    choice = nonlinearity(name_or_nonlinearity) if isinstance(name_or_nonlinearity, str) else name_or_nonlinearity
    actual = choice.expectations(pairs_of(triples))
    out = []
    for i, (k11, k12, k22) in enumerate(triples):
        expected, one, two = reference(k11, k12, k22), reference(k11, k11, k11), reference(k22, k22, k22)
        row = []
        for which in (0, 1):
            difference = abs(mp.mpf(float(actual[which][i])) - expected[which])
            zero = mp.sqrt(abs(one[which] * two[which])) / 100 if k12 <= 0 or mixed else 0
            size = abs(expected[which]) + zero + mp.mpf("1e-300")
            row.append(float(difference / size))
        out.append(row)
    return out


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_are_accurate_at_every_correlation_and_variance(name):
    assert max(max(row) for row in errors(name, CLOSED[name], covariances())) < 1e-13


@pytest.mark.parametrize("name", ["relu", "identity"])
def test_relu_is_relatively_accurate_up_to_exactly_opposite(name):
    """No zero inside (−1, 1): relative to the value itself, down to (π − θ)³ at θ = π."""
    triples = [t for t in covariances() if t[1] != 0]
    actual = nonlinearity(name).expectations(pairs_of(triples))
    for i, triple in enumerate(triples):
        with mp.workdps(90):
            expected = CLOSED[name](*triple)
        for value, exact in zip(actual, expected, strict=True):
            assert abs(float(value[i]) - exact) <= 1e-13 * abs(exact) + 1e-40


def test_gelu_does_not_cancel_at_large_nearly_opposite_arguments():
    """Terms of the size of √k11 leave one of the size of 1/√k11."""
    triples = covariances([(1e3, 1e3), (1e3, 900.0)], [-1.0, -1 + 1e-9, -1 + 1e-3])
    value, slope = nonlinearity("gelu").expectations(pairs_of(triples))
    for i, triple in enumerate(triples):
        exact = gelu_reference(*triple)
        assert float(value[i]) == pytest.approx(float(exact[0]), rel=4e-14, abs=0)
        assert float(slope[i]) == pytest.approx(float(exact[1]), rel=4e-14, abs=0)


@pytest.mark.parametrize("name", [name for name in SMOOTH if name not in ("tanh", "softplus")])
def test_closed_forms_are_the_integrals(name):
    assert max(max(row) for row in errors(name, lambda *k: integral(name, *k), MODERATE)) < 1e-13


@pytest.mark.parametrize("name", ["tanh", "softplus"])
def test_hermite_series_are_the_integrals(name):
    assert max(max(row) for row in errors(name, lambda *k: integral(name, *k), MODERATE)) < 1e-13


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_expectations_are_means_over_samples(name):
    """A million pairs: within 5 standard errors, a false alarm once in 10⁵ runs of the ten names."""
    choice = nonlinearity(name)
    generator = torch.Generator().manual_seed(len(name))
    u, w = torch.randn(2, 10**6, dtype=torch.float64, generator=generator)
    u, v = 0.9 * u, 1.1 * (-0.4 * u + math.sqrt(1 - 0.16) * w)
    covariance = (0.81, -0.4 * 0.9 * 1.1, 1.21)
    for exact, f in zip(choice.expectations(pairs_of([covariance])), (choice, choice.derivative), strict=True):
        sample = f(u) * f(v)
        standard_error = float(sample.std()) / 1e3
        assert abs(float(sample.mean()) - float(exact)) <= 5 * standard_error + 1e-12


@pytest.mark.parametrize("name", NONLINEARITIES)
def test_a_vanishing_variance_leaves_a_one_dimensional_mean(name):
    choice = nonlinearity(name)
    u, v = torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64), torch.tensor([0.0, 2.0, 0.0], dtype=torch.float64)
    value, slope = choice.expectations(GaussianPairs.from_covariance(u, torch.zeros_like(u), v))
    z = torch.linspace(-9, 9, 40000, dtype=torch.float64)  # an even number of nodes: symmetric about the kink at 0
    weight = torch.exp(-z * z / 2) / math.sqrt(2 * math.pi) * (18 / 39999)
    zero = torch.zeros(1, dtype=torch.float64)
    for actual, f in ((value, choice), (slope, choice.derivative)):
        mean = float((f(math.sqrt(2) * z) * weight).sum())
        at_zero = float(f(zero))
        expected = torch.tensor([at_zero**2, at_zero * mean, at_zero * mean], dtype=torch.float64)
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NONLINEARITIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivative_is_that_of_the_function(name, dtype):
    choice = nonlinearity(name)
    x = torch.linspace(-5, 5, 200, dtype=dtype).requires_grad_()
    (expected,) = torch.autograd.grad(choice(x).sum(), x)
    before = x.detach().clone()
    actual = choice.derivative(x.detach())
    assert actual.dtype == choice(x).dtype == dtype
    assert torch.equal(x.detach(), before)
    torch.testing.assert_close(
        actual, expected, rtol=1e-5 if dtype == torch.float32 else 1e-13, atol=1e-6 if dtype == torch.float32 else 1e-15
    )


def test_relu_is_flat_at_its_kink():
    assert nonlinearity("relu").derivative(torch.tensor([-1.0, 0.0, 1.0])).tolist() == [0.0, 0.0, 1.0]


@pytest.mark.parametrize("slope", [-1.0, -0.3, 0.2, 0.999, 3.0])
def test_leaky_relu_of_any_slope(slope):
    triples = covariances([(1.0, 1.0), (0.3, 1.7)])
    assert max(max(row) for row in errors(leaky_relu(slope), relu_reference(slope), triples, slope < 0)) < 1e-13


@pytest.mark.parametrize("slope", [-1.0, -0.3, 0.0, 0.2, 1.0])
@pytest.mark.parametrize("beta", [0.0, 0.1, 1.0])
def test_the_next_angle_is_accurate(slope, beta):
    """θ' to 1e-15, from pairs 1e-14 to π − 1e-14 apart and of unequal variances."""
    choice = PiecewiseLinear("leaky_relu", slope)
    triples = covariances([(1.0, 1.0), (0.3, 1.7), (2.0, 2.0000001)])
    pairs = pairs_of(triples)
    a, b = (Moments.of(choice.root_mean_square(k), beta) for k in (pairs.k11, pairs.k22))
    following, _ = choice.propagate(pairs, a, b)
    for i, (k11, k12, k22) in enumerate(triples):
        first, cross, second = (
            relu_reference(slope)(*k)[0] + mp.mpf(beta) ** 2
            for k in ((k11, k11, k11), (k11, k12, k22), (k22, k22, k22))
        )
        exact = mp.atan2(mp.sqrt(max(first * second - cross**2, 0)), cross)
        actual = float(following.acute_angle()[0][i])
        assert actual == pytest.approx(float(min(exact, mp.pi - exact)), abs=1e-15)


def test_determinants_are_rounded_once():
    triples = [t for t in covariances() if t[1] != 0]
    pairs = pairs_of(triples)
    for i, (k11, k12, k22) in enumerate(triples):
        exact = 1 - mp.mpf(k12) ** 2 / (mp.mpf(k11) * mp.mpf(k22))
        assert float(pairs.sin2[i]) == pytest.approx(float(exact), rel=1e-15, abs=0)


@pytest.mark.parametrize("beta", [0.0, 0.1])
@pytest.mark.parametrize("n_0", [2, 50])
def test_angles_between_inputs_do_not_see_lengths(n_0, beta):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, n_0, dtype=torch.float64, generator=generator)
    d = torch.randn(1, n_0, dtype=torch.float64, generator=generator)
    others = [x, -x, (1 + 1e-9) * x, 3 * x, -1e-3 * x, d] + [
        sign * x + t * d for t in (1e-15, 1e-8, 1e-3) for sign in (1, -1)
    ]
    x2 = torch.cat(others)
    pairs = GaussianPairs.from_inputs(Directions.of(x, beta), Directions.of(x2, beta))

    def dot(p, q):
        return mp.fdot(map(mp.mpf, p.tolist()), map(mp.mpf, q.tolist())) / n_0 + mp.mpf(beta) ** 2

    for i, other in enumerate(x2):
        k11, k12, k22 = dot(x[0], x[0]), dot(x[0], other), dot(other, other)
        theta = mp.atan2(mp.sqrt(abs(k11 * k22 - k12**2)), abs(k12))
        assert float(pairs.acute_angle()[0][0, i]) == pytest.approx(float(theta), abs=5e-16)
