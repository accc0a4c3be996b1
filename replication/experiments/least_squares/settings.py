"""The config of least squares, its checks, and the settings of the cells made from it."""

import math
from dataclasses import dataclass

from ...study.settings import BaseConfig, NetworkConfig, SeedsAtWidths, require, require_distinct


@dataclass(kw_only=True)
class CircleConfig:
    """Regression on n_samples equispaced points of the circle, tested on n_test points between them.

    The target is f* = exp(concentration·(cos γ − 1)). Labels have white noise of standard deviation ``noise``.
    Components are recorded for the lowest ``modes`` frequencies.
    """

    n_samples: int
    n_test: int
    concentration: float
    noise: float
    modes: int

    def __post_init__(self) -> None:
        require(self.n_samples >= 6, "circle.n_samples", self.n_samples, "must be ≥ 6")
        valid = self.n_test >= 2 and self.n_test % self.n_samples == 0
        require(valid, "circle.n_test", self.n_test, f"must be a multiple of n_samples={self.n_samples}")
        require(0 < self.concentration < math.inf, "circle.concentration", self.concentration, "must be > 0")
        require(0 <= self.noise < math.inf, "circle.noise", self.noise, "must be ≥ 0")
        valid = 2 <= self.modes <= self.n_samples // 2
        require(valid, "circle.modes", self.modes, f"must be 2 … n_samples/2 = {self.n_samples // 2}")


@dataclass(kw_only=True)
class FewConfig:
    """Regression on a few ``angles`` without noise, with ``probes`` between them; f_t is recorded at ``times``."""

    angles: list[float]
    probes: list[float]
    times: list[float]

    def __post_init__(self) -> None:
        for key in ("angles", "probes"):
            values = getattr(self, key)
            valid = len(values) > 0 and all(-math.pi <= value <= math.pi for value in values)
            require(valid, f"few.{key}", values, "must be angles in [−π, π]")
        both = [*self.angles, *self.probes]
        require(len(set(both)) == len(both), "few.probes", self.probes, "must be distinct, and not among few.angles")
        valid = len(self.times) >= 2 and self.times[0] == 0 and sorted(set(self.times)) == self.times
        require(valid and self.times[-1] < math.inf, "few.times", self.times, "must increase from 0")


@dataclass(kw_only=True)
class TrainingConfig:
    """Gradient flow on the circle, recorded at t = 0 and at ``times`` times from ``first`` to t, equidistant in ln t.

    tolerance: of the solver.
    """

    first: float
    t: float
    times: int
    tolerance: float

    def __post_init__(self) -> None:
        require(0 < self.t < math.inf, "training.t", self.t, "must be > 0")
        require(0 < self.first < self.t, "training.first", self.first, f"must be between 0 and t={self.t}")
        require(self.times >= 5, "training.times", self.times, "must be ≥ 5")
        require(0 < self.tolerance < math.inf, "training.tolerance", self.tolerance, "must be > 0")


@dataclass(kw_only=True)
class DescentConfig(SeedsAtWidths):
    """The control in which the cost does not decrease: gradient descent at a rate above 2/λ_max."""

    learning_rate: float


@dataclass(kw_only=True)
class SamplesConfig:
    """Components without networks: ``seeds`` samples of n_samples inputs, each with ``draws`` draws of white noise.

    length: the length scale of the radial kernel. The control is this kernel times cos(wave_number·(x − x')).
    """

    seeds: int
    n_samples: int
    draws: int
    length: float
    wave_number: float

    def __post_init__(self) -> None:
        for key, minimum in (("seeds", 1), ("n_samples", 8), ("draws", 1)):
            require(getattr(self, key) >= minimum, f"samples.{key}", getattr(self, key), f"must be ≥ {minimum}")
        for key in ("length", "wave_number"):
            require(0 < getattr(self, key) < math.inf, f"samples.{key}", getattr(self, key), "must be > 0")


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Networks on the circle (noisy, clean, and the controls linear, descent) and on a few points (gaussian, narrow).

    noisy: with label noise, at several widths; wide_seeds: the number of networks at the largest of these widths;
    clean_seeds: the number of networks without label noise at each of these widths; linear: σ = identity, whose kernel
    has a null space; descent: gradient descent at too large a rate; gaussian: networks on the few points; narrow: the
    control of these.
    """

    network: NetworkConfig
    circle: CircleConfig
    few: FewConfig
    training: TrainingConfig
    noisy: SeedsAtWidths
    wide_seeds: int
    clean_seeds: int
    linear: SeedsAtWidths
    descent: DescentConfig
    gaussian: SeedsAtWidths
    narrow: SeedsAtWidths
    samples: SamplesConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        for key in ("noisy", "linear", "descent", "gaussian", "narrow"):
            ensemble = getattr(self, key)
            require_distinct(f"{key}.widths", ensemble.widths, 1)
            require(ensemble.seeds >= 1, f"{key}.seeds", ensemble.seeds, "must be ≥ 1")
        for key in ("wide_seeds", "clean_seeds"):
            require(getattr(self, key) >= 1, key, getattr(self, key), "must be ≥ 1")
        for key in ("linear", "descent", "gaussian", "narrow"):
            widths = getattr(self, key).widths
            require(len(widths) == 1, f"{key}.widths", widths, "must be one width")
        rate = self.descent.learning_rate
        require(0 < rate < math.inf, "descent.learning_rate", rate, "must be > 0")

    @property
    def on_circle(self) -> dict[tuple[str, int], int]:
        """(variant, width) → seeds of the networks on the circle."""
        seeds = {("noisy", width): self.noisy.seeds for width in self.noisy.widths}
        seeds["noisy", max(self.noisy.widths)] = self.wide_seeds
        seeds |= {("clean", width): self.clean_seeds for width in self.noisy.widths}
        seeds |= {("linear", width): self.linear.seeds for width in self.linear.widths}
        return seeds | {("descent", width): self.descent.seeds for width in self.descent.widths}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """Networks that are trained. The variant names their random streams, so that variants of one width differ."""

    variant: str
    width: int
    network: NetworkConfig


@dataclass(frozen=True, kw_only=True)
class OnCircle(Trained):
    """Networks on the circle. learning_rate: the rate of gradient descent, None for gradient flow."""

    circle: CircleConfig
    training: TrainingConfig
    learning_rate: float | None


@dataclass(frozen=True, kw_only=True)
class OnFew(Trained):
    """Networks on the few points. concentration: of f*; tolerance: of gradient flow."""

    few: FewConfig
    concentration: float
    tolerance: float


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A sample of inputs and the kernels on it: see ``SamplesConfig``."""

    network: NetworkConfig
    n_samples: int
    draws: int
    length: float
    wave_number: float


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The data and the times for which the predictions of paper §5 are computed."""

    network: NetworkConfig
    circle: CircleConfig
    few: FewConfig
    training: TrainingConfig


Setting = Trained | Sample | Prediction
