"""The config of the experiment on Remark 1, and its checks."""

import math
from dataclasses import dataclass

from ...study.settings import BaseConfig, NetworkConfig, require, require_distinct, require_names, require_seeds
from .usual import MODULES

RUNS = ("scaled", "zero", "unit", "slow")
"""The usual networks with which a network is compared: see ``measure.compare``."""
SLOW = 0.1
"""The rate of the run ``slow`` ÷ the rate that the paper names."""


def _require_positive(key: str, values: list[float]) -> None:
    valid = len(set(values)) == len(values) > 0 and all(0 < value < math.inf for value in values)
    require(valid, key, list(values), "must be distinct numbers > 0")


@dataclass(kw_only=True)
class TrainingConfig:
    """Gradient descent with a learning rate, for ``seeds`` networks of each kind."""

    learning_rate: float
    steps: int
    seeds: int


@dataclass(kw_only=True)
class MapConfig(TrainingConfig):
    """Networks with each list of hidden widths, σ and β, compared with usual ones that have two rates per layer."""

    hidden: list[list[int]]
    nonlinearities: list[str]
    betas: list[float]


@dataclass(kw_only=True)
class ClassicalConfig(TrainingConfig):
    """Networks of each width n with β = n^{−1/2}, compared with usual ones that have one rate, learning_rate/n.

    inputs: the dimensions n_0 of the inputs, at the width 1/β² that the paper names.
    """

    widths: list[int]
    inputs: list[int]


@dataclass(kw_only=True)
class KernelConfig:
    """Networks at initialization: ``seeds`` of each width, with each β."""

    betas: list[float]
    widths: list[int]
    seeds: list[int]


@dataclass(kw_only=True)
class Config(BaseConfig):
    """The three kinds of networks. network.beta: the β that the paper recommends; n_samples: the number of inputs."""

    network: NetworkConfig
    n_samples: int
    map: MapConfig
    classical: ClassicalConfig
    kernel: KernelConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        names = ", ".join(MODULES)
        require(self.network.dtype == "float64", "network.dtype", self.network.dtype, "must be float64")
        require(
            self.network.nonlinearity in MODULES,
            "network.nonlinearity",
            self.network.nonlinearity,
            f"must be one of {names}",
        )
        whole = self.network.beta > 0 and math.isclose(self.network.beta**-2, round(self.network.beta**-2))
        require(whole, "network.beta", self.network.beta, "must be n^{-1/2} for a whole number n, like 0.1")
        require(self.n_samples >= 2, "n_samples", self.n_samples, "must be ≥ 2")
        for key, training in (("map", self.map), ("classical", self.classical)):
            rate = training.learning_rate
            require(0 < rate < math.inf, f"{key}.learning_rate", rate, "must be > 0")
            require(training.steps >= 1, f"{key}.steps", training.steps, "must be ≥ 1")
            require(training.seeds >= 1, f"{key}.seeds", training.seeds, "must be ≥ 1")
        hidden = [list(widths) for widths in self.map.hidden]
        count = self.network.depth - 1
        valid = len(hidden) > 0 and all(len(widths) == count and min(widths) >= 1 for widths in hidden)
        require(valid, "map.hidden", hidden, f"must be lists of {count} widths ≥ 1")
        require_names("map.nonlinearities", self.map.nonlinearities, MODULES)
        _require_positive("map.betas", self.map.betas)
        require_distinct("classical.widths", self.classical.widths, 1)
        allowed = f"must have {self.width}, which is 1/network.beta²"
        require(self.width in self.classical.widths, "classical.widths", list(self.classical.widths), allowed)
        require_distinct("classical.inputs", self.classical.inputs, 2)
        require(2 in self.classical.inputs, "classical.inputs", list(self.classical.inputs), "must have 2, the circle")
        _require_positive("kernel.betas", self.kernel.betas)
        betas = list(self.kernel.betas)
        valid = self.network.beta in betas and 1.0 in betas
        require(valid, "kernel.betas", betas, f"must have 1 and network.beta, {self.network.beta}")
        require_seeds("kernel.", self.kernel.widths, self.kernel.seeds)

    @property
    def width(self) -> int:
        """The width that the paper names together with β: 1/β², which is 100 for β = 0.1."""
        return round(self.network.beta**-2)
