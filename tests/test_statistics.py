"""Intervals and bands by their coverage over simulated experiments; exponents of known ensembles."""

import math

import numpy as np
import pytest
from scipy import stats

from replication.study import statistics
from replication.study.statistics import Statistic, exponent, fall, interval, mean, rate, simultaneous_band

INF, NAN = math.inf, math.nan


class TestInterval:
    @staticmethod
    def mean(groups):
        return float(groups[0].mean())

    def test_estimate_is_the_statistic_of_all_seeds(self):
        data = np.arange(10.0) ** 2
        assert interval([data], self.mean)[0] == data.mean()

    def test_of_a_mean_is_students(self):
        """t·sd/√S; the bootstrap's standard error from 4000 resamples is known to 1/√8000 = 1.1 %, so 4 of that."""
        data = np.random.default_rng(1).normal(size=10)
        estimate, low, high = interval([data], self.mean, resamples=4000)
        expected = stats.t.ppf(0.9995, 9) * data.std(ddof=1) / math.sqrt(10)
        assert high - estimate == pytest.approx(expected, rel=0.045)
        assert estimate - low == pytest.approx(expected, rel=0.045)

    @pytest.mark.parametrize(("level", "misses"), [(0.999, (0, 3)), (0.9, (23, 59))])
    def test_covers_the_mean_at_its_level(self, level, misses, monkeypatch):
        """400 experiments with 10 seeds: 0.4 and 40 misses expected, 3 standard deviations allowed."""
        monkeypatch.setattr(statistics, "LEVEL", level)
        rng = np.random.default_rng(2)
        missed = 0
        for _ in range(400):
            _, low, high = interval([rng.normal(3.0, 2.0, size=10)], self.mean, resamples=150)
            missed += not low <= 3.0 <= high
        assert misses[0] <= missed <= misses[1]

    def test_covers_the_log_ratio_of_two_standard_deviations(self, monkeypatch):
        """400 experiments of 20 and 30 seeds at 90 %: about normal, so 40 misses, 4 standard deviations allowed."""
        monkeypatch.setattr(statistics, "LEVEL", 0.9)
        rng = np.random.default_rng(3)

        def log_ratio(groups):
            return math.log(np.std(groups[0], ddof=1) / np.std(groups[1], ddof=1))

        missed = 0
        for _ in range(400):
            groups = [rng.normal(size=20), 4 * rng.normal(size=30)]
            _, low, high = interval(groups, log_ratio, resamples=100)
            missed += not low <= math.log(1 / 4) <= high
        assert 16 <= missed <= 64

    def test_groups_are_resampled_apart(self):
        """The difference of two groups that are the same numbers has the variance of independent ones."""
        data = np.random.default_rng(4).normal(size=20)

        def difference(groups):
            return float(groups[0].mean() - groups[1].mean())

        _, low, high = interval([data, data], difference)
        _, low_1, high_1 = interval([data], self.mean)
        assert (high - low) / (high_1 - low_1) == pytest.approx(math.sqrt(2), rel=0.15)

    def test_degrees_of_freedom_are_those_of_the_smallest_group(self):
        rng = np.random.default_rng(5)
        small, large = rng.normal(size=6), rng.normal(size=200)
        _, low, high = interval([large, small], lambda g: float(g[1].mean()), resamples=4000)
        expected = 2 * stats.t.ppf(0.9995, 5) * small.std(ddof=1) / math.sqrt(6)
        assert high - low == pytest.approx(expected, rel=0.05)

    def test_seeds_are_the_leading_dimension(self):
        """Entries of one network are resampled together: perfectly correlated ones give no narrower interval."""
        data = np.random.default_rng(6).normal(size=10)
        _, low, high = interval([data], self.mean)
        _, low_2, high_2 = interval([np.repeat(data[:, None], 50, axis=1)], self.mean)
        assert high_2 - low_2 == pytest.approx(high - low, rel=1e-9)

    @pytest.mark.parametrize("sizes", [(4,), (10, 4), (4, 10), (1,)])
    def test_is_everything_with_too_few_seeds(self, sizes):
        estimate, low, high = interval([np.ones(size) for size in sizes], self.mean)
        assert (estimate, low, high) == (1.0, -INF, INF)

    def test_is_deterministic(self):
        data = np.random.default_rng(7).normal(size=10)
        assert interval([data], self.mean) == interval([data], self.mean)

    def test_a_statistic_that_is_not_a_number_gives_no_verdict(self):
        data = np.r_[np.ones(9), NAN]
        assert Statistic("s", *interval([data], self.mean), (0.5, 2.0)).verdict == "undecided"


def curves(rng, seeds, points=15):
    """Curves of different variances, correlated over about a third of the points; the expected curve is 0."""
    modes = np.cos(np.outer(np.arange(4), np.linspace(0, np.pi, points)))
    return rng.normal(size=(seeds, 4)) @ modes * np.linspace(0.5, 2, points)


class TestSimultaneousBand:
    @pytest.mark.parametrize(("level", "misses"), [(0.999, (0, 3)), (0.9, (23, 59))])
    def test_covers_the_whole_curve_at_its_level(self, level, misses, monkeypatch):
        """400 experiments with 10 seeds: 0.4 and 40 misses expected, 3 standard deviations allowed."""
        monkeypatch.setattr(statistics, "LEVEL", level)
        rng = np.random.default_rng(8)
        missed = 0
        for _ in range(400):
            mean, half_width = simultaneous_band(curves(rng, 10), draws=3000)
            missed += bool((np.abs(mean) > half_width).any())
        assert misses[0] <= missed <= misses[1]

    def test_of_one_point_is_students_interval(self):
        """The 99.9 % quantile of 20000 draws is known to about 3 % (4 or 5 % at 9 degrees of freedom)."""
        samples = np.random.default_rng(9).normal(size=(10, 1))
        mean, half_width = simultaneous_band(samples)
        assert mean == samples.mean(axis=0)
        expected = stats.t.ppf(0.9995, 9) * samples.std(ddof=1) / math.sqrt(10)
        assert half_width[0] == pytest.approx(expected, rel=0.1)

    def test_is_wider_than_pointwise_and_narrower_than_bonferroni(self):
        samples = curves(np.random.default_rng(10), 30)
        _, half_width = simultaneous_band(samples)
        quantile = half_width / (samples.std(axis=0, ddof=1) / math.sqrt(30))
        assert np.ptp(quantile) < 1e-12 * quantile[0]
        assert stats.t.ppf(0.9995, 29) < quantile[0] < stats.t.ppf(1 - 0.0005 / 15, 29)

    def test_is_infinite_with_too_few_seeds(self):
        mean, half_width = simultaneous_band(np.ones((statistics.MIN_SEEDS - 1, 3)))
        assert mean.tolist() == [1, 1, 1]
        assert np.isinf(half_width).all()

    @pytest.mark.parametrize(("level", "misses"), [(0.999, (0, 3)), (0.9, (23, 59))])
    def test_covers_a_difference_at_its_level(self, level, misses, monkeypatch):
        """As above, between 8 curves and 40 whose variance is another."""
        monkeypatch.setattr(statistics, "LEVEL", level)
        rng = np.random.default_rng(12)
        missed = 0
        for _ in range(400):
            mean, half_width = simultaneous_band(curves(rng, 8), 1 + 2 * curves(rng, 40), draws=3000)
            missed += bool((np.abs(mean + 1) > half_width).any())
        assert misses[0] <= missed <= misses[1]

    def test_a_difference_of_one_point_is_welchs_interval(self):
        rng = np.random.default_rng(13)
        a, b = rng.normal(size=(10, 1)), 3 * rng.normal(size=(30, 1))
        mean, half_width = simultaneous_band(a, b)
        test = stats.ttest_ind(a[:, 0], b[:, 0], equal_var=False).confidence_interval(0.999)
        assert mean == a.mean(axis=0) - b.mean(axis=0)
        assert half_width[0] == pytest.approx((test.high - test.low) / 2, rel=0.1)

    def test_a_difference_with_too_few_seeds_has_no_end(self):
        few = np.ones((statistics.MIN_SEEDS - 1, 3))
        assert np.isinf(simultaneous_band(curves(np.random.default_rng(14), 9, 3), few)[1]).all()

    def test_a_point_without_variance_has_no_width(self):
        samples = curves(np.random.default_rng(11), 10)
        samples[:, 3] = 2.0
        mean, half_width = simultaneous_band(samples)
        assert (mean[3], half_width[3]) == (2.0, 0.0)
        assert np.isfinite(half_width).all()


class TestExponent:
    @pytest.mark.parametrize("power", [-1.0, -0.5, 0.0, 2.0])
    def test_of_a_power_law_is_its_power(self, power):
        widths = [64, 125, 500, 10000]
        values = [3 * n**power for n in widths]
        assert exponent(widths, values, [1, 20, 3, 7]) == pytest.approx(power, abs=1e-12)

    def test_weights_are_the_seeds(self):
        """As an unweighted fit in which each width is repeated as often as it has seeds."""
        widths, values, seeds = [10, 100, 1000], [1.0, 0.5, 0.1], [1, 4, 2]
        x, y = np.log(np.repeat(widths, seeds)), np.log(np.repeat(values, seeds))
        assert exponent(widths, values, seeds) == pytest.approx(np.polyfit(x, y, 1)[0], rel=1e-12)


def test_fall_rate_and_mean_of_known_ensembles():
    rng = np.random.default_rng(0)
    widths = [10, 100, 1000]
    groups = [rng.normal(1, 0.02, 20) / n for n in widths]

    def average(sample):
        return float(sample.mean())

    assert fall("size", average, widths, groups, (90, 110)).verdict == "holds"
    assert fall("size", average, widths, groups, (90, 110)).name == "size(n=10)/size(n=1000)"
    assert rate("size", average, widths, groups, (-1.02, -0.98)).verdict == "holds"
    assert rate("size", average, widths, groups, (-0.6, -0.4)).verdict == "fails"
    assert rate("size", average, widths, groups, (-2, 0), variable="P").name == "exponent of size, P=10…1000"
    assert mean("size", 10 * groups[0], (0.95, 1.05)).verdict == "holds"


@pytest.mark.parametrize("compare", [fall, rate])
def test_comparisons_without_seeds_or_widths_are_undecided(compare):
    few = [np.array([1.0, 1.1]), np.array([0.5, 0.6])]
    for widths, groups in (([10, 100], few), ([10], few[:1])):
        comparison = compare("size", lambda sample: float(sample.mean()), widths, groups, (-10, 1000))
        assert comparison.verdict == "undecided"
        assert "too few seeds" in str(comparison)
