"""The config of the experiment on kernel gradient descent, and its checks."""

import math
from dataclasses import dataclass

from ...study.settings import BaseConfig, NetworkConfig, require, require_distinct

COSTS = ("least_squares", "cross_entropy")


@dataclass(kw_only=True)
class Setting:
    """The networks, N inputs on the circle, a grid of points between them, and training to time t with a tolerance."""

    network: NetworkConfig
    n_samples: int
    intervals: int
    t: float
    tolerance: float

    def __post_init__(self) -> None:
        double = self.network.dtype == "float64"
        require(double, "setting.network.dtype", self.network.dtype, "must be float64, for the differences in time")
        require(self.n_samples >= 4, "setting.n_samples", self.n_samples, "must be ≥ 4, more than a plane can fit")
        valid = self.intervals >= 4 and self.intervals % 2 == 0
        require(valid, "setting.intervals", self.intervals, "must be even, and at least 4")
        require(0 < self.t < math.inf, "setting.t", self.t, "must be > 0")
        require(0 < self.tolerance < math.inf, "setting.tolerance", self.tolerance, "must be > 0")


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Networks of each width for both costs; the seeds are 0 … seeds − 1 at each width."""

    setting: Setting
    widths: list[int]
    seeds: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_distinct("widths", self.widths, 1)
        require(self.seeds >= 1, "seeds", self.seeds, "must be ≥ 1")
