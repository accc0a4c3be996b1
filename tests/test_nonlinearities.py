"""Gaussian expectations against 50-digit references, closed forms against quadrature, and both against sampling."""

import math
import re
from collections.abc import Callable
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
import torch
from scipy import special

from replication.gaussian import Directions, GaussianPairs, Moments
from replication.nonlinearities import NONLINEARITIES, PiecewiseLinear, from_function, leaky_relu, nonlinearity

SMOOTH = ("erf", "tanh", "gelu", "sin", "cos", "softplus", "quadratic")
VARIANCES = [(1.0, 1.0), (0.3, 1.7), (2.0, 2.0000001), (1e-6, 1e-6), (1e-6, 1e3), (1e3, 1e3), (40.0, 0.02)]
GAPS = [0.0, 1e-16, 1e-13, 1e-9, 1e-5, 1e-2, 0.4]
CORRELATIONS = [0.0, 1e-8] + [sign * (1 - gap) for sign in (1, -1) for gap in GAPS]


@pytest.fixture(autouse=True)
def _digits():
    with mp.workdps(50):
        yield


def covariances(variances=VARIANCES, correlations=CORRELATIONS) -> list[tuple[float, float, float]]:
    """Positive semi-definite (k11, k12, k22) in float64: products of correlated floats are shrunk until they are."""
    triples = []
    for q1, q2 in variances:
        for c in correlations:
            k12 = c * math.sqrt(q1 * q2)
            while Fraction(k12) ** 2 > Fraction(q1) * Fraction(q2):
                k12 = math.nextafter(k12, 0.0)
            triples.append((q1, k12, q2))
    return triples


def pairs_of(triples) -> GaussianPairs:
    return GaussianPairs.from_covariance(*torch.tensor(triples, dtype=torch.float64).T)


def angle(k11, k12, k22):
    determinant = mp.mpf(k11) * mp.mpf(k22) - mp.mpf(k12) ** 2
    return mp.atan2(mp.sqrt(determinant), mp.mpf(k12))


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
POINTWISE = {
    "erf": (special.erf, lambda x: 2 / np.sqrt(np.pi) * np.exp(-x * x)),
    "tanh": (np.tanh, lambda x: np.cosh(np.clip(x, -5000, 5000)) ** -2.0),
    "gelu": (lambda x: x * special.ndtr(x), lambda x: special.ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)),
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda x: -np.sin(x)),
    "softplus": (lambda x: np.logaddexp(0, x), lambda x: 1 / (1 + np.exp(-x))),
    "quadratic": (np.square, lambda x: 2 * x),
}


def integral(name: str, k11: float, k12: float, k22: float) -> tuple[float, float]:
    """E[σ(u)σ(v)], E[σ̇(u)σ̇(v)] by the trapezoidal rule in two dimensions, spectrally accurate for an analytic σ.

    80-bit floats where numpy's σ has them (not erf, gelu). u = √k11 z, v = √k22 (cosθ z + sinθ w).
    """
    function, derivative = POINTWISE[name]
    real = np.float64 if name in ("erf", "gelu") else np.longdouble
    theta = angle(k11, k12, k22)
    c, s, sd1, sd2 = (real(mp.nstr(t, 25)) for t in (mp.cos(theta), mp.sin(theta), mp.sqrt(k11), mp.sqrt(k22)))
    step1 = min(0.2, 0.22 / math.sqrt(max(k11, float(c) ** 2 * k22)))
    step2 = min(0.2, 0.22 / (math.sqrt(k22) * float(s)) if s > 1e-30 else 1.0)
    z, w = (np.arange(-math.ceil(9.5 / h), math.ceil(9.5 / h) + 1).astype(real) * real(h) for h in (step1, step2))
    normal = [np.exp(-t * t / 2) * real(h) / np.sqrt(2 * real(mp.nstr(mp.pi, 25))) for t, h in ((z, step1), (w, step2))]
    sums = [real(0), real(0)]
    for rows in np.array_split(np.arange(len(z)), 1 + len(z) * len(w) // 10**6):
        v = sd2 * (c * z[rows, None] + s * w)
        for i, f in enumerate((function, derivative)):
            sums[i] += ((normal[0] * f(sd1 * z))[rows] * (f(v) * normal[1]).sum(1)).sum()
    return float(sums[0]), float(sums[1])


def errors(name_or_nonlinearity, reference, triples, mixed=False) -> list[list[float]]:
    """Relative errors; at k12 ≤ 0, where most expectations have a zero, relative to |E| + √(E[σ(u)²]E[σ(v)²])/100."""
    choice = nonlinearity(name_or_nonlinearity) if isinstance(name_or_nonlinearity, str) else name_or_nonlinearity
    found = choice.expectations(pairs_of(triples))
    out = []
    for i, (k11, k12, k22) in enumerate(triples):
        expected, one, two = reference(k11, k12, k22), reference(k11, k11, k11), reference(k22, k22, k22)
        row = []
        for which in (0, 1):
            difference = abs(mp.mpf(float(found[which][i])) - expected[which])
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
    found = nonlinearity(name).expectations(pairs_of(triples))
    for i, triple in enumerate(triples):
        with mp.workdps(90):
            expected = CLOSED[name](*triple)
        for value, exact in zip(found, expected, strict=True):
            assert abs(float(value[i]) - exact) <= 1e-13 * abs(exact) + 1e-40


def test_gelu_does_not_cancel_at_large_nearly_opposite_arguments():
    """Terms of the size of √k11 leave one of the size of 1/√k11."""
    triples = covariances([(1e3, 1e3), (1e3, 900.0)], [-1.0, -1 + 1e-9, -1 + 1e-3])
    value, slope = nonlinearity("gelu").expectations(pairs_of(triples))
    for i, triple in enumerate(triples):
        exact = gelu_reference(*triple)
        assert float(value[i]) == pytest.approx(float(exact[0]), rel=4e-14, abs=0)
        assert float(slope[i]) == pytest.approx(float(exact[1]), rel=4e-14, abs=0)


MODERATE = covariances([(1.0, 1.0), (0.3, 1.7), (1e-6, 4.0)], [0.0, 0.5, 1.0, -1.0, 1 - 1e-9, -0.999])


@pytest.mark.parametrize("name", [name for name in SMOOTH if name not in ("tanh", "softplus")])
def test_closed_forms_are_the_integrals(name):
    assert max(max(row) for row in errors(name, lambda *k: integral(name, *k), MODERATE)) < 1e-13


@pytest.mark.parametrize("name", ["tanh", "softplus"])
def test_hermite_series_are_the_integrals(name):
    assert max(max(row) for row in errors(name, lambda *k: integral(name, *k), MODERATE)) < 1e-13


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tanh", "softplus"])
def test_quadrature_is_accurate_at_every_correlation_and_variance(name):
    found = nonlinearity(name).expectations(pairs_of(covariances()))
    for i, triple in enumerate(covariances()):
        for value, expected in zip(found, integral(name, *triple), strict=True):
            assert float(value[i]) == pytest.approx(expected, rel=1e-13, abs=1e-16), triple


@pytest.mark.parametrize("name", ["tanh", "softplus"])
def test_quadrature_is_accurate_for_large_variances(name):
    triples = covariances([(1e3, 1e3), (40.0, 0.02)], [1.0, 1 - 1e-5, -1.0])
    found = nonlinearity(name).expectations(pairs_of(triples))
    for i, triple in enumerate(triples):
        for value, expected in zip(found, integral(name, *triple), strict=True):
            assert float(value[i]) == pytest.approx(expected, rel=1e-13, abs=0), triple


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
    for found, f in ((value, choice), (slope, choice.derivative)):
        mean = float((f(math.sqrt(2) * z) * weight).sum())
        at_zero = float(f(zero))
        expected = torch.tensor([at_zero**2, at_zero * mean, at_zero * mean], dtype=torch.float64)
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", NONLINEARITIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_derivative_is_that_of_the_function(name, dtype):
    choice = nonlinearity(name)
    x = torch.linspace(-5, 5, 200, dtype=dtype).requires_grad_()
    (expected,) = torch.autograd.grad(choice(x).sum(), x)
    before = x.detach().clone()
    found = choice.derivative(x.detach())
    assert found.dtype == choice(x).dtype == dtype
    assert torch.equal(x.detach(), before)
    torch.testing.assert_close(
        found, expected, rtol=1e-5 if dtype == torch.float32 else 1e-13, atol=1e-6 if dtype == torch.float32 else 1e-15
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
        found = float(following.acute_angle()[0][i])
        assert found == pytest.approx(float(min(exact, mp.pi - exact)), abs=1e-15)


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


KINKED = covariances([(1.0, 1.0), (0.3, 1.7)], [1.0, -1.0, 1 - 1e-5, -1 + 1e-5, 0.3])


def test_a_kinked_function_by_quadrature_agrees_with_its_closed_form():
    relu = nonlinearity("relu")
    quadrature = from_function("mine", relu, kinks=(0.0,))
    pairs = pairs_of(KINKED)
    for found, expected in zip(quadrature.expectations(pairs), relu.expectations(pairs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-16)
    a, b = (Moments.of(quadrature.root_mean_square(k), 0.1) for k in (pairs.k11, pairs.k22))
    found, expected = (choice.propagate(pairs, a, b)[0] for choice in (quadrature, relu))
    torch.testing.assert_close(found.acute_angle()[0], expected.acute_angle()[0], rtol=0, atol=1e-15)


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
    for found, expected in zip(mine.expectations(pairs), named.expectations(pairs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=1e-16)


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
    found = choice.expectations(pairs_of(triples))
    for i, triple in enumerate(triples):
        sizes = math.sqrt(reference(*[triple[0]] * 3)[0] * reference(*[triple[2]] * 3)[0])
        for value, expected in zip(found, reference(*triple), strict=True):
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
        found = choice.expectations(pairs_of([(variance, variance, variance)]))
        expected = [float(part) for part in relu_times_exponential(variance, variance, variance)]
        assert [float(part) for part in found] == pytest.approx(expected, rel=1e-13, abs=0)


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
    for found, expected in zip(choice.expectations(pairs), nonlinearity("softplus").expectations(pairs), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-13, atol=0)


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
