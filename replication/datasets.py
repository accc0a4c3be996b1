"""Inputs as rows: points of the unit circle and Gaussian samples. Digits are in ``mnist``."""

import math

import torch
from torch import Tensor

from .mnist import Digits, digits_at, mnist

__all__ = ["Digits", "angle_grid", "circle", "digits_at", "gaussian", "mnist", "random_angles"]


def circle(angles: Tensor) -> Tensor:
    """Points of the unit circle, x(γ) = (cos γ, sin γ) (paper §6.1): angles (M,) in radians → (M, 2), float64.

    Raises ValueError for angles of another shape.
    """
    if angles.ndim != 1:
        raise ValueError(f"angles must be (M,), not {tuple(angles.shape)}")
    angles = angles.double()
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def angle_grid(intervals: int) -> Tensor:
    """Equidistant angles γ from −π to π, both included: (intervals + 1,), float64. γ = 0 is one of them.

    Raises ValueError for an odd or non-positive number of intervals.
    """
    if intervals < 2 or intervals % 2:
        raise ValueError(f"the number of intervals must be even and positive, not {intervals}")
    half = intervals // 2
    return torch.arange(-half, half + 1, dtype=torch.float64) * (math.pi / half)


def random_angles(n: int, generator: torch.Generator) -> Tensor:
    """Angles γ i.i.d. uniform on [−π, π), in ascending order: (n,), float64."""
    return (2 * math.pi * torch.rand(n, generator=generator, dtype=torch.float64) - math.pi).sort().values


def gaussian(n_samples: int, n_0: int, generator: torch.Generator) -> Tensor:
    """Inputs x_i i.i.d. N(0, I) (paper §6.1): (n_samples, n_0), float64. Raises ValueError for an empty sample."""
    if n_samples < 1 or n_0 < 1:
        raise ValueError(f"a sample needs n_samples ≥ 1 and n_0 ≥ 1, not {n_samples} and {n_0}")
    return torch.randn(n_samples, n_0, generator=generator, dtype=torch.float64)
