"""Inputs, and the random streams that they and the networks are drawn from."""

import hashlib
import math

import pytest
import torch
from scipy.stats import kstest

from replication.datasets import angle_grid, circle, gaussian, random_angles
from replication.randomness import generator

F64 = torch.float64


def test_circle_is_cosine_and_sine():
    points = circle(torch.tensor([0.0, math.pi / 2, math.pi, -math.pi / 3], dtype=F64))
    expected = torch.tensor([[1, 0], [0, 1], [-1, 0], [0.5, -math.sqrt(3) / 2]], dtype=F64)
    torch.testing.assert_close(points, expected, rtol=0, atol=1e-15)


def test_circle_of_single_precision_angles_has_unit_points():
    points = circle(torch.linspace(-3, 3, 50))
    assert points.dtype == F64
    torch.testing.assert_close(points.norm(dim=1), torch.ones(50, dtype=F64), rtol=0, atol=1e-15)


@pytest.mark.parametrize("intervals", [2, 8, 100])
def test_angle_grid_is_even_symmetric_and_holds_zero_and_both_ends(intervals):
    angles = angle_grid(intervals)
    assert angles.shape == (intervals + 1,)
    assert angles.dtype == F64
    assert angles[intervals // 2] == 0
    assert angles[-1].item() == pytest.approx(math.pi, rel=1e-15)
    assert torch.equal(angles, -angles.flip(0))
    torch.testing.assert_close(angles.diff(), torch.full((intervals,), 2 * math.pi / intervals, dtype=F64))


@pytest.mark.parametrize("intervals", [0, -2, 1, 7])
def test_angle_grid_refuses(intervals):
    with pytest.raises(ValueError, match="even and positive"):
        angle_grid(intervals)


def test_gaussian_inputs_are_standard_normal_and_uncorrelated():
    """Kolmogorov–Smirnov at 1e-4, correlations within 4 standard errors."""
    x = gaussian(5000, 3, generator("test"))
    assert x.shape == (5000, 3)
    assert x.dtype == F64
    for column in x.T:
        assert kstest(column.numpy(), "norm").pvalue > 1e-4
    assert (torch.corrcoef(x.T) - torch.eye(3)).abs().max() < 4 / 5000**0.5


def test_random_angles_are_uniform_and_ascending():
    angles = random_angles(5000, generator("test"))
    assert (angles.diff() >= 0).all()
    assert kstest(angles.numpy(), "uniform", (-math.pi, 2 * math.pi)).pvalue > 1e-4


def test_the_generator_fixes_the_inputs_and_moves_on():
    stream = generator("test", 1)
    first, second = gaussian(4, 2, stream), gaussian(4, 2, stream)
    assert torch.equal(first, gaussian(4, 2, generator("test", 1)))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("shape", [(0, 2), (2, 0), (-1, 2)])
def test_gaussian_refuses_an_empty_sample(shape):
    with pytest.raises(ValueError, match="n_samples"):
        gaussian(*shape, generator("test"))


class TestGenerator:
    def draw(self, *key):
        return torch.randn(2000, generator=generator(*key), dtype=F64)

    def test_the_key_fixes_the_stream(self):
        assert torch.equal(self.draw("fig1", "network", 500, 3), self.draw("fig1", "network", 500, 3))

    def test_seed_is_the_head_of_the_keys_hash(self):
        """A change here changes every number of the project."""
        digest = hashlib.sha256(b"str:fig1\x1fstr:network\x1fint:500\x1fint:3").digest()
        expected = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big", signed=True)).initial_seed()
        assert generator("fig1", "network", 500, 3).initial_seed() == expected

    def test_the_global_stream_is_neither_read_nor_moved(self):
        torch.manual_seed(0)
        before, state = self.draw("a"), torch.random.get_rng_state()
        assert torch.equal(torch.random.get_rng_state(), state)
        torch.manual_seed(1)
        assert torch.equal(self.draw("a"), before)

    def test_keys_that_look_alike_give_unrelated_streams(self):
        """Every correlation of 2000 pairs within 5 standard errors; none is the same stream."""
        keys = [("a", 1), ("a", 2), ("a", "1"), ("a1",), ("a", 1, 1), ("a", 11), (1, "a"), ("a",), ("b", 1), ("a", -1)]
        draws = torch.stack([self.draw(*key) for key in keys])
        assert (torch.corrcoef(draws) - torch.eye(len(keys))).abs().max() < 5 / 2000**0.5
