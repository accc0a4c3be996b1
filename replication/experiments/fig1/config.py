"""The config of Figure 1, and the checks of its values."""

import math
from dataclasses import dataclass, replace
from typing import Any

from ...study.settings import (
    BaseConfig,
    ConfigError,
    NetworkConfig,
    SeedsAtWidths,
    config_keys,
    require,
    require_distinct,
)

BUILT_IN = ("main", "initial", "mean_field")
"""The variants that every config has."""


@dataclass(kw_only=True)
class TrainingConfig:
    """The training of the networks, to time t = learning rate × steps.

    solver: gradient_flow (with tolerance) or gradient_descent (with learning_rate); n_samples: number of inputs. Each
    network has its own sample; with a sample_seed all networks share one; with fresh_inputs each network gets a new
    batch at each step. The cost is loss_factor times the mean square error (½ in the paper's §5); normalize_hidden: the
    rescaling of the precursor scripts, off in the paper.
    """

    solver: str
    t: float
    tolerance: float
    learning_rate: float
    n_samples: int
    sample_seed: int | None
    fresh_inputs: bool
    loss_factor: float
    normalize_hidden: bool

    def __post_init__(self) -> None:
        solvers = ("gradient_flow", "gradient_descent")
        descent = self.solver == "gradient_descent"
        require(self.solver in solvers, "training.solver", self.solver, f"must be one of {', '.join(solvers)}")
        require(0 < self.t < math.inf, "training.t", self.t, "must be > 0")
        require(0 < self.tolerance < math.inf, "training.tolerance", self.tolerance, "must be > 0")
        require(0 < self.learning_rate < math.inf, "training.learning_rate", self.learning_rate, "must be > 0")
        require(self.n_samples >= 1, "training.n_samples", self.n_samples, "must be ≥ 1")
        require(0 < self.loss_factor < math.inf, "training.loss_factor", self.loss_factor, "must be > 0")
        for key in ("fresh_inputs", "normalize_hidden"):
            value = getattr(self, key)
            require(descent or not value, f"training.{key}", value, "needs training.solver=gradient_descent")
        whole = math.isclose(self.t / self.learning_rate, self.steps, rel_tol=1e-9)
        require(whole or not descent, "training.t", self.t, f"must be a multiple of the rate {self.learning_rate}")

    @property
    def steps(self) -> int:
        """The number of steps of gradient descent."""
        return max(1, round(self.t / self.learning_rate))


@dataclass(kw_only=True)
class MeanField(SeedsAtWidths):
    """The negative control, trained by gradient flow with its own tolerance."""

    tolerance: float


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Figure 1: ``widths`` × ``seeds`` are the networks in the figure; all others are for the statistics.

    narrow_seeds, wide_seeds: numbers of networks of the narrowest and of the widest width; trend: cheap widths for the
    exponents; initial: more networks at t = 0; alternatives: name → changes of ``training``, one for each choice that
    the paper leaves open, for alternative_seeds networks of the narrowest width; mean_field: the negative control, in
    mean-field scaling; intervals: number of intervals of the grid of angles.
    """

    network: NetworkConfig
    training: TrainingConfig
    widths: list[int]
    seeds: list[int]
    narrow_seeds: int
    wide_seeds: int
    trend: SeedsAtWidths
    initial: SeedsAtWidths
    alternatives: dict[str, dict[str, Any]]
    alternative_seeds: int
    mean_field: MeanField
    intervals: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_distinct("widths", self.widths, 1)
        require_distinct("seeds", self.seeds, 0)
        for key in ("trend", "initial", "mean_field"):
            ensemble = getattr(self, key)
            if ensemble.widths:  # without widths, the claims that need them stay undecided
                require_distinct(f"{key}.widths", ensemble.widths, 1)
            require(ensemble.seeds >= 1, f"{key}.seeds", ensemble.seeds, "must be ≥ 1")
        for key in ("narrow_seeds", "wide_seeds", "alternative_seeds"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "must be ≥ 1")
        require(
            0 < self.mean_field.tolerance < math.inf, "mean_field.tolerance", self.mean_field.tolerance, "must be > 0"
        )
        valid = self.intervals >= 8 and self.intervals % 4 == 0
        require(valid, "intervals", self.intervals, "must be a multiple of 4, and at least 8")
        for name, changes in self.alternatives.items():
            unknown = set(changes) - set(config_keys(TrainingConfig))
            require(not unknown, f"alternatives.{name}", sorted(unknown), "no such key in training")
            require(name not in BUILT_IN, "alternatives", name, f"must not be named {', '.join(BUILT_IN)}")
            for key, value in changes.items():
                kind = type(getattr(self.training, key))
                fits = type(value) is kind or (kind is float and type(value) is int)
                require(fits, f"alternatives.{name}.{key}", value, f"must be {kind.__name__}")
            try:
                replace(self.training, **changes)
            except ConfigError as error:
                raise ConfigError(f"alternatives.{name}: {error}") from None
