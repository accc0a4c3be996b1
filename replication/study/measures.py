"""Measures: numbers that describe a group of independent networks, and fast ways to resample them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Measure = Callable[[np.ndarray], float]
"""Maps a group of networks, (seeds, …), to a number."""


def resampled(measure: Measure, group: np.ndarray) -> Measure:
    """The measure as a function of indices into the group, which may repeat.

    By default the data of these networks are copied. A measure with a faster way has a method ``resampled``.
    """
    own: Callable[[np.ndarray], Measure] | None = getattr(measure, "resampled", None)
    return own(group) if own else lambda indices: measure(group[indices])


def of_groups(
    measure: Measure, groups: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], Callable[[Sequence[np.ndarray]], np.ndarray]]:
    """Indices to resample instead of the groups of networks, and the measures as functions of the chosen indices."""
    measures = [resampled(measure, group) for group in groups]
    indices = [np.arange(len(group)) for group in groups]
    return indices, lambda chosen: np.array([value(some) for value, some in zip(measures, chosen, strict=True)])


@dataclass(frozen=True)
class MeanOf:
    """A function of the mean over networks of one number for each network, (seeds, …) → (seeds,)."""

    number: Callable[[np.ndarray], np.ndarray]
    function: Callable[[float], float]

    def __call__(self, group: np.ndarray) -> float:
        return self.function(float(self.number(group).mean()))

    def resampled(self, group: np.ndarray) -> Measure:
        """Uses one number for each network only."""
        numbers = self.number(group)
        return lambda indices: self.function(float(numbers[indices].mean()))


@dataclass(frozen=True)
class VarianceOf:
    """A function of the variance over networks, averaged over everything else; NaN for one network.

    0 counts as 10⁻³⁰⁰, as in a geometric mean.
    """

    function: Callable[[float], float]

    def __call__(self, group: np.ndarray) -> float:
        return self.resampled(group)(np.arange(len(group)))

    def resampled(self, group: np.ndarray) -> Measure:
        """Uses Σ_i c_i ‖x_i‖² and ‖Σ_i c_i x_i‖², where network i was chosen c_i times."""
        if len(group) < 2:
            return lambda indices: math.nan
        sums = _resampled_sums(group - group.mean(axis=0))

        def value(indices: np.ndarray) -> float:
            count, squares, square_of_sum = len(indices), *sums(indices)
            variance = (squares - square_of_sum / count) / ((count - 1) * group[0].size)
            return self.function(float(np.maximum(variance, 1e-300)))

        return value


@dataclass(frozen=True)
class SizeOfMean:
    """The rms of the mean over networks, with the expected contribution of the networks' noise subtracted.

    √(mean(x̄²) − mean(s²)/S) with S networks: x̄ and s² are the mean and the variance over networks, and the outer
    means are over everything else. NaN for one network. A square that is not positive counts as 10⁻³⁰⁰.
    """

    def __call__(self, group: np.ndarray) -> float:
        return self.resampled(group)(np.arange(len(group)))

    def resampled(self, group: np.ndarray) -> Measure:
        """Uses Σ_i c_i ‖x_i‖² and ‖Σ_i c_i x_i‖², where network i was chosen c_i times."""
        if len(group) < 2:
            return lambda indices: math.nan
        sums = _resampled_sums(group)

        def value(indices: np.ndarray) -> float:
            count, squares, square_of_sum = len(indices), *sums(indices)
            variance = (squares - square_of_sum / count) / (count - 1)
            square = (square_of_sum / count**2 - variance / count) / group[0].size
            return math.sqrt(np.maximum(square, 1e-300))

        return value


def _resampled_sums(group: np.ndarray) -> Callable[[np.ndarray], tuple[float, float]]:
    """For chosen networks: the sum of ‖x_i‖² and the square of the sum's norm."""
    rows = group.reshape(len(group), -1)
    squares = np.square(rows).sum(axis=1)

    def sums(indices: np.ndarray) -> tuple[float, float]:
        total = np.bincount(indices, minlength=len(rows)) @ rows
        return float(squares[indices].sum()), float(total @ total)

    return sums


@dataclass(frozen=True)
class Quotient:
    """One measure over another."""

    over: Measure
    under: Measure

    def __call__(self, group: np.ndarray) -> float:
        return self.over(group) / self.under(group)

    def resampled(self, group: np.ndarray) -> Measure:
        """Resamples each of the two in its own way."""
        over, under = resampled(self.over, group), resampled(self.under, group)
        return lambda indices: over(indices) / under(indices)
