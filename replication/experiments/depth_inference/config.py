"""The config of the depth inference, and the checks of its values."""

import math
from dataclasses import dataclass

from ...mnist import SCALINGS
from ...study.settings import BaseConfig, SeedsAtWidths, require, require_distinct
from .nonlinearity import NONLINEARITIES

SOURCE_SIZE = 5000
"""Number of digits from which batches are drawn."""


@dataclass(kw_only=True)
class Hypothesis:
    """Depth L, pixel scaling and nonlinearity of the paper's network. §6.3 states the nonlinearity only."""

    depth: int
    scaling: str
    nonlinearity: str


@dataclass(kw_only=True)
class Networks:
    """Networks of one width, each on its own batch."""

    width: int
    seeds: int


@dataclass(kw_only=True)
class Config(BaseConfig):
    """Depth inference: every depth × scaling × nonlinearity on the same batches.

    width: the width of the paper's network; reference: the hypothesis of the claims; batches: number of batches of
    n_samples digits for the limit; networks: one on each of the first batches. reference_batches, reference_networks:
    more of both at the reference's scaling and nonlinearity; held_out: batches and networks that the estimates do not
    use and whose depth is recovered; power_steps: number of steps of the early-stopped power iteration.
    """

    depths: list[int]
    scalings: list[str]
    nonlinearities: list[str]
    reference: Hypothesis
    beta: float
    dtype: str
    n_samples: int
    width: int
    batches: int
    networks: Networks
    reference_batches: int
    reference_networks: SeedsAtWidths
    held_out: Networks
    power_steps: int

    def __post_init__(self) -> None:
        super().__post_init__()
        require_distinct("depths", self.depths, 2)
        for key, allowed in (("scalings", SCALINGS), ("nonlinearities", NONLINEARITIES)):
            values = getattr(self, key)
            known = len(values) > 0 and set(values) <= set(allowed) and len(set(values)) == len(values)
            require(known, key, list(values), f"must be one or several of {', '.join(allowed)}, without repeats")
        for key, among in (("depth", self.depths), ("scaling", self.scalings), ("nonlinearity", self.nonlinearities)):
            value = getattr(self.reference, key)
            require(value in among, f"reference.{key}", value, f"must be one of {', '.join(map(str, among))}")
        depth = self.reference.depth
        neighbours = f"must hold {depth - 1} and {depth + 1} beside {depth}: they are the negative controls"
        require({depth - 1, depth + 1} <= set(self.depths), "depths", list(self.depths), neighbours)
        for key in ("scalings", "nonlinearities"):
            require(
                len(getattr(self, key)) > 1, key, list(getattr(self, key)), "must be at least two: one is a control"
            )
        require(0 <= self.beta < math.inf, "beta", self.beta, "must be ≥ 0")
        require(self.dtype in ("float32", "float64"), "dtype", self.dtype, "must be float32 or float64")
        valid = 8 <= self.n_samples < SOURCE_SIZE
        require(valid, "n_samples", self.n_samples, f"must be 8 … {SOURCE_SIZE - 1}")
        require_distinct("reference_networks.widths", self.reference_networks.widths, 1)
        for key in ("networks", "held_out"):
            width = getattr(self, key).width
            distinct = width not in self.reference_networks.widths
            require(distinct, f"{key}.width", width, "must not be one of reference_networks.widths")
        for prefix in ("", "reference_"):
            key, seeds = f"{prefix}networks.seeds", getattr(self, f"{prefix}networks").seeds
            # The predictive law of three eigenvalues has (number of networks − 3) degrees of freedom.
            require(seeds >= 5, key, seeds, "must be ≥ 5")
            key, batches = f"{prefix}batches", getattr(self, f"{prefix}batches")
            require(batches >= seeds, key, batches, f"must be ≥ {prefix}networks.seeds: each has a batch of its own")
        more = self.reference_batches >= self.batches
        require(more, "reference_batches", self.reference_batches, "must be ≥ batches, which it includes")
        for key, value in (
            ("width", self.width),
            ("networks.width", self.networks.width),
            ("held_out.width", self.held_out.width),
            ("held_out.seeds", self.held_out.seeds),
            ("power_steps", self.power_steps),
        ):
            require(value >= 1, key, value, "must be ≥ 1")
