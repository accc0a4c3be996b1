"""Dual activations by quadrature: accurate, or reported, or refused."""

import math
import re

import mpmath as mp
import pytest
import torch
from nonlinearities_fixtures import MODERATE, covariances, integral, pairs_of

from replication.gaussian import Moments
from replication.nonlinearities import from_function, leaky_relu, nonlinearity


@pytest.fixture(autouse=True)
def _digits():
    with mp.workdps(50):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "softplus"])
def test_quadrature_is_accurate_at_every_correlation_and_variance(name):
    actual = nonlinearity(name).expectations(pairs_of(covariances()))
    for i, triple in enumerate(covariances()):
        for value, expected in zip(actual, integral(name, *triple), strict=True):
            assert float(value[i]) == pytest.approx(expected, rel=1e-13, abs=1e-16), triple


@pytest.mark.parametrize("name", ["tanh", "softplus"])
def test_quadrature_is_accurate_for_large_variances(name):
    triples = covariances([(1e3, 1e3), (40.0, 0.02)], [1.0, 1 - 1e-5, -1.0])
    actual = nonlinearity(name).expectations(pairs_of(triples))
    for i, triple in enumerate(triples):
        for value, expected in zip(actual, integral(name, *triple), strict=True):
            assert float(value[i]) == pytest.approx(expected, rel=1e-13, abs=0), triple


KINKED = covariances([(1.0, 1.0), (0.3, 1.7)], [1.0, -1.0, 1 - 1e-5, -1 + 1e-5, 0.3])


def test_a_kinked_function_by_quadrature_agrees_with_its_closed_form():
    relu = nonlinearity("relu")
    quadrature = from_function("mine", relu, kinks=(0.0,))
    pairs = pairs_of(KINKED)
    for actual, expected in zip(quadrature.expectations(pairs), relu.expectations(pairs), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-13, atol=1e-16)
    a, b = (Moments.of(quadrature.root_mean_square(k), 0.1) for k in (pairs.k11, pairs.k22))
    actual, expected = (choice.propagate(pairs, a, b)[0] for choice in (quadrature, relu))
    torch.testing.assert_close(actual.acute_angle()[0], expected.acute_angle()[0], rtol=0, atol=1e-15)


def test_kinks_away_from_zero():
    """σ(x) = |x − 1| at θ = 0: E = k + 1; at k12 = 0 the product of E|u − 1|, erfc-like, with itself."""
    choice = from_function("shifted", lambda x: (x - 1).abs(), kinks=(1.0,))
    value, slope = choice.expectations(pairs_of([(2.0, 2.0, 2.0), (2.0, 0.0, 2.0)]))
    mean = math.sqrt(2) * math.sqrt(2 / math.pi) * math.exp(-0.25) + math.erf(0.5)
    sign = -math.erf(0.5)
    assert value.tolist() == pytest.approx([3.0, mean**2], rel=1e-13, abs=0)
    assert slope.tolist() == pytest.approx([1.0, sign**2], rel=1e-13, abs=0)


def test_a_smooth_function_by_quadrature_agrees_with_the_named_one():
    mine, named = from_function("mine", torch.tanh), nonlinearity("tanh")
    pairs = pairs_of(MODERATE)
    for actual, expected in zip(mine.expectations(pairs), named.expectations(pairs), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-13, atol=1e-16)


def test_an_unnamed_kink_is_reported():
    choice = from_function("mine", lambda x: (x - 0.3).abs())
    for correlation in (0.1, 0.9999):
        with pytest.warns(RuntimeWarning, match="kinks"):
            choice.expectations(pairs_of([(1.0, correlation, 1.0)]))


def exponential(k11, k12, k22):
    value = mp.exp((mp.mpf(k11) + k22) / 2 + k12)
    return value, value


def hyperbolic(k11, k12, k22):
    size = mp.exp((mp.mpf(k11) + k22) / 2)
    return size * mp.sinh(k12), size * mp.cosh(k12)


def linear_times_exponential(k11, k12, k22):
    """E[uv e^{u+v}] and E[(1 + u)(1 + v)e^{u+v}]: under the measure tilted by e^{u+v}, u and v have means m and n."""
    m, n, size = mp.mpf(k11) + k12, mp.mpf(k22) + k12, exponential(k11, k12, k22)[0]
    return (k12 + m * n) * size, (k12 + (1 + m) * (1 + n)) * size


def relu_times_exponential(k11, k12, k22):
    """E[relu(u)² e^{2u}] for u = v, by differentiating E[e^{su}; u > 0] = e^{s²k/2} Φ(s√k) in s."""

    def moment(s):
        return mp.exp(s * s * k11 / 2) * mp.ncdf(s * mp.sqrt(k11))

    second, first, zeroth = (mp.diff(moment, 2, n) for n in (2, 1, 0))
    return second, second + 2 * first + zeroth


GROWING = {
    "exp": (torch.exp, exponential),
    "sinh": (torch.sinh, hyperbolic),
    "x exp": (lambda x: x * x.exp(), linear_times_exponential),
}


@pytest.mark.parametrize("name", GROWING)
def test_a_function_that_grows_fast_is_accurate_or_refused(name):
    """At all correlations, and relative to the expectation itself: its terms may cancel by 50 digits.

    1e57 was the error at a variance of 110, without a word, while the rule ended at |z| = 13.
    """
    function, reference = GROWING[name]
    choice = from_function(name, function)
    triples = covariances([(1.0, 1.0), (1.0, 36.0), (16.0, 16.0), (90.0, 0.01)], [1.0, 0.99, 0.3, 0.0, -0.4, -0.9])
    actual = choice.expectations(pairs_of(triples))
    for i, triple in enumerate(triples):
        sizes = math.sqrt(reference(*[triple[0]] * 3)[0] * reference(*[triple[2]] * 3)[0])
        for value, expected in zip(actual, reference(*triple), strict=True):
            zero = 0 if expected else 1e-16 * sizes  # E[sinh sinh] = 0 for independent u and v
            assert float(value[i]) == pytest.approx(float(expected), rel=1e-13, abs=zero), triple
    variance = torch.tensor([0.1, 36.0], dtype=torch.float64)
    moments = [math.sqrt(reference(k, k, k)[0]) for k in variance.tolist()]
    assert choice.root_mean_square(variance).tolist() == pytest.approx(moments, rel=1e-13, abs=0)
    for variance in (150.0, 1e3, 1e6):
        with pytest.raises(ValueError, match=re.escape(f"variance {variance:.3g} of u: σ grows too fast")):
            choice.expectations(pairs_of([(1.0, 0.0, variance)]))
        with pytest.raises(ValueError, match="not finite"):
            choice.root_mean_square(torch.tensor([1.0, variance], dtype=torch.float64))


def test_a_function_with_a_kink_that_grows_fast_is_accurate():
    choice = from_function("relu exp", lambda x: x.clamp(min=0) * x.exp(), kinks=(0.0,))
    for variance in (1.0, 25.0):
        actual = choice.expectations(pairs_of([(variance, variance, variance)]))
        expected = [float(part) for part in relu_times_exponential(variance, variance, variance)]
        assert [float(part) for part in actual] == pytest.approx(expected, rel=1e-13, abs=0)


def test_a_second_moment_that_hardly_exists_is_reported_and_one_that_does_not_is_refused():
    """E[exp(u²/4)] is finite for variances below 2: close to 2, most of it lies where nothing reaches."""
    choice = from_function("gaussian", lambda x: (x.square() / 8).exp())
    moment = choice.root_mean_square(torch.tensor([1.0], dtype=torch.float64)).square()
    assert float(moment) == pytest.approx(math.sqrt(2), rel=1e-13)
    for compute in (
        lambda q: choice.root_mean_square(torch.tensor([q], dtype=torch.float64)),
        lambda q: choice.expectations(pairs_of([(q, q / 2, q)])),
    ):
        with pytest.warns(RuntimeWarning, match="grows too fast"):
            compute(1.95)
        for q in (2.1, 4.0, 100.0):
            with pytest.raises(ValueError, match="not finite"):
                compute(q)


@pytest.mark.parametrize("function", [torch.log, torch.sqrt])
def test_a_function_that_is_not_defined_everywhere_is_refused(function):
    with pytest.raises(ValueError, match="not defined everywhere"):
        from_function("mine", function).expectations(pairs_of([(1.0, 0.5, 1.0)]))


def test_a_function_that_overflows_where_nothing_matters_is_not_refused():
    """log(1 + eˣ), written without care, is infinite from x = 710 on, 22 standard deviations away."""
    choice = from_function("mine", lambda x: torch.log1p(torch.exp(x)), torch.sigmoid)
    pairs = pairs_of([(1e3, 3e2, 1e3)])
    for actual, expected in zip(choice.expectations(pairs), nonlinearity("softplus").expectations(pairs), strict=True):
        torch.testing.assert_close(actual, expected, rtol=1e-13, atol=0)


def test_a_kink_that_matters_at_the_smallest_variance_only_is_reported():
    choice = from_function("mine", lambda x: (x - 0.3).abs(), lambda x: torch.tanh(1e3 * (x - 0.3)))
    with pytest.warns(RuntimeWarning, match="kinks"):
        choice.expectations(pairs_of([(1.0, 0.0, 1e12)]))


@pytest.mark.parametrize("function", [torch.reciprocal, lambda x: x.abs().sqrt()])
def test_a_singularity_at_a_centre_of_the_rule_is_reported(function):
    """σ̇ of √|x| is not square integrable; nodes graded alike towards 0 would agree on it."""
    with pytest.warns(RuntimeWarning, match="known to"):
        from_function("mine", function).expectations(pairs_of([(1.0, 0.5, 1.0)]))


def test_refusals():
    with pytest.raises(ValueError, match=r"'rleu'.*relu, .*softplus"):
        nonlinearity("rleu")
    with pytest.raises(ValueError, match="finite"):
        leaky_relu(math.nan)
    with pytest.raises(ValueError, match="finite"):
        from_function("mine", torch.tanh, kinks=(math.inf,))
