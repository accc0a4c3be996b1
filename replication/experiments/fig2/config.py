"""The config of Figure 2, and the checks of its values."""

import math
from dataclasses import dataclass

from ...study.settings import BaseConfig, NetworkConfig, SeedsAtWidths, require, require_distinct, require_seeds


@dataclass(kw_only=True)
class DataConfig:
    """The training set: points x(γ) of the unit circle and their targets f*(x(γ))."""

    angles: list[float]
    targets: list[float]

    def __post_init__(self) -> None:
        inside = all(-math.pi <= angle <= math.pi for angle in self.angles)
        distinct = len(set(self.angles)) == len(self.angles) > 0
        require(inside and distinct, "data.angles", list(self.angles), "must be distinct, and in [−π, π]")
        same = len(self.targets) == len(self.angles) and all(map(math.isfinite, self.targets))
        require(same, "data.targets", list(self.targets), f"must be {len(self.angles)} finite numbers")


@dataclass(kw_only=True)
class TrainingConfig:
    """The training of the networks, to time t = learning rate × steps.

    solver: gradient_flow (with tolerance) or gradient_descent (with learning_rate).
    """

    solver: str
    t: float
    tolerance: float
    learning_rate: float

    def __post_init__(self) -> None:
        solvers = ("gradient_flow", "gradient_descent")
        require(self.solver in solvers, "training.solver", self.solver, f"must be one of {', '.join(solvers)}")
        for key in ("t", "tolerance", "learning_rate"):
            require(0 < getattr(self, key) < math.inf, f"training.{key}", getattr(self, key), "must be > 0")
        whole = math.isclose(self.t / self.learning_rate, self.steps, rel_tol=1e-9)
        descent = self.solver == "gradient_descent"
        require(whole or not descent, "training.t", self.t, f"must be a multiple of the rate {self.learning_rate}")

    @property
    def steps(self) -> int:
        """The number of steps of gradient descent."""
        return max(1, round(self.t / self.learning_rate))


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Figure 2: the figure shows the first ``drawn`` networks of each width; the statistics use all of them.

    seeds: number of networks of each width; initial: more widths, at t = 0 only, for the trend of the kurtosis;
    estimate: wide networks, each of which gives an estimate of the limit; narrow_estimate: narrow networks as the
    negative control for it; intervals: number of intervals of the grid of angles; the statistics use every second
    angle.
    """

    network: NetworkConfig
    data: DataConfig
    training: TrainingConfig
    widths: list[int]
    seeds: list[int]
    drawn: int
    initial: SeedsAtWidths
    estimate: SeedsAtWidths
    narrow_estimate: SeedsAtWidths
    intervals: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_seeds("", self.widths, self.seeds)
        require(self.drawn >= 1, "drawn", self.drawn, "must be ≥ 1")
        for key in ("initial", "estimate", "narrow_estimate"):
            ensemble = getattr(self, key)
            if ensemble.widths:  # without widths, the claims that need them stay undecided
                require_distinct(f"{key}.widths", ensemble.widths, 1)
            require(ensemble.seeds >= 1, f"{key}.seeds", ensemble.seeds, "must be ≥ 1")
        valid = self.intervals >= 8 and self.intervals % 2 == 0
        require(valid, "intervals", self.intervals, "must be even, and at least 8")
