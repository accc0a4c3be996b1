"""The config of the experiment on Theorem 2, and its checks."""

import math
from dataclasses import dataclass

from ...nonlinearities import NONLINEARITIES
from ...study.settings import (
    BaseConfig,
    SeedsAtWidths,
    WideNetworkConfig,
    require,
    require_distinct,
    require_names,
    require_seeds,
)

DIRECTIONS = {"least_squares": 1, "cross_entropy": 2, "adversarial": 2}
"""Training direction → n_L."""
DENSE = 1000
"""Weights of networks up to this width are tensors; the config says how wider networks hold theirs."""
TIMES = 5
"""Number of equally spaced times at which Θ is recorded, t = 0 included."""


@dataclass(kw_only=True)
class TrainingConfig:
    """Training to time t on n_samples points of the circle, with as many probes.

    tolerance: of gradient flow. The adversarial direction has its own keys: learning_rate: of the gradient descent of
    both networks, until adversarial_t; discriminator: the width of the discriminator.
    """

    n_samples: int
    t: float
    tolerance: float
    adversarial_t: float
    learning_rate: float
    discriminator: int

    def __post_init__(self) -> None:
        require(self.n_samples >= 2, "setting.n_samples", self.n_samples, "must be ≥ 2")
        for key in ("t", "tolerance", "adversarial_t", "learning_rate"):
            require(0 < getattr(self, key) < math.inf, f"setting.{key}", getattr(self, key), "must be > 0")
        require(self.discriminator >= 1, "setting.discriminator", self.discriminator, "must be ≥ 1")
        steps = self.adversarial_t / self.learning_rate / (TIMES - 1)
        whole = math.isclose(steps, round(steps)) and steps >= 1
        allowed = f"must be a multiple of {TIMES - 1} steps of rate {self.learning_rate}"
        require(whole, "setting.adversarial_t", self.adversarial_t, allowed)


@dataclass(kw_only=True)
class MeanField(SeedsAtWidths):
    """The negative control: the output × n^{−1/2}, time × n, trained with its own tolerance."""

    tolerance: float


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Networks of every width. Each nonlinearity is trained by least squares, the first in the other directions too.

    seeds: the number of networks of each width; direction_seeds: the largest number in each of the other directions.
    """

    network: WideNetworkConfig
    setting: TrainingConfig
    nonlinearities: list[str]
    directions: list[str]
    widths: list[int]
    seeds: list[int]
    direction_seeds: int
    mean_field: MeanField

    def __post_init__(self) -> None:
        super().__post_init__()
        require_names("nonlinearities", self.nonlinearities, NONLINEARITIES)
        first = self.nonlinearities[0] == self.network.nonlinearity
        require(first, "nonlinearities", list(self.nonlinearities), "must start with network.nonlinearity")
        known = "least_squares" in self.directions and set(self.directions) <= set(DIRECTIONS)
        allowed = f"must hold least_squares and be among {', '.join(DIRECTIONS)}"
        require(known, "directions", list(self.directions), allowed)
        require_seeds("", self.widths, self.seeds)
        require(self.direction_seeds >= 1, "direction_seeds", self.direction_seeds, "must be ≥ 1")
        require_distinct("mean_field.widths", self.mean_field.widths, 1)
        require(max(self.mean_field.widths) <= DENSE, "mean_field.widths", self.mean_field.widths, f"must be ≤ {DENSE}")
        require(self.mean_field.seeds >= 1, "mean_field.seeds", self.mean_field.seeds, "must be ≥ 1")
        require(
            0 < self.mean_field.tolerance < math.inf, "mean_field.tolerance", self.mean_field.tolerance, "must be > 0"
        )
