"""Measures of groups of networks: what they are, and that resampling in their own way changes nothing."""

import math

import numpy as np
import pytest

from replication.study.measures import MeanOf, Quotient, SizeOfMean, VarianceOf, resampled
from replication.study.statistics import exponent, fall, geometric, rate, rms

RNG = np.random.default_rng(0)
GROUP = np.exp(RNG.standard_normal((30, 2, 5)))
LOG_OF_MAXIMA = MeanOf(lambda group: group.reshape(len(group), -1).max(axis=1), math.log)


def plain(group):
    """A measure without a way of its own."""
    return float(np.median(group))


@pytest.mark.parametrize("group", [GROUP, GROUP[:, 0, 0]], ids=["curves", "numbers"])
@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (rms, lambda g: math.sqrt((g**2).mean())),
        (geometric, lambda g: math.exp(np.log(g).mean())),
        (LOG_OF_MAXIMA, lambda g: math.log(np.mean([values.max() for values in g]))),
        (VarianceOf(math.sqrt), lambda g: math.sqrt(g.var(axis=0, ddof=1).mean())),
        (SizeOfMean(), lambda g: math.sqrt((g.mean(axis=0) ** 2 - g.var(axis=0, ddof=1) / len(g)).mean())),
        (Quotient(VarianceOf(float), rms), lambda g: g.var(axis=0, ddof=1).mean() / math.sqrt((g**2).mean())),
        (plain, lambda g: float(np.median(g))),
    ],
)
def test_a_measure_of_resampled_networks(measure, expected, group):
    assert measure(group) == pytest.approx(expected(group), rel=1e-12)
    of = resampled(measure, group)
    for indices in (RNG.integers(30, size=30), np.arange(7), np.array([3, 3, 4])):
        assert of(indices) == pytest.approx(expected(group[indices]), rel=1e-12)


def test_the_variance_of_one_network_is_not_known_and_of_equal_ones_is_zero():
    assert math.isnan(VarianceOf(float)(GROUP[:1]))
    assert 0 < VarianceOf(float)(1e8 + np.zeros((4, 3))) < 1e-299  # there is a logarithm to take
    assert VarianceOf(math.sqrt)(1e6 + GROUP) == pytest.approx(VarianceOf(math.sqrt)(GROUP), rel=1e-8)


def test_the_size_of_the_mean_does_not_contain_the_noise_of_the_networks():
    noise = RNG.standard_normal((8, 20000))
    plain_size = math.sqrt(np.square((0.3 + noise).mean(axis=0)).mean())
    assert plain_size > 0.45
    assert SizeOfMean()(0.3 + noise) == pytest.approx(0.3, abs=0.02)
    assert math.isnan(SizeOfMean()(noise[:1]))


def test_intervals_do_not_depend_on_how_a_measure_is_resampled():
    widths, groups = [10, 100, 1000], [GROUP[: 10 + 5 * i] / 3**i for i in range(3)]
    for measure in (rms, geometric, VarianceOf(math.sqrt)):
        for statistic in (fall, rate):
            own, copied = (
                statistic("q", each, widths, groups, (0.0, 1.0))
                for each in (measure, lambda group, measure=measure: measure(group))
            )
            assert (own.estimate, own.low, own.high) == pytest.approx((copied.estimate, copied.low, copied.high))


def test_the_exponent_is_that_of_the_weighted_fit():
    widths, values, seeds = [10, 30, 100, 400], [1.0, 0.7, 0.2, 0.15], [40, 20, 10, 3]
    fitted = np.polyfit(np.log(widths), np.log(values), 1, w=np.sqrt(seeds))[0]
    assert exponent(widths, values, seeds) == pytest.approx(fitted, rel=1e-12)
    assert exponent(widths, [n**-0.5 for n in widths], seeds) == pytest.approx(-0.5, rel=1e-12)
    assert math.isnan(exponent([10], [1.0], [5]))
