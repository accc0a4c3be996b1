"""The config of the experiment on the drift of the NTK, and the checks of its values."""

import math
from dataclasses import dataclass

from ...nonlinearities import NONLINEARITIES
from ...study.settings import (
    BaseConfig,
    NetworkConfig,
    SeedsAtWidths,
    WideNetworkConfig,
    require,
    require_distinct,
    require_names,
    require_seeds,
)

DENSE = 1000
"""Networks up to this width have dense weights; the config chooses for wider ones."""


@dataclass(kw_only=True)
class TrainingConfig:
    """Training by least squares to time t on n_samples points of the circle, with as many probes.

    nodes: nodes in time of the prediction; flow_nodes: of the flow with which it is compared.
    """

    n_samples: int
    t: float
    nodes: int
    flow_nodes: int

    def __post_init__(self) -> None:
        require(self.n_samples >= 2, "setting.n_samples", self.n_samples, "must be ≥ 2")
        require(0 < self.t < math.inf, "setting.t", self.t, "must be > 0")
        for key in ("nodes", "flow_nodes"):
            require(4 <= getattr(self, key) <= 40, f"setting.{key}", getattr(self, key), "must be in 4 … 40")


@dataclass(kw_only=True)
class Check:
    """Networks of the first nonlinearity that the adaptive solver also trains, with tolerance/n."""

    widths: list[int]
    seeds: int
    tolerance: float


@dataclass(kw_only=True)
class Curve:
    """One network whose kernel is evaluated along the circle in a number of intervals; width 0: none."""

    width: int
    intervals: int


@dataclass(kw_only=True)
class Kinked(SeedsAtWidths):
    """ReLU networks, trained by the adaptive solver with a tolerance; scale: ε of the derivatives almost everywhere."""

    tolerance: float
    scale: float


@dataclass(kw_only=True)
class Figure1:
    """The networks and the training of Figure 1 (paper §6.1); tolerance: that of the adaptive solver."""

    network: NetworkConfig
    widths: list[int]
    seeds: list[int]
    n_samples: int
    t: float
    nodes: int
    tolerance: float

    def __post_init__(self) -> None:
        if self.widths:
            require_seeds("figure1.", self.widths, self.seeds)
        require(self.n_samples >= 1, "figure1.n_samples", self.n_samples, "must be ≥ 1")
        require(0 < self.t < math.inf, "figure1.t", self.t, "must be > 0")
        require(2 <= self.nodes <= 40, "figure1.nodes", self.nodes, "must be in 2 … 40")
        require(0 < self.tolerance < math.inf, "figure1.tolerance", self.tolerance, "must be > 0")


@dataclass(kw_only=True)
class Bias:
    """Many networks at initialization, of two widths: a number of blocks, and of networks in each. No widths: none."""

    widths: list[int]
    blocks: int
    networks: int
    nonlinearities: list[str]

    def __post_init__(self) -> None:
        require(len(self.widths) in (0, 2), "bias.widths", list(self.widths), "must be two widths, or none")
        if self.widths:
            require_distinct("bias.widths", self.widths, 2)
        require(self.blocks >= 1, "bias.blocks", self.blocks, "must be ≥ 1")
        require(self.networks >= 100, "bias.networks", self.networks, "must be ≥ 100")
        known = set(self.nonlinearities) <= set(NONLINEARITIES)
        allowed = f"must be among {', '.join(NONLINEARITIES)}"
        require(known, "bias.nonlinearities", list(self.nonlinearities), allowed)


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Networks of every width and nonlinearity, predicted and trained; pairs of opposite f_0 for means over networks.

    seeds: number of networks of each width. Ensembles without widths are left out, and so are their claims.
    """

    network: WideNetworkConfig
    setting: TrainingConfig
    nonlinearities: list[str]
    widths: list[int]
    seeds: list[int]
    pairs: SeedsAtWidths
    check: Check
    curve: Curve
    kinked: Kinked
    figure1: Figure1
    bias: Bias

    def __post_init__(self) -> None:
        super().__post_init__()
        require_names("nonlinearities", self.nonlinearities, NONLINEARITIES)
        first = self.nonlinearities[0] == self.network.nonlinearity
        require(first, "nonlinearities", list(self.nonlinearities), "must start with network.nonlinearity")
        require(self.network.depth == 3, "network.depth", self.network.depth, "must be 3, as the derived bias has it")
        double = self.network.dtype == "float64"
        require(double, "network.dtype", self.network.dtype, "must be float64: what is left is of the order n⁻²")
        require_seeds("", self.widths, self.seeds)
        for key in ("pairs", "kinked"):
            ensemble = getattr(self, key)
            if ensemble.widths:
                require_distinct(f"{key}.widths", ensemble.widths, 1)
                require(max(ensemble.widths) <= DENSE, f"{key}.widths", ensemble.widths, f"must be ≤ {DENSE}")
            require(ensemble.seeds >= 1, f"{key}.seeds", ensemble.seeds, "must be ≥ 1")
        for key, value in (("check", self.check.tolerance), ("kinked", self.kinked.tolerance)):
            require(0 < value < math.inf, f"{key}.tolerance", value, "must be > 0")
        require(0 < self.kinked.scale <= 1, "kinked.scale", self.kinked.scale, "must be in (0, 1]")
        if self.check.widths:
            require_distinct("check.widths", self.check.widths, 1)
        require(self.check.seeds >= 1, "check.seeds", self.check.seeds, "must be ≥ 1")
        even = self.curve.intervals >= 4 and self.curve.intervals % 2 == 0
        require(even, "curve.intervals", self.curve.intervals, "must be even, and at least 4")
        require(self.curve.width >= 0, "curve.width", self.curve.width, "must be ≥ 0")
